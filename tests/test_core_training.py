"""Training runs: they learn, resume bit for bit, survive kills, and stop in time."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from core.diffusion.pipeline import ClassConditionalPipeline, open_pipeline
from core.errors import UserError
from core.rundir import RunFolder
from core.training.checkpoint import restore_checkpoint
from core.training.loop import train
from core.training.memory import TrainingPictures
from core.training.muon import orthogonalised
from core.training.optimizers import new_optimizers
from core.training.rates import rate_share
from core.training.record import read_metrics
from core.training.step import new_state
from jobs.train import main
from tests.tiny import tiny_config, tiny_dataset

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
TIMES = ("images_per_s", "memory_gib")


def figures(run: Path) -> list[dict[str, float]]:
    """The run's metrics less what depends on the clock."""
    rows = read_metrics(RunFolder(run).metrics)
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def same_weights(left: Path, right: Path) -> bool:
    first, second = load_file(left / WEIGHTS), load_file(right / WEIGHTS)
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "tiny"
    tiny_dataset(folder)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    from core.data.pinned import open_pinned

    run = tmp_path_factory.mktemp("runs") / "whole"
    train(tiny_config(data=data), open_pinned(data), run, cpu=True)
    return run


def open_data(data: Path) -> Any:
    from core.data.pinned import open_pinned

    return open_pinned(data)


def test_a_run_leaves_everything_that_it_promises(finished: Path, data: Path) -> None:
    run = RunFolder(finished)
    assert json.loads(run.config.read_text())["data"] == str(data)
    assert json.loads(run.data.read_text())["digest"] == open_data(data).digest
    rows = read_metrics(run.metrics)
    assert [row["step"] for row in rows if "loss" in row] == [2, 4, 6, 8]
    held_out = [row["held_out_loss"] for row in rows if "held_out_loss" in row]
    assert len(held_out) == 2
    assert held_out[1] < held_out[0]
    assert list(run.tensorboard.iterdir())
    assert run.grid(8).stat().st_size > 1000
    assert [row["copy_rate"] for row in rows if "copy_rate" in row] == [0.0]
    assert run.steps_saved() == [6, 8]
    card = (run.model / "README.md").read_text()
    assert open_data(data).digest in card
    assert "cat, fish" in card
    assert not list(run.root.rglob("*.tmp"))


def test_the_model_opens_as_a_pipeline(finished: Path) -> None:
    pipeline = ClassConditionalPipeline.from_pretrained(finished / "model")
    assert pipeline.label_names == ("cat", "fish")
    image = pipeline(["fish"], seeds=[3], num_inference_steps=2).images[0]
    assert image.size == (32, 32)
    assert image.mode == "RGBA"
    assert (finished / "model" / WEIGHTS).exists()
    assert open_pipeline(finished).facts["licence"] == "unknown"


