"""Sound files: read as what they are, refused in one line, written the same each time."""

import io
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

import core.audio
from core.audio import Sound, read_audio, resample, wav_bytes, write_wav
from core.errors import UserError


def tone(hz: float, *, rate_hz: int = 16_000, seconds: float = 1.0) -> NDArray[np.float32]:
    moments = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.asarray(0.5 * np.sin(2 * np.pi * hz * moments), dtype=np.float32)


def encoded(samples: NDArray[np.float32], kind: str, subtype: str, rate_hz: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, format=kind, subtype=subtype)
    return buffer.getvalue()


def loudness(samples: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(samples))))


@pytest.mark.parametrize(
    ("kind", "subtype", "error"),
    [
        *(("WAV", "PCM_16", 1e-4), ("WAV", "PCM_U8", 1e-2), ("WAV", "PCM_24", 1e-5)),
        *(("WAV", "FLOAT", 0.0), ("WAVEX", "PCM_16", 1e-4), ("FLAC", "PCM_16", 1e-4)),
        *(("OGG", "VORBIS", 0.1), ("OGG", "OPUS", 0.1), ("MP3", "MPEG_LAYER_III", 0.1)),
    ],
)
def test_a_tone_comes_back_from_every_format_whatever_its_name(
    tmp_path: Path, kind: str, subtype: str, error: float
) -> None:
    path = tmp_path / 'a sound; "quoted".txt'
    path.write_bytes(encoded(tone(440), kind, subtype))
    sound = read_audio(path)
    assert (sound.rate_hz, sound.channels) == (16_000, 1)
    assert sound.samples.dtype == np.float32
    assert len(sound.samples) == pytest.approx(16_000, abs=1600)
    middle = slice(4000, 12_000)
    assert loudness(sound.samples[middle]) == pytest.approx(0.5 / np.sqrt(2), abs=error + 1e-4)


def test_a_wav_says_the_same_after_writing_and_reading(tmp_path: Path) -> None:
    stereo = np.stack([tone(440), tone(880)], axis=1)
    write_wav(tmp_path / "a.wav", stereo, 16_000)
    write_wav(tmp_path / "b.wav", stereo, 16_000)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    sound = read_audio(tmp_path / "a.wav")
    assert sound.samples.shape == (16_000, 2)
    assert np.abs(sound.samples - stereo).max() < 1e-4
    assert np.array_equal(sound.mono().samples, sound.samples.mean(axis=1))


def test_full_scale_is_kept_and_what_is_beyond_it_refused(tmp_path: Path) -> None:
    loud = np.array([1, -1, 0.5], dtype=np.float32)
    write_wav(tmp_path / "loud.wav", loud, 8000)
    assert np.abs(read_audio(tmp_path / "loud.wav").samples - loud).max() < 1e-4
    with pytest.raises(UserError, match=r"would clip: its loudest sample is 1\.200"):
        write_wav(tmp_path / "louder.wav", loud * 1.2, 8000)
    with pytest.raises(UserError, match="not numbers"):
        wav_bytes(np.array([0, np.nan], dtype=np.float32), 8000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loud.wav"]


@pytest.mark.parametrize(("rate_hz", "wanted_hz"), [(96_000, 16_000), (11_025, 16_000)])
def test_resampling_keeps_what_fits_and_removes_what_would_alias(
    rate_hz: int, wanted_hz: int
) -> None:
    low = resample(tone(1000, rate_hz=rate_hz), rate_hz, wanted_hz)
    assert len(low) == wanted_hz
    inner = slice(1000, -1000)
    assert np.abs(low - tone(1000, rate_hz=wanted_hz))[inner].max() < 1e-3
    if rate_hz > wanted_hz:
        high = resample(tone(8200, rate_hz=rate_hz), rate_hz, wanted_hz)
        assert loudness(high[inner]) < 1e-4


def test_a_high_stereo_recording_is_read_at_the_rate_asked_for(tmp_path: Path) -> None:
    stereo = np.stack([tone(440, rate_hz=96_000)] * 2, axis=1)
    (tmp_path / "high.wav").write_bytes(encoded(stereo, "WAV", "PCM_24", 96_000))
    sound = read_audio(tmp_path / "high.wav", rate_hz=16_000)
    assert (sound.rate_hz, sound.samples.shape, sound.seconds) == (16_000, (16_000, 2), 1.0)
    with pytest.raises(UserError, match="the rate is 500 Hz; it must be from 1000 to 192000"):
        sound.at(500)


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        *(("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")),
        *(("RF64", "PCM_16"), ("AIFF", "PCM_16")),
    ],
)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_a_file_cut_short_is_refused(tmp_path: Path, kind: str, subtype: str, share: float) -> None:
    whole = encoded(tone(440, seconds=4), kind, subtype)
    path = tmp_path / "cut.sound"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match=r"cut\.sound .*cut short.*: get the file again"):
        read_audio(path)


