"""The starter animals as a collection on disk, in the ImageFolder convention."""

import json
from pathlib import Path

from core.data.starter.animals import LABELS, draw_many
from core.files import atomic_folder, digest_bytes
from core.images import png_bytes
from core.progress import progress

SOURCE = "menagerie-starter"
LICENCE = "MIT"


def write_collection(folder: Path, *, per_class: int, seed: int = 0, size_px: int = 512) -> None:
    """Write `<folder>/<label>/<label>_<seed>.png` and `metadata.jsonl`; all of it or nothing.

    Raises UserError when the folder exists and is not empty, or as `draw_many` does.
    """
    with atomic_folder(folder) as temporary:
        rows = []
        animals = draw_many(per_class, seed, size_px)
        total = per_class * len(LABELS)
        for label, own, picture in progress(animals, total=total, title="drawing", unit="animal"):
            name = f"{label}/{label}_{own:06d}.png"
            data = png_bytes(picture)
            (temporary / label).mkdir(exist_ok=True)
            (temporary / name).write_bytes(data)
            rows.append(
                {
                    "file_name": name,
                    "label": label,
                    "sha256": digest_bytes(data),
                    "source": SOURCE,
                    "licence": LICENCE,
                }
            )
        text = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)
        (temporary / "metadata.jsonl").write_text(text, encoding="utf-8")
