"""The training loop: step, log, evaluate, draw, save; the same call again resumes."""

import contextlib
import copy
import dataclasses
import math
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import torch
from accelerate import Accelerator
from diffusers import UNet2DModel
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from core.config import config_to_dict, differing_fields, load_config, save_config
from core.data.pinned import PinnedDataset
from core.diffusion.denoiser import Denoiser, build_unet
from core.diffusion.ema import ema_gamma, ema_update
from core.diffusion.objective import Weighting, denoising_loss, held_out_loss
from core.diffusion.patches import PatchStatistics, measure_patches
from core.errors import UserError
from core.files import exclusive, read_json, write_bytes, write_json
from core.images import contact_sheet, png_bytes
from core.progress import progress
from core.rundir import RunFolder
from core.training.card import make_pipeline, save_model
from core.training.checkpoint import TrainingState, restore_newest, save_checkpoint
from core.training.config import TrainConfig
from core.training.memory import Batch, TrainingPictures, mixed_seed, pictures_of
from core.training.optimizers import new_optimizers
from core.training.record import Record

_GRID_STEPS = 12
_GRID_GUIDANCE = 1.5


def train(config: TrainConfig, dataset: PinnedDataset, folder: Path, *, cpu: bool = False) -> Path:
    """Train to the end, resuming from the newest checkpoint; the folder of the finished pipeline.

    Raises UserError when the folder holds another run, the data changed, or the loss is no longer
    finite; KeyboardInterrupt after a checkpoint when SIGINT or SIGTERM asks for a stop.
    """
    run = RunFolder(folder)
    with exclusive(folder):
        _claim(run, config, dataset)
        if run.model.exists():
            print(f"{run.model} is finished already: nothing to do")
            return run.model
        trainer = _Trainer(config, dataset, run, cpu=cpu)
        trainer.run_to_end()
        pipeline = make_pipeline(trainer.state.ema, config, dataset, trainer.statistics)
        save_model(run, pipeline, config, dataset)
    return run.model


