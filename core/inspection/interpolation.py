"""From one real picture to another through the noise that they come from."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from core.diffusion.denoiser import class_tokens
from core.inspection.drawing import decibels
from core.inspection.inversion import decode, even_levels, invert, lowest_level
from core.inspection.levels import spread_levels
from core.inspection.recording import recorded
from core.inspection.specimens import Specimens
from core.inspection.subject import Subject

POINTS = 8
"""Pictures on a path, both ends among them."""
Way = Literal["spherical", "linear", "cross-fade"]
_FEATURES_AT = 0.3
"""Noise level at which the network's own features are taken."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Smoothness:
    """How even a path of pictures is, by some distance d between two pictures.

    With n steps of lengths d(k): all are nearly alike on a smooth path, and one is much longer
    where a picture jumps into another.
    """

    steps: tuple[float, ...]
    """Lengths, by their sum."""
    variation: float
    """Standard deviation of the lengths by their mean; 0 = all alike."""
    detour: float
    """Sum of the lengths by the distance of the ends; 1 = straight."""
    longest: float
    """The longest step by the mean one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Path:
    """Pictures on one way between the ends."""

    way: Way
    pictures: Tensor
    """`POINTS`×C×H×W, decoded: about [-1, 1]."""
    pixels: Smoothness
    """By the RMS difference of pixels."""
    features: Smoothness
    """By the distance of what the network's deepest layer says of the pictures."""
    lengths: tuple[float, ...]
    """RMS of each point's noise; unit noise has 1. Empty without noise."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interpolation:
    """Both ends, how well they are reached, and the paths."""

    ends: Tensor
    """2×C×H×W, decoded."""
    ends_db: tuple[float, float]
    """How near the ends of the paths come to the pictures."""
    explicit_db: tuple[float, float]
    """The same by the usual inversion, which solves no equation."""
    spread: tuple[float, float]
    """Standard deviation of each end's noise; 1 is ideal."""
    angle_deg: float
    """Between both noises; 90 is what independent noise has."""
    low: float
    high: float
    residual: float
    """The worst step's error, in units of its noise level."""
    paths: tuple[Path, ...]


@torch.no_grad()
def interpolate(subject: Subject, specimens: Specimens, *, steps: int, seed: int) -> Interpolation:
    """Invert both pictures with their classes and no guidance, and decode points between them.

    Between two classes the class embedding goes over linearly.
    """
    ends, labels = specimens.pair, specimens.pair_labels
    denoise = subject.denoise(labels)
    top = subject.sigma_max
    low = lowest_level(denoise, ends, max(subject.sigma_min, spread_levels(subject)[0]), top / 10)
    levels = even_levels(low, top, steps)
    inverted = invert(denoise, ends, levels)
    explicit = invert(denoise, ends, levels, iterations=0)
    shown = subject.decode(ends)
    again = subject.decode(decode(denoise, explicit.noise, levels))
    paths = [_path(subject, specimens, way, inverted.noise, levels, seed=seed) for way in _WAYS]
    reached = paths[0].pictures[[0, -1]]
    left, right = inverted.noise.flatten(1).double()
    cosine = torch.nn.functional.cosine_similarity(left, right, dim=0)
    return Interpolation(
        ends=shown,
        ends_db=_two(decibels(reached.clamp(-1, 1), shown)),
        explicit_db=_two(decibels(again.clamp(-1, 1), shown)),
        spread=(inverted.spread[0], inverted.spread[1]),
        angle_deg=float(torch.rad2deg(torch.arccos(cosine.clamp(-1, 1)))),
        low=low,
        high=top,
        residual=inverted.residual,
        paths=tuple(paths),
    )


_WAYS: tuple[Way, ...] = ("spherical", "linear", "cross-fade")


