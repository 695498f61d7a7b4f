"""Bringing pictures in from folders, zips, tables and sample sets, told with small real ones."""

import io
import itertools
import json
import os
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from core.collection import write_collection
from core.data.decode import UnreadableError
from core.data.sources import StarterSource
from core.errors import UserError
from core.files import digest_bytes, write_json
from curation_app.intake.candidates import Candidate, Limits
from curation_app.intake.originals import Originals
from curation_app.intake.origins import Origin, SourceOrigin
from curation_app.intake.places import check_local, open_hub, open_place
from curation_app.intake.staging import Manner, Progress, stage
from tests.needs import missing
from tests.samplesets import animal, write_sample_set


def png(seed: int = 0, side: int = 16) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def make_zip(path: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return path


@pytest.fixture
def originals(tmp_path: Path) -> Originals:
    return Originals(tmp_path / "app" / "originals")


def staged(origin: Origin, originals: Originals, **more: Any) -> dict[str, Candidate]:
    return {one.name: one for one in stage(origin, originals, Manner(**more))}


def refusals(candidates: dict[str, Candidate]) -> dict[str, str]:
    return {name: one.reason for name, one in candidates.items() if one.reason is not None}


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_folder_is_staged_by_digest_and_equal_bytes_are_kept_once(
    tmp_path: Path, originals: Originals
) -> None:
    pets = write(tmp_path / "pets", {"cat/1.png": png(1), "cat/2.png": png(2), "dog/3.png": png(1)})
    write(pets, {"cat/broken.png": png(3)[:-30], "notes.txt": b"hello", "loose.png": png(4)})
    told: list[Progress] = []
    candidates = list(stage(open_place(pets), originals, progress=told.append))
    assert [(one.name, one.label, one.reason) for one in candidates] == [
        ("cat/1.png", "cat", None),
        ("cat/2.png", "cat", None),
        ("cat/broken.png", "cat", "damaged: the PNG is cut off"),
        ("dog/3.png", "dog", None),
        ("loose.png", "unlabelled", None),
    ]
    digests = sorted(digest_bytes(png(seed)) for seed in (1, 2, 4))
    places = [f"{digest[:2]}/{digest}.png" for digest in digests]
    assert files_below(originals.folder) == sorted(places)
    first = candidates[0]
    assert (first.place, first.bytes) == (f"{first.sha256[:2]}/{first.sha256}.png", len(png(1)))
    assert originals.read(first.sha256) == png(1)
    assert first.file_name == f"cat/{first.sha256[:16]}.png"
    assert first.source == "folder pets: cat/1.png"
    assert first.provenance.items() >= {"kind": "folder", "file": "cat/1.png"}.items()
    assert told[0] == Progress(done=0, total=5, refused=0, bytes=0, ignored=1)
    assert told[-1] == Progress(
        done=5, total=5, refused=1, bytes=sum(one.bytes for one in candidates), ignored=1
    )
    assert str(tmp_path) not in json.dumps([one.provenance for one in candidates])


def test_a_collection_keeps_what_its_metadata_says(tmp_path: Path, originals: Originals) -> None:
    row: dict[str, Any] = {
        "file_name": "a.png",
        "label": "cat",
        "licence": "CC0-1.0",
        "source": "https://x/a",
    }
    row |= {"score": 2.5, "tags": ["extra ear", "<i>"], "split": "train", "camera": "box"}
    bad = {"file_name": "b.png", "label": "cat", "sha256": "0" * 64}
    odd = {"file_name": "c.png", "label": "cat", "depth": float("nan")}
    lone = {"file_name": "d.png", "label": "cat", "note": "\ud800"}
    text = "\n".join(map(json.dumps, (row, bad, odd, lone)))
    pets = write(tmp_path / "pets", {f"{name}.png": png(ord(name)) for name in "abcd"})
    (pets / "metadata.jsonl").write_text(text)
    found = staged(open_place(pets), originals, licence="MIT")
    first = found["a.png"]
    assert (first.label, first.licence, first.source) == ("cat", "CC0-1.0", "https://x/a")
    assert (first.score, first.split, first.extra) == (2.5, "train", {"camera": "box"})
    assert first.tags == ("extra ear", "<i>")
    reasons = refusals(found)
    assert reasons.keys() == {"b.png", "c.png", "d.png"}
    assert "do not match the sha256" in reasons["b.png"]
    assert "cannot be written again" in reasons["c.png"]
    assert "cannot be written again" in reasons["d.png"]


def test_a_revision_a_table_and_a_sample_set_say_what_they_are(
    tmp_path: Path, originals: Originals
) -> None:
    from core.collection import CollectionItem

    frozen = write(tmp_path / "3-abcdef", {"cat/1.png": png(1)})
    write_collection(frozen, [CollectionItem(file_name="cat/1.png", label="cat")])
    write_json(frozen / "revision.json", {"digest": "abcdef" * 10, "number": 3})
    (one,) = staged(open_place(frozen), originals, licence="MIT").values()
    assert one.provenance.items() >= {"kind": "revision", "digest": "abcdef" * 2 + "abcd"}.items()
    assert one.licence == "MIT"

    table = {"image": [png(2), png(3)], "label": ["dog", None], "source": ["https://y/2", None]}
    pq.write_table(pa.table(table), tmp_path / "pets.parquet")
    first, second = staged(open_place(tmp_path / "pets.parquet"), originals).values()
    assert (first.label, first.source) == ("dog", "https://y/2")
    assert second.source == "data set pets.parquet: pets.parquet#0000-000001"
    assert second.label == "unlabelled"

    made = write_sample_set(tmp_path / "samples", [[animal("cat", 7), animal("dog", 8)]])
    found = staged(open_place(tmp_path / "samples"), originals)
    cat = found["cat_000007.png"]
    assert (cat.label, cat.licence, cat.extra) == ("cat", "CC0-1.0", {"seed": 7})
    assert cat.source == f"samples samples: {made.digest[:16]}: 7"
    shard = tmp_path / "samples" / made.shards[0]
    shard.write_bytes(shard.read_bytes() + b"x")
    with pytest.raises(UserError, match="was altered"):
        open_place(tmp_path / "samples")


def test_a_saved_data_set_is_read_by_the_real_loader(tmp_path: Path, originals: Originals) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["cat"]))
    rows = {"image": [{"bytes": png(1), "path": None}], "label": [0]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "saved"))
    (one,) = staged(open_place(tmp_path / "saved"), originals).values()
    assert (one.label, one.sha256) == ("cat", digest_bytes(png(1)))
    assert one.provenance["data_set"] == "saved"


