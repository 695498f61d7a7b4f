"""sample --lora: what it draws, what it records, and what is refused before anything is drawn."""

import shutil

import numpy as np
import pytest

from core.errors import UserError
from core.files import read_json
from core.parts import make_parts
from core.pretrained.text_to_image.config import TextToImageConfig, planned_prompts, settings_of
from core.pretrained.text_to_image.lorafiles import check_lora, read_loras
from core.pretrained.text_to_image.source import describe_pipeline
from core.pretrained.text_to_image.work import TextToImageParts, draw_sample_set
from core.sampleset import open_sample_set
from jobs import sample
from tests.pipelines import plain_pipeline, tiny_lora, tiny_sd, tiny_sdxl

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*:FutureWarning", "ignore:.*:DeprecationWarning"),
]
DIFFUSERS, KOHYA = "pytorch_lora_weights.safetensors", "kohya.safetensors"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An SD and an SDXL, two LoRAs of the first (one leaves words alone), one of the second."""
    folder = tmp_path_factory.mktemp("made")
    tiny_lora(tiny_sd(folder / "sd"), folder / "cats", facts={"licence": "cc0-1.0"})
    tiny_lora(folder / "sd", folder / "dogs", seed=2, everywhere=True, words=False)
    tiny_lora(tiny_sdxl(folder / "sdxl"), folder / "big")
    return folder


def config_of(pipeline, *loras, **changes):
    settings = {"prompt": ("a cat",), "seeds": "3-5", "steps": 2, "shard_size": 2, **changes}
    return TextToImageConfig(pipeline=str(pipeline), lora=tuple(map(str, loras)), **settings)


def pictures(config, folder):
    draw_sample_set(config, folder)
    return np.stack([s.image_hwc for s in open_sample_set(folder).samples()])


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")
def test_pictures_are_those_of_plain_diffusers_with_these_loras(made, tmp_path):
    import torch

    asked = (f"{made / 'cats'}:0.7", f"{made / 'dogs' / KOHYA}:-0.5")
    drawn = pictures(config_of(made / "sd", *asked, seeds="4", guidance=6), tmp_path / "set")[0]
    plain = plain_pipeline(made / "sd")
    plain.load_lora_weights(made / "cats", weight_name=DIFFUSERS, adapter_name="cats")
    plain.load_lora_weights(made / "dogs", weight_name=DIFFUSERS, adapter_name="dogs")
    plain.set_adapters(["cats", "dogs"], [0.7, -0.5])
    settings = {"num_inference_steps": 2, "guidance_scale": 6}
    there = plain("a cat", generator=torch.Generator().manual_seed(4), **settings).images[0]
    assert np.abs(drawn.astype(int) - np.array(there)).max() <= 1
    bare = pictures(config_of(made / "sd", seeds="4"), tmp_path / "bare")[0]
    assert np.abs(drawn.astype(int) - bare).max() > 4


@pytest.mark.parametrize("base", ["sd", "sdxl"])
def test_both_formats_draw_alike_and_weight_0_changes_nothing(made, tmp_path, base):
    lora = made / ("cats" if base == "sd" else "big")
    names = {"bare": [], "one": [lora], "other": [lora / KOHYA], "none": [f"{lora}:0"]}
    drawn = {
        name: pictures(config_of(made / base, *of), tmp_path / name) for name, of in names.items()
    }
    assert np.abs(drawn["one"].astype(int) - drawn["other"]).max() <= 1
    np.testing.assert_array_equal(drawn["none"], drawn["bare"])
    assert (drawn["one"] != drawn["bare"]).any(axis=(1, 2, 3)).all()


def test_a_set_with_a_lora_depends_on_it_and_on_no_split(made, tmp_path):
    config = config_of(made / "sd", f"{made / 'cats'}:0.8", made / "dogs")
    whole = draw_sample_set(config, tmp_path / "whole")
    for parts in ([1], [0]):
        make_parts(TextToImageParts(config, tmp_path / "array", batch_size=2), parts)
    assert open_sample_set(tmp_path / "array").digest == whole.digest
    assert [lora["weight"] for lora in whole.settings["lora"]] == [0.8, 1.0]
    assert whole.parents["lora"][0]["licence"] == "cc0-1.0"
    assert whole.parents["licence"] == "unknown AND cc0-1.0"
    assert len({lora["sha256"] for lora in whole.parents["lora"]}) == 2
    for name in ("plan.json", "sampleset.json", "opened.json"):
        assert str(made) not in (tmp_path / "whole" / name).read_text()
    moved = shutil.copytree(made / "cats", tmp_path / "a:b")
    again = config_of(made / "sd", f"{moved}:0.8", made / "dogs")
    assert draw_sample_set(again, tmp_path / "whole").digest == whole.digest
    for other in ([f"{moved}:0.7", made / "dogs"], [f"{moved}:0.8"], []):
        with pytest.raises(UserError, match="or of another pipeline or LoRA: name another --out"):
            draw_sample_set(config_of(made / "sd", *other), tmp_path / "whole")
    bare = config_of(made / "sd")
    assert "lora" not in settings_of(bare, planned_prompts(bare))


def test_a_lora_is_drawn_in_half_precision(made, tmp_path):
    half = {"precision": "bf16", "seeds": "3"}
    bare = pictures(config_of(made / "sd", **half), tmp_path / "bare")
    drawn = pictures(config_of(made / "sd", made / "dogs", **half), tmp_path / "set")
    whole = pictures(config_of(made / "sd", made / "dogs", seeds="3"), tmp_path / "whole")
    assert np.abs(drawn.astype(int) - bare).max() > 4
    assert np.abs(drawn.astype(int) - whole).mean() < np.abs(drawn.astype(int) - bare).mean()


def test_a_finetunes_folder_a_lone_file_and_a_path_with_a_colon_are_found(
    made, tmp_path, monkeypatch
):
    shutil.copytree(made / "cats", tmp_path / "run" / "lora")
    (tmp_path / "lone").mkdir()
    shutil.copy(made / "cats" / KOHYA, tmp_path / "lone" / "cat:2.safetensors")
    monkeypatch.chdir(tmp_path)
    given = [
        "run",
        "lone:-4",
        "lone/cat:2.safetensors",
        "lone/cat:2.safetensors:2",
        "team/name:0.5",
    ]
    found = read_loras(given)
    assert [lora.weight for lora in found] == [1, -4, 1, 2, 0.5]
    lone = tmp_path / "lone" / "cat:2.safetensors"
    assert found[0].path.resolve() == tmp_path / "run" / "lora" / DIFFUSERS
    assert [lora.path.resolve() for lora in found[1:4]] == [lone] * 3
    assert found[4].path is None
    assert (found[4].name, found[4].facts) == ("team/name", {"name": "team/name", "weight": 0.5})


def test_what_cannot_be_drawn_with_is_one_line_before_anything_is_drawn(made, tmp_path, capsys):
    from safetensors.torch import load_file, save_file

    cats = load_file(made / "cats" / KOHYA)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes((made / "cats" / KOHYA).read_bytes()[:-10])
    elsewhere = {key.replace("attentions", "elsewhere"): value for key, value in cats.items()}
    save_file(
        {k: v for k, v in elsewhere.items() if "unet" in k}, tmp_path / "elsewhere.safetensors"
    )
    save_file({"weight": cats.popitem()[1]}, tmp_path / "other.safetensors")
    (tmp_path / "old.ckpt").write_bytes(b"pickle")
    weights = made / "sd" / "unet"
    for given, complaint in {
        f"{made / 'cats'}:5": "the weight is 5; it must be from -4 to 4",
        f"{made / 'cats'}:nan": "the weight is nan",
        f"{made / 'cats'}:much": "'much' is no weight; give a number",
        "/nowhere.safetensors": "/nowhere.safetensors: there is no such file",
        str(tmp_path / "old.ckpt"): "a .ckpt file is a pickle",
        str(tmp_path): f"has no {DIFFUSERS} but broken.safetensors, elsewhere",
        str(broken): "is no readable safetensors file: it is not as long as its header says",
        str(tmp_path / "other.safetensors"): "is no LoRA that can be read",
        str(weights): "is no LoRA that can be read",
        str(tmp_path / "elsewhere.safetensors"): "layers is there; it is a LoRA of another base",
        str(made / "big"): "it is a LoRA of another base model",
        str(made / "big" / KOHYA): "it is a LoRA of another base model (sdxl_base_v1-0)",
    }.items():
        out = tmp_path / "set"
        flags = [
            "--pipeline",
            str(made / "sd"),
            "--prompt",
            "a",
            "--lora",
            given,
            "--out",
            str(out),
        ]
        assert sample.main([*flags, "--cluster", "inline"]) == 2, given
        lines = [x for x in capsys.readouterr().err.splitlines() if "error:" in x]
        assert len(lines) == 1, lines
        assert complaint in lines[0]
        assert not out.exists()


def test_flags_take_several_and_layers_without_a_place_are_told(made, tmp_path, capsys):
    from safetensors.torch import load_file, save_file

    some = load_file(made / "cats" / KOHYA)
    some |= {key.replace("lora_te_", "lora_te2_"): value.clone() for key, value in some.items()}
    save_file(some, tmp_path / "some.safetensors")
    lora = read_loras([str(tmp_path / "some.safetensors")])[0]
    assert check_lora(lora, describe_pipeline(made / "sd")) == 3
    flags = ["--pipeline", str(made / "sd"), "--prompt", "a", "--seeds", "1", "--steps", "1"]
    flags += ["--cluster", "inline", "--out", str(tmp_path / "set")]
    dogs = str(made / "dogs")
    assert sample.main([*flags, "--lora", f"{lora.path}:0.5", dogs]) == 0
    assert "some.safetensors: 3 of its layers have no place" in capsys.readouterr().out
    weights = [x["weight"] for x in read_json(tmp_path / "set" / "plan.json")["settings"]["lora"]]
    assert weights == [0.5, 1.0]
    assert sample.main(["--lora", f"{lora.path}:0.5", *flags, f"--lora={dogs}"]) == 0
    assert "finished already: nothing to do" in capsys.readouterr().out


def test_a_lora_of_the_hub_comes_from_the_cache_with_its_commit(made, tmp_path, monkeypatch):
    from huggingface_hub import constants

    commit = "89abcdef0123456789abcdef0123456789abcdef"
    cached = tmp_path / "hub" / "models--team--cats"
    shutil.copytree(made / "cats", cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    names = ("team/cats:0.5", f"team/cats/{KOHYA}")
    config = config_of(made / "sd", *names, seeds="3,4", shard_size=1)
    make_parts(TextToImageParts(config, tmp_path / "set"), [0])
    drawn = draw_sample_set(config, tmp_path / "set")
    assert [lora["commit"] for lora in drawn.parents["lora"]] == [commit] * 2
    assert drawn.parents["lora"][0]["name"] == "team/cats"
    here = draw_sample_set(config_of(made / "sd", f"{made / 'cats'}:0.5"), tmp_path / "here")
    assert drawn.parents["lora"][0]["sha256"] == here.parents["lora"][0]["sha256"]
    with pytest.raises(UserError, match="nobody/nothing is no file or folder, and could not be"):
        draw_sample_set(config_of(made / "sd", "nobody/nothing"), tmp_path / "other")


def test_pictures_that_the_safety_checker_blacks_out_are_told_and_not_exported(tmp_path, capsys):
    from exporters.config import ExportConfig
    from exporters.tracing import cut_and_trace

    strict = tiny_sd(tmp_path / "strict", strict=True)
    flags = ["--pipeline", str(strict), "--prompt", "a cat", "--seeds", "0-2", "--steps", "1"]
    assert sample.main([*flags, "--out", str(tmp_path / "set"), "--cluster", "inline"]) == 0
    assert "; 3 blacked out by its safety checker: export" in capsys.readouterr().out
    made = list(open_sample_set(tmp_path / "set").samples())
    assert all(not sample.image_hwc.any() for sample in made)
    refused = cut_and_trace(made[0], ExportConfig(samples=tmp_path / "set"), {})
    assert refused.reason == "blacked out by the pipeline's own safety checker"
