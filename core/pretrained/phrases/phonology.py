"""The sounds of a class's tongue: written down for the starter classes, drawn for all others.

phonology = phonology_of("dragon")      # always the same one for this name
"""

import dataclasses
import hashlib

import numpy as np

Sounds = tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phonology:
    """What a tongue is built from; spelling follows the sound."""

    calls: Sounds
    """Onomatopoeia: what the animal's own voice sounds like; phrases open with one. None: any word
    opens them."""
    onsets: Sounds
    """What syllables begin with; may hold an empty one."""
    nuclei: Sounds
    """Their vowels."""
    codas: Sounds
    """What the last syllable of a word ends with; may hold an empty one."""
    syllables: tuple[int, int] = (1, 2)
    """Fewest and most of a word."""
    words: tuple[int, int] = (2, 4)
    """Fewest and most of a clause, beside the call."""
    clauses: tuple[int, int] = (1, 2)
    """Fewest and most of a phrase."""
    echo: float = 0.2
    """Share of words that are said twice, joined by a hyphen."""
    stretch: float = 0.2
    """Share of words whose last vowel is drawn out."""
    pause: str = ", "
    """Between clauses."""
    ends: Sounds = (".", "!", "?")
    """How a phrase closes; what stands there twice is twice as frequent."""


STARTERS = {
    "bird": Phonology(
        calls=("tsvuii", "pjirr", "pjutt", "fjiui", "tjyrri"),
        onsets=("ts", "tj", "p", "fj", "dj", "tsv", "r", "l", "pj"),
        nuclei=("i", "ii", "ui", "iu", "e", "y"),
        codas=("", "", "t", "tt", "rr", "p"),
        syllables=(1, 3),
        words=(2, 4),
        echo=0.45,
        stretch=0.1,
        pause=" ~ ",
        ends=("!", "!", "~"),
    ),
    "cat": Phonology(
        calls=("mrrao", "nyauu", "miyaau", "prrmau", "mrrp"),
        onsets=("m", "mr", "mrr", "ny", "prr", "my", "rr", ""),
        nuclei=("ao", "iau", "au", "eow", "a", "iya"),
        codas=("", "w", "p", "u", "rr", "m"),
        words=(2, 3),
        stretch=0.5,
        pause="… ",
        ends=("?", "?", "…", "."),
    ),
    "dog": Phonology(
        calls=("wrruff", "vauu", "grrawuf", "wuuf", "bwauw"),
        onsets=("w", "wr", "v", "grr", "bw", "b", "hr", "wh"),
        nuclei=("u", "uu", "a", "au", "ou", "o"),
        codas=("f", "ff", "v", "rr", "wf", "hf"),
        words=(2, 4),
        echo=0.35,
        stretch=0.05,
        pause="! ",
        ends=("!", "!", "!", "!?"),
    ),
    "fish": Phonology(
        calls=("blwub", "gluubl", "pwobl", "blobwo", "bwuub"),
        onsets=("bl", "blw", "gl", "pw", "bw", "gw", "w", "lw"),
        nuclei=("o", "u", "uu", "oo", "uo"),
        codas=("b", "p", "bl", "lb", "pl", "bb"),
        words=(2, 3),
        echo=0.5,
        stretch=0.1,
        pause=" ° ",
        ends=("…", "…", "."),
    ),
    "frog": Phonology(
        calls=("kwaekk", "brrhekek", "koaxx", "rrebb", "kwekk"),
        onsets=("kw", "kr", "krr", "br", "rr", "gr", "k", "qu"),
        nuclei=("e", "o", "oa", "a", "ae", "oe"),
        codas=("kk", "k", "xx", "bb", "x", "kt"),
        words=(2, 4),
        echo=0.4,
        stretch=0.05,
        pause=", ",
        ends=(".", ".", "!"),
    ),
    "horse": Phonology(
        calls=("hihihrr", "niyhehe", "brrhuh", "hnyihi", "ihihirr"),
        onsets=("h", "hn", "hny", "nyh", "brrh", "hr", "n", "fhr"),
        nuclei=("i", "e", "ie", "u", "ihi", "ehe"),
        codas=("", "h", "hh", "rr", "hrr", "hn"),
        syllables=(2, 3),
        words=(1, 3),
        echo=0.1,
        stretch=0.35,
        pause=" – ",
        ends=("!", "!", "."),
    ),
    "rabbit": Phonology(
        calls=("hnff", "tkmif", "snfip", "mfimp", "hnfif"),
        onsets=("fn", "mf", "snf", "tk", "m", "n", "hnf", "pf"),
        nuclei=("i", "e", "ii", "ie", "y"),
        codas=("f", "ff", "mf", "p", "mp", "nf"),
        words=(2, 3),
        echo=0.3,
        stretch=0.05,
        pause=". ",
        ends=(".", ".", "?"),
    ),
    "turtle": Phonology(
        calls=("hhaas", "oomhh", "ghaauh", "hhuoom", "mhoag"),
        onsets=("hh", "gh", "mh", "m", "h", "zh", "shh", "ngh"),
        nuclei=("oo", "aa", "uo", "ua", "oa", "ou"),
        codas=("m", "mh", "hh", "ng", "gh", "sh"),
        words=(1, 2),
        echo=0.05,
        stretch=0.7,
        pause=" … ",
        ends=("…", "…", "."),
    ),
}
"""The embedded classes' tongues."""

_ONSETS = (
    *("krr", "zhr", "mrr", "vr", "tjs", "pw", "bw", "gw", "fj", "mj", "ngh", "kv", "zv", "dzh"),
    *("hrr", "tkl", "rr", "lw", "shv", "vl", "hny", "k", "m", "t", "n", "v", "z", "l", "d", "g"),
)
_NUCLEI = ("a", "e", "i", "o", "u", "aa", "ii", "uu", "oa", "uo", "ao", "iu", "ae", "ua", "y")
_CODAS = ("", "", "rr", "kk", "hh", "zh", "mh", "lk", "vv", "f", "x", "mp", "ng", "b", "t", "sh")


def phonology_of(label: str) -> Phonology:
    """A class's tongue; for a class that has none written down, one drawn from its name."""
    if label in STARTERS:
        return STARTERS[label]
    rng = np.random.default_rng(number_of(label))
    onsets, nuclei, codas = (
        tuple(str(sound) for sound in rng.choice(pool, count, replace=False))
        for pool, count in ((_ONSETS, 7), (_NUCLEI, 4), (_CODAS, 4))
    )
    most = int(rng.integers(2, 4))
    return Phonology(
        calls=(),
        onsets=onsets,
        nuclei=nuclei,
        codas=codas,
        syllables=(int(rng.integers(1, most + 1)), most),
        echo=round(float(rng.uniform(0, 0.4)), 2),
        stretch=round(float(rng.uniform(0, 0.4)), 2),
        pause=str(rng.choice([", ", " – ", "… ", "! "])),
        ends=tuple(str(end) for end in rng.choice([".", "!", "?", "…"], 3)),
    )


def number_of(label: str) -> int:
    """A number that a name stands for in seeds."""
    return int.from_bytes(hashlib.sha256(b"tongue:" + label.encode()).digest()[:7], "big")
