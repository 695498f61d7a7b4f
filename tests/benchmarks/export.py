"""How fast samples become packs: by stage, by number of processes, and how memory goes.

    python tests/benchmarks/export.py                      1,000 samples, some minutes
    python tests/benchmarks/export.py --count 100          a shorter look

Starter animals of 64 px stand for samples. The pack is a full one: PNGs, WebP, atlases for all
engines, packs for all messengers. Processor seconds stand beside the wall clock: on a machine that
others use too, those are what counts. The last line is JSON.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from core.data.transform import use_one_thread  # noqa: E402
from core.files import digest_file  # noqa: E402
from exporters import parts  # noqa: E402
from exporters.build import build_pack  # noqa: E402
from exporters.config import ExportConfig  # noqa: E402
from exporters.drawing.sticker import Sticker  # noqa: E402
from exporters.dress import dress  # noqa: E402
from exporters.tracing import cut_and_trace  # noqa: E402
from tests.samplesets import animal, write_sample_set  # noqa: E402

LABELS = ("bird", "cat", "dog", "fish", "frog", "horse", "rabbit", "turtle")
SHARD = 100


def make_samples(folder: Path, count: int) -> Path:
    """A sample set of starter animals."""
    samples = [animal(LABELS[n % len(LABELS)], 5_000_000 + n, 64) for n in range(count)]
    shards = [samples[begin : begin + SHARD] for begin in range(0, count, SHARD)]
    return write_sample_set(folder, shards).folder


class Watch:
    """The memory of this process and its children, looked at twice a second."""

    def __init__(self) -> None:
        self.looks_mib: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.5):
            self.looks_mib.append(sum(map(_mib, _family(os.getpid()))))

    def peaks(self) -> tuple[float, float]:
        """The most in the second and in the last quarter."""
        quarter = max(1, len(self.looks_mib) // 4)
        looks = self.looks_mib or [0.0]
        return max(looks[quarter : 2 * quarter] or looks), max(looks[-quarter:])


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _family(int(child))


def _mib(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def processor_s() -> float:
    """Processor seconds of this process and of its children that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@contextmanager
def timed(into: dict[str, float], name: str) -> Iterator[None]:
    """Add the wall-clock seconds of a block."""
    begun = time.perf_counter()
    yield
    into[name] = into.get(name, 0.0) + time.perf_counter() - begun


def by_stage(config: ExportConfig, count: int) -> dict[str, float]:
    """Processor milliseconds of one sticker in each stage that workers do."""
    use_one_thread()
    samples = [animal(LABELS[n % len(LABELS)], 6_000_000 + n, 64) for n in range(count)]
    cut_and_trace(samples[0], config, {})  # warm
    begun = time.process_time()
    traced = [cut_and_trace(sample, config, {}) for sample in samples]
    between = time.process_time()
    passed = [one for one in traced if isinstance(one, Sticker)]
    for one in passed:
        dress(one, config)
    ended = time.process_time()
    return {
        "trace_ms": 1000 * (between - begun) / count,
        "files_ms": 1000 * (ended - between) / max(1, len(passed)),
        "passed": len(passed) / count,
    }


def build(config: ExportConfig, out: Path, workers: int) -> dict[str, Any]:
    """One export, timed; its stages at the end are timed by wrapping them."""
    stages: dict[str, float] = {}
    originals = {name: getattr(parts, name) for name in ("assemble_pack", "zip_folder")}

    def wrap(name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            with timed(stages, name):
                return originals[name](*arguments)

        return call

    for name in originals:
        setattr(parts, name, wrap(name))
    begun, processor = time.perf_counter(), processor_s()
    try:
        with Watch() as watch:
            built = build_pack(config, out, workers=workers)
    finally:
        for name, function in originals.items():
            setattr(parts, name, function)
    wall_s = time.perf_counter() - begun
    early, late = watch.peaks()
    return {
        "workers": workers,
        "stickers": len(built.facts["stickers"]),
        "wall_s": wall_s,
        "processor_s": processor_s() - processor,
        "per_s": len(built.facts["stickers"]) / wall_s,
        "assemble_s": stages["assemble_pack"],
        "zip_s": stages["zip_folder"],
        "early_mib": early,
        "late_mib": late,
        "sha256": digest_file(built.zip_path),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--compare", type=int, default=64, help="samples for one against two")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--style", default="flat")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), options)))


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All figures, printed as a table on the way."""
    full = make_samples(folder / "full", options.count)
    few = make_samples(folder / "few", options.compare)

    def config(samples: Path) -> ExportConfig:
        return ExportConfig(samples=samples, name="Bench", style=options.style, platforms="all")

    stages = by_stage(config(few), min(24, options.compare))
    print(f"one sticker: tracing {stages['trace_ms']:.0f} ms, files {stages['files_ms']:.0f} ms")
    rounds = [
        build(config(few), folder / f"few-{number}-{workers}", workers)
        for number in range(options.rounds)
        for workers in (1, 2)
    ]
    for one in rounds:
        show(one)
    best = {w: min(one["wall_s"] for one in rounds if one["workers"] == w) for w in (1, 2)}
    whole = build(config(full), folder / "whole", 2)
    show(whole)
    same = len({one["sha256"] for one in rounds}) == 1
    speed_up = best[1] / best[2]
    print(f"two processes are {speed_up:.2f} times as fast as one; same bytes: {same}")
    figures = {key: value for key, value in whole.items() if key != "sha256"}
    return {"stages": stages, "whole": figures, "speed_up": speed_up, "same_bytes": same}


def show(one: dict[str, Any]) -> None:
    """One line of the table."""
    print(
        f"{one['workers']} processes: {one['stickers']:5,} stickers in {one['wall_s']:7.1f} s "
        f"({one['processor_s']:.1f} s of processors), {one['per_s']:.2f}/s; of it assembling "
        f"{one['assemble_s']:.1f} s, zipping {one['zip_s']:.1f} s; memory {one['early_mib']:.0f} "
        f"then {one['late_mib']:.0f} MiB"
    )


if __name__ == "__main__":
    main()
