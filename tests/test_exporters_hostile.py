"""Hostile and odd input to the whole exporter: one clear line each, and the rest is still made."""

import errno
import os
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from core.data.starter import draw_animal
from core.errors import UserError
from core.files import read_json
from core.images import png_bytes
from core.sampleset import Sample, finish_sample_set, shard_name
from exporters.build import build_pack
from exporters.config import ExportConfig
from exporters.drawing import vectorize
from exporters.pack import verify_pack
from jobs import export
from tests.samplesets import PARENTS, animal, write_sample_set

RANDOM = np.random.default_rng(7)
ODD = {
    "clear": np.zeros((64, 64, 4), dtype=np.uint8),
    "one-pixel": np.full((1, 1, 3), 200, dtype=np.uint8),
    "one-clear-pixel": np.zeros((1, 1, 4), dtype=np.uint8),
    "one-colour": np.full((64, 64, 3), 90, dtype=np.uint8),
    "noise": RANDOM.integers(0, 256, (64, 64, 3), dtype=np.uint8),
    "noise-with-alpha": RANDOM.integers(0, 256, (64, 64, 4), dtype=np.uint8),
    "a-dot": np.pad(np.full((1, 1, 4), 255, dtype=np.uint8), ((30, 33), (30, 33), (0, 0))),
    "a-thread": np.full((1, 900, 3), 120, dtype=np.uint8),
}
"""Pictures that hold no animal, by the class that they are given."""


def config(samples, **changes):
    return ExportConfig(**{"samples": samples, "size_px": 256, "small_px": 64, **changes})


def complaints(pack):
    return {item["label"]: item["reason"] for item in read_json(pack / "pack.json")["refused"]}


def made(pack):
    return [item["label"] for item in read_json(pack / "pack.json")["stickers"]]


def one_set(folder, *samples):
    return write_sample_set(folder, [samples]).folder


def test_pictures_without_an_animal_cost_themselves_only(tmp_path):
    odd = [Sample(image_hwc=image, label=label, seed=1) for label, image in ODD.items()]
    samples = one_set(tmp_path / "set", *odd, animal("cat", 1))
    build_pack(config(samples), tmp_path / "pack")
    assert made(tmp_path / "pack") == ["cat"]
    reasons = complaints(tmp_path / "pack")
    assert set(reasons) == set(ODD)
    assert all(reason and "\n" not in reason for reason in reasons.values())
    for label in ("clear", "one-pixel", "one-colour", "a-thread"):
        assert "nothing to cut out" in reasons[label]
    assert verify_pack(tmp_path / "pack.zip") == []


def test_pictures_that_are_not_square_keep_their_shape(tmp_path):
    tall = draw_animal("dog", 3, 64)[:, 8:48]
    wide = draw_animal("fish", 3, 64)[10:54]
    pictures = [Sample(image_hwc=tall, label="dog", seed=3)]
    pictures += [Sample(image_hwc=np.ascontiguousarray(wide), label="fish", seed=3)]
    build_pack(config(one_set(tmp_path / "set", *pictures)), tmp_path / "pack")
    facts = read_json(tmp_path / "pack" / "pack.json")
    assert len(facts["stickers"]) == 2, facts["refused"]
    for item in facts["stickers"]:
        with Image.open(tmp_path / "pack" / item["png"]) as image:
            assert image.size == (256, 256)
        assert item["alpha_iou"] >= 0.97


def test_a_picture_of_4096_px_is_a_sticker_like_any_other(tmp_path):
    large = np.kron(draw_animal("turtle", 2, 512), np.ones((8, 8, 1), dtype=np.uint8))
    assert large.shape == (4096, 4096, 4)
    samples = one_set(tmp_path / "set", Sample(image_hwc=large, label="turtle", seed=2))
    build_pack(config(samples), tmp_path / "pack")
    assert made(tmp_path / "pack") == ["turtle"]


