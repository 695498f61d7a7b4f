"""Sets by tiny Stable Diffusion and SDXL pipelines of the real classes: seeds, splits, resuming."""

import os
import shutil

import numpy as np
import pytest

from core.errors import UserError
from core.files import read_json, write_json
from core.parts import make_parts
from core.pretrained.text_to_image.adapters import hub_reason
from core.pretrained.text_to_image.config import TextToImageConfig
from core.pretrained.text_to_image.schedulers import check_steps
from core.pretrained.text_to_image.source import describe_pipeline, folder_digest
from core.pretrained.text_to_image.work import TextToImageParts, draw_sample_set
from core.sampleset import open_sample_set
from tests.pipelines import cache_pipeline, tiny_sd, tiny_sdxl

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*:FutureWarning", "ignore:.*:DeprecationWarning"),
]


@pytest.fixture(scope="module", params=[tiny_sd, tiny_sdxl])
def pipeline(request, tmp_path_factory):
    return request.param(tmp_path_factory.mktemp("pipelines") / request.param.__name__)


@pytest.fixture(scope="module")
def sd(tmp_path_factory):
    return tiny_sd(tmp_path_factory.mktemp("pipelines") / "sd")


def config_of(pipeline, **changes):
    settings = {
        "prompt": ("a {colour} {animal} sticker",),
        "wild": ("colour=red,green", "animal=cat,dog"),
        "seeds": "3-9",
        "steps": 2,
        "shard_size": 3,
        "scheduler": "euler-ancestral",  # draws noise at every step, too
    }
    return TextToImageConfig(pipeline=str(pipeline), **{**settings, **changes})


def pictures_of(folder):
    return {sample.seed: sample.image_hwc for sample in open_sample_set(folder).samples()}


def shards_of(folder):
    return [path.read_bytes() for path in sorted((folder / "data").glob("*.parquet"))]


def test_a_picture_depends_on_its_seed_alone(pipeline, tmp_path):
    whole = draw_sample_set(config_of(pipeline), tmp_path / "whole")
    assert whole.count == 7
    assert whole.labels == ("cat", "dog")
    again = draw_sample_set(config_of(pipeline), tmp_path / "again", batch_size=4)
    assert again.digest == whole.digest
    for part in ([2], [0, 1]):
        make_parts(TextToImageParts(config_of(pipeline), tmp_path / "array", batch_size=2), part)
    assert shards_of(tmp_path / "array") == shards_of(tmp_path / "whole")
    assert open_sample_set(tmp_path / "array").digest == whole.digest
    one = config_of(pipeline, seeds="7", shard_size=1)
    draw_sample_set(one, tmp_path / "one")
    whole_pictures = pictures_of(tmp_path / "whole")
    np.testing.assert_array_equal(pictures_of(tmp_path / "one")[7], whole_pictures[7])
    assert not np.array_equal(whole_pictures[3], whole_pictures[4])


def test_what_was_interrupted_goes_on_without_loss(sd, tmp_path, monkeypatch):
    from core.pretrained.text_to_image import drawing

    draw_sample_set(config_of(sd), tmp_path / "whole")
    real, drawn = drawing.draw_marked, []

    def counting(pipeline, config, prompts, seeds):
        drawn.extend(seeds)
        if drawn == [3, 4, 5, 6, 7, 8]:
            raise KeyboardInterrupt
        return real(pipeline, config, prompts, seeds)

    monkeypatch.setattr(drawing, "draw_marked", counting)
    with pytest.raises(KeyboardInterrupt):
        draw_sample_set(config_of(sd), tmp_path / "broken")
    with pytest.raises(UserError, match="it is unfinished"):
        open_sample_set(tmp_path / "broken")
    drawn.clear()
    draw_sample_set(config_of(sd), tmp_path / "broken")
    assert drawn == [8, 9]
    assert shards_of(tmp_path / "broken") == shards_of(tmp_path / "whole")
    assert not (tmp_path / "broken" / "unfinished").exists()


