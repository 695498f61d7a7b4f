"""Packs as game developers see them: found, checked, shown."""
