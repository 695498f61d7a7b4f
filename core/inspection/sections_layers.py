"""The report's sections on layers: maps, attention, activations, skips and gradients."""

import numpy as np
from numpy.typing import NDArray

from core.inspection.activations import FeatureMaps, activations, feature_maps
from core.inspection.attention import AttentionMaps, attention_maps
from core.inspection.config import VisualizeConfig
from core.inspection.drawing import coloured, noisy_shown, overlaid, row_of, shown
from core.inspection.gradients import gradient_norms, logged_norms
from core.inspection.levels import spread_levels
from core.inspection.sections_pictures import Made, clean_noisy_guess
from core.inspection.skips import SkipAblation, ablate_skips
from core.inspection.specimens import Specimens
from core.inspection.subject import Subject
from core.report import parts, plots
from core.training.record import read_metrics

_PLACES = ((0.5, 0.5), (0.3, 0.35), (0.08, 0.08))
"""Where the marked queries are: the middle, above it, and a corner."""
_MAP_PX = 64
_SIDES = {"down": "On the way down", "middle": "In the middle", "up": "On the way up"}
_CURVES = 8
"""Layers whose gradients during training are drawn: more would be a tangle."""


def maps(subject: Subject, specimens: Specimens, config: VisualizeConfig) -> Made:
    """Feature maps of every layer, for one noisy picture."""
    x = specimens.clean[:1] + config.sigma * specimens.noise(config.seed)[:1]
    found = feature_maps(subject, x, config.sigma, specimens.labels[:1])
    wide = max(found, key=lambda each: each.active_share)
    narrow = min(found, key=lambda each: each.active_share)
    told = (
        f"{len(found)} layers, each with its {len(found[0].maps)} most active channels of one "
        f"picture at sigma {config.sigma:g} (dark = low, yellow = high, each channel by itself). "
        f"In “{narrow.layer.name}” activity is concentrated in {narrow.active_share:.0%} of the "
        f"channels, in “{wide.layer.name}” spread over {wide.active_share:.0%}. Look for outlines "
        "and textures near the ends, and for whole parts of the subject in the middle; channels "
        "that all look alike are wasted."
    )
    html = parts.paragraph(told)
    html += parts.side_by_side(clean_noisy_guess(subject, x, config.sigma, specimens))
    for side, title in _SIDES.items():
        layers = [each for each in found if each.layer.side == side]
        html += f"<h3>{title}</h3>" * bool(layers) + "".join(map(_strip, layers))
    figures = {each.layer.path: {"shape": list(each.shape_chw), "active": each.active_share}
               for each in found}  # fmt: skip
    return html, figures


def _strip(found: FeatureMaps) -> str:
    channels, height, width = found.shape_chw
    name = found.layer.name
    caption = (
        f"{name}: {channels} channels of {width} × {height} px, activity as of "
        f"{found.active_share:.0%} of them; shown: {', '.join(map(str, found.channels))}"
    )
    return parts.picture(
        row_of([coloured(each) for each in found.maps], side_px=_MAP_PX), name, caption=caption
    )


def attention(subject: Subject, specimens: Specimens, config: VisualizeConfig) -> Made:
    """Heat maps of every attention layer over one picture."""
    x = specimens.clean[:1] + config.sigma * specimens.noise(config.seed)[:1]
    found = attention_maps(subject, x, config.sigma, specimens.labels[:1], _PLACES)
    if not found:
        return parts.paragraph("This network has no self-attention."), {}
    wide, narrow = (pick(found, key=lambda each: each.breadth) for pick in (max, min))
    peak = max(found, key=lambda each: float(each.received.max()))
    told = (
        f"{len(found)} attention layers at sigma {config.sigma:g}. “{wide.name}” looks most "
        f"widely, on {wide.breadth:.0%} of the places; “{narrow.name}” most narrowly, on "
        f"{narrow.breadth:.0%}. The place that is looked at most receives "
        f"{peak.received.max():.1f} times its share, in “{peak.name}”. Left: what each place "
        "receives from all others; then where the ringed places look. Look for places of the "
        "same part of the subject that find each other, and for corners that draw attention "
        "without cause."
    )
    behind = shown(subject.decode(specimens.clean[:1]))[0]
    html = parts.paragraph(told)
    for each in found:
        heat = [overlaid(behind, each.received, side_px=160)]
        marks = [[] if each.to_class else [place] for place in _PLACES]
        heat += [
            overlaid(behind, looks, side_px=160, marks=mark)
            for looks, mark in zip(each.queries, marks, strict=False)
        ]
        html += parts.picture(row_of(heat, side_px=160), each.name, caption=_words(each))
    figures = {each.name: {"breadth": each.breadth, "peak": float(each.received.max())}
               for each in found}  # fmt: skip
    return html, figures


