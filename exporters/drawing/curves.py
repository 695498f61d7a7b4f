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
"""Standard deviation of the smoothing along an outline: enough to hide pixel stairs."""
REACH_PX = 6
"""How far along the outline a direction is measured."""
CORNER_DEGREES = 50.0
STRAIGHT_PX = 0.25
"""A segment that stays this close to its chord is a line."""
ROUNDS = 12
DENSE = 16
"""A segment is fitted at about so many of its points, at most every fourth: they are smooth."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Tracks:
    """All outlines in one array, each twice over, so that no segment wraps."""

    points: Points
    leave: Points
    """Unit direction of a curve that begins at each point: smooth but at corners."""
    arrive: Points
    """Unit direction back into a curve that ends there."""
    starts: Indices
    lengths: Indices
    corners: NDArray[np.bool_]


def fit_outlines(
    outlines: Sequence[Points],
    *,
    tolerance_px: float,
    frame_px: float,
    stepped: bool = False,
    smooth_px: float = SMOOTH_PX,
) -> list[Curves]:
    """Closed curves within about `tolerance_px` of closed pixel outlines (corners only, x and y).

    Points on the border of the `frame_px` square stay on it. `stepped` outlines hold the middles of
    their unit steps instead of their corners. `smooth_px` is the deviation of the smoothing along
    an outline.
    """
    steps = list(outlines) if stepped else [_steps(outline) for outline in outlines]
    tracks = _lay_tracks(steps, frame_px, smooth_px)
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Rings:
    """Where the points of closed outlines lie that stand one after the other in one array."""

    starts: Indices
    """Of each outline."""
    lengths: Indices
    first: Indices
    """For each point: the first one of its outline."""
    local: Indices
    """For each point: its place in its outline."""
    length: Indices
    """For each point: the number of points of its outline."""

    @classmethod
    def of(cls, outlines: Sequence[Points]) -> "_Rings":
        lengths = np.array([len(outline) for outline in outlines])
        starts = np.cumsum(lengths) - lengths
        first = np.repeat(starts, lengths)
        return cls(
            starts=starts,
            lengths=lengths,
            first=first,
            local=np.arange(len(first)) - first,
            length=np.repeat(lengths, lengths),
        )

    def along(self, point: Indices, shift: Indices | int) -> Indices:
        """The points that lie `shift` further along the outlines than the given ones."""
        return np.asarray(self.first[point] + (self.local[point] + shift) % self.length[point])

    def repeated(self, before: int, after: int) -> Indices:
        """Every outline's points with so many more before and after them (`after` -1: as many)."""
        more = self.lengths if after < 0 else np.full_like(self.lengths, after)
        counts = before + self.lengths + more
        ends = np.cumsum(counts)
        local = np.arange(ends[-1]) - np.repeat(ends - counts + before, counts)
        return np.asarray(np.repeat(self.starts, counts) + local % np.repeat(self.lengths, counts))


