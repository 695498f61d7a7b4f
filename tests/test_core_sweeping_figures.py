"""How far classes are apart: known answers, and the definition written out."""

import pytest
import torch
from torch import Tensor

from core.sweeping.figures import separation


def clusters(apart: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([3] * 30 + [5] * 40)
    points = torch.randn(70, 4, generator=generator)
    points[:, 0] += apart * (labels == 5)
    return points, labels


def test_classes_that_lie_farther_apart_are_better_separated() -> None:
    found = [separation(*clusters(apart)) for apart in (0.0, 2.0, 50.0)]
    mixed, near, far = (told for told in found if told is not None)
    assert abs(mixed["silhouette"]) < 0.05
    assert mixed["ratio"] == pytest.approx(1, abs=0.05)
    assert mixed["silhouette"] < near["silhouette"] < far["silhouette"]
    assert far["silhouette"] > 0.9
    assert far["ratio"] > 10


def test_the_silhouette_is_as_defined() -> None:
    points, labels = clusters(1.5)
    total = 0.0
    for place, point in enumerate(points):
        distances = (points - point).norm(dim=1).tolist()
        means = {}
        for name in (3, 5):
            others = [d for k, d in enumerate(distances) if labels[k] == name and k != place]
            means[name] = sum(others) / len(others)
        own = int(labels[place])
        a, b = means[own], means[8 - own]
        total += (b - a) / max(a, b)
    found = separation(points, labels)
    assert found is not None
    assert found["silhouette"] == pytest.approx(total / len(points), rel=1e-6)


def test_one_class_is_apart_from_nothing() -> None:
    assert separation(torch.randn(5, 3), torch.zeros(5, dtype=torch.long)) is None
    assert separation(torch.randn(3, 3), torch.tensor([0, 0, 1])) is None  # one alone has no spread
