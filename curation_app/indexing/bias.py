"""What tells the classes apart beside the animals: backgrounds, light, shape and size.

A model learns these as well: where all frogs stand on white, a frog is what stands on white.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from curation_app.indexing.quality import Quality

Floats = NDArray[np.float64]

_FOLDS = 5
_FEWEST = 10
"""Pictures that a class must have, to be compared."""
_COMMON = 0.5
"""Share from which on a background is the class's own…"""
_RARER = 0.3
"""…if it is rarer among the others by so much."""
_TOLD = 0.6
"""Share of a class's pictures known by their border alone, less the share of others taken for
them, from which on it is worth a sentence."""
_BRIGHTER = 0.15
_WIDER = 1.25
_LARGER = 1.5
_HUES = ("red", "orange", "yellow", "green", "green", "turquoise", "blue", "blue", "violet", "pink")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassBias:
    """What the pictures of one class have in common."""

    label: str
    count: int
    border_rgb: tuple[int, int, int]
    """Mean colour of the borders."""
    plain: float
    """Share of pictures on a background of one colour, or on none."""
    backgrounds: tuple[tuple[str, float], ...]
    """Those colours and their shares of all pictures, the commonest first; `transparent` is one."""
    brightness: float
    """Mean, of what is not background."""
    shape: float
    """Median of width by height."""
    side_px: int
    """Median of the shorter side."""
    told: float | None
    """Share of pictures whose class is guessed right from the border alone; None for too few."""
    mistaken: float | None
    """Share of the other classes' pictures that are taken for this one by their border."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bias:
    """How the classes differ in what should not matter."""

    classes: tuple[ClassBias, ...]
    """By label."""
    told: float | None
    """Mean of the classes' shares guessed right from the border alone; None for a single class."""
    chance: float | None
    """What blind guessing would reach."""
    sentences: tuple[str, ...]
    """For people: of all classes first, then of each by label."""


def bias(pictures: Mapping[str, Sequence[Quality]]) -> Bias:
    """Compare classes, given what was measured of each one's pictures."""
    filled = {label: list(some) for label, some in sorted(pictures.items()) if some}
    compared = {label: some for label, some in filled.items() if len(some) >= _FEWEST}
    told = _told_by_border(compared) if len(compared) > 1 else {}
    classes = tuple(_summed_up(label, some, told.get(label)) for label, some in filled.items())
    mean = float(np.mean([right for right, _ in told.values()])) if told else None
    chance = 1 / len(told) if told else None
    sentences = list(_overall(mean, chance))
    for label in compared if told else ():
        sentences += _sentences(label, compared, told[label])
    return Bias(classes=classes, told=mean, chance=chance, sentences=tuple(sentences))


def background_of(quality: Quality) -> str | None:
    """The name of a plain background's colour, or `transparent`; None where it is not plain."""
    if quality.is_cut_out:
        return "transparent"
    return colour_name(quality.border_rgb) if quality.is_plain else None


def colour_name(rgb: tuple[int, int, int]) -> str:
    """A word for a colour."""
    high, low = max(rgb), min(rgb)
    if low >= 225:
        return "white"
    if high <= 40:
        return "black"
    if high - low < 0.15 * high:
        return "grey"
    red, green, blue = rgb
    places = {red: (green - blue) / (high - low) % 6}
    places |= {blue: (red - green) / (high - low) + 4, green: (blue - red) / (high - low) + 2}
    turn = {red: places[red], green: places[green], blue: places[blue]}[high] / 6
    name = _HUES[int((turn + 0.05) % 1 * len(_HUES))]
    return "brown" if name in ("orange", "red") and high < 150 else name


def _summed_up(
    label: str, pictures: Sequence[Quality], told: tuple[float, float] | None
) -> ClassBias:
    names = Counter(name for one in pictures if (name := background_of(one)))
    red, green, blue = np.mean([one.border_rgb for one in pictures], axis=0).round().astype(int)
    return ClassBias(
        label=label,
        count=len(pictures),
        border_rgb=(int(red), int(green), int(blue)),
        plain=names.total() / len(pictures),
        backgrounds=tuple((name, count / len(pictures)) for name, count in names.most_common()),
        brightness=float(np.mean([one.brightness for one in pictures])),
        shape=float(np.median([one.width_px / one.height_px for one in pictures])),
        side_px=int(np.median([min(one.width_px, one.height_px) for one in pictures])),
        told=told[0] if told else None,
        mistaken=told[1] if told else None,
    )


