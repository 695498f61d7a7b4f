"""What an import would change: what is new, what is there already, what contradicts.

A plan is pure and deterministic: candidates and known pictures in, items with choices out. People
look at it, choose, and `MergePlan.decide` returns plain records for whoever writes the database.
"""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from core.data.decode import UnreadableError
from core.errors import UserError
from curation_app.intake.candidates import Candidate
from curation_app.intake.words import clean_label

NEW, AMBIGUOUS, CONFLICT, NEAR = "new", "ambiguous", "conflict", "near"
SAME, REFUSED = "same", "refused"
KINDS = (NEW, AMBIGUOUS, CONFLICT, NEAR, SAME, REFUSED)
"""In the order that people want to see them. `ambiguous`: new, but the import itself gives these
bytes several classes; `conflict`: the collection has these bytes in another class."""
TAKE, SKIP, OURS, THEIRS = "take", "skip", "ours", "theirs"
CHOICES = {
    NEW: (TAKE, SKIP),
    AMBIGUOUS: (TAKE, SKIP),
    NEAR: (SKIP, TAKE),
    CONFLICT: (OURS, THEIRS),
    SAME: (SKIP,),
    REFUSED: (SKIP,),
}
"""What may be done with an item of each kind; the default comes first."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """A picture of the collection that is merged into."""

    id: int
    sha256: str
    label: str
    name: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Near:
    """Two pictures that look alike, at least one of them a candidate."""

    sha256: str
    other: str
    """The SHA-256 of the other one, a known picture or a candidate."""
    distance: float = 0.0
    """Smaller is more alike: bits of a dHash, or whatever the caller counts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Item:
    """One picture of an import, however often the import has it."""

    kind: str
    key: str
    """What choices name it by: its digest, or its name when it was refused."""
    candidate: Candidate
    also: tuple[Candidate, ...] = ()
    """Further candidates with the very same bytes."""
    labels: tuple[str, ...] = ()
    """The classes that the import gives to these bytes; the first is the one that is proposed."""
    known: tuple[Known, ...] = ()
    """Pictures of the collection with the same bytes, or near copies of it."""
    near: str = ""
    """Of a near copy: the digest of the most alike picture."""
    distance: float | None = None

    @property
    def choices(self) -> tuple[str, ...]:
        """What may be done with it; the default comes first."""
        return CHOICES[self.kind]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """What somebody decided about an item."""

    action: str
    label: str = ""
    """With `take` or `theirs`: this class instead of the proposed one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Relabel:
    """A known picture that gets the import's class."""

    picture_id: int
    sha256: str
    before: str
    after: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Merge:
    """What is to be written: pictures to add, and known ones to give another class."""

    additions: list[Candidate]
    relabels: list[Relabel]
    skipped: list[Item]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MergePlan:
    """An import beside a collection, item by item, in the order of the import."""

    items: list[Item]

    def of_kind(self, kind: str) -> list[Item]:
        """The items of one kind."""
        return [item for item in self.items if item.kind == kind]

    def counts(self) -> dict[str, int]:
        """How many items there are of each kind, those with none included."""
        found = collections.Counter(item.kind for item in self.items)
        return {kind: found[kind] for kind in KINDS}

    def new_by_label(self) -> dict[str, int]:
        """How many new pictures each class would get, by name."""
        found = collections.Counter(item.labels[0] for item in self.of_kind(NEW))
        return dict(sorted(found.items()))

    def decide(
        self, choices: Mapping[str, Choice], *, by_kind: Mapping[str, str] | None = None
    ) -> Merge:
        """Records to write, by the choices for single items, else for kinds, else by default.

        UserError when a choice names no item, or one that cannot be done with it.
        """
        by_kind = dict(by_kind or {})
        _check_kinds(by_kind)
        unknown = sorted(set(choices) - {item.key for item in self.items})
        if unknown:
            raise UserError(f"the import has no picture {unknown[0][:80]!r}: choose among its own")
        merge = Merge(additions=[], relabels=[], skipped=[])
        for item in self.items:
            standard = Choice(action=by_kind.get(item.kind, item.choices[0]))
            choice = choices.get(item.key, standard)
            _check_choice(item, choice)
            if choice.action == TAKE:
                merge.additions.append(_merged(item, _chosen_label(item, choice)))
            elif choice.action == THEIRS:
                merge.relabels.extend(_relabels(item, _chosen_label(item, choice)))
            else:
                merge.skipped.append(item)
        return merge


