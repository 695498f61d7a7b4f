"""How the starter classes call: each a function from draws to syllables.

Figures are typical of the literature on each animal's calls (a bark's fundamental of 400–900 Hz, a
bubble's rising ring); those of cat, frog and horse were found by a search for what an audio tagger
takes for them.
"""

from core.pretrained.calls.draws import Draws, curve, strike, swell, tract
from core.pretrained.calls.syllables import Syllable

Call = list[Syllable]


def bark(draw: Draws) -> Call:
    """A dog: short harsh arches of pitch over an opening mouth, one after another."""
    size, pitch, at = draw.around(1), draw.around(520, 0.12), 0.0
    call = []
    for place in range(draw.count(2, 4)):
        length, p = draw.around(0.16, 0.1), draw.around(pitch, 0.05)
        call.append(
            Syllable(
                at_s=at,
                length_s=length,
                pitch_hz=curve(0.55, 1, 1.08, 0.9, 0.5, times=p),
                loud=((0, 0), (0.1, 1), (0.3, 0.8), (0.55, 0.3), (1, 0)),
                tract=tract(
                    ((520, 950, 850, 500), 240), ((1300, 1750, 1400), 280), (2900, 400), size=size
                ),
                tilt_db=-6,
                breath=draw.around(0.75),
                rough=0.25,
                rough_hz=draw.around(95),
                jitter=0.035,
            )
        )
        at += length + draw.around(0.24 if place % 2 else 0.14, 0.15)
    return call


def meow(draw: Draws) -> Call:
    """A cat: a hum, then vowels from ee to ow under an arch of pitch; at times a trill first."""
    size, pitch = draw.around(1), draw.around(727)
    length, at = draw.around(0.95, 0.1), 0.0
    mouth = tract(
        ((416, 624, 1235, 1365, 988, 624), 60),
        ((1365, 2925, 2665, 2145, 1625, 1170), 256),
        ((3250, 4030, 3900, 3640), 300),
        (5980, 450),
        size=size,
        bright=False,
    )
    call = []
    if draw.chance(0.4):
        call.append(
            Syllable(
                at_s=0,
                length_s=draw.around(0.24),
                pitch_hz=curve(0.5, 0.7, times=pitch),
                loud=swell(0.2, 0.7),
                tract=tract((350, 120), (1100, 200), size=size),
                tremolo_hz=draw.around(27),
                tremolo=0.9,
            )
        )
        at = 0.3
    for _ in range(draw.count(1, 2)):
        rise = draw.around(1.16, 0.04)
        call.append(
            Syllable(
                at_s=at,
                length_s=length,
                pitch_hz=curve(0.82, 1, rise, rise * 0.98, 1.08, 0.87, times=pitch),
                loud=((0, 0), (0.07, 0.3), (0.3, 0.9), (0.5, 1), (0.8, 0.55), (1, 0)),
                tract=mouth,
                tilt_db=-3.2,
                breath=0.28,
                jitter=0.006,
                vibrato_hz=6,
                vibrato=0.012,
                rough=0.08,
                rough_hz=113,
                subharmonic=0.09,
            )
        )
        at += length + draw.around(0.22)
        length *= 0.8
    return call


def song(draw: Draws) -> Call:
    """A bird: a motif of whistled chirps, trills and slides, sung two or three times."""
    middle = draw.around(3600, 0.12)
    motif = [_note(draw, middle) for _ in range(draw.count(2, 4))]
    at, call = 0.0, []
    for _ in range(draw.count(2, 3)):
        for length, times, pitch in motif:
            for _ in range(times):
                call.append(
                    Syllable(
                        at_s=at,
                        length_s=length,
                        pitch_hz=pitch,
                        loud=swell(0.25, 0.6),
                        tilt_db=-22,
                        breath=0.02,
                        breath_hz=curve(middle),
                        jitter=0.001,
                    )
                )
                at += length + draw.around(0.022)
            at += draw.around(0.06)
        at += draw.around(0.12)
        if at > 1.8:
            break
    return call


def _note(draw: Draws, middle: float) -> tuple[float, int, tuple[tuple[float, float], ...]]:
    """Length, repeats and pitch of one kind of note."""
    p = draw.around(middle, 0.2)
    kind = draw.count(0, 3)
    if kind == 0:  # a falling chirp
        return draw.around(0.07), draw.count(1, 3), curve(1.5, 1.15, 0.9, times=p)
    if kind == 1:  # a trill of short arches
        return draw.around(0.034), draw.count(5, 8), curve(0.9, 1.2, 0.85, times=p)
    if kind == 2:  # a rising slide
        return draw.around(0.13), 1, curve(0.75, 0.85, 1.25, times=p)
    return draw.around(0.16), 1, curve(1.0, 1.3, 0.95, 1.1, times=p)  # a warble


def croak(draw: Draws) -> Call:
    """A frog: trains of pulses that ring in the mouth, a long one and a short one by turns."""
    size, rate, at = draw.around(1), draw.around(51, 0.1), 0.0
    call = []
    for _ in range(draw.count(2, 3)):
        for length, opening in ((draw.around(0.37), 985.0), (draw.around(0.19), 935.0)):
            call.append(
                Syllable(
                    at_s=at,
                    length_s=length,
                    pitch_hz=curve(0.85, 1.1, times=rate * opening / 985),
                    loud=((0, 0), (0.15, 0.7), (0.6, 1), (0.9, 0.7), (1, 0)),
                    tract=tract(
                        ((opening, 1.2 * opening), 108),
                        ((2.1 * opening, 2.3 * opening), 184),
                        size=size,
                    ),
                    tilt_db=-1.8,
                    breath=0.32,
                    jitter=0.007,
                )
            )
            at += length + 0.025
        at += draw.around(0.26, 0.1)
    return call


