"""How much memory a pipeline needs, and which switches make it fit; free of torch but for asking.

The weights are counted from the headers of their files. What a forward holds beside them is an
estimate: floats per latent in the network, and per pixel while decoding, as measured for Stable
Diffusion's networks.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from core.pretrained.text_to_image.config import Precision, Switch
from core.pretrained.text_to_image.source import PipelineSource

Offload = Literal["auto", "off", "model", "sequential"]
Device = Literal["cpu", "cuda"]
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}

_DENOISE_WIDTHS = 44
"""Floats that a latent of one forward holds at the peak, in first-level channels."""
_DECODE_WIDTHS = {4: 5, 2: 8}
"""Numbers that a pixel holds at the peak of decoding, in channels of the decoder's second level, by
their bytes: on the CPU, convolutions of two bytes work in four."""
_LARGEST_LAYER = 0.05
"""Share of the largest network that layer-by-layer offloading keeps on the GPU."""
_RESERVE_BYTES = 700 * 2**20
"""For libraries, kernels and fragments."""
_KEPT_FREE = 0.1
"""Share of free memory that is left alone."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Switches:
    """How a pipeline is held in memory."""

    precision: Precision
    """Never auto."""
    tile_px: int = 0
    """Side of the tiles that pictures are decoded in; 0 = whole."""
    offload: Offload = "off"
    """What waits in main memory until the GPU needs it; never auto."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Need:
    """Predicted bytes."""

    weights: int
    """Of all components."""
    resident: int
    """Of those weights, what is held at once where it computes."""
    denoising: int
    """Beside the weights, while noise is taken away."""
    decoding: int
    """Beside the weights, while pictures are decoded."""

    @property
    def peak(self) -> int:
        """What must be free, where it computes."""
        return self.resident + max(self.denoising, self.decoding) + _RESERVE_BYTES


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawn:
    """What of the pictures memory depends on."""

    width_px: int
    height_px: int
    batch: int = 1
    guided: bool = True
    """Whether the network sees each latent twice: with the prompt, and without."""


def needed(source: PipelineSource, drawn: Drawn, switches: Switches) -> Need:
    """The prediction for a pipeline with these switches, for pictures of this size."""
    size = BYTES[switches.precision]
    weights = sum(source.numbers.values()) * size
    largest = max(source.numbers.values(), default=0) * size
    resident = {"off": weights, "model": largest, "sequential": int(largest * _LARGEST_LAYER)}
    latents = drawn.width_px * drawn.height_px // source.scale**2
    forwards = drawn.batch * (2 if drawn.guided else 1)
    denoising = forwards * latents * _DENOISE_WIDTHS * _channels(source) * size
    # Stable Diffusion's decoder overflows in fp16: diffusers then decodes in fp32.
    upcast = switches.precision == "fp16" and source.vae.get("force_upcast", False)
    pixels = drawn.width_px * drawn.height_px
    if switches.tile_px:  # the tiles' pictures are kept beside the one being decoded
        pixels = min(pixels, switches.tile_px**2)
    levels = source.vae.get("block_out_channels", [128, 256])
    bytes_each = 4 if upcast else size
    decoding = pixels * _DECODE_WIDTHS[bytes_each] * int(levels[:2][-1]) * bytes_each
    return Need(
        weights=weights,
        resident=resident[switches.offload],
        denoising=denoising,
        decoding=decoding,
    )


def choose(
    source: PipelineSource,
    drawn: Drawn,
    *,
    device: Device,
    free_bytes: int,
    native_bf16: bool = True,
    precision: Precision = "auto",
    tiling: Switch = "auto",
    offload: Offload = "auto",
) -> tuple[Switches, Need]:
    """The mildest switches with which the pipeline fits, else the strongest; what is given stays.

    free_bytes: of the GPU's memory, or of the main memory for the CPU.
    """
    for switches in _by_strength(device, native_bf16, _tile(drawn), (precision, tiling, offload)):
        need = needed(source, drawn, switches)
        if need.peak <= free_bytes * (1 - _KEPT_FREE):
            break
    return switches, need


def words_of(switches: Switches, need: Need, *, device: str, free_bytes: int) -> str:
    """The choice in one line for people."""
    kept = {
        "off": "no offload",
        "model": "networks wait in main memory in turn",
        "sequential": "layers wait in main memory",
    }[switches.offload]
    tiles = f"tiles of {switches.tile_px} px" if switches.tile_px else "no tiles"
    fits = need.peak <= free_bytes * (1 - _KEPT_FREE)
    tight = "" if fits else "; this may not fit: give smaller --width and --height, or another node"
    return (
        f"memory: {device} {switches.precision}, {kept}, {tiles}: about {need.peak / 2**30:.1f} "
        f"GiB of {free_bytes / 2**30:.1f} GiB free (weights {need.resident / 2**30:.2f}){tight}"
    )


def free_main_bytes() -> int:
    """Main memory that this process may still take: the machine's, within its control group's."""
    free = [_meminfo_bytes()]
    for group in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory"), *_own_groups()):
        for limit, used in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            most, now = _number(group / limit), _number(group / used)
            if most is not None and now is not None:
                free.append(max(0, most - now + _reclaimable(group)))
    return min(free)


def _by_strength(
    device: Device, native_bf16: bool, tile_px: int, given: tuple[Precision, Switch, Offload]
) -> Iterator[Switches]:
    """Switches from mild to strong, of those that what is given leaves."""
    precision, tiling, offload = given
    half: Precision = "bf16" if native_bf16 else "fp16"
    precisions: tuple[Precision, ...] = (half,) if device == "cuda" else ("fp32", "bf16")
    offloads: tuple[Offload, ...] = ("off", "model", "sequential") if device == "cuda" else ("off",)
    tiles = {"auto": (0, tile_px), "on": (tile_px,), "off": (0,)}[tiling]
    for arithmetic in precisions if precision == "auto" else (precision,):
        for kept in offloads if offload == "auto" else (offload,):
            for tile in tiles:
                yield Switches(precision=arithmetic, tile_px=tile, offload=kept)


def _tile(drawn: Drawn) -> int:
    """Side of tiles that are worth it: at most half of the picture's longer one."""
    return 512 if max(drawn.width_px, drawn.height_px) >= 1024 else 256


def _channels(source: PipelineSource) -> int:
    """Channels of the denoiser's finest level."""
    config = source.denoiser
    if "block_out_channels" in config:
        return int(config["block_out_channels"][0])
    return int(config.get("num_attention_heads", 5)) * int(config.get("attention_head_dim", 64))


def _meminfo_bytes() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 2**62
    return next((int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable")), 2**62)


def _own_groups() -> list[Path]:
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    names = [line.split(":", 2)[2].lstrip("/") for line in lines if line.count(":") >= 2]
    roots = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory"))
    return [root / name for root in roots for name in names if name]


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _reclaimable(group: Path) -> int:
    """Bytes of files that the group's use counts, and that give way."""
    try:
        lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(x.split()[1]) for x in lines if x.split()[0] in ("inactive_file",))
