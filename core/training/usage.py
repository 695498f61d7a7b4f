"""How much memory a process has taken, and how much it may take."""

import contextlib
import os
import resource
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_FORGET_PEAK = b"5"
"""Written to /proc/self/clear_refs (man 5 proc): the peak begins anew at what is in use now."""


def memory_in_use_bytes(device: torch.device) -> int:
    """The most memory so far: a GPU's that tensors took, else the process's in RAM."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if _STATUS.exists():
        return _status_bytes("VmHWM")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def forget_peak(device: torch.device) -> None:
    """Let `memory_in_use_bytes` begin anew, where the system can; elsewhere it only ever rises."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _STATUS.exists():
        with contextlib.suppress(OSError):  # Some containers have no such file, or it is read-only.
            _STATUS.with_name("clear_refs").write_bytes(_FORGET_PEAK)


def memory_limit_bytes(
    device: torch.device, processes_here: int, environment: Mapping[str, str] = os.environ
) -> tuple[int, str]:
    """What this process may hold in all, and who says so.

    A GPU's free memory and what we hold of it; else the least of the RAM that is available, the
    control groups' limits and SLURM's, shared by the processes of this machine.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device), "the GPU's free memory"
    limits = [(_available_bytes(), "the RAM available")]
    limits += [(limit, "the control group's limit") for limit in _cgroup_limits(Path("/"))]
    limits += [(limit, "the SLURM job's memory") for limit in _slurm_limits(environment)]
    least, who = min(limits)
    return least // processes_here, who


def processes_here(count: int, environment: Mapping[str, str] = os.environ) -> int:
    """How many of a training's `count` processes share this machine; all, where nothing says."""
    for name in ("LOCAL_WORLD_SIZE", "SLURM_NTASKS_PER_NODE"):
        if environment.get(name, "").isdecimal():
            return min(count, int(environment[name]))
    return count


def _available_bytes() -> int:
    """RAM that can be had without swapping, and what this process has already."""
    if _STATUS.exists():
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(available.split()[1]) * 1024 + _status_bytes("VmRSS")
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _status_bytes(name: str) -> int:
    lines = _STATUS.read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) * 1024


def _cgroup_limits(root: Path) -> Iterator[int]:
    """Limits of this process's control groups and those above them, of either version."""
    own = root / "proc/self/cgroup"
    for line in own.read_text().splitlines() if own.exists() else ():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        group = base / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(base) and (folder / name).exists():
                text = (folder / name).read_text().strip()
                if text.isdecimal():  # "max" is none
                    yield int(text)


def _slurm_limits(environment: Mapping[str, str]) -> Iterator[int]:
    """Memory that SLURM gave the job on this node; 0 means all of it."""
    per_node = environment.get("SLURM_MEM_PER_NODE", "")
    per_cpu = environment.get("SLURM_MEM_PER_CPU", "")
    cpus = environment.get("SLURM_CPUS_ON_NODE", "")
    if per_node.isdecimal() and int(per_node):
        yield int(per_node) * 2**20
    elif per_cpu.isdecimal() and cpus.isdecimal() and int(per_cpu):
        yield int(per_cpu) * int(cpus) * 2**20
