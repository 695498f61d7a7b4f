"""A sound becomes a timeline, a class of ours, a prompt and a page."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from core.audio import read_audio, write_wav
from core.data.starter import LABELS
from core.errors import UserError
from core.pretrained.listening.animals import (
    NAMED_BY,
    animals_of,
    class_of,
    label_for,
    prompt_for,
)
from core.pretrained.listening.drawing import draw_timeline, timeline_page
from core.pretrained.listening.folder import ListenConfig, listen_to_files
from core.pretrained.listening.sampling import heard_prompt
from core.pretrained.listening.timeline import Timeline, read_timeline, write_timeline
from core.pretrained.listening.yamnet import Yamnet, listen, open_yamnet
from tests.hearing import linear_tflite, tone, write_call, write_tagger


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagger(tmp_path_factory.mktemp("tagger"))


@pytest.fixture(scope="module")
def yamnet(tagger: Path) -> Yamnet:
    return open_yamnet(tagger)


def made_up(**scores: list[float]) -> Timeline:
    """A timeline of these rows; names write commas as `__`."""
    names = tuple(name.replace("__", ", ").replace("_", " ") for name in scores)
    return Timeline(
        categories=names,
        scores=np.array(list(scores.values()), dtype=np.float32).T,
        hop_s=0.48,
        window_s=0.975,
        sound={"name": "a.wav", "sha256": "0" * 64, "seconds": 1.5, "rate_hz": 8, "channels": 1},
        made_by={"yamnet": "1" * 64, "categories": "2" * 64},
    )


def test_what_sounds_when_is_told_by_moments(yamnet: Yamnet, tmp_path: Path) -> None:
    path = tmp_path / "first a dog, then a cat.wav"
    write_wav(path, np.concatenate([tone(500, 1.92), tone(750, 1.92)]), 16_000)
    timeline, sound = listen(path, yamnet)
    assert timeline.seconds == sound.seconds == 3.84
    dog, cat = (timeline.categories.index(name) for name in ("Dog", "Meow"))
    assert timeline.scores.shape == (25, 5)
    assert timeline.scores[:8, dog].min() > 0.9 > 0.1 > timeline.scores[16:, dog].max()
    assert timeline.scores[16:24, cat].min() > 0.9 > 0.1 > timeline.scores[:8, cat].max()
    assert {heard.category for heard in timeline.top(2)} == {"Dog", "Meow"}


def test_a_sound_shorter_than_a_moment_is_filled_with_silence(
    yamnet: Yamnet, tmp_path: Path
) -> None:
    write_wav(tmp_path / "short.wav", tone(500, 0.1), 16_000)
    timeline, _ = listen(tmp_path / "short.wav", yamnet)
    assert timeline.scores.shape == (1, 5)
    assert timeline.top(1)[0].at_s == 0.1


def test_every_sample_is_heard(yamnet: Yamnet) -> None:
    quiet = np.zeros(15_600 + 1_920 + 1, dtype=np.float32)
    assert len(yamnet.hear(quiet[:15_600])) == 1
    assert len(yamnet.hear(quiet[:15_601])) == 2
    assert len(yamnet.hear(quiet)) == 3


def test_the_top_is_the_middle_between_mean_and_highest_without_groups() -> None:
    timeline = made_up(
        Animal=[1.0, 1.0], Bark=[0.9, 0.0], Music=[0.5, 0.5], Hum=[0.9, 0.1], Wind=[0.009, 0]
    )
    top = timeline.top(5)
    assert [(heard.category, heard.score) for heard in top] == [
        ("Hum", 0.7),
        ("Bark", 0.675),
        ("Music", 0.5),
    ]
    assert (top[1].mean, top[1].max, top[1].at_s) == (0.45, 0.9, 0.487)


def test_a_saved_timeline_comes_back_and_is_written_the_same_each_time(
    yamnet: Yamnet, tmp_path: Path
) -> None:
    timeline, _ = listen(write_call(tmp_path / "a.wav", "Dog", "Animal"), yamnet)
    write_timeline(tmp_path / "1.json", timeline, more="x")
    write_timeline(tmp_path / "2.json", timeline, more="x")
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()
    again = read_timeline(tmp_path / "1.json")
    assert again.top() == timeline.top()
    assert again.digest == timeline.digest
    (tmp_path / "1.json").write_text('{"format": "menagerie-timeline-1"}')
    with pytest.raises(UserError, match=r"1\.json is no timeline"):
        read_timeline(tmp_path / "1.json")


@pytest.mark.parametrize(
    ("category", "label"),
    [
        *(("Bark", "dog"), ("Whimper (dog)", "dog"), ("Canidae, dogs, wolves", "dog")),
        *(("Meow", "cat"), ("Purr", "cat"), ("Chirp, tweet", "bird"), ("Quack", "bird")),
        *(("Bird vocalization, bird call, bird song", "bird"), ("Crow", "bird")),
        *(("Frog", "frog"), ("Croak", "frog"), ("Neigh, whinny", "horse")),
        *(("Clip-clop", "horse"), ("Fish", "fish"), ("Rabbit", "rabbit"), ("Tortoise", "turtle")),
        *(("Speech", None), ("Whimper", None), ("Moo", None), ("Animal", None)),
        *(("Catapult", None), ("Steam whistle", None)),
    ],
)
def test_a_category_names_a_starter_class_or_none(category: str, label: str | None) -> None:
    assert label_for(category, LABELS) == label


def test_every_starter_class_has_words() -> None:
    assert set(LABELS) <= set(NAMED_BY)


@pytest.mark.parametrize(
    ("category", "labels", "label"),
    [
        ("Quack", ("bird", "duck"), "duck"),
        ("Bird", ("duck", "owl"), None),
        ("Owl", ("Birds",), "Birds"),
        ("Meow", ("tabby_cat", "dog"), "tabby_cat"),
        ("Bark", ("Puppy",), "Puppy"),
        ("Church bell", ("church-bell",), "church-bell"),
        ("Cattle, bovinae", ("cows",), "cows"),
        ("Dog", ("hot dog stand",), None),
        ("Dog", ("",), None),
    ],
)
def test_labels_of_any_model_are_found(
    category: str, labels: tuple[str, ...], label: str | None
) -> None:
    assert label_for(category, labels) == label


def test_the_class_is_the_highest_one_named_among_the_top_three() -> None:
    named = class_of(made_up(Speech=[0.9], Meow=[0.6], Bark=[0.5]), LABELS)
    assert (named.label, named.heard.category, named.heard.score) == ("cat", "Meow", 0.6)
    with pytest.raises(
        UserError, match=r"a\.wav sounds like Speech 0\.90, Music 0\.80, Wind 0\.70: n"
    ):
        class_of(made_up(Speech=[0.9], Music=[0.8], Wind=[0.7], Bark=[0.6]), LABELS)
    with pytest.raises(UserError, match=r"names a class of this model \(cat, dog\)"):
        class_of(made_up(Bark=[0.05]), ("cat", "dog"))


def test_a_prompt_tells_the_animal_or_what_is_heard() -> None:
    assert prompt_for(made_up(Speech=[0.9], Hoot=[0.6])) == "an owl sticker, plain background"
    assert prompt_for(made_up(Chirp__tweet=[0.9])) == "a bird sticker, plain background"
    assert prompt_for(made_up(Guitar=[0.9]), "my {animal}") == "my guitar"
    assert prompt_for(made_up(Silence=[1.0, 1.0], Bark=[0.9, 0])) == (
        "a dog sticker, plain background"
    )
    assert prompt_for(made_up(Silence=[1.0], Bark=[0.05])) is None
    assert prompt_for(made_up(Bark=[0.02])) is None
    for template in ("a dog", "a {colour} {animal}"):
        with pytest.raises(UserError, match=r"must have \{animal\} in it"):
            prompt_for(made_up(Bark=[0.9]), template)
    assert animals_of("Speech") == []


def test_a_prompt_for_a_pipeline_tells_what_it_comes_from(tagger: Path, tmp_path: Path) -> None:
    song = write_call(tmp_path / "song.wav", "Acoustic guitar")
    made = heard_prompt(song, yamnet=tagger, template="a {animal}, watercolour")
    assert made["prompt"] == "an acoustic guitar, watercolour"
    assert made["category"] == "Acoustic guitar"
    assert made["score"] > 0.9
    assert len(made["sha256"]) == len(made["yamnet"]) == 64
    with pytest.raises(UserError, match=r"none\.wav holds nothing but silence"):
        heard_prompt(write_call(tmp_path / "none.wav"), yamnet=tagger)


def test_the_plot_and_the_page_hold_all_and_load_nothing(yamnet: Yamnet, tmp_path: Path) -> None:
    path = write_call(tmp_path / "<b>dog & co.wav", "Dog")
    timeline, sound = listen(path, yamnet)
    plot = draw_timeline(timeline, sound)
    assert plot == draw_timeline(timeline, sound)
    assert b">Dog</text>" in plot
    page = timeline_page(timeline, sound, plot, class_of(timeline, LABELS), "a <prompt>")
    assert "<b>dog" not in page
    assert "&lt;b&gt;dog &amp; co.wav" in page
    assert "a &lt;prompt&gt;" in page
    assert 'src="data:audio/wav;base64,' in page
    assert "media-src data:" in page
    assert set(re.findall(r'(?:src|href)="(.{5})', page)) == {"data:"}


def test_each_sound_gets_a_folder_and_is_left_alone_when_done(tagger: Path, tmp_path: Path) -> None:
    dog, none = write_call(tmp_path / "dog.wav", "Dog"), write_call(tmp_path / "none.wav")
    config = ListenConfig(audio=(dog, none), yamnet=tagger)
    out = tmp_path / "heard"
    first = listen_to_files(config, out)
    assert [one.named and one.named.label for one in first] == ["dog", None]
    assert first[1].prompt is None
    assert not any(one.reused for one in first)
    facts = json.loads((out / "dog.wav" / "timeline.json").read_text())
    assert facts["label"] == "dog"
    assert facts["label_by"]["category"] == "Dog"
    assert facts["prompt"] == "a dog sticker, plain background"
    assert len(facts["sound"]["sha256"]) == len(facts["made_by"]["yamnet"]) == 64
    before = {path: path.read_bytes() for path in sorted(out.rglob("*.*")) if path.is_file()}
    assert all(one.reused for one in listen_to_files(config, out))
    assert before == {path: path.read_bytes() for path in before}
    other = ListenConfig(audio=(dog,), yamnet=tagger, template="one {animal}")
    assert not listen_to_files(other, out)[0].reused


def test_two_files_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match=r"two files called a\.wav"):
        ListenConfig(audio=(Path("x/a.wav"), Path("y/a.wav")))


def test_a_model_that_is_not_yamnet_is_refused_in_one_line(tmp_path: Path) -> None:
    few = write_tagger(tmp_path / "few", ("Dog", "Meow"))
    with pytest.raises(UserError, match=r"gives 5 scores and 2 categories .* not belong together"):
        open_yamnet(few)
    small = write_tagger(tmp_path / "small")
    small.write_bytes(linear_tflite(np.ones((5, 8), np.float32), np.zeros(5)))
    with pytest.raises(UserError, match=r"takes 1×8 values; YAMNet takes 15600"):
        open_yamnet(small)
    small.write_bytes(b"no model")
    with pytest.raises(UserError, match="is no TFLite model"):
        open_yamnet(small)


def test_what_was_heard_is_mono_at_the_models_rate(yamnet: Yamnet, tmp_path: Path) -> None:
    left = np.repeat(tone(500, 2.0), 3)  # 48 kHz, in steps: its images lie above what is heard
    write_wav(tmp_path / "stereo.wav", np.stack([left, left], axis=1), 48_000)
    timeline, sound = listen(tmp_path / "stereo.wav", yamnet)
    assert (sound.rate_hz, sound.channels) == (16_000, 1)
    assert (timeline.sound["rate_hz"], timeline.sound["channels"]) == (48_000, 2)
    assert timeline.top(1)[0].category == "Dog"
    assert read_audio(tmp_path / "stereo.wav").channels == 2
