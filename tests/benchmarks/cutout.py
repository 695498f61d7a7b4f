"""How well pictures are cut out, each way against what is known of the animal's true outline.

    python tests/benchmarks/cutout.py [--count 24] [--size-px 128]

(a) Starter animals, whose alpha is known, on plain, shaded, grainy and photographic backgrounds.
(b) The two photographs of `segmentation/` with masks drawn by people. (c) `animals8` frogs on
white: how many are cut, and how white their rims are. (d) `animals8` photographs of classes that
the segmentation model knows: GrabCut alone against the model's outline, and what its confidence is
worth. Parts (b) to (d) need the real pictures (MENAGERIE_REAL_DATA).

IoU is of alpha ≥ 128; the edge error is the mean difference of alpha (0…1) within 2 px of the true
outline; the colour error is that of premultiplied colour there, in levels. Prints a table, and the
figures as one JSON line.
"""

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import spearmanr

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from core.data.starter import LABELS, draw_animal  # noqa: E402  # after the path
from core.errors import UserError  # noqa: E402
from core.images import Picture, over  # noqa: E402
from exporters.config import ExportConfig  # noqa: E402
from exporters.cutting.cut import CutOut, cut_out  # noqa: E402
from exporters.vision import Mask, dilate  # noqa: E402

REAL = Path(os.environ.get("MENAGERIE_REAL_DATA", ROOT.parent / "shared" / "data"))
MODEL = REAL / "weights" / "deeplabv3_mnv2_pascal_quant.tflite"
GROUNDS = ("white", "plain", "shaded", "grainy", "photograph")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A picture and its true cut-out (straight RGBA)."""

    label: str
    image_hwc: Picture
    truth_hwc: Picture
    known: Mask | None = None
    """Pixels whose truth is known; None: all."""


@dataclasses.dataclass(kw_only=True)
class Row:
    """Figures of one set cut one way."""

    name: str
    way: str
    iou: list[float] = dataclasses.field(default_factory=list)
    edge: list[float] = dataclasses.field(default_factory=list)
    colour: list[float] = dataclasses.field(default_factory=list)
    confidence: list[float] = dataclasses.field(default_factory=list)
    seconds: list[float] = dataclasses.field(default_factory=list)
    refused: int = 0

    def facts(self) -> dict[str, object]:
        """Means and counts."""

        def mean(values: Sequence[float], digits: int) -> float | None:
            return round(statistics.fmean(values), digits) if values else None

        return {
            "set": self.name,
            "way": self.way,
            "pictures": len(self.seconds),
            "refused": self.refused,
            "iou": mean(self.iou, 4),
            "iou_worst": round(min(self.iou), 4) if self.iou else None,
            "edge": mean(self.edge, 4),
            "colour": mean(self.colour, 2),
            "confidence": mean(self.confidence, 3),
            "ms": mean([1000 * second for second in self.seconds], 1),
        }


def main() -> int:
    """Measure, print a table, and the figures as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=24, help="pictures of each set")
    parser.add_argument("--size-px", type=int, default=128, help="side of the starter animals")
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    for ground in GROUNDS:
        if ground == "photograph" and not REAL.is_dir():
            continue
        for way in ("auto", "grabcut"):
            rows.append(measure(f"starter on {ground}", starters(ground, options), way).facts())
            print_row(rows[-1])
    figures: dict[str, object] = {"count": options.count, "size_px": options.size_px}
    if REAL.is_dir():
        for way in ("grabcut", str(MODEL)):
            rows.append(measure("segmentation", people(), way).facts())
            print_row(rows[-1])
        figures["frogs"] = frogs(options.count)
        print(f"frogs on white: {figures['frogs']}")
        figures["photographs"] = photographs(options.count)
        print(f"photographs against the model: {figures['photographs']}")
    print(json.dumps(figures | {"rows": rows}))
    return 0


def print_row(facts: dict[str, object]) -> None:
    """One line of the table."""
    print("  ".join(f"{key} {value}" for key, value in facts.items()), flush=True)


def measure(name: str, cases: Iterator[Case], way: str) -> Row:
    """Cut all cases one way."""
    row = Row(name=name, way=Path(way).suffix.strip(".") or way)
    for case in cases:
        cut, seconds = timed(case.image_hwc, way, case.label)
        row.seconds.append(seconds)
        if cut is None:
            row.refused += 1
            row.iou.append(0.0)
            continue
        row.confidence.append(cut.confidence)
        row.iou.append(iou(cut.image_hwc, case.truth_hwc, case.known))
        if case.known is not None:  # its very outline is what is unknown
            continue
        edge, colour = edge_errors(cut.image_hwc, case.truth_hwc)
        row.edge.append(edge)
        row.colour.append(colour)
    return row


def timed(image_hwc: Picture, way: str, label: str) -> tuple[CutOut | None, float]:
    """The cut-out at any confidence, or None, and the seconds it took."""
    config = ExportConfig(samples=Path("unused"), cut_out=way, min_cut_out_confidence=0)
    begun = time.perf_counter()
    try:
        cut = cut_out(image_hwc, config, label=label)
    except UserError:
        cut = None
    return cut, time.perf_counter() - begun


def iou(found_hwc: Picture, truth_hwc: Picture, known: Mask | None = None) -> float:
    """Overlap of the silhouettes, among the known pixels."""
    found, truth = found_hwc[..., 3] >= 128, truth_hwc[..., 3] >= 128
    if known is not None:
        found, truth = found & known, truth & known
    union = int((found | truth).sum())
    return int((found & truth).sum()) / union if union else 0.0


