"""Train a class-conditional diffusion model on a pinned dataset: python jobs/train.py --data DIR.

Without --data it trains on the starter animals. The same command resumes; once finished it does
nothing. The result is `model/` in the run's folder: a diffusers pipeline in safetensors.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

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

if TYPE_CHECKING:
    import torch

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
    accumulate: int | Literal["auto"] = 1
    """Micro-batches that each process makes of its share of a step: less memory, same result.
    `auto` tries before training how few fit."""
    memory_gb: float | None = None
    """Memory in GiB that each process may hold, for `--accumulate auto`; default: what there is."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compile the network: a minute or two before the first step, then faster. `auto` does so on
    GPUs for 2,000 steps or more."""
    find_lr: bool = False
    """Train nothing; sweep the learning rate for about 100 steps, plot the loss over it, and
    suggest a rate."""
    find_lr_s: float = 600.0
    """Seconds that the sweep may take, about; fewer steps where 100 take longer."""
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
        for name in ("accumulate", "find_lr_s", "rendezvous_s", "stall_s"):
            if getattr(self, name) != "auto" and getattr(self, name) < 1:
                flag = "--" + name.replace("_", "-")
                raise UserError(f"{flag} is {getattr(self, name)}; it must be 1 or more")
        if self.memory_gb is not None and (self.accumulate != "auto" or self.memory_gb <= 0):
            raise UserError(
                f"--memory-gb is {self.memory_gb:g}: it must be above 0 and goes with "
                "--accumulate auto"
            )

    @property
    def memory_bytes(self) -> int | None:
        """--memory-gb in bytes."""
        return None if self.memory_gb is None else int(self.memory_gb * 2**30)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and train."""
    return run_verb(VERB, argv)


def _default(arguments: Sequence[str]) -> TrainFlags:
    name = cast(Preset, flag_value(arguments, "--preset", "starter"))
    return TrainFlags(config=preset(name), preset=name)


def _run(flags: TrainFlags) -> None:
    dataset = _dataset(flags)
    out = _out(flags)
    if flags.find_lr:
        _find_rate(flags, dataset, RunFolder(out))
        return
    print(
        f"training {out} on {len(dataset.split['train']):,} pictures of "
        f"{len(dataset.label_names)} classes, {dataset.size_px} px, {dataset.channels} channels"
    )
    if flags.config.prediction == "noise" and flags.config.weighting in ("edm", "learned"):
        print(
            f"note: --prediction noise learns badly with --weighting {flags.config.weighting}, "
            "give --weighting uniform or min-snr"
        )
    from core.training.loop import train
    from core.training.processes import Patience

    model = train(
        flags.config,
        dataset,
        out,
        cpu=flags.cpu,
        accumulate=flags.accumulate,
        memory_bytes=flags.memory_bytes,
        compiled=flags.compile,
        patience=Patience(rendezvous_s=flags.rendezvous_s, stall_s=flags.stall_s),
    )
    print(f"model: {model}\nmetrics: {out / 'metrics.jsonl'}\nsample grids: {out / 'samples'}")
    print(f"next: python jobs/sample.py --run {out}")


def _find_rate(flags: TrainFlags, dataset: PinnedDataset, run: RunFolder) -> None:
    import torch

    from core.training.range_test import range_test, rate_flags, save_range_test

    gpu = torch.cuda.is_available() and not flags.cpu
    device = torch.device("cuda" if gpu else "cpu")
    found = range_test(
        flags.config,
        dataset,
        device=device,
        accumulate=_micro_batches(flags, dataset, device, processes=1),
        budget_s=flags.find_lr_s,
    )
    save_range_test(found, flags.config, run)
    rates = rate_flags(found, flags.config)
    data = f" --data {flags.config.data}" if flags.config.data else ""
    print(f"plot: {run.rates.with_suffix('.png')}\n{rates}")
    print(
        f"next: python jobs/train.py --preset {flags.preset}{data} {rates}, and the other flags of "
        "this command but --find-lr and --out"
    )


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
    if flags.find_lr:
        raise UserError(
            "--find-lr takes minutes in one process and is no job: give --cluster inline, on a "
            "machine like those that will train"
        )
    data, parent = flags.config.data, flags.config.init_from
    if parent is not None and cluster.after and not RunFolder(parent).model.exists():
        return [f"forecast: none before job {', '.join(cluster.after)} has made {parent}"]
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
    device = torch.device("cuda" if on_gpu else "cpu")
    # Sizes alone are wanted where nothing is timed, and fp16 cannot be tried without a GPU.
    config = flags.config if timed else dataclasses.replace(flags.config, precision="fp32")
    expected = forecast(
        config,
        dataset,
        device=device,
        processes=cluster.processes,
        accumulate=_micro_batches(flags, dataset, device, processes=cluster.processes)
        if timed
        else 1,
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


def _micro_batches(
    flags: TrainFlags, dataset: PinnedDataset, device: "torch.device", *, processes: int
) -> int:
    """--accumulate, `auto` tried on this device; a training itself tries on its own."""
    if flags.accumulate != "auto":
        return flags.accumulate
    from core.training.trial import fitting_accumulate

    accumulate, words = fitting_accumulate(
        flags.config,
        dataset,
        device,
        processes=processes,
        memory_bytes=flags.memory_bytes,
    )
    print(words)
    return accumulate


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
