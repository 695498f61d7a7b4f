"""The sweep's report: one page with the table of runs, curves, samples and what each field did."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from core.report import parts, plots
from core.report.page import html_page, many
from core.sweeping.folder import Standing
from core.sweeping.plan import Chapter
from core.sweeping.table import Facts, state_counts
from core.sweeping.values import CLASSES
from core.sweeping.work import SweepParts

_CURVES = 8
_SHEETS = 24
_CSS = """
main { max-width: 82rem; } .pictures figure { max-width: 22rem; }
.pictures img { width: auto; border-radius: 8px; } table { font-size: .92em; }
td { white-space: nowrap; } th, td { padding: .3rem .5rem; }
"""
_NOT_COMPARED = (
    "The losses are of other pictures each, and do not compare: what the samples are like does."
)
_MEASURED = (
    "Held-out loss: of the averaged weights on validation pictures, at five fixed noise levels "
    "with fixed noise. It compares between runs of the same data and weighting only, and a "
    "difference of a per cent or two may be the seed's. Hours are those that this sweep spent; a "
    "run that was there already took none."
)


def report_page(work: SweepParts, facts: Facts) -> str:
    """The whole page, of what `core.sweeping.table.sweep_facts` told."""
    standings = work.race.standings()
    study = bool(work.config.preset_study)
    names = _names(work)
    sections = [
        ("In short", _short(work, facts)),
        ("Runs", _runs_table(work, facts)),
        *(_chapter(work, chapter, facts, standings) for chapter in work.plan.chapters if study),
        *([] if study else [("What each field did", _fields(work, facts))]),
        ("Curves", _curves(facts, standings, names)),
        *([] if study else [("Samples", _samples(work, facts["runs"], names))]),
        ("Distances by class", _classes(facts, names)),
        ("Early stops", _rungs(facts)),
        ("How this was measured", _measured(work)),
    ]
    shown = [(title, body) for title, body in sections if body]
    name = work.config.preset_study
    title = f"Study: {name}" if name else f"Sweep over {', '.join(work.plan.names)}"
    head = f"<h1>{title}</h1>" + parts.contents(title for title, _ in shown)
    body = head + "".join(parts.section(title, text) for title, text in shown)
    return html_page(title=title, body=body, css=_CSS)


def _short(work: SweepParts, facts: Facts) -> str:
    counts = state_counts(facts)
    known: dict[str, parts.Cell] = {
        "runs": f"{work.count}: "
        + ", ".join(f"{count} {state}" for state, count in sorted(counts.items())),
        "hours": f"{facts['hours']:.3g}, all runs together"
        + (f"; budget {work.budget_hours:g}" if work.budget_hours is not None else ""),
        "data": f"{work.config.train.data or 'the starter animals'}, digest {facts['data'][:16]}",
    }
    text = parts.facts(known)
    if not facts["complete"]:
        text += parts.paragraph("The sweep is not finished: this is how far it is.", warning=True)
    if over := [r for r in facts["runs"] if "budget" in r["state"]]:
        begun = many(len(over), "run was", "runs were")
        said = f"The budget was spent: {begun} not begun. Raise --budget-hours to go on."
        text += parts.paragraph(said, warning=True)
    for run in facts["runs"]:
        if run["state"] == "failed":
            said = f"Run {run['run']} failed: {run['why']}"
            text += parts.paragraph(said, warning=True)
    return text + _best(facts)


def _best(facts: Facts) -> str:
    best = next((r for r in facts["runs"] if r["run"] == facts["best"]), None)
    if best is None:
        return parts.paragraph("No run is finished yet.", soft=True)
    values = ", ".join(f"{name} {value}" for name, value in best["varies"].items())
    alike = [r for r in facts["runs"] if r["alike"] == best["alike"]]
    among = "" if len(alike) == len(facts["runs"]) else f" of the {len(alike)} that compare"
    return parts.paragraph(
        f"Best{among}: {values}; held-out loss {parts.number(best['held_out_loss'])}. "
        "To train it twice as long:"
    ) + parts.command(facts["longer"])


def _runs_table(work: SweepParts, facts: Facts) -> str:
    judged = any(r["distance"] is not None for r in facts["runs"])
    headers = [
        *work.plan.names,
        *("state", "steps done", "held-out loss", "copies"),
        *(("distance", "recognised") if judged else ()),
        *("hours", "run"),
    ]
    rows = []
    for run in facts["runs"]:
        figures = run["figures"]
        more = (run["distance"], _percent(figures.get("recognised"))) if judged else ()
        rows.append(
            [
                *(_value(run["varies"][name]) for name in work.plan.names),
                *(run["state"], _steps(run), run["held_out_loss"], _percent(run["copy_rate"])),
                *more,
                *(run["hours"], run["run"]),
            ]
        )
    return parts.table(headers, rows)


def _chapter(
    work: SweepParts, chapter: Chapter, facts: Facts, standings: Mapping[str, Standing]
) -> tuple[str, str]:
    """What one question of a study came to."""
    known = {r["run"]: r for r in facts["runs"]}
    members = [known[name] for name in chapter.members]
    ended = [r for r in members if r["held_out_loss"] is not None]
    compared = len({r["alike"] for r in ended}) == 1
    text = parts.paragraph(chapter.asks)
    if len(ended) > 1:
        said = _verdict(chapter, ended) if compared else _NOT_COMPARED
        text += parts.paragraph(said, soft=not compared)
    if CLASSES in chapter.names:
        text += "".join(map(parts.paragraph, _class_words(members)))
    text += _chapter_table(chapter, members)
    series = {_short_name(r, chapter.names): _held_out(standings[r["run"]]) for r in members}
    if compared and any(series.values()):
        svg = plots.lines(series, x="step", y="held-out loss", dots=True)
        text += parts.plot(svg, f"Held-out loss: {chapter.title}")
    captions = {r["run"]: _short_name(r, chapter.names) for r in members}
    return chapter.title, text + _samples(work, members, captions)


def _class_words(members: Sequence[Facts]) -> Iterable[str]:
    """What drawing another class too did to the first, and whether the two are kept apart."""
    judged = [r for r in members if r["distance"] is not None]
    alone = next((r for r in judged if len(r["figures"]["distance_by_class"]) == 1), None)
    for run in judged:
        figures = run["figures"]
        if alone and run is not alone:
            [name] = alone["figures"]["distance_by_class"]
            ours, theirs = figures["distance_by_class"].get(name), alone["distance"]
            if ours is not None:
                yield (
                    f"Distance of {name} to the real ones: {parts.number(theirs)} where the model "
                    f"draws nothing else, {parts.number(ours)} where it draws others too."
                )
        apart, real = figures.get("separation"), figures.get("separation_real")
        if apart and real:
            yield (
                f"Classes drawn together lie apart by a silhouette of "
                f"{parts.number(apart['silhouette'])}; those of held-out pictures by "
                f"{parts.number(real['silhouette'])}."
            )


def _chapter_table(chapter: Chapter, members: Sequence[Facts]) -> str:
    """A row for each run; by class, where classes vary."""
    judged = [r for r in members if r["distance"] is not None]
    classes = [*dict.fromkeys(n for r in judged for n in r["figures"]["distance_by_class"])]
    if CLASSES not in chapter.names:
        classes = []
    headers = [*chapter.names, "held-out loss", "copies"]
    headers += ["distance"] if judged else []
    headers += [f"{figure} of {name}" for name in classes for figure in ("distance", "recognised")]
    headers += ["silhouette", "silhouette of real pictures"] if classes else []
    rows: list[list[parts.Cell]] = []
    for run in members:
        row = [*(_value(run["varies"][name]) for name in chapter.names)]
        row += [run["held_out_loss"], _percent(run["copy_rate"])]
        row += [run["distance"]] if judged else []
        row += _by_class(run["figures"], classes)
        rows.append(row)
    return parts.table(headers, rows)


def _by_class(figures: Facts, classes: Sequence[str]) -> list[parts.Cell]:
    """Cells of a run whose classes are told apart; none without classes."""
    cells: list[parts.Cell] = []
    for name in classes:
        cells.append(figures.get("distance_by_class", {}).get(name))
        cells.append(_percent(figures.get("recognised_by_class", {}).get(name)))
    if classes:
        cells += [
            (figures.get(kind) or {}).get("silhouette")
            for kind in ("separation", "separation_real")
        ]
    return cells


def _verdict(chapter: Chapter, ended: Sequence[Facts]) -> str:
    """The best and the worst, in words."""
    ranked = sorted(ended, key=lambda r: float(r["held_out_loss"]))
    best, worst = ranked[0], ranked[-1]
    apart = worst["held_out_loss"] / best["held_out_loss"] - 1
    return (
        f"Least held-out loss with {_short_name(best, chapter.names)} "
        f"({parts.number(best['held_out_loss'])}), most with "
        f"{_short_name(worst, chapter.names)} ({parts.number(worst['held_out_loss'])}, "
        f"{apart:.1%} more)" + (": hardly a difference." if apart < 0.02 else ".")
    )


def _fields(work: SweepParts, facts: Facts) -> str:
    """Mean held-out loss of the runs that ended, by each field's value."""
    ended = [r for r in facts["runs"] if r["trained"] and r["held_out_loss"] is not None]
    if len({r["alike"] for r in ended}) != 1:
        return ""
    figures = []
    for name in work.plan.names:
        by_value: dict[str, list[float]] = {}
        for run in sorted(ended, key=lambda r: _sorted_by(r["varies"][name])):
            by_value.setdefault(run["varies"][name], []).append(run["held_out_loss"])
        if len(by_value) < 2 or len(by_value) > 12:
            continue
        bars = {value: fmean(losses) for value, losses in by_value.items()}
        svg = plots.bars({name: bars}, y="mean held-out loss")
        counts = ", ".join(f"{value}: {many(len(k), 'run')}" for value, k in by_value.items())
        figures.append(parts.plot(svg, f"Held-out loss by {name}", caption=f"{name} ({counts})"))
    return "".join(figures)


