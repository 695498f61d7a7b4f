"""Packs as game developers see them: checked, and read by number.

A pack is a folder, or the zip of one, with pack.json and SHA256SUMS. Only files that SHA256SUMS
lists are read, by names that it states itself and that stay inside; and only the bytes that it
states are handed out.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import digest_bytes, digest_file
from curation_app.packs.files import SUMS, File, Files, check_files, open_files, read_sums

FORMAT = "menagerie-pack-1"
FACTS = "pack.json"
MAX_TEXT = 500


class AlteredError(UserError):
    """A file of a pack is not what it was when the pack was opened."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sticker:
    """One picture of a pack, in its formats."""

    number: int
    """From 0, in the order of pack.json."""
    name: str
    label: str
    alt: str
    seed: int | None
    tags: tuple[str, ...]
    svg: File
    pngs: tuple[File, ...]
    """The largest first; one for each size."""
    figures: Mapping[str, float]
    """What the exporter measured."""

    def mentions(self, text: str) -> bool:
        """Whether each word of the text occurs in the name, class, description or a tag."""
        whole = " ".join((self.name, self.label, self.alt, *self.tags)).casefold()
        return all(word in whole for word in text.casefold().split())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Zip:
    """A pack as one file to download."""

    path: Path
    sha256: str
    size_bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pack:
    """A pack whose files were all checked."""

    digest: str
    """The first 16 digits of the SHA-256 of SHA256SUMS, and so of everything."""
    name: str
    licence: str
    redistributable: bool | None
    facts: Mapping[str, Any]
    """What pack.json says of the pack as a whole."""
    refused: tuple[tuple[str, str], ...]
    """Pictures that the exporter refused, and why."""
    stickers: tuple[Sticker, ...]
    documents: Mapping[str, File]
    """Every other file, by name."""
    sums: bytes
    """SHA256SUMS."""
    source: Files
    zip: Zip | None = None

    def files(self) -> Iterator[File]:
        """Every file but SHA256SUMS."""
        yield from self.documents.values()
        for one in self.stickers:
            yield from (one.svg, *one.pngs)

    def read(self, file: File) -> bytes:
        """A file's bytes; AlteredError unless they are those of the checksums."""
        try:
            data = self.source.read(file.name)
        except (UserError, OSError):
            raise AlteredError(f"{file.name} of {self.name} is gone since it was checked") from None
        if digest_bytes(data) != file.sha256:
            raise AlteredError(f"{file.name} of {self.name} has changed since it was checked")
        return data


def open_pack(path: Path, known: Mapping[tuple[str, str], File] | None = None) -> Pack:
    """Read and check a pack, a folder or a zip; UserError says what is wrong with it.

    `known` are files, by name and digest, that need not be looked into again.
    """
    try:
        files = open_files(path)
        sums, listed = read_sums(files)
        if FACTS not in listed:
            raise UserError(f"{SUMS} does not list {FACTS}")
        # Everything is checked before anything is believed.
        checked = check_files(files, listed, known or {})
        facts = _parse_facts(files.read(FACTS))
        zipped = _zip(path) if path.is_file() else None
        return _pack(files, facts, checked, sums, zipped)
    except OSError as error:
        raise UserError((error.strerror or "it cannot be read").lower()) from None


def _parse_facts(data: bytes) -> dict[str, Any]:
    try:
        facts = json.loads(data, parse_constant=lambda text: None)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{FACTS} is not valid JSON: {error}") from None
    found = facts.get("format") if isinstance(facts, dict) else None
    if found != FORMAT:
        raise UserError(f"{FACTS} has the format {str(found)[:40]!r}: {FORMAT!r} is known")
    if not isinstance(facts.get("stickers"), list):
        raise UserError(f"{FACTS} lists no stickers")
    for key in ("parents", "inputs", "tools", "sampling"):
        if not isinstance(facts.setdefault(key, {}), dict):
            raise UserError(f"{key} in {FACTS} is no object")
    return dict(facts)


def _pack(
    files: Files,
    facts: dict[str, Any],
    checked: Mapping[str, File],
    sums: bytes,
    zipped: Zip | None,
) -> Pack:
    stickers = tuple(_sticker(n, entry, checked) for n, entry in enumerate(facts.pop("stickers")))
    mine = {file.name for one in stickers for file in (one.svg, *one.pngs)}
    refused = facts.pop("refused", None)
    allowed = facts.get("redistributable")
    return Pack(
        digest=digest_bytes(sums)[:16],
        name=_text(facts, "name", "the pack"),
        licence=_text(facts, "licence", "the pack"),
        redistributable=allowed if isinstance(allowed, bool) else None,
        facts=facts,
        refused=_refused(refused if isinstance(refused, list) else []),
        stickers=stickers,
        documents={name: file for name, file in checked.items() if name not in mine},
        sums=sums,
        source=files,
        zip=zipped,
    )


def _zip(path: Path) -> Zip:
    return Zip(path=path, sha256=digest_file(path), size_bytes=path.stat().st_size)


def _sticker(number: int, entry: Any, checked: Mapping[str, File]) -> Sticker:
    where = f"sticker {number}"
    if not isinstance(entry, dict):
        raise UserError(f"{where} in {FACTS} is no object")
    svg = _file(entry, "file", ".svg", checked, where)
    pngs = [_file(entry, key, ".png", checked, where) for key in ("png", "png_small")]
    by_size = {file.side_px: file for file in pngs}
    seed, tags = entry.get("seed"), entry.get("tags")
    return Sticker(
        number=number,
        name=Path(svg.name).stem,
        label=_text(entry, "label", where),
        alt=_text(entry, "alt", where),
        seed=seed if isinstance(seed, int) else None,
        tags=tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
        svg=svg,
        pngs=tuple(by_size[side_px] for side_px in sorted(by_size, reverse=True)),
        figures={
            key: value
            for key, value in sorted(entry.items())
            if isinstance(value, int | float) and key not in ("seed", "bytes")
        },
    )


def _file(
    entry: Mapping[str, Any], key: str, ending: str, checked: Mapping[str, File], where: str
) -> File:
    file = checked.get(_text(entry, key, where))
    if file is None or not file.name.endswith(ending):
        raise UserError(f"{where} in {FACTS} names a {key} that is no {ending} of {SUMS}")
    return file


def _text(values: Mapping[str, Any], key: str, where: str) -> str:
    value = values.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise UserError(f"{where} in {FACTS} has no {key} of 1 to {MAX_TEXT} characters")
    return value


def _refused(entries: list[Any]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (f"{entry.get('label')}, seed {entry.get('seed')}", str(entry.get("reason")))
        for entry in entries
        if isinstance(entry, dict)
    )
