"""Samplers: from noise to pictures along a falling list of noise levels.

Each takes `denoise(x, sigma)`, the starting noise x (N×C×H×W, std sigmas[0]), the levels, falling
and ending in 0, and one random generator per picture; it returns clean pictures. All but `ddpm` and
`dpmpp_3m_sde` are deterministic: the starting noise decides.

The steps are those of diffusers' schedulers, given our levels in place of their own. These come
from 32-bit products of 1 - β, where 0.002 is off by 1 %, and can only be members of a schedule.
Only `dpmpp_3m_sde` is ours: see there.
"""

import contextlib
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
)
from torch import Generator, Tensor

from core.diffusion.guidance import Denoise
from core.errors import UserError

Sampler = Callable[[Denoise, Tensor, Sequence[float], Sequence[Generator]], Tensor]


def sampler_named(name: str) -> Sampler:
    """A sampler by its flag's value; UserError for another name."""
    samplers: dict[str, Sampler] = {
        "ddpm": ddpm,
        "ddim": ddim,
        "euler": euler,
        "heun": heun,
        "dpmpp-2m": dpmpp_2m,
        "dpmpp-3m-sde": dpmpp_3m_sde,
    }
    if name not in samplers:
        raise UserError(f"no solver {name!r}; known are {', '.join(samplers)}")
    return samplers[name]


def noise_levels(
    steps: int, *, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0
) -> list[float]:
    """`steps` noise levels from sigma_max down to sigma_min, then 0 (Karras et al. 2022, eq. 5)."""
    if steps == 1:
        return [sigma_max, 0.0]
    top, bottom = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return [(top + i / (steps - 1) * (bottom - top)) ** rho for i in range(steps)] + [0.0]


def discrete_levels(schedule: Sequence[float], steps: int) -> list[float]:
    """`steps` levels of a discrete schedule (rising), evenly spaced, from its last down, then 0.

    "Trailing" spacing: it begins in full noise (Lin et al. 2023, "Common diffusion noise schedules
    and sample steps are flawed", table 2). UserError for more steps than levels.
    """
    count = len(schedule)
    if steps > count:
        raise UserError(
            f"--steps {steps} is more than the {count} steps of the model's schedule, which ddpm "
            f"and ddim walk along: give at most {count}, or another --solver"
        )
    return [float(schedule[round(count - i * count / steps) - 1]) for i in range(steps)] + [0.0]


def ddpm(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], generators: Sequence[Generator]
) -> Tensor:
    """Ancestral sampling with the posterior's variance (Ho et al. 2020, algorithm 2, eq. 7)."""
    scheduler = DDPMScheduler(
        num_train_timesteps=len(sigmas) - 1, prediction_type="sample", clip_sample=False
    )
    _give_levels(scheduler, sigmas)
    return _preserving_variance(scheduler, denoise, x, sigmas, generator=list(generators))


def ddim(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], generators: Sequence[Generator]
) -> Tensor:
    """Deterministic, η = 0 (Song et al. 2021, "Denoising diffusion implicit models", eq. 12)."""
    scheduler = DDIMScheduler(
        num_train_timesteps=len(sigmas) - 1, prediction_type="sample", clip_sample=False
    )
    _give_levels(scheduler, sigmas)
    return _preserving_variance(scheduler, denoise, x, sigmas)


def euler(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], generators: Sequence[Generator]
) -> Tensor:
    """First order on the probability-flow ODE, dx/dσ = (x - D(x; σ))/σ (Karras et al. 2022)."""
    with _tensors_given_to_numpy():
        scheduler = EulerDiscreteScheduler(prediction_type="sample")
        scheduler.set_timesteps(sigmas=list(sigmas))
    scheduler.is_scale_input_called = True  # ours reads x as it is
    return _exploding_variance(scheduler, denoise, x)


def heun(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], generators: Sequence[Generator]
) -> Tensor:
    """Second order, two evaluations a step but the last (Karras et al. 2022, algorithm 1)."""
    with _tensors_given_to_numpy():
        scheduler = HeunDiscreteScheduler(prediction_type="sample")
        scheduler.set_timesteps(len(sigmas) - 1)
    between = [sigma for sigma in sigmas[1:-1] for _ in range(2)]
    scheduler.sigmas = torch.tensor([sigmas[0], *between, sigmas[-1]], dtype=torch.float32)
    return _exploding_variance(scheduler, denoise, x)


