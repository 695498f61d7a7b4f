"""A folder of postcards, made card by card by any number of processes.

plan.json            what is to be made; written first
frog_000200/         a card: front and back (SVG, PNG at 300 dpi with bleed), card.pdf, call.wav,
                     card.html, which is whole by itself, and card.json
index.html           the set as a page
cards.pdf            all sides, front and back in turn
cards.json           what made each card, by digests; written last: the done-marker
"""

import functools
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.data.pinned import redistributable
from core.errors import UserError
from core.files import (
    atomic_folder,
    digest_bytes,
    digest_file,
    digest_of,
    read_json,
    write_bytes,
    write_json,
)
from core.parts import claim
from core.pretrained.calls.work import Call, open_calls
from core.pretrained.phrases.work import open_phrases
from core.progress import progress
from exporters.postcard.card import Voice, sides_of, voice_of, write_card
from exporters.postcard.config import PostcardsConfig
from exporters.postcard.pdf import pdf_bytes
from exporters.postcard.site import card_page, index_page
from exporters.postcard.source import Chosen, Source

FORMAT = "menagerie-postcards-1"
DONE = "cards.json"


class PostcardsWork:
    """Postcards to be made in a folder (`core.parts.Parts`); UserError when inputs are wrong."""

    def __init__(self, config: PostcardsConfig, folder: Path) -> None:
        self.config = config
        self.folder = folder
        self._source = Source(config)
        self.chosen = self._source.choose()
        self.left_out = self._source.left_out
        """How many pictures get no card, and why; "" when there are none."""
        self._calls = None if config.calls is None else open_calls(config.calls)
        self._phrases = None if config.phrases is None else open_phrases(config.phrases)
        _require_all(self.chosen, self._calls, config.calls, "calls")
        _require_all(self.chosen, self._phrases, config.phrases, "phrases")

    @functools.cached_property
    def inputs(self) -> dict[str, Any]:
        """All that the cards' bytes depend on, without folders of this machine."""
        return {
            "format": FORMAT,
            **self._source.inputs,
            "title": self.config.title,
            "noise_levels": self.config.noise_levels,
            "animals": [[one.label, one.seed, *self._heard(one)] for one in self.chosen],
        }

    @property
    def redistributable(self) -> bool | None:
        """Whether the pictures' licence allows passing cards on; None when nobody knows."""
        return redistributable(self._source.provenance["licence"].split(" AND "))

    @property
    def count(self) -> int:
        """Number of cards."""
        return len(self.chosen)

    def begin(self) -> None:
        """Claim the folder; UserError when it holds something else."""
        claim(self.folder, self.inputs, "cards")

    def missing(self) -> list[int]:
        """Cards that are not there."""
        return [part for part, one in enumerate(self.chosen) if not self._card(one).is_dir()]

    def make(self, part: int) -> None:
        """Make one card."""
        chosen = self.chosen[part]
        with progress(
            total=1, title=f"card {part + 1}/{self.count}: {chosen.name}", unit="card"
        ) as bar:
            voice = voice_of(chosen, self._calls, self._phrases)
            try:
                self._write(chosen, voice)
            except (OSError, UserError):
                if not self._card(chosen).is_dir():
                    raise  # else another process was quicker, with the same bytes
            bar.update()

    def finished(self) -> bool:
        """Whether all cards are there, and the page and the list of them."""
        whole = all((self.folder / name).exists() for name in (DONE, "index.html", "cards.pdf"))
        return whole and not self.missing()

    def finish(self) -> None:
        """Write the page, the PDF of all and, last, the list; UserError names an altered file."""
        cards = [self._checked(self._card(one)) for one in self.chosen]
        sides = [side for one in self.chosen for side in sides_of(self._card(one))]
        pdf = pdf_bytes(sides, self.config.title)
        page = index_page(self.config.title, cards, self._source.provenance).encode()
        write_bytes(self.folder / "cards.pdf", pdf)
        write_bytes(self.folder / "index.html", page)
        facts = {
            **self.inputs,
            "generator": f"menagerie {importlib.metadata.version('menagerie')}",
            "provenance": self._source.provenance,
            "count": len(cards),
            "cards": cards,
            "files": {"cards.pdf": digest_bytes(pdf), "index.html": digest_bytes(page)},
        }
        write_json(self.folder / DONE, facts | {"digest": digest_of(facts)})

    def _write(self, chosen: Chosen, voice: Voice) -> None:
        portrait = self._source.portrait(chosen)
        with atomic_folder(self._card(chosen)) as folder:
            facts = write_card(
                folder,
                chosen,
                portrait,
                voice,
                set_title=self.config.title,
                provenance=self._source.provenance,
            )
            sides = [(folder / f"{side}.svg").read_bytes() for side in ("front", "back")]
            page = card_page(facts, sides[0], sides[1], voice.wav, self._source.provenance)
            write_bytes(folder / "card.html", page.encode())
            files = {path.name: digest_file(path) for path in sorted(folder.iterdir())}
            write_json(folder / "card.json", facts | {"files": files})

    def _checked(self, folder: Path) -> dict[str, Any]:
        facts: dict[str, Any] = read_json(folder / "card.json")
        for name, digest in facts["files"].items():
            if not (folder / name).is_file() or digest_file(folder / name) != digest:
                raise UserError(
                    f"{folder / name} is missing or altered: remove {folder}, run again"
                )
        return facts

    def _card(self, chosen: Chosen) -> Path:
        return self.folder / chosen.name

    def _heard(self, chosen: Chosen) -> list[str]:
        """The call's digest and the phrase, where they were given."""
        key = (chosen.label, chosen.seed)
        call = "" if self._calls is None else self._calls[key].sha256
        return [call, "" if self._phrases is None else self._phrases[key]]


def _require_all(
    chosen: tuple[Chosen, ...],
    found: Mapping[tuple[str, int], Call | str] | None,
    folder: Path | None,
    what: str,
) -> None:
    """UserError when a folder of calls or phrases lacks one of the animals."""
    if found is None:
        return
    for one in chosen:
        if (one.label, one.seed) not in found:
            raise UserError(
                f"{folder} holds no {what} of {one.label} {one.seed}: make them from the same set"
            )
