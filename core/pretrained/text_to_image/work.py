"""From prompts to a sample set: which pictures, in which shards, and only what is missing.

    plan.json       settings, prompts and the pipeline; written first, here as in any sample set
    prompts.jsonl   one line a picture: seed, label, prompt
    opened.json     what the first process to draw decided for all: arithmetic, tiles, commit
    unfinished/     pictures of shards that are not whole yet: a kill loses the one being drawn
    data/, contact_sheet.png, sampleset.json    as in any sample set

Free of torch until a picture is made, so that a cluster's login node can plan the work.
"""

import dataclasses
import functools
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import exclusive, read_json, write_bytes, write_json
from core.pretrained.prompts import read_seeds
from core.pretrained.text_to_image.config import (
    Switch,
    TextToImageConfig,
    planned_prompts,
    settings_of,
)
from core.pretrained.text_to_image.lorafiles import (
    check_lora,
    numbers_of,
    parent_of,
    read_loras,
)
from core.pretrained.text_to_image.memory import Drawn, Offload, Switches
from core.pretrained.text_to_image.schedulers import check_scheduler, check_steps
from core.pretrained.text_to_image.source import PipelineSource, describe_pipeline
from core.progress import progress
from core.sampleparts import ShardedPictures, complete
from core.sampleset import Sample, SampleSet, finish_sample_set, read_png, sample_png, write_shard

OPENED = "opened.json"
PROMPTS = "prompts.jsonl"


def draw_sample_set(
    config: TextToImageConfig,
    folder: Path,
    *,
    batch_size: int = 1,
    device: str = "auto",
    offload: Offload = "auto",
    origin: Mapping[str, Any] | None = None,
) -> SampleSet:
    """Draw every picture that is missing, then the contact sheet and the done-marker.

    UserError when the folder holds another sample set, or the pipeline cannot be had.
    """
    work = TextToImageParts(
        config, folder, batch_size=batch_size, device=device, offload=offload, origin=origin
    )
    return complete(work)


