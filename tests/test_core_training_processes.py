"""Several processes train as one: equal losses, exact resuming, a named reason when one fails."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from core.data.pinned import open_pinned
from core.errors import UserError
from core.rundir import RunFolder
from core.training.dropout import RowDropout
from core.training.loop import train
from core.training.meeting import Place
from core.training.memory import TrainingPictures
from core.training.record import read_metrics
from tests.patience import best_of_three
from tests.ranks import Mishap, Ranks, train_in
from tests.tiny import tiny_config, tiny_dataset

STEPS = {"steps": 12, "log_every": 1, "batch_size": 5, "evaluate_every": 4, "checkpoint_every": 3}
"""Neither 2 nor 3 processes have equal shares of a batch of 5."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for one another are slow out of measure where other work is going on."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "tiny"
    tiny_dataset(folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, data: Path) -> dict[int, Path]:
    """The same run by 1, 2 and 3 processes."""
    folder = tmp_path_factory.mktemp("runs")
    for count in (1, 2, 3):
        ends = train_in(count, folder / str(count), data=data, **STEPS)
        assert [end.kind for end in ends.values()] == ["done"] * count, ends
        assert "destroy" not in "".join(end.said for end in ends.values())
    return {count: folder / str(count) for count in (1, 2, 3)}


def figures(run: Path, name: str) -> list[float]:
    return [row[name] for row in read_metrics(RunFolder(run).metrics) if name in row]


def same_weights(left: Path, right: Path) -> bool:
    first, second = (
        load_file(run / "model/unet/diffusion_pytorch_model.safetensors") for run in (left, right)
    )
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_losses_do_not_depend_on_the_number_of_processes(undisturbed: dict[int, Path]) -> None:
    """Not with uneven shares, nor with dropout."""
    alone = figures(undisturbed[1], "loss")
    assert len(alone) == 12
    for count in (2, 3):
        assert figures(undisturbed[count], "loss") == pytest.approx(alone, rel=1e-4)
        norms = figures(undisturbed[count], "gradient_norm")
        assert norms == pytest.approx(figures(undisturbed[1], "gradient_norm"), rel=1e-3)
        held_out = figures(undisturbed[count], "held_out_loss")
        assert held_out == pytest.approx(figures(undisturbed[1], "held_out_loss"), rel=1e-4)


@pytest.mark.slow
def test_only_the_first_process_speaks_and_none_leaves_its_marker(
    undisturbed: dict[int, Path], data: Path, tmp_path: Path
) -> None:
    ends = train_in(2, tmp_path / "run", data=data, **{**STEPS, "steps": 1})
    assert "training" in ends[0].said
    assert ends[1].said == ""
    assert not list(RunFolder(undisturbed[3]).processes.iterdir())


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_and_the_run_goes_on_bit_for_bit(
    undisturbed: dict[int, Path], data: Path, tmp_path: Path
) -> None:
    """SIGTERM to rank 1 in a step; then SIGUSR2 to rank 0 while it evaluates and rank 1 waits."""
    run = tmp_path / "run"
    mishap = Mishap(rank=1, signal=signal.SIGTERM, step=4)
    ends = train_in(2, run, data=data, mishaps=(mishap,), **STEPS)
    assert [(end.kind, end.signal) for end in ends.values()] == [("Stopped", signal.SIGTERM)] * 2
    assert ends[0].step == ends[1].step == max(RunFolder(run).steps_saved()) < 8
    mishap = Mishap(rank=0, signal=signal.SIGUSR2, step=8, evaluating=True)
    ends = train_in(2, run, data=data, mishaps=(mishap,), **STEPS)
    assert [(end.kind, end.signal) for end in ends.values()] == [("Stopped", signal.SIGUSR2)] * 2
    assert 8 <= ends[1].step < 12
    train_in(2, run, data=data, **STEPS)
    assert same_weights(run, undisturbed[2])
    for name in ("loss", "gradient_norm", "held_out_loss"):
        assert figures(run, name) == figures(undisturbed[2], name)


