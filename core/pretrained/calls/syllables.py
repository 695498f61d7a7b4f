"""One utterance of an animal: source, tract and the curves that both follow, as samples.

A syllable is a sum of harmonics and noise, each seen through the tract's resonances (the
source–filter model; Fant, Acoustic Theory of Speech Production, 1960). Harmonics are added one by
one, so that nothing folds back at half the sampling rate however fast the pitch moves; a pitch
below the ear's fusion makes a croak's train of pulses by the same sum.
"""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

RATE_HZ = 32_000
"""Of all calls that are synthesised."""
_HOP = 64
_WINDOW = 4 * _HOP
_HIGHEST_HZ = 0.46 * RATE_HZ

Wave = NDArray[np.float64]
"""Samples of one channel; full scale is ±1."""
Complex = NDArray[np.complex128]
Curve = tuple[tuple[float, float], ...]
"""Points (share of the syllable's length, value), joined by lines."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resonance:
    """One resonance of the tract (a formant)."""

    hz: Curve
    """Its middle, while the mouth moves."""
    width_hz: float
    """Width at half power: a narrow one rings."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Syllable:
    """One utterance, without a pause in it."""

    at_s: float
    """When it begins."""
    length_s: float
    pitch_hz: Curve
    """Fundamental; between points it moves evenly in octaves."""
    loud: Curve
    """Amplitude, 0…1."""
    tract: tuple[Resonance, ...] = ()
    """Resonances in a row; none for whistles."""
    voice: float = 1.0
    """Amplitude of the harmonics."""
    tilt_db: float = -12.0
    """Fall of the harmonics per octave, before the tract."""
    breath: float = 0.0
    """Amplitude of the noise."""
    breath_hz: Curve = ()
    """Middle of the noise's own band; without one, the noise passes the tract."""
    breath_octaves: float = 0.6
    """Half width of that band."""
    vibrato_hz: float = 0.0
    vibrato: float = 0.0
    """Half width of the vibrato, as a share of the pitch."""
    tremolo_hz: float = 0.0
    tremolo: float = 0.0
    """Depth of the tremolo, 0…1."""
    jitter: float = 0.004
    """Wander of the pitch, as a share of it."""
    rough: float = 0.0
    """Depth of the irregular beating of a harsh voice, 0…1."""
    rough_hz: float = 70.0
    subharmonic: float = 0.0
    """Amplitude of the tones half-way between the harmonics."""


def render(syllable: Syllable, rng: np.random.Generator) -> Wave:
    """The syllable's samples at RATE_HZ, peak about 1 before its curve of loudness."""
    count = max(_WINDOW, round(syllable.length_s * RATE_HZ))
    frames = count // _HOP + 2
    share = np.minimum(np.arange(frames) * _HOP / count, 1.0)
    pitch = _pitch(syllable, share, rng)
    phase = np.cumsum(_to_samples(pitch, count)) / RATE_HZ
    wave = np.zeros(count)
    if syllable.voice:
        wave += syllable.voice * _level(_harmonics(syllable, share, pitch, phase))
    if syllable.breath:
        noise = _level(_noise(syllable, share, count, rng))
        if syllable.voice:  # air passes while the glottis is open
            noise *= 0.55 + 0.45 * np.cos(2 * np.pi * phase)
        wave += syllable.breath * noise
    wave *= _beating(syllable, count, rng)
    loud = np.interp(np.arange(count) / count, *_points(syllable.loud))
    return np.asarray(_level(wave) * uniform_filter1d(loud, 2 * _HOP, mode="nearest"))


def _pitch(syllable: Syllable, share: Wave, rng: np.random.Generator) -> Wave:
    """Fundamental of each frame in Hz."""
    places, values = _points(syllable.pitch_hz)
    octaves = uniform_filter1d(np.interp(share, places, np.log2(values)), 5, mode="nearest")
    wander = uniform_filter1d(rng.standard_normal(len(share)), 7, mode="nearest") * 7**0.5
    time_s = np.arange(len(share)) * _HOP / RATE_HZ
    swing = np.sin(2 * np.pi * (syllable.vibrato_hz * time_s + rng.random()))
    uneven = uniform_filter1d(rng.standard_normal(len(share)), 31, mode="nearest") * 31**0.5
    swing *= np.clip(1 + 0.3 * uneven, 0.2, 1.8)
    return np.asarray(2**octaves * (1 + syllable.jitter * wander + syllable.vibrato * swing))


