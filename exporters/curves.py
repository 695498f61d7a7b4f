"""Pixel outlines to smooth Bézier curves, all outlines of a picture at once.

vtracer's own splines lie about a third of a pixel outside their pixels, which costs 3 to 8 dB on
flat art and makes every line too fat. So outlines are taken pixel-exact and fitted here by least
squares (P. Schneider, "An Algorithm for Automatically Fitting Digitized Curves", Graphics Gems,
1990), with each step done for all open segments together.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""N×2: x, y."""
Curves = NDArray[np.float64]
"""K×4×2: cubic Béziers, each beginning where the one before ends."""
Indices = NDArray[np.int64]

SMOOTH_PX = 2.0
"""Standard deviation of the smoothing along an outline: just enough to hide pixel stairs."""
REACH_PX = 6
"""How far along the outline a direction is measured."""
CORNER_DEGREES = 50.0
STRAIGHT_PX = 0.25
"""A segment that stays this close to its chord is a line."""
ROUNDS = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Tracks:
    """All outlines in one array, each twice over, so that no segment wraps."""

    points: Points
    forward: Points
    """Unit direction in which the outline leaves each point."""
    backward: Points
    """Unit direction back along which it arrived."""
    starts: Indices
    lengths: Indices
    corners: NDArray[np.bool_]


def fit_outlines(
    outlines: Sequence[Points], *, tolerance_px: float, frame_px: float
) -> list[Curves]:
    """Closed curves within about `tolerance_px` of closed pixel outlines (corners only, x and y).

    Points on the border of the `frame_px` square stay on it.
    """
    tracks = _lay_tracks([_steps(outline) for outline in outlines], frame_px)
    starts, ends, owners = _first_segments(tracks)
    done: list[tuple[Indices, Indices, Curves]] = []
    for remaining in reversed(range(ROUNDS)):
        curves, errors, worst = _fit(tracks, starts, ends)
        splits = (errors > tolerance_px) & (ends - starts >= 6) & (remaining > 0)
        done.append((owners[~splits], starts[~splits], curves[~splits]))
        if not splits.any():
            break
        # near an end, the worst place would only shave slivers off: keep to the middle half
        quarter = (ends - starts) // 4
        middle = np.clip(worst, starts + quarter, ends - quarter)[splits]
        starts, ends, owners = (
            np.concatenate([starts[splits], middle]),
            np.concatenate([middle, ends[splits]]),
            np.concatenate([owners[splits], owners[splits]]),
        )
    all_owners = np.concatenate([item[0] for item in done])
    order = np.lexsort((np.concatenate([item[1] for item in done]), all_owners))
    curves = np.concatenate([item[2] for item in done])[order]
    limits = np.searchsorted(all_owners[order], np.arange(len(outlines) + 1))
    return [curves[limits[i] : limits[i + 1]] for i in range(len(outlines))]


def _steps(outline: Points) -> Points:
    """The middle of each unit step along an axis-aligned outline."""
    ahead = np.roll(outline, -1, axis=0) - outline
    counts = np.abs(ahead).sum(axis=1).round().astype(np.int64)
    ahead, counts, corners = ahead[counts > 0], counts[counts > 0], outline[counts > 0]
    direction = ahead / counts[:, None]
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(
        np.repeat(corners, counts, axis=0)
        + (within + 0.5)[:, None] * np.repeat(direction, counts, axis=0)
    )


