"""Sample sets: what is approved is what the export takes, and copies of training pictures show."""

import html
import io
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image

from core.data.pinned import PinnedDataset, PinnedItem, open_pinned, write_pinned
from core.files import atomic_folder, read_json
from core.images import Picture, premultiply
from core.sampleset import Sample, SampleSet
from curation_app.samples import nearest
from jobs import export
from tests.curating import JSON, make_collection, open_app, post, vote
from tests.samplesets import animal, write_sample_set

ANIMALS = [("cat", 1), ("cat", 2), ("fish", 3), ("fish", 4), ("bird", 5)]


def make_samples(folder: Path, *more: Sample) -> SampleSet:
    """A few animals in two shards."""
    made = [animal(*one) for one in ANIMALS]
    return write_sample_set(folder, [made[:3], [*made[3:], *more]])


def blob(seed: int, size_px: int = 32) -> Picture:
    """A picture that looks like no other one, with clear corners."""
    parts = np.random.default_rng(seed).integers(0, 256, (4, 4, 4), dtype=np.uint8)
    parts[::3, ::3] = 0
    return np.kron(parts, np.ones((size_px // 4, size_px // 4, 1), np.uint8))


def make_data(folder: Path, size_px: int = 32) -> PinnedDataset:
    """Sixty pictures to train on, ten held out."""
    labels = ("cat", "fish", "bird")
    items = [
        PinnedItem(
            file_name=f"{labels[index % 3]}/{index}.png",
            sha256=f"{index:064x}",
            label=labels[index % 3],
            split="train" if index < 60 else "test",
            group=index,
        )
        for index in range(70)
    ]
    with atomic_folder(folder) as temporary:
        write_pinned(
            temporary,
            images=(premultiply(blob(index, size_px)) for index in range(70)),
            items=items,
            label_names=labels,
            transform={"size_px": size_px, "channels": 4},
            source={},
        )
    return open_pinned(folder)


def facts(client: FlaskClient, **query: Any) -> dict[str, Any]:
    return dict(client.get("/samples/", headers=JSON, query_string=query).get_json())


def test_what_is_approved_in_the_grid_is_what_the_command_on_the_page_exports(
    tmp_path: Path, where: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    samples = make_samples(tmp_path / "my samples")
    _, client = open_app(samples.folder, **where)
    assert "no sample is approved yet" in post(client, "/samples/approved").get_json()["error"]
    for picture_id in (1, 3, 5):
        vote(client, picture_id, "keep")
    vote(client, 2, "reject")
    post(client, "/act", picture=[2, 3], do="tag:extra ear")
    assert facts(client)["written"] is None
    written = post(client, "/samples/approved").get_json()
    assert written["approved"] == 3
    approved = read_json(samples.folder / "approved.json")
    assert (approved["sample_set"], approved["seeds"]) == (samples.digest, [1, 3, 5])
    assert approved["tags"] == {"extra ear": [3]}
    assert (approved["approved_by"], approved["written_by"]) == (["local"], "local")
    page = client.get("/samples/?without=extra+ear&without=nonsense").text
    assert "2 samples go" in " ".join(page.split())
    found = re.search(r'<code class="command"[^>]*>([^<]+)<', page)
    assert found
    program, job, *flags = shlex.split(html.unescape(found[1]))
    assert (program, job) == ("python", "jobs/export.py")
    out = tmp_path / "pack"
    small = ["--size-px", "128", "--small-px", "64", "--workers", "1", "--cluster", "inline"]
    assert export.main([*flags, "--out", str(out), *small]) == 0, capsys.readouterr().err
    assert [item["seed"] for item in read_json(out / "pack.json")["stickers"]] == [1, 5]


def test_the_page_tells_where_a_set_comes_from_and_whether_the_file_still_holds(
    tmp_path: Path,
) -> None:
    samples = make_samples(tmp_path / "set")
    pets = make_collection(tmp_path / "pets", 1)
    _, client = open_app(pets, samples.folder)
    shown = facts(client)  # of the sample set, though the first collection is none
    assert shown["set"]["parents"]["model"] == "a" * 64
    assert shown["set"]["settings"] == {"guidance": 1.5}
    assert shown["states"]["unseen"] == 5
    first = 3  # after the two pets
    vote(client, first, "keep")
    post(client, "/samples/approved?collection=2")
    assert facts(client)["written"]["current"]
    before = (samples.folder / "approved.json").stat().st_mtime_ns
    post(client, "/samples/approved?collection=2")  # the same again changes nothing
    assert (samples.folder / "approved.json").stat().st_mtime_ns == before
    post(client, "/act", picture=first, do="tag:cut off")
    assert not facts(client)["written"]["current"]
    page = client.get("/samples/?collection=2").text
    assert "What it says is out of date" in page
    post(client, "/act", picture=first, do="label:fish")
    assert "1 of them was moved" in " ".join(client.get("/samples/?collection=2").text.split())
    assert post(client, "/samples/approved?collection=1").status_code == 404
    (samples.folder / "sampleset.json").write_text("{}")
    assert "has format None" in html.unescape(client.get("/samples/?collection=2").text)


def test_without_a_sample_set_the_page_says_how_to_open_one(tmp_path: Path) -> None:
    _, client = open_app(make_collection(tmp_path / "pets", 1))
    assert "No sample set is open" in client.get("/samples/").text
    assert facts(client) == {"sample_sets": []}


def test_a_copy_of_a_training_picture_is_found_mirrored_and_tinted(
    tmp_path: Path, where: dict[str, str]
) -> None:
    dataset = make_data(tmp_path / "data")
    mirrored = blob(7)[:, ::-1]
    tinted = mirrored.copy()
    tinted[..., :3] = (tinted[..., :3] * np.array([0.9, 1.0, 0.85])).astype(np.uint8)
    copy = Sample(image_hwc=tinted, label="fish", seed=77)
    samples = make_samples(tmp_path / "set", copy)
    _, client = open_app(samples.folder, data=dataset.folder, **where)
    assert client.get("/pictures/6/nearest", headers=JSON).status_code == 404
    assert "was not searched yet" in client.get("/pictures/6/nearest").text
    task = client.get(post(client, "/samples/nearest").headers["Location"], headers=JSON)
    assert task.get_json()["result"] == "1 of 6 samples seem to be copies of training pictures"
    assert facts(client)["copies"] == {
        "dataset": dataset.digest,
        "is_parent": False,
        "searched": 6,
        "unsearched": 0,
        "copies": 1,
    }
    listed = client.get("/samples/closest", headers=JSON).get_json()
    first = listed["pairs"][0]
    assert (first["name"], first["place"], first["mirrored"]) == ("fish_000077.png", 7, True)
    assert first["copied"]
    distances = [pair["distance"] for pair in listed["pairs"]]
    assert distances == sorted(distances)
    after = client.get(f"/samples/closest?after={first['picture_id']}", headers=JSON).get_json()
    assert after["pairs"] == listed["pairs"][1:]
    shown = client.get(f"/pictures/{first['picture_id']}/nearest", headers=JSON).get_json()
    assert shown["training"]["file_name"] == "fish/7.png"
    assert "it seems to be a copy" in client.get(f"/pictures/{first['picture_id']}/nearest").text
    picture = client.get("/samples/training/7")
    with Image.open(io.BytesIO(picture.data)) as image:
        assert (image.format, image.size, image.mode) == ("PNG", (32, 32), "RGBA")
    tag = {"If-None-Match": picture.headers["ETag"]}
    assert client.get("/samples/training/7", headers=tag).status_code == 304
    assert client.get("/samples/training/70").status_code == 404
    # Searched again, nothing is left to do; merged and rejected ones are on record all the same.
    again = client.get(post(client, "/samples/nearest").headers["Location"], headers=JSON)
    assert again.get_json()["total"] == 0


def test_without_a_dataset_the_page_says_what_to_name(tmp_path: Path) -> None:
    samples = make_samples(tmp_path / "set")
    _, client = open_app(samples.folder)
    assert "--data DATASET" in client.get("/samples/").text
    assert "no dataset is named" in post(client, "/samples/nearest").get_json()["error"]
    _, client = open_app(samples.folder, data=tmp_path / "nowhere")
    assert "is not a pinned dataset" in html.unescape(client.get("/samples/").text)


@pytest.mark.parametrize("size_px", [32, 24])
def test_blocks_of_any_size_find_the_same_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size_px: int
) -> None:
    dataset = make_data(tmp_path / "data", size_px)
    queries = nearest.shrunk(dataset.images_nhwc[60:])
    whole = nearest.find_nearest(queries, dataset)
    for name, size in (("_BLOCK", 7), ("_QUERIES", 3), ("_DECODED", 2)):
        monkeypatch.setattr(nearest, name, size)
    told: list[float] = []
    parts = nearest.find_nearest(nearest.shrunk(dataset.images_nhwc[60:]), dataset, told.append)
    assert parts.places.tolist() == whole.places.tolist()
    assert parts.distances == pytest.approx(whole.distances, abs=1e-4)
    assert told == sorted(told)
    assert told[-1] == 1.0
    # Each training picture is nearest to itself.
    own = nearest.find_nearest(nearest.shrunk(dataset.images_nhwc[:60]), dataset)
    assert own.places.tolist() == list(range(60))
    assert not own.mirrored.any()
    assert own.distances.max() < 0.01


@pytest.mark.slow
def test_the_measure_is_that_of_the_evaluation(tmp_path: Path) -> None:
    from core.evaluation.novelty import TrainingNeighbours

    dataset = make_data(tmp_path / "data")
    # From a half like a training picture to quite like it.
    pictures = [
        (blob(index) * share + blob(900 + index) * (1 - share)).astype(np.uint8)
        for index, share in enumerate(np.linspace(0.5, 1, 20))
    ]
    theirs, distances = TrainingNeighbours(dataset).nearest(pictures)
    small = nearest.shrunk(np.stack([premultiply(one) for one in pictures]))
    ours = nearest.find_nearest(small, dataset)
    assert ours.places.tolist() == theirs.tolist() == list(range(20))
    assert ours.distances == pytest.approx(distances, abs=0.05)


def test_who_is_not_logged_in_approves_and_starts_nothing(tmp_path: Path) -> None:
    samples = make_samples(tmp_path / "set")
    _, client = open_app(samples.folder, share=True)
    for url in ("/samples/approved", "/samples/nearest"):
        assert client.post(url, headers=JSON).status_code == 401
    assert client.get("/samples/", headers=JSON).status_code == 401
    assert not (samples.folder / "approved.json").exists()
