"""YAMNet hears a sound: 521 categories of AudioSet, eight moments a second.

The model: Plakal and Ellis, "YAMNet" (2020), a MobileNet on AudioSet (Gemmeke et al., "Audio Set:
An ontology and human-labeled dataset for audio events", 2017). It takes 0.975 s at 16 kHz.
"""

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.audio import Samples, Sound, decode_audio, sound_bytes
from core.errors import UserError
from core.files import digest_bytes, digest_file, digest_of
from core.litert import LiteModel, open_lite
from core.pretrained.listening.timeline import Timeline
from core.pretrained.listening.weights import category_names, find_weights
from core.progress import progress

RATE_HZ = 16_000
WINDOW = 15_600
"""Samples of a moment."""
HOP = 1_920
"""Samples between the beginnings of moments: 0.12 s. Its authors take 0.48 s; then 4 of 30
recordings get another first category as MP3, for noise alone. Four times as many moments: 1 of 30.
"""
_LONG = 2_400
"""Moments from which on a bar is shown: some five minutes of sound."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Yamnet:
    """The opened model."""

    model: LiteModel
    categories: tuple[str, ...]
    made_by: dict[str, str]
    """Digests of its weights and of the names."""

    def hear(self, samples: Samples) -> NDArray[np.float32]:
        """Scores, moments × categories, of a mono sound at `RATE_HZ`; its end is filled with
        silence to a whole moment.
        """
        count = 1 + max(0, -(-(len(samples) - WINDOW) // HOP))
        filled = np.zeros((count - 1) * HOP + WINDOW, dtype=np.float32)
        filled[: len(samples)] = samples
        scores = np.empty((count, len(self.categories)), dtype=np.float32)
        for k in progress(range(count), title="listening", unit="moment", hidden=count < _LONG):
            window = filled[k * HOP : k * HOP + WINDOW]
            scores[k] = self._scores(window)
        return np.asarray(np.round(scores, 4), dtype=np.float32)

    def _scores(self, window: Samples) -> NDArray[np.float32]:
        outputs = self.model.run(window.reshape(self.model.shape))
        fitting = [output for output in outputs if output.size == len(self.categories)]
        return np.asarray(fitting[0], dtype=np.float32).ravel()


def open_yamnet(given: Path | None = None) -> Yamnet:
    """The model at `given`, or where `find_weights` finds it; UserError when it is another one."""
    weights = find_weights(given)
    categories = category_names(weights)
    model = open_lite(weights)
    if int(np.prod(model.shape)) != WINDOW or model.dtype != np.float32:
        shape = "×".join(map(str, model.shape))
        raise UserError(
            f"{weights} takes {shape} values; YAMNet takes {WINDOW}: 0.975 s of sound at 16 kHz"
        )
    outputs = model.run(np.zeros(model.shape, dtype=np.float32))
    if all(output.size != len(categories) for output in outputs):
        sizes = ", ".join(str(output.size) for output in outputs)
        raise UserError(
            f"{weights} gives {sizes} scores and {len(categories)} categories are named beside it: "
            "the two files do not belong together"
        )
    made_by = {"yamnet": digest_file(weights), "categories": digest_of(list(categories))}
    return Yamnet(model=model, categories=categories, made_by=made_by)


def listen(path: Path, yamnet: Yamnet) -> tuple[Timeline, Sound]:
    """What is heard in a sound file, and the sound as it was heard: mono, 16 kHz.

    UserError, in one line, for a file that is no sound (`core.audio.read_audio`).
    """
    data = sound_bytes(path)
    try:
        sound = decode_audio(data)
    except UserError as error:
        raise UserError(f"{path} {error}") from None
    mono = sound.mono().at(RATE_HZ)
    facts = {
        "name": path.name,
        "sha256": digest_bytes(data),
        "seconds": round(sound.seconds, 3),
        "rate_hz": sound.rate_hz,
        "channels": sound.channels,
    }
    timeline = Timeline(
        categories=yamnet.categories,
        scores=yamnet.hear(mono.samples),
        hop_s=HOP / RATE_HZ,
        window_s=WINDOW / RATE_HZ,
        sound=facts,
        made_by=yamnet.made_by,
    )
    return timeline, mono
