"""What a sample set is to show, by a sound: a class of ours, or a prompt for a pipeline's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.audio import sound_bytes
from core.errors import UserError
from core.files import digest_bytes, digest_file, read_json
from core.pretrained.listening.animals import TEMPLATE, class_of, prompt_for, subject_of
from core.pretrained.listening.weights import find_weights
from core.pretrained.listening.yamnet import listen, open_yamnet


def heard_class(
    audio: Path, labels: Sequence[str], *, yamnet: Path | None, plan: Path
) -> dict[str, Any]:
    """The class of `labels` that a sound names, and why: a set's parent.

    Holds `label`, the `category` that named it, its `score`, and the digests `sha256` (the sound)
    and `yamnet`. plan: of a set that was begun, whose answer for this sound and model stays: the
    last digits of a score are the processor's. UserError names the top categories when none fits.
    """
    weights = find_weights(yamnet)
    made_of = {"sha256": sound_digest(audio), "yamnet": digest_file(weights)}
    if plan.exists():
        begun = read_json(plan).get("parents", {}).get("sound", {})
        if made_of.items() <= begun.items() and begun.get("label") in labels:
            return dict(begun)
    timeline, _ = listen(audio, open_yamnet(weights))
    named = class_of(timeline, labels)
    return {
        **made_of,
        "label": named.label,
        "category": named.heard.category,
        "score": round(named.heard.score, 2),
    }


def heard_prompt(audio: Path, *, yamnet: Path | None, template: str = TEMPLATE) -> dict[str, Any]:
    """A prompt for what a sound is heard as, and why: a set's parent.

    Holds `prompt`, the `category` behind it, its `score`, and the digests `sha256` (the sound) and
    `yamnet`. UserError when nothing but silence is heard.
    """
    weights = find_weights(yamnet)
    timeline, _ = listen(audio, open_yamnet(weights))
    prompt, found = prompt_for(timeline, template), subject_of(timeline)
    if prompt is None or found is None:
        raise UserError(f"{audio} holds nothing but silence: give a sound that can be heard")
    return {
        "sha256": timeline.sound["sha256"],
        "yamnet": digest_file(weights),
        "prompt": prompt,
        "category": found.heard.category,
        "score": round(found.heard.score, 2),
    }


def sound_digest(audio: Path) -> str:
    """SHA-256 of a sound file; UserError when there is none."""
    return digest_bytes(sound_bytes(audio))
