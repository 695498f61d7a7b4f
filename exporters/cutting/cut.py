"""One picture in, the same picture with its background clear out, and how sure that is."""

import contextlib
import dataclasses
import functools
import importlib.util
from pathlib import Path

import numpy as np

from core.data.transform import resize
from core.errors import UserError
from core.files import digest_file
from core.images import Picture, unpremultiply
from exporters.config import CUT_OUTS, ExportConfig
from exporters.cutting.grabcut import grab
from exporters.cutting.matting import matte
from exporters.cutting.operators import HOLE_SHARE, keep_pieces
from exporters.cutting.plain import find_backdrop, key
from exporters.cutting.segmenter import Segmenter, open_segmenter
from exporters.vision import Field, Mask, dilate

MIN_SHARE = 0.005
"""Less than this share of a picture is no animal."""
MAX_SHARE = 0.985
"""More than this share leaves no background that was cut away."""
CLEAR_SHARE = 0.005
"""A picture with this share of clear pixels brings its own alpha."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CutOut:
    """A picture without its background."""

    image_hwc: Picture
    """Straight RGBA, or what came in when nothing was cut."""
    method: str
    """`alpha`, `plain`, `grabcut`, `model`, `rembg` or `none`."""
    confidence: float
    """How sure the outline is, 0…1."""

    @property
    def facts(self) -> dict[str, object]:
        """What pack.json says of it."""
        return {"method": self.method, "confidence": round(self.confidence, 3)}


def cut_out(image_hwc: Picture, config: ExportConfig, *, label: str = "") -> CutOut:
    """Cut one picture (uint8, RGB or straight RGBA) out as `config` asks.

    `label` helps a model that knows classes. UserError when there is nothing to cut out, or when
    the confidence is below the config's gate.
    """
    _check_shape(image_hwc)
    image = _within_reach(image_hwc, 2 * config.size_px)
    if config.cut_out == "none":
        return CutOut(image_hwc=image, method="none", confidence=1.0)
    if _brings_alpha(image) and config.cut_out in ("auto", "alpha"):
        return _by_alpha(image, config)
    if config.cut_out == "alpha":
        raise UserError("the picture has no clear pixel: choose another --cut-out than alpha")
    cut = _by_colour(np.ascontiguousarray(image[..., :3]), config, label)
    if cut.confidence < config.min_cut_out_confidence:
        raise UserError(
            f"the cut-out ({cut.method}) has a confidence of {cut.confidence:.2f}, "
            f"under {config.min_cut_out_confidence:g} (--min-cut-out-confidence)"
        )
    return cut


def cut_out_inputs(config: ExportConfig) -> dict[str, str]:
    """Settings that are files, as a pack's inputs name them: by name and digest."""
    settings = {}
    for name, path in _models(config).items():
        if not path.is_file():
            raise UserError(f"{path} does not exist; give a segmentation model, or --cut-out auto")
        settings[name] = f"{path.name} sha256:{digest_file(path)}"
    return settings


def check_tools(config: ExportConfig) -> None:
    """UserError when what the cut-out needs is not installed, or its model cannot be used."""
    for path in _models(config).values():
        _segmenter(path)
    if config.cut_out == "rembg" and importlib.util.find_spec("rembg") is None:
        raise UserError("--cut-out rembg needs rembg: pip install 'menagerie[rembg]'")


def _by_colour(image: Picture, config: ExportConfig, label: str) -> CutOut:
    """An opaque picture cut out by what it shows."""
    if config.cut_out == "rembg":
        return _by_probability(image, _remove_background(image), "rembg", config)
    path = _models(config).get("cut_out")
    backdrop = find_backdrop(image)
    if config.cut_out == "plain" or (config.cut_out == "auto" and backdrop.plain):
        keyed = key(image, backdrop)
        inside = _kept(keyed.inside, config, hole_share=0)  # gaps that are known to be gaps
        rgba = matte(image, inside, band_px=_band_px(image), background_hwc=keyed.background_hwc)
        cut = CutOut(image_hwc=rgba, method="plain", confidence=keyed.confidence)
        if config.cut_out == "plain" or cut.confidence >= config.min_cut_out_confidence:
            return cut
    if path is not None:
        return _by_probability(image, _segmenter(path)(image, label), "model", config)
    if config.cut_out_model is not None:
        probability = _segmenter(config.cut_out_model)(image, label)
        with contextlib.suppress(UserError):  # a class that the model does not know
            cut = _by_probability(image, probability, "model", config)
            if cut.confidence >= config.min_cut_out_confidence:
                return cut
    guess = key(image, backdrop).inside.astype(np.float32) if backdrop.plain else None
    return _by_probability(image, guess, "grabcut", config)


