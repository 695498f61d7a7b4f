"""Pictures with as much in them as photographs have, and copies of them: for tests of copies."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_PART = (14, 4, 154, 144)


def photo(seed: int, side_px: int = 160) -> Image.Image:
    """Coarse to fine patches of colour."""
    random = np.random.default_rng(seed)
    total = np.zeros((side_px, side_px, 3))
    for cells, weight in ((3, 60), (8, 35), (32, 25)):
        small = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        large = small.resize((side_px, side_px), Image.Resampling.BICUBIC)
        total += weight * (np.asarray(large, np.float64) - 128) / 128
    return Image.fromarray(np.clip(total + 128, 0, 255).astype(np.uint8))


def save(image: Image.Image, path: Path, **options: Any) -> None:
    """Write a file as its suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def plant_copies(folder: Path) -> Path:
    """Five photographs, four of which have a copy: one of each kind."""
    for seed in range(5):
        save(photo(seed), folder / "cat" / f"{seed}.png")
    (folder / "dog").mkdir()
    (folder / "dog" / "same.png").write_bytes((folder / "cat" / "0.png").read_bytes())
    save(photo(1), folder / "cat" / "encoded.jpg", quality=60)
    save(Image.blend(photo(2), photo(9), 0.2), folder / "cat" / "near.png")
    moved = photo(3).crop(_PART).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    save(moved, folder / "cat" / "moved.png")
    return folder


def plant_equals(folder: Path, groups: int, size: int = 2, label: str = "cat") -> Path:
    """Groups of pictures of the same bytes, and a picture of its own; ids go by group."""
    for group in range(groups):
        buffer = io.BytesIO()
        photo(group, 48).save(buffer, "PNG")
        for number in range(size):
            path = folder / label / f"{group:02d}-{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(buffer.getvalue())
    save(photo(1000, 48), folder / label / "zz.png")
    return folder
