"""From a category's name to the animal that is heard, a class of ours, and words for a picture.

The table knows AudioSet's categories, and is matched by what stands between a name's commas.
AudioSet has no voice of a fish, a rabbit or a turtle: those classes are found by their own names
only, should a model of sounds have them.
"""

import dataclasses
import re
from collections.abc import Sequence

from core.errors import UserError
from core.pretrained.listening.timeline import SILENCE, Heard, Timeline

TEMPLATE = "a {animal} sticker, plain background"
TOP = 3
"""Among how many of the top categories a class is looked for."""
LEAST = 0.1
"""Score below which a category names no class."""

NAMED_BY = {
    "bird": (
        *("bird vocalization", "bird call", "bird song", "chirp", "tweet", "squawk"),
        *("bird flight", "flapping wings", "fowl"),
    ),
    "cat": ("purr", "meow", "hiss", "caterwaul", "kitten", "kitty"),
    "dog": (
        *("bark", "yip", "howl", "bow-wow", "growling", "whimper (dog)", "canidae", "wolves"),
        *("puppy", "hound", "wolf"),
    ),
    "fish": ("goldfish",),
    "frog": ("croak", "toad"),
    "horse": ("clip-clop", "neigh", "whinny", "pony", "foal"),
    "rabbit": ("bunny", "hare"),
    "turtle": ("tortoise",),
    "cow": ("cattle", "bovinae", "moo", "bull", "calf"),
    "pig": ("oink", "piglet"),
    "goat": ("bleat",),
    "sheep": ("bleat", "lamb"),
    "chicken": ("rooster", "cluck", "crowing", "cock-a-doodle-doo", "hen"),
    "turkey": ("gobble",),
    "duck": ("quack",),
    "goose": ("honk",),
    "pigeon": ("dove", "coo"),
    "crow": ("caw", "raven"),
    "owl": ("hoot",),
    "lion": ("roaring cats (lions, tigers)", "roar"),
    "mouse": ("rodents", "rats", "mice", "rat"),
    "cricket": (),
    "mosquito": (),
    "fly": ("housefly",),
    "bee": ("wasp",),
    "snake": ("rattle",),
    "whale": ("whale vocalization",),
}
"""Words that name an animal beside its own; AudioSet's calls first, then words of people."""
IS_A = {
    **dict.fromkeys(("chicken", "turkey", "duck", "goose", "pigeon", "crow", "owl"), "bird"),
    **dict.fromkeys(("cricket", "mosquito", "fly", "bee"), "insect"),
}
"""Animals that are also of a wider class."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Named:
    """A class or an animal, and the category that named it."""

    label: str
    heard: Heard


def animals_of(category: str) -> list[str]:
    """The animals that a category names, the narrower before the wider; none for no animal's."""
    words = _words(category)
    found = [animal for animal, by in NAMED_BY.items() if words & {animal, *by}]
    wider = [IS_A[animal] for animal in found if animal in IS_A]
    own = [word for word in ("insect",) if word in words]
    return list(dict.fromkeys([*found, *own, *wider]))


def label_for(category: str, labels: Sequence[str]) -> str | None:
    """Which of these labels a category names: in its own words, or as the same animal; or None."""
    words = _words(category)
    by_words = {label: _spoken(label) for label in labels if _spoken(label)}
    for label, spoken in by_words.items():
        if spoken in words or _singular(spoken) in words:
            return label
    for animal in animals_of(category):
        for label, spoken in by_words.items():
            if animal in animals_of(_singular(spoken.split()[-1]))[:1]:
                return label
    return None


def class_of(timeline: Timeline, labels: Sequence[str]) -> Named:
    """The label that the highest of the `TOP` categories names which names any.

    UserError tells the top categories and the labels when none does.
    """
    top = timeline.top(TOP)
    for heard in top:
        label = label_for(heard.category, labels)
        if label is not None and heard.score >= LEAST:
            return Named(label=label, heard=heard)
    told = ", ".join(f"{heard.category} {heard.score:.2f}" for heard in top) or "nothing at all"
    raise UserError(
        f"{timeline.sound['name']} sounds like {told}: none of it names a class of this model "
        f"({', '.join(labels)}); give another sound, or say the class by --classes"
    )


def prompt_for(timeline: Timeline, template: str = TEMPLATE) -> str | None:
    """Words for a picture: the template with the animal heard most, else with the top category.

    None when nothing but silence is heard. UserError when the template lacks {animal}.
    """
    require_template(template)
    found = subject_of(timeline)
    if found is None:
        return None
    article = "an" if found.label[0] in "aeiou" else "a"
    worded = re.sub(r"\ba \{animal\}", f"{article} {{animal}}", template)
    return worded.replace("{animal}", found.label)


def subject_of(timeline: Timeline) -> Named | None:
    """The animal heard most among the `TOP` categories, else what the first of them is called.

    None when nothing but silence is heard.
    """
    loud = [heard for heard in timeline.top(TOP + 1) if heard.score >= LEAST]
    top = [heard for heard in loud if heard.category != SILENCE][:TOP]
    if not top:
        return None
    for heard in top:
        if animals := animals_of(heard.category):
            return Named(label=animals[0], heard=heard)
    return Named(label=re.split(r",| \(", top[0].category)[0].lower(), heard=top[0])


def require_template(template: str) -> None:
    """UserError unless {animal}, and no other name in braces, stands in the template."""
    if set(re.findall(r"\{([^}]*)\}", template)) != {"animal"}:
        raise UserError(
            f"the template {template!r} must have {{animal}} in it, and no other braces"
        )


def _words(category: str) -> set[str]:
    """The whole name and what stands between its commas, in small letters."""
    name = category.lower().strip()
    return {name, *(part.strip() for part in name.split(","))}


def _spoken(label: str) -> str:
    return re.sub(r"[_\-\s]+", " ", label.lower()).strip()


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word
