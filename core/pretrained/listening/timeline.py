"""What was heard, and when: categories × moments with scores, saved as `timeline.json`."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.files import digest_of, read_json, write_json

FORMAT = "menagerie-timeline-1"
GROUPS = frozenset(
    {
        "Animal",
        "Domestic animals, pets",
        "Livestock, farm animals, working animals",
        "Wild animals",
    }
)
"""Categories of AudioSet that hold others and name no animal: they score with whatever is heard of
them, and are left out of the top ones."""
SILENCE = "Silence"
FAINT = 0.01
"""Categories that never reach it are not saved."""
_DIGITS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heard:
    """A category's scores over a whole sound."""

    category: str
    score: float
    """(mean + max) / 2 over the moments: the mean counts how long it lasts, the maximum lets a
    single bark count too."""
    mean: float
    max: float
    at_s: float
    """Middle of the moment at which it is loudest to the model."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timeline:
    """Scores of categories over time."""

    categories: tuple[str, ...]
    scores: NDArray[np.float32]
    """Moments × categories, 0 to 1, to four digits; categories do not exclude each other."""
    hop_s: float
    """From the beginning of a moment to the next one's."""
    window_s: float
    """Length of a moment, longer than the hop: they overlap. The last one is filled up with
    silence."""
    sound: dict[str, Any]
    """The file: name, sha256, rate_hz, channels, seconds."""
    made_by: dict[str, Any]
    """The model: its digests."""

    @property
    def seconds(self) -> float:
        """Length of the sound."""
        return float(self.sound["seconds"])

    def top(self, count: int = 3) -> list[Heard]:
        """The categories heard most, falling by `Heard.score`; not `GROUPS`, not what is faint."""
        means, most = self.scores.mean(axis=0), self.scores.max(axis=0)
        ranks = (means + most) / 2
        found = []
        places = range(len(self.categories))
        for place in sorted(places, key=lambda place: (-ranks[place], self.categories[place])):
            if self.categories[place] in GROUPS or most[place] < FAINT:
                continue
            loudest = int(self.scores[:, place].argmax()) * self.hop_s + self.window_s / 2
            found.append(
                Heard(
                    category=self.categories[place],
                    score=round(float(ranks[place]), _DIGITS),
                    mean=round(float(means[place]), _DIGITS),
                    max=round(float(most[place]), _DIGITS),
                    at_s=round(min(loudest, self.seconds), 3),
                )
            )
            if len(found) == count:
                break
        return found

    @property
    def digest(self) -> str:
        """SHA-256 of what it holds."""
        return digest_of(self.as_json())

    def as_json(self) -> dict[str, Any]:
        """What `timeline.json` holds: scores by category, of those that are not always faint."""
        loud = np.flatnonzero(self.scores.max(axis=0) >= FAINT)
        rows = {
            self.categories[place]: [
                round(float(score), _DIGITS) for score in self.scores[:, place]
            ]
            for place in loud
        }
        return {
            "format": FORMAT,
            "sound": self.sound,
            "made_by": self.made_by,
            "hop_s": self.hop_s,
            "window_s": self.window_s,
            "times_s": [round(k * self.hop_s, 3) for k in range(len(self.scores))],
            "faint": FAINT,
            "scores": rows,
        }


def write_timeline(path: Path, timeline: Timeline, **more: Any) -> None:
    """Save it, atomically, with what `more` was made of it; the same bytes each time."""
    write_json(path, {**timeline.as_json(), **more})


def read_timeline(path: Path) -> Timeline:
    """A saved timeline, with the categories that it holds; UserError when it is none."""
    saved = read_json(path)
    try:
        if saved["format"] != FORMAT:
            raise UserError(
                f"{path} has the format {saved['format']!r}, not {FORMAT}: listen again"
            )
        rows = list(saved["scores"].values())
        moments = len(saved["times_s"])
        return Timeline(
            categories=tuple(saved["scores"]),
            scores=np.array(rows, dtype=np.float32).reshape(len(rows), moments).T,
            hop_s=float(saved["hop_s"]),
            window_s=float(saved["window_s"]),
            sound=saved["sound"],
            made_by=saved["made_by"],
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f"{path} is no timeline of a sound: listen again") from None
