#!/usr/bin/env python3
"""A real SLURM on one machine, in one folder: try the cluster path on a laptop, or test it in CI.

python slurm/devcluster.py install               the Debian packages, where some are missing
python slurm/devcluster.py start --nodes 2       munge, MariaDB, slurmdbd, slurmctld, 2 x slurmd
eval "$(python slurm/devcluster.py env)"         point sbatch, squeue and sacct at it
python slurm/devcluster.py show                  what runs, and how to use it
python slurm/devcluster.py stop                  no process, port, folder or hosts line stays

Nodes are daemons on the loopback. Their CPUs, memory and GPUs are counted, not enforced, so that
many tasks fit on few cores. Partitions: `gpu` (the default), `spot` (its jobs give way and are
requeued) and `urgent` (goes first).
"""

import argparse
import contextlib
import fcntl
import functools
import hashlib
import json
import os
import pwd
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

from leftovers import MARK, ClusterError, as_root, edit_hosts, free_ports, kill_everything, running

PACKAGES = {  # a program -> the Debian package that brings it
    "slurmctld": "slurm-wlm",
    "slurmdbd": "slurmdbd",
    "munged": "munge",
    "mariadbd": "mariadb-server",
    "crontab": "cron",
}
SIZES = {  # option of `start` -> default, least, most, meaning
    "nodes": (2, 1, 32, "how many slurmd"),
    "cpus": (8, 1, 1024, "CPUs per node"),
    "mem_mb": (16_000, 64, 10_000_000, "memory per node"),
    "gpus_per_node": (4, 0, 64, "GPUs per node"),
    "max_array_size": (1001, 2, 10_000, "SLURM's MaxArraySize: the highest index is one less"),
}
READY_S = 60.0

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

INSTALL = """\
policy=/usr/sbin/policy-rc.d  # while it says so, no package starts a service
trap 'exit 1' INT TERM
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\\nexit 101\\n' > $policy && chmod +x $policy
fi
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "$@" > /dev/null
"""


