"""A pack in the making: one part per shard of the sample set, made by any number of processes.

<out>'s neighbour .<out>.parts/
    plan.json        inputs, tools and counts; other ones are refused
    part-00003/      entries.json and the stickers of shard 3, there whole or not at all
    pack/            the pack while it is put together

The folder goes when the zip is there. Free of torch unless weights are asked for.
"""

import dataclasses
import importlib.metadata
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.config import config_to_dict
from core.errors import UserError
from core.files import (
    atomic_folder,
    digest_bytes,
    digest_file,
    digest_of,
    exclusive,
    read_json,
    write_json,
)
from core.progress import progress
from core.sampleset import Sample, SampleSet
from exporters.assemble import PackFacts, assemble_pack, provenance_of
from exporters.config import ExportConfig
from exporters.cutting.cut import check_tools, cut_out_inputs
from exporters.drawing.classpalette import class_palettes
from exporters.drawing.sticker import Refused
from exporters.dress import Piece
from exporters.pack import FORMAT, verify_pack, zip_folder
from exporters.pictures import open_origin
from exporters.selection import Selection, select
from exporters.tracing import Tracers
from exporters.upscale import weights_of

if TYPE_CHECKING:
    from tqdm import tqdm

_TOOLS = ("menagerie", "vtracer", "resvg-py", "pillow", "rectpack")
"""What the bytes of a pack come from."""
_CHOOSING = ("samples", "pictures", "only", "approved", "without_tags")
"""Settings that the chosen seeds stand for, which are no path of this machine."""


class ExportParts:
    """The export of a sample set to `folder` and to a zip beside it (`core.parts.Parts`).

    The same inputs give the same bytes, however the parts were spread. UserError when the sample
    set, a class, the weights or the list of kept seeds is missing or wrong.
    """

    def __init__(self, config: ExportConfig, folder: Path, *, workers: int = 1) -> None:
        self.config, self.pack_folder = config, folder
        self.zip_path = folder.with_name(f"{folder.name}.zip")
        self.folder = folder.with_name(f".{folder.name}.parts")
        self.sample_set = open_origin(config)
        self._selection = select(config, self.sample_set)
        self.inputs = _inputs(config, self.sample_set, self._selection)
        self._tools = {
            name: _version(name)
            for name in ("menagerie", "vtracer", "resvg-py", "pillow", "rectpack")
        }
        provenance = provenance_of(
            self.sample_set, self._tools["menagerie"], self.inputs["settings"]
        )
        self._tracers = Tracers(config, provenance, workers)
        self._pictures: list[int] = []
        self._bar: tqdm[Any] | None = None

    @property
    def count(self) -> int:
        """Number of shards."""
        return len(self.sample_set.shards)

    def begin(self) -> None:
        """Plan the parts, or check that the plan that is there is this export's.

        A new plan reads and verifies the whole sample set, once.
        """
        self._refuse_what_is_in_the_way()
        path = self.folder / "plan.json"
        if self._has_no(path):
            with exclusive(self.folder / "planning", wait=True):
                if self._has_no(path):
                    write_json(path, self._new_plan())
        try:
            plan = read_json(path)
        except UserError:
            if self._has_pack():  # made: its parts are gone
                return
            raise
        if (plan.get("inputs"), plan.get("tools")) != (self.inputs, self._tools):
            raise UserError(
                f"{self.folder} holds the parts of an unfinished export with other inputs, "
                "settings or versions: name another --out, or remove it"
            )
        self._pictures = plan["pictures"]
        self._tracers.palettes = plan.get("palettes", {})

    def missing(self) -> list[int]:
        """Shards whose stickers are not there yet; none once the pack is."""
        there = set(os.listdir(self.folder)) if self.folder.is_dir() else set()
        missing = [part for part in range(self.count) if self._part(part).name not in there]
        return [] if missing and self._has_pack() else missing

    def make(self, part: int) -> None:
        """Trace one shard's pictures; when another process was quicker, its part stands."""
        if part not in self.missing():
            return
        try:
            with atomic_folder(self._part(part)) as temporary:
                self._fill(temporary, part)
        except BaseException as error:
            if isinstance(error, UserError | OSError) and part not in self.missing():
                return
            self.close(at_once=True)
            raise
        if self.finished():  # by others, while this process made a part again
            self._remove_parts()

    def finished(self) -> bool:
        """Whether the pack of these inputs and its zip are there; their bytes are not read."""
        return self.zip_path.exists() and self._has_pack()

    def finish(self) -> None:
        """Put the parts together, zip the pack, remove the parts."""
        if self.finished():
            return
        if not self._has_pack():
            self._assemble()
        elif problems := verify_pack(self.pack_folder):
            raise damaged(self.pack_folder, problems)
        self.close()  # before the zip: an error's line comes after the progress bar
        zip_folder(self.pack_folder, self.zip_path)
        self._remove_parts()

    def close(self, *, at_once: bool = False) -> None:
        """Stop the workers and the progress bar; the next part starts them again."""
        self._tracers.close(at_once=at_once)
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _part(self, part: int) -> Path:
        return self.folder / f"part-{part:05d}"

    def _remove_parts(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _has_no(self, plan: Path) -> bool:
        return not plan.exists() and not self._has_pack()

    def _has_pack(self) -> bool:
        path = self.pack_folder / "pack.json"
        if not path.exists():
            return False
        facts = read_json(path)
        return (facts.get("format"), facts.get("inputs")) == (FORMAT, self.inputs)

    def _refuse_what_is_in_the_way(self) -> None:
        folder = self.pack_folder
        zipped = self.zip_path.exists()  # asked first: a process that finishes makes it last
        if (folder / "pack.json").exists():
            if not self._has_pack():
                raise UserError(
                    f"{folder} holds a pack of other inputs or settings: name another --out"
                )
        elif zipped:
            raise UserError(
                f"{self.zip_path} exists without its folder: remove it, or name another --out"
            )
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} already exists: name another --out, or remove it first")

    def _new_plan(self) -> dict[str, Any]:
        self.sample_set.verify()
        if (weights := weights_of(self.config.upscaler)) is not None:
            from exporters.superres import load_upscaler  # torch only when weights are asked for

            load_upscaler(weights)  # refused here and not for each picture
        check_tools(self.config)
        pictures = self._selection.counts()
        plan = {"inputs": self.inputs, "tools": self._tools, "pictures": pictures}
        if self.config.class_palette:
            plan["palettes"] = class_palettes(self._chosen(), self.config)
        return plan

    def _chosen(self) -> Iterable[Sample]:
        """All pictures that are exported, in their order."""
        for part in range(self.count):
            shard = self.sample_set.read(part)
            yield from (shard[row] for row in self._selection.rows(part))

    def _fill(self, folder: Path, part: int) -> None:
        """Write one part's stickers and what is known about them."""
        shard = self.sample_set.read(part)
        rows = self._selection.rows(part)
        bar = self._show_progress()
        entries: list[dict[str, Any]] = []
        refused: list[dict[str, Any]] = []
        for result in self._tracers.trace(shard[row] for row in rows):
            if isinstance(result, Refused):
                refused.append(dataclasses.asdict(result))
            else:
                entries.append(_write_sticker(folder, f"{len(entries):05d}", result))
            bar.update()
        write_json(folder / "entries.json", {"stickers": entries, "refused": refused})

    def _show_progress(self) -> "tqdm[Any]":
        """The one bar over all pictures, which counts what other processes made too."""
        missing = set(self.missing())
        done = sum(n for part, n in enumerate(self._pictures) if part not in missing)
        if self._bar is None:
            total = sum(self._pictures)
            self._bar = progress(title="exporting", unit="sticker", total=total, done=done)
        self._bar.n = done
        return self._bar

    def _assemble(self) -> None:
        whole = self.folder / "pack"
        shutil.rmtree(whole, ignore_errors=True)  # of a finish that was stopped
        with atomic_folder(whole) as temporary:
            facts = PackFacts(
                config=self.config,
                sample_set=self.sample_set,
                inputs=self.inputs,
                tools=self._tools,
                tags=self._selection.tags,
            )
            assemble_pack(temporary, (self._part(part) for part in range(self.count)), facts)
        whole.replace(self.pack_folder)