class _Trainer:
    """One process of a training run."""

    def __init__(
        self, config: TrainConfig, dataset: PinnedDataset, run: RunFolder, *, cpu: bool
    ) -> None:
        self.config, self.dataset, self.run = config, dataset, run
        self.accelerator = Accelerator(cpu=cpu)
        self.device = self.accelerator.device
        self.pictures = TrainingPictures(dataset, config, self.device)
        self.held_out = pictures_of(dataset, self.device, split="validation")
        self.state = new_state(config, dataset, self.device)
        self.resumed = restore_newest(self.state, run)
        self.statistics = measured_patches(dataset, config.patch)
        self.denoiser = self.accelerator.prepare_model(self._denoiser(self.state.unet))
        self.ema_denoiser = self._denoiser(self.state.ema)
        self.weighting = Weighting(sigma_data=config.sigma_data, sigma_floor=config.sigma_floor)
        self.gamma = ema_gamma(config.ema_width)

    def _denoiser(self, unet: UNet2DModel) -> Denoiser:
        denoiser = Denoiser(unet, self.statistics, self.config.prediction)
        denoiser.bf16 = use_bf16(self.config.precision, self.device)
        return denoiser.to(self.device)

    def run_to_end(self) -> None:
        """All remaining steps."""
        state, config = self.state, self.config
        if self.resumed:
            print(f"going on from step {state.step} of {config.steps}")
        with (
            Record(self.run, resume_step=state.step) as record,
            progress(title="training", total=config.steps, done=state.step, unit="step") as bar,
            _stop_requests() as stop,
            fast_kernels(self.device),
        ):
            speed = _Speed(state.step)
            while state.step < config.steps:
                state.unlogged.append(self._step())
                bar.update()
                if state.step % config.log_every == 0 or state.step == config.steps:
                    bar.set_postfix_str(self._log(record, speed))
                self._now_and_then(record, stop)

    def _log(self, record: Record, speed: "_Speed") -> str:
        """Write a row for the steps since the last one; a short form for the progress bar."""
        state, config = self.state, self.config
        losses, norms = zip(*state.unlogged, strict=True)
        state.unlogged.clear()
        figures = {
            "loss": float(torch.stack(losses).mean()),
            "gradient_norm": float(torch.stack(norms).mean()),
            "learning_rate": config.learning_rate * rate_share(config, state.step - 1),
            "images_per_s": speed.images_per_s(state.step, config.batch_size),
        }
        self._require_finite(figures["loss"])
        record.add(state.step, figures)
        return f"loss {figures['loss']:.4f}, {figures['images_per_s']:.0f} images/s"

    def _step(self) -> tuple[Tensor, Tensor]:
        """One optimiser step; mean loss and gradient norm, still on the device."""
        state, config = self.state, self.config
        rank = self.accelerator.process_index
        batch = self.pictures.batch(state.step, rank=rank, processes=self.accelerator.num_processes)
        torch.manual_seed(mixed_seed(config.seed, state.step, 3, rank))
        share = rate_share(config, state.step)
        for optimizer in state.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["highest_lr"] * share
        loss = self._loss(batch)
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(state.unet.parameters(), config.clip_norm)
        for optimizer in state.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        state.step += 1
        ema_update(
            state.ema.parameters(), state.unet.parameters(), step=state.step, gamma=self.gamma
        )
        return loss.detach(), norm

    def _loss(self, batch: Batch) -> Tensor:
        losses = denoising_loss(
            self.denoiser, batch.clean, batch.sigma, batch.noise, batch.labels, self.weighting
        )
        return losses.mean()

    def _now_and_then(self, record: Record, stop: "_Stop") -> None:
        """Held-out loss, sample grid and checkpoint, each at its interval and at the end."""
        state, config = self.state, self.config
        last = state.step == config.steps
        if state.step % config.evaluate_every == 0 or last:
            record.add(state.step, self._evaluate())
        if state.step % config.sample_every == 0 or last:
            self._draw_grid()
        if state.step % config.checkpoint_every == 0 or last or stop.asked:
            self._require_finite(float(sum(p.detach().sum() for p in state.unet.parameters())))
            save_checkpoint(state, self.run, keep=config.keep_checkpoints)
        if stop.asked and not last:
            raise KeyboardInterrupt

    def _evaluate(self) -> dict[str, float]:
        """Held-out loss of the averaged weights, mean and by noise level."""
        clean, labels = self.held_out
        if len(clean) == 0:
            return {}
        by_level = held_out_loss(self.ema_denoiser, clean, labels, self.weighting)
        figures = {f"held_out_loss/sigma_{level}": loss for level, loss in by_level.items()}
        return {"held_out_loss": sum(by_level.values()) / len(by_level), **figures}

    def _draw_grid(self) -> None:
        """Two pictures of each class (of the first 16 classes) with the averaged weights."""
        pipeline = make_pipeline(self.state.ema, self.config, self.dataset, self.statistics)
        labels = [name for name in self.dataset.label_names[:16] for _ in range(2)]
        pictures = pipeline.generate(
            labels,
            range(len(labels)),
            guidance=_GRID_GUIDANCE,
            steps=_GRID_STEPS,
            solver="dpmpp-2m",
        )
        grid = contact_sheet(pictures, columns=min(8, len(pictures)), cell_px=128)
        write_bytes(self.run.grid(self.state.step), png_bytes(grid))

    def _require_finite(self, value: float) -> None:
        if math.isfinite(value):
            return
        saved = self.run.steps_saved()
        kept = f"step {saved[-1]} is kept in {self.run.checkpoints}" if saved else "none was saved"
        raise UserError(
            f"the loss is {value} at step {self.state.step}; last good checkpoint: {kept}. Train "
            f"again into another --out with --learning-rate {self.config.learning_rate / 3:.2g} "
            "(it was too high for this data) or --precision fp32"
        )


