"""Shapes of about one area, so that pictures of any shape train in batches of one."""

import math

MAX_ASPECT = 2.0
"""Pictures longer than this many times their width are cut to it."""

Size = tuple[int, int]
"""Width and height, in pixels."""


def bucket_sizes(side_px: int, step_px: int) -> list[Size]:
    """Shapes whose sides are multiples of `step_px` and whose area is at most `side_px`²'s.

    The square first, then by aspect, from wide to tall.
    """
    area = side_px * side_px
    square = max(step_px, side_px // step_px * step_px)
    sizes = {(square, square)}
    short = step_px
    while short <= side_px:
        long = area // short // step_px * step_px
        if long >= short and long <= MAX_ASPECT * short:
            sizes |= {(long, short), (short, long)}
        short += step_px
    return sorted(sizes, key=lambda size: (size != (square, square), -_aspect(size), size))


def nearest_size(sizes: list[Size], width: int, height: int) -> int:
    """Place of the shape that is closest to a picture's; of equally close ones, the first."""
    aspect = math.log(width / height)
    return min(range(len(sizes)), key=lambda place: abs(_aspect(sizes[place]) - aspect))


def _aspect(size: Size) -> float:
    return math.log(size[0] / size[1])
