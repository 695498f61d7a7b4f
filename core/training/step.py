"""One optimiser step, shared by any number of processes and micro-batches.

The global batch of a step, its noise and its dropout are functions of (seed, step); a process takes
its rows of it. Gradients and loss are sums over the global batch divided by its size, so that
uneven shares weigh what they should.
"""

import contextlib
import copy
import math
from collections.abc import Iterator

import torch
from diffusers import UNet2DModel
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from core.data.pinned import PinnedDataset
from core.diffusion.denoiser import Denoiser, build_unet
from core.diffusion.ema import ema_gamma, ema_update
from core.diffusion.objective import Weighting, denoising_loss
from core.diffusion.patches import PatchStatistics, measure_patches
from core.errors import UserError
from core.seeds import mixed_seed
from core.training.checkpoint import TrainingState
from core.training.config import TrainConfig
from core.training.dropout import use_row_dropout
from core.training.memory import TrainingPictures, pictures_of
from core.training.optimizers import new_optimizers
from core.training.processes import Processes


class Stepper:
    """The network of one process, and its part of every step."""

    def __init__(
        self,
        config: TrainConfig,
        dataset: PinnedDataset,
        state: TrainingState,
        processes: Processes,
        *,
        accumulate: int = 1,
        hold_pictures: bool = True,
    ) -> None:
        self.config, self.state = config, state
        self._processes, self._accumulate = processes, accumulate
        self._pictures = TrainingPictures(dataset, config, processes.device, hold=hold_pictures)
        self.statistics = measured_patches(dataset, config.patch)
        self._denoiser = self.denoiser_of(state.unet)
        self._dropouts = use_row_dropout(state.unet, config.batch_size)
        self.weighting = Weighting(sigma_data=config.sigma_data, sigma_floor=config.sigma_floor)
        self._gamma = ema_gamma(config.ema_width)

    def denoiser_of(self, unet: UNet2DModel) -> Denoiser:
        """The preconditioned network around these weights."""
        denoiser = Denoiser(unet, self.statistics, self.config.prediction)
        denoiser.bf16 = use_bf16(self.config.precision, self._processes.device)
        return denoiser.to(self._processes.device)

    def step(self) -> tuple[Tensor, Tensor]:
        """One optimiser step; the global batch's loss and gradient norm, still on the device."""
        state, config = self.state, self.config
        share = rate_share(config, state.step)
        for optimizer in state.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["highest_lr"] * share
        loss = self._backward()
        weights = list(state.unet.parameters())
        self._processes.add_up([*(w.grad for w in weights if w.grad is not None), loss])
        norm = torch.nn.utils.clip_grad_norm_(weights, config.clip_norm)
        for optimizer in state.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        state.step += 1
        ema_update(
            state.ema.parameters(), state.unet.parameters(), step=state.step, gamma=self._gamma
        )
        return loss, norm

    def _backward(self) -> Tensor:
        """Gradients of this process's share of the loss, in micro-batches; the share."""
        config, step = self.config, self.state.step
        batch = self._pictures.batch(
            step, rank=self._processes.rank, processes=self._processes.count
        )
        share = torch.zeros((), device=self._processes.device)
        for part in batch.parts(self._accumulate):
            torch.manual_seed(mixed_seed(config.seed, step, 3))
            for dropout in self._dropouts:
                dropout.rows = part.rows
            losses = denoising_loss(
                self._denoiser, part.clean, part.sigma, part.noise, part.labels, self.weighting
            )
            loss = losses.sum() / config.batch_size
            loss.backward()  # type: ignore[no-untyped-call]
            share += loss.detach()
        return share


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
    bf16 = use_bf16(config.precision, device)
    return TrainingState(unet=unet, ema=ema, optimizers=new_optimizers(unet, config, bf16=bf16))


def measured_patches(dataset: PinnedDataset, patch: int) -> PatchStatistics:
    """Block statistics of up to 1024 training pictures."""
    pictures, _ = pictures_of(dataset, torch.device("cpu"), at_most=1024, split="train")
    if len(pictures) == 0:
        raise UserError(f"{dataset.folder} has no training pictures")
    return measure_patches(pictures, patch)
