"""Animals cut out of their backgrounds: by alpha, by a plain background, by GrabCut."""

from pathlib import Path

import numpy as np
import pytest

from core.data.starter import draw_animal
from core.errors import UserError
from exporters.config import ExportConfig
from exporters.cutting.cut import cut_out
from exporters.cutting.plain import find_backdrop
from exporters.cutting.saliency import guess_animal
from exporters.vision import dilate, rgb_to_lab


def config(**changes):
    return ExportConfig(**{"samples": Path("unused"), **changes})


def on(ground, rgba):
    """A cut-out laid on a background (one colour, or H×W×3)."""
    alpha = rgba[..., 3:] / 255
    return np.rint(rgba[..., :3] * alpha + np.asarray(ground) * (1 - alpha)).astype(np.uint8)


def iou(found, truth):
    found, truth = found[..., 3] >= 128, truth[..., 3] >= 128
    return (found & truth).sum() / (found | truth).sum()


def edge_error(found, truth):
    """Mean difference of alpha within 2 px of the true outline, 0…1."""
    inside = truth[..., 3] >= 128
    near = dilate(inside, 2) & dilate(~inside, 2)
    return np.abs(found[..., 3][near] / 255 - truth[..., 3][near] / 255).mean()


def shaded(size_px):
    """Dusk: from a warm grey at the bottom to blue at the top right."""
    y, x = np.indices((size_px, size_px))[..., None] / size_px
    return np.array([150, 140, 120]) + y * [40, 20, -20] + x * [-30, 0, 70]