def _curves(facts: Facts, standings: Mapping[str, Standing], names: Mapping[str, str]) -> str:
    told = [r for r in facts["runs"] if standings[r["run"]].rows]
    if not told:
        return ""
    chosen = told[:_CURVES]
    note = "" if len(told) <= _CURVES else f"The best {_CURVES} of {len(told)} runs. "
    held_out = {names[r["run"]]: _held_out(standings[r["run"]]) for r in chosen}
    losses = {names[r["run"]]: _series(standings[r["run"]], "loss") for r in chosen}
    return parts.plot(
        plots.lines(held_out, x="step", y="held-out loss", dots=True),
        "Held-out losses",
        caption=f"{note}Held-out loss.",
    ) + parts.plot(
        plots.lines(losses, x="step", y="training loss", log_y=True),
        "Training losses",
        caption=f"{note}Training loss (with noise levels drawn as each run draws them).",
    )


def _samples(work: SweepParts, members: Sequence[Facts], names: Mapping[str, str]) -> str:
    """Sheets side by side: the same place in each is the same class and seed."""
    runs = {run.fingerprint: run for run in work.plan.runs}
    figures = []
    for facts_of in members:
        run = runs[facts_of["run"]]
        sheet, loss = work.files.sheet(run), facts_of["held_out_loss"]
        caption = names[run.fingerprint] + ("" if loss is None else f": {parts.number(loss)}")
        alt = f"Samples of {run.words}"
        if not facts_of["trained"] and facts_of["step"]:
            caption += f" (after step {facts_of['step']:,})"
        if sheet.exists():
            figures.append(parts.picture(sheet.read_bytes(), alt, caption=caption))
    if not figures:
        return ""
    said = "Samples: the same place in each sheet is the same class and seed."
    if len(figures) > _SHEETS:
        said += f" The best {_SHEETS} of {len(figures)}."
    return parts.paragraph(said, soft=True) + parts.side_by_side(figures[:_SHEETS])


