"""Ranking by simulated noisy curators: ours beside random pairs and beside the closest peers.

    python tests/benchmarks/ranking.py [--seeds 10] [--runs 3] [--pictures 256] [--scale 100000]

1. Spearman correlation with the true order after 3, 5, 10 and 20 votes per picture, mean of all
   seeds. A seed is a collection; its curators vote three times from the beginning, and their mean
   counts, as the luck of one run is ±0.03 at 3 votes. A picture has had as many votes as
   comparisons it was shown in: v votes per picture are pictures·v/2 of them, in every scheme.
   True scores are normal; a curator who looks prefers the left with probability
   1/(1 + exp(right - left)). Two kinds of noise, both fixed so that
   random pairs with a Bradley–Terry refit reach about 0.85 at 10 votes per picture, and pairs of
   neighbours in the refitted order, a little shaken, about 0.88:

   - alike: scores spread by 1.6, and every vote is looked at;
   - several: scores spread by 2.2, and eight curators who click without looking in 0, 0, 5, 5, 10,
     10, 20 and 30 % of their votes, 10 % of all.

   Schemes: random pairs with a plain Bradley–Terry fit (a weak ridge, as a picture that always
   wins has no finite score); random pairs with our fit; openskill ratings (Plackett–Luce), each
   time the pair not yet shown with the smallest |Δμ|; the closest public app (TrueSkill ratings; a
   ring of pairs, then all others; after every third vote sorted anew by |Δμ| + 0.8 times the votes
   that both have had); ours, as the app runs it: 5 % of the questions are a curator's own earlier
   pairs, sides swapped, and scores are fitted anew now and then.
2. Time of one core, and memory that a fit adds: fitting, taking a vote in, and choosing a pair, at
   100,000 pictures of one class with 10 votes each, and at 256.
"""

import argparse
import dataclasses
import json
import math
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from openskill.models import PlackettLuce
from scipy.special import expit, ndtr, ndtri
from scipy.stats import spearmanr

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from curation_app.ranking import LEFT, RIGHT, Live, PairVotes, fit, next_pair  # noqa: E402
from curation_app.ranking.repeats import pick_repeat, repeat_is_due  # noqa: E402

Floats = NDArray[np.float64]
MARKS = (3, 5, 10, 20)
"""Votes per picture at which schemes are compared."""
RIDGE = 0.1
REFIT_SHARE = 1 / 32
"""Ours is fitted anew when the log has grown by this share, but not before 8 votes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noise:
    """How simulated curators err."""

    spread: float
    careless: tuple[float, ...]


NOISES = {
    "alike": Noise(spread=1.6, careless=(0.0,) * 8),
    "several": Noise(spread=2.2, careless=(0.0, 0.0, 0.05, 0.05, 0.1, 0.1, 0.2, 0.3)),
}


class World:
    """True scores, and curators who answer; the same for every scheme of one seed and run."""

    def __init__(self, noise: Noise, pictures: int, seed: int, run: int = 0) -> None:
        self._answers = np.random.default_rng((seed, run, 1))
        self.choices = np.random.default_rng((seed, run, 2))
        self.truth = np.random.default_rng((seed, 0)).normal(size=pictures) * noise.spread
        self.pictures, self._careless = pictures, noise.careless
        self.curators = len(noise.careless)
        self.asked = 0

    def next_curator(self) -> int:
        """Curators take turns."""
        return self.asked % self.curators

    def left_wins(self, left: int, right: int) -> bool:
        """The answer of the curator whose turn it is."""
        careless = self._careless[self.next_curator()]
        self.asked += 1
        looked, drawn = self._answers.random(2)
        if looked < careless:
            return bool(drawn < 0.5)
        return bool(drawn < expit(self.truth[left] - self.truth[right]))

    def agreement(self, scores: Floats) -> float:
        """Spearman correlation with the truth."""
        return float(spearmanr(scores, self.truth).statistic)

    def marks(self) -> dict[int, int]:
        """Comparisons at which a scheme is looked at, and the votes per picture that they are."""
        return {round(votes * self.pictures / 2): votes for votes in MARKS}


Scheme = Callable[[World], Iterator[Callable[[], Floats]]]
"""A generator that asks for one vote at a time, and after each can tell the scores."""


def plain_random(world: World) -> Iterator[Callable[[], Floats]]:
    """Random pairs; Bradley–Terry by Newton's method."""
    won: list[tuple[int, int]] = []
    while True:
        left, right = world.choices.choice(world.pictures, 2, replace=False).tolist()
        won.append((left, right) if world.left_wins(left, right) else (right, left))
        yield lambda: bradley_terry(np.array(won), world.pictures)