def meadow(size_px):
    """Leaves and their shadows: a background of many colours."""
    random = np.random.default_rng(1)
    coarse = random.integers(0, 90, (size_px // 8, size_px // 8))
    leaves = np.kron(coarse, np.ones((8, 8)))[..., None]
    return np.array([40, 80, 20]) + leaves * [0.5, 1, 0.3] + random.normal(0, 6, leaves.shape)


def disc(colour, *, size_px=64, centre=(0.5, 0.5), radius=0.3):
    """A disc with a soft edge on clear ground."""
    y, x = np.indices((size_px, size_px)) / size_px
    distance = (np.hypot(y - centre[0], x - centre[1]) - radius) * size_px
    picture = np.zeros((size_px, size_px, 4), dtype=np.uint8)
    picture[..., :3] = colour
    picture[..., 3] = np.rint(255 * np.clip(0.5 - distance, 0, 1))
    return picture


@pytest.mark.parametrize("ground", [(255, 255, 255), (90, 160, 220), shaded(96)])
@pytest.mark.parametrize("label", ["cat", "frog", "rabbit"])
def test_a_drawing_on_a_plain_or_shaded_ground_is_cut_along_its_outline(label, ground):
    truth = draw_animal(label, 21, 96)
    cut = cut_out(on(ground, truth), config())
    assert cut.method == "plain"
    assert cut.confidence > 0.9
    assert iou(cut.image_hwc, truth) > 0.97
    assert edge_error(cut.image_hwc, truth) < 0.05


def test_spots_of_the_backgrounds_colour_inside_the_animal_stay():
    truth = disc((200, 60, 40))
    truth[28:36, 28:36, :3] = 255
    cut = cut_out(on((255, 255, 255), truth), config()).image_hwc
    assert (cut[28:36, 28:36] == 255).all()
    assert (cut[0] == 0).all()


def test_a_gap_that_shows_a_coloured_background_is_cut_too():
    """The curled tail of this cat encloses a piece of it."""
    truth = draw_animal("cat", 21, 96)
    cut = cut_out(on((90, 160, 220), truth), config()).image_hwc
    enclosed = truth[50:75, 55:70, 3] == 0
    assert enclosed.sum() > 20
    assert cut[50:75, 55:70, 3][enclosed].mean() < 40


def test_the_backgrounds_colour_leaves_the_soft_edge():
    """A red disc that stood on green shows no green rim on any other ground."""
    truth = disc((220, 30, 30))
    cut = cut_out(on((40, 220, 60), truth), config()).image_hwc
    soft = (cut[..., 3] > 60) & (cut[..., 3] < 250)
    assert soft.sum() > 40
    assert cut[soft][:, 1].max() < 80
    black = (cut[..., :3] * (cut[..., 3:] / 255)).astype(int)
    wanted = (truth[..., :3] * (truth[..., 3:] / 255)).astype(int)
    assert np.abs(black - wanted).mean() < 1


def test_grain_in_the_background_is_not_taken_for_an_animal():
    truth = draw_animal("turtle", 3, 96)
    grain = np.random.default_rng(0).normal(0, 5, (96, 96, 3))
    picture = np.clip(on((180, 200, 170), truth) + grain, 0, 255).astype(np.uint8)
    assert iou(cut_out(picture, config()).image_hwc, truth) > 0.96


def test_a_soft_shadow_goes_with_the_background():
    truth = disc((60, 140, 60), size_px=128, centre=(0.45, 0.5))
    y, x = np.indices((128, 128)) / 128
    shadow = 60 * np.exp(-(((y - 0.75) / 0.08) ** 2 + ((x - 0.5) / 0.3) ** 2))
    picture = on(255 - shadow[..., None] * np.ones(3), truth)
    cut = cut_out(picture, config()).image_hwc
    assert iou(cut, truth) > 0.97


def test_a_plain_border_is_told_from_a_busy_one():
    assert find_backdrop(shaded(64).astype(np.uint8)).plain
    assert not find_backdrop(np.clip(meadow(64), 0, 255).astype(np.uint8)).plain


def test_on_a_busy_ground_grabcut_finds_what_stands_out():
    truth = draw_animal("dog", 5, 96)
    picture = np.clip(on(meadow(96), truth), 0, 255).astype(np.uint8)
    guess = guess_animal(rgb_to_lab(picture.astype(np.float32)))
    inside = truth[..., 3] >= 128
    assert guess[inside].mean() > guess[~inside].mean() + 0.5
    cut = cut_out(picture, config())
    assert cut.method == "grabcut"
    assert iou(cut.image_hwc, truth) > 0.85


def test_the_same_picture_is_cut_the_same_way_again():
    picture = np.clip(on(meadow(96), draw_animal("cat", 8, 96)), 0, 255).astype(np.uint8)
    first = cut_out(picture, config(min_cut_out_confidence=0))
    cut_out(np.ascontiguousarray(picture[::-1]), config(min_cut_out_confidence=0))
    again = cut_out(picture, config(min_cut_out_confidence=0))
    assert (first.image_hwc == again.image_hwc).all()
    assert first.confidence == again.confidence


def two_discs():
    big = disc((200, 60, 40), centre=(0.5, 0.3), radius=0.2)
    small = disc((60, 60, 200), centre=(0.5, 0.75), radius=0.12)
    return np.where(small[..., 3:] > 0, small, big)


@pytest.mark.parametrize("opaque", [True, False])
def test_all_animals_are_kept_or_the_largest_alone(opaque):
    picture = on((255, 255, 255), two_discs()) if opaque else two_discs()
    both = cut_out(picture, config()).image_hwc
    one = cut_out(picture, config(keep="largest")).image_hwc
    assert both[32, 19, 3] == both[32, 48, 3] == 255
    assert (one[32, 19, 3], one[32, 48, 3]) == (255, 0)
    assert not one[:, 40:, 3].any()


def test_crumbs_are_dropped_and_pinholes_closed():
    picture = on((255, 255, 255), disc((200, 60, 40)))
    picture[2:4, 2:4] = 0
    cut = cut_out(picture, config()).image_hwc
    assert not cut[:6, :6, 3].any()


def test_a_picture_with_alpha_stays_as_it_is():
    animal = draw_animal("fish", 2, 48)
    cut = cut_out(animal, config())
    assert cut.method == "alpha"
    assert (cut.image_hwc == animal).all()
    assert cut.facts == {"method": "alpha", "confidence": 1.0}


def test_an_opaque_alpha_channel_is_no_cut_out():
    picture = on((255, 255, 255), disc((200, 60, 40)))
    opaque = np.concatenate([picture, np.full((64, 64, 1), 255, dtype=np.uint8)], axis=2)
    assert cut_out(opaque, config()).method == "plain"
    with pytest.raises(UserError, match="no clear pixel"):
        cut_out(opaque, config(cut_out="alpha"))


def test_none_leaves_the_whole_picture():
    picture = np.clip(meadow(32), 0, 255).astype(np.uint8)
    cut = cut_out(picture, config(cut_out="none"))
    assert cut.method == "none"
    assert (cut.image_hwc == picture).all()


def test_a_large_picture_is_cut_at_twice_the_stickers_size():
    truth = disc((30, 90, 200), size_px=700)
    cut = cut_out(on((250, 240, 230), truth), config(size_px=256, small_px=64)).image_hwc
    assert cut.shape == (512, 512, 4)
    assert abs((cut[..., 3] >= 128).mean() - np.pi * 0.3**2) < 0.003


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (np.full((64, 64, 3), 90, dtype=np.uint8), "nothing to cut out"),
        (np.full((1, 1, 3), 90, dtype=np.uint8), "nothing to cut out"),
        (np.zeros((64, 64, 4), dtype=np.uint8), "nothing to cut out"),
        (np.zeros((64, 64), dtype=np.uint8), r"the shape \(64, 64\)"),
        (np.zeros((0, 9, 3), dtype=np.uint8), r"the shape \(0, 9, 3\)"),
        (np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), "confidence|cut"),
    ],
    ids=["one colour", "one pixel", "clear", "grey", "empty", "noise"],
)
def test_where_there_is_nothing_to_cut_one_line_says_so(picture, reason):
    with pytest.raises(UserError, match=reason) as error:
        cut_out(picture, config())
    assert "\n" not in str(error.value)


