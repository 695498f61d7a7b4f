"""Where the app keeps what is its own: previews, and originals that were brought in.

PICTURES/.curation.sqlite        the database, unless another one is named
PICTURES/.curation/previews/     made once, by digest
PICTURES/.curation/originals/    pictures that were imported or uploaded, by digest
"""

import dataclasses
import re
from pathlib import Path

from core.data.decode import UnreadableError
from core.data.sources import Entry, FolderSource
from core.files import digest_bytes, write_bytes
from curation_app.records import Collection, Picture

STORED = "stored"
"""The place of a picture whose bytes are among the app's originals."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workspace:
    """The app's own folder. Files in it are named by digests alone, never by a stranger's text."""

    folder: Path

    @property
    def previews(self) -> Path:
        """Folder of small previews."""
        return self.folder / "previews"

    @property
    def originals(self) -> Path:
        """Folder of pictures that were brought in."""
        return self.folder / "originals"

    def original(self, sha256: str) -> Path:
        """Where a picture that was brought in is kept."""
        if not _DIGEST.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is no digest")
        return self.originals / sha256[:2] / sha256

    def keep(self, data: bytes) -> str:
        """Keep a picture's bytes; equal bytes once. Returns their digest."""
        sha256 = digest_bytes(data)
        path = self.original(sha256)
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, data)
        return sha256

    def read(self, collection: Collection, picture: Picture) -> bytes:
        """A picture's bytes; UnreadableError unless they are those it was put on record with."""
        if picture.place == STORED:
            try:
                data = self.original(picture.sha256).read_bytes()
            except OSError as error:
                raise UnreadableError((error.strerror or "it cannot be read").lower()) from None
        else:
            root = Path(collection.root)
            entry = Entry(name=picture.name, label=picture.label, locator=str(root / picture.name))
            data = FolderSource(root).read(entry)
        if digest_bytes(data) != picture.sha256:
            raise UnreadableError("the file has changed since it was opened: open it again")
        return data
