"""The curation app with 100,000 pictures and eight curators at once.

    python tests/benchmarks/curation.py [--pictures 100000] [--curators 8] [--awake]

Pictures are generated (128 px JPEG), then opened by a real server process as a new collection:
looked at, hashed, previews written, put on record in SQLite. The server is then started again and
asked for its first page. Then curators, each a process of its own, look at pages, ask for pairs,
judge them and give states: first at the pace of a quick hand, with 0.1 to 0.4 s of thought before
each request, then, to know the limit, as fast as they are answered. The times are the server's
own, from the `Server-Timing` of its answers. Memory is the peak resident set of the server and its
workers together. Last, near copies are searched among all hashes.

Cores of a virtual machine that rested for a tenth of a second may take long to wake, and be slow
at first: of that, not of the server, the times of an idle machine then tell. With --awake a loop of
the idle scheduling class keeps each core going; it gives way to everything else at once.
"""

import argparse
import contextlib
import http.client
import io
import json
import multiprocessing
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from curation_app.indexing.hashing import near_by_hash  # noqa: E402  # after the path is set
from curation_app.store.engine import open_database  # noqa: E402
from curation_app.store.pictures import hashes  # noqa: E402

LABELS = ("cat", "dog", "fish", "frog", "hedgehog", "owl", "rabbit", "turtle")
SIDE_PX = 128
_together: Any
"""Where the curators' processes wait for each other."""


def main() -> None:
    """Generate, open, start again, load, search; print a table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--curators", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--starts", type=int, default=5, help="of the server, for its first page")
    parser.add_argument("--awake", action="store_true", help="keep the cores from dozing")
    parser.add_argument("--folder", type=Path, help="keeps the pictures for another time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        pictures = folder / "pictures"
        generate(pictures, arguments.pictures)
        figures: dict[str, Any] = {"pictures": arguments.pictures, "cores": os.cpu_count()}
        figures |= measure_opening(pictures, arguments.pictures)
        with awake() if arguments.awake else contextlib.nullcontext():
            figures |= measure_start(pictures, arguments.starts)
            figures |= measure_serving(pictures, arguments.curators, arguments.seconds)
        figures |= measure_search(pictures / ".curation.sqlite")
    for name, value in figures.items():
        print(f"{name:34} {value}")
    print(json.dumps(figures))


@contextlib.contextmanager
def awake() -> Iterator[None]:
    """Give each core something to do that everything else goes before."""
    context = multiprocessing.get_context("spawn")
    loops = [context.Process(target=_loop, daemon=True) for _ in range(os.cpu_count() or 1)]
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()


def _loop() -> None:
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while True:
        pass


def generate(folder: Path, count: int) -> None:
    """Write pictures that differ: a few soft blobs of colour each."""
    made = folder / "made"
    if made.is_file() and made.read_text() == str(count):
        return
    for label in LABELS:
        (folder / label).mkdir(parents=True, exist_ok=True)
    with multiprocessing.get_context("spawn").Pool() as pool:
        work = ((folder, number) for number in range(count))
        for _ in tqdm(pool.imap_unordered(_draw, work, 256), desc="drawing", total=count):
            pass
    made.write_text(str(count))


def _draw(work: tuple[Path, int]) -> None:
    folder, number = work
    random_numbers = np.random.default_rng(number)
    coarse = random_numbers.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=88)
    path = folder / LABELS[number % len(LABELS)] / f"{number:06d}.jpg"
    path.write_bytes(buffer.getvalue())


class Server:
    """A real server process, its address, and the peak of its memory."""

    def __init__(self, folder: Path) -> None:
        started_s = time.monotonic()
        command = [sys.executable, "-m", "curation_app", str(folder), "--port", "0"]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(r"open http://([\d.]+):(\d+)/", line):
                self.host, self.port = found[1], int(found[2])
                break
        else:
            raise SystemExit("the server did not start")
        ask(self, "GET", "/")
        self.first_page_s = time.monotonic() - started_s
        self.peak_mb = 0.0
        self._watching = True
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while self._watching:
            self.peak_mb = max(self.peak_mb, resident_mb(self.process.pid))
            time.sleep(0.2)

    def stop(self) -> None:
        """End the process."""
        self._watching = False
        self.process.terminate()
        self.process.communicate()


def resident_mb(pid: int) -> float:
    """Of a process and all that it started, as shares of what they share (PSS)."""
    total = 0.0
    for one in [pid, *_children(pid)]:
        try:
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:
            continue
        found = re.search(r"^Pss:\s+(\d+) kB", text, re.M)
        total += int(found[1]) / 1024 if found else 0
    return total


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            direct = [int(text) for text in task.read_text().split()]
        except OSError:
            continue
        found += direct + [deeper for child in direct for deeper in _children(child)]
    return found


def ask(
    server: Server, method: str, path: str, form: dict[str, str] | None = None
) -> tuple[str, str]:
    """One request on a connection of its own: the body, and the cookie."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=120)
    connection.request(method, path, urllib.parse.urlencode(form or {}))
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return body, (answer.getheader("Set-Cookie") or "").partition(";")[0]


