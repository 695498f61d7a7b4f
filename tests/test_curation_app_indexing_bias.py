import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.starter import draw_animal
from core.images import over
from curation_app.indexing.bias import background_of, bias, colour_name
from curation_app.indexing.facts import look
from curation_app.indexing.quality import Quality, measure


def animal(seed: int, ground: tuple[int, int, int] | None, size: int = 64) -> Quality:
    """An animal on one colour, or on a cluttered meadow."""
    drawn = draw_animal("cat", seed, size)
    if ground is not None:
        return measure(over(drawn, ground), (size, size))
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 7, 3), dtype=np.uint8))
    meadow = np.asarray(coarse.resize((size, size), Image.Resampling.NEAREST))
    alpha = drawn[..., 3:] / 255
    mixed = (drawn[..., :3] * alpha + meadow * (1 - alpha)).astype(np.uint8)
    return measure(mixed, (size, size))


def test_a_class_that_stands_on_one_colour_is_named() -> None:
    found = bias(
        {
            "frog": [animal(seed, (250, 250, 250)) for seed in range(20)],
            "cat": [animal(seed, None) for seed in range(20, 40)],
            "dog": [animal(seed, None) for seed in range(40, 60)],
        }
    )
    text = (
        "frog: 100 % of 20 pictures have a plain white background; of the other classes 0 %.",
        "frog: 100 % of its pictures are recognised by their border alone; of the other classes",
    )
    assert all(any(line.startswith(start) for line in found.sentences) for start in text)
    assert not any(line.startswith(("cat", "dog")) for line in found.sentences)
    frog = next(one for one in found.classes if one.label == "frog")
    assert frog.backgrounds == (("white", 1.0),)
    assert (found.chance, frog.told) == (1 / 3, 1.0)


def test_classes_that_differ_in_nothing_are_not_spoken_of() -> None:
    found = bias(
        {
            label: [animal(seed + 30 * place, None) for seed in range(25)]
            for place, label in enumerate(("cat", "dog", "fish"))
        }
    )
    assert found.sentences == ()
    assert found.told is not None
    assert found.told < 0.6


def test_backgrounds_in_each_class_s_own_colour_give_all_away() -> None:
    grounds = {"cat": (200, 30, 30), "dog": (30, 160, 40), "fish": (30, 40, 200)}
    found = bias(
        {label: [animal(seed, rgb) for seed in range(12)] for label, rgb in grounds.items()}
    )
    assert found.told == 1.0
    assert found.sentences[0].startswith(
        "The border of a picture alone gives its class away in 100"
    )
    for label, name in (("cat", "red"), ("dog", "green"), ("fish", "blue")):
        assert f"{label}: 100 % of 12 pictures have a plain {name} background; " in " ".join(
            found.sentences
        )


def test_light_shape_and_size_are_compared_too() -> None:
    dark = [
        measure((over(draw_animal("cat", seed, 64), (90, 90, 90)) * 0.4).astype(np.uint8), (64, 64))
        for seed in range(12)
    ]
    wide = [
        measure(np.repeat(over(draw_animal("cat", seed, 64), (90, 90, 90)), 2, axis=1), (640, 320))
        for seed in range(12)
    ]
    plain = [animal(seed, (90, 90, 90)) for seed in range(12)]
    text = " ".join(bias({"bat": dark, "snake": wide, "cat": plain}).sentences)
    assert "bat: its pictures are darker than the others" in text
    assert "snake: its pictures are wider than the others: 2 times as wide as high" in text
    assert "snake: its pictures are larger than the others: 320 px" in text


def test_few_pictures_and_a_single_class_are_summed_up_but_not_judged() -> None:
    white = [animal(seed, (255, 255, 255)) for seed in range(12)]
    found = bias({"frog": white, "cat": [animal(99, None)], "dog": []})
    assert found.sentences == ()
    assert (found.told, found.chance) == (None, None)
    assert [(one.label, one.count) for one in found.classes] == [("cat", 1), ("frog", 12)]
    assert bias({}).classes == ()


def test_cut_outs_stand_on_nothing() -> None:
    cut_out = measure(draw_animal("frog", 1, 64), (64, 64))
    assert background_of(cut_out) == "transparent"
    assert background_of(animal(1, (10, 10, 10))) == "black"
    assert background_of(animal(1, None)) is None


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        *(((255, 255, 255), "white"), ((12, 9, 20), "black"), ((130, 128, 126), "grey")),
        *(((220, 20, 30), "red"), ((110, 70, 30), "brown"), ((250, 140, 10), "orange")),
        *(((60, 130, 50), "green"), ((110, 170, 230), "blue"), ((240, 225, 40), "yellow")),
    ],
)
def test_colours_have_names(rgb: tuple[int, int, int], name: str) -> None:
    assert colour_name(rgb) == name


@pytest.mark.realdata
def test_the_frogs_on_white_are_obvious(real_data: Path) -> None:
    folders = [folder for folder in sorted((real_data / "animals8").iterdir()) if folder.is_dir()]
    found = bias(
        {
            folder.name: [
                look(path.read_bytes()).quality for path in sorted(folder.iterdir())[::20]
            ]
            for folder in folders
        }
    )
    (background,) = (line for line in found.sentences if "background;" in line)
    told = re.fullmatch(
        r"frog: (\d+) % of \d+ pictures have a plain white background; "
        r"of the other classes (\d+) %\.",
        background,
    )
    assert told
    assert int(told[1]) > 85
    assert int(told[2]) < 10
    assert sum(line.startswith("frog") for line in found.sentences) == 2
    frog = next(one for one in found.classes if one.label == "frog")
    assert frog.plain > 0.85
    assert all(one.plain < 0.2 for one in found.classes if one is not frog)
