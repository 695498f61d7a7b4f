"""From pictures to latents, to a model of latents, to pictures, by the commands alone."""

from pathlib import Path

import numpy as np

from core.diffusion.pipeline import open_pipeline
from core.sampleset import open_sample_set
from jobs import prepare, sample, train
from tests.autoencoders import save_autoencoder


def test_a_model_of_latents_is_trained_and_its_samples_are_pictures(tmp_path: Path) -> None:
    data, run, out = (tmp_path / name for name in ("data", "run", "samples"))
    flags = ["--per-class", "2", "--size-px", "32", "--channels", "3", "--duplicates", "exact"]
    flags += ["--encode", str(save_autoencoder(tmp_path / "vae")), "--workers", "1"]
    assert prepare.main([*flags, "--out", str(data)]) == 0
    flags = ["--data", str(data), "--out", str(run), "--steps", "4", "--batch-size", "4"]
    flags += ["--block-channels", "32", "64", "--precision", "fp32", "--log-every", "2"]
    flags += ["--evaluate-every", "2", "--sample-every", "4", "--checkpoint-every", "2"]
    assert train.main([*flags, "--cluster", "inline", "--cpu"]) == 0
    pipeline = open_pipeline(run)
    assert pipeline.vae is not None
    assert int(pipeline.unet.config.in_channels) == 4 * 2**2  # latents, in blocks of 2×2
    flags = ["--run", str(run), "--out", str(out), "--per-class", "1", "--steps", "4"]
    assert sample.main([*flags, "--device", "cpu", "--cluster", "inline"]) == 0
    pictures = [np.asarray(made.image_hwc) for made in open_sample_set(out).samples()]
    assert [picture.shape for picture in pictures] == [(32, 32, 3)] * 8
    assert len({picture.tobytes() for picture in pictures}) == 8
