"""A sample set to a pack: spread the tracing over processes, then write, sum up and zip."""

import collections
import dataclasses
import importlib.metadata
import itertools
import multiprocessing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

from core.config import config_to_dict
from core.errors import UserError
from core.files import (
    atomic_folder,
    digest_bytes,
    digest_file,
    exclusive,
    read_json,
    write_json,
)
from core.progress import progress
from core.sampleset import Sample, SampleSet, open_sample_set
from exporters.config import ExportConfig
from exporters.notices import disclosure_text, licence_of, licence_text, may_redistribute
from exporters.pack import FORMAT, unique_name, verify_pack, write_sums, zip_folder
from exporters.page import render_page
from exporters.preview import write_preview
from exporters.sticker import Refused, Sticker, make_sticker
from exporters.upscale import LANCZOS

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
AHEAD = 4
"""Pictures handed out per worker before their results are taken."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Built:
    """A finished pack."""

    folder: Path
    zip_path: Path
    facts: dict[str, Any]
    """The contents of pack.json."""
    made: bool
    """False when it was there already."""


def build_pack(config: ExportConfig, folder: Path, *, workers: int = 1) -> Built:
    """Export a sample set to `folder` and to a zip beside it.

    The same inputs give the same bytes for any number of workers. A finished pack of the same
    inputs is left alone; UserError when another one is in the way, or when no picture passes.
    """
    sample_set = open_sample_set(config.samples, verify=True)
    zip_path = folder.with_name(f"{folder.name}.zip")
    inputs = _inputs(sample_set, config)
    chosen = _chosen(sample_set, config)
    with exclusive(folder.parent / f".{folder.name}.export"):
        finished = _finished(folder, zip_path, inputs)
        if finished is not None:
            return finished
        with atomic_folder(folder) as temporary:
            facts = _write_pack(temporary, sample_set, config, inputs, chosen, workers)
        zip_folder(folder, zip_path)
    return Built(folder=folder, zip_path=zip_path, facts=facts, made=True)


def _inputs(sample_set: SampleSet, config: ExportConfig) -> dict[str, Any]:
    """All that the pack's bytes depend on, without paths of this machine."""
    settings = {k: v for k, v in config_to_dict(config).items() if k != "samples"}
    settings["name"] = config.pack_name
    if config.upscaler != LANCZOS:
        from exporters.superres import load_upscaler  # torch only when weights are asked for

        weights = Path(config.upscaler)
        load_upscaler(weights)  # refused here, once, and not for each picture
        settings["upscaler"] = f"{weights.name} sha256:{digest_file(weights)}"
    return {"samples": sample_set.digest, "settings": settings}


def _finished(folder: Path, zip_path: Path, inputs: Mapping[str, Any]) -> Built | None:
    """The pack that is there already, if it is of these inputs and whole."""
    if not (folder / "pack.json").exists():
        if zip_path.exists():
            raise UserError(
                f"{zip_path} exists without its folder: remove it, or name another --out"
            )
        return None
    facts = read_json(folder / "pack.json")
    if facts.get("format") != FORMAT or facts.get("inputs") != inputs:
        raise UserError(f"{folder} holds a pack of other inputs or settings: name another --out")
    problems = verify_pack(folder)
    if problems:
        raise UserError(f"{folder} is damaged ({problems[0]}): remove it and export again")
    made = not zip_path.exists() or bool(verify_pack(zip_path))
    if made:  # stopped between the folder and the zip
        zip_folder(folder, zip_path)
    return Built(folder=folder, zip_path=zip_path, facts=facts, made=made)


def _chosen(sample_set: SampleSet, config: ExportConfig) -> list[tuple[int, str]]:
    """Positions and labels of the samples to export."""
    unknown = sorted(set(config.labels) - set(sample_set.labels))
    if unknown:
        known = ", ".join(sample_set.labels)
        raise UserError(f"{config.samples} has no class {unknown[0]!r}; known are {known}")
    seen: collections.Counter[str] = collections.Counter()
    chosen = []
    for position, sample in enumerate(sample_set.samples()):
        seen[sample.label] += 1
        wanted = not config.labels or sample.label in config.labels
        if wanted and (config.limit is None or seen[sample.label] <= config.limit):
            chosen.append((position, sample.label))
    if not chosen:
        raise UserError(f"{config.samples} holds no picture to export")
    return chosen


