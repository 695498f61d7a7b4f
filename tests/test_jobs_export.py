"""The export job, from a sample set on disk to a pack that can be traced back."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from core.data.starter import draw_animal
from core.files import digest_bytes
from core.sampleset import Sample, finish_sample_set, shard_name, write_shard
from exporters.drawing.svg import lint_svg
from exporters.pack import verify_pack, zip_folder
from jobs import export

PARENTS = {"model": "a" * 64, "dataset": "b" * 64, "licence": "CC0-1.0"}


def write_set(folder, samples, parents=PARENTS):
    write_shard(folder / shard_name(0), samples)
    finish_sample_set(
        folder,
        count=len(samples),
        labels=sorted({sample.label for sample in samples}),
        settings={"guidance": 1.5, "init": "/somewhere/private/run"},
        parents=parents,
        shards=[shard_name(0)],
    )
    return folder


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Six small animals, one of them only noise, in a folder with an awkward name."""
    noise = np.random.default_rng(3).integers(0, 256, (32, 32, 4), dtype=np.uint8)
    pictures = [("cat", 1), ("fish", 2), ("cat", 3), ("bird", 4), ("fish", 5)]
    made = [Sample(image_hwc=draw_animal(n, s, 32), label=n, seed=s) for n, s in pictures]
    made.append(Sample(image_hwc=noise, label="bird", seed=9))
    return write_set(tmp_path_factory.mktemp("sets") / "it's a set", made)


@pytest.fixture(scope="module")
def pack(samples, tmp_path_factory):
    out = tmp_path_factory.mktemp("packs") / "animals"
    assert run(samples, out) == 0
    return out


def run(samples, out, *flags):
    where = ["--samples", str(samples), "--out", str(out), "--cluster", "inline"]
    return export.main([*where, "--workers", "1", *flags])


def the_line(capsys):
    """The one line that stderr holds, beside where the job runs."""
    (line,) = [
        line for line in capsys.readouterr().err.splitlines() if not line.startswith("cluster: ")
    ]
    return line


def test_a_pack_holds_what_it_promises(pack):
    facts = json.loads((pack / "pack.json").read_text())
    assert facts["format"] == "menagerie-pack-1"
    assert len(facts["stickers"]) == 5
    for item in facts["stickers"]:
        svg = (pack / item["file"]).read_text()
        assert lint_svg(svg) == []
        assert item["bytes"] == len(svg.encode())
        assert item["sha256"] == digest_bytes(svg.encode())
        assert min(item["psnr_white_db"], item["psnr_black_db"]) >= 28
        assert item["alpha_iou"] >= 0.97
        for key, size in (("png", 512), ("png_small", 128)):
            with Image.open(pack / item[key]) as image:
                assert image.size == (size, size)
                assert image.text["menagerie:dataset"] == PARENTS["dataset"]
                assert image.text["menagerie:seed"] == str(item["seed"])
    for name in ("index.html", "preview.png", "LICENSE", "AI-DISCLOSURE.md", "SHA256SUMS"):
        assert (pack / name).stat().st_size > 0
    assert "generative AI" in (pack / "AI-DISCLOSURE.md").read_text()
    assert "CC0-1.0" in (pack / "LICENSE").read_text()
    assert verify_pack(pack) == []


def test_a_pack_names_its_parents_and_no_folder_of_this_machine(pack, samples):
    facts = json.loads((pack / "pack.json").read_text())
    digest = json.loads((samples / "sampleset.json").read_text())["digest"]
    assert facts["inputs"]["samples"] == digest
    assert facts["parents"] == PARENTS
    assert facts["sampling"] == {"guidance": 1.5, "init": "run"}
    assert facts["inputs"]["settings"]["colours"] == 12
    everything = b"".join(path.read_bytes() for path in pack.rglob("*") if path.is_file())
    assert b"/somewhere" not in everything
    assert str(samples.parent).encode() not in everything


def test_what_fails_the_gate_is_refused_with_its_reason(pack):
    facts = json.loads((pack / "pack.json").read_text())
    (refused,) = facts["refused"]
    assert (refused["label"], refused["seed"]) == ("bird", 9)
    assert "under" in refused["reason"]
    assert not list(pack.glob("svg/bird_000009*"))


