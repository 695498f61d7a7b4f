"""What a call sounds like in a few numbers, and its picture: time across, pitch upwards."""

import functools

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

from core.images import Picture
from core.pretrained.calls.syllables import Wave

_BANDS = 40
_CEPSTRA = 13
_LOW_HZ, _HIGH_HZ = 60.0, 11_000.0
_HEARD_DB = 50.0
"""Frames this far below the loudest one are pauses."""


def mel_db(wave: Wave, rate_hz: int) -> NDArray[np.float64]:
    """Frames×40 energies in dB on the mel scale, every 10 ms, 60 Hz to 11 kHz."""
    size, hop = _frame(rate_hz)
    if len(wave) < size:
        wave = np.pad(wave, (0, size - len(wave)))
    frames = np.lib.stride_tricks.sliding_window_view(wave, size)[::hop] * np.hanning(size)
    power = np.abs(np.fft.rfft(frames)) ** 2
    return np.asarray(10 * np.log10(power @ _mel_bands(size, rate_hz).T + 1e-10))


def features(wave: Wave, rate_hz: int) -> NDArray[np.float64]:
    """41 numbers: mean, deviation and change of 13 mel cepstra (MFCC), level steps, pauses.

    They do not depend on how loud the whole is.
    """
    energies = mel_db(wave, rate_hz)
    level = energies.max(axis=1)
    heard = level > level.max() - _HEARD_DB
    cepstra = dct(energies, axis=1, norm="ortho")[:, 1 : _CEPSTRA + 1]
    steps = np.abs(np.diff(cepstra, axis=0))[heard[1:]]
    change = steps.mean(axis=0) if len(steps) else np.zeros(_CEPSTRA)
    active = np.clip(level - level.max() + _HEARD_DB, 0, None)
    rises = np.abs(np.diff(active)).mean() if len(active) > 1 else 0.0
    pauses = [float(rises), 10 * float(1 - heard.mean())]
    return np.concatenate([cepstra[heard].mean(axis=0), cepstra[heard].std(axis=0), change, pauses])


def silent_share(wave: Wave, rate_hz: int) -> float:
    """Share of a sound (0…1) that is a pause."""
    level = mel_db(wave, rate_hz).max(axis=1)
    return float((level <= level.max() - _HEARD_DB).mean())


def spectrogram(wave: Wave, rate_hz: int) -> Picture:
    """A mel spectrogram, H×W×3: low tones at the bottom, 80 dB from dark to bright."""
    energies = mel_db(wave, rate_hz)
    share = np.clip((energies - energies.max()) / 80 + 1, 0, 1)
    picture = np.repeat(np.repeat(share.T[::-1], 3, axis=0), 2, axis=1)
    stops = np.linspace(0, 1, len(_COLOURS))
    channels = [np.interp(picture, stops, _COLOURS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=2).round().astype(np.uint8)


_COLOURS = np.array(
    [(20, 14, 30), (70, 24, 66), (150, 40, 60), (214, 92, 40), (246, 176, 92), (255, 250, 226)]
)


def _frame(rate_hz: int) -> tuple[int, int]:
    return round(0.032 * rate_hz), round(0.010 * rate_hz)


@functools.lru_cache(maxsize=8)
def _mel_bands(size: int, rate_hz: int) -> NDArray[np.float64]:
    """Triangles on the mel scale (O'Shaughnessy, 1987), 40×bins."""
    hz = np.fft.rfftfreq(size, 1 / rate_hz)
    low, high = (2595 * np.log10(1 + edge / 700) for edge in (_LOW_HZ, _HIGH_HZ))
    edges = 700 * (10 ** (np.linspace(low, high, _BANDS + 2) / 2595) - 1)
    rising = (hz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hz) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(rising, falling))
