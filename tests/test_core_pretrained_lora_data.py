"""What a LoRA is trained on: shapes, captions, and the pictures as a pipeline sees them."""

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from core.data.prepare import PrepareConfig, prepare
from core.errors import UserError
from core.files import exclusive
from core.images import png_bytes
from core.pretrained.lora import encoding, parts
from core.pretrained.lora.base import describe_base, open_base
from core.pretrained.lora.batches import Batches
from core.pretrained.lora.buckets import brought_to, bucket_sizes, nearest_size
from core.pretrained.lora.captions import caption_of, check_template
from core.pretrained.lora.encoded import open_encoded
from core.pretrained.lora.encoding import Interrupted, encoded_dataset
from core.pretrained.lora.pictures import training_pictures
from core.training.processes import Processes
from tests.finetuning import small, tiny_pictures
from tests.pipelines import tiny_sd, tiny_sdxl

pytestmark = pytest.mark.filterwarnings("ignore:.*:FutureWarning", "ignore:.*:DeprecationWarning")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return tiny_sd(tmp_path_factory.mktemp("base") / "sd")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return tiny_pictures(tmp_path_factory.mktemp("data") / "pictures", captions=True)


def encode(config, folder):
    source = describe_base(Path(config.pipeline))
    return encoded_dataset(
        config, source, lambda: open_base(source, "fp32"), folder, processes=Processes.alone(CPU)
    )


def test_shapes_have_about_one_area_and_every_picture_its_own():
    sizes = bucket_sizes(1024, 64)
    assert sizes[0] == (1024, 1024)
    assert {(1152, 896), (896, 1152), (1344, 768), (768, 1344)} <= set(sizes)
    for width, height in sizes:
        assert width % 64 == height % 64 == 0
        assert 0.85 * 1024**2 <= width * height <= 1024**2
    assert sizes[nearest_size(sizes, 1920, 1080)] == (1344, 768)
    assert sizes[nearest_size(sizes, 500, 500)] == (1024, 1024)
    wide = sizes[nearest_size(sizes, 5000, 100)]
    assert wide == (1344, 768)  # of those no more than twice as wide as tall


def test_a_picture_covers_its_shape_by_its_middle():
    image = np.zeros((10, 40, 3), np.uint8)
    image[:, 15:25] = 255
    piece, crop_xy = brought_to(image, (20, 20))
    assert piece.shape == (20, 20, 3)
    assert crop_xy == (30, 0)
    assert piece[:, 1:-1].min() == 255


def test_captions_are_the_pictures_own_else_the_templates():
    assert caption_of("red_panda", None, "a {label} sticker") == "a red panda sticker"
    assert caption_of("cat", "  a cat\n asleep ", "a {label}") == "a cat asleep"
    for template in ("a {colour}", "a {label", "{}"):
        with pytest.raises(UserError, match="--caption"):
            check_template(template)


def test_pictures_are_encoded_once_with_captions_and_mirror_images(pipeline, pictures, tmp_path):
    encoded = encode(small(pipeline, pictures), tmp_path / "encoded")
    assert len(encoded.items) == 16
    assert encoded.captions == ("a cat", "a fish", "a very small cat", "a very small fish")
    assert set(encoded.latents) == {(32, 32), (40, 24), (24, 40)}
    assert encoded.latents[40, 24].shape == (6, 2, 4, 12, 20)
    assert (encoded.licence, encoded.redistributable) == ("CC0-1.0", True)
    first = next(item for item in encoded.items if item.name == "cat/0.png")
    assert encoded.captions[first.caption] == "a very small cat"
    pair = encoded.latents[first.size_wh][first.row]
    assert not np.array_equal(pair[0], pair[1])
    again = encode(small(pipeline, pictures, steps=9, rank=2), tmp_path / "encoded")
    assert again.digest == encoded.digest
    with pytest.raises(UserError, match="encoded with other caption"):
        encode(small(pipeline, pictures, caption="one {label}"), tmp_path / "encoded")


