"""What the network writes, which noise levels it learns, and what an error there counts."""

import math
import types
from typing import get_args

import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from core.diffusion.kinds import NoiseKind, Prediction, WeightingKind
from core.diffusion.objective import LearnedUncertainty, Weighting, denoising_loss, held_out_loss
from core.diffusion.patches import PatchTransform, measure_patches
from core.diffusion.schedule import NoiseSchedule
from tests.tiny import smooth_pictures, tiny_denoiser

PREDICTIONS: tuple[Prediction, ...] = get_args(Prediction)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise_like(pictures: Tensor, *, seed: int = 1) -> Tensor:
    return torch.randn(pictures.shape, generator=seeded(seed))


class Writes(nn.Module):
    """In the place of a U-Net: writes what it was given, and keeps what it reads."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output
        self.config: dict[str, int] = {}

    def forward(self, x: Tensor, time: Tensor, class_labels: Tensor) -> types.SimpleNamespace:
        self.read = x
        return types.SimpleNamespace(sample=self.output)


def defined(prediction: Prediction, z0: Tensor, noise: Tensor, level: Tensor) -> Tensor:
    """What the network should write, by the definitions in the papers."""
    alpha, beta = level.square().add(1).rsqrt(), level * level.square().add(1).rsqrt()
    return {
        "clean": z0,
        "noise": noise,
        "velocity": alpha * noise - beta * z0,
        "flow": noise - z0,
        # Karras et al. 2022, equation 8 and table 1: the target is (y - c_skip·(y+n))/c_out.
        "edm": (z0 - alpha**2 * (z0 + level * noise)) / beta,
    }[prediction]


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_block_frequencies_are_orthonormal_whitened_and_invertible(patch: int) -> None:
    pictures = smooth_pictures()
    transform = PatchTransform(measure_patches(pictures, patch))
    frequencies = transform.to_frequencies(pictures)
    assert frequencies.shape == (8, 4 * patch**2, 16 // patch, 16 // patch)
    assert torch.allclose(transform.to_pixels(frequencies), pictures, atol=1e-5)
    energy = (frequencies + transform.mean).square().sum()
    assert float(energy) == pytest.approx(float(pictures.square().sum()), rel=1e-4)
    spread = (frequencies / transform.scale).std((0, 2, 3))
    assert torch.allclose(spread, torch.ones_like(spread), atol=0.05)


def test_without_whitening_the_network_sees_plain_pixels() -> None:
    pictures = smooth_pictures()
    plain = PatchTransform(measure_patches(pictures, 1, whiten=False))
    assert torch.equal(plain.to_frequencies(pictures), pictures)
    assert measure_patches(pictures, 2, whiten=False).scale == (1.0,) * 16


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("whiten", [True, False])
def test_a_network_that_writes_what_it_should_gives_the_clean_picture(
    prediction: Prediction, whiten: bool
) -> None:
    denoiser = tiny_denoiser(prediction, whiten=whiten)
    clean, patches = smooth_pictures(), denoiser.patches
    noise = noise_like(clean)
    sigma = torch.tensor([0.002, 0.01, 0.1, 0.5, 1.0, 5.0, 20.0, 80.0])
    level = sigma[:, None, None, None] / patches.scale
    z0 = patches.to_frequencies(clean) / patches.scale
    unit = patches.to_frequencies(noise) + patches.mean
    ideal = Writes(defined(prediction, z0, unit, level))
    denoiser.unet = ideal  # type: ignore[assignment]
    guess = denoiser(clean + sigma[:, None, None, None] * noise, sigma, LABELS)
    # fp32 carries a picture under noise of 80 to 80·2^-24, times a few operations.
    assert float((guess - clean).abs().max()) < 1e-4
    assert float((guess - clean)[:4].abs().max()) < 2e-6
    if whiten:
        assert ideal.read.square().mean((1, 2, 3)).tolist() == pytest.approx([1] * 8, rel=0.4)


@pytest.mark.parametrize("prediction", ["clean", "velocity", "flow", "edm"])
def test_at_high_noise_the_guess_forgets_the_noise(prediction: Prediction) -> None:
    denoiser = tiny_denoiser(prediction)
    x = noise_like(smooth_pictures(2)) * 1000
    with torch.no_grad():
        guess = denoiser(x, torch.full((2,), 1000.0), LABELS[:2])
    assert guess.abs().max() < 10


@pytest.mark.parametrize("prediction", ["noise", "velocity", "flow", "edm"])
def test_at_low_noise_the_guess_keeps_the_picture(prediction: Prediction) -> None:
    pictures = smooth_pictures(2)
    with torch.no_grad():
        guess = tiny_denoiser(prediction)(pictures, torch.full((2,), 1e-4), LABELS[:2])
    assert (guess - pictures).abs().max() < 0.01


def test_narrow_arithmetic_is_the_networks_alone() -> None:
    denoiser, pictures = tiny_denoiser("edm"), smooth_pictures(2)
    with torch.no_grad():
        exact = denoiser(pictures, torch.full((2,), 0.01), LABELS[:2])
        denoiser.autocast_dtype = torch.bfloat16
        narrow = denoiser(pictures, torch.full((2,), 0.01), LABELS[:2])
    assert narrow.dtype == torch.float32
    assert 0 < float((narrow - exact).abs().max()) < 1e-3


def levels_of(kind: NoiseKind, timesteps: int) -> Tensor:
    levels = NoiseSchedule(kind=kind, timesteps=timesteps).levels()
    assert levels is not None
    return levels


@pytest.mark.parametrize("timesteps", [500, 1000, 1500, 2000])
def test_discrete_schedules_are_those_of_diffusers(timesteps: int) -> None:
    scale = 1000 / timesteps
    theirs = {
        "linear": DDPMScheduler(
            timesteps, beta_start=1e-4 * scale, beta_end=0.02 * scale, beta_schedule="linear"
        ),
        "cosine": DDPMScheduler(timesteps, beta_schedule="squaredcos_cap_v2"),
    }
    kinds: tuple[NoiseKind, ...] = ("linear", "cosine")
    for kind in kinds:
        levels = levels_of(kind, timesteps)
        assert len(levels) == timesteps
        assert bool((levels.diff() > 0).all())
        kept = 1 / (1 + levels**2)
        betas = 1 - kept / torch.cat([torch.ones(1, dtype=torch.float64), kept[:-1]])
        assert torch.allclose(betas, theirs[kind].betas.double(), rtol=1e-4, atol=1e-7)


def test_a_linear_schedule_of_any_length_ends_at_the_same_noise() -> None:
    ends = [float(levels_of("linear", timesteps)[-1]) for timesteps in (500, 1000, 2000)]
    assert ends == pytest.approx([157.4] * 3, rel=0.04)
    assert math.isfinite(float(levels_of("linear", 10)[-1]))


def test_log_normal_noise_is_stratified_and_as_it_always_was() -> None:
    schedule = NoiseSchedule(mean=-0.8, std=1.6)
    logs = schedule.draw(4096, seeded()).log()
    assert logs.mean() == pytest.approx(-0.8, abs=0.01)
    assert logs.std() == pytest.approx(1.6, abs=0.02)
    assert (logs < -0.8).sum() == 2048
    assert schedule.levels() is None
    # Resuming a run depends on these bits.
    golden = [2.687243938446045, 0.11080273985862732, 2.20499587059021]
    assert NoiseSchedule(mean=-0.2, std=1.2).draw(6, seeded(3)).tolist()[:3] == golden


def test_every_level_of_a_discrete_schedule_is_drawn_as_often() -> None:
    kinds: tuple[NoiseKind, ...] = ("linear", "cosine")
    for kind in kinds:
        schedule = NoiseSchedule(kind=kind, timesteps=500)
        drawn, counts = schedule.draw(1500, seeded()).unique(return_counts=True)
        assert torch.equal(drawn, levels_of(kind, 500).float())
        assert counts.tolist() == [3] * 500


def test_flow_draws_its_time_evenly() -> None:
    sigma = NoiseSchedule(kind="flow").draw(1000, seeded())
    time = sigma / (1 + sigma)
    assert time.sort().values.tolist() == pytest.approx(
        torch.linspace(0, 1, 1000).tolist(), abs=0.003
    )
    assert float(sigma.min()) >= 0.001
    assert float(sigma.max()) <= 1000


@pytest.mark.parametrize(
    ("schedule", "highest"),
    [
        (NoiseSchedule(mean=-0.2, std=1.2), 80.0),
        (NoiseSchedule(mean=-0.8, std=1.6), 80.0),
        (NoiseSchedule(mean=-1.0, std=0.5), 3.963),
        (NoiseSchedule(kind="linear"), 80.0),
        (NoiseSchedule(kind="cosine", timesteps=2000), 80.0),
        (NoiseSchedule(kind="flow"), 80.0),
    ],
)
def test_sampling_starts_no_higher_than_what_was_trained(
    schedule: NoiseSchedule, highest: float
) -> None:
    assert schedule.sigma_max == pytest.approx(highest, rel=1e-3)
    if highest < 80:
        assert float(schedule.draw(1_000_000, seeded()).max()) <= schedule.sigma_max * 1.000001


def test_edm_weighs_levels_alike_for_an_ideal_guess() -> None:
    clean = torch.randn(64, 4, 16, 16, generator=seeded()) * 0.5
    noise = noise_like(clean)

    def ideal(x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        return x * (0.25 / (0.25 + sigma**2))[:, None, None, None]

    for level in (0.2, 1.0, 10.0):
        sigma = torch.full((64,), level)
        labels = torch.zeros(64, dtype=torch.int64)
        loss = denoising_loss(ideal, clean, sigma, noise, labels, Weighting(sigma_data=0.5))
        assert loss.mean() == pytest.approx(1.0, rel=0.03)


def test_levels_below_the_floor_weigh_like_the_floor() -> None:
    kinds: tuple[WeightingKind, ...] = ("edm", "learned")
    for kind in kinds:
        weighting = Weighting(sigma_data=0.5, sigma_floor=0.2, kind=kind)
        weights = weighting.at(torch.tensor([0.01, 0.2, 1.0]))
        assert weights[0] == weights[1] == pytest.approx(29, rel=1e-3)
        assert weights[2] == pytest.approx(5, rel=1e-3)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_uniform_counts_every_error_of_the_network_alike(prediction: Prediction) -> None:
    """A network that errs by 1 everywhere has a loss of 1 at every level."""
    denoiser = tiny_denoiser(prediction)
    clean, patches = smooth_pictures(), denoiser.patches
    noise = noise_like(clean)
    sigma = torch.tensor([0.01, 0.05, 0.2, 0.5, 1.0, 3.0, 10.0, 50.0])
    level = sigma[:, None, None, None] / patches.scale
    z0 = patches.to_frequencies(clean) / patches.scale
    ideal = defined(prediction, z0, patches.to_frequencies(noise) + patches.mean, level)
    denoiser.unet = Writes(ideal + 1)  # type: ignore[assignment]
    weighting = Weighting(
        sigma_data=0.5,
        sigma_floor=0.2,
        kind="uniform",
        prediction=prediction,
        scale=tuple(patches.scale.flatten().tolist()),
    )
    losses = denoising_loss(denoiser, clean, sigma, noise, LABELS, weighting)
    assert losses.tolist() == pytest.approx([1] * 8, rel=1e-3)


def test_min_snr_clips_the_signal_to_noise_ratio() -> None:
    sigma = torch.tensor([0.01, 0.4, 0.5, 2.0])
    weights = Weighting(sigma_data=0.5, kind="min-snr", gamma=5.0).at(sigma)
    assert weights.tolist() == pytest.approx([5, 5, 4, 0.25])
    # Of the noise: min(SNR, gamma)/SNR (Hang et al. 2023, section 3.4).
    of_noise = weights * Weighting(sigma_data=1, kind="uniform", prediction="noise").at(sigma) ** -1
    assert of_noise.tolist() == pytest.approx([0.0005, 0.8, 1, 1])


def test_a_learned_uncertainty_levels_what_the_loss_is_made_of() -> None:
    """Of a network that errs by 0.1 at every level; edm's weights make thirty sizes of that."""
    uncertainty = LearnedUncertainty()
    assert uncertainty(torch.tensor([0.01, 1.0, 50.0])).tolist() == [0, 0, 0]
    optimizer = torch.optim.Adam(uncertainty.parameters(), lr=0.01)
    weighting = Weighting(sigma_data=0.5, kind="learned")
    clean, schedule = torch.zeros(64, 1, 2, 2), NoiseSchedule()

    def even(x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        return torch.full_like(x, 0.1)

    for step in range(300):
        sigma = schedule.draw(64, seeded(step))
        labels = torch.zeros(64, dtype=torch.int64)
        loss = denoising_loss(
            even, clean, sigma, clean, labels, weighting, uncertainty=uncertainty
        ).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    sigma = torch.tensor([0.1, 0.3, 1.0, 3.0, 6.0])
    expected = (weighting.at(sigma) * 0.01).log()
    assert float(expected.max() - expected.min()) > 3
    assert (uncertainty(sigma) - expected).abs().max() < 0.3


def test_held_out_loss_is_repeatable_by_level_and_by_class() -> None:
    """A network that is blind for fish (class 2) shows it there, and at every level."""
    real, clean = tiny_denoiser(), smooth_pictures(5)
    labels = torch.tensor([0, 2, 2, 0, 0])

    def denoiser(x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        return real(x, sigma, labels) * (labels != 2)[:, None, None, None]

    first, again, other_batch = (
        held_out_loss(
            denoiser,
            clean,
            labels,
            Weighting(sigma_data=0.5, kind="learned"),
            sigmas=(0.3, 3.0),
            batch_size=size,
        )
        for size in (2, 2, 5)
    )
    assert first == again
    assert first.mean == pytest.approx(other_batch.mean, rel=1e-4)
    assert set(first.cells) == {(0.3, 0), (0.3, 2), (3.0, 0), (3.0, 2)}
    assert first.by_class[2] > 1.5 * first.by_class[0]
    for level, loss in first.by_level.items():
        assert loss == pytest.approx(0.6 * first.cells[level, 0] + 0.4 * first.cells[level, 2])
    for label, loss in first.by_class.items():
        assert loss == pytest.approx((first.cells[0.3, label] + first.cells[3.0, label]) / 2)


@pytest.mark.parametrize(
    ("prediction", "weighting", "schedule"),
    [
        ("clean", "edm", "lognormal"),
        ("noise", "uniform", "linear"),
        ("noise", "min-snr", "cosine"),
        ("velocity", "min-snr", "linear"),
        ("flow", "uniform", "flow"),
        ("edm", "learned", "cosine"),
    ],
)
def test_every_objective_learns(
    prediction: Prediction, weighting: WeightingKind, schedule: NoiseKind
) -> None:
    """Twenty small steps, and the loss that they minimise falls, at levels from 0.005 to 20,000."""
    denoiser, clean = tiny_denoiser(prediction).train(), smooth_pictures()[:4]
    weights = Weighting(
        sigma_data=0.5,
        kind=weighting,
        prediction=prediction,
        scale=tuple(denoiser.patches.scale.flatten().tolist()),
    )
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=3e-3)
    levels = NoiseSchedule(kind=schedule, timesteps=500)

    def loss(step: int) -> Tensor:
        sigma, noise = levels.draw(4, seeded(step)), noise_like(clean, seed=step)
        return denoising_loss(denoiser, clean, sigma, noise, LABELS[:4], weights).mean()

    def measured() -> float:
        with torch.no_grad():
            return sum(float(loss(1000 + k)) for k in range(4)) / 4

    before = measured()
    for step in range(20):
        optimizer.zero_grad()
        loss(step).backward()
        optimizer.step()
    assert measured() < 0.9 * before
