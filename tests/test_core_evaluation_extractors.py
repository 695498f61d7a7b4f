"""Features of networks that others trained: loaded from files, refused in one line without them."""

import numpy as np
import pytest
import torch

from core.data.starter import draw_animal
from core.errors import UserError
from core.evaluation.dinov2 import Dinov2
from core.evaluation.extractors import open_extractor
from core.evaluation.inception import Inception, _network, resize_like_tensorflow
from core.evaluation.recognition import train_recognizer
from tests.tiny import tiny_dataset


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory):
    dataset = tiny_dataset(tmp_path_factory.mktemp("data") / "animals")
    return train_recognizer(dataset, epochs=2)


@pytest.fixture(scope="module")
def inception_weights(tmp_path_factory):
    """A random network in the layout of the real file."""
    torch.manual_seed(0)
    network = _network()
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
    state = {name.replace("head.", "fc."): value for name, value in network.state_dict().items()}
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def dinov2_weights(tmp_path_factory):
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, patch_size=14, image_size=224
    )
    path = tmp_path_factory.mktemp("weights") / "dinov2"
    Dinov2Model(config).save_pretrained(path)
    return path


def batch(size_px=40):
    pictures = np.stack([draw_animal(name, 1, size_px)[..., :3] for name in ("cat", "fish")])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)


@pytest.mark.slow
def test_inception_answers_as_torch_fidelitys_does(inception_weights):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    theirs = FeatureExtractorInceptionV3(
        "inception-v3-compat",
        ["2048", "logits_unbiased"],
        feature_extractor_weights_path=str(inception_weights),
    )
    features, logits = theirs(batch())
    ours, probabilities = Inception(inception_weights)(batch())
    assert ours.shape == (2, 2048)
    assert torch.allclose(ours, features, rtol=1e-4, atol=1e-4 * float(features.abs().max()))
    assert torch.allclose(probabilities, logits.softmax(1), atol=1e-3)


@pytest.mark.parametrize(("size_px", "side_px"), [(32, 299), (40, 57), (64, 20)])
def test_pictures_are_resized_as_tensorflow_1_did(size_px, side_px):
    from torch_fidelity.interpolate_compat_tensorflow import (
        interpolate_bilinear_2d_like_tensorflow1x,
    )

    pictures = batch(size_px).float()
    theirs = interpolate_bilinear_2d_like_tensorflow1x(
        pictures, size=(side_px, side_px), align_corners=False
    )
    ours = resize_like_tensorflow(pictures, side_px)
    assert float((ours - theirs).abs().max()) < 1e-2


def test_dinov2_opens_from_a_folder_and_its_digest_is_that_of_the_weights(
    dinov2_weights, recognizer
):
    assert Dinov2(str(dinov2_weights))(batch()).shape == (2, 24)
    extractor = open_extractor("dinov2", str(dinov2_weights), recognizer)
    cat, fish = draw_animal("cat", 1, 40), draw_animal("fish", 1, 32)
    both = extractor.extract([cat, fish, cat])
    assert both.features.shape == (3, 24)
    assert both.probabilities.shape == (3, 0)
    assert torch.allclose(both.features[0], both.features[2], atol=1e-5)
    again = open_extractor("dinov2", str(dinov2_weights), recognizer)
    assert again.digest == extractor.digest != recognizer.digest


def test_the_built_in_features_are_the_classifiers(recognizer):
    extractor = open_extractor("built-in", "", recognizer)
    assert extractor.digest == recognizer.digest
    cat = draw_animal("cat", 1, 40)
    assert torch.equal(extractor.extract([cat]).features, recognizer.features([cat]))
    assert len(extractor.extract([]).features) == 0


def test_without_weights_one_line_says_what_to_fetch(recognizer, tmp_path):
    said = r"fetch https://\S+inception-2015-12-05\S+ .*--features built-in"
    with pytest.raises(UserError, match=said):
        open_extractor("inception", "", recognizer)
    with pytest.raises(UserError, match=said):
        open_extractor("inception", str(tmp_path / "none.pth"), recognizer)
    other = tmp_path / "other.pth"
    torch.save({"a": torch.zeros(1)}, other)
    with pytest.raises(UserError, match="is not the Inception network") as caught:
        open_extractor("inception", str(other), recognizer)
    assert "\n" not in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no config\.json: fetch .*dinov2-large.*--weights FOLDER"):
        open_extractor("dinov2", str(tmp_path / "empty"), recognizer)


def test_without_a_network_the_hub_is_one_line_too(recognizer, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"cannot be opened .*--weights FOLDER") as caught:
        open_extractor("dinov2", "facebook/dinov2-large", recognizer)
    assert "\n" not in str(caught.value)
