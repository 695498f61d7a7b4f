"""Quality: flags by class, distributions, and what gives the classes away."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import text

from curation_app import measures
from curation_app.indexing.quality import FLAGS
from curation_app.measures import SCALES, evenly, said_of, sampled
from curation_app.store.engine import writing
from tests.curating import JSON, app_of, ids_in, open_app, post
from tests.photos import photo, save

PER_CLASS = 12


def plant_bias(folder: Path) -> Path:
    """Frogs (ids 25 to 36) stand on white, others anywhere; a cat is blurred, another one tiny."""
    for number in range(PER_CLASS):
        white = Image.new("RGB", (96, 96), "white")
        white.paste(photo(number, 40), (28, 28))
        save(white, folder / "frog" / f"{number:02d}.png")
        cat = photo(100 + number, 40 if number == 1 else 96)
        if number == 0:
            cat = cat.resize((4, 4)).resize((96, 96), Image.Resampling.BICUBIC)
        save(cat, folder / "cat" / f"{number:02d}.png")
        save(photo(200 + number, 96), folder / "dog" / f"{number:02d}.png")
    return folder


def figures(client: FlaskClient) -> dict[str, Any]:
    answer = client.get("/quality/", headers=JSON)
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def by_class(client: FlaskClient) -> dict[str, dict[str, Any]]:
    return {one["label"]: one for one in figures(client)["classes"]}


def test_frogs_that_stand_on_white_are_obvious(tmp_path: Path, where: dict[str, str]) -> None:
    _, client = open_app(plant_bias(tmp_path / "pets"), **where)
    frog = by_class(client)["frog"]
    assert frog["sentences"][0] == (
        "100 % of 12 pictures have a plain white background; of the other classes 0 %."
    )
    assert set(map(tuple, frog["swatches"])) == {(255, 255, 255)}
    assert len(set(map(tuple, by_class(client)["cat"]["swatches"]))) > 5
    assert len(frog["typical"]) == 6
    shown = client.get("/quality/").text
    # They come first, marked, with white strips and pictures that lead on.
    assert shown.index('class="class apart"') < shown.index('<li class="class">')
    assert shown.count('fill="#ffffff"') >= PER_CLASS
    (card,) = re.findall(r'<li class="class apart">(.*?)</li>', shown, re.S)
    assert "plain white background" in card
    assert len(re.findall(r'src="/pictures/\d+/thumbnail"', card)) == 6
    links = re.findall(r'href="(/\?[^"]*flag=plain-background[^"]*)"', card)
    found = client.get(links[0].replace("&amp;", "&"))
    assert ids_in(found.text) == list(range(25, 37))


def test_each_number_of_flags_leads_to_just_those_pictures(tmp_path: Path) -> None:
    _, client = open_app(plant_bias(tmp_path / "pets"))
    cats = by_class(client)["cat"]["flags"]
    assert cats["blurred"] >= 1
    assert cats["small"] == 1
    shown = client.get("/quality/").text
    cells = re.findall(r'href="(/\?[^"]*)"\s+aria-label="(\d+) ([\w-]+)(?:, \w+)?"', shown)
    assert len(cells) >= 2 * 3
    for link, number, flag in cells:
        pictures = client.get(link.replace("&amp;", "&"), headers=JSON).get_json()["pictures"]
        assert len(pictures) == int(number)
        assert all(flag in one["flags"] for one in pictures)
    assert all(f">{flag}</th>" in shown for flag in FLAGS)


def test_distributions_count_every_picture_once(tmp_path: Path) -> None:
    _, client = open_app(plant_bias(tmp_path / "pets"))
    for one in by_class(client).values():
        assert [sum(each["counts"]) for each in one["distributions"]] == [PER_CLASS] * 3
        assert all(each["low"] <= each["median"] <= each["high"] for each in one["distributions"])
    sides = by_class(client)["cat"]["distributions"][2]
    assert sides["median"] == 96
    bins = dict(zip(SCALES[2].edges, sides["counts"], strict=False))
    assert (bins[32.0], bins[64.0 * 2**0.5]) == (1, PER_CLASS - 1)
    shown = client.get("/quality/").text
    assert shown.count('<svg class="bars"') == 3 * len(SCALES)
    assert "shorter side of cat: half of them from 96 px to 96 px, median 96 px" in shown
    # The tiny one is too small: its bar has the colour of what is flagged.
    assert shown.count('<path class="flagged"') >= 1


def test_what_is_moved_merged_or_new_is_counted_anew(tmp_path: Path) -> None:
    folder = plant_bias(tmp_path / "pets")
    _, client = open_app(folder)
    assert by_class(client)["frog"]["count"] == PER_CLASS
    post(client, "/act", picture=[25, 26], do="label:toad")
    assert {label: one["count"] for label, one in by_class(client).items()} == {
        "cat": 12,
        "dog": 12,
        "frog": 10,
        "toad": 2,
    }
    post(client, "/duplicates/merge", group="25 26")
    assert by_class(client)["toad"]["count"] == 1
    post(client, "/undo")
    post(client, "/undo")
    assert by_class(client)["frog"]["count"] == PER_CLASS
    save(photo(500, 96), folder / "cat" / "new.png")
    _, client = open_app(folder)
    assert by_class(client)["cat"]["count"] == PER_CLASS + 1


def test_votes_leave_the_figures_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = open_app(plant_bias(tmp_path / "pets"))
    before = figures(client)
    monkeypatch.setattr(measures, "figures", None)  # whoever counts again fails
    post(client, "/act", picture=[1, 2], do="stars:4")
    assert figures(client) == before


def test_pictures_that_were_never_measured_are_told_of(tmp_path: Path) -> None:
    """As they are in a database of the first release, until they are opened again."""
    app, client = open_app(plant_bias(tmp_path / "pets"))
    with writing(app_of(app).engine) as connection:
        kept = connection.execute(text("SELECT facts FROM pictures WHERE id = 1")).scalar_one()
        connection.execute(text("UPDATE pictures SET facts = '{}' WHERE id = 1"))
    assert figures(client)["unmeasured"] == 1
    assert by_class(client)["cat"]["count"] == PER_CLASS - 1
    with writing(app_of(app).engine) as connection:
        connection.execute(text("UPDATE pictures SET facts = :f WHERE id = 1"), {"f": kept})
    post(client, "/act", picture=2, do="stars:4")
    assert figures(client)["unmeasured"] == 0


def test_a_large_collection_is_counted_in_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, client = open_app(plant_bias(tmp_path / "pets"))
    parts = app_of(app)
    monkeypatch.setattr(measures, "_QUICK", 5)
    assert "are being read" in client.get("/quality/").text  # and with `at_once` done by now
    assert "plain white background" in client.get("/quality/").text
    assert any(task.title == "Measuring the quality of pets" for task in parts.tasks.all())
    assert figures(client)["count"] == 3 * PER_CLASS


def test_a_class_that_is_markup_stays_text(tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    for number in range(3):
        save(photo(number, 64), folder / f"{number}.png")
    rows = [{"file_name": f"{number}.png", "label": "<i>cat"} for number in range(3)]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    _, client = open_app(folder)
    shown = client.get("/quality/").text
    assert "<i>cat" not in shown
    assert "<bdi>&lt;i&gt;cat</bdi>" in shown


def test_many_pictures_are_compared_by_as_many_of_each_class() -> None:
    classes = {"cat": np.arange(9000), "frog": np.arange(9000, 9100), "owl": np.arange(20_000)}
    found = sampled(classes)
    assert [len(rows) for rows in found.values()] == [3333, 100, 3333]
    assert (found["owl"][0], found["owl"][-1]) == (0, 19_999)
    assert sampled({"cat": classes["cat"]})["cat"] is classes["cat"]
    assert evenly(np.arange(10), 3).tolist() == [0, 4, 9]


def test_sentences_belong_to_the_class_that_they_begin_with() -> None:
    lines = ["All of them.", "cat: grey.", "cat: big: red.", "dog: loud."]
    assert said_of(lines, ["cat", "cat: big", "dog"]) == {
        None: ("All of them.",),
        "cat": ("grey.",),
        "cat: big": ("red.",),
        "dog": ("loud.",),
    }


@pytest.mark.realdata
@pytest.mark.slow
def test_the_frogs_of_the_real_collection_come_first(real_data: Path, tmp_path: Path) -> None:
    for folder in sorted((real_data / "animals8").iterdir()):
        for path in sorted(folder.glob("*.jpg"))[::27]:
            to = tmp_path / "animals" / folder.name / path.name
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(path.read_bytes())
    _, client = open_app(tmp_path / "animals")
    shown = client.get("/quality/").text
    apart = re.findall(r'<li class="class apart">(.*?)</li>', shown, re.S)
    assert len(apart) == 1
    assert "pictures have a plain white background; of the other classes" in apart[0]
    assert ">frog<" in apart[0]
