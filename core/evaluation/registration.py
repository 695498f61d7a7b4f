"""How alike two pictures are when one may be shifted and turned a little onto the other.

A copy that was shifted by some pixels and turned by some degrees shares hardly a pixel with its
original. So the turned picture is laid over the other at every small shift, and the highest
correlation within the overlap is told, by the Fourier transform for all shifts at once.
"""

import functools
import math

import torch
import torch.nn.functional as functional
from torch import Tensor

SIDE_PX = 24
"""Pictures are laid over each other at this size for a start."""
_FRAME_PX = 30
"""With room for shifts: what leaves on one side must not come back on the other."""
_REACH_PX = 4
"""Shifts in both directions: 15 % of a side."""
_TURNS_DEG = (-8.0, -4.0, 0.0, 4.0, 8.0)
FINE_PX = 32
"""Size of the pictures, and at which the best are laid over each other in the end."""
_REFINEMENTS = 5
_STEP = 0.01
"""For slopes: radians, or shares of a half side."""
_LARGEST_STEP = 0.06
_LEAST_CONTRAST = 0.04
"""Root mean square in [-1, 1] below which a picture is plain, and alike to none."""


def correlations(queries: Tensor, candidates: Tensor) -> Tensor:
    """The highest correlation of each query with each of its candidates, B×K, up to 1.

    queries B×C×S×S and candidates B×K×C×S×S in [-1, 1], premultiplied; each channel is brought to
    one mean and contrast, so that neither brightness nor tint counts.
    """
    small = _small(candidates.flatten(0, 1))
    others = small.view(*candidates.shape[:2], *small.shape[1:])
    return _scores(_small(queries), others).flatten(3).amax(3).amax(1)


def _small(images_nchw: Tensor) -> Tensor:
    size = (SIDE_PX, SIDE_PX)
    return functional.interpolate(images_nchw, size, mode="bilinear", antialias=True)


def _scores(queries: Tensor, candidates: Tensor) -> Tensor:
    """Correlations at each turn and shift, B×V×K×9×9."""
    turned = _turned(_centred(queries))
    others = _centred(candidates)
    products = torch.einsum("bvchw,bkchw->bvkhw", _spectrum(turned), _spectrum(others).conj())
    together = _shifts(products)
    energy_query = _energy(turned)[:, :, None]
    # A picture's own window moves the other way over it.
    energy_other = _energy(others).flip((-2, -1))[:, None]
    least = 0.2 * queries.shape[1] * SIDE_PX**2
    norm = (energy_query.clamp(min=least) * energy_other.clamp(min=least)).sqrt()
    scores: Tensor = together / norm
    return scores


def explained(queries: Tensor, candidates: Tensor) -> Tensor:
    """The share of each candidate that its query explains when it is laid over it best, B, up to 1.

    B×C×S×S each. Turn and shift start where a coarse
    search ends and are refined by Gauss and Newton's method; each channel may be lighter or of
    more contrast in one of the two.
    """
    moves = _coarse_moves(queries, candidates)
    for _ in range(_REFINEMENTS):
        moves = moves + _better(queries, candidates, moves)
    window = torch.ones_like(queries[:, :1])
    fitted, _ = _fitted(_moved_by(queries, moves), candidates, _moved_by(window, moves))
    inside = _moved_by(window, moves)
    left = (inside * (candidates - fitted)).square().sum((1, 2, 3))
    there = (inside * _centred_within(candidates, inside)).square().sum((1, 2, 3))
    least = (_LEAST_CONTRAST**2) * candidates[0].numel()
    return 1 - left / there.clamp(min=least)