def _words(found: AttentionMaps) -> str:
    height, width = found.received.shape
    return (
        f"{found.name}: {width} × {height} places, "
        f"{found.heads} {'head' if found.heads == 1 else 'heads'}, looks on {found.breadth:.0%} of "
        + (
            "the class's tokens (right: from where the first three are looked at)" * found.to_class
            or "the places"
        )
        + f"; most received {found.received.max():.1f}, least {found.received.min():.2f}"
    )


def activity(subject: Subject, specimens: Specimens, config: VisualizeConfig) -> Made:
    """What layers add, by noise level."""
    found = activations(subject, specimens, spread_levels(subject), seed=config.seed)
    names = [layer.name for layer in found.layers]
    row, column = np.unravel_index(int(found.std.argmax()), found.std.shape)
    swing = found.std.max(1) / np.maximum(found.std.min(1), 1e-12)
    dead = found.dead_layers()
    told = (
        f"What each layer adds, over {specimens.words} at {len(found.sigmas)} noise levels. The "
        f"largest spread is {found.std.max():.3g}, in “{names[row]}” at sigma "
        f"{found.sigmas[column]:.3g}; “{names[int(swing.argmax())]}” changes most with the level, "
        f"{swing.max():.1f} times. "
        + _dead_words(found.dead, dead)
        + "Look for rows that are dark all along (layers with nothing to do) and for single "
        "bright cells (numbers that may overflow in half precision)."
    )
    columns = [f"{sigma:.2g}" for sigma in found.sigmas]

    def drawn(values: NDArray[np.float64], unit: str) -> str:
        svg = plots.heatmap(values, rows=names, columns=columns, x="noise level sigma", unit=unit)
        return parts.plot(svg, unit)

    html = parts.paragraph(told) + drawn(found.std, "standard deviation of what a layer adds")
    html += drawn(found.mean, "its mean")
    if found.dead.any():
        html += drawn(found.dead, "share of dead channels")
    figures = {"dead": float(found.dead.mean()), "dead_layers": dead, "largest": found.std.max()}
    return html, figures


def _dead_words(share: NDArray[np.float64], layers: list[str]) -> str:
    if not share.any():
        return "No channel is dead: all vary at each level. "
    return f"{share.mean():.1%} of all channels are dead (the same everywhere, in all pictures)" + (
        f"; wholly dead: {', '.join(layers)}. " if layers else ", and no layer wholly. "
    )


def skips(subject: Subject, specimens: Specimens, config: VisualizeConfig) -> Made:
    """What each skip connection contributes."""
    sigmas = spread_levels(subject)[1::3]
    found = ablate_skips(subject, specimens, sigmas, seed=config.seed, shown=1)
    if not found.skips:
        return parts.paragraph("This network has no skip connections."), {}
    loss = found.loss_db.mean(1)
    most, least = int(loss.argmax()), int(loss.argmin())
    idle = [skip.name for skip, row in zip(found.skips, found.change, strict=True) if not row.any()]
    told = (
        f"Each of the {len(found.skips)} connections across the U was zeroed by itself. Without "
        f"“{found.skips[most].name}” the error of the guess grows most, by {loss[most]:.1f} dB "
        f"(mean over {len(sigmas)} levels); without “{found.skips[least].name}” least, by "
        f"{loss[least]:.2f} dB. "
        + (
            f"Nothing at all changes without {', '.join(f'“{name}”' for name in idle)}. "
            * bool(idle)
        )
        + _by_level_words(found)
    )
    series = {
        f"sigma {sigma:.2g}": {
            _short(k, skip.source): float(found.loss_db[k, column])
            for k, skip in enumerate(found.skips)
        }
        for column, sigma in enumerate(sigmas)
    }
    html = parts.paragraph(told)
    html += parts.plot(plots.bars(series, y="error grows by, dB"), "error without each connection")
    html += parts.plot(
        plots.heatmap(found.change, rows=[skip.name for skip in found.skips], columns=[
            f"{sigma:.2g}" for sigma in sigmas], x="noise level sigma", unit="change of the guess"),
        "change of the guess",
        caption="RMS change of the guess, as a share of the pictures' own spread",
    )  # fmt: skip
    html += parts.side_by_side(_without(subject, specimens, found))
    figures = {skip.name: {"loss_db": row.tolist(), "change": change.tolist()} for skip, row, change
               in zip(found.skips, found.loss_db, found.change, strict=True)}  # fmt: skip
    return html, figures