def edge_errors(found_hwc: Picture, truth_hwc: Picture) -> tuple[float, float]:
    """Mean differences of alpha (0…1) and of premultiplied colour near the true outline."""
    truth = truth_hwc[..., 3] >= 128
    near = dilate(truth, 2) & dilate(~truth, 2)
    if not near.any():
        return 0.0, 0.0
    alpha = np.abs(found_hwc[..., 3].astype(float) - truth_hwc[..., 3])[near].mean() / 255
    black = (0, 0, 0)
    colour = np.abs(over(found_hwc, black).astype(float) - over(truth_hwc, black))[near].mean()
    return float(alpha), float(colour)


def starters(ground: str, options: argparse.Namespace) -> Iterator[Case]:
    """Starter animals on one kind of background."""
    for index in range(options.count):
        label = LABELS[index % len(LABELS)]
        truth = draw_animal(label, 9000 + index, options.size_px)
        behind = background(ground, options.size_px, index)
        alpha = truth[..., 3:].astype(np.float64) / 255
        mixed = truth[..., :3] * alpha + behind * (1 - alpha)
        yield Case(label=label, image_hwc=np.rint(mixed).astype(np.uint8), truth_hwc=truth)


def background(ground: str, size_px: int, index: int) -> np.ndarray:
    """A picture without an animal: size_px × size_px × 3, 0…255."""
    random = np.random.default_rng(index)
    if ground == "photograph":
        paths = sorted((REAL / "hires").rglob("*.jpg"))
        whole = Image.open(paths[index % len(paths)]).convert("RGB")
        side = min(whole.size) // 2
        left, top = random.integers(0, whole.width - side), random.integers(0, whole.height - side)
        piece = whole.crop((left, top, left + side, top + side)).resize((size_px, size_px))
        return np.asarray(piece, dtype=np.float64)
    one, other = random.uniform(40, 250, 3), random.uniform(40, 250, 3)
    if ground == "white":
        one = np.full(3, 255.0)
    y, x = np.indices((size_px, size_px)) / (size_px - 1)
    turn = random.uniform(0, 2 * np.pi)
    ramp = 0.5 + 0.5 * ((x - 0.5) * np.cos(turn) + (y - 0.5) * np.sin(turn))
    flat = np.broadcast_to(one, (size_px, size_px, 3))
    if ground == "shaded":
        flat = one + 0.5 * (other - one) * ramp[..., None]
    grain = random.normal(0, 4, (size_px, size_px, 3)) if ground == "grainy" else 0
    return np.clip(flat + grain, 0, 255)


def people() -> Iterator[Case]:
    """Photographs with masks drawn by people."""
    names = {
        "dog": ("dog_segmentation_256", "dog_segmentation_mask_256", 0, 2),
        "bird": ("bird_segmentation", "bird_segmentation_mask", 3, None),
    }
    for label, (picture, drawn, animal, undecided) in names.items():
        image = np.asarray(Image.open(REAL / "segmentation" / f"{picture}.bmp").convert("RGB"))
        mask = np.asarray(Image.open(REAL / "segmentation" / f"{drawn}.bmp"))
        alpha = np.where(mask == animal, 255, 0)
        truth = np.concatenate([image, alpha[..., None].astype(np.uint8)], axis=2)
        known = None if undecided is None else mask != undecided
        yield Case(label=label, image_hwc=image, truth_hwc=truth, known=known)


def photos(label: str, count: int) -> Iterator[Picture]:
    """Every so many of one class's photographs."""
    paths = sorted((REAL / "animals8" / label).glob("*.jpg"))
    for path in paths[:: max(1, len(paths) // count)][:count]:
        yield np.asarray(Image.open(path).convert("RGB"))


def frogs(count: int) -> dict[str, object]:
    """Frogs on plain white: how many pass, and the share of rims that is still white."""
    white, sure = [], []
    for image in photos("frog", count):
        cut, _ = timed(image, "auto", "frog")
        if cut is None:
            continue
        inside = cut.image_hwc[..., 3] >= 128
        rim = inside & dilate(~inside, 1)
        white.append(float((cut.image_hwc[rim][:, :3].min(axis=1) > 225).mean()))
        sure.append(cut.confidence)
    return {
        "cut": len(sure),
        "accepted at 0.7": sum(value >= 0.7 for value in sure),
        "confidence": round(statistics.median(sure), 3),
        "white rim": round(statistics.fmean(white), 3),
    }


def photographs(count: int) -> dict[str, object]:
    """GrabCut's own guess against the model's outline, where that finds one animal of fair size."""
    overlaps, sure = [], []
    for label in ("bird", "cat", "dog", "horse"):
        for image in photos(label, count):
            wanted, _ = timed(image, str(MODEL), label)
            if wanted is None or wanted.confidence < 0.6:
                continue
            found, _ = timed(image, "grabcut", label)
            overlaps.append(0.0 if found is None else iou(found.image_hwc, wanted.image_hwc))
            sure.append(0.0 if found is None else found.confidence)
    passed = [value for value, trust in zip(overlaps, sure, strict=True) if trust >= 0.7]
    failed = [value for value, trust in zip(overlaps, sure, strict=True) if trust < 0.7]
    return {
        "pictures": len(overlaps),
        "iou": round(statistics.fmean(overlaps), 3),
        "accepted": len(passed),
        "iou of accepted": round(statistics.fmean(passed), 3) if passed else None,
        "iou of refused": round(statistics.fmean(failed), 3) if failed else None,
        "rank correlation of confidence and iou": round(float(spearmanr(overlaps, sure)[0]), 3),
    }


if __name__ == "__main__":
    sys.exit(main())
