"""Sprite sheets: trimmed frames laid out on few pictures, described for every engine."""
