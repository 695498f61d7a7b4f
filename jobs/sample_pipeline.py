"""Draw pictures of prompts: python jobs/sample.py --pipeline NAME_OR_FOLDER --prompts FILE.

The pipeline is any of diffusers' that makes pictures of text: Stable Diffusion, SDXL, Playground, …
Prompts may hold wildcards: --prompt "a {colour} {animal} sticker" --wild animal=cat,dog
--wild colour=@colours.txt. --lora FILE:0.8 OTHER draws with LoRAs, such as those of finetune. The
set is one like those of our own models: curate and export it. Each picture depends on its seed
alone; the same command makes only what is missing.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from core.config import said_values
from core.errors import UserError
from core.files import digest_of, read_json
from core.pretrained.listening.animals import TEMPLATE
from core.pretrained.text_to_image.config import (
    TextToImageConfig,
    lora_settings,
    planned_prompts,
    settings_of,
)
from core.pretrained.text_to_image.memory import Offload, Switches, needed
from core.pretrained.text_to_image.source import cached_folder, describe_pipeline
from core.pretrained.text_to_image.work import TextToImageParts, draw_sample_set
from jobs.cli import run_verb
from jobs.cluster import Cluster, ClusterFlags
from jobs.preflight import require_disk
from jobs.verbs import Verb

_REPEATED = ("--lora", "--prompt", "--wild")
"""Flags that take several values."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PipelineFlags:
    """What to draw, and where."""

    config: TextToImageConfig
    out: Path | None = None
    """Folder of the sample set; default: samples/<pipeline>-<digest of prompts and settings>."""
    batch_size: int = 1
    """Pictures computed together on a GPU. More is faster and moves colours by a level or so; 1
    gives the same bits for any split. The CPU always draws one by one."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto = the GPU if there is one."""
    offload: Offload = "auto"
    """What waits in main memory until the GPU needs it: nothing (off), whole networks (model), or
    layers (sequential, slow); auto = no more than free memory asks for."""
    from_audio: Path | None = None
    """Sound file (WAV, MP3, FLAC, OGG): draw what YAMNet hears, by --prompt with {animal} in it;
    default: "a {animal} sticker, plain background"."""
    yamnet: Path | None = None
    """YAMNet's weights for --from-audio; default: MENAGERIE_YAMNET, else fetched once."""
    cluster: ClusterFlags = dataclasses.field(default_factory=ClusterFlags)
    dry_run: bool = False
    """Print the full config and stop."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UserError(f"--batch-size is {self.batch_size}; it must be 1 or more")
        if self.yamnet is not None and self.from_audio is None:
            raise UserError("--yamnet goes with --from-audio: name a sound file to listen to")
        config = self.config
        if self.from_audio is None:
            planned_prompts(config)
        elif len(config.prompt) > 1 or config.prompts or config.wild:
            raise UserError("--from-audio takes one --prompt: leave out --prompts and --wild")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and draw."""
    return run_verb(VERB, _gathered(sys.argv[1:] if argv is None else argv))


def _gathered(arguments: Sequence[str]) -> list[str]:
    """Arguments with the values of a repeated flag together: else the last one alone would count.

    `--lora A --lora B` becomes `--lora A B`.
    """
    others: list[str] = []
    values: dict[str, list[str]] = {}
    taking = others
    for argument in arguments:
        flag, given, value = argument.partition("=")
        if flag in _REPEATED:
            taking = values.setdefault(flag, [])
            taking += [value] if given else []
        else:
            taking = others if argument.startswith("-") else taking
            taking.append(argument)
    return [*others, *(word for flag, found in values.items() for word in (flag, *found))]


def _run(flags: PipelineFlags) -> None:
    out, (config, origin) = _out(flags), _as_heard(flags)
    if origin:
        print(f"heard: {origin['sound']['category']}: drawing {config.prompt[0]!r}")
    made = draw_sample_set(
        config,
        out,
        batch_size=flags.batch_size,
        device=flags.device,
        offload=flags.offload,
        origin=origin,
    )
    black = len(made.troubled())
    refused = f"; {black:,} blacked out by its safety checker: export refuses them" if black else ""
    print(f"sample set: {out} ({made.count:,} pictures, digest {made.digest[:12]}{refused})")
    print(f"contact sheet: {out / 'contact_sheet.png'}")
    print(f"next: python jobs/export.py --samples {out}")


