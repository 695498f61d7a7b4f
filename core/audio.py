"""Sound files in and out: the only importer of soundfile.

Samples are float32, one value per moment (N) or one per moment and channel (N×C), 1.0 being full
scale. What a file is, its bytes tell, not its name.
"""

import dataclasses
import io
import math
import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.files import write_bytes
from core.mpeg import with_frame_count

Samples = NDArray[np.float32]

LARGEST_BYTES = 256 * 2**20
"""Of a sound file."""
MOST_VALUES = 2**27
"""Samples times channels: half an hour at 48 kHz in stereo is near it (512 MiB as float32)."""
RATES_HZ = (1_000, 192_000)
"""Lowest and highest rate that is read or written."""
MOST_CHANNELS = 32
LOUDEST = 16.0
"""What a float file's samples may reach: 24 dB beyond full scale."""
FORMATS = ("WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "AIFF")
"""libsndfile's names of what is read; its raw and rare ones are not."""

_WANTED = "WAV, FLAC, OGG, MP3 or AIFF"
_HALF_TAPS = 64
"""Filter's half length, in samples of the lower rate: flat to 0.91 of its upper limit."""
_ROLL_OFF = 0.955
_KAISER = 8.96
"""Gives 90 dB beyond the limit."""
_CANCELLED = 0.1
"""Share of the loudest channel's power below which the mean of all is not what is heard."""
_OPEN_ENDED = (0, 0xFFFFFFFF)
"""Sizes in a WAV that was written to a pipe."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sound:
    """A sound in memory."""

    samples: Samples
    """float32, N or N×C, finite; full scale is 1, though lossy formats may exceed it a little."""
    rate_hz: int
    """Samples per second and channel."""

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.rate_hz

    @property
    def channels(self) -> int:
        """1 for N, C for N×C."""
        return 1 if self.samples.ndim == 1 else self.samples.shape[1]

    def mono(self) -> "Sound":
        """The mean of its channels; the loudest one where they cancel each other in the mean."""
        if self.samples.ndim == 1:
            return self
        mean = self.samples.mean(axis=1, dtype=np.float32)
        powers = [_power(channel) for channel in self.samples.T]
        loudest = int(np.argmax(powers))
        if _power(mean) < _CANCELLED * powers[loudest]:
            mean = np.ascontiguousarray(self.samples[:, loudest])
        return Sound(samples=mean, rate_hz=self.rate_hz)

    def at(self, rate_hz: int) -> "Sound":
        """The same sound at another rate."""
        return Sound(samples=resample(self.samples, self.rate_hz, rate_hz), rate_hz=rate_hz)


def read_audio(path: Path, *, rate_hz: int | None = None) -> Sound:
    """A sound file's samples, N for one channel and N×C for several, at `rate_hz` if given.

    UserError in one line when the file is missing, empty, too large, no sound, cut short, or holds
    values that are not finite.
    """
    data = sound_bytes(path)
    try:
        sound = decode_audio(data)
    except UserError as error:
        raise UserError(f"{path} {error}") from None
    return sound if rate_hz is None else sound.at(rate_hz)


def decode_audio(data: bytes) -> Sound:
    """A sound file's bytes as samples; UserErrors begin with a verb, for a name to stand before."""
    import soundfile

    if not data:
        raise UserError(f"is empty: wanted is a sound file ({_WANTED})")
    try:
        with soundfile.SoundFile(_Bytes(with_frame_count(data))) as file:
            _require_allowed(file)
            samples = np.asarray(file.read(dtype="float32"))
            promised = file.frames
    except soundfile.LibsndfileError as error:
        raise UserError(_reason(data, error)) from None
    if len(samples) < promised or _cut_short(data):
        raise UserError("is cut short, its end is missing: get the file again")
    if not len(samples):
        raise UserError("holds no samples: give a sound that lasts some time")
    if not np.isfinite(samples).all():
        raise UserError("holds samples that are not numbers (NaN or infinite): export it again")
    if (loudest := float(np.abs(samples).max())) > LOUDEST:
        raise UserError(
            f"holds samples up to {loudest:.4g}, and full scale is 1: it was saved in another scale"
        )
    return Sound(samples=samples, rate_hz=file.samplerate)


def resample(samples: Samples, rate_hz: int, wanted_hz: int) -> Samples:
    """Samples (N or N×C) at another rate, by a linear-phase low-pass of 90 dB (Kaiser's window)."""
    _require_rate(wanted_hz)
    if rate_hz == wanted_hz:
        return samples
    from scipy.signal import firwin, resample_poly

    common = math.gcd(rate_hz, wanted_hz)
    up, down = wanted_hz // common, rate_hz // common
    widest = max(up, down)
    low_pass = firwin(2 * _HALF_TAPS * widest + 1, _ROLL_OFF / widest, window=("kaiser", _KAISER))
    # Its stubs do not know that a window may be the filter itself.
    filtered: Any = low_pass.astype(np.float32)
    made = resample_poly(samples, up, down, axis=0, window=filtered)
    return np.ascontiguousarray(made, dtype=np.float32)


def wav_bytes(samples: Samples, rate_hz: int) -> bytes:
    """Samples (N or N×C, within ±1) as a 16-bit WAV file; the same samples give the same bytes.

    UserError when a sample is beyond full scale: it is for the caller to say how loud it shall be.
    """
    _require_rate(rate_hz)
    values = np.asarray(samples)
    if values.ndim not in (1, 2) or not values.size:
        raise UserError(f"a sound is N or N×C samples, not {'×'.join(map(str, values.shape))}")
    if not np.isfinite(values).all():
        raise UserError("a sound with samples that are not numbers (NaN or infinite) is not saved")
    loudest = float(np.abs(values).max())
    if loudest > 1:
        raise UserError(
            f"the sound would clip: its loudest sample is {loudest:.3f} and full scale is 1; "
            "scale it down first"
        )
    whole = np.round(np.asarray(values, dtype=np.float64) * 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1 if values.ndim == 1 else values.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(whole.tobytes())
    return buffer.getvalue()


def write_wav(path: Path, samples: Samples, rate_hz: int) -> None:
    """Write a 16-bit WAV atomically (see `wav_bytes`)."""
    write_bytes(path, wav_bytes(samples, rate_hz))


def sound_bytes(path: Path) -> bytes:
    """A file's bytes, whatever they are; UserError when it is missing or too large."""
    if not path.exists():
        raise UserError(f"{path} does not exist: name a sound file ({_WANTED})")
    if not path.is_file():
        raise UserError(f"{path} is no file: name a sound file ({_WANTED})")
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        raise UserError(
            f"{path} has {size / 2**20:,.0f} MiB; at most {LARGEST_BYTES // 2**20} are read: cut "
            "out the part that matters"
        )
    return path.read_bytes()


def _power(samples: Samples) -> float:
    """Mean square of one channel."""
    return float(np.einsum("n,n->", samples, samples, dtype=np.float64)) / max(1, len(samples))


def _require_allowed(file: Any) -> None:
    """Before anything is decoded, so that no small file becomes a huge array."""
    if file.format not in FORMATS:
        raise UserError(f"is {file.format_info}; wanted is {_WANTED}")
    if not file.seekable():
        raise UserError(f"is packed as {file.subtype_info}, which is not read; wanted is {_WANTED}")
    if file.channels > MOST_CHANNELS:
        raise UserError(f"has {file.channels} channels; at most {MOST_CHANNELS} are read")
    _require_rate(file.samplerate, what="has")
    if file.frames * file.channels > MOST_VALUES:
        seconds = MOST_VALUES // (file.samplerate * file.channels)
        raise UserError(
            f"lasts {file.frames / file.samplerate:,.0f} s; at most {seconds:,} s are read at "
            f"{file.samplerate} Hz and {file.channels} channels: cut out the part that matters"
        )


def _require_rate(rate_hz: int, what: str = "the rate is") -> None:
    low, high = RATES_HZ
    if not low <= rate_hz <= high:
        raise UserError(f"{what} {rate_hz} Hz; it must be from {low} to {high}")


def _reason(data: bytes, error: Exception) -> str:
    """Why libsndfile refused, in our words: its own name the buffer and no cure."""
    known = data[:4] in (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM") or data[:3] == b"ID3"
    if known or data[:1] == b"\xff":
        told = str(error).split(": ", 1)[-1].removeprefix("Error : ").strip(" .")
        return f"is damaged or cut short ({told}): get the file again"
    return f"is no sound file, whatever its name says: wanted is {_WANTED}"


class _Bytes(io.BytesIO):
    """A file in memory that damaged headers cannot send to before its beginning."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go there; to the beginning, where that lies before it."""
        # libsndfile calls it from C: an error there would only be printed, and the seek forgotten.
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return super().seek(0)


def _cut_short(data: bytes) -> bool:
    """Whether the end is missing where libsndfile reads on in silence: not of FLAC and MP3."""
    kind = data[:4]
    if kind == b"RIFF":
        return _wav_cut_short(data)
    if kind == b"RF64":  # EBU Tech 3306: its first chunk, ds64, begins with the length of all.
        return data[12:16] == b"ds64" and 8 + int.from_bytes(data[20:28], "little") > len(data)
    if kind == b"FORM":
        return 8 + int.from_bytes(data[4:8], "big") > len(data)
    return kind == b"OggS" and _ogg_cut_short(data)


def _wav_cut_short(data: bytes) -> bool:
    place = 12
    while place + 8 <= len(data):
        name = data[place : place + 4]
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        if name == b"data":
            return size not in _OPEN_ENDED and place + 8 + size > len(data)
        place += 8 + size + size % 2
    return False


def _ogg_cut_short(data: bytes) -> bool:
    """Whether the last page is incomplete or not marked as the stream's end (RFC 3533)."""
    page = data.rfind(b"OggS")
    header = data[page : page + 27]
    if len(header) < 27:
        return True
    lengths = data[page + 27 : page + 27 + header[26]]
    whole = page + 27 + header[26] + sum(lengths)
    return len(lengths) < header[26] or whole > len(data) or not header[5] & 4
