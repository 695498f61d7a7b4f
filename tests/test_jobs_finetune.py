"""finetune from the command line: a plan before anything runs, several processes, a time budget."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from core.files import read_json
from core.pretrained.lora.encoded import open_encoded
from core.pretrained.lora.run import LoraRun
from core.training.record import read_metrics
from jobs import finetune
from jobs.launches import LaunchFolder
from tests.finetuning import tiny_pictures
from tests.patience import best_of_three
from tests.pipelines import cache_pipeline, tiny_sd, tiny_sdxl

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.filterwarnings("ignore:.*:FutureWarning", "ignore:.*:DeprecationWarning")
SMALL = [
    *("--resolution-px", "32", "--bucket-step-px", "8", "--rank", "4", "--log-every", "1"),
    *("--validation-steps", "2", "--warmup-steps", "1"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with `sd`, `sdxl` and `pictures`."""
    folder = tmp_path_factory.mktemp("place")
    tiny_sd(folder / "sd")
    tiny_sdxl(folder / "sdxl")
    tiny_pictures(folder / "pictures", per_class=4, captions=True)
    return folder


@pytest.fixture
def here(place, tmp_path, monkeypatch):
    for name in ("sd", "sdxl", "pictures"):
        (tmp_path / name).symlink_to(place / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MENAGERIE_LAUNCHES", str(tmp_path / "launches"))
    return tmp_path


def command(*more, pipeline="sd"):
    script = str(ROOT / "jobs" / "finetune.py")
    return [sys.executable, script, "--pipeline", pipeline, "--data", "pictures", *SMALL, *more]


@pytest.mark.slow
def test_the_plan_tells_pictures_memory_and_hours(here, capsys):
    flags = ["--pipeline", "sdxl", "--data", "pictures", *SMALL, "--max-hours", "0.001"]
    assert finetune.main([*flags, "--cluster", "local", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "pictures: 8 with 4 captions, such as 'a very small cat'" in said
    assert "memory of a process: about 0.7 GiB (weights" in said
    assert re.search(r"forecast: \S+ s of encoding, .* for 1,000 steps of", said)
    assert "MiB on disk; with --max-hours," in said
    assert not (here / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("flags", "words"), [
    (["--pipeline", "pictures"], "pictures has no model_index.json"),
    (["--data", "sd"], "none of the 3 pictures of --data can be read, such as"),
    (["--targets", "nothing"], "--targets nothing: no layer of the U-Net ends so; known groups"),
    (["--batch-size", "2", "--accumulate", "3"], "--accumulate 3"),
    (["--max-hours", "0"], "--max-hours is 0; it must be above 0"),
    (["--precision", "fp16", "--cpu"], "--precision fp16 is for GPUs"),
    (["--learning-rate", "0.01", "--optimizer", "prodigy"], "0.1 or more"),
    (["--resolution-px", "12"], "--resolution-px is 12; it must be a multiple of 8"),
])  # fmt: skip
def test_what_is_wrong_is_one_line(here, capsys, flags, words):
    start = ["--pipeline", "sd", "--data", "pictures", *SMALL, "--steps", "1"]
    assert finetune.main([*start, *flags, "--out", "run", "--cluster", "inline"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("finetune: error: ")
    assert words in error
    assert not (here / "run" / "lora").exists()


@pytest.mark.slow
def test_two_processes_train_what_one_does(here):
    for out, gpus in (("one", "1"), ("two", "2")):
        # On this machine `GPUs` are processes; there need be none.
        asked = command("--steps", "3", "--out", out, "--cluster", "local", "--cpu",
                        "--gpus-per-node", gpus, "--cpus-per-task", "1")  # fmt: skip
        done = subprocess.run(asked, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
    one, two = ([row["loss"] for row in read_metrics(LoraRun(here / out).metrics)]
                for out in ("one", "two"))  # fmt: skip
    digests = [open_encoded(LoraRun(here / out).encoded).digest for out in ("one", "two")]
    assert digests[0] == digests[1]  # whoever made which part
    assert len(one) == 3
    assert two == pytest.approx(one, rel=1e-5)
    newest = max((here / "launches").glob("2*"))
    journal = LaunchFolder(newest).entries()
    assert [entry["event"] for entry in journal].count("done") == 2


@pytest.mark.slow
def test_the_wall_clock_budget_is_kept_within_five_per_cent(here):
    def asked(out, seconds):
        return command("--steps", "100000", "--max-hours", str(seconds / 3600), "--out", out,
                       "--validate-every", "0", "--cluster", "inline")  # fmt: skip

    def train(number):
        out = f"run{number}"
        begun = time.monotonic()
        done = subprocess.run(asked(out, 30), capture_output=True, text=True, timeout=100)
        lasted = time.monotonic() - begun
        assert done.returncode == 0, done.stderr
        [spent] = re.findall(r"time is up after ([\d.]+) s", done.stdout)
        [*_, saved] = LoraRun(here / out).steps_saved()
        assert f"step {saved} of 100000 is saved" in done.stdout
        return float(spent), lasted, out, saved

    def kept(found):
        spent, lasted, *_ = found
        # Python's own leaving, on a busy machine, is no part of it.
        return 0.95 * 30 <= spent <= 30 and lasted <= 1.1 * 30

    _, _, out, saved = best_of_three(train, kept)
    again = subprocess.run(asked(out, 12), capture_output=True, text=True, timeout=100)
    assert f"going on from step {saved} of 100000" in again.stdout
    assert LoraRun(here / out).steps_saved()[-1] > saved


@pytest.mark.slow
def test_a_dry_run_in_place_tells_what_it_will_take(here, capsys, monkeypatch):
    assert finetune.main(["--pipeline", "sd", "--data", "pictures", *SMALL, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "memory of a process: about" in said
    assert "forecast: " in said
    commit = cache_pipeline(here / "sd", here / "hub", monkeypatch)
    flags = ["--data", "pictures", *SMALL, "--dry-run"]
    assert finetune.main(["--pipeline", "team/tiny", *flags]) == 0
    assert "memory of a process: about" in capsys.readouterr().out
    assert finetune.main(["--pipeline", "nobody/nothing", *flags]) == 0
    assert "none before nobody/nothing is fetched" in capsys.readouterr().out
    assert commit


@pytest.mark.slow
def test_a_run_keeps_to_the_commit_that_it_began_with(here, monkeypatch):
    first = cache_pipeline(here / "sd", here / "hub", monkeypatch)
    argv = ["--pipeline", "team/tiny", "--data", "pictures", *SMALL, "--steps", "1", "--out", "r"]
    assert finetune.main([*argv, "--max-hours", "1e-9"]) == 0
    # Upstream goes on: other weights under the same name.
    cache_pipeline(here / "sdxl", here / "hub", monkeypatch, commit="f" * 40)
    assert finetune.main(argv) == 0
    assert read_json(LoraRun(here / "r").pipeline) == {"name": "team/tiny", "commit": first}
    assert LoraRun(here / "r").lora.exists()


@pytest.mark.slow
def test_too_little_gpu_memory_is_one_line(here, capsys, monkeypatch):
    def short(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    monkeypatch.setattr("core.pretrained.lora.loop.finetune", short)
    assert finetune.main(["--pipeline", "sd", "--data", "pictures", *SMALL]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert line.startswith("finetune: error: GPU memory is not enough (CUDA out of memory)")
