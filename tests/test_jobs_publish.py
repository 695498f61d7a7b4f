"""Publishing: verified copies, one switch, nothing for readers to stumble over."""

import datetime
import json
import os
import shutil
import threading
import time
import zipfile
from pathlib import Path

import pytest

from exporters.build import build_pack
from exporters.config import ExportConfig
from exporters.pack import verify_pack
from jobs import publish
from tests.samplesets import animal, write_sample_set


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two packs, one of them with an awkward name."""
    folder = tmp_path_factory.mktemp("packs")
    samples = write_sample_set(folder / "set", [[animal("cat", 1), animal("fish", 2)]])
    for name, label in (("All & <sundry>", ""), ("cats", "cat")):
        config = ExportConfig(
            samples=samples.folder, name=name, labels=(label,) if label else (), size_px=64,
            small_px=64, min_psnr_db=5, min_alpha_iou=0.1,
        )  # fmt: skip
        build_pack(config, folder / name)
    return folder


@pytest.fixture
def packs(made: Path, tmp_path: Path) -> Path:
    """Copies of the packs, to be spoilt."""
    shutil.copytree(made, tmp_path / "packs")
    return tmp_path / "packs"


def run(packs: Path, night: str, *flags: str, names: tuple[str, ...] = ("cats",)) -> int:
    where = ("--folder", str(packs.parent / "public"), "--night", night)
    return publish.main(["--packs", *(str(packs / name) for name in names), *where, *flags])


def current(packs: Path) -> str:
    return os.readlink(packs.parent / "public/current")


def nights(packs: Path) -> list[str]:
    return sorted(path.name for path in (packs.parent / "public/nights").iterdir())


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_readers_get_verified_packs_and_a_page_over_them(packs: Path) -> None:
    assert run(packs, "2026-11-21", names=("All & <sundry>", "cats")) == 0
    public = packs.parent / "public/current"
    for name in ("All & <sundry>", "cats"):
        assert verify_pack(public / name) == []
        assert verify_pack(public / f"{name}.zip") == []
    page = (public / "index.html").read_text()
    assert "All &amp; &lt;sundry&gt;" in page
    assert 'href="All%20%26%20%3Csundry%3E/index.html"' in page
    facts = json.loads((public / "published.json").read_text())
    assert [pack["by_class"] for pack in facts["packs"]] == [{"cat": 1, "fish": 1}, {"cat": 1}]


def test_publishing_again_does_nothing(packs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(packs, "2026-11-21") == 0
    before = {p: p.lstat().st_mtime_ns for p in (packs.parent / "public/nights").rglob("*")}
    link = (packs.parent / "public/current").lstat().st_mtime_ns
    assert run(packs, "2026-11-21") == 0
    after = {p: p.lstat().st_mtime_ns for p in (packs.parent / "public/nights").rglob("*")}
    assert after == before
    assert (packs.parent / "public/current").lstat().st_mtime_ns == link


def test_a_night_is_published_once(packs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(packs, "2026-11-21") == 0
    capsys.readouterr()
    assert run(packs, "2026-11-21", names=("cats", "All & <sundry>")) == 2
    assert "is published already with other contents" in complaint(capsys)
    assert nights(packs)[-1] == "2026-11-21"
    facts = json.loads((packs.parent / "public/current/published.json").read_text())
    assert [pack["name"] for pack in facts["packs"]] == ["cats"]


@pytest.mark.parametrize("spoil", ["altered", "zip", "no zip", "link", "no pack"])
def test_a_damaged_pack_changes_nothing_for_readers(
    packs: Path, capsys: pytest.CaptureFixture[str], spoil: str
) -> None:
    assert run(packs, "2026-11-20") == 0
    capsys.readouterr()
    if spoil == "altered":
        next((packs / "cats/svg").iterdir()).write_text("<svg/>")
    elif spoil == "zip":
        with zipfile.ZipFile(packs / "cats.zip", "a") as archive:
            archive.writestr("more.txt", "more")
    elif spoil == "no zip":
        (packs / "cats.zip").unlink()
    elif spoil == "link":
        (packs / "cats/more").symlink_to("/etc/hostname")
    else:
        (packs / "cats/SHA256SUMS").unlink()
    assert run(packs, "2026-11-21") == 2
    assert str(packs / "cats") in complaint(capsys)
    assert current(packs) == "nights/2026-11-20"
    assert [name for name in nights(packs) if name != ".lock"] == ["2026-11-20"]


def test_a_late_night_does_not_take_readers_back(packs: Path) -> None:
    assert run(packs, "2026-11-21") == 0
    assert run(packs, "2026-11-20") == 0
    assert current(packs) == "nights/2026-11-21"
    assert run(packs, "2026-11-22") == 0
    assert current(packs) == "nights/2026-11-22"


def test_old_nights_go_but_never_the_current_one(packs: Path) -> None:
    for night in ("2026-11-18", "2026-11-19", "2026-11-20"):
        assert run(packs, night, "--keep-nights", "2") == 0
    (packs.parent / "public/nights/2026-11-01").mkdir()  # somebody else's
    link = packs.parent / "public/current"
    link.unlink()
    link.symlink_to("nights/2026-11-19")  # taken back by hand
    assert run(packs, "2026-11-17", "--keep-nights", "1") == 0
    left = [name for name in nights(packs) if name != ".lock"]
    assert left == ["2026-11-01", "2026-11-19", "2026-11-20"]
    assert current(packs) == "nights/2026-11-19"


def test_what_a_killed_process_left_is_swept(packs: Path) -> None:
    folder = packs.parent / "public/nights"
    for name in (".2026-11-20.abc.tmp", ".removed-2026-10-01"):
        (folder / name / "cats").mkdir(parents=True)
    shutil.copytree(packs, folder / ".2026-11-21.x.tmp" / "packs")
    assert run(packs, "2026-11-21") == 0
    assert [name for name in nights(packs) if name != ".lock"] == ["2026-11-21"]


def test_a_folder_in_the_links_place_is_refused(
    packs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (packs.parent / "public/current").mkdir(parents=True)
    assert run(packs, "2026-11-21") == 2
    assert "is there and no link: move it away" in complaint(capsys)


def test_a_reader_never_sees_a_mixture(packs: Path) -> None:
    assert run(packs, "2026-11-01") == 0
    public, wrong, looks, over = packs.parent / "public", list[str](), 0, threading.Event()

    def read() -> None:
        nonlocal looks
        while not over.is_set():
            try:
                night = (public / "current").resolve(strict=True)
                facts = json.loads((public / "current/published.json").read_text())
                if not (night / "cats.zip").exists() or facts["format"] != publish.FORMAT:
                    wrong.append(str(night))
            except OSError as error:
                wrong.append(str(error))
            looks += 1

    reader = threading.Thread(target=read)
    reader.start()
    night, tenth = datetime.date(2026, 11, 1), datetime.date(2026, 11, 11)
    deadline = time.monotonic() + 60
    try:
        while night < tenth or (looks <= 10 and time.monotonic() < deadline):
            night += datetime.timedelta(days=1)
            assert run(packs, str(night)) == 0
    finally:
        over.set()
        reader.join()
    assert wrong == []
    assert looks > 10
