"""The starter animals: one seed, one animal, everywhere; a set that looks like a set."""

import hashlib
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from core.data.starter import LABELS, animal_svg, draw_animal, draw_many, write_collection
from core.errors import UserError
from core.images import Picture, premultiply

SEEDS = range(12)


@pytest.mark.parametrize("label", LABELS)
def test_a_seed_draws_the_same_animal_whatever_was_drawn_before(label: str) -> None:
    first = animal_svg(label, 5)
    for seed in (1, 2, 3):
        animal_svg(label, seed)
    assert animal_svg(label, 5) == first
    assert np.array_equal(draw_animal(label, 5, 64), draw_animal(label, 5, 64))


@pytest.mark.parametrize("label", LABELS)
def test_nothing_touches_the_border_and_the_animal_fills_the_frame(label: str) -> None:
    for seed in SEEDS:
        for size_px in (32, 64, 100, 512):
            picture = draw_animal(label, seed, size_px)
            assert picture.shape == (size_px, size_px, 4)
            assert picture.dtype == np.uint8
            alpha = picture[..., 3]
            border = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
            assert not border.any()
            rows, columns = np.nonzero(alpha > 127)
            height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
            assert max(height, width) >= 0.82 * size_px
            assert min(height, width) >= 0.5 * size_px
            assert abs(rows.min() + rows.max() + 1 - size_px) <= 0.04 * size_px + 1
            assert abs(columns.min() + columns.max() + 1 - size_px) <= 0.04 * size_px + 1


@pytest.mark.parametrize("label", LABELS)
def test_a_set_holds_different_animals(label: str) -> None:
    pictures = [premultiply(draw_animal(label, seed, 48)).astype(float) for seed in range(24)]
    distances = [np.abs(a - b).mean() for a, b in itertools.combinations(pictures, 2)]
    assert min(distances) > 1.5
    assert np.mean(distances) > 20


@pytest.mark.parametrize("label", LABELS)
def test_some_animals_have_an_outline_and_some_have_none(label: str) -> None:
    # An outline strokes a part where it stands; a seam is a stroke inside a clip path.
    outlined = ["\n<g stroke=" in animal_svg(label, seed) for seed in range(40)]
    assert 8 < sum(outlined) < 36


@pytest.mark.parametrize("label", [label for label in LABELS if label != "frog"])
def test_animals_face_both_ways(label: str) -> None:
    sides = [_heavier_side(draw_animal(label, seed, 64)) for seed in range(40)]
    assert 4 < sum(side > 0 for side in sides) < 36


def _heavier_side(picture: Picture) -> float:
    """Where most dark detail lies: on the right (positive) or on the left."""
    wide = picture.astype(float)
    ink = (255 - wide[..., :3].mean(axis=-1)) * (wide[..., 3] > 0)
    return float(ink[:, 32:].sum() - ink[:, :32].sum())


def test_small_and_large_show_the_same_animal() -> None:
    for label in LABELS:
        large = premultiply(draw_animal(label, 3, 512)).astype(float)
        small = premultiply(draw_animal(label, 3, 32)).astype(float)
        shrunk = large.reshape(32, 16, 32, 16, 4).mean(axis=(1, 3))
        assert np.abs(shrunk - small).mean() < 4


def test_coordinates_have_one_decimal_so_that_platforms_agree() -> None:
    for label in LABELS:
        coordinates = "".join(re.findall(r' d="([^"]*)"', animal_svg(label, 0)))
        assert not re.search(r"\.\d\d|e-|-0\.0(?!\d)|nan", coordinates)


def test_the_drawings_are_those_of_this_version() -> None:
    text = "".join(animal_svg(label, seed) for label in LABELS for seed in range(4))
    # Datasets are pinned by content: a change of this digest is a change of the default data.
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "50dd753029ee338b"


@pytest.mark.parametrize(
    ("label", "seed", "size_px", "hint"),
    [
        ("dragon", 0, 64, "bird, cat"),
        ("cat", -1, 64, "0 or more"),
        ("cat", 0, 31, "32 to 512"),
        ("cat", 0, 513, "32 to 512"),
    ],
)
def test_bad_requests_are_explained(label: str, seed: int, size_px: int, hint: str) -> None:
    with pytest.raises(UserError, match=hint):
        draw_animal(label, seed, size_px)


def test_fewer_than_one_per_class_is_refused() -> None:
    with pytest.raises(UserError, match="1 or more"):
        next(draw_many(0, 0, 64))


def test_a_longer_run_contains_a_shorter_one() -> None:
    short = {(label, seed): p for label, seed, p in draw_many(1, 4, 32)}
    long = {(label, seed): p for label, seed, p in draw_many(2, 4, 32)}
    assert set(short) < set(long)
    assert all(np.array_equal(short[key], long[key]) for key in short)


def test_a_collection_explains_itself(tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s a "zoo"\n'
    write_collection(folder, per_class=2, seed=3, size_px=64)
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    assert [row["label"] for row in rows] == [label for label in LABELS for _ in range(2)]
    for row in rows:
        data = (folder / row["file_name"]).read_bytes()
        assert row["sha256"] == hashlib.sha256(data).hexdigest()
        assert (row["source"], row["licence"]) == ("menagerie-starter", "MIT")
    with pytest.raises(UserError, match="already exists"):
        write_collection(folder, per_class=1, size_px=64)


@pytest.mark.slow
def test_hugging_face_datasets_opens_a_collection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    import datasets

    write_collection(tmp_path / "zoo", per_class=2, size_px=64)
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "zoo"), cache_dir=str(tmp_path / "cache")
    )
    rows = loaded["train"]
    assert rows.num_rows == 2 * len(LABELS)
    assert {row["label"] for row in rows} == set(LABELS)
    assert rows[0]["image"].mode == "RGBA"
