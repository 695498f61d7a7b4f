"""Sticker packs as messengers take them: their limits, files that keep them, and a check."""
