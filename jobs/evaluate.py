"""How good are the samples: python jobs/evaluate.py --samples SAMPLES --data DATASET.

A small classifier learns from the pinned dataset alone, in about a minute: which share of samples
it recognises as what they were asked to be, and how far they are from the training pictures in its
features (Fréchet distance; held-out pictures stand beside). And which copy a training picture.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from core.evaluation.config import EvaluateConfig
from core.evaluation.parts import EvaluateParts
from core.parts import make_everything
from jobs.cli import run_verb
from jobs.cluster import ClusterFlags
from jobs.verbs import Verb


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateFlags:
    """What to evaluate, and where the figures go."""

    config: EvaluateConfig
    out: Path | None = None
    """JSON file for the figures; default: recognition.json in the sample set."""
    cluster: ClusterFlags = dataclasses.field(default_factory=ClusterFlags)
    dry_run: bool = False
    """Print the full config and stop."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and evaluate."""
    return run_verb(VERB, argv)


def _run(flags: EvaluateFlags) -> None:
    work = EvaluateParts(flags.config, flags.out)
    if work.finished():
        print(f"{work.out} is finished already, from the same inputs: nothing to do")
    try:
        if not work.finished():
            make_everything(work)
    finally:
        if work.has_figures():
            _report(work)


def _out(flags: EvaluateFlags) -> Path:
    return flags.out or flags.config.samples / "recognition.json"


def _report(work: EvaluateParts) -> None:
    figures = work.figures()
    for label, share in figures["recognised_by_class"].items():
        print(f"{label:>12}  {share:6.1%} of {figures['count_by_class'][label]} recognised")
    print(
        f"recognised: {figures['recognised']:.1%} of {figures['count']} samples "
        f"(the classifier is right on {figures['held_out_accuracy']:.1%} of held-out pictures)"
    )
    if (distance := figures["frechet"]) is not None:
        floor = figures["frechet_floor"]
        perfect = (
            ""
            if floor is None
            else (f"; {figures['frechet_floor_count']} held-out pictures are at {floor:.3f}")
        )
        print(f"Fréchet distance: {distance:.3f} to the training pictures{perfect}")
    print(f"copies of training pictures: {figures['copy_rate']:.1%}")
    print(f"figures: {work.out}")
    print(f"kept: {work.kept_path} ({figures['kept']} seeds, for export --only)")
    if work.finished():
        print(f"next: python jobs/export.py --samples {work.config.samples}")


def _parts(flags: EvaluateFlags) -> EvaluateParts:
    return EvaluateParts(flags.config, flags.out)


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
