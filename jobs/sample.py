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
from core.diffusion.sampleconfig import SampleConfig
from jobs import cli


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleFlags:
    """What to draw, and where."""

    config: SampleConfig
    out: Path | None = None
    """Folder of the sample set; default: samples/<run>-<config digest>."""
    batch_size: int = 16
    """Pictures computed together; changes speed and memory, not the pictures."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto = the GPU if there is one."""
    dry_run: bool = False
    """Print the full config and stop."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and sample."""
    return cli.run_job(SampleFlags, _run, argv, verb="sample", description=__doc__ or "")


def _run(flags: SampleFlags) -> None:
    from core.diffusion.generate import generate_sample_set

    config = flags.config
    out = flags.out or Path("samples") / f"{config.run.name}-{config_digest(config)[:8]}"
    made = generate_sample_set(config, out, batch_size=flags.batch_size, device=flags.device)
    print(f"sample set: {out} ({made.count:,} pictures, digest {made.digest[:12]})")
    print(f"contact sheet: {out / 'contact_sheet.png'}")
    print(f"next: python jobs/export.py --samples {out}")


if __name__ == "__main__":
    sys.exit(main())
