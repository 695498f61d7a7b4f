"""Sample sets: the right pictures, once each, whatever the batches and interruptions."""

from pathlib import Path

import numpy as np
import pytest

from core.diffusion import generate
from core.diffusion.generate import generate_sample_set
from core.diffusion.sampleconfig import SampleConfig, planned_labels
from core.errors import UserError
from core.sampleset import open_sample_set, read_shard
from core.training.loop import train
from tests.tiny import tiny_config, tiny_dataset


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    dataset = tiny_dataset(folder / "data")
    config = tiny_config(
        data=folder / "data", steps=2, noise_schedule="linear", timesteps=20, snapshots=0
    )
    train(config, dataset, folder / "run", cpu=True)
    return folder / "run"


def config(run: Path, **changes: object) -> SampleConfig:
    values: dict[str, object] = {"run": run, "per_class": 5, "steps": 3, "shard_size": 4}
    return SampleConfig(**{**values, **changes})  # type: ignore[arg-type]


def pictures(folder: Path) -> dict[int, np.ndarray]:
    return {sample.seed: sample.image_hwc for sample in open_sample_set(folder).samples()}


@pytest.fixture(scope="module")
def whole(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples") / "whole"
    generate_sample_set(config(run), folder, batch_size=4, device="cpu")
    return folder


def test_a_set_holds_every_picture_once_with_its_parents(whole: Path, run: Path) -> None:
    made = open_sample_set(whole, verify=True)
    samples = list(made.samples())
    assert [sample.seed for sample in samples] == list(range(10))
    assert [sample.label for sample in samples] == ["cat"] * 5 + ["fish"] * 5
    assert samples[0].image_hwc.shape == (32, 32, 4)
    assert made.parents["model"] == generate.model_digest(run)
    assert len(made.parents["dataset"]) == 64
    assert (whole / "contact_sheet.png").stat().st_size > 1000
    assert len({sample.image_hwc.tobytes() for sample in samples}) == 10


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_the_batch_size_never_changes_a_picture(
    whole: Path, run: Path, tmp_path: Path, batch_size: int
) -> None:
    generate_sample_set(config(run), tmp_path / "other", batch_size=batch_size, device="cpu")
    reference = pictures(whole)
    for seed, picture in pictures(tmp_path / "other").items():
        # fp32 kernels may round differently for another shape: at most one level of 255 in
        # premultiplied colour, compared where alpha is full so that straight colour is the same.
        opaque = (picture[..., 3] == 255) & (reference[seed][..., 3] == 255)
        difference = np.abs(picture.astype(int) - reference[seed].astype(int))
        assert difference[opaque].max(initial=0) <= 1
        assert difference[..., 3].max() <= 1


def test_a_label_and_seed_alone_decide_the_picture(whole: Path, run: Path, tmp_path: Path) -> None:
    one = config(run, labels=("fish",), seed=7)
    generate_sample_set(one, tmp_path / "one", batch_size=4, device="cpu")
    assert np.array_equal(pictures(tmp_path / "one")[7], pictures(whole)[7])


@pytest.mark.parametrize("solver", ["ddpm", "dpmpp-3m-sde"])
def test_noise_on_the_way_is_of_the_seed_too(run: Path, tmp_path: Path, solver: str) -> None:
    noisy = config(run, solver=solver, per_class=2)
    generate_sample_set(noisy, tmp_path / "all", batch_size=4, device="cpu")
    alone = config(run, solver=solver, labels=("fish",), seed=3)
    generate_sample_set(alone, tmp_path / "one", batch_size=4, device="cpu")
    one, all_four = pictures(tmp_path / "one")[3], pictures(tmp_path / "all")
    # Another batch shape rounds otherwise, and little else may differ.
    assert np.abs(one.astype(int) - all_four[3].astype(int))[..., 3].max() <= 1
    assert np.abs(one.astype(int) - all_four[2].astype(int))[..., 3].max() > 20


def test_ddpm_walks_the_schedule_of_the_training(run: Path, tmp_path: Path) -> None:
    whole = config(run, solver="ddpm", steps=20, labels=("cat",))
    assert generate_sample_set(whole, tmp_path / "set", device="cpu").count == 1
    longer = config(run, solver="ddim", steps=21, labels=("cat",))
    with pytest.raises(UserError, match="--steps 21 is more than the 20 noise levels"):
        generate_sample_set(longer, tmp_path / "longer", device="cpu")


def test_an_interrupted_set_goes_on_where_it_was(
    whole: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "stopped"
    real, written = generate.write_shard, []

    def write(path: Path, samples: list) -> None:  # type: ignore[type-arg]
        if len(written) == 1 and not path.name.startswith("done"):
            raise KeyboardInterrupt
        written.append(path.name)
        real(path, samples)

    monkeypatch.setattr(generate, "write_shard", write)
    with pytest.raises(KeyboardInterrupt):
        generate_sample_set(config(run), folder, batch_size=4, device="cpu")
    with pytest.raises(UserError, match="unfinished: run the same sample command again"):
        open_sample_set(folder)
    first = (folder / "data/part-00000.parquet").stat().st_mtime_ns
    monkeypatch.setattr(generate, "write_shard", real)
    generate_sample_set(config(run), folder, batch_size=4, device="cpu")
    assert (folder / "data/part-00000.parquet").stat().st_mtime_ns == first
    assert open_sample_set(folder, verify=True).digest == open_sample_set(whole).digest


def test_a_finished_set_is_left_alone_and_another_is_refused(
    whole: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate_sample_set(config(run), whole, device="cpu")
    assert "finished already" in capsys.readouterr().out
    with pytest.raises(UserError, match="another --out"):
        generate_sample_set(config(run, seed=5), whole, device="cpu")


def test_an_altered_set_is_noticed(whole: Path, run: Path, tmp_path: Path) -> None:
    generate_sample_set(config(run), tmp_path / "set", batch_size=4, device="cpu")
    shard = tmp_path / "set/data/part-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="was altered"):
        open_sample_set(tmp_path / "set", verify=True)
    with pytest.raises(UserError, match="not a readable sample shard"):
        read_shard(shard)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_hugging_face_datasets_opens_the_shards(whole: Path, tmp_path: Path) -> None:
    import datasets

    rows = datasets.load_dataset(
        "parquet",
        data_files=str(whole / "data/*.parquet"),
        split="train",
        cache_dir=str(tmp_path),
    )
    assert len(rows) == 10
    assert rows[9]["image"].size == (32, 32)
    assert rows[9]["label"] == "fish"


def test_counts_and_labels_are_planned() -> None:
    known = ("cat", "dog", "fish")
    plan = config(Path("run"), classes=("fish=2", "cat"), per_class=3)
    assert planned_labels(plan, known) == ["fish", "fish", "cat", "cat", "cat"]
    assert planned_labels(config(Path("run"), labels=("dog", "cat")), known) == ["dog", "cat"]
    with pytest.raises(UserError, match=r"no class 'cow'; this model knows cat, dog, fish"):
        planned_labels(config(Path("run"), classes=("cow",)), known)
    with pytest.raises(UserError, match="whole number"):
        planned_labels(config(Path("run"), classes=("cat=x",)), known)


@pytest.mark.parametrize(
    "changes",
    [
        {"per_class": 0},
        {"steps": 0},
        {"guidance": -1},
        {"guidance_interval": (5.0, 1.0)},
        {"guidance_parallel": 1.5},
        {"guidance_rescale": -0.1},
        {"ema_width": 0.3},
        {"seed": -1},
        {"classes": ("a",), "labels": ("b",)},
    ],
)
def test_senseless_settings_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UserError):
        config(Path("run"), **changes)


def test_a_folder_that_is_no_finished_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run: train one"):
        generate_sample_set(config(tmp_path / "none"), tmp_path / "out", device="cpu")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="no finished model yet"):
        generate_sample_set(config(tmp_path), tmp_path / "out", device="cpu")
