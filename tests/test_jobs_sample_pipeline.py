"""sample --pipeline: from a file of prompts to a curated, exported pack; killed and resumed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from core.files import read_json, write_json
from core.sampleset import open_sample_set
from jobs import export, sample
from tests.curating import open_app, post, vote
from tests.hearing import write_call, write_tagger
from tests.pipelines import tiny_sd

filters = pytest.mark.filterwarnings("ignore:.*:FutureWarning", "ignore:.*:DeprecationWarning")
FLAGS = ["--cluster", "inline", "--steps", "2"]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """Of 32 px pictures, with a licence on its card."""
    folder = tiny_sd(tmp_path_factory.mktemp("pipelines") / "tiny")
    (folder / "README.md").write_text("---\nlicense: cc0-1.0\ntags: [tiny]\n---\n# Tiny\n")
    return folder


@pytest.fixture
def prompts(tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("# stickers\na {colour} cat sticker\na {colour} dog, plain background\n")
    return file


@filters
@pytest.mark.slow
def test_from_a_file_of_prompts_to_a_curated_pack(pipeline, prompts, tmp_path, capsys):
    out, pack = tmp_path / "set", tmp_path / "pack"
    flags = ["--pipeline", str(pipeline), "--prompts", str(prompts), "--wild", "colour=red,green"]
    size = ["--width", "32", "--height", "32", "--seeds", "0-3,10"]
    assert sample.main([*flags, *FLAGS, *size, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "memory: cpu fp32, no offload, no tiles" in said
    assert f"next: python jobs/export.py --samples {out}" in said
    made = open_sample_set(out, verify=True)
    assert (made.labels, made.parents["licence"]) == (("cat", "dog"), "cc0-1.0")
    assert [(s.label, s.seed) for s in made.samples()] == [
        *(("cat", 0), ("dog", 1), ("cat", 2), ("dog", 3), ("cat", 10))
    ]
    _, client = open_app(out)
    for picture in (1, 2):
        vote(client, picture, "keep")
    assert post(client, "/samples/approved").get_json()["approved"] == 2
    lenient = ["--min-psnr-db", "0", "--min-ssim", "-1", "--min-alpha-iou", "0"]
    lenient += ["--max-edge-px", "1000", "--cut-out", "none", "--noise-levels", "60"]
    small = ["--size-px", "64", "--small-px", "32", "--workers", "1", "--cluster", "inline"]
    asked = ["--samples", str(out), "--approved", "--out", str(pack)]
    assert export.main([*asked, *lenient, *small]) == 0, capsys.readouterr().err
    facts = read_json(pack / "pack.json")
    assert [sticker["seed"] for sticker in facts["stickers"]] == [0, 1]
    assert facts["parents"]["model"] == made.parents["model"]
    assert facts["licence"] == "cc0-1.0"
    assert sample.main([*flags, *FLAGS, *size, "--out", str(out)]) == 0
    assert "finished already" in capsys.readouterr().out


@filters
@pytest.mark.slow
def test_what_was_killed_goes_on_without_loss(pipeline, prompts, tmp_path):
    flags = ["--pipeline", str(pipeline), "--prompts", str(prompts), "--wild", "colour=red,green"]
    flags += [*FLAGS, "--seeds", "0-19", "--scheduler", "euler-ancestral", "--shard-size", "10"]
    code = "import sys; from jobs import sample; sys.exit(sample.main())"
    killed = tmp_path / "killed"
    with subprocess.Popen([sys.executable, "-c", code, *flags, "--out", str(killed)]) as running:
        begun = time.monotonic()
        while len(drawn := sorted(killed.glob("unfinished/*/*.png"))) < 2:
            assert running.poll() is None, "it ended before it could be killed"
            assert time.monotonic() - begun < 200
            time.sleep(0.01)
        os.kill(running.pid, signal.SIGKILL)
    before = {path.name: path.stat().st_mtime_ns for path in drawn if path.exists()}
    assert before
    assert not (killed / "sampleset.json").exists()
    assert sample.main([*flags, "--out", str(killed)]) == 0
    assert sample.main([*flags, "--out", str(tmp_path / "whole")]) == 0
    assert open_sample_set(killed).digest == open_sample_set(tmp_path / "whole").digest


@filters
@pytest.mark.slow
def test_the_plan_says_pictures_and_memory_before_anything_is_drawn(
    pipeline, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("MENAGERIE_LAUNCHES", str(tmp_path / "launches"))
    flags = ["--pipeline", str(pipeline), "--prompt", "a cat", "--out", str(tmp_path / "set")]
    assert sample.main([*flags, "--cluster", "local", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "pictures: 16 of 16×16 px in 1 shards" in said
    assert "memory: about 0.7 GiB in fp32 (weights 0.00, beside them at most 0.00)" in said
    assert not (tmp_path / "set").exists()


@filters
@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ([], "there is no prompt"),
        (["--prompt", "a {colour} cat"], "no values for it"),
        (["--prompt", "a", "--seeds", "9-3"], "must be ranges that rise"),
        (["--prompt", "a", "--scheduler", "magic"], "known are ddim"),
        (["--prompt", "a", "--scheduler", "flow-euler"], "does not fit a pipeline"),
        (["--prompt", "a", "--width", "33"], "a multiple of 8"),
        (["--prompts", "/nowhere.txt"], "/nowhere.txt: No such file"),
        (["--prompt", "a", "--pipeline", "/nowhere"], "could not be fetched from the hub"),
        (["--prompt", "a", "--offload", "model", "--device", "cpu"], "goes with a GPU"),
        (["--prompt", "a", "--device", "cuda"], "no CUDA device here"),
    ],
)
def test_bad_flags_are_one_line(pipeline, tmp_path, capsys, flags, complaint):
    whole = ["--pipeline", str(pipeline), *FLAGS, "--out", str(tmp_path / "out"), *flags]
    if "cuda" in flags and __import__("torch").cuda.is_available():
        pytest.skip("there is a CUDA device")
    capsys.readouterr()
    assert sample.main(whole) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    assert complaint in lines[0]


@filters
@pytest.mark.slow
def test_a_sound_becomes_a_prompt(pipeline, tmp_path, capsys):
    call = write_call(tmp_path / "call.wav", "Dog")
    heard = ["--from-audio", str(call), "--yamnet", str(write_tagger(tmp_path / "yamnet"))]
    flags = ["--pipeline", str(pipeline), *FLAGS, *heard, "--seeds", "4"]
    out = tmp_path / "set"
    asked = [*flags, "--prompt", "one {animal}, drawn", "--out", str(out)]
    assert sample.main(asked) == 0
    assert "heard: Dog: drawing 'one dog, drawn'" in capsys.readouterr().out
    assert '"label": "dog", "prompt": "one dog, drawn"' in (out / "prompts.jsonl").read_text()
    assert open_sample_set(out).parents["sound"]["category"] == "Dog"
    plan = read_json(out / "plan.json")
    plan["parents"]["sound"]["score"] -= 0.01  # begun on another machine
    write_json(out / "plan.json", plan)
    assert sample.main(asked) == 0
    assert sample.main([*flags, "--prompts", str(call), "--out", str(out)]) == 2
    assert "--from-audio takes one --prompt" in capsys.readouterr().err


def test_help_shows_its_flags_and_nothing_loads_torch():
    code = (
        "import sys; from jobs import sample\n"
        "try: sample.main(['--pipeline', 'x', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    assert "--negative-prompt" in said
    assert "--offload" in said
