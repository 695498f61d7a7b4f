"""Look inside a network: python jobs/visualize.py --run RUN.

One HTML report, pictures embedded: feature maps, attention, denoising, activations, what each skip
connection contributes, gradients, guesses by noise level, and the way between two pictures. RUN is
a run of ours or the folder of any diffusers UNet2DModel.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from core.inspection.config import VisualizeConfig
from core.inspection.planning import check_out, default_out, figures_path, finished, plan_of
from jobs.cli import run_verb
from jobs.cluster import Cluster, ClusterFlags
from jobs.verbs import Verb


@dataclasses.dataclass(frozen=True, kw_only=True)
class VisualizeFlags:
    """What to look into, and where the report goes."""

    config: VisualizeConfig
    out: Path | None = None
    """HTML file to write, with its figures as JSON beside it; default: visualize.html in the run's
    folder, or beside the folder of any other model."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto = the GPU if there is one."""
    cluster: ClusterFlags = dataclasses.field(default_factory=ClusterFlags)
    dry_run: bool = False
    """Print the full config and stop."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and look."""
    return run_verb(VERB, argv)


def _run(flags: VisualizeFlags) -> None:
    out = _out(flags)
    if _finished(flags):
        print(f"{out} is finished already, from the same inputs: nothing to do")
    else:
        from core.inspection.report import write_report  # torch

        write_report(flags.config, out, device=_device(flags.device))
    print(f"report: {out} ({out.stat().st_size / 2**20:.1f} MiB; figures: {figures_path(out)})")
    print(f"next: open {out} in a browser")


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


def _out(flags: VisualizeFlags) -> Path:
    out = flags.out or default_out(flags.config)
    check_out(out)
    return out


def _finished(flags: VisualizeFlags) -> bool:
    return finished(flags.config, _out(flags))


def _check(flags: VisualizeFlags, _: Cluster) -> list[str]:
    parents = plan_of(flags.config)["parents"]
    return [f"{name}: {digest[:12]}" for name, digest in parents.items()]


VERB = Verb(
    name="visualize",
    description=__doc__ or "",
    flags=VisualizeFlags,
    run=_run,
    out=_out,
    makes_file=True,
    finished=_finished,
    check=_check,
)

if __name__ == "__main__":
    sys.exit(main())
