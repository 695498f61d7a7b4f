"""Show packs to readers, in one switch: python jobs/publish.py --packs PACK --folder DIR.

DIR/nights/2026-11-21/ gets verified copies, a page over them and published.json, whole or not at
all; then the link DIR/current is replaced. Readers who open DIR/current see one night or the next,
never a mixture. Publishing the same again does nothing.
"""

import contextlib
import dataclasses
import datetime
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import atomic_folder, digest_file, digest_of, exclusive, read_json, write_json
from exporters.pack import SUMS, pack_files, verify_pack
from jobs.cli import run_verb
from jobs.nights.folder import is_date, require_date
from jobs.nights.indexpage import render_index
from jobs.verbs import Verb

FORMAT = "menagerie-published-1"
RECORD = "published.json"
REMOVED = ".removed-"
"""Begins the names of nights that are being removed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishConfig:
    """What readers get to see."""

    packs: tuple[Path, ...]
    """Folders of packs, each with its zip beside it."""
    folder: Path
    """Folder that readers see."""
    night: str = ""
    """Date that the packs are of, such as 2026-11-21; default: today."""
    keep_nights: int = 14
    """Published nights that stay, the newest; the one that is current always stays."""
    title: str = "Sticker packs"
    """Heading of the page over the packs."""

    def __post_init__(self) -> None:
        if self.night:
            require_date("--night", self.night)
        if self.keep_nights < 1:
            raise UserError(f"--keep-nights is {self.keep_nights}; it must be 1 or more")
        names = [pack.name for pack in self.packs]
        if not names or len(set(names)) < len(names):
            raise UserError(f"--packs {' '.join(names)}: give one or more, of different names")

    @property
    def date(self) -> str:
        """The night."""
        return self.night or datetime.date.today().isoformat()

    @property
    def target(self) -> Path:
        """The night's folder among the published ones."""
        return self.folder / "nights" / self.date


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishFlags:
    """What to publish, and where."""

    config: PublishConfig
    dry_run: bool = False
    """Print the full config and stop."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and publish."""
    return run_verb(VERB, argv)


def publish(config: PublishConfig) -> dict[str, Any]:
    """Copy, verify, switch, remove old nights; what is published, as in published.json.

    UserError when a pack is damaged, or when the night is published with other contents: then
    readers see what they saw before.
    """
    with exclusive(config.folder / "nights", wait=True):
        _sweep(config.folder / "nights")
        wanted = {pack.name: _digest(pack) for pack in config.packs}
        if not config.target.exists():
            with atomic_folder(config.target) as temporary:
                _fill(temporary, config, wanted)
        facts = _facts(config.target)
        if facts.get("digest") != digest_of(wanted):
            raise UserError(
                f"{config.target} is published already with other contents "
                f"({_difference(facts, wanted)}): name another --night"
            )
        if config.date >= (current_night(config.folder) or ""):
            _switch(config.folder, config.date)
        else:
            print(f"{config.folder / 'current'} stays: it is of a later night")
        _remove_old(config.folder, config.keep_nights)
    return facts


def current_night(folder: Path) -> str | None:
    """The night that readers of a published folder see; UserError when `current` is no link."""
    link = folder / "current"
    if not link.is_symlink():
        if link.exists():
            raise UserError(f"{link} is there and no link: move it away")
        return None
    name = Path(os.readlink(link)).name
    return name if is_date(name) else None


def published_facts(folder: Path, night: str) -> dict[str, Any] | None:
    """What was published of a night; None when nothing was."""
    path = folder / "nights" / night / RECORD
    return _facts(path.parent) if path.exists() else None


def _run(flags: PublishFlags) -> str:
    facts = publish(flags.config)
    counts = ", ".join(f"{pack['name']} ({pack['stickers']:,})" for pack in facts["packs"])
    return f"published: {counts}\nnext: open {flags.config.folder / 'current' / 'index.html'}"


def _finished(flags: PublishFlags) -> bool:
    """Whether these packs are there, and the link shows them or something newer."""
    config = flags.config
    facts = published_facts(config.folder, config.date)
    if facts is None or (current_night(config.folder) or "") < config.date:
        return False
    return bool(facts.get("digest") == digest_of({p.name: _digest(p) for p in config.packs}))


