"""The same loudness for every call, no clipping, and silence at both ends."""

import numpy as np
from scipy.ndimage import minimum_filter1d, uniform_filter1d
from scipy.signal import butter, lfilter, sosfilt

from core.errors import UserError
from core.pretrained.calls.syllables import Wave

LOUDNESS_LUFS = -20.0
"""Integrated loudness of a finished call."""
CEILING = 10 ** (-1.5 / 20)
"""Highest sample: half a decibel below the promised -1 dBFS, for 16-bit files and resampling."""
SILENCE_S = 0.02
"""Before and after a call."""
FADE_S = 0.012
"""Of its first and last samples."""


def finished(wave: Wave, rate_hz: int) -> Wave:
    """A call, ready to be played: without rumble, level, limited, faded, between two silences.

    UserError when it is silent or holds numbers that are none.
    """
    if not np.isfinite(wave).all():
        raise UserError("the sound holds numbers that are none: it cannot be made into a call")
    if is_silent(wave, rate_hz):
        raise UserError("the sound is silent: it cannot be made into a call")
    wave = _prepared(wave, rate_hz)
    for _ in range(3):  # limiting takes a little loudness away
        wave = _limited(wave * 10 ** ((LOUDNESS_LUFS - loudness_lufs(wave, rate_hz)) / 20), rate_hz)
    silence = np.zeros(round(SILENCE_S * rate_hz))
    return np.concatenate([silence, wave, silence])


def is_silent(wave: Wave, rate_hz: int) -> bool:
    """Whether no loudness is left to be set once the rumble is away: -inf LUFS."""
    return not len(wave) or loudness_lufs(_prepared(wave, rate_hz), rate_hz) == -np.inf


def loudness_lufs(wave: Wave, rate_hz: int) -> float:
    """Integrated loudness of one channel (ITU-R BS.1770-4), -inf for silence.

    A sound shorter than one block of 0.4 s is measured as one block.
    """
    weighted = _k_weighted(wave, rate_hz)
    block, step = round(0.4 * rate_hz), round(0.1 * rate_hz)
    if len(weighted) < block:
        weighted = np.pad(weighted, (0, block - len(weighted)))
    sums = np.concatenate([[0.0], np.cumsum(weighted**2)])
    starts = np.arange(0, len(weighted) - block + 1, step)
    power = (sums[starts + block] - sums[starts]) / block
    loud = power[_lufs(power) > -70]
    if not len(loud):
        return -np.inf
    loud = loud[_lufs(loud) > _lufs(loud.mean()) - 10]
    return float(_lufs(loud.mean()))


def _prepared(wave: Wave, rate_hz: int) -> Wave:
    """Without rumble, and faded."""
    above = sosfilt(butter(2, 35, "high", fs=rate_hz, output="sos"), wave)
    return _faded(np.asarray(above), rate_hz)


def _lufs(power: Wave) -> Wave:
    return np.asarray(-0.691 + 10 * np.log10(np.maximum(power, 1e-20)))


def _k_weighted(wave: Wave, rate_hz: int) -> Wave:
    """The head's shelf and the ear's low cut, redesigned for any rate (De Man, 2014)."""
    k = np.tan(np.pi * 1681.974450955533 / rate_hz)
    q, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    middle = high**0.4996667741545416
    a0 = 1 + k / q + k * k
    b = [high + middle * k / q + k * k, 2 * (k * k - high), high - middle * k / q + k * k]
    shelved = lfilter(np.array(b) / a0, [1, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0], wave)
    k, q = np.tan(np.pi * 38.13547087602444 / rate_hz), 0.5003270373238773
    a0 = 1 + k / q + k * k
    return np.asarray(
        lfilter([1, -2, 1], [1, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0], shelved)
    )


def _limited(wave: Wave, rate_hz: int) -> Wave:
    """Peaks pulled below the ceiling by a gain that moves within 6 ms, so that nothing crackles."""
    gain = np.minimum(1.0, CEILING / np.maximum(np.abs(wave), 1e-12))
    if float(gain.min(initial=1.0)) == 1.0:
        return wave
    reach = round(0.003 * rate_hz)
    held = minimum_filter1d(gain, 2 * reach + 1)
    return np.asarray(wave * uniform_filter1d(held, 2 * reach + 1))


def _faded(wave: Wave, rate_hz: int) -> Wave:
    count = min(round(FADE_S * rate_hz), len(wave) // 2)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(count) / max(1, count))
    faded = wave.copy()
    faded[:count] *= ramp
    faded[len(wave) - count :] *= ramp[::-1]
    return faded
