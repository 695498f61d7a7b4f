"""The code that a queued job runs: a copy made at submission, so that later edits change nothing.

Copies are named by what is in them, so that a night's hundred launches share one.
"""

import dataclasses
import hashlib
import importlib.util
import subprocess
from pathlib import Path

from core.errors import UserError
from core.files import atomic_folder

PACKAGES = ("core", "exporters", "curation_app", "jobs")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A frozen copy of the packages."""

    folder: Path
    """Goes first on PYTHONPATH."""
    digest: str
    """SHA-256 over names and contents."""
    commit: str | None
    """Of the working tree; None outside git."""
    dirty: str
    """What the working tree had beyond the commit, as a patch; "" when it was clean."""


def take_snapshot(root: Path) -> Snapshot:
    """Copy the packages that this process runs into `root`, unless the same copy is there."""
    files = _files()
    sha256 = hashlib.sha256()
    for name, data in files.items():
        sha256.update(f"{name}\0{len(data)}\0".encode() + data)
    digest = sha256.hexdigest()
    folder = root / digest[:16]
    if not folder.exists():
        try:
            _write(folder, files)
        except (UserError, OSError):
            if not folder.exists():  # else another launch has just made it
                raise
    commit, dirty = _git_state()
    return Snapshot(folder=folder, digest=digest, commit=commit, dirty=dirty)


def _files() -> dict[str, bytes]:
    """Contents of the packages' files by name, sorted."""
    found = {}
    for package in PACKAGES:
        base = _folder_of(package)
        for path in sorted(base.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                found[f"{package}/{path.relative_to(base).as_posix()}"] = path.read_bytes()
    return dict(sorted(found.items()))


def _folder_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"the package {package!r} cannot be found: install menagerie again")
    return Path(spec.submodule_search_locations[0])


def _write(folder: Path, files: dict[str, bytes]) -> None:
    with atomic_folder(folder) as temporary:
        for name, data in files.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def _git_state() -> tuple[str | None, str]:
    """Commit and uncommitted changes (new files of the packages too) of the working tree."""
    root = _folder_of("jobs").parent
    commit = _git(root, "rev-parse", "HEAD")
    if not commit:
        return None, ""
    changed = _git(root, "diff", "HEAD", "--binary", "--", *PACKAGES)
    new = _git(root, "ls-files", "--others", "--exclude-standard", "--", *PACKAGES)
    return commit.strip(), changed + "".join(f"# new file: {name}\n" for name in new.splitlines())


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, timeout=30, check=False
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""
