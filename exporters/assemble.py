"""The parts of an export put together: names, atlases, platforms, pack.json, page, checksums."""

import dataclasses
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import digest_of, read_json, write_json
from core.sampleset import SampleSet
from exporters.atlas.frames import find_frame
from exporters.atlas.layout import Room
from exporters.atlas.write import write_atlases
from exporters.config import ExportConfig
from exporters.notices import (
    disclosure_text,
    licence_of,
    licence_text,
    may_redistribute,
    source_type_of,
)
from exporters.pack import FORMAT, file_stem, unique_name, write_sums
from exporters.page import render_page
from exporters.platforms.write import write_platform
from exporters.preview import write_preview


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
    tags: Mapping[int, Sequence[str]]
    """What curators said of pictures, by seed."""


def assemble_pack(folder: Path, parts: Iterable[Path], about: PackFacts) -> None:
    """Fill a pack's folder from the parts' folders, in their order; NothingPassed without one."""
    entries: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    origins: dict[str, Path] = {}
    taken: set[str] = set()
    for part in parts:
        made = read_json(part / "entries.json")
        refused += made["refused"]
        for entry in made["stickers"]:
            name = unique_name(f"{entry['label']}_{entry['seed']:06d}", taken)
            origins[name] = part / entry["stem"]
            tags = about.tags.get(entry["seed"], ())
            entries.append(_place(folder, origins[name], entry, name, about.config, tags))
    if not entries:
        raise NothingPassed(f"no picture passed: {refusal_summary(refused)}")
    made_of = _write_atlas(folder, entries, about)
    made_of |= _write_platforms(folder, entries, origins, about.config)
    facts = _facts(about, entries, refused) | made_of
    write_json(folder / "pack.json", facts)
    _write_notices(folder, about, len(entries))
    write_preview(folder, facts)
    _write_text(folder / "index.html", render_page(facts))
    write_sums(folder)


def provenance_of(
    sample_set: SampleSet, version: str, settings: Mapping[str, Any]
) -> dict[str, object]:
    """What each sticker's files carry: what made it, by digests, and under which licence."""
    parents = sample_set.parents
    return {
        "generator": f"menagerie {version}",
        "digital_source_type": source_type_of(parents),
        "samples": sample_set.digest,
        "model": parents.get("model", "unknown"),
        "dataset": parents.get("dataset", "unknown"),
        "licence": licence_of(parents),
        "settings": settings_digest(sample_set, settings),
    }


def settings_digest(sample_set: SampleSet, settings: Mapping[str, Any]) -> str:
    """SHA-256 over how the samples were drawn and how they were exported, both in pack.json."""
    return digest_of({"sampling": _portable(sample_set.settings), "export": dict(settings)})


def refusal_summary(refused: Sequence[Mapping[str, Any]]) -> str:
    """Why pictures were refused, for one line: the first reasons, and how many more."""
    reasons = [f"{item['label']} {item['seed']}: {item['reason']}" for item in refused[:3]]
    more = f"; and {len(refused) - 3} more" if len(refused) > 3 else ""
    return "; ".join(reasons) + more


def _place(
    folder: Path,
    origin: Path,
    entry: Mapping[str, Any],
    name: str,
    config: ExportConfig,
    tags: Sequence[str],
) -> dict[str, Any]:
    """Give one sticker's files their names in the pack; its entry in pack.json.

    The files lie at `origin` with their endings.
    """
    pngs = {f"@{one}x": f"png/@{one}x/{name}.png" for one in sorted(config.densities)}
    places = {f"{key}.png": place for key, place in pngs.items()}
    places |= {"svg": f"svg/{name}.svg", "webp": f"webp/{name}.webp"}
    for ending, place in places.items():
        _link(_ending(origin, ending), folder / place)
    known = {key: value for key, value in entry.items() if key != "stem"}
    return {
        "name": name,
        "file": places["svg"],
        "png": pngs[f"@{max(config.densities)}x"],
        "png_small": pngs["@1x"],
        "pngs": pngs,
        "webp": places["webp"],
        **known,
        **({"tags": list(tags)} if tags else {}),
    }


def _write_atlas(
    folder: Path, entries: Sequence[Mapping[str, Any]], about: PackFacts
) -> dict[str, Any]:
    """The sheets of all stickers; what pack.json says of them."""
    config = about.config
    if not config.atlas_formats:
        return {}
    key = f"@{config.atlas_density}x"
    frames = [find_frame(one["name"], one["label"], folder / one["pngs"][key]) for one in entries]
    room = Room(
        max_px=config.sheet_px,
        padding_px=config.atlas_padding_px,
        extrude_px=config.atlas_extrude_px,
        power_of_two=config.atlas_power_of_two,
    )
    version, settings = about.tools["menagerie"], about.inputs["settings"]
    origin = provenance_of(about.sample_set, version, settings)
    made = write_atlases(
        folder / "atlas",
        file_stem(config.pack_name),
        frames,
        room=room,
        formats=config.atlas_formats,
        text={f"menagerie:{key}": str(value) for key, value in origin.items()},
    )
    return {"atlas": made}


def _write_platforms(
    folder: Path,
    entries: Sequence[Mapping[str, Any]],
    origins: Mapping[str, Path],
    config: ExportConfig,
) -> dict[str, Any]:
    """The packs of every chosen platform; what pack.json says of them."""
    made = {
        platform: write_platform(
            folder,
            platform,
            entries,
            pack_name=config.pack_name,
            publisher=config.publisher,
            stem=file_stem(config.pack_name),
            bring=lambda name, ending, path: _link(_ending(origins[name], ending), path),
        )
        for platform in config.chosen_platforms
    }
    return {"platforms": made} if made else {}


def _write_notices(folder: Path, about: PackFacts, count: int) -> None:
    name, parents = about.config.pack_name, about.sample_set.parents
    _write_text(folder / "LICENSE", licence_text(name, parents))
    _write_text(folder / "AI-DISCLOSURE.md", disclosure_text(name, parents, count))


def _ending(origin: Path, ending: str) -> Path:
    return origin.with_name(f"{origin.name}.{ending}")


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
        "settings_sha256": settings_digest(about.sample_set, about.inputs["settings"]),
        "digital_source_type": source_type_of(parents),
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