@pytest.mark.slow
def test_a_killed_process_is_named_and_the_run_goes_on_bit_for_bit(
    undisturbed: dict[int, Path], data: Path, tmp_path: Path
) -> None:
    """In three processes: a ring of three shows any change of the order of summation."""
    run = tmp_path / "run"
    mishap = Mishap(rank=1, signal=signal.SIGKILL, step=7)
    with Ranks(3, run, data=data, mishaps=(mishap,), **STEPS) as ranks:
        ends = ranks.ends(within_s=120)
    assert [end.kind for end in ends.values()] == ["ProcessTrouble", "killed", "ProcessTrouble"]
    assert "rank 1 on node1" in ends[0].message
    assert "no sign of life" in ends[0].message
    assert "step 8" in ends[0].message
    assert "rank 1 on node1" in ends[2].message
    mishap = Mishap(rank=2, signal=signal.SIGTERM, step=8)
    ends = train_in(3, run, data=data, mishaps=(mishap,), **STEPS)
    assert {end.kind for end in ends.values()} == {"Stopped"}
    train_in(3, run, data=data, **STEPS)
    assert same_weights(run, undisturbed[3])
    assert figures(run, "loss") == figures(undisturbed[3], "loss")


@pytest.mark.slow
def test_who_was_asked_to_stop_and_loses_the_others_has_stopped(data: Path, tmp_path: Path) -> None:
    """A scheduler tells all to stop, and the machine of one goes before they could agree."""
    told = Mishap(rank=0, signal=signal.SIGTERM, step=4)
    gone = Mishap(rank=1, signal=signal.SIGKILL, step=4)
    ends = train_in(2, tmp_path / "run", data=data, mishaps=(told, gone), **STEPS)
    assert (ends[0].kind, ends[0].signal, ends[0].step) == ("Stopped", signal.SIGTERM, 3)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_stands_still_is_named(data: Path, tmp_path: Path, rank: int) -> None:
    """Also when it is the first one, in what the others wait an hour for."""
    mishap = Mishap(rank=rank, signal=signal.SIGSTOP, step=4, evaluating=rank == 0)
    work = {"data": data, "mishaps": (mishap,), "patience": {"stall_s": 3}}
    with Ranks(2, tmp_path / "run", **work, **STEPS) as ranks:
        ranks.processes[1 - rank].join(120)
        end = ranks.ends(within_s=0)[1 - rank]
    assert end.kind == "ProcessTrouble"
    assert f"rank {rank} on node{rank}" in end.message
    assert "no sign of life" in end.message


@pytest.mark.slow
def test_a_process_that_never_comes_is_named(data: Path, tmp_path: Path) -> None:
    def without_rank_1(number: int) -> tuple[int, list[str]]:
        wait_s = (2, 6, 18)[number]  # where rank 2 is slow to start, it has more time
        work = {"data": data, "patience": {"rendezvous_s": wait_s}}
        with Ranks(3, tmp_path / f"late{number}", absent=(1,), **work) as ranks:
            ends = ranks.ends(within_s=120).values()
        assert [end.kind for end in ends] == ["ProcessTrouble"] * 2
        return wait_s, [end.message for end in ends]

    def names_rank_1(found: tuple[int, list[str]]) -> bool:
        wait_s, messages = found
        return all(f"within {wait_s} s: rank 1 never started" in one for one in messages)

    best_of_three(without_rank_1, names_rank_1)
    work = {"data": data, "patience": {"rendezvous_s": 2}}
    with Ranks(2, tmp_path / "headless", absent=(0,), **work) as ranks:
        end = ranks.ends(within_s=120)[1]
    assert end.kind == "ProcessTrouble"
    assert "rank 0 never started; the meeting is at 127.0.0.1" in end.message


@pytest.mark.slow
def test_a_signal_ends_the_wait_for_the_others(data: Path, tmp_path: Path) -> None:
    with Ranks(2, tmp_path / "run", absent=(1,), data=data) as ranks:
        marker = RunFolder(tmp_path / "run").processes / "rank_00000.json"
        while not marker.exists():
            ranks.processes[0].join(0.05)
        assert json.loads(marker.read_text())["node"] == "node0"
        pid = ranks.processes[0].pid
        assert pid
        os.kill(pid, signal.SIGUSR2)
        end = ranks.ends(within_s=20)[0]
    assert (end.kind, end.signal, end.step) == ("Stopped", signal.SIGUSR2, 0)


