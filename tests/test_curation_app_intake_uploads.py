"""Uploads and lists of URLs, told as a browser and a curator would send them."""

import io
import ipaddress
import json
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from core.files import digest_bytes
from curation_app.intake.candidates import Candidate, Limits
from curation_app.intake.fetch import Fetched, FetchError, Rules
from curation_app.intake.links import (
    LinkList,
    LinkOrigin,
    forget_downloads,
    parse_links,
    read_links,
)
from curation_app.intake.originals import Originals
from curation_app.intake.origins import Origin
from curation_app.intake.staging import stage
from curation_app.intake.uploads import Upload, UploadOrigin, discard_old, receive
from tests.test_curation_app_intake_fetch import says, serving


def png(seed: int = 0, side: int = 16) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.fixture
def originals(tmp_path: Path) -> Originals:
    return Originals(tmp_path / "app" / "originals")


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    return tmp_path / "app" / "incoming"


def sent(incoming: Path, files: list[tuple[str, bytes]], **more: Any) -> UploadOrigin:
    uploads = (Upload(name, io.BytesIO(data)) for name, data in files)
    return receive(uploads, incoming, **more)


def staged(origin: Origin, originals: Originals) -> dict[str, Candidate]:
    return {one.name: one for one in stage(origin, originals)}


def summary(found: dict[str, Candidate]) -> dict[str, str]:
    return {name: one.reason or one.label for name, one in found.items()}


def test_pictures_and_a_zip_are_dropped_together(incoming: Path, originals: Originals) -> None:
    files = [
        ("tom.png", png(1)),
        ("tom.png", png(2)),
        ("photo", png(3)),
        ("photo.dat", png(4)),
        ("pets.bin", zipped({"cat/1.png": png(5), "dog/2.png": png(1)})),
        ("notes.txt", b"hello"),
        ("broken.zip", b"PK\x03\x04 no zip"),
        ("drawing.svg", b"<svg onload='alert(1)'/>"),
    ]
    origin = sent(incoming, files, default_label="cat", who="ada")
    found = staged(origin, originals)
    assert summary(found) == {
        "tom.png": "cat",
        "tom (1).png": "cat",
        "photo.png": "cat",
        "photo.dat.png": "cat",
        "pets.bin/cat/1.png": "cat",
        "pets.bin/dog/2.png": "dog",
        "notes.txt": "neither a picture nor a zip",
        "broken.zip": "broken.zip cannot be opened as a zip: File is not a zip file",
        "drawing.svg": "an SVG drawing, not pixels: render it to PNG first",
    }
    assert found["tom.png"].sha256 == found["pets.bin/dog/2.png"].sha256
    assert found["tom.png"].source == "upload ada: tom.png"
    provenance = found["pets.bin/dog/2.png"].provenance
    assert (provenance["archive"], provenance["member"], provenance["by"]) == (
        *("pets.bin", "dog/2.png", "ada"),
    )
    # On the way nothing bore a name that a stranger chose.
    assert all(path.name.isdigit() for path in origin.folder.iterdir())
    origin.discard()
    assert list(incoming.iterdir()) == []
    assert originals.read(found["tom.png"].sha256) == png(1)


