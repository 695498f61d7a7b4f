"""What each messenger takes (November 2026), and how our stickers fit in.

WhatsApp: WhatsApp/stickers, README. Telegram: core.telegram.org/stickers and the Bot API. Signal:
support.signal.org, "Stickers". Discord: support.discord.com, "Sticker Guidelines". iMessage:
developer.apple.com, "Sticker packs". LINE: creator.line.me, "Sticker guidelines".
"""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """One platform's limits, and the files that we make for it."""

    title: str
    """The platform's name for people."""
    side_px: int
    """Width and height of our stickers."""
    margin_px: int
    """Clear border on every side of the drawing."""
    ending: Literal["webp", "png"]
    max_bytes: int
    """Of one sticker."""
    at_most: int
    """Stickers in one pack; more are spread over several packs."""
    at_least: int = 1
    """Stickers in one pack; a platform that wants more than there are is left out."""
    name_chars: int = 128
    """Longest name of a pack."""
    smaller_px: tuple[int, ...] = ()
    """Sides that may be tried when no quality fits; empty where the side is fixed."""


LIMITS = {
    "whatsapp": Limits(
        title="WhatsApp",
        side_px=512,
        margin_px=16,
        ending="webp",
        max_bytes=100 * 1024,
        at_most=30,
        at_least=3,
    ),
    "telegram": Limits(
        title="Telegram",
        side_px=512,
        margin_px=16,
        ending="webp",
        max_bytes=512 * 1000,
        at_most=120,
        name_chars=64,
    ),
    "telegram-emoji": Limits(
        title="Telegram custom emoji",
        side_px=100,
        margin_px=0,
        ending="webp",
        max_bytes=512 * 1000,
        at_most=120,
        name_chars=64,
    ),
    "signal": Limits(
        title="Signal",
        side_px=512,
        margin_px=16,
        ending="webp",
        max_bytes=300_000,
        at_most=200,
        smaller_px=(384, 256),
    ),
    "discord": Limits(
        title="Discord",
        side_px=320,
        margin_px=10,
        ending="png",
        max_bytes=512_000,
        at_most=60,
    ),
    "discord-emoji": Limits(
        title="Discord emoji",
        side_px=128,
        margin_px=0,
        ending="png",
        max_bytes=256 * 1000,
        at_most=250,
    ),
    "imessage": Limits(
        title="iMessage",
        side_px=408,
        margin_px=8,
        ending="png",
        max_bytes=500 * 1000,
        at_most=500,
    ),
    "line": Limits(
        title="LINE",
        side_px=320,
        margin_px=10,
        ending="png",
        max_bytes=1000 * 1000,
        at_most=40,
        smaller_px=(280, 240),
    ),
}
"""By the name of the flag. Kilobytes are thousands where a platform does not say."""