def test_a_set_says_what_made_it(sd, tmp_path):
    folder = tmp_path / "set"
    made = draw_sample_set(config_of(sd), folder)
    assert made.parents["model"] == folder_digest(sd)
    assert made.parents["pipeline_class"] == "StableDiffusionPipeline"
    assert made.settings["precision"] == "fp32"
    lines = (folder / "prompts.jsonl").read_text().splitlines()
    assert len(lines) == 7
    assert lines[0].startswith('{"seed": 3, "label": ')
    for name in ("plan.json", "sampleset.json", "opened.json", "prompts.jsonl"):
        assert str(sd.parent) not in (folder / name).read_text()
    with pytest.raises(UserError, match="name another --out"):
        draw_sample_set(config_of(sd, steps=3), folder)


def test_arithmetic_is_decided_once_for_a_set(sd, tmp_path, monkeypatch, capsys):
    from core.pretrained.text_to_image import fitting

    monkeypatch.setattr(fitting, "free_main_bytes", lambda: 2**20)
    config = config_of(sd, seeds="0-1", shard_size=1)
    make_parts(TextToImageParts(config, tmp_path / "set"), [0])
    assert "cpu bf16, no offload, tiles of 256 px" in capsys.readouterr().out
    monkeypatch.undo()
    make_parts(TextToImageParts(config, tmp_path / "set"), [1])
    assert "cpu bf16, no offload, tiles of 256 px" in capsys.readouterr().out
    assert open_sample_set(tmp_path / "set").settings["precision"] == "bf16"


def test_pictures_are_those_of_plain_diffusers(sd, tmp_path):
    import torch
    from diffusers import StableDiffusionPipeline

    config = config_of(sd, prompt=("a cat",), wild=(), scheduler="", seeds="11", guidance=7.5)
    draw_sample_set(config, tmp_path / "set")
    plain = StableDiffusionPipeline.from_pretrained(sd)
    plain.set_progress_bar_config(disable=True)
    made = plain(
        "a cat",
        num_inference_steps=2,
        guidance_scale=7.5,
        generator=torch.Generator().manual_seed(11),
    )
    np.testing.assert_array_equal(pictures_of(tmp_path / "set")[11], np.array(made.images[0]))


def test_what_is_asked_for_reaches_the_pipeline(sd, tmp_path):
    made = {}
    for name, changes in {
        "plain": {},
        "prompt": {"prompt": ("a dog",)},
        "negative": {"negative_prompt": "a dog"},
        "steps": {"steps": 3},
        "guidance": {"guidance": 1.0},
        "size": {"width": 24, "height": 16},
        "scheduler": {"scheduler": "heun"},
    }.items():
        asked = {"prompt": ("a cat",), "wild": (), "seeds": "1", "scheduler": "", **changes}
        draw_sample_set(config_of(sd, **asked), tmp_path / name)
        made[name] = pictures_of(tmp_path / name)[1]
    assert made.pop("size").shape == (16, 24, 3)
    plain = made.pop("plain")
    assert plain.shape == (16, 16, 3)
    assert [name for name, picture in made.items() if np.array_equal(picture, plain)] == []


def test_every_scheduler_that_is_said_to_fit_draws(sd):
    from core.pretrained.text_to_image.drawing import draw
    from core.pretrained.text_to_image.memory import Switches
    from core.pretrained.text_to_image.opening import open_pipeline
    from core.pretrained.text_to_image.schedulers import (
        check_scheduler,
        fitting_names,
        scheduler_named,
    )

    pipeline = open_pipeline(describe_pipeline(sd), switches=Switches(precision="fp32"))
    own = pipeline.scheduler
    names = fitting_names("DDIMScheduler")
    assert {"euler", "dpmpp-2m-karras", "unipc"} < set(names)
    config = config_of(sd, steps=3)
    for name in names:
        pipeline.scheduler = scheduler_named(name, own)
        first, second = (draw(pipeline, config, ["a cat"], [5])[0] for _ in range(2))
        assert np.array_equal(first, second), name
        assert first.std() > 0, name
    with pytest.raises(UserError, match=r"--scheduler edm-euler does not fit .* dpmpp-2m-karras"):
        scheduler_named("edm-euler", own)
    with pytest.raises(UserError, match="draws noise that no seed decides"):
        check_scheduler("", "DPMSolverSDEScheduler")


