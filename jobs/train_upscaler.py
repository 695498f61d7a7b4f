"""Train a ×4 upscaler: python jobs/train_upscaler.py --preset drawings|photographs.

Without --data it learns from the starter animals. The same command resumes; once finished it does
nothing. The result is `model/` in the run's folder: weights that `menagerie export --upscaler`,
and any program that knows Real-ESRGAN's compact network, can load.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from core.config import config_digest
from core.errors import UserError
from core.rundir import RunFolder
from exporters.training.config import Kind, UpscalerConfig, preset
from jobs.cli import flag_value, run_verb
from jobs.cluster import Cluster, ClusterFlags
from jobs.preflight import require_disk
from jobs.verbs import Verb


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainUpscalerFlags:
    """What to train, and where."""

    config: UpscalerConfig
    preset: Kind = "drawings"
    """Values that the flags below start from: `drawings` are RGBA and spoilt as diffusion samples
    are, `photographs` RGB and shrunk as benchmarks do."""
    out: Path | None = None
    """Folder of the run; default: runs/upscaler-<preset>-<config digest>."""
    cpu: bool = False
    """Train on the CPU even where there is a GPU."""
    cluster: ClusterFlags = dataclasses.field(default_factory=ClusterFlags)
    dry_run: bool = False
    """Print the full config and stop."""

    def __post_init__(self) -> None:
        if self.preset == "photographs" and not self.config.data:
            raise UserError("--preset photographs needs --data, a folder of photographs")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and train."""
    return run_verb(VERB, argv)


def _default(arguments: Sequence[str]) -> TrainUpscalerFlags:
    kind = cast(Kind, flag_value(arguments, "--preset", "drawings"))
    given = TrainUpscalerFlags(config=preset(kind))  # --data comes later, and is asked for then
    object.__setattr__(given, "preset", kind)
    return given


def _run(flags: TrainUpscalerFlags) -> None:
    from exporters.training.loop import MODEL_NAME, train_upscaler

    out = _out(flags)
    if _finished(flags):
        print(f"{out} is finished already: nothing to do")
    model = train_upscaler(flags.config, out, cpu=flags.cpu)
    facts = json.loads((model / f"{MODEL_NAME}.json").read_text(encoding="utf-8"))["held_out"]
    gain = facts["held_out_psnr_db"] - facts["held_out_bicubic_psnr_db"]
    print(
        f"model: {model / MODEL_NAME}.safetensors ({facts['held_out_psnr_db']:.2f} dB on held-out "
        f"pictures, {gain:+.2f} dB over bicubic)\nmetrics: {RunFolder(out).metrics}"
    )
    print(f"next: python jobs/export.py --upscaler {model / MODEL_NAME}.safetensors --samples …")


def _out(flags: TrainUpscalerFlags) -> Path:
    digest = config_digest(flags.config)[:8]
    return flags.out or Path("runs") / f"upscaler-{flags.preset}-{digest}"


def _finished(flags: TrainUpscalerFlags) -> bool:
    return RunFolder(_out(flags)).model.exists()


def _steps_done(flags: TrainUpscalerFlags) -> int:
    return max(RunFolder(_out(flags)).steps_saved(), default=0)


def _check(flags: TrainUpscalerFlags, cluster: Cluster) -> list[str]:
    """The folder is free or this training's, the data is there, one process is asked for."""
    from exporters.training.loop import check_claim

    if cluster.processes > 1:
        raise UserError(
            f"{cluster.processes} processes are asked for, and an upscaler trains in one: give "
            "--nodes 1 and at most --gpus-per-node 1"
        )
    check_claim(RunFolder(_out(flags)), flags.config)
    for folder in flags.config.data:
        if not folder.is_dir() and not cluster.after:
            raise UserError(f"--data {folder}: there is no such folder")
    require_disk(_out(flags), 64 * 2**20)
    return [f"{flags.config.steps:,} steps in one process; the pictures are read by the job itself"]


VERB = Verb(
    name="train_upscaler",
    description=__doc__ or "",
    flags=TrainUpscalerFlags,
    run=_run,
    default=_default,
    out=_out,
    many_processes=True,
    finished=_finished,
    steps_done=_steps_done,
    check=_check,
)

if __name__ == "__main__":
    sys.exit(main())
