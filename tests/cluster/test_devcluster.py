"""The development cluster: a real SLURM, which comes in a minute and goes without a trace."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.conftest import DEVCLUSTER, Cluster, short_folder

pytestmark = pytest.mark.slurm


@pytest.fixture
def second() -> Iterator[Cluster]:
    """A folder for one more cluster; whatever runs there is stopped at the end."""
    cluster = Cluster(short_folder())
    yield cluster
    cluster.devcluster("stop")


def until(come_true: Callable[[], bool], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not come_true():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.05)


def traces(cluster: Cluster) -> list[str]:
    """What this machine shows of a cluster: processes, mounts, names, the folder itself."""
    name = name_of(cluster)
    words = [str(cluster.folder), name] if name else [str(cluster.folder)]
    found = [str(cluster.folder)] if cluster.folder.exists() else []
    for file in (Path("/etc/hosts"), Path("/proc/mounts")):
        found += [line for line in file.read_text().splitlines() if any(w in line for w in words)]
    for entry in sorted(Path("/proc").glob("[0-9]*")):
        try:
            about = b"\n".join((entry / file).read_bytes() for file in ("cmdline", "environ"))
        except OSError:  # it has ended
            continue
        if any(word.encode() in about for word in words):
            found.append(about.decode(errors="replace")[:200])
    return found


NAMES: dict[Path, str] = {}


def name_of(cluster: Cluster) -> str:
    """SLURM's name for it, remembered for when the configuration is gone."""
    if cluster.slurm_conf.exists():
        [name] = re.findall(r"^ClusterName=(.*)$", cluster.slurm_conf.read_text(), re.MULTILINE)
        NAMES[cluster.folder] = name
    return NAMES.get(cluster.folder, "")


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_second_cluster_comes_within_a_minute_and_goes_without_a_trace(
    cluster: Cluster, second: Cluster, tmp_path: Path
) -> None:
    began = time.monotonic()
    started = second.devcluster("start", "--nodes", "3", "--cpus", "2", "--gpus-per-node", "0")
    assert started.returncode == 0, started.stderr
    assert time.monotonic() - began < 60
    assert "3 nodes × 2 CPUs" in started.stdout
    assert second.run("sinfo", "-h", "-p", "gpu", "-o", "%D %T") == "3 idle"

    # A job whose tasks hide, and a command that waits for a cluster that will never answer.
    hidden = f"srun bash -c 'env -i sh -c \"touch {tmp_path}/$SLURM_PROCID; sleep 87654\"'"
    second.submit("--nodes=3", "--ntasks=3", "--exclusive", script=hidden)
    until(lambda: len(list(tmp_path.iterdir())) == 3)
    environment = os.environ | {"SLURM_CONF": str(second.slurm_conf)}
    waiting = subprocess.Popen(["srun", "-Q", "true"], env=environment, stderr=subprocess.DEVNULL)
    ports = list(second.ports.values())
    assert len(ports) == 5
    assert all(listening(port) for port in ports)
    assert len(traces(second)) > 10

    stopped = second.devcluster("stop")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert waiting.wait(timeout=10) != 0
    assert traces(second) == []
    assert b"87654" not in b"".join(command_lines())
    assert not any(listening(port) for port in ports)

    assert cluster.run("srun", "--nodes=2", "--mem=50", "echo", "unmoved") == "unmoved\nunmoved"
    assert name_of(cluster) in Path("/etc/hosts").read_text()


def command_lines() -> Iterator[bytes]:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            yield (entry / "cmdline").read_bytes()
        except OSError:  # it has ended
            continue


