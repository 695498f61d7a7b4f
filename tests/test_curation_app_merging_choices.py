"""What is done with pictures that are brought in: chosen page by page, kept, and done as shown."""

from pathlib import Path
from typing import Any

import pytest

from curation_app.imports import merging
from curation_app.imports.waiting import Decisions
from curation_app.views import merging as view
from tests.bringing_in import apply, key_of, names, shown, told, upload, zipped
from tests.curating import app_of, make_collection, open_app, picture, post

NEW = picture(5000)
CAT_0, DOG_0 = picture(0), picture(1000)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return make_collection(tmp_path / "pets")


def test_choices_follow_their_kind_until_somebody_chooses_otherwise(pets: Path) -> None:
    _, client = open_app(pets)
    url = upload(client, [(f"fox/{n}.png", picture(6000 + n)) for n in range(3)])
    first = key_of(client, url, "new", "fox/0.png")
    keys = [item["key"] for item in told(client, url, "new")["items"]]

    def choose(**form: Any) -> dict[str, str]:
        assert post(client, f"{url}/choose", **form).status_code == 200
        return names(client, url, "new")

    assert choose(**{f"choice-{first}": "skip"})["fox/0.png"] == "skip"
    assert list(choose(**{"kind-new": "skip"}).values()) == ["skip"] * 3
    # A form sends all that its page shows: what it did not change stays open.
    page = {f"choice-{key}": "skip" for key in keys} | {f"choice-{keys[2]}": "take"}
    assert list(choose(**page).values()) == ["skip", "skip", "take"]
    assert list(choose(**{"kind-new": "take"}).values()) == ["skip", "take", "take"]
    choose(**{f"label-{keys[1]}": "red fox", "licence": "MIT"})
    assert apply(client, url).status_code == 303
    after = {name: row["label"] for name, row in shown(client).items() if "fox" in name}
    assert after == {"red-fox/1.png": "red fox", "fox/2.png": "fox"}


def test_what_is_chosen_at_the_same_time_is_kept_all(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page's script keeps its licence while its form, which is sent, names a class."""
    app, client = open_app(pets)
    url = upload(client, [("fox.png", NEW), ("dog/1.png", picture(6001))])
    dog = key_of(client, url, "new", "dog/1.png")
    late: list[dict[str, str]] = [
        {"class-unlabelled": "fox"},
        {f"choice-{dog}": "skip"},
    ]
    decided = view.decided

    def overtaken(*seen: Any) -> Any:
        form = late.pop() if late else None
        decisions = decided(*seen)  # of what was there before the others
        if form is not None:
            assert post(app.test_client(), f"{url}/choose", **form).status_code == 200
        return decisions

    monkeypatch.setattr(view, "decided", overtaken)
    assert post(client, f"{url}/choose", licence="MIT").get_json()["licence"] == "MIT"
    assert not late
    assert apply(client, url).status_code == 303
    brought = {name: row["label"] for name, row in shown(client).items() if "fox" in name}
    assert brought == {"fox/fox.png": "fox"}
    assert "dog/1.png" not in shown(client)


def test_what_is_carried_out_takes_no_further_choice(pets: Path) -> None:
    app, client = open_app(pets)
    url = upload(client, [("fox/0.png", NEW)])
    imports = merging.imports_of(app_of(app))
    found = imports.find(url.rpartition("/")[2], 1)
    assert found is not None
    assert imports.claim(found)
    assert imports.choose(found, Decisions(licence="MIT")) is None
    late = post(client, f"{url}/choose", licence="MIT")
    assert "it is applying" in late.get_json()["error"]


def test_choices_that_cannot_be_are_one_line_each(pets: Path) -> None:
    _, client = open_app(pets)
    url = upload(client, [("fox/0.png", NEW), ("cat/0.png", CAT_0)])
    new, same = (told(client, url, kind)["items"][0]["key"] for kind in ("new", "same"))
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({f"choice-{new}": "theirs"}, "'theirs' cannot be done with that picture: take, skip"),
        ({f"choice-{same}": "take"}, "'take' cannot be done with that picture: skip"),
        ({f"choice-{'0' * 64}": "take"}, "no such picture by now"),
        ({f"label-{new}": "../x"}, "holds a slash"),
        ({"kind-new": "ours"}, "'ours' cannot be done with all that are new: take, skip"),
        ({"class-fox": "a/b"}, "holds a slash"),
        ({"class-wolf": "fox"}, "the import has no class 'wolf'"),
        ({"licence": "x" * 101}, "the licence has 101 characters: 100 at most"),
    ]
    for form, why in mistakes:
        answer = post(client, f"{url}/choose", **form)
        assert answer.status_code == 409
        assert why in answer.get_json()["error"]
    assert client.get(f"{url}?kind=odd").status_code == 400
    assert client.get(f"{url}?page=-1").status_code == 400
    nothing = apply(client, url, **{"kind-new": "skip"})
    assert "nothing would change" in nothing.get_json()["error"]
    # What the form chose was kept all the same.
    assert names(client, url, "new") == {"fox/0.png": "skip"}


