"""Bringing pictures in: what waits, what it resembles, what is decided, and doing it."""
