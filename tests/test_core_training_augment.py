"""Changed training pictures: what is done to them, and that a network told of it does not repeat
it."""

import dataclasses
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor

from core.data.pinned import SPLITS, PinnedDataset, PinnedItem, open_pinned, write_pinned
from core.data.starter import draw_animal
from core.diffusion.pipeline import open_pipeline
from core.diffusion.pixels import as_network_input
from core.images import premultiply
from core.rundir import RunFolder
from core.training.augment import CHANGES, changed, draw_changes
from core.training.card import make_pipeline
from core.training.loop import train
from core.training.memory import TrainingPictures
from core.training.processes import Processes
from core.training.step import Stepper, new_state
from core.training.told import ToldEmbedding, plain, telling
from tests.tiny import tiny_config, tiny_dataset

CPU = torch.device("cpu")


def told(count: int = 1, **changes: float) -> Tensor:
    row = torch.tensor([changes.get(name, 0.0) for name in CHANGES])
    return row.expand(count, -1)


def cat(*, channels: int = 4) -> Tensor:
    picture = premultiply(draw_animal("cat", 3, 32))[None, ..., :channels]
    return as_network_input(torch.from_numpy(picture))


def noise_like(batch: Tensor) -> Tensor:
    return torch.randn(batch.shape, generator=torch.Generator().manual_seed(0))


def test_each_change_does_what_its_name_says() -> None:
    picture = cat()
    assert torch.allclose(changed(picture, told(mirror=1)), picture.flip(3), atol=1e-5)
    moved = changed(picture, told(shift_x=1))
    assert torch.allclose(moved[..., 4:], picture[..., :-4], atol=1e-5)
    assert (moved[..., :4] == -1).all()
    alpha = (picture[:, 3:] + 1).sum()
    grown = (changed(picture, told(scale=1))[:, 3:] + 1).sum() / alpha
    assert grown == pytest.approx(1.2**2, rel=0.05)
    turned = changed(changed(picture, told(rotation=1)), told(rotation=-1))
    assert (turned - picture).square().mean() < 0.02
    assert (changed(picture, told(rotation=1)) - picture).square().mean() > 0.02


def test_colours_change_as_they_would_without_alpha() -> None:
    """Half transparent and brightened is what brightening first would have made."""
    straight = torch.tensor([0.8, 0.5, 0.3])
    alpha = 0.5
    picture = torch.cat([straight * alpha, torch.tensor([alpha])])[None, :, None, None] * 2 - 1
    for change in ("brightness", "contrast", "saturation"):
        opaque = changed(straight[None, :, None, None] * 2 - 1, told(**{change: 0.7}))
        through = changed(picture, told(**{change: 0.7}))
        assert torch.allclose((through[:, :3] + 1) / 2, (opaque + 1) / 2 * alpha, atol=1e-6)
        assert not torch.allclose((opaque + 1) / 2, straight[None, :, None, None], atol=0.01)
        assert through[0, 3] == 0  # alpha of one half stays


def test_a_colour_is_never_brighter_than_its_alpha() -> None:
    generator = torch.Generator().manual_seed(1)
    batch = cat().expand(64, -1, -1, -1)
    result = changed(batch, draw_changes(64, chance=1.0, mirror=True, generator=generator))
    assert (result[:, :3] <= result[:, 3:] + 1e-6).all()
    assert result.min() >= -1
    assert result.max() <= 1


def test_opaque_pictures_get_no_bars_at_their_border() -> None:
    grey = torch.full((1, 3, 16, 16), 0.2)
    assert torch.allclose(changed(grey, told(rotation=1, shift_x=-1, scale=-1)), grey, atol=1e-5)


def test_unchanged_pictures_keep_their_bits() -> None:
    batch = torch.cat([cat(), cat()])
    result = changed(batch, torch.cat([told(), told(brightness=1)]))
    assert torch.equal(result[0], batch[0])
    assert not torch.equal(result[1], batch[1])


def test_changes_come_as_often_as_asked() -> None:
    draws = draw_changes(
        20_000, chance=0.3, mirror=True, generator=torch.Generator().manual_seed(2)
    )
    shares = (draws != 0).float().mean(0)
    assert shares.tolist() == pytest.approx([0.15] + [0.3] * 7, abs=0.015)
    assert ((draws[:, 2] != 0) == (draws[:, 3] != 0)).all()
    assert draws[:, 1:].abs().max() <= 1
    unmirrored = draw_changes(
        100, chance=1.0, mirror=False, generator=torch.Generator().manual_seed(2)
    )
    assert (unmirrored[:, 0] == 0).all()


def test_augmented_batches_do_not_depend_on_processes_or_micro_batches(tmp_path: Path) -> None:
    config = tiny_config(augment=0.6)
    pictures = TrainingPictures(tiny_dataset(tmp_path / "data"), config, CPU)
    whole = pictures.batch(3)
    assert whole.told is not None
    assert whole.told.any()
    parts = [
        part for rank in range(2) for part in pictures.batch(3, rank=rank, processes=2).parts(2)
    ]
    for name in ("clean", "told", "labels"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))


