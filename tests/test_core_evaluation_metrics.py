"""The figures of two sets of features, beside torch-fidelity's and prdc's and by known answers."""

import contextlib
import io

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

from core.errors import UserError
from core.evaluation import manifold as manifolds
from core.evaluation.frechet import frechet_distance
from core.evaluation.kernel import kernel_distance, squared_discrepancy
from core.evaluation.manifold import manifold, overlap
from core.evaluation.score import inception_score


def skewed(count, size, seed):
    """Features with unequal, related dimensions, none below 0, as a network's are."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn((size, size), generator=torch.Generator().manual_seed(99)).double()
    return (torch.randn((count, size), generator=generator).double() @ mixing / size**0.5).relu()


def test_the_frechet_distance_is_that_of_torch_fidelity():
    a, b = skewed(600, 48, seed=1), skewed(500, 48, seed=2) * 1.1 + 0.05
    theirs = fid_statistics_to_metric(
        fid_features_to_statistics(a), fid_features_to_statistics(b), verbose=False
    )
    assert frechet_distance(a, b) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-6)


def test_the_kernel_distance_is_that_of_torch_fidelity_draw_by_draw():
    a, b = skewed(400, 48, seed=3), skewed(350, 48, seed=4) * 1.1 + 0.05
    theirs = kid_features_to_metric(
        a, b, kid_subsets=20, kid_subset_size=200, rng_seed=7, verbose=False
    )
    ours = kernel_distance(a, b, subsets=20, subset_size=200, seed=7)
    assert ours.mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-6)
    assert ours.std == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-6)


def test_the_inception_score_is_that_of_torch_fidelity():
    logits = 3 * torch.randn((503, 12), generator=torch.Generator().manual_seed(5)).double()
    theirs = isc_features_to_metric(logits, splits=10, rng_seed=11)
    ours = inception_score(logits.softmax(1), splits=10, seed=11)
    assert ours.mean == pytest.approx(theirs["inception_score_mean"], rel=1e-6)
    assert ours.std == pytest.approx(theirs["inception_score_std"], rel=1e-6)


@pytest.mark.parametrize("nearest", [3, 5])
def test_precision_recall_density_and_coverage_are_those_of_prdc(nearest, monkeypatch):
    monkeypatch.setattr(manifolds, "_BLOCK", 64)  # several blocks, the last one short
    real, samples = skewed(300, 16, seed=6), skewed(250, 16, seed=7) * 1.4
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = compute_prdc(real.numpy(), samples.numpy(), nearest_k=nearest)
    ours = overlap(manifold(real, nearest=nearest), manifold(samples, nearest=nearest))
    assert 0.2 < ours.precision < 0.95
    for name, value in theirs.items():
        assert getattr(ours, name) == pytest.approx(value, rel=1e-9), name


def test_a_set_beside_itself():
    features = skewed(200, 20, seed=8)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)
    # Without bias, the distance of a set to itself is at most 0.
    assert squared_discrepancy(features, features) <= 0
    both = manifold(features)
    same = overlap(both, both)
    assert (same.precision, same.recall, same.coverage) == (1, 1, 1)


def test_every_distance_grows_with_a_shift_and_nothing_overlaps_far_away():
    real, fresh = skewed(300, 20, seed=9), skewed(300, 20, seed=10)
    frechet, kernel, precision = [], [], []
    for shift in (0.0, 0.3, 1.0, 50.0):
        moved = fresh + shift
        frechet.append(frechet_distance(moved, real))
        kernel.append(kernel_distance(moved, real, subsets=3, subset_size=300).mean)
        precision.append(overlap(manifold(real), manifold(moved)).precision)
    assert frechet == sorted(frechet)
    assert kernel == sorted(kernel)
    assert kernel[0] == pytest.approx(0, abs=0.01)
    assert precision == sorted(precision, reverse=True)
    assert precision[-1] == 0


def test_the_score_is_from_one_to_the_number_of_classes():
    sure = torch.eye(4).repeat(50, 1)
    assert inception_score(sure, splits=1).mean == pytest.approx(4)
    assert inception_score(sure[:1].repeat(20, 1), splits=2).mean == pytest.approx(1)
    assert inception_score(torch.full((20, 4), 0.25)).mean == pytest.approx(1)


def test_collapsed_samples_are_precise_and_cover_little():
    real = skewed(300, 20, seed=12)
    few = real[:10].repeat(20, 1) + 1e-3 * torch.from_numpy(
        np.random.default_rng(0).normal(size=(200, 20))
    )
    found = overlap(manifold(real), manifold(few))
    assert found.precision == 1
    assert found.recall < 0.1
    assert found.coverage < 0.5


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        (lambda one: kernel_distance(one, one), "1 pictures have no kernel distance"),
        (lambda one: inception_score(one), "cannot be split 10 times"),
        (lambda one: manifold(one), "no manifold of 5 nearest"),
    ],
)
def test_too_few_pictures_are_one_line(figure, said):
    with pytest.raises(UserError, match=said):
        figure(torch.ones((1, 4)))