@pytest.mark.slow
def test_a_mistake_that_the_first_process_finds_ends_all(data: Path, tmp_path: Path) -> None:
    train(tiny_config(data=data, steps=1), open_pinned(data), tmp_path / "run", cpu=True)
    ends = train_in(2, tmp_path / "run", data=data, steps=2)
    assert {end.kind for end in ends.values()} == {"UserError"}
    assert "another --out" in ends[0].message
    assert ends[0].message == ends[1].message


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_all(data: Path, tmp_path: Path) -> None:
    changes = {"learning_rate": 1e30, "warmup_steps": 0, "clip_norm": 1e30}
    ends = train_in(2, tmp_path / "run", data=data, **changes)
    assert {end.kind for end in ends.values()} == {"UserError"}
    assert "the loss is" in ends[1].message


def test_accumulating_changes_nothing_but_memory(data: Path, tmp_path: Path) -> None:
    config = tiny_config(data=data, **{**STEPS, "steps": 6})
    for accumulate in (1, 2, 5):
        train(
            config, open_pinned(data), tmp_path / str(accumulate), cpu=True, accumulate=accumulate
        )
    for accumulate in (2, 5):
        expected = pytest.approx(figures(tmp_path / "1", "loss"), rel=1e-5)
        assert figures(tmp_path / str(accumulate), "loss") == expected


def test_shares_of_a_batch_cover_it_once(data: Path) -> None:
    config = tiny_config(data=data, batch_size=5)
    pictures = TrainingPictures(open_pinned(data), config, torch.device("cpu"))
    shares = [pictures.batch(3, rank=rank, processes=3) for rank in range(3)]
    assert torch.cat([share.rows for share in shares]).tolist() == [0, 1, 2, 3, 4]
    parts = pictures.batch(3).parts(2)
    assert [len(part.clean) for part in parts] == [3, 2]
    assert torch.equal(torch.cat([part.noise for part in parts]), pictures.batch(3).noise)


@pytest.mark.parametrize(("processes", "accumulate"), [(5, 1), (2, 3), (1, 0)])
def test_more_shares_than_pictures_are_refused(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    processes: int,
    accumulate: int,
) -> None:
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", "1")
    with pytest.raises(UserError, match="--batch-size 4 cannot be shared by"):
        train(tiny_config(data=data), open_pinned(data), tmp_path, cpu=True, accumulate=accumulate)


def test_half_an_environment_is_refused() -> None:
    with pytest.raises(UserError, match="MASTER_ADDR, MASTER_PORT not set"):
        Place.from_environment({"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"})
    assert Place.from_environment({}).count == 1


def test_the_place_is_read_from_the_environment() -> None:
    environment = {"WORLD_SIZE": "4", "RANK": "0", "LOCAL_RANK": "0"}
    environment |= {"MASTER_ADDR": "node1", "MASTER_PORT": "29500"}
    given = Place.from_environment(
        environment | {"MENAGERIE_ATTEMPT": "12-1", "MENAGERIE_NODE": "node1"}
    )
    assert given.keeps_store
    assert (given.count, given.attempt, given.node) == (4, "12-1", "node1")
    agent = {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "2"}
    under_torchrun = Place.from_environment(environment | agent)
    assert not under_torchrun.keeps_store
    assert under_torchrun.attempt == "2"


def test_a_dropout_mask_depends_on_the_row_alone() -> None:
    dropout = RowDropout(0.25, batch_size=6)
    x = torch.ones(6, 8, 5, 5)

    def of_rows(begin: int, end: int) -> torch.Tensor:
        torch.manual_seed(7)
        dropout.rows = torch.arange(begin, end)
        kept: torch.Tensor = dropout(x[begin:end])
        return kept

    whole = of_rows(0, 6)
    assert torch.equal(torch.cat([of_rows(0, 2), of_rows(2, 6)]), whole)
    assert not torch.equal(whole[0], whole[1])
    assert (whole == 0).float().mean() == pytest.approx(0.25, abs=0.05)
    assert whole.max() == pytest.approx(1 / 0.75)
    assert torch.equal(dropout.eval()(x), x)
