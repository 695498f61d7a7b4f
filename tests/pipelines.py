"""Tiny text-to-image pipelines of diffusers' real classes, with random weights, saved on disk."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

_UNET = {
    "sample_size": 8,
    "layers_per_block": 1,
    "in_channels": 4,
    "out_channels": 4,
    "norm_num_groups": 4,
    "block_out_channels": (8, 16),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}


def tiny_sd(folder: Path, *, strict: bool = False, **scheduler: Any) -> Path:
    """A Stable Diffusion of 16 px pictures; strict: its safety checker refuses them all."""
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel

    torch.manual_seed(0)
    made = StableDiffusionPipeline(
        unet=UNet2DConditionModel(**_UNET, attention_head_dim=4, cross_attention_dim=16),
        scheduler=DDIMScheduler(
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
            **scheduler,
        ),
        vae=tiny_vae(sample_size=16),
        text_encoder=CLIPTextModel(_text_config()),
        tokenizer=tiny_tokenizer(folder.with_name(f"{folder.name} words")),
        safety_checker=_checker() if strict else None,
        feature_extractor=_eyes() if strict else None,
        image_encoder=None,
        requires_safety_checker=strict,
    )
    made.save_pretrained(folder, safe_serialization=True)
    return folder


def tiny_sdxl(folder: Path) -> Path:
    """An SDXL of 16 px pictures: two text encoders, sizes told to the network."""
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        **_UNET,
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 2),
        projection_class_embeddings_input_dim=64,  # 6 sizes × 8 + 16 of the text
        cross_attention_dim=32,
    )
    words = folder.with_name(f"{folder.name} words")
    made = StableDiffusionXLPipeline(
        unet=unet,
        scheduler=EulerDiscreteScheduler(
            beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading"
        ),
        vae=tiny_vae(sample_size=16),
        text_encoder=CLIPTextModel(_text_config()),
        text_encoder_2=CLIPTextModelWithProjection(_text_config()),
        tokenizer=tiny_tokenizer(words),
        tokenizer_2=tiny_tokenizer(words),
        add_watermarker=False,
    )
    made.save_pretrained(folder, safe_serialization=True)
    return folder


ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
EVERYWHERE = (
    *("proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2", "conv_shortcut"),
    *("time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv", "conv_in", "conv_out"),
    *("linear_1", "linear_2"),
)
"""Layers of a U-Net that a LoRA may change beside its attention."""
TEXT_LAYERS = ("q_proj", "out_proj", "fc1")


def plain_pipeline(folder: Path) -> Any:
    """The pipeline of a folder as plain diffusers opens it, without progress bars."""
    from diffusers import AutoPipelineForText2Image

    pipeline = AutoPipelineForText2Image.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def tiny_lora(
    pipeline: Path,
    folder: Path,
    *,
    seed: int = 1,
    everywhere: bool = False,
    words: bool = True,
    facts: dict[str, str] | None = None,
) -> Any:
    """Save a LoRA of rank 4 and alpha 6 with random weights, of U-Net and (words) text encoders.

    Returns the pipeline with it, as peft has put it there.
    """
    import torch
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    from core.pretrained.lora.formats import save_adapters

    opened, found = plain_pipeline(pipeline), {}
    random = torch.Generator().manual_seed(seed)
    targets = {"unet": [*ATTENTION, *(EVERYWHERE if everywhere else ())]}
    if words:
        targets |= {part: [*TEXT_LAYERS] for part in ("text_encoder", "text_encoder_2")}
    for name, layers in targets.items():
        if (part := getattr(opened, name, None)) is None:
            continue
        part.add_adapter(LoraConfig(r=4, lora_alpha=6, target_modules=layers))
        with torch.no_grad():
            for key, weight in part.named_parameters():
                if ".lora_" in key:
                    weight.copy_(torch.randn(weight.shape, generator=random) * 0.2)
        found[name] = get_peft_model_state_dict(part)
    config = opened.unet.config
    save_adapters(folder, found, rank=4, alpha=6.0, facts=facts or {}, unet_config=config)
    return opened


def tiny_vae(*, sample_size: int, channels: tuple[int, int] = (8, 8)) -> Any:
    """An autoencoder that halves sides."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=channels,
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=sample_size,
    )


def tiny_tokenizer(folder: Path) -> Any:
    """CLIP's tokenizer with letters for a vocabulary."""
    from transformers import CLIPTokenizer

    letters = [*"abcdefghijklmnopqrstuvwxyz,."]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["ca", "cat</w>", "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\nc a\nca t</w>\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=77)


def _checker() -> Any:
    """Stable Diffusion's safety checker, to which everything looks like its first concept."""
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPVisionConfig

    sight = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
        projection_dim=8,
    )
    config = CLIPConfig(
        text_config=_text_config().to_dict(), vision_config=sight.to_dict(), projection_dim=8
    )
    checker = StableDiffusionSafetyChecker(config)
    checker.concept_embeds_weights.data[0] = -2.0  # below any cosine
    return checker


def _eyes() -> Any:
    from transformers import CLIPImageProcessor

    sides = {"height": 16, "width": 16}
    return CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=sides)


def _text_config() -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=60,
        hidden_size=16,
        projection_dim=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=58,
        eos_token_id=59,
        pad_token_id=59,
    )


def cache_pipeline(
    folder: Path, hub: Path, monkeypatch: pytest.MonkeyPatch, *, commit: str = "0123456789" * 4
) -> str:
    """Put a pipeline into a cache of the hub as the newest commit of team/tiny; that commit."""
    from huggingface_hub import constants

    cached = hub / "models--team--tiny"
    shutil.copytree(folder, cached / "snapshots" / commit)
    (cached / "refs").mkdir(exist_ok=True)
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return commit
