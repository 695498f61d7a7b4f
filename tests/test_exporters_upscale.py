"""Enlarging: no fringes, no seams, and no weights that could run code."""

from pathlib import Path

import numpy as np
import pytest

from core.data.starter import draw_animal
from core.errors import UserError
from exporters.drawing.sharpen import soothe, walk_off_edges
from exporters.drawing.silhouette import carry_outwards, find_silhouette
from exporters.upscale import enlarge
from tests.verbs import trouble_of

REPOSITORY = Path(__file__).resolve().parents[1]


def test_hidden_colour_of_clear_pixels_does_not_bleed_in():
    picture = np.zeros((32, 32, 4), dtype=np.uint8)
    picture[...] = (255, 0, 255, 0)  # clear, but magenta
    picture[8:24, 8:24] = (0, 160, 0, 255)
    large = enlarge(picture, size_px=256).picture_hwc
    level = find_silhouette(large, threshold=0.5, ramp_px=8)
    colour = carry_outwards(large, 8)[level >= 0]
    assert colour[:, 0].max() < 2
    assert np.abs(colour[:, 1] - 160).max() < 2


def test_colour_never_exceeds_alpha():
    large = enlarge(draw_animal("horse", 4, 64), size_px=512).picture_hwc
    assert large.min() >= 0
    assert (large[..., :3] <= large[..., 3:] + 1e-3).all()
    assert large.max() <= 255.001


def test_a_blurred_edge_becomes_a_step_and_a_thin_line_survives():
    colour = np.full((64, 64, 3), 220.0, dtype=np.float32)
    ramp = np.clip((np.arange(64) - 20) / 12, 0, 1)
    colour[...] = (220 - 180 * ramp)[None, :, None]
    line = np.exp(-((np.arange(64) - 50) ** 2) / 18)
    colour[...] += (120 * line)[None, :, None]
    crisp = walk_off_edges(colour, 8).apply(colour)[32, :, 0]
    between = (crisp[:40] > 70) & (crisp[:40] < 190)
    assert between.sum() <= 3  # the ramp held eight such pixels
    assert crisp[50] > 140
    assert crisp.max() <= colour.max() + 1e-3


def test_noise_is_soothed_but_an_edge_is_not():
    noisy = np.random.default_rng(0).normal(120, 4, (32, 32, 4)).astype(np.float32)
    noisy[:, 16:] += 90
    calm = soothe(noisy, 10)
    assert calm[8:24, 4:12].std() < 0.5 * noisy[8:24, 4:12].std()
    assert calm[:, 17].mean() - calm[:, 14].mean() > 85
    assert soothe(noisy, 0) is noisy


def test_islands_go_and_pinholes_are_filled():
    alpha = np.zeros((256, 256, 4), dtype=np.float32)
    alpha[40:200, 40:200] = 255
    alpha[100:106, 100:106] = 0  # a pinhole
    alpha[150:190, 60:90] = 0  # a real gap
    alpha[230:236, 230:236] = 255  # an island
    inside = find_silhouette(alpha, threshold=0.5, ramp_px=4) >= 0
    assert inside[103, 103]
    assert not inside[170, 75]
    assert not inside[233, 233]


@pytest.mark.slow
def test_tiles_leave_no_seams():
    from exporters.superres import upscale_tiled

    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    blur = torch.nn.Sequential(
        *(torch.nn.Conv2d(3, 3, 3, padding=1, padding_mode="replicate") for _ in range(6)),
        torch.nn.Upsample(scale_factor=2, mode="bilinear"),
    ).eval()

    def model(batch):
        with torch.inference_mode():
            return blur(batch).sigmoid()

    picture = np.random.default_rng(1).uniform(0, 255, (90, 70, 3)).astype(np.float32)
    whole = upscale_tiled(picture, model, 2, tile_px=512)
    tiled = upscale_tiled(picture, model, 2, tile_px=32, context_px=12)
    assert whole.shape == (180, 140, 3)
    assert np.abs(whole - tiled).max() < 1


@pytest.mark.slow
def test_a_failed_tile_fails_the_picture():
    from exporters.superres import upscale_tiled

    torch = pytest.importorskip("torch")
    picture = np.zeros((40, 40, 3), dtype=np.float32)

    def empty(batch):
        return torch.full((1, 3, 2 * batch.shape[2], 2 * batch.shape[3]), float("nan"))

    with pytest.raises(UserError, match="failed on the tile"):
        upscale_tiled(picture, empty, 2, tile_px=20)
    with pytest.raises(UserError, match="failed on the tile"):
        upscale_tiled(picture, lambda batch: batch, 2, tile_px=20)


@pytest.mark.slow
def test_files_that_are_no_weights_are_refused_in_one_line(tmp_path):
    from exporters.superres import load_upscaler

    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04")
    for name in ("missing.pth", "text.pth", "text.safetensors", "cut.pth"):
        with pytest.raises(UserError) as caught:
            load_upscaler(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.realdata
def test_a_pickle_with_code_in_it_is_refused(real_data):
    from exporters.superres import load_upscaler

    with pytest.raises(UserError, match="refused"):
        load_upscaler(real_data / "weights" / "unsafe_pickle.pth")


@pytest.mark.slow
@pytest.mark.realdata
def test_real_esrgan_enlarges_with_alpha_and_without_seams(real_data):
    from exporters.superres import load_upscaler, upscale_tiled

    weights = real_data / "weights" / "realesr-general-x4v3.pth"
    enlarged = enlarge(draw_animal("rabbit", 2, 64), size_px=512, upscaler=str(weights))
    assert enlarged.picture_hwc.shape == (512, 512, 4)
    assert enlarged.ramp_px == 8
    assert (enlarged.picture_hwc[..., :3] <= enlarged.picture_hwc[..., 3:] + 1e-3).all()
    model, scale, _ = load_upscaler(weights)
    colour = draw_animal("rabbit", 2, 96)[..., :3].astype(np.float32)
    whole = upscale_tiled(colour, model, scale)
    tiled = upscale_tiled(colour, model, scale, tile_px=48)
    assert np.abs(whole - tiled).max() <= 1


def test_a_lanczos_export_never_loads_torch():
    code = (
        "import sys, jobs.export, exporters.drawing.sticker, exporters.build; "
        "assert not {'torch', 'spandrel', 'diffusers'} & set(sys.modules)"
    )
    assert trouble_of(code) == ""
