"""One optimiser step of the adapters, shared by any number of processes and micro-batches."""

import dataclasses
from typing import Any

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from core.pretrained.lora.adapters import UNET, Adapters
from core.pretrained.lora.base import needs_sizes
from core.pretrained.lora.batches import Batch, Batches
from core.pretrained.lora.config import LoraConfig
from core.pretrained.lora.encoded import Encoded
from core.pretrained.lora.objective import Objective
from core.pretrained.lora.run import LoraState
from core.pretrained.lora.texts import Texts, embed, nothing_is_zeros
from core.seeds import mixed_seed
from core.training.dropout import use_row_dropout
from core.training.optimizers import new_optimizer
from core.training.processes import Processes
from core.training.rates import rate_share


class LoraStepper:
    """The networks of one process, and its part of every step."""

    def __init__(
        self,
        config: LoraConfig,
        encoded: Encoded,
        pipeline: Any,
        state: LoraState,
        processes: Processes,
        *,
        accumulate: int = 1,
        halvings: int = 0,
    ) -> None:
        """halvings: how often the run went back: as often the rate is halved, and all that is
        random is drawn anew."""
        if halvings:
            config = dataclasses.replace(config, seed=mixed_seed(config.seed, halvings, 4))
        self.config, self.state, self.rate = config, state, 0.5**halvings
        self._pipeline, self._processes, self._accumulate = pipeline, processes, accumulate
        device = processes.device
        self._captions = encoded.captions
        self._objective = Objective(pipeline, snr_gamma=config.snr_gamma, device=device)
        self._batches = Batches(config, encoded, timesteps=self._objective.timesteps, device=device)
        self._texts: Texts | None = None if config.text_encoders else self._batches.texts()
        self._trained = state.adapters.parameters()
        self._dropouts = [
            dropout
            for module in state.adapters.modules.values()
            for dropout in use_row_dropout(module, config.batch_size)
        ]
        self._dtype = pipeline.vae.dtype

    def step(self, share: float | None = None) -> tuple[Tensor, Tensor]:
        """One optimiser step; the whole batch's loss and gradient norm, still on the device.

        share: of the highest rates; default: what the config and the halvings say.
        """
        wanted = self.share() if share is None else share
        for group in self.state.optimizer.param_groups:
            group["lr"] = group["highest_lr"] * wanted
        loss = self._backward()
        self._processes.add_up([*(w.grad for w in self._trained if w.grad is not None), loss])
        norm = self._move()
        self.state.step += 1
        return loss, norm

    def share(self) -> float:
        """Share of the highest rates that the next step uses."""
        return self.rate * rate_share(self.config, self.state.step)

    def _move(self) -> Tensor:
        """Clip the gradients and let the optimiser step; the norm that the gradients had.

        In fp16 a step whose scaled gradients overflowed is left out, and its norm given as 0.
        """
        optimizer, scaler = self.state.optimizer, self.state.scaler
        if scaler:
            scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self._trained, self.config.clip_norm)
        if scaler:
            overflowed = not bool(norm.isfinite())
            scaler.step(optimizer)
            scaler.update()
            norm = torch.zeros_like(norm) if overflowed else norm
        else:
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return norm

    def _backward(self) -> Tensor:
        """Gradients of this process's share of the loss, in micro-batches; the share."""
        config, step = self.config, self.state.step
        parts = self._batches.parts(
            step,
            rank=self._processes.rank,
            processes=self._processes.count,
            accumulate=self._accumulate,
        )
        share = torch.zeros((), device=self._processes.device)
        for part in parts:
            torch.manual_seed(mixed_seed(config.seed, step, 3))
            for dropout in self._dropouts:
                dropout.rows = part.rows
            loss = self._losses(part).sum() / config.batch_size
            share += loss.detach()
            if self.state.scaler:
                loss = self.state.scaler.scale(loss)
            loss.backward()  # type: ignore[no-untyped-call]
        return share

    def _losses(self, batch: Batch) -> Tensor:
        """N losses."""
        unet, objective = self.state.adapters.modules[UNET], self._objective
        device, half = self._processes.device, self._dtype is not torch.float32
        noisy = objective.noisy(batch.latents, batch.noise, batch.timesteps)
        with torch.autocast(device.type, self._dtype if half else None, enabled=half):
            texts = self._said(batch)
            told = {"text_embeds": texts.pooled, "time_ids": batch.sizes}
            found = unet(
                noisy.to(self._dtype),
                batch.timesteps,
                encoder_hidden_states=texts.embeds.to(self._dtype),
                added_cond_kwargs=told if needs_sizes(unet) else None,
            ).sample
        return objective.losses(found, batch.latents, batch.noise, batch.timesteps)

    def _said(self, batch: Batch) -> Texts:
        """The captions' embeddings: kept ones, or made now by the encoders in training."""
        if self._texts is not None:
            return self._texts.rows(batch.captions).to(self._processes.device, self._dtype)
        device, nothing = self._processes.device, len(self._captions)
        places = batch.captions.tolist()
        words = ["" if place == nothing else self._captions[place] for place in places]
        made = embed(self._pipeline, words, device)
        silent = (batch.captions == nothing).to(device)
        if not nothing_is_zeros(self._pipeline):  # else it is the empty caption, embedded already
            return made
        pooled = None if made.pooled is None else made.pooled.masked_fill(silent[:, None], 0)
        return Texts(made.embeds.masked_fill(silent[:, None, None], 0), pooled)


def new_state(
    config: LoraConfig, pipeline: Any, device: torch.device, *, fp16: bool = False
) -> LoraState:
    """Adapters that add nothing yet in the pipeline's networks, on the device; their optimiser."""
    adapters = Adapters(pipeline, config)
    for module in adapters.modules.values():
        module.to(device).train()
    if config.gradient_checkpointing:
        for name, module in adapters.modules.items():
            if name == UNET:
                module.enable_gradient_checkpointing()
            else:
                module.gradient_checkpointing_enable()
    groups = []
    for component in adapters.modules:
        factor = 1.0 if component == UNET else config.text_encoder_rate
        weights = [weight for _, weight in adapters.named_parameters(component)]
        rate = config.learning_rate * factor
        groups.append({"params": weights, "lr": rate, "highest_lr": rate})
    return LoraState(
        adapters=adapters,
        optimizer=new_optimizer(groups, config),
        scaler=GradScaler(device.type) if fp16 else None,
    )
