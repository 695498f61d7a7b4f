"""Segmentation models given as files: the only importer of onnxruntime.

A model takes one picture of any fixed size and gives one saliency plane, two classes, or the 21
classes of Pascal VOC, as probabilities, logits or a map of classes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.transform import resize
from core.errors import UserError
from core.images import Picture
from core.litert import open_lite
from exporters.vision import Field, resize_linear

Segmenter = Callable[[Picture, str], Field]
"""RGB picture and its label to the probability (H×W, 0…1) that a pixel is the animal."""

PASCAL_CLASSES = 21
ANIMALS = {"bird": 3, "cat": 8, "cow": 10, "dog": 12, "horse": 13, "sheep": 17}
"""Pascal VOC's animals and their numbers; 0 is the background."""
_DEFAULT_PX = 320
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels, by which float models in ONNX (U²-Net, IS-Net) are fed."""

Run = Callable[[NDArray[Any]], NDArray[Any]]


def open_segmenter(path: Path) -> Segmenter:
    """A model's file as a function; UserError when it is none, or its runtime is not installed."""
    run, shape, kind = _open_onnx(path) if path.suffix.lower() == ".onnx" else _open_tflite(path)
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise UserError(
            f"{path} takes {_named(shape)}; wanted is one RGB picture, N×3×H×W or N×H×W×3"
        )
    first = shape[1] == 3
    height, width = shape[2:] if first else shape[1:3]
    normalise = path.suffix.lower() == ".onnx"

    def segment(image_hwc: Picture, label: str) -> Field:
        small = resize(image_hwc, (width, height), colour_space="srgb")
        output = run(_batch(small, kind, first=first, imagenet=normalise))
        plane = probability_of(output, (height, width), label, where=str(path))
        return resize_linear(plane, image_hwc.shape[1], image_hwc.shape[0])

    segment(np.zeros((32, 32, 3), dtype=np.uint8), "")  # refused here and not for each picture
    return segment


def probability_of(
    output: NDArray[Any], size_hw: tuple[int, int], label: str, *, where: str
) -> Field:
    """A model's output as one plane, 0…1; UserError when its planes mean nothing known."""
    planes = np.squeeze(np.asarray(output))
    if planes.ndim == 2:
        if np.issubdtype(planes.dtype, np.integer) and planes.dtype.itemsize > 1:
            return _of_classes(planes, label)
        return _as_probability(planes)
    if planes.ndim == 3 and planes.shape[0] not in (2, PASCAL_CLASSES):
        planes = np.moveaxis(planes, 2, 0)
    if planes.ndim != 3 or planes.shape[0] not in (2, PASCAL_CLASSES):
        raise UserError(
            f"{where} gives {_named(np.shape(output))}; wanted are 1 plane (saliency), 2 classes, "
            f"or the {PASCAL_CLASSES} classes of Pascal VOC"
        )
    shares = _softmax(planes.astype(np.float32))
    if planes.shape[0] == 2:
        return np.asarray(shares[1], dtype=np.float32)
    animals = [ANIMALS[label]] if label in ANIMALS else list(ANIMALS.values())
    wanted = shares[animals].sum(axis=0)
    # An animal that Pascal does not know (a frog, a fish) is some other thing to the model.
    anything = 0.9 * (1 - shares[0])
    return np.asarray(np.maximum(wanted, anything), dtype=np.float32)


def _of_classes(classes: NDArray[Any], label: str) -> Field:
    """A map of Pascal's class numbers: sure of an animal, nearly sure of any other thing."""
    animals = [ANIMALS[label]] if label in ANIMALS else list(ANIMALS.values())
    found = np.isin(classes, animals)
    plane = np.where(found, 0.9, np.where(classes > 0, 0.7, 0.1))
    return plane.astype(np.float32)


def _as_probability(plane: NDArray[Any]) -> Field:
    """A saliency plane as it is, from bytes, or through a sigmoid when it holds logits."""
    values = plane.astype(np.float32)
    if np.issubdtype(plane.dtype, np.integer):
        return np.asarray(values / 255, dtype=np.float32)
    if not np.isfinite(values).all():
        raise UserError("the segmentation model gave values that are not finite")
    if values.min() < -1e-3 or values.max() > 1 + 1e-3:
        values = np.asarray(1 / (1 + np.exp(-np.clip(values, -30, 30))), dtype=np.float32)
    return np.asarray(np.clip(values, 0, 1), dtype=np.float32)


def _softmax(planes: Field) -> Field:
    sums = planes.sum(axis=0)
    if planes.min() >= 0 and np.abs(sums - 1).max() < 0.02:
        return planes
    powers = np.exp(planes - planes.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0), dtype=np.float32)


def _batch(small: Picture, kind: Any, *, first: bool, imagenet: bool) -> NDArray[Any]:
    """One picture as the model wants it."""
    batch: NDArray[Any] = small[None]
    if kind != np.uint8:
        if imagenet:
            scaled = (small / 255 - np.array(_MEAN)) / np.array(_DEVIATION)
        else:
            scaled = small / 127.5 - 1
        batch = scaled[None].astype(kind)
    return np.ascontiguousarray(np.moveaxis(batch, 3, 1)) if first else batch


def _open_onnx(path: Path) -> tuple[Run, tuple[int, ...], Any]:
    try:
        import onnxruntime
    except ImportError:
        raise UserError(f"{path} needs onnxruntime: pip install 'menagerie[onnx]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its errors share no base but this
        raise UserError(f"{path} is no ONNX model: {_line(error)}") from None
    wanted = session.get_inputs()[0]
    kind = {"tensor(uint8)": np.uint8, "tensor(float16)": np.float16}.get(wanted.type, np.float32)

    def run(batch: NDArray[Any]) -> NDArray[Any]:
        try:
            return np.asarray(session.run(None, {wanted.name: batch})[0])
        except Exception as error:
            raise UserError(f"{path} failed on a picture: {_line(error)}") from None

    return run, _fixed(wanted.shape), kind


def _open_tflite(path: Path) -> tuple[Run, tuple[int, ...], Any]:
    model = open_lite(path)
    return lambda batch: model.run(batch)[0], model.shape, model.dtype


def _fixed(shape: list[Any]) -> tuple[int, ...]:
    """A shape whose open sides (names, None) get a usual length."""
    channels_first = len(shape) == 4 and shape[1] == 3
    usual = (1, 3, _DEFAULT_PX, _DEFAULT_PX) if channels_first else (1, _DEFAULT_PX, _DEFAULT_PX, 3)
    if len(shape) != 4:
        return tuple(side if isinstance(side, int) else 1 for side in shape)
    return tuple(
        side if isinstance(side, int) and side > 0 else usual[axis]
        for axis, side in enumerate(shape)
    )


def _named(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "one number"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
