"""Draw pictures from a trained run into a sample set: python jobs/sample.py --run RUN.

The set is Parquet shards and a contact sheet. Each picture depends on its seed alone; the same
command makes only what is missing.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from core.config import config_digest
from core.diffusion.defaults import from_model
from core.diffusion.generate import SamplingParts, generate_sample_set
from core.diffusion.modelinfo import describe_model, model_digest
from core.diffusion.sampleconfig import SampleConfig
from jobs.cli import run_verb
from jobs.cluster import Cluster, ClusterFlags
from jobs.preflight import require_disk
from jobs.verbs import Verb


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleFlags:
    """What to draw, and where."""

    config: SampleConfig
    out: Path | None = None
    """Folder of the sample set; default: samples/<run>-<config digest>."""
    batch_size: int = 32
    """Pictures computed together; changes speed and memory, not the pictures."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto = the GPU if there is one."""
    cluster: ClusterFlags = dataclasses.field(default_factory=ClusterFlags)
    dry_run: bool = False
    """Print the full config and stop."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and sample."""
    return run_verb(VERB, argv)


def _run(flags: SampleFlags) -> None:
    out = _out(flags)
    if words := _words_from_model(flags.config):
        print(words)
    made = generate_sample_set(flags.config, out, batch_size=flags.batch_size, device=flags.device)
    print(f"sample set: {out} ({made.count:,} pictures, digest {made.digest[:12]})")
    print(f"contact sheet: {out / 'contact_sheet.png'}")
    print(f"next: python jobs/export.py --samples {out}")


def _out(flags: SampleFlags) -> Path:
    run = flags.config.run
    return flags.out or Path("samples") / f"{run.name}-{config_digest(flags.config)[:8]}"


def _parts(flags: SampleFlags) -> SamplingParts:
    return SamplingParts(
        flags.config, _out(flags), batch_size=flags.batch_size, device=flags.device
    )


def _check(flags: SampleFlags, cluster: Cluster) -> list[str]:
    """The model is readable and the disk has room."""
    work = _parts(flags)
    model_digest(flags.config.run)
    size = work.model.picture_bytes * len(work.labels)
    require_disk(_out(flags), size)
    words = _words_from_model(flags.config)
    return [
        *([words] if words else []),
        f"pictures: {len(work.labels):,} of {work.model.size_px} px in {work.count} shards, "
        f"at most {size / 2**20:,.0f} MiB",
    ]


def _words_from_model(config: SampleConfig) -> str:
    """Which settings the model decides, in one line; empty when none."""
    own = from_model(config, describe_model(config.run))
    return "from the model: " + ", ".join(f"{k} {v}" for k, v in own.items()) if own else ""


VERB = Verb(
    name="sample",
    description=__doc__ or "",
    flags=SampleFlags,
    run=_run,
    out=_out,
    parts=_parts,
    check=_check,
)

if __name__ == "__main__":
    sys.exit(main())
