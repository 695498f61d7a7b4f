"""The limits checked once more on written files, from their bytes and from numbers of its own.

Nothing here comes from the code that makes the files: sizes are read from PNG and WebP headers, and
the limits are stated again, so that a mistake in the one shows in the other.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

_KIB = 1024
_STICKERS = {
    # platform: (ending, least width, most width, most height, most bytes, fewest, most)
    "whatsapp": (".webp", 512, 512, 512, 100 * _KIB, 3, 30),
    "telegram": (".webp", 512, 512, 512, 512_000, 1, 120),
    "telegram-emoji": (".webp", 100, 100, 100, 512_000, 1, 200),
    "signal": (".webp", 1, 512, 512, 300_000, 1, 200),
    "discord": (".png", 320, 320, 320, 512_000, 1, 10_000),
    "discord-emoji": (".png", 1, 128, 128, 256_000, 1, 10_000),
    "imessage": (".png", 300, 618, 618, 500_000, 1, 10_000),
    "line": (".png", 2, 370, 320, 1_000_000, 1, 40),
}
_COVERS = {
    "whatsapp": {"tray.png": ((96, 96), 50 * _KIB)},
    "line": {"main.png": ((240, 240), 1_000_000), "tab.png": ((96, 74), 1_000_000)},
}


def check_platform(folder: Path, platform: str) -> list[str]:
    """What a platform would refuse in its folder of packs, one line each; empty when all is well.

    `folder` holds one folder for each pack, as `stickers/whatsapp` does.
    """
    packs = sorted(path for path in folder.iterdir() if path.is_dir())
    if not packs:
        return [f"{folder.name} holds no pack"]
    return [
        f"{platform}/{pack.name}: {problem}"
        for pack in packs
        for problem in _check_pack(pack, platform)
    ]


def picture_size(data: bytes) -> tuple[int, int]:
    """Width and height that a PNG's or a still WebP's header states; ValueError for others."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        width, height = struct.unpack(">II", data[16:24])
        return int(width), int(height)
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise ValueError("is neither PNG nor WebP")
    if struct.unpack("<I", data[4:8])[0] + 8 != len(data):
        raise ValueError("is a WebP of another length than it states")
    kind = data[12:16]
    if kind == b"VP8X":
        if data[20] & 2:
            raise ValueError("is animated")
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError(f"is a WebP that begins with {kind!r}")


def _check_pack(pack: Path, platform: str) -> Iterator[str]:
    ending, *_, fewest, most = _STICKERS[platform]
    covers = _COVERS.get(platform, {})
    stickers = [path for path in sorted(pack.rglob(f"*{ending}")) if path.name not in covers]
    if not fewest <= len(stickers) <= most:
        yield f"{len(stickers)} stickers, allowed are {fewest} to {most}"
    for path in stickers:
        yield from _check_sticker(path, platform)
    for name, (size, most_bytes) in covers.items():
        path = pack / name
        if not path.is_file():
            yield f"{name} is missing"
        elif picture_size(path.read_bytes()) != size or path.stat().st_size > most_bytes:
            yield f"{name} is not {size[0]}×{size[1]} of at most {most_bytes:,} bytes"
    if platform == "whatsapp":
        yield from _check_contents(pack, {path.name for path in stickers})


def _check_sticker(path: Path, platform: str) -> Iterator[str]:
    _, least, widest, highest, most_bytes, *_ = _STICKERS[platform]
    data = path.read_bytes()
    try:
        width, height = picture_size(data)
    except ValueError as error:
        yield f"{path.name} {error}"
        return
    if len(data) > most_bytes:
        yield f"{path.name} has {len(data):,} bytes, allowed are {most_bytes:,}"
    if not (least <= width <= widest and least <= height <= highest):
        yield f"{path.name} is {width}×{height}"
    if platform == "line" and (width % 2 or height % 2):
        yield f"{path.name} has an odd side: {width}×{height}"


def _check_contents(pack: Path, files: set[str]) -> Iterator[str]:
    (told,) = json.loads((pack / "contents.json").read_text(encoding="utf-8"))["sticker_packs"]
    if {item["image_file"] for item in told["stickers"]} != files:
        yield "contents.json lists other files than there are"
    if not 0 < len(told["name"]) <= 128 or not 0 < len(told["publisher"]) <= 128:
        yield "name or publisher is empty or longer than 128 characters"
    if not all(1 <= len(item["emojis"]) <= 3 for item in told["stickers"]):
        yield "a sticker has not one to three emoji"