def test_an_interrupted_run_equals_an_undisturbed_one_bit_for_bit(
    finished: Path, data: Path, tmp_path: Path
) -> None:
    """Stop it by SIGTERM in the middle, as a scheduler would, and go on."""
    config, dataset = tiny_config(data=data), open_data(data)
    run = RunFolder(tmp_path / "stopped")
    real_batch, calls = TrainingPictures.batch, []

    def batch(self: TrainingPictures, step: int, **rest: int) -> Any:
        calls.append(step)
        if step == 4 and calls.count(4) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return real_batch(self, step, **rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingPictures, "batch", batch)
        with pytest.raises(KeyboardInterrupt):
            train(config, dataset, run.root, cpu=True)
    assert run.steps_saved() == [4, 5]
    assert not run.model.exists()
    train(config, dataset, run.root, cpu=True)
    assert same_weights(finished / "model", run.model)
    assert figures(run.root) == figures(finished)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_the_same(finished: Path, data: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "killed")
    root = Path(__file__).resolve().parents[1]
    code = (
        "import sys; from pathlib import Path; from tests.tiny import tiny_config\n"
        "from core.data.pinned import open_pinned; from core.training.loop import train\n"
        "import core.training.memory as memory, time\n"
        "real = memory.TrainingPictures.batch\n"
        "def slow(self, step, **k):\n"
        "    time.sleep(10 if step >= 2 else 0)  # after the first checkpoint\n"
        "    return real(self, step, **k)\n"
        "memory.TrainingPictures.batch = slow\n"
        "train(tiny_config(data=Path(sys.argv[1])), open_pinned(Path(sys.argv[1])), "
        "Path(sys.argv[2]), cpu=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, str(data), str(run.root)],
        cwd=root,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not run.steps_saved() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert run.steps_saved()
    assert not run.model.exists()
    (run.checkpoints / ".step_00000008.half.tmp").mkdir()
    train(tiny_config(data=data), open_data(data), run.root, cpu=True)
    assert same_weights(finished / "model", run.model)
    assert figures(run.root) == figures(finished)
    assert not list(run.checkpoints.glob(".*"))


def test_a_finished_run_is_left_alone(
    finished: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "model" / WEIGHTS).stat().st_mtime_ns
    train(tiny_config(data=data), open_data(data), finished, cpu=True)
    assert "finished already" in capsys.readouterr().out
    assert (finished / "model" / WEIGHTS).stat().st_mtime_ns == before


def test_another_config_or_other_data_is_refused(
    finished: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"learning_rate.*another --out"):
        train(tiny_config(data=data, learning_rate=0.5), open_data(data), finished, cpu=True)
    other = tiny_dataset(tmp_path / "other", per_split=3)
    with pytest.raises(UserError, match=r"data .* changed"):
        train(tiny_config(data=data), other, finished, cpu=True)


def test_two_at_once_in_one_folder_are_refused(data: Path, tmp_path: Path) -> None:
    from core.files import exclusive

    with (
        exclusive(tmp_path / "run"),
        pytest.raises(UserError, match="another process"),
    ):
        train(tiny_config(data=data), open_data(data), tmp_path / "run", cpu=True)


def test_a_loss_that_is_not_finite_stops_with_advice(data: Path, tmp_path: Path) -> None:
    config = tiny_config(data=data, learning_rate=1e30, warmup_steps=0, clip_norm=1e30)
    with pytest.raises(UserError, match=r"loss is (nan|inf).*--learning-rate 6.3e\+28"):
        train(config, open_data(data), tmp_path / "run", cpu=True)
    for step in RunFolder(tmp_path / "run").steps_saved():
        folder = RunFolder(tmp_path / "run").checkpoint(step)
        weights = load_file(folder / "model.safetensors")
        assert all(tensor.isfinite().all() for tensor in weights.values())


def test_a_broken_checkpoint_is_named(data: Path, tmp_path: Path, finished: Path) -> None:
    run = RunFolder(tmp_path / "broken")
    shutil.copytree(finished, run.root)
    shutil.rmtree(run.model)
    (run.checkpoint(8) / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(UserError, match=r"step_00000008 cannot be read"):
        train(tiny_config(data=data), open_data(data), run.root, cpu=True)


def test_a_weighting_that_noise_learns_badly_with_is_noted(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--data", str(data), "--cluster", "inline", "--cpu", "--steps", "1"]
    flags += ["--patch", "8", "--block-channels", "32", "--attention-levels", "--batch-size", "2"]
    flags += ["--prediction", "noise", "--weighting"]
    for weighting, noted in (("edm", 1), ("uniform", 0)):
        assert main([*flags, weighting, "--out", str(tmp_path / weighting)]) == 0
        said = capsys.readouterr().out
        assert said.count("note: --prediction noise learns badly with --weighting edm") == noted


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_a_machine_without_memory_is_no_broken_checkpoint(
    data: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """Advice to remove the checkpoint would cost the work."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("core.training.checkpoint.load_file", fail)
    state = new_state(tiny_config(data=data), open_data(data), torch.device("cpu"))
    with pytest.raises(error):
        restore_checkpoint(state, RunFolder(finished), 8)


def test_batches_do_not_depend_on_the_number_of_processes(data: Path) -> None:
    pictures = TrainingPictures(open_data(data), tiny_config(data=data), torch.device("cpu"))
    whole = pictures.batch(5)
    halves = [pictures.batch(5, rank=rank, processes=2) for rank in range(2)]
    for name in ("clean", "labels", "sigma", "noise"):
        parts = [getattr(half, name) for half in halves]
        assert torch.equal(torch.cat(parts), getattr(whole, name))


def test_every_epoch_shows_every_picture_once_in_a_new_order(data: Path) -> None:
    pictures = TrainingPictures(open_data(data), tiny_config(data=data), torch.device("cpu"))
    epochs = [torch.cat([pictures._rows(2 * e), pictures._rows(2 * e + 1)]) for e in range(3)]
    assert all(sorted(epoch.tolist()) == list(range(8)) for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])


def test_the_rate_warms_up_and_decays() -> None:
    config = tiny_config(steps=100, warmup_steps=10)
    rates = [rate_share(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(rates[9], rel=0.05)
    assert rates[99] < 0.001
    constant = tiny_config(steps=100, warmup_steps=10, decay="constant")
    assert rate_share(constant, 99) == 1.0


@pytest.mark.parametrize("bf16", [True, False])
@pytest.mark.parametrize("shape", [(64, 512), (512, 64), (64, 80), (64, 64)])
def test_muon_makes_directions_orthogonal(shape: tuple[int, int], bf16: bool) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    singular = torch.linalg.svdvals(orthogonalised(matrix, bf16=bf16))
    # A square random matrix has singular values near 0, which five rounds cannot lift.
    assert singular.max() < 1.35
    assert singular.quantile(0.1) > 0.5
    # The direction is kept: orthogonalising turns every singular pair by nothing.
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    assert (
        torch.nn.functional.cosine_similarity(
            orthogonalised(matrix, bf16=bf16).flatten(), (u @ v).flatten(), dim=0
        )
        > 0.9
    )


def test_muon_gets_the_matrices_and_adamw_the_rest(data: Path) -> None:
    unet = new_state(tiny_config(data=data), open_data(data), torch.device("cpu")).unet
    adamw, muon = new_optimizers(unet, tiny_config(optimizer="muon"))
    count = [sum(len(g["params"]) for g in o.param_groups) for o in (adamw, muon)]
    assert sum(count) == len(list(unet.parameters()))
    assert all(p.ndim >= 2 for g in muon.param_groups for p in g["params"])
    alone = new_optimizers(unet, tiny_config(optimizer="adamw"))
    assert len(alone) == 1


@pytest.mark.parametrize(("optimizer", "prediction"), [("adamw", "edm"), ("muon", "clean")])
def test_the_presets_recipes_learn(
    data: Path, tmp_path: Path, optimizer: str, prediction: str
) -> None:
    config = tiny_config(
        data=data,
        optimizer=optimizer,
        prediction=prediction,
        steps=80,
        sample_every=80,
        checkpoint_every=40,
    )
    train(config, open_data(data), tmp_path / "run", cpu=True)
    rows = read_metrics(RunFolder(tmp_path / "run").metrics)
    held_out = [row["held_out_loss"] for row in rows if "held_out_loss" in row]
    assert held_out[-1] < 0.8 * held_out[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [("steps", 0), ("learning_rate", -1.0), ("block_channels", (30,)), ("attention_levels", (5,))],
)
def test_senseless_settings_are_refused(field: str, value: object) -> None:
    with pytest.raises(UserError, match="--" + field.replace("_", "-")):
        tiny_config(**{field: value})


def test_pictures_that_do_not_fit_the_network_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"32 px pictures do not fit --patch 32"):
        train(tiny_config(data=data, patch=32), open_data(data), tmp_path / "run", cpu=True)
