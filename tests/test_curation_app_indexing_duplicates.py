import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from core.data.starter import LABELS, draw_animal
from core.images import png_bytes
from curation_app.indexing.duplicates import (
    Group,
    Links,
    Rated,
    Stored,
    best_of,
    find_links,
    groups,
)
from curation_app.indexing.facts import look
from curation_app.indexing.hashing import near_by_hash


def scene(seed: int, size: int = 120) -> Image.Image:
    """Many small coloured boxes: a picture with corners, unlike any other seed's."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    image = np.array(coarse.resize((size, size), Image.Resampling.BICUBIC))
    for x, y, wide, high in rng.integers(
        (0, 0, 6, 6), (size, size, 24, 24), (size * size // 300, 4)
    ):
        image[y : y + high, x : x + wide] = rng.integers(0, 256, 3)
    return Image.fromarray(image)


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    return encoded(image, "JPEG", quality=quality)


def encoded(image: Image.Image, kind: str, **settings: object) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, kind, **settings)
    return buffer.getvalue()


def stored(pictures: Sequence[bytes]) -> Stored:
    looks = [look(data) for data in pictures]
    thumbs = [np.frombuffer(one.thumbnail, np.uint8).reshape(32, 32, 4) for one in looks]
    return Stored(
        sha256=[one.sha256 for one in looks],
        pixels_sha256=[one.pixels_sha256 for one in looks],
        dhash=np.array([one.dhash for one in looks], np.int64),
        thumbs=np.stack(thumbs),
        previews=lambda row: looks[row].preview,
    )


def grouped(pictures: Sequence[bytes], **choice: int) -> list[Group]:
    return groups(find_links(stored(pictures)), len(pictures), **choice)


def first_members(found: Sequence[Group], count: int) -> list[int]:
    first = list(range(count))
    for group in found:
        for row in group.members:
            first[row] = group.members[0]
    return first


def counted(hashes: NDArray[np.int64], distance: int) -> set[tuple[int, int, int]]:
    values = [int(value) & (2**64 - 1) for value in hashes]
    apart = {
        (x, y): (values[x] ^ values[y]).bit_count() for y in range(len(values)) for x in range(y)
    }
    return {(x, y, bits) for (x, y), bits in apart.items() if bits <= distance}


@pytest.mark.parametrize("distance", [0, 3, 16])
def test_like_hashes_are_found_as_counting_bits_one_by_one_finds_them(distance: int) -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(-(2**63), 2**63, 700, dtype=np.int64)
    flips = np.array([sum(1 << int(bit) for bit in rng.integers(0, 62, 3)) for _ in range(100)])
    hashes = np.concatenate([hashes, hashes[:100], hashes[100:200] ^ flips])
    found = near_by_hash(hashes, distance)
    triples = zip(found.left.tolist(), found.right.tolist(), found.distance.tolist(), strict=True)
    assert set(triples) == counted(hashes, distance)
    assert found.within == distance
    assert (np.diff(found.left) >= 0).all()


def test_where_too_many_hashes_are_alike_the_nearest_are_kept_and_it_is_said() -> None:
    rng = np.random.default_rng(0)
    bases = rng.integers(-(2**63), 2**63, 40, dtype=np.int64)
    flips = np.int64(1) << rng.integers(0, 62, 4000)
    hashes = np.repeat(bases, 100) ^ flips * (np.arange(4000) % 100 > 0)
    found = near_by_hash(hashes, 10, most=10_000)
    assert found.within == 1  # each with its base, and those with the same bit turned
    assert 0 < found.distance.max() <= 1
    equal = near_by_hash(np.repeat(bases[:2], 2000), 10, most=10_000)
    assert equal.within == -1
    assert len(equal.left) <= 4 * 4000
    assert set(equal.left.tolist()) | set(equal.right.tolist()) == set(range(4000))


def test_a_distance_beyond_all_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="0 to 16"):
        near_by_hash(np.zeros(2, np.int64), 17)


def test_exact_and_encoded_copies_are_told_from_near_ones() -> None:
    image = scene(1)
    copies = [jpeg(image, 95), jpeg(image, 95), jpeg(image, 50), encoded(image, "WEBP", quality=75)]
    copies += [encoded(image, "PNG"), jpeg(image.resize((70, 70), Image.Resampling.LANCZOS))]
    others = [jpeg(scene(seed)) for seed in range(2, 8)]
    (group,) = grouped(copies + others, distance=0)
    assert (group.members, group.kind) == ((0, 1, 2, 3, 4, 5), "encoded")
    (exact,) = grouped([*copies[:2], *others])
    assert (exact.members, exact.kind, exact.likeness) == ((0, 1), "exact", 1.0)


def test_the_slider_takes_near_copies_in_without_a_new_search() -> None:
    image = scene(1)
    cropped = jpeg(image.crop((4, 3, 117, 117)))
    pictures = [jpeg(image), cropped, *(jpeg(scene(seed)) for seed in range(2, 8))]
    links = find_links(stored(pictures), augmented=False)
    (near,) = np.flatnonzero(links.kind == 2)
    apart = int(links.distance[near])
    assert 0 < apart <= 16
    assert groups(links, 8, distance=apart - 1) == []
    (group,) = groups(links, 8, distance=apart)
    assert (group.members, group.kind) == ((0, 1), "near")


def test_two_animals_that_share_a_pose_and_a_white_ground_are_not_copies() -> None:
    white = Image.new("RGB", (120, 120), "white")
    one, other = white.copy(), white.copy()
    for seed, image in ((1, one), (2, other)):
        x, y = np.mgrid[-1:1:120j, -1:1:120j]
        oval = Image.fromarray(((x * x / 0.5 + y * y / 0.25 < 1) * 255).astype(np.uint8))
        dark = scene(seed).point(lambda value: value // 2)
        image.paste(dark, mask=oval)
    pictures = [jpeg(one), jpeg(other), jpeg(one.crop((2, 2, 118, 118)))]
    (group,) = grouped(pictures, distance=16)
    assert group.members == (0, 2)


def test_shifted_turned_zoomed_and_mirrored_copies_are_found() -> None:
    image = scene(1, 200)
    base = image.crop((40, 40, 160, 160))
    moved = [
        image.crop((52, 30, 172, 150)),
        image.rotate(20, Image.Resampling.BICUBIC).crop((40, 40, 160, 160)),
        base.rotate(90),
        image.crop((48, 50, 150, 152)).resize((120, 120)),
        base.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    ]
    pictures = [jpeg(one) for one in [base, *moved, *map(scene, range(2, 10))]]
    (group,) = grouped(pictures)
    assert (group.members, group.kind) == ((0, 1, 2, 3, 4, 5), "augmented")
    assert grouped(pictures, augmented=False, distance=4) == []


def test_a_shared_watermark_does_not_make_copies() -> None:
    pictures = []
    mark = scene(99, 40)
    for seed in range(8):
        image = scene(seed)
        image.paste(mark, (78, 78))
        pictures.append(jpeg(image))
    assert grouped(pictures) == []


def test_drawn_animals_of_one_kind_are_not_copies_but_a_mirrored_one_is() -> None:
    animals = [draw_animal(label, seed, 96) for label in LABELS[:4] for seed in range(12)]
    pictures = [png_bytes(animal) for animal in animals]
    mirrored = png_bytes(np.ascontiguousarray(animals[5][:, ::-1]))
    found = grouped([*pictures, mirrored])
    assert any(set(group.members) >= {5, 48} for group in found)
    assert max(len(group.members) for group in found) <= 4


def test_plain_pictures_are_not_copies_of_each_other() -> None:
    plain = [jpeg(Image.new("RGB", (64, 64), (value, 90, 120))) for value in range(0, 250, 25)]
    assert grouped(plain, distance=16) == []


def test_thumbnails_may_stay_where_they_are_stored() -> None:
    pictures = [jpeg(scene(seed)) for seed in (1, 1, 2, 3)]
    whole = stored(pictures)

    class Database:
        def __len__(self) -> int:
            return len(pictures)

        def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.uint8]:
            found = [np.frombuffer(look(pictures[row]).thumbnail, np.uint8) for row in rows]
            return np.stack(found).reshape(-1, 32, 32, 4)

    fetched = Stored(
        sha256=whole.sha256,
        pixels_sha256=whole.pixels_sha256,
        dhash=whole.dhash,
        thumbs=Database(),
        previews=whole.previews,
    )
    assert groups(find_links(fetched), 4) == groups(find_links(whole), 4)


def test_nothing_and_one_picture_have_no_copies() -> None:
    none = Stored(
        sha256=[],
        pixels_sha256=[],
        dhash=np.empty(0, np.int64),
        thumbs=np.empty((0, 32, 32, 4), np.uint8),
    )
    assert groups(find_links(none), 0) == []
    assert grouped([jpeg(scene(1))]) == []


def test_a_long_chain_of_near_copies_is_cut() -> None:
    count = 200
    row = np.arange(count - 1, dtype=np.int64)
    chain = Links(
        left=row,
        right=row + 1,
        kind=np.full(count - 1, 2, np.int8),
        distance=np.full(count - 1, 5, np.uint8),
        likeness=np.linspace(0.9, 0.999, count - 1).astype(np.float32),
        within=16,
    )
    found = groups(chain, count)
    assert max(len(group.members) for group in found) <= 16


def test_the_best_of_a_group_has_the_best_score_then_most_pixels_then_most_bytes() -> None:
    small = Rated(score=1.0, width_px=10, height_px=10, size_bytes=900)
    large = Rated(score=1.0, width_px=20, height_px=10, size_bytes=100)
    heavy = Rated(score=1.0, width_px=20, height_px=10, size_bytes=200)
    loved = Rated(score=1.5, width_px=5, height_px=5, size_bytes=10)
    assert best_of([small, large, heavy, loved]) == 3
    assert best_of([small, large, heavy, heavy]) == 2
    assert best_of([small, large]) == 1


@pytest.mark.realdata
def test_augmented_photographs_are_grouped_by_their_original(real_data: Path) -> None:
    paths = sorted((real_data / "messy" / "rabbit_augmented").iterdir())
    originals = [re.sub(r"^aug_(.*)_0_\d+$", r"\1", path.stem) for path in paths]
    found = first_members(grouped([path.read_bytes() for path in paths]), len(paths))
    pairs = [(x, y) for y in range(len(paths)) for x in range(y)]
    true = {(x, y) for x, y in pairs if originals[x] == originals[y]}
    taken = {(x, y) for x, y in pairs if found[x] == found[y]}
    assert len(true) == 600
    assert len(true & taken) >= 0.95 * len(true)  # asked for: 0.80; measured 0.973
    assert len(true & taken) >= 0.99 * len(taken)  # asked for: 0.98; measured 1.0


@pytest.mark.realdata
def test_encoded_copies_of_real_photographs_are_found(real_data: Path) -> None:
    paths = [path for label in ("cat", "frog", "fish") for path in photographs(real_data, label)]
    pictures, originals = [path.read_bytes() for path in paths], list(range(len(paths)))
    for place, path in enumerate(paths):
        image = Image.open(path).convert("RGB")
        half = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
        copies = [jpeg(image, quality) for quality in (95, 75, 50)]
        copies += [encoded(image, "PNG"), encoded(image, "WEBP", quality=80), jpeg(half)]
        pictures += copies
        originals += [place] * len(copies)
    found = first_members(
        groups(find_links(stored(pictures), augmented=False), len(pictures), distance=0),
        len(pictures),
    )
    right = [found[row] == found[place] for row, place in enumerate(originals)]
    assert sum(right[len(paths) :]) >= 0.99 * (len(right) - len(paths))
    assert len({found[place] for place in range(len(paths))}) == len(paths)


def photographs(real_data: Path, label: str) -> list[Path]:
    return sorted((real_data / "animals8" / label).iterdir())[:15]
