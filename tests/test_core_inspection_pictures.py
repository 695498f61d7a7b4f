"""Walks between pictures and noise: they lead back, for every kind of network."""

from pathlib import Path

import numpy as np
import pytest
import torch

from core.diffusion.kinds import Attention, Prediction
from core.diffusion.sampler import ddim
from core.errors import UserError
from core.inspection.config import VisualizeConfig
from core.inspection.drawing import coloured, decibels, gif_bytes, overlaid, shown
from core.inspection.interpolation import between, interpolate, mixed_classes, smoothness
from core.inspection.inversion import decode, even_levels, invert
from core.inspection.levels import guesses_by_level, spread_levels
from core.inspection.specimens import choose_specimens
from core.inspection.subject import open_subject
from core.inspection.trajectory import walk
from tests.inspecting import foreign_folder, small_subject, smooth_specimens


@pytest.mark.parametrize("prediction", ["noise", "clean", "velocity", "flow", "edm"])
def test_pictures_come_back_from_their_noise_for_every_prediction(prediction: Prediction) -> None:
    subject, specimens = small_subject(prediction), smooth_specimens()
    denoise = subject.denoise(specimens.pair_labels)
    levels = even_levels(0.05, 20.0, 24)
    found = invert(denoise, specimens.pair, levels)
    usual = invert(denoise, specimens.pair, levels, iterations=0)
    again = decode(denoise, found.noise, levels)
    assert decibels(again, specimens.pair).min() > 40
    missed = decode(denoise, usual.noise, levels)
    assert decibels(missed, specimens.pair).min() < decibels(again, specimens.pair).min()
    assert found.residual < 1e-4
    assert found.evaluations > usual.evaluations


def test_the_way_down_is_the_samplers_ddim() -> None:
    subject, specimens = small_subject("edm"), smooth_specimens()
    denoise = subject.denoise(specimens.labels)
    levels = even_levels(0.05, 20.0, 12)
    noise = specimens.noise(1)
    own = denoise(decode(denoise, noise, levels), levels[0])
    with torch.no_grad():
        samplers = ddim(denoise, noise * levels[-1], [*reversed(levels), 0.0], [])
    assert torch.allclose(own, samplers, atol=1e-4)


def test_the_arc_keeps_the_length_of_noise_and_the_straight_way_does_not() -> None:
    left, right = smooth_specimens().noise(0)[:2]
    shares = torch.tensor([0.0, 0.5, 1.0])
    arc, straight = (between(left, right, shares, way) for way in ("spherical", "linear"))
    for points in (arc, straight):
        assert torch.allclose(points[0], left, atol=1e-6)
        assert torch.allclose(points[2], right, atol=1e-6)
    assert float(arc[1].std()) == pytest.approx(1, abs=0.1)
    assert float(straight[1].std()) == pytest.approx(0.71, abs=0.1)
    assert torch.equal(between(left, left, shares, "spherical")[1], left)
    # A longer end does not rule the direction half-way.
    middle = between(left, 3 * right, shares, "spherical")[1].flatten()
    nearness = [torch.cosine_similarity(middle, end.flatten(), dim=0) for end in (left, right)]
    assert float(nearness[0]) == pytest.approx(float(nearness[1]), abs=1e-4)


def test_smoothness_tells_an_even_path_a_jump_and_a_detour() -> None:
    line = torch.arange(8.0)[:, None] * torch.ones(3)
    even = smoothness(line)
    assert (even.variation, even.detour, even.longest) == pytest.approx((0, 1, 1), abs=1e-9)
    jump = smoothness(torch.tensor([0, 0.1, 0.2, 0.3, 6.7, 6.8, 6.9, 7])[:, None])
    assert jump.variation > 2
    assert jump.longest > 6
    assert jump.detour == pytest.approx(1)
    round_about = smoothness(torch.tensor([[0.0, 0], [0, 5], [1, 5], [1, 0]]))
    assert round_about.detour == pytest.approx(11)
    assert sum(round_about.steps) == pytest.approx(1)


