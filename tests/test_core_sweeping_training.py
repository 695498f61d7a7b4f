"""What sweeps need of training: runs that pause, and attention to the class."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from core.config import config_digest
from core.diffusion.denoiser import build_unet, class_tokens
from core.diffusion.pipeline import open_pipeline
from core.errors import UserError
from core.rundir import RunFolder
from core.training.finetune import inherit
from core.training.loop import train
from core.training.step import new_state
from tests.tiny import tiny_config, tiny_dataset

CPU = torch.device("cpu")


def test_a_paused_run_goes_on_as_if_it_had_not_paused(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path / "data")
    config = tiny_config(checkpoint_every=8, snapshots=0)
    train(config, dataset, tmp_path / "whole", cpu=True)
    paused = RunFolder(tmp_path / "paused")
    train(config, dataset, paused.root, cpu=True, pause_at=4)
    assert not paused.model.exists()
    assert paused.steps_saved() == [4]
    assert '"held_out_loss"' in paused.metrics.read_text()
    train(config, dataset, paused.root, cpu=True, pause_at=4)  # there already: nothing to do
    train(config, dataset, paused.root, cpu=True)
    weights = "model/unet/diffusion_pytorch_model.safetensors"
    assert (paused.root / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()


def test_cross_attention_is_trained_saved_and_opened(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path / "data")
    config = tiny_config(attention="cross", steps=4, snapshots=0, augment=0.1)
    run = train(config, dataset, tmp_path / "run", cpu=True).parent
    pipeline = open_pipeline(run)
    assert type(pipeline.unet).__name__ == "UNet2DConditionModel"
    cat, fish = pipeline.generate(["cat", "fish"], [0, 0], guidance=1.5, steps=2)
    assert cat.shape == (32, 32, 4)
    assert not np.array_equal(cat, fish)
    again = tiny_config(attention="cross", init_from=run)
    state = new_state(again, dataset, CPU)
    name = "encoder_hid_proj.weight"
    assert torch.equal(state.unet.state_dict()[name], pipeline.unet.state_dict()[name])
    other = tiny_config(attention="none", init_from=run)
    with pytest.raises(UserError, match="attention cross \\(here none\\)"):
        inherit(new_state(tiny_config(attention="none"), dataset, CPU).unet, other, dataset)


def test_what_is_attended_to_decides_which_layers_there_are() -> None:
    shape = {
        "size_px": 16,
        "channels": 4,
        "labels": 3,
        "patch": 2,
        "block_channels": (32, 64),
        "layers_per_block": 1,
        "attention_levels": (1,),
        "dropout": 0.0,
    }
    attentions = {}
    for kind in ("self", "cross", "none"):
        unet = build_unet(**shape, attention=kind)  # type: ignore[arg-type]
        names = [name for name, _ in unet.named_modules()]
        attentions[kind] = sum(name.endswith(".to_q") for name in names)
    assert attentions == {"self": 4, "cross": 8, "none": 0}
    plain = build_unet(**shape)  # type: ignore[arg-type]
    assert class_tokens(plain, torch.tensor([0])) is None


def test_cross_attention_chooses_by_what_it_sees() -> None:
    """The answer to the class differs over the picture: it is more than a constant of the class."""
    torch.manual_seed(0)
    unet = build_unet(
        size_px=16, channels=4, labels=1, patch=1, block_channels=(32,), layers_per_block=1,
        attention_levels=(0,), dropout=0.0, attention="cross",
    )  # fmt: skip
    seen: list[torch.Tensor] = []
    layer = unet.mid_block.attentions[0].transformer_blocks[0].attn2
    layer.register_forward_hook(lambda module, given, answer: seen.append(answer))
    labels = torch.tensor([0, 1])
    tokens = class_tokens(unet, labels)
    assert tokens is not None
    assert tokens.shape == (2, 4, 8)
    x = torch.randn(1, 4, 16, 16).expand(2, -1, -1, -1)
    with torch.no_grad():
        unet(x, torch.zeros(2), class_labels=labels, encoder_hidden_states=tokens)
    assert float(seen[0].std(1).mean()) > 1e-4
    assert not torch.allclose(seen[0][0], seen[0][1])


def test_a_field_that_came_later_changes_no_earlier_digest(tmp_path: Path) -> None:
    config = tiny_config()
    assert config_digest(config) != config_digest(tiny_config(attention="none"))
    dataset = tiny_dataset(tmp_path / "data")
    run = RunFolder(tmp_path / "run")
    train(tiny_config(steps=2), dataset, run.root, cpu=True)
    values = json.loads(run.config.read_text())
    del values["attention"]  # as earlier ones were written
    run.config.write_text(json.dumps(values))
    train(tiny_config(steps=2), dataset, run.root, cpu=True)  # the same run: finished already