def _smooth(points: Points, rings: _Rings, smooth_px: float) -> Points:
    """Gaussian smoothing around closed outlines."""
    most = round(3 * smooth_px)
    wide = np.ascontiguousarray(points[rings.repeated(most, most)].T)
    reach = np.repeat(np.minimum(most, (rings.lengths - 1) // 2), rings.lengths + 2 * most)
    weight = [np.exp(-(offset**2) / (2 * smooth_px**2)) for offset in range(most + 1)]
    total = np.cumsum([weight[0], *(2 * share for share in weight[1:])])[reach]
    result = wide * weight[0]
    for offset in range(1, most + 1):
        inner = slice(offset, -offset)
        both = wide[:, 2 * offset :] + wide[:, : -2 * offset]
        result[:, inner] += both * np.where(offset <= reach[inner], weight[offset], 0)
    place = np.arange(len(points)) + most
    place += 2 * most * np.repeat(np.arange(len(rings.lengths)), rings.lengths)
    return np.ascontiguousarray((result / total)[:, place].T)


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


def _lay_tracks(outlines: Sequence[Points], frame_px: float, smooth_px: float) -> _Tracks:
    rings = _Rings.of(outlines)
    steps = np.concatenate(outlines)
    reach = np.clip(rings.length // 4, 1, REACH_PX)
    every = np.arange(len(steps))
    ahead, behind = rings.along(every, reach), rings.along(every, -reach)
    points = _snap(_smooth(steps, rings, smooth_px), steps, frame_px)
    corner = _corners(*_directions(points, ahead, behind), rings, reach)
    places = np.flatnonzero(corner)
    near = np.arange(-round(2 * smooth_px), round(2 * smooth_px) + 1)
    cut = rings.along(places[:, None], near)  # smoothing has cut the corners off
    points[cut] = _snap(steps, steps, frame_px)[cut]
    points[places] = _corner_points(points, places, rings, reach[places])
    forward, backward = _directions(points, ahead, behind)
    through = _unit(forward - backward)
    twice = rings.repeated(0, -1)
    return _Tracks(
        points=points[twice],
        leave=np.where(corner[:, None], forward, through)[twice],
        arrive=np.where(corner[:, None], backward, -through)[twice],
        starts=2 * rings.starts,
        lengths=rings.lengths,
        corners=corner,
    )


def _corner_points(points: Points, places: Indices, rings: _Rings, reach: Indices) -> Points:
    """Where the two sides of each corner would meet; the point itself when that is far off."""
    near = np.minimum(2, reach)
    before, after = points[rings.along(places, -near)], points[rings.along(places, near)]
    into = before - points[rings.along(places, -reach)]
    out = after - points[rings.along(places, reach)]
    cross = _cross(into, out)
    level = np.abs(cross) < 0.3 * np.sqrt(_squares(into) * _squares(out))
    level |= reach <= near
    share = _cross(after - before, out) / np.where(level, 1, cross)
    meeting = before + into * share[:, None]
    far = np.abs(meeting - points[places]).max(axis=1, initial=0) > 1.5
    return np.where((level | far)[:, None], points[places], meeting)


def _directions(points: Points, ahead: Indices, behind: Indices) -> tuple[Points, Points]:
    """Unit directions to the points ahead and behind."""
    return _unit(points[ahead] - points), _unit(points[behind] - points)


def _corners(forward: Points, backward: Points, rings: _Rings, reach: Indices) -> NDArray[np.bool_]:
    """Where the outline turns sharply, and more sharply than anywhere near."""
    cosine = -_dots(forward, backward)
    corners = np.asarray(cosine < np.cos(np.radians(CORNER_DEGREES)))
    places = np.flatnonzero(corners)
    own = cosine[places].copy()
    for shift in range(1, REACH_PX + 1):
        within = shift <= reach[places]
        beaten = cosine[rings.along(places, shift)] <= own
        beaten |= cosine[rings.along(places, -shift)] < own
        corners[places[within & beaten]] = False
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
    stride = np.clip((ends - starts) // DENSE, 1, 4)
    counts = -((starts - ends) // stride) + 1
    first = np.cumsum(counts) - counts
    segment = np.repeat(np.arange(len(starts)), counts)
    index = (np.arange(counts.sum()) - first[segment]) * stride[segment] + starts[segment]
    index[first + counts - 1] = ends
    points = tracks.points[index]
    leave, arrive = tracks.leave[starts], tracks.arrive[ends]
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
    left = 1 - time
    one = 3 * time * left * left
    two = 3 * time * time * left
    base = left * left * left + one  # powers would take longer than all else here
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
        s * s * s * curves[:, 0]
        + 3 * s * s * t * curves[:, 1]
        + 3 * s * t * t * curves[:, 2]
        + t * t * t * curves[:, 3]
    )


def _unit(vectors: Points) -> Points:
    length = np.sqrt(_squares(vectors))
    return np.asarray(vectors / np.maximum(length, 1e-9)[:, None])


def _dots(one: Points, other: Points) -> Points:
    return np.asarray(one[:, 0] * other[:, 0] + one[:, 1] * other[:, 1])


def _squares(vectors: Points) -> Points:
    return _dots(vectors, vectors)


def _cross(one: Points, other: Points) -> Points:
    return np.asarray(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0])
