"""Phrases of animals: an embedded generator, and any OpenAI-compatible chat endpoint.

from core.pretrained.phrases.speech import speak
speak("cat", seed=7)

A list of them is made by `core.pretrained.phrases.work` (jobs/phrases.py).
"""
