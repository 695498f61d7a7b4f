"""One optimiser step, shared by any number of processes and micro-batches.

The global batch of a step, its noise and its dropout are functions of (seed, step); a process takes
its rows of it. Gradients and loss are sums over the global batch divided by its size, so that
uneven shares weigh what they should.
"""

import copy
import dataclasses

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from core.data.pinned import PinnedDataset
from core.diffusion.denoiser import Denoiser, UNet, build_unet
from core.diffusion.objective import LearnedUncertainty, Weighting, denoising_loss
from core.diffusion.patches import PatchStatistics, measure_patches
from core.errors import UserError
from core.inspection.norms import norms_by_layer
from core.seeds import mixed_seed
from core.training.arithmetic import Compile, compile_where_it_pays, network_dtype
from core.training.averages import averaging_due, move_averages
from core.training.checkpoint import TrainingState
from core.training.config import TrainConfig
from core.training.dropout import use_row_dropout
from core.training.finetune import inherit, inherited_statistics
from core.training.memory import TrainingPictures, pictures_of
from core.training.optimizers import new_optimizers
from core.training.processes import Processes
from core.training.rates import rate_share
from core.training.told import tell_network, telling


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
        halvings: int = 0,
        hold_pictures: bool = True,
        compiled: Compile = "off",
    ) -> None:
        """halvings: how often the run went back (`core.training.guard`): as often the rate is
        halved, and order, noise and dropout are drawn anew."""
        if halvings:
            config = dataclasses.replace(config, seed=mixed_seed(config.seed, halvings, 4))
        self.config, self.state, self.rate = config, state, 0.5**halvings
        self._processes, self._accumulate = processes, accumulate
        self._pictures = TrainingPictures(dataset, config, processes.device, hold=hold_pictures)
        self.statistics = (
            inherited_statistics(config.init_from)
            if config.init_from
            else measured_patches(dataset, config.patch, whiten=config.whiten)
        )
        self._denoiser = self.denoiser_of(state.unet)
        compile_where_it_pays(self._denoiser, compiled, processes.device, steps=config.steps)
        self._trained = list(state.unet.parameters())
        if state.uncertainty is not None:
            self._trained += state.uncertainty.parameters()
        self.layer_norms: dict[str, Tensor] = {}
        """Gradient norms of the last step by layer, where --log-gradients asked for them."""
        self._dropouts = use_row_dropout(state.unet, config.batch_size)
        self.weighting = Weighting(
            sigma_data=config.sigma_data,
            sigma_floor=config.sigma_floor,
            kind=config.weighting,
            gamma=config.snr_gamma,
            prediction=config.prediction,
            scale=self.statistics.scale,
        )

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self._processes.device

    @property
    def dtype(self) -> torch.dtype | None:
        """What the network computes in; None for float32."""
        return network_dtype(self.config.precision, self.device)

    def denoiser_of(self, unet: UNet) -> Denoiser:
        """The preconditioned network around these weights."""
        denoiser = Denoiser(unet, self.statistics, self.config.prediction)
        denoiser.autocast_dtype = self.dtype
        return denoiser.to(self._processes.device)

    def step(self, share: float | None = None) -> tuple[Tensor, Tensor]:
        """One optimiser step; the global batch's loss and gradient norm, still on the device.

        share: of the highest rates; default: what the config and the halvings say.
        """
        state = self.state
        self._set_rates(self.share() if share is None else share)
        loss = self._backward()
        self._processes.add_up([*(w.grad for w in self._trained if w.grad is not None), loss])
        norm = self._move_weights()
        state.step += 1
        if averaging_due(self.config, state.step):
            move_averages(state, self.config)
        return loss, norm

    def share(self) -> float:
        """Share of the highest rates that the next step uses."""
        return self.rate * rate_share(self.config, self.state.step)

    def _set_rates(self, share: float) -> None:
        for optimizer in self.state.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["highest_lr"] * share

    def _move_weights(self) -> Tensor:
        """Clip the gradients and let the optimisers step; the norm that the gradients had.

        In fp16 a step whose scaled gradients overflowed is left out, and its norm given as 0.
        """
        optimizers, scaler = self.state.optimizers, self.state.scaler
        overflowed = False
        if scaler:
            for optimizer in optimizers:
                scaler.unscale_(optimizer)
            # The scaler judges each optimiser by itself; of two, both step or neither.
            gradients = [weight.grad for weight in self._trained if weight.grad is not None]
            overflowed = not bool(torch.nn.utils.get_total_norm(gradients).isfinite())
        self.layer_norms = self._norms() if self._logs_gradients() and not overflowed else {}
        norm = torch.nn.utils.clip_grad_norm_(self.state.unet.parameters(), self.config.clip_norm)
        for optimizer in optimizers:
            if scaler and not overflowed:
                scaler.step(optimizer)
            elif not scaler:
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if scaler:
            scaler.update()
        return torch.zeros_like(norm) if overflowed else norm

    def _logs_gradients(self) -> bool:
        """Whether the step that is being made gets a row with norms."""
        step, config = self.state.step + 1, self.config
        return config.log_gradients and (step % config.log_every == 0 or step == config.steps)

    def _norms(self) -> dict[str, Tensor]:
        named = self.state.unet.named_parameters()
        return norms_by_layer((name, w.grad) for name, w in named if w.grad is not None)

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
            with telling(self.state.unet, part.told):
                losses = denoising_loss(
                    self._denoiser,
                    part.clean,
                    part.sigma,
                    part.noise,
                    part.labels,
                    self.weighting,
                    uncertainty=self.state.uncertainty,
                )
            loss = losses.sum() / config.batch_size
            share += loss.detach()
            if self.state.scaler:
                loss = self.state.scaler.scale(loss)
            loss.backward()  # type: ignore[no-untyped-call]
        return share


