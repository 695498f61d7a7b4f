"""Exports in parts: the same bytes whoever makes them, and nothing is made twice or by halves."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from core.files import exclusive, read_json, write_json
from core.parts import make_everything, make_parts
from core.sampleset import Sample, open_sample_set, shard_name
from exporters import parts as parts_module
from exporters.build import build_pack
from exporters.config import ExportConfig
from exporters.drawing.svg import fills
from exporters.pack import verify_pack
from exporters.parts import ExportParts
from jobs import export
from tests.needs import missing
from tests.samplesets import animal, write_sample_set
from tests.verbs import trouble_of

ROOT = Path(__file__).resolve().parents[1]
MAKE = """
import sys
from pathlib import Path
from core.parts import make_everything, make_parts
from exporters.config import ExportConfig
from exporters.parts import ExportParts

if __name__ == "__main__":
    samples, out, workers, *parts = sys.argv[1:]
    config = ExportConfig(samples=Path(samples), size_px=256, small_px=64, name="Zoo")
    work = ExportParts(config, Path(out), workers=int(workers))
    make_parts(work, map(int, parts)) if parts else make_everything(work)
"""
HELD = """
import os, time
from exporters import tracing

real = tracing.make_piece

def make_piece(sample, *rest):  # workers, too, have it: they import this file
    seed = sample.seed
    while CONDITION:
        time.sleep(0.02)
    return real(sample, *rest)

tracing.make_piece = make_piece
"""


def config(samples, **changes):
    values = {"samples": samples, "size_px": 256, "small_px": 64, "name": "Zoo"}
    return ExportConfig(**{**values, **changes})


@contextlib.contextmanager
def started(tmp_path, samples, out, *, workers=1, parts=(), held=""):
    """Make parts (or everything) in a process of its own, which ends with the test.

    held: a condition on a picture's `seed`; those wait for as long as it holds.
    """
    script = tmp_path / "make.py"
    script.write_text((HELD.replace("CONDITION", held) if held else "") + MAKE)
    command = [sys.executable, script, samples, out, workers, *parts]
    process = subprocess.Popen(
        list(map(str, command)),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def until(condition, process=None, timeout_s=60.0):
    """Wait; `process`, if given, must not end before."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if process is not None and process.poll() is not None:
            pytest.fail(f"it ended too early: {process.stderr.read()[-2000:]}")
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_all_stickers_of_a_class_share_its_palette_whoever_traces_them(tmp_path):
    cats = [animal("cat", seed) for seed in range(4)]
    dogs = [animal("dog", seed) for seed in range(10, 14)]
    samples = write_sample_set(tmp_path / "set", [cats, dogs]).folder
    lenient = {"colours": 8, "min_psnr_db": 10, "min_ssim": 0, "max_edge_px": 50}
    wanted = config(samples, class_palette=True, **lenient)

    built = build_pack(wanted, tmp_path / "pack")
    work = ExportParts(wanted, tmp_path / "two")
    for part in (1, 0):
        make_parts(work, [part])

    def colours(label):
        stickers = [one for one in built.facts["stickers"] if one["label"] == label]
        assert len(stickers) == 4
        found = [fills((built.folder / one["file"]).read_text()) for one in stickers]
        return set.union(*map(set, found))

    assert len(colours("cat")) <= 8
    assert len(colours("dog")) <= 8
    alone = build_pack(config(samples, **lenient), tmp_path / "alone")
    assert (tmp_path / "two.zip").read_bytes() == built.zip_path.read_bytes()
    assert alone.zip_path.read_bytes() != built.zip_path.read_bytes()


def workers_of(process):
    """Its worker processes."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [pid for pid in map(int, children) if b"spawn_main" in command_of(pid)]


def command_of(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def seeds(pack):
    return [item["seed"] for item in read_json(pack / "pack.json")["stickers"]]


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Seven pictures in four shards: a name twice, noise, and a shard without any picture left."""
    noise = np.random.default_rng(3).integers(0, 256, (32, 32, 4), dtype=np.uint8)
    refused = Sample(image_hwc=noise, label="bird", seed=9)
    shards = [
        [animal("cat", 1), animal("fish", 2)],
        [animal("fish", 4), animal("cat", 1)],
        [refused],
        [animal("bird", 5), animal("cat", 6)],
    ]
    return write_sample_set(tmp_path_factory.mktemp("sets") / "set", shards).folder


@pytest.fixture(scope="module")
def whole(samples, tmp_path_factory):
    """The pack made in one go by one process."""
    out = tmp_path_factory.mktemp("packs") / "whole"
    build_pack(config(samples), out)
    return out


def same_bytes(out, whole):
    return (
        out.with_name(f"{out.name}.zip").read_bytes() == whole.with_name("whole.zip").read_bytes()
    )


