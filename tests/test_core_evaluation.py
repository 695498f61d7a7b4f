"""The figures of quality: the Fréchet distance by known answers, and features that feel changes."""

import numpy as np
import pytest
import torch

from core.errors import UserError
from core.evaluation.features import FEATURES
from core.evaluation.frechet import frechet_distance, frechet_of_moments, moments
from core.evaluation.quality import RealPictures
from core.evaluation.recognition import open_recognizer, train_recognizer
from core.images import unpremultiply
from tests.tiny import tiny_dataset


def normal(count, size, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((count, size), generator=generator, dtype=torch.float64)


def test_a_set_is_at_no_distance_from_itself_however_small():
    for count in (2, 5, 300):
        features = normal(count, 40, seed=1)
        assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)


def test_gaussians_of_known_moments_are_at_their_known_distance():
    a = normal(400, 6, seed=2)
    a = (a - a.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(a.T))).T
    spread = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.0, 0.0], dtype=torch.float64)
    away = torch.tensor([0.0, 1.0, 0.0, 0.0, -2.0, 0.0], dtype=torch.float64)
    expected = float(away.square().sum() + (spread - 1).square().sum())
    assert frechet_distance(a, a * spread + away) == pytest.approx(expected, abs=1e-8)


def test_it_equals_the_formula_with_the_root_of_the_product():
    a, b = normal(90, 12, seed=3), normal(70, 12, seed=4) @ normal(12, 12, seed=5) + 0.3
    # The eigenvalues of Σ₁Σ₂, which is not symmetric, are real and their roots add up to the trace.
    product = torch.cov(a.T) @ torch.cov(b.T)
    root = float(torch.linalg.eigvals(product).real.sqrt().sum())
    means = float((a.mean(0) - b.mean(0)).square().sum())
    expected = means + float(torch.cov(a.T).trace() + torch.cov(b.T).trace()) - 2 * root
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-9)


def test_a_weight_counts_like_repeats_and_none_leaves_out():
    a, b = normal(30, 4, seed=6), normal(50, 4, seed=7)
    weights = torch.ones(30)
    weights[10:] = 0
    assert frechet_of_moments(moments(a, weights), moments(b)) == pytest.approx(
        frechet_distance(a[:10], b)
    )
    weights[:10] = torch.arange(10)
    repeated = a[:10].repeat_interleave(torch.arange(10), dim=0)
    assert moments(a, weights).mean.tolist() == pytest.approx(repeated.mean(0).tolist())


def test_one_picture_has_no_distance():
    with pytest.raises(UserError, match="two are the least"):
        frechet_distance(normal(1, 4, seed=0), normal(9, 4, seed=0))


def test_samples_are_compared_with_what_they_were_asked_to_be():
    cats, fish = normal(200, 5, seed=8), normal(100, 5, seed=9) + 4
    real = RealPictures(
        label_names=("cat", "fish"),
        train=torch.cat([cats, fish]),
        train_labels=torch.tensor([0] * 200 + [1] * 100),
        held_out=torch.cat([normal(30, 5, seed=10), normal(30, 5, seed=11) + 4]),
        held_out_labels=torch.tensor([0] * 30 + [1] * 30),
    )
    assert real.frechet(cats, {"cat": 200}) == pytest.approx(0, abs=0.1)
    assert real.frechet(fish, {"cat": 200}) > 50
    half = torch.cat([cats[:100], fish])
    assert real.frechet(half, {"cat": 100, "fish": 100}) == pytest.approx(0, abs=0.2)
    floor, count = real.floor({"cat": 500})
    assert (count, floor < 2) == (30, True)
    assert real.floor({"cat": 10, "fish": 10})[1] == 20
    assert real.floor({"fish": 1}) == (None, 1)
    assert real.frechet(cats[:1], {"cat": 1}) is None


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("data") / "animals", per_split=20)


@pytest.fixture(scope="module")
def recognizer(dataset):
    return train_recognizer(dataset, epochs=16)


def straight(images):
    return [unpremultiply(image) for image in np.array(images)]


def blurred(pictures, times):
    """Each pixel the mean of itself and its four neighbours, again and again."""
    for _ in range(times):
        wide = [picture.astype(np.float32) for picture in pictures]
        pictures = [
            sum([np.roll(w, 1, 0), np.roll(w, -1, 0), np.roll(w, 1, 1), np.roll(w, -1, 1)], w) / 5
            for w in wide
        ]
    return [picture.round().astype(np.uint8) for picture in pictures]


def noisy(pictures, levels):
    noise = np.random.default_rng(0)
    return [
        np.clip(picture + noise.normal(0, levels, picture.shape), 0, 255).astype(np.uint8)
        for picture in pictures
    ]


def test_the_distance_grows_with_blur_with_noise_and_with_a_missing_class(recognizer, dataset):
    real = recognizer.features_of_part(dataset, "train")
    images, labels = dataset.part("validation")
    held_out = straight(images)

    def away(pictures):
        return frechet_distance(recognizer.features(pictures), real)

    floor = away(held_out)
    for change, amounts in ((blurred, (3, 9, 27)), (noisy, (8, 24, 72))):
        grown = [away(change(held_out, amount)) for amount in amounts]
        assert [floor, *grown] == sorted([floor, *grown])
        assert grown[-1] > 3 * floor
    cats = [picture for picture, label in zip(held_out, labels, strict=True) if label == 0]
    assert away(cats) > 2 * floor


def test_features_are_the_same_from_stored_pictures_and_from_a_saved_classifier(
    recognizer, dataset, tmp_path
):
    recognizer.save(tmp_path)
    opened = open_recognizer(tmp_path)
    assert opened.digest == recognizer.digest
    stored = recognizer.features_of_part(dataset, "test")
    assert stored.shape == (40, FEATURES)
    assert torch.equal(opened.features_of_part(dataset, "test"), stored)
    # Straight colour is stored with 8 bits: what is nearly clear comes back a little off.
    apart = recognizer.features(straight(dataset.part("test")[0])) - stored
    assert float(apart.abs().max()) < 0.05 * float(stored.std())
