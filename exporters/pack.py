"""A pack: a folder of files, its checksums, and a zip that has the same bytes every time.

svg/<label>_<seed>.svg   png/@1x/…  png/@2x/…  png/@4x/…   webp/…   atlas/…   stickers/…
pack.json  index.html  preview.png  LICENSE  AI-DISCLOSURE.md  SHA256SUMS
"""

import re
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from core.errors import UserError
from core.files import atomic_file, digest_bytes, digest_file

FORMAT = "menagerie-pack-1"
SUMS = "SHA256SUMS"
_UNREADABLE = (
    *(zipfile.BadZipFile, OSError, zlib.error, EOFError),
    *(RuntimeError, NotImplementedError, KeyError, ValueError),  # encrypted, odd names, cut short
)
"""What damaged zips raise."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def pack_files(folder: Path) -> list[str]:
    """Relative paths of a folder's files, sorted; UserError for what no pack holds."""
    names = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise UserError(f"{path} is a link: a pack holds plain files only")
        if path.is_file():
            names.append(path.relative_to(folder).as_posix())
    return sorted(names)


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS over every other file, in the form that `sha256sum -c` reads."""
    names = [name for name in pack_files(folder) if name != SUMS]
    lines = [f"{digest_file(folder / name)}  {name}\n" for name in names]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def zip_folder(folder: Path, path: Path) -> None:
    """Zip a pack's folder, atomically: the same files give the same bytes.

    Names are sorted, times and permissions fixed; PNG and WebP are stored, the rest is deflated.
    """
    with atomic_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name in pack_files(folder):
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            entry.create_system = 3  # Unix, wherever it is made
            entry.external_attr = 0o100644 << 16
            stored = name.endswith((".png", ".webp"))
            entry.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            archive.writestr(entry, (folder / name).read_bytes(), compresslevel=9)


def verify_pack(path: Path) -> list[str]:
    """What is wrong with a pack (a zip or its folder), one line each; empty when it is whole.

    Every file must be listed in SHA256SUMS with its digest, and every listed file be there.
    """
    if path.is_dir():
        found = {name: digest_file(path / name) for name in pack_files(path)}
        return _compare(found, (path / SUMS).read_bytes() if SUMS in found else None)
    if not path.exists():
        return [f"{path} does not exist"]
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            unsafe = [name for name in names if name.startswith("/") or ".." in name.split("/")]
            if unsafe or len(set(names)) != len(names):
                return [f"holds the unsafe or repeated name {unsafe[:1] or names}"]
            found = {name: digest_bytes(archive.read(name)) for name in names}
            return _compare(found, archive.read(SUMS) if SUMS in found else None)
    except _UNREADABLE as error:
        return [f"{path} is no readable zip: {error}"]


def unique_name(name: str, taken: set[str]) -> str:
    """A file stem that is safe on every system and not yet taken; it is added to `taken`.

    Names that differ only in case are one file on some systems.
    """
    stem = candidate = file_stem(name)
    number = 1
    while candidate.lower() in taken:
        number += 1
        candidate = f"{stem}-{number}"
    taken.add(candidate.lower())
    return candidate


def file_stem(name: str) -> str:
    """A name in letters, digits, `_` and `-`, at most 80; "sticker" when nothing is left of it."""
    return re.sub(r"[^\w-]+", "-", name, flags=re.ASCII).strip("-")[:80] or "sticker"


def _compare(found: dict[str, str], sums: bytes | None) -> list[str]:
    if sums is None:
        return [f"has no {SUMS}"]
    listed: dict[str, str] = {}
    for line in sums.decode("utf-8", errors="replace").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            return [f"{SUMS} has a line that is no checksum: {line[:80]!r}"]
        listed[match[2]] = match[1]
    return list(_differences(found, listed))


def _differences(found: dict[str, str], listed: dict[str, str]) -> Iterable[str]:
    for name in sorted(set(found) | set(listed)):
        if name == SUMS:
            continue
        if name not in found:
            yield f"{name} is missing"
        elif name not in listed:
            yield f"{name} is not in {SUMS}"
        elif found[name] != listed[name]:
            yield f"{name} was altered"
