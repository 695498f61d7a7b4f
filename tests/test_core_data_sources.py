import dataclasses
import io
import json
import math
import os
import stat
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from core.data.decode import UnreadableError, decode
from core.data.prepare import PrepareConfig, open_source
from core.data.sources import Entry, FolderSource, Listing, Source, ZipSource
from core.data.tables import ParquetSource, open_contained
from core.errors import UserError


def png(seed: int = 0, size: int = 16) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))


def labels(listing: Listing) -> dict[str, str]:
    return {entry.name: entry.label for entry in listing.entries}


def read_all(source: Source) -> dict[str, str]:
    """Name to reason, for entries that cannot be read after all."""
    reasons = {}
    for entry in source.listing().entries:
        try:
            data = source.read(entry)
            assert isinstance(data, bytes)
            decode(data)
        except UnreadableError as error:
            reasons[entry.name] = str(error)
    return reasons


def test_a_folder_of_class_folders_is_listed_in_order_without_side_files(tmp_path: Path) -> None:
    write(tmp_path, "dog/b.png", "dog/deep/a.PNG", "cat/x", ".cache/z.png", "cat/.hidden.png")
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    (tmp_path / "manifest.csv").write_text("a,b")
    write(tmp_path, "stray.png")
    listing = FolderSource(tmp_path).listing()
    assert labels(listing) == {"cat/x": "cat", "dog/b.png": "dog", "dog/deep/a.PNG": "dog"}
    assert listing.rejected == {"stray.png": "outside any class folder"}
    assert listing.ignored == 3


def test_split_folders_above_class_folders_state_the_split(tmp_path: Path) -> None:
    write(tmp_path, "train/cat/1.png", "val/cat/2.png", "test/dog/3.png")
    listing = FolderSource(tmp_path).listing()
    assert [(e.label, e.split) for e in listing.entries] == [
        ("dog", "test"),
        ("cat", "train"),
        ("cat", "validation"),
    ]


def test_metadata_decides_labels_splits_and_licences(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "dog/b.png", "c.png", "unnamed.png")
    rows = [
        {"file_name": "a.png", "label": "cat", "split": "val", "licence": "MIT", "source": "me"},
        {"file_name": "dog/b.png"},
        {"file_name": "c.png"},
        {"file_name": "gone.png", "label": "cat"},
        {"file_name": "../outside.png", "label": "cat"},
    ]
    text = "\n".join(map(json.dumps, rows)) + "\n{broken\n"
    (tmp_path / "metadata.jsonl").write_text(text)
    listing = FolderSource(tmp_path).listing()
    assert labels(listing) == {"a.png": "cat", "dog/b.png": "dog"}
    first = listing.entries[0]
    assert (first.split, first.licence, first.source) == ("validation", "MIT", "me")
    assert set(listing.rejected) == {"c.png", "gone.png", "../outside.png", "metadata.jsonl:6"}
    assert listing.ignored == 1


def test_a_folder_without_classes_says_what_is_expected(tmp_path: Path) -> None:
    write(tmp_path, "1.png")
    with pytest.raises(UserError, match="one folder per class"):
        FolderSource(tmp_path).listing()


