"""Super-resolution: the shipped network, other people's, RGBA whole, in tiles and batches."""

from pathlib import Path

import numpy as np
import pytest

from core.data.starter import LABELS, draw_animal
from core.errors import UserError
from core.images import premultiply
from exporters.upscale import STARTER, STARTER_WEIGHTS, enlarge, lanczos

pytestmark = pytest.mark.slow  # torch and spandrel take seconds to load

HELD_OUT = 10_000_000
"""Seeds that no training draws."""


def compact_weights(channels=4, features=6, convolutions=2, scale=2, seed=0):
    """Random weights of Real-ESRGAN's compact network, by the names that it publishes."""
    import torch

    dice = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=dice) * 0.1

    state, taken = {}, channels
    for place in range(convolutions + 1):
        state[f"body.{2 * place}.weight"] = normal(features, taken, 3, 3)
        state[f"body.{2 * place}.bias"] = normal(features)
        state[f"body.{2 * place + 1}.weight"] = torch.full((features,), 0.2)
        taken = features
    last = 2 * convolutions + 2
    state[f"body.{last}.weight"] = normal(channels * scale**2, taken, 3, 3)
    state[f"body.{last}.bias"] = normal(channels * scale**2)
    return state


def save_pth(path: Path, state) -> Path:
    import torch

    torch.save(state, path)
    return path


def pair(label, size_px):
    """A held-out animal and a quarter of it, premultiplied, 0…255."""
    large = premultiply(draw_animal(label, HELD_OUT, 4 * size_px)).astype(np.float32)
    small = large.reshape(size_px, 4, size_px, 4, 4).mean(axis=(1, 3))
    return np.rint(small).astype(np.float32), large


def psnr_db(one, other):
    return 10 * np.log10(255**2 / np.square(one - other).mean())


def test_published_names_of_weights_all_load_and_give_the_same_picture(tmp_path):
    from safetensors.torch import save_file

    from exporters.superres import load_upscaler, upscale_premultiplied

    state = compact_weights()
    other = compact_weights(seed=1)
    save_file(state, tmp_path / "plain.safetensors")
    files = [
        tmp_path / "plain.safetensors",
        save_pth(tmp_path / "plain.pth", state),
        save_pth(tmp_path / "params.pth", {"params": state}),
        save_pth(tmp_path / "ema.pth", {"params": other, "params_ema": state}),
    ]
    small, _ = pair("cat", 32)
    larger = [upscale_premultiplied(small, file) for file in files]
    assert larger[0].shape == (64, 64, 4)
    for picture in larger[1:]:
        np.testing.assert_array_equal(picture, larger[0])
    assert load_upscaler(files[0])[1:] == (2, 4)


def test_an_rgba_network_sees_colour_and_alpha_together_and_gives_a_possible_picture(tmp_path):
    from exporters.superres import upscale_premultiplied

    weights = save_pth(tmp_path / "w.pth", compact_weights())
    small, _ = pair("frog", 32)
    large = upscale_premultiplied(small, weights)
    assert (large[..., :3] <= large[..., 3:]).all()
    assert large.min() >= 0
    assert large.max() <= 255
    opaque = small.copy()
    opaque[..., 3] = 255
    assert (upscale_premultiplied(opaque, weights)[..., 3] == 255).all()


@pytest.mark.parametrize("channels", [1, 2])
def test_wrong_channels_are_one_clear_line(tmp_path, channels):
    from exporters.superres import load_upscaler

    weights = save_pth(tmp_path / "odd.pth", compact_weights(channels=channels))
    with pytest.raises(UserError) as caught:
        load_upscaler(weights)
    assert f"odd.pth maps {channels} to {channels} channels; wanted is" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_of_something_else_are_one_clear_line(tmp_path):
    import torch

    from exporters.superres import load_upscaler

    for names in (
        ("layer.weight",),
        ("body.0.weight", "body.1.weight"),  # like known ones, and not
        ("conv_first.weight", "body.0.rdb1.conv1.weight"),
    ):
        weights = save_pth(tmp_path / "other.pth", {name: torch.zeros(3) for name in names})
        with pytest.raises(UserError, match="no architecture that spandrel knows") as caught:
            load_upscaler(weights)
        assert "\n" not in str(caught.value)


