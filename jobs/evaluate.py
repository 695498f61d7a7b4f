"""How good are the samples: python jobs/evaluate.py --samples SAMPLES --data DATASET.

SAMPLES is a sample set, a trained run or a folder of pictures; several are compared. A small
classifier learns from the pinned dataset alone, in about a minute: which share of samples it
recognises, how far they are from the training pictures in its features (or those of Inception or
DINOv2), with what real held-out pictures reach beside each figure; which are copies; how well they
become SVGs. All of it is in metrics.json, and in report.html for people.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.evaluation.config import EvaluateConfig
from core.evaluation.parts import EvaluateParts, default_out
from core.parts import make_everything
from jobs.cli import run_verb
from jobs.cluster import ClusterFlags
from jobs.vectorisability import trace_flat
from jobs.verbs import Verb


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateFlags:
    """What to evaluate, and where the figures go."""

    config: EvaluateConfig
    out: Path | None = None
    """JSON file for the figures, the other files beside it; default: recognition.json in the sample
    set, or evaluation/metrics.json in the run. Several sets, and folders, need it."""
    cluster: ClusterFlags = dataclasses.field(default_factory=ClusterFlags)
    dry_run: bool = False
    """Print the full config and stop."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and evaluate."""
    return run_verb(VERB, argv)


def _run(flags: EvaluateFlags) -> None:
    work = _parts(flags)
    if work.finished():
        print(f"{work.out} is finished already, from the same inputs: nothing to do")
    try:
        if not work.finished():
            make_everything(work)
    finally:
        if work.has_figures():
            _report(work)


def _out(flags: EvaluateFlags) -> Path:
    return flags.out or default_out(flags.config.samples)


def _report(work: EvaluateParts) -> None:
    metrics = work.metrics()
    for one in metrics["sets"]:
        _say(one, metrics["classifier"]["held_out_accuracy"])
    print(f"report: {work.report_path}")
    print(f"figures: {work.out}")
    if work.is_sample_set:
        kept = work.figures()["kept"]
        print(f"kept: {work.kept_path} ({kept} seeds, for export --only)")
        if work.finished():
            print(f"next: python jobs/export.py --samples {work.config.samples[0]}")


def _say(one: dict[str, Any], accuracy: float) -> None:
    """The figures of one set, in lines."""
    print(f"{one['name']}, {one['kind']} of {one['count']}:")
    for label, figures in one["classes"].items():
        print(f"{label:>12}  {figures['recognised']:6.1%} of {figures['count']} recognised")
    if one["recognised"] is not None:
        print(
            f"recognised: {one['recognised']:.1%} of {one['count']} samples "
            f"(the classifier is right on {accuracy:.1%} of held-out pictures)"
        )
    if (figure := one["figures"]["frechet"])["value"] is not None:
        perfect = (
            ""
            if figure["floor"] is None
            else f"; {figure['floor_count']} held-out pictures are at {figure['floor']:.3f}"
        )
        print(f"Fréchet distance: {figure['value']:.3f} to the training pictures{perfect}")
    suspected = ": it copies" if one["copies"]["suspected"] else ""
    print(f"copies of training pictures: {one['copies']['rate']:.1%}{suspected}")
    if traced := one["vectorisability"]:
        size = f"{traced['bytes_median'] / 1024:.1f} KiB each" if traced["drawn"] else "none"
        print(f"as flat SVGs: {traced['drawn']} of {traced['count']} pass the gate, {size}")


def _parts(flags: EvaluateFlags) -> EvaluateParts:
    return EvaluateParts(flags.config, flags.out, trace=trace_flat)


VERB = Verb(
    name="evaluate",
    description=__doc__ or "",
    flags=EvaluateFlags,
    run=_run,
    out=_out,
    makes_file=True,
    parts=_parts,
)

if __name__ == "__main__":
    sys.exit(main())
