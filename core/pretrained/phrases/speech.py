"""Phrases in no known language: the embedded generator, which needs no model and no network.

speak("cat", seed=7)      # always the same phrase
"""

import re

import numpy as np

from core.pretrained.phrases.phonology import Phonology, number_of, phonology_of
from core.pretrained.phrases.strange import is_strange
from core.seeds import mixed_seed

_TRIES = 200


def speak(label: str, seed: int, phonology: Phonology | None = None) -> str:
    """What one animal of a class says; the same class and seed give the same phrase.

    Every word of it, between hyphens too, passes `is_strange`.
    """
    tongue = phonology or phonology_of(label)
    rng = np.random.default_rng(mixed_seed(number_of(label), seed))
    clauses = [_clause(tongue, rng) for _ in range(_between(tongue.clauses, rng))]
    text = tongue.pause.join(clauses) + _one(tongue.ends, rng)
    return _capitals(text)


def words_of(phrase: str) -> list[str]:
    """The words of a phrase, small, hyphenated ones in their parts."""
    return re.findall(r"[^\W\d_]+", phrase.lower())


def _clause(tongue: Phonology, rng: np.random.Generator) -> str:
    words = [_one(tongue.calls, rng)] if tongue.calls else []
    for _ in range(_between(tongue.words, rng)):
        word = _word(tongue, rng)
        words.append(f"{word}-{_echo(word, tongue, rng)}" if _chance(tongue.echo, rng) else word)
    return " ".join(words)


def _word(tongue: Phonology, rng: np.random.Generator) -> str:
    """A word that English has not; drawn again until it is one."""
    word = ""
    for _ in range(_TRIES):
        count = _between(tongue.syllables, rng)
        parts = [_one(tongue.onsets, rng) + _one(tongue.nuclei, rng) for _ in range(count)]
        word = "".join(parts) + _one(tongue.codas, rng)
        if _chance(tongue.stretch, rng):
            word = _drawn_out(word)
        if is_strange(word):
            return word
    return f"krr{word}"


def _echo(word: str, tongue: Phonology, rng: np.random.Generator) -> str:
    """The word again with another vowel, as in ding-dong; the very word where that is English."""
    vowels = sorted({sound[0] for sound in tongue.nuclei if sound[0] in "aeiouy"})
    changed = re.sub(r"[aeiou]", lambda _: _one(tuple(vowels), rng), word, count=1)
    return changed if is_strange(changed) else word


def _drawn_out(word: str) -> str:
    return re.sub(r"([aeiou])([^aeiou]*)$", r"\1\1\1\2", word)


def _capitals(text: str) -> str:
    """A capital at the beginning and after every full stop."""
    return re.sub(r"(^|[.!?] )(\w)", lambda found: found[1] + found[2].upper(), text)


def _one(sounds: tuple[str, ...], rng: np.random.Generator) -> str:
    return sounds[int(rng.integers(len(sounds)))]


def _between(bounds: tuple[int, int], rng: np.random.Generator) -> int:
    return int(rng.integers(bounds[0], bounds[1] + 1))


def _chance(share: float, rng: np.random.Generator) -> bool:
    return bool(rng.random() < share)
