"""A sample set as training pictures: what is left out, and what goes along with the rest."""

import dataclasses
import json
from pathlib import Path

import pytest

from core.data.decode import decode
from core.data.pinned import open_pinned
from core.data.prepare import PrepareConfig, open_source, prepare
from core.data.samples import SampleSetSource
from core.errors import UserError
from core.pretrained.lora.pictures import training_pictures
from core.sampleset import DONE, SampleSet
from tests.finetuning import small
from tests.samplesets import animal, write_sample_set

BLACK = "data/part-00001.parquet#0000-000000"


def samples(folder: Path) -> SampleSet:
    """Six animals with their prompts, and a black one."""
    black = animal("cat", 6)
    black.image_hwc[:] = (0, 0, 0, 255)
    black = dataclasses.replace(black, trouble="blacked out by a checker")
    usable = [animal(("cat", "dog")[seed % 2], seed) for seed in range(6)]
    made = write_sample_set(folder, [usable[:3], [black, *usable[3:]]])
    rows = [{"seed": seed, "prompt": f"animal number {seed}"} for seed in range(1, 7)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return made


def test_a_sample_set_becomes_a_dataset_with_its_licence_and_without_black_ones(
    tmp_path: Path,
) -> None:
    made = samples(tmp_path / "set")
    config = PrepareConfig(source=str(tmp_path / "set"), size_px=16)
    prepare(config, tmp_path / "data")
    data = open_pinned(tmp_path / "data", verify=True)
    assert (len(data.labels), data.licence) == (6, "CC0-1.0")
    assert data.facts["source"]["kind"] == "samples"
    assert data.facts["source"]["sample_set_digest"] == made.digest
    row = json.loads((tmp_path / "data" / "rejected.jsonl").read_text())
    assert row == {"file_name": BLACK, "reason": "blacked out by a checker"}
    assert prepare(config, tmp_path / "data").reused


def test_every_sample_is_found_by_its_name_with_seed_and_prompt(tmp_path: Path) -> None:
    made = samples(tmp_path / "set")
    source = SampleSetSource(made)
    listing = source.listing()
    known = {sample.seed: sample for sample in made.samples()}
    assert [entry.extra for entry in listing.entries[:2]] == [
        {"seed": 0, "text": None},
        {"seed": 1, "text": "animal number 1"},
    ]
    for entry in listing.entries:
        sample = known[(entry.extra or {})["seed"]]
        assert entry.label == sample.label
        assert (decode(source.read(entry)) == sample.image_hwc).all()


def test_finetuning_takes_the_prompts_as_captions(tmp_path: Path) -> None:
    samples(tmp_path / "set")
    shown = training_pictures(small(tmp_path, tmp_path / "set", caption="a {label}"))
    assert len(shown) == 6
    assert BLACK not in {picture.name for picture in shown}
    assert [picture.caption for picture in shown[:2]] == ["a cat", "animal number 1"]
    assert {picture.licence for picture in shown} == {"CC0-1.0"}


@pytest.mark.parametrize("stated", [None, "unknown"])
def test_a_licence_that_the_set_does_not_know_can_be_given(
    tmp_path: Path, stated: str | None
) -> None:
    made = samples(tmp_path / "set")
    source = SampleSetSource(dataclasses.replace(made, parents={"licence": stated}))
    assert {entry.licence for entry in source.listing().entries} == {None}


def test_an_unfinished_or_altered_set_is_refused(tmp_path: Path) -> None:
    samples(tmp_path / "set")
    config = PrepareConfig(source=str(tmp_path / "set"))
    shard = tmp_path / "set" / "data" / "part-00001.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    with pytest.raises(UserError, match="was altered"):
        open_source(config)
    shard.write_bytes(whole)
    (tmp_path / "set" / DONE).unlink()
    (tmp_path / "set" / "plan.json").write_text("{}")
    with pytest.raises(UserError, match="unfinished"):
        open_source(config)
    (tmp_path / "begun" / "unfinished" / "part-00000").mkdir(parents=True)
    (tmp_path / "begun" / "plan.json").write_text("{}")
    with pytest.raises(UserError, match="unfinished"):
        open_source(PrepareConfig(source=str(tmp_path / "begun")))


@pytest.mark.parametrize("line", ["{", "[]", '{"seed": 1}', '{"seed": "x", "prompt": "a"}'])
def test_prompts_that_cannot_be_read_are_one_line(tmp_path: Path, line: str) -> None:
    made = samples(tmp_path / "set")
    (tmp_path / "set" / "prompts.jsonl").write_text(line + "\n")
    with pytest.raises(UserError, match=r"prompts.jsonl cannot be read as prompts"):
        SampleSetSource(made).listing()