def dpmpp_2m(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], generators: Sequence[Generator]
) -> Tensor:
    """DPM-Solver++(2M): second order multistep, one evaluation a step (Lu et al. 2022, alg. 2)."""
    scheduler = DPMSolverMultistepScheduler(
        prediction_type="sample", algorithm_type="dpmsolver++", lower_order_final=False
    )
    with _tensors_given_to_numpy():
        scheduler.set_timesteps(timesteps=list(range(len(sigmas) - 1))[::-1])
    scheduler.sigmas = torch.tensor(sigmas, dtype=torch.float32)
    scheduler.set_begin_index(0)
    return _preserving_variance(scheduler, denoise, x, sigmas)


def dpmpp_3m_sde(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], generators: Sequence[Generator]
) -> Tensor:
    """DPM-Solver++(3M) on the reverse SDE: third order multistep, one evaluation a step.

    With λ = -ln σ the SDE's exact step from σ to σ' is (Lu et al. 2022, section 5)

        x' = (σ'/σ)² x + ∫ 2e^(-2(λ' - λ)) D(λ) dλ + σ'√(1 - e^(-2h)) noise,    h = ln(σ/σ'),

    and D is continued by the parabola through the last three guesses (by the line, the point while
    there are fewer). Not diffusers' step: there the parabola's term has the wrong sign.
    """
    older: list[tuple[float, Tensor]] = []
    for sigma, following in itertools.pairwise(sigmas):
        guess = denoise(x, sigma)
        if following == 0:
            return guess
        h = math.log(sigma / following)
        point, line, parabola = _sde_weights(h)
        slope, bend = _derivatives(sigma, guess, older if h <= 1 else ())
        x = (following / sigma) ** 2 * x + point * guess
        if slope is not None:
            x = x + line * slope
        if bend is not None:
            x = x + parabola * bend
        noise = unit_noise(x.shape[1:], generators).to(x.device)
        x = x + following * math.sqrt(point) * noise
        older = [(sigma, guess), *older[:1]]
    return x


def unit_noise(shape_chw: Sequence[int], generators: Sequence[Generator]) -> Tensor:
    """The next unit noise of each generator, N×C×H×W, drawn on the CPU: the same everywhere."""
    return torch.stack([torch.randn(*shape_chw, generator=generator) for generator in generators])


def _sde_weights(h: float) -> tuple[float, float, float]:
    """∫₀ʰ 2e^(-2(h - u)) {1, u, u²/2} du."""
    point = -math.expm1(-2 * h)
    line = h - point / 2
    return point, line, h * h / 2 - line / 2


def _derivatives(
    sigma: float, guess: Tensor, older: Sequence[tuple[float, Tensor]]
) -> tuple[Tensor | None, Tensor | None]:
    """First and second derivative of D by λ at the last of up to three guesses."""
    if not older:
        return None, None
    near = math.log(older[0][0] / sigma)
    slope = (guess - older[0][1]) / near
    if len(older) == 1:
        return slope, None
    far = math.log(older[1][0] / older[0][0])
    bend = 2 * (slope - (older[0][1] - older[1][1]) / far) / (near + far)
    return slope + bend * near / 2, bend


@contextlib.contextmanager
def _tensors_given_to_numpy() -> Iterator[None]:
    """diffusers hands tensors to numpy in a way that numpy 2 warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _give_levels(scheduler: Any, sigmas: Sequence[float]) -> None:
    """Make the levels the whole of a discrete scheduler's schedule: ᾱ = 1/(1 + σ²)."""
    rising = torch.tensor(sigmas[:-1], dtype=torch.float64).flip(0)
    scheduler.alphas_cumprod = 1 / (1 + rising**2)
    scheduler.set_timesteps(len(rising))


def _preserving_variance(
    scheduler: Any, denoise: Denoise, x: Tensor, sigmas: Sequence[float], **step: Any
) -> Tensor:
    """Walk a scheduler whose samples have variance 1: x/√(1 + σ²)."""
    x = x / math.sqrt(1 + sigmas[0] ** 2)
    for time, sigma in zip(scheduler.timesteps.tolist(), sigmas, strict=False):
        guess = denoise(x * math.sqrt(1 + sigma**2), sigma)
        x = scheduler.step(guess, time, x, return_dict=False, **step)[0]
    return x


def _exploding_variance(scheduler: Any, denoise: Denoise, x: Tensor) -> Tensor:
    """Walk a scheduler whose samples are a picture plus noise of std σ."""
    scheduler.set_begin_index(0)
    levels = scheduler.sigmas.tolist()
    for time, sigma in zip(scheduler.timesteps, levels, strict=False):
        x = scheduler.step(denoise(x, sigma), time, x, return_dict=False)[0]
    return x
