"""Training pictures: in which order, how often, from latents; and the memory that steps take."""

import dataclasses
import gc
import math
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

from core.data.pinned import PinnedDataset, open_pinned, write_pinned
from core.data.prepare import PrepareConfig, prepare
from core.errors import UserError
from core.files import read_json, write_json
from core.rundir import RunFolder
from core.training.loop import train
from core.training.memory import TrainingPictures, pictures_of
from core.training.order import epoch_order, score_weights
from core.training.processes import Processes
from core.training.record import read_metrics
from core.training.step import Stepper, new_state
from core.training.trial import (
    agreed_accumulate,
    fitting_accumulate,
    largest_by_halving,
    largest_by_reckoning,
)
from core.training.usage import (
    _cgroup_limits,
    forget_peak,
    memory_in_use_bytes,
    memory_limit_bytes,
    processes_here,
)
from jobs.train import main
from tests.tiny import tiny_config, tiny_dataset

CPU = torch.device("cpu")


def scored(dataset: PinnedDataset, folder: Path, scores: list[float | None]) -> PinnedDataset:
    """The same pictures, the first ones with these scores."""
    items = [
        dataclasses.replace(item, score=scores[row] if row < len(scores) else None)
        for row, item in enumerate(dataset.items())
    ]
    folder.mkdir()
    write_pinned(
        folder,
        images=dataset.images_nhwc,
        items=items,
        label_names=dataset.label_names,
        transform={"size_px": dataset.size_px, "channels": dataset.channels},
        source={"kind": "test"},
    )
    return open_pinned(folder)


def epoch(pictures: TrainingPictures, number: int) -> list[int]:
    """The rows of an epoch of 8 pictures in batches of 4."""
    return torch.cat([pictures._rows(2 * number), pictures._rows(2 * number + 1)]).tolist()


def test_liked_pictures_come_more_often(tmp_path: Path) -> None:
    """Scores 1 to 4, two without one: as often as e^z says, in every epoch to within one."""
    scores: list[float | None] = [1, 2, 3, 4, 2.5, 2.5, None, None]
    dataset = scored(tiny_dataset(tmp_path / "plain"), tmp_path / "scored", scores)
    pictures = TrainingPictures(dataset, tiny_config(score_weight=1.0), CPU)
    z = (np.array([1, 2, 3, 4, 2.5, 2.5, 2.5, 2.5]) - 2.5) / np.std([1, 2, 3, 4, 2.5, 2.5])
    expected = 8 * np.exp(z) / np.exp(z).sum()
    counts = np.array([np.bincount(epoch(pictures, k), minlength=8) for k in range(300)])
    assert (counts >= np.floor(expected)).all()
    assert (counts <= np.ceil(expected)).all()
    assert (counts.sum(1) == 8).all()
    assert counts.mean(0) == pytest.approx(expected, abs=0.1)
    again = TrainingPictures(dataset, tiny_config(score_weight=1.0), CPU)
    assert epoch(again, 7) == epoch(pictures, 7) != epoch(pictures, 8)


def test_without_a_weight_scores_change_nothing(tmp_path: Path) -> None:
    plain = tiny_dataset(tmp_path / "plain")
    dataset = scored(plain, tmp_path / "scored", [1, 2, 3])
    left, right = (TrainingPictures(d, tiny_config(), CPU) for d in (plain, dataset))
    assert all(epoch(left, k) == epoch(right, k) for k in range(3))
    # The order that runs have had since there are runs.
    generator = torch.Generator().manual_seed(5)
    expected = torch.randperm(8, generator=torch.Generator().manual_seed(5))
    assert torch.equal(epoch_order(8, None, generator), expected)


def test_equal_scores_are_no_preference(tmp_path: Path) -> None:
    dataset = scored(tiny_dataset(tmp_path / "plain"), tmp_path / "scored", [3.0] * 8)
    weights = score_weights(dataset, 2.0)
    assert weights is not None
    assert weights.tolist() == [1.0] * 8
    pictures = TrainingPictures(dataset, tiny_config(score_weight=2.0), CPU)
    assert sorted(epoch(pictures, 0)) == list(range(8))


