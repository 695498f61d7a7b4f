"""What a pipeline needs: predicted from its files alone, chosen by what is free, and measured."""

import itertools
import json
from pathlib import Path

import pytest

from core.pretrained.text_to_image.memory import (
    Drawn,
    Switches,
    choose,
    free_main_bytes,
    needed,
    words_of,
)
from core.pretrained.text_to_image.source import PipelineSource, describe_pipeline
from tests.pipelines import tiny_vae

GIB = 2**30
SQUARE = Drawn(width_px=1024, height_px=1024)

SDXL_UNET = {
    "sample_size": 128,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
SDXL_VAE = {
    "sample_size": 1024,
    "latent_channels": 4,
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "force_upcast": True,
}
TEXT_1 = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
}
TEXT_2 = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
}


def sdxl_on_meta():
    """SDXL base 1.0's networks, without memory for their weights."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    with torch.device("meta"):
        return {
            "unet": UNet2DConditionModel(**SDXL_UNET),
            "vae": AutoencoderKL(**SDXL_VAE),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**TEXT_1)),
            "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(**TEXT_2)),
        }


def write_hollow(path: Path, tensors) -> None:
    """A safetensors file of fp32 tensors whose bytes are a hole: whole, and without size."""
    header, end = {}, 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.numel() * 4
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


@pytest.mark.slow
def test_sdxls_weights_are_predicted_before_any_is_loaded(tmp_path):
    networks = sdxl_on_meta()
    index: dict[str, object] = {"_class_name": "StableDiffusionXLPipeline"}
    for name, network in networks.items():
        write_hollow(tmp_path / name / "model.safetensors", network.state_dict())
        index[name] = ["diffusers", type(network).__name__]
    (tmp_path / "unet" / "config.json").write_text(json.dumps(SDXL_UNET))
    (tmp_path / "vae" / "config.json").write_text(json.dumps(SDXL_VAE))
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    source = describe_pipeline(tmp_path)
    assert source.size_px == 1024
    tensors = [t for n in networks.values() for t in (*n.parameters(), *n.buffers())]
    for precision, size in (("fp32", 4), ("bf16", 2)):
        need = needed(source, SQUARE, Switches(precision=precision))
        held = sum(tensor.numel() * size for tensor in tensors)
        assert need.weights == pytest.approx(held, rel=0.001)
    assert 3.4e9 < sum(source.numbers.values()) < 3.5e9


@pytest.fixture
def sdxl():
    """SDXL as its files describe it."""
    return PipelineSource(
        folder=Path("sdxl"),
        class_name="StableDiffusionXLPipeline",
        scheduler_class="EulerDiscreteScheduler",
        variant=None,
        numbers={"unet": 2_567_000_000, "text_encoder_2": 695_000_000, "vae": 84_000_000},
        denoiser=SDXL_UNET,
        vae=SDXL_VAE,
        licence=None,
    )


def test_less_memory_asks_for_stronger_switches(sdxl):
    def chosen(free_gib, device="cuda", **given):
        switches, need = choose(
            sdxl, SQUARE, device=device, free_bytes=int(free_gib * GIB), **given
        )
        return switches.precision, switches.tile_px > 0, switches.offload, need.peak / GIB

    found = [chosen(free) for free in (24, 10, 8, 3)]
    assert found[0][:3] == ("bf16", False, "off")
    assert found[-1][:3] == ("bf16", True, "sequential")
    peaks = [peak for *_, peak in found]
    assert peaks == sorted(peaks, reverse=True)
    assert [chosen(free, "cpu")[:2] for free in (64, 17, 13, 1)] == [
        ("fp32", False),
        ("fp32", True),
        ("bf16", False),
        ("bf16", True),
    ]
    assert chosen(24, native_bf16=False)[0] == "fp16"
    assert chosen(3, offload="off", tiling="off", precision="fp32")[:3] == ("fp32", False, "off")


def test_each_switch_lowers_the_prediction(sdxl):
    base = needed(sdxl, SQUARE, Switches(precision="fp32")).peak
    for stronger in (
        Switches(precision="bf16"),
        Switches(precision="fp32", tile_px=512),
        Switches(precision="fp32", offload="model"),
    ):
        assert needed(sdxl, SQUARE, stronger).peak < base
    model, layers = (
        needed(sdxl, SQUARE, Switches(precision="bf16", offload=offload)).peak
        for offload in ("model", "sequential")
    )
    assert layers < model
    upcast = needed(sdxl, SQUARE, Switches(precision="fp16"))
    assert upcast.decoding == needed(sdxl, SQUARE, Switches(precision="fp32")).decoding


def test_the_choice_is_said_in_one_line(sdxl):
    switches, need = choose(sdxl, SQUARE, device="cuda", free_bytes=GIB)
    line = words_of(switches, need, device="cuda", free_bytes=GIB)
    assert "\n" not in line
    assert line.startswith("memory: cuda bf16, layers wait in main memory, tiles of 512 px: about")
    assert "this may not fit" in line


def test_free_memory_is_no_more_than_the_machine_has():
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert 0 < free_main_bytes() <= total


def peak_of(work):
    """Bytes that torch holds at most while it works, by its allocator's own account."""
    import torch

    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        work()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = itertools.accumulate(e.nbytes() for e in sorted(events, key=lambda e: e.start_ns()))
    return max(held)


@pytest.mark.slow
def test_measured_memory_falls_with_tiles_slices_and_bf16():
    from types import SimpleNamespace

    import torch

    from core.pretrained.text_to_image.opening import save_memory

    def decoding(count, side_px, *, dtype=torch.float32, **switches):
        torch.manual_seed(0)
        vae = torch.nn.Module.to(tiny_vae(sample_size=side_px, channels=(32, 32)), dtype).eval()
        save_memory(SimpleNamespace(vae=vae), **switches)
        latents = torch.randn(count, 4, side_px // 2, side_px // 2, dtype=dtype)
        with torch.inference_mode():
            vae.decode(latents[:, :, :8, :8])  # what is made once and kept
            return peak_of(lambda: vae.decode(latents).sample)

    whole = decoding(1, 320, slicing=False)
    assert decoding(1, 320, slicing=False, tile_px=128) < 0.5 * whole
    assert decoding(1, 320, slicing=False, dtype=torch.bfloat16) < 0.75 * whole
    assert decoding(4, 160, slicing=True) < 0.5 * decoding(4, 160, slicing=False)
