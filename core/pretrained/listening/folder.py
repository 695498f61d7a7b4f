"""Sound files in, a folder for each out: what was heard as data, as a plot and as a page.

<file name>/timeline.svg    the waveform above the scores
<file name>/timeline.html   the same, with the sound to play and a table; one file
<file name>/timeline.json   scores, top categories, class and prompt; written last
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.data.starter import LABELS
from core.diffusion.modelinfo import describe_model
from core.errors import UserError
from core.files import exclusive, read_json, write_bytes
from core.pretrained.listening.animals import (
    TEMPLATE,
    Named,
    class_of,
    prompt_for,
    require_template,
)
from core.pretrained.listening.drawing import draw_timeline, timeline_page
from core.pretrained.listening.timeline import Timeline, write_timeline
from core.pretrained.listening.yamnet import Yamnet, listen, open_yamnet

DONE = "timeline.json"
_IN_DATA = 10
"""Top categories in timeline.json."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListenConfig:
    """All that a timeline depends on."""

    audio: tuple[Path, ...]
    """Sound files: WAV, MP3, FLAC, OGG or AIFF."""
    run: Path | None = None
    """Training run whose classes are looked for; default: the starter classes."""
    template: str = TEMPLATE
    """Prompt for a picture; {animal} becomes what is heard most."""
    yamnet: Path | None = None
    """Weights (yamnet.tflite, yamnet_class_map.csv beside them); default: MENAGERIE_YAMNET, else
    fetched once where there is a network."""

    def __post_init__(self) -> None:
        require_template(self.template)
        if not self.audio:
            raise UserError("--audio names no file: name one sound file or more")
        names = [path.name for path in self.audio]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise UserError(
                f"--audio names two files called {doubled[0]}, and each gets a folder of its name: "
                "rename one, or listen to them with two commands"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listened:
    """What was made of one sound."""

    folder: Path
    timeline: Timeline
    named: Named | None
    """Its class, if it names one."""
    prompt: str | None
    reused: bool
    """Whether it was there already, made of the same."""


def listen_to_files(config: ListenConfig, out: Path) -> list[Listened]:
    """Listen to each file and write its folder in `out`; finished ones are left alone.

    UserError at the first that is no sound: those before it are kept.
    """
    yamnet = open_yamnet(config.yamnet)
    labels = LABELS if config.run is None else describe_model(config.run).label_names
    with exclusive(out):
        return [_one(path, yamnet, labels, config, out / path.name) for path in config.audio]


def _one(
    path: Path, yamnet: Yamnet, labels: Sequence[str], config: ListenConfig, folder: Path
) -> Listened:
    timeline, sound = listen(path, yamnet)
    named, prompt = _named(timeline, labels), prompt_for(timeline, config.template)
    more: dict[str, Any] = {
        "top": [dataclasses.asdict(heard) for heard in timeline.top(_IN_DATA)],
        "labels": list(labels),
        "label": None if named is None else named.label,
        "label_by": None if named is None else dataclasses.asdict(named.heard),
        "template": config.template,
        "prompt": prompt,
    }
    done = folder / DONE
    reused = done.exists() and read_json(done) == {**timeline.as_json(), **more}
    if not reused:
        done.unlink(missing_ok=True)
        drawn = draw_timeline(timeline, sound)
        page = timeline_page(timeline, sound, drawn, named, prompt)
        write_bytes(folder / "timeline.svg", drawn)
        write_bytes(folder / "timeline.html", page.encode())
        write_timeline(done, timeline, **more)
    return Listened(folder=folder, timeline=timeline, named=named, prompt=prompt, reused=reused)


def _named(timeline: Timeline, labels: Sequence[str]) -> Named | None:
    try:
        return class_of(timeline, labels)
    except UserError:
        return None
