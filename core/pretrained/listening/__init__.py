"""Sounds heard by a model: which animal calls, when, and what to draw of it."""
