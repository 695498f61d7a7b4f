"""basicsr's network, losses and measures: the only importer of basicsr. Loads torch."""

import functools
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from core.errors import UserError
from core.images import Picture
from exporters.training.config import SCALE, UpscalerConfig

Loss = Callable[[Tensor, Tensor], Tensor]
_MISSING = "torchvision.transforms.functional_tensor"
_LOSSES = {"charbonnier": "CharbonnierLoss", "l1": "L1Loss", "l2": "MSELoss"}


def build_network(config: UpscalerConfig) -> nn.Module:
    """SRVGGNetCompact (Real-ESRGAN's compact network) with fresh weights: N×C×h×w, 0…1, to ×4.

    Convolutions at the small size only, one pixel shuffle at the end, added to the nearest pixel.
    """
    network: nn.Module = _basicsr().archs.srvgg_arch.SRVGGNetCompact(
        num_in_ch=config.channels,
        num_out_ch=config.channels,
        num_feat=config.features,
        num_conv=config.convolutions,
        upscale=SCALE,
    )
    return network


def build_loss(config: UpscalerConfig) -> Loss:
    """The mean loss of two batches, N×C×H×W, 0…1."""
    losses = _basicsr().losses.basic_loss
    # A millionth of the range squared keeps Charbonnier's slope finite in bf16's gradients.
    more = {"eps": 1e-6} if config.loss == "charbonnier" else {}
    loss: Loss = getattr(losses, _LOSSES[config.loss])(**more)
    return loss


def psnr_db(one_hwc: Picture, other_hwc: Picture) -> float:
    """PSNR of two uint8 pictures over all pixels and channels, whole borders included."""
    return float(_basicsr().metrics.calculate_psnr(one_hwc, other_hwc, crop_border=0))


def luma_psnr_db(one_hwc: Picture, other_hwc: Picture) -> float:
    """PSNR of two RGB pictures' luma (BT.601) without 4 px of border, as papers on ×4 state it."""
    measure = _basicsr().metrics.calculate_psnr
    bgr = (picture[..., ::-1] for picture in (one_hwc, other_hwc))
    return float(measure(*bgr, crop_border=SCALE, test_y_channel=True))


def ssim(one_hwc: Picture, other_hwc: Picture) -> float:
    """Mean structural similarity (Wang et al. 2004) of two uint8 pictures' channels, -1…1."""
    return float(_basicsr().metrics.calculate_ssim(one_hwc, other_hwc, crop_border=0))


@functools.cache
def _basicsr() -> Any:
    """The package, untyped, opened when first needed; UserError says how to install it.

    basicsr 1.4.2 imports a module that torchvision removed in 0.17, for this one function of it.
    """
    if _MISSING not in sys.modules:
        from torchvision.transforms.functional import (  # type: ignore[import-untyped]
            rgb_to_grayscale,
        )

        stand_in = types.ModuleType(_MISSING)
        stand_in.rgb_to_grayscale = rgb_to_grayscale  # type: ignore[attr-defined]
        sys.modules[_MISSING] = stand_in
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old syntax, none of which concerns us
            import basicsr  # type: ignore[import-untyped]
    except ImportError as error:
        raise UserError(
            f"training upscalers needs basicsr ({error}), which wants a step of its own: "
            "make env, or pip install --no-build-isolation --no-deps basicsr==1.4.2 after torch"
        ) from None
    return basicsr
