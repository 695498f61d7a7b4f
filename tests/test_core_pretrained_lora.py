"""LoRA trainings of seconds: they learn, resume bit for bit, keep to their time, and load back."""

import json

import numpy as np
import pytest
import torch

from core.errors import UserError
from core.files import digest_file
from core.pretrained.lora import parts
from core.pretrained.lora.config import LoraConfig
from core.pretrained.lora.forecast import forecast
from core.pretrained.lora.loop import finetune
from core.pretrained.lora.objective import Objective
from core.pretrained.lora.rates import find_rate
from core.pretrained.lora.run import LoraRun
from core.pretrained.text_to_image.source import PipelineSource
from core.training.budget import Budget
from core.training.guard import halvings_of
from core.training.record import read_metrics
from tests.finetuning import small, tiny_pictures
from tests.pipelines import tiny_sd, tiny_sdxl

pytestmark = pytest.mark.filterwarnings("ignore:.*:FutureWarning", "ignore:.*:DeprecationWarning")
KINDS = {"sd": tiny_sd, "sdxl": tiny_sdxl}
SDXL = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 128,
    "in_channels": 4,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 2,
    "cross_attention_dim": 2048,
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
"""SDXL's own."""
SDXL_VAE = {
    "_class_name": "AutoencoderKL",
    "latent_channels": 4,
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "sample_size": 1024,
}


class Clock:
    """Time that passes by the question."""

    def __init__(self, each_s: float) -> None:
        self.now, self.each_s = 0.0, each_s

    def __call__(self) -> float:
        self.now += self.each_s
        return self.now


@pytest.fixture(scope="module", params=["sd", "sdxl"])
def pipeline(request, tmp_path_factory):
    return KINDS[request.param](tmp_path_factory.mktemp("base") / request.param)


@pytest.fixture(scope="module")
def sd(tmp_path_factory):
    return tiny_sd(tmp_path_factory.mktemp("base") / "sd")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return tiny_pictures(tmp_path_factory.mktemp("data") / "pictures", captions=True)


def losses(folder):
    return [row["loss"] for row in read_metrics(LoraRun(folder).metrics)]


def files(folder):
    return {path.name: digest_file(path) for path in (folder / "lora").glob("*.safetensors")}


def drawn(pipeline, prompt="a cat"):
    generator = torch.Generator().manual_seed(7)
    made = pipeline(prompt, num_inference_steps=3, generator=generator, output_type="np",
                    width=32, height=32)  # fmt: skip
    return made.images[0]


@pytest.mark.slow
def test_it_learns_sixteen_pictures(pipeline, pictures, tmp_path):
    config = small(pipeline, pictures, steps=60, rank=8, log_every=5, checkpoint_every=30,
                   validate_every=30)  # fmt: skip
    ended = finetune(config, tmp_path / "run", cpu=True)
    assert ended.lora == tmp_path / "run" / "lora"
    found = losses(tmp_path / "run")
    assert len(found) == 12
    assert np.mean(found[-3:]) < 0.85 * np.mean(found[:2])
    assert [path.name for path in sorted((tmp_path / "run" / "samples").iterdir())] == [
        *("step_00000030.png", "step_00000060.png")
    ]
    assert LoraRun(tmp_path / "run").steps_saved() == [30, 60]
    card = (ended.lora / "README.md").read_text()
    assert "trained by Menagerie on 16 pictures" in card
    assert "licence of the data | CC0-1.0" in card


@pytest.mark.slow
def test_what_it_learnt_loads_in_plain_diffusers_in_both_formats(pipeline, pictures, tmp_path):
    from diffusers import DiffusionPipeline

    from core.pretrained.lora.base import describe_base, open_base
    from core.pretrained.lora.run import restore_checkpoint
    from core.pretrained.lora.step import new_state

    config = small(pipeline, pictures, text_encoders=True, alpha=2.0)
    lora = finetune(config, tmp_path / "run", cpu=True).lora
    ours = open_base(describe_base(pipeline), "fp32")
    state = new_state(config, ours, torch.device("cpu"))
    restore_checkpoint(state, LoraRun(tmp_path / "run"), 6, torch.device("cpu"))
    for module in state.adapters.modules.values():
        module.eval()
    wanted = drawn(ours)
    for name in ("pytorch_lora_weights.safetensors", "kohya.safetensors"):
        plain = DiffusionPipeline.from_pretrained(pipeline)
        plain.set_progress_bar_config(disable=True)
        before = drawn(plain)
        plain.load_lora_weights(lora, weight_name=name)
        assert np.abs(drawn(plain) - wanted).max() < 1e-5, name
        assert np.abs(before - wanted).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("changes", [
    {"dropout": 0.2, "noise_offset": 0.1},
    {"text_encoders": True, "optimizer": "prodigy", "learning_rate": 1.0},
    {"gradient_checkpointing": True, "snr_gamma": 0.0, "flip": False},
])  # fmt: skip
def test_out_of_time_and_resumed_it_ends_with_the_same_bytes(sd, pictures, tmp_path, changes):
    config = small(sd, pictures, steps=5, checkpoint_every=4, **changes)
    finetune(config, tmp_path / "straight", cpu=True)
    encoded = LoraRun(tmp_path / "straight").encoded
    calls = 0
    while True:
        budget = Budget(1.0, Clock(1200.0))
        ended = finetune(config, tmp_path / "broken", cpu=True, budget=budget, encoded=encoded)
        calls += 1
        if ended.lora is not None:
            break
        assert LoraRun(tmp_path / "broken").steps_saved()[-1] == ended.step
        assert calls < 5
    assert calls > 1
    assert files(tmp_path / "broken") == files(tmp_path / "straight")
    assert losses(tmp_path / "broken") == losses(tmp_path / "straight")
    again = finetune(config, tmp_path / "broken", cpu=True, encoded=encoded)
    assert again.lora == ended.lora  # nothing to do