class TextToImageParts(ShardedPictures):
    """A sample set in the making (`core.parts.Parts`): one part per shard, a range of its seeds.

    UserError when prompts, scheduler or pipeline do not fit each other. batch_size: pictures
    computed together on a GPU; on the CPU it is one by one, where a batch gains nothing and would
    change a picture's last bits. origin: more parents of the set.
    """

    def __init__(
        self,
        config: TextToImageConfig,
        folder: Path,
        *,
        batch_size: int = 1,
        device: str = "auto",
        offload: Offload = "auto",
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        self.config = config
        self.prompts, self.loras = planned_prompts(config), read_loras(config.lora)
        self.seeds = read_seeds(config.seeds)
        self.labels = self.prompts.labels(self.seeds)
        self._batch_size, self._device, self._offload = batch_size, device, offload
        self._origin = dict(origin or {})
        super().__init__(folder, pictures=len(self.seeds), shard_size=config.shard_size)
        if self.local is not None:
            self.check(self.local)

    def check(self, source: PipelineSource) -> None:
        """UserError when scheduler, steps or LoRAs do not fit a pipeline."""
        check_scheduler(self.config.scheduler, source.scheduler_class)
        check_steps(self.config.scheduler, source.scheduler_class, self.config.steps)
        for lora in self.loras:
            check_lora(lora, source)

    @functools.cached_property
    def local(self) -> PipelineSource | None:
        """The pipeline, when it is a folder; None for a name on the hub."""
        folder = Path(self.config.pipeline)
        return describe_pipeline(folder) if folder.exists() else None

    def begin(self) -> None:
        """Write plan.json and prompts.jsonl, or check that those there are this work's."""
        plan = {"settings": settings_of(self.config, self.prompts), "parents": self._parents}
        path = self.folder / "plan.json"
        if path.exists() and read_json(path) != plan:
            raise UserError(
                f"{self.folder} holds samples of other prompts or settings, or of another pipeline "
                "or LoRA: name another --out"
            )
        if not (self.folder / PROMPTS).exists():
            write_bytes(self.folder / PROMPTS, self._prompt_lines())
        if not path.exists():
            write_json(path, plan)

    def make(self, part: int) -> None:
        """Draw one shard's pictures, each kept as soon as it is there, and write it."""
        seeds = self.seeds[part * self.config.shard_size :][: self.config.shard_size]
        kept = self.folder / "unfinished" / f"part-{part:05d}"
        samples = {seed: self._kept(kept, seed) for seed in seeds}
        left = [seed for seed in seeds if samples[seed] is None]
        title = f"drawing {part + 1}/{self.count}"
        with progress(title=title, total=len(seeds), unit="picture") as bar:
            bar.update(len(seeds) - len(left))
            while left:
                batch, left = left[: self._together], left[self._together :]
                for sample in self._drawn(batch):
                    samples[sample.seed] = sample
                    write_bytes(kept / f"{sample.seed}.png", sample_png(sample))
                bar.update(len(batch))
        write_shard(self.folder / self.shards[part], [s for s in samples.values() if s])
        shutil.rmtree(kept, ignore_errors=True)

    def finish(self) -> None:
        """Draw the contact sheet and write the done-marker."""
        shutil.rmtree(self.folder / "unfinished", ignore_errors=True)
        self.write_contact_sheet()
        opened = read_json(self.folder / OPENED)
        finish_sample_set(
            self.folder,
            count=len(self.seeds),
            labels=self.labels,
            settings={**settings_of(self.config, self.prompts), **opened["arithmetic"]},
            parents=_with_all_licences({**self._parents, **opened["parents"]}),
            shards=self.shards,
        )

    def drawn(self, source: PipelineSource, *, on_gpu: bool) -> Drawn:
        """What memory depends on."""
        return Drawn(
            width_px=self.config.width or source.size_px,
            height_px=self.config.height or source.size_px,
            batch=min(self._batch_size, self.config.shard_size) if on_gpu else 1,
            guided=self.config.guidance > 1,
        )

    @functools.cached_property
    def _parents(self) -> dict[str, Any]:
        """What the pictures come from, as far as it is known before anything is fetched."""
        worn = {"lora": [lora.parent for lora in self.loras]} if self.loras else {}
        if self.local is None:
            named = {"name": self.config.pipeline, "revision": self.config.revision}
            return {"pipeline": named, **worn, **self._origin}
        return {**_model(self.local, self.local.digest), **worn, **self._origin}

    @functools.cached_property
    def _place(self) -> str:
        import torch

        if self._device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        return self._device

    @property
    def _together(self) -> int:
        return 1 if self._place == "cpu" else min(self._batch_size, self.config.shard_size)

    @functools.cached_property
    def _pipeline(self) -> Any:
        from core.pretrained.text_to_image.opening import fetch_pipeline, open_pipeline

        with exclusive(self.folder / ".opening", wait=True):
            path = self.folder / OPENED
            opened = read_json(path) if path.exists() else None
            commit = opened["commit"] if opened else None
            folder, commit = fetch_pipeline(self.config.pipeline, commit or self.config.revision)
            source = self.local or describe_pipeline(folder)
            self.check(source)
            loras, worn = self._fetched_loras(source, opened)
            switches = self._switches(source, opened)
            if opened is None:
                parents = {} if commit is None else _model(source, source.digest)
                arithmetic = {"precision": switches.precision, "tile_px": switches.tile_px}
                facts = {"commit": commit, "arithmetic": arithmetic, "parents": parents | worn}
                write_json(path, facts)
        return open_pipeline(
            source,
            switches=switches,
            device=self._place,
            scheduler=self.config.scheduler,
            loras=loras,
        )

    def _fetched_loras(
        self, source: PipelineSource, opened: dict[str, Any] | None
    ) -> tuple[list[tuple[Path, float]], dict[str, Any]]:
        """Files and weights of the LoRAs, and their parents: of the hub, those that were opened."""
        from core.pretrained.text_to_image.adapters import fetch_lora

        if not self.loras:
            return [], {}
        had = opened["parents"]["lora"] if opened else [{}] * len(self.loras)
        files, parents = [], []
        for lora, before in zip(self.loras, had, strict=True):
            path, commit = fetch_lora(lora, before.get("commit"))
            left_out = check_lora(dataclasses.replace(lora, path=path), source)
            if left_out:
                print(f"{lora.name}: {left_out:,} of its layers have no place and are left out")
            files.append((path, lora.weight))
            told = {} if commit is None else {"name": lora.name, "commit": commit}
            parents.append({**parent_of(path), **told})
        return files, {"lora": parents}

    def _switches(self, source: PipelineSource, opened: dict[str, Any] | None) -> Switches:
        """What fits here; arithmetic and tiles as the first process had them."""
        from core.pretrained.text_to_image.fitting import fit

        config = self.config
        if opened is not None:
            had = opened["arithmetic"]
            tiling: Switch = "on" if had["tile_px"] else "off"
            config = dataclasses.replace(config, precision=had["precision"], tiling=tiling)
        numbers = {**source.numbers, "lora": numbers_of(self.loras)}
        switches, words = fit(
            dataclasses.replace(source, numbers=numbers),
            self.drawn(source, on_gpu=self._place != "cpu"),
            config,
            device=self._place,
            offload=self._offload,
        )
        print(words)
        return switches

    def _drawn(self, seeds: Sequence[int]) -> list[Sample]:
        """A batch, filled up with repeats: the network then always sees one shape."""
        from core.pretrained.text_to_image.drawing import draw_marked

        filled = [*seeds, *[seeds[0]] * (self._together - len(seeds))]
        texts = [self.prompts.of(seed).text for seed in filled]
        made = draw_marked(self._pipeline, self.config, texts, filled)
        return [
            Sample(image_hwc=image, label=self.prompts.of(seed).label, seed=seed, trouble=trouble)
            for seed, (image, trouble) in zip(seeds, made, strict=False)
        ]

    def _kept(self, folder: Path, seed: int) -> Sample | None:
        """A picture that was drawn before its process ended; None when there is none."""
        try:
            data = (folder / f"{seed}.png").read_bytes()
        except FileNotFoundError:
            return None
        return read_png(data, label=self.prompts.of(seed).label, seed=seed)

    def _prompt_lines(self) -> bytes:
        lines = []
        for seed in self.seeds:
            prompt = self.prompts.of(seed)
            row = {"seed": seed, "label": prompt.label, "prompt": prompt.text}
            lines.append(json.dumps(row, ensure_ascii=False) + "\n")
        return "".join(lines).encode()


def _model(source: PipelineSource, digest: str) -> dict[str, Any]:
    """Parents of a set, by which it is traced back: digest, class and licence of the pipeline."""
    licence = {"licence": source.licence} if source.licence else {}
    return {"model": digest, "pipeline_class": source.class_name, **licence}


def _with_all_licences(parents: dict[str, Any]) -> dict[str, Any]:
    """Parents whose licence is that of the pipeline and of every LoRA together."""
    if "lora" not in parents:
        return parents
    all_of_them = [of.get("licence", "unknown") for of in (parents, *parents["lora"])]
    return {**parents, "licence": " AND ".join(dict.fromkeys(all_of_them))}