def _classes(facts: Facts, shown: Mapping[str, str]) -> str:
    """Distances by class, and how far classes are apart."""
    judged = [r for r in facts["runs"] if r["figures"].get("distance_by_class")]
    if not judged:
        return ""
    names = list(dict.fromkeys(n for r in judged for n in r["figures"]["distance_by_class"]))
    if len(names) > 10:
        names = []
    rows: list[list[parts.Cell]] = []
    for run in judged:
        figures = run["figures"]
        apart = figures.get("separation") or {}
        rows.append(
            [
                shown[run["run"]],
                *(figures["distance_by_class"].get(name) for name in names),
                *(_percent(figures["recognised_by_class"].get(name)) for name in names[:4]),
                *(run["distance"], figures["distance_floor"]),
                *(apart.get("silhouette"), apart.get("ratio")),
                (figures.get("separation_real") or {}).get("silhouette"),
            ]
        )
    headers = [
        "run",
        *(f"distance: {name}" for name in names),
        *(f"recognised: {name}" for name in names[:4]),
        *("distance", "floor", "silhouette", "between / within", "silhouette of real pictures"),
    ]
    accuracy = judged[0]["figures"]["held_out_accuracy"]
    return (
        parts.paragraph(
            "Fréchet distance of samples to the training pictures, in the features of a small "
            f"classifier that is right on {accuracy:.0%} of test pictures; the floor is what "
            "held-out pictures reach. Distances compare at equal counts "
            f"({judged[0]['figures']['judged']} pictures for {shown[judged[0]['run']]})."
        )
        + parts.table(headers, rows)
        + parts.paragraph(
            "Silhouette: 1 = classes lie apart, 0 = they touch, below 0 = mixed up; between / "
            "within: mean distance of two pictures of different classes over that of two of one.",
            soft=True,
        )
    )


