"""How other kinds of animals call, for classes beside the starter ones; and all kinds by name."""

from collections.abc import Callable

from core.pretrained.calls.draws import Draws, curve, strike, swell, tract
from core.pretrained.calls.species import (
    Call,
    bark,
    bubbles,
    croak,
    hiss,
    meow,
    song,
    squeak,
    whinny,
)
from core.pretrained.calls.syllables import Syllable


def howl(draw: Draws) -> Call:
    """Of wolves and owls: one long tone that climbs, holds and sinks."""
    pitch = draw.around(430, 0.1)
    return [
        Syllable(
            at_s=0,
            length_s=draw.around(1.9, 0.1),
            pitch_hz=curve(0.62, 0.98, 1.1, 1.08, 1, 0.95, 0.7, times=pitch),
            loud=((0, 0), (0.2, 0.8), (0.6, 1), (1, 0)),
            tract=tract(((420, 700, 500), 120), (1100, 200), (2500, 400)),
            tilt_db=-10,
            breath=0.05,
            vibrato_hz=draw.around(5),
            vibrato=0.012,
        )
    ]


def low_moo(draw: Draws) -> Call:
    """Of cattle: a nasal hum that opens into a broad, sinking vowel."""
    length = draw.around(1.5, 0.12)
    return [
        Syllable(
            at_s=0,
            length_s=length,
            pitch_hz=curve(0.85, 1, 1.12, 1.1, 0.9, times=draw.around(155)),
            loud=((0, 0), (0.15, 0.45), (0.45, 1), (0.85, 0.8), (1, 0)),
            tract=tract(
                ((240, 260, 620, 560, 400), 90), ((900, 950, 1150, 1000), 150), (2400, 300)
            ),
            tilt_db=-6,
            breath=0.06,
            jitter=0.012,
            rough=0.12,
        )
    ]


def roar(draw: Draws) -> Call:
    """Of great cats and bears: a harsh, low swell, and grunts that follow it."""
    mouth = tract(((320, 620, 420), 180), ((1000, 1250, 900), 300), (2300, 500))
    length = draw.around(1.1, 0.1)
    lengths = [length, *(0.22 for _ in range(draw.count(1, 3)))]
    call, at = [], 0.0
    for length_s in lengths:
        call.append(
            Syllable(
                at_s=at,
                length_s=length_s,
                pitch_hz=curve(0.8, 1.2, 1, 0.7, times=draw.around(105)),
                loud=swell(0.25, 0.6),
                tract=mouth,
                tilt_db=-3,
                breath=0.7,
                rough=0.75,
                rough_hz=draw.around(38),
                subharmonic=0.5,
                jitter=0.06,
            )
        )
        at += length_s + draw.around(0.13)
    return call


def stridulation(draw: Draws) -> Call:
    """Of crickets and cicadas: trains of ticks at one high pitch."""
    pitch, at, call = draw.around(4700, 0.05), 0.0, []
    for _ in range(draw.count(4, 6)):
        length = draw.around(0.2, 0.08)
        call.append(
            Syllable(
                at_s=at,
                length_s=length,
                pitch_hz=curve(0.97, 1, 1.01, times=pitch),
                loud=swell(0.2, 0.8),
                tilt_db=-18,
                tremolo_hz=draw.around(42, 0.03),
                tremolo=1,
                jitter=0.002,
                breath=0.06,
                breath_hz=curve(pitch),
            )
        )
        at += length + draw.around(0.1)
    return call


def quack(draw: Draws) -> Call:
    """Of ducks and geese: nasal buzzes, each a little lower and softer than the last."""
    pitch, at, call = draw.around(270), 0.0, []
    for place in range(draw.count(3, 5)):
        length = draw.around(0.19)
        call.append(
            Syllable(
                at_s=at,
                length_s=length,
                pitch_hz=curve(0.95, 1.05, 0.8, times=pitch * 0.96**place),
                loud=tuple((x, y * 0.92**place) for x, y in swell(0.12, 0.6)),
                tract=tract(((1150, 1400, 950), 130), (2500, 220), (3700, 350)),
                tilt_db=-2,
                breath=0.08,
                subharmonic=0.2,
                jitter=0.012,
            )
        )
        at += length + draw.around(0.13)
    return call


def clicks(draw: Draws) -> Call:
    """Of dolphins and bats: clicks that come ever faster, and a whistle."""
    call, at, pause = [], 0.0, draw.around(0.13)
    while at < 1.0:
        call.append(
            Syllable(
                at_s=at,
                length_s=0.02,
                pitch_hz=curve(2600, 2400),
                loud=strike(0.15),
                voice=0.4,
                breath=1,
                breath_hz=curve(draw.around(6500, 0.1)),
                breath_octaves=0.4,
            )
        )
        at += pause
        pause = max(0.018, pause * 0.9)
    pitch = draw.around(6200, 0.1)
    call.append(
        Syllable(
            at_s=at + 0.05,
            length_s=draw.around(0.5),
            pitch_hz=curve(0.7, 1.1, 0.95, 1.3, times=pitch),
            loud=tuple((x, 0.6 * y) for x, y in swell(0.2, 0.7)),
            tilt_db=-24,
            jitter=0.001,
        )
    )
    return call


KINDS: dict[str, Callable[[Draws], Call]] = {
    **{"bark": bark, "meow": meow, "song": song, "croak": croak, "whinny": whinny},
    **{"bubbles": bubbles, "squeak": squeak, "hiss": hiss, "howl": howl, "moo": low_moo},
    **{"roar": roar, "stridulation": stridulation, "quack": quack, "clicks": clicks},
}
"""All kinds of calls by name."""
