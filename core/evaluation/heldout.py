"""The denoising loss of a trained run on pictures that it never saw, by noise level and class."""

from pathlib import Path
from typing import Any

import torch

from core.data.pinned import PinnedDataset
from core.threads import fixed_threads

SIGMA_DATA = 0.5
"""The spread of data that errors are weighted by, the same for all runs, so that they compare."""


def held_out_losses(run: Path, dataset: PinnedDataset) -> dict[str, Any] | None:
    """Mean, by noise level, by class, and by both, of up to 256 validation pictures.

    Weighted as in Karras et al. 2022 (table 1). None when there are no validation pictures of the
    model's classes, or the model makes latents that the dataset has not.
    """
    from core.diffusion.objective import Weighting, held_out_loss
    from core.diffusion.pipeline import open_pipeline
    from core.training.memory import pictures_of

    pipeline = open_pipeline(run, device="cpu")
    names = dataset.label_names
    clean, labels = pictures_of(dataset, torch.device("cpu"), split="validation")
    known = [index for index, name in enumerate(names) if name in pipeline.label_names]
    kept = torch.isin(labels, torch.tensor(known, dtype=labels.dtype))
    if not bool(kept.any()) or clean.shape[1:] != tuple(pipeline.shape_chw):
        return None
    clean, labels = clean[kept], labels[kept]
    asked = pipeline.label_indices([names[index] for index in labels.tolist()])
    with fixed_threads():
        loss = held_out_loss(pipeline.denoiser(), clean, asked, Weighting(sigma_data=SIGMA_DATA))
    classes = pipeline.label_names
    return {
        "count": len(clean),
        "mean": loss.mean,
        "by_level": {f"{level:g}": value for level, value in loss.by_level.items()},
        "by_class": {classes[index]: value for index, value in loss.by_class.items()},
        "by_level_and_class": {
            f"{level:g}": {
                classes[index]: value
                for (other, index), value in loss.cells.items()
                if other == level
            }
            for level in loss.by_level
        },
    }
