"""Networks in TFLite's format: the only importer of LiteRT, the extra `menagerie[tflite]`."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiteModel:
    """An opened model with one input."""

    shape: tuple[int, ...]
    """Of its input."""
    dtype: Any
    """Of its input, a numpy type."""
    run: Callable[[NDArray[Any]], list[NDArray[Any]]]
    """An input to all outputs, in the model's order; quantised ones become what they stand for."""


def open_lite(path: Path) -> LiteModel:
    """A model's file, computed on one thread; UserError when it is none or LiteRT is missing."""
    interpreter = _interpreter(path)
    try:
        interpreter.allocate_tensors()
        wanted, given = interpreter.get_input_details()[0], interpreter.get_output_details()
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{path} is no TFLite model that runs here: {_line(error)}") from None

    def run(batch: NDArray[Any]) -> list[NDArray[Any]]:
        interpreter.set_tensor(wanted["index"], batch)
        interpreter.invoke()
        return [_meant(np.asarray(interpreter.get_tensor(of["index"])), of) for of in given]

    shape = tuple(int(side) for side in wanted["shape"])
    return LiteModel(shape=shape, dtype=wanted["dtype"], run=run)


def _meant(output: NDArray[Any], details: dict[str, Any]) -> NDArray[Any]:
    scale, zero = details["quantization"]
    return (output.astype(np.float32) - zero) * scale if scale else output


def _interpreter(path: Path) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ImportError:
            raise UserError(f"{path} needs LiteRT: pip install 'menagerie[tflite]'") from None
    try:
        return Interpreter(model_content=path.read_bytes(), num_threads=1)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{path} is no TFLite model: {_line(error)}") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
