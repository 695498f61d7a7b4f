"""Checkpoints: everything that a run needs to go on as if it had never stopped.

    model.safetensors     the weights being trained
    ema.safetensors       their average, from which samples are made
    narrow.safetensors    their shorter average, where snapshots are kept
    uncertainty.safetensors   the learned weighting, where there is one
    optimizer.pt          the optimisers' moments (loaded with weights_only)
    state.json            steps done, figures not yet logged, the scale of fp16's loss

Order, noise and dropout are functions of (seed, step): no random state has to be kept.
"""

import contextlib
import dataclasses
import io
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from core.diffusion.denoiser import UNet
from core.diffusion.objective import LearnedUncertainty
from core.errors import UserError
from core.files import atomic_folder, read_json, write_bytes, write_json
from core.rundir import RunFolder

_MACHINE_ERRORS: tuple[type[Exception], ...] = (
    torch.OutOfMemoryError,
    getattr(torch, "AcceleratorError", torch.OutOfMemoryError),  # Only newer ones have it.
    MemoryError,
)
"""What says nothing about a checkpoint that was being read."""


@dataclasses.dataclass(kw_only=True)
class TrainingState:
    """What changes while training."""

    unet: UNet
    ema: UNet
    optimizers: list[torch.optim.Optimizer]
    """One, and Muon beside it where it is used."""
    narrow: dict[str, Tensor] | None = None
    """A second average, half as wide; None where no snapshots are kept."""
    uncertainty: LearnedUncertainty | None = None
    """What a learned weighting learns."""
    scaler: GradScaler | None = None
    """The scale of the loss in fp16."""
    step: int = 0
    """Steps done."""
    averaged_step: int = 0
    """The step after which the averages last moved."""
    unlogged: list[tuple[Tensor, Tensor]] = dataclasses.field(default_factory=list)
    """Loss and gradient norm of the steps since the last row of metrics.jsonl."""


def save_checkpoint(state: TrainingState, run: RunFolder, *, keep: int) -> Path:
    """Write the state as a whole folder, then drop all but the newest `keep`."""
    folder = run.checkpoint(state.step)
    if folder.exists():
        return folder
    with atomic_folder(folder) as temporary:
        write_tensors(temporary / "model.safetensors", state.unet.state_dict())
        write_tensors(temporary / "ema.safetensors", state.ema.state_dict())
        if state.narrow is not None:
            write_tensors(temporary / "narrow.safetensors", state.narrow)
        if state.uncertainty is not None:
            weights = state.uncertainty.state_dict()
            write_tensors(temporary / "uncertainty.safetensors", weights)
        moments = [optimizer.state_dict() for optimizer in state.optimizers]
        write_torch(temporary / "optimizer.pt", moments)
        pending = [[float(loss), float(norm)] for loss, norm in state.unlogged]
        rest = {"step": state.step, "averaged_step": state.averaged_step, "unlogged": pending}
        if state.scaler is not None:
            rest["scaler"] = state.scaler.state_dict()
        write_json(temporary / "state.json", rest)
    for step in run.steps_saved()[:-keep]:
        shutil.rmtree(run.checkpoint(step))
    return folder


def newest_checkpoint(run: RunFolder) -> int:
    """Step of the newest checkpoint, or 0; leftovers that a crash cut off are removed."""
    for leftover in sorted(run.checkpoints.glob(".step_*.tmp")):
        shutil.rmtree(leftover, ignore_errors=True)
    return max(run.steps_saved(), default=0)


def restore_checkpoint(state: TrainingState, run: RunFolder, step: int) -> None:
    """Load the checkpoint of a step into the state; UserError when it cannot be read."""
    folder = run.checkpoint(step)
    with reading_checkpoint(folder):
        state.unet.load_state_dict(load_file(folder / "model.safetensors"))
        state.ema.load_state_dict(load_file(folder / "ema.safetensors"))
        if state.narrow is not None:
            for name, tensor in load_file(folder / "narrow.safetensors").items():
                state.narrow[name].copy_(tensor)
        if state.uncertainty is not None:
            state.uncertainty.load_state_dict(load_file(folder / "uncertainty.safetensors"))
        moments = torch.load(folder / "optimizer.pt", map_location="cpu", weights_only=True)
        for optimizer, values in zip(state.optimizers, moments, strict=True):
            optimizer.load_state_dict(values)
        rest = read_json(folder / "state.json")
        state.step, state.averaged_step = int(rest["step"]), int(rest["averaged_step"])
        if state.scaler is not None:
            state.scaler.load_state_dict(rest["scaler"])
        # Beside those of the steps to come, which are on the device.
        pending = torch.tensor(rest["unlogged"], device=next(state.unet.parameters()).device)
        state.unlogged = [(loss, norm) for loss, norm in pending]


@contextlib.contextmanager
def reading_checkpoint(folder: Path) -> Iterator[None]:
    """UserError for what goes wrong within, unless it says nothing about the checkpoint."""
    try:
        yield
    except _MACHINE_ERRORS:
        raise
    except Exception as error:
        raise UserError(
            f"the checkpoint {folder} cannot be read ({type(error).__name__}: {error}); "
            "remove that folder to go on from the one before"
        ) from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write safetensors. As bytes: a full disk is then an OSError, not the library's own error."""
    write_bytes(path, save({name: tensor.contiguous() for name, tensor in tensors.items()}))


def write_torch(path: Path, value: Any) -> None:
    """Write what `torch.load(weights_only=True)` reads; likewise."""
    data = io.BytesIO()
    torch.save(value, data)
    write_bytes(path, data.getvalue())
