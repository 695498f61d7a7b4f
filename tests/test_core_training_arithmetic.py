"""Precision, loss scaling, utilisation, rates."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.amp.grad_scaler import GradScaler

from core.data.pinned import PinnedDataset
from core.errors import UserError
from core.rundir import RunFolder
from core.training.arithmetic import Compile, compile_where_it_pays, network_dtype
from core.training.checkpoint import restore_checkpoint, save_checkpoint
from core.training.processes import Processes
from core.training.rates import rate_share
from core.training.step import Stepper, new_state
from core.training.utilisation import Utilisation, flops_per_picture, peak_flops
from tests.tiny import tiny_config, tiny_dataset

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PinnedDataset:
    return tiny_dataset(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def stepper_of(dataset: PinnedDataset, *, scale: float | None = None) -> Stepper:
    config = tiny_config(optimizer="muon")
    state = new_state(config, dataset, CPU)
    state.scaler = None if scale is None else GradScaler("cpu", init_scale=scale)
    return Stepper(config, dataset, state, Processes.alone(CPU))


def test_scaling_the_loss_by_a_power_of_two_changes_nothing(dataset: PinnedDataset) -> None:
    plain, scaled = stepper_of(dataset), stepper_of(dataset, scale=2.0**10)
    for _ in range(3):
        assert scaled.step() == plain.step()
    weights = (stepper.state.unet.parameters() for stepper in (plain, scaled))
    assert all(torch.equal(left, right) for left, right in zip(*weights, strict=True))


def test_a_step_whose_gradients_overflow_is_left_out_and_the_scale_halved(
    dataset: PinnedDataset, tmp_path: Path
) -> None:
    stepper = stepper_of(dataset, scale=2.0**127)
    before = [weight.clone() for weight in stepper.state.unet.parameters()]
    loss, norm = stepper.step()
    assert math.isfinite(loss)
    assert norm == 0
    after = stepper.state.unet.parameters()
    assert all(torch.equal(left, right) for left, right in zip(before, after, strict=True))
    assert stepper.state.scaler is not None
    assert stepper.state.scaler.get_scale() == 2.0**126
    run = RunFolder(tmp_path / "run")
    save_checkpoint(stepper.state, run, keep=1)
    resumed = stepper_of(dataset, scale=1.0).state
    restore_checkpoint(resumed, run, 1)
    assert resumed.scaler is not None
    assert resumed.scaler.state_dict() == stepper.state.scaler.state_dict()


def test_when_one_optimisers_gradients_overflow_neither_steps(dataset: PinnedDataset) -> None:
    stepper = stepper_of(dataset, scale=2.0**10)
    before = [weight.clone() for weight in stepper.state.unet.parameters()]
    stepper.state.unet.conv_in.bias.register_hook(lambda gradient: gradient * math.inf)
    assert len(stepper.state.optimizers) == 2
    _, norm = stepper.step()
    assert norm == 0
    after = stepper.state.unet.parameters()
    assert all(torch.equal(left, right) for left, right in zip(before, after, strict=True))
    assert all(weight.grad is None for weight in stepper.state.unet.parameters())
    assert stepper.state.scaler is not None
    assert stepper.state.scaler.get_scale() == 2.0**9


def test_fp16_is_for_gpus() -> None:
    with pytest.raises(UserError, match="--precision fp16 is for GPUs"):
        network_dtype("fp16", CPU)
    assert network_dtype("fp16", torch.device("cuda")) is torch.float16
    assert network_dtype("bf16", CPU) is torch.bfloat16
    assert network_dtype("fp32", CPU) is None


def test_the_rate_falls_late() -> None:
    config = tiny_config(steps=100, warmup_steps=10, decay="late", decay_share=0.2)
    rates = [rate_share(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:80] == [1.0] * 71
    assert rates[90] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.05)
    never = tiny_config(steps=100, warmup_steps=0, decay="late", decay_share=0.0)
    assert rate_share(never, 99) == 1.0


def test_peaks_are_found_by_the_gpus_name() -> None:
    bf16 = torch.bfloat16
    assert peak_flops("NVIDIA H200", bf16) == 989e12
    assert peak_flops("NVIDIA H100 PCIe", bf16) == 756e12
    assert peak_flops("NVIDIA H100 80GB HBM3", None) == 494e12
    assert peak_flops("NVIDIA A100-SXM4-40GB", bf16) == 312e12
    assert peak_flops("NVIDIA L40S", bf16) == 362e12
    assert peak_flops("NVIDIA L4", None) == 60e12
    assert peak_flops("Tesla T4", torch.float16) == 65e12
    assert peak_flops("NVIDIA RTX 4000 Ada", bf16) is None


def test_the_products_of_a_picture_are_counted(dataset: PinnedDataset) -> None:
    """Against the convolutions' own count, which are nearly all of it."""
    stepper = stepper_of(dataset)
    seen: list[float] = []

    def count(module: torch.nn.Module, given: object, made: torch.Tensor) -> None:
        weight = next(module.parameters())
        seen.append(2.0 * weight.numel() * (made.numel() / weight.shape[0]))

    layers = (torch.nn.Conv2d, torch.nn.Linear)
    for module in stepper.state.ema.modules():
        if isinstance(module, layers):
            module.register_forward_hook(count)
    counted = flops_per_picture(stepper, dataset)
    assert counted == pytest.approx(3 * sum(seen), rel=0.1)
    assert Utilisation(stepper, dataset, processes=1).figures(100.0) == {}


def test_compiling_is_for_long_runs_on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[bool] = []
    network = torch.nn.Identity()
    monkeypatch.setattr(network, "compile", lambda **_: compiled.append(True))

    def compiles(wanted: Compile, device: str, steps: int) -> bool:
        compiled.clear()
        compile_where_it_pays(network, wanted, torch.device(device), steps=steps)
        return bool(compiled)

    assert compiles("on", "cpu", 1)
    assert compiles("auto", "cuda", 60_000)
    assert not compiles("auto", "cuda", 100)
    assert not compiles("auto", "cpu", 60_000)
    assert not compiles("off", "cuda", 60_000)