def bradley_terry(won: NDArray[np.int64], pictures: int) -> Floats:
    """Scores from rows of winner and loser, with a weak ridge."""
    score = np.zeros(pictures)
    winner, loser = won.T
    for _ in range(50):
        surprise = expit(score[loser] - score[winner])
        pull = np.bincount(winner, surprise, pictures) - np.bincount(loser, surprise, pictures)
        weight = surprise * (1 - surprise)
        curve = np.zeros((pictures, pictures))
        np.add.at(curve, (winner, loser), -weight)
        curve += curve.T
        curve[np.diag_indices(pictures)] = RIDGE - curve.sum(axis=1)
        step = np.linalg.solve(curve, pull - RIDGE * score)
        score += np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-6:
            break
    return score


def our_fit_random(world: World) -> Iterator[Callable[[], Floats]]:
    """Random pairs; our fit."""
    rows: list[tuple[int, int, int, int]] = []
    while True:
        left, right = world.choices.choice(world.pictures, 2, replace=False).tolist()
        curator = world.next_curator()
        rows.append((left, right, LEFT if world.left_wins(left, right) else RIGHT, curator))
        yield lambda: fit(world.pictures, PairVotes.of(rows)).mean


def openskill_nearest(world: World) -> Iterator[Callable[[], Floats]]:
    """openskill's ratings; of the pairs not yet shown, the one with the smallest |Δμ|."""
    model = PlackettLuce()
    ratings = [model.rating() for _ in range(world.pictures)]
    mu = np.array([rating.mu for rating in ratings])
    unseen = ~np.tri(world.pictures, dtype=np.bool_)
    while True:
        apart = np.where(unseen, np.abs(mu[:, None] - mu), np.inf)
        nearest = np.flatnonzero(apart.ravel() == apart.min())
        left, right = divmod(int(world.choices.choice(nearest)), world.pictures)
        unseen[left, right] = False
        first, other = (left, right) if world.left_wins(left, right) else (right, left)
        [[ratings[first]], [ratings[other]]] = model.rate([[ratings[first]], [ratings[other]]])
        mu[first], mu[other] = ratings[first].mu, ratings[other].mu
        yield mu.copy


def closest_app(world: World) -> Iterator[Callable[[], Floats]]:
    """The closest public app's order of pairs, and its ratings."""
    count = world.pictures
    mu, variance = np.full(count, 25.0), np.full(count, 8.33**2)
    votes = np.zeros(count)
    ring = np.stack([np.arange(count), np.roll(np.arange(count), -1)], axis=1)
    unseen = ~np.tri(count, dtype=np.bool_)
    unseen[ring.min(axis=1), ring.max(axis=1)] = False
    queue = np.concatenate([world.choices.permutation(ring), np.argwhere(unseen)])
    while True:
        one, other = queue.T
        worth = np.abs(mu[one] - mu[other]) + 0.8 * (votes[one] + votes[other])
        queue = queue[np.argsort(worth, kind="stable")]
        for left, right in queue[:3].tolist():
            won = world.left_wins(left, right)
            true_skill(mu, variance, *((left, right) if won else (right, left)))
            votes[[left, right]] += 1
            yield mu.copy
        queue = queue[3:]


def true_skill(mu: Floats, variance: Floats, winner: int, loser: int) -> None:
    """TrueSkill's update for two players with its default settings (Herbrich et al. 2006)."""
    beta, drift, draws = 25 / 6, 25 / 300, 0.1
    pair = [winner, loser]
    variance[pair] += drift**2
    scale = math.sqrt(2 * beta**2 + variance[pair].sum())
    margin = float(ndtri((1 + draws) / 2)) * math.sqrt(2) * beta
    lead = float(mu[winner] - mu[loser] - margin) / scale
    push = math.exp(-0.5 * lead**2) / math.sqrt(2 * math.pi) / float(ndtr(lead))
    mu[winner] += variance[winner] / scale * push
    mu[loser] -= variance[loser] / scale * push
    variance[pair] *= 1 - variance[pair] / scale**2 * push * (push + lead)


def ours(world: World) -> Iterator[Callable[[], Floats]]:
    """Ours, with repeats, as the app runs it."""
    members = np.arange(world.pictures)
    rows: list[tuple[int, int, int, int]] = []
    live, since = Live(fit(world.pictures, PairVotes.of(rows), curators=world.curators)), 0
    while True:
        curator = world.next_curator()
        pair = None
        if repeat_is_due(world.choices):
            own = PairVotes.of(row for row in rows if row[3] == curator)
            pair = pick_repeat(own, world.choices)
        pair = pair or next_pair(live, members, world.choices)
        assert pair is not None
        outcome = LEFT if world.left_wins(*pair) else RIGHT
        rows.append((*pair, outcome, curator))
        live.compare(*pair, outcome, curator)
        since += 1
        if since >= max(8, REFIT_SHARE * len(rows)):
            live = Live(fit(world.pictures, PairVotes.of(rows), curators=world.curators))
            since = 0
        yield lambda: fit(world.pictures, PairVotes.of(rows)).mean


