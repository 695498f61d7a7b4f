"""The layers of a U-Net in the order in which they compute, and what they put out."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from core.diffusion.denoiser import UNet
from core.inspection.naming import side_of, words_of
from core.inspection.subject import Subject

_KINDS = ("ResnetBlock", "Attention", "Transformer2DModel", "Downsample", "Upsample")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer."""

    path: str
    """Name of the module in the network."""
    module: nn.Module

    @property
    def name(self) -> str:
        """For people."""
        return words_of(self.path)

    @property
    def side(self) -> str:
        """`down`, `middle` or `up`."""
        return side_of(self.path)

    @property
    def writes(self) -> nn.Module:
        """What computes the layer's own addition to the stream: the last of its residual branch.

        The output of a residual layer holds its input too, and never looks dead.
        """
        for last in ("to_out.0", "proj_out", "conv2"):
            with contextlib.suppress(AttributeError):
                return self.module.get_submodule(last)
        return self.module


@contextlib.contextmanager
def recorded(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """What modules put out in the last forward within, by name, in the order of computing."""
    found: dict[str, Tensor] = {}

    def keep(name: str, output: object) -> None:
        if isinstance(output, tuple):
            output = output[0]
        if isinstance(output, Tensor):
            found.pop(name, None)
            found[name] = output.detach()

    handles = [
        module.register_forward_hook(lambda _m, _i, output, name=name: keep(name, output))
        for name, module in modules.items()
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def layers_of(subject: Subject) -> list[Layer]:
    """Convolutions at both ends, residual and attention layers and changes of size, in the order
    in which they compute.
    """
    chosen = _chosen(subject.unet)
    with recorded(chosen) as found, torch.no_grad():
        x = torch.zeros((1, *subject.shape_chw), device=subject.device)
        labels = torch.zeros(1, dtype=torch.long, device=subject.device)
        subject.guess(x, torch.ones(1, device=subject.device), labels)
    return [Layer(path=path, module=chosen[path]) for path in found]


def as_maps(output: Tensor) -> Tensor:
    """An output as N×C×H×W; a sequence N×L×C becomes N×C×L×1."""
    if output.ndim == 4:
        return output
    return output.transpose(1, 2)[..., None]


def _chosen(unet: UNet) -> dict[str, nn.Module]:
    chosen: dict[str, nn.Module] = {}
    for path, module in unet.named_modules():
        inside = any(path.startswith(outer + ".") for outer in chosen)
        known = type(module).__name__.startswith(_KINDS) or path in ("conv_in", "conv_out")
        if known and not inside:
            chosen[path] = module
    return chosen
