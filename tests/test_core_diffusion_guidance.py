"""Guidance: where it acts, what it leaves alone, and whom it leads away from."""

import pytest
import torch
from torch import Tensor

from core.diffusion.guidance import extrapolated, guided
from core.diffusion.pipeline import starting_noise
from tests.tiny import tiny_denoiser


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


def test_an_early_network_is_led_away_from_and_shown_the_class() -> None:
    denoiser, early = tiny_denoiser(), tiny_denoiser()
    with torch.no_grad():
        for weight in early.unet.parameters():
            weight.mul_(0.9)
        labels = torch.tensor([0, 2])
        x = starting_noise([1, 2], (4, 16, 16))
        sigma = torch.full((2,), 1.0)
        good, bad = denoiser(x, sigma, labels), early(x, sigma, labels)
        led = guided(denoiser, labels, scale=2.0, guide=early)(x, 1.0)
    assert torch.allclose(led, 2 * good - bad, atol=1e-5)
    assert (good - bad).abs().max() > 1e-3


def some_guesses() -> tuple[Tensor, Tensor]:
    return starting_noise([1, 2], (4, 8, 8)), starting_noise([3, 4], (4, 8, 8))


def test_orthogonal_guidance_adds_nothing_along_the_picture() -> None:
    good, bad = some_guesses()
    push = extrapolated(good, bad, 3.0, parallel=0.0) - good
    assert torch.allclose((push * good).sum((1, 2, 3)), torch.zeros(2), atol=1e-3)
    whole = extrapolated(good, bad, 3.0) - good
    half = extrapolated(good, bad, 3.0, parallel=0.5) - good
    assert torch.allclose(half, (whole + push) / 2, atol=1e-5)
    along = whole - push  # what was taken off is parallel to the picture, each picture by itself
    ratio = along / good
    assert ratio.flatten(1).std(1).max() < 1e-3
    assert ratio[0].mean() != pytest.approx(float(ratio[1].mean()), rel=1e-3)


@pytest.mark.parametrize("rescale", [0.7, 1.0])
def test_rescaling_brings_the_spread_back_and_keeps_the_mean(rescale: float) -> None:
    good, bad = some_guesses()
    plain = extrapolated(good, bad, 4.0)
    tamed = extrapolated(good, bad, 4.0, rescale=rescale)
    dims = (1, 2, 3)
    assert torch.allclose(tamed.mean(dims), plain.mean(dims), atol=1e-5)
    wanted = rescale * good.std(dims) + (1 - rescale) * plain.std(dims)
    assert torch.allclose(tamed.std(dims), wanted, rtol=1e-4)
    assert (plain.std(dims) > 2 * good.std(dims)).all()


def test_guidance_of_empty_pictures_stays_finite() -> None:
    nothing = torch.zeros(1, 4, 8, 8)
    assert extrapolated(nothing, nothing, 3.0, parallel=0.0, rescale=0.7).isfinite().all()
