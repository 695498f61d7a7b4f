#!/usr/bin/env python3
"""A real SLURM on one machine, in one folder: try the cluster path on a laptop, or test it in CI.

python slurm/devcluster.py install               Debian packages, where some are missing
python slurm/devcluster.py start --nodes 2       munge, MariaDB, slurmdbd, slurmctld, 2 x slurmd
eval "$(python slurm/devcluster.py env)"         point sbatch, squeue and sacct at it
python slurm/devcluster.py show
python slurm/devcluster.py stop                  no process, port, folder or hosts line stays

Nodes are daemons on the loopback. Their CPUs, memory and GPUs are counted, not enforced, so that
many tasks fit on few cores. Partitions: `gpu` (the default), `spot` (jobs give way and are
requeued, 20 s after a warning) and `urgent` (goes first).
"""

import argparse
import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import json
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

PACKAGES = {  # a program that only this package brings -> the package
    "slurmctld": "slurm-wlm",
    "slurmdbd": "slurmdbd",
    "munged": "munge",
    "mariadbd": "mariadb-server",
    "crontab": "cron",
}
DAEMONS = {"munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd", "slurmstepd"}
CLIENTS = {"srun", "salloc", "sbatch", "sattach", "scrontab"}  # they wait for a controller
RECORD = "devcluster.json"
ENVIRONMENT_MARK = "MENAGERIE_DEVCLUSTER_DAEMON"
PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
HOSTS = Path("/etc/hosts")
READY_S = 60.0

SLURM_CONF = """\
ClusterName={name}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# Credentials expire soon, because a requeued job waits for it (120 s by default).
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny

StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/%n.pid

AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd_port}
AccountingStoragePass={folder}/munge/socket
AccountingStorageTRES=gres/gpu
AccountingStorageEnforce=associations,qos
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5

SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
GresTypes=gpu

# Small and quick: schedule at once, see a lost node within seconds.
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2,sched_min_interval=100000
MaxArraySize={max_array_size}
MinJobAge=600
JobRequeue=1
KillWait=30
OverTimeLimit=0
InactiveLimit=0
SlurmdTimeout=20
ReturnToService=2
ScronParameters=enable

PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal

SlurmdParameters=config_overrides
NodeName=DEFAULT CPUs={cpus} RealMemory={mem_mb} State=UNKNOWN{gres}
{node_lines}
PartitionName=DEFAULT Nodes=ALL State=UP DefaultTime=60 DefMemPerCPU={mem_per_cpu_mb}
PartitionName=gpu Default=YES PriorityTier=10 PreemptMode=OFF MaxTime=2-00:00:00
PartitionName=spot PriorityTier=1 PreemptMode=REQUEUE GraceTime=20 MaxTime=2-00:00:00
PartitionName=urgent PriorityTier=20 PreemptMode=OFF MaxTime=4:00:00
"""

SLURMDBD_CONF = """\
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={dbd_port}
SlurmUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
PidFile={folder}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser={user}
StorageLoc=slurm
"""


