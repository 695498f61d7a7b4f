import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from core.data.decode import decode
from core.data.duplicates import Level, find_groups, near_pairs, thumbnail
from core.data.starter import LABELS, draw_animal
from core.images import Picture


def scene(seed: int, size: int = 96) -> Image.Image:
    """A smooth, colourful picture, unlike any other seed's."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    return coarse.resize((size, size), Image.Resampling.BICUBIC)


def groups_of(pictures: list[Picture]) -> list[int]:
    thumbs = np.stack([thumbnail(picture) for picture in pictures])
    return [int(group) for group in find_groups([], thumbs)]


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def test_copies_are_found_however_they_were_changed() -> None:
    image = scene(1)
    changed = [
        jpeg(image, 20),
        image.resize((40, 40), Image.Resampling.LANCZOS),
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        ImageEnhance.Brightness(image).enhance(0.7),
        ImageEnhance.Contrast(image).enhance(0.8),
        image.convert("L").convert("RGB"),
        image.crop((1, 1, 95, 95)),
    ]
    others = [scene(seed) for seed in range(2, 12)]
    pictures = [np.asarray(each) for each in [image, *changed, *others]]
    assert groups_of(pictures) == [0] * 8 + list(range(8, 18))


def test_plain_pictures_and_fine_noise_are_not_copies_of_each_other() -> None:
    rng = np.random.default_rng(0)
    plain = [np.full((64, 64, 3), value, np.uint8) for value in range(0, 250, 10)]
    faint = [np.clip(rng.normal(128, 1.5, (64, 64, 3)), 0, 255).astype(np.uint8) for _ in range(25)]
    assert groups_of(plain + faint) == list(range(50))


def test_equal_digests_are_copies_whatever_the_thumbnails_say() -> None:
    thumbs = np.zeros((4, 32, 32, 4), np.uint8)
    by_bytes, by_pixels = ["a", "b", "c", "a"], ["p", "q", "q", "r"]
    levels: tuple[Level, ...] = ("exact", "near", "moved")
    for level in levels:
        assert find_groups([by_bytes, by_pixels], thumbs, level=level).tolist() == [0, 1, 1, 0]


def test_a_recoloured_cartoon_is_another_animal_but_its_mirror_image_is_not() -> None:
    cat = draw_animal("cat", 3, 64)
    recoloured = cat.copy()
    recoloured[..., :3] = recoloured[..., [2, 0, 1]]
    assert groups_of([cat, recoloured, cat[:, ::-1]]) == [0, 1, 0]


def test_the_starter_animals_do_not_chain_together() -> None:
    pictures = [draw_animal(label, seed, 32) for label in LABELS for seed in range(30)]
    sizes = np.bincount(groups_of(pictures))
    assert sizes.max() <= 3


def test_a_long_chain_of_small_changes_is_cut_into_bounded_groups() -> None:
    start, end = (np.asarray(scene(seed), np.float64) for seed in (1, 2))
    steps = [(start + (end - start) * t).astype(np.uint8) for t in np.linspace(0, 1, 60)]
    sizes = np.bincount(groups_of(steps))
    assert 2 <= sizes.max() <= 16


def test_moved_turned_and_zoomed_copies_are_found() -> None:
    meadow = np.asarray(Image.linear_gradient("L").resize((160, 160))).astype(np.uint8) // 2 + 80
    ground = np.stack([meadow // 2, meadow, meadow // 3], axis=-1)
    cat = np.zeros((160, 160, 4), np.uint8)
    cat[32:128, 32:128] = draw_animal("cat", 3, 96)
    alpha = cat[..., 3:] / 255
    colour = Image.fromarray((cat[..., :3] * alpha + ground * (1 - alpha)).astype(np.uint8))
    base = colour.crop((30, 30, 130, 130))
    moved = [
        colour.crop((40, 24, 140, 124)),
        colour.rotate(8, Image.Resampling.BICUBIC).crop((30, 30, 130, 130)),
        colour.crop((40, 40, 124, 124)).resize((100, 100)),
        colour.crop((24, 36, 124, 136)).transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    ]
    others = [scene(seed, 100) for seed in range(2, 12)]
    pictures = [np.asarray(each) for each in [base, *moved, *others]]
    assert groups_of(pictures) == [0] * 5 + list(range(5, 15))


@pytest.mark.slow
def test_a_set_of_like_pictures_keeps_memory_bounded() -> None:
    base = thumbnail(np.asarray(scene(1)))
    rng = np.random.default_rng(0)
    thumbs = np.clip(base + rng.normal(0, 3, (3000, 32, 32, 4)), 0, 255).astype(np.uint8)
    thumbs[..., 3] = 255
    pairs = near_pairs(thumbs)
    assert len(pairs.left) <= 2_100_000


@pytest.mark.realdata
def test_the_mirrored_copies_in_the_real_photographs_are_found(real_data: Path) -> None:
    names = ["rabbit/rabbit_0293", "rabbit/rabbit_0327", "frog/frog_0271", "frog/frog_0492"]
    paths = [real_data / "animals8" / f"{name}.jpg" for name in names]
    paths += sorted((real_data / "animals8" / "cat").iterdir())[:100]
    groups = groups_of([decode(path.read_bytes()) for path in paths])
    assert groups[:4] == [0, 0, 2, 2]
    assert groups[4:] == list(range(4, 104))


@pytest.mark.realdata
def test_augmented_copies_of_real_photographs_share_a_group(real_data: Path) -> None:
    paths = sorted((real_data / "messy" / "rabbit_augmented").iterdir())
    originals = [re.sub(r"^aug_(.*)_0_\d+$", r"\1", path.stem) for path in paths]
    groups = groups_of([decode(path.read_bytes()) for path in paths])
    mixed: dict[int, set[str]] = {group: set() for group in groups}
    for group, original in zip(groups, originals, strict=True):
        mixed[group].add(original)
    assert len(set(originals)) == 60
    assert all(len(names) == 1 for names in mixed.values())
    assert len(mixed) <= 80  # without moved copies 290
