"""A folder of launches for tests of status, with a SLURM that is faked at the process boundary."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from jobs import status
from jobs.overview.gather import gather
from jobs.overview.view import View

ROOT = Path(__file__).resolve().parents[1]
Entry = dict[str, Any]


class Place:
    """Launches in a folder, and what a SLURM says of them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._patch = folder, monkeypatch
        monkeypatch.chdir(folder)
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.setenv("MENAGERIE_LAUNCHES", str(folder / "launches"))
        monkeypatch.setenv("PATH", str(folder / "bin"))  # no SLURM of this machine
        monkeypatch.delenv("SLURM_CONF", raising=False)

    def launch(self, name: str, *jobs: str, **facts: Any) -> Path:
        """A launch of a training, or as `facts` have it; jobs are `12`, or `12*3` for arrays."""
        root = self.folder / "launches" / name
        for part in ("jobs", "journal"):
            (root / part).mkdir(parents=True)
        record = {
            "verb": "train",
            "argv": [],
            "out": str(self.folder / "runs" / name),
            "kind": "slurm",
            "parts": None,
            "config": {"steps": 400, "batch_size": 8},
            "cluster": {"minutes": 60.0, "after": []},
            "time": time.time() - 300,
            "host": os.uname().nodename,
            "user": "me",
            "cwd": str(self.folder),
            "jobs": [{"id": j.split("*")[0], "tasks": int(j.partition("*")[2] or 0)} for j in jobs],
            "tags": {},
        }
        (root / "launch.json").write_text(json.dumps(record | facts))
        return root

    def slurm(self, queue: str = "", books: str = "", **codes: int) -> None:
        """A squeue and a sacct that say this, and note that they were called."""
        (self.folder / "bin").mkdir(exist_ok=True)
        for command, said in (("squeue", queue), ("sacct", books)):
            path = self.folder / "bin" / command
            words = said.replace("LAUNCHES", str(self.folder / "launches"))
            path.write_text(
                f"#!/bin/sh\necho {command} >> {self.folder}/calls\n"
                f"/bin/cat <<'END'\n{words}\nEND\nexit {codes.get(command, 0)}\n"
            )
            path.chmod(0o755)
        self._patch.setenv("PATH", f"{self.folder / 'bin'}")

    def said(self, capsys: pytest.CaptureFixture[str], *flags: str, code: int = 0) -> str:
        """What status prints."""
        assert status.main(list(flags)) == code
        return capsys.readouterr().out

    def seen(self, *, everything: bool = False) -> dict[str, View]:
        """The launches by name."""
        found = gather(everything=everything, stalled_after_s=600)
        return {view.launch.name: view for view in found.views}


def tell(launch: Path, job: str, *entries: Entry, process: str = "rank-00000") -> None:
    """Write a process's journal."""
    begun = time.time() - 250
    lines = [{"time": begun + k, "job": job, **entry} for k, entry in enumerate(entries)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (launch / "journal" / f"{job}.{process}.jsonl").write_text(text)


def started(attempt: int = 0, node: str = "n1", pid: int = 1) -> Entry:
    return {"event": "started", "node": node, "attempt": attempt, "pid": pid}


def queued(job: str, state: str, launch: str, *, task: str = "N/A", **facts: str) -> str:
    """A line of squeue, as SLURM 22.05 prints it."""
    values = [
        *(job, task, state, facts.get("nodes", ""), facts.get("reason", "None")),
        *(facts.get("restarts", "0"), facts.get("left", "29:51"), facts.get("begun", "N/A"), "N/A"),
        f"LAUNCHES/{launch}/jobs/%j_0_log.err",
    ]
    return "|".join(values) + "|"


def booked(job: str, state: str, launch: str, nodes: str = "n1") -> str:
    """A line of sacct."""
    moment = "2026-11-21T06:46:49"
    origin = f"sbatch LAUNCHES/{launch}/jobs/.submission_file_c8.sh"
    return f"{job}|{state}|{nodes}|{moment}|{moment}|{origin}"
