"""What becomes of a job whose processes have ended."""

from pathlib import Path
from typing import Any

import pytest

from jobs.aftermath import all_done, judge, last_words
from jobs.worker import CRASHED, STOPPED, TIME_IS_UP, USER_ERROR

KILLED = 137


def entry(event: str, **facts: Any) -> dict[str, Any]:
    return {"time": 0.0, "job": "7", "event": event, **facts}


def attempt(progress: int, code: int) -> list[dict[str, Any]]:
    return [
        entry("started"),
        entry("going on", progress=progress),
        entry("failed", code=code, error="error: ValueError: odd"),
    ]


def requeued(code: int) -> dict[str, Any]:
    return entry("requeued", code=code, cause="before")


@pytest.mark.parametrize("code", [KILLED, TIME_IS_UP, CRASHED])
def test_a_kill_time_up_and_a_first_crash_go_back_to_the_queue(code: int) -> None:
    assert judge(code, [entry("started")], "node2: task 1: Killed", limit=3).again


@pytest.mark.parametrize("code", [USER_ERROR, STOPPED])
def test_what_the_user_must_mend_or_somebody_stopped_is_left_alone(code: int) -> None:
    assert not judge(code, attempt(0, code), "", limit=3).again


def test_a_job_is_done_when_each_process_of_this_attempt_says_so() -> None:
    before = [entry("started", attempt=0), entry("done")]
    now = [entry("started", attempt=1), entry("started", attempt=1), entry("done")]
    assert all_done(before, 0)
    assert not all_done(before, 1)
    assert not all_done([*before, *now], 1)
    assert all_done([*before, *now, entry("done")], 1)
    assert not all_done([], 0)


@pytest.mark.parametrize(("failure", "again"), [(USER_ERROR, False), (CRASHED, True)])
def test_one_failing_process_explains_why_the_others_were_stopped(
    failure: int, again: bool
) -> None:
    entries = [*attempt(0, failure), entry("stopped", code=STOPPED, signal=15)]
    verdict = judge(STOPPED, entries, "", limit=3)
    assert verdict.again == again
    assert "ValueError: odd" in verdict.cause


def test_requeues_are_counted() -> None:
    history = [requeued(KILLED)] * 3
    verdict = judge(KILLED, history, "node1: task 0: Killed", limit=3)
    assert not verdict.again
    assert verdict.cause == "--max-requeues 3 reached: node1: task 0: Killed"
    assert judge(KILLED, history, "", limit=4).again


def test_a_crash_in_the_same_place_is_not_tried_for_ever() -> None:
    history = [*attempt(5, CRASHED), requeued(CRASHED), *attempt(5, CRASHED)]
    verdict = judge(CRASHED, history, "", limit=20)
    assert not verdict.again
    assert "the same error twice without progress" in verdict.cause
    assert "ValueError: odd" in verdict.cause
    further = [*attempt(5, CRASHED), requeued(CRASHED), *attempt(9, CRASHED)]
    assert judge(CRASHED, further, "", limit=20).again


def test_memory_that_ran_out_will_run_out_again() -> None:
    said = "node1: task 0: Out Of Memory"
    verdict = judge(KILLED, [], said, limit=20)
    assert not verdict.again
    assert "--mem-gb" in verdict.cause


def test_a_process_killed_because_another_wanted_to_stop_is_a_stop(tmp_path: Path) -> None:
    entries = [entry("stopped", code=TIME_IS_UP, signal=12)]
    assert judge(KILLED, entries, "", limit=20).cause.startswith("time was up")


def test_slurm_names_the_killed_process_even_after_a_progress_bar(tmp_path: Path) -> None:
    log = tmp_path / "7_0_log.err"
    log.write_text(
        "srun: error: node9: task 9: Killed\njob 7: queued again: node9\n"
        "\rsampling:  10%|█ srun: error: node2: task 1: Killed\n"
        "srun: error: node1: task 0: Exited with exit code 130\n"
    )
    assert last_words([log]) == "node2: task 1: Killed"
    log.write_text("nothing of note\n")
    assert last_words([log]) == ""
