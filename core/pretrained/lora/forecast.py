"""What a LoRA training will need, from a network of the same shape that holds no numbers.

The U-Net is built on torch's meta device and run forward and back there: what a real step would
keep for the way back is counted, and its multiplications. Nothing is loaded or downloaded.
"""

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from core.pretrained.lora.adapters import check_targets
from core.pretrained.lora.base import needs_sizes
from core.pretrained.lora.config import LoraConfig
from core.pretrained.text_to_image.source import PipelineSource

GPU_TFLOPS = 100.0
"""What a GPU of an A100's kind keeps up in half precision, in 10¹² operations a second."""
_CPU_SHARE = 0.35
"""Of the rate of one large product, what a network's step keeps up on a CPU."""
_CALL_S = 1e-5
"""For a kernel, whatever it computes."""
_CALLS_OF_LAYER = 12
"""Of a layer with weights, with its adapter, forward and back."""
_RECOMPUTED = ("ResnetBlock2D", "BasicTransformerBlock")
"""What --gradient-checkpointing recomputes on the way back."""
_RESERVE_BYTES = 700 * 2**20
"""For libraries, kernels and fragments."""
_TOKENS = 77
_FULL_PRICE = 3
"""How many times an operation's time float32 takes on a GPU, where the rate is half precision's."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoraForecast:
    """What one process is likely to take."""

    weights_bytes: int
    """Of the frozen networks, where they train."""
    adapters: int
    """Numbers that are trained."""
    activation_bytes: int
    """Kept for the way back, of one micro-batch."""
    operations: float
    """Of a step of the whole batch: two for each multiplication."""
    calls: int
    """Kernels that one process launches in a step."""
    encoding_operations: float
    """Of encoding all pictures, their mirror images and captions; on a GPU in half precision's
    coin."""
    encoded_bytes: int
    """On disk, of pictures and captions that are encoded."""
    disk_bytes: int
    """Checkpoints that are kept, the one being written, and the result."""

    @property
    def peak_bytes(self) -> int:
        """What must be free: weights, adapters with gradients and moments, activations."""
        return self.weights_bytes + 16 * self.adapters + self.activation_bytes + _RESERVE_BYTES

    def hours(self, steps: int, tflops: float, processes: int = 1) -> float:
        """Hours of so many steps, by processes that keep up this rate each."""
        computing = self.operations / (tflops * 1e12 * processes)
        return steps * (computing + self.calls * _CALL_S) / 3600

    def encoding_hours(self, tflops: float, processes: int = 1) -> float:
        """Hours until the pictures are encoded, by as many processes."""
        return self.encoding_operations / (tflops * 1e12 * processes) / 3600


def forecast(
    config: LoraConfig,
    source: PipelineSource,
    *,
    on_gpu: bool,
    micro_batch: int,
    accumulate: int = 1,
    pictures: int = 0,
    captions: int = 0,
) -> LoraForecast:
    """Predict for pictures of the training's resolution; `micro_batch` of them at a time.

    pictures, captions: how many are still to be encoded.
    """
    half = config.precision in ("bf16", "fp16") or (on_gpu and config.precision == "auto")
    size = 2 if half else 4
    counts = source.numbers
    trained = ("unet", *(("text_encoder", "text_encoder_2") if config.text_encoders else ()))
    held = trained if on_gpu else tuple(counts)
    walked = _walked(config, source, micro_batch=micro_batch, half=half, whole_attention=not on_gpu)
    micro_batches = config.batch_size / micro_batch
    told = sum(counts.get(name, 0) for name in ("text_encoder", "text_encoder_2"))
    encoding = 2 * pictures * _encoder_operations(config, source) if pictures else 0.0
    encoding += 2 * told * _TOKENS * captions
    return LoraForecast(
        weights_bytes=sum(counts.get(name, 0) for name in held) * size,
        adapters=walked.adapters,
        activation_bytes=walked.kept_bytes,
        operations=walked.operations * micro_batches,
        calls=_CALLS_OF_LAYER * walked.layers * accumulate,
        encoding_operations=encoding * (_FULL_PRICE if on_gpu else 1),
        encoded_bytes=pictures * _latent_bytes(config, source)
        + captions * 2 * _TOKENS * int(source.denoiser.get("cross_attention_dim") or 768),
        disk_bytes=12 * walked.adapters * (config.keep_checkpoints + 1) + 8 * walked.adapters,
    )


def cpu_tflops() -> float:
    """What this machine's processor is likely to keep up, from one product timed here."""
    left = torch.ones(1024, 1024)
    left @ left
    begun, made = time.perf_counter(), 0
    while time.perf_counter() < begun + 0.2:
        left @ left
        made += 1
    rate = made * 2 * 1024**3 / (time.perf_counter() - begun)
    return _CPU_SHARE * rate / 1e12


def _encoder_operations(config: LoraConfig, source: PipelineSource) -> float:
    """Of encoding one picture."""
    import diffusers

    side = config.resolution_px or source.size_px
    with torch.device("meta"):
        vae = getattr(diffusers, source.vae["_class_name"]).from_config(source.vae)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            vae.encode(torch.empty(1, int(source.vae.get("in_channels", 3)), side, side))
    return float(counter.get_total_flops())


