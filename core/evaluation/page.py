"""The report of an evaluation: one HTML file, sets side by side, with the pictures that matter."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from core.evaluation.conclusion import Judge, Judged
from core.evaluation.figures import LESS_IS_BETTER, NAMES
from core.evaluation.rows import Row, closest_rows, worst_rows
from core.evaluation.words import MEANINGS, percent, told, verdicts
from core.images import Picture, unpremultiply
from core.report import parts, plots
from core.report.page import html_page, many

_THUMB_PX = 84
_GAP_PX = 8
_CSS = """
.thumbs figure { width: 96px; } .pairs figure { width: 176px; }
.pictures figcaption { font-size: .78em; line-height: 1.25; overflow-wrap: anywhere; }
.copy img { outline: 3px solid var(--bad); outline-offset: 2px; }
.copy figcaption { color: var(--bad); }
ul.verdicts { padding-left: 1.1rem; margin: 0; } ul.verdicts li { margin: .25rem 0; }
.plots { display: grid; gap: 0 1rem; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); }
.pictures img { background: repeating-conic-gradient(#f1ece1 0 25%, #fffdf8 0 50%) 0 0/12px 12px; }
h3 { margin: 1rem 0 .5rem; font-size: 1rem; }
"""


def report_page(metrics: dict[str, Any], judge: Judge, sets: Sequence[Judged]) -> str:
    """The whole page; the same figures and pictures give the same text."""
    names = set_names(metrics["sets"])
    sections = {
        "Figures": _figures(metrics, names),
        "Classes": _classes(metrics, names),
        "Pictures to look at": _worst(sets, names),
        "Copies": _copies(judge, sets, names, metrics),
        "As flat SVGs": _vectorisability(metrics, names),
        "Held-out denoising loss": _held_out(metrics, names),
        "What made these figures": _made_of(metrics, names),
    }
    shown = {title: body for title, body in sections.items() if body}
    title = f"Evaluation of {' and '.join(names) if len(names) < 3 else many(len(names), 'set')}"
    body = (
        f"<h1>{escape(title)}</h1>"
        + parts.contents(shown)
        + verdicts(metrics, names)
        + "".join(parts.section(title, body) for title, body in shown.items())
    )
    return html_page(title=title, body=body, css=_CSS)


def set_names(sets: Sequence[dict[str, Any]]) -> list[str]:
    """What sets are called: numbered where two have one name."""
    plain = [str(one["name"]) for one in sets]
    return [
        f"{name} ({place + 1})" if plain.count(name) > 1 else name
        for place, name in enumerate(plain)
    ]


def _figures(metrics: dict[str, Any], names: Sequence[str]) -> str:
    sets = metrics["sets"]
    rows: list[list[parts.Cell]] = []
    for key, title in NAMES.items():
        for name, one in zip(names, sets, strict=True):
            figure = one["figures"][key]
            if figure["value"] is None:
                continue
            better = "less" if key in LESS_IS_BETTER else "more"
            rows.append(
                [
                    parts.Html(html=f"{escape(title)} <span class=soft>{better}</span>"),
                    name,
                    told(figure["drawn_mean"], figure["drawn_std"]),
                    told(figure["floor_drawn_mean"], figure["floor_drawn_std"]),
                    figure["equal_count"],
                    figure["value"],
                    figure["count"],
                    figure["floor"],
                    figure["floor_count"],
                ]
            )
    heads = ["figure", "set", "drawn", "real, drawn", "of each", "all pictures", "count"]
    heads += ["real pictures", "real count"]
    meanings = {NAMES[key]: meaning for key, meaning in MEANINGS.items()}
    return (
        parts.paragraph(
            "Each figure compares pictures with the training pictures. Beside it stands what real, "
            "held-out pictures reach at the same count: on average, no samples do better. "
            f"Mean ± standard deviation over {metrics['draws']} seeded draws."
        )
        + f'<div class="plots">{"".join(_figure_plots(metrics, names))}</div>'
        + parts.table(heads, rows)
        + "<details><summary>What the figures mean</summary>"
        + parts.facts(meanings)
        + "</details>"
    )


def _figure_plots(metrics: dict[str, Any], names: Sequence[str]) -> list[str]:
    """Shares in one plot, distances in one each: they have no common scale."""
    shown = []
    for title, keys in (
        ("Fréchet distance", ("frechet",)),
        ("Kernel distance", ("kernel",)),
        ("precision, recall, density, coverage", ("precision", "recall", "density", "coverage")),
    ):
        series: dict[str, dict[str, float]] = {}
        errors: dict[str, dict[str, float]] = {}
        for name, one in zip(names, metrics["sets"], strict=True):
            for label, side in ((name, "drawn"), (f"real, for {name}", "floor_drawn")):
                found = {key: one["figures"][key] for key in keys}
                means = {NAMES[k]: f[f"{side}_mean"] for k, f in found.items()}
                series[label] = {key: value for key, value in means.items() if value is not None}
                stds = {NAMES[k]: f[f"{side}_std"] or 0.0 for k, f in found.items()}
                errors[label] = {key: stds[key] for key in series[label]}
        errors["real pictures"] = errors[f"real, for {names[0]}"]
        _told_once(series, names)
        if any(series.values()):
            shown.append(parts.plot(plots.bars(series, y=title, errors=errors), title))
    return shown


def _told_once(series: dict[str, dict[str, float]], names: Sequence[str]) -> None:
    """Real pictures have one bar where they are the same for all sets."""
    reals = [f"real, for {name}" for name in names]
    if all(_alike(series[name], series[reals[0]]) for name in reals):
        once = series[reals[0]]
        for name in reals:
            del series[name]
        series["real pictures"] = once


def _alike(one: dict[str, float], other: dict[str, float]) -> bool:
    return one.keys() == other.keys() and all(
        math.isclose(value, other[key], rel_tol=1e-6) for key, value in one.items()
    )


def _classes(metrics: dict[str, Any], names: Sequence[str]) -> str:
    rows: list[list[parts.Cell]] = []
    series: dict[str, dict[str, float]] = {}
    for name, one in zip(names, metrics["sets"], strict=True):
        for label, figures in one["classes"].items():
            series.setdefault(name, {})[label] = 100 * figures["recognised"]
            rows.append(
                [
                    label,
                    name,
                    figures["count"],
                    parts.Html(
                        html=percent(figures["recognised"]), key=float(figures["recognised"])
                    ),
                    round(figures["confidence"], 3),
                    figures["frechet"],
                    figures["frechet_floor"],
                    figures["equal_count"],
                    figures["copies"],
                ]
            )
    if not rows:
        return parts.paragraph(
            "The pictures state no classes (class folders with the dataset's names would).",
            soft=True,
        )
    accuracy = 100 * metrics["classifier"]["held_out_accuracy"]
    heads = ["class", "set", "pictures", "recognised", "confidence", "Fréchet", "real"]
    marks = {"real pictures": accuracy}
    picture = plots.bars(series, y="recognised, %", marks=marks)
    return (
        parts.plot(picture, "recognised pictures by class")
        + parts.table([*heads, "both of", "copies"], rows)
        + parts.paragraph(
            "Fréchet distances of a class compare as many samples as real pictures (“both of”); "
            "few pictures are far from any, so look at both.",
            soft=True,
        )
    )


def _worst(sets: Sequence[Judged], names: Sequence[str]) -> str:
    shown = [
        parts.paragraph(
            "Of each class, those that are taken for another most surely, or are least sure."
        )
    ]
    for name, judged in zip(names, sets, strict=True):
        rows = judged.all_rows
        places = worst_rows(rows)[:48]
        pictures = judged.pictures(places)
        figures = [
            _thumb(sample.image_hwc, _judgement(rows[place], sample.facts))
            for place, sample in zip(places, pictures, strict=True)
        ]
        shown.append(f"<h3>{escape(name)}</h3>" + _rows("thumbs", figures))
    return "".join(shown)


def _judgement(row: Row, facts: dict[str, Any]) -> str:
    which = facts.get("file", f"seed {row['seed']}")
    asked = f"{row['label']}, " if row["label"] else ""
    if row["guess"] == row["label"]:
        return f"{asked}{percent(row['confidence'])} sure · {which}"
    return f"{asked}taken for {row['guess']}, {percent(row['confidence'])} · {which}"


def _copies(
    judge: Judge, sets: Sequence[Judged], names: Sequence[str], metrics: dict[str, Any]
) -> str:
    train, _ = judge.dataset.part("train")
    shown = [
        parts.paragraph(
            "The pictures that are nearest to a training picture, which is on the right. Under 1 a "
            "picture is a copy: nearer than all but 1 in 100 held-out pictures are to theirs, also "
            "when it is mirrored, shifted or turned a little."
        )
    ]
    for name, judged, one in zip(names, sets, metrics["sets"], strict=True):
        rows = judged.all_rows
        places = closest_rows(rows)
        pairs = [
            _pair(sample.image_hwc, unpremultiply(np.array(train[rows[place]["nearest"]])), row)
            for place, sample in zip(places, judged.pictures(places), strict=True)
            for row in [rows[place]]
        ]
        rate = percent(one["copies"]["rate"])
        shown.append(f"<h3>{escape(name)}: {rate} copies</h3>" + _rows("pairs", pairs))
    return "".join(shown)


def _pair(sample: Picture, original: Picture, row: Row) -> str:
    said = f"{row['closeness']:.2f} · seed {row['seed']}, training picture {row['nearest']}"
    left, right = _squared(sample), _squared(original)
    gap = np.full((len(left), _GAP_PX, left.shape[2]), 255, np.uint8)
    both = np.concatenate([left, gap, right], axis=1)
    shown = parts.picture(both, said, caption=said, width_px=2 * _THUMB_PX, pixels=True)
    return shown.replace("<figure>", '<figure class="copy">', 1) if row["copy"] else shown


def _rows(kind: str, figures: Sequence[str]) -> str:
    return f'<div class="{kind}">{parts.side_by_side(figures)}</div>'


def _thumb(picture: Picture, said: str) -> str:
    return parts.picture(picture, said, caption=said, width_px=_THUMB_PX, pixels=True)


def _squared(picture: Picture) -> Picture:
    """Enlarged or thinned to one side, so that two fit together."""
    side = 2 * _THUMB_PX
    rows = np.arange(side) * picture.shape[0] // side
    columns = np.arange(side) * picture.shape[1] // side
    square: Picture = picture[rows][:, columns]
    return square


def _vectorisability(metrics: dict[str, Any], names: Sequence[str]) -> str:
    found = dict(zip(names, (one["vectorisability"] for one in metrics["sets"]), strict=True))
    found["real pictures"] = metrics["vectorisability_floor"]
    rows: list[list[parts.Cell]] = [
        [
            name,
            one["count"],
            one["drawn"],
            None if one["bytes_median"] is None else one["bytes_median"] / 1024,
            one["psnr_db_median"],
            one["ssim_median"],
        ]
        for name, one in found.items()
        if one
    ]
    if not rows:
        return ""
    heads = ["set", "tried", "drawn", "KiB, median", "PSNR in dB, median", "SSIM, median"]
    return parts.paragraph(
        "Pictures traced in the flat style at 512 px as `menagerie export` does by default; "
        "what its gate refuses is not drawn. Noisy pictures give large files and low fidelity."
    ) + parts.table(heads, rows)


def _held_out(metrics: dict[str, Any], names: Sequence[str]) -> str:
    runs = {
        name: one["held_out_loss"]
        for name, one in zip(names, metrics["sets"], strict=True)
        if one["held_out_loss"]
    }
    if not runs:
        return ""
    series = {
        name: [(float(level), value) for level, value in loss["by_level"].items()]
        for name, loss in runs.items()
    }
    curves = plots.lines(
        series, x="noise level σ", y="weighted error", log_x=True, log_y=True, dots=True
    )
    shown = [parts.plot(curves, "held-out loss by noise level")]
    for name, loss in runs.items():
        levels = list(loss["by_level_and_class"])
        classes = list(loss["by_class"])
        values = np.array(
            [[loss["by_level_and_class"][level][label] for level in levels] for label in classes]
        )
        # Levels differ more than classes do: shown against the mean of the level.
        relative = values / values.mean(0, keepdims=True)
        heat = plots.heatmap(
            relative,
            rows=classes,
            columns=levels,
            x="noise level σ",
            unit="error over the level's mean",
        )
        caption = f"{name}: {loss['mean']:.4g} over {loss['count']} validation pictures"
        shown.append(parts.plot(heat, f"held-out loss of {name} by class", caption=caption))
    return "".join(shown)


def _made_of(metrics: dict[str, Any], names: Sequence[str]) -> str:
    features, dataset = metrics["features"], metrics["dataset"]
    facts: dict[str, parts.Cell] = {
        "features": f"{features['kind']}, {features['dimensions']} of a picture",
        "their weights": features["digest"][:16],
        "classifier": f"{metrics['classifier']['digest'][:16]}, right on "
        f"{percent(metrics['classifier']['held_out_accuracy'])} of held-out pictures",
        "dataset": f"{dataset['digest'][:16]}: {dataset['train']:,} training and "
        f"{dataset['held_out']:,} held-out pictures of {dataset['size_px']} px",
        "seed": f"{metrics['seed']}, {metrics['draws']} draws",
    }
    for name, one in zip(names, metrics["sets"], strict=True):
        left_out = f", {one['left_out']} damaged ones left out" if one["left_out"] else ""
        facts[name] = f"{one['kind']} of {one['count']:,} pictures{left_out}, {one['digest'][:16]}"
    return parts.facts(facts)