class ClusterError(Exception):
    """What went wrong, what is allowed and what to do: one line for people."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """What `start` is asked for, checked."""

    nodes: int = 2
    cpus: int = 8
    """Per node; counted only."""
    mem_mb: int = 16_000
    """Per node; counted only."""
    gpus_per_node: int = 4
    max_array_size: int = 1001
    """As SLURM has it: the highest array index is one less."""

    def __post_init__(self) -> None:
        limits = {
            "nodes": (1, 32),
            "cpus": (1, 1024),
            "mem_mb": (64, 10_000_000),
            "gpus_per_node": (0, 64),
            "max_array_size": (2, 4_000_001),
        }
        for field, (low, high) in limits.items():
            if not low <= (value := getattr(self, field)) <= high:
                flag = "--" + field.replace("_", "-")
                raise ClusterError(f"{flag} is {value}; give a number from {low} to {high}")


class Cluster:
    """A development cluster's folder, and the names of everything in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        if not re.fullmatch(r"/[\w./+-]*[\w+-]", str(self.folder)) or len(str(self.folder)) > 60:
            raise ClusterError(
                f"the cluster's folder is {str(self.folder)!r}; SLURM and unix sockets want at "
                "most 60 characters, all of them letters, digits or . _ + - /: choose another "
                "with --folder"
            )
        self.folder = self.folder.resolve()
        self.name = "menagerie-dev-" + hashlib.sha256(bytes(self.folder)).hexdigest()[:8]
        self.conf = self.folder / "slurm.conf"
        self.record = self.folder / RECORD

    def environment(self) -> dict[str, str]:
        """All the environment that daemons and commands get: nothing of the caller's leaks in."""
        kept = {key: os.environ[key] for key in ("HOME", "LANG", "TZ") if key in os.environ}
        return kept | {
            "PATH": PATH,
            "SLURM_CONF": str(self.conf),
            "MYSQL_UNIX_PORT": str(self.folder / "db/socket"),
            ENVIRONMENT_MARK: self.name,
        }

    def run(self, *command: str) -> str:
        """Run a SLURM command on this cluster; return what it prints."""
        done = subprocess.run(
            command, env=self.environment(), capture_output=True, text=True, timeout=30
        )
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
            raise ClusterError(f"{' '.join(command)}: {said}")
        return done.stdout

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder, made when missing: one start or stop at a time."""
        while True:
            make_folder(self.folder)
            held = os.open(self.folder, os.O_RDONLY)
            try:
                fcntl.flock(held, fcntl.LOCK_EX)
                with contextlib.suppress(FileNotFoundError):  # a stop may have removed it
                    if os.path.samestat(os.fstat(held), os.stat(self.folder)):
                        yield
                        return
            finally:
                os.close(held)


# ---------------------------------------------------------------- processes


def running(cluster: Cluster) -> dict[int, str]:
    """Everything of this cluster that runs, daemons, steps and tasks: process id -> name."""
    found, children = {}, dict[int, list[int]]()
    for entry in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        with contextlib.suppress(OSError, ValueError):
            name, state, parent = parse_stat((entry / "stat").read_text(errors="replace"))
            children.setdefault(parent, []).append(int(entry.name))
            if state != "Z" and belongs(cluster, entry, name):
                found[int(entry.name)] = name
    family = list(found)
    for pid in family:  # grows while read: what a task started belongs too
        family += [child for child in children.get(pid, []) if child not in family]
    return {pid: found.get(pid, "task") for pid in family if pid != os.getpid()}


def parse_stat(stat: str) -> tuple[str, str, int]:
    """Name, state and parent from /proc/PID/stat; a name may hold blanks and brackets."""
    name, _, rest = stat.partition("(")[2].rpartition(")")
    state, parent = rest.split()[:2]
    return name, state, int(parent)


def belongs(cluster: Cluster, entry: Path, name: str) -> bool:
    """Whether the process at /proc/PID is of this cluster: a daemon, a step, a task, a client."""
    try:
        variables = (entry / "environ").read_bytes().split(b"\0")
    except PermissionError:  # of another user
        variables = []
    marks = {f"{ENVIRONMENT_MARK}={cluster.name}", f"SLURM_CLUSTER_NAME={cluster.name}"}
    if not marks.isdisjoint(variable.decode(errors="replace") for variable in variables):
        return True
    if name in CLIENTS:
        return f"SLURM_CONF={cluster.conf}".encode() in variables
    return name in DAEMONS and any(
        target.startswith(f"{cluster.folder}/") for target in open_files(entry)
    )


def open_files(entry: Path) -> Iterator[str]:
    """Paths that the process at /proc/PID has open (steps overwrite their environment)."""
    with contextlib.suppress(OSError):
        for descriptor in (entry / "fd").iterdir():
            with contextlib.suppress(OSError):
                yield os.readlink(descriptor)


def kill_everything(cluster: Cluster) -> None:
    """Kill all that runs for this cluster, until a look finds nothing."""
    deadline = time.monotonic() + 20
    while processes := running(cluster):
        if time.monotonic() > deadline:
            left = ", ".join(f"{name} ({pid})" for pid, name in processes.items())
            raise ClusterError(f"these processes do not die: {left}; end them, then stop again")
        # The controller first, so that nothing is started again; steps last, after their daemons.
        order = ["slurmctld", "slurmd", "slurmdbd"]
        for pid in sorted(processes, key=lambda pid: (processes[pid] not in order, pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


# ---------------------------------------------------------------- folder, names, ports


def make_folder(folder: Path) -> None:
    """Make the cluster's folder, or say why it cannot be one."""
    try:
        folder.mkdir(mode=0o755, exist_ok=True)
    except OSError as error:
        raise ClusterError(f"cannot make {folder}: {error.strerror}; choose --folder") from None
    refuse_foreign(folder)