def _write_pack(
    folder: Path,
    sample_set: SampleSet,
    config: ExportConfig,
    inputs: Mapping[str, Any],
    chosen: Sequence[tuple[int, str]],
    workers: int,
) -> dict[str, Any]:
    """Fill the pack's folder; the contents of pack.json."""
    provenance = _provenance(sample_set)
    positions = {position for position, _ in chosen}
    samples = (s for i, s in enumerate(sample_set.samples()) if i in positions)
    results = _make_all(samples, config, provenance, workers)
    entries: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    taken: set[str] = set()
    for result in progress(results, total=len(chosen), title="exporting", unit="sticker"):
        if isinstance(result, Refused):
            refused.append(dataclasses.asdict(result))
        else:
            entries.append(_write_sticker(folder, result, config, taken))
    if not entries:
        raise UserError(f"no picture passed: {refusal_summary(refused)}")
    facts = {
        "format": FORMAT,
        "name": config.pack_name,
        "inputs": inputs,
        "parents": sample_set.parents,
        "licence": licence_of(sample_set.parents),
        "redistributable": may_redistribute(sample_set.parents),
        "sampling": _portable(sample_set.settings),
        "digital_source_type": SOURCE_TYPE,
        "tools": {name: _version(name) for name in ("menagerie", "vtracer", "resvg-py", "pillow")},
        "reference": "the enlarged picture, its edges sharpened, cut out at the alpha threshold "
        "(supersampled), before the palette",
        "stickers": entries,
        "refused": refused,
    }
    write_json(folder / "pack.json", facts)
    name = config.pack_name
    _write_text(folder / "LICENSE", licence_text(name, sample_set.parents))
    _write_text(
        folder / "AI-DISCLOSURE.md", disclosure_text(name, sample_set.parents, len(entries))
    )
    write_preview(folder, entries, config.small_px)
    _write_text(folder / "index.html", render_page(facts))
    write_sums(folder)
    return facts


def _make_all(
    samples: Iterable[Sample],
    config: ExportConfig,
    provenance: Mapping[str, object],
    workers: int,
) -> Iterator[Sticker | Refused]:
    """Results in the samples' order, whoever computes them."""
    if workers == 1:
        yield from (make_sticker(sample, config, provenance) for sample in samples)
        return
    # spawned, not forked: OpenCV's and torch's threads do not survive a fork
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context)
    try:
        waiting: collections.deque[Future[Sticker | Refused]] = collections.deque()
        remaining = iter(samples)
        for sample in itertools.islice(remaining, AHEAD * workers):
            waiting.append(pool.submit(make_sticker, sample, config, provenance))
        while waiting:
            yield waiting.popleft().result()
            for sample in itertools.islice(remaining, 1):
                waiting.append(pool.submit(make_sticker, sample, config, provenance))
    finally:
        pool.shutdown(cancel_futures=True)


def _write_sticker(
    folder: Path, sticker: Sticker, config: ExportConfig, taken: set[str]
) -> dict[str, Any]:
    """Write one sticker's files; its entry in pack.json."""
    name = unique_name(f"{sticker.label}_{sticker.seed:06d}", taken)
    svg = sticker.svg.encode()
    files = {
        f"svg/{name}.svg": svg,
        f"png/{config.size_px}/{name}.png": sticker.png_large,
        f"png/{config.small_px}/{name}.png": sticker.png_small,
    }
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    svg_file, large_file, small_file = files
    return {
        "file": svg_file,
        "png": large_file,
        "png_small": small_file,
        "label": sticker.label,
        "seed": sticker.seed,
        "alt": sticker.alt,
        "sha256": digest_bytes(svg),
        "bytes": len(svg),
        "paths": sticker.paths,
        "colours": sticker.colours,
        **dataclasses.asdict(sticker.fidelity),
        "sample_psnr_db": sticker.sample_psnr_db,
    }


def refusal_summary(refused: Sequence[Mapping[str, Any]]) -> str:
    """Why pictures were refused, for one line: the first reasons, and how many more."""
    reasons = [f"{item['label']} {item['seed']}: {item['reason']}" for item in refused]
    more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return "; ".join(reasons[:3]) + more


def _provenance(sample_set: SampleSet) -> dict[str, object]:
    """What each file carries."""
    parents = sample_set.parents
    return {
        "generator": f"menagerie {_version('menagerie')}",
        "digital_source_type": SOURCE_TYPE,
        "samples": sample_set.digest,
        "model": parents.get("model", "unknown"),
        "dataset": parents.get("dataset", "unknown"),
        "licence": licence_of(parents),
    }


def _portable(value: Any) -> Any:
    """Settings without this machine's folders: a path is shortened to its name."""
    if isinstance(value, dict):
        return {key: _portable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_portable(item) for item in value]
    if isinstance(value, str) and value.startswith("/"):
        return Path(value).name
    return value


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