def test_the_same_pictures_give_the_same_bytes_wherever_they_lie(pipeline, pictures, tmp_path):
    other = tmp_path / "elsewhere"
    shutil.copytree(pictures, other)
    digests = {
        encode(small(pipeline, data), tmp_path / name).digest
        for name, data in (("a", pictures), ("b", other))
    }
    assert len(digests) == 1
    before = (other / "fish" / "7.png").read_bytes()
    (other / "fish" / "7.png").write_bytes((other / "cat" / "7.png").read_bytes())
    with pytest.raises(UserError, match=r"fish/7\.png changed since"):
        encode(small(pipeline, other), tmp_path / "b")
    (other / "fish" / "7.png").write_bytes(before)
    (other / "cat" / "7.png").unlink()
    with pytest.raises(UserError, match="from other pictures or captions"):
        encode(small(pipeline, other), tmp_path / "b")
    (tmp_path / "a" / "texts.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match="was altered"):
        open_encoded(tmp_path / "a", verify=True)


@pytest.fixture
def parts_of_four(monkeypatch):
    monkeypatch.setattr(parts, "_PICTURES_IN_PART", (4, 4))


def encode_until(config, folder, answers):
    """Encode while `answers` (to whether it should stop) last; parts that were there before."""
    source, there = describe_base(Path(config.pipeline)), parts_in(folder)
    asked = iter(answers)
    with pytest.raises(Interrupted) as stopped:
        encoded_dataset(
            config,
            source,
            lambda: open_base(source, "fp32"),
            folder,
            processes=Processes.alone(CPU),
            asked=lambda: next(asked),
        )
    assert stopped.value.urgency == 2
    assert not folder.exists()
    return there


def parts_in(folder):
    found = folder.with_name(f".{folder.name}-parts").glob("*-*")
    return {path.name: path.stat().st_mtime_ns for path in found}


def test_what_is_encoded_stays_when_it_is_stopped_and_ends_as_if_it_had_not_been(
    pipeline, pictures, parts_of_four, tmp_path
):
    config, folder = small(pipeline, pictures), tmp_path / "encoded"
    for name in (".encoded.abcd_123.tmp", ".encoded.v2.abcd_123.tmp"):
        (tmp_path / name).mkdir()
    # Asked before each picture and after each part: five times a part.
    encode_until(config, folder, [0] * 7 + [2])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(".encoded-lock", ".encoded-parts", ".encoded.v2.abcd_123.tmp")
    ]
    first = parts_in(folder)
    assert len(first) == 1
    (tmp_path / ".encoded-parts" / ".pictures-12.abcd_123.tmp").mkdir()  # as a killed one leaves it
    encode_until(config, folder, [0] * 15 + [2])
    second = parts_in(folder)
    assert len(second) == 4
    assert first.items() <= second.items()
    with exclusive(tmp_path / ".encoded-lock"):
        encode_until(config, folder, [2])  # one that waits for another stops, too
    digest = encode(config, folder).digest
    assert not parts_in(folder)
    assert digest == encode(config, tmp_path / "undisturbed").digest


def test_braces_of_captions_hold_a_name_and_no_more():
    for template in ("a {label:{x}}", "a {label!z}", "a {label:d}", "a {label:>9}"):
        with pytest.raises(UserError, match=r"more than a name in its braces|names"):
            check_template(template)
    check_template("one {label}, {{round}}")


def test_the_others_hear_of_one_that_waits_for_another_training(
    pipeline, pictures, monkeypatch, tmp_path
):
    """Who waits for one process alone, and hears nothing, gives it up in the end."""
    monkeypatch.setattr(encoding, "_TURN_S", -1.0)
    config, source = small(pipeline, pictures), describe_base(pipeline)
    other, turns = contextlib.ExitStack(), []
    other.enter_context(exclusive(tmp_path / ".encoded-lock"))

    class Heard(Processes):
        def from_first(self, value):
            turns.append(value)
            if len(turns) == 3:
                other.close()
            return super().from_first(value)

    alone = Heard.alone(CPU)
    folder = tmp_path / "encoded"
    encoded_dataset(config, source, lambda: open_base(source, "fp32"), folder, processes=alone)
    assert len(turns) == 4  # and that all is encoded
    assert open_encoded(folder, verify=True).digest


def test_a_picture_that_changed_meanwhile_is_encoded_anew_with_its_part_alone(
    pipeline, parts_of_four, tmp_path
):
    data = tiny_pictures(tmp_path / "data")
    config, folder = small(pipeline, data), tmp_path / "encoded"
    encode_until(config, folder, [0] * 17 + [2])
    before = parts_in(folder)
    (data / "cat" / "1.png").write_bytes((data / "fish" / "1.png").read_bytes())
    encode_until(small(pipeline, data, caption="one {label}"), folder, [0] * 4 + [2])
    after = parts_in(folder)
    assert len(before) == 3
    assert len(after) == 4  # the old one goes when all is done
    assert before.items() <= after.items()
    digest = encode(config, folder).digest
    assert digest == encode(config, tmp_path / "undisturbed").digest


