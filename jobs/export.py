"""Turn a sample set into a sticker pack: python jobs/export.py --samples SAMPLES.

With --pictures FOLDER instead, pictures of your own.

Each picture is enlarged, cut out, traced to engine-safe SVG, rendered again and compared; what
fails the gate is refused. The pack is a folder with a page to open, and a zip with the same bytes
on every run: SVG, PNG at three densities, WebP, sprite sheets for engines, packs for messengers.
"""

import dataclasses
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.data.transform import core_count
from core.errors import UserError
from core.report.page import many
from exporters.build import Built, build_pack, refusal_summary
from exporters.config import ExportConfig
from exporters.parts import ExportParts
from jobs.cli import run_verb
from jobs.cluster import ClusterFlags
from jobs.verbs import Verb


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportFlags:
    """What to export, and where."""

    config: ExportConfig
    out: Path | None = None
    """Folder of the pack, with the zip beside it; default: packs/<sample set's name>."""
    workers: int = dataclasses.field(default_factory=core_count)
    """Processes that trace; changes the speed, not a byte of the pack. Default: one per core that
    this process may use."""
    cluster: ClusterFlags = dataclasses.field(default_factory=ClusterFlags)
    dry_run: bool = False
    """Print the full config and stop."""

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= 256:
            raise UserError(f"workers is {self.workers}: from 1 to 256")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and export."""
    return run_verb(VERB, argv)


def _run(flags: ExportFlags) -> None:
    _report(build_pack(flags.config, _out(flags), workers=flags.workers))


def _out(flags: ExportFlags) -> Path:
    return flags.out or Path("packs") / flags.config.origin.resolve().name


def _report(built: Built) -> None:
    stickers, refused = built.facts["stickers"], built.facts["refused"]
    if not built.made:
        print(f"{built.folder} is finished already, from the same inputs: nothing to do")
    worst = [min(item["psnr_white_db"], item["psnr_black_db"]) for item in stickers]
    size = statistics.median(item["bytes"] for item in stickers) / 1024
    print(
        f"pack: {built.zip_path} ({len(stickers):,} stickers, median {size:.1f} KiB, "
        f"fidelity {min(worst):.1f} dB at worst, {statistics.median(worst):.1f} in the median)"
    )
    for line in _extras(built.facts):
        print(line)
    print(f"next: open {built.folder / 'index.html'}")
    if built.facts["redistributable"] is not True:
        print(f"licence: {built.facts['licence']}: DO NOT REDISTRIBUTE (see LICENSE)")
    if refused:
        print(f"refused: {len(refused):,} ({refusal_summary(refused)})")


def _extras(facts: Mapping[str, Any]) -> Iterator[str]:
    """Lines about atlases and messengers."""
    if atlas := facts.get("atlas"):
        yield f"atlas: {many(len(atlas['sheets']), 'sheet')}, for {', '.join(atlas['formats'])}"
    for platform, made in facts.get("platforms", {}).items():
        if made["packs"]:
            sizes = ", ".join(str(pack["stickers"]) for pack in made["packs"])
            yield f"{platform}: packs of {sizes} in stickers/{platform}"
        yield from (f"{platform}: {note}" for note in made["notes"])


def _parts(flags: ExportFlags) -> ExportParts:
    return ExportParts(flags.config, _out(flags), workers=flags.workers)


VERB = Verb(
    name="export",
    description=__doc__ or "",
    flags=ExportFlags,
    run=_run,
    out=_out,
    parts=_parts,
)

if __name__ == "__main__":
    sys.exit(main())
