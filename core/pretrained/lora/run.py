"""A LoRA training on disk, and its checkpoints.

encoded/                  the pictures as the pipeline sees them
checkpoints/step_N/       adapters.safetensors, optimizer.pt, state.json
samples/step_N.png        validation pictures
lora/                     the result: diffusers' and kohya's files, and a card; written last
pipeline.json             the commit of a pipeline of the hub: its newest may be another one later
config.json, data.json, metrics.jsonl, tensorboard/, guard.json    as of any training
"""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from core.config import config_to_dict, differing_fields, load_config, save_config
from core.errors import UserError
from core.files import atomic_folder, read_json, write_json
from core.pretrained.lora.adapters import Adapters
from core.pretrained.lora.config import LoraConfig
from core.pretrained.lora.encoded import Encoded
from core.rundir import RunFolder
from core.training.checkpoint import reading_checkpoint, write_tensors, write_torch

_ADAPTERS, _MOMENTS, _STATE = "adapters.safetensors", "optimizer.pt", "state.json"


class LoraRun(RunFolder):
    """Where everything of one LoRA training lives."""

    @property
    def lora(self) -> Path:
        """The finished adapters; its presence marks the run as done."""
        return self.root / "lora"

    @property
    def pipeline(self) -> Path:
        """Name and commit of a pipeline of the hub, as the run began with it."""
        return self.root / "pipeline.json"

    @property
    def encoded(self) -> Path:
        """The pictures as the pipeline sees them."""
        return self.root / "encoded"


@dataclasses.dataclass(kw_only=True)
class LoraState:
    """What changes while training."""

    adapters: Adapters
    optimizer: torch.optim.Optimizer
    scaler: GradScaler | None = None
    """The scale of the loss in fp16."""
    step: int = 0
    """Steps done."""
    unlogged: list[tuple[Tensor, Tensor]] = dataclasses.field(default_factory=list)
    """Loss and gradient norm of the steps since the last row of metrics.jsonl."""


def claim(run: LoraRun, config: LoraConfig, encoded: Encoded, model: dict[str, Any]) -> None:
    """Make the folder this run's; UserError when it is another's already."""
    check_claim(run, config)
    facts = {"digest": encoded.digest, "licence": encoded.licence, "model": model}
    if run.data.exists():
        began = read_json(run.data)
        if differing := [name for name in ("digest", "model") if began[name] != facts[name]]:
            what = {"digest": "pictures or captions", "model": "pipeline"}[differing[0]]
            raise UserError(f"the {what} of {run.root} changed since it began: name another --out")
    if not run.config.exists():
        save_config(config, run.config)
    write_json(run.data, facts)


def check_claim(run: LoraRun, config: LoraConfig) -> None:
    """UserError when the folder holds a run of other settings; writes nothing."""
    if not run.config.exists():
        return
    found = load_config(LoraConfig, run.config)
    if differing := differing_fields(found, config):
        was = {name: config_to_dict(found)[name] for name in differing}
        raise UserError(f"{run.root} holds a run with other settings, {was}: name another --out")


def save_checkpoint(state: LoraState, run: LoraRun, *, keep: int) -> None:
    """Write the state as a whole folder, then drop all but the newest `keep`."""
    folder = run.checkpoint(state.step)
    if folder.exists():
        return
    with atomic_folder(folder) as temporary:
        flat = {
            f"{component}/{name}": tensor
            for component, weights in state.adapters.state().items()
            for name, tensor in weights.items()
        }
        write_tensors(temporary / _ADAPTERS, flat)
        write_torch(temporary / _MOMENTS, state.optimizer.state_dict())
        rest: dict[str, Any] = {
            "step": state.step,
            "unlogged": [[float(loss), float(norm)] for loss, norm in state.unlogged],
        }
        if state.scaler is not None:
            rest["scaler"] = state.scaler.state_dict()
        write_json(temporary / _STATE, rest)
    for step in run.steps_saved()[:-keep]:
        shutil.rmtree(run.checkpoint(step))


def restore_checkpoint(state: LoraState, run: LoraRun, step: int, device: torch.device) -> None:
    """Load the checkpoint of a step into the state; UserError when it cannot be read."""
    folder = run.checkpoint(step)
    with reading_checkpoint(folder):
        state.adapters.load(_by_component(load_file(folder / _ADAPTERS)))
        moments = torch.load(folder / _MOMENTS, map_location="cpu", weights_only=True)
        state.optimizer.load_state_dict(moments)
        rest = read_json(folder / _STATE)
        state.step = int(rest["step"])
        # None where a GPU with bf16 saved it: the scale then begins anew.
        if state.scaler is not None and "scaler" in rest:
            state.scaler.load_state_dict(rest["scaler"])
        pending = torch.tensor(rest["unlogged"], device=device)
        state.unlogged = [(loss, norm) for loss, norm in pending]


def _by_component(flat: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    found: dict[str, dict[str, Tensor]] = {}
    for path, tensor in flat.items():
        component, _, name = path.partition("/")
        found.setdefault(component, {})[name] = tensor
    return found
