"""Models of latents: described by the pictures that they end in, and decoded a few at a time."""

from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

from core.diffusion import pipeline as pipelines
from core.diffusion.autoencoder import compression, from_latents, open_autoencoder
from core.diffusion.denoiser import build_unet
from core.diffusion.modelinfo import describe_model, helpers_digests
from core.diffusion.pipeline import ClassConditionalPipeline, open_pipeline
from tests.autoencoders import save_autoencoder


def save_model(folder: Path, autoencoder: object) -> Path:
    torch.manual_seed(0)
    unet = build_unet(
        size_px=8,
        channels=4,
        labels=2,
        patch=1,
        block_channels=(32, 32),
        layers_per_block=1,
        attention_levels=(),
        dropout=0.0,
    )
    ClassConditionalPipeline(
        unet,
        vae=autoencoder,  # type: ignore[arg-type]
        labels=["cat", "fish"],
        frequency_mean=[0.0] * 4,
        frequency_scale=[1.0] * 4,
        facts={"dataset": "0" * 64, "licence": "CC0-1.0"},
    ).save_pretrained(folder / "model")
    return folder


def test_a_model_of_latents_makes_pictures_whatever_is_decoded_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = open_autoencoder(str(save_autoencoder(tmp_path / "vae", scaling_factor=0.4)))
    run = save_model(tmp_path / "run", vae)
    model = describe_model(run)
    assert (model.size_px, model.channels) == (8 * compression(vae), 3)
    assert set(helpers_digests(run, guide=False, averages=False)) == {"vae"}
    together: list[int] = []

    def decoded(autoencoder: object, latents: torch.Tensor) -> torch.Tensor:
        together.append(len(latents))
        return from_latents(autoencoder, latents)

    monkeypatch.setattr(pipelines, "from_latents", decoded)
    pipeline = open_pipeline(run)
    whole = pipeline(["cat", "fish", "cat"], seeds=[1, 2, 3], num_inference_steps=2).images
    monkeypatch.setattr(pipelines, "_DECODED_TOGETHER", 2 * 16**2)
    parts = pipeline(["cat", "fish", "cat"], seeds=[1, 2, 3], num_inference_steps=2).images
    assert together == [3, 2, 1]
    for one, other in zip(whole, parts, strict=True):
        assert np.abs(np.asarray(one, int) - np.asarray(other, int)).max() <= 1
    assert whole[0].size == (16, 16)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("AutoencoderTiny", {"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}),
        ("AutoencoderDC", {"encoder_layers_per_block": (1, 1), "decoder_layers_per_block": (1, 1)}),
    ],
)
def test_other_autoencoders_say_how_large_their_pictures_are(
    tmp_path: Path, kind: str, settings: dict[str, object]
) -> None:
    blocks = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    if kind == "AutoencoderDC":
        settings = settings | {
            "encoder_qkv_multiscales": ((), ()),
            "decoder_qkv_multiscales": ((), ()),
            "attention_head_dim": 4,
        }
    vae = getattr(diffusers, kind)(**blocks, **settings, latent_channels=4)
    run = save_model(tmp_path / "run", vae)
    picture = open_pipeline(run)(["cat"], seeds=[1], num_inference_steps=1).images[0]
    model = describe_model(run)
    assert picture.size == (model.size_px, model.size_px)
    assert model.channels == 3