class Cluster:
    """A development cluster's folder and name, and how to talk to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().resolve()
        if not re.fullmatch(r"[\w./+-]{2,60}", str(self.folder), flags=re.ASCII):
            raise ClusterError(
                f"the folder is {str(self.folder)!r}; SLURM's files and unix sockets allow at most "
                "60 characters, letters, digits and ./+-_ only; choose another --folder"
            )
        self.name = "menagerie-dev-" + hashlib.sha256(bytes(self.folder)).hexdigest()[:8]
        self.conf = self.folder / "slurm.conf"
        self.record = self.folder / "devcluster.json"

    def ports(self) -> dict[str, int]:
        """The port of slurmctld, slurmdbd and each node; empty where no cluster was set up."""
        text = self.record.read_text() if self.record.exists() else ""
        return dict[str, int](json.loads(text or "{}"))

    def environment(self) -> dict[str, str]:
        """All the environment that daemons and commands get: nothing of the caller's leaks in."""
        kept = {key: os.environ[key] for key in ("HOME", "LANG", "TZ") if key in os.environ}
        return kept | {
            "PATH": search_path(),
            "SLURM_CONF": str(self.conf),
            "MYSQL_UNIX_PORT": str(self.folder / "db/socket"),
            MARK: self.name,  # last, as daemons that rename themselves overwrite what comes first
        }

    def run(self, *command: str, check: bool = True) -> str:
        """Run a SLURM command on this cluster; return what it prints."""
        done = subprocess.run(
            command, env=self.environment(), capture_output=True, text=True, timeout=30
        )
        if check and done.returncode:
            said = (done.stderr + done.stdout).strip() or f"status {done.returncode}"
            raise ClusterError(f"{' '.join(command)}: {said.splitlines()[-1]}")
        return done.stdout

    def answers(self) -> bool:
        """Whether the controller is there."""
        return "UP" in self.run("scontrol", "ping", check=False)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder, made when missing: one start or stop at a time."""
        refuse_foreign(self)
        try:
            self.folder.mkdir(exist_ok=True)
            self.folder.chmod(0o755)  # munge and mariadb want to get in, as users of their own
            held = os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            reason = f"cannot use {self.folder}: {error.strerror}"
            raise ClusterError(f"{reason}; choose another --folder") from None
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            if not self.folder.exists() or self.folder.stat().st_ino != os.fstat(held).st_ino:
                raise ClusterError(f"{self.folder} was just removed by a stop; run this again")
            yield
        finally:
            os.close(held)


def refuse_foreign(cluster: Cluster) -> None:
    """Never empty a folder that no development cluster made."""
    folder = cluster.folder
    if not folder.exists():
        return
    known = folder.is_dir() and (cluster.record.exists() or not any(folder.iterdir()))
    if not known or folder.stat().st_uid != os.geteuid():
        raise ClusterError(
            f"{folder} is there and is no development cluster of yours; choose another --folder"
        )


def write_files(cluster: Cluster, size: dict[str, int]) -> dict[str, int]:
    """Choose ports, write keys and configuration; return each daemon's port."""
    nodes = [f"node{number}" for number in range(1, size["nodes"] + 1)]
    names = ["slurmctld", "slurmdbd", *nodes]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    folder = cluster.folder
    cluster.record.write_text(json.dumps(ports) + "\n")
    for name in ("munge", "log", "run", "state", "spool", "db", "gpu"):
        (folder / name).mkdir(mode=0o755)
    for secret in ("munge/key", "slurmdbd.conf"):
        (folder / secret).touch(mode=0o600)
    (folder / "munge/key").write_bytes(os.urandom(128))
    values = {
        **size,
        **{"name": cluster.name, "folder": folder, "user": user_name()},
        **{"ctld_port": ports["slurmctld"], "dbd_port": ports["slurmdbd"]},
        "host": (host := socket.gethostname().partition(".")[0]),
        "gres": f" Gres=gpu:{gpus}" if (gpus := size["gpus_per_node"]) else "",
        "mem_per_cpu_mb": max(1, size["mem_mb"] // size["cpus"]),
        "node_lines": "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[node]}"
            for node in nodes
        ),
    }
    # SLURM drops a GPU without a file. It counts these; every task sees the GPUs that are there.
    for index in range(gpus):
        (folder / "gpu" / str(index)).symlink_to("/dev/null")
    gres = f"Name=gpu File={folder}/gpu/[0-{gpus - 1}] Flags=CountOnly\n" if gpus else ""
    (folder / "gres.conf").write_text(gres)
    (folder / "slurmdbd.conf").write_text(SLURMDBD_CONF.format(**values))
    template = Path(__file__).with_name("devcluster.conf").read_text()
    cluster.conf.write_text(template.format(**values))
    return ports


def missing_programs() -> set[str]:
    """What is not installed."""
    return {program for program in PACKAGES if not shutil.which(program, path=search_path())}


def search_path() -> str:
    """Where programs are, those for administrators too."""
    return os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"


def user_name() -> str:
    """Who runs this, and so everything of the cluster."""
    return pwd.getpwuid(os.geteuid()).pw_name


class Daemon:
    """A daemon that was started, with its log."""

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
        while True:
            status = self.process.poll()
            if ready():
                return
            if status is not None or time.monotonic() > deadline:
                how = f"is not ready after {READY_S:.0f} s"
                how = how if status is None else f"ended with status {status}"
                raise ClusterError(f"{self.name} {how}; {self.log} ends: {last_line(self.log)}")
            time.sleep(0.05)


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    return next(reversed(log.read_text(errors="replace").strip().splitlines()), "(empty)").strip()


def tell(progress: str) -> None:
    """Show progress where a person looks: one line, which replaces the last one."""
    if sys.stderr.isatty():
        print(f"\r\033[K{progress}", end="", file=sys.stderr, flush=True)


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
    """Make and start a small MariaDB that serves nothing but a socket, and only this user."""
    database = cluster.folder / "db"
    user = "mysql" if os.geteuid() == 0 else user_name()
    shutil.chown(database, user)
    common = ["--no-defaults", f"--user={user}", f"--datadir={database}/data"]
    common += ["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M"]
    access = ["--auth-root-authentication-method=socket", f"--auth-root-socket-user={user_name()}"]
    setup = ["mariadb-install-db", *common, *access, "--skip-test-db", "--skip-name-resolve"]
    installer = Daemon(cluster, "mariadb-install-db", *setup)
    installer.wait_until(lambda: installer.process.poll() == 0)
    sockets = [f"--socket={database}/socket", f"--pid-file={database}/pid", "--skip-networking"]
    small = ["--performance-schema=OFF", "--max-connections=40", "--key-buffer-size=1M"]
    quick = ["--innodb-flush-log-at-trx-commit=0", "--innodb-lock-wait-timeout=900"]
    daemon = Daemon(cluster, "mariadbd", "mariadbd", *common, *sockets, *small, *quick)
    daemon.wait_until(lambda: listens(database / "socket"))


