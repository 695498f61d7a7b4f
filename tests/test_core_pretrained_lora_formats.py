"""LoRAs written in diffusers' and kohya's formats: plain diffusers draws with either alike."""

import json

import numpy as np
import pytest

from core.pretrained.lora.names import kohya_name, original_path
from tests.pipelines import plain_pipeline, tiny_lora, tiny_sd, tiny_sdxl
from tests.test_core_pretrained_text_to_image_memory import SDXL_UNET

filters = pytest.mark.filterwarnings("ignore:.*:FutureWarning", "ignore:.*:DeprecationWarning")
SDXL = {"addition_embed_type": "text_time", "layers_per_block": 2}


def drawn(pipeline):
    import torch

    generator = torch.Generator().manual_seed(3)
    made = pipeline("a cat", num_inference_steps=2, generator=generator, output_type="np")
    return made.images[0]


@pytest.mark.parametrize("make", [tiny_sd, tiny_sdxl])
@filters
@pytest.mark.slow
def test_plain_diffusers_draws_alike_with_either_file(make, tmp_path):
    folder = make(tmp_path / "pipeline")
    before = drawn(plain_pipeline(folder))
    trained = tiny_lora(folder, tmp_path / "lora", everywhere=True)
    after = drawn(trained)
    assert np.abs(after - before).max() > 0.02
    for name in ("pytorch_lora_weights.safetensors", "kohya.safetensors"):
        pipeline = plain_pipeline(folder)
        pipeline.load_lora_weights(tmp_path / "lora", weight_name=name)
        assert len(pipeline.get_list_adapters()) == (3 if make is tiny_sdxl else 2)
        np.testing.assert_allclose(drawn(pipeline), after, atol=1e-6, err_msg=name)
    pipeline = plain_pipeline(folder)
    pipeline.load_lora_weights(tmp_path / "lora" / "pytorch_lora_weights.safetensors")
    np.testing.assert_allclose(drawn(pipeline), after, atol=1e-6)


@filters
@pytest.mark.slow
def test_the_same_lora_gives_the_same_bytes_with_its_facts(tmp_path):
    from safetensors import safe_open

    folder = tiny_sdxl(tmp_path / "pipeline")
    for name in ("one", "two"):
        tiny_lora(folder, tmp_path / name, facts={"base": "abc", "captions": "a cat é"})
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["kohya.safetensors", "pytorch_lora_weights.safetensors"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with safe_open(tmp_path / "one" / "kohya.safetensors", "pt") as file:
        header = file.metadata()
        assert float(file.get_tensor("lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha")) == 6
    assert header["menagerie:captions"] == "a cat é"
    assert header["ss_base_model_version"] == "sdxl_base_v1-0"
    assert header["ss_network_module"] == "networks.lora"
    assert (header["ss_network_dim"], header["ss_network_alpha"]) == ("4", "6.0")
    with safe_open(tmp_path / "one" / "pytorch_lora_weights.safetensors", "pt") as file:
        header = file.metadata()
    told = json.loads(header["lora_adapter_metadata"])
    assert (told["unet.r"], told["text_encoder_2.lora_alpha"]) == (4, 6.0)
    assert header["menagerie:base"] == "abc"


def test_weights_that_are_no_lora_are_a_mistake_of_the_caller(tmp_path):
    torch = pytest.importorskip("torch")
    from core.pretrained.lora.formats import save_adapters

    def save(adapters):
        settings = {"rank": 2, "alpha": 2, "facts": {}, "unet_config": SDXL}
        save_adapters(tmp_path / "lora", adapters, **settings)

    down, up = torch.ones(2, 5), torch.ones(7, 2)
    with pytest.raises(ValueError, match=r"unet: to_q\.lora_B.weight has no pair"):
        save({"unet": {"to_q.lora_A.weight": down}})
    with pytest.raises(ValueError, match="to_q has rank 5, not 2"):
        save({"unet": {"to_q.lora_A.weight": down.T, "to_q.lora_B.weight": up}})
    with pytest.raises(ValueError, match="wanted are some of"):
        save({"vae": {}})
    assert not (tmp_path / "lora").exists()


@pytest.mark.parametrize(
    ("layer", "path"),
    [
        ("down_blocks.1.attentions.0.proj_in", "input_blocks_4_1_proj_in"),
        (
            "down_blocks.2.attentions.1.transformer_blocks.9.attn2.to_out.0",
            "input_blocks_8_1_transformer_blocks_9_attn2_to_out_0",
        ),
        ("down_blocks.0.downsamplers.0.conv", "input_blocks_3_0_op"),
        ("down_blocks.1.resnets.0.conv_shortcut", "input_blocks_4_0_skip_connection"),
        ("mid_block.attentions.0.proj_out", "middle_block_1_proj_out"),
        ("mid_block.resnets.1.conv2", "middle_block_2_out_layers_3"),
        ("up_blocks.0.attentions.2.proj_in", "output_blocks_2_1_proj_in"),
        ("up_blocks.1.upsamplers.0.conv", "output_blocks_5_2_conv"),
        ("up_blocks.2.resnets.0.time_emb_proj", "output_blocks_6_0_emb_layers_1"),
        ("add_embedding.linear_2", "label_emb_0_2"),
    ],
)
def test_layers_of_sdxl_are_called_as_in_its_own_code(layer, path):
    assert original_path(layer, 2).replace(".", "_") == path
    assert kohya_name("unet", layer, SDXL) == f"lora_unet_{path}"


@filters
@pytest.mark.slow
def test_every_layer_of_a_real_sdxl_has_the_name_that_diffusers_converts_from():
    import torch
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    with torch.device("meta"):
        unet = UNet2DConditionModel(**SDXL_UNET)
    weights, original = unet.state_dict(), {}
    for key, tensor in weights.items():
        layer, _, kind = key.rpartition(".")
        for norm, beside, place in (("norm1", "conv1", "in"), ("norm2", "conv2", "out")):
            if layer.endswith(norm) and ".resnets." in layer:  # no LoRA changes a norm
                convolution = original_path(layer.replace(norm, beside), 2)
                layer = f"{convolution.rpartition(f'{place}_layers')[0]}{place}_layers.0"
        name = "out.0" if layer == "conv_norm_out" else original_path(layer, 2)
        original[f"model.diffusion_model.{name}.{kind}"] = tensor
    back = convert_ldm_unet_checkpoint(dict(original), dict(unet.config))
    assert set(back) == set(weights)
    assert [key for key in weights if back[key] is not weights[key]] == []


def test_a_text_encoder_has_one_name_whatever_wrote_it():
    layer = "encoder.layers.0.self_attn.q_proj"
    name = "text_model_encoder_layers_0_self_attn_q_proj"
    sd = {"layers_per_block": 2}
    assert kohya_name("text_encoder", layer, sd) == f"lora_te_{name}"
    assert kohya_name("text_encoder", f"text_model.{layer}", SDXL) == f"lora_te1_{name}"
    assert kohya_name("text_encoder_2", f"text_model.{layer}", SDXL) == f"lora_te2_{name}"
    assert kohya_name("text_encoder_2", "text_projection", SDXL) == "lora_te2_text_projection"
    with pytest.raises(ValueError, match="'vae' is none of"):
        kohya_name("vae", layer, sd)
