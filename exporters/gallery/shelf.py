"""The packs that a gallery shows: opened, checked, and put into its folder."""

import dataclasses
import os
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import digest_bytes, read_json
from exporters.pack import FORMAT, SUMS, file_stem, unique_name, verify_pack, zip_folder


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shown:
    """A pack of the gallery."""

    slug: str
    """Its folder and its zip in `packs/`."""
    facts: dict[str, Any]
    """The contents of its pack.json."""
    digest: str
    """SHA-256 of its checksums, and so of everything in it."""
    zip_bytes: int

    @property
    def redistributable(self) -> bool:
        """Whether its licence is known to allow passing it on."""
        return self.facts["redistributable"] is True


def digests_of(paths: Sequence[Path]) -> list[str]:
    """What stands for these packs; UserError for what is no whole pack."""
    return [_digest(path) for path in paths]


def place_packs(paths: Sequence[Path], site: Path) -> list[Shown]:
    """Put packs (folders or zips) into `site`/packs, unpacked and zipped."""
    taken = {"index"}  # a pack's page lies beside the gallery's
    return [_place(path, site / "packs", taken) for path in paths]


def _digest(path: Path) -> str:
    problems = verify_pack(path)
    if problems:
        raise UserError(f"{path} is no whole pack ({problems[0]}): export it again")
    if path.is_dir():
        return digest_bytes((path / SUMS).read_bytes())
    with zipfile.ZipFile(path) as archive:
        return digest_bytes(archive.read(SUMS))


def _place(path: Path, packs: Path, taken: set[str]) -> Shown:
    digest = _digest(path)
    slug = unique_name(file_stem(path.stem if path.is_file() else path.resolve().name), taken)
    folder = packs / slug
    if path.is_dir():
        shutil.copytree(path, folder)
    else:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)  # its names were checked
    for file in folder.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)
    facts = read_json(folder / "pack.json")
    if facts.get("format") != FORMAT:
        raise UserError(f"{path} has the format {facts.get('format')!r}; {FORMAT!r} is known")
    zipped = packs / f"{slug}.zip"
    if path.is_dir():
        zip_folder(folder, zipped)
    else:
        shutil.copyfile(path, zipped)
    return Shown(slug=slug, facts=facts, digest=digest, zip_bytes=os.path.getsize(zipped))
