"""MP3s whose first frame does not tell how many follow: whole all the same, or refused."""

import contextlib
import io
import time

import numpy as np
import pytest
import soundfile

from core.audio import Sound, decode_audio
from core.errors import UserError
from core.mpeg import with_frame_count

ID3 = b"ID3\4\0\0\0\1\x28\0" + bytes(21 * 2**10)
"""As long as one with a small picture."""
ID3V1 = b"TAG" + bytes(125)
APE = b"APETAGEX" + bytes(3000)


def mp3(
    *, rate_hz: int = 44_100, channels: int = 1, mode: str = "CONSTANT", level: float = 0.5
) -> bytes:
    """2 s: a quiet tone, then a loud noise that takes more bits; its count in an Info frame."""
    moments = np.arange(2 * rate_hz) / rate_hz
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, len(moments)) * (moments > 1)
    wave = 0.1 * np.sin(2 * np.pi * 440 * moments) + noise
    buffer = io.BytesIO()
    soundfile.write(
        buffer,
        np.stack([wave] * channels, axis=1),
        rate_hz,
        format="MP3",
        bitrate_mode=mode,
        compression_level=level,
    )
    return buffer.getvalue()


def without_count(data: bytes) -> bytes:
    """The same MP3 without its first frame: the second has the same first two bytes."""
    return data[data.index(data[:2], 4) :]


def seconds(data: bytes) -> float:
    return decode_audio(data).seconds


def likeness(sound: Sound, other: Sound) -> float:
    """Highest correlation of two sounds' levels in pieces of 0.1 s, from -1 to 1."""
    levels = []
    for one in (sound, other):
        piece = one.rate_hz // 10
        pieces = one.mono().samples[: 19 * piece].reshape(19, piece)
        levels.append(np.sqrt(np.square(pieces).mean(axis=1)))
    return float(np.corrcoef(levels)[0, 1])


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100])
def test_an_mp3_without_a_count_is_read_to_its_end(rate_hz: int, channels: int, mode: str) -> None:
    whole = mp3(rate_hz=rate_hz, channels=channels, mode=mode)
    counted, plain = decode_audio(whole), decode_audio(without_count(whole))
    assert (plain.rate_hz, plain.channels) == (rate_hz, channels)
    assert plain.seconds == pytest.approx(counted.seconds, abs=0.3)
    assert plain.seconds >= counted.seconds
    assert likeness(plain, counted) > 0.9


@pytest.mark.parametrize("level", [0.0, 0.3, 0.9])
def test_every_constant_bitrate_is_read(level: float) -> None:
    assert 2 <= seconds(without_count(mp3(level=level))) < 2.1


def test_tags_before_and_after_are_no_sound() -> None:
    plain = without_count(mp3(mode="VARIABLE"))
    alone = decode_audio(plain).samples
    for tagged in (ID3 + plain, ID3 + ID3 + plain, plain + ID3V1, ID3 + plain + APE + ID3V1):
        assert np.array_equal(decode_audio(tagged).samples, alone)


@pytest.mark.parametrize("between", [b"", ID3, ID3V1, bytes(900)])
def test_joined_mp3s_are_read_to_the_end_of_the_last(between: bytes) -> None:
    whole = mp3(mode="VARIABLE")
    plain = without_count(whole)
    assert seconds(plain + between + plain) == pytest.approx(2 * seconds(plain), abs=0.03)
    assert seconds(whole + between + whole) == pytest.approx(2 * seconds(whole), abs=0.1)


@pytest.mark.parametrize("between", [b"", ID3])
@pytest.mark.parametrize("other", [{"rate_hz": 22_050}, {"channels": 2}])
def test_joined_mp3s_of_two_kinds_are_refused(between: bytes, other: dict[str, int]) -> None:
    with pytest.raises(UserError, match="changes its rate or number of channels on the way"):
        decode_audio(mp3() + between + mp3(**other))


def test_a_count_that_the_decoder_does_not_know_is_replaced() -> None:
    whole = mp3(mode="VARIABLE")
    plain = without_count(whole)
    wanted = decode_audio(plain).samples
    uncounted = bytearray(whole)
    place = whole.index(b"Xing")
    uncounted[place + 4 : place + 8] = bytes(4)
    frame = bytearray(whole[: len(whole) - len(plain)])
    frame[place : place + 4] = bytes(4)
    frame[36:40] = b"VBRI"
    for led in (bytes(uncounted), bytes(frame) + plain):
        assert np.array_equal(decode_audio(led).samples, wanted)


def test_a_file_with_a_true_count_or_of_another_kind_is_left_alone() -> None:
    whole = mp3()
    for data in (whole, ID3 + whole, whole + ID3V1, whole[:-20], b"RIFF" + whole, b"ID3", b"\xff"):
        assert with_frame_count(data) is data
    for length in range(12):
        assert with_frame_count(whole[:length]) == whole[:length]


def test_an_end_within_a_frame_is_told_and_long_damage_refused() -> None:
    plain = without_count(mp3())
    with pytest.raises(UserError, match="is cut short, its end is missing"):
        decode_audio(plain[:-50])
    half = len(plain) // 2
    with pytest.raises(UserError, match="is damaged or cut short"):
        decode_audio(plain[:half] + bytes(5000) + plain[half:])


def test_garbage_gives_samples_or_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    plain, draw = without_count(mp3(level=0.9)), np.random.default_rng(0)
    for n in range(60):
        data = bytearray(plain)
        for place in draw.integers(0, 400 if n % 2 else len(data), size=20):
            data[place] = draw.integers(0, 256)
        with contextlib.suppress(UserError):
            assert np.isfinite(decode_audio(bytes(data)).samples).all()
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("junk", [b"", b"\xff" * 2**22, b"\xff\xfb\x90\xc0" * 2**20, ID3 * 200])
def test_frames_are_counted_in_time_that_grows_with_the_file_alone(junk: bytes) -> None:
    plain = without_count(mp3())
    began_s = time.process_time()
    with_frame_count((plain + junk[: 2**14]) * 200 + junk)
    assert time.process_time() - began_s < 20
