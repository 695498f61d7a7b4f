"""A folder of phrases, one for each animal.

plan.json       what is to be made; written first
answers/        what an endpoint answered, named by what it was asked
spent.json      what it cost
index.html      a page to read
phrases.json    all phrases; written last: the done-marker
"""

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import digest_of, exclusive, read_json, write_bytes, write_json
from core.images import Picture
from core.parts import claim
from core.pretrained.asked import Animal, animals_asked
from core.pretrained.phrases.chat import Chat, NoPhraseError
from core.pretrained.phrases.config import Manners, PhrasesConfig
from core.pretrained.phrases.speech import speak
from core.pretrained.phrases.spending import Spending
from core.progress import progress
from core.report.page import html_page, many
from core.report.parts import paragraph, section, table
from core.sampleset import open_sample_set

FORMAT = "menagerie-phrases-1"
DONE = "phrases.json"
_NAMED = 20
"""Animals that a complaint names."""
_BAD_IN_A_ROW = 5
"""Animals without a phrase, one after another, that end the work: all the others would be paid for
in vain."""


class PhrasesWork:
    """Phrases to be made in a folder; UserError when the inputs are wrong."""

    def __init__(self, config: PhrasesConfig, folder: Path, manners: Manners) -> None:
        self.config = config
        self.folder = folder
        self.manners = manners
        self.animals, source = animals_asked(
            config.samples, config.classes, config.per_class, config.first_seed
        )
        self.inputs = {"format": FORMAT, **source, "engine": _engine(config)}
        self.spending = Spending(folder / "spent.json", manners)

    def finished(self) -> bool:
        """Whether all phrases are there."""
        return (self.folder / DONE).exists()

    def make(self) -> None:
        """Make what is missing; UserError when the folder holds others, or an endpoint fails.

        Answers that came before are kept, and running again goes on after them.
        """
        with exclusive(self.folder):
            self._begin()
            if self.finished():
                return
            rows = list(self._rows())
            write_bytes(self.folder / "index.html", page_of_phrases(rows).encode())
            facts = {**self.inputs, "count": len(rows), "phrases": rows}
            write_json(self.folder / DONE, facts | {"digest": digest_of(facts)})

    def _begin(self) -> None:
        claim(self.folder, self.inputs, "phrases")

    def _rows(self) -> Iterator[dict[str, Any]]:
        chat = self._chat() if self.config.base_url else None
        failed: dict[str, NoPhraseError] = {}
        in_a_row = 0
        with progress(title="phrases", unit="phrase", total=len(self.animals)) as bar:
            for animal, picture in self._shown():
                row: dict[str, Any] = {"label": animal.label, "seed": animal.seed}
                try:
                    said = _said(chat, animal, picture)
                except NoPhraseError as error:
                    failed[animal.name] = error
                    in_a_row += 1
                    if in_a_row == _BAD_IN_A_ROW:
                        break
                else:
                    in_a_row = 0
                    yield row | said
                bar.update()
        if failed:
            raise UserError(_complaint(failed, stopped=in_a_row == _BAD_IN_A_ROW))

    def _chat(self) -> Chat:
        cache = self.manners.cache or self.folder / "answers"
        return Chat(self.config, self.manners, cache=cache, spending=self.spending)

    def _shown(self) -> Iterator[tuple[Animal, Picture | None]]:
        """All animals, with their pictures where these are to be sent."""
        if not self.config.show_picture or self.config.samples is None:
            yield from ((animal, None) for animal in self.animals)
            return
        wanted = set(self.animals)
        for sample in open_sample_set(self.config.samples, verify=True).samples():
            animal = Animal(label=sample.label, seed=sample.seed)
            if animal in wanted:
                wanted.remove(animal)
                yield animal, sample.image_hwc


def _said(chat: Chat | None, animal: Animal, picture: Picture | None) -> dict[str, str]:
    """An animal's phrase and, from an endpoint, the digest of its request."""
    if chat is None:
        return {"phrase": speak(animal.label, animal.seed)}
    phrase, request = chat.ask(animal, picture)
    return {"phrase": phrase, "request": request}


def _complaint(failed: dict[str, NoPhraseError], *, stopped: bool) -> str:
    """Which animals got no phrase, by name, and why the first of them did not."""
    names = ", ".join(list(failed)[:_NAMED])
    more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    end = f"; stopped after {_BAD_IN_A_ROW} in a row" if stopped else ""
    first = next(iter(failed.values()))
    return f"no phrase for {many(len(failed), 'animal')}: {names}{more}{end}. The first: {first}"


def page_of_phrases(rows: list[dict[str, Any]]) -> str:
    """A page of these rows of phrases.json."""
    by_label: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        by_label.setdefault(row["label"], []).append((str(row["seed"]), row["phrase"]))
    head = f"{many(len(rows), 'phrase')} of {many(len(by_label), 'class', 'classes')}."
    sections = (
        section(label, table(("seed", "phrase"), said, sortable=False))
        for label, said in by_label.items()
    )
    title = "Phrases"
    body = f"<h1>{escape(title)}</h1>{paragraph(head, soft=True)}{''.join(sections)}"
    return html_page(title=title, body=body)


def open_phrases(folder: Path) -> dict[tuple[str, int], str]:
    """The phrases of a finished folder by class and seed; UserError when there are none."""
    if not (folder / DONE).exists():
        raise UserError(
            f"{folder} holds no finished phrases: make them with `menagerie phrases --out {folder}`"
        )
    facts = read_json(folder / DONE)
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise UserError(f"{folder / DONE} is not of the format {FORMAT!r}: make the phrases again")
    if facts.pop("digest", None) != digest_of(facts):
        raise UserError(f"{folder / DONE} was altered: its digest does not match")
    return {(row["label"], row["seed"]): row["phrase"] for row in facts["phrases"]}


def _engine(config: PhrasesConfig) -> dict[str, Any]:
    """What makes the phrases."""
    if not config.base_url:
        return {"name": "phonology", "version": 1}
    names = ("base_url", "model", "temperature", "top_p", "max_tokens", "show_picture", "prompt")
    return {"name": "chat", **{name: getattr(config, name) for name in names}}
