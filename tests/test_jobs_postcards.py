"""The postcards job: cards from samples and packs, again, after a stop, and from bad input."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from exporters.build import build_pack
from exporters.config import ExportConfig
from jobs import calls, phrases, postcards
from tests.samplesets import animal, write_sample_set


def run(out, *flags):
    return postcards.main(["--cluster", "inline", "--out", str(out), *flags])


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Two frogs and a cat, in two shards."""
    folder = tmp_path_factory.mktemp("given") / "samples"
    write_sample_set(folder, [[animal("frog", 3), animal("frog", 4)], [animal("cat", 5)]])
    return folder


@pytest.fixture(scope="module")
def made(samples, tmp_path_factory):
    """A card of each class."""
    out = tmp_path_factory.mktemp("made") / "cards"
    assert run(out, "--samples", str(samples), "--count", "2", "--title", "Little & wild") == 0
    return out


def test_each_class_has_its_card_with_all_its_files(made):
    facts = json.loads((made / "cards.json").read_text())
    assert [(card["label"], card["seed"]) for card in facts["cards"]] == [("cat", 5), ("frog", 3)]
    assert sorted(path.name for path in (made / "frog_000003").iterdir()) == [
        *("back.png", "back.svg", "call.wav", "card.html", "card.json", "card.pdf"),
        *("front.png", "front.svg"),
    ]
    card = facts["cards"][1]
    assert card["picture"]["drawn"] == "traced"
    assert card["phrase"]
    assert len(card["call"]["sha256"]) == 64
    assert sorted(card["files"]) == [
        *("back.png", "back.svg", "call.wav", "card.html", "card.pdf", "front.png", "front.svg")
    ]
    assert facts["provenance"]["licence"] == "CC0-1.0"
    assert (made / "cards.pdf").read_bytes().count(b"/Type /Page ") == 4


