"""Trains a ×4 upscaler: the same folder resumes, and a finished one is left alone.

The result, in `model/`: `upscaler.safetensors` (the averaged weights, under plain names) and
`upscaler.pth` (both the last and the averaged, as basicsr writes them). Any program that knows
Real-ESRGAN's compact network loads either.
"""

import contextlib
import dataclasses
import math
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from core.config import config_to_dict, differing_fields, load_config, save_config
from core.errors import UserError
from core.files import (
    atomic_folder,
    canonical_json,
    digest_file,
    exclusive,
    read_json,
    write_json,
)
from core.progress import progress
from core.rundir import RunFolder
from core.training.arithmetic import fast_kernels
from core.training.record import Record
from core.training.stopping import Stopped, StopWish, signal_of, stop_wishes
from exporters.training.config import SCALE, UpscalerConfig
from exporters.training.measuring import Measures, measure_network
from exporters.training.patches import Batch, draw_batch
from exporters.training.pictures import Pictures, load_pictures
from exporters.training.restoration import Loss, build_loss, build_network

MODEL_NAME = "upscaler"
_WARM_UP_STEPS = 100
_KEPT_CHECKPOINTS = 2


@dataclasses.dataclass(kw_only=True)
class _State:
    """What changes while training."""

    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0
    losses: list[float] = dataclasses.field(default_factory=list)
    """Losses since the last row of metrics.jsonl."""


def train_upscaler(config: UpscalerConfig, folder: Path, *, cpu: bool = False) -> Path:
    """Train to the end, from the newest checkpoint on; the folder of the finished model.

    Raises UserError when the folder holds another training or the pictures changed since it began;
    Stopped (a KeyboardInterrupt) after a checkpoint when a signal asks for an end.
    """
    run = RunFolder(folder)
    check_claim(run, config)
    if run.model.exists():
        return run.model
    with exclusive(folder), stop_wishes() as wish, _threads(config.threads):
        pictures = load_pictures(config)
        _claim(run, config, pictures)
        gpu = torch.cuda.is_available() and not cpu
        device = torch.device("cuda" if gpu else "cpu")
        state = _new_state(config, device)
        if steps := run.steps_saved():
            _restore(state, run, steps[-1])
        with Record(run, resume_step=state.step) as record, fast_kernels(device):
            _run_to_end(state, config, pictures, run, record, wish)
        measures = measure_network(state.average, pictures.held_out, config.shrinking)
        _write_model(state, config, pictures, run, measures)
    return run.model


def check_claim(run: RunFolder, config: UpscalerConfig) -> None:
    """UserError when the folder holds a training of other settings; writes nothing."""
    if config.init_from is not None and not config.init_from.is_file():
        raise UserError(f"--init-from {config.init_from} does not exist: give a file of weights")
    if not run.config.exists():
        return
    found = load_config(UpscalerConfig, run.config)
    if differing := differing_fields(found, config):
        was = {name: config_to_dict(found)[name] for name in differing}
        raise UserError(
            f"{run.root} holds a training with other settings, {was}: name another --out"
        )


def _claim(run: RunFolder, config: UpscalerConfig, pictures: Pictures) -> None:
    if run.data.exists() and read_json(run.data)["digest"] != pictures.digest:
        raise UserError(
            f"the pictures of {run.root} changed since it began (another digest): name another "
            "--out, or bring them back"
        )
    save_config(config, run.config)
    facts = {"digest": pictures.digest, "train": len(pictures.train)}
    parent = None if config.init_from is None else digest_file(config.init_from)
    write_json(run.data, {**facts, "held_out": len(pictures.held_out), "init_from": parent})


def _new_state(config: UpscalerConfig, device: torch.device) -> _State:
    torch.manual_seed(config.seed)
    network, average = (_placed(build_network(config), device) for _ in range(2))
    if config.init_from is not None:
        _begin_with(network, config.init_from)
    average.load_state_dict(network.state_dict())
    average.requires_grad_(False)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True)
    return _State(network=network, average=average, optimizer=optimizer)


def _begin_with(network: nn.Module, weights: Path) -> None:
    """Load published weights, the averaged ones where there are both."""
    try:
        state: Any = (
            load_file(weights)
            if weights.suffix == ".safetensors"
            else torch.load(weights, map_location="cpu", weights_only=True)
        )
        for name in ("params_ema", "params"):
            state = state.get(name, state)
        network.load_state_dict(state)
    except Exception as error:  # what a broken or hostile file raises is up to its author
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"--init-from {weights} does not fit the network ({reason}): "
            "give --channels, --features and --convolutions that it has"
        ) from None


def _placed(network: nn.Module, device: torch.device) -> nn.Module:
    return network.to(device).to(memory_format=torch.channels_last)


