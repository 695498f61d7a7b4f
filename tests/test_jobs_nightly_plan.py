"""Plans of nights: every mistake named, seeds that never meet, command lines that say the same."""

import datetime
import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import UserError
from jobs import nightly
from jobs.cli import parse
from jobs.nights.folder import Night
from jobs.nights.plan import read_plan
from jobs.nights.stages import SEEDS_PER_NIGHT, argv_of, night_seed, planned, stages_of
from tests.nights import fake_run, write_plan
from tests.tiny import tiny_dataset

EXAMPLE = Path(__file__).resolve().parents[1] / "slurm" / "nightly.example.toml"


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ('name = "Tiny', 'nmae = "Tiny', "has no setting 'nmae'; allowed are cluster, evaluate"),
        ('nights = "nights"\n', "", "has no nights, which a plan needs"),
        ("keep_nights = 2", "keep_nights = 0", "keep_nights is 0: from 1 to 10000"),
        ("keep_nights = 2", "keep_nights = true", "keep_nights = True: a whole number is wanted"),
        ("[sample]", "[smaple]", "has no setting 'smaple'"),
        ("per_class = 3", "per_clas = 3", "[sample] has no setting 'per_clas'; allowed are batch"),
        ("per_class = 3", 'per_class = "3"', "[sample] per_class = '3': a whole number is wanted"),
        ("per_class = 3", "per_class = 0", "[sample] --per-class is 0; it must be 1 or more"),
        ("per_class = 3", "seed = 3", "[sample] seed: every night has seeds of its own"),
        ("per_class = 3", 'classes = "cat"', "classes = 'cat': a list of texts is wanted"),
        ("steps = 2", "guidance_interval = [1]", "[1]: a list of 2 numbers is wanted"),
        (
            "steps = 2",
            'solver = "magic"',
            "solver = 'magic': one of ddpm, ddim, euler, heun, dpmpp-2m",
        ),
        ('run = "run"\n', "", "[sample] has no run, which a plan needs"),
        ('data = "data"', "data = 3", "[evaluate] data = 3: a path is wanted"),
        ("[[export]]", "[export]", "has no [[export]] table"),
        ('name = "animals"', "", "[export] has no name"),
        ('name = "animals"', 'name = "a/b"', "[export] name = 'a/b' cannot name a folder"),
        ('name = "animals"', 'name = ".a"', "[export] name = '.a': 1 to 80 characters"),
        ("size_px = 64\ns", "size_px = 8\ns", "[export] size_px is 8: allowed are 64 to 2048"),
        ("[publish]", '[[export]]\nname = "Animals"\n[publish]', "is there twice"),
        ('folder = "public"', 'folder = "nights/public"', "one inside the other"),
        ('folder = "public"', "", "[publish] has no folder"),
        ('"public"', '"public"\n[cluster]\nnodse = 1', "[cluster] has no setting 'nodse'"),
        ('"public"', '"public"\n[cluster.paint]\nnodes = 1', "no setting 'paint'"),
        ('"public"', '"public"\n[cluster.sample]\ncluster = "inline"', "no setting 'cluster'"),
        ('"public"', '"public"\n[cluster]\nsample = 3', "write it as a [cluster.sample] table"),
        ('"public"', '"public', "is not valid TOML"),
    ],
)
def test_a_mistake_in_a_plan_is_one_line_that_names_it(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    before: str,
    after: str,
    complaint: str,
) -> None:
    path = write_plan(tmp_path, (before, after))
    assert nightly.main(["--plan", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"nightly: error: {path}")
    assert said.count("\n") == 1
    assert complaint in said
    assert sorted(tmp_path.iterdir()) == [path]


def test_paths_are_relative_to_the_plan(tmp_path: Path) -> None:
    plan = read_plan(write_plan(tmp_path, ("min_psnr_db = 5", 'upscaler = "x4.safetensors"')))
    assert plan.sample.run == tmp_path / "run"
    assert plan.publish == tmp_path / "public"
    assert plan.exports[0].upscaler == str(tmp_path / "x4.safetensors")


def test_the_example_is_a_plan() -> None:
    plan = read_plan(EXAMPLE)
    assert [config.name for config in plan.exports] == ["Starter animals", "Cats only"]
    assert plan.stage_cluster["sample"] == {"gpus_per_node": 1, "tasks": 8}


def test_no_two_nights_share_a_seed(tmp_path: Path) -> None:
    first = datetime.date(2026, 2, 27)
    seeds = [night_seed(first + datetime.timedelta(days=day)) for day in range(400)]
    assert all(b - a == SEEDS_PER_NIGHT for a, b in itertools.pairwise(seeds))
    fake_run(tmp_path)
    tiny_dataset(tmp_path / "data", per_split=1)
    most = write_plan(tmp_path, ("per_class = 3", 'classes = ["cat=499999", "fish=500000"]'))
    assert planned(read_plan(most)) == {"cat": 499_999, "fish": 500_000}
    too_many = write_plan(tmp_path, ("per_class = 3", "per_class = 500000"))
    with pytest.raises(UserError, match="asks for 1,000,000 pictures; a night has seeds for fewer"):
        planned(read_plan(too_many))
    with pytest.raises(UserError, match="nights begin with 2020-01-01"):
        night_seed(datetime.date(2019, 12, 31))


def test_each_stage_is_a_command_line_that_says_the_same(tmp_path: Path) -> None:
    text = ("per_class = 3", 'classes = ["cat=3", "fish"]\nguidance_interval = [0.5, 9]')
    export = "labels = ['cat', 'fish']\nclass_palette = true\natlas_power_of_two = true"
    plan = read_plan(write_plan(tmp_path, text, ("min_psnr_db = 5", export)))
    stages = stages_of(plan, Night(plan.nights / "2026-11-21"))
    assert [stage.name for stage in stages] == [
        *("sample", "evaluate", "export animals", "publish", "digest")
    ]
    for stage in stages:
        parsed = parse(stage.verb, stage.argv)
        assert parsed.config == stage.flags.config
        assert argv_of(parsed) == stage.argv


def test_nights_are_submitted_without_torch() -> None:
    modules = "jobs.nightly, jobs.nights.chain, jobs.publish, jobs.digest, jobs.nights.facts"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
