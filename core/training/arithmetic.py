"""How numbers are computed on a device: precision, kernels, compilation."""

import contextlib
from collections.abc import Iterator
from typing import Literal

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from core.errors import UserError

Compile = Literal["auto", "on", "off"]

_WORTH_COMPILING = 2000
"""Steps from which compiling (a minute or two) pays on a GPU."""


def network_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The type that the network computes in under autocast; None for float32.

    UserError for fp16 on a CPU: its products are slower there than float32's.
    """
    if precision == "fp16":
        if device.type == "cpu":
            raise UserError(
                "--precision fp16 is for GPUs without bf16, and this is a CPU: give auto"
            )
        return torch.float16
    return torch.bfloat16 if use_bf16(precision, device) else None


def use_bf16(precision: str, device: torch.device) -> bool:
    """Whether the network runs in bfloat16; "auto" asks the processor for native products."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@contextlib.contextmanager
def fast_kernels(device: torch.device) -> Iterator[None]:
    """Attention by plain products on the CPU, where the fused backward is 2 to 4 times slower; on
    a GPU TF32 for what stays in float32, and the quickest convolution of each shape."""
    if device.type == "cpu":
        with sdpa_kernel(SDPBackend.MATH):
            yield
        return
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=True):
            yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.benchmark = before[1]


def compile_where_it_pays(
    network: nn.Module, wanted: Compile, device: torch.device, *, steps: int
) -> None:
    """Compile a network in place (its weights keep their names): asked for, or on a GPU for long.

    Not by itself on CPUs, where it takes 70 to 90 seconds and gains little. Dropout draws as it
    does uncompiled.
    """
    if wanted == "on" or (wanted == "auto" and device.type == "cuda" and steps >= _WORTH_COMPILING):
        network.compile(options={"fallback_random": True})
