"""How well and how fast recordings are heard.

    python tests/benchmarks/listening.py --data DATA [--seconds 120]

DATA holds audio/<animal>_<n>.wav and weights/yamnet.tflite. For each animal: the share of
recordings that have it, or its call, among the top 3 categories, for several rules of what is top,
side by side; how far the same sound agrees as FLAC, Ogg and MP3; and how many times faster than the
sound itself a long one is heard.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from core.audio import read_audio
from core.pretrained.listening.animals import animals_of
from core.pretrained.listening.timeline import GROUPS
from core.pretrained.listening.yamnet import RATE_HZ, Yamnet, listen, open_yamnet

RULES: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "mean": lambda scores: scores.mean(axis=0),
    "highest": lambda scores: scores.max(axis=0),
    "middle (ours)": lambda scores: (scores.mean(axis=0) + scores.max(axis=0)) / 2,
}


def main() -> None:
    """Print tables and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=120.0)
    given = parser.parse_args()
    yamnet = open_yamnet(given.data / "weights" / "yamnet.tflite")
    recordings = sorted((given.data / "audio").glob("*.wav"))
    result = {
        "top3": _shares(recordings, yamnet),
        "same_first": _formats(recordings, yamnet),
        "times_real_time": round(_speed(given.seconds, yamnet), 1),
    }
    print(json.dumps(result))


def _shares(recordings: list[Path], yamnet: Yamnet) -> dict[str, dict[str, float]]:
    """Rule → animal → share of recordings; `asked` is of dogs, cats and birds together."""
    scores = {path: listen(path, yamnet)[0].scores for path in recordings}
    shares = {}
    for name, rule in RULES.items():
        hits: dict[str, list[bool]] = {}
        for path, heard in scores.items():
            animal = path.name.split("_")[0]
            hits.setdefault(animal, []).append(animal in _animals(rule(heard), yamnet))
        hits["asked"] = hits["dog"] + hits["cat"] + hits["bird"]
        shares[name] = {animal: round(float(np.mean(one)), 3) for animal, one in hits.items()}
        print(f"{name:>14}  " + "  ".join(f"{a} {s:4.0%}" for a, s in shares[name].items()))
    return shares


def _animals(ranks: NDArray[np.float32], yamnet: Yamnet) -> set[str]:
    ranked = [yamnet.categories[place] for place in np.argsort(-ranks)]
    top = [category for category in ranked if category not in GROUPS][:3]
    return {animal for category in top for animal in animals_of(category)}


def _formats(recordings: list[Path], yamnet: Yamnet) -> dict[str, float]:
    """Format → share of recordings whose first category is the WAV's."""
    shares = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("flac", "ogg", "mp3"):
            same = []
            for path in recordings:
                sound, other = read_audio(path), Path(folder) / f"{path.stem}.{kind}"
                soundfile.write(other, np.clip(sound.samples, -1, 1), sound.rate_hz)
                first = [listen(one, yamnet)[0].top(1)[0].category for one in (path, other)]
                same.append(first[0] == first[1])
            shares[kind] = round(float(np.mean(same)), 3)
            print(f"{kind:>14}  {shares[kind]:4.0%} have the WAV's first category")
    return shares


def _speed(seconds: float, yamnet: Yamnet) -> float:
    noise = np.random.default_rng(0).normal(0, 0.1, round(seconds * RATE_HZ)).astype(np.float32)
    begun = time.process_time()
    yamnet.hear(noise)
    return seconds / (time.process_time() - begun)


if __name__ == "__main__":
    main()