def _coarse_moves(queries: Tensor, candidates: Tensor) -> Tensor:
    """The best turn and shift of `correlations`, B×3: radians, and shares of a half side."""
    scores = _scores(_small(queries), _small(candidates)[:, None])[:, :, 0]
    side = 2 * _REACH_PX + 1
    best = scores.flatten(1).argmax(1)
    turns = torch.tensor(_TURNS_DEG)[best // side**2].deg2rad()
    y, x = best % side**2 // side - _REACH_PX, best % side - _REACH_PX
    return torch.stack([turns, 2 * x / SIDE_PX, 2 * y / SIDE_PX], dim=1)


def _better(queries: Tensor, candidates: Tensor, moves: Tensor) -> Tensor:
    """One step, B×3, towards the moves of least squared error."""
    inside = _moved_by(torch.ones_like(queries[:, :1]), moves)
    here = _moved_by(queries, moves)
    fitted, gain = _fitted(here, candidates, inside)
    residual = (inside * (candidates - fitted)).flatten(1)
    columns = [
        (inside * gain * (_moved_by(queries, moves + small) - here) / _STEP).flatten(1)
        for small in torch.eye(3) * _STEP
    ]
    slopes = torch.stack(columns, dim=2)
    products = slopes.mT @ slopes
    steady = (
        products + 1e-3 * torch.eye(3) * products.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    )
    wanted = torch.linalg.solve(steady + 1e-6 * torch.eye(3), slopes.mT @ residual[:, :, None])
    step: Tensor = wanted[:, :, 0].clamp(-_LARGEST_STEP, _LARGEST_STEP)
    return step


def _fitted(images: Tensor, targets: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures with each channel's contrast and lightness as the targets', and the contrast."""
    mine, theirs = _centred_within(images, inside), _centred_within(targets, inside)
    products = (inside * mine * theirs).sum((-2, -1), keepdim=True)
    squares = (inside * mine.square()).sum((-2, -1), keepdim=True)
    gain = (products / squares.clamp(min=1e-3)).clamp(0.5, 2)
    return gain * mine + (targets - theirs), gain


def _centred_within(images: Tensor, inside: Tensor) -> Tensor:
    total = inside.sum((-2, -1), keepdim=True).clamp(min=1)
    return images - (inside * images).sum((-2, -1), keepdim=True) / total


def _moved_by(images: Tensor, moves: Tensor) -> Tensor:
    """Each picture by its own turn and shift, B×3."""
    turn, x, y = moves.unbind(1)
    rows = [
        torch.stack([turn.cos(), -turn.sin(), x], 1),
        torch.stack([turn.sin(), turn.cos(), y], 1),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    found: Tensor = functional.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
    return found


def _centred(images: Tensor) -> Tensor:
    centred = images - images.mean((-2, -1), keepdim=True)
    spread = centred.square().mean((-2, -1), keepdim=True).sqrt()
    return centred / spread.clamp(min=_LEAST_CONTRAST)


def moved(images_nchw: Tensor, turn_deg: float, x: float = 0.0, y: float = 0.0) -> Tensor:
    """Pictures turned and then shifted by shares of a side; what was outside is 0."""
    turn = math.radians(turn_deg)
    row = [
        [math.cos(turn), -math.sin(turn), 2 * x],
        [math.sin(turn), math.cos(turn), 2 * y],
    ]
    where = torch.tensor([row]).expand(len(images_nchw), -1, -1)
    grid = functional.affine_grid(where, list(images_nchw.shape), align_corners=False)
    found: Tensor = functional.grid_sample(
        images_nchw, grid, padding_mode="zeros", align_corners=False
    )
    return found


def _turned(images_nchw: Tensor) -> Tensor:
    """Each picture at every angle, N×V×C×H×W."""
    return torch.stack([moved(images_nchw, turn) for turn in _TURNS_DEG], dim=1)


def _spectrum(images: Tensor) -> Tensor:
    spectrum: Tensor = torch.fft.rfft2(images, s=(_FRAME_PX, _FRAME_PX))
    return spectrum


def _energy(images: Tensor) -> Tensor:
    """Sums of squares within the part of …×C×H×W that a shifted window of its size covers."""
    squares = images.square().sum(-3)
    return _shifts(_spectrum(squares) * _window_spectrum().conj())


@functools.lru_cache(maxsize=1)
def _window_spectrum() -> Tensor:
    return _spectrum(torch.ones((SIDE_PX, SIDE_PX)))


def _shifts(products: Tensor) -> Tensor:
    """Correlations at all small shifts of products of spectra."""
    whole: Tensor = torch.fft.irfft2(products, s=(_FRAME_PX, _FRAME_PX))
    whole = whole.roll((_REACH_PX, _REACH_PX), (-2, -1))
    return whole[..., : 2 * _REACH_PX + 1, : 2 * _REACH_PX + 1]