def measure_opening(folder: Path, count: int) -> dict[str, Any]:
    """Open a collection that is not on record."""
    for path in folder.glob(".curation*"):
        if path.is_file():
            path.unlink()
    subprocess.run(["rm", "-rf", str(folder / ".curation")], check=True)
    started_s = time.monotonic()
    server = Server(folder)
    engine = open_database(folder / ".curation.sqlite")
    bar = tqdm(total=count, desc="opening", unit="picture")
    while True:
        with engine.connect() as connection:
            done = len(hashes(connection, None)[0])
        bar.update(done - bar.n)
        if done >= count:
            break
        time.sleep(1)
    took_s = time.monotonic() - started_s
    bar.close()
    engine.dispose()
    server.stop()
    return {
        "opened_per_s": round(count / took_s, 1),
        "opening_peak_mb": round(server.peak_mb),
    }


def measure_start(folder: Path, starts: int) -> dict[str, Any]:
    """From the command to the first page, with everything on record: median and slowest."""
    took_s = []
    for _ in range(starts):
        server = Server(folder)
        took_s.append(server.first_page_s)
        server.stop()
    return {
        "first_page_s": round(float(np.median(took_s)), 2),
        "first_page_max_s": round(max(took_s), 2),
    }


def measure_serving(folder: Path, curators: int, seconds: float) -> dict[str, Any]:
    """Start with everything on record, then let curators work: with thought, then without."""
    server = Server(folder)
    time.sleep(2)
    figures: dict[str, Any] = {}
    for name, pause_s in (("", 0.25), ("flat_out_", 0.0)):
        found = _work(server, curators, seconds, pause_s)
        for kind, times_ms in found.items():
            for percent in (50, 95):
                figure = f"{name}{kind.replace(' ', '_')}_p{percent}_ms"
                figures[figure] = round(float(np.percentile(times_ms, percent)), 1)
        requests = sum(len(times_ms) for times_ms in found.values())
        figures[f"{name}requests_per_s"] = round(requests / seconds, 1)
    figures["serving_peak_mb"] = round(server.peak_mb)
    server.stop()
    return figures


def _work(server: Server, curators: int, seconds: float, pause_s: float) -> dict[str, list[float]]:
    """What all curators' requests took, by kind."""
    context = multiprocessing.get_context("spawn")
    work = [(server.host, server.port, seconds, pause_s, seed) for seed in range(curators)]
    # Nobody begins while others still load: their start would count as the server's slowness.
    together = context.Barrier(curators)
    with context.Pool(curators, initializer=_meet_at, initargs=(together,)) as pool:
        found = pool.starmap(_curate, work, chunksize=1)
    return {kind: [time_ms for one in found for time_ms in one[kind]] for kind in found[0]}


def _meet_at(barrier: Any) -> None:
    global _together
    _together = barrier


def _curate(
    host: str, port: int, seconds: float, pause_s: float, seed: int
) -> dict[str, list[float]]:
    choose = random.Random(seed)
    connection = http.client.HTTPConnection(host, port, timeout=120)
    times_ms: dict[str, list[float]] = {
        kind: [] for kind in ("page", "next pair", "judgement", "state")
    }
    headers = {"Accept": "text/html"}

    def request(kind: str | None, method: str, path: str, **form: Any) -> str:
        body = urllib.parse.urlencode(form) if method == "POST" else None
        time.sleep(choose.uniform(0.4, 1.6) * pause_s)
        content = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        connection.request(method, path, body, headers | content)
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, f"{method} {path}: {answer.status} {text[:300]}"
        if cookie := answer.getheader("Set-Cookie"):
            headers["Cookie"] = cookie.partition(";")[0]
        timing = re.search(r"dur=([\d.]+)", answer.getheader("Server-Timing") or "")
        assert timing
        if kind is not None:
            times_ms[kind].append(float(timing[1]))
        return text

    page = request(None, "GET", "/")
    found = re.search(r'name="form-token" content="(\w+)"', page)
    assert found
    token = found[1]
    _together.wait()
    time.sleep(choose.random() * pause_s)
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        label = choose.choice(LABELS)
        query = choose.choice(["", f"label={label}", "state=unseen", "order=best"])
        headers["Accept"] = "text/html"
        page = request("page", "GET", f"/?{query}")
        headers["Accept"] = "application/json"
        for shown in choose.sample(re.findall(r'id="picture-(\d+)"', page), 3):
            state = choose.choice(["keep", "maybe", "reject"])
            request("state", "POST", "/act", secret=token, picture=shown, do=f"state:{state}")
        for _ in range(3):
            pair = json.loads(request("next pair", "GET", f"/rank/next?label={label}"))
            outcome = choose.choice(["left", "right", "tie"])
            request(
                "judgement",
                "POST",
                "/rank/judge",
                secret=token,
                left=pair["left"]["id"],
                right=pair["right"]["id"],
                repeats=pair["repeats"] or "",
                outcome=outcome,
                key=f"{seed:04d}-{choose.random():.16f}",
            )
    return times_ms


def measure_search(database: Path) -> dict[str, Any]:
    """Find near copies among all hashes."""
    engine = open_database(database)
    with engine.connect() as connection:
        _, found = hashes(connection, None)
    engine.dispose()
    started_s = time.monotonic()
    pairs = near_by_hash(found, 8)
    took_s = time.monotonic() - started_s
    return {"search_s": round(took_s, 1), "search_pairs": len(pairs.left)}


if __name__ == "__main__":
    main()
