"""Regions as stacked shapes: each border is drawn by the shape on top, and nothing shows between.

A shape covers its own region and all that is painted over it, so that neighbours lie under each
other's edges and no gap can open. Which region goes under which decides how long the outlines are:
the one whose border lies most with a single neighbour is put on top of it first.
"""

import dataclasses
import heapq

import numpy as np
from numpy.typing import NDArray

from exporters.drawing.adjacency import OUTSIDE, Borders, Indices, find_borders, relabel
from exporters.vision import Labels

Points = NDArray[np.float64]
_NONE = -1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outline:
    """A closed outline: the middles of its unit steps, in pixels, clockwise around the inside."""

    region: int
    points: Points


def stack(regions: Labels, fills: Indices) -> Indices:
    """For each region the one that it is painted on, or -1 at the bottom.

    `fills` holds each region's paint: a region is put on one of its own paint where it can be,
    where it need not be drawn at all.
    """
    count = len(fills)
    # the frame is a border too, or the background could come to lie on what stands before it
    near, around = _neighbourhood(find_borders(np.pad(regions, 1, constant_values=OUTSIDE)), count)
    parent = np.full(count, _NONE, dtype=np.int64)
    paint = [int(fill) for fill in fills]
    heap: list[tuple[float, float, int, int, float]] = []

    def offer(region: int) -> None:
        """The best neighbour to lie on."""
        best = (0.0, 0, 0.0)
        for under, shared in near[region].items():
            share = 2.0 if paint[region] == paint[under] else shared / around[region]
            best = max(best, (share, -under, shared))
        if best[0]:
            heapq.heappush(heap, (-best[0], around[region], region, -best[1], best[2]))

    for region in range(count):
        offer(region)
    while heap:
        _, length, top, under, shared = heapq.heappop(heap)
        gone = parent[top] != _NONE or parent[under] != _NONE
        if gone or around[top] != length or near[top].get(under) != shared:
            continue
        parent[top] = under
        around[under] = max(around[under] + around[top] - 2 * shared, 1e-9)
        others = sorted(near[top].keys() - {under})
        for other in others:
            near[under][other] = near[under].get(other, 0.0) + near[top][other]
            near[other][under] = near[under][other]
        for other in near[top]:
            del near[other][top]
        near[top] = {}
        for other in (*others, under):
            offer(other)
    return parent


def join_own_paint(regions: Labels, parent: Indices, fills: Indices) -> tuple[Labels, Indices]:
    """Regions painted on their own paint become part of what they lie on: they need no shape.

    Their numbers stay, without a pixel.
    """
    target = np.arange(len(parent))
    own = (parent != _NONE) & (np.append(fills, -1)[parent] == fills)
    target[own] = parent[own]
    while (target[target] != target).any():
        target = target[target]
    return relabel(np.append(target, OUTSIDE), regions), np.append(target, _NONE)[parent]


def depths_of(parent: Indices) -> Indices:
    """How many shapes lie under each region's own."""
    depth = np.zeros(len(parent), dtype=np.int64)
    above = parent.copy()
    while (above != _NONE).any():
        depth += above != _NONE
        above = np.where(above != _NONE, parent[above], _NONE)
    return depth


def outlines_of(regions: Labels, parent: Indices, order: Indices | None = None) -> list[Outline]:
    """The outlines of every region's shape, exactly; in the order of their regions.

    A shape is the region with all that is painted on it, but where that ends at a border of the
    shape, the border is left to what is painted last, and what lies under it keeps away or reaches
    a little under: two curves along one border never agree quite, and the colour below would show.
    `order` (one number per region, unset: its depth) says what is painted later.
    """
    wide = np.pad(regions, 1, constant_values=OUTSIDE)
    tree = _Tree.of(parent)
    later = tree.depth if order is None else order
    toggles = _toggles(wide, tree, later)
    return _link(*_directed(wide, tree, toggles), wide.shape[1])


