"""Looks into planted networks tell what was planted, and leave every network as it was."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core.diffusion.kinds import Attention
from core.inspection.activations import activations, feature_maps
from core.inspection.attention import attention_maps, looking
from core.inspection.gradients import gradient_norms
from core.inspection.norms import norms_by_layer
from core.inspection.recording import layers_of
from core.inspection.skips import ablate_skips, skips_of
from core.inspection.subject import Subject
from tests.inspecting import noisy, small_subject, smooth_specimens

_SIGMAS = (0.1, 1.0)
_PLACES = ((0.5, 0.5), (0.1, 0.1))


def guess_of(subject: Subject) -> Tensor:
    specimens = smooth_specimens()
    with torch.no_grad():
        return subject.guess(specimens.clean, torch.full((6,), 0.5), specimens.labels)


def test_a_connection_whose_reader_ignores_it_contributes_nothing_and_others_do() -> None:
    subject, specimens = small_subject(), smooth_specimens()
    last = subject.unet.up_blocks[-1].resnets[-1]
    width = last.conv1.in_channels // 2
    # The first convolution's output is the second half of what this layer reads.
    last.norm1.weight[width:], last.norm1.bias[width:] = 0, 0
    last.conv_shortcut.weight[:, width:] = 0
    found = ablate_skips(subject, specimens, _SIGMAS)
    change = dict(zip((skip.name for skip in found.skips), found.change, strict=True))
    idle = change.pop("first convolution → up 2, residual 2")
    assert not idle.any()
    assert all((row > 1e-6).all() for row in change.values())
    assert torch.equal(found.guesses[0], found.guesses[1])
    assert (found.loss_db[0] == 0).all()


@pytest.mark.parametrize("attention", ["self", "cross", "none"])
def test_all_connections_are_found_once_and_the_network_stays_as_it_was(
    attention: Attention,
) -> None:
    subject = small_subject(attention=attention)
    before = guess_of(subject)
    skips = skips_of(subject.unet)
    found = ablate_skips(subject, smooth_specimens(), (0.5,))
    assert len({(skip.block, skip.place) for skip in skips}) == len(skips) == 4
    assert [skip.source for skip in skips] == [
        *("first convolution", "down 1, residual 1", "down 1, halving", "down 2, residual 1")
    ]
    assert (found.change > 0).all()
    assert torch.equal(guess_of(subject), before)


def test_a_layer_that_adds_nothing_is_told_as_dead() -> None:
    subject, specimens = small_subject(), smooth_specimens()
    assert activations(subject, specimens, _SIGMAS).dead_layers() == []
    planted = subject.unet.down_blocks[1].resnets[0].conv2
    planted.weight.zero_()
    planted.bias.fill_(3.0)
    found = activations(subject, specimens, _SIGMAS)
    assert found.dead_layers() == ["down 2, residual 1"]
    row = [layer.name for layer in found.layers].index("down 2, residual 1")
    assert (found.mean[row] == 3).all()
    assert (found.std[row] == 0).all()


def test_half_of_a_layers_channels_dead_is_a_share_of_one_half() -> None:
    subject = small_subject()
    subject.unet.conv_in.weight[:16] = 0
    found = activations(subject, smooth_specimens(), _SIGMAS)
    assert found.dead[0].tolist() == [0.5, 0.5]
    assert found.dead[1:].max() < 0.5


def test_attention_looks_where_the_planted_keys_are_and_the_output_is_the_same() -> None:
    subject, specimens = small_subject(), smooth_specimens()
    x, label = noisy(specimens, 0.5), specimens.labels[:1]
    before = guess_of(subject)
    usual = attention_maps(subject, x, 0.5, label, _PLACES)
    with looking(subject.unet, _PLACES):
        assert torch.equal(guess_of(subject), before)
    assert torch.equal(guess_of(subject), before)
    layer = subject.unet.mid_block.attentions[0]
    layer.to_q.weight.zero_()
    layer.to_q.bias.zero_()
    even = attention_maps(subject, x, 0.5, label, _PLACES)
    names = [each.name for each in even]
    middle = names.index("middle, attention 1")
    assert np.allclose(even[middle].received, 1, atol=1e-5)
    assert even[middle].breadth > 0.9999
    assert not np.allclose(usual[middle].received, 1, atol=1e-3)
    assert np.array_equal(even[0].received, usual[0].received)  # what comes before is the same
    layer.to_q.bias.copy_(layer.to_k.weight.sum(1) * 50)
    sharp = attention_maps(subject, x, 0.5, label, _PLACES)[middle]
    assert sharp.breadth < even[middle].breadth
    assert sharp.received.max() > 1.5
    assert sharp.received.mean() == pytest.approx(1, abs=1e-5)
    assert sharp.queries.shape == (2, 4, 4)


def test_attention_to_the_class_is_shown_by_token() -> None:
    subject, specimens = small_subject(attention="cross"), smooth_specimens()
    found = attention_maps(subject, noisy(specimens, 0.5), 0.5, specimens.labels[:1], _PLACES)
    told = [each for each in found if each.to_class]
    assert told
    assert len(told) == len(found) / 2
    assert all(each.queries.shape == (4, 4, 4) for each in told)
    assert all(np.allclose(each.queries.mean(0), 1, atol=1e-5) for each in told)


@pytest.mark.parametrize("attention", ["self", "cross", "none"])
def test_every_layer_has_its_maps_the_most_active_first(attention: Attention) -> None:
    subject, specimens = small_subject(attention=attention), smooth_specimens()
    found = feature_maps(subject, noisy(specimens, 0.5), 0.5, specimens.labels[:1], most=5)
    assert [each.layer.path for each in found] == [each.path for each in layers_of(subject)]
    assert found[0].layer.name == "first convolution"
    assert found[0].shape_chw == (32, 8, 8)
    assert found[-1].layer.name == "last convolution"
    assert found[-1].shape_chw == (16, 8, 8)
    assert {each.layer.side for each in found} == {"down", "middle", "up"}
    for each in found:
        spreads = each.maps.std((1, 2))
        assert (np.diff(spreads) <= 1e-9).all()
        assert 0 < each.active_share <= 1
    subject.unet.conv_in.weight[1:] = 0
    alone = feature_maps(subject, noisy(specimens, 0.5), 0.5, specimens.labels[:1])[0]
    assert alone.channels[0] == 0
    assert alone.active_share == pytest.approx(1 / 32)


def test_gradients_are_those_of_the_loss_and_leave_nothing_behind() -> None:
    subject, specimens = small_subject(), smooth_specimens()
    found = gradient_norms(subject, specimens, _SIGMAS)
    assert all(not w.requires_grad and w.grad is None for w in subject.unet.parameters())
    assert found.norm.shape == (len(found.layers), 2)
    assert (found.norm > 0).all()
    # Nothing reaches a layer before a wall.
    subject.unet.conv_out.weight.zero_()
    walled = gradient_norms(subject, specimens, _SIGMAS)
    reached = {n for n, row in zip(walled.layers, walled.norm, strict=True) if row.any()}
    assert reached == {"last convolution"}


def test_norms_put_a_layers_tensors_together() -> None:
    model = nn.ModuleDict({"conv_in": nn.Linear(1, 1), "mid_block": nn.Linear(1, 1)})
    for weight in model.parameters():
        nn.init.constant_(weight, 3.0)
    model["conv_in"].get_parameter("bias").data.fill_(4.0)
    named = norms_by_layer((name, weight.detach()) for name, weight in model.named_parameters())
    assert float(named["conv_in"]) == pytest.approx(5)
