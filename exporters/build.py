"""A sample set to a pack, as the only process."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from core.files import exclusive, read_json
from core.parts import make_everything
from exporters.assemble import NothingPassed, refusal_summary
from exporters.config import ExportConfig
from exporters.pack import verify_pack
from exporters.parts import ExportParts, damaged

__all__ = ["Built", "build_pack", "open_built", "refusal_summary"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Built:
    """A finished pack."""

    folder: Path
    zip_path: Path
    facts: dict[str, Any]
    """The contents of pack.json."""
    made: bool
    """False when it was there already."""


def build_pack(config: ExportConfig, folder: Path, *, workers: int = 1) -> Built:
    """Export a sample set to `folder` and to a zip beside it, or go on where an export stopped.

    The same inputs give the same bytes for any number of workers. A finished pack of the same
    inputs is verified and left alone; UserError when another one is in the way, when another
    process makes it, or when no picture passes.
    """
    work = ExportParts(config, folder, workers=workers)
    if work.finished():
        if problems := verify_pack(folder):
            raise damaged(folder, problems)
        if not verify_pack(work.zip_path):
            return open_built(work, made=False)
        with exclusive(work.folder):
            work.zip_path.unlink(missing_ok=True)
    try:
        make_everything(work)
    except NothingPassed:  # other settings may let some pass: their parts must not be in the way
        with exclusive(work.folder):
            shutil.rmtree(work.folder)
        raise
    return open_built(work, made=True)


def open_built(work: ExportParts, *, made: bool) -> Built:
    """The pack that `work` finished."""
    return Built(
        folder=work.pack_folder,
        zip_path=work.zip_path,
        facts=read_json(work.pack_folder / "pack.json"),
        made=made,
    )
