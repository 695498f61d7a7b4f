"""Which runs a sweep has: fields and values are checked, and the same work has the same name."""

import random
from pathlib import Path

import pytest

from core.data.pinned import PinnedDataset, open_pinned
from core.errors import UserError
from core.sweeping.config import SweepConfig
from core.sweeping.halving import going_on, rungs_of
from core.sweeping.plan import SweepPlan, make_plan
from core.sweeping.subset import subset
from core.sweeping.values import drawn, parse_axis, widened, with_values
from core.training.config import TrainConfig, preset
from tests.tiny import tiny_config, tiny_dataset


def plan_of(data: Path, *grid: str, **changes: object) -> SweepPlan:
    config = SweepConfig(train=tiny_config(data=data), grid=grid, **changes)  # type: ignore[arg-type]
    return make_plan(config, lambda folder: open_pinned(folder or data))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tiny_dataset(tmp_path / "data").folder


@pytest.mark.parametrize(
    ("grid", "complaint"),
    [
        ("stepz=1,2", "no field 'stepz' \\(did you mean steps\\?\\); known are attention,"),
        ("schedule=linear,quadratic", "'quadratic' is not one of lognormal, linear, cosine, flow"),
        ("steps=ten", "'ten' is not a whole number"),
        ("dropout=much", "'much' is not a number"),
        ("dropout=nan", "'nan' is not a number"),
        ("flip=perhaps", "'perhaps' is not true or false"),
        ("block_channels=64 x", "'64 x' is not a whole number or several of them"),
        ("base_channels=50", "50 is not a multiple of 32"),
        ("dropout=0.1,2", "--grid dropout=2: --dropout is 2.0; it must be in \\[0, 1\\)"),
        ("steps", "write NAME=VALUE,VALUE"),
        ("steps=4,,8", "no value may be empty"),
        ("classes=cat,unicorn", "no class 'unicorn'; it has cat, fish"),
        ("dropout=0..0.5", "dropout is a range.*give --random"),
    ],
)
def test_a_field_or_value_that_cannot_be_is_named(data: Path, grid: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        plan_of(data, grid)


def test_values_are_written_as_after_a_flag() -> None:
    chosen = {
        "block_channels": "32 64", "flip": "no", "data": "none", "attention_levels": "none",
        "schedule": "cosine", "learning-rate".replace("-", "_"): "3e-4",
    }  # fmt: skip
    config = with_values(tiny_config(data=Path("x")), chosen)
    assert config.block_channels == (32, 64)
    assert (config.flip, config.data, config.attention_levels) == (False, None, ())
    assert (config.noise_schedule, config.learning_rate) == ("cosine", 3e-4)


def test_base_channels_widen_all_levels_alike() -> None:
    assert widened(preset("starter").block_channels, 96) == (96, 160, 192)
    assert widened(preset("starter").block_channels, 64) == (64, 96, 128)
    assert widened((128, 192, 192, 256), 256) == (256, 384, 384, 512)


def test_a_grid_is_every_combination_once(data: Path) -> None:
    plan = plan_of(data, "base_channels=32,64", "schedule=linear,cosine", "seed=0,1,1")
    assert len(plan.runs) == 8
    assert plan.runs[0].varies == {"base_channels": "32", "schedule": "linear", "seed": "0"}
    assert len({run.fingerprint for run in plan.runs}) == 8
    assert len({run.kin for run in plan.runs}) == 1  # their losses compare


def test_the_name_is_of_the_work_not_of_the_place(data: Path, tmp_path: Path) -> None:
    [run] = plan_of(data, "steps=8").runs
    moved = tmp_path / "elsewhere"
    data.rename(moved)
    [there] = plan_of(moved, "steps=8").runs
    assert there.fingerprint == run.fingerprint
    [other] = plan_of(moved, "steps=9").runs
    assert other.fingerprint != run.fingerprint
    [both] = plan_of(moved, "classes=fish cat").runs  # all there are: no choice at all
    assert both.classes == ()
    [cats] = plan_of(moved, "classes=cat").runs
    assert cats.fingerprint != both.fingerprint
    assert cats.kin != both.kin  # other pictures are held out


def test_random_runs_are_the_same_each_time_and_differ(data: Path) -> None:
    grid = ("learning_rate=1e-4..1e-2", "batch_size=2..8", "schedule=linear,cosine")
    first, again = (plan_of(data, *grid, random=6, random_seed=3) for _ in range(2))
    assert [run.fingerprint for run in first.runs] == [run.fingerprint for run in again.runs]
    assert len(first.runs) == 6
    assert all(1e-4 <= run.config.learning_rate <= 1e-2 for run in first.runs)
    assert {run.config.batch_size for run in first.runs} <= {*range(2, 9)}
    more = plan_of(data, *grid, random=9, random_seed=3)
    assert more.runs[:6] == first.runs
    dice = random.Random(0)
    rates = sorted(float(drawn(parse_axis("learning_rate=1e-4..1e-2"), dice)) for _ in range(99))
    assert 5e-4 < rates[49] < 2e-3  # half of them below the middle of the logarithm


def test_some_classes_of_a_dataset_are_a_dataset(data: Path, tmp_path: Path) -> None:
    whole = open_pinned(data)
    cats = subset(whole, ("cat",), tmp_path / "cats")
    assert cats.label_names == ("cat",)
    assert {name: len(rows) for name, rows in cats.split.items()} == dict.fromkeys(cats.split, 4)
    open_pinned(cats.folder, verify=True)
    images, labels = whole.part("test")
    assert (cats.part("test")[0] == images[labels == 0]).all()
    assert subset(whole, ("cat",), tmp_path / "cats").digest == cats.digest


@pytest.mark.parametrize(
    ("study", "runs"),
    [("timesteps", 6), ("channels", 3), ("attention", 3), ("length", 4), ("classes", 2),
     ("ddpm", 6 + 2 + 2 + 3 + 1)],
)  # fmt: skip
def test_studies_share_their_base_and_vary_one_thing(data: Path, study: str, runs: int) -> None:
    config = SweepConfig(train=TrainConfig(data=data), preset_study=study)  # type: ignore[arg-type]
    plan = make_plan(config, lambda folder: open_pinned(data))
    assert len(plan.runs) == runs
    if study == "ddpm":
        assert [len(chapter.members) for chapter in plan.chapters] == [6, 3, 3, 4, 2]
        shared = set.intersection(*(set(c.members) for c in plan.chapters))
        [base] = [run for run in plan.runs if run.fingerprint in shared]
        assert base.varies["base_channels"] == "128"
        assert base.config.block_channels == (128, 224, 256)


def test_losses_compare_where_pictures_and_weights_are_the_same(data: Path) -> None:
    def groups(*grid: str) -> tuple[int, int]:
        runs = plan_of(data, *grid).runs
        return len({run.alike for run in runs}), len({run.kin for run in runs})

    assert groups("learning_rate=1e-3,1e-4", "prediction=clean,edm") == (1, 1)
    assert groups("steps=8,16") == (1, 2)  # at their ends; not at one step, at other rates
    assert groups("weighting=edm,min-snr") == (2, 2)
    assert groups("weighting=uniform", "prediction=clean,noise") == (2, 2)
    assert groups("classes=cat,cat fish") == (2, 2)


def test_the_data_may_vary_too(tmp_path: Path) -> None:
    one, other = (
        tiny_dataset(tmp_path / name, per_split=n).folder for name, n in (("a", 1), ("b", 2))
    )
    config = SweepConfig(train=tiny_config(), grid=(f"data={one},{other}",))

    def opened(folder: Path | None) -> PinnedDataset:
        assert folder is not None  # nobody asks for data that no run has
        return open_pinned(folder)

    plan = make_plan(config, opened)
    assert [run.config.data for run in plan.runs] == [one, other]
    assert len({run.alike for run in plan.runs}) == 2


def test_rungs_lie_where_losses_are_measured() -> None:
    assert rungs_of(steps=90, every=1, eta=3) == (10, 30)
    assert rungs_of(steps=90, every=20, eta=3) == (20, 40)
    assert rungs_of(steps=100, every=10, eta=2, first=10) == (10, 20, 40, 80)
    assert rungs_of(steps=100, every=100, eta=2) == ()
    assert rungs_of(steps=100, every=10, eta=0) == ()


def test_who_goes_on_depends_on_the_losses_alone() -> None:
    losses = {"a": 3.0, "b": 1.0, "c": 2.0, "d": 1.0}
    shuffled = dict(sorted(losses.items(), reverse=True))
    for told in (losses, shuffled):
        assert going_on(told, 2, complete=False) == {"b", "d"}
        assert going_on(told, 4, complete=False) == {"b"}
        assert going_on(told, 5, complete=False) == set()
        assert going_on(told, 5, complete=True) == {"b"}
    assert going_on({}, 3, complete=True) == set()
