"""The mathematics of the model: solvers, averaging, guidance, pictures."""

import itertools
import math

import pytest
import torch

from core.diffusion.ema import ema_gamma, ema_update
from core.diffusion.guidance import guided
from core.diffusion.pipeline import starting_noise, to_pictures
from core.diffusion.sampler import SOLVERS, noise_levels
from tests.tiny import tiny_denoiser


def ideal_denoiser(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """The exact posterior mean when clean pixels are N(0.3, 0.5²)."""
    share = 0.25 / (0.25 + sigma**2)
    return 0.3 + share * (x - 0.3)


def exact_end(x: torch.Tensor) -> torch.Tensor:
    """Where the probability-flow ODE of that distribution ends, from sigma 80."""
    return 0.3 + (x - 0.3) * 0.5 / math.sqrt(0.25 + 80**2)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("dpmpp-2m", 2), ("heun", 2)])
def test_solvers_converge_to_the_exact_answer_at_their_order(solver: str, order: int) -> None:
    x = starting_noise(range(4), (1, 8, 8)).double() * 80
    errors = []
    for steps in (64, 128, 256):
        end = SOLVERS[solver](ideal_denoiser, x, noise_levels(steps))
        errors.append(float((end - exact_end(x)).abs().max()))
    assert errors[-1] < 0.03
    for coarse, fine in itertools.pairwise(errors):
        assert coarse / fine == pytest.approx(2**order, rel=0.15)


def test_noise_levels_fall_from_top_to_zero() -> None:
    levels = noise_levels(10, sigma_min=0.01, sigma_max=20)
    assert levels[0] == pytest.approx(20)
    assert levels[-2] == pytest.approx(0.01)
    assert levels[-1] == 0
    assert levels == sorted(levels, reverse=True)
    assert noise_levels(1) == [80.0, 0.0]


@pytest.mark.parametrize("width", [0.05, 0.1, 0.2])
def test_average_has_the_width_asked_for(width: float) -> None:
    gamma = ema_gamma(width)
    steps = 2000
    average, mean, square = torch.zeros(1), torch.zeros(1), torch.zeros(1)
    for step in range(1, steps + 1):
        ema_update([average], [torch.ones(1)], step=step, gamma=gamma)
        ema_update([mean], [torch.tensor([step / steps])], step=step, gamma=gamma)
        ema_update([square], [torch.tensor([(step / steps) ** 2])], step=step, gamma=gamma)
    assert float(average) == pytest.approx(1, abs=1e-4)
    assert float((square - mean**2).sqrt()) == pytest.approx(width, rel=0.02)


def test_guidance_extrapolates_inside_its_interval_only() -> None:
    denoiser = tiny_denoiser()
    labels = torch.tensor([0, 2])
    x = starting_noise([1, 2], (4, 16, 16))
    with torch.no_grad():
        sigma = torch.full((2,), 1.0)
        cond = denoiser(x, sigma, labels)
        uncond = denoiser(x, sigma, torch.full((2,), denoiser.no_label))
        strong = guided(denoiser, labels, scale=3.0, interval=(0.5, 2.0))
        assert torch.allclose(strong(x, 1.0), uncond + 3 * (cond - uncond), atol=1e-4)
        outside = denoiser(x, torch.full((2,), 5.0), labels)
        assert torch.allclose(strong(x, 5.0), outside, atol=1e-5)
    assert (cond - uncond).abs().max() > 1e-3


def test_pictures_come_out_with_straight_alpha() -> None:
    half = torch.tensor([0.5, 0.5, -1.0, 0.0])[None, :, None, None].expand(1, 4, 2, 2)
    picture = to_pictures(half)[0]
    # Colour above alpha cannot be premultiplied: it is held to alpha, which is full brightness.
    assert picture[0, 0].tolist() == [255, 255, 0, 128]
    assert to_pictures(-torch.ones(1, 4, 2, 2))[0].sum() == 0
    assert to_pictures(torch.full((1, 3, 2, 2), 2.0))[0].shape == (2, 2, 3)


def test_noise_of_a_seed_does_not_depend_on_its_companions() -> None:
    alone = starting_noise([7], (4, 8, 8))
    assert torch.equal(starting_noise([3, 7], (4, 8, 8))[1:], alone)