def _harmonics(syllable: Syllable, share: Wave, pitch: Wave, phase: Wave) -> Wave:
    """All harmonics below half the sampling rate, with the tract's amplitude and phase."""
    count = len(phase)
    half = 0.5 if syllable.subharmonic else 1.0
    step = np.exp(2j * np.pi * half * phase)
    turning = np.ones(count, np.complex128)
    total = np.zeros(count)
    for place in range(1, int(_HIGHEST_HZ / (half * pitch.min())) + 1):
        turning *= step
        order = half * place
        hz = order * pitch
        response = tract_response(syllable.tract, hz, share)
        response *= order ** (syllable.tilt_db / 6.02)
        response *= np.clip((_HIGHEST_HZ - hz) / 500, 0, 1)
        if order % 1:
            response *= syllable.subharmonic
        if np.abs(response).max() > 1e-5:
            total += (turning * _to_samples(response, count)).imag
    return total


def tract_response(tract: tuple[Resonance, ...], hz: Wave, share: Wave) -> Complex:
    """What the tract makes of tones: complex factors, as `hz` and `share` broadcast.

    Two-pole resonances in a row, 1 at 0 Hz (Klatt, JASA 67, 1980).
    """
    response = np.ones(np.broadcast_shapes(hz.shape, share.shape), np.complex128)
    for resonance in tract:
        middle = np.interp(share, *_points(resonance.hz))
        response *= middle**2 / (middle**2 - hz**2 + 1j * hz * resonance.width_hz)
    return response


def _noise(syllable: Syllable, share: Wave, count: int, rng: np.random.Generator) -> Wave:
    """White noise through the tract, or through a band of its own, frame by frame."""
    frames = len(share)
    hz = np.asarray(np.fft.rfftfreq(_WINDOW, 1 / RATE_HZ)[None, :], np.float64)
    if syllable.breath_hz:
        middle = np.interp(share, *_points(syllable.breath_hz))[:, None]
        octaves = np.log2(np.maximum(hz, 20) / middle) / syllable.breath_octaves
        shape = np.exp(-0.5 * octaves**2)
    else:
        shape = np.abs(tract_response(syllable.tract, hz, share[:, None]))
    window = np.hanning(_WINDOW + 1)[:-1]
    white = rng.standard_normal(frames * _HOP + _WINDOW)
    cuts = np.lib.stride_tricks.sliding_window_view(white, _WINDOW)[::_HOP][:frames]
    filtered = np.fft.irfft(np.fft.rfft(cuts * window) * shape, _WINDOW) * window
    out = np.zeros(frames * _HOP + _WINDOW)
    for place, piece in enumerate(filtered):
        out[place * _HOP : place * _HOP + _WINDOW] += piece
    return out[_HOP : _HOP + count]


def _beating(syllable: Syllable, count: int, rng: np.random.Generator) -> Wave:
    """Slow and irregular changes of amplitude."""
    time_s = np.arange(count) / RATE_HZ
    steady = 1 - syllable.tremolo * (
        0.5 + 0.5 * np.cos(2 * np.pi * (syllable.tremolo_hz * time_s + 0.25 * rng.random()))
    )
    if not syllable.rough:
        return np.asarray(steady)
    slips = np.repeat(rng.standard_normal(count // _HOP + 1), _HOP)[:count]
    turns = np.cumsum(syllable.rough_hz * (1 + 0.3 * slips)) / RATE_HZ
    return np.asarray(steady * (1 - syllable.rough * (0.5 + 0.5 * np.cos(2 * np.pi * turns))))


def _to_samples(values: NDArray[Any], count: int) -> NDArray[Any]:
    """Values of frames, real or complex, as values of samples."""
    return np.asarray(np.interp(np.arange(count), np.arange(len(values)) * _HOP, values))


def _points(curve: Curve) -> tuple[list[float], list[float]]:
    return [place for place, _ in curve], [value for _, value in curve]


def _level(wave: Wave) -> Wave:
    peak = float(np.abs(wave).max(initial=0.0))
    return wave / peak if peak else wave
