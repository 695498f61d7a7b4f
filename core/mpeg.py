"""MP3 (MPEG-1, -2 and -2.5 layer III) as its frames, which alone tell how long it lasts.

A decoder trusts the count in a first frame of its own (Xing, Info), and guesses without one: from
the size of the file, as if all frames were like the first.
"""

import re

from core.errors import UserError

_MPEG_1, _MPEG_2, _MPEG_2_5 = 3, 2, 0
"""A header's numbers of the versions."""
_KBITS_1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
"""By a header's number less one; 0 means another rate, which is not read."""
_RATES_HZ = {
    _MPEG_1: (44_100, 48_000, 32_000),
    _MPEG_2: (22_050, 24_000, 16_000),
    _MPEG_2_5: (11_025, 12_000, 8_000),
}
_HEADER = 4
_VBRI = 36
"""Where that name of a first frame stands; Xing and Info follow the side information."""

_Kind = tuple[int, int, bool]


def with_frame_count(data: bytes) -> bytes:
    """An MP3 that begins with the count of its frames; a file that does so, or is none, as it is.

    UserError when its rate or number of channels changes on the way.
    """
    first = _after_tags(data)
    length, kind = _length(data, first), _kind(data, first)
    if kind is None or _kind(data, first + length) != kind:
        return data
    count, end = _counted(data, first, kind)
    told = _told(data[first : first + length])
    if told is None:
        return _count_frame(data, first, count) + data[first:end]
    if told >= count - 1:
        return data
    return _count_frame(data, first, count - 1) + data[first + length : end]


def _counted(data: bytes, first: int, kind: _Kind) -> tuple[int, int]:
    """How many frames of a kind there are from `first` on, and where the last one ends.

    What lies between frames is passed over; the last one may be incomplete.
    """
    alike = _pattern(kind)
    count, place, end = 0, first, first
    while True:
        length = _length(data, place)
        if length and _kind(data, place) == kind:
            count += 1
            place = end = place + length
            continue
        if length and _kind(data, place + length) == _kind(data, place):
            raise UserError(
                "changes its rate or number of channels on the way: save it again with one of each"
            )
        if (after := _after_tags(data, place)) > place:
            place = after
            continue
        found = alike.search(data, place + 1)
        while found and _kind(data, found.start() + _length(data, found.start())) != kind:
            found = alike.search(data, found.start() + 1)
        if not found:
            return count, end
        place = found.start()


def _length(data: bytes, place: int) -> int:
    """Bytes of the frame whose header is at `place`; 0 when none is."""
    return _LENGTHS.get(data[place : place + 3], 0) if place + _HEADER <= len(data) else 0


def _kind(data: bytes, place: int) -> _Kind | None:
    """Version, number of the rate, and whether it is mono: the same in all frames of a sound."""
    if not _length(data, place):
        return None
    return data[place + 1] >> 3 & 3, data[place + 2] >> 2 & 3, data[place + 3] >> 6 == 3


def _pattern(kind: _Kind) -> re.Pattern[bytes]:
    """Headers of a kind."""
    version, rate, mono = kind
    second = [0xE0 | version << 3 | 1 << 1 | free for free in (0, 1)]
    third = [kbit << 4 | rate << 2 | free for kbit in range(1, 15) for free in range(4)]
    fourth = [byte for byte in range(256) if (byte >> 6 == 3) == mono]
    choices = (
        b"[" + b"".join(b"\\x%02x" % n for n in row) + b"]" for row in (second, third, fourth)
    )
    return re.compile(b"\\xff" + b"".join(choices))


def _after_tags(data: bytes, place: int = 0) -> int:
    """Where ID3v2 tags that begin at `place` end (id3.org, ID3v2.4)."""
    while data.startswith(b"ID3", place) and place + 10 <= len(data):
        high, *low = data[place + 6 : place + 10]
        size = high << 21 | low[0] << 14 | low[1] << 7 | low[2]
        place += 10 + size + (10 if data[place + 5] & 0x10 else 0)
    return place


def _told(frame: bytes) -> int | None:
    """How many frames a first frame says follow, 0 when it does not say, None when it is sound.

    A count in a frame by Fraunhofer's encoder (VBRI) is not one that the decoder knows.
    """
    place = _HEADER + _side(frame)
    if frame[place : place + 4] in (b"Xing", b"Info"):
        known = frame[place + 7 : place + 8] > b"\0" and frame[place + 7] & 1
        return int.from_bytes(frame[place + 8 : place + 12], "big") if known else 0
    return 0 if frame[_VBRI : _VBRI + 4] == b"VBRI" else None


def _count_frame(data: bytes, first: int, count: int) -> bytes:
    """A first frame for those that begin at `first`: as theirs, silent, with the count."""
    header = bytearray(data[first : first + _HEADER])
    header[1] |= 1  # no checksum
    header[2] = header[2] & 0x0F | 9 << 4  # 128 or 80 kbit/s: long enough
    frame = bytes(header) + bytes(_side(header)) + b"Xing\0\0\0\1" + count.to_bytes(4, "big")
    return frame.ljust(_LENGTHS[frame[:3]], b"\0")


def _side(header: bytes | bytearray) -> int:
    """Bytes of side information in a frame."""
    mono = header[3] >> 6 == 3
    if header[1] >> 3 & 3 == _MPEG_1:
        return 17 if mono else 32
    return 9 if mono else 17


def _lengths() -> dict[bytes, int]:
    """Bytes of a frame by the first three of its header."""
    made = {}
    for version, rates in _RATES_HZ.items():
        kbits, samples = (_KBITS_1, 1152) if version == _MPEG_1 else (_KBITS_2, 576)
        for unprotected in (0, 1):
            second = 0xE0 | version << 3 | 1 << 1 | unprotected
            for number, kbit in enumerate(kbits, start=1):
                for rate, rate_hz in enumerate(rates):
                    for free in range(4):  # padding, and a private bit
                        key = bytes([0xFF, second, number << 4 | rate << 2 | free])
                        made[key] = samples * kbit * 125 // rate_hz + (free >> 1)
    return made


_LENGTHS = _lengths()