def test_what_cannot_be_read_is_named_and_left_out(pipeline, tmp_path):
    data = tiny_pictures(tmp_path / "data", per_class=2)
    (data / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    encoded = encode(small(pipeline, data), tmp_path / "encoded")
    assert len(encoded.items) == 4
    assert "broken.png" in (tmp_path / "encoded" / "rejected.jsonl").read_text()
    encode(small(pipeline, data), tmp_path / "encoded")  # known to be broken: no other pictures


def test_a_pinned_datasets_held_out_pictures_are_not_trained_on(tmp_path):
    config = PrepareConfig(source="starter", size_px=32, per_class=10)
    prepare(config, tmp_path / "data")
    asked = small(tmp_path, tmp_path / "data", caption="a {label} sticker")
    shown = training_pictures(asked)
    assert 60 <= len(shown) <= 66
    image, sha256 = shown[0].read()
    assert image.shape == (32, 32, 3)
    assert len(sha256) == 64
    assert {picture.caption for picture in shown} >= {"a cat sticker", "a turtle sticker"}


def test_captions_come_from_tables_and_folders_without_classes(tmp_path):
    pixels = np.full((16, 16, 3), 90, np.uint8)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.png").write_bytes(png_bytes(pixels))
    row = {"file_name": "a.png", "text": "a grey cat"}
    (tmp_path / "folder" / "metadata.jsonl").write_text(json.dumps(row) + "\n")
    table = {"image": [{"bytes": png_bytes(pixels)}] * 2, "words": ["a grey dog", None]}
    pq.write_table(pa.table(table), tmp_path / "table.parquet")
    [shown] = training_pictures(small(tmp_path, tmp_path / "folder"))
    assert shown.caption == "a grey cat"
    first, second = training_pictures(
        small(tmp_path, tmp_path / "table.parquet", caption_column="words")
    )
    assert (first.caption, second.caption) == ("a grey dog", "a picture")


def test_an_epoch_shows_every_picture_in_batches_of_one_shape(pipeline, pictures, tmp_path):
    config = small(pipeline, pictures, batch_size=4, caption_drop=0.5, noise_offset=0.1)
    encoded = encode(config, tmp_path / "encoded")
    batches = Batches(config, encoded, timesteps=1000, device=CPU)
    assert batches.per_epoch == 2 + 2 + 1  # of 6, 6 and 4 pictures
    seen = set()
    for step in range(batches.per_epoch):
        [whole] = batches.parts(step, rank=0, processes=1, accumulate=1)
        seen |= {tuple(latents.flatten()[:8].tolist()) for latents in whole.latents}
        shares = [
            part
            for rank in range(2)
            for part in batches.parts(step, rank=rank, processes=2, accumulate=2)
        ]
        for name in ("latents", "noise", "timesteps", "captions", "sizes", "rows"):
            together = torch.cat([getattr(part, name) for part in shares])
            assert torch.equal(together, getattr(whole, name)), name
        width, height = (int(whole.sizes[0, place]) for place in (5, 4))
        assert whole.latents.shape[2:] == (height // 2, width // 2)
    assert len(seen) >= 16 * 0.8  # mirrored ones may differ
    silent = sum(
        int((part.captions == len(encoded.captions)).sum())
        for step in range(100)
        for part in batches.parts(step, rank=0, processes=1, accumulate=1)
    )
    assert 150 <= silent <= 250


def test_what_cannot_be_adapted_is_refused_in_one_line(tmp_path):
    folder = tiny_sdxl(tmp_path / "sdxl")
    config = folder / "unet" / "config.json"
    was = config.read_text()
    for change, words in (
        (('"in_channels": 4', '"in_channels": 9'), "more than noise"),
        (('"UNet2DConditionModel"', '"SD3Transformer2DModel"'), "finetune adapts"),
        (('"text_time"', '"image_hint"'), "more than text and sizes"),
    ):
        assert change[0] in was
        config.write_text(was.replace(*change))
        with pytest.raises(UserError, match=words):
            describe_base(folder)
