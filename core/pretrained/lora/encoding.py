"""Making an encoded dataset: every picture to latents, every caption to embeddings, once.

All processes of a training call it together; each makes its share of the parts.
"""

import contextlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from core.config import config_to_dict
from core.data.decode import UnreadableError
from core.errors import BusyError, UserError
from core.files import canonical_json, exclusive
from core.pretrained.lora.buckets import sizes_of
from core.pretrained.lora.config import LoraConfig
from core.pretrained.lora.encoded import DONE, Encoded, open_encoded
from core.pretrained.lora.parts import EncodingParts, Part
from core.pretrained.lora.pictures import Shown, training_pictures
from core.pretrained.text_to_image.source import PipelineSource
from core.progress import progress
from core.threads import fixed_threads
from core.training.processes import Processes

_SETTINGS = ("resolution_px", "buckets", "bucket_step_px", "caption", "caption_column")
_PAUSE_S = 0.5
"""Between looks at a lock that another process holds, and for another node's parts."""
_TURN_S = 60.0
"""Of waiting for another training; between turns the other processes hear that nobody died."""
_WAITING = "waiting"
_SHOWN_WITHIN_S = 90.0


class Interrupted(KeyboardInterrupt):
    """A stop was asked for. What is encoded stays; the same call goes on."""

    def __init__(self, urgency: int) -> None:
        super().__init__("the encoding was stopped")
        self.urgency = urgency
        """As it was asked."""


def encoded_dataset(
    config: LoraConfig,
    source: PipelineSource,
    opened: Callable[[], Any],
    folder: Path,
    *,
    processes: Processes,
    asked: Callable[[], int] = lambda: 0,
) -> Encoded:
    """The config's pictures as the pipeline sees them, made in `folder` unless they are there.

    opened: gives the pipeline, on the CPU, where it is needed. asked: how urgently a stop is wished
    for, 0 for not at all.

    UserError when the folder holds others, or there is nothing to train on; Interrupted when asked.
    """
    with contextlib.ExitStack() as held:
        work = _Work(config, source, opened, folder)
        begun: dict[str, Any] = {_WAITING: True}
        while _WAITING in begun:  # in turns, so that the other processes hear of the first
            begun = processes.from_first(lambda: work.begin(held, asked))
        if "urgency" in begun:
            raise Interrupted(begun["urgency"])
        missing = [Part(*part) for part in begun["missing"]]
        if missing:
            work.make(missing, processes, asked)
        if not begun["there"]:
            processes.from_first(work.finish)
    return open_encoded(folder)