def _latent_bytes(config: LoraConfig, source: PipelineSource) -> int:
    """Of one picture and its mirror image, in half precision."""
    side = (config.resolution_px or source.size_px) // source.scale
    return 2 * 2 * int(source.vae.get("latent_channels", 4)) * side * side


class _Walked(NamedTuple):
    adapters: int
    layers: int
    kept_bytes: int
    operations: float


def _walked(
    config: LoraConfig,
    source: PipelineSource,
    *,
    micro_batch: int,
    half: bool,
    whole_attention: bool,
) -> _Walked:
    """One micro-batch forward and back through a network without numbers."""
    dtype = torch.bfloat16 if half else torch.float32
    unet = nn.Module.to(_unet(source), dtype).requires_grad_(False)
    layers = sum(1 for module in unet.modules() if any(True for _ in module.parameters(False)))
    adapters = _adapted(unet, config)
    kept = _Kept(unet)
    attention = contextlib.nullcontext() if whole_attention else _flash(kept)
    with (
        FlopCounterMode(display=False) as counter,
        torch.autograd.graph.saved_tensors_hooks(kept.note, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=half),
        attention,
    ):
        loss = _forward(unet, config, source, micro_batch, dtype).float().square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
    operations = float(counter.get_total_flops()) + kept.operations
    if not config.gradient_checkpointing:
        return _Walked(adapters, layers, kept.bytes, operations)
    return _Walked(adapters, layers, kept.recomputed_bytes(), operations * 4 / 3)


def _unet(source: PipelineSource) -> Any:
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        return UNet2DConditionModel.from_config(source.denoiser)


def _adapted(unet: Any, config: LoraConfig) -> int:
    """Put adapters into a network without numbers; how many are trained."""
    from peft import LoraConfig as PeftConfig

    check_targets(unet, config)
    unet.add_adapter(PeftConfig(r=config.rank, target_modules=list(config.target_names)))
    return sum(weight.numel() for weight in unet.parameters() if weight.requires_grad)


def _forward(
    unet: Any, config: LoraConfig, source: PipelineSource, count: int, dtype: torch.dtype
) -> Tensor:
    side = (config.resolution_px or source.size_px) // source.scale
    made: dict[str, Any] = {"device": "meta", "dtype": dtype}
    told = None
    if needs_sizes(unet):
        width = int(unet.config.projection_class_embeddings_input_dim)
        width -= 6 * int(unet.config.addition_time_embed_dim)
        told = {
            "text_embeds": torch.empty(count, width, **made),
            "time_ids": torch.empty(count, 6, device="meta"),
        }
    found: Tensor = unet(
        torch.empty(count, int(unet.config.in_channels), side, side, **made),
        torch.empty(count, dtype=torch.int64, device="meta"),
        encoder_hidden_states=torch.empty(
            count, _TOKENS, int(unet.config.cross_attention_dim), **made
        ),
        added_cond_kwargs=told,
    ).sample
    return found


class _Kept:
    """What a forward keeps for the way back, each tensor's memory once."""

    def __init__(self, unet: nn.Module) -> None:
        self.bytes, self.operations = 0, 0.0
        self._known = {weight.untyped_storage()._cdata for weight in unet.parameters()}
        self._held: list[Tensor] = []
        """So that no address comes twice."""
        self._blocks: list[tuple[int, int]] = []
        self._begun: list[int] = []
        for module in unet.modules():
            if type(module).__name__ in _RECOMPUTED:
                module.register_forward_pre_hook(lambda *_: self._begun.append(self.bytes))
                module.register_forward_hook(self._end)

    def note(self, tensor: Tensor) -> Tensor:
        """Count a tensor that autograd keeps."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._known:
            self._known.add(storage._cdata)
            self._held.append(tensor)
            self.bytes += storage.nbytes()
        return tensor

    def recomputed_bytes(self) -> int:
        """The most at once where blocks are recomputed: their inputs, and one block's."""
        if not self._blocks:
            return self.bytes
        within = sum(inside for inside, _ in self._blocks)
        inputs = sum(given for _, given in self._blocks)
        return self.bytes - within + inputs + max(inside for inside, _ in self._blocks)

    def _end(self, module: nn.Module, given: tuple[Any, ...], made: Any) -> None:
        size = sum(t.numel() * t.element_size() for t in given if isinstance(t, Tensor))
        self._blocks.append((self.bytes - self._begun.pop(), size))


@contextlib.contextmanager
def _flash(kept: _Kept) -> Iterator[None]:
    """Attention as GPUs compute it: in blocks, keeping what went in and came out alone."""
    whole = nn.functional.scaled_dot_product_attention

    def blockwise(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
        pairs = query.shape[:-1].numel() * key.shape[-2]
        kept.operations += 3.5 * 2 * pairs * (query.shape[-1] + value.shape[-1])
        found: Tensor = _Blockwise.apply(query, key, value)
        return found

    nn.functional.scaled_dot_product_attention = blockwise
    try:
        yield
    finally:
        nn.functional.scaled_dot_product_attention = whole


class _Blockwise(torch.autograd.Function):
    """The shapes of attention, forward and back."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        found = query.new_empty((*query.shape[:-1], value.shape[-1]))
        ctx.save_for_backward(query, key, value, found)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        query, key, value, _ = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