def refuse_foreign(folder: Path) -> None:
    """Never empty a folder that no development cluster made."""
    if not folder.exists():
        return
    known = folder.is_dir() and ((folder / RECORD).exists() or not any(folder.iterdir()))
    if not known or folder.stat().st_uid != os.geteuid():
        raise ClusterError(
            f"{folder} is there and no development cluster of yours: choose another --folder"
        )


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below the range from which outgoing connections take theirs."""
    ports: list[int] = []
    for port in random.SystemRandom().sample(range(12_000, 32_000), 1000):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise ClusterError(f"found only {len(ports)} of {count} free ports from 12000 to 32000")


def write_hosts(cluster: Cluster, nodes: Sequence[str]) -> None:
    """Let the nodes' names mean this machine, in a block of this cluster's own; no nodes: remove.

    Written in place, since containers mount the file: then it cannot be replaced by a rename.
    """
    begin, end = f"# {cluster.name} begin\n", f"# {cluster.name} end\n"
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


def edit_hosts(cluster: Cluster, nodes: Sequence[str]) -> None:
    """`write_hosts`, through sudo where this user may not."""
    if not nodes and f"# {cluster.name} begin" not in HOSTS.read_text():
        return
    if os.access(HOSTS, os.W_OK):
        write_hosts(cluster, nodes)
        return
    itself = [sys.executable, str(Path(__file__).resolve()), "hosts"]
    as_root("write node names into /etc/hosts", *itself, "--folder", str(cluster.folder), *nodes)


def as_root(purpose: str, *command: str, **environment: str) -> None:
    """Run a command as root, through sudo where needed."""
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    variables = [f"{key}={value}" for key, value in environment.items()]
    try:
        subprocess.run([*sudo, "env", *variables, *command], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ClusterError(f"to {purpose}, root is needed: {error}") from None


# ---------------------------------------------------------------- start


def require_programs() -> None:
    """Raise when SLURM is not installed."""
    if missing := [name for name in PACKAGES if not shutil.which(name, path=PATH)]:
        raise ClusterError(
            f"not installed: {', '.join(missing)}; run: python slurm/devcluster.py install"
        )


def write_files(cluster: Cluster, size: Size) -> dict[str, int]:
    """Write keys and configuration; return each daemon's port."""
    nodes = [f"node{number}" for number in range(1, size.nodes + 1)]
    ports = dict(zip(["slurmctld", "slurmdbd", *nodes], free_ports(size.nodes + 2), strict=True))
    for name in ("munge", "log", "run", "state", "spool", "db", "gpu"):
        (cluster.folder / name).mkdir(mode=0o755)
    host = socket.gethostname().partition(".")[0]
    gpus = f" Gres=gpu:{size.gpus_per_node}" if size.gpus_per_node else ""
    values = {
        "name": cluster.name,
        "folder": cluster.folder,
        "host": host,
        "user": pwd.getpwuid(os.geteuid()).pw_name,
        "ctld_port": ports["slurmctld"],
        "dbd_port": ports["slurmdbd"],
        "gres": gpus,
        "mem_per_cpu_mb": max(1, size.mem_mb // size.cpus),
        "node_lines": "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[node]}"
            for node in nodes
        ),
    }
    write_private(cluster.folder / "munge/key", os.urandom(128))
    write_private(cluster.folder / "slurmdbd.conf", SLURMDBD_CONF.format(**values).encode())
    (cluster.folder / "gres.conf").write_text(fake_gpus(cluster, size.gpus_per_node))
    cluster.conf.write_text(SLURM_CONF.format(**values, **dataclasses.asdict(size)))
    return ports


