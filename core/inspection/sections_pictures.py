"""The report's sections on pictures: how they come about, at which noise, and between two."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.images import Picture
from core.inspection.config import VisualizeConfig
from core.inspection.drawing import (
    coloured,
    gif_bytes,
    noisy_shown,
    row_of,
    shown,
    stacked,
)
from core.inspection.interpolation import Interpolation, Path, Smoothness, interpolate
from core.inspection.levels import LevelGuesses, guesses_by_level, spread_levels
from core.inspection.specimens import Specimens
from core.inspection.subject import Subject
from core.inspection.trajectory import Trajectory, walk
from core.report import parts, plots

Made = tuple[str, dict[str, Any]]
"""A section's HTML, and its figures."""
_COLUMNS = 6
_CELL_PX = 64
_MANY_DB = 25.0
"""An inverted picture that comes back so near looks the same."""


def denoising(subject: Subject, specimens: Specimens, config: VisualizeConfig) -> Made:
    """Strips of what the network is given and what it guesses, and an animation."""
    found = walk(subject, steps=config.steps, seed=config.seed)
    decided, settled = found.decided_at(), found.settled()
    middle = settled[len(settled) // 2]
    names = [subject.label_names[k] for k in found.labels.tolist()] if subject.label_names else []
    told = (
        f"Drawn in {config.steps} steps from sigma {found.sigmas[0]:.3g} to "
        f"{found.sigmas[-1]:.2g}, guidance {found.guidance:.3g}"
        + (f": {', '.join(names)}. " if names else ". ")
        + f"The guess has come half of its way to the end at sigma {decided:.2g}; after half of "
        f"the steps {middle:.0%} of the way is left. Above that level the network decides what is "
        "shown, below it draws detail: look for shapes that are there early and stay, and for "
        "detail that comes and goes again."
    )
    html = parts.paragraph(told) + parts.paragraph(
        "Left: what the network is given, brought to a picture's range. Right: its guess.",
        soft=True,
    )
    html += parts.side_by_side(_columns(subject, found)) + parts.picture(
        _animation(subject, found), "the walk from noise to pictures", kind="gif", caption=
        "Every step: given above, guessed below.",
    )  # fmt: skip
    figures = {"decided_at": decided, "left_half_way": middle, "guidance": found.guidance}
    return html, figures


def _columns(subject: Subject, found: Trajectory) -> list[str]:
    """A figure per chosen level: rows of given and guessed."""
    places = np.unique(np.linspace(0, len(found.sigmas) - 1, _COLUMNS).round().astype(int))
    figures = []
    for place in places.tolist():
        given, guessed = _pair(subject, found, place)
        rows = [row_of(two, side_px=_CELL_PX, gap_px=2) for two in zip(given, guessed, strict=True)]
        sigma = f"sigma {found.sigmas[place]:.3g}"
        figures.append(parts.picture(stacked(rows), sigma, caption=sigma))
    return figures


def _pair(subject: Subject, found: Trajectory, place: int) -> tuple[list[Picture], list[Picture]]:
    noisy = noisy_shown(found.noisy[place], found.sigmas[place])
    return shown(subject.decode(noisy)), shown(subject.decode(found.guesses[place]))


def _animation(subject: Subject, found: Trajectory) -> bytes:
    frames = [
        stacked([row_of(side, side_px=128) for side in _pair(subject, found, place)])
        for place in range(len(found.sigmas))
    ]
    return gif_bytes(frames, frame_ms=160)


def levels(subject: Subject, specimens: Specimens, config: VisualizeConfig) -> Made:
    """One picture under more and more noise, and how near the guesses are."""
    sigmas = spread_levels(subject)
    found = guesses_by_level(subject, specimens, sigmas, seed=config.seed)
    harms = [sigma for sigma, gain in zip(sigmas, found.gains_db, strict=True) if gain < 0]
    told = (
        f"The guess is {found.mean_db[0]:.1f} dB from the picture at sigma {sigmas[0]:.2g} and "
        f"{found.mean_db[-1]:.1f} dB at {sigmas[-1]:.3g}, mean of {len(specimens.clean)} pictures; "
        f"their mean picture alone is {found.blind_db:.1f} dB from them. "
        + _above_words(found)
        + _harm_words(harms)
    )
    pictures = [_level(subject, specimens, found.noisy[k], found.guesses[k], sigmas[k],
                       found.first_db[k]) for k in range(len(sigmas))]  # fmt: skip
    curves = {
        "guess": list(zip(sigmas, found.mean_db, strict=True)),
        "noisy picture": list(zip(sigmas, found.noisy_db, strict=True)),
    }
    svg = plots.lines(curves, x="noise level sigma", y="dB to the clean picture", log_x=True,
                      marks={"mean picture": found.blind_db}, dots=True)  # fmt: skip
    html = parts.paragraph(told) + parts.paragraph(
        "From above: the noisy picture, the guess, its error (yellow = 0.5 or more of 2).",
        soft=True,
    )
    html += parts.side_by_side(pictures) + parts.plot(svg, "decibels by noise level")
    rows = {f"{s:.3g}": db for s, db in zip(sigmas, found.mean_db, strict=True)}
    return html, {"db": rows, "blind_db": found.blind_db}


def _above_words(found: LevelGuesses) -> str:
    above = found.mean_db[-1] - found.blind_db
    if above > 0:
        return (
            f"Even at the highest level it is {above:.1f} dB nearer than that: it knows the class, "
            "and sees traces of the shape. "
        )
    lost = next(
        s for s, db in zip(found.sigmas, found.mean_db, strict=True) if db <= found.blind_db
    )
    return f"From sigma {lost:.3g} on it knows no more than that mean. "


def _harm_words(harms: list[float]) -> str:
    if not harms:
        return "At no level does it make pictures worse."
    return (
        f"At sigma {', '.join(f'{level:.2g}' for level in harms)} the guess is further from the "
        "picture than the noisy one was: the network cannot draw such fine detail, and sampling "
        "loses it in the last steps."
    )


def _level(subject: Subject, specimens: Specimens, noisy: Tensor, guess: Tensor, sigma: float,
           db: float) -> str:  # fmt: skip
    clean = subject.decode(specimens.clean[:1])
    given = subject.decode(noisy_shown(noisy[None], sigma))
    guessed = subject.decode(guess[None])
    error = (guessed - clean)[0].abs().mean(0).double().cpu().numpy()
    heat = coloured(error, low=0.0, high=0.5)
    side = 104
    column = stacked([row_of([picture], side_px=side) for picture in
                      (shown(given)[0], shown(guessed)[0], heat)])  # fmt: skip
    return parts.picture(column, f"sigma {sigma:.3g}", caption=f"sigma {sigma:.3g}: {db:.1f} dB")


def interpolation(subject: Subject, specimens: Specimens, config: VisualizeConfig) -> Made:
    """From one picture to another through their noise."""
    found = interpolate(subject, specimens, steps=config.inversion_steps, seed=config.seed)
    arc, fade = found.paths[0], found.paths[-1]
    html = parts.paragraph(_told(found, arc, fade, specimens))
    names = {"spherical": "along the arc", "linear": "straight", "cross-fade": "cross-fade of the "
             "pictures, to compare"}  # fmt: skip
    ends = row_of(shown(found.ends), side_px=112)
    captions = " and ".join(specimens.pair_names)
    html += parts.picture(ends, captions, caption=f"The pictures: {captions}")
    for path in found.paths:
        html += parts.picture(
            row_of(shown(path.pictures), side_px=112),
            names[path.way],
            caption=_caption(path, names),
        )
    html += parts.table(
        [
            *("way", "pixels: variation", "detour", "longest step"),
            *("features: variation", "detour", "longest step"),
        ],
        [
            [names[path.way], *_rounded(path.pixels), *_rounded(path.features)]
            for path in found.paths
        ],
    )
    steps = {
        names[path.way]: [(k + 1.0, share) for k, share in enumerate(path.features.steps)]
        for path in found.paths
    }
    html += parts.plot(
        plots.lines(steps, x="step", y="share of the way, in features", dots=True),
        "lengths of the steps",
        caption="Variation: spread of the step lengths by their mean (0 = even). Detour: length of "
        "the path by the distance of its ends (1 = straight). Features: what the network's deepest "
        "layer puts out for the picture at sigma 0.3.",
    )
    return html, _figures(found)


def _told(found: Interpolation, arc: Path, fade: Path, specimens: Specimens) -> str:
    good = min(found.ends_db) >= _MANY_DB
    middle = found.paths[1].lengths[len(found.paths[1].lengths) // 2]
    even = "an even path" if arc.features.longest < 2 else "a path with a jump"
    return (
        f"Both pictures were led back to noise (sigma {found.low:.2g} to {found.high:.3g}, their "
        f"own classes, no guidance) and drawn again: they come back at {found.ends_db[0]:.1f} and "
        f"{found.ends_db[1]:.1f} dB"
        + (", which looks the same" if good else ", which one sees: take more --inversion-steps")
        + f" (the usual inversion: {found.explicit_db[0]:.1f} and {found.explicit_db[1]:.1f}). "
        f"Their noise has a spread of {found.spread[0]:.2f} and {found.spread[1]:.2f} (1 is what "
        f"samples begin with) and lies {found.angle_deg:.0f}° apart. Along the arc the longest "
        f"step is {arc.features.longest:.2f} of the mean one in the network's features: {even}; a "
        f"cross-fade has {fade.features.longest:.2f}. Straight between, the noise shrinks to "
        f"{middle:.2f} half-way: look there for pictures that are too plain."
    )


def _rounded(how: Smoothness) -> list[float]:
    return [round(value, 3) for value in (how.variation, how.detour, how.longest)]


def _caption(path: Path, names: dict[str, str]) -> str:
    return (
        f"{names[path.way]}: variation {path.features.variation:.2f} in features, "
        f"{path.pixels.variation:.2f} in pixels"
    )


def _figures(found: Interpolation) -> dict[str, Any]:
    return {
        "ends_db": list(found.ends_db),
        "explicit_db": list(found.explicit_db),
        "spread": list(found.spread),
        "angle_deg": found.angle_deg,
        "smoothness": {
            path.way: {
                kind: {"variation": how.variation, "detour": how.detour, "longest": how.longest}
                for kind, how in (("pixels", path.pixels), ("features", path.features))
            }
            for path in found.paths
        },
    }


def clean_noisy_guess(subject: Subject, x: Tensor, sigma: float, specimens: Specimens) -> list[str]:
    """Figures of the first picture: clean, as the network is given it, and its guess."""
    with torch.no_grad():
        level = torch.full((1,), sigma, device=x.device)
        guess = subject.guess(x, level, specimens.labels[:1])
    shown_as = {
        "the picture": specimens.clean[:1],
        f"given, sigma {sigma:g}": noisy_shown(x, sigma),
        "guessed": guess,
    }
    return [
        parts.picture(row_of(shown(subject.decode(batch)), side_px=128), caption, caption=caption)
        for caption, batch in shown_as.items()
    ]
