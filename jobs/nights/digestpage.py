"""The page of a night's digest."""

import datetime
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from core.report.page import html_page, many
from jobs.cli import duration
from jobs.nights.pictures import Shown

_SIGNS = {"done": "✓", "failed": "✕", "cancelled": "✕", "running": "…", "waiting": "…"}
_CSS = """
.verdict { border-left: 6px solid var(--wait); margin: 1rem 0; }
.verdict.published { border-color: var(--good); } .verdict.failed { border-color: var(--bad); }
.verdict.cancelled { border-color: var(--bad); }
.verdict strong { font-size: 1.15rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th { text-align: left; color: var(--soft); font-weight: 500; font-size: .82rem; }
th, td { padding: .32rem .7rem .32rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.state { white-space: nowrap; font-weight: 600; color: var(--soft); }
.state.done { color: var(--good); } .state.failed, .state.cancelled { color: var(--bad); }
.state.running, .state.waiting { color: var(--wait); }
tr.why td { padding-top: 0; color: var(--soft); overflow-wrap: anywhere; }
tr.why.failed td { color: var(--bad); }
tr.has-why td { border-bottom: 0; }
.figures { display: grid; gap: .7rem;
  grid-template-columns: repeat(auto-fit, minmax(6.4rem, 1fr)); }
.figures .card { padding: .7rem .9rem; white-space: nowrap; }
.figures b { display: block; font-size: 1.15rem; line-height: 1.5;
  font-variant-numeric: tabular-nums; }
.pictures { display: grid; gap: .4rem;
  grid-template-columns: repeat(auto-fill, minmax(4.4rem, 1fr)); }
.pictures img { display: block; width: 100%; aspect-ratio: 1; border-radius: 10px;
  object-fit: contain; background: #fff; border: 1px solid var(--line); padding: 3px; }
.bar { display: block; height: .5rem; margin-top: .45em; border-radius: 3px;
  background: linear-gradient(to right, var(--accent) var(--share), var(--line) var(--share)); }
"""


def render_digest(facts: Mapping[str, Any], pictures: Sequence[Shown]) -> str:
    """The page for the contents of digest.json, with pictures inside."""
    body = "\n".join(
        [
            f'<p class="soft">{escape(facts["name"])}</p>',
            f"<h1>Night of {escape(facts['night'])}</h1>",
            _verdict(facts),
            _figures(facts),
            _stages(facts),
            _classes(facts["counts"]),
            _refused(facts["counts"]["packs"]),
            _pictures(pictures),
            _foot(facts),
        ]
    )
    return html_page(title=f"{facts['night']}: {facts['verdict']['state']}", body=body, css=_CSS)


def _verdict(facts: Mapping[str, Any]) -> str:
    verdict, published = facts["verdict"], facts["published"]
    lines = [f"<p>{escape(verdict['cause'])}</p>"] if verdict["cause"] else []
    if published:
        packs = ", ".join(f"{escape(k)} ({n:,})" for k, n in published["packs"].items())
        lines.append(f"<p>{packs} in <code>{escape(published['folder'])}</code></p>")
    if facts["readers_see"] != facts["night"]:
        seen = facts["readers_see"]
        words = (
            f"Readers see the night of {escape(seen)}" if seen else "There is nothing to see yet"
        )
        lines.append(f"<p>{words}.</p>")
    if verdict["state"] != "published":
        lines.append(f"<p>Go on with <code>{escape(facts['resume'])}</code></p>")
    return (
        f'<div class="card verdict {verdict["state"]}" role="status">'
        f"<strong>{escape(verdict['title'])}</strong>{''.join(lines)}</div>"
    )


def _figures(facts: Mapping[str, Any]) -> str:
    """The counts, each beside that of the night before."""
    totals, before = facts["totals"], facts["before"] or {}
    cells = [
        _figure(key, f"{totals[key]:,}", _change(totals[key], before.get(key)))
        for key in ("asked", "made", "kept", "stickers", "refused")
        if totals[key] is not None
    ]
    if "recognised" in facts["counts"]:
        of = f'<span class="soft">test {facts["counts"]["held_out_accuracy"]:.0%}</span>'
        cells.append(_figure("recognised", f"{facts['counts']['recognised']:.0%}", of))
    if totals["seconds"] is not None:
        then = before.get("seconds")
        change = f'<span class="soft">was {duration(then)}</span>' if then else ""
        cells.append(_figure("time", duration(totals["seconds"]), change))
    note = f"Changes are against the night of {escape(before['night'])}." if before else ""
    return f'<div class="figures">{"".join(cells)}</div><p class="soft">{note}</p>'