@pytest.mark.slow
def test_time_that_is_up_while_pictures_are_encoded_leaves_what_is_encoded(
    sd, tmp_path, monkeypatch
):
    monkeypatch.setattr(parts, "_PICTURES_IN_PART", (1, 1))
    config = small(sd, tiny_pictures(tmp_path / "four", per_class=2), steps=1)
    run, made = LoraRun(tmp_path / "run"), []
    while not run.encoded.exists():
        ended = finetune(config, run.root, cpu=True, budget=Budget(1.0, Clock(1000.0)))
        made.append(len(list(run.root.glob(".encoded-parts/*-*"))))
        assert ended.step == 0 or run.encoded.exists()
    assert made == [2, 4, 0]  # of four pictures and one of captions; the whole then has them
    assert finetune(config, run.root, cpu=True).lora
    finetune(config, tmp_path / "straight", cpu=True)
    assert files(run.root) == files(tmp_path / "straight")


@pytest.mark.slow
def test_micro_batches_change_nothing_but_the_last_digits(sd, pictures, tmp_path):
    config = small(sd, pictures, dropout=0.1, steps=4)
    finetune(config, tmp_path / "whole", cpu=True)
    finetune(config, tmp_path / "parts", cpu=True, accumulate=4)
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), rel=1e-4)
    with pytest.raises(UserError, match="--accumulate 5"):
        finetune(config, tmp_path / "five", cpu=True, accumulate=5)


@pytest.mark.slow
def test_dropout_in_text_encoders_goes_with_pictures_without_captions(pipeline, pictures, tmp_path):
    config = small(pipeline, pictures, steps=2, text_encoders=True, dropout=0.2, caption_drop=0.5)
    finetune(config, tmp_path / "whole", cpu=True)
    finetune(config, tmp_path / "parts", cpu=True, accumulate=4)
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), rel=1e-4)


@pytest.mark.slow
def test_a_rate_that_is_far_too_high_goes_back_and_ends_in_one_line(sd, pictures, tmp_path):
    config = small(sd, pictures, learning_rate=1e18, steps=20, max_halvings=1, clip_norm=1e9)
    with pytest.raises(UserError, match=r"diverged at step .* Train into another --out with"):
        finetune(config, tmp_path / "run", cpu=True)
    assert len(halvings_of(LoraRun(tmp_path / "run"))) == 1


@pytest.mark.slow
def test_a_folder_is_one_runs(sd, pictures, tmp_path):
    config = small(sd, pictures, steps=1)
    finetune(config, tmp_path / "run", cpu=True)
    with pytest.raises(UserError, match=r"other settings, \{'rank': 4\}"):
        finetune(small(sd, pictures, steps=1, rank=2), tmp_path / "run", cpu=True)
    weights = tmp_path / "run" / "encoded" / "texts.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(UserError, match="was altered"):
        finetune(config, tmp_path / "run", cpu=True)


@pytest.mark.slow
def test_the_range_test_suggests_a_rate_and_trains_nothing(sd, pictures, tmp_path):
    config = small(sd, pictures, learning_rate=1e-3)
    found = find_rate(config, tmp_path / "run", device=torch.device("cpu"), budget_s=1)
    assert 1e-5 < found.suggestion < 1e2
    assert (tmp_path / "run" / "find_lr.png").stat().st_size > 10_000
    assert not (tmp_path / "run" / "checkpoints").exists()
    stated = json.loads((tmp_path / "run" / "find_lr.json").read_text())
    assert stated["suggestion"].startswith("--learning-rate ")


def test_a_checkpoint_goes_on_where_the_arithmetic_is_another(sd, pictures, tmp_path):
    """A run on a GPU with bf16, and then on one without: no scale of the loss was saved."""
    from core.pretrained.lora.base import describe_base, open_base
    from core.pretrained.lora.run import restore_checkpoint, save_checkpoint
    from core.pretrained.lora.step import new_state

    config, run, device = small(sd, pictures), LoraRun(tmp_path), torch.device("cpu")

    def state(*, fp16):
        return new_state(config, open_base(describe_base(sd), "fp32"), device, fp16=fp16)

    saved, there = state(fp16=False), state(fp16=True)
    saved.step = 3
    save_checkpoint(saved, run, keep=1)
    restore_checkpoint(there, run, 3, device)
    assert there.step == 3
    assert there.scaler.get_scale() == 65536
    for name in ("adapters.safetensors", "optimizer.pt"):
        broken = run.checkpoint(3) / name
        whole = broken.read_bytes()
        broken.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UserError, match=r"cannot be read .* remove that folder"):
            restore_checkpoint(there, run, 3, device)
        broken.write_bytes(whole)


