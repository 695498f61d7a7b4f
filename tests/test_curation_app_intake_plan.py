"""What an import would change, told as merges of small collections."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from curation_app.intake.candidates import Candidate, read_candidates, write_candidates
from curation_app.intake.plan import (
    CHOICES,
    KINDS,
    Choice,
    Item,
    Known,
    MergePlan,
    Near,
    Relabel,
    plan_merge,
)


def sha(what: str) -> str:
    return hashlib.sha256(what.encode()).hexdigest()


def theirs(what: str, label: str, name: str | None = None, **more: Any) -> Candidate:
    digest = sha(what)
    place = f"{digest[:2]}/{digest}.png"
    name = name or f"{label}/{what}.png"
    return Candidate(name=name, label=label, sha256=digest, place=place, bytes=9, **more)


def ours(number: int, what: str, label: str) -> Known:
    return Known(id=number, sha256=sha(what), label=label, name=f"{what}.png")


def kinds(plan: MergePlan) -> dict[str, str]:
    return {item.candidate.name: item.kind for item in plan.items}


OURS = [ours(1, "tom", "cat"), ours(2, "rex", "dog"), ours(3, "flipper", "fish")]
THEIRS = [
    theirs("felix", "cat", source="zoo", licence="MIT"),
    theirs("tom", "cat"),
    theirs("flipper", "dolphin"),
    theirs("tom-small", "cat"),
    Candidate(name="page.html", reason="a web page, not a picture"),
    theirs("lassie", "dog"),
]
ALIKE = [Near(sha256=sha("tom"), other=sha("tom-small"), distance=3)]


def item_of(plan: MergePlan, what: str) -> Item:
    return next(item for item in plan.items if item.key == sha(what))


def test_two_collections_are_merged_with_sensible_defaults() -> None:
    plan = plan_merge(THEIRS, OURS, near=ALIKE)
    assert kinds(plan) == {
        "cat/felix.png": "new",
        "cat/tom.png": "same",
        "dolphin/flipper.png": "conflict",
        "cat/tom-small.png": "near",
        "page.html": "refused",
        "dog/lassie.png": "new",
    }
    assert plan.counts() == dict.fromkeys(KINDS, 1) | {"new": 2, "ambiguous": 0}
    assert plan.new_by_label() == {"cat": 1, "dog": 1}
    conflict = item_of(plan, "flipper")
    assert (conflict.labels, conflict.known) == (("dolphin",), (OURS[2],))
    near = item_of(plan, "tom-small")
    assert (near.near, near.distance, near.known) == (sha("tom"), 3, (OURS[0],))
    merge = plan.decide({})
    assert merge.additions == [THEIRS[0], THEIRS[5]]
    assert merge.relabels == []
    assert [item.kind for item in merge.skipped] == ["same", "conflict", "near", "refused"]


def test_people_choose_otherwise_item_by_item_or_kind_by_kind() -> None:
    plan = plan_merge(THEIRS, OURS, near=ALIKE)
    merge = plan.decide(
        {
            sha("felix"): Choice(action="skip"),
            sha("flipper"): Choice(action="theirs"),
            sha("lassie"): Choice(action="take", label="collie\0"),
        },
        by_kind={"near": "take"},
    )
    assert [(added.name, added.label) for added in merge.additions] == [
        ("cat/tom-small.png", "cat"),
        ("dog/lassie.png", "collie"),
    ]
    assert merge.relabels == [
        Relabel(picture_id=3, sha256=sha("flipper"), before="fish", after="dolphin")
    ]
    kept = plan.decide({sha("flipper"): Choice(action="ours")}, by_kind={"conflict": "theirs"})
    assert kept.relabels == []


def test_choices_that_cannot_be_are_one_line_each() -> None:
    plan = plan_merge(THEIRS, OURS)
    for choices, by_kind, why in (
        ({"nothing": Choice(action="take")}, {}, "the import has no picture 'nothing'"),
        ({sha("tom"): Choice(action="take")}, {}, r"'take' cannot be done with cat/tom\.png"),
        ({sha("felix"): Choice(action="theirs")}, {}, "choose take, skip"),
        ({sha("felix"): Choice(action="take", label="x" * 101)}, {}, "longer than 100"),
        ({sha("felix"): Choice(action="take", label="\n")}, {}, "its label is empty"),
        ({}, {"refused": "take"}, "cannot be done with all that are refused: skip"),
        ({}, {"newest": "take"}, "'newest' is no kind"),
    ):
        with pytest.raises(UserError, match=why):
            plan.decide(choices, by_kind=by_kind)


def test_one_picture_in_two_classes_of_the_import_is_pointed_out() -> None:
    candidates = [
        theirs("sphinx", "dog", "a.png", tags=("bald",)),
        theirs("sphinx", "cat", "b.png", tags=("asleep",), score=2.5, licence="MIT"),
        theirs("sphinx", "cat", "c.png", tags=("bald",)),
    ]
    plan = plan_merge(candidates, OURS)
    (item,) = plan.items
    assert (item.kind, item.labels) == ("ambiguous", ("cat", "dog"))
    assert [copy.name for copy in item.also] == ["b.png", "c.png"]
    (added,) = plan.decide({}).additions
    assert (added.name, added.label, added.tags) == ("a.png", "cat", ("bald", "asleep"))
    assert (added.score, added.licence) == (2.5, "MIT")
    (chosen,) = plan.decide({item.key: Choice(action="take", label="dog")}).additions
    assert chosen.label == "dog"


def test_copies_of_a_known_picture_conflict_when_one_of_them_contradicts() -> None:
    known = [ours(1, "tom", "cat"), ours(7, "tom", "tiger")]
    agreeing = plan_merge([theirs("tom", "tiger"), theirs("tom", "cat")], known)
    assert agreeing.items[0].kind == "same"
    plan = plan_merge([theirs("tom", "cat"), theirs("tom", "lion")], known)
    assert (plan.items[0].kind, plan.items[0].labels) == ("conflict", ("lion", "cat"))
    merge = plan.decide({sha("tom"): Choice(action="theirs")})
    assert [(row.picture_id, row.before, row.after) for row in merge.relabels] == [
        (1, "cat", "lion"),
        (7, "tiger", "lion"),
    ]


def test_their_classes_can_be_called_by_our_names_first() -> None:
    plan = plan_merge([theirs("tom", "kitten"), theirs("new", "kitten")], OURS)
    assert kinds(plan) == {"kitten/tom.png": "conflict", "kitten/new.png": "new"}
    plan = plan_merge(
        [theirs("tom", "kitten"), theirs("new", "kitten")], OURS, relabel={"kitten": "cat"}
    )
    assert kinds(plan) == {"kitten/tom.png": "same", "kitten/new.png": "new"}
    assert [added.label for added in plan.decide({}).additions] == ["cat"]


def test_near_copies_within_an_import_keep_the_first_and_the_slider_decides() -> None:
    candidates = [theirs(name, "cat") for name in ("a", "b", "c", "d")]
    near = [
        Near(sha256=sha("b"), other=sha("a"), distance=4),
        Near(sha256=sha("b"), other=sha("a"), distance=2),
        Near(sha256=sha("c"), other=sha("b"), distance=1),
        Near(sha256=sha("d"), other=sha("tom"), distance=9),
        Near(sha256=sha("a"), other=sha("a"), distance=0),
        Near(sha256=sha("nobody"), other=sha("d"), distance=0),
    ]
    plan = plan_merge(candidates, OURS, near=near)
    # c looks like b alone, and b is left out: c is the only one of its kind that would come.
    assert list(kinds(plan).values()) == ["new", "near", "new", "near"]
    assert (plan.items[1].near, plan.items[1].distance) == (sha("a"), 2)
    strict = plan_merge(candidates, OURS, near=near, most_distance=2)
    assert list(kinds(strict).values()) == ["new", "near", "new", "new"]


def test_the_same_import_gives_the_same_plan_whatever_the_order_of_what_is_known() -> None:
    near = [*ALIKE, Near(sha256=sha("tom-small"), other=sha("rex"), distance=3)]
    plan = plan_merge(THEIRS, OURS, near=near)
    assert plan_merge(THEIRS, OURS[::-1], near=near[::-1]) == plan
    assert set(CHOICES) == set(KINDS)


def test_candidates_wait_on_disk_between_preview_and_decision(tmp_path: Path) -> None:
    path = tmp_path / "import.jsonl"
    rich = theirs("x", "<b>cat</b>", tags=("🐱",), score=1.5, extra={"a": [1]}, look=object())
    assert write_candidates(path, [*THEIRS, rich]) == 7
    assert list(read_candidates(path)) == [*THEIRS, rich]
    path.write_text("{broken\n")
    with pytest.raises(UserError, match="record is broken"):
        list(read_candidates(path))
    with pytest.raises(UserError, match="no longer there"):
        list(read_candidates(tmp_path / "gone.jsonl"))