class _Work:
    """One process's side of it."""

    def __init__(
        self, config: LoraConfig, source: PipelineSource, opened: Callable[[], Any], folder: Path
    ) -> None:
        self._config, self._source, self._opened, self._folder = config, source, opened, folder
        self._shown = training_pictures(config)
        self._parts = EncodingParts(folder, self._shown, sizes_of(config, source))
        self._all: list[Part] = []
        self._waited = False

    def begin(self, held: contextlib.ExitStack, asked: Callable[[], int]) -> dict[str, Any]:
        """Whether it is there, else which parts are missing; or how urgently to stop; or that
        another training is still at it."""
        if not (self._folder / DONE).exists():
            if waiting := self._hold(held, asked):
                return waiting
            if not (self._folder / DONE).exists():
                self._all = self._parts.parts(self._source.digest)
                return {"there": False, "missing": self._parts.missing(self._all)}
        self._check()
        return {"there": True, "missing": []}

    def _hold(self, held: contextlib.ExitStack, asked: Callable[[], int]) -> dict[str, Any]:
        """Keep others from making the same; empty, or why that is not so yet."""
        until_s = time.monotonic() + _TURN_S
        while not _locked(self._folder, held):
            if not self._waited:
                print(f"waiting for another process, which encodes pictures in {self._folder}")
            self._waited = True
            if urgency := asked():
                return {"urgency": urgency}
            if time.monotonic() > until_s:
                return {_WAITING: True}
            time.sleep(_PAUSE_S)
        return {}

    def make(self, missing: list[Part], processes: Processes, asked: Callable[[], int]) -> None:
        """Make this process's share, in turns with the others; Interrupted when any is asked."""
        pipeline, device = self._opened(), processes.device
        left = sum(map(self._parts.pictures_in, missing))

        def look() -> None:
            # Alone, no part need be waited for; several agree after each.
            if processes.count == 1 and (urgency := asked()):
                raise Interrupted(urgency)

        with (
            progress(
                title="encoding",
                total=len(self._shown),
                done=len(self._shown) - left,
                unit="picture",
                hidden=not processes.first,
            ) as bar,
            fixed_threads(),
            _whole_autoencoder(pipeline, device),
        ):
            for first in range(0, len(missing), processes.count):
                turn = missing[first : first + processes.count]
                processes.at(f"the encoding of part {first + 1} of {len(missing)}")
                if processes.rank < len(turn):
                    self._parts.make(turn[processes.rank], pipeline, device, look)
                bar.update(sum(map(self._parts.pictures_in, turn)))
                if urgency := processes.vote(asked)():
                    raise Interrupted(urgency)

    def finish(self) -> None:
        """Put the parts together, once they are seen: network file systems take their time to show
        what another node wrote."""
        deadline = time.monotonic() + _SHOWN_WITHIN_S
        while self._parts.missing(self._all) and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
        self._parts.join(self._all, self._folder, self._made_by())

    def _made_by(self) -> dict[str, Any]:
        values = config_to_dict(self._config)
        return {"pipeline": self._source.digest, **{name: values[name] for name in _SETTINGS}}

    def _check(self) -> None:
        """UserError unless what is there is made of the same."""
        found, made_by = open_encoded(self._folder, verify=True), self._made_by()
        there = found.facts["made_by"]
        if differing := [name for name in made_by if there.get(name) != made_by[name]]:
            raise UserError(
                f"{found.folder} was encoded with other {', '.join(differing)}: name another folder"
            )
        names = {item.name: found.captions[item.caption] for item in found.items}
        now = {picture.name: picture.caption for picture in self._shown}
        refused = set(now) - set(names)
        rejected = (found.folder / "rejected.jsonl").read_text(encoding="utf-8")
        if any(now.get(name) != caption for name, caption in names.items()) or any(
            canonical_json(name) not in rejected for name in refused
        ):
            raise UserError(
                f"{found.folder} was encoded from other pictures or captions: name another folder"
            )
        _check_contents(found, self._shown)


def _locked(folder: Path, held: contextlib.ExitStack) -> bool:
    """Hold a dataset that is to be made against other trainings, and remove what a killed one left;
    False while another has it."""
    try:
        held.enter_context(exclusive(folder.parent / f".{folder.name}-lock"))
    except BusyError:
        return False
    leftover = re.compile(rf"\.{re.escape(folder.name[:100])}\.\w{{8}}\.tmp")
    for path in folder.parent.iterdir():
        if leftover.fullmatch(path.name) and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
    return True


@contextlib.contextmanager
def _whole_autoencoder(pipeline: Any, device: torch.device) -> Iterator[None]:
    """The autoencoder in float32 on the device within: SDXL's overflows in float16."""
    vae, dtype = pipeline.vae, pipeline.vae.dtype

    def cast(to: torch.dtype) -> None:
        if vae.dtype != to:
            torch.nn.Module.to(vae, to)

    cast(torch.float32)
    vae.to(device)
    try:
        yield
    finally:
        vae.to("cpu")
        cast(dtype)


def _check_contents(found: Encoded, shown: list[Shown]) -> None:
    """UserError when a picture is another under the same name."""
    digests = {item.name: item.sha256 for item in found.items}
    for picture in shown:
        try:
            changed = picture.name in digests and picture.digest() != digests[picture.name]
        except UnreadableError:
            changed = True
        if changed:
            raise UserError(
                f"{picture.name} changed since {found.folder} was encoded: name another folder"
            )