def test_pages_fetch_nothing_from_outside_and_a_card_is_whole_alone(made):
    page = (made / "index.html").read_text()
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(links) == 2 * 8 + 1
    assert all((made / link).is_file() for link in links)
    assert "Little &amp; wild" in page
    alone = (made / "frog_000003" / "card.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]{12})', alone)
    assert sources == ["data:image/s", "data:image/s", "data:audio/w"]
    assert str(made.parent) not in page + alone + (made / "cards.json").read_text()


def test_the_same_command_does_nothing_and_other_settings_are_refused(made, samples, capsys):
    before = files(made)
    flags = ("--samples", str(samples), "--count", "2")
    assert run(made, *flags, "--title", "Little & wild") == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run(made, *flags) == 2
    assert "name another --out" in capsys.readouterr().err
    assert files(made) == before


def test_cards_that_are_missing_are_made_to_the_same_bytes(made, samples, tmp_path, monkeypatch):
    from exporters.postcard import work

    flags = ("--samples", str(samples), "--count", "2", "--title", "Little & wild")
    shutil.copytree(made, tmp_path / "c")
    for name in ("cards.json", "index.html"):
        (tmp_path / "c" / name).unlink()
    shutil.rmtree(tmp_path / "c" / "frog_000003")

    def stopping(*_arguments, **_more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(work, "card_page", stopping)
        assert run(tmp_path / "c", *flags) == 130
    assert not (tmp_path / "c" / "frog_000003").exists()
    assert run(tmp_path / "c", *flags) == 0
    assert files(tmp_path / "c") == files(made)


def test_a_pack_gives_its_own_drawings_and_calls_and_phrases_may_be_given(
    samples, tmp_path, capsys
):
    one = write_sample_set(tmp_path / "one", [[animal("frog", 3)]])
    build_pack(ExportConfig(samples=one.folder), tmp_path / "pack")
    given = ("--samples", str(one.folder))
    assert calls.main(["--cluster", "inline", "--out", str(tmp_path / "calls"), *given]) == 0
    assert phrases.main(["--out", str(tmp_path / "phrases"), *given]) == 0
    flags = ("--calls", str(tmp_path / "calls"), "--phrases", str(tmp_path / "phrases"))
    assert run(tmp_path / "cards", "--samples", str(tmp_path / "pack.zip"), *flags) == 0
    card = json.loads((tmp_path / "cards" / "frog_000003" / "card.json").read_text())
    assert card["picture"]["drawn"] == "the pack's"
    sticker = json.loads((tmp_path / "pack" / "pack.json").read_text())["stickers"][0]
    assert card["picture"]["svg_sha256"] == sticker["sha256"]
    call = (tmp_path / "calls" / "frog_000003.wav").read_bytes()
    assert (tmp_path / "cards" / "frog_000003" / "call.wav").read_bytes() == call
    capsys.readouterr()
    assert run(tmp_path / "more", "--samples", str(samples), *flags) == 2
    assert "holds no calls of cat 5" in capsys.readouterr().err


def test_what_cannot_be_traced_is_shown_as_it_is(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 4), dtype=np.uint8)
    noise[..., 3] = 255
    sample = animal("cat", 1)
    sample = type(sample)(image_hwc=noise, label="cat", seed=1)
    write_sample_set(tmp_path / "s", [[sample]])
    assert run(tmp_path / "cards", "--samples", str(tmp_path / "s")) == 0
    card = json.loads((tmp_path / "cards" / "cat_000001" / "card.json").read_text())
    assert card["picture"]["drawn"] == "pixels"
    assert card["picture"]["not_traced"]
    assert "<image " in (tmp_path / "cards" / "cat_000001" / "front.svg").read_text()


def test_black_and_empty_samples_get_no_card_and_those_asked_for_are_named(tmp_path, capsys):
    black, empty, cat = animal("frog", 1), animal("frog", 2), animal("cat", 5)
    black.image_hwc[:] = (0, 0, 0, 255)
    black = dataclasses.replace(black, trouble="blacked out by a checker")
    empty.image_hwc[..., 3] = 0
    folder = write_sample_set(
        tmp_path / "s", [[black, empty, animal("frog", 3)], [animal("frog", 4), cat]]
    ).folder
    flags = ("--samples", str(folder), "--count", "2", "--title", "Little & wild")
    assert run(tmp_path / "cards", *flags) == 0
    told = "2 pictures left out: 1 blacked out by a checker; 1 empty: nothing of it can be seen\n"
    assert told in capsys.readouterr().out
    facts = json.loads((tmp_path / "cards" / "cards.json").read_text())
    assert [(card["label"], card["seed"]) for card in facts["cards"]] == [("cat", 5), ("frog", 3)]
    assert run(tmp_path / "cards", *flags) == 0
    assert "nothing to do" in capsys.readouterr().out
    for seeds, reason in (("1", "blacked out by a checker"), ("4,2", "empty: nothing")):
        assert run(tmp_path / "more", *flags, "--seeds", *seeds.split(",")) == 2
        complaint = f"frog_00000{seeds[-1]}, which --seeds names, cannot be shown ({reason}"
        assert complaint in capsys.readouterr().err
    write_sample_set(tmp_path / "bad", [[black]])
    assert run(tmp_path / "more", "--samples", str(tmp_path / "bad")) == 2
    assert "holds no picture that can be shown (1 picture left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--count", "0"], "--count is 0: from 1"),
        (["--labels", "unicorn"], "has no class 'unicorn': known are cat, frog"),
        (["--seeds", "99"], "holds no picture of the seeds 99"),
        (["--title", " "], "--title has to have"),
        (["--calls", "/nowhere"], "holds no finished calls"),
        (["--phrases", "/nowhere"], "holds no finished phrases"),
        (["--samples", "/nowhere"], "is not a finished sample set"),
    ],
)
def test_bad_input_is_one_line(samples, tmp_path, capsys, flags, complaint):
    assert run(tmp_path / "out", "--samples", str(samples), *flags) == 2
    lines = [
        line for line in capsys.readouterr().err.splitlines() if not line.startswith("cluster: ")
    ]
    assert len(lines) == 1
    assert complaint in lines[0]
    assert not (tmp_path / "out").exists()