def _rungs(facts: Facts) -> str:
    if not facts["rungs"]:
        return ""
    headers = ["after step", "came", "went on", "best loss", "last loss that went on"]
    rows = [
        [r["step"], r["came"], r["went_on"], r["best"], r["worst_that_went_on"]]
        for r in facts["rungs"]
    ]
    said = (
        "Of the runs that came to a rung, the best went on (asynchronous successive halving). Runs "
        "between which losses do not compare have rungs of their own."
    )
    return parts.paragraph(said) + parts.table(headers, rows, sortable=False)


def _measured(work: SweepParts) -> str:
    config = work.config
    drawn = (
        f"Samples: {config.sample_steps} steps of {config.solver}, guidance {config.guidance:g}, "
        "of the averaged weights."
    )
    return parts.paragraph(_MEASURED) + parts.paragraph(drawn)


def _held_out(standing: Standing) -> list[tuple[float, float]]:
    return [(float(step), loss) for step, loss in sorted(standing.held_out.items())]


def _series(standing: Standing, name: str) -> list[tuple[float, float]]:
    return [(row["step"], row[name]) for row in standing.rows if name in row]


def _names(work: SweepParts) -> dict[str, str]:
    """What sets each run apart, by fingerprint: in a study, from the value that most have."""
    usual = {}
    if work.config.preset_study:
        for name in work.plan.names:
            values = [run.varies[name] for run in work.plan.runs]
            usual[name] = max(dict.fromkeys(values), key=values.count)
    return {
        run.fingerprint: ", ".join(
            f"{name} {value}" for name, value in run.varies.items() if usual.get(name) != value
        )
        or "the base"
        for run in work.plan.runs
    }


def _short_name(facts: Facts, names: Iterable[str]) -> str:
    return ", ".join(f"{name} {facts['varies'][name]}" for name in names)


def _value(text: str) -> parts.Cell:
    """A number where it is one, so that columns sort as people count."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def _sorted_by(text: str) -> tuple[float, str]:
    value = _value(text)
    return (float(value), "") if isinstance(value, int | float) else (0.0, text)


def _steps(run: Facts) -> parts.Cell:
    if run["step"] == run["steps"]:
        return parts.Html(html=f"{run['steps']:,}", key=run["step"])
    return parts.Html(html=f"{run['step']:,} of {run['steps']:,}", key=run["step"])


def _percent(share: Any) -> parts.Cell:
    return None if share is None else parts.Html(html=f"{share:.1%}", key=float(share))
