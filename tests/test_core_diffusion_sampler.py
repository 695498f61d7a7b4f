"""Samplers: right where the answer is known, and of the seeds alone."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from torch import Tensor

from core.diffusion.pipeline import starting_noise
from core.diffusion.sampleconfig import Solver
from core.diffusion.sampler import (
    ddim,
    ddpm,
    discrete_levels,
    dpmpp_3m_sde,
    noise_levels,
    sampler_named,
    unit_noise,
)
from core.diffusion.schedule import NoiseSchedule
from core.errors import UserError

SOLVERS: tuple[Solver, ...] = ("ddpm", "ddim", "euler", "heun", "dpmpp-2m", "dpmpp-3m-sde")


def generators(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


def ideal_denoiser(x: Tensor, sigma: float) -> Tensor:
    """The exact posterior mean when clean pixels are N(0.3, 0.5²)."""
    share = 0.25 / (0.25 + sigma**2)
    return 0.3 + share * (x - 0.3)


def exact_end(x: Tensor) -> Tensor:
    """Where the probability-flow ODE of that distribution ends, from sigma 80."""
    return 0.3 + (x - 0.3) * 0.5 / math.sqrt(0.25 + 80**2)


@pytest.mark.parametrize(
    ("solver", "order"), [("euler", 1), ("ddim", 1), ("dpmpp-2m", 2), ("heun", 2)]
)
def test_solvers_converge_to_the_exact_answer_at_their_order(solver: str, order: int) -> None:
    x = starting_noise(range(4), (1, 8, 8)) * 80
    errors = []
    for steps in (64, 128, 256):
        end = sampler_named(solver)(ideal_denoiser, x, noise_levels(steps), [])
        errors.append(float((end - exact_end(x)).abs().max()))
    assert errors[-1] < 0.03
    for coarse, fine in itertools.pairwise(errors):
        assert coarse / fine == pytest.approx(2**order, rel=0.15)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("schedule", ["karras", "linear", "cosine"])
def test_every_sampler_draws_the_known_distribution(solver: str, schedule: str) -> None:
    levels = noise_levels(100)
    if schedule != "karras":
        own = NoiseSchedule(kind=schedule, timesteps=500).levels()  # type: ignore[arg-type]
        assert own is not None
        levels = discrete_levels(own.tolist(), 250)
    drawn = generators(500)
    x = unit_noise((16,), drawn) * levels[0]
    end = sampler_named(solver)(ideal_denoiser, x, levels, drawn)
    assert float(end.mean()) == pytest.approx(0.3, abs=0.015)
    assert float(end.std()) == pytest.approx(0.5, rel=0.065)


def plain_euler(x: Tensor, sigmas: Sequence[float]) -> Tensor:
    for sigma, following in itertools.pairwise(sigmas):
        x = x + (following - sigma) * (x - ideal_denoiser(x, sigma)) / sigma
    return x


def plain_heun(x: Tensor, sigmas: Sequence[float]) -> Tensor:
    for sigma, following in itertools.pairwise(sigmas):
        slope = (x - ideal_denoiser(x, sigma)) / sigma
        ahead = x + (following - sigma) * slope
        if following:
            slope = (slope + (ahead - ideal_denoiser(ahead, following)) / following) / 2
        x = x + (following - sigma) * slope
    return x


def plain_dpmpp_2m(x: Tensor, sigmas: Sequence[float]) -> Tensor:
    older, previous = None, math.inf
    for sigma, following in itertools.pairwise(sigmas):
        guess = mixed = ideal_denoiser(x, sigma)
        if not following:
            break
        h = math.log(sigma / following)
        if older is not None:
            mixed = guess + (guess - older) * h / (2 * math.log(previous / sigma))
        x = (following / sigma) * x - math.expm1(-h) * mixed
        older, previous = guess, sigma
    return guess


@pytest.mark.parametrize("steps", [1, 2, 3, 24])
@pytest.mark.parametrize(
    ("solver", "plain"),
    [
        *(("euler", plain_euler), ("ddim", plain_euler)),
        *(("heun", plain_heun), ("dpmpp-2m", plain_dpmpp_2m)),
    ],
)
def test_diffusers_steps_are_those_of_the_papers_at_our_levels(
    solver: str, plain: object, steps: int
) -> None:
    assert callable(plain)
    x = starting_noise(range(4), (1, 8, 8)) * 80
    levels = noise_levels(steps)
    end = sampler_named(solver)(ideal_denoiser, x, levels, [])
    exact = plain(x.double(), levels)
    assert (end - exact).abs().max() < 3e-5 * max(1, float(exact.abs().max()))


@pytest.mark.parametrize("steps", [1000, 50])
@pytest.mark.parametrize("name", ["ddpm", "ddim"])
def test_the_discrete_samplers_walk_diffusers_own_schedule(name: str, steps: int) -> None:
    levels = NoiseSchedule(kind="linear", timesteps=1000).levels()
    assert levels is not None
    x = starting_noise(range(2), (1, 4, 4))
    kind = DDPMScheduler if name == "ddpm" else DDIMScheduler
    theirs = kind(prediction_type="sample", clip_sample=False, timestep_spacing="trailing")
    theirs.set_timesteps(steps)
    end, drawn = x, generators(2)
    for time in theirs.timesteps.tolist():
        sigma = float(levels[time])
        guess = ideal_denoiser(end * math.sqrt(1 + sigma**2), sigma)
        end = theirs.step(guess, time, end, generator=drawn).prev_sample
    walk = discrete_levels(levels.tolist(), steps)
    sampler = ddpm if name == "ddpm" else ddim
    ours = sampler(ideal_denoiser, x * math.sqrt(1 + walk[0] ** 2), walk, generators(2))
    assert (ours - end).abs().max() < 2e-3


def swinging_denoiser(x: Tensor, sigma: float) -> Tensor:
    """cos λ with λ = -ln σ, whatever x: the reverse SDE's mean can then be written down."""
    return torch.full_like(x, math.cos(math.log(sigma)))


