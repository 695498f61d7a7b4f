"""A tiny tagger of sounds in YAMNet's form: real TFLite, that knows five tones by their names."""

from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as tflite
from numpy.typing import NDArray

from core.audio import write_wav
from core.pretrained.listening.weights import CLASS_MAP
from core.pretrained.listening.yamnet import RATE_HZ, WINDOW

TONES_HZ = {"Silence": 50, "Animal": 250, "Dog": 500, "Meow": 750, "Acoustic guitar": 1000}
"""Whole periods in a hop: a tone has the same phase in each moment."""


def write_tagger(folder: Path, names: tuple[str, ...] = tuple(TONES_HZ)) -> Path:
    """The model's file, its names beside it: a tone of amplitude 0.5 scores 0.98, none 0.02."""
    tones = np.stack([tone(hz, WINDOW / RATE_HZ) for hz in TONES_HZ.values()])
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "tagger.tflite"
    weights.write_bytes(linear_tflite(tones * (64 / WINDOW), np.full(len(tones), -4.0)))
    rows = [f'{place},/m/{place},"{name}"' for place, name in enumerate(names)]
    (folder / CLASS_MAP).write_text("\n".join(["index,mid,display_name", *rows, ""]))
    return weights


def tone(hz: float, seconds: float, amplitude: float = 0.5) -> NDArray[np.float32]:
    """A tone at the rate that YAMNet hears."""
    moments = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return np.asarray(amplitude * np.sin(2 * np.pi * hz * moments), dtype=np.float32)


def write_call(path: Path, *names: str, seconds: float = 3.0) -> Path:
    """A file in which the tones of these names, two at most, sound together."""
    tones = [tone(TONES_HZ[name], seconds) for name in names]
    silence = np.zeros(round(seconds * RATE_HZ), dtype=np.float32)
    write_wav(path, sum(tones, silence), RATE_HZ)
    return path


def linear_tflite(weights: NDArray[np.float32], bias: NDArray[np.float64]) -> bytes:
    """A TFLite file of one layer, out×in weights, and a sigmoid."""
    outputs, inputs = weights.shape
    buffers = [tflite.BufferT()]
    tensors = []
    for name, shape, values in (
        ("sound", (1, inputs), None),
        ("weights", (outputs, inputs), weights),
        ("bias", (outputs,), bias),
        ("sums", (1, outputs), None),
        ("scores", (1, outputs), None),
    ):
        tensor = tflite.TensorT()
        tensor.name, tensor.shape, tensor.type = name, shape, tflite.TensorType.FLOAT32
        if values is not None:
            tensor.buffer = len(buffers)
            buffers.append(tflite.BufferT())
            buffers[-1].data = np.frombuffer(values.astype("<f4").tobytes(), dtype=np.uint8)
        tensors.append(tensor)
    graph = tflite.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs = tensors, [0], [4]
    graph.operators = [_operator(0, [0, 1, 2], 3), _operator(1, [3], 4)]
    graph.operators[0].builtinOptionsType = tflite.BuiltinOptions.FullyConnectedOptions
    graph.operators[0].builtinOptions = tflite.FullyConnectedOptionsT()
    model = tflite.ModelT()
    model.version, model.subgraphs, model.buffers = 3, [graph], buffers
    codes = tflite.BuiltinOperator
    model.operatorCodes = [_code(codes.FULLY_CONNECTED), _code(codes.LOGISTIC)]
    builder = flatbuffers.Builder(2**16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _operator(code: int, inputs: list[int], output: int) -> "tflite.OperatorT":
    operator = tflite.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, [output]
    return operator


def _code(builtin: int) -> "tflite.OperatorCodeT":
    code = tflite.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = builtin
    return code