def _run_to_end(
    state: _State,
    config: UpscalerConfig,
    pictures: Pictures,
    run: RunFolder,
    record: Record,
    wish: StopWish,
) -> None:
    loss_of = build_loss(config)
    begun, first = time.monotonic(), state.step
    with (
        progress(title="training", unit="step", total=config.steps, done=state.step) as bar,
        ThreadPoolExecutor(1) as drawing,
    ):
        batch = drawing.submit(draw_batch, pictures.train, config, state.step)
        while state.step < config.steps:
            drawn = batch.result()
            batch = drawing.submit(draw_batch, pictures.train, config, state.step + 1)
            _one_step(state, config, drawn, loss_of)
            bar.update()
            due = state.step % config.checkpoint_every == 0 or state.step == config.steps
            if state.step % config.log_every == 0 or due:
                pace = (state.step - first) / (time.monotonic() - begun)
                bar.set_postfix_str(_log(state, config, record, pace))
            if due:
                found = measure_network(state.average, pictures.held_out, config.shrinking)
                record.add(state.step, found.row())
            urgency = wish()
            if due or urgency:
                _save(state, run)
            if urgency:
                raise Stopped(signal_of(urgency), state.step)


def _one_step(
    state: _State, config: UpscalerConfig, drawn: tuple[Batch, Batch], loss_of: Loss
) -> None:
    """Learn from small and large patches, move the average."""
    device = next(state.network.parameters()).device
    small, large = (
        torch.from_numpy(array).to(device, memory_format=torch.channels_last) for array in drawn
    )
    for group in state.optimizer.param_groups:
        group["lr"] = _rate(config, state.step)
    with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
        guess = state.network(small)
    loss = loss_of(guess.float(), large)
    state.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
    state.optimizer.step()
    state.step += 1
    # Young averages follow quickly: the first weights are random.
    keep = min(config.average, state.step / (state.step + 10))
    with torch.no_grad():
        for mean, value in zip(state.average.parameters(), state.network.parameters(), strict=True):
            mean.lerp_(value, 1 - keep)
    state.losses.append(float(loss.detach()))


def _rate(config: UpscalerConfig, step: int) -> float:
    """A short rise, then a cosine down to a hundredth."""
    rising = min(1.0, (step + 1) / _WARM_UP_STEPS)
    falling = 0.01 + 0.99 * (1 + math.cos(math.pi * step / config.steps)) / 2
    return config.learning_rate * rising * falling


def _log(state: _State, config: UpscalerConfig, record: Record, pace: float) -> str:
    loss = sum(state.losses) / max(1, len(state.losses))
    if not math.isfinite(loss):
        raise UserError(
            f"the loss is {loss} after step {state.step}: give a smaller --learning-rate "
            f"(it is {config.learning_rate:g}) and another --out"
        )
    row = {"loss": loss, "learning_rate": _rate(config, state.step), "steps_per_s": pace}
    record.add(state.step, row)
    state.losses.clear()
    return f"loss {loss:.4f}"


def _save(state: _State, run: RunFolder) -> None:
    """A whole checkpoint, then no more than the newest few."""
    folder = run.checkpoint(state.step)
    if not folder.exists():
        with atomic_folder(folder) as temporary:
            (temporary / "model.safetensors").write_bytes(save(_plain(state.network)))
            (temporary / "ema.safetensors").write_bytes(save(_plain(state.average)))
            torch.save(state.optimizer.state_dict(), temporary / "optimizer.pt")
            write_json(temporary / "state.json", {"step": state.step, "losses": state.losses})
    for step in run.steps_saved()[:-_KEPT_CHECKPOINTS]:
        shutil.rmtree(run.checkpoint(step))


def _restore(state: _State, run: RunFolder, step: int) -> None:
    folder = run.checkpoint(step)
    try:
        state.network.load_state_dict(load_file(folder / "model.safetensors"))
        state.average.load_state_dict(load_file(folder / "ema.safetensors"))
        moments = torch.load(folder / "optimizer.pt", map_location="cpu", weights_only=True)
        state.optimizer.load_state_dict(moments)
        rest = read_json(folder / "state.json")
        state.step, state.losses = int(rest["step"]), [float(loss) for loss in rest["losses"]]
    except Exception as error:
        raise UserError(
            f"the checkpoint {folder} cannot be read ({type(error).__name__}: {error}); "
            "remove that folder to go on from the one before"
        ) from error


def _write_model(
    state: _State, config: UpscalerConfig, pictures: Pictures, run: RunFolder, measures: Measures
) -> None:
    facts = {
        "architecture": "SRVGGNetCompact",
        "scale": SCALE,
        "config": _without_folders(config),
        "pictures": pictures.digest,
        "init_from": read_json(run.data)["init_from"],
        "held_out": measures.row(),
    }
    with atomic_folder(run.model) as temporary:
        weights = _plain(state.average)
        told = save(weights, {"menagerie": canonical_json(facts)})
        (temporary / f"{MODEL_NAME}.safetensors").write_bytes(told)
        both = {"params": _plain(state.network), "params_ema": weights}
        torch.save(both, temporary / f"{MODEL_NAME}.pth")
        write_json(temporary / f"{MODEL_NAME}.json", facts)


def _without_folders(config: UpscalerConfig) -> dict[str, Any]:
    """The config with names of files only: weights travel, and folders are nobody's business."""
    names = [path.name for path in config.data]
    parent = config.init_from and config.init_from.name
    return {**config_to_dict(config), "data": names, "init_from": parent}


def _plain(network: nn.Module) -> dict[str, Tensor]:
    """The weights, on the CPU, in the usual order of memory."""
    return {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()
    }


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
