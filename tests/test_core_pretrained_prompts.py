"""Prompts: templates, wildcards drawn by the seed, and the class that a prompt names."""

import pytest

from core.errors import UserError
from core.pretrained.prompts import (
    Prompts,
    animal_named,
    prompts_from,
    read_prompts,
    read_seeds,
    read_wild,
)

WILD = {"colour": ("red", "green", "blue"), "animal": ("cat", "dog", "red panda")}


def test_a_prompt_depends_on_its_seed_alone():
    prompts = Prompts(templates=("a {colour} {animal} sticker",), wild=WILD)
    texts = [prompts.of(seed).text for seed in range(60)]
    assert texts == [prompts.of(seed).text for seed in range(60)]
    assert len(set(texts)) == 9
    more = Prompts(
        templates=("a {colour} {animal} sticker, {mood}",), wild={**WILD, "mood": ("calm", "odd")}
    )
    assert [more.of(seed).text.split(",")[0] for seed in range(60)] == texts


def test_values_come_about_equally_often():
    prompts = Prompts(templates=("{animal} {colour}",), wild=WILD)
    counts = [
        sum(prompts.of(seed).label == animal for seed in range(3000)) for animal in WILD["animal"]
    ]
    assert min(counts) > 900


def test_several_prompts_are_taken_in_turn_or_at_random():
    templates = ("one", "two", "three")
    turn = Prompts(templates=templates)
    assert [turn.of(seed).text for seed in range(4)] == ["one", "two", "three", "one"]
    chance = Prompts(templates=templates, order="random")
    texts = [chance.of(seed).text for seed in range(60)]
    assert set(texts) == set(templates)
    assert texts != [turn.of(seed).text for seed in range(60)]


def test_values_in_place_and_braces():
    prompts = Prompts(templates=("a {big|small|} {{cat}}",))
    assert {prompts.of(seed).text for seed in range(30)} == {
        "a big {cat}",
        "a small {cat}",
        "a {cat}",
    }


def test_the_class_is_the_wildcards_the_prompts_or_the_given_one():
    wild = Prompts(templates=("{animal} with a dog",), wild={"animal": ("red panda",)})
    assert wild.of(3).label == "red panda"
    assert Prompts(templates=("two Wolves and a bird",)).of(0).label == "bird"
    assert Prompts(templates=("a teapot",)).of(0).label == "picture"
    given = Prompts(
        templates=("a {colour} cat",), wild={"colour": ("red", "green")}, label="{colour} one"
    )
    assert given.of(1).label == f"{given.of(1).text.split()[1]} one"
    assert animal_named("three foxes chase cats") == "cat"


def test_files_have_one_entry_a_line_and_comments(tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("\ufeff# stickers\n\n  a cat \r\na dog\n", encoding="utf-8")
    assert read_prompts(file) == ("a cat", "a dog")
    assert read_wild([f"animal=@{file}", "colour= red, green,"]) == {
        "animal": ("a cat", "a dog"),
        "colour": ("red", "green"),
    }


def test_recorded_facts_give_the_same_prompts():
    prompts = Prompts(templates=("{colour} {animal}", "{a|b}"), wild=WILD, order="random")
    again = prompts_from(prompts.facts())
    assert [again.of(seed) for seed in range(9)] == [prompts.of(seed) for seed in range(9)]


def test_seeds_are_ranges_that_rise():
    assert read_seeds("7,100-102") == (7, 100, 101, 102)
    for wrong in ("", "5-3", "1,1", "a", "-1", "3,2", "0-99999999"):
        with pytest.raises(UserError, match="must be ranges that rise"):
            read_seeds(wrong)


@pytest.mark.parametrize(
    ("templates", "wild", "complaint"),
    [
        ((), {}, "there is no prompt"),
        (("a {colour}",), {}, r"has the wildcard \{colour\} and there are no values"),
        (("a cat",), {"colour": ("red",)}, "--wild colour is used by no prompt"),
        (("a { cat",), {}, r"has \{ where a wildcard"),
        (("a {two words} cat",), {}, "where a wildcard"),
    ],
)
def test_what_does_not_fit_is_one_line(templates, wild, complaint):
    with pytest.raises(UserError, match=complaint):
        Prompts(templates=templates, wild=wild)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (["colour"], "must be NAME=ONE,OTHER"),
        (["colour="], "needs one value or more"),
        (["colour={x}"], "without braces"),
        (["a=b", "a=c"], "is given twice"),
        (["a=@/nowhere.txt"], "nowhere.txt: No such file"),
    ],
)
def test_wildcards_that_are_none_are_one_line(given, complaint):
    with pytest.raises(UserError, match=complaint):
        read_wild(given)


def test_a_label_that_can_be_no_file_name_is_one_line():
    with pytest.raises(UserError, match="is no class's name"):
        Prompts(templates=("a cat",), label="a/b").labels([0])