def test_one_fp16_copy_of_the_weights_is_enough(sd, tmp_path):
    folder = shutil.copytree(sd, tmp_path / "halves")
    for path in sorted(folder.glob("*/*.safetensors")):
        path.rename(path.with_name(f"{path.stem}.fp16.safetensors"))
    assert describe_pipeline(folder).variant == "fp16"
    assert describe_pipeline(folder).numbers == describe_pipeline(sd).numbers
    draw_sample_set(config_of(folder, seeds="3"), tmp_path / "set")
    assert pictures_of(tmp_path / "set")[3].shape == (16, 16, 3)


def test_what_is_no_such_pipeline_is_one_line(sd, tmp_path):
    def refused(folder, complaint):
        with pytest.raises(UserError, match=complaint) as told:
            draw_sample_set(config_of(folder), tmp_path / "set")
        assert "\n" not in str(told.value)

    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "has no model_index.json; wanted is a text-to-image pipeline")
    pickled = shutil.copytree(sd, tmp_path / "pickled")
    (pickled / "unet" / "diffusion_pytorch_model.safetensors").rename(
        pickled / "unet" / "diffusion_pytorch_model.bin"
    )
    refused(pickled, "is a pickle, which can run code")
    broken = shutil.copytree(sd, tmp_path / "broken")
    path = broken / "vae" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    refused(broken, "is no readable safetensors file")
    other = shutil.copytree(sd, tmp_path / "other")
    index = read_json(other / "model_index.json") | {"_class_name": "NoSuchPipeline"}
    write_json(other / "model_index.json", index)
    refused(other, "cannot be opened")


def test_a_name_on_the_hub_comes_from_the_cache_with_its_commit(sd, tmp_path, monkeypatch):
    commit = cache_pipeline(sd, tmp_path / "hub", monkeypatch)
    monkeypatch.chdir(tmp_path)
    made = draw_sample_set(config_of("team/tiny"), tmp_path / "set")
    assert made.parents["pipeline"]["name"] == "team/tiny"
    assert made.parents["model"] == folder_digest(sd)
    assert read_json(tmp_path / "set" / "opened.json")["commit"] == commit
    with pytest.raises(UserError, match="nobody/nothing is no folder, and could not be fetched"):
        draw_sample_set(config_of("nobody/nothing"), tmp_path / "other")
    assert os.listdir(tmp_path / "other")  # the plan alone


def test_what_lies_beside_a_pipelines_files_is_none_of_it(sd, tmp_path):
    copy = shutil.copytree(sd, tmp_path / "copy")
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copy(weights, weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    weights.with_name("diffusion_pytorch_model.fp16.safetensors.index.json").write_text("{}")
    (copy / "v1-5-pruned.safetensors").write_bytes(b"not opened")
    (copy / "notes.txt").write_text("mine")
    assert folder_digest(copy) == folder_digest(sd)
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert folder_digest(copy) != folder_digest(sd)


@pytest.mark.parametrize("name", ["lcm", "tcd"])
def test_more_steps_than_a_distilled_models_sampler_has_are_refused(sd, tmp_path, name):
    check_steps(name, "DDIMScheduler", 50)
    check_steps("", "PNDMScheduler", 1000)
    with pytest.raises(UserError, match=r"--steps is 60: a .*Scheduler takes 50 at most"):
        draw_sample_set(config_of(sd, scheduler=name, steps=60), tmp_path / "set")
    with pytest.raises(UserError, match="takes 50 at most"):
        check_steps("", "LCMScheduler", 51)


def test_why_the_hub_gave_nothing_is_told():
    lines = "401 Client Error. (Request ID: x)\n\nCannot access gated repo for url u.\nLog in"
    assert hub_reason(OSError(lines)).startswith("it is gated: accept its licence on its page")
    absent = "404 Client Error. (Request ID: x)\n\nEntry Not Found for url: u/no.safetensors."
    assert hub_reason(OSError(absent)) == "Entry Not Found for url: u/no.safetensors"
    assert hub_reason(OSError("")) == "OSError"