def start_accounting(cluster: Cluster) -> Daemon:
    """Start slurmdbd, and register the cluster, an account and its users."""
    daemon = Daemon(cluster, "slurmdbd", "slurmdbd", "-D")
    daemon.wait_until(lambda: cluster.run("sacctmgr", "show", "cluster", check=False) != "")
    manage = functools.partial(cluster.run, "sacctmgr", "--immediate")
    manage("add", "cluster", cluster.name)
    manage("add", "account", "menagerie", "Description=Menagerie", "Organization=Menagerie")
    for user in sorted({"root", user_name(), os.environ.get("SUDO_USER", "root")}):
        manage("add", "user", user, "Account=menagerie", "AdminLevel=Admin")
        manage("modify", "user", user, "set", "DefaultAccount=menagerie")
    return daemon


def start_nodes(cluster: Cluster, nodes: Sequence[str]) -> None:
    """Start one slurmd per node, and wait until SLURM would give them to a job."""
    daemons = [
        Daemon(cluster, node, "slurmd", "-D", "-N", node, "-f", str(cluster.conf)) for node in nodes
    ]
    for count, daemon in enumerate(daemons):
        tell(f"{count} of {len(nodes)} nodes are idle")
        daemon.wait_until(functools.partial(serves, cluster, daemon.name))


def serves(cluster: Cluster, node: str) -> bool:
    """Whether SLURM gives this node to jobs."""
    state = cluster.run("sinfo", "-h", "-p", "gpu", "-n", node, "-o", "%T").strip()
    return state in {"idle", "mixed", "allocated"}


def start_everything(cluster: Cluster, size: dict[str, int]) -> None:
    """From an empty folder to idle nodes and a first job in the books."""
    ports = write_files(cluster, size)
    nodes = [name for name in ports if name.startswith("node")]
    edit_hosts(cluster.name, nodes)
    start_munge(cluster)
    start_database(cluster)
    books = start_accounting(cluster)
    controller = Daemon(cluster, "slurmctld", "slurmctld", "-D", "-f", str(cluster.conf))
    controller.wait_until(cluster.answers)
    start_nodes(cluster, nodes)
    tell("running a first job")
    cluster.run("srun", "--job-name=hello", "--time=1", f"--nodes={size['nodes']}", "true")
    books.wait_until(lambda: "COMPLETED" in cluster.run("sacct", "-nX", "-o", "state"))


def start(cluster: Cluster, size: dict[str, int]) -> None:
    """Start a cluster, or the nodes that it lost; one that runs stays as it is."""
    if missing := missing_programs() - {"crontab"}:
        todo = "run: python slurm/devcluster.py install"
        raise ClusterError(f"not installed: {', '.join(sorted(missing))}; {todo}")
    began = time.monotonic()
    with cluster.locked():
        lost = lost_daemons(cluster)
        if lost is None:
            clear(cluster)
            try:
                start_everything(cluster, size)
            except BaseException:  # nothing keeps running; the logs stay
                kill_everything(cluster.name, cluster.folder)
                edit_hosts(cluster.name, [])
                raise
        else:
            start_nodes(cluster, lost)
    tell("")
    how = f"is up after {time.monotonic() - began:.1f} s" if lost is None else "is up already"
    how = f"has {', '.join(lost)} again" if lost else how
    print(f"{cluster.name} {how}\n\n{usage(cluster)}")


def lost_daemons(cluster: Cluster) -> list[str] | None:
    """The nodes without a slurmd; None where there is no cluster that could take them back."""
    alive = running(cluster.name, cluster.folder).values()
    lost = [name for name in ("munged", "mariadbd", *cluster.ports()) if name not in alive]
    whole = cluster.ports() and all(name.startswith("node") for name in lost)
    return lost if whole and cluster.answers() else None