def test_drawn_animals_are_kept_as_png(originals: Originals) -> None:
    origin = SourceOrigin(StarterSource(1, 5, 32), "starter", lambda entry: {"kind": "starter"})
    first = next(iter(stage(origin, originals)))
    assert (first.label, first.licence, first.source) == ("bird", "MIT", "menagerie-starter")
    assert originals.read(first.sha256).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "name",
    [
        *("", "nowhere", "../pets", "allowed/../pets", "/", "/etc/passwd", "~", "..", "\0", "a\0b"),
        *("allowed/out", "out", "loop", "dangling", ".secret", "sub/.git", "x" * 5000, "a/" * 3000),
    ],
)
def test_a_browser_names_only_what_lies_below_an_allowed_root(tmp_path: Path, name: str) -> None:
    allowed = write(tmp_path / "allowed", {"sub/cat/1.png": b"", ".secret/1.png": b""})
    write(allowed, {"sub/.git/x": b""})
    write(tmp_path / "pets", {"cat/1.png": b""})
    (allowed / "out").symlink_to(tmp_path / "pets")
    (allowed / "loop").symlink_to(allowed / "loop")
    (allowed / "dangling").symlink_to(tmp_path / "nothing")
    (allowed / "inside").symlink_to(allowed / "sub")
    for tried in (name, str(allowed / name) if "\0" not in name else name):
        if tried.rstrip("/") == str(allowed):
            continue
        with pytest.raises(UserError, match="is not below a folder to import from") as caught:
            check_local(tried, [tmp_path / "gone", allowed])
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 1000
    assert check_local("sub/cat", [allowed]) == allowed / "sub" / "cat"
    assert check_local(str(allowed / "sub"), [allowed]) == allowed / "sub"
    assert check_local("inside", [allowed]) == allowed / "sub"
    with pytest.raises(UserError, match="none is allowed"):
        check_local("sub", [])


