"""The parts of an export put together: names, pack.json, licence, preview, page, checksums."""

import dataclasses
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import read_json, write_json
from core.sampleset import SampleSet
from exporters.config import ExportConfig
from exporters.notices import disclosure_text, licence_of, licence_text, may_redistribute
from exporters.pack import FORMAT, unique_name, write_sums
from exporters.page import render_page
from exporters.preview import write_preview

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


class NothingPassed(UserError):  # noqa: N818 - it is what happened
    """The gate refused every picture."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackFacts:
    """What a pack says about itself, apart from its stickers."""

    config: ExportConfig
    sample_set: SampleSet
    inputs: Mapping[str, Any]
    """All that the bytes depend on."""
    tools: Mapping[str, str]
    """Versions of what made it."""


def assemble_pack(folder: Path, parts: Iterable[Path], about: PackFacts) -> None:
    """Fill a pack's folder from the parts' folders, in their order; NothingPassed without one."""
    entries: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    taken: set[str] = set()
    for part in parts:
        made = read_json(part / "entries.json")
        refused += made["refused"]
        for entry in made["stickers"]:
            name = unique_name(f"{entry['label']}_{entry['seed']:06d}", taken)
            entries.append(_place(folder, part, entry, name, about.config))
    if not entries:
        raise NothingPassed(f"no picture passed: {refusal_summary(refused)}")
    facts = _facts(about, entries, refused)
    name, parents = about.config.pack_name, about.sample_set.parents
    write_json(folder / "pack.json", facts)
    _write_text(folder / "LICENSE", licence_text(name, parents))
    _write_text(folder / "AI-DISCLOSURE.md", disclosure_text(name, parents, len(entries)))
    write_preview(folder, entries, about.config.small_px)
    _write_text(folder / "index.html", render_page(facts))
    write_sums(folder)


def provenance_of(sample_set: SampleSet, version: str) -> dict[str, object]:
    """What each sticker's files carry."""
    parents = sample_set.parents
    return {
        "generator": f"menagerie {version}",
        "digital_source_type": SOURCE_TYPE,
        "samples": sample_set.digest,
        "model": parents.get("model", "unknown"),
        "dataset": parents.get("dataset", "unknown"),
        "licence": licence_of(parents),
    }


def refusal_summary(refused: Sequence[Mapping[str, Any]]) -> str:
    """Why pictures were refused, for one line: the first reasons, and how many more."""
    reasons = [f"{item['label']} {item['seed']}: {item['reason']}" for item in refused[:3]]
    more = f"; and {len(refused) - 3} more" if len(refused) > 3 else ""
    return "; ".join(reasons) + more


def _place(
    folder: Path, part: Path, entry: Mapping[str, Any], name: str, config: ExportConfig
) -> dict[str, Any]:
    """Give one sticker's files their names in the pack; its entry in pack.json."""
    stem = entry["stem"]
    names = {
        "file": (f"{stem}.svg", f"svg/{name}.svg"),
        "png": (f"{stem}.large.png", f"png/{config.size_px}/{name}.png"),
        "png_small": (f"{stem}.small.png", f"png/{config.small_px}/{name}.png"),
    }
    for source, target in names.values():
        if not (folder / target).exists():  # both PNGs are one file when their sizes are equal
            _link(part / source, folder / target)
    known = {key: value for key, value in entry.items() if key != "stem"}
    return {**{key: target for key, (_, target) in names.items()}, **known}


def _link(source: Path, target: Path) -> None:
    """Another name for a file, or a copy where the file system knows no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _facts(
    about: PackFacts, entries: Sequence[Mapping[str, Any]], refused: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The contents of pack.json."""
    parents = about.sample_set.parents
    return {
        "format": FORMAT,
        "name": about.config.pack_name,
        "inputs": about.inputs,
        "parents": parents,
        "licence": licence_of(parents),
        "redistributable": may_redistribute(parents),
        "sampling": _portable(about.sample_set.settings),
        "digital_source_type": SOURCE_TYPE,
        "tools": about.tools,
        "reference": "the enlarged picture, its edges sharpened, cut out at the alpha threshold "
        "(supersampled), before the palette",
        "stickers": entries,
        "refused": refused,
    }


def _portable(value: Any) -> Any:
    """Settings without this machine's folders: a path is shortened to its name."""
    if isinstance(value, dict):
        return {key: _portable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_portable(item) for item in value]
    if isinstance(value, str) and value.startswith("/"):
        return Path(value).name
    return value


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