def foreign_shard(folder, pictures):
    """A shard that somebody else wrote: encoded pictures of any kind."""
    rows = [
        {"image": {"bytes": data, "path": None}, "label": label, "seed": seed, "sha256": ""}
        for seed, (label, data) in enumerate(pictures.items())
    ]
    path = folder / shard_name(0)
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    labels = sorted(pictures)
    facts = {"count": len(rows), "labels": labels, "settings": {}, "parents": PARENTS}
    return finish_sample_set(folder, shards=[shard_name(0)], **facts).folder


def encoded(image, tmp_path):
    path = tmp_path / "x.png"
    image.save(path)
    return path.read_bytes()


def test_grey_palettes_and_16_bits_are_pictures_too(tmp_path):
    cat = draw_animal("cat", 4, 64)
    white = np.full((64, 64, 3), 255) * (1 - cat[..., 3:] / 255)
    opaque = Image.fromarray(np.rint(cat[..., :3] * (cat[..., 3:] / 255) + white).astype(np.uint8))
    grey = opaque.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    pictures = {
        "grey": encoded(grey, tmp_path),
        "palette": encoded(opaque.quantize(32), tmp_path),
        "sixteen": encoded(deep, tmp_path),
        "grey-alpha": encoded(Image.fromarray(cat).convert("LA"), tmp_path),
        "usual": png_bytes(cat),
    }
    build_pack(config(foreign_shard(tmp_path / "set", pictures)), tmp_path / "pack")
    assert sorted(made(tmp_path / "pack")) == sorted(pictures), complaints(tmp_path / "pack")


def test_a_shard_with_a_broken_picture_is_one_error_that_names_it(tmp_path, capsys):
    folder = foreign_shard(tmp_path / "set", {"cat": b"\x89PNG\r\n\x1a\n no more"})
    assert run("--samples", folder, "--out", tmp_path / "pack") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "part-00000.parquet is not a readable sample shard" in line
    assert not (tmp_path / "pack").exists()


def run(*flags):
    small = ("--size-px", "256", "--small-px", "64", "--workers", "1", "--cluster", "inline")
    return export.main([str(flag) for flag in (*flags, *small)])


def test_a_panic_in_the_tracer_costs_one_picture(tmp_path, monkeypatch):
    class PanicException(BaseException):  # what Rust's panics are in Python: no Exception
        pass

    trace, calls = vectorize.vtracer.convert_raw_image_to_svg, []

    def panic(*arguments, **options):
        calls.append(1)
        if len(calls) == 1:
            raise PanicException("index out of bounds: the len is 0 but the index is 0")
        return trace(*arguments, **options)

    monkeypatch.setattr(vectorize.vtracer, "convert_raw_image_to_svg", panic)
    samples = one_set(tmp_path / "set", animal("cat", 1), animal("fish", 2))
    build_pack(config(samples, tracer="vtracer"), tmp_path / "pack")
    assert made(tmp_path / "pack") == ["fish"]
    assert "vtracer could not trace" in complaints(tmp_path / "pack")["cat"]


@pytest.fixture
def samples(tmp_path):
    return one_set(tmp_path / "set", animal("cat", 1), animal("fish", 2))


def refused_upscaler(samples, weights, capsys):
    """The one line that the command ends with."""
    out = samples.parent / "pack"
    assert run("--samples", samples, "--out", out, "--upscaler", weights) == 2
    assert not out.exists()
    assert not out.with_name("pack.zip").exists()
    return capsys.readouterr().err.splitlines()[-1]


def test_an_upscaler_of_the_wrong_kind_is_one_line(samples, tmp_path, capsys):
    import torch

    network = {}
    for number, (out, into) in enumerate([(16, 1), (16, 16), (16, 16)]):
        network[f"body.{2 * number}.weight"] = torch.zeros(out, into, 3, 3)
        network[f"body.{2 * number}.bias"] = torch.zeros(out)
        network[f"body.{2 * number + 1}.weight"] = torch.zeros(out)
    grey = {key: value for key, value in network.items() if not key.startswith("body.5")}
    torch.save({"params": grey}, tmp_path / "grey.pth")
    line = refused_upscaler(samples, tmp_path / "grey.pth", capsys)
    assert line.startswith(f"export: error: {tmp_path / 'grey.pth'} ")
    assert "channels" in line