def swinging_mean(sigma: float, following: float) -> float:
    """(σ'/σ)²·0 + ∫ 2e^(-2(λ' - λ)) cos λ dλ."""

    def primitive(level: float) -> float:
        lam = -math.log(level)
        return 2 / 5 * (2 * math.cos(lam) + math.sin(lam)) * math.exp(2 * lam)

    return following**2 * (primitive(following) - primitive(sigma))


def diffusers_3m_sde(levels: Sequence[float]) -> float:
    """The end of diffusers' scheduler without its noise, from 0."""
    scheduler = DPMSolverMultistepScheduler(
        prediction_type="sample",
        algorithm_type="sde-dpmsolver++",
        solver_order=3,
        lower_order_final=False,
    )
    scheduler.set_timesteps(timesteps=list(range(len(levels)))[::-1])
    scheduler.sigmas = torch.tensor([*levels, 0.0], dtype=torch.float64)
    scheduler.set_begin_index(0)
    x = torch.zeros(1, dtype=torch.float64)
    for time, sigma in zip(scheduler.timesteps.tolist()[:-1], levels, strict=False):
        guess = swinging_denoiser(x, sigma)
        x = scheduler.step(guess, time, x, variance_noise=torch.zeros(1)).prev_sample
    return float(x) * math.sqrt(1 + levels[-1] ** 2)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_ours_is_third_order_on_the_sde_where_diffusers_is_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "core.diffusion.sampler.unit_noise", lambda shape, drawn: torch.zeros(1, *shape)
    )
    exact = swinging_mean(80, 0.05)
    ours, theirs = [], []
    for steps in (48, 96, 192):
        levels = [80 * (0.05 / 80) ** (step / steps) for step in range(steps + 1)]
        end = dpmpp_3m_sde(swinging_denoiser, torch.zeros(1, 1, dtype=torch.float64), levels, [])
        ours.append(abs(float(end) - exact))
        theirs.append(abs(diffusers_3m_sde(levels) - exact))
    assert ours[1] / ours[2] == pytest.approx(8, rel=0.15)
    assert theirs[1] / theirs[2] == pytest.approx(2, rel=0.15)
    assert ours[2] < theirs[2] / 100


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_seed_alone_decides_whatever_its_companions(solver: str) -> None:
    def drawn(seeds: list[int]) -> Tensor:
        streams = [torch.Generator().manual_seed(seed) for seed in seeds]
        x = starting_noise(seeds, (1, 4, 4)) * 80
        return sampler_named(solver)(ideal_denoiser, x, noise_levels(6), streams)

    alone = drawn([7])
    assert torch.equal(drawn([3, 7, 5])[1:2], alone)
    assert torch.equal(drawn([7, 9])[:1], alone)
    assert not torch.equal(drawn([8]), alone)


@pytest.mark.parametrize("solver", ["ddpm", "dpmpp-3m-sde"])
def test_ancestral_samplers_add_the_noise_of_their_generators(solver: str) -> None:
    x = starting_noise([1], (1, 4, 4)) * 80
    ends = [
        sampler_named(solver)(
            ideal_denoiser, x, noise_levels(6), [torch.Generator().manual_seed(seed)]
        )
        for seed in (1, 2)
    ]
    assert (ends[0] - ends[1]).abs().max() > 0.05


def test_noise_levels_fall_from_top_to_zero() -> None:
    levels = noise_levels(10, sigma_min=0.01, sigma_max=20)
    assert levels[0] == pytest.approx(20)
    assert levels[-2] == pytest.approx(0.01)
    assert levels[-1] == 0
    assert levels == sorted(levels, reverse=True)
    assert noise_levels(1) == [80.0, 0.0]


def test_a_discrete_schedule_is_walked_evenly_from_its_end() -> None:
    schedule = [float(level) for level in range(1, 11)]
    assert discrete_levels(schedule, 10) == [*schedule[::-1], 0.0]
    assert discrete_levels(schedule, 5) == [10, 8, 6, 4, 2, 0]
    assert np.all(np.diff(discrete_levels(schedule, 7)) < 0)
    with pytest.raises(UserError, match="--steps 11 is more than the 10 steps of the model's"):
        discrete_levels(schedule, 11)


def test_an_unknown_solver_is_named_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="no solver 'dpm'; known are ddpm, ddim, euler, heun"):
        sampler_named("dpm")
