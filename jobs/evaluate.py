"""Ask a small classifier what the samples show: python jobs/evaluate.py --samples SAMPLES.

The classifier learns from the pinned dataset alone, in about a minute; its accuracy on held-out
pictures stands beside the share of samples that it recognises as what they were asked to be.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.data.pinned import open_pinned
from core.errors import UserError
from core.files import write_json
from core.sampleset import SampleSet, open_sample_set
from jobs.cli import run_verb
from jobs.cluster import ClusterFlags
from jobs.verbs import Verb


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """All that the figures depend on."""

    samples: Path
    """Folder of a finished sample set."""
    data: Path
    """Folder of the pinned dataset that the classifier learns from."""
    epochs: int = 8
    """Passes over the training pictures."""
    seed: int = 0
    """Decides the classifier's weights and augmentation."""

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise UserError(f"--epochs is {self.epochs}; it must be 1 or more")


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
    samples = open_sample_set(flags.config.samples)
    figures = _figures(flags.config, samples)
    for label, share in figures["recognised_by_class"].items():
        print(f"{label:>12}  {share:6.1%} of {figures['count_by_class'][label]} recognised")
    print(
        f"recognised: {figures['recognised']:.1%} of {figures['count']} samples "
        f"(the classifier is right on {figures['held_out_accuracy']:.1%} of held-out pictures)"
    )
    out = _out(flags)
    write_json(out, figures)
    print(f"figures: {out}")
    print(f"next: python jobs/export.py --samples {flags.config.samples}")


def _out(flags: EvaluateFlags) -> Path:
    return flags.out or flags.config.samples / "recognition.json"


def _figures(config: EvaluateConfig, samples: SampleSet) -> dict[str, Any]:
    from core.evaluation.recognition import held_out_accuracy, train_recognizer

    dataset = open_pinned(config.data)
    if unknown := sorted(set(samples.labels) - set(dataset.label_names)):
        raise UserError(f"{config.data} has no class {unknown[0]!r}, which the samples have")
    recognizer = train_recognizer(dataset, epochs=config.epochs, seed=config.seed)
    right: dict[str, list[bool]] = {}
    for sample in samples.samples():
        guess = int(recognizer.probabilities([sample.image_hwc]).argmax())
        right.setdefault(sample.label, []).append(recognizer.label_names[guess] == sample.label)
    total = [verdict for verdicts in right.values() for verdict in verdicts]
    return {
        "count": len(total),
        "recognised": sum(total) / len(total),
        "recognised_by_class": {name: sum(v) / len(v) for name, v in sorted(right.items())},
        "count_by_class": {name: len(v) for name, v in sorted(right.items())},
        "held_out_accuracy": held_out_accuracy(recognizer, dataset, "test"),
        "classifier_dataset": recognizer.dataset_digest,
        "sample_set": samples.digest,
    }


VERB = Verb(
    name="evaluate",
    description=__doc__ or "",
    flags=EvaluateFlags,
    run=_run,
    out=_out,
)

if __name__ == "__main__":
    sys.exit(main())