def test_the_zip_holds_the_folder_and_can_be_made_again(pack, tmp_path):
    zipped = pack.with_name("animals.zip")
    assert verify_pack(zipped) == []
    with zipfile.ZipFile(zipped) as archive:
        archive.extractall(tmp_path / "unpacked")
        first = archive.read("preview.png")
    zip_folder(tmp_path / "unpacked", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == zipped.read_bytes()
    with Image.open(io.BytesIO(first)) as sheet:
        assert sheet.width > 128


@pytest.mark.slow
def test_two_workers_make_the_same_bytes(pack, samples, tmp_path):
    assert run(samples, tmp_path / "other", "--workers", "2") == 0
    assert (tmp_path / "other.zip").read_bytes() == pack.with_name("animals.zip").read_bytes()


def test_the_same_command_again_does_nothing(pack, samples, capsys):
    before = {path: path.stat().st_mtime_ns for path in pack.rglob("*")}
    assert run(samples, pack) == 0
    assert "finished already" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in pack.rglob("*")}


def test_other_settings_do_not_overwrite_a_pack(pack, samples, capsys):
    assert run(samples, pack, "--colours", "8") == 2
    assert "name another --out" in the_line(capsys)


def test_a_pack_stopped_before_its_zip_is_completed(pack, samples, capsys):
    zipped = pack.with_name("animals.zip")
    before = zipped.read_bytes()
    zipped.unlink()
    assert run(samples, pack) == 0
    assert zipped.read_bytes() == before


def test_the_last_lines_say_what_was_made_refused_and_what_is_next(samples, tmp_path, capsys):
    assert run(samples, tmp_path / "p", "--labels", "bird", "--limit", "2") == 0
    out = capsys.readouterr().out
    assert f"pack: {tmp_path / 'p.zip'} (1 stickers" in out
    assert f"next: open {tmp_path / 'p' / 'index.html'}" in out
    assert "refused: 1 (bird 9: " in out


def test_photographs_make_a_pack_and_an_unknown_licence_is_loud(tmp_path, capsys):
    rows, columns = np.indices((32, 32)) / 31
    picture = np.stack([200 * rows, 120 + 80 * columns, 230 - 90 * rows], axis=2).astype(np.uint8)
    sample = Sample(image_hwc=picture, label="horse", seed=0)
    folder = write_set(tmp_path / "photos", [sample], {"model": "m"})
    assert run(folder, tmp_path / "pack", "--cut-out", "none") == 0
    assert "DO NOT REDISTRIBUTE" in capsys.readouterr().out
    assert "LICENCE UNKNOWN" in (tmp_path / "pack" / "LICENSE").read_text()


def test_a_pack_without_stickers_is_an_error_and_leaves_nothing(tmp_path, capsys):
    clear = Sample(image_hwc=np.zeros((16, 16, 4), dtype=np.uint8), label="cat", seed=0)
    folder = write_set(tmp_path / "clear", [clear])
    assert run(folder, tmp_path / "packs" / "p") == 2
    assert "no picture passed: cat 0: the picture is clear everywhere" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "packs").iterdir() if not p.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--labels", "dragon"], "no class 'dragon'; known are bird, cat, fish"),
        (["--colours", "1"], "colours is 1: allowed are 2 to 48"),
        (["--workers", "0"], "workers is 0"),
        (["--upscaler", "/nowhere/x.pth"], "does not exist"),
        (["--alpha-threshold", "nan"], "alpha_threshold is nan"),
        (["--limit", "0"], "limit is 0"),
        (["--without-tags", "extra ear"], "without_tags goes with --approved"),
        (["--nonsense"], "nonsense"),
    ],
)
def test_bad_flags_are_one_line(samples, tmp_path, capsys, flags, complaint):
    assert run(samples, tmp_path / "p", *flags) == 2
    assert complaint in the_line(capsys)
    assert not (tmp_path / "p").exists()


def approve(samples, seeds, **facts):
    """What the curation app writes into a sample set."""
    digest = json.loads((samples / "sampleset.json").read_text())["digest"]
    facts = {"sample_set": digest, "seeds": seeds, "approved_by": ["Ada"], **facts}
    (samples / "approved.json").write_text(json.dumps(facts))


@pytest.fixture
def curated(tmp_path):
    """Three animals, of which the app knows two to be approved, one with a flaw."""
    animals = [("cat", 1), ("fish", 2), ("cat", 3)]
    made = [Sample(image_hwc=draw_animal(n, s, 32), label=n, seed=s) for n, s in animals]
    folder = write_set(tmp_path / "curated set", made)
    approve(folder, [2, 3], tags={"extra ear": [3], "cut off": []})
    return folder


