"""A model's own defaults of sampling, its early snapshot and its other averages."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from core.diffusion.defaults import BUILT_IN, from_model, resolved, write_defaults
from core.diffusion.generate import SamplingParts, generate_sample_set
from core.diffusion.modelinfo import describe_model, model_digest
from core.diffusion.pipeline import open_pipeline
from core.diffusion.sampleconfig import SampleConfig
from core.errors import UserError
from core.files import read_json, write_json
from core.sampleset import open_sample_set
from core.training.loop import train
from jobs import sample
from tests.tiny import tiny_config, tiny_dataset


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    dataset = tiny_dataset(folder / "data")
    # Strong steps, so that the network after a quarter of them is another one.
    config = tiny_config(data=folder / "data", steps=8, learning_rate=1e-2, warmup_steps=0)
    train(config, dataset, folder / "run", cpu=True)
    return folder / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def two(run: Path, **changes: object) -> SampleConfig:
    values: dict[str, object] = {"run": run, "per_class": 1, "steps": 3}
    return SampleConfig(**{**values, **changes})  # type: ignore[arg-type]


def pictures(config: SampleConfig, folder: Path) -> np.ndarray:
    made = generate_sample_set(config, folder, device="cpu")
    return np.stack([one.image_hwc for one in made.samples()]).astype(int)


def test_what_nobody_says_is_built_in_and_recorded(run: Path, tmp_path: Path) -> None:
    config = two(run, steps=None)
    whole = resolved(config, describe_model(run))
    assert {name: getattr(whole, name) for name in BUILT_IN} == BUILT_IN
    generate_sample_set(two(run), tmp_path / "set", device="cpu")
    settings = open_sample_set(tmp_path / "set").settings
    assert None not in settings.values()
    assert settings == read_json(tmp_path / "set/plan.json")["settings"]
    assert (settings["steps"], settings["guidance"], settings["solver"]) == (3, 1.5, "dpmpp-2m")


def test_written_defaults_hold_unless_the_command_says_otherwise(
    run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    weights = model_digest(run)
    write_defaults(run, {"guidance": 2.5, "guidance_interval": (0.3, 9.0), "steps": 4}, "| a | b |")
    model = describe_model(run)
    whole = resolved(two(run), model)
    assert (whole.guidance, whole.guidance_interval, whole.steps) == (2.5, (0.3, 9.0), 3)
    assert from_model(two(run), model) == {"guidance": 2.5, "guidance_interval": (0.3, 9.0)}
    flags = ["--run", str(run), "--per-class", "1", "--steps", "2", "--cluster", "inline"]
    assert sample.main([*flags, "--out", str(tmp_path / "set")]) == 0
    said = capsys.readouterr().out
    assert "from the model: guidance 2.5, guidance_interval (0.3, 9.0)\n" in said
    assert open_sample_set(tmp_path / "set").settings["guidance"] == 2.5
    assert model_digest(run) == weights


def test_the_pipeline_alone_follows_the_defaults_too(run: Path) -> None:
    def drawn(**how: object) -> np.ndarray:
        return np.stack(
            [np.array(one) for one in open_pipeline(run)(["cat"], seeds=[3], **how).images]
        )

    before = drawn(num_inference_steps=3)
    write_defaults(run, {"steps": 3, "guidance": 4.0}, "")
    assert np.array_equal(drawn(), drawn(num_inference_steps=3, guidance_scale=4.0))
    assert np.array_equal(drawn(guidance_scale=1.5), before)


def test_the_card_has_one_section_of_defaults_however_often_they_change(run: Path) -> None:
    card = run / "model/README.md"
    bare = card.read_text()
    write_defaults(run, {"guidance": 2.0}, "because of this")
    write_defaults(run, {"guidance": 3.0, "guidance_interval": (0.1, 5.0)}, "because of that")
    text = card.read_text()
    assert text.startswith(bare.rstrip())
    assert text.count("## Defaults of sampling") == 1
    assert "`--guidance 3.0 --guidance-interval 0.1 5.0`" in text
    assert "because of that" in text
    assert "because of this" not in text
    assert describe_model(run).defaults == {"guidance": 3.0, "guidance_interval": [0.1, 5.0]}


def test_new_defaults_do_not_mix_with_pictures_that_are_there(run: Path, tmp_path: Path) -> None:
    generate_sample_set(two(run), tmp_path / "set", device="cpu")
    write_defaults(run, {"guidance": 3.0}, "")
    with pytest.raises(UserError, match="another --out"):
        generate_sample_set(two(run, guidance=3.0), tmp_path / "set", device="cpu")
    generate_sample_set(two(run, guidance=1.5), tmp_path / "set", device="cpu")
    generate_sample_set(two(run), tmp_path / "set", device="cpu")


@pytest.mark.parametrize(
    ("defaults", "complaint"),
    [
        ({"scale": 2}, "name 'scale'; known are guidance, guidance_interval"),
        ({"steps": 0}, "--steps is 0"),
        ({"steps": "many"}, "are wrong"),
        ({"solver": "magic"}, "no solver 'magic'"),
        ({"guidance_interval": [1.0]}, "are wrong"),
    ],
)
def test_odd_defaults_are_refused_written_and_read(
    run: Path, defaults: dict[str, object], complaint: str
) -> None:
    index = run / "model/model_index.json"
    before = index.read_bytes()
    with pytest.raises(UserError, match=complaint):
        write_defaults(run, defaults, "")
    assert index.read_bytes() == before
    write_json(index, read_json(index) | {"defaults": defaults})
    with pytest.raises(UserError, match=r"model_index\.json.*" + complaint):
        resolved(two(run, steps=None), describe_model(run))


def test_the_early_snapshot_guides_when_asked(run: Path, tmp_path: Path) -> None:
    assert describe_model(run).has_guide
    plain = pictures(two(run, guidance=3.0, guidance_interval=(0.0, 100.0)), tmp_path / "label")
    early = two(run, guidance=3.0, guidance_interval=(0.0, 100.0), guide="early")
    led = pictures(early, tmp_path / "early")
    assert np.abs(plain - led).max() > 10
    parents = open_sample_set(tmp_path / "early").parents
    assert len(parents["guide"]) == 64
    assert parents["guide"] != parents["model"]
    assert "guide" not in open_sample_set(tmp_path / "label").parents


def test_without_an_early_snapshot_one_is_told_so(run: Path, tmp_path: Path) -> None:
    index = run / "model/model_index.json"
    write_json(index, read_json(index) | {"guide": [None, None]})
    with pytest.raises(UserError, match="no early snapshot to guide by: give --guide label"):
        generate_sample_set(two(run, guide="early"), tmp_path / "set", device="cpu")
    with pytest.raises(UserError, match="no early snapshot to guide by"):
        open_pipeline(run)(["cat"], seeds=[1], guide="early")
    generate_sample_set(two(run, guide="early", guidance=1.0), tmp_path / "set", device="cpu")


def test_another_average_gives_other_pictures_and_is_recorded(run: Path, tmp_path: Path) -> None:
    own = pictures(two(run), tmp_path / "own")
    narrow = pictures(two(run, ema_width=0.06), tmp_path / "narrow")
    assert np.abs(own - narrow).max() > 1
    made = open_sample_set(tmp_path / "narrow")
    assert made.settings["ema_width"] == 0.06
    assert len(made.parents["averages"]) == 64
    shutil.rmtree(run / "averages")
    with pytest.raises(UserError, match=r"holds no snapshots .* give --ema-width 0"):
        generate_sample_set(two(run, ema_width=0.06), tmp_path / "none", device="cpu")
    write_defaults(run, {"ema_width": 0.06}, "")
    assert np.array_equal(pictures(two(run, ema_width=0.0), tmp_path / "same"), own)


def test_a_set_that_was_begun_goes_on_with_the_defaults_it_began_with(
    run: Path, tmp_path: Path
) -> None:
    whole = SampleConfig(run=run, per_class=2, steps=2, shard_size=2)
    work = SamplingParts(whole, tmp_path / "set")
    work.begin()
    work.make(work.missing()[0])
    write_defaults(run, {"guidance": 2.5}, "better")
    later = SamplingParts(whole, tmp_path / "set")
    later.begin()
    assert later.config.guidance == work.config.guidance != 2.5
    assert SamplingParts(whole, tmp_path / "other").config.guidance == 2.5


def test_ddpm_with_more_steps_than_it_has_levels_is_refused_at_once(run: Path) -> None:
    with pytest.raises(UserError, match="--steps 2000 is more than the 1000 noise levels"):
        resolved(SampleConfig(run=run, solver="ddpm", steps=2000), describe_model(run))


def test_a_model_moved_from_its_run_takes_the_average_it_has(run: Path, tmp_path: Path) -> None:
    write_defaults(run, {"ema_width": 0.05}, "better")
    alone = shutil.copytree(run / "model", tmp_path / "moved")
    assert resolved(SampleConfig(run=alone), describe_model(alone)).ema_width == 0
    assert resolved(SampleConfig(run=run), describe_model(run)).ema_width == 0.05
