"""LoRA training against the plain loop of diffusers' examples, step by step in turns.

    python tests/benchmarks/finetune.py [--rounds 5] [--steps 3] [--size-px 128]

The plain loop encodes pictures and captions anew at each step, as the examples do, with the same
pipeline (Stable Diffusion's classes at a tenth of its width, random weights), the same adapters,
batch and optimiser. Ours takes both from the encoded dataset. Quality is not compared: the pictures
mean nothing to random weights.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from core.pretrained.lora.base import describe_base, open_base  # noqa: E402  # the path is set
from core.pretrained.lora.config import LoraConfig  # noqa: E402
from core.pretrained.lora.encoding import encoded_dataset  # noqa: E402
from core.pretrained.lora.step import LoraStepper, new_state  # noqa: E402
from core.training.arithmetic import fast_kernels  # noqa: E402
from core.training.processes import Processes  # noqa: E402
from tests.finetuning import tiny_pictures  # noqa: E402
from tests.pipelines import tiny_tokenizer  # noqa: E402

CPU = torch.device("cpu")
TARGETS = ("to_q", "to_k", "to_v", "to_out.0")


def main() -> None:
    """Parse, make both, step in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--size-px", type=int, default=128)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        pipeline = small_sd(place / "sd", flags.size_px)
        data = tiny_pictures(place / "pictures", per_class=8)
        config = LoraConfig(
            pipeline=str(pipeline), data=str(data), buckets=False, resolution_px=flags.size_px
        )
        runners = {"plain": plain(pipeline, config), "ours": ours(config, place / "encoded")}
        times = {name: list[float]() for name in runners}
        for step in runners.values():
            step()  # warm
        for _ in range(flags.rounds):
            for name, step in runners.items():
                begun = time.perf_counter()
                for _ in range(flags.steps):
                    step()
                times[name].append((time.perf_counter() - begun) / flags.steps)
    report(times, config.batch_size)


def ours(config: LoraConfig, folder: Path) -> Callable[[], object]:
    """A step of Menagerie's."""
    source = describe_base(Path(config.pipeline))
    pipeline = open_base(source, "fp32")
    alone = Processes.alone(CPU)
    encoded = encoded_dataset(config, source, lambda: pipeline, folder, processes=alone)
    state = new_state(config, pipeline, CPU)
    stepper = LoraStepper(config, encoded, pipeline, state, alone)

    def step() -> object:
        with fast_kernels(CPU):
            return stepper.step()

    return step


def plain(folder: Path, config: LoraConfig) -> Callable[[], object]:
    """A step of the loop that diffusers' examples show."""
    from diffusers import DDPMScheduler
    from peft import LoraConfig as PeftConfig

    pipeline = open_base(describe_base(folder), "fp32")
    unet, vae = pipeline.unet, pipeline.vae
    unet.add_adapter(
        PeftConfig(r=config.rank, lora_alpha=config.rank, target_modules=list(TARGETS))
    )
    trained = [weight for weight in unet.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    levels = DDPMScheduler.from_config(pipeline.scheduler.config)
    side = config.resolution_px
    pictures = torch.rand(config.batch_size, 3, side, side) * 2 - 1
    words = ["a cat", "a fish"] * (config.batch_size // 2)

    def step() -> None:
        with torch.no_grad():
            latents = vae.encode(pictures).latent_dist.sample() * vae.config.scaling_factor
            tokens = pipeline.tokenizer(
                words, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
            )
            texts = pipeline.text_encoder(tokens.input_ids)[0]
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, 1000, (len(latents),))
        noisy = levels.add_noise(latents, noise, timesteps)
        found = unet(noisy, timesteps, texts).sample
        torch.nn.functional.mse_loss(found, noise).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def small_sd(folder: Path, size_px: int) -> Path:
    """Stable Diffusion's classes, a few levels narrower."""
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    words: dict[str, Any] = {"vocab_size": 60, "bos_token_id": 58, "eos_token_id": 59}
    StableDiffusionPipeline(
        unet=UNet2DConditionModel(
            sample_size=size_px // 8,
            cross_attention_dim=192,
            attention_head_dim=4,
            block_out_channels=(64, 128, 256, 256),
        ),
        scheduler=DDIMScheduler(beta_schedule="scaled_linear"),
        vae=AutoencoderKL(
            block_out_channels=(32, 64, 128, 128),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            layers_per_block=2,
            sample_size=size_px,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                hidden_size=192,
                intermediate_size=768,
                num_hidden_layers=12,
                num_attention_heads=6,
                pad_token_id=59,
                **words,
            )
        ),
        tokenizer=tiny_tokenizer(folder.with_name("words")),
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,
        requires_safety_checker=False,
    ).save_pretrained(folder, safe_serialization=True)
    return folder


def report(times: dict[str, list[float]], batch: int) -> None:
    """The table, and JSON."""
    ratios = [plain / ours for plain, ours in zip(times["plain"], times["ours"], strict=True)]
    print("| loop | s a step | images/s |\n| --- | ---: | ---: |")
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        print(f"| {name} | {middle:.3f} | {batch / middle:.2f} |")
    found = {
        **{f"{name}_s": round(statistics.median(seconds), 4) for name, seconds in times.items()},
        "ratio": round(statistics.median(ratios), 3),
        "ratio_least": round(min(ratios), 3),
        "ratio_most": round(max(ratios), 3),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
