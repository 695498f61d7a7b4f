"""Segmentation models as files: what they may give, and what is refused."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from exporters.config import ExportConfig
from exporters.cutting.cut import check_tools, cut_out, cut_out_inputs
from exporters.cutting.segmenter import open_segmenter, probability_of

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def config(**changes):
    return ExportConfig(**{"samples": Path("unused"), **changes})


def write_model(path, weights, *, bias=None, side=64, channels=3):
    """An ONNX model of one 1×1 convolution: K×3 weights give K planes."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.asarray(weights, dtype=np.float32)[:, :, None, None]
    planes = len(weights)
    bias = np.zeros(planes) if bias is None else bias
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weights", "bias"], ["planes"])],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, channels, side, side])],
        [helper.make_tensor_value_info("planes", TensorProto.FLOAT, [1, planes, side, side])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.asarray(bias, dtype=np.float32), "bias"),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def redness(path, **changes):
    """One saliency plane (logits): red is an animal."""
    return write_model(path, [[4.0, -3.0, -3.0]], **changes)


def scene(size_px=80):
    """A red animal and a larger blue thing, on busy green."""
    random = np.random.default_rng(0)
    picture = np.full((size_px, size_px, 3), (60, 140, 60)) + random.integers(
        -60, 100, (size_px, size_px, 1)
    )
    picture[10:50, 40:78] = (40, 40, 200)
    picture[45:70, 8:36] = (220, 40, 30)
    return np.clip(picture, 0, 255).astype(np.uint8)


def test_a_saliency_model_decides_what_the_animal_is(tmp_path):
    model = redness(tmp_path / "red.onnx", side="side")
    cut = cut_out(scene(), config(cut_out=str(model)))
    assert cut.method == "model"
    found = cut.image_hwc[..., 3] >= 128
    truth = np.zeros((80, 80), dtype=bool)
    truth[45:70, 8:36] = True
    assert (found & truth).sum() / (found | truth).sum() > 0.9


def test_auto_asks_the_model_only_without_a_plain_background(tmp_path):
    both = config(cut_out_model=redness(tmp_path / "red.onnx"))
    assert cut_out(scene(), both).method == "model"
    plain = np.full((80, 80, 3), 255, dtype=np.uint8)
    plain[30:60, 30:60] = (40, 40, 200)
    assert cut_out(plain, both).method == "plain"


def test_auto_goes_on_to_grabcut_where_the_model_finds_nothing(tmp_path):
    blind = write_model(tmp_path / "blind.onnx", [[0.0, 0.0, 0.0]], bias=[-9.0])
    cut = cut_out(scene(), config(cut_out_model=blind, min_cut_out_confidence=0))
    assert cut.method == "grabcut"
    with pytest.raises(UserError, match="nothing to cut out"):
        cut_out(scene(), config(cut_out=str(blind)))


def test_classes_of_pascal_are_told_apart_by_the_label(tmp_path):
    """A picture with a cat (red) and a dog (blue): the label says which is wanted."""
    weights = np.zeros((21, 3))
    weights[8], weights[12] = (6, -6, -6), (-6, -6, 6)
    bias = np.full(21, -9.0)
    bias[0] = 4
    segment = open_segmenter(write_model(tmp_path / "pascal.onnx", weights, bias=bias))
    picture = scene()
    red, blue = picture[..., 0] > 200, picture[..., 2] > 190
    for label, wanted, other in (("cat", red, blue), ("dog", blue, red)):
        found = segment(picture, label)
        assert found[wanted].mean() > 0.9
        assert found[other].mean() <= 0.91  # something, though not what was asked for
        assert found[~wanted & ~other].mean() < 0.2


def test_maps_of_class_numbers_and_bytes_are_understood():
    classes = np.zeros((1, 8, 8), dtype=np.int64)
    classes[0, 2:4, 2:4] = 3
    plane = probability_of(classes, (8, 8), "bird", where="m")
    assert plane[2, 2] > 0.8
    assert plane[0, 0] < 0.2
    grey = np.full((1, 8, 8, 1), 128, dtype=np.uint8)
    assert probability_of(grey, (8, 8), "", where="m")[0, 0] == pytest.approx(0.5, abs=0.01)


def test_what_is_no_segmentation_model_is_refused_in_one_line(tmp_path):
    three = write_model(tmp_path / "five.onnx", np.zeros((5, 3)))
    deep = write_model(tmp_path / "deep.onnx", np.zeros((1, 7)), channels=7)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model at all")
    light = tmp_path / "broken.tflite"
    light.write_bytes(b"not a model at all")
    complaints = {
        three: "wanted are 1 plane",
        deep: "takes 1×7×64×64; wanted is one RGB picture",
        broken: "is no ONNX model",
        light: "is no TFLite model",
    }
    for path, complaint in complaints.items():
        with pytest.raises(UserError, match=complaint) as error:
            check_tools(config(cut_out=str(path)))
        assert "\n" not in str(error.value)
        assert str(path) in str(error.value)


def test_a_model_counts_among_the_inputs_by_its_digest_and_must_exist(tmp_path):
    model = redness(tmp_path / "red.onnx")
    stated = cut_out_inputs(config(cut_out_model=model))["cut_out_model"]
    assert stated.startswith("red.onnx sha256:")
    with pytest.raises(UserError, match="does not exist"):
        cut_out_inputs(config(cut_out=str(tmp_path / "gone.onnx")))


@pytest.mark.parametrize(
    ("module", "name", "extra"),
    [("onnxruntime", "m.onnx", "onnx"), ("ai_edge_litert.interpreter", "m.tflite", "tflite")],
)
def test_a_runtime_that_is_not_installed_is_named(module, name, extra, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", None)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=rf"pip install 'menagerie\[{extra}\]'"):
        open_segmenter(tmp_path / name)


def test_rembg_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "rembg", None)
    with pytest.raises(UserError, match=r"pip install 'menagerie\[rembg\]'"):
        cut_out(scene(), config(cut_out="rembg"))


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("picture", "drawn", "animal", "undecided", "label"),
    [
        ("dog_segmentation_256", "dog_segmentation_mask_256", 0, 2, "dog"),
        ("bird_segmentation", "bird_segmentation_mask", 3, 9, "bird"),
    ],
)
def test_deeplab_and_grabcut_find_what_people_outlined(
    real_data, picture, drawn, animal, undecided, label
):
    pytest.importorskip("ai_edge_litert")
    folder = real_data / "segmentation"
    image = np.asarray(Image.open(folder / f"{picture}.bmp").convert("RGB"))
    mask = np.asarray(Image.open(folder / f"{drawn}.bmp"))
    truth, known = mask == animal, mask != undecided
    model = real_data / "weights" / "deeplabv3_mnv2_pascal_quant.tflite"
    for way, confidence in ((str(model), 0.7), ("grabcut", 0.0)):
        cut = cut_out(image, config(cut_out=way, min_cut_out_confidence=confidence), label=label)
        found = cut.image_hwc[..., 3] >= 128
        overlap = (found & truth & known).sum() / ((found | truth) & known).sum()
        assert overlap > 0.9, way
