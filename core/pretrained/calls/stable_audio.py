"""Calls by diffusers' StableAudioPipeline, from a local folder or the hub; the best of several."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np

from core.errors import UserError
from core.files import digest_file, digest_of
from core.pretrained.asked import Animal
from core.pretrained.calls.choosing import judge
from core.pretrained.calls.config import CallsConfig
from core.pretrained.calls.levels import finished
from core.pretrained.calls.recipes import number_of
from core.pretrained.calls.syllables import Wave
from core.seeds import mixed_seed

Device = Literal["auto", "cpu", "cuda"]
_WANTED = "stabilityai/stable-audio-open-1.0, or a folder that such a pipeline was saved in"


class StableAudio:
    """A loaded pipeline. UserError when it cannot be had, or is another kind of pipeline."""

    def __init__(self, config: CallsConfig, device: Device = "auto") -> None:
        self._config = config
        self._pipeline, self._commit = _load(config.pipeline, device)
        self.rate_hz = int(self._pipeline.vae.sampling_rate)
        self._check_length()

    def call(self, animal: Animal) -> tuple[Wave, dict[str, Any]]:
        """A finished call at `rate_hz`, and the record of all that were made for it.

        UserError when all of them are silent.
        """
        waves = self._candidates(animal)
        found = [judge(wave, self.rate_hz, animal.label) for wave in waves]
        best = min(range(len(found)), key=lambda place: found[place].rank)
        if not found[best].usable:
            raise UserError(
                f"{self._config.pipeline} made only silence for {animal.name}: change --prompt, or "
                "give more --steps or --waveforms"
            )
        record = [dataclasses.asdict(quality) for quality in found]
        origin = {} if self._commit is None else {"commit": self._commit}
        return finished(waves[best], self.rate_hz), {"kept": best, "candidates": record, **origin}

    def _candidates(self, animal: Animal) -> list[Wave]:
        """Each from a seed of its own, so that more of them leave the first ones as they were."""
        import torch

        config = self._config
        generators = [
            torch.Generator("cpu").manual_seed(mixed_seed(number_of(animal.label), animal.seed, n))
            for n in range(config.waveforms)
        ]
        with warnings.catch_warnings():
            # The scheduler asks for times that float32 rounds a hair beyond the first and last.
            warnings.filterwarnings("ignore", "Should have t[ab]", UserWarning)
            made = self._pipeline(
                prompt=config.prompt.replace("{label}", animal.label),
                negative_prompt=config.negative_prompt if config.guidance > 1 else None,
                audio_end_in_s=config.seconds,
                num_inference_steps=config.steps,
                guidance_scale=config.guidance,
                num_waveforms_per_prompt=config.waveforms,
                generator=generators,
            )
        sounds = made.audios.detach().float().cpu().numpy().astype(np.float64)
        return [sound.mean(axis=0) for sound in sounds]

    def _check_length(self) -> None:
        whole = self._pipeline.transformer.config.sample_size * self._pipeline.vae.hop_length
        longest = whole / self.rate_hz
        if self._config.seconds > longest:
            raise UserError(
                f"--seconds is {self._config.seconds:g}; {self._config.pipeline} makes at most "
                f"{longest:.2f} s"
            )


def pipeline_digest(name: str) -> str:
    """What identifies a pipeline: the digest of a folder's files, or its name on the hub."""
    folder = Path(name)
    if not folder.is_dir():
        return name
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    kept = [path for path in files if path.suffix in (".json", ".safetensors", ".model", ".txt")]
    return digest_of({path.relative_to(folder).as_posix(): digest_file(path) for path in kept})


def _load(name: str, device: Device) -> tuple[Any, str | None]:
    """The pipeline, ready on its device, and its commit on the hub; safetensors alone are read."""
    import torch

    from core.pretrained.text_to_image.opening import fetch_pipeline

    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        folder, commit = fetch_pipeline(name)
    except UserError as error:
        without = "without --pipeline the embedded synthesiser makes the calls"
        raise UserError(f"{error}; {without}") from None
    try:
        from diffusers import StableAudioPipeline

        pipeline = StableAudioPipeline.from_pretrained(folder, use_safetensors=True)
    except ImportError as error:
        raise UserError(f"StableAudioPipeline needs more packages: {_first(error)}") from None
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RuntimeError) as error:
        raise UserError(
            f"{name} is no readable StableAudioPipeline ({_first(error)}); wanted is {_WANTED}"
        ) from None
    if type(pipeline).__name__ != "StableAudioPipeline":
        raise UserError(f"{name} is no StableAudioPipeline; wanted is {_WANTED}")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(where), commit


def _first(error: Exception) -> str:
    """The first line of what a library says, not too long."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:100].rstrip(" .:")