@pytest.mark.parametrize("attention", ["self", "cross"])
def test_between_two_classes_the_network_is_told_both(attention: Attention) -> None:
    subject, specimens = small_subject(attention=attention), smooth_specimens()
    x, sigma = specimens.clean[:1].expand(3, -1, -1, -1), torch.full((3,), 0.5)
    cat, fish = torch.tensor(0), torch.tensor(2)
    with torch.no_grad(), mixed_classes(subject, cat, fish, torch.tensor([0.0, 0.5, 1.0])):
        mixed = subject.guess(x, sigma, cat.expand(3))
    with torch.no_grad():
        cats, fishes = (subject.guess(x, sigma, label.expand(3)) for label in (cat, fish))
    assert torch.allclose(mixed[0], cats[0], atol=1e-5)
    assert torch.allclose(mixed[2], fishes[2], atol=1e-5)
    assert not torch.allclose(mixed[1], cats[1], atol=1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_somebody_elses_network_is_looked_at_by_its_own_pictures(
    prediction: str, tmp_path: Path
) -> None:
    config = VisualizeConfig(run=foreign_folder(tmp_path, prediction=prediction), batch=2)
    subject = open_subject(tmp_path)
    specimens = choose_specimens(subject, config)
    assert specimens.clean.shape == (2, 1, 16, 16)
    assert "drew itself" in specimens.words
    found = interpolate(subject, specimens, steps=16, seed=0)
    assert min(found.ends_db) > 30
    assert [path.way for path in found.paths] == ["spherical", "linear", "cross-fade"]
    assert found.paths[2].pixels.variation == pytest.approx(0, abs=1e-4)


def test_a_foreign_networks_guess_is_its_schedulers(tmp_path: Path) -> None:
    from diffusers import DDIMScheduler, UNet2DModel

    for prediction in ("epsilon", "v_prediction", "sample"):
        folder = foreign_folder(tmp_path / prediction, prediction=prediction)
        subject = open_subject(folder)
        scheduler = DDIMScheduler.from_pretrained(folder / "scheduler", clip_sample=False)
        unet = UNet2DModel.from_pretrained(folder / "unet")
        share = scheduler.alphas_cumprod[40]
        sigma = float(((1 - share) / share) ** 0.5)
        x = torch.randn((1, 1, 16, 16), generator=torch.Generator().manual_seed(0))
        scheduler.set_timesteps(100)
        with torch.no_grad():
            raw = unet(x, 40).sample
            theirs = scheduler.step(raw, 40, x).pred_original_sample
            ours = subject.guess(
                x * (1 + sigma**2) ** 0.5, torch.tensor([sigma]), torch.zeros(1, dtype=torch.long)
            )
        assert torch.allclose(ours, theirs, atol=1e-3), prediction


def test_what_cannot_be_looked_into_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a run nor a diffusers model"):
        open_subject(tmp_path)
    folder = foreign_folder(tmp_path / "a")
    scheduler = folder / "scheduler" / "scheduler_config.json"
    scheduler.write_text('{"_class_name": "ScoreSdeVeScheduler"}')
    with pytest.raises(UserError, match=r"ScoreSdeVeScheduler.*no betas"):
        open_subject(folder)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(UserError, match="only safetensors"):
        open_subject(folder)
    with pytest.raises(UserError, match="--data"):
        choose_specimens(
            open_subject(foreign_folder(tmp_path / "b")),
            VisualizeConfig(run=tmp_path / "b", pictures=("x", "y")),
        )


def test_less_noise_gives_better_guesses_of_a_network_that_copies() -> None:
    subject, specimens = small_subject("edm"), smooth_specimens()
    sigmas = spread_levels(subject)
    assert len(sigmas) == 8
    assert list(sigmas) == sorted(sigmas)
    found = guesses_by_level(subject, specimens, sigmas)
    assert found.mean_db[0] > found.mean_db[-1] + 20
    assert found.noisy_db[0] == pytest.approx(10 * np.log10(4 / sigmas[0] ** 2), abs=0.5)


def test_a_walk_notes_every_step_and_ends_where_sampling_does() -> None:
    subject = small_subject()
    found = walk(subject, steps=6, seed=0)
    assert found.noisy.shape == found.guesses.shape == (6, 3, 4, 16, 16)
    assert found.settled()[0] == 1
    assert found.settled()[-1] == 0
    assert found.sigmas[0] == pytest.approx(20)
    assert found.decided_at() in found.sigmas
    assert found.guidance == 1.5


def test_drawings_are_the_same_bytes_and_mark_what_is_high() -> None:
    values = np.zeros((4, 4))
    values[1, 2] = 1
    heat = coloured(values)
    assert heat[1, 2].tolist() == [253, 231, 37]
    assert heat[0, 0].tolist() == [68, 1, 84]
    grey = shown(torch.zeros((1, 1, 8, 8)))[0]
    assert grey.shape == (8, 8, 3)
    assert grey[0, 0].tolist() == [128] * 3
    over = overlaid(grey, values, side_px=80, marks=[(0.5, 0.5)])
    assert over[30, 50].sum() > over[70, 10].sum()
    assert gif_bytes([grey, over[:8, :8]], frame_ms=50) == gif_bytes(
        [grey, over[:8, :8]], frame_ms=50
    )
