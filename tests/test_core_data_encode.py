import shutil
from pathlib import Path
from typing import Any

import diffusers
import huggingface_hub
import numpy as np
import pytest
import torch
from PIL import Image

from core.data.encode import open_encoder
from core.data.pinned import open_pinned
from core.data.prepare import PrepareConfig, prepare
from core.diffusion.autoencoder import compression, from_latents, open_autoencoder, to_latents
from core.diffusion.pixels import as_network_input
from core.errors import UserError
from tests.autoencoders import save_autoencoder


@pytest.fixture
def autoencoder(tmp_path: Path) -> Path:
    return save_autoencoder(tmp_path / "vae")


def config(autoencoder: Path | str, **settings: Any) -> PrepareConfig:
    common = {"per_class": 2, "size_px": 16, "channels": "3", "duplicates": "exact"}
    return PrepareConfig(**{"encode": str(autoencoder), **common, **settings})


def test_latents_lie_beside_the_pictures_with_what_made_them(
    autoencoder: Path, tmp_path: Path
) -> None:
    data = prepare(config(autoencoder), tmp_path / "out").dataset
    assert data.latents is not None
    assert (data.latents.shape, data.latents.dtype) == ((16, 2, 4, 8, 8), np.float16)
    assert data.network_shape_chw == (4, 8, 8)
    encoder = open_encoder(data)
    pictures = as_network_input(torch.from_numpy(np.array(data.images_nhwc)))
    for place, wanted in enumerate((pictures, pictures.flip(3))):
        expected = to_latents(encoder, wanted).numpy()
        assert np.abs(data.latents[:, place] - expected).max() < 2e-3
    assert data.facts["encoder"]["class"] == "AutoencoderKL"
    assert data.facts["encoder"]["reconstruction_psnr_db"] > 0
    assert str(tmp_path) not in (data.folder / "encoder" / "config.json").read_text()


def test_without_an_autoencoder_the_network_sees_pictures(tmp_path: Path) -> None:
    data = prepare(PrepareConfig(per_class=1, size_px=16), tmp_path / "out").dataset
    assert data.latents is None
    assert data.network_shape_chw == (4, 16, 16)
    assert open_encoder(data) is None


def test_the_digest_covers_latents_and_is_the_same_wherever_the_autoencoder_lies(
    autoencoder: Path, tmp_path: Path
) -> None:
    first = prepare(config(autoencoder), tmp_path / "one").dataset
    moved = autoencoder.rename(tmp_path / "moved")
    second = prepare(config(moved), tmp_path / "two").dataset
    assert first.digest == second.digest
    without = prepare(config(moved, encode=None), tmp_path / "three").dataset
    assert without.digest != first.digest
    latents = bytearray((tmp_path / "one" / "latents.npy").read_bytes())
    latents[-1] ^= 1
    (tmp_path / "one" / "latents.npy").write_bytes(latents)
    with pytest.raises(UserError, match=r"latents\.npy was altered"):
        open_pinned(tmp_path / "one", verify=True)


def test_the_space_is_the_one_that_the_config_states(tmp_path: Path) -> None:
    plain = open_autoencoder(str(save_autoencoder(tmp_path / "plain", scaling_factor=1.0)))
    pictures = torch.rand(2, 3, 16, 16) * 2 - 1
    raw = to_latents(plain, pictures)
    scaled = save_autoencoder(tmp_path / "a", scaling_factor=0.5, shift_factor=0.25)
    per_channel = save_autoencoder(
        tmp_path / "b",
        scaling_factor=0.5,
        latents_mean=[1.0, 2.0, 3.0, 4.0],
        latents_std=[1.0, 2.0, 4.0, 8.0],
    )
    means, stds = torch.tensor([1.0, 2, 3, 4]), torch.tensor([1.0, 2, 4, 8])
    for folder, expected in (
        (scaled, (raw - 0.25) * 0.5),
        (per_channel, (raw - means.view(1, 4, 1, 1)) * 0.5 / stds.view(1, 4, 1, 1)),
    ):
        opened = open_autoencoder(str(folder))
        latents = to_latents(opened, pictures)
        assert torch.allclose(latents, expected, atol=1e-6)
        assert torch.allclose(from_latents(opened, latents), from_latents(plain, raw), atol=1e-4)


