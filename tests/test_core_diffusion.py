"""The mathematics of the model: solvers, averaging, noise levels, guidance, preconditioning."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as functional

from core.diffusion.denoiser import Denoiser, Prediction, build_unet
from core.diffusion.ema import ema_gamma, ema_update
from core.diffusion.guidance import guided
from core.diffusion.objective import Weighting, denoising_loss, draw_sigma, held_out_loss
from core.diffusion.patches import PatchTransform, measure_patches
from core.diffusion.pipeline import starting_noise, to_pictures
from core.diffusion.sampler import SOLVERS, noise_levels


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


def test_training_noise_is_stratified_log_normal() -> None:
    logs = draw_sigma(4096, mean=-0.8, std=1.6, generator=torch.Generator().manual_seed(0)).log()
    assert logs.mean() == pytest.approx(-0.8, abs=0.01)
    assert logs.std() == pytest.approx(1.6, abs=0.02)
    assert (logs < -0.8).sum() == 2048


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


def some_pictures(count: int = 8) -> torch.Tensor:
    """Smooth pictures, so that block frequencies differ in spread."""
    rough = starting_noise(range(count), (4, 4, 4))
    return functional.interpolate(rough, (16, 16), mode="bicubic").clamp(-1, 1)


def small_denoiser(prediction: Prediction = "edm") -> Denoiser:
    torch.manual_seed(0)
    unet = build_unet(
        size_px=16,
        channels=4,
        labels=3,
        patch=2,
        block_channels=(32, 32),
        layers_per_block=1,
        attention_levels=(1,),
        dropout=0.0,
    )
    return Denoiser(unet, measure_patches(some_pictures(), 2), prediction).eval()


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_block_frequencies_are_orthonormal_whitened_and_invertible(patch: int) -> None:
    pictures = some_pictures()
    transform = PatchTransform(measure_patches(pictures, patch))
    frequencies = transform.to_frequencies(pictures)
    assert frequencies.shape == (8, 4 * patch**2, 16 // patch, 16 // patch)
    assert torch.allclose(transform.to_pixels(frequencies), pictures, atol=1e-5)
    energy = (frequencies + transform.mean).square().sum()
    assert float(energy) == pytest.approx(float(pictures.square().sum()), rel=1e-4)
    spread = (frequencies / transform.scale).std((0, 2, 3))
    assert torch.allclose(spread, torch.ones_like(spread), atol=0.05)


@pytest.mark.parametrize("prediction", ["edm", "clean"])
def test_at_high_noise_the_guess_forgets_the_noise(prediction: Prediction) -> None:
    denoiser = small_denoiser(prediction)
    x = starting_noise([1, 2], (4, 16, 16)) * 1000
    with torch.no_grad():
        guess = denoiser(x, torch.full((2,), 1000.0), torch.tensor([0, 1]))
    assert guess.abs().max() < 10


def test_at_low_noise_edm_keeps_the_picture() -> None:
    pictures = some_pictures(2)
    with torch.no_grad():
        guess = small_denoiser("edm")(pictures, torch.full((2,), 1e-4), torch.tensor([0, 1]))
    assert (guess - pictures).abs().max() < 0.01


def test_guidance_extrapolates_inside_its_interval_only() -> None:
    denoiser = small_denoiser()
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


def test_loss_weighs_levels_alike_for_an_ideal_guess() -> None:
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(64, 4, 16, 16, generator=generator) * 0.5
    noise = torch.randn(clean.shape, generator=generator)

    def ideal(x: torch.Tensor, sigma: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return x * (0.25 / (0.25 + sigma**2))[:, None, None, None]

    for level in (0.2, 1.0, 10.0):
        sigma = torch.full((64,), level)
        labels = torch.zeros(64, dtype=torch.int64)
        loss = denoising_loss(ideal, clean, sigma, noise, labels, Weighting(sigma_data=0.5))
        assert loss.mean() == pytest.approx(1.0, rel=0.03)


def test_levels_below_the_floor_weigh_like_the_floor() -> None:
    weights = Weighting(sigma_data=0.5, sigma_floor=0.2).at(torch.tensor([0.01, 0.2, 1.0]))
    assert weights[0] == weights[1] == pytest.approx(29, rel=1e-3)
    assert weights[2] == pytest.approx(5, rel=1e-3)


def test_held_out_loss_is_repeatable_and_by_level() -> None:
    denoiser = small_denoiser()
    clean = starting_noise(range(5), (4, 16, 16)) * 0.5
    labels = torch.tensor([0, 1, 2, 0, 1])
    first = held_out_loss(
        denoiser, clean, labels, Weighting(sigma_data=0.5), sigmas=(0.3, 3.0), batch_size=2
    )
    assert first == held_out_loss(
        denoiser, clean, labels, Weighting(sigma_data=0.5), sigmas=(0.3, 3.0), batch_size=2
    )
    assert set(first) == {0.3, 3.0}


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
