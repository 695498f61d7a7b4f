"""Adapt Stable Diffusion or SDXL by a LoRA: python jobs/finetune.py --pipeline P --data PICTURES.

The same command resumes; once finished it does nothing. The result is `lora/` in the run's folder,
in diffusers' and in kohya's format, for `python jobs/sample.py --pipeline P --lora RUN/lora`.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.config import config_digest
from core.errors import UserError
from core.pretrained.lora.config import LoraConfig
from core.rundir import RunFolder
from jobs.cli import duration, run_verb
from jobs.cluster import Cluster, ClusterFlags
from jobs.preflight import require_disk
from jobs.verbs import Verb

if TYPE_CHECKING:
    import torch

    from core.pretrained.lora.forecast import LoraForecast


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneFlags:
    """What to adapt to what, and where."""

    config: LoraConfig
    out: Path | None = None
    """Folder of the run; default: runs/lora-<config digest>."""
    encoded: Path | None = None
    """Folder of the pictures as the pipeline sees them, made when missing; runs that differ in how
    they train alone can share it. Default: one in the run's folder."""
    accumulate: int = 1
    """Micro-batches that each process makes of its share of a step: less memory, same result."""
    max_hours: float | None = None
    """Wall-clock hours after which this call ends, with a checkpoint; the same command goes on. For
    notebooks and machines that end after 12, say 11.9. (A cluster's --time needs no such help: a
    job that it ends is queued again, one that this ends is not.)"""
    gpu_tflops: float = 100.0
    """Rate in 10¹² operations a second that a GPU keeps up, for the forecast: about 100 on an A100,
    40 on a T4 or less, 250 on an H100."""
    find_lr: bool = False
    """Train nothing; sweep the learning rate for about 100 steps, plot the loss over it, and
    suggest a rate."""
    find_lr_s: float = 600.0
    """Seconds that the sweep may take, about."""
    rendezvous_s: float = 300.0
    """Seconds that the processes of a job wait for each other at the start."""
    stall_s: float = 600.0
    """Seconds without a sign from another process after which the job ends, naming it."""
    cpu: bool = False
    """Train on the CPU even where there is a GPU."""
    cluster: ClusterFlags = dataclasses.field(default_factory=ClusterFlags)
    dry_run: bool = False
    """Print the full config and what it will take, and stop."""

    def __post_init__(self) -> None:
        for name in ("accumulate", "find_lr_s", "rendezvous_s", "stall_s"):
            if getattr(self, name) < 1:
                flag = "--" + name.replace("_", "-")
                raise UserError(f"{flag} is {getattr(self, name)}; it must be 1 or more")
        for name in ("max_hours", "gpu_tflops"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UserError(f"--{name.replace('_', '-')} is {value:g}; it must be above 0")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and train."""
    return run_verb(VERB, argv)


def _run(flags: FinetuneFlags) -> str | None:
    from core.training.budget import Budget

    budget = Budget(flags.max_hours)
    out = _out(flags)
    if flags.find_lr:
        return _find_rate(flags, out)
    from core.pretrained.lora.loop import finetune
    from core.training.processes import Patience

    print(f"adapting {flags.config.pipeline} to {flags.config.data} in {out}")
    ended = finetune(
        flags.config,
        out,
        encoded=flags.encoded,
        cpu=flags.cpu,
        accumulate=flags.accumulate,
        budget=budget,
        patience=Patience(rendezvous_s=flags.rendezvous_s, stall_s=flags.stall_s),
    )
    if ended.lora is None:
        kept = "what is encoded is kept"
        if ended.step:
            kept = f"step {ended.step} of {flags.config.steps} is saved"
        return (
            f"time is up after {duration(ended.spent_s)}: {kept}, and the same command goes on "
            "from there"
        )
    return (
        f"LoRA: {ended.lora}\nmetrics: {out / 'metrics.jsonl'}\n"
        f"validation pictures: {out / 'samples'}\n"
        f"next: python jobs/sample.py --pipeline {flags.config.pipeline} --lora {ended.lora} "
        f"--prompt {flags.config.caption.format(label='cat')!r}"
    )


def _find_rate(flags: FinetuneFlags, out: Path) -> str:
    from core.pretrained.lora.rates import find_rate
    from core.training.range_test import rate_flags

    found = find_rate(
        flags.config,
        out,
        encoded=flags.encoded,
        device=_device(flags),
        accumulate=flags.accumulate,
        budget_s=flags.find_lr_s,
    )
    rates = rate_flags(found, flags.config)
    return (
        f"plot: {RunFolder(out).rates.with_suffix('.png')}\n{rates}\n"
        f"next: the same command with {rates}, without --find-lr, and with another --out"
    )


def _device(flags: FinetuneFlags) -> "torch.device":
    import torch

    return torch.device("cuda" if torch.cuda.is_available() and not flags.cpu else "cpu")


def _out(flags: FinetuneFlags) -> Path:
    return flags.out or Path("runs") / f"lora-{config_digest(flags.config)[:8]}"


def _finished(flags: FinetuneFlags) -> bool:
    from core.pretrained.lora.run import LoraRun, check_claim

    run = LoraRun(_out(flags))
    if not run.lora.exists():
        return False
    check_claim(run, flags.config)
    return True


def _steps_done(flags: FinetuneFlags) -> int:
    return max(RunFolder(_out(flags)).steps_saved(), default=0)


def _check(flags: FinetuneFlags, cluster: Cluster) -> list[str]:
    """Pipeline and pictures are there and fit, the folder is free or this run's; memory, hours."""
    if flags.find_lr and cluster.kind != "inline":
        raise UserError(
            "--find-lr takes minutes in one process and is no job: give --cluster inline, on a "
            "machine like those that will train"
        )
    config = flags.config
    if cluster.processes * flags.accumulate > config.batch_size:
        raise UserError(
            f"{cluster.processes} processes with --accumulate {flags.accumulate} for --batch-size "
            f"{config.batch_size}: each micro-batch needs a picture; ask for fewer"
        )
    from core.pretrained.lora.base import describe_base
    from core.pretrained.lora.encoded import DONE
    from core.pretrained.lora.forecast import cpu_tflops, forecast
    from core.pretrained.lora.run import LoraRun, check_claim
    from core.pretrained.text_to_image.source import cached_folder

    check_claim(LoraRun(_out(flags)), config)
    data = Path(config.data)
    if cluster.after and not data.exists():
        return [f"forecast: none before job {', '.join(cluster.after)} has made {data}"]
    pictures, captions, words = _count_pictures(flags)
    folder = cached_folder(config.pipeline, config.revision)
    if folder is None:
        return [words, f"forecast: none before {config.pipeline} is fetched from the hub"]
    source = describe_base(folder)
    on_gpu = cluster.gpus_per_node > 0
    if cluster.kind == "inline":
        on_gpu = _device(flags).type == "cuda"
    micro = -(-config.batch_size // (cluster.processes * flags.accumulate))
    encoded = flags.encoded or LoraRun(_out(flags)).encoded
    there = (encoded / DONE).exists()
    need = forecast(
        config,
        source,
        on_gpu=on_gpu,
        micro_batch=micro,
        accumulate=flags.accumulate,
        pictures=0 if there else pictures,
        captions=0 if there else captions,
    )
    require_disk(_out(flags), need.disk_bytes)
    require_disk(encoded, 2 * need.encoded_bytes)  # in parts, and as a whole
    rate = flags.gpu_tflops if on_gpu else cpu_tflops()
    return [words, _memory_words(need, micro, on_gpu), _hours_words(flags, cluster, need, rate)]


def _count_pictures(flags: FinetuneFlags) -> tuple[int, int, str]:
    """Pictures, captions, and both in words."""
    from core.pretrained.lora.pictures import training_pictures

    shown = training_pictures(flags.config)
    captions = len({picture.caption for picture in shown})
    words = f"pictures: {len(shown):,} with {captions:,} captions, such as {shown[0].caption!r}"
    return len(shown), captions, words


def _memory_words(need: "LoraForecast", micro: int, on_gpu: bool) -> str:
    where = "GPU memory" if on_gpu else "memory of a process"
    return (
        f"{where}: about {need.peak_bytes / 2**30:.1f} GiB (weights "
        f"{need.weights_bytes / 2**30:.2f}, {micro} pictures at a time "
        f"{need.activation_bytes / 2**30:.2f}); less with --gradient-checkpointing and --accumulate"
    )


def _hours_words(flags: FinetuneFlags, cluster: Cluster, need: "LoraForecast", rate: float) -> str:
    left = max(0, flags.config.steps - _steps_done(flags))
    training = need.hours(left, rate, cluster.processes)
    encoding = need.encoding_hours(rate, cluster.processes)
    hours = encoding + training
    first = f"{duration(encoding * 3600)} of encoding, " if encoding else ""
    words = (
        f"forecast: {first}{duration(training * 3600)} for {left:,} steps of "
        f"{need.operations / 1e12:.3g} TFLOP at {rate:.3g} TFLOP/s a process, "
        f"{int(hours * 60 / cluster.minutes)} requeues, "
        f"{(need.disk_bytes + need.encoded_bytes) / 2**20:,.0f} MiB on disk"
    )
    if cluster.gpus_per_node:
        words += f", {hours * cluster.processes:.3g} GPU-hours"
    if flags.max_hours is not None and hours > flags.max_hours:
        words += f"; with --max-hours, {int(hours / flags.max_hours) + 1} calls"
    return words


VERB = Verb(
    name="finetune",
    description=__doc__ or "",
    flags=FinetuneFlags,
    run=_run,
    out=_out,
    many_processes=True,
    finished=_finished,
    steps_done=_steps_done,
    check=_check,
    checks_in_place=True,
)

if __name__ == "__main__":
    sys.exit(main())