def new_state(config: TrainConfig, dataset: PinnedDataset, device: torch.device) -> TrainingState:
    """Untrained weights (decided by the seed) or those of --init-from, averages, optimisers."""
    channels, side, _ = dataset.network_shape_chw
    if side % (config.patch * 2 ** (len(config.block_channels) - 1)):
        stored = "px pictures" if dataset.latents is None else "wide latents"
        raise UserError(
            f"{side} {stored} do not fit --patch {config.patch} with "
            f"{len(config.block_channels)} levels: the side must be a multiple of "
            f"{config.patch * 2 ** (len(config.block_channels) - 1)}"
        )
    torch.manual_seed(config.seed)
    unet = build_unet(
        size_px=side,
        channels=channels,
        labels=len(dataset.label_names),
        patch=config.patch,
        block_channels=config.block_channels,
        layers_per_block=config.layers_per_block,
        attention_levels=config.attention_levels,
        dropout=config.dropout,
        attention=config.attention,
    ).to(device, memory_format=torch.channels_last)
    if config.augment:
        tell_network(unet, seed=config.seed)
    if config.init_from:
        inherit(unet, config, dataset)
    ema = copy.deepcopy(unet).eval().requires_grad_(False)
    if config.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    dtype = network_dtype(config.precision, device)
    uncertainty = LearnedUncertainty().to(device) if config.weighting == "learned" else None
    return TrainingState(
        unet=unet,
        ema=ema,
        narrow={name: tensor.detach().clone() for name, tensor in unet.named_parameters()}
        if config.snapshots
        else None,
        optimizers=new_optimizers(
            unet, config, bf16=dtype is torch.bfloat16, uncertainty=uncertainty
        ),
        uncertainty=uncertainty,
        scaler=GradScaler(device.type) if dtype is torch.float16 else None,
    )


def measured_patches(dataset: PinnedDataset, patch: int, *, whiten: bool = True) -> PatchStatistics:
    """Block statistics of up to 1024 training pictures."""
    pictures, _ = pictures_of(dataset, torch.device("cpu"), at_most=1024, split="train")
    if len(pictures) == 0:
        raise UserError(f"{dataset.folder} has no training pictures")
    return measure_patches(pictures, patch, whiten=whiten)
