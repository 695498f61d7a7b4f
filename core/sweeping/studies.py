"""Studies that are ready to run: which runs, and the question that each part of them answers."""

import dataclasses

from core.sweeping.config import SweepConfig
from core.sweeping.values import Axis, with_values
from core.training.config import TrainConfig

Base = dict[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """Some fields that are varied together, all else being as in the base."""

    title: str
    asks: str
    axes: tuple[Axis, ...]


def study_base(config: SweepConfig) -> TrainConfig:
    """What the runs of a study have in common: discrete noise levels, and a middling width."""
    width = 64 if config.tiny else 128
    chosen = {"schedule": "linear", "timesteps": "1000", "base_channels": str(width)}
    return with_values(config.train, chosen)


def questions(config: SweepConfig, labels: tuple[str, ...]) -> list[Question]:
    """What a study asks, in order; `labels` are the classes of the data."""
    everything = {
        "timesteps": _timesteps(),
        "channels": _channels(tiny=config.tiny),
        "attention": _attention(),
        "length": _length(study_base(config).steps),
        "classes": _classes(labels),
    }
    if config.preset_study == "ddpm":
        return list(everything.values())
    assert config.preset_study
    return [everything[config.preset_study]]


def tiny_train(config: TrainConfig) -> TrainConfig:
    """A training of seconds: what it learns is little, that it goes well is seen."""
    return dataclasses.replace(
        config,
        steps=24,
        batch_size=8,
        patch=4,
        block_channels=(64,),
        attention_levels=(0,),
        layers_per_block=1,
        warmup_steps=4,
        snapshots=0,
        log_every=2,
        evaluate_every=6,
        sample_every=24,
        checkpoint_every=12,
    )


def _timesteps() -> Question:
    return Question(
        title="Timesteps and schedules",
        asks="How many noise levels, and spread how?",
        axes=(
            Axis(name="timesteps", values=("500", "1000", "2000")),
            Axis(name="schedule", values=("linear", "cosine")),
        ),
    )


def _channels(*, tiny: bool) -> Question:
    widths = ("32", "64", "128") if tiny else ("64", "128", "256")
    return Question(
        title="Base channels",
        asks="How wide should the network be?",
        axes=(Axis(name="base_channels", values=widths),),
    )


def _attention() -> Question:
    return Question(
        title="Attention",
        asks="Does it pay to attend to the picture itself, to the class too, or to nothing?",
        axes=(Axis(name="attention", values=("self", "cross", "none")),),
    )


def _length(steps: int) -> Question:
    lengths = (steps // 4, steps // 2, steps, 2 * steps)
    return Question(
        title="Length of the training",
        asks="How long does it pay to train?",
        axes=(Axis(name="steps", values=tuple(str(max(1, length)) for length in lengths)),),
    )


def _classes(labels: tuple[str, ...]) -> Question:
    """Cats and dogs, or the first two classes of data without them."""
    first, second = ("cat", "dog") if {"cat", "dog"} <= set(labels) else (*labels, *labels)[:2]
    both = f"{first} {second}"
    return Question(
        title="One class or two",
        asks=f"Does the same model draw {first} as well when it has to draw {second} too, and does "
        "it keep the two apart?",
        axes=(Axis(name="classes", values=tuple(dict.fromkeys((first, both)))),),
    )
