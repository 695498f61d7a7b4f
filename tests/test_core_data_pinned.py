from pathlib import Path

import numpy as np
import pytest

from core.data.pinned import PinnedItem, SplitName, open_pinned, redistributable, write_pinned
from core.errors import UserError


def item(number: int, split: SplitName = "train", **more: str) -> PinnedItem:
    label = ("cat", "dog")[number % 2]
    name = f"{label}/{number}.png"
    return PinnedItem(
        file_name=name, sha256=f"{number:064x}", label=label, split=split, group=number, **more
    )


def write(folder: Path, items: list[PinnedItem], channels: int = 4) -> str:
    folder.mkdir(exist_ok=True)
    return write_pinned(
        folder,
        images=(np.full((8, 8, channels), k, np.uint8) for k in range(len(items))),
        items=items,
        label_names=["cat", "dog"],
        transform={"size_px": 8, "channels": channels},
        source={"kind": "folder"},
    )


def test_a_dataset_opens_as_written(tmp_path: Path) -> None:
    items = [item(0), item(1), item(2), item(3, "validation"), item(4, "test")]
    digest = write(tmp_path, items)
    data = open_pinned(tmp_path, verify=True)
    assert data.digest == digest
    assert data.images_nhwc.shape == (5, 8, 8, 4)
    assert not data.images_nhwc.flags.writeable
    assert data.labels.tolist() == [0, 1, 0, 1, 0]
    assert data.split == {"train": range(0, 3), "validation": range(3, 4), "test": range(4, 5)}
    images, labels = data.part("validation")
    assert (images[:, 0, 0, 0].tolist(), labels.tolist()) == ([3], [1])
    assert list(data.items()) == items
    assert data.scores is None


def test_the_digest_depends_on_content_alone(tmp_path: Path) -> None:
    one = write(tmp_path / "one", [item(0), item(1)])
    assert write(tmp_path / "two", [item(0), item(1)]) == one
    assert write(tmp_path / "three", [item(0), item(3)]) != one


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "items.jsonl"])
def test_one_flipped_bit_is_noticed(tmp_path: Path, name: str) -> None:
    write(tmp_path, [item(0), item(1)])
    data = bytearray((tmp_path / name).read_bytes())
    data[-1] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=f"{name} was altered"):
        open_pinned(tmp_path, verify=True)


def test_an_edited_description_is_noticed_without_verify(tmp_path: Path) -> None:
    write(tmp_path, [item(0)])
    path = tmp_path / "dataset.json"
    path.write_text(path.read_text().replace('"unknown"', '"CC0-1.0"'))
    with pytest.raises(UserError, match="altered"):
        open_pinned(tmp_path)


def test_a_shortened_or_missing_array_is_one_line(tmp_path: Path) -> None:
    write(tmp_path, [item(0)])
    whole = (tmp_path / "images.npy").read_bytes()
    (tmp_path / "images.npy").write_bytes(whole[:-8])
    with pytest.raises(UserError, match="cannot be read"):
        open_pinned(tmp_path)
    (tmp_path / "images.npy").unlink()
    with pytest.raises(UserError, match="missing"):
        open_pinned(tmp_path)


def test_a_folder_that_is_no_dataset_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"jobs/prepare\.py"):
        open_pinned(tmp_path)
    (tmp_path / "dataset.json").write_text('{"format": "other"}')
    with pytest.raises(UserError, match="menagerie-pinned-1"):
        open_pinned(tmp_path)


def test_items_out_of_split_order_are_a_bug(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ordered"):
        write(tmp_path, [item(0, "test"), item(1)])


@pytest.mark.parametrize(
    ("licences", "verdict"),
    [
        (["CC0-1.0", "MIT"], True),
        (["CC BY-SA 4.0"], True),
        (["CC0-1.0", "unknown"], None),
        (["mitigated"], None),
        (["MIT", "CC-BY-ND-4.0", "unknown"], False),
        (["All rights reserved"], False),
        (["CC BY NoDerivs 4.0"], False),
        (["CC-BY-NC-NoDerivatives-4.0"], False),
        (["MIT and all rights reserved"], False),
        (["MIT code; images proprietary"], False),
        (["CC-BY-4.0, no redistribution"], False),
        (["MIT code; pictures as agreed"], None),
        (["Apache License, Version 2.0"], True),
        (["BSD 3-Clause", "GPL 2.0 or later", "CC BY-SA 3.0 DE"], True),
        (["CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/)"], True),
        (["CC-BY-ND-4.0 OR MIT"], True),
        (["MIT and odd"], None),
        ([], None),
    ],
)
def test_licences_decide_what_may_be_passed_on(licences: list[str], verdict: bool | None) -> None:
    assert redistributable(licences) is verdict


def test_a_datasets_licence_sums_up_its_items(tmp_path: Path) -> None:
    write(tmp_path, [item(0, licence="MIT"), item(1, licence="CC0-1.0")])
    data = open_pinned(tmp_path)
    assert (data.licence, data.redistributable) == ("CC0-1.0 AND MIT", True)
