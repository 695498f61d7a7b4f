"""Train a class-conditional diffusion model on a pinned dataset: python jobs/train.py --data DIR.

Without --data it trains on the starter animals. The same command resumes; once finished it does
nothing. The result is `model/` in the run's folder: a diffusers pipeline in safetensors.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from core.config import config_digest
from core.data.pinned import PinnedDataset, open_pinned
from core.data.transform import core_count
from core.errors import UserError
from core.rundir import RunFolder
from core.training.claim import check_claim
from core.training.config import Preset, TrainConfig, preset, preset_size_px
from jobs.cli import duration, flag_value, run_verb
from jobs.cluster import Cluster, ClusterFlags
from jobs.preflight import require_disk
from jobs.verbs import Verb

_FORECAST_S = 6.0
"""Seconds for timing steps before a submission."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainFlags:
    """What to train, and where."""

    config: TrainConfig
    preset: Preset = "starter"
    """Values that the flags below start from: `starter` takes minutes on a CPU, the others hours
    on a GPU."""
    out: Path | None = None
    """Folder of the run; default: runs/<preset>-<config digest>."""
    accumulate: int = 1
    """Micro-batches that each process makes of its share of a step: less memory, same result."""
    rendezvous_s: float = 300.0
    """Seconds that the processes of a job wait for each other at the start."""
    stall_s: float = 600.0
    """Seconds without a sign from another process after which the job ends, naming it."""
    cpu: bool = False
    """Train on the CPU even where there is a GPU."""
    cluster: ClusterFlags = dataclasses.field(default_factory=ClusterFlags)
    dry_run: bool = False
    """Print the full config and stop."""

    def __post_init__(self) -> None:
        for name in ("accumulate", "rendezvous_s", "stall_s"):
            if getattr(self, name) < 1:
                flag = "--" + name.replace("_", "-")
                raise UserError(f"{flag} is {getattr(self, name)}; it must be 1 or more")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and train."""
    return run_verb(VERB, argv)


def _default(arguments: Sequence[str]) -> TrainFlags:
    name = cast(Preset, flag_value(arguments, "--preset", "starter"))
    return TrainFlags(config=preset(name), preset=name)


def _run(flags: TrainFlags) -> None:
    dataset = _dataset(flags)
    out = _out(flags)
    print(
        f"training {out} on {len(dataset.split['train']):,} pictures of "
        f"{len(dataset.label_names)} classes, {dataset.size_px} px, {dataset.channels} channels"
    )
    from core.training.loop import train
    from core.training.processes import Patience

    model = train(
        flags.config,
        dataset,
        out,
        cpu=flags.cpu,
        accumulate=flags.accumulate,
        patience=Patience(rendezvous_s=flags.rendezvous_s, stall_s=flags.stall_s),
    )
    print(f"model: {model}\nmetrics: {out / 'metrics.jsonl'}\nsample grids: {out / 'samples'}")
    print(f"next: python jobs/sample.py --run {out}")


def _out(flags: TrainFlags) -> Path:
    return flags.out or Path("runs") / f"{flags.preset}-{config_digest(flags.config)[:8]}"


def _finished(flags: TrainFlags) -> bool:
    run = RunFolder(_out(flags))
    if not run.model.exists():
        return False
    check_claim(run, flags.config, _dataset(flags))  # finished, but perhaps not what is meant
    return True


def _steps_done(flags: TrainFlags) -> int:
    return max(RunFolder(_out(flags)).steps_saved(), default=0)


def _check(flags: TrainFlags, cluster: Cluster) -> list[str]:
    """The data is whole, the folder is free or this run's, the disk has room; time and size."""
    data = flags.config.data
    if data is not None:
        if cluster.after and not data.exists():
            return [f"forecast: none before job {', '.join(cluster.after)} has made {data}"]
        open_pinned(data, verify=True)
    elif flags.dry_run and not _starter(flags).exists():
        return ["forecast: none before the starter animals are prepared, which a dry run does not"]
    dataset, run = _dataset(flags), RunFolder(_out(flags))
    check_claim(run, flags.config, dataset)
    if cluster.processes > flags.config.batch_size:
        raise UserError(
            f"{cluster.processes} processes for --batch-size {flags.config.batch_size}: each needs "
            "a picture of every step; ask for fewer nodes or GPUs"
        )
    import torch

    from core.training.forecast import forecast

    torch.set_num_threads(min(cluster.cpus_per_task, core_count()))
    timed = cluster.gpus_per_node == 0 or (torch.cuda.is_available() and not flags.cpu)
    on_gpu = cluster.gpus_per_node > 0 and timed
    expected = forecast(
        flags.config,
        dataset,
        device=torch.device("cuda" if on_gpu else "cpu"),
        processes=cluster.processes,
        accumulate=flags.accumulate,
        steps_done=_steps_done(flags),
        budget_s=_FORECAST_S if timed else 0,
    )
    require_disk(run.root, expected.disk_bytes)
    size = f"{expected.disk_bytes / 2**20:,.0f} MiB of checkpoints and model"
    if not timed:
        return [f"forecast: {size}; speed unknown (no GPU here to time a step on)"]
    requeues = int(expected.hours * 60 / cluster.minutes)
    gpu_hours = expected.hours * cluster.processes
    return [
        f"forecast: {expected.images_per_s:.3g} images/s in {cluster.processes} processes like "
        f"this one, {duration(expected.hours * 3600)}, {requeues} requeues, {size}"
        + (f", {gpu_hours:.3g} GPU-hours" if on_gpu else "")
    ]


def _starter(flags: TrainFlags) -> Path:
    return Path("datasets") / f"starter-{preset_size_px(flags.preset)}"


def _dataset(flags: TrainFlags) -> PinnedDataset:
    if flags.config.data is not None:
        return open_pinned(flags.config.data)
    from core.data.prepare import PrepareConfig, prepare

    size_px, folder = preset_size_px(flags.preset), _starter(flags)
    if not folder.exists():
        print(f"no --data: preparing the starter animals in {folder}")
    prepare(PrepareConfig(source="starter", size_px=size_px), folder, workers=core_count())
    return open_pinned(folder)


VERB = Verb(
    name="train",
    description=__doc__ or "",
    flags=TrainFlags,
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