def test_a_dropped_folder_gives_classes_and_its_metadata_is_heard(
    incoming: Path, originals: Originals
) -> None:
    files = [("pets/cat/1.png", png(1)), ("pets/dog/2.png", png(2)), ("pets/.DS_Store", b"x")]
    found = staged(sent(incoming, files), originals)
    assert summary(found) == {"cat/1.png": "cat", "dog/2.png": "dog"}
    row = json.dumps({"file_name": "a.png", "label": "fox", "licence": "MIT"})
    files = [("foxes/a.png", png(3)), ("foxes/metadata.jsonl", row.encode())]
    found = staged(sent(incoming, files), originals)
    assert (found["a.png"].label, found["a.png"].licence) == ("fox", "MIT")
    one = [("cat/only.png", png(4))]
    assert summary(staged(sent(incoming, one), originals)) == {"cat/only.png": "cat"}


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("../../slip.png", "the name leads out of the folder"),
        ("/etc/cron.d/x.png", "the name is absolute or a Windows path"),
        ("C:\\Users\\ada\\tom.png", "tom.png"),
        ("a\0b\n.png", "a b .png"),
        ("<img src=x onerror=alert(1)>.png", "<img src=x onerror=alert(1)>.png"),
        ("", "unnamed.png"),
        ("/", "the name is absolute or a Windows path"),
        ("long" * 200 + ".png", "…" + ("long" * 200 + ".png")[-199:]),
        ("..", "the name leads out of the folder"),
    ],
)
def test_no_name_of_an_upload_becomes_a_path(
    tmp_path: Path, incoming: Path, originals: Originals, name: str, outcome: str
) -> None:
    (one,) = staged(sent(incoming, [(name, png())]), originals).values()
    assert (one.reason or one.name) == outcome
    kept = [path for path in (tmp_path / "app").rglob("*") if path.is_file()]
    assert all(path.stem.isdigit() or path.stem == digest_bytes(png()) for path in kept)
    assert [path.name for path in tmp_path.iterdir()] == ["app"]


def test_uploads_keep_their_limits_and_too_much_leaves_nothing(
    incoming: Path, originals: Originals
) -> None:
    large = png(1, 64)
    limits = Limits(max_bytes=5000, max_total_bytes=12_000)
    found = staged(
        sent(incoming, [("large.png", large), ("ok.png", png())], limits=limits), originals
    )
    assert summary(found)["large.png"] == "the file is larger than 0.00476837 MiB"
    assert found["ok.png"].reason is None
    files = [(f"{n}.png", bytes(4000)) for n in range(4)]
    before = sorted(incoming.iterdir())
    with pytest.raises(UserError, match=r"the upload is larger than .* GiB: send it in parts"):
        sent(incoming, files, limits=limits)
    with pytest.raises(UserError, match=r"more than 10,000 files at once: send them as a zip"):
        sent(incoming, [("x.png", b"")] * 10_001)
    with pytest.raises(UserError, match=r"in the upload has more than 200,000 rows"):
        sent(incoming, [("a.png", png()), ("metadata.jsonl", b"{}\n" * 300_000)])
    assert sorted(incoming.iterdir()) == before