def test_classes_may_be_called_by_our_names_and_what_has_none_gets_one(pets: Path) -> None:
    _, client = open_app(pets)
    files = [("kitten/0.png", CAT_0), ("kitten/1.png", NEW), ("2.png", DOG_0)]
    url = upload(client, files)
    assert names(client, url, "conflict").keys() == {"kitten/0.png", "2.png"}
    renamed: dict[str, Any] = {"class-kitten": "cat", "class-unlabelled": "dog", "licence": "MIT"}
    # What is done is what was shown: renaming changes the plan, which must be looked at again.
    refused = apply(client, url, **renamed)
    assert "the plan has changed" in refused.get_json()["error"]
    assert names(client, url, "same").keys() == {"kitten/0.png", "2.png"}
    assert apply(client, url).status_code == 303
    assert shown(client)["cat/1.png"]["label"] == "cat"


def test_nothing_is_done_that_was_not_shown(pets: Path) -> None:
    app, client = open_app(pets)
    one = upload(client, [("fox/0.png", NEW)])
    two = upload(client, [("wolf/0.png", NEW)])
    plan = told(client, one)["plan"]
    assert apply(client, two, licence="MIT").status_code == 303
    late = post(client, f"{one}/apply", plan=plan, licence="MIT")
    assert "somebody changed the collection" in late.get_json()["error"]
    assert names(client, one, "conflict") == {"fox/0.png": "ours"}
    assert post(client, f"{one}/apply").status_code == 409
    # An import is done once, however often the button is pressed, and by however many at once.
    imports = merging.imports_of(app_of(app))
    found = imports.begin(1, 1, "a zip")
    imports.update(found.id, state="ready")
    assert [imports.claim(found) for _ in range(2)] == [True, False]
    assert told(client, f"/bring-in/{found.id}")["state"] == "applying"
    assert post(client, f"/bring-in/{found.id}/discard").status_code == 409
    imports.give_up(found.id, "the disk is full")
    assert imports.claim(found)
    assert post(client, f"{two}/apply", plan=plan).status_code == 409
    assert [row["label"] for row in shown(client).values()].count("wolf") == 1


def test_many_pictures_come_in_pages_and_the_page_shows_their_words_as_words(pets: Path) -> None:
    _, client = open_app(pets)
    files = [(f"fox/{n:02}.png", picture(7000 + n)) for n in range(60)]
    evil = "<script>alert(1)<∕script>"
    files += [(f"{evil}/{evil}.png", NEW), ("fox/zz.png", b"<p>")]
    url = upload(client, [("zoo.zip", zipped(files))])
    page = client.get(f"{url}?kind=new").text
    assert page.count('class="merge"') == 48
    assert "Page 1 of 2" in page
    assert "<script>alert" not in page + client.get(url).text
    keys = [item["key"] for item in told(client, url, "new")["items"]]
    answer = post(
        client, f"{url}/choose", plain=True, show="new:2", **{f"choice-{keys[0]}": "skip"}
    )
    assert answer.headers["Location"] == f"{url}?kind=new&page=2"
    assert client.get(answer.headers["Location"]).text.count('class="merge"') == 13
    assert told(client, url, "new")["items"][0]["choice"] == "skip"
    assert apply(client, url, licence="MIT").status_code == 303
    assert told(client, url)["result"] == "60 pictures brought in."
    assert "See the new pictures" in client.get(url).text