def test_without_augmentation_nothing_is_told(tmp_path: Path) -> None:
    """And the other draws do not move: order, noise and mirroring are those of the plain run."""
    dataset = tiny_dataset(tmp_path / "data")
    without = TrainingPictures(dataset, tiny_config(), CPU).batch(1)
    hardly = TrainingPictures(dataset, tiny_config(augment=1e-9), CPU).batch(1)
    assert without.told is None
    assert hardly.told is not None
    assert not hardly.told.any()
    for name in ("clean", "noise", "sigma", "labels"):
        assert torch.equal(getattr(without, name), getattr(hardly, name))
    assert not isinstance(
        new_state(tiny_config(), dataset, CPU).unet.class_embedding, ToldEmbedding
    )


def test_told_nothing_is_told_zeros(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path / "data")
    unet = new_state(tiny_config(augment=0.5), dataset, CPU).unet
    arguments = torch.randn(2, 64, 8, 8), torch.zeros(2), torch.zeros(2, dtype=torch.int64)
    unet.eval()
    with torch.no_grad():
        untold = unet(*arguments).sample
        with telling(unet, told(2)):
            assert torch.equal(unet(*arguments).sample, untold)
        with telling(unet, told(2, mirror=1)):
            assert not torch.equal(unet(*arguments).sample, untold)
        assert torch.equal(unet(*arguments).sample, untold)
        assert torch.equal(plain(unet)(*arguments).sample, untold)


def wedge_dataset(folder: Path) -> PinnedDataset:
    """One picture, red at its left and clear at its right, over and over."""
    picture = np.zeros((8, 8, 4), np.uint8)
    picture[1:-1, :3] = (200, 60, 60, 255)
    items = [
        PinnedItem(file_name=f"{k}", sha256="", label="wedge", split=split, group=k)
        for k, split in enumerate([SPLITS[0]] * 8 + [*SPLITS[1:]])
    ]
    folder.mkdir(parents=True)
    write_pinned(
        folder,
        images=[picture] * len(items),
        items=items,
        label_names=("wedge",),
        transform={"size_px": 8, "channels": 4},
        source={"kind": "test"},
    )
    return open_pinned(folder)


@pytest.mark.parametrize("hears", [True, False])
def test_changes_do_not_leak_into_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hears: bool
) -> None:
    """A third of the pictures are mirrored, most are moved and coloured; no sample is.

    Unless the network does not hear of it: the same training then draws mirrored samples too.
    """
    dataset = wedge_dataset(tmp_path / "data")
    config = tiny_config(
        **{"steps": 120, "batch_size": 16, "flip": False, "augment": 0.7, "label_drop": 0.0},
        **{"patch": 2, "block_channels": (64,), "attention_levels": (), "dropout": 0.0},
        **{"optimizer": "adamw", "learning_rate": 3e-3, "snapshots": 0},
    )
    plain_config = dataclasses.replace(config, augment=0.0)
    wedge = TrainingPictures(dataset, plain_config, CPU).batch(0).clean[:8]
    if not hears:
        batch = TrainingPictures.batch
        monkeypatch.setattr(
            TrainingPictures,
            "batch",
            lambda *given, **named: dataclasses.replace(batch(*given, **named), told=None),
        )
    state = new_state(config, dataset, CPU)
    stepper = Stepper(config, dataset, state, Processes.alone(CPU))
    for _ in range(config.steps):
        stepper.step()

    pipeline = make_pipeline(state.ema, config, dataset, stepper.statistics)
    pictures = pipeline.generate(["wedge"] * 8, range(8), guidance=1.0, steps=8, solver="dpmpp-2m")
    solid = torch.from_numpy(np.stack(pictures)[..., 3]) > 127
    wrong = (solid != (wedge[:, 3] > 0)).float().mean((1, 2))
    assert (wrong == 0).all() if hears else (wrong > 0.3).any()

    # Under heavy noise, where nothing else can be seen, it draws what it is told.
    noisy, sigma, labels = 30 * noise_like(wedge), torch.full((8,), 30.0), torch.zeros(8).long()
    guess = stepper.denoiser_of(state.unet.eval())
    with torch.no_grad(), telling(state.unet, told(8, mirror=1)):
        mirrored = guess(noisy, sigma, labels)
    error = (mirrored - wedge.flip(3)).square().mean() / (wedge - wedge.flip(3)).square().mean()
    assert error < 0.1 if hears else error > 0.3


def test_an_augmented_run_resumes_bit_for_bit_and_its_model_is_plain(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path / "data")
    config = tiny_config(steps=4, augment=0.5, checkpoint_every=2)
    whole = RunFolder(train(config, dataset, tmp_path / "whole", cpu=True).parent)
    shutil.copytree(whole.root, tmp_path / "again")
    again = RunFolder(tmp_path / "again")
    shutil.rmtree(again.model)
    shutil.rmtree(again.checkpoint(4))
    train(config, dataset, again.root, cpu=True)
    weights = "unet/diffusion_pytorch_model.safetensors"
    assert (whole.model / weights).read_bytes() == (again.model / weights).read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unet = UNet2DModel.from_pretrained(whole.model / "unet")
    assert isinstance(unet.class_embedding, torch.nn.Embedding)
    assert not isinstance(unet.class_embedding, ToldEmbedding)
    pipeline = open_pipeline(whole.root)
    assert len(pipeline.generate(["cat"], [0], guidance=1.5, steps=2, solver="dpmpp-2m")) == 1
