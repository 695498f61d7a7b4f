"""A folder of calls: a sound file for each animal, made in parts by any number of processes.

plan.json          what is to be made; written first
cat_000017.wav     a call, 16 bit, one channel
parts/             records of finished parts, while it lasts
index.html         a page to listen
calls.json         recipe, seed and digest of each call; written last: the done-marker
"""

import dataclasses
import functools
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.audio import read_audio, wav_bytes
from core.errors import UserError
from core.files import digest_bytes, digest_file, digest_of, read_json, write_bytes, write_json
from core.parts import claim
from core.pretrained.asked import Animal, animals_asked
from core.pretrained.calls.config import CallsConfig
from core.pretrained.calls.levels import loudness_lufs
from core.pretrained.calls.listening_page import page_of_calls
from core.pretrained.calls.recipes import recipe_of
from core.pretrained.calls.syllables import RATE_HZ, Wave
from core.pretrained.calls.synthesis import synthesise
from core.progress import progress

if TYPE_CHECKING:
    from core.pretrained.calls.stable_audio import Device, StableAudio

FORMAT = "menagerie-calls-1"
DONE = "calls.json"
_PER_PART = 16
Row = dict[str, Any]
"""What is known about one call."""


class CallsWork:
    """Calls to be made in a folder (`core.parts.Parts`); UserError when the inputs are wrong."""

    def __init__(self, config: CallsConfig, folder: Path, device: "Device" = "auto") -> None:
        self.config = config
        self.folder = folder
        self._device = device
        self.animals, source = animals_asked(
            config.samples, config.classes, config.per_class, config.first_seed
        )
        if len({animal.name for animal in self.animals}) < len(self.animals):
            raise UserError("two classes and seeds give the same file name: rename a class")
        self.inputs = {"format": FORMAT, **source, "engine": _engine(config)}

    @property
    def count(self) -> int:
        """Number of parts of 16 calls."""
        return -(-len(self.animals) // _PER_PART)

    def begin(self) -> None:
        """Claim the folder; UserError when it holds other calls."""
        claim(self.folder, self.inputs, "calls")

    def missing(self) -> list[int]:
        """Parts of which a record or a sound file is not there."""
        known = set() if not (self.folder / DONE).exists() else {row["file"] for row in self.rows()}
        return [
            part
            for part in range(self.count)
            if not all((self.folder / _file(animal)).exists() for animal in self._animals_of(part))
            or not (
                self._record(part).exists()
                or known >= {_file(animal) for animal in self._animals_of(part)}
            )
        ]

    def make(self, part: int) -> None:
        """Make one part's calls, then its record."""
        animals = self._animals_of(part)
        with progress(animals, title=f"calls {part + 1}/{self.count}", unit="call") as bar:
            rows = [self._make_call(animal) for animal in bar]
        write_json(self._record(part), rows)

    def finished(self) -> bool:
        """Whether all calls are there, and the page and list of them."""
        return (self.folder / DONE).exists() and not self.missing()

    def finish(self) -> None:
        """Write the page to listen and, last, the list of calls."""
        old = {row["file"]: row for row in self.rows()} if (self.folder / DONE).exists() else {}
        for part in range(self.count):
            if self._record(part).exists():
                old |= {row["file"]: row for row in read_json(self._record(part))}
        rows = [old[_file(animal)] for animal in self.animals]
        title = "Calls"
        page = page_of_calls(title, rows, lambda row: (self.folder / row["file"]).read_bytes())
        write_bytes(self.folder / "index.html", page.encode())
        facts = {**self.inputs, "count": len(rows), "calls": rows}
        write_json(self.folder / DONE, facts | {"digest": digest_of(facts)})
        shutil.rmtree(self.folder / "parts", ignore_errors=True)

    def rows(self) -> list[Row]:
        """The list that was written."""
        rows: list[Row] = read_json(self.folder / DONE)["calls"]
        return rows

    def _make_call(self, animal: Animal) -> Row:
        wave, rate_hz, facts = self._sound(animal)
        data = wav_bytes(wave.astype("float32"), rate_hz)
        write_bytes(self.folder / _file(animal), data)
        return {
            "file": _file(animal),
            "label": animal.label,
            "seed": animal.seed,
            "rate_hz": rate_hz,
            "seconds": round(len(wave) / rate_hz, 3),
            "loudness_lufs": round(loudness_lufs(wave, rate_hz), 2),
            "sha256": digest_bytes(data),
            **facts,
        }

    def _sound(self, animal: Animal) -> tuple[Wave, int, dict[str, Any]]:
        if self.config.pipeline:
            wave, record = self._stable_audio.call(animal)
            return wave, self._stable_audio.rate_hz, record
        recipe = recipe_of(animal.label)
        wave = synthesise(animal.label, animal.seed, recipe)
        return wave, RATE_HZ, {"recipe": dataclasses.asdict(recipe)}

    @functools.cached_property
    def _stable_audio(self) -> "StableAudio":
        from core.pretrained.calls.stable_audio import StableAudio

        return StableAudio(self.config, self._device)

    def _animals_of(self, part: int) -> tuple[Animal, ...]:
        return self.animals[part * _PER_PART : (part + 1) * _PER_PART]

    def _record(self, part: int) -> Path:
        return self.folder / "parts" / f"part-{part:05d}.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """A finished call on disk."""

    animal: Animal
    path: Path
    rate_hz: int
    seconds: float
    sha256: str
    """Of the file's bytes."""

    def samples(self) -> Wave:
        """Its samples, one channel; UserError when the file is missing or altered."""
        if not self.path.is_file() or digest_file(self.path) != self.sha256:
            raise UserError(f"{self.path} is missing or was altered: make the calls again")
        return read_audio(self.path).samples.astype("float64")


def open_calls(folder: Path) -> dict[tuple[str, int], Call]:
    """The calls of a finished folder by class and seed; UserError when there are none."""
    if not (folder / DONE).exists():
        raise UserError(
            f"{folder} holds no finished calls: make them with `menagerie calls --out {folder}`"
        )
    facts = read_json(folder / DONE)
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise UserError(f"{folder / DONE} is not of the format {FORMAT!r}: make the calls again")
    if facts.pop("digest", None) != digest_of(facts):
        raise UserError(f"{folder / DONE} was altered: its digest does not match")
    return {
        (row["label"], row["seed"]): Call(
            animal=Animal(label=row["label"], seed=row["seed"]),
            path=folder / row["file"],
            rate_hz=row["rate_hz"],
            seconds=row["seconds"],
            sha256=row["sha256"],
        )
        for row in facts["calls"]
    }


def _file(animal: Animal) -> str:
    return f"{animal.name}.wav"


def _engine(config: CallsConfig) -> dict[str, Any]:
    """What makes the sounds, without folders of this machine."""
    if not config.pipeline:
        return {"name": "synthesiser", "version": 1}
    from core.pretrained.calls.stable_audio import pipeline_digest

    return {
        "name": "StableAudioPipeline",
        "pipeline": pipeline_digest(config.pipeline),
        "prompt": config.prompt,
        "negative_prompt": config.negative_prompt,
        "steps": config.steps,
        "guidance": config.guidance,
        "waveforms": config.waveforms,
        "seconds": config.seconds,
    }