def _figure(name: str, value: str, change: str) -> str:
    change = change or "&nbsp;"
    return f'<div class="card"><span class="soft">{name}</span><b>{value}</b>{change}</div>'


def _change(now: int, then: int | None) -> str:
    if then is None or now == then:
        return "" if then is None else '<span class="soft">as before</span>'
    return f'<span class="soft">{"+" if now > then else "−"}{abs(now - then):,}</span>'


def _stages(facts: Mapping[str, Any]) -> str:
    rows = "".join(map(_stage, facts["stages"]))
    return (
        '<h2>Stages</h2><div class="card wide"><table><thead><tr><th>Stage<th>State<th>Job'
        '<th class="n">Begun<th class="n">Ended<th class="n">Took<th class="n">Requeues<th>Node'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _stage(row: Mapping[str, Any]) -> str:
    state = row["state"]
    took = duration(row["ended"] - row["begun"]) if row["begun"] and row["ended"] else ""
    tries = f' <span class="soft">try {row["tries"]}</span>' if row["tries"] > 1 else ""
    kind = state if state in _SIGNS else "other"
    cells = (
        f"<td>{escape(row['name'])}{tries}</td>"
        f'<td class="state {kind}">{_SIGNS.get(state, "–")} {state}</td>'
        f"<td><code>{escape(', '.join(row['jobs']))}</code></td>"
        f'<td class="n">{_clock(row["begun"])}</td><td class="n">{_clock(row["ended"])}</td>'
        f'<td class="n">{took}</td>'
        f'<td class="n">{row["requeues"] or ""}</td><td>{escape(_nodes(row["nodes"]))}</td>'
    )
    if not row["words"]:
        return f"<tr>{cells}</tr>"
    log = (
        f'<br><span class="soft">log: <code>{escape(row["log"])}</code></span>'
        if row["log"]
        else ""
    )
    return (
        f'<tr class="has-why">{cells}</tr>'
        f'<tr class="why {kind}"><td colspan="8">{escape(row["words"])}{log}</td></tr>'
    )


def _clock(time: float | None) -> str:
    return f"{datetime.datetime.fromtimestamp(time):%H:%M:%S}" if time else ""


def _nodes(nodes: Sequence[str]) -> str:
    return ", ".join(nodes[:3]) + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else "")


def _classes(counts: Mapping[str, Any]) -> str:
    """How far the pictures of each class came."""
    packs = counts["packs"]
    columns = {"Asked": counts["asked"], "Made": counts["made"]}
    columns |= {"Kept": counts["kept"]} if "kept" in counts else {}
    columns |= {pack["name"]: pack["stickers"] for pack in packs}
    labels = sorted({label for column in columns.values() for label in column})
    if not labels:
        return ""
    right = counts.get("recognised_by_class", {})
    head = "".join(f'<th class="n">{escape(name)}' for name in columns)
    head += '<th class="n">Recognised<th>' if right else ""
    rows = []
    for label in labels:
        cells = "".join(f'<td class="n">{column.get(label, 0):,}' for column in columns.values())
        if label in right:
            bar = f'<div class="bar" style="--share: {right[label]:.0%}"></div>'
            cells += f'<td class="n">{right[label]:.0%}<td style="width:30%">{bar}'
        rows.append(f"<tr><td>{escape(label)}{cells}</tr>")
    return (
        f'<h2>Classes</h2><div class="card wide"><table><thead><tr><th>Class{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _refused(packs: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        f'<tr><td>{escape(pack["name"])}</td><td class="n">{count:,}</td>'
        f"<td>{escape(reason)}</td></tr>"
        for pack in packs
        for reason, count in list(pack["refused"].items())[:6]
    ]
    if not rows:
        return ""
    return (
        '<h2>Refused</h2><div class="card wide"><table><thead><tr><th>Pack<th class="n">Pictures'
        f"<th>Why</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _pictures(pictures: Sequence[Shown]) -> str:
    if not pictures:
        return ""
    shown = "".join(
        f'<img src="{p.url}" alt="{escape(p.label)}" title="{escape(p.label)}, seed {p.seed}">'
        for p in pictures
    )
    return f'<h2>New pictures</h2><div class="card pictures">{shown}</div>'


def _foot(facts: Mapping[str, Any]) -> str:
    written = datetime.datetime.fromtimestamp(facts["written"])
    free = facts["disk_free_bytes"] / 2**30
    return (
        '<p class="soft" style="margin-top:1.6rem">'
        f"Plan <code>{escape(facts['plan_file'])}</code>; "
        f"work in <code>{escape(facts['folder'])}</code>, {free:,.1f} GiB free; "
        f"{many(facts['attempts'], 'start')}; written {written:%Y-%m-%d %H:%M:%S}.</p>"
    )