def test_rgba_tiles_in_batches_leave_no_seam(tmp_path):
    from exporters.superres import load_upscaler, upscale_tiled

    model, scale, _ = load_upscaler(save_pth(tmp_path / "w.pth", compact_weights()))
    picture = np.random.default_rng(0).uniform(0, 255, (75, 101, 4)).astype(np.float32)
    whole = upscale_tiled(picture, model, scale, tile_px=200)
    for tile_px, context_px in ((24, 12), (50, 40), (75, 9)):
        tiled = upscale_tiled(picture, model, scale, tile_px=tile_px, context_px=context_px)
        assert np.abs(tiled - whole).max() < 0.1


def test_one_bad_tile_of_a_batch_fails_the_picture_and_is_named():
    from exporters.superres import upscale_tiled

    def spoils_the_third(batch):
        large = batch.repeat_interleave(2, 2).repeat_interleave(2, 3)
        large[2, 0, 5, 5] = float("inf")
        return large

    picture = np.zeros((40, 40, 4), dtype=np.float32)
    with pytest.raises(UserError, match="failed on the tile at 0, 20: nothing is patched"):
        upscale_tiled(picture, spoils_the_third, 2, tile_px=20)


def test_the_starter_weights_are_small_and_say_what_made_them():
    import json

    from safetensors import safe_open

    assert STARTER_WEIGHTS.stat().st_size < 2**20
    with safe_open(STARTER_WEIGHTS, "pt") as file:
        facts = json.loads(file.metadata()["menagerie"])
    assert facts["scale"] == 4
    assert facts["config"]["data"] == []  # the starter animals alone: nobody else's pictures


@pytest.mark.parametrize("size_px", [32, 64])
def test_the_starter_upscaler_beats_lanczos_on_animals_that_it_never_saw(size_px):
    from exporters.superres import upscale_premultiplied

    gains = []
    for label in LABELS:
        small, large = pair(label, size_px)
        plain = psnr_db(lanczos(small, 4 * size_px), large)
        gains.append(psnr_db(upscale_premultiplied(small, STARTER_WEIGHTS), large) - plain)
    assert np.mean(gains) >= 2
    assert min(gains) > 0


def test_an_eye_of_two_pixels_stays_dark_and_round():
    eye = np.full((32, 32, 4), 255, dtype=np.uint8)
    eye[..., :3] = (240, 190, 120)
    rows, columns = np.indices((512, 512)) / 16
    disc = np.hypot(rows - 15.8, columns - 16.3) < 1.25
    cover = disc.reshape(32, 16, 32, 16).mean(axis=(1, 3))[..., None]
    eye[..., :3] = np.rint(eye[..., :3] * (1 - cover) + 30 * cover)

    def darkest_and_area(upscaler):
        green = enlarge(eye, size_px=512, upscaler=upscaler).picture_hwc[..., 1]
        return green.min(), (green < 110).sum() / disc.sum()

    plain, starter = darkest_and_area("lanczos"), darkest_and_area(STARTER)
    assert starter[0] < 60  # the pupil is dark, as it was drawn, not a grey smudge
    assert abs(starter[1] - 1) < 0.35
    assert abs(starter[1] - 1) <= abs(plain[1] - 1) + 0.05


def test_bf16_is_within_a_few_levels_of_fp32():
    from exporters.superres import upscale_premultiplied

    small, _ = pair("turtle", 32)
    exact = upscale_premultiplied(small, STARTER_WEIGHTS)
    rounded = upscale_premultiplied(small, STARTER_WEIGHTS, precision="bf16")
    assert psnr_db(exact, rounded) > 42
    assert not np.array_equal(exact, rounded)