def _digest(pack: Path) -> str:
    """SHA-256 of a pack's checksums, which stand for all its files."""
    if not (pack / SUMS).is_file():
        raise UserError(f"{pack} is no pack: it has no {SUMS}")
    return digest_file(pack / SUMS)


def _facts(target: Path) -> dict[str, Any]:
    facts = read_json(target / RECORD)
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise UserError(f"{target / RECORD} was not written by `menagerie publish`: move it away")
    return facts


def _difference(facts: Mapping[str, Any], wanted: Mapping[str, str]) -> str:
    there = {pack["folder"]: pack["sums_sha256"] for pack in facts["packs"]}
    for name in sorted(set(there) | set(wanted)):
        if there.get(name) != wanted.get(name):
            return f"{name} is {'another' if name in there and name in wanted else 'more or less'}"
    return "order"


def _fill(folder: Path, config: PublishConfig, wanted: Mapping[str, str]) -> None:
    """Copies of the packs, verified after copying, and the page over them."""
    packs = [_copy(pack, folder, wanted[pack.name]) for pack in config.packs]
    facts = {
        "format": FORMAT,
        "night": config.date,
        "title": config.title,
        "packs": packs,
        "digest": digest_of(dict(wanted)),
    }
    page = render_index(facts)
    (folder / "index.html").write_text(page, encoding="utf-8", newline="\n")
    write_json(folder / RECORD, facts)


def _copy(pack: Path, folder: Path, sums_sha256: str) -> dict[str, Any]:
    """Copy one pack and its zip; what the record says of it."""
    source_zip = pack.with_name(f"{pack.name}.zip")
    copy, zipped = folder / pack.name, folder / source_zip.name
    if not source_zip.is_file():
        raise UserError(f"{source_zip} is missing: export again")
    pack_files(pack)  # refuses links
    shutil.copytree(pack, copy, symlinks=True, copy_function=shutil.copyfile)
    shutil.copyfile(source_zip, zipped)
    for path, original in ((copy, pack), (zipped, source_zip)):
        if problems := verify_pack(path):
            raise UserError(f"{original} is damaged ({problems[0]}): export again")
    if digest_file(copy / SUMS) != sums_sha256:
        raise UserError(f"{pack} changed while it was copied: publish again")
    facts = read_json(copy / "pack.json")
    return {
        "folder": pack.name,
        "name": facts["name"],
        "stickers": len(facts["stickers"]),
        "by_class": _by_class(facts["stickers"]),
        "licence": facts["licence"],
        "redistributable": facts["redistributable"],
        "zip_bytes": zipped.stat().st_size,
        "sums_sha256": sums_sha256,
    }


def _by_class(stickers: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for item in stickers:
        counts[item["label"]] = counts.get(item["label"], 0) + 1
    return counts


def _switch(folder: Path, night: str) -> None:
    """Make `current` mean the night: the one moment in which anything changes for readers."""
    if current_night(folder) == night:
        return
    temporary = folder / f".current-{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(Path("nights") / night)
    temporary.replace(folder / "current")
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_old(folder: Path, keep: int) -> None:
    """Remove the nights beyond the newest `keep`, but never the current one."""
    nights = sorted(path for path in (folder / "nights").iterdir() if is_date(path.name))
    for path in nights[:-keep]:
        if path.name != current_night(folder) and (path / RECORD).exists():
            # First out of sight, so that nobody comes upon half of it.
            gone = path.with_name(REMOVED + path.name)
            path.replace(gone)
            shutil.rmtree(gone)
            print(f"removed the published night {path.name}: {keep} are kept")


def _sweep(nights: Path) -> None:
    """Remove what a killed process left half-copied or half-removed."""
    for path in sorted(nights.iterdir()):
        half = path.name.startswith(REMOVED) or (
            path.name.startswith(".") and path.name.endswith(".tmp")
        )
        if half and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
    for path in sorted(nights.parent.glob(".current-*")):
        with contextlib.suppress(OSError):
            path.unlink()


VERB = Verb(
    name="publish",
    description=__doc__ or "",
    flags=PublishFlags,
    run=_run,
    out=lambda flags: flags.config.target,
    finished=_finished,
)

if __name__ == "__main__":
    sys.exit(main())