def test_a_start_that_was_killed_half_way_is_cleaned_up(second: Cluster) -> None:
    command = [sys.executable, str(DEVCLUSTER), "start", "--folder", str(second.folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as start:
        until((second.folder / "log" / "mariadbd.log").exists)
        start.kill()
    assert traces(second)
    assert second.devcluster("stop").returncode == 0
    assert traces(second) == []
    assert "nothing runs" in second.devcluster("stop").stdout


def test_a_daemon_that_fails_is_named_with_its_last_words(
    second: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "mariadbd"
    broken.write_text("#!/bin/sh\necho starting\necho 'error: no luck' >&2\nexit 7\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    failed = second.devcluster("start")
    log = f"{second.folder}/log/mariadbd.log"
    said = f"mariadbd ended with status 7; {log} ends: error: no luck"
    assert failed.stderr == f"devcluster.py: {said}\n"
    assert failed.returncode == 2
    assert traces(second) == [str(second.folder)]  # with the logs


def test_a_start_when_it_runs_only_says_so(cluster: Cluster) -> None:
    before = cluster.run("scontrol", "show", "config")
    again = cluster.devcluster("start")
    assert again.returncode == 0
    assert "is up already" in again.stdout
    assert "2 nodes × 8 CPUs" in again.stdout
    boot = re.compile(r"BOOT_TIME.*")
    assert boot.findall(cluster.run("scontrol", "show", "config")) == boot.findall(before)


def test_a_lost_node_is_taken_back(cluster: Cluster) -> None:
    said = cluster.devcluster("show").stdout
    [process] = re.findall(r"node2 (\d+)", said.partition("ports")[0])
    os.kill(int(process), 9)
    until(lambda: not listening(cluster.ports["node2"]))
    assert "has node2 again" in cluster.devcluster("start").stdout
    assert cluster.run("srun", "--nodelist=node2", "--mem=50", "echo", "back") == "back"


def test_show_and_env_say_how_to_use_it(cluster: Cluster) -> None:
    said = cluster.devcluster("show").stdout
    for word in ("slurmctld", "mariadbd", "node2", "urgent", "NODELIST", f"{cluster.folder}/log"):
        assert word in said
    assert cluster.devcluster("env").stdout == f"export SLURM_CONF={cluster.slurm_conf}\n"


def test_a_finished_job_is_in_the_books(cluster: Cluster, tmp_path: Path) -> None:
    job = cluster.submit(f"--output={tmp_path}/said", script="echo hello; exit 3")
    cluster.wait_for(job, "FAILED")
    # Its name and partition are not asked for: SLURM may forget them for a job of a moment.
    books = cluster.run("sacct", "-nXP", "-j", job, "-o", "account,nodelist,exitcode")
    assert books == "menagerie|node1|3:0"
    assert (tmp_path / "said").read_text() == "hello\n"
    wrong = cluster.attempt("sbatch", "--account=strangers", "--wrap=true")
    assert "Invalid account" in wrong.stderr


def test_a_job_on_two_nodes_sees_both_by_name(cluster: Cluster) -> None:
    look = "for name in node1 node2; do getent hosts $name; done; echo on $SLURMD_NODENAME"
    said = cluster.run("srun", "--nodes=2", "--mem=50", "bash", "-c", look).splitlines()
    assert {line for line in said if line.startswith("on ")} == {"on node1", "on node2"}
    addresses = {line.split()[0] for line in said if not line.startswith("on ")}
    assert addresses == {"127.0.0.1"}


def test_gpus_are_counted(cluster: Cluster) -> None:
    three = ("--gres=gpu:3", "--nodelist=node1")
    first = cluster.submit(*three, script="sleep 60")
    cluster.wait_for(first, "RUNNING")
    [gpus] = re.findall(
        r"gres/gpu=\d+", cluster.run("sacct", "-nX", "-o", "alloctres%60", "-j", first)
    )
    assert gpus == "gres/gpu=3"
    other = cluster.submit(*three, script="true")
    until(lambda: cluster.run("squeue", "-h", "-o", "%r", "-j", other) == "Resources")
    cluster.run("scancel", first)
    cluster.wait_for(other, "COMPLETED")
    refused = cluster.attempt("sbatch", "--gres=gpu:5", "--wrap=true")
    assert "Requested node configuration is not available" in refused.stderr


def test_an_array_runs_and_one_too_long_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    job = cluster.submit("--array=0-11", script=f"touch {tmp_path}/$SLURM_ARRAY_TASK_ID")
    cluster.wait_for(job, "COMPLETED")
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == list(range(12))
    refused = cluster.attempt("sbatch", "--array=0-1001", "--wrap=true")
    assert "Invalid job array specification" in refused.stderr


def test_urgent_work_preempts_spot_which_goes_on_afterwards(
    cluster: Cluster, tmp_path: Path
) -> None:
    task = (
        f"trap 'echo told >> {tmp_path}/log; scontrol requeue $SLURM_JOB_ID; exit' USR2;"
        f"echo attempt ${{SLURM_RESTART_COUNT:-0}} >> {tmp_path}/log;"
        "[ ${SLURM_RESTART_COUNT:-0} = 1 ] || while true; do sleep 0.1; done"
    )
    (tmp_path / "task").write_text(task)
    warned = ("--partition=spot", "--signal=USR2@60", "--time=10", "--nodelist=node1")
    spot = cluster.submit(*warned, script=f"srun bash {tmp_path}/task")
    until(lambda: (tmp_path / "log").exists())
    urgent = cluster.submit(
        "--partition=urgent",
        "--nodelist=node1",
        "--exclusive",
        script=f"echo urgent >> {tmp_path}/log",
    )
    cluster.wait_for(urgent, "COMPLETED")
    cluster.wait_for(spot, "COMPLETED")
    said = (tmp_path / "log").read_text().splitlines()
    assert said == ["attempt 0", "told", "urgent", "attempt 1"]


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["start", "--nodes", "0"], "argument --nodes: '0' is no whole number from 1 to 32"),
        (["start", "--cpus", "many"], "argument --cpus: 'many' is no whole number from 1 to 1024"),
        (["start", "--folder", "/etc"], "/etc is there and is no development cluster of yours"),
        (["stop", "--folder", "/etc"], "/etc is there and is no development cluster of yours"),
        (["start", "--folder", "/no/where"], "cannot use /no/where: No such file or directory"),
        (["start", "--folder", "/tmp/a b"], "the folder is '/tmp/a b'; SLURM's files"),
        (["start", "--folder", "/tmp/" + "x" * 60], "at most 60 characters"),
        (["show", "--folder", "/tmp/none"], "no development cluster runs in /tmp/none; run: "),
        (["env", "--folder", "/tmp/none"], "no development cluster runs in /tmp/none; run: "),
        (["begin"], "invalid choice: 'begin' (choose from"),
        ([], "the following arguments are required: VERB"),
    ],
)
def test_mistakes_are_one_line(flags: list[str], complaint: str) -> None:
    done = subprocess.run([sys.executable, str(DEVCLUSTER), *flags], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("devcluster.py")
    assert complaint in done.stderr