def test_a_wav_from_a_pipe_does_not_know_its_length_and_is_read(tmp_path: Path) -> None:
    data = bytearray(encoded(tone(440), "WAV", "PCM_16"))
    data[4:8] = data[40:44] = b"\xff" * 4
    (tmp_path / "piped.wav").write_bytes(data)
    assert len(read_audio(tmp_path / "piped.wav").samples) == 16_000


def test_what_is_no_sound_is_refused_in_one_line(tmp_path: Path) -> None:
    renamed = tmp_path / "notes.mp3"
    renamed.write_text("to do: buy a dog\n" * 100)
    with pytest.raises(UserError, match=r"notes\.mp3 is no sound file, whatever its name says"):
        read_audio(renamed)
    (tmp_path / "empty.wav").touch()
    with pytest.raises(UserError, match=r"empty\.wav is empty"):
        read_audio(tmp_path / "empty.wav")
    with pytest.raises(UserError, match="does not exist"):
        read_audio(tmp_path / "none.wav")
    with pytest.raises(UserError, match="is no file"):
        read_audio(tmp_path)
    (tmp_path / "rare.au").write_bytes(encoded(tone(440), "AU", "PCM_16"))
    with pytest.raises(UserError, match=r"rare\.au is AU .*; wanted is WAV, FLAC"):
        read_audio(tmp_path / "rare.au")


def test_a_packing_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "phone.wav").write_bytes(encoded(tone(440, rate_hz=8000), "WAV", "GSM610", 8000))
    with pytest.raises(UserError, match=r"phone\.wav is packed as GSM 6\.10, which is not read"):
        read_audio(tmp_path / "phone.wav")


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")],
)
def test_damage_gives_samples_or_one_line_and_never_a_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str, subtype: str
) -> None:
    whole, draw = encoded(tone(440), kind, subtype), np.random.default_rng(0)
    path = tmp_path / "damaged.sound"
    refused = 0
    for _ in range(100):
        data = bytearray(whole)
        for place in draw.integers(0, min(len(data), 200), size=6):
            data[place] = draw.integers(0, 256)
        path.write_bytes(data)
        try:
            assert np.isfinite(read_audio(path).samples).all()
        except UserError:
            refused += 1
    assert refused > 5
    assert "Traceback" not in capfd.readouterr().err


def test_samples_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    samples = tone(440)
    samples[7] = np.nan
    (tmp_path / "nan.wav").write_bytes(encoded(samples, "WAV", "FLOAT"))
    with pytest.raises(UserError, match=r"nan\.wav holds samples that are not numbers"):
        read_audio(tmp_path / "nan.wav")
    (tmp_path / "scale.wav").write_bytes(encoded(tone(440) * 32768, "WAV", "FLOAT"))
    with pytest.raises(UserError, match=r"samples up to 1\.638e\+04, and full scale is 1"):
        read_audio(tmp_path / "scale.wav")


def test_a_sound_without_samples_is_refused(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "none.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
    with pytest.raises(UserError, match="holds no samples"):
        read_audio(tmp_path / "none.wav")


def test_too_much_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "long.wav"
    write_wav(path, tone(440, seconds=3), 16_000)
    monkeypatch.setattr(core.audio, "MOST_VALUES", 32_000)
    with pytest.raises(UserError, match=r"lasts 3 s; at most 2 s are read at 16000 Hz"):
        read_audio(path)
    monkeypatch.setattr(core.audio, "LARGEST_BYTES", 2**10)
    with pytest.raises(UserError, match=r"MiB; at most 0 are read"):
        read_audio(path)


def test_one_channel_is_its_own_mean() -> None:
    sound = Sound(samples=tone(440), rate_hz=16_000)
    assert sound.mono() is sound
    assert sound.at(16_000).samples is sound.samples


def test_channels_that_cancel_each_other_are_heard_as_the_loudest() -> None:
    wave, other = tone(440), tone(881)
    quiet = np.float32(0.1) * wave

    def mono(*channels: NDArray[np.float32]) -> NDArray[np.float32]:
        return Sound(samples=np.stack(channels, axis=1), rate_hz=16_000).mono().samples

    assert np.array_equal(mono(wave, -wave), wave)
    assert np.array_equal(mono(quiet - wave, wave), wave)
    np.testing.assert_allclose(mono(wave, other), (wave + other) / 2, atol=1e-6)
    np.testing.assert_allclose(mono(wave, 0 * wave), wave / 2, atol=1e-6)
    assert not mono(0 * wave, 0 * wave).any()
