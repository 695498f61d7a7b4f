"""Where the animals of cards come from: a sample set, or a pack with its drawings."""

import dataclasses
import itertools
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UserError
from core.files import digest_bytes, read_json
from core.images import Picture
from core.render import render_svg
from core.report.page import many
from core.sampleset import Sample, SampleSet, open_sample_set
from exporters.alt_text import describe
from exporters.config import ExportConfig
from exporters.drawing.sticker import Sticker
from exporters.notices import licence_of
from exporters.pack import FORMAT, SUMS, unique_name, verify_pack
from exporters.postcard.config import PostcardsConfig
from exporters.postcard.subject import EMPTY, Figure, figure_of_pixels, figure_of_svg, is_empty
from exporters.tracing import cut_and_trace

_COLOURS_PX = 128
"""Size at which a drawing's colours are looked at."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chosen:
    """One animal that gets a card."""

    label: str
    seed: int
    name: str
    """Its folder: letters that every system knows, unlike any other's."""
    place: tuple[int, int] | str
    """Shard and row in the sample set, or the drawing's file in the pack."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Portrait:
    """An animal's picture, and what is known of it."""

    figure: Figure
    seen_hwc: Picture
    """Pixels to take colours from."""
    alt: str
    facts: dict[str, Any]
    """Digests for cards.json: what the picture is, how it came to be drawn."""


class Source:
    """Animals to choose from; UserError when there are none."""

    def __init__(self, config: PostcardsConfig) -> None:
        self._config = config
        self._pack = _open_pack(config.samples)
        self._set = open_sample_set(config.samples) if self._pack is None else None
        self._hidden: dict[int, list[str]] = {}
        """By shard: of each of its samples, why it cannot be shown, or ""."""
        self._left_out: list[str] = []

    @property
    def inputs(self) -> dict[str, Any]:
        """What stands for the pictures, in plan.json."""
        if self._pack is not None:
            return {"pack": self._pack.digest}
        return {"samples": self._samples.digest}

    @property
    def provenance(self) -> dict[str, str]:
        """Digests and licence of what made the pictures."""
        facts = self._pack.facts if self._pack is not None else None
        parents = facts["parents"] if facts else self._samples.parents
        known = {
            key: str(parents[key]) for key in ("model", "dataset", "pictures") if key in parents
        }
        return {**self.inputs, **known, "licence": licence_of(parents)}

    def choose(self) -> tuple[Chosen, ...]:
        """The animals of the cards: the first of each class, the second of each, and so on.

        Samples that cannot be shown are left out; UserError names one that --seeds names.
        """
        config, by_label = self._config, dict[str, list[Chosen]]()
        taken: set[str] = set()
        for label, seed, place in self._all():
            if seed < 0:
                raise UserError(f"{config.samples} has a picture of seed {seed}: 0 is the least")
            name = unique_name(f"{label}_{seed:06d}", taken)
            if not config.seeds or seed in config.seeds:
                chosen = Chosen(label=label, seed=seed, name=name, place=place)
                by_label.setdefault(label, []).append(chosen)
        known = sorted(by_label)
        if unknown := sorted(set(config.labels) - set(known)):
            raise UserError(
                f"{config.samples} has no class {unknown[0]!r}: known are {', '.join(known)}"
            )
        wanted = [by_label[label] for label in known if not config.labels or label in config.labels]
        self._left_out = []
        spread = list(itertools.islice(self._spread(wanted), config.count))
        if not spread:
            seeds = f" of the seeds {', '.join(map(str, config.seeds))}" if config.seeds else ""
            hidden = f" that can be shown ({self.left_out})" if self.left_out else ""
            raise UserError(
                f"{config.samples} holds no picture{seeds}{hidden}: there is nothing to send"
            )
        return tuple(spread)

    @property
    def left_out(self) -> str:
        """How many samples `choose` left out, and why; "" when there were none."""
        if not self._left_out:
            return ""
        reasons = sorted(Counter(self._left_out).items())
        told = "; ".join(f"{count:,} {reason}" for reason, count in reasons)
        return f"{many(len(self._left_out), 'picture')} left out: {told}"

    def portrait(self, chosen: Chosen) -> Portrait:
        """One animal's picture: the pack's drawing, or the sample traced, or else its pixels."""
        if self._pack is not None:
            return _of_pack(self._pack, str(chosen.place))
        assert isinstance(chosen.place, tuple)
        sample = self._samples.read(chosen.place[0])[chosen.place[1]]
        return portrait_of_sample(sample, self._config)

    def _spread(self, wanted: Sequence[Sequence[Chosen]]) -> Iterator[Chosen]:
        """The first of each class that can be shown, the second of each, and so on."""
        waiting = [filter(self._can_be_shown, some) for some in wanted]
        while waiting:
            for some in list(waiting):
                if (one := next(some, None)) is not None:
                    yield one
                else:
                    waiting.remove(some)

    def _can_be_shown(self, chosen: Chosen) -> bool:
        """Whether there is something to see; if not, it is noted as left out."""
        if self._pack is not None:
            return True
        assert isinstance(chosen.place, tuple)
        shard, row = chosen.place
        if shard not in self._hidden:
            self._hidden[shard] = list(map(_hidden_by, self._samples.read(shard)))
        reason = self._hidden[shard][row]
        if reason and self._config.seeds:
            raise UserError(
                f"{self._config.samples}: {chosen.name}, which --seeds names, cannot be shown "
                f"({reason}): leave seed {chosen.seed} out"
            )
        if reason:
            self._left_out.append(reason)
        return not reason

    @property
    def _samples(self) -> SampleSet:
        assert self._set is not None
        return self._set

    def _all(self) -> Iterator[tuple[str, int, tuple[int, int] | str]]:
        if self._pack is not None:
            for item in self._pack.facts["stickers"]:
                yield item["label"], item["seed"], item["file"]
            return
        for shard in range(len(self._samples.shards)):
            labels, seeds = self._samples.labels_of(shard), self._samples.seeds_of(shard)
            for row, (label, seed) in enumerate(zip(labels, seeds, strict=True)):
                yield label, seed, (shard, row)