def fake_gpus(cluster: Cluster, count: int) -> str:
    """Make files to stand for GPUs, since SLURM drops a GPU without one; return gres.conf.

    SLURM counts them and sets no CUDA_VISIBLE_DEVICES: real GPUs stay as they are, for all tasks.
    """
    for index in range(count):
        (cluster.folder / "gpu" / str(index)).symlink_to("/dev/null")
    return f"Name=gpu File={cluster.folder}/gpu/[0-{count - 1}] Flags=CountOnly\n" if count else ""


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner ever could read."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


class Daemon:
    """A daemon that runs, with its logs."""

    def __init__(self, cluster: Cluster, name: str, *command: str) -> None:
        tell(f"starting {name}")
        self.name = name
        self.log = cluster.folder / "log" / f"{name}.log"
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                env=cluster.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd="/",
            )

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until it serves; else raise with the last line of its log."""
        deadline = time.monotonic() + READY_S
        while not ready():
            status = self.process.poll()
            if status is not None or time.monotonic() > deadline:
                how = f"is not ready after {READY_S:.0f} s"
                how = how if status is None else f"ended with status {status}"
                raise ClusterError(f"{self.name} {how}; its log ends: {last_line(self.log)}")
            time.sleep(0.05)


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    text = log.read_text(errors="replace").strip() if log.exists() else ""
    return text.splitlines()[-1] if text else ""


def listens(path: Path) -> bool:
    """Whether something serves this unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def start_munge(cluster: Cluster) -> None:
    """Start the daemon that vouches for who is who."""
    munge = cluster.folder / "munge"
    files = [f"--{name}-file={munge}/{name}" for name in ("key", "seed", "pid")]
    daemon = Daemon(cluster, "munged", "munged", "-F", f"--socket={munge}/socket", *files)
    daemon.wait_until(lambda: listens(munge / "socket"))


