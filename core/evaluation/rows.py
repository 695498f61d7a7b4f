"""What is known about each picture, and which pictures a person should look at. Free of torch."""

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]
"""What is known about one picture: seed, label, guess, confidence, copy, nearest, closeness."""
WORST_OF_CLASS = 3
CLOSEST = 8


def shares(rows: Sequence[Row]) -> dict[str, Any]:
    """How many pictures show what they were asked to be, in all and by class, and are copies.

    `recognised` is None where no picture states a class.
    """
    right: dict[str, list[bool]] = {}
    for row in rows:
        if row["label"]:
            right.setdefault(row["label"], []).append(row["guess"] == row["label"])
    told = sum(map(len, right.values()))
    return {
        "count": len(rows),
        "recognised": sum(map(sum, right.values())) / told if told else None,
        "recognised_by_class": {name: sum(v) / len(v) for name, v in sorted(right.items())},
        "copy_rate": sum(row["copy"] for row in rows) / len(rows) if rows else 0.0,
        "count_by_class": {name: len(v) for name, v in sorted(right.items())},
    }


def worst_rows(rows: Sequence[Row]) -> list[int]:
    """For each class, the pictures that are taken for another most surely, then least surely right.

    Of pictures without a class, those whose guess is least sure.
    """
    by_label: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        by_label.setdefault(row["label"], []).append(place)

    def merit(place: int) -> tuple[float, int]:
        row = rows[place]
        right = row["guess"] == row["label"] or not row["label"]
        return (row["confidence"] if right else -row["confidence"]), place

    return [
        place
        for _, places in sorted(by_label.items())
        for place in sorted(places, key=merit)[:WORST_OF_CLASS]
    ]


def closest_rows(rows: Sequence[Row]) -> list[int]:
    """The pictures that are nearest to a training picture, nearest first, copies or not."""
    order = sorted(range(len(rows)), key=lambda place: (rows[place]["closeness"], place))
    return order[:CLOSEST]
