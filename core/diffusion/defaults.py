"""A model's own defaults of sampling: read by every sampling, written by tuning. Free of torch.

They lie in the model's `model_index.json`, with their evidence in its README.md.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.diffusion.modelinfo import ModelInfo, describe_model
from core.diffusion.sampleconfig import SampleConfig
from core.errors import UserError
from core.files import read_json, write_bytes, write_json

BUILT_IN: dict[str, Any] = {
    "guidance": 1.5,
    "guidance_interval": (0.2, 20.0),
    "guidance_parallel": 1.0,
    "guidance_rescale": 0.0,
    "guide": "label",
    "steps": 24,
    "solver": "dpmpp-2m",
    "ema_width": 0.0,
}
"""Where neither the command nor the model says."""

_BEGIN, _END = "<!-- defaults of sampling -->", "<!-- end of the defaults -->"


def resolved(config: SampleConfig, model: ModelInfo) -> SampleConfig:
    """The config with a value for all that was left to the model or to us.

    UserError when it asks for what the model has not.
    """
    missing = {name: value for name, value in BUILT_IN.items() if getattr(config, name) is None}
    whole = dataclasses.replace(config, **(missing | from_model(config, model)))
    if whole.guide == "early" and whole.guidance != 1 and not model.has_guide:
        raise UserError(
            f"{model.folder} has no early snapshot to guide by: give --guide label, or train with "
            "--snapshots 8"
        )
    if whole.solver in ("ddpm", "ddim") and whole.steps and whole.steps > model.levels:
        raise UserError(
            f"--steps {whole.steps} is more than the {model.levels} noise levels that "
            f"{whole.solver} walks along with this model: give at most that, or another --solver"
        )
    return whole


def from_model(config: SampleConfig, model: ModelInfo) -> dict[str, Any]:
    """The values that the config leaves to the model and the model has; UserError for odd ones."""
    own = _checked(model.defaults, f"the defaults in {model.folder / 'model_index.json'}")
    if not model.has_averages:
        own.pop("ema_width", None)  # Of a model that was moved away from its run.
    return {name: value for name, value in own.items() if getattr(config, name) is None}


def write_defaults(run: Path, defaults: Mapping[str, Any], evidence: str) -> None:
    """Make these a model's defaults (names as in BUILT_IN) in place of those it had.

    evidence: Markdown that says why, for the model card. Weights stay as they are. UserError for a
    name or value that sampling does not know.
    """
    model = describe_model(run)
    own = _checked(defaults, "the defaults to be written")
    resolved(SampleConfig(run=run), dataclasses.replace(model, defaults=own))
    card = model.folder / "README.md"
    text = card.read_text(encoding="utf-8") if card.exists() else f"# {run.name}\n"
    write_bytes(card, _with_section(text, _section(own, evidence)).encode())
    index = model.folder / "model_index.json"
    write_json(index, read_json(index) | {"defaults": own})


def _checked(defaults: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The same with tuples for lists; UserError names what is wrong with `what`."""
    if unknown := sorted(set(defaults) - set(BUILT_IN)):
        raise UserError(f"{what} name {unknown[0]!r}; known are {', '.join(BUILT_IN)}")
    own: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in defaults.items()
    }
    try:
        SampleConfig(run=Path(), **own)
    except (UserError, TypeError, ValueError) as error:
        raise UserError(f"{what} are wrong: {error}") from None
    return own


def _section(defaults: Mapping[str, Any], evidence: str) -> str:
    flags = " ".join(f"--{name.replace('_', '-')} {_words(v)}" for name, v in defaults.items())
    return (
        f"{_BEGIN}\n## Defaults of sampling\n\nUnless told otherwise: `{flags}`\n\n"
        f"{evidence.strip()}\n{_END}\n"
    )


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _with_section(text: str, section: str) -> str:
    """The card with this section in place of the one it had, or at its end."""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END + "\n")
    if not begin or not end:
        return f"{text.rstrip()}\n\n{section}"
    return before + section + after
