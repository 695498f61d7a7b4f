"""LoRAs put on an opened pipeline, before it is placed in memory: safetensors alone are read."""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.pretrained.text_to_image.lorafiles import WEIGHTS_FILE, LoraFile

_TROUBLE = (OSError, ValueError, TypeError, AttributeError, KeyError, RuntimeError, ImportError)


def fetch_lora(lora: LoraFile, commit: str | None = None) -> tuple[Path, str | None]:
    """A LoRA's file, and its commit when it came from the hub (None for a local file).

    A name on the hub is TEAM/NAME, or TEAM/NAME/FILE for another file than diffusers' own. What the
    hub's cache holds is not fetched again. UserError when it cannot be had.
    """
    if lora.path is not None:
        return lora.path, None
    from huggingface_hub import hf_hub_download

    team, name, *inside = lora.name.split("/")
    try:
        file = "/".join(inside) or WEIGHTS_FILE
        path = Path(hf_hub_download(f"{team}/{name}", file, revision=commit))
    except Exception as error:  # the hub's client has a dozen kinds, of two HTTP libraries
        raise UserError(
            f"--lora {lora.name} is no file or folder, and could not be fetched from the hub "
            f"({hub_reason(error)}): check the name and the network, or download it elsewhere and "
            "give its file"
        ) from None
    places = path.parts
    return path, places[len(places) - 1 - places[::-1].index("snapshots") + 1]


def put_on(pipeline: Any, loras: Sequence[tuple[Path, float]]) -> None:
    """Load LoRAs and let them add up, each by its weight; UserError for one that does not fit."""
    if not loras:
        return
    if not hasattr(pipeline, "load_lora_weights"):
        raise UserError(f"--lora: a {type(pipeline).__name__} takes none")
    names = [f"lora-{number}" for number in range(len(loras))]
    with _quiet():
        for name, (path, _) in zip(names, loras, strict=True):
            _load(pipeline, path, name)
        pipeline.set_adapters(names, [weight for _, weight in loras])


def hub_reason(error: BaseException) -> str:
    """Why something of the hub could not be had, in a line, with what to do where that is known."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and "Request ID" not in line]
    gated = any("gated" in line.lower() for line in told) or "Gated" in type(error).__name__
    if gated:
        return "it is gated: accept its licence on its page, then `hf auth login` or set HF_TOKEN"
    said = told[0] if told else first_line(error)
    return said[:160].rstrip(" .:")


def first_line(error: BaseException) -> str:
    """The first line of what a library says, not too long."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:160].rstrip(" .:")


def _load(pipeline: Any, path: Path, name: str) -> None:
    # From the file itself, and not as tensors: its header tells alpha.
    place = {"weight_name": path.name, "use_safetensors": True, "local_files_only": True}
    try:
        pipeline.load_lora_weights(path.parent, adapter_name=name, **place)
    except _TROUBLE as error:
        why: BaseException = error
        while why.__context__ is not None:  # diffusers fails again while it tidies up
            why = why.__context__
        raise UserError(
            f"--lora {path} cannot be put on a {type(pipeline).__name__} ({first_line(why)}): it "
            "may be of another base model"
        ) from None
    if not any(name in names for names in pipeline.get_list_adapters().values()):
        raise UserError(f"--lora {path} changes nothing of a {type(pipeline).__name__}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """diffusers warns of every text encoder that a LoRA leaves alone, peft of a second LoRA."""
    logger = logging.getLogger("diffusers")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`", UserWarning)
            yield
    finally:
        logger.setLevel(level)