SCHEMES: dict[str, Scheme] = {
    "random pairs, Bradley–Terry": plain_random,
    "random pairs, our fit": our_fit_random,
    "openskill, smallest |Δμ|": openskill_nearest,
    "closest public app": closest_app,
    "ours": ours,
}


def compare_schemes(
    noise: Noise, pictures: int, seeds: int, runs: int
) -> dict[str, dict[int, list[float]]]:
    """Spearman of each scheme at each mark, seed by seed, as the mean of the runs."""
    found = {}
    for name, scheme in SCHEMES.items():
        each = [
            [run_scheme(scheme, World(noise, pictures, seed, run)) for run in range(runs)]
            for seed in range(seeds)
        ]
        found[name] = {
            votes: [statistics.mean(one[votes] for one in some) for some in each] for votes in MARKS
        }
        print(f"{name:<32}" + "".join(map(_cell, found[name].values())), flush=True)
    return found


def run_scheme(scheme: Scheme, world: World) -> dict[int, float]:
    """Spearman of one run at each mark."""
    marks, figures = world.marks(), {}
    for asked, scores in enumerate(scheme(world), start=1):
        if asked in marks:
            figures[marks[asked]] = world.agreement(scores())
        if asked == max(marks):
            break
    return figures


def _cell(figures: list[float]) -> str:
    error = statistics.stdev(figures) / math.sqrt(len(figures)) if len(figures) > 1 else 0.0
    return f"{statistics.mean(figures):>9.3f} ±{error:.3f}"


def time_it(pictures: int) -> dict[str, float]:
    """Milliseconds of one core with 5 random pairs for each picture; the memory of fitting."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=pictures) * 1.5
    count = 5 * pictures
    left = rng.integers(pictures, size=count)
    right = (left + rng.integers(1, pictures, size=count)) % pictures
    won = rng.random(count) < expit(truth[left] - truth[right])
    outcome = np.where(won, LEFT, RIGHT)
    votes = PairVotes(left=left, right=right, outcome=outcome, curator=rng.integers(8, size=count))
    held_mb, before = _peak_mb(), time.process_time()
    scores = fit(pictures, votes)
    fit_ms, fit_mb = 1000 * (time.process_time() - before), _peak_mb() - held_mb
    live, members = Live(scores), np.arange(pictures)
    next_pair(live, members, rng)  # the first one after a refit makes the class ready
    pairs_ms, votes_ms = [], []
    for _ in range(200):
        before = time.process_time()
        pair = next_pair(live, members, rng)
        asked = time.process_time()
        assert pair is not None
        live.compare(*pair, LEFT)
        pairs_ms.append(1000 * (asked - before))
        votes_ms.append(1000 * (time.process_time() - asked))
    return {
        "pictures": pictures,
        "votes": count,
        "fit_ms": round(fit_ms, 1),
        "pair_ms": round(statistics.median(pairs_ms), 2),
        "pair_p95_ms": round(statistics.quantiles(pairs_ms, n=20)[-1], 2),
        "vote_ms": round(statistics.median(votes_ms), 3),
        "fit_mb": round(fit_mb),
    }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    """Measure, print tables, and the figures as one JSON line."""
    parser = argparse.ArgumentParser(description="Ranking by simulated noisy curators.")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=3, help="of each seed")
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--scale", type=int, default=100_000, help="pictures to time with")
    arguments = parser.parse_args()
    # The large one is timed before the simulation fills memory.
    times = [time_it(count) for count in (arguments.scale, arguments.pictures)]
    for row in times:
        print("   ".join(f"{name} {figure:,}" for name, figure in row.items()))
    spearman = {}
    for name, noise in NOISES.items():
        print(f"\n{name:<32}" + "".join(f"{votes:>9} votes " for votes in MARKS))
        found = compare_schemes(noise, arguments.pictures, arguments.seeds, arguments.runs)
        spearman[name] = {
            scheme: {votes: round(statistics.mean(some), 4) for votes, some in marks.items()}
            for scheme, marks in found.items()
        }
    print(json.dumps({**vars(arguments), "spearman": spearman, "times": times}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
