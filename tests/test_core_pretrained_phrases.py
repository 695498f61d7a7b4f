"""Phrases by the embedded generator: a tongue for each class, and no word of a known one."""

from collections import Counter
from pathlib import Path

from core.pretrained.phrases.phonology import STARTERS, phonology_of
from core.pretrained.phrases.speech import speak, words_of
from core.pretrained.phrases.strange import is_strange
from tests.needs import missing

WORDS = Path("/usr/share/dict/words")
OTHERS = ("dragon", "unicorn", "Ω-beast", "class 7")


def letters(phrase):
    """How often a phrase has each three letters that follow each other."""
    whole = " ".join(words_of(phrase))
    return Counter(whole[place : place + 3] for place in range(len(whole) - 2))


def closeness(one, other):
    shared = sum(count * other[key] for key, count in one.items())
    lengths = [sum(count**2 for count in counts.values()) ** 0.5 for counts in (one, other)]
    return shared / (lengths[0] * lengths[1])


def test_a_class_and_a_seed_always_say_the_same():
    for label in (*STARTERS, *OTHERS):
        assert speak(label, 7) == speak(label, 7)
        assert len({speak(label, seed) for seed in range(50)}) >= 45


def test_what_is_said_never_changes_from_one_version_to_the_next():
    assert (
        speak("cat", 0) == "Mrrao prriauprrauuuw nyeowrr-nyiowrr… prrmau nyiauuuu mriaurr-mriaurr."
    )
    assert speak("dog", 0) == "Wuuf bubwuuf-bubwuuf grrouv-grrouv vuuhf bwauff-bwouff!?"


def test_a_tongue_is_told_from_the_others_by_its_letters():
    labels = (*STARTERS, *OTHERS)
    known = {
        label: sum((letters(speak(label, s)) for s in range(25)), Counter()) for label in labels
    }
    right = [
        label == max(known, key=lambda other: closeness(letters(speak(label, seed)), known[other]))
        for label in labels
        for seed in range(100, 115)
    ]
    assert sum(right) / len(right) >= 0.95


def test_every_word_has_letters_that_english_does_not_join():
    for label in (*STARTERS, *OTHERS):
        for seed in range(100):
            phrase = speak(label, seed)
            assert all(is_strange(word) for word in words_of(phrase)), phrase
            assert phrase.isprintable()
            assert 4 <= len(phrase) <= 200
            assert phrase[-1] in "".join(phonology_of(label).ends)


def test_the_check_knows_english_words():
    for word in ("cat", "meow", "woof", "croak", "strange", "through", "rhythm", "queue", "brrr"):
        assert not is_strange(word), word
    for word in ("Mrrao", "krro", "wuuf", "jii"):
        assert is_strange(word), word


def test_no_word_stands_in_a_list_of_english_words():
    if not WORDS.is_file():
        missing("no word list: apt-get install wamerican")
    english = set(WORDS.read_text(encoding="utf-8").lower().split())
    assert "meow" in english
    said = {
        word
        for label in (*STARTERS, *(f"class {n}" for n in range(30)))
        for seed in range(60)
        for word in words_of(speak(label, seed))
    }
    assert len(said) > 5000
    assert not said & english
    assert not [word for word in english if is_strange(word)]