def test_a_doubtful_cut_out_is_refused_with_its_confidence():
    picture = np.clip(on(meadow(96), draw_animal("dog", 5, 96)), 0, 255).astype(np.uint8)
    with pytest.raises(UserError, match=r"\(grabcut\) has a confidence of 0\.\d\d, under 0\.99"):
        cut_out(picture, config(min_cut_out_confidence=0.99))
    faint = on((200, 200, 200), disc((206, 206, 205)))  # a disc that nobody sees
    with pytest.raises(UserError, match="nothing to cut out"):
        cut_out(faint, config())


@pytest.mark.parametrize(("height", "width"), [(1, 40), (40, 1), (2, 2), (3, 200), (5, 7)])
def test_odd_sizes_are_cut_or_refused_but_never_crash(height, width):
    picture = np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8)
    for way in ("auto", "plain", "grabcut"):
        try:
            cut = cut_out(picture, config(cut_out=way, min_cut_out_confidence=0))
        except UserError:
            continue
        assert cut.image_hwc.shape == (height, width, 4)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"cut_out": "magic"}, r"cut_out is 'magic': auto, alpha, plain, grabcut, rembg, none"),
        ({"cut_out": "model.pth"}, r"\.onnx or \.tflite"),
        ({"cut_out": "plain", "cut_out_model": Path("m.onnx")}, "goes with --cut-out auto"),
        ({"keep": "smallest"}, "largest or all"),
        ({"min_cut_out_confidence": 1.5}, "allowed are 0 to 1"),
    ],
)
def test_settings_that_make_no_sense_are_one_error(changes, complaint):
    with pytest.raises(UserError, match=complaint):
        config(**changes)


@pytest.mark.realdata
def test_frogs_on_white_are_all_cut(real_data):
    from PIL import Image

    for path in sorted((real_data / "animals8" / "frog").glob("*.jpg"))[:120:10]:
        cut = cut_out(np.asarray(Image.open(path).convert("RGB")), config())
        assert cut.method == "plain"
        assert 0.1 < (cut.image_hwc[..., 3] >= 128).mean() < 0.8
