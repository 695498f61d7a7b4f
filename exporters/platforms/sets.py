"""Stickers dealt out to packs that a platform takes, and each platform's list of them."""

import dataclasses
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from exporters.platforms.emoji import emoji_for
from exporters.platforms.limits import Limits

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
    """One sticker of a platform's pack."""

    name: str
    file: str
    """File name, such as `cat_000001.webp`."""
    label: str
    alt: str

    @property
    def emoji(self) -> str:
        """The emoji that finds it."""
        return emoji_for(self.label)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Set:
    """One pack for one platform."""

    title: str
    publisher: str
    identifier: str
    """ASCII letters, digits and underscores."""
    members: tuple[Member, ...]


def deal(items: Sequence[T], limits: Limits) -> list[list[T]]:
    """Items in packs of nearly equal size, in order, as few as the platform allows."""
    count = -(-len(items) // limits.at_most)
    short, more = divmod(len(items), count)
    sizes = [short + (number < more) for number in range(count)]
    ends = list(itertools.accumulate(sizes, initial=0))
    return [list(items[begin:end]) for begin, end in itertools.pairwise(ends)]


def in_turn(items: Sequence[T], label: Callable[[T], str]) -> list[T]:
    """One of each class, then the next of each: every pack shows all animals."""
    groups: dict[str, list[T]] = {}
    for item in items:
        groups.setdefault(label(item), []).append(item)
    rounds = itertools.zip_longest(*groups.values())
    return [item for row in rounds for item in row if item is not None]


def lists_of(platform: str, one: Set) -> Mapping[str, str]:
    """The lists that a platform's uploader reads: file name to JSON text."""
    return {name: _json(value) for name, value in _LISTS[platform](one).items()}


def _whatsapp(one: Set) -> dict[str, Any]:
    """`contents.json` of WhatsApp's sample app."""
    stickers = [
        {"image_file": m.file, "emojis": [m.emoji], "accessibility_text": m.alt[:125]}
        for m in one.members
    ]
    empty = (
        *("android_play_store_link", "ios_app_store_link"),
        *("publisher_email", "publisher_website"),
        *("privacy_policy_website", "license_agreement_website"),
    )
    pack = {
        "identifier": one.identifier,
        "name": one.title,
        "publisher": one.publisher,
        "tray_image_file": "tray.png",
        "image_data_version": "1",
        "avoid_cache": False,
        "animated_sticker_pack": False,
        **dict.fromkeys(empty[2:], ""),
        "stickers": stickers,
    }
    return {"contents.json": {**dict.fromkeys(empty[:2], ""), "sticker_packs": [pack]}}


def _telegram(one: Set) -> dict[str, Any]:
    """What the Bot API's createNewStickerSet takes."""
    stickers = [
        {
            "sticker": f"attach://{m.file}",
            "format": "static",
            "emoji_list": [m.emoji],
            "keywords": [m.label[:64]],
        }
        for m in one.members
    ]
    return {"set.json": {"title": one.title, "sticker_type": "regular", "stickers": stickers}}


def _telegram_emoji(one: Set) -> dict[str, Any]:
    facts = _telegram(one)
    facts["set.json"]["sticker_type"] = "custom_emoji"
    return facts


def _signal(one: Set) -> dict[str, Any]:
    """What `signal-cli uploadStickerPack` reads."""
    stickers = [
        {"file": m.file, "contentType": "image/webp", "emoji": m.emoji} for m in one.members
    ]
    facts = {"title": one.title, "author": one.publisher, "cover": stickers[0]}
    return {"manifest.json": {**facts, "stickers": stickers}}


def _cut(name: str, longest: int) -> str:
    """A name of at most so many letters, which still ends with its seed: it tells them apart."""
    label, _, seed = name.rpartition("_")
    return name if len(name) <= longest else f"{label[: longest - len(seed) - 1]}_{seed}"


def _discord(one: Set) -> dict[str, Any]:
    """Names, descriptions and tags for the guild sticker endpoint."""
    stickers = [
        {
            "file": m.file,
            "name": _cut(m.name, 30),
            "description": m.alt[:100],
            "tags": m.emoji,
        }
        for m in one.members
    ]
    return {"stickers.json": {"stickers": stickers}}


def _discord_emoji(one: Set) -> dict[str, Any]:
    """Names as Discord allows them: letters, digits and underscores, 2 to 32."""
    names = (_cut(re.sub(r"[^A-Za-z0-9_]+", "_", m.name), 32) for m in one.members)
    emoji = [
        {"file": m.file, "name": f"{name:_<2}"} for m, name in zip(one.members, names, strict=True)
    ]
    return {"emoji.json": {"emoji": emoji}}


def _imessage(one: Set) -> dict[str, Any]:
    """An Xcode sticker pack: drop it into the Stickers.xcassets of a sticker pack app."""
    info = {"author": "xcode", "version": 1}
    names = [f"{m.name}.sticker" for m in one.members]
    whole = {
        "info": info,
        "properties": {"grid-size": "regular"},
        "stickers": [{"filename": name} for name in names],
    }
    files: dict[str, Any] = {"Contents.json": whole}
    for name, m in zip(names, one.members, strict=True):
        properties = {"accessibility-label": m.alt, "filename": m.file}
        files[f"{name}/Contents.json"] = {"info": info, "properties": properties}
    return files


def _line(one: Set) -> dict[str, Any]:
    """What LINE Creators Market asks for beside the pictures, ready to be copied."""
    stickers = [{"file": m.file, "emoji": m.emoji, "text": m.alt} for m in one.members]
    return {"set.json": {"title": one.title[:40], "main": "main.png", "tab": "tab.png",
                         "stickers": stickers}}  # fmt: skip


_LISTS: Mapping[str, Callable[[Set], dict[str, Any]]] = {
    "whatsapp": _whatsapp,
    "telegram": _telegram,
    "telegram-emoji": _telegram_emoji,
    "signal": _signal,
    "discord": _discord,
    "discord-emoji": _discord_emoji,
    "imessage": _imessage,
    "line": _line,
}


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