def test_weights_that_are_none_are_one_line(samples, tmp_path, capsys):
    import torch

    (tmp_path / "text.pth").write_text("hello")
    assert "is refused" in refused_upscaler(samples, tmp_path / "text.pth", capsys)
    assert "does not exist" in refused_upscaler(samples, tmp_path / "gone.pth", capsys)
    torch.save([1, 2, 3], tmp_path / "list.pth")
    assert "not named tensors" in refused_upscaler(samples, tmp_path / "list.pth", capsys)


class Evil:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_a_hostile_pickle_is_never_unpickled(samples, tmp_path, capsys):
    import torch

    torch.save({"params": Evil(tmp_path / "harm")}, tmp_path / "evil.pth")
    assert "holds more than tensors" in refused_upscaler(samples, tmp_path / "evil.pth", capsys)
    assert not (tmp_path / "harm").exists()


@pytest.mark.realdata
def test_a_pickle_from_the_wild_is_refused(samples, real_data, capsys):
    weights = real_data / "weights" / "unsafe_pickle.pth"
    assert "holds more than tensors" in refused_upscaler(samples, weights, capsys)


def test_a_disk_that_is_full_while_zipping_leaves_no_zip_and_the_same_command_goes_on(
    samples, tmp_path, monkeypatch, capsys
):
    write = zipfile.ZipFile.writestr
    count = []

    def full(self, *arguments, **options):
        count.append(1)
        if len(count) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, *arguments, **options)

    out = tmp_path / "pack"
    with monkeypatch.context() as patched:
        patched.setattr(zipfile.ZipFile, "writestr", full)
        assert run("--samples", samples, "--out", out) == 2
    assert len(count) >= 4, "zipping no longer goes through writestr: fail its writes elsewhere"
    assert capsys.readouterr().err.splitlines()[-1].startswith("export: error: No space left")
    assert [path.name for path in tmp_path.iterdir() if path.suffix in (".zip", ".tmp")] == []
    assert run("--samples", samples, "--out", out) == 0
    assert verify_pack(tmp_path / "pack.zip") == []


def test_a_segmentation_model_that_is_none_is_refused_before_anything_is_made(samples, tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "m.onnx").write_text("hello")
    with pytest.raises(UserError, match=r"m\.onnx is no ONNX model"):
        build_pack(config(samples, cut_out=str(tmp_path / "m.onnx")), tmp_path / "pack")
    with pytest.raises(UserError, match="does not exist"):
        build_pack(config(samples, cut_out=str(Path("gone.tflite"))), tmp_path / "pack")
    assert not (tmp_path / "pack").exists()


@pytest.mark.slow
def test_cut_outs_are_the_same_for_any_number_of_processes(tmp_path):
    """GrabCut begins with random clusters: each picture's own, wherever it is cut."""
    random = np.random.default_rng(3)
    pictures = []
    for seed, label in enumerate(("cat", "dog", "frog", "bird")):
        rgba = draw_animal(label, seed, 64)
        leaves = np.kron(random.integers(0, 200, (8, 8, 3)), np.ones((8, 8, 1)))
        alpha = rgba[..., 3:] / 255
        mixed = np.rint(rgba[..., :3] * alpha + leaves * (1 - alpha)).astype(np.uint8)
        pictures.append(Sample(image_hwc=mixed, label=label, seed=seed))
    samples = one_set(tmp_path / "set", *pictures)
    loose = config(samples, min_cut_out_confidence=0, min_psnr_db=20)
    build_pack(loose, tmp_path / "one", workers=1)
    build_pack(loose, tmp_path / "two", workers=2)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
