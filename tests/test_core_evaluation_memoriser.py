"""A planted memoriser, whose samples are jittered training pictures, is caught; honest ones not."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from core.data.pinned import SPLITS, PinnedItem, open_pinned, write_pinned
from core.data.starter import LABELS, draw_animal
from core.evaluation.novelty import TrainingNeighbours
from core.images import premultiply, unpremultiply

PLANTED = 120


def jittered(picture, chance):
    """Mirrored half the time, shifted by up to 8 %, turned by up to 8°, other light and colours."""
    image = Image.fromarray(picture)
    if chance.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    reach = image.width // 12
    x, y = (int(shift) for shift in chance.integers(-reach, reach + 1, 2))
    turn_deg = chance.uniform(-8, 8)
    image = image.rotate(turn_deg, Image.Resampling.BICUBIC, translate=(x, y))
    coloured = image.convert("RGB")
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        coloured = change(coloured).enhance(chance.uniform(0.75, 1.25))
    if image.mode == "RGBA":
        coloured.putalpha(image.getchannel("A"))
    return np.asarray(coloured)


def pinned(folder, splits):
    """A dataset of (label, straight picture) by split."""
    items = [
        PinnedItem(file_name=f"{split}/{k}", sha256="", label=label, split=split, group=k)
        for split in SPLITS
        for k, (label, _) in enumerate(splits[split])
    ]
    images = [premultiply(picture) for split in SPLITS for _, picture in splits[split]]
    folder.mkdir()
    write_pinned(
        folder,
        images=images,
        items=items,
        label_names=sorted({item.label for item in items}),
        transform={"size_px": images[0].shape[0], "channels": images[0].shape[-1]},
        source={"kind": "test"},
    )
    return open_pinned(folder)


def planted(dataset):
    """Training pictures, jittered, and the rows that they are of."""
    chance = np.random.default_rng(0)
    train, _ = dataset.part("train")
    rows = chance.choice(len(train), PLANTED, replace=False)
    return [jittered(unpremultiply(np.array(train[row])), chance) for row in rows], rows


def test_copies_of_starter_animals_are_told_from_fresh_ones(tmp_path):
    def animals(first, each):
        return [(name, draw_animal(name, first + k, 48)) for name in LABELS for k in range(each)]

    splits = {"train": animals(0, 40), "validation": animals(5000, 8), "test": animals(7000, 8)}
    dataset = pinned(tmp_path / "animals", splits)
    neighbours = TrainingNeighbours(dataset)
    copies, rows = planted(dataset)
    found = neighbours.matches(copies)
    assert (found.laid_rows == rows).mean() > 0.85
    accused = neighbours.excess(found.laid.tolist())
    assert accused.copies
    assert accused.share > 0.5
    fresh = neighbours.matches([picture for _, picture in animals(90_000, 15)])
    assert not neighbours.excess(fresh.laid.tolist()).copies
    assert fresh.copies.mean() <= 0.04
    # One in four samples is a copy: still too many to be chance.
    mixed = [*fresh.laid[:90].tolist(), *found.laid[:30].tolist()]
    assert neighbours.excess(mixed).share > 0.1


@pytest.mark.realdata
@pytest.mark.slow
def test_copies_of_photographs_are_told_one_by_one(real_data, tmp_path):
    folders = sorted(path for path in (real_data / "animals8").iterdir() if path.is_dir())

    def photographs(begin, end):
        found = []
        for folder in folders:
            for path in sorted(folder.iterdir())[begin:end]:
                with Image.open(path) as image:
                    small = image.convert("RGB").resize((64, 64), Image.Resampling.BOX)
                found.append((folder.name, np.asarray(small)))
        return found

    splits = {
        "train": photographs(0, 100),
        "validation": photographs(100, 125),
        "test": photographs(125, 150),
    }
    dataset = pinned(tmp_path / "photographs", splits)
    neighbours = TrainingNeighbours(dataset)
    copies, rows = planted(dataset)
    found = neighbours.matches(copies)
    assert found.copies.mean() > 0.85
    assert (found.rows == rows)[found.copies].mean() > 0.97
    assert neighbours.excess(found.laid.tolist()).share > 0.8
    fresh = neighbours.matches([picture for _, picture in photographs(300, 320)])
    assert fresh.copies.mean() <= 0.04
    assert not neighbours.excess(fresh.laid.tolist()).copies
