"""Give animals their calls: python jobs/calls.py --samples SAMPLES --out CALLS.

One sound file for each picture of a sample set, or for classes of any name (--classes cat dog), by
the embedded synthesiser or by a Stable Audio pipeline (--pipeline FOLDER_OR_HUB_NAME). A call
depends on its class and seed alone; the same command makes only what is missing.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from core.config import config_digest
from core.parts import make_everything
from core.pretrained.calls.config import CallsConfig
from core.pretrained.calls.work import CallsWork
from jobs.cli import run_verb
from jobs.cluster import Cluster, ClusterFlags
from jobs.verbs import Verb


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallsFlags:
    """What to make calls for, and where they go."""

    config: CallsConfig
    out: Path | None = None
    """Folder of the calls; default: calls/<sample set or first class>-<config digest>."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where --pipeline computes; auto = the GPU if there is one."""
    cluster: ClusterFlags = dataclasses.field(default_factory=ClusterFlags)
    dry_run: bool = False
    """Print the full config and stop."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and make calls."""
    return run_verb(VERB, argv)


def _run(flags: CallsFlags) -> None:
    work = _parts(flags)
    if work.finished():
        print(f"{work.folder} is finished already, from the same inputs: nothing to do")
    make_everything(work)
    print(f"calls: {work.folder} ({len(work.animals):,} sound files, listed in calls.json)")
    print(f"next: open {work.folder / 'index.html'} to listen")


def _out(flags: CallsFlags) -> Path:
    config = flags.config
    name = config.samples.name if config.samples else config.classes[0]
    return flags.out or Path("calls") / f"{name}-{config_digest(config)[:8]}"


def _parts(flags: CallsFlags) -> CallsWork:
    return CallsWork(flags.config, _out(flags), flags.device)


def _check(flags: CallsFlags, cluster: Cluster) -> list[str]:
    """The sample set is readable."""
    work = _parts(flags)
    return [f"calls: {len(work.animals):,} in {work.count} parts"]


VERB = Verb(
    name="calls",
    description=__doc__ or "",
    flags=CallsFlags,
    run=_run,
    out=_out,
    parts=_parts,
    check=_check,
)

if __name__ == "__main__":
    sys.exit(main())
