"""What a development cluster has on this machine outside its folder: processes, ports, names."""

import contextlib
import fcntl
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

MARK = "MENAGERIE_DEVCLUSTER_DAEMON"
"""The environment variable that holds the cluster's name in its daemons."""
HOSTS = Path("/etc/hosts")
CLIENTS = {"srun", "salloc", "sbatch", "sattach"}  # they may wait for a controller


class ClusterError(Exception):
    """What went wrong, what is allowed and what to do: one line for people."""


def running(cluster: str, folder: Path) -> dict[int, str]:
    """Everything of this cluster that runs: daemons, steps, tasks, waiting clients; pid -> name."""
    names, children, found = dict[int, str](), dict[int, list[int]](), list[int]()
    inodes = socket_inodes(folder)
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it may end while we look
            before, _, after = (entry / "stat").read_text(errors="replace").rpartition(") ")
            state, parent = after.split()[:2]
            if state == "Z":
                continue
            pid = int(entry.name)
            names[pid] = before.partition("(")[2]
            children.setdefault(int(parent), []).append(pid)
            marks = {f"{MARK}={cluster}", f"SLURM_CLUSTER_NAME={cluster}"}
            if names[pid] in CLIENTS:
                marks.add(f"SLURM_CONF={folder}/slurm.conf")
            if carries(entry, marks) or (names[pid].startswith("slurm") and holds(entry, inodes)):
                found.append(pid)
    for pid in found:  # grows while read: what a task started belongs too
        found += [child for child in children.get(pid, []) if child not in found]
    return {pid: node_of(pid) or names[pid] for pid in sorted(found) if pid != os.getpid()}


def carries(entry: Path, marks: set[str]) -> bool:
    """Whether the process at /proc/PID has one of these environment variables."""
    with contextlib.suppress(PermissionError):  # another user's
        return not marks.isdisjoint((entry / "environ").read_text(errors="replace").split("\0"))
    return False


def holds(entry: Path, inodes: set[str]) -> bool:
    """Whether the process at /proc/PID has one of these sockets: a step's title hides the rest."""
    with contextlib.suppress(PermissionError):
        return any(os.readlink(file) in inodes for file in (entry / "fd").iterdir())
    return False


def socket_inodes(folder: Path) -> set[str]:
    """The unix sockets in the cluster's folder, as /proc/PID/fd names them."""
    rows = [row.split() for row in Path("/proc/net/unix").read_text().splitlines()]
    ours = f"{folder}/"
    return {f"socket:[{row[6]}]" for row in rows if len(row) > 7 and row[7].startswith(ours)}


def node_of(pid: int) -> str | None:
    """The node that a slurmd plays; None for other processes."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
        if Path(words[0]).name == "slurmd" and "-N" in words:
            return words[words.index("-N") + 1]
    return None


def kill_everything(cluster: str, folder: Path) -> None:
    """Kill all that runs for this cluster, until a look finds nothing."""
    deadline = time.monotonic() + 20
    while processes := running(cluster, folder):
        if time.monotonic() > deadline:
            left = ", ".join(f"{name} {pid}" for pid, name in processes.items())
            raise ClusterError(f"these processes do not die, end them and stop again: {left}")
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below the range from which outgoing connections take theirs."""
    ports: list[int] = []
    for port in random.SystemRandom().sample(range(12_000, 32_000), 1000):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise ClusterError(f"found {len(ports)} free ports from 12000 to 32000; {count} are needed")


def as_root(purpose: str, *command: str) -> None:
    """Run a command as root, through sudo where needed."""
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    try:
        subprocess.run([*sudo, *command], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ClusterError(f"could not {purpose}, be root or have sudo: {error}") from None


def edit_hosts(cluster: str, nodes: Sequence[str]) -> None:
    """`write_hosts`, through sudo where this user may not."""
    if os.access(HOSTS, os.W_OK):
        write_hosts(cluster, nodes)
    elif nodes or f"# {cluster} begin" in HOSTS.read_text():
        as_root(f"write {HOSTS}", sys.executable, __file__, cluster, *nodes)


def write_hosts(cluster: str, nodes: Sequence[str]) -> None:
    """Let the nodes' names mean this machine, in a block of this cluster's own; no nodes: remove.

    Written in place, since containers mount the file: then it cannot be replaced by a rename.
    """
    begin, end = f"# {cluster} begin\n", f"# {cluster} end\n"
    with HOSTS.open("r+") as hosts:
        fcntl.flock(hosts, fcntl.LOCK_EX)
        before = hosts.read()
        after = re.sub(f"{begin}.*?{end}", "", before, flags=re.DOTALL)
        if nodes:
            gap = "" if after.endswith("\n") or not after else "\n"
            after += f"{gap}{begin}127.0.0.1 {' '.join(nodes)}\n{end}"
        if after != before:
            hosts.seek(0)
            hosts.write(after)
            hosts.truncate()


if __name__ == "__main__":
    write_hosts(sys.argv[1], sys.argv[2:])