def _neighbourhood(borders: Borders, count: int) -> tuple[list[dict[int, float]], list[float]]:
    near: list[dict[int, float]] = [{} for _ in range(count)]
    around = [0.0] * count
    triples = zip(
        borders.one.tolist(), borders.other.tolist(), borders.length_px.tolist(), strict=True
    )
    for one, other, length in triples:
        around[other] += length
        if one != OUTSIDE:
            around[one] += length
            near[one][other] = near[other][one] = length
    return near, around


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Tree:
    """What is painted on what; entry -1 of each array stands for what is clear."""

    parent: Indices
    depth: Indices
    enter: Indices
    """Place in a walk through the tree, so that a shape's parts are neighbours there."""
    leave: Indices

    @classmethod
    def of(cls, parent: Indices) -> "_Tree":
        depth = depths_of(parent)
        size = np.ones(len(parent), dtype=np.int64)
        order = np.argsort(-depth, kind="stable").tolist()
        for node in order:
            if parent[node] != _NONE:
                size[parent[node]] += size[node]
        enter, free = np.zeros(len(parent), dtype=np.int64), 0
        inside: dict[int, int] = {}
        for node in reversed(order):
            under = int(parent[node])
            if under == _NONE:
                enter[node], free = free, free + int(size[node])
            else:
                enter[node] = inside[under]
                inside[under] += int(size[node])
            inside[node] = int(enter[node]) + 1
        return cls(
            parent=np.append(parent, _NONE),
            depth=np.append(depth, -1),
            enter=np.append(enter, -1),
            leave=np.append(enter + size, -1),
        )

    def holds(self, shape: Indices, region: Indices) -> NDArray[np.bool_]:
        """Whether a shape covers a region."""
        place = self.enter[region]
        return np.asarray((self.enter[shape] <= place) & (place < self.leave[shape]))


def _toggles(wide: Labels, tree: _Tree, later: Indices) -> Indices:
    """Pixels that join or leave a shape for the sake of a border, as sorted keys."""
    found = [np.zeros(0, dtype=np.int64)]
    flat, width = wide.ravel(), wide.shape[1]
    framed = np.zeros(wide.shape, dtype=np.bool_)
    framed[1:-1, 1:-1] = True
    inner = framed.ravel()
    rank = np.append(later, -1)
    for gap, step in ((1, 1), (width, 1), (2, 2), (2 * width, 2)):
        place = np.flatnonzero(flat[gap:] != flat[:-gap])
        place = place[inner[place] & inner[place + gap]]
        here, there = flat[place].astype(np.int64), flat[place + gap].astype(np.int64)
        for pixel, own, other in ((place, here, there), (place + gap, there, here)):
            kept = own != OUTSIDE
            pixel, own, other = pixel[kept], own[kept], other[kept]
            wins = (rank[own] > rank[other]) | ((rank[own] == rank[other]) & (own > other))
            found += _climb(pixel, own, other, wins, tree, wide.size, leaves=step == 1)
    return np.unique(np.concatenate(found))


def _climb(
    pixel: Indices,
    own: Indices,
    other: Indices,
    wins: NDArray[np.bool_],
    tree: _Tree,
    size: int,
    *,
    leaves: bool,
) -> list[Indices]:
    """Walk from both sides of a border to the shape that holds both.

    What the pixel's own region lies on, below that shape, ends elsewhere (`leaves`); and what the
    other side consists of reaches under the pixel, if that is painted later.
    """
    found = []
    first, last = own, other
    while len(own):
        lift_own, lift_other = (
            tree.depth[own] >= tree.depth[other],
            tree.depth[other] >= tree.depth[own],
        )
        if leaves:
            gone = lift_own & (own != first)
            found.append(own[gone] * size + pixel[gone])
        # a shape that holds the pixel's own region, or is held by it, needs no reaching under
        under = lift_other & wins & ~tree.holds(own, last)
        found.append(other[under] * size + pixel[under])
        own = np.where(lift_own, tree.parent[own], own)
        other = np.where(lift_other, tree.parent[other], other)
        apart = own != other
        own, other, first, last = own[apart], other[apart], first[apart], last[apart]
        pixel, wins = pixel[apart], wins[apart]
    return found