def test_a_folder_never_leads_outside_and_never_hangs(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(tmp_path, "secret.png", "root/cat/good.png", "elsewhere/x.png")
    cat = root / "cat"
    (cat / "out.png").symlink_to(tmp_path / "secret.png")
    (cat / "dangling.png").symlink_to(tmp_path / "nothing.png")
    (cat / "loop.png").symlink_to(cat / "loop.png")
    (cat / "inside.png").symlink_to(cat / "good.png")
    (cat / "linked").symlink_to(tmp_path / "elsewhere")
    (cat / "folder.jpg").mkdir()
    os.mkfifo(cat / "pipe.png")
    (cat / "locked.png").write_bytes(png())
    (cat / "locked.png").chmod(0)
    source = FolderSource(root)
    reasons = source.listing().rejected | read_all(source)
    locked = reasons.pop("cat/locked.png", None)
    assert locked == (None if os.geteuid() == 0 else "no permission to read it")
    assert set(reasons) == {
        f"cat/{name}"
        for name in ("out.png", "dangling.png", "loop.png", "linked", "folder.jpg", "pipe.png")
    }
    assert "out of the source" in reasons["cat/out.png"]
    assert "not a regular file" in reasons["cat/pipe.png"]


@pytest.mark.parametrize(
    "name", ["new\nline.png", "quote'\".png", "🐱 ß.png", "-rf.png", "$(x).png"]
)
def test_awkward_names_are_read_as_they_are(tmp_path: Path, name: str) -> None:
    write(tmp_path, f"cat/{name}")
    source = FolderSource(tmp_path)
    assert labels(source.listing()) == {f"cat/{name}": "cat"}
    assert read_all(source) == {}


def test_a_name_that_is_not_utf8_is_spelled_out(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    path = os.fsencode(tmp_path / "cat") + b"/caf\xe9.png"
    with open(path, "wb") as file:
        file.write(png())
    source = FolderSource(tmp_path)
    (entry,) = source.listing().entries
    assert entry.name == "cat/caf\\xe9.png"
    assert source.read(entry) == png()


def make_zip(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def test_a_zip_is_read_like_a_folder_with_or_without_a_wrapping_folder(tmp_path: Path) -> None:
    inside = {"cat/1.png": png(1), "dog/2.png": png(2)}
    make_zip(tmp_path / "plain.zip", inside)
    wrapped = {f"animals/{name}": data for name, data in inside.items()}
    make_zip(tmp_path / "wrapped.zip", wrapped | {"__MACOSX/animals/._1.png": b"x"})
    row = json.dumps({"file_name": "1.png", "label": "cat"})
    make_zip(tmp_path / "rows.zip", {"x/1.png": png(1), "x/metadata.jsonl": row.encode()})
    expected = {"cat/1.png": "cat", "dog/2.png": "dog"}
    assert labels(ZipSource(tmp_path / "plain.zip").listing()) == expected
    assert labels(ZipSource(tmp_path / "wrapped.zip").listing()) == expected
    assert labels(ZipSource(tmp_path / "rows.zip").listing()) == {"1.png": "cat"}
    assert read_all(ZipSource(tmp_path / "wrapped.zip")) == {}


def test_a_hostile_zip_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "hostile.zip"
    files = {
        "cat/good.png": png(),
        "../../slip.png": png(),
        "/etc/absolute.png": png(),
        "cat/bomb.png": bytes(50 * 2**20),
        "cat/cut.png": png(1),
    }
    make_zip(path, files)
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("cat/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    data = bytearray(path.read_bytes())
    at = data.index(b"IDAT", data.index(b"cat/cut.png"))
    data[at + 20] ^= 0xFF
    path.write_bytes(data)
    source = ZipSource(path)
    reasons = source.listing().rejected | read_all(source)
    assert set(reasons) == {*files, "cat/link.png"} - {"cat/good.png"}
    assert "bomb" in reasons["cat/bomb.png"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hostile.zip"]


def test_an_encrypted_entry_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    make_zip(path, {"cat/a.png": png(), "cat/b.png": png()})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    listing = ZipSource(path).listing()
    assert listing.rejected == {"cat/a.png": "encrypted"}
    assert labels(listing) == {"cat/b.png": "cat"}


def test_an_archive_inside_a_zip_is_not_opened(tmp_path: Path) -> None:
    make_zip(tmp_path / "inner.zip", {"cat/1.png": png()})
    inner = (tmp_path / "inner.zip").read_bytes()
    make_zip(tmp_path / "x.zip", {"cat/1.png": png(), "cat/more.ZIP": inner})
    listing = ZipSource(tmp_path / "x.zip").listing()
    assert labels(listing) == {"cat/1.png": "cat"}
    assert "archive inside the archive" in listing.rejected["cat/more.ZIP"]


def test_a_zip_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    source = ZipSource(tmp_path / "x.zip")
    make_zip(source.path, {"cat/1.png": png(1)})
    assert labels(source.listing()) == {"cat/1.png": "cat"}
    make_zip(source.path, {"dog/2.png": png(2), "dog/3.png": png(3)})
    assert labels(source.listing()) == {"dog/2.png": "dog", "dog/3.png": "dog"}
    assert read_all(source) == {}


def test_pictures_that_state_no_class_get_the_one_that_is_given(tmp_path: Path) -> None:
    write(tmp_path / "flat", "1.png", "cat/2.png")
    make_zip(tmp_path / "flat.zip", {"1.png": png(1), "2.png": png(2)})
    write_parquet(tmp_path / "x.parquet")
    columns = {"image_column": "image", "label_column": "nowhere"}
    assert labels(FolderSource(tmp_path / "flat", default_label="new").listing()) == {
        "1.png": "new",
        "cat/2.png": "cat",
    }
    zipped = ZipSource(tmp_path / "flat.zip", default_label="new")
    assert labels(zipped.listing()) == {"1.png": "new", "2.png": "new"}
    assert zipped.member_name(zipped.listing().entries[1]) == "2.png"
    table = ParquetSource(tmp_path / "x.parquet", **columns, default_label="new")
    assert set(labels(table.listing()).values()) == {"new"}
    pq.write_table(pa.table({"image": [png(1), png(2)]}), tmp_path / "bare.parquet")
    bare = ParquetSource(tmp_path / "bare.parquet", **columns, default_label="new")
    assert len(bare.listing().entries) == 2


def test_tags_and_unknown_columns_come_along(tmp_path: Path) -> None:
    write(tmp_path / "pets", "a.png", "b.png")
    rows = [
        {"file_name": "a.png", "label": "cat", "tags": ["extra ear"], "camera": "box"},
        {"file_name": "b.png", "label": "cat"},
    ]
    (tmp_path / "pets" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first, second = FolderSource(tmp_path / "pets").listing().entries
    assert (first.tags, first.extra) == (("extra ear",), {"camera": "box"})
    assert (second.tags, second.extra) == ((), None)
    table = {"image": [png(1)], "label": ["cat"], "tags": [["blurry", "dark"]]}
    pq.write_table(pa.table(table), tmp_path / "x.parquet")
    (entry,) = ParquetSource(tmp_path / "x.parquet", "image", "label").listing().entries
    assert entry.tags == ("blurry", "dark")


def test_what_is_no_zip_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"no zip")
    with pytest.raises(UserError, match="cannot be opened as a zip"):
        ZipSource(tmp_path / "x.zip").listing()


FEATURES = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}


def write_parquet(path: Path, *, group_rows: int = 2) -> None:
    images: list[dict[str, object] | None] = [
        {"bytes": png(1), "path": "a.png"},
        {"bytes": b"broken", "path": "b.png"},
        None,
        {"bytes": png(2), "path": None},
        {"bytes": png(3), "path": None},
    ]
    table = pa.table(
        {
            "image": images,
            "label": [0, 1, 0, 1, None],
            "licence": ["MIT", None, "", "X", "X"],
            "score": [1.5, math.nan, None, 2.0, 0.0],
        }
    )
    info = json.dumps({"info": {"features": FEATURES}})
    table = table.replace_schema_metadata({"huggingface": info})
    pq.write_table(table, path, row_group_size=group_rows)


def test_parquet_rows_get_class_names_and_bad_rows_get_reasons(tmp_path: Path) -> None:
    path = tmp_path / "train-00000-of-00001.parquet"
    write_parquet(path)
    source = open_source(PrepareConfig(source=str(path)))
    listing = source.listing()
    name = path.name
    assert labels(listing) == {
        f"{name}#0000-000000": "cat",
        f"{name}#0000-000001": "dog",
        f"{name}#0001-000000": "cat",
        f"{name}#0001-000001": "dog",
    }
    assert {entry.split for entry in listing.entries} == {"train"}
    assert listing.entries[0].licence == "MIT"
    assert [entry.score for entry in listing.entries] == [1.5, None, None, 2.0]
    assert listing.rejected == {f"{name}#0002-000000": "it has no label"}
    assert set(read_all(source)) == {f"{name}#0000-000001", f"{name}#0001-000000"}


def test_a_damaged_shard_or_row_group_leaves_the_others_readable(tmp_path: Path) -> None:
    for shard in ("a", "b", "c"):
        write_parquet(tmp_path / f"{shard}.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 broken PAR1")
    data = bytearray((tmp_path / "c.parquet").read_bytes())
    data[4:40] = bytes(36)  # the first row group's first page
    (tmp_path / "c.parquet").write_bytes(data)
    source = open_source(PrepareConfig(source=str(tmp_path)))
    listing = source.listing()
    assert "b.parquet" in listing.rejected
    reasons = read_all(source)
    assert "row group" in reasons["c.parquet#0000-000000"]
    assert "a.parquet#0000-000000" not in reasons
    assert "c.parquet#0001-000001" not in reasons


def test_a_missing_column_lists_what_there_is(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x.parquet")
    config = PrepareConfig(source=str(tmp_path / "x.parquet"), image_column="img")
    with pytest.raises(UserError, match="has no column 'img'; it has image, label, licence"):
        open_source(config).listing()


def test_a_hugging_face_data_set_is_read_by_the_real_loader(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    write(tmp_path / "pictures", "train/cat/1.png", "train/dog/2.png", "test/cat/3.png")
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "pictures"), cache_dir=str(tmp_path / "cache")
    )
    loaded.save_to_disk(str(tmp_path / "saved"))
    source = open_source(PrepareConfig(source=str(tmp_path / "saved")))
    assert [(e.name, e.label, e.split) for e in source.listing().entries] == [
        ("test/0000000", "cat", "test"),
        ("train/0000000", "cat", "train"),
        ("train/0000001", "dog", "train"),
    ]
    assert read_all(source) == {}


def test_a_contained_data_set_reads_no_file_but_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    write(tmp_path, "secret/private.png", "own/train/cat/1.png", "own/train/dog/2.png")
    columns = {"image_column": "image", "label_column": "label"}
    rows = {"image": [str(tmp_path / "secret" / "private.png")], "label": ["cat"]}
    features = datasets.Features(image=datasets.Image(decode=False), label=datasets.Value("string"))
    made = datasets.Dataset.from_dict(rows, features=features)
    made.save_to_disk(str(tmp_path / "saved"))
    # What save_to_disk puts inside, a stranger would leave outside.
    saved = open_contained(str(tmp_path / "saved"), **columns)
    assert read_all(saved) == {}
    loose = dataclasses.replace(saved, parts={"train": made})
    assert "outside of the data set" in read_all(loose)["train/0000000"]

    own = open_contained(str(tmp_path / "own"), **columns)
    assert read_all(own) == {}
    card = "---\nconfigs:\n- config_name: default\n  data_files: {}\n---\n"
    (tmp_path / "own" / "README.md").write_text(card.format(tmp_path / "secret" / "*.png"))
    with pytest.raises(UserError, match="names files outside of itself"):
        open_contained(str(tmp_path / "own"), **columns)


@pytest.mark.parametrize("name", ["nowhere", "./a/b/c", "pictures.tar"])
def test_an_unknown_source_lists_what_would_be_valid(tmp_path: Path, name: str) -> None:
    (tmp_path / "pictures.tar").write_bytes(b"x")
    text = str(tmp_path / name) if name.endswith(".tar") else name
    with pytest.raises(UserError, match=r"zip"):
        open_source(PrepareConfig(source=text))


def test_starter_animals_have_stable_names() -> None:
    source = open_source(PrepareConfig(per_class=2, seed=5, size_px=32))
    entries = source.listing().entries
    assert len(entries) == 16
    assert entries[0] == Entry(
        name="bird/bird_000005.png",
        label="bird",
        locator=5,
        licence="MIT",
        source="menagerie-starter",
    )
    assert np.asarray(source.read(entries[0])).shape == (64, 64, 4)
