from typing import Any

import numpy as np
import pytest

from core.data.transform import SquareTransform, resize
from core.images import Picture, unpremultiply


def noise(height: int, width: int, channels: int = 3) -> Picture:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def square(image_hwc: Picture, **settings: Any) -> Picture:
    return SquareTransform(**{"size_px": 16, "channels": 3, **settings})(image_hwc)


@pytest.mark.parametrize("resample", ["area", "lanczos"])
@pytest.mark.parametrize("colour_space", ["linear", "srgb"])
def test_a_plain_colour_stays_that_colour(resample: Any, colour_space: Any) -> None:
    for size in (7, 16, 50, 161):
        plain = np.full((size, size, 3), (200, 100, 3), np.uint8)
        small = resize(plain, (16, 16), resample=resample, colour_space=colour_space)
        assert np.abs(small.astype(int) - (200, 100, 3)).max() <= 1


def test_a_picture_of_the_right_size_is_left_as_it_is() -> None:
    image_hwc = noise(16, 16)
    assert (square(image_hwc) == image_hwc).all()


def test_light_is_averaged_not_coded_values() -> None:
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[::2] = 255
    # Half the light of white is 188 in sRGB (IEC 61966-2-1), as the stripes look from afar.
    assert np.abs(square(stripes).astype(int) - 188).max() <= 1
    assert np.abs(square(stripes, colour_space="srgb").astype(int) - 128).max() <= 1


@pytest.mark.parametrize("resample", ["area", "lanczos"])
def test_the_colour_of_clear_pixels_never_bleeds_in(resample: Any) -> None:
    image_hwc = np.zeros((64, 64, 4), np.uint8)
    image_hwc[..., 1] = 255  # invisible green
    image_hwc[10:51, 10:51] = (255, 0, 0, 255)
    small = square(image_hwc, channels=4, resample=resample)
    assert (small[..., :3] <= small[..., 3:]).all()
    assert small[..., 1].max() == 0
    straight = unpremultiply(small)
    assert (straight[straight[..., 3] > 8][:, 0] >= 250).all()


def test_large_pictures_shrink_in_strips_to_the_same_pixels() -> None:
    image_hwc = noise(2304, 2304, 4)
    blocks = image_hwc.astype(np.float64)
    light = np.where(
        (c := blocks[..., :3] / 255) <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4
    )
    weighted = (light * blocks[..., 3:]).reshape(16, 144, 16, 144, 3).mean((1, 3))
    alpha = blocks[..., 3:].reshape(16, 144, 16, 144, 1).mean((1, 3))
    mean = weighted / alpha
    coded = np.where(mean <= 0.0031308, mean * 12.92, 1.055 * mean ** (1 / 2.4) - 0.055)
    expected = np.concatenate([coded * alpha, alpha], axis=-1)
    assert np.abs(square(image_hwc, channels=4) - expected).max() <= 1


def test_crop_keeps_the_centre_and_pad_keeps_everything() -> None:
    image_hwc = np.zeros((32, 96, 3), np.uint8)
    image_hwc[:, :32] = (255, 0, 0)
    image_hwc[:, 64:] = (0, 0, 255)
    assert square(image_hwc, policy="crop").max() == 0
    padded = square(image_hwc, policy="pad", background_rgb=(1, 2, 3))
    assert padded[8, 1].tolist() == [255, 0, 0]
    assert padded[8, -2].tolist() == [0, 0, 255]
    assert padded[0, 0].tolist() == [1, 2, 3]
    clear = square(image_hwc, policy="pad", channels=4)
    assert clear[0, 0].tolist() == [0, 0, 0, 0]
    assert clear[8, 1].tolist() == [255, 0, 0, 255]


def test_cover_frames_the_subject_of_a_cut_out() -> None:
    image_hwc = np.zeros((100, 200, 4), np.uint8)
    image_hwc[5:25, 180:200] = 255
    small = square(image_hwc, policy="cover", channels=4)
    assert (small[1:-1, 1:-1, 3] == 255).all()
    assert small[0, 0, 3] < 255


def test_cover_finds_the_detail_of_a_photograph_and_else_the_centre() -> None:
    image_hwc = np.full((32, 128, 3), 90, np.uint8)
    image_hwc[:, 90:110] = noise(32, 20)
    assert square(image_hwc, policy="cover").std() > 20
    image_hwc[:] = np.linspace(0, 255, 128).astype(np.uint8)[:, None] // 200 * 0 + 90
    assert square(image_hwc, policy="cover").std() == 0


def test_transparency_is_laid_over_the_background() -> None:
    image_hwc = np.zeros((32, 32, 4), np.uint8)
    image_hwc[..., :2] = 200
    assert (square(image_hwc, background_rgb=(9, 8, 7)) == (9, 8, 7)).all()
    image_hwc[..., 3] = 255
    assert (square(image_hwc, background_rgb=(9, 8, 7)) == (200, 200, 0)).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 17)])
@pytest.mark.parametrize("policy", ["pad", "crop", "cover"])
def test_any_shape_becomes_a_square(size: tuple[int, int], policy: Any) -> None:
    for channels in (3, 4):
        image_hwc = noise(*size, channels)
        for resample in ("area", "lanczos"):
            made = square(image_hwc, policy=policy, channels=channels, resample=resample)
            assert (made.shape, made.dtype) == ((16, 16, channels), np.uint8)