def _by_probability(
    image: Picture, probability: Field | None, method: str, config: ExportConfig
) -> CutOut:
    """GrabCut from what a model thinks, or from its own guess."""
    grabbed = grab(image, probability)
    inside = _kept(grabbed.inside, config)
    rgba = matte(image, inside, band_px=_band_px(image) + grabbed.blur_px)
    return CutOut(image_hwc=rgba, method=method, confidence=grabbed.confidence)


def _by_alpha(image: Picture, config: ExportConfig) -> CutOut:
    """The picture's own alpha, which says itself what belongs to the animal."""
    inside = image[..., 3] >= 128
    if not inside.any():
        raise UserError("the picture is clear everywhere: there is nothing to cut out")
    if config.keep == "largest":
        whole = dilate(keep_pieces(inside, largest=True), _band_px(image))
        image = image * whole[..., None].astype(np.uint8)
    return CutOut(image_hwc=image, method="alpha", confidence=1.0)


def _kept(inside: Mask, config: ExportConfig, hole_share: float = HOLE_SHARE) -> Mask:
    """The animal's mask without crumbs; UserError when it is nothing or everything."""
    kept = keep_pieces(inside, largest=config.keep == "largest", hole_share=hole_share)
    share = float(kept.mean())
    if share < MIN_SHARE:
        raise UserError(
            f"only {share:.2%} of the picture stands out: there is nothing to cut out; "
            "--cut-out none keeps the whole picture"
        )
    if share > MAX_SHARE:
        raise UserError("no background is found around the animal; --cut-out none keeps all of it")
    return kept


def _band_px(image: Picture) -> int:
    """Half the width of an edge's blur: one pixel of a small picture, more of a photograph."""
    return max(1, int(min(image.shape[:2])) // 160)


def _brings_alpha(image: Picture) -> bool:
    return image.shape[2] == 4 and float((image[..., 3] < 128).mean()) >= CLEAR_SHARE


def _check_shape(image_hwc: Picture) -> None:
    if image_hwc.ndim != 3 or image_hwc.shape[2] not in (3, 4) or 0 in image_hwc.shape:
        raise UserError(f"a picture has the shape {image_hwc.shape}; wanted are H×W×3 or H×W×4")


def _within_reach(image: Picture, most_px: int) -> Picture:
    """A picture no larger than a sticker can show, twice over."""
    height, width = image.shape[:2]
    scale = most_px / max(height, width)
    if scale >= 1:
        return image
    size_wh = max(1, round(width * scale)), max(1, round(height * scale))
    return unpremultiply(resize(image, size_wh))


@functools.lru_cache(maxsize=2)
def _segmenter(path: Path) -> Segmenter:
    return open_segmenter(path)


def _remove_background(image: Picture) -> Field:
    """What rembg's default model thinks of each pixel."""
    try:
        import rembg
    except ImportError:
        raise UserError("--cut-out rembg needs rembg: pip install 'menagerie[rembg]'") from None
    try:
        mask = np.asarray(rembg.remove(image, only_mask=True))
    except Exception as error:  # it fetches its weights when first used, which may fail in any way
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"rembg could not cut the picture: {reason}") from None
    return np.asarray(mask.reshape(image.shape[:2]) / 255, dtype=np.float32)


def _models(config: ExportConfig) -> dict[str, Path]:
    """The settings that name a model's file."""
    found = {}
    if config.cut_out not in CUT_OUTS:
        found["cut_out"] = Path(config.cut_out)
    if config.cut_out_model is not None:
        found["cut_out_model"] = config.cut_out_model
    return found