def between(left: Tensor, right: Tensor, shares: Tensor, way: Way) -> Tensor:
    """Points between two tensors, N×…, at these shares of the way, N.

    spherical: directions along the arc (Shoemake 1985) and lengths evenly, so that points between
    unit noise are unit noise, and of two lengths the longer one does not rule the way;
    linear: straight, on which independent noise shrinks to 0.71 half-way.
    """
    t = shares.view(-1, *[1] * left.ndim)
    if way != "spherical":
        return (1 - t) * left + t * right
    long = left.norm(), right.norm()
    first, second = left / long[0].clamp(min=1e-12), right / long[1].clamp(min=1e-12)
    angle = torch.arccos((first * second).sum().double().clamp(-1, 1)).float()
    if float(angle.sin()) < 1e-4:
        return (1 - t) * left + t * right
    direction = (torch.sin((1 - t) * angle) * first + torch.sin(t * angle) * second) / angle.sin()
    point: Tensor = ((1 - t) * long[0] + t * long[1]) * direction
    return point


@contextlib.contextmanager
def mixed_classes(subject: Subject, left: Tensor, right: Tensor, shares: Tensor) -> Iterator[None]:
    """Forwards of N pictures within are told classes between two, at these shares of the way, N.

    Does nothing for a network without classes.
    """
    embedding = subject.unet.class_embedding
    if embedding is None:
        yield
        return
    table, t = embedding.weight, shares[:, None]
    mixed = (1 - t) * table[left] + t * table[right]
    handles = [embedding.register_forward_hook(lambda *_: mixed)]
    tokens = [class_tokens(subject.unet, label[None]) for label in (left, right)]
    if tokens[0] is not None and tokens[1] is not None:
        # Cross-attention's tokens are linear in what the class is told by.
        told = between(tokens[0][0], tokens[1][0], shares, "linear")
        projection = subject.unet.encoder_hid_proj
        handles.append(projection.register_forward_pre_hook(lambda *_: (told,)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def smoothness(places: Tensor) -> Smoothness:
    """Of points in the order of the path, N×D, by their Euclidean distances."""
    points = places.flatten(1).double()
    steps = (points[1:] - points[:-1]).norm(dim=1)
    direct = float((points[-1] - points[0]).norm())
    total, mean = float(steps.sum()), float(steps.mean())
    return Smoothness(
        steps=tuple((steps / max(total, 1e-12)).tolist()),
        variation=float(steps.std(correction=0)) / max(mean, 1e-12),
        detour=total / max(direct, 1e-12),
        longest=float(steps.max()) / max(mean, 1e-12),
    )


def _path(
    subject: Subject,
    specimens: Specimens,
    way: Way,
    noise: Tensor,
    levels: list[float],
    *,
    seed: int,
) -> Path:
    shares = torch.linspace(0, 1, POINTS, device=noise.device)
    labels = specimens.pair_labels[:1].expand(POINTS)
    lengths: tuple[float, ...] = ()
    (left, right), (first, second) = specimens.pair_labels, noise
    with mixed_classes(subject, left, right, shares):
        if way == "cross-fade":
            made = between(specimens.pair[0], specimens.pair[1], shares, "linear")
        else:
            points = between(first, second, shares, way)
            lengths = tuple(points.double().square().mean((1, 2, 3)).sqrt().tolist())
            made = decode(subject.denoise(labels), points, levels)
        told = _features(subject, made, labels, seed)
    pictures = subject.decode(made)
    return Path(
        way=way,
        pictures=pictures,
        pixels=smoothness(pictures.clamp(-1, 1)),
        features=smoothness(told),
        lengths=lengths,
    )


def _features(subject: Subject, made: Tensor, labels: Tensor, seed: int) -> Tensor:
    """What the deepest layer puts out for pictures with the same little noise each, N×…"""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(made.shape[1:], generator=generator).to(made.device)
    level = torch.full((len(made),), _FEATURES_AT, device=made.device)
    deepest = subject.unet.mid_block
    if deepest is None:
        deepest = subject.unet.down_blocks[-1].resnets[-1]
    with recorded({"deepest": deepest}) as found:
        subject.guess(made + _FEATURES_AT * noise, level, labels)
    return found["deepest"]


def _two(values: Tensor) -> tuple[float, float]:
    return float(values[0]), float(values[1])