def clear(cluster: Cluster) -> None:
    """Kill what runs, and empty the folder; the file by which it is known goes last."""
    kill_everything(cluster.name, cluster.folder)
    edit_hosts(cluster.name, [])
    for path in sorted(cluster.folder.iterdir(), key=lambda path: path == cluster.record):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def stop(cluster: Cluster) -> None:
    """End the cluster with all its jobs; works too when it crashed or was never whole."""
    was_there = cluster.folder.exists() or bool(running(cluster.name, cluster.folder))
    with cluster.locked():
        clear(cluster)
        cluster.folder.rmdir()
    print(f"{cluster.name} is gone" if was_there else f"nothing runs in {cluster.folder}")


def require_up(cluster: Cluster) -> None:
    """Raise when no cluster runs in the folder."""
    refuse_foreign(cluster)
    if lost_daemons(cluster) is None:
        todo = f"run: python slurm/devcluster.py start{folder_flag(cluster)}"
        raise ClusterError(f"no development cluster runs in {cluster.folder}; {todo}")


def folder_flag(cluster: Cluster) -> str:
    """What to add to a command so that it means this cluster."""
    return "" if cluster.folder == default_folder().resolve() else f" --folder {cluster.folder}"


def usage(cluster: Cluster) -> str:
    """The cluster's size, and the next commands to run."""
    itself, flag = "python slurm/devcluster.py", folder_flag(cluster)
    size = cluster.run("sinfo", "-h", "-p", "gpu", "-o", "%D nodes × %c CPUs, %m MB, %G").strip()
    return f"""\
size        {size}
use it      eval "$({itself} env{flag})"
            sinfo; srun --nodes 2 hostname; sbatch --partition spot --wrap 'sleep 60'; sacct
partitions  gpu (default), spot (gives way, is requeued), urgent (goes first)
logs        {cluster.folder}/log
look        {itself} show{flag}
end         {itself} stop{flag}"""


def show(cluster: Cluster) -> None:
    """Print what runs, on which ports, SLURM's own view, and how to use it."""
    require_up(cluster)
    processes, ports = running(cluster.name, cluster.folder).items(), cluster.ports().items()
    print("processes   " + ", ".join(f"{name} {pid}" for pid, name in processes))
    print("ports       " + ", ".join(f"{name} {port}" for name, port in ports) + "\n")
    print(cluster.run("sinfo", "--Node", "-o%10N %10P %12T %5c %8m %8G %E"))
    print(cluster.run("squeue", "-o%10i %10P %20j %12T %10M %R"))
    print(usage(cluster))


def install() -> None:
    """Install the Debian packages that are missing; no service of theirs is started."""
    if missing := sorted(PACKAGES[program] for program in missing_programs()):
        as_root("install packages", "sh", "-ec", INSTALL, "sh", *missing)
    said = f"installed {' '.join(missing)}" if missing else "all is installed"
    print(f"{said}; next: python slurm/devcluster.py start")


def default_folder() -> Path:
    """Where the cluster is unless told otherwise."""
    ours = Path(tempfile.gettempdir()) / f"menagerie-devcluster-{os.geteuid()}"
    return Path(os.environ.get("MENAGERIE_DEVCLUSTER") or ours)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the mistake and where help is; exit 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def number(text: str, low: int, high: int) -> int:
    """Read a whole number within limits."""
    if text.isdecimal() and low <= int(text) <= high:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {low} to {high}")


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
            for name, (default, low, high, meaning) in SIZES.items():
                command.add_argument(
                    "--" + name.replace("_", "-"),
                    type=functools.partial(number, low=low, high=high),
                    default=default,
                    help=f"{meaning} (%(default)s)",
                )
    return parser.parse_args(arguments)


def run_verb(options: argparse.Namespace) -> None:
    """Do what the command line says."""
    if options.verb == "install":
        install()
        return
    cluster = Cluster(options.folder)
    if options.verb == "start":
        start(cluster, {name: getattr(options, name) for name in SIZES})
    elif options.verb == "show":
        show(cluster)
    elif options.verb == "env":
        require_up(cluster)
        print(f"export SLURM_CONF={cluster.conf}")
    else:
        stop(cluster)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; mistakes become one line and exit code 2."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `show | head` ends quietly
    try:
        run_verb(parse(arguments))
    except (ClusterError, subprocess.TimeoutExpired, KeyboardInterrupt) as error:
        tell("")
        print(f"devcluster.py: {error or 'interrupted'}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
