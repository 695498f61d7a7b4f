"""Make a pinned dataset from pictures: `python jobs/prepare.py --source PICTURES --size-px 64`."""

import dataclasses
import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from core.data.prepare import PrepareConfig, Prepared, prepare
from core.data.transform import core_count
from core.errors import UserError
from core.training.config import fitting_preset
from jobs.cli import run_verb
from jobs.cluster import ClusterFlags
from jobs.verbs import Verb


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareFlags:
    """What to prepare, and where."""

    config: PrepareConfig = dataclasses.field(default_factory=PrepareConfig)
    out: Path | None = None
    """Folder to make; by default datasets/SOURCE-SIZE."""
    workers: int | None = None
    """Processes that read pictures; by default one per core. The result does not depend on it."""
    cluster: ClusterFlags = dataclasses.field(default_factory=ClusterFlags)
    dry_run: bool = False
    """Print the config and stop."""


def main(argv: Sequence[str] | None = None) -> int:
    """The `menagerie prepare` command."""
    return run_verb(VERB, argv)


def run(flags: PrepareFlags) -> str:
    """Prepare, say what was made, where, and what to do next; how many were rejected comes last."""
    if flags.workers is not None and flags.workers < 1:
        raise UserError(f"workers is {flags.workers}: give 1 or more")
    out = _out(flags)
    result = prepare(flags.config, out, workers=flags.workers or core_count())
    _report(result)
    fitting = fitting_preset(result.dataset.network_shape_chw[1])
    print(f"next: python jobs/train.py --data {shlex.quote(str(out))} --preset {fitting}")
    return f"{result.rejected} pictures rejected" + _where_rejected(result)


def _out(flags: PrepareFlags) -> Path:
    return flags.out or default_out(flags.config)


def default_out(config: PrepareConfig) -> Path:
    """datasets/SOURCE-SIZE, with a name that is safe in any shell."""
    stem = Path(config.source.removeprefix("hf:")).resolve().name
    for suffix in (".zip", ".parquet"):
        stem = stem.removesuffix(suffix)
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.") or "pictures"
    return Path("datasets") / f"{safe}-{config.size_px}"


def _report(result: Prepared) -> None:
    data = result.dataset
    sizes = ", ".join(f"{len(rows)} {name}" for name, rows in data.split.items())
    kind = "RGB with alpha" if data.channels == 4 else "RGB"
    verb = "found, nothing to do" if result.reused else "made"
    print(f"{verb}: {data.folder}")
    print(
        f"  {len(data.labels)} pictures of {data.size_px} px ({kind}) in "
        f"{len(data.label_names)} classes: {sizes}"
    )
    print(f"  licence {data.licence}; digest {data.digest}")
    if data.latents is not None:
        channels, height, width = data.network_shape_chw
        print(
            f"  latents {channels}×{height}×{width} of {data.facts['encoder']['class']}, which "
            f"gives pictures back at {data.facts['encoder']['reconstruction_psnr_db']} dB"
        )
    if result.ignored:
        print(f"  {result.ignored} other files ignored")
    with (data.folder / "duplicates.jsonl").open(encoding="utf-8") as file:
        groups = [json.loads(line) for line in file]
    if groups:
        copies = sum(len(group["file_names"]) for group in groups)
        print(f"  {copies} pictures are copies of each other, in {len(groups)} groups")
    mixed = [group for group in groups if len(group["labels"]) > 1]
    for group in mixed[:5]:
        names = ", ".join(group["file_names"][:4])
        print(f"  one picture under several labels ({', '.join(group['labels'])}): {names}")
    if len(mixed) > 5:
        print(f"  … and {len(mixed) - 5} more such groups in duplicates.jsonl")


def _where_rejected(result: Prepared) -> str:
    return f": see {result.dataset.folder / 'rejected.jsonl'}" if result.rejected else ""


VERB = Verb(
    name="prepare",
    description="Turn pictures into a pinned dataset, split so that no copy straddles.",
    flags=PrepareFlags,
    run=run,
    out=_out,
)

if __name__ == "__main__":
    sys.exit(main())
