"""Where the app keeps what is its own: previews, and originals that were brought in.

PICTURES/.curation.sqlite        the database, unless another one is named
PICTURES/.curation/previews/     made once, by digest
PICTURES/.curation/originals/    pictures that were imported or uploaded, by digest
PICTURES/.curation/imports/      what is being brought in, until somebody has decided about it
"""

import dataclasses
from pathlib import Path

from core.data.decode import UnreadableError
from core.data.sources import Entry, FolderSource
from core.files import digest_bytes
from curation_app.intake.originals import Originals
from curation_app.records import Collection, Picture

STORED = "stored"
"""The place of a picture whose bytes are among the app's originals."""
DATABASE, FOLDER = ".curation.sqlite", ".curation"
"""In the first collection that is named, unless told otherwise."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workspace:
    """The app's own folder. Files in it are named by digests alone, never by a stranger's text."""

    folder: Path

    @property
    def previews(self) -> Path:
        """Folder of small previews."""
        return self.folder / "previews"

    @property
    def originals(self) -> Originals:
        """Pictures that were brought in."""
        return Originals(self.folder / "originals")

    @property
    def imports(self) -> Path:
        """Folder of imports that wait for a decision."""
        return self.folder / "imports"

    def keep(self, data: bytes) -> str:
        """Keep a picture's bytes; equal bytes once. Returns their digest."""
        sha256 = digest_bytes(data)
        self.originals.keep(data, sha256)
        return sha256

    def read(self, collection: Collection, picture: Picture) -> bytes:
        """A picture's bytes; UnreadableError unless they are those it was put on record with."""
        if picture.place == STORED:
            return self.originals.read(picture.sha256)
        root = Path(collection.root)
        entry = Entry(name=picture.name, label=picture.label, locator=str(root / picture.name))
        data = FolderSource(root).read(entry)
        if digest_bytes(data) != picture.sha256:
            raise UnreadableError("the file has changed since it was opened: open it again")
        return data