def damaged(folder: Path, problems: Iterable[str]) -> UserError:
    """The error for a pack whose files are not those of its checksums."""
    return UserError(f"{folder} is damaged ({next(iter(problems))}): remove it and export again")


def _inputs(config: ExportConfig, sample_set: SampleSet, selection: Selection) -> dict[str, Any]:
    """All that the pack's bytes depend on, without paths of this machine."""
    settings = {k: v for k, v in config_to_dict(config).items() if k not in _CHOOSING}
    settings["name"] = config.pack_name
    if selection.seeds is not None:
        settings["only"] = selection.seeds_digest
    if selection.tags:
        settings["tags"] = f"sha256:{digest_of(sorted(selection.tags.items()))}"
    if (weights := weights_of(config.upscaler)) is not None:
        if not weights.is_file():
            raise UserError(f"{weights} does not exist; give lanczos, starter or a file of weights")
        settings["upscaler"] = f"{weights.name} sha256:{digest_file(weights)}"
    settings |= cut_out_inputs(config)
    return {"samples": sample_set.digest, "settings": settings}


def _write_sticker(folder: Path, stem: str, piece: Piece) -> dict[str, Any]:
    """Write one sticker's files; its entry, whose names in the pack are not known yet."""
    for ending, data in piece.files.items():
        (folder / f"{stem}.{ending}").write_bytes(data)
    sticker, svg = piece.sticker, piece.files["svg"]
    encodings = {"encodings": dict(piece.encodings)} if piece.encodings else {}
    return {
        "stem": stem,
        "label": sticker.label,
        "seed": sticker.seed,
        "alt": sticker.alt,
        "sha256": digest_bytes(svg),
        "bytes": len(svg),
        "paths": sticker.paths,
        "colours": sticker.colours,
        **encodings,
        **dataclasses.asdict(sticker.fidelity),
        "sample_psnr_db": sticker.sample_psnr_db,
        **sticker.more,
    }


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
