"""Copies of training pictures are told from pictures that are merely alike."""

import numpy as np
import pytest

from core.data.pinned import SPLITS, PinnedItem, open_pinned, write_pinned
from core.errors import UserError
from core.evaluation.novelty import TrainingNeighbours
from core.images import unpremultiply
from tests.tiny import tiny_dataset


def clouds(count, seed):
    """Pictures as varied as photographs: soft coloured patches with fine detail, 32 px."""
    random = np.random.default_rng(seed)
    soft = sum(
        (
            np.kron(
                random.normal(0, 60 / k**0.5, (count, k, k, 3)), np.ones((1, 32 // k, 32 // k, 1))
            )
        )
        for k in (2, 4, 8, 16)
    )
    return np.clip(soft + 128, 0, 255).astype(np.uint8)


def dataset_of(folder, splits):
    """A pinned dataset of one class, with these pictures in each split."""
    images = np.concatenate([splits[name] for name in SPLITS])
    names = [name for name in SPLITS for _ in splits[name]]
    folder.mkdir()
    write_pinned(
        folder,
        images=images,
        items=[
            PinnedItem(file_name=f"{k}.png", sha256="", label="cloud", split=split, group=k)
            for k, split in enumerate(names)
        ],
        label_names=("cloud",),
        transform={"size_px": images.shape[1], "channels": 3},
        source={"kind": "test"},
    )
    return open_pinned(folder)


TRAIN = clouds(300, seed=1)


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory):
    splits = {"train": TRAIN, "validation": clouds(100, 2), "test": clouds(100, 3)}
    return TrainingNeighbours(dataset_of(tmp_path_factory.mktemp("data") / "clouds", splits))


def shifted(images):
    """A pixel down and to the right, the border repeated."""
    return np.pad(images, ((0, 0), (1, 0), (1, 0), (0, 0)), mode="edge")[:, :-1, :-1]


def recoloured(images):
    return (images * np.array([0.7, 0.9, 1.0])).astype(np.uint8)


def noisy(images):
    noise = np.random.default_rng(4).normal(0, 12, images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "change",
    [lambda images: images, lambda images: images[:, :, ::-1], shifted, recoloured, noisy],
    ids=["exact", "mirrored", "shifted", "recoloured", "noisy"],
)
def test_copies_are_found_and_of_what(neighbours, change):
    copies = change(TRAIN[100:140])
    rows, distances = neighbours.nearest(list(copies))
    assert rows.tolist() == list(range(100, 140))
    assert distances.max() < neighbours.threshold
    assert neighbours.rate(list(copies)) == 1


def test_pictures_that_were_never_seen_are_no_copies(neighbours):
    fresh = list(clouds(400, seed=5))
    assert neighbours.rate(fresh) <= 0.02
    assert neighbours.rate([*fresh[:30], *TRAIN[:10]]) == pytest.approx(0.25, abs=0.03)


def test_plain_pictures_are_no_copies_of_each_other(neighbours):
    plain = [np.full((32, 32, 3), level, np.uint8) for level in (0, 128, 255)]
    assert neighbours.rate(plain) == 0
    assert neighbours.rate([]) == 0


def test_cartoons_with_alpha_and_few_of_them(tmp_path):
    dataset = tiny_dataset(tmp_path / "animals")
    neighbours = TrainingNeighbours(dataset)
    train, held_out = (
        [unpremultiply(image) for image in np.array(dataset.part(name)[0])]
        for name in ("train", "validation")
    )
    assert neighbours.rate(train) == 1
    assert neighbours.nearest(train)[0].tolist() == list(range(len(train)))
    assert neighbours.rate(held_out) <= 1 / len(held_out)
    with pytest.raises(UserError, match="3 channels, but the training pictures have 4"):
        neighbours.rate([train[0][..., :3]])


def test_without_held_out_pictures_copies_still_count(tmp_path):
    nothing = TRAIN[:0]
    splits = {"train": TRAIN, "validation": nothing, "test": nothing}
    neighbours = TrainingNeighbours(dataset_of(tmp_path / "all", splits))
    assert neighbours.rate(list(shifted(TRAIN[:40]))) == 1
    assert neighbours.rate(list(clouds(400, seed=5))) <= 0.05


def test_a_single_training_picture_can_be_copied_and_none_cannot(tmp_path):
    nothing = TRAIN[:0]
    splits = {"train": TRAIN[:1], "validation": nothing, "test": clouds(100, 3)}
    neighbours = TrainingNeighbours(dataset_of(tmp_path / "one", splits))
    assert neighbours.rate(list(TRAIN[:4])) == 0.25
    with pytest.raises(UserError, match="no training pictures"):
        TrainingNeighbours(dataset_of(tmp_path / "none", {**splits, "train": nothing}))


@pytest.mark.parametrize("held_out", [9, 18, 36])
def test_a_small_dataset_accuses_no_honest_set(tmp_path, held_out):
    """The thresholds are then the nearest of a few: many honest pictures may be nearer."""
    accused = 0
    for seed in range(4):
        splits = {
            "train": TRAIN[:100],
            "validation": clouds(held_out // 2, 10 + seed),
            "test": clouds(held_out - held_out // 2, 20 + seed),
        }
        small = TrainingNeighbours(dataset_of(tmp_path / str(seed), splits))
        found = int(small.copies(clouds(96, 30 + seed)).sum())
        accused += small.are_too_many(found, 96)
        copied = np.concatenate([shifted(TRAIN[:90]), clouds(6, 40 + seed)])
        assert small.are_too_many(int(small.copies(copied).sum()), 96)
    assert accused == 0


def test_many_held_out_pictures_accuse_beyond_one_in_twenty(neighbours):
    assert neighbours.calibrated_on == 200
    assert not neighbours.are_too_many(10, 256)
    assert neighbours.are_too_many(30, 256)
    assert not neighbours.are_too_many(0, 0)
