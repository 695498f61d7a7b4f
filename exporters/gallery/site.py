"""Packs to a static site, whole or not at all."""

import dataclasses
import shutil
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from core.errors import UserError
from core.files import atomic_folder, exclusive, read_json, write_json
from exporters.gallery.pages import render_index, render_pack
from exporters.gallery.shelf import Shown, digests_of, place_packs

FORMAT = "menagerie-gallery-1"
DONE = "gallery.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Site:
    """A finished gallery."""

    folder: Path
    packs: int
    stickers: int
    forbidden: tuple[str, ...]
    """Names of the packs that must not be passed on."""
    made: bool
    """False when it was there already."""


def build_gallery(packs: Sequence[Path], folder: Path, *, title: str) -> Site:
    """Write a site of packs (folders or zips), in the order given; the same packs, the same bytes.

    A gallery that is there is replaced by one rename; any other folder is refused. UserError for
    what is no whole pack.
    """
    if not packs:
        raise UserError("no pack is named: give folders or zips that `menagerie export` made")
    wanted: dict[str, object] = {"format": FORMAT, "title": title, "packs": digests_of(packs)}
    _refuse_what_is_in_the_way(folder)
    with exclusive(folder.with_name(f".{folder.name}.gallery")):
        try:
            if (folder / DONE).exists() and _inputs(folder) == wanted:
                return _opened(folder, made=False)
            _replace(packs, folder, title, wanted)
        finally:
            shutil.rmtree(folder.with_name(f".{folder.name}.gallery"), ignore_errors=True)
    return _opened(folder, made=True)


def _replace(packs: Sequence[Path], folder: Path, title: str, wanted: dict[str, object]) -> None:
    fresh = folder.with_name(f".{folder.name}.gallery") / "site"
    with atomic_folder(fresh) as temporary:
        shown = place_packs(packs, temporary)
        _write_pages(temporary, shown, title)
        write_json(temporary / DONE, wanted | _summary(shown))
    old = fresh.with_name("old")
    if folder.exists():
        folder.replace(old)
    fresh.replace(folder)


def _write_pages(folder: Path, shown: Sequence[Shown], title: str) -> None:
    for name in ("gallery.css", "gallery.js"):
        data = resources.files("exporters.gallery").joinpath(name).read_bytes()
        (folder / name).write_bytes(data)
    pages = {"index.html": render_index(title, shown)}
    pages |= {f"{pack.slug}.html": render_pack(title, pack) for pack in shown}
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def _summary(shown: Sequence[Shown]) -> dict[str, object]:
    return {
        "stickers": sum(len(pack.facts["stickers"]) for pack in shown),
        "do_not_redistribute": [one.facts["name"] for one in shown if not one.redistributable],
    }


def _inputs(folder: Path) -> dict[str, object]:
    facts = read_json(folder / DONE)
    return {key: facts.get(key) for key in ("format", "title", "packs")}


def _opened(folder: Path, *, made: bool) -> Site:
    facts = read_json(folder / DONE)
    return Site(
        folder=folder,
        packs=len(facts["packs"]),
        stickers=facts["stickers"],
        forbidden=tuple(facts["do_not_redistribute"]),
        made=made,
    )


def _refuse_what_is_in_the_way(folder: Path) -> None:
    there = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if there and not (folder / DONE).is_file():
        raise UserError(f"{folder} exists and is no gallery: name another --out, or remove it")
