"""Where a job runs: flags, the site's profile, and what the machine has."""

import os
from pathlib import Path

import pytest

from core.errors import UserError
from jobs import cluster, scheduler
from jobs.cluster import ClusterFlags, choose


@pytest.fixture
def no_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "installed", lambda: False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "installed", lambda: True)
    monkeypatch.setattr(scheduler, "controller", lambda: (True, "UP"))
    monkeypatch.setattr(scheduler, "cluster_config", lambda: {"ClusterName": "hpc-7"})
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def profiles(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "clusters.toml").write_text(text)
    monkeypatch.setenv("MENAGERIE_CLUSTERS", str(folder / "clusters.toml"))


def test_without_slurm_a_job_runs_in_place_and_says_why(no_slurm: None) -> None:
    chosen = choose(ClusterFlags())
    assert (chosen.kind, chosen.why) == ("inline", "no SLURM on this machine")


@pytest.mark.parametrize(
    "flags",
    [
        ClusterFlags(partition="gpu"),
        ClusterFlags(cluster="slurm"),
        ClusterFlags(nodes=2),
        ClusterFlags(time="10"),
        ClusterFlags(qos="high"),
    ],
)
def test_what_needs_slurm_never_runs_silently_here(no_slurm: None, flags: ClusterFlags) -> None:
    with pytest.raises(UserError, match="there is no SLURM on this machine"):
        choose(flags)


def test_slurm_flags_contradict_running_here() -> None:
    with pytest.raises(UserError, match="--partition needs SLURM, and --cluster local"):
        choose(ClusterFlags(cluster="local", partition="gpu"))


def test_where_a_cluster_answers_jobs_go_there(slurm: None) -> None:
    chosen = choose(ClusterFlags())
    assert (chosen.kind, chosen.why) == ("slurm", "cluster hpc-7 answers")


def test_inside_a_job_work_is_done_in_place(slurm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert choose(ClusterFlags()).why == "already inside SLURM job 12"


def test_a_cluster_that_is_down_is_said(slurm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "controller", lambda: (False, "Slurmctld(primary) is DOWN"))
    with pytest.raises(UserError, match=r"the cluster is down .*: nothing submitted"):
        choose(ClusterFlags())


def test_installed_but_not_configured_is_no_cluster(
    slurm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def controller() -> tuple[bool, str]:
        raise scheduler.NotConfiguredError("no slurm.conf")

    monkeypatch.setattr(scheduler, "controller", controller)
    assert choose(ClusterFlags()).kind == "inline"
    with pytest.raises(UserError, match="no cluster is configured"):
        choose(ClusterFlags(partition="gpu"))


def test_flags_win_over_the_profile_and_the_profile_over_defaults(
    slurm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
    [site]
    cluster_name = "hpc-*"
    partition = "a100"
    mem_gb = 64
    time = "2-00:00:00"
    setup = ["module load cuda"]
    environment = { NCCL_DEBUG = "WARN" }
    [other]
    partition = "elsewhere"
    """
    profiles(text, tmp_path, monkeypatch)
    chosen = choose(ClusterFlags(mem_gb=8))
    assert (chosen.partition, chosen.mem_gb, chosen.cpus_per_task) == ("a100", 8, 4)
    assert (chosen.minutes, chosen.setup) == (2880, ("module load cuda",))
    assert chosen.environment == {"NCCL_DEBUG": "WARN"}
    assert choose(ClusterFlags(profile="other")).partition == "elsewhere"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[site]\npartitoin = 'x'", "no setting 'partitoin'; known are cluster_name, partition"),
        ("[site]\nmem_gb = 'much'", r"\[site\] mem_gb = 'much' has the wrong type"),
        ("[site]\nsetup = [1]", r"setup holds 1: give shell lines"),
        ("[site]\nenvironment = { 'A B' = 'c' }", "'A B' is no variable's name"),
        ("site = 3", "'site' is not a profile"),
        ("[site", "not valid TOML"),
    ],
)
def test_a_mistake_in_the_profiles_is_named(
    slurm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, complaint: str
) -> None:
    profiles(text, tmp_path, monkeypatch)
    with pytest.raises(UserError, match=complaint):
        choose(ClusterFlags())


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("none.toml", "does not exist"), (".", "cannot be read: Is a directory")],
)
def test_a_file_of_profiles_that_is_not_to_be_had_is_said(
    slurm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, complaint: str
) -> None:
    monkeypatch.setenv("MENAGERIE_CLUSTERS", str(tmp_path / name))
    with pytest.raises(UserError, match=complaint):
        choose(ClusterFlags())


def test_a_slurm_conf_that_is_missing_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "none.conf"))
    with pytest.raises(scheduler.NotConfiguredError, match="which is no file"):
        scheduler.controller()


def test_an_unknown_profile_names_the_known_ones(slurm: None) -> None:
    with pytest.raises(UserError, match="no profile 'nope'; known are: dev"):
        choose(ClusterFlags(profile="nope"))


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (ClusterFlags(nodes=0), "--nodes is 0; it must be 1 or more"),
        (ClusterFlags(gpus_per_node=-1), "--gpus-per-node is -1"),
        (ClusterFlags(mem_gb=0), "--mem-gb is 0"),
        (ClusterFlags(time="soon"), "--time soon: give minutes"),
        (ClusterFlags(time="0"), "--time 0: give more than zero"),
        (ClusterFlags(after=("job",)), "--after job: give a job's number"),
    ],
)
def test_flags_that_make_no_sense(slurm: None, flags: ClusterFlags, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        choose(flags)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("1:30:00", 90), ("2-12", 3600), ("2-12:30:00", 3630), ("10:30", 10.5)],
)
def test_times_are_read_as_slurm_reads_them(text: str, minutes: float) -> None:
    assert scheduler.minutes(text) == minutes


def test_the_projects_own_profiles_are_valid(slurm: None) -> None:
    assert "MENAGERIE_CLUSTERS" not in os.environ
    assert cluster.PROFILES.exists()
    assert choose(ClusterFlags(profile="dev")).mem_gb == 2