def _smooth(points: Points) -> Points:
    """Gaussian smoothing around a closed outline."""
    reach = min(round(3 * SMOOTH_PX), (len(points) - 1) // 2)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-(offsets**2) / (2 * SMOOTH_PX**2))
    weights /= weights.sum()
    padded = np.concatenate([points[len(points) - reach :], points, points[:reach]])
    return np.stack([np.convolve(padded[:, axis], weights, "valid") for axis in (0, 1)], axis=1)


def _snap(points: Points, steps: Points, frame_px: float) -> Points:
    """What lies on the frame is not smoothed, and the frame's corners are reached."""
    near = (steps <= 0.5) | (steps >= frame_px - 0.5)
    on_frame = (steps.min(axis=1) <= 0) | (steps.max(axis=1) >= frame_px)
    if not on_frame.any():
        return points
    snapped = np.where(on_frame[:, None], steps, points)
    corner = near.all(axis=1)
    snapped[corner] = np.where(steps[corner] < frame_px / 2, 0, frame_px)
    return snapped


def _lay_tracks(outlines: Sequence[Points], frame_px: float) -> _Tracks:
    tracks, forwards, backwards, corners = [], [], [], []
    for steps in outlines:
        reach = max(1, min(REACH_PX, len(steps) // 4))
        points = _snap(_smooth(steps), steps, frame_px)
        corner = _corners(*_directions(points, reach), reach)
        cut = _near(corner, round(2 * SMOOTH_PX))  # smoothing has cut the corners off
        points[cut] = _snap(steps, steps, frame_px)[cut]
        for place in np.flatnonzero(corner):
            points[place] = _corner_point(points, int(place), reach)
        forward, backward = _directions(points, reach)
        tracks.append(points)
        forwards.append(forward)
        backwards.append(backward)
        corners.append(corner)
    lengths = np.array([len(points) for points in tracks])
    return _Tracks(
        points=_twice(tracks),
        forward=_twice(forwards),
        backward=_twice(backwards),
        starts=2 * (np.cumsum(lengths) - lengths),
        lengths=lengths,
        corners=np.concatenate(corners),
    )


def _corner_point(points: Points, place: int, reach: int) -> Points:
    """Where the two sides of a corner would meet; the point itself when that is far off."""
    near = min(2, reach)
    around = points[np.arange(place - reach, place + reach + 1) % len(points)]
    before, after = around[reach - near], around[reach + near]
    into, out = before - around[0], after - around[-1]
    cross = into[0] * out[1] - into[1] * out[0]
    if abs(cross) < 0.3 * np.hypot(*into) * np.hypot(*out) or reach <= near:
        return np.asarray(points[place])
    gap = after - before
    meeting = before + into * (gap[0] * out[1] - gap[1] * out[0]) / cross
    far = np.abs(meeting - points[place]).max() > 1.5
    return np.asarray(points[place] if far else meeting)


def _near(marked: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """The marked places of a ring and `reach` on either side."""
    near = np.zeros_like(marked)
    for place in np.flatnonzero(marked):
        near[np.arange(place - reach, place + reach + 1) % len(marked)] = True
    return near


def _directions(points: Points, reach: int) -> tuple[Points, Points]:
    """Unit directions to the points `reach` ahead and behind."""
    ahead = _unit(np.roll(points, -reach, axis=0) - points)
    return ahead, _unit(np.roll(points, reach, axis=0) - points)


def _corners(forward: Points, backward: Points, reach: int) -> NDArray[np.bool_]:
    """Where the outline turns sharply, and more sharply than anywhere near."""
    cosine = -_dots(forward, backward)
    corners = np.asarray(cosine < np.cos(np.radians(CORNER_DEGREES)))
    if corners.any():
        near = np.stack([np.roll(cosine, shift) for shift in range(-reach, reach + 1)])
        corners &= near.argmin(axis=0) == reach
    return corners


def _first_segments(tracks: _Tracks) -> tuple[Indices, Indices, Indices]:
    """Between corners; an outline with fewer than two gets knots at quarters of its length."""
    starts, ends, owners = [], [], []
    offset = 0
    for index, length in enumerate(tracks.lengths):
        knots = np.flatnonzero(tracks.corners[offset : offset + length])
        offset += length
        if len(knots) < 2:
            first = knots[0] if len(knots) else 0
            knots = np.unique((first + np.arange(4) * length // 4) % length)
        starts.append(tracks.starts[index] + knots)
        ends.append(tracks.starts[index] + np.append(knots[1:], knots[0] + length))
        owners.append(np.full(len(knots), index))
    return np.concatenate(starts), np.concatenate(ends), np.concatenate(owners)


def _fit(tracks: _Tracks, starts: Indices, ends: Indices) -> tuple[Curves, Points, Indices]:
    """Least-squares cubics with given end tangents; their largest errors, and where those are."""
    counts = ends - starts + 1
    first = np.cumsum(counts) - counts
    segment = np.repeat(np.arange(len(starts)), counts)
    index = np.arange(counts.sum()) - first[segment] + starts[segment]
    points = tracks.points[index]
    leave, arrive = _tangents(tracks, starts, ends)
    time = _chord_times(points, first, segment)
    curves = _solve(points, time, segment, first, leave, arrive)
    time = _improve(curves[segment], points, time)
    curves = _solve(points, time, segment, first, leave, arrive)
    distance = _squares(_at(curves[segment], time) - points)
    largest = np.maximum.reduceat(distance, first)
    candidates = np.flatnonzero(distance == largest[segment])
    curves = _straighten(curves, points, segment, first)
    _, position = np.unique(segment[candidates], return_index=True)
    return curves, np.sqrt(largest), index[candidates[position]]


def _straighten(curves: Curves, points: Points, segment: Indices, first: Indices) -> Curves:
    """What hardly leaves its chord becomes a line, which a slanting end tangent would bend."""
    chord = curves[:, 3] - curves[:, 0]
    across = _unit(np.stack([-chord[:, 1], chord[:, 0]], axis=1))
    off = np.abs(_dots(points - curves[segment, 0], across[segment]))
    line = np.stack([curves[:, 0] + chord * share for share in (0, 1 / 3, 2 / 3, 1)], axis=1)
    straight = np.maximum.reduceat(off, first) < STRAIGHT_PX
    return np.where(straight[:, None, None], line, curves)


def _tangents(tracks: _Tracks, starts: Indices, ends: Indices) -> tuple[Points, Points]:
    """Directions out of each segment's start and back out of its end; smooth but at corners."""
    double = np.zeros(len(tracks.points), dtype=np.bool_)
    place = np.repeat(tracks.starts - np.cumsum(tracks.lengths) + tracks.lengths, tracks.lengths)
    place += np.arange(tracks.lengths.sum())
    double[place] = tracks.corners
    double[place + np.repeat(tracks.lengths, tracks.lengths)] = tracks.corners
    through = _unit(tracks.forward - tracks.backward)
    leave = np.where(double[starts, None], tracks.forward[starts], through[starts])
    arrive = np.where(double[ends, None], tracks.backward[ends], -through[ends])
    return leave, arrive


def _chord_times(points: Points, first: Indices, segment: Indices) -> Points:
    """Each point's share of its segment's length."""
    step = np.zeros(len(points))
    step[1:] = np.sqrt(_squares(np.diff(points, axis=0)))
    step[first] = 0
    total = np.add.reduceat(step, first)
    along = np.cumsum(step)
    return np.asarray((along - along[first][segment]) / np.maximum(total, 1e-9)[segment])


def _solve(
    points: Points, time: Points, segment: Indices, first: Indices, leave: Points, arrive: Points
) -> Curves:
    """The handle lengths that bring each curve closest to its points."""
    last = np.append(first[1:], len(points)) - 1
    start, end = points[first], points[last]
    one = 3 * time * (1 - time) ** 2
    two = 3 * time**2 * (1 - time)
    base = (1 - time) ** 3 + one
    rest = points - start[segment] * base[:, None] - end[segment] * (1 - base)[:, None]
    c11, c22 = np.add.reduceat(one * one, first), np.add.reduceat(two * two, first)
    c12 = np.add.reduceat(one * two, first) * _dots(leave, arrive)
    x1 = np.add.reduceat(one * _dots(rest, leave[segment]), first)
    x2 = np.add.reduceat(two * _dots(rest, arrive[segment]), first)
    determinant = c11 * c22 - c12**2
    safe = np.where(np.abs(determinant) < 1e-9, 1.0, determinant)
    out, back = (x1 * c22 - x2 * c12) / safe, (c11 * x2 - c12 * x1) / safe
    chord = np.sqrt(_squares(end - start))
    span = np.maximum(chord, 1e-6)
    bad = (np.abs(determinant) < 1e-9) | (out < 0.01 * span) | (back < 0.01 * span)
    bad |= (out > 4 * span) | (back > 4 * span)
    out, back = np.where(bad, span / 3, out), np.where(bad, span / 3, back)
    return np.stack([start, start + leave * out[:, None], end + arrive * back[:, None], end], 1)


def _improve(curves: Curves, points: Points, time: Points) -> Points:
    """One Newton step of each point's time towards its nearest place on the curve."""
    gap = _at(curves, time) - points
    hull = np.diff(curves, axis=1)
    t, s = time[:, None], 1 - time[:, None]
    speed = 3 * (s * s * hull[:, 0] + 2 * s * t * hull[:, 1] + t * t * hull[:, 2])
    bend = np.diff(hull, axis=1)
    pull = 6 * (s * bend[:, 0] + t * bend[:, 1])
    slope = _squares(speed) + _dots(gap, pull)
    move = _dots(gap, speed) / np.where(np.abs(slope) < 1e-9, np.inf, slope)
    return np.clip(time - move, 0, 1)


def _at(curves: Curves, time: Points) -> Points:
    """Each curve's point at its own time."""
    t, s = time[:, None], 1 - time[:, None]
    return np.asarray(
        s**3 * curves[:, 0]
        + 3 * s * s * t * curves[:, 1]
        + 3 * s * t * t * curves[:, 2]
        + t**3 * curves[:, 3]
    )


def _unit(vectors: Points) -> Points:
    length = np.sqrt(_squares(vectors))
    return np.asarray(vectors / np.maximum(length, 1e-9)[:, None])


def _dots(one: Points, other: Points) -> Points:
    return np.asarray(one[:, 0] * other[:, 0] + one[:, 1] * other[:, 1])


def _squares(vectors: Points) -> Points:
    return _dots(vectors, vectors)


def _twice(arrays: Sequence[Points]) -> Points:
    return np.concatenate([np.concatenate([array, array]) for array in arrays])