def seeds_in(pack):
    return [item["seed"] for item in json.loads((pack / "pack.json").read_text())["stickers"]]


def test_approved_samples_alone_are_exported_and_tags_take_some_out(curated, tmp_path):
    assert run(curated, tmp_path / "p", "--approved") == 0
    assert seeds_in(tmp_path / "p") == [2, 3]
    fish, cat = json.loads((tmp_path / "p" / "pack.json").read_text())["stickers"]
    assert (fish.get("tags"), cat["tags"]) == (None, ["extra ear"])
    flawless = ["--approved", "--without-tags", "extra ear", "cut off"]
    assert run(curated, tmp_path / "q", *flawless) == 0
    assert seeds_in(tmp_path / "q") == [2]
    # Both lists at once: recognised by the classifier, and approved by a person.
    digest = json.loads((curated / "sampleset.json").read_text())["digest"]
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps({"sample_set": digest, "seeds": [1, 2]}))
    assert run(curated, tmp_path / "r", "--approved", "--only", str(kept)) == 0
    # The same stickers are the same inputs, whichever flags chose them.
    q, r = (json.loads((tmp_path / name / "pack.json").read_text()) for name in "qr")
    assert q["inputs"]["settings"] | {"name": ""} == r["inputs"]["settings"] | {"name": ""}


@pytest.mark.parametrize(
    ("facts", "flags", "complaint"),
    [
        (None, [], "approve samples with `menagerie curate"),
        ({"sample_set": "c0ffee"}, [], "is of the sample set c0ffee, not of"),
        ({"seeds": []}, [], "--approved keeps no picture"),
        ({"seeds": [7]}, [], "no picture of seed 7, which --approved names"),
        ({"tags": {"cut off": ["3"]}}, [], 'tags that are not {"tag": [seeds]}'),
        ({}, ["--without-tags", "extra eer"], "no tag 'extra eer'; known are extra ear"),
    ],
)
def test_an_approval_that_does_not_fit_is_one_line(
    curated, tmp_path, capsys, facts, flags, complaint
):
    if facts is None:
        (curated / "approved.json").unlink()
    else:
        approve(curated, **{"seeds": [2], "tags": {"extra ear": []}, **facts})
    assert run(curated, tmp_path / "p", "--approved", *flags) == 2
    assert complaint in the_line(capsys)
    assert not (tmp_path / "p").exists()


def test_a_missing_and_an_altered_sample_set_are_one_line(tmp_path, capsys):
    assert run(tmp_path / "none", tmp_path / "p") == 2
    assert "not a finished sample set" in capsys.readouterr().err
    sample = Sample(image_hwc=draw_animal("cat", 1, 32), label="cat", seed=1)
    folder = write_set(tmp_path / "set", [sample])
    shard = folder / shard_name(0)
    shard.write_bytes(shard.read_bytes() + b"x")
    assert run(folder, tmp_path / "p") == 2
    assert "was altered" in capsys.readouterr().err


def test_a_dry_run_prints_the_config_and_makes_nothing(samples, tmp_path, capsys):
    assert run(samples, tmp_path / "p", "--dry-run") == 0
    assert '"colours": 12' in capsys.readouterr().out
    assert not (tmp_path / "p").exists()


@pytest.mark.slow
@pytest.mark.realdata
def test_weights_make_a_pack_and_unsafe_ones_are_refused(real_data, tmp_path, capsys):
    sample = Sample(image_hwc=draw_animal("turtle", 2, 64), label="turtle", seed=2)
    folder = write_set(tmp_path / "set", [sample])
    weights = real_data / "weights"
    assert run(folder, tmp_path / "a", "--upscaler", str(weights / "realesr-general-x4v3.pth")) == 0
    settings = json.loads((tmp_path / "a" / "pack.json").read_text())["inputs"]["settings"]
    assert settings["upscaler"].startswith("realesr-general-x4v3.pth sha256:")
    capsys.readouterr()
    assert run(folder, tmp_path / "b", "--upscaler", str(weights / "unsafe_pickle.pth")) == 2
    error = capsys.readouterr().err
    assert "refused" in error
    assert error.count("\nexport: error") <= 1