def objective(prediction, gamma):
    from types import SimpleNamespace

    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(beta_schedule="scaled_linear", prediction_type=prediction)
    pipeline = SimpleNamespace(scheduler=scheduler)
    return Objective(pipeline, snr_gamma=gamma, device=torch.device("cpu")), scheduler


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_noise_and_targets_are_diffusers_own(prediction):
    mine, scheduler = objective(prediction, 5.0)
    clean, noise = torch.randn(2, 3, 4, 8, 8).unbind()
    timesteps = torch.tensor([3, 400, 990])
    assert mine.noisy(clean, noise, timesteps) == pytest.approx(
        scheduler.add_noise(clean, noise, timesteps), abs=1e-5
    )
    target = noise if prediction == "epsilon" else scheduler.get_velocity(clean, noise, timesteps)
    assert float(mine.losses(target, clean, noise, timesteps).max()) < 1e-9
    kept = scheduler.alphas_cumprod[timesteps]
    snr = kept / (1 - kept)
    least = torch.minimum(snr, torch.tensor(5.0))
    wanted = least / snr if prediction == "epsilon" else least / (snr + 1)
    assert torch.allclose(mine.weights(timesteps), wanted, rtol=1e-4)
    assert torch.equal(objective(prediction, 0.0)[0].weights(timesteps), torch.ones(3))


def sdxl_source(tmp_path):
    return PipelineSource(
        folder=tmp_path,
        class_name="StableDiffusionXLPipeline",
        scheduler_class="EulerDiscreteScheduler",
        variant=None,
        numbers={"unet": 2_567_463_684, "text_encoder": 123_060_480, "vae": 83_653_863},
        denoiser=SDXL,
        vae=SDXL_VAE,
        licence=None,
    )


@pytest.mark.slow
def test_the_forecast_of_sdxl_without_a_gpu_and_without_its_weights(tmp_path):
    """Figures of public trainings: a LoRA of rank 16 on attention has 23.2 million numbers, and
    takes about 8 GB with checkpointing at 1024 px."""
    source = sdxl_source(tmp_path)
    config = LoraConfig(pipeline="x", data="y", batch_size=1)
    plain = forecast(config, source, on_gpu=True, micro_batch=1)
    assert plain.adapters == 23_224_320
    assert plain.weights_bytes == 2 * 2_567_463_684
    saving = LoraConfig(pipeline="x", data="y", batch_size=1, gradient_checkpointing=True)
    less = forecast(saving, source, on_gpu=True, micro_batch=1)
    assert less.activation_bytes < plain.activation_bytes / 4
    assert 5e9 < less.peak_bytes < 9e9
    assert less.operations == pytest.approx(plain.operations * 4 / 3)
    assert less.hours(1000, 100) > plain.hours(1000, 100) > plain.hours(1000, 300)
    assert plain.encoding_hours(100) == 0
    encoding = forecast(config, source, on_gpu=True, micro_batch=1, pictures=1000, captions=8)
    # About 4.5 TFLOP for 1024 × 1024, twice for the mirror image, at a third of the rate.
    assert encoding.encoding_hours(100) * 3600 == pytest.approx(270, rel=0.2)
    assert encoding.encoding_hours(100, 2) == encoding.encoding_hours(100) / 2
    assert encoding.encoded_bytes == pytest.approx(1000 * 2 * 2 * 4 * 128 * 128, rel=0.02)


def test_the_clock_of_a_process_began_with_it():
    assert 0.2 < Budget(1.0).spent_s < 24 * 3600
    assert not Budget(None).short_of("step")
    budget = Budget(10 / 3600, lambda: 5.0)
    assert not budget.short_of("step")
    budget.lasted("step", 4.0)
    assert not budget.short_of("step")
    budget.lasted("checkpoint", 1.0)
    assert budget.short_of("step")
    assert not budget.short_of("look")
    budget.expect("look", 4.0)
    assert budget.short_of("look")
    budget.lasted("look", 2.0)  # what was timed counts, whatever was expected
    budget.expect("look", 4.0)
    assert not budget.short_of("look")


@pytest.mark.parametrize(("step_s", "saving_s"), [(0.02, 0.05), (0.2, 0.8), (0.5, 0.9)])
def test_steps_and_the_last_checkpoint_end_within_five_per_cent_of_the_time(step_s, saving_s):
    now = 7.3

    def pass_by(what, seconds):
        nonlocal now
        now += seconds
        budget.lasted(what, seconds)

    budget = Budget(30 / 3600, lambda: now)
    pass_by("checkpoint", saving_s)
    while not budget.short_of("step"):
        pass_by("step", step_s)
    assert now + saving_s >= 0.95 * 30
    assert now + 1.5 * saving_s <= 30  # also if this one takes half as long again
