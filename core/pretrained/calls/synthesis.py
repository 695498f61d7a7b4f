"""A call by its recipe: the embedded synthesiser, which needs no weights and no network.

wave = synthesise("dog", seed=7)      # float64 in ±1, RATE_HZ, one channel, 1 to 3 s
"""

import dataclasses

import numpy as np

from core.pretrained.calls.levels import SILENCE_S, finished
from core.pretrained.calls.recipes import Recipe, number_of, recipe_of, syllables_of
from core.pretrained.calls.syllables import RATE_HZ, Syllable, Wave, render
from core.seeds import mixed_seed

SHORTEST_S, LONGEST_S = 1.0, 3.0
"""Length of a call, its silences included."""


def synthesise(label: str, seed: int, recipe: Recipe | None = None) -> Wave:
    """The call of one animal of a class; the same class and seed give the same samples."""
    seeds = np.random.SeedSequence(mixed_seed(number_of(label), seed))
    shape, sound = (np.random.default_rng(child) for child in seeds.spawn(2))
    syllables = _in_time(syllables_of(recipe or recipe_of(label), shape))
    length_s = max(syllable.at_s + syllable.length_s for syllable in syllables)
    wave = np.zeros(round(max(length_s, SHORTEST_S - 2 * SILENCE_S) * RATE_HZ) + 1)
    for syllable in syllables:
        piece = render(syllable, sound)
        start = round(syllable.at_s * RATE_HZ)
        piece = piece[: len(wave) - start]
        wave[start : start + len(piece)] += piece
    return finished(wave, RATE_HZ)


def _in_time(syllables: list[Syllable]) -> list[Syllable]:
    """From 0 s on, and quicker where they would last too long."""
    begin = min(syllable.at_s for syllable in syllables)
    end = max(syllable.at_s + syllable.length_s for syllable in syllables)
    pace = max(1.0, (end - begin) / (LONGEST_S - 2 * SILENCE_S - 0.001))
    return [
        dataclasses.replace(
            syllable, at_s=(syllable.at_s - begin) / pace, length_s=syllable.length_s / pace
        )
        for syllable in syllables
    ]