def _directed(wide: Labels, tree: _Tree, toggles: Indices) -> tuple[Indices, Indices, Indices]:
    """The unit steps of all outlines: shape, first corner, direction.

    Directions are 0 right, 1 down, 2 left, 3 up; a shape lies on the right of its outline. A step
    is part of an outline when just one of its two pixels is in the shape, so a pixel that joins or
    leaves turns its four steps on or off.
    """
    width, size = wide.shape[1], wide.size
    flat = wide.ravel()
    keys = []
    for across, gap in ((1, 1), (0, width)):
        pixel = np.flatnonzero(flat[gap:] != flat[:-gap]) + gap
        one, other = flat[pixel - gap].astype(np.int64), flat[pixel].astype(np.int64)
        keys += _steps_between(pixel, one, other, tree, 2 * size, 1 - across)
    shape, pixel = toggles // size, toggles % size
    for crack in (2 * pixel, 2 * (pixel + 1), 2 * pixel + 1, 2 * (pixel + width) + 1):
        keys.append(shape * 2 * size + crack)
    every, counts = np.unique(np.concatenate(keys), return_counts=True)
    every = every[counts % 2 == 1]
    shape, crack = every // (2 * size), every % (2 * size)
    pixel, level = crack // 2, crack % 2 == 1
    inside = tree.holds(shape, flat[pixel]) ^ np.isin(shape * size + pixel, toggles)
    # left edge of an inner pixel: up, its top edge: rightwards; else the pixel before is inside
    row, column = pixel // width, pixel % width
    stride = width + 1
    corner = row * stride + column
    start = np.where(level, corner + ~inside, corner + np.where(inside, stride, 0))
    way = np.where(level, np.where(inside, 0, 2), np.where(inside, 3, 1))
    return shape, start, way


def _steps_between(
    pixel: Indices, one: Indices, other: Indices, tree: _Tree, size: int, level: int
) -> list[Indices]:
    """Keys of the steps between two regions: of all shapes that hold just one of them."""
    found = []
    while len(one):
        lift_one, lift_other = (
            tree.depth[one] >= tree.depth[other],
            tree.depth[other] >= tree.depth[one],
        )
        found.append(one[lift_one] * size + 2 * pixel[lift_one] + level)
        found.append(other[lift_other] * size + 2 * pixel[lift_other] + level)
        one = np.where(lift_one, tree.parent[one], one)
        other = np.where(lift_other, tree.parent[other], other)
        apart = one != other
        one, other, pixel = one[apart], other[apart], pixel[apart]
    return found


def _link(node: Indices, start: Indices, direction: Indices, width: int) -> list[Outline]:
    """Steps chained to closed outlines; at a corner where two meet, they part."""
    stride = width + 1
    move = np.array([1, stride, -1, -stride])
    size = int(start.max(initial=0)) + stride + 2
    keys = (node * size + start) * 4 + direction
    order = np.argsort(keys)
    node, start, direction, keys = node[order], start[order], direction[order], keys[order]
    ends = (node * size + start + move[direction]) * 4
    turned = ends + (direction + 1) % 4
    right = np.minimum(np.searchsorted(keys, turned), len(keys) - 1)
    following = np.where(keys[right] == turned, right, np.searchsorted(keys, ends)).tolist()
    twice_x = 2 * (start % stride) + np.array([1, 0, -1, 0])[direction] - 2
    twice_y = 2 * (start // stride) + np.array([0, 1, 0, -1])[direction] - 2
    middles = np.stack([twice_x, twice_y], axis=1) / 2
    seen = bytearray(len(keys))
    outlines = []
    for first in range(len(keys)):
        if seen[first]:
            continue
        ring, here = [], first
        while not seen[here]:
            seen[here] = 1
            ring.append(here)
            here = following[here]
        outlines.append(Outline(region=int(node[first]), points=middles[ring]))
    return outlines