def test_weights_without_scores_are_refused(tmp_path: Path) -> None:
    plain = tiny_dataset(tmp_path / "plain")
    held_out_only = scored(plain, tmp_path / "scored", [None] * 8 + [1.0, 2.0])
    for dataset in (plain, held_out_only):
        with pytest.raises(UserError, match=r"--score-weight is 0.5.*no training picture.*score"):
            TrainingPictures(dataset, tiny_config(score_weight=0.5), CPU)


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> PinnedDataset:
    """Starter animals with latents of an untrained autoencoder that halves the side."""
    folder = tmp_path_factory.mktemp("latents")
    torch.manual_seed(0)
    diffusers.AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
    ).save_pretrained(folder / "vae")
    config = PrepareConfig(
        per_class=2, size_px=16, channels="3", duplicates="exact", encode=str(folder / "vae")
    )
    return prepare(config, folder / "data").dataset


def test_latents_are_served_where_there_are_some(latents: PinnedDataset) -> None:
    stored = torch.from_numpy(np.array(latents.latents)).float()
    config = tiny_config(patch=1)
    for hold in (True, False):
        pictures = TrainingPictures(latents, config, CPU, hold=hold)
        batch = pictures.batch(2)
        assert (batch.clean.shape, batch.clean.dtype) == ((4, 4, 8, 8), torch.float32)
        assert batch.noise.shape == batch.clean.shape
        sides = set()
        for clean, row in zip(batch.clean, pictures._rows(2), strict=True):
            straight, mirrored = stored[row]
            assert torch.equal(clean, straight) or torch.equal(clean, mirrored)
            sides.add(torch.equal(clean, straight))
        assert sides == {True, False}
    unflipped = TrainingPictures(latents, tiny_config(patch=1, flip=False), CPU)
    assert torch.equal(unflipped.batch(2).clean, stored[unflipped._rows(2), 0])
    held_out, _ = pictures_of(latents, CPU, split="train", at_most=3)
    assert torch.equal(held_out[0], stored[0, 0])


def test_a_network_of_latents_takes_steps(latents: PinnedDataset) -> None:
    config = tiny_config(patch=1, steps=4)
    state = new_state(config, latents, CPU)
    assert (state.unet.config.in_channels, state.unet.config.sample_size) == (4, 8)
    stepper = Stepper(config, latents, state, Processes.alone(CPU))
    assert len(stepper.statistics.mean) == 4
    loss, _ = stepper.step()
    assert loss.isfinite()


def test_latents_cannot_be_turned(latents: PinnedDataset) -> None:
    with pytest.raises(UserError, match=r"--augment is 0.2.*latents.*without --encode"):
        TrainingPictures(latents, tiny_config(augment=0.2), CPU)
    with pytest.raises(UserError, match=r"8 wide latents do not fit --patch 16"):
        new_state(tiny_config(patch=16), latents, CPU)


def test_halving_stops_at_what_fits() -> None:
    """24 pictures of 10 bytes in 100: 24 and 12 are too many, 6 fit."""
    tried = []

    def peak(size: int) -> float:
        tried.append(size)
        return math.inf if size > 20 else size * 10.0

    assert largest_by_halving(24, peak, 100) == (6, 60.0)
    assert tried == [24, 12, 6]
    assert largest_by_halving(1, lambda size: 101.0, 100) == (0, 101.0)


def test_reckoning_needs_only_few_pictures() -> None:
    def peak(size: int) -> float:
        assert size <= 4
        return 50 + 10.0 * size

    assert largest_by_reckoning(64, peak, 200) == (15, 200.0)
    assert largest_by_reckoning(8, peak, 200) == (8, 130.0)
    assert largest_by_reckoning(64, peak, 55) == (0, 60.0)
    assert largest_by_reckoning(1, peak, 60) == (1, 60.0)


def test_memory_in_use_is_the_most_there_was() -> None:
    def seen() -> tuple[int, int]:
        forget_peak(CPU)
        before = memory_in_use_bytes(CPU)
        block = torch.ones(64 * 2**20, dtype=torch.uint8)
        del block
        most = memory_in_use_bytes(CPU) - before
        forget_peak(CPU)
        return most, memory_in_use_bytes(CPU) - before

    # A system that takes idle pages back may do so in between.
    found = [seen() for _ in range(5)]
    assert any(60 * 2**20 < most < 70 * 2**20 and left < 10 * 2**20 for most, left in found), found


def test_a_peak_that_cannot_be_forgotten_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "status").touch()
    (tmp_path / "clear_refs").mkdir()  # So not even root can write it.
    monkeypatch.setattr("core.training.usage._STATUS", tmp_path / "status")
    forget_peak(CPU)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clear_refs", "status"]


