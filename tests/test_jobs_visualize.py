"""The command that looks into networks: a run, anybody's network, and what it refuses."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.pinned import SPLITS, PinnedDataset, PinnedItem, open_pinned, write_pinned
from core.inspection.config import SECTIONS
from core.training.loop import train
from jobs import prepare
from jobs.visualize import main
from tests.autoencoders import save_autoencoder
from tests.inspecting import foreign_folder
from tests.tiny import tiny_config, tiny_dataset

QUICK = ["--batch", "2", "--steps", "4", "--inversion-steps", "8", "--device", "cpu"]


def command(run: Path, *more: str) -> list[str]:
    return ["--cluster", "inline", "--run", str(run), *QUICK, *more]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("visualize")
    dataset = tiny_dataset(folder / "data")
    settings = {"steps": 2, "log_every": 1, "snapshots": 0, "sample_every": 100}
    config = tiny_config(data=dataset.folder, log_gradients=True, **settings)
    train(config, dataset, folder / "run", cpu=True)
    return folder / "run"


def test_the_report_holds_every_section_and_is_the_same_bytes(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(run)) == 0
    page = (run / "visualize.html").read_bytes()
    text = page.decode()
    figures = json.loads((run / "visualize.json").read_text())["figures"]
    assert set(figures) == set(SECTIONS)
    assert text.count("<section ") == len(SECTIONS)
    assert "data:image/gif" in text
    assert not re.search(r"(src|href)=.https?:", text)
    assert "layers with the largest at the end" in text  # the training logged its gradients
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text).lower().split()
    capsys.readouterr()
    assert main(command(run)) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert main(command(run, "--out", str(tmp_path / "again.html"))) == 0
    assert (tmp_path / "again.html").read_bytes() == page


def test_chosen_sections_and_pictures(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "two.html"
    pair = ["--pictures", "fish/train_1", "cat/test_0"]
    chosen = ["--sections", "interpolation", "skips", *pair]
    assert main(command(run, *chosen, "--out", str(out))) == 0
    text = out.read_text()
    assert text.count("<section ") == 2
    assert "fish/train_1 and cat/test_0" in text
    assert text.index("skip connection contributes") < text.index("Between two pictures")


def test_anybodys_network_is_looked_into_without_any_data(tmp_path: Path) -> None:
    folder = foreign_folder(tmp_path / "theirs")
    assert main(command(folder)) == 0
    text = (tmp_path / "theirs-visualize.html").read_text()
    assert "drew itself" in text
    assert text.count("<section ") == len(SECTIONS)


def test_a_model_of_latents_is_seen_as_pictures(tmp_path: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "run"
    flags = ["--per-class", "4", "--size-px", "32", "--channels", "3", "--duplicates", "exact"]
    flags += ["--classes", "cat", "dog", "--split", "0.5", "0.25", "0.25", "--workers", "1"]
    flags += ["--encode", str(save_autoencoder(tmp_path / "vae")), "--out", str(data)]
    assert prepare.main([*flags, "--cluster", "inline"]) == 0
    config = tiny_config(data=data, steps=1, patch=2, snapshots=0, block_channels=(32, 32))
    train(config, open_pinned(data), folder, cpu=True)
    chosen = ["--sections", "levels", "attention", "interpolation"]
    assert main(command(folder, *chosen)) == 0
    text = (folder / "visualize.html").read_text()
    assert "an autoencoder's latents" in text.replace("&#x27;", "'")
    assert "16 × 16, 4 channels" in text
    assert main(command(folder / "model", *chosen, "--out", str(tmp_path / "same.html"))) == 0
    assert (tmp_path / "same.html").read_text() == text


def test_what_cannot_be_done_is_said_in_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tiny_dataset(tmp_path / "rgb", channels=3)
    for arguments, words in (
        ((tmp_path / "nowhere",), "neither a run nor a diffusers model"),
        ((run, "--data", str(tmp_path / "none")), "not a pinned dataset"),
        ((run, "--data", str(other.folder)), "3 channels, but the network"),
        ((run, "--pictures", "cat/none", "cat/test_0"), "no picture 'cat/none'"),
        ((run, "--pictures", "cat/test_0"), "give two different ones"),
        ((run, "--sections", "tea"), "tea"),
        ((run, "--sigma", "0"), "above 0"),
        ((run, "--out", str(tmp_path / "v.json")), "name an HTML file"),
        ((run, "--out", str(run / "config.html")), "its figures would take the place of"),
    ):
        assert main(command(*arguments)) == 2
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert said.startswith("visualize: error: "), said
        assert words in said
    assert not (run / "visualize.html.tmp").exists()


def real_dataset(folder: Path, animals: Path, *, channels: int) -> PinnedDataset:
    """120 photographs of cats and frogs at 32 px; with 4 channels, those on white become clear."""
    items: list[PinnedItem] = []
    images = []
    for split, start, count in zip(SPLITS, (0, 50, 56), (50, 6, 4), strict=True):
        for label in ("cat", "frog"):
            for path in sorted((animals / label).iterdir())[start : start + count]:
                picture = np.asarray(Image.open(path).convert("RGB").resize((32, 32)))
                if channels == 4:
                    alpha = np.where(picture.min(2) > 240, 0, 255).astype(np.uint8)[..., None]
                    picture = np.concatenate([picture * (alpha > 0), alpha], 2).astype(np.uint8)
                images.append(picture)
                items.append(
                    PinnedItem(
                        file_name=f"{label}/{path.name}",
                        sha256="",
                        label=label,
                        split=split,
                        group=len(items),
                    )
                )
    folder.mkdir(parents=True)
    transform = {"size_px": 32, "channels": channels}
    write_pinned(folder, images=images, items=items, label_names=("cat", "frog"),
                 transform=transform, source={"kind": "test"})  # fmt: skip
    return open_pinned(folder)


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize("channels", [3, 4])
def test_real_pictures_come_back_and_the_way_between_them_is_smooth(
    channels: int, real_data: Path, tmp_path: Path
) -> None:
    dataset = real_dataset(tmp_path / "data", real_data / "animals8", channels=channels)
    config = tiny_config(
        data=dataset.folder, steps=150, batch_size=16, block_channels=(32, 64), patch=4,
        snapshots=0, dropout=0.0, log_every=50, evaluate_every=150, sample_every=1000,
        checkpoint_every=150, warmup_steps=20,
    )  # fmt: skip
    train(config, dataset, tmp_path / "run", cpu=True)
    out = tmp_path / "between.html"
    arguments = ["--run", str(tmp_path / "run"), "--sections", "interpolation", "--out", str(out)]
    if channels == 4:
        # A cat that fills its picture and a frog cut out: there clear must jump to filled.
        frogs = [item.file_name for item in dataset.items() if item.label == "frog"]
        arguments += ["--pictures", frogs[50], frogs[51]]
    assert main(["--cluster", "inline", "--device", "cpu", *arguments]) == 0
    found = json.loads(out.with_suffix(".json").read_text())["figures"]["interpolation"]
    assert min(found["ends_db"]) >= 25
    arc = found["smoothness"]["spherical"]
    assert arc["features"]["longest"] < 3
    assert arc["pixels"]["variation"] < 1
    assert found["smoothness"]["cross-fade"]["pixels"]["variation"] < 0.05