def test_what_is_nothing_to_import_says_what_would_be(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    for path in (tmp_path / "notes.txt", tmp_path / "nowhere"):
        with pytest.raises(UserError, match=r"name a folder with pictures, a \.zip"):
            open_place(path)
    (tmp_path / "x.zip").write_bytes(b"no zip")
    with pytest.raises(UserError, match=r"x\.zip cannot be opened as a zip"):
        open_place(tmp_path / "x.zip")
    (tmp_path / "tables").mkdir()
    pq.write_table(pa.table({"image": [png()]}), tmp_path / "secret.parquet")
    (tmp_path / "tables" / "x.parquet").symlink_to(tmp_path / "secret.parquet")
    with pytest.raises(UserError, match="a link that leads out"):
        open_place(tmp_path / "tables")


@pytest.mark.parametrize(
    "name", ["../etc", "/etc", "a/b/c", "imagefolder\0", "hf://x/y", "", "pets"]
)
def test_only_names_of_the_hub_are_looked_for_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pets").mkdir()
    with pytest.raises(UserError, match="no data set on the hub: write OWNER/NAME"):
        open_hub(name)


def test_interrupted_staging_goes_on_where_it_was(tmp_path: Path, originals: Originals) -> None:
    pets = write(tmp_path / "pets", {f"cat/{n:02}.png": png(n) for n in range(30)})
    some = list(itertools.islice(stage(open_place(pets), originals), 5))
    assert len(some) == 5
    there = files_below(originals.folder)
    assert 5 <= len(there) < 30
    before = {name: (originals.folder / name).stat().st_ino for name in there}
    looked: list[int] = []
    whole = staged(open_place(pets), originals, look=lambda data, pixels: looked.append(len(data)))
    assert len(whole) == len(looked) == 30
    assert len(files_below(originals.folder)) == 30
    assert {name: (originals.folder / name).stat().st_ino for name in there} == before


def test_what_is_kept_is_not_decoded_again(
    tmp_path: Path, originals: Originals, monkeypatch: pytest.MonkeyPatch
) -> None:
    pets = write(tmp_path / "pets", {f"cat/{n}.png": png(n) for n in range(3)})
    first = staged(open_place(pets), originals)
    write(pets, {"cat/3.png": b"\x89PNG\r\n\x1a\nbroken"})
    monkeypatch.setattr(
        "curation_app.intake.staging.decode", lambda data, **_: pytest.fail("decoded")
    )
    for seed in range(3):
        (pets / "cat" / f"{seed}.png").rename(pets / "cat" / f"again-{seed}.png")
    (pets / "cat" / "3.png").unlink()
    again = staged(open_place(pets), originals)
    assert {one.sha256 for one in again.values()} == {one.sha256 for one in first.values()}


def test_a_look_sees_each_picture_once_and_may_refuse_it(
    tmp_path: Path, originals: Originals
) -> None:
    pets = write(tmp_path / "pets", {"cat/small.png": png(1, 8), "cat/large.png": png(2, 64)})

    def look(data: bytes, image_hwc: Any) -> tuple[int, int]:
        if len(image_hwc) < 16:
            raise UnreadableError("too small to see anything on it")
        return len(image_hwc), len(image_hwc[0])

    found = staged(open_place(pets), originals, look=look)
    assert found["cat/large.png"].look == (64, 64)
    assert refusals(found) == {"cat/small.png": "too small to see anything on it"}
    assert len(files_below(originals.folder)) == 1


_ON_A_SMALL_DISK = """
    import sys
    from pathlib import Path
    from core.errors import UserError
    from curation_app.intake.originals import Originals
    from curation_app.intake.places import open_place
    from curation_app.intake.staging import stage
    names = []
    try:
        for one in stage(open_place(Path(sys.argv[1])), Originals(Path(sys.argv[2]))):
            names.append(one.name)
    except UserError as error:
        print(error)
    print(len(names))
"""


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path, originals: Originals) -> None:
    pets = write(tmp_path / "pets", {f"cat/{n:02}.png": png(n, 128) for n in range(30)})
    disk = tmp_path / "disk"
    disk.mkdir()
    script = tmp_path / "stage.py"
    script.write_text(textwrap.dedent(_ON_A_SMALL_DISK))
    inside = f"mount -t tmpfs -o size=600k none {disk} && {sys.executable} {script} {pets} {disk}"
    inside += f" && ls -A {disk}/* && cp -r {disk}/. {originals.folder}"
    originals.folder.mkdir(parents=True)
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", inside]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    except FileNotFoundError:
        missing("unshare is not installed")
    if "unshare" in done.stderr or "mount" in done.stderr:
        missing(f"no small disk can be mounted here: {done.stderr}")
    message, count, *names = done.stdout.splitlines()
    kept = [name for name in names if name.endswith(".png")]
    assert message == (
        f"pets: the disk is full; the {count} pictures so far are kept: "
        "mend that and start the import again"
    )
    assert 3 < len(kept) < 30
    assert int(count) <= len(kept)
    assert not [name for name in names if name.endswith(".tmp")]
    for name in kept:
        originals.read(Path(name).stem)
    assert len(staged(open_place(pets), originals)) == 30
    assert len(files_below(originals.folder)) == 30


