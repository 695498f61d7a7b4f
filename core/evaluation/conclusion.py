"""From judged pictures to metrics.json: all figures of all sets, and what made them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from core.data.pinned import PinnedDataset
from core.evaluation.config import EvaluateConfig
from core.evaluation.extractors import Extracted, Extractor, joined
from core.evaluation.figures import Comparison, Reals, by_class
from core.evaluation.heldout import SIGMA_DATA, held_out_losses
from core.evaluation.novelty import TrainingNeighbours
from core.evaluation.recognition import Recognizer
from core.evaluation.rows import Row, closest_rows, shares, worst_rows
from core.evaluation.subjects import Subject
from core.evaluation.traced import Trace
from core.images import Picture, unpremultiply
from core.sampleset import Sample
from core.threads import fixed_threads


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged:
    """One set whose pictures were all judged."""

    subject: Subject
    rows: list[list[Row]]
    """By block, in the order of its pictures."""
    found: Extracted

    @property
    def all_rows(self) -> list[Row]:
        """Of all blocks, in order."""
        return [row for block in self.rows for row in block]

    def pictures(self, wanted: Sequence[int]) -> list[Sample]:
        """The pictures of some rows, in the order asked for; each block is read once."""
        ends = np.cumsum([len(block) for block in self.rows])
        blocks = np.searchsorted(ends, np.array(wanted, dtype=np.int64), side="right")
        found: dict[int, Sample] = {}
        for block in sorted(set(blocks.tolist())):
            samples = self.subject.read(block)
            first = int(ends[block]) - len(self.rows[block])
            found |= {
                row: samples[row - first]
                for row, place in zip(wanted, blocks.tolist(), strict=True)
                if place == block
            }
        return [found[row] for row in wanted]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judge:
    """What the sets were judged with."""

    config: EvaluateConfig
    dataset: PinnedDataset
    recognizer: Recognizer
    extractor: Extractor
    neighbours: TrainingNeighbours
    trace: Trace | None = None


def conclude(judge: Judge, sets: Sequence[Judged]) -> dict[str, Any]:
    """All figures of all sets, and what made them, as JSON values."""
    config, dataset = judge.config, judge.dataset
    reals = measure_reals(judge.extractor, dataset)
    with fixed_threads():
        compared = [Comparison(reals, [row["label"] for row in judged.all_rows]) for judged in sets]
        # One count for all, so that they compare.
        equal = min(
            min(len(judged.found.features), comparison.held_out) // 2
            for judged, comparison in zip(sets, compared, strict=True)
        )
        measured = [
            _measured(
                judge,
                judged,
                reals,
                comparison.measure(judged.found, equal=equal, draws=config.draws, seed=config.seed),
            )
            for judged, comparison in zip(sets, compared, strict=True)
        ]
    return {
        "features": {
            "kind": judge.extractor.kind,
            "digest": judge.extractor.digest,
            "dimensions": reals.train.features.shape[1],
        },
        "classifier": {
            "digest": judge.recognizer.digest,
            "held_out_accuracy": judge.recognizer.held_out_accuracy,
        },
        "dataset": {
            "digest": dataset.digest,
            "size_px": dataset.size_px,
            "train": len(dataset.split["train"]),
            "held_out": len(reals.held_out.features),
        },
        "draws": config.draws,
        "seed": config.seed,
        "vectorisability_floor": _traced(judge, _held_out_pictures(judge)),
        "sets": measured,
    }


def measure_reals(extractor: Extractor, dataset: PinnedDataset) -> Reals:
    """A dataset's own pictures in the features of an extractor: some minutes for 50,000."""
    labels = {split: torch.tensor(dataset.part(split)[1]) for split in dataset.split}
    held_out = [extractor.of_part(dataset, "validation"), extractor.of_part(dataset, "test")]
    return Reals(
        label_names=dataset.label_names,
        train=extractor.of_part(dataset, "train"),
        train_labels=labels["train"],
        held_out=joined(held_out),
        held_out_labels=torch.cat([labels["validation"], labels["test"]]),
    )


def _measured(
    judge: Judge, judged: Judged, reals: Reals, figures: dict[str, Any]
) -> dict[str, Any]:
    """All that is told of one set."""
    config, rows = judge.config, judged.all_rows
    labels = [row["label"] for row in rows]
    counted = shares(rows)
    classes = by_class(judged.found, labels, reals)
    for name, of_class in classes.items():
        mine = [row["confidence"] for row in rows if row["label"] == name]
        of_class["recognised"] = counted["recognised_by_class"][name]
        of_class["confidence"] = float(np.mean(mine))
        of_class["copies"] = sum(row["copy"] for row in rows if row["label"] == name)
    copies = sum(row["copy"] for row in rows)
    excess = judge.neighbours.excess([row["unexplained"] for row in rows])
    held_out = None
    if judged.subject.kind == "run":
        held_out = held_out_losses(judged.subject.path, judge.dataset)
    return {
        **judged.subject.facts,
        "count": len(rows),
        "left_out": max(0, judged.subject.listed - len(rows)),
        "recognised": counted["recognised"],
        "figures": figures,
        "classes": classes,
        "copies": {
            "rate": counted["copy_rate"],
            "excess": excess.share,
            "excess_by_chance": excess.chance,
            "suspected": excess.copies or judge.neighbours.are_too_many(copies, len(rows)),
            "closest": [_pair(rows[place], judge) for place in closest_rows(rows)],
        },
        "worst": [rows[place] for place in worst_rows(rows)],
        "vectorisability": _traced(judge, _spread_pictures(judged, config.vectorise)),
        "held_out_loss": held_out and {"sigma_data": SIGMA_DATA, **held_out},
    }


def _pair(row: Row, judge: Judge) -> Row:
    names = ("seed", "label", "copy", "nearest", "closeness")
    return {name: row[name] for name in names}


def _spread_pictures(judged: Judged, wanted: int) -> list[Picture]:
    count = len(judged.all_rows)
    places = [place * count // min(wanted, count) for place in range(min(wanted, count))]
    return [sample.image_hwc for sample in judged.pictures(places)] if places else []


def _held_out_pictures(judge: Judge) -> list[Picture]:
    """As many real pictures as are traced of a set."""
    split = judge.dataset.split
    rows = [*split["validation"], *split["test"]]
    wanted = min(judge.config.vectorise, len(rows))
    chosen = [rows[place * len(rows) // wanted] for place in range(wanted)]
    return [unpremultiply(np.array(judge.dataset.images_nhwc[row])) for row in chosen]


def _traced(judge: Judge, pictures: Sequence[Picture]) -> dict[str, Any] | None:
    """How well pictures become flat SVGs; None when none was tried."""
    if judge.trace is None or not pictures:
        return None
    drawn = [traced for picture in pictures if (traced := judge.trace(picture)) is not None]
    figures: dict[str, Any] = {"count": len(pictures), "drawn": len(drawn)}
    for name in ("bytes", "psnr_db", "ssim"):
        values = [getattr(traced, name) for traced in drawn]
        figures[f"{name}_median"] = round(float(np.median(values)), 4) if values else None
    return figures