class _Speed:
    """Pictures per second since it was last asked."""

    def __init__(self, step: int) -> None:
        self._step, self._begun = step, time.perf_counter()

    def images_per_s(self, step: int, batch_size: int) -> float:
        """The rate since the last call (or the start)."""
        now = time.perf_counter()
        speed = (step - self._step) * batch_size / (now - self._begun)
        self._step, self._begun = step, now
        return speed


@dataclasses.dataclass
class _Stop:
    asked: bool = False


@contextlib.contextmanager
def _stop_requests() -> Iterator[_Stop]:
    """Turn SIGTERM and SIGINT into a wish that the loop grants at a step's end."""
    stop = _Stop()

    def ask(number: int, frame: FrameType | None) -> None:
        stop.asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def rate_share(config: TrainConfig, step: int) -> float:
    """Share of the highest rates that step `step` (from 0) uses."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    if config.decay == "constant":
        return warm
    return warm * (1 + math.cos(math.pi * step / config.steps)) / 2


def use_bf16(precision: str, device: torch.device) -> bool:
    """Whether the network runs in bfloat16; "auto" asks the processor for native products."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@contextlib.contextmanager
def fast_kernels(device: torch.device) -> Iterator[None]:
    """Attention by plain products on the CPU, where the fused backward is 2 to 4 times slower."""
    if device.type == "cpu":
        with sdpa_kernel(SDPBackend.MATH):
            yield
    else:
        torch.set_float32_matmul_precision("high")
        yield


def new_state(config: TrainConfig, dataset: PinnedDataset, device: torch.device) -> TrainingState:
    """Untrained weights (decided by the seed), their average, and the optimiser."""
    if dataset.size_px % (config.patch * 2 ** (len(config.block_channels) - 1)):
        raise UserError(
            f"{dataset.size_px} px pictures do not fit --patch {config.patch} with "
            f"{len(config.block_channels)} levels: the side must be a multiple of "
            f"{config.patch * 2 ** (len(config.block_channels) - 1)}"
        )
    torch.manual_seed(config.seed)
    unet = build_unet(
        size_px=dataset.size_px,
        channels=dataset.channels,
        labels=len(dataset.label_names),
        patch=config.patch,
        block_channels=config.block_channels,
        layers_per_block=config.layers_per_block,
        attention_levels=config.attention_levels,
        dropout=config.dropout,
    ).to(device, memory_format=torch.channels_last)
    ema = copy.deepcopy(unet).eval().requires_grad_(False)
    if config.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    return TrainingState(unet=unet, ema=ema, optimizers=new_optimizers(unet, config))


def measured_patches(dataset: PinnedDataset, patch: int) -> PatchStatistics:
    """Block statistics of up to 1024 training pictures."""
    pictures, _ = pictures_of(dataset, torch.device("cpu"), at_most=1024, split="train")
    if len(pictures) == 0:
        raise UserError(f"{dataset.folder} has no training pictures")
    return measure_patches(pictures, patch)


def _claim(run: RunFolder, config: TrainConfig, dataset: PinnedDataset) -> None:
    """Make the folder this run's, or check that it already is."""
    data = {
        "folder": str(dataset.folder),
        "digest": dataset.digest,
        "licence": dataset.licence,
        "labels": list(dataset.label_names),
        "size_px": dataset.size_px,
        "channels": dataset.channels,
    }
    if not run.config.exists():
        save_config(config, run.config)
        write_json(run.data, data)
        return
    found = load_config(TrainConfig, run.config)
    if differing := differing_fields(found, config):
        was = {name: config_to_dict(found)[name] for name in differing}
        raise UserError(f"{run.root} holds a run with other settings, {was}: name another --out")
    if run.data.exists() and read_json(run.data)["digest"] != dataset.digest:
        raise UserError(
            f"the data of {run.root} changed since it began (another digest): name another --out"
        )
    write_json(run.data, data)
