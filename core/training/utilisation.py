"""Model FLOPs utilisation: the products a step needs, against what the GPU could do at most."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from core.data.pinned import PinnedDataset
from core.training.memory import pictures_of
from core.training.step import Stepper

_PEAK_TFLOPS = {
    "B200": (2250.0, 1100.0),
    "H200": (989.0, 494.0),
    "H100 NVL": (835.0, 417.0),
    "H100 PCIe": (756.0, 378.0),
    "H100": (989.0, 494.0),
    "A100": (312.0, 156.0),
    "A30": (165.0, 82.0),
    "A10G": (70.0, 35.0),
    "A100X": (312.0, 156.0),
    "A10": (125.0, 62.5),
    "A40": (149.7, 74.8),
    "RTX A6000": (154.8, 77.4),
    "L40S": (362.0, 183.0),
    "L40": (181.0, 90.5),
    "L4": (121.0, 60.0),
    "RTX 4090": (165.2, 82.6),
    "RTX 3090": (71.0, 35.6),
    "V100": (125.0, 15.7),
    "T4": (65.0, 8.1),
}
"""Dense TFLOP/s by makers' data sheets: half precision, and float32 (as TF32 where there is such).

Whichever name is the longest that the device's contains."""


def peak_flops(device_name: str, dtype: torch.dtype | None) -> float | None:
    """Products and sums per second at most in this type (None = float32); None for an unknown GPU.

    device_name: as `torch.cuda.get_device_name` gives it.
    """
    words = f" {device_name.replace('-', ' ')} "
    known = [name for name in _PEAK_TFLOPS if f" {name} " in words]
    if not known:
        return None
    half, full = _PEAK_TFLOPS[max(known, key=len)]
    return (full if dtype is None else half) * 1e12


def flops_per_picture(stepper: Stepper, dataset: PinnedDataset) -> float:
    """Of one picture's share of a step: three times the forward pass, as is the convention.

    What gradient checkpointing computes again does not count.
    """
    clean, labels = pictures_of(dataset, stepper.device, at_most=1, split="train")
    denoiser = stepper.denoiser_of(stepper.state.ema)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        denoiser(clean, torch.ones(1, device=stepper.device), labels)
    return 3.0 * float(counter.get_total_flops())


class Utilisation:
    """What share of the GPUs' peak a training reaches; nothing on CPUs and unknown GPUs."""

    def __init__(self, stepper: Stepper, dataset: PinnedDataset, *, processes: int) -> None:
        self._per_picture = self._peak = 0.0
        if stepper.device.type == "cuda":
            name = torch.cuda.get_device_name(stepper.device)
            self._peak = processes * (peak_flops(name, stepper.dtype) or 0.0)
        if self._peak:
            self._per_picture = flops_per_picture(stepper, dataset)

    def figures(self, images_per_s: float) -> dict[str, float]:
        """`mfu`, from 0 to 1, at a speed of all processes together."""
        return {"mfu": images_per_s * self._per_picture / self._peak} if self._peak else {}
