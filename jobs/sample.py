"""Draw pictures from a trained run into a sample set: python jobs/sample.py --run RUN.

With --from-audio the class is the one that a sound file names. With --pipeline NAME_OR_FOLDER the
pictures are a pretrained text-to-image pipeline's, and the flags others: --pipeline NAME --help
shows them.

The set is Parquet shards and a contact sheet. Each picture depends on its seed alone; the same
command makes only what is missing. With --tune-guidance it draws no set, but looks for the model's
best defaults of sampling, which later sets are drawn with.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from core.config import config_digest
from core.diffusion.defaults import from_model
from core.diffusion.generate import SamplingParts, generate_sample_set
from core.diffusion.modelinfo import describe_model, model_digest
from core.diffusion.sampleconfig import SampleConfig
from core.errors import UserError
from core.files import digest_of
from core.pretrained.listening.sampling import heard_class, sound_digest
from jobs.cli import run_verb
from jobs.cluster import Cluster, ClusterFlags
from jobs.preflight import require_disk
from jobs.verbs import Verb


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleFlags:
    """What to draw, and where."""

    config: SampleConfig
    out: Path | None = None
    """Folder of the sample set; default: samples/<run>-<config digest>."""
    batch_size: int = 32
    """Pictures computed together; changes speed and memory, not the pictures."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto = the GPU if there is one."""
    from_audio: Path | None = None
    """Sound file (WAV, MP3, FLAC, OGG): draw --per-class pictures of the class that its top
    categories name, as YAMNet hears it; instead of --classes."""
    yamnet: Path | None = None
    """YAMNet's weights for --from-audio; default: MENAGERIE_YAMNET, else fetched once."""
    tune_guidance: bool = False
    """Draw no set; search for the guidance, steps, solver and averaging width that come nearest to
    the training pictures, and make them the model's defaults. Those that you state are kept."""
    data: Path | None = None
    """Pinned dataset for --tune-guidance to come near to; default: what the run was trained on."""
    tune_samples: int = 256
    """Pictures for each setting of --tune-guidance; the last few get four times as many."""
    cluster: ClusterFlags = dataclasses.field(default_factory=ClusterFlags)
    dry_run: bool = False
    """Print the full config and stop."""

    def __post_init__(self) -> None:
        if self.tune_samples < 8:
            raise UserError(f"--tune-samples is {self.tune_samples}; it must be 8 or more")
        if self.data is not None and not self.tune_guidance:
            raise UserError("--data goes with --tune-guidance: a set is drawn without any dataset")
        if self.from_audio is not None and (self.config.classes or self.config.labels):
            raise UserError("--from-audio chooses the class: leave out --classes and --labels")
        if self.yamnet is not None and self.from_audio is None:
            raise UserError("--yamnet goes with --from-audio: name a sound file to listen to")
        drawn = self.config.classes or self.config.labels or self.out or self.from_audio
        if self.tune_guidance and drawn:
            raise UserError(
                "--tune-guidance draws all classes and no set: leave out --classes, --labels, "
                "--from-audio, --out"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and sample; with --pipeline, by what was trained elsewhere."""
    arguments = sys.argv[1:] if argv is None else argv
    if any(argument.split("=", 1)[0] == "--pipeline" for argument in arguments):
        from jobs import sample_pipeline

        return sample_pipeline.main(arguments)
    return run_verb(VERB, arguments)


def _run(flags: SampleFlags) -> None:
    if flags.tune_guidance:
        _tune(flags)
        return
    out, (config, origin) = _out(flags), _as_heard(flags)
    for words in (_words_of_sound(origin), _words_from_model(config)):
        if words:
            print(words)
    made = generate_sample_set(
        config, out, batch_size=flags.batch_size, device=flags.device, origin=origin
    )
    print(f"sample set: {out} ({made.count:,} pictures, digest {made.digest[:12]})")
    print(f"contact sheet: {out / 'contact_sheet.png'}")
    print(f"next: python jobs/export.py --samples {out}")


def _tune(flags: SampleFlags) -> None:
    from core.evaluation.tune import tune  # torch

    found = tune(
        flags.config,
        flags.data,
        count=flags.tune_samples,
        batch_size=flags.batch_size,
        device=flags.device,
    )
    run = flags.config.run
    print(f"Fréchet distance: {found.ours.frechet:.3f} before, {found.best.frechet:.3f} now")
    print(f"defaults and why: {describe_model(run).folder / 'README.md'}")
    print(f"next: python jobs/sample.py --run {run} --out samples/{run.name}-tuned")


def _out(flags: SampleFlags) -> Path:
    run = flags.config.run
    digest = config_digest(flags.config)
    if flags.from_audio is not None and flags.out is None:
        digest = digest_of([digest, sound_digest(flags.from_audio)])
    return flags.out or Path("samples") / f"{run.name}-{digest[:8]}"


def _as_heard(flags: SampleFlags) -> tuple[SampleConfig, dict[str, Any]]:
    """The config with the class that --from-audio names, and the set's parents that tell why."""
    if flags.from_audio is None:
        return flags.config, {}
    labels = describe_model(flags.config.run).label_names
    plan = _out(flags) / "plan.json"
    sound = heard_class(flags.from_audio, labels, yamnet=flags.yamnet, plan=plan)
    return dataclasses.replace(flags.config, classes=(sound["label"],)), {"sound": sound}


def _parts(flags: SampleFlags) -> SamplingParts:
    if flags.tune_guidance:
        raise UserError(
            "--tune-guidance searches in one process and is no array: give --cluster inline, on a "
            "machine like those that will sample"
        )
    config, origin = _as_heard(flags)
    return SamplingParts(
        config, _out(flags), batch_size=flags.batch_size, device=flags.device, origin=origin
    )


def _check(flags: SampleFlags, cluster: Cluster) -> list[str]:
    """The model is readable and the disk has room."""
    work = _parts(flags)
    model_digest(flags.config.run)
    size = work.model.picture_bytes * len(work.labels)
    require_disk(_out(flags), size)
    told = (_words_of_sound(_as_heard(flags)[1]), _words_from_model(flags.config))
    return [
        *filter(None, told),
        f"pictures: {len(work.labels):,} of {work.model.size_px} px in {work.count} shards, "
        f"at most {size / 2**20:,.0f} MiB",
    ]


def _words_of_sound(origin: dict[str, Any]) -> str:
    """What was heard, in one line; empty without a sound."""
    if not origin:
        return ""
    sound = origin["sound"]
    return f"heard: {sound['category']} ({sound['score']:.2f}): drawing {sound['label']}"


def _words_from_model(config: SampleConfig) -> str:
    """Which settings the model decides, in one line; empty when none."""
    own = from_model(config, describe_model(config.run))
    return "from the model: " + ", ".join(f"{k} {v}" for k, v in own.items()) if own else ""


VERB = Verb(
    name="sample",
    description=__doc__ or "",
    flags=SampleFlags,
    run=_run,
    out=_out,
    parts=_parts,
    check=_check,
)

if __name__ == "__main__":
    sys.exit(main())