def _told_by_border(
    pictures: Mapping[str, Sequence[Quality]],
) -> dict[str, tuple[float, float]]:
    """What a nearest-mean classifier makes of the borders, cross-validated.

    For each class the share of its pictures guessed right, and that of the others taken for it.
    """
    seen = [np.array([_border_of(one) for one in some]) for some in pictures.values()]
    spread = np.sqrt(np.mean([some.var(axis=0) for some in seen], axis=0))
    # What hardly varies inside the classes must not drown out the rest.
    seen = [some / np.maximum(spread, 0.05) for some in seen]
    guessed = np.zeros((len(seen), len(seen)))
    for fold in range(_FOLDS):
        learnt = [np.delete(some, np.s_[fold::_FOLDS], axis=0) for some in seen]
        means = np.array([some.mean(axis=0) for some in learnt])
        for own, some in enumerate(seen):
            apart = np.square(some[fold::_FOLDS, None] - means).sum(axis=-1)
            guessed[own] += np.bincount(apart.argmin(axis=1), minlength=len(seen))
    counts = guessed.sum(axis=1)
    right = guessed.diagonal()
    mistaken = (guessed.sum(axis=0) - right) / (counts.sum() - counts)
    shares = np.stack([right / counts, mistaken], axis=1).tolist()
    return {label: (told, wrong) for label, (told, wrong) in zip(pictures, shares, strict=True)}


def _border_of(quality: Quality) -> tuple[float, ...]:
    colours = (value / 255 for value in quality.border_rgb)
    return (*colours, quality.border_plain, quality.border_clear)


def _overall(told: float | None, chance: float | None) -> Iterator[str]:
    if told is not None and chance is not None and told >= min(2 * chance, (1 + chance) / 2):
        yield (
            f"The border of a picture alone gives its class away in {_percent(told)} of cases; "
            f"guessing blindly would be right in {_percent(chance)}. A model will learn the "
            "backgrounds with the animals: cut those out, or mix in pictures on other backgrounds."
        )


def _sentences(
    label: str, pictures: Mapping[str, Sequence[Quality]], told: tuple[float, float]
) -> Iterator[str]:
    own = pictures[label]
    others = [one for name, some in pictures.items() if name != label for one in some]
    yield from _of_background(label, own, others)
    right, mistaken = told
    if right - mistaken >= _TOLD:
        yield (
            f"{label}: {_percent(right)} of its pictures are recognised by their border alone; "
            f"of the other classes {_percent(mistaken)} are taken for it."
        )
    yield from _of_light(label, own, others)
    yield from _of_shape(label, own, others)


def _of_background(label: str, own: Sequence[Quality], others: Sequence[Quality]) -> Iterator[str]:
    names = Counter(name for one in own if (name := background_of(one)))
    for name, count in names.most_common(1):
        share = count / len(own)
        rest = sum(background_of(one) == name for one in others) / len(others)
        if share >= _COMMON and share - rest >= _RARER:
            ground = "transparent" if name == "transparent" else f"plain {name}"
            yield (
                f"{label}: {_percent(share)} of {len(own)} pictures have a {ground} background; "
                f"of the other classes {_percent(rest)}."
            )


def _of_light(label: str, own: Sequence[Quality], others: Sequence[Quality]) -> Iterator[str]:
    mine, theirs = (float(np.mean([one.brightness for one in some])) for some in (own, others))
    if abs(mine - theirs) >= _BRIGHTER:
        word = "brighter" if mine > theirs else "darker"
        yield (
            f"{label}: its pictures are {word} than the others: {_percent(mine)} of full "
            f"brightness on average, against {_percent(theirs)}."
        )


def _of_shape(label: str, own: Sequence[Quality], others: Sequence[Quality]) -> Iterator[str]:
    def median(measure: Callable[[Quality], float], some: Sequence[Quality]) -> float:
        return float(np.median([measure(one) for one in some]))

    def side(one: Quality) -> float:
        return min(one.width_px, one.height_px)

    mine, theirs = (
        median(lambda one: one.width_px / one.height_px, some) for some in (own, others)
    )
    if not 1 / _WIDER < mine / theirs < _WIDER:
        word = "wider" if mine > theirs else "narrower"
        yield (
            f"{label}: its pictures are {word} than the others: {mine:.2g} times as wide as high, "
            f"against {theirs:.2g}."
        )
    mine, theirs = median(side, own), median(side, others)
    if not 1 / _LARGER < mine / theirs < _LARGER:
        word = "larger" if mine > theirs else "smaller"
        yield (
            f"{label}: its pictures are {word} than the others: {mine:.0f} px on the shorter side, "
            f"against {theirs:.0f}."
        )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
