"""The end of a run: a diffusers pipeline folder with a model card."""

import json
from collections.abc import Sequence

from core.config import config_to_dict
from core.data.encode import open_encoder
from core.data.pinned import PinnedDataset
from core.diffusion.denoiser import UNet
from core.diffusion.patches import PatchStatistics
from core.diffusion.pipeline import ClassConditionalPipeline
from core.diffusion.schedule import NoiseSchedule
from core.files import atomic_folder, write_bytes
from core.rundir import RunFolder
from core.training.claim import parent_of
from core.training.config import TrainConfig
from core.training.guard import Halving
from core.training.record import read_metrics
from core.training.told import plain

_CARD = """---
library_name: diffusers
license: other
license_name: {licence}
tags: [class-conditional, pixel-space, menagerie]
---
# {name}

A class-conditional diffusion model of {size_px} px {kind} pictures, trained by Menagerie.

Classes: {labels}.

```python
from core.diffusion.pipeline import ClassConditionalPipeline

pipeline = ClassConditionalPipeline.from_pretrained("{name}/model")
pipeline(["{first}"], seeds=[0]).images[0].save("{first}.png")
```

| figure | value |
| --- | --- |
| pictures trained on | {pictures:,} of {count:,} |
| steps × batch | {steps:,} × {batch} |
| weights | {weights} |
| parameters | {parameters:,} |
| training loss, last | {loss} |
| held-out loss, first → last | {held_out} |
| data digest (SHA-256) | `{digest}` |
| licence of the data | {licence} |
{notes}

The pictures are generated: they may resemble, and should not be passed off as, the training data.

## Config

```json
{config}
```
"""


def make_pipeline(
    unet: UNet,
    config: TrainConfig,
    dataset: PinnedDataset,
    statistics: PatchStatistics,
    guide: UNet | None = None,
) -> ClassConditionalPipeline:
    """The pipeline of a network that was trained on `dataset`; guide: itself, early on."""
    schedule = NoiseSchedule(
        kind=config.noise_schedule,
        mean=config.noise_mean,
        std=config.noise_std,
        timesteps=config.timesteps,
    )
    return ClassConditionalPipeline(
        plain(unet),
        guide=None if guide is None else plain(guide),
        vae=open_encoder(dataset),
        labels=list(dataset.label_names),
        patch=statistics.patch,
        frequency_mean=list(statistics.mean),
        frequency_scale=list(statistics.scale),
        prediction=config.prediction,
        sigma_max=schedule.sigma_max,
        noise_schedule=schedule.kind,
        timesteps=schedule.timesteps,
        facts=_facts(config, dataset),
    )


def save_model(
    run: RunFolder,
    pipeline: ClassConditionalPipeline,
    config: TrainConfig,
    dataset: PinnedDataset,
    *,
    steps: int,
    weights: str,
    halvings: Sequence[Halving] = (),
) -> None:
    """Write `model/`: the pipeline in safetensors, and README.md.

    steps: made in all; weights: words that say which these are.
    """
    with atomic_folder(run.model) as temporary:
        pipeline.save_pretrained(temporary, safe_serialization=True)
        card = _card(
            run,
            config,
            dataset,
            licence=pipeline.facts["licence"],
            parameters=pipeline.unet.num_parameters(),
            steps=steps,
            weights=weights,
            notes=_notes(config, halvings),
        )
        write_bytes(temporary / "README.md", card.encode())


def _facts(config: TrainConfig, dataset: PinnedDataset) -> dict[str, str]:
    """What the model came from; the licences of an earlier model's pictures go on."""
    parent = parent_of(config)
    if parent is None:
        return {"dataset": dataset.digest, "licence": dataset.licence}
    licences = [*parent["licence"].split(" AND "), *dataset.licence.split(" AND ")]
    return {
        "dataset": dataset.digest,
        "licence": " AND ".join(sorted(set(licences))),
        "parent": parent["digest"],
    }


def _notes(config: TrainConfig, halvings: Sequence[Halving]) -> str:
    """Further rows of the table of figures."""
    parent = parent_of(config)
    rows = [("fine-tuned from", f"`{parent['digest']}`")] if parent else []
    rows += [
        ("rate halved", f"at step {halving.back_to}, after {halving.why} at {halving.at}")
        for halving in halvings
    ]
    return "".join(f"| {name} | {value} |\n" for name, value in rows)


def _card(run: RunFolder, config: TrainConfig, dataset: PinnedDataset, **known: object) -> str:
    rows = read_metrics(run.metrics)
    losses = [row["loss"] for row in rows if "loss" in row]
    held_out = [row["held_out_loss"] for row in rows if "held_out_loss" in row]
    return _CARD.format(
        **known,
        name=run.root.name,
        size_px=dataset.size_px,
        kind="RGBA" if dataset.channels == 4 else "RGB",
        labels=", ".join(dataset.label_names),
        first=dataset.label_names[0],
        pictures=len(dataset.split["train"]),
        count=len(dataset.labels),
        batch=config.batch_size,
        loss=_figure(losses[-1:]),
        held_out=" → ".join(_figure([value]) for value in (held_out[:1] + held_out[-1:])) or "—",
        digest=dataset.digest,
        config=json.dumps(config_to_dict(config), indent=2),
    )


def _figure(values: list[float]) -> str:
    return f"{values[0]:.4f}" if values else "—"