def start_database(cluster: Cluster) -> None:
    """Make and start a small MariaDB that listens on nothing but a socket."""
    database = cluster.folder / "db"
    user = "mysql" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    shutil.chown(database, user)
    owner = pwd.getpwuid(os.geteuid()).pw_name
    tell("making the database")
    common = ["--no-defaults", f"--user={user}", f"--datadir={database}/data"]
    small = ["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M"]
    log = cluster.folder / "log/mariadb-install-db.log"
    with log.open("wb") as output:
        done = subprocess.run(
            [
                *("mariadb-install-db", *common, *small, "--skip-test-db", "--skip-name-resolve"),
                *("--auth-root-authentication-method=socket", f"--auth-root-socket-user={owner}"),
            ],
            env=cluster.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    if done.returncode:
        raise ClusterError(f"mariadb-install-db failed; its log ends: {last_line(log)}")
    quick = ["--innodb-flush-log-at-trx-commit=0", "--innodb-lock-wait-timeout=900"]
    daemon = Daemon(
        cluster,
        *("mariadbd", "mariadbd", *common, *small, *quick, "--skip-networking", "--skip-log-bin"),
        *(f"--socket={database}/socket", f"--pid-file={database}/pid"),
        *("--performance-schema=OFF", "--max-connections=40", "--key-buffer-size=1M"),
    )
    daemon.wait_until(lambda: listens(database / "socket"))


def start_accounting(cluster: Cluster) -> None:
    """Start slurmdbd, and register the cluster and its users."""
    daemon = Daemon(cluster, "slurmdbd", "slurmdbd", "-D")
    daemon.wait_until(lambda: succeeds(cluster, "sacctmgr", "-n", "show", "cluster"))
    cluster.run("sacctmgr", "-i", "add", "cluster", cluster.name)
    account = ["account", "menagerie", "Description=Menagerie", "Organization=Menagerie"]
    cluster.run("sacctmgr", "-i", "add", *account)
    users = {"root", pwd.getpwuid(os.geteuid()).pw_name, os.environ.get("SUDO_USER", "root")}
    names = ",".join(sorted(users))
    cluster.run("sacctmgr", "-i", "add", "user", names, "Account=menagerie", "AdminLevel=Admin")


def start_everything(cluster: Cluster, size: Size) -> None:
    """From an empty folder to idle nodes."""
    cluster.record.write_text("{}\n")  # from here on, the folder is known as ours
    ports = write_files(cluster, size)
    record = {"size": dataclasses.asdict(size), "ports": ports, "name": cluster.name}
    cluster.record.write_text(json.dumps(record, indent=2) + "\n")
    nodes = [name for name in ports if name.startswith("node")]
    edit_hosts(cluster, nodes)
    start_munge(cluster)
    start_database(cluster)
    start_accounting(cluster)
    conf = ("-f", str(cluster.conf))
    controller = Daemon(cluster, "slurmctld", "slurmctld", "-D", *conf)
    controller.wait_until(lambda: succeeds(cluster, "scontrol", "ping"))
    daemons = [Daemon(cluster, node, "slurmd", "-D", "-N", node, *conf) for node in nodes]
    for daemon in daemons:
        tell(f"waiting for {daemon.name}")
        daemon.wait_until(functools.partial(is_idle, cluster, daemon.name))


def is_idle(cluster: Cluster, node: str) -> bool:
    """Whether SLURM would give this node to a job."""
    return cluster.run("sinfo", "-h", "-p", "gpu", "-n", node, "-o", "%T").strip() == "idle"


def succeeds(cluster: Cluster, *command: str) -> bool:
    """Whether a SLURM command works by now."""
    try:
        cluster.run(*command)
    except ClusterError:
        return False
    return True


def tell(progress: str) -> None:
    """One line of progress: on a terminal it replaces the last one."""
    if sys.stderr.isatty():
        print(f"\r\033[K{progress} …", end="", file=sys.stderr, flush=True)


def is_up(cluster: Cluster) -> bool:
    """Whether every daemon of the cluster runs and the controller answers."""
    try:
        wanted = len(json.loads(cluster.record.read_text())["ports"]) + 2
        names = list(running(cluster).values())
        daemons = [name for name in names if name in DAEMONS - {"slurmstepd"}]
        return len(daemons) >= wanted and succeeds(cluster, "scontrol", "ping")
    except (OSError, ValueError, KeyError, ClusterError):
        return False


def start(cluster: Cluster, size: Size) -> None:
    """Start a cluster, unless it runs; leave nothing running when that fails."""
    require_programs()
    with cluster.locked():
        if is_up(cluster):
            print(f"{cluster.name} is running already in {cluster.folder}\n{usage(cluster)}")
            return
        began = time.monotonic()
        clear(cluster)
        try:
            start_everything(cluster, size)
        except BaseException as error:
            kill_everything(cluster)
            edit_hosts(cluster, [])
            if isinstance(error, ClusterError):
                raise ClusterError(f"{error} (all logs: {cluster.folder}/log)") from None
            raise
    tell("")
    print(
        f"{cluster.name} is up: {size.nodes} nodes × {size.cpus} CPUs, {size.mem_mb} MB, "
        f"{size.gpus_per_node} GPUs; started in {time.monotonic() - began:.1f} s\n{usage(cluster)}"
    )


# ---------------------------------------------------------------- stop, show, install


def clear(cluster: Cluster) -> None:
    """Kill what runs, and empty the folder; the file by which it is known goes last."""
    kill_everything(cluster)
    edit_hosts(cluster, [])
    for path in sorted(cluster.folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != cluster.record:
            path.unlink()
    cluster.record.unlink(missing_ok=True)


def stop(cluster: Cluster) -> None:
    """End the cluster with all its jobs; works too when it crashed or was never whole."""
    was_there = cluster.folder.exists() or bool(running(cluster))
    with cluster.locked():
        clear(cluster)
        cluster.folder.rmdir()
    print(f"{cluster.name} is gone" if was_there else f"nothing runs in {cluster.folder}")


def require_up(cluster: Cluster) -> None:
    """Raise when the cluster does not run."""
    refuse_foreign(cluster.folder)
    if not is_up(cluster):
        state = "is broken" if cluster.record.exists() else "does not run"
        raise ClusterError(
            f"the development cluster in {cluster.folder} {state}; "
            f"run: python slurm/devcluster.py start{folder_flag(cluster)}"
        )


def folder_flag(cluster: Cluster) -> str:
    """What to add to a command so that it means this cluster."""
    return "" if cluster.folder == default_folder().resolve() else f" --folder {cluster.folder}"


def usage(cluster: Cluster) -> str:
    """The next commands to run."""
    itself, flag = "python slurm/devcluster.py", folder_flag(cluster)
    return f"""
use it      eval "$({itself} env{flag})"
            sinfo; srun --nodes 2 hostname; sbatch --partition spot --wrap 'sleep 60'; sacct
partitions  gpu (default), spot (gives way to the others, requeued), urgent (goes first)
logs        {cluster.folder}/log
look        {itself} show{flag}
end         {itself} stop{flag}"""


def show(cluster: Cluster) -> None:
    """Print what runs, on which ports, SLURM's own view, and how to use it."""
    require_up(cluster)
    print(f"{cluster.name} in {cluster.folder}\n")
    ports = json.loads(cluster.record.read_text())["ports"]
    print("ports       " + ", ".join(f"{name} {port}" for name, port in ports.items()))
    processes = running(cluster).items()
    print("processes   " + ", ".join(f"{name} {pid}" for pid, name in processes) + "\n")
    print(cluster.run("sinfo", "--Node", "-o%10N %10P %10T %5c %8m %8G %E"))
    print(cluster.run("squeue", "-o%10i %10P %20j %10T %10M %20R"), end="")
    print(usage(cluster))


def install() -> None:
    """Install the Debian packages that are missing; no service of theirs is started."""
    missing = [package for name, package in PACKAGES.items() if not shutil.which(name, path=PATH)]
    if not missing:
        print("all is installed; next: python slurm/devcluster.py start")
        return
    if not shutil.which("apt-get"):
        raise ClusterError(f"no apt-get here; install by other means: {', '.join(missing)}")
    purpose = "install " + " ".join(missing)
    get = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
    as_root(purpose, *get, "update")
    # Init scripts that honour RUNLEVEL do not start a service in single-user mode.
    flags = ["install", "--yes", "--no-install-recommends", *missing]
    as_root(purpose, *get, *flags, RUNLEVEL="1", DEBIAN_FRONTEND="noninteractive")
    print(f"installed {' '.join(missing)}; next: python slurm/devcluster.py start")


# ---------------------------------------------------------------- command line


def default_folder() -> Path:
    """Where the cluster is unless told otherwise."""
    ours = Path(tempfile.gettempdir()) / f"menagerie-devcluster-{os.geteuid()}"
    return Path(os.environ.get("MENAGERIE_DEVCLUSTER") or ours)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the mistake and where help is; exit 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    summary, _, _ = (__doc__ or "").partition("\n")
    parser = Parser(prog="devcluster.py", description=summary)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("install", help="install the Debian packages that are missing")
    helps = {
        "start": "start a cluster, unless it runs",
        "show": "what runs, and how to use it",
        "env": "print what points SLURM's commands at it, for eval",
        "stop": "end it with its jobs; nothing stays",
    }
    for verb, text in helps.items():
        command = verbs.add_parser(verb, help=text, description=text)
        command.add_argument("--folder", type=Path, default=default_folder(), help="%(default)s")
        if verb == "start":
            for field in dataclasses.fields(Size):
                flag = "--" + field.name.replace("_", "-")
                command.add_argument(flag, type=int, default=field.default, help="%(default)s")
    hosts = verbs.add_parser("hosts")  # what start and stop run through sudo
    hosts.add_argument("--folder", type=Path, required=True)
    hosts.add_argument("nodes", nargs="*")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; mistakes become one line and exit code 2."""
    options = parse(arguments)
    try:
        if options.verb == "install":
            install()
            return 0
        cluster = Cluster(options.folder)
        if options.verb == "start":
            names = [field.name for field in dataclasses.fields(Size)]
            start(cluster, Size(**{name: getattr(options, name) for name in names}))
        elif options.verb == "show":
            show(cluster)
        elif options.verb == "env":
            require_up(cluster)
            print(f"export SLURM_CONF={cluster.conf}")
        elif options.verb == "stop":
            stop(cluster)
        else:
            write_hosts(cluster, options.nodes)
    except ClusterError as error:
        tell("")
        print(f"devcluster.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