def whinny(draw: Draws) -> Call:
    """A horse: a scream that falls through a fast, wide vibrato, then breath and lips."""
    size, pitch = draw.around(1), draw.around(990)
    length, beat = draw.around(1.64), draw.around(9.4, 0.05)
    neigh = Syllable(
        at_s=0,
        length_s=length,
        pitch_hz=curve(0.62, 1, 1.02, 0.88, 0.72, 0.55, 0.56, times=pitch),
        loud=((0, 0), (0.08, 0.8), (0.35, 1), (0.75, 0.7), (1, 0)),
        tract=tract((1626, 280), (2548, 350), (4715, 450), size=size),
        tilt_db=-3.0,
        breath=0.69,
        vibrato_hz=beat,
        vibrato=draw.around(0.039),
        tremolo_hz=beat,
        tremolo=0.47,
        jitter=0.067,
        rough=0.03,
        rough_hz=78,
        subharmonic=0.3,
    )
    call, at = [neigh], length + 0.02
    for place in range(draw.count(3, 5)):
        call.append(
            Syllable(
                at_s=at,
                length_s=0.07,
                pitch_hz=curve(1, 0.85, times=draw.around(115)),
                loud=curve(0, 0.5 * 0.85**place, 0),
                tract=tract((420, 160), (1200, 300), (2300, 500), size=size),
                tilt_db=-4,
                breath=0.9,
                jitter=0.03,
            )
        )
        at += draw.around(0.095)
    return call


def bubbles(draw: Draws) -> Call:
    """A fish: bubbles that ring upwards (Minnaert, 1933) over the drum of a swim bladder."""
    call, at = [], 0.0
    for _ in range(draw.count(9, 15)):
        ring, size = draw.around(780, 0.45), draw.around(0.7, 0.25)
        call.append(
            Syllable(
                at_s=at,
                length_s=draw.around(65 / ring, 0.2),
                pitch_hz=curve(1, 1.2, 1.8, times=ring),
                loud=tuple((x, y * size) for x, y in strike(0.22)),
                tilt_db=-26,
                breath=0.06,
                breath_hz=curve(ring * 2),
                jitter=0.003,
            )
        )
        at += draw.around(0.085, 0.6)
    return call + [_drum(draw, beat) for beat in range(draw.count(4, 7))]


def _drum(draw: Draws, beat: int) -> Syllable:
    return Syllable(
        at_s=0.04 + beat * draw.around(0.11, 0.05),
        length_s=0.08,
        pitch_hz=curve(1.15, 0.9, times=draw.around(150, 0.05)),
        loud=tuple((x, 0.55 * y) for x, y in strike(0.3)),
        tract=tract((210, 120), (520, 200)),
        tilt_db=-9,
        jitter=0.01,
    )


def squeak(draw: Draws) -> Call:
    """A rabbit: soft nasal honks and short squeaks, and at times the thump of a foot."""
    size, pitch, at = draw.around(1), draw.around(1050, 0.1), 0.0
    call = []
    if draw.chance(0.6):
        for _ in range(2):
            call.append(
                Syllable(
                    at_s=at,
                    length_s=0.14,
                    pitch_hz=curve(105, 62),
                    loud=tuple((x, 0.8 * y) for x, y in strike(0.2)),
                    tilt_db=-20,
                    breath=0.5,
                    breath_hz=curve(160),
                    breath_octaves=1.0,
                )
            )
            at += draw.around(0.2)
    for _ in range(draw.count(3, 6)):
        length = draw.around(0.085, 0.15)
        call.append(
            Syllable(
                at_s=at,
                length_s=length,
                pitch_hz=curve(0.8, 1.12, 1, 0.7, times=draw.around(pitch, 0.08)),
                loud=swell(0.15, 0.5),
                tract=tract((1150, 220), (2700, 350), (4800, 600), size=size),
                tilt_db=-8,
                breath=0.3,
                jitter=0.008,
            )
        )
        at += length + draw.around(0.11, 0.25)
    return call


def hiss(draw: Draws) -> Call:
    """A turtle: a long hiss as it draws its head in, then a low creaking groan."""
    size, length = draw.around(1), draw.around(0.8, 0.15)
    breath = Syllable(
        at_s=0,
        length_s=length,
        pitch_hz=curve(100),
        loud=((0, 0), (0.2, 0.7), (0.45, 1), (1, 0)),
        voice=0,
        breath=1,
        breath_hz=curve(2100, 3000, 2500, 1600, times=1 / size),
        breath_octaves=0.5,
    )
    groan = Syllable(
        at_s=length + draw.around(0.12),
        length_s=draw.around(0.75, 0.12),
        pitch_hz=curve(0.8, 1.1, 1, 0.7, times=draw.around(128)),
        loud=tuple((x, 0.45 * y) for x, y in swell(0.3, 0.6)),
        tract=tract(((330, 480, 380), 90), ((850, 1000, 820), 160), (1900, 350), size=size),
        tilt_db=-10,
        breath=0.6,
        rough=0.3,
        rough_hz=draw.around(21),
        jitter=0.02,
    )
    return [breath, groan]