def test_limits_are_kept_and_each_says_its_number(tmp_path: Path, originals: Originals) -> None:
    pets = write(tmp_path / "pets", {f"cat/{n}.png": png(n, 32) for n in range(4)})
    length = len(png(0, 32))
    few = staged(open_place(pets), originals, limits=Limits(max_total_bytes=2 * length + 100))
    assert [one.reason is None for one in few.values()] == [True, True, False, False]
    assert "the import's limit of" in refusals(few)["cat/3.png"]
    small = staged(open_place(pets), originals, limits=Limits(max_bytes=1000))
    assert set(refusals(small).values()) == {"the file is larger than 0.000953674 MiB"}
    with pytest.raises(UserError, match="pets holds 4 pictures, above the 3"):
        list(stage(open_place(pets), originals, Manner(limits=Limits(max_pictures=3))))


def test_originals_are_found_by_digest_alone_and_checked_when_read(originals: Originals) -> None:
    digest = digest_bytes(png())
    originals.keep(png(), digest)
    for odd in ("../" + digest, digest.upper(), digest[:-1], digest + "\n", "", "*"):
        assert originals.find(odd) is None
        with pytest.raises(UnreadableError, match="missing"):
            originals.read(odd)
    path = originals.find(digest)
    assert path is not None
    path.write_bytes(b"other")
    with pytest.raises(UnreadableError, match="altered"):
        originals.read(digest)


def test_originals_that_nobody_wants_are_swept_after_a_while(originals: Originals) -> None:
    digests = [digest_bytes(png(seed)) for seed in range(3)]
    for seed, digest in enumerate(digests):
        originals.keep(png(seed), digest)
    torn = originals.folder / digests[0][:2] / f".{digests[0]}.png.abc.tmp"
    torn.write_bytes(b"half")
    (originals.folder / "notes.txt").write_text("not ours")
    assert originals.sweep(set(digests[:1])) == 0
    for path in originals.folder.rglob("*"):
        os.utime(path, (0, 0))
    originals.keep(png(2), digests[2])  # just staged again
    assert originals.sweep(set(digests[:1])) == 2
    assert originals.find(digests[0])
    assert not originals.find(digests[1])
    assert originals.find(digests[2])
    assert not torn.exists()
    assert (originals.folder / "notes.txt").exists()