def test_limits_of_slurm_and_control_groups_count(tmp_path: Path) -> None:
    ram, who = memory_limit_bytes(CPU, 1, {})
    assert who == "the RAM available"
    assert memory_in_use_bytes(CPU) < ram
    gib = 2**30
    assert memory_limit_bytes(CPU, 2, {"SLURM_MEM_PER_NODE": "1024"}) == (
        gib // 2,
        "the SLURM job's memory",
    )
    per_cpu = {"SLURM_MEM_PER_CPU": "256", "SLURM_CPUS_ON_NODE": "4"}
    assert memory_limit_bytes(CPU, 1, per_cpu)[0] == gib
    assert memory_limit_bytes(CPU, 1, {"SLURM_MEM_PER_NODE": "0"})[1] == who

    for name, text in {
        "proc/self/cgroup": "4:cpu,memory:/job/step\n0::/a.slice/b.scope\n",
        "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "3000\n",
        "sys/fs/cgroup/a.slice/memory.max": "2000\n",
        "sys/fs/cgroup/a.slice/b.scope/memory.max": "max\n",
        "sys/fs/cgroup/memory.max": "5000\n",
        "sys/memory.max": "1\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert sorted(_cgroup_limits(tmp_path)) == [2000, 3000, 5000]


def test_processes_of_one_machine_share_it() -> None:
    assert processes_here(8, {"LOCAL_WORLD_SIZE": "4"}) == 4
    assert processes_here(8, {"SLURM_NTASKS_PER_NODE": "2"}) == 2
    assert processes_here(1, {"SLURM_NTASKS_PER_NODE": "2"}) == 1
    assert processes_here(8, {}) == 8


def test_the_micro_batch_is_found_by_trial_kept_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With ample memory all at once; a resumed run keeps to it, whatever is free by then."""
    dataset = tiny_dataset(tmp_path / "data")
    config = tiny_config(steps=2)
    train(config, dataset, tmp_path / "run", cpu=True, accumulate="auto")
    assert "--accumulate 1: 4 of 4 pictures at a time take" in capsys.readouterr().out
    run = RunFolder(tmp_path / "run")
    assert read_json(run.trial)["accumulate"] == 1
    rows = [row for row in read_metrics(run.metrics) if "memory_gib" in row]
    assert 0.1 < rows[-1]["memory_gib"] < 8
    untried = train(config, dataset, tmp_path / "untried", cpu=True)
    weights = "unet/diffusion_pytorch_model.safetensors"
    assert (run.model / weights).read_bytes() == (untried / weights).read_bytes()

    write_json(run.trial, {**read_json(run.trial), "accumulate": 3})
    alone = Processes.alone(CPU)
    assert agreed_accumulate(run, config, dataset, alone, memory_bytes=None) == 3
    assert capsys.readouterr().out == ""
    assert agreed_accumulate(run, config, dataset, alone, memory_bytes=2**40) == 1
    write_json(run.trial, {**read_json(run.trial), "accumulate": 3, "device": "another"})
    assert agreed_accumulate(run, config, dataset, alone, memory_bytes=2**40) == 1


def _fit_below_a_limit(folder: Path) -> tuple[int, str, str]:
    """With 200 MiB more than there is, and with 10 MiB in all."""
    dataset = tiny_dataset(folder / "data")
    config = tiny_config(batch_size=256, patch=1, block_channels=(64,), attention_levels=())
    gc.collect()
    base = memory_in_use_bytes(CPU)
    limit = int((base + 200 * 2**20) / 0.9)
    accumulate, words = fitting_accumulate(config, dataset, CPU, memory_bytes=limit)
    with pytest.raises(UserError) as refused:
        fitting_accumulate(config, dataset, CPU, memory_bytes=10 * 2**20)
    return accumulate, words, str(refused.value)


def test_a_limit_of_ones_own_makes_smaller_micro_batches(tmp_path: Path) -> None:
    """Between what one picture and what all take, some of them fit; below one, none."""
    # In a process of its own: what earlier tests gave back would be taken again unseen.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        accumulate, words, refused = pool.submit(_fit_below_a_limit, tmp_path).result()
    assert 1 < accumulate < 256
    assert words.startswith(f"--accumulate {accumulate}: ")
    assert words.endswith("(--memory-gb)")
    assert re.search(r"one picture takes .* --memory-gb is 0.01 GiB", refused)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--memory-gb", "8"], "goes with --accumulate auto"),
        (["--memory-gb", "-1", "--accumulate", "auto"], "above 0"),
        (["--accumulate", "0"], "--accumulate is 0"),
    ],
)
def test_senseless_memory_flags_are_refused(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--dry-run"]) == 2
    assert words in capsys.readouterr().err