@pytest.mark.parametrize("kind", ["AutoencoderTiny", "AutoencoderDC"])
def test_other_autoencoders_of_diffusers_fit_too(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "AutoencoderTiny": {
            "encoder_block_out_channels": (8, 8),
            "decoder_block_out_channels": (8, 8),
            "num_encoder_blocks": (1, 1),
            "num_decoder_blocks": (1, 1),
        },
        "AutoencoderDC": {
            "latent_channels": 4,
            "encoder_block_types": "ResBlock",
            "decoder_block_types": "ResBlock",
            "encoder_block_out_channels": (8, 16),
            "decoder_block_out_channels": (8, 16),
            "encoder_layers_per_block": (1, 1),
            "decoder_layers_per_block": (1, 1),
            "encoder_qkv_multiscales": ((), ()),
            "decoder_qkv_multiscales": ((), ()),
            "upsample_block_type": "interpolate",
            "downsample_block_type": "Conv",
        },
    }[kind]
    getattr(diffusers, kind)(**settings).save_pretrained(tmp_path / "vae")
    data = prepare(config(tmp_path / "vae"), tmp_path / "out").dataset
    encoder = open_encoder(data)
    factor = compression(encoder)
    assert data.network_shape_chw == (4, 16 // factor, 16 // factor)
    assert data.latents is not None
    latents = torch.from_numpy(np.array(data.latents[:2, 0])).float()
    assert from_latents(encoder, latents).shape == (2, 3, 16, 16)


def test_what_does_not_fit_is_one_line_before_any_work(
    autoencoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("core.data.prepare.scan", lambda *_, **__: pytest.fail("work"))
    (tmp_path / "empty").mkdir()
    for settings, complaint in (
        ({"size_px": 17}, "give a multiple of 2"),
        ({"channels": "4"}, "takes 3 channels, but the pictures have 4"),
        ({"channels": "auto"}, "prepare with --channels 3"),  # the starter animals have alpha
        ({"encode": "nowhere"}, "there is no autoencoder 'nowhere'"),
        ({"encode": str(tmp_path / "empty")}, "cannot be opened"),
        ({"encode": "owner/name"}, "owner/name cannot be opened from the Hugging Face hub"),
    ):
        with pytest.raises(UserError, match=complaint):
            prepare(config(autoencoder, **settings), tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_channels_that_only_the_pictures_tell_are_checked_as_soon_as_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    four = save_autoencoder(tmp_path / "four", in_channels=4, out_channels=4)
    (tmp_path / "pictures" / "cat").mkdir(parents=True)
    Image.new("RGB", (20, 20)).save(tmp_path / "pictures" / "cat" / "1.png")
    monkeypatch.setattr("core.data.prepare.find_groups", lambda *_, **__: pytest.fail("too late"))
    with pytest.raises(UserError, match="takes 4 channels, but the pictures have 3"):
        prepare(config(four, source=str(tmp_path / "pictures"), channels="auto"), tmp_path / "out")


def test_another_autoencoder_in_the_same_folder_is_seen(autoencoder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(config(autoencoder), out)
    assert prepare(config(autoencoder), out).reused
    for changes in ({"norm_num_groups": 2}, {"scaling_factor": 0.5}):
        save_autoencoder(autoencoder, **changes)
        with pytest.raises(UserError, match="made from another autoencoder"):
            prepare(config(autoencoder), out)
    other = open_autoencoder(str(save_autoencoder(autoencoder)))
    other.encoder.conv_in.bias += 1
    other.save_pretrained(autoencoder)
    with pytest.raises(UserError, match="made from another autoencoder"):
        prepare(config(autoencoder), out)
    shutil.rmtree(autoencoder)  # what the latents need lies beside them
    assert prepare(config(autoencoder), out).reused


@pytest.mark.parametrize(("size_px", "together"), [(16, 8), (256, 4)])
def test_larger_pictures_are_encoded_fewer_at_a_time(
    size_px: int, together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = save_autoencoder(tmp_path / "vae", mid_block_add_attention=False)
    seen = []

    def spy(autoencoder: Any, pictures: torch.Tensor) -> torch.Tensor:
        seen.append(len(pictures))
        return to_latents(autoencoder, pictures)

    monkeypatch.setattr("core.diffusion.autoencoder.to_latents", spy)
    prepare(config(tiny, size_px=size_px, per_class=1), tmp_path / "out")
    assert (max(seen), sum(seen)) == (together, 2 * 8)