def _by_level_words(found: SkipAblation) -> str:
    total = found.change.mean(0)
    most = int(total.argmax())
    return (
        f"The connections matter most at sigma {found.sigmas[most]:.2g}, where one of them "
        f"changes the guess by {total[most]:.1%} of the pictures' spread in the mean. Look for "
        "bars near 0: connections that the network could do without."
    )


def _short(place: int, source: str) -> str:
    return f"{place + 1}. {source}"


def _without(subject: Subject, specimens: Specimens, found: SkipAblation) -> list[str]:
    sigma = found.sigmas[found.shown]
    given = subject.decode(noisy_shown(found.noisy[None], sigma))
    guesses = shown(subject.decode(found.guesses))
    captions = ["whole network"] + [
        f"without {_short(k, skip.source)}: {found.loss_db[k, found.shown]:+.2f} dB"
        for k, skip in enumerate(found.skips)
    ]
    pictures = [
        (shown(given)[0], f"given, sigma {sigma:.2g}"),
        *zip(guesses, captions, strict=True),
    ]
    return [
        parts.picture(row_of([picture], side_px=112), caption, caption=caption, width_px=112)
        for picture, caption in pictures
    ]


def gradients(subject: Subject, specimens: Specimens, config: VisualizeConfig) -> Made:
    """Gradient norms by layer: of the trained network, and during its training."""
    found = gradient_norms(subject, specimens, spread_levels(subject), seed=config.seed)
    by_layer, by_level = found.relative.mean(1), np.sqrt((found.norm**2).sum(0))
    most, level = int(by_layer.argmax()), int(by_level.argmax())
    still = [name for name, row in zip(found.layers, found.norm, strict=True) if not row.any()]
    told = (
        f"Gradients of the training's loss on {specimens.words}. The whole network's is largest at "
        f"sigma {found.sigmas[level]:.2g} ({by_level[level]:.3g}) and "
        f"{by_level.max() / max(by_level.min(), 1e-12):.1f} times its least; by the size of its "
        f"weights “{found.layers[most]}” is pulled most. "
        + (f"No gradient reaches {', '.join(f'“{name}”' for name in still)}. " * bool(still))
        + "Look for rows that are dark at all levels (layers that training no longer moves) and "
        "for columns that outshine the others (levels that rule the training)."
    )
    svg = plots.heatmap(
        np.log10(np.maximum(found.relative, 1e-12)),
        rows=list(found.layers),
        columns=[f"{sigma:.2g}" for sigma in found.sigmas],
        x="noise level sigma",
        unit="log10 of gradient by weight",
    )
    html = parts.paragraph(told) + parts.plot(svg, "gradients by layer and level")
    html += _during_training(subject)
    figures = {"norm": dict(zip(found.layers, found.norm.mean(1).tolist(), strict=True))}
    return html, figures


def _during_training(subject: Subject) -> str:
    rows = read_metrics(subject.metrics) if subject.metrics else []
    logged = logged_norms(rows)
    whole = [(row["step"], row["gradient_norm"]) for row in rows if "gradient_norm" in row]
    if not logged and not whole:
        return parts.paragraph("No figures of its training are known.", soft=True)
    last = {name: points[-1][1] for name, points in logged.items()}
    chosen = sorted(last, key=lambda name: -last[name])[:_CURVES]
    curves = {name: logged[name] for name in chosen} or {"whole network": whole}
    begun, ended = _ends(whole or logged[chosen[0]])
    told = f"During training the norm fell from {begun:.3g} to {ended:.3g}" if ended < begun else (
        f"During training the norm rose from {begun:.3g} to {ended:.3g}")  # fmt: skip
    if logged:
        told += f"; drawn are the {len(chosen)} layers with the largest at the end."
    else:
        told += ". To see them by layer, train with --log-gradients."
    svg = plots.lines(curves, x="step", y="gradient norm", log_y=True)
    return parts.paragraph(told) + parts.plot(svg, "gradient norms during training")


def _ends(points: list[tuple[float, float]]) -> tuple[float, float]:
    return points[0][1], points[-1][1]