class BreaksOff(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > 100:
            raise ConnectionResetError(104, "Connection reset by peer")
        return super().read(min(size or 0, 101))


def test_an_upload_that_breaks_off_leaves_nothing(incoming: Path) -> None:
    uploads = [Upload("a.png", io.BytesIO(png())), Upload("b.png", BreaksOff(png(1, 64)))]
    with pytest.raises(UserError, match="not kept: connection reset by peer; send it again"):
        receive(uploads, incoming)
    assert list(incoming.iterdir()) == []


def test_uploads_that_nobody_staged_are_discarded_after_a_day(incoming: Path) -> None:
    origin = sent(incoming, [("a.png", png())])
    discard_old(incoming)
    assert origin.folder.is_dir()
    discard_old(incoming, older_than_s=-1)
    assert not origin.folder.exists()


def test_nothing_at_all_is_an_empty_import(incoming: Path, originals: Originals) -> None:
    assert staged(sent(incoming, []), originals) == {}


PLAIN = """\
# pictures of my cat

https://example.com/a.png
http://example.com/b.png?w=200,h=100 cat CC0-1.0
https://example.com/c.png\tred panda\tCC BY 4.0
https://example.com/a.png cat
ftp://example.com/d.png
javascript:alert(1)
HTTPS://example.com/e.png   dog
"""


def test_a_list_of_urls_is_a_url_a_line_with_class_and_licence() -> None:
    read = parse_links(PLAIN)
    assert [(link.url, link.label, link.licence) for link in read.links] == [
        ("https://example.com/a.png", "", ""),
        ("http://example.com/b.png?w=200,h=100", "cat", "CC0-1.0"),
        ("https://example.com/c.png", "red panda", "CC BY 4.0"),
        ("HTTPS://example.com/e.png", "dog", ""),
    ]
    assert read.rejected == {
        "line 6": "its URL is named twice: https://example.com/a.png",
        "line 7": "'ftp://example.com/d.png' is no http:// or https:// URL",
        "line 8": "'javascript:alert(1)' is no http:// or https:// URL",
    }


@pytest.mark.parametrize(
    "text",
    [
        'label,url,license,tags\ncat,"https://x.org/a,b.png",MIT,extra ear;blurry\n\n',
        '\ufeffURL;Class;Licence;Tags\r\nhttps://x.org/a,b.png;cat;MIT;"extra ear;blurry"\r\n',
        "id\tlink\tcategory\tlicense\ttags\n7\thttps://x.org/a,b.png\tcat\tMIT\textra ear;blurry",
    ],
)
def test_csv_with_a_header_may_have_its_columns_in_any_order(text: str) -> None:
    (link,) = parse_links(text).links
    assert (link.url, link.label, link.licence) == ("https://x.org/a,b.png", "cat", "MIT")
    assert link.tags == ("extra ear", "blurry")


def test_odd_lists_are_one_line_each(tmp_path: Path) -> None:
    assert len(parse_links("url\nhttps://x.org/a,b.png").links) == 1
    assert parse_links("url,label\nhttps://x.org/a.png").links[0].label == ""
    assert "line 2" in parse_links(f"https://x.org/a\nhttps://x.org/{'b' * 3000}").rejected
    for text in ("", "# nothing\n", "no urls at all", "url,label\n"):
        with pytest.raises(UserError, match="the list has no URL"):
            parse_links(text)
    with pytest.raises(UserError, match="not valid CSV at line 2"):
        parse_links('url,label\n"' + "x" * 200_000)
    with pytest.raises(UserError, match="more than 200,000 lines"):
        parse_links("x\n" * 300_000)
    (tmp_path / "list.txt").write_bytes(b"https://x.org/\xff.png")
    with pytest.raises(UserError, match=r"list\.txt cannot be read as UTF-8 text"):
        read_links(tmp_path / "list.txt")
    (tmp_path / "list.txt").write_text(PLAIN)
    assert len(read_links(tmp_path / "list.txt").links) == 4


def test_a_list_of_urls_is_downloaded_and_each_picture_knows_where_from(
    originals: Originals,
) -> None:
    answers = {f"/{n}.png": says(png(n)) for n in range(6)}
    answers |= {"/moved.png": says(status=301, Location="/1.png")}
    answers |= {"/page": says(b"<html>", "text/html"), "/gone.png": says(status=404)}
    with serving(answers) as server:
        rows = [f"{server.url(f'/{n}.png')}\tcat\tMIT" for n in range(6)]
        rows += [server.url(path) for path in ("/moved.png", "/page", "/gone.png")]
        rows += ["http://169.254.169.254/latest/meta-data/secret.png", "nonsense"]
        rules = Rules(
            ports=frozenset([80, server.server_port]),
            networks=(ipaddress.ip_network("127.0.0.0/8"),),
        )
        links = parse_links("\n".join(rows))
        found = staged(LinkOrigin(links=links, originals=originals, rules=rules), originals)
        assert list(summary(found).items()) == [
            ("line 11", "'nonsense' is no http:// or https:// URL"),
            *((f"{n}.png", "cat") for n in range(6)),
            ("moved.png", "unlabelled"),
            ("page", "the server calls it text/html, not a picture"),
            ("gone.png", "the server answered 404 Not Found"),
            ("secret.png", "169.254.169.254 is not on the public internet"),
        ]
        moved = found["moved.png"]
        assert moved.sha256 == found["1.png"].sha256
        assert (moved.source, moved.licence) == (server.url("/moved.png"), "")
        assert (
            moved.provenance.items()
            >= {
                "url": server.url("/moved.png"),
                "final_url": server.url("/1.png"),
                "kind": "url",
            }.items()
        )
        assert moved.provenance["at"]
        assert (found["2.png"].licence, found["2.png"].source) == ("MIT", server.url("/2.png"))
        assert found["page"].provenance["url"] == server.url("/page")


class Web:
    """In place of the network: counts what is asked, and how much at once."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.now: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self._lock = threading.Lock()

    def fetch(self, url: str, rules: Rules) -> Fetched:
        host = url.split("/")[2]
        with self._lock:
            self.asked.append(url)
            self.now[host] = self.now.get(host, 0) + 1
            self.most[host] = max(self.most.get(host, 0), self.now[host])
        time.sleep(0.005)
        with self._lock:
            self.now[host] -= 1
        number = int(url.rsplit("/", 1)[-1].split(".")[0])
        if number == 13:
            raise FetchError(url, "the server answered 500")
        at = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
        data = png(number, 8)
        return Fetched(data=data, url=url, final_url=url, media_type="image/png", at=at)


def list_of(count: int, hosts: int = 3) -> LinkList:
    return parse_links("\n".join(f"https://host{n % hosts}.org/{n}.png" for n in range(count)))


def test_an_interrupted_download_goes_on_where_it_was(tmp_path: Path, originals: Originals) -> None:
    web, memory = Web(), tmp_path / "app" / "downloads"

    def begin() -> Iterator[Candidate]:
        links = list_of(30)
        return stage(
            LinkOrigin(links=links, originals=originals, memory=memory, fetch=web.fetch), originals
        )

    some = begin()
    for _ in range(8):
        next(some)
    some.close()  # type: ignore[attr-defined]
    for thread in threading.enumerate():  # downloads on their way are ended, and kept
        if thread.name.startswith("download"):
            thread.join()
    (journal,) = memory.iterdir()
    with journal.open("ab") as file:
        file.write(b'{"url": "https://host0.org/2')  # the machine went down
    before = set(web.asked)
    assert 8 <= len(before) < 30
    found = list(begin())
    assert [one.reason for one in found if one.reason] == ["the server answered 500"]
    again = [url for url in set(web.asked) if web.asked.count(url) > 1]
    # What failed is asked again, and what was not yet kept; nothing else is.
    assert set(again) <= {"https://host1.org/13.png", *sorted(before)[-8:]} | before
    assert len(again) <= 8
    assert {one.name: one.sha256 for one in found if not one.reason} == {
        f"{n}.png": digest_bytes(png(n, 8)) for n in range(30) if n != 13
    }
    asked = len(web.asked)
    assert len([one for one in begin() if one.provenance["at"]]) == 30
    assert web.asked[asked:] == ["https://host1.org/13.png"]
    forget_downloads(memory)
    assert journal.exists()


def test_no_host_is_asked_for_more_than_two_pictures_at_once(originals: Originals) -> None:
    web = Web()
    origin = LinkOrigin(links=list_of(12, hosts=1), originals=originals, fetch=web.fetch)
    assert len(list(stage(origin, originals))) == 12
    assert web.most["host0.org"] <= 2


def test_what_was_downloaded_yesterday_is_downloaded_again(
    tmp_path: Path, originals: Originals
) -> None:
    web = Web()
    origin = LinkOrigin(
        links=list_of(2), originals=originals, memory=tmp_path / "m", fetch=web.fetch
    )
    list(stage(origin, originals))
    (journal,) = (tmp_path / "m").iterdir()
    text = journal.read_text()
    journal.write_text(text.replace(text.split('"at":"')[1][:10], "2001-01-01"))
    list(stage(origin, originals))
    assert len(web.asked) == 4
