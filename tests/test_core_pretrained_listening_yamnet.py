"""The real YAMNet on real recordings."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.audio import read_audio, write_wav
from core.errors import UserError
from core.pretrained.listening.animals import animals_of, prompt_for
from core.pretrained.listening.timeline import Heard
from core.pretrained.listening.yamnet import Yamnet, listen, open_yamnet

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def yamnet(real_data: Path) -> Yamnet:
    return open_yamnet(real_data / "weights" / "yamnet.tflite")


@pytest.fixture(scope="module")
def recordings(real_data: Path) -> list[Path]:
    return sorted((real_data / "audio").glob("*.wav"))


def top(path: Path, yamnet: Yamnet, count: int = 3) -> list[Heard]:
    return listen(path, yamnet)[0].top(count)


def kind(path: Path) -> str:
    return path.name.split("_")[0]


def test_dogs_cats_and_birds_are_among_the_top_three(
    yamnet: Yamnet, recordings: list[Path]
) -> None:
    known = [path for path in recordings if kind(path) in ("dog", "cat", "bird")]
    found = [
        kind(path) in {animal for one in top(path, yamnet) for animal in animals_of(one.category)}
        for path in known
    ]
    assert len(known) == 18
    assert np.mean(found) >= 0.8


def test_frogs_and_cows_are_heard_too(yamnet: Yamnet, recordings: list[Path]) -> None:
    for path in recordings:
        if kind(path) in ("frog", "cow"):
            animals = {a for one in top(path, yamnet) for a in animals_of(one.category)}
            assert kind(path) in animals, path.name


@pytest.mark.parametrize("name", ["dog_5", "cat_0", "bird_5", "frog_4"])
@pytest.mark.parametrize("kind", ["flac", "mp3", "ogg"])
def test_every_format_of_a_sound_agrees(
    yamnet: Yamnet, real_data: Path, tmp_path: Path, name: str, kind: str
) -> None:
    path = real_data / "audio" / f"{name}.wav"
    sound, expected = read_audio(path), top(path, yamnet)
    other = tmp_path / f"{name}.{kind}"
    soundfile.write(other, sound.samples, sound.rate_hz)
    found = top(other, yamnet)
    assert found[0].category == expected[0].category
    assert len({one.category for one in found} & {one.category for one in expected}) >= 2
    assert found[0].score == pytest.approx(expected[0].score, abs=0.1)


def test_as_mp3_nine_of_ten_recordings_sound_most_like_the_same(
    yamnet: Yamnet, recordings: list[Path], tmp_path: Path
) -> None:
    same = []
    for path in recordings:
        sound, other = read_audio(path), tmp_path / f"{path.stem}.mp3"
        soundfile.write(other, np.clip(sound.samples, -1, 1), sound.rate_hz)
        same.append(top(other, yamnet, 1)[0].category == top(path, yamnet, 1)[0].category)
    assert np.mean(same) >= 0.9


@pytest.mark.parametrize("name", ["dog_5", "cat_0"])
def test_eight_bits_are_enough_for_the_first_category(
    yamnet: Yamnet, real_data: Path, tmp_path: Path, name: str
) -> None:
    path = real_data / "audio" / f"{name}.wav"
    sound = read_audio(path)
    soundfile.write(tmp_path / "rough.wav", sound.samples, sound.rate_hz, subtype="PCM_U8")
    found, expected = top(tmp_path / "rough.wav", yamnet, 1), top(path, yamnet, 1)
    assert found[0].category == expected[0].category


def test_a_studios_format_agrees(yamnet: Yamnet, real_data: Path, tmp_path: Path) -> None:
    path = real_data / "audio" / "dog_5.wav"
    sound = read_audio(path).mono().at(96_000)
    stereo = np.clip(np.stack([sound.samples, sound.samples], axis=1), -1, 1)
    soundfile.write(tmp_path / "high.wav", stereo, 96_000, subtype="PCM_24")
    found, expected = top(tmp_path / "high.wav", yamnet), top(path, yamnet)
    assert [one.category for one in found[:2]] == [one.category for one in expected[:2]]
    assert found[0].score == pytest.approx(expected[0].score, abs=0.05)


def test_silence_is_heard_as_such_and_gives_no_prompt(yamnet: Yamnet, tmp_path: Path) -> None:
    write_wav(tmp_path / "silence.wav", np.zeros(48_000, np.float32), 16_000)
    timeline, _ = listen(tmp_path / "silence.wav", yamnet)
    assert timeline.top(1)[0].category == "Silence"
    assert timeline.top(1)[0].score > 0.9
    assert prompt_for(timeline) is None


def test_a_tenth_of_a_second_is_heard(yamnet: Yamnet, real_data: Path, tmp_path: Path) -> None:
    sound = read_audio(real_data / "audio" / "dog_5.wav")
    write_wav(tmp_path / "short.wav", sound.samples[2000:3600], sound.rate_hz)
    timeline, _ = listen(tmp_path / "short.wav", yamnet)
    assert timeline.scores.shape == (1, 521)
    assert np.isfinite(timeline.scores).all()
    assert timeline.top(1)


def test_a_text_file_renamed_is_refused_in_one_line(yamnet: Yamnet, tmp_path: Path) -> None:
    (tmp_path / "woof.wav").write_text("woof\n" * 1000)
    with pytest.raises(UserError, match=r"woof\.wav is no sound file") as told:
        listen(tmp_path / "woof.wav", yamnet)
    assert "\n" not in str(told.value)


def test_the_same_sound_gives_the_same_bytes(yamnet: Yamnet, real_data: Path) -> None:
    path = real_data / "audio" / "bird_0.wav"
    assert listen(path, yamnet)[0].digest == listen(path, yamnet)[0].digest