def _hidden_by(sample: Sample) -> str:
    """Why a sample cannot be shown, or ""."""
    return sample.trouble or (EMPTY if is_empty(sample.image_hwc) else "")


def portrait_of_sample(sample: Sample, config: PostcardsConfig) -> Portrait:
    """A sample cut out and traced; as pixels where the gate refuses its drawing."""
    facts: dict[str, Any] = {"pixels_sha256": digest_bytes(sample.image_hwc.tobytes())}
    options = ExportConfig(samples=config.samples, noise_levels=config.noise_levels)
    made = cut_and_trace(sample, options, {})
    if isinstance(made, Sticker):
        drawn = _drawn(made.svg, made.alt)
        return dataclasses.replace(drawn, facts={**facts, **drawn.facts, "drawn": "traced"})
    pixels = sample.image_hwc
    seen = pixels if pixels.shape[2] == 3 else pixels[pixels[..., 3] > 127][:, :3]
    mean = np.rint(seen.reshape(-1, 3).mean(axis=0)).astype(np.uint8)[None]
    alt = describe(sample.label, mean, np.array([1]))
    facts |= {"drawn": "pixels", "not_traced": made.reason}
    return Portrait(figure=figure_of_pixels(pixels), seen_hwc=pixels, alt=alt, facts=facts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Pack:
    path: Path
    facts: Mapping[str, Any]
    digest: str

    def read(self, name: str) -> bytes:
        """One of its files."""
        return _read(self.path, name)


def _open_pack(path: Path) -> _Pack | None:
    """A pack, whole; None for what is no pack but may be a sample set."""
    if path.is_dir() and not (path / "pack.json").is_file():
        return None
    if not path.exists():
        return None
    if problems := verify_pack(path):
        raise UserError(f"{path} is no whole pack ({problems[0]}): export it again")
    facts = read_json(path / "pack.json") if path.is_dir() else _json_of(path)
    if facts.get("format") != FORMAT:
        raise UserError(f"{path} has the format {facts.get('format')!r}; {FORMAT!r} is known")
    return _Pack(path=path, facts=facts, digest=digest_bytes(_read(path, SUMS)))


def _json_of(path: Path) -> dict[str, Any]:
    import json

    try:
        facts: dict[str, Any] = json.loads(_read(path, "pack.json"))
    except (KeyError, ValueError):
        raise UserError(f"{path} is a zip, but no pack: it has no pack.json") from None
    return facts


def _read(path: Path, name: str) -> bytes:
    if path.is_dir():
        return (path / name).read_bytes()
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)


def _of_pack(pack: _Pack, name: str) -> Portrait:
    item = next(item for item in pack.facts["stickers"] if item["file"] == name)
    drawn = _drawn(pack.read(name).decode(), item["alt"])
    return dataclasses.replace(drawn, facts={**drawn.facts, "drawn": "the pack's"})


def _drawn(svg: str, alt: str) -> Portrait:
    return Portrait(
        figure=figure_of_svg(svg),
        seen_hwc=render_svg(svg, _COLOURS_PX),
        alt=alt,
        facts={"svg_sha256": digest_bytes(svg.encode())},
    )