def plan_merge(
    candidates: Iterable[Candidate],
    known: Iterable[Known],
    *,
    near: Iterable[Near] = (),
    most_distance: float | None = None,
    relabel: Mapping[str, str] | None = None,
) -> MergePlan:
    """Compare an import with a collection.

    `near` are pairs that look alike (the order within a pair does not matter), of which those
    beyond `most_distance` are left out. `relabel` renames the import's classes first, theirs to
    ours. Of candidates that look alike, the first is new and the others are its near copies.
    """
    renamed = dict(relabel or {})
    there: dict[str, list[Known]] = {}
    for picture in known:
        there.setdefault(picture.sha256, []).append(picture)
    groups: dict[str, list[Candidate]] = {}
    for number, candidate in enumerate(candidates):
        label = renamed.get(candidate.label, candidate.label)
        key = f"refused {number}" if candidate.reason is not None else candidate.sha256
        groups.setdefault(key, []).append(dataclasses.replace(candidate, label=label))
    alike = _alike(near, most_distance)
    items: list[Item] = []
    taken: set[str] = set()
    for key, group in groups.items():
        item = _item(key, group, there, alike.get(key, {}), taken)
        if item.kind in (NEW, AMBIGUOUS):
            taken.add(key)
        items.append(item)
    return MergePlan(items=items)


def _item(
    key: str,
    group: Sequence[Candidate],
    there: Mapping[str, list[Known]],
    alike: Mapping[str, float],
    taken: set[str],
) -> Item:
    first, *also = group
    if first.reason is not None:
        return Item(kind=REFUSED, key=key, candidate=first)
    # The class that most of the copies have; of equals, the first one met.
    counted = collections.Counter(candidate.label for candidate in group).most_common()
    labels = tuple(label for label, _ in counted)
    kind = NEW if len(labels) == 1 else AMBIGUOUS
    item = Item(kind=kind, key=key, candidate=first, also=tuple(also), labels=labels)
    same = tuple(there.get(key, ()))
    if same:
        ours = {picture.label for picture in same}
        theirs = tuple(sorted(labels, key=lambda label: label in ours))
        kind = SAME if ours.issuperset(labels) else CONFLICT
        return dataclasses.replace(item, kind=kind, known=same, labels=theirs)
    others = [(distance, other) for other, distance in alike.items() if other in there]
    others += [(distance, other) for other, distance in alike.items() if other in taken]
    if not others:
        return item
    distance, other = min(others)
    alike_there = tuple(there.get(other, ()))
    return dataclasses.replace(item, kind=NEAR, known=alike_there, near=other, distance=distance)


def _alike(near: Iterable[Near], most: float | None) -> dict[str, dict[str, float]]:
    """Each picture's look-alikes, with the least distance that was given for them."""
    found: dict[str, dict[str, float]] = {}
    for pair in near:
        if pair.sha256 == pair.other or (most is not None and pair.distance > most):
            continue
        for one, other in ((pair.sha256, pair.other), (pair.other, pair.sha256)):
            distances = found.setdefault(one, {})
            distances[other] = min(pair.distance, distances.get(other, pair.distance))
    return found


def _check_kinds(by_kind: Mapping[str, str]) -> None:
    for kind, action in by_kind.items():
        if kind not in CHOICES:
            raise UserError(f"{kind!r} is no kind of picture in an import: {', '.join(KINDS)}")
        if action not in CHOICES[kind]:
            allowed = ", ".join(CHOICES[kind])
            raise UserError(f"{action!r} cannot be done with all that are {kind}: {allowed}")


def _check_choice(item: Item, choice: Choice) -> None:
    if choice.action not in item.choices:
        allowed = ", ".join(item.choices)
        what = f"{item.candidate.name} ({item.kind})"
        raise UserError(f"{choice.action!r} cannot be done with {what}: choose {allowed}")


def _chosen_label(item: Item, choice: Choice) -> str:
    try:
        return clean_label(choice.label) if choice.label else item.labels[0]
    except UnreadableError as error:
        raise UserError(f"{item.candidate.name} cannot be given that class: {error}") from None


def _merged(item: Item, label: str) -> Candidate:
    """One record of all copies in the import: nothing that only one of them says is lost."""
    first, group = item.candidate, (item.candidate, *item.also)
    tags = dict.fromkeys(tag for candidate in group for tag in candidate.tags)
    scores = [candidate.score for candidate in group if candidate.score is not None]
    licences = [candidate.licence for candidate in group if candidate.licence]
    return dataclasses.replace(
        first,
        label=label,
        tags=tuple(tags),
        score=first.score if first.score is not None else next(iter(scores), None),
        licence=first.licence or next(iter(licences), ""),
    )


def _relabels(item: Item, label: str) -> list[Relabel]:
    return [
        Relabel(picture_id=picture.id, sha256=picture.sha256, before=picture.label, after=label)
        for picture in item.known
        if picture.label != label
    ]