def _out(flags: PipelineFlags) -> Path:
    """Named by the pipeline, and by what the prompts are, not by where they were read."""
    if flags.out is not None:
        return flags.out
    config = flags.config
    if flags.from_audio is None:
        facts = settings_of(config, planned_prompts(config))
    else:
        from core.pretrained.listening.sampling import sound_digest

        facts = {**said_values(config), "sound": sound_digest(flags.from_audio)}
        facts |= lora_settings(config)
    name = Path(config.pipeline).name
    return Path("samples") / f"{name}-{digest_of([config.pipeline, facts])[:8]}"


def _as_heard(flags: PipelineFlags) -> tuple[TextToImageConfig, dict[str, Any]]:
    """The config with the prompt that --from-audio gives, and the set's parents that tell why."""
    if flags.from_audio is None:
        return flags.config, {}
    from core.pretrained.listening.sampling import heard_prompt

    template = flags.config.prompt[0] if flags.config.prompt else TEMPLATE
    sound = heard_prompt(flags.from_audio, yamnet=flags.yamnet, template=template)
    plan = _out(flags) / "plan.json"
    begun = read_json(plan).get("parents", {}).get("sound", {}) if plan.exists() else {}
    if {**sound, "score": 0} == {**begun, "score": 0}:
        sound = begun  # the last digits of a score are the processor's
    return dataclasses.replace(flags.config, prompt=(sound["prompt"],)), {"sound": sound}


def _parts(flags: PipelineFlags) -> TextToImageParts:
    config, origin = _as_heard(flags)
    return TextToImageParts(
        config,
        _out(flags),
        batch_size=flags.batch_size,
        device=flags.device,
        offload=flags.offload,
        origin=origin,
    )


def _check(flags: PipelineFlags, cluster: Cluster) -> list[str]:
    """The pipeline is readable, its pictures have room, and memory is likely to do."""
    work = _parts(flags)
    source = work.local
    if source is None and (folder := cached_folder(flags.config.pipeline, flags.config.revision)):
        source = describe_pipeline(folder)
        work.check(source)
    worn = [f"LoRA: {lora.name} by {lora.weight:g}" for lora in work.loras]
    if source is None:
        return [f"pictures: {len(work.seeds):,} by {flags.config.pipeline} of the hub", *worn]
    drawn = work.drawn(source, on_gpu=bool(cluster.gpus_per_node))
    size = drawn.width_px * drawn.height_px * 3 * len(work.seeds)
    require_disk(_out(flags), size)
    chosen = flags.config.precision
    precision = chosen if chosen != "auto" else "bf16" if cluster.gpus_per_node else "fp32"
    need = needed(source, drawn, Switches(precision=precision))
    where = "GPU memory" if cluster.gpus_per_node else "memory"
    if cluster.kind == "slurm" and not cluster.gpus_per_node:
        where += f" of --mem-gb {cluster.mem_gb:g}"
    return [
        f"pictures: {len(work.seeds):,} of {drawn.width_px}×{drawn.height_px} px in {work.count} "
        f"shards, at most {size / 2**20:,.0f} MiB",
        *worn,
        f"{where}: about {need.peak / 2**30:.1f} GiB in {precision} (weights "
        f"{need.weights / 2**30:.2f}, beside them at most "
        f"{max(need.denoising, need.decoding) / 2**30:.2f}); less with what --offload, --tiling "
        "and --precision switch on when it is short",
    ]


VERB = Verb(
    name="sample_pipeline",
    description=__doc__ or "",
    flags=PipelineFlags,
    run=_run,
    out=_out,
    parts=_parts,
    check=_check,
)

if __name__ == "__main__":
    sys.exit(main())