def test_one_go_makes_a_whole_pack_and_leaves_only_that(whole):
    assert verify_pack(whole) == []
    assert seeds(whole) == [1, 2, 4, 1, 5, 6]
    assert sorted(path.name for path in whole.parent.iterdir()) == ["whole", "whole.zip"]
    names = [item["file"] for item in read_json(whole / "pack.json")["stickers"]]
    assert (names[0], names[3]) == ("svg/cat_000001.svg", "svg/cat_000001-2.svg")
    assert {path.stat().st_nlink for path in whole.rglob("*.svg")} == {1}


@pytest.mark.slow
def test_three_processes_at_once_make_the_same_bytes(samples, whole, tmp_path):
    out = tmp_path / "shared"
    shares = [(0, 3), (1, 2), (2, 0)]  # some parts are asked of two
    with contextlib.ExitStack() as stack:
        makers = [
            stack.enter_context(started(tmp_path, samples, out, parts=share)) for share in shares
        ]
        said = [maker.communicate(timeout=120)[1] for maker in makers]
    assert [maker.returncode for maker in makers] == [0, 0, 0], said
    assert same_bytes(out, whole)
    assert not list(tmp_path.glob(".shared*/part-*"))


@pytest.mark.slow
def test_a_killed_export_goes_on_and_its_parts_are_kept(samples, whole, tmp_path):
    out = tmp_path / "killed"
    first = tmp_path / ".killed.parts" / "part-00000"
    told = tmp_path / "told"
    held = f"seed > 4 or seed == 4 and not os.path.exists({str(told)!r})"
    with started(tmp_path, samples, out, workers=2, held=held) as process:
        until(first.exists, process)
        workers = workers_of(process)
        for pid in workers:
            os.kill(pid, signal.SIGTERM)  # a cluster tells all processes; the parent decides
        told.touch()
        until(first.with_name("part-00001").exists, process)
    assert workers
    until(lambda: not any(b"spawn_main" in command_of(pid) for pid in workers))  # none is left over
    assert not out.exists()
    before = (first / "00000.svg").stat()
    build_pack(config(samples), out)
    kept = (out / "svg" / "cat_000001.svg").stat()
    assert (kept.st_ino, kept.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert same_bytes(out, whole)
    assert not first.parent.exists()


@pytest.mark.slow
def test_an_interrupt_ends_at_once_and_leaves_no_half_part(samples, tmp_path):
    parts = tmp_path / ".stopped.parts"
    with started(tmp_path, samples, tmp_path / "stopped", workers=2, held="seed > 1") as process:
        until(lambda: list(parts.glob("*/*.svg")), process)
        workers = workers_of(process)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert said.count("Traceback") <= 1  # the workers are silent
    until(lambda: not any(b"spawn_main" in command_of(pid) for pid in workers))
    assert not list(parts.glob(".part*"))
    assert all((part / "entries.json").exists() for part in parts.glob("part*"))


@pytest.mark.slow
def test_a_worker_that_dies_is_one_error_and_the_export_goes_on(samples, whole, tmp_path):
    out = tmp_path / "weak"
    with started(tmp_path, samples, out, workers=2, held="seed > 1") as process:
        until(lambda: list(tmp_path.glob(".weak.parts/*/*.svg")), process)
        os.kill(workers_of(process)[0], signal.SIGKILL)
        said = process.communicate(timeout=60)[1]
    assert "UserError: a worker died while it traced" in said
    assert not list((tmp_path / ".weak.parts").glob(".part*.tmp"))
    build_pack(config(samples), out)
    assert same_bytes(out, whole)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 160 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        message = f"may not mount a small disk: {mounted.stderr.strip()}"
        missing(message)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_leaves_no_half_part_and_the_export_goes_on(samples, whole, small_disk, capsys):
    out = small_disk / "pack"
    flags = ["--samples", samples, "--out", out, "--workers", "1", "--cluster", "inline"]
    flags += ["--size-px", "256", "--small-px", "64", "--name", "Zoo"]
    assert export.main(list(map(str, flags))) == 2
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert complaint.startswith("export: error: No space left on device")
    made = sorted(path.name for path in (small_disk / ".pack.parts").glob("*part*"))
    assert made
    assert made == [f"part-{part:05d}" for part in range(len(made))]
    assert not out.exists()
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert export.main(list(map(str, flags))) == 0
    assert same_bytes(out, whole)


def test_parts_of_another_export_are_refused_and_left_alone(samples, tmp_path):
    work = ExportParts(config(samples), tmp_path / "pack")
    make_parts(work, [2])
    other = ExportParts(config(samples, colours=8), tmp_path / "pack")
    with pytest.raises(UserError, match="unfinished export with other inputs, settings"):
        make_parts(other, [0])
    assert work.missing() == [0, 1, 3]


def test_parts_of_other_versions_are_refused(samples, tmp_path, monkeypatch):
    make_parts(ExportParts(config(samples), tmp_path / "pack"), [2])
    monkeypatch.setattr(parts_module, "_version", lambda name: "99")
    with pytest.raises(UserError, match="or versions: name another --out, or remove it"):
        make_parts(ExportParts(config(samples), tmp_path / "pack"), [0])


def test_a_late_task_finds_nothing_to_do(samples, whole, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    late = ExportParts(config(samples), whole)
    assert late.finished()
    assert late.missing() == []
    make_parts(late, range(4))
    make_everything(late)
    assert before == {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    with pytest.raises(UserError, match="holds a pack of other inputs or settings"):
        make_parts(ExportParts(config(samples, colours=8), whole), [0])


def test_what_is_in_the_way_is_named_before_anything_is_traced(samples, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep me")
    with pytest.raises(UserError, match="already exists"):
        build_pack(config(samples), tmp_path / "notes")
    (tmp_path / "lonely.zip").write_bytes(b"zip")
    with pytest.raises(UserError, match="exists without its folder"):
        build_pack(config(samples), tmp_path / "lonely")


def test_only_one_process_builds_a_pack(samples, tmp_path):
    with exclusive(tmp_path / ".pack.parts"), pytest.raises(UserError, match="another process"):
        build_pack(config(samples), tmp_path / "pack")


def test_a_damaged_pack_is_named_and_a_damaged_zip_made_again(samples, tmp_path):
    out, zipped = tmp_path / "pack", tmp_path / "pack.zip"
    few = config(samples, labels=("bird",))
    build_pack(few, out)
    good = zipped.read_bytes()
    zipped.write_bytes(good[:-100])
    assert build_pack(few, out).made
    assert zipped.read_bytes() == good
    assert not build_pack(few, out).made
    (out / "LICENSE").write_text("mine now")
    with pytest.raises(UserError, match="is damaged"):
        build_pack(few, out)
    zipped.unlink()
    with pytest.raises(UserError, match="is damaged"):
        make_parts(ExportParts(few, out), [])


def test_a_limit_counts_over_the_parts(samples, tmp_path):
    work = ExportParts(config(samples, limit=2, labels=("cat", "bird")), tmp_path / "pack")
    for part in (3, 1, 0):  # whatever the order
        make_parts(ExportParts(work.config, tmp_path / "pack"), [part])
    make_everything(work)
    facts = read_json(tmp_path / "pack" / "pack.json")
    assert [item["seed"] for item in facts["stickers"]] == [1, 1, 5]
    assert [item["seed"] for item in facts["refused"]] == [9]


def test_each_density_is_so_many_times_the_small_size(samples, tmp_path):
    few = config(samples, labels=("bird",), densities=(1, 3), atlas="none")
    built = build_pack(few, tmp_path / "pack")
    (sticker,) = built.facts["stickers"]
    assert sticker["png"] == "png/@3x/bird_000005.png"
    for density, path in sticker["pngs"].items():
        with Image.open(built.folder / path) as image:
            assert image.width == int(density[1]) * 64
            assert image.text["menagerie:settings"] == built.facts["settings_sha256"]
    with Image.open(built.folder / sticker["webp"]) as image:
        assert image.size == (256, 256)
        assert b"trainedAlgorithmicMedia" in image.info["xmp"]
    assert verify_pack(built.zip_path) == []


def test_an_altered_shard_is_found_by_whoever_reads_it(tmp_path):
    shards = [[animal("cat", 1)], [animal("cat", 2)]]
    folder = write_sample_set(tmp_path / "set", shards).folder
    work = ExportParts(config(folder), tmp_path / "pack")
    work.begin()
    path = folder / shard_name(1)
    path.write_bytes(path.read_bytes() + b"x")
    make_parts(work, [0])
    with pytest.raises(UserError, match=r"part-00001\.parquet was altered"):
        make_parts(work, [1])
    assert work.missing() == [1]


def test_planning_an_export_loads_no_torch_and_decodes_nothing(samples, tmp_path):
    code = (
        "import sys; from pathlib import Path; import core.sampleset; "
        "core.sampleset.read_shard = None; "
        "from exporters.config import ExportConfig; from exporters.parts import ExportParts; "
        "work = ExportParts(ExportConfig(samples=Path(sys.argv[1])), Path(sys.argv[2])); "
        "work.begin(); assert work.missing() == [0, 1, 2, 3]; assert 'torch' not in sys.modules"
    )
    assert trouble_of(code, samples, tmp_path / "pack") == ""


def kept(samples, *seeds, **changes):
    return {"sample_set": open_sample_set(samples).digest, "seeds": list(seeds), **changes}


def test_only_the_kept_seeds_are_exported_and_belong_to_the_inputs(samples, tmp_path):
    write_json(tmp_path / "kept.json", kept(samples, 5, 2, 5))
    only = config(samples, only=tmp_path / "kept.json")
    out = tmp_path / "pack"
    built = build_pack(only, out)
    assert seeds(out) == [2, 5]
    assert built.facts["inputs"]["settings"]["only"].startswith("2 seeds sha256:")
    with zipfile.ZipFile(built.zip_path) as archive:
        assert str(tmp_path).encode() not in b"".join(map(archive.read, archive.namelist()))
    write_json(tmp_path / "elsewhere.json", kept(samples, 2, 5))  # the same in other words
    assert not build_pack(config(samples, only=tmp_path / "elsewhere.json"), out).made
    write_json(tmp_path / "kept.json", kept(samples, 2))
    with pytest.raises(UserError, match="other inputs"):
        build_pack(only, out)


def test_a_pack_of_everything_does_not_mention_the_filter(whole):
    assert "only" not in read_json(whole / "pack.json")["inputs"]["settings"]


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        (None, "is no file"),
        ("{", "not valid JSON"),
        ("[1, 2]", "lists no seeds"),
        ('{"seeds": ["1"]}', "lists no seeds"),
        ('{"seeds": [true]}', "lists no seeds"),
        ('{"seeds": [1], "sample_set": "c0ffee"}', "is of the sample set c0ffee, not of"),
    ],
)
def test_a_filter_that_does_not_fit_is_one_error(samples, tmp_path, written, complaint):
    path = tmp_path / "kept.json"
    if written is not None:
        path.write_text(written)
    with pytest.raises(UserError, match=complaint):
        build_pack(config(samples, only=path), tmp_path / "pack")
    assert [entry.name for entry in tmp_path.iterdir() if entry != path] == []


@pytest.mark.parametrize(
    ("seeds", "complaint"), [((), "keeps no picture"), ((1, 77), "no picture of seed 77")]
)
def test_a_filter_without_pictures_is_one_error(samples, tmp_path, seeds, complaint):
    (tmp_path / "kept.json").write_text(json.dumps(kept(samples, *seeds)))
    with pytest.raises(UserError, match=complaint):
        build_pack(config(samples, only=tmp_path / "kept.json"), tmp_path / "pack")


def test_when_nothing_passes_other_settings_may_be_tried_at_once(samples, tmp_path):
    strict = config(samples, labels=("bird",), min_psnr_db=60.0)
    with pytest.raises(UserError, match="no picture passed: bird 9: "):
        build_pack(strict, tmp_path / "pack")
    assert list(tmp_path.iterdir()) == []
    assert len(build_pack(config(samples, labels=("bird",)), tmp_path / "pack").facts["stickers"])


def test_a_part_that_another_process_made_meanwhile_stands(samples, tmp_path, monkeypatch):
    work = ExportParts(config(samples, labels=("bird",)), tmp_path / "pack")
    rival = ExportParts(work.config, tmp_path / "pack")
    work.begin()
    real = work._fill

    def slow(folder, part):
        real(folder, part)
        rival.make(part)

    monkeypatch.setattr(work, "_fill", slow)
    work.make(3)
    assert work.missing() == [0, 1, 2]
    assert not list(work.folder.glob(".part*"))


def test_a_disk_that_fills_while_a_part_is_made_is_no_mistaken_success(
    samples, tmp_path, monkeypatch
):
    work = ExportParts(config(samples), tmp_path / "pack")
    work.begin()

    def full(folder, stem, sticker):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(parts_module, "_write_sticker", full)
    with pytest.raises(OSError, match="No space"):
        work.make(0)
    assert work.missing() == [0, 1, 2, 3]
    assert not list(work.folder.glob(".part*"))


def test_a_disk_that_fills_while_zipping_leaves_no_half_zip(samples, tmp_path, monkeypatch, capsys):
    out = tmp_path / "pack"
    flags = ["--samples", samples, "--out", out, "--workers", "1", "--cluster", "inline"]
    flags = list(map(str, [*flags, "--size-px", "256", "--small-px", "64", "--labels", "bird"]))
    real = zipfile.ZipFile.writestr

    def full(archive, entry, data, **more):
        if entry.filename.startswith("svg/"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(archive, entry, data, **more)

    with monkeypatch.context() as patched:
        patched.setattr(zipfile.ZipFile, "writestr", full)
        assert export.main(flags) == 2
    assert "error: No space left on device" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == [".pack.parts", "pack"]
    assert verify_pack(out) == []
    assert export.main(flags) == 0  # the same command goes on: nothing is traced again
    assert verify_pack(tmp_path / "pack.zip") == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pack", "pack.zip"]
