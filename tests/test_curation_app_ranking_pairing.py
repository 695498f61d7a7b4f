"""The next pair: informative, new, nobody else's; and repeats, when they are meant."""

import itertools

import numpy as np
import pytest
from scipy.stats import spearmanr

from curation_app.ranking import LEFT, RIGHT, Live, PairVotes, fit, next_pair
from curation_app.ranking.live import EXACT
from curation_app.ranking.pairing import SHORTLIST
from curation_app.ranking.repeats import GAP, pick_repeat, pick_shared, repeat_is_due
from curation_app.ranking.votes import Ints

SIZES = [40, EXACT + 200]
"""A class with covariances, and one without."""


def fresh(pictures: int) -> Live:
    return Live(fit(pictures, PairVotes.of([])))


def asked(live: Live, members: Ints, count: int, seed: int = 0) -> list[tuple[int, int]]:
    """Ask and answer: the higher number is better."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        pair = next_pair(live, members, rng)
        assert pair is not None
        live.compare(*pair, LEFT if pair[0] > pair[1] else RIGHT)
        pairs.append(pair)
    return pairs


@pytest.mark.parametrize("size", SIZES)
def test_each_picture_has_its_first_vote_before_many_have_three(size: int) -> None:
    live = fresh(size)
    asked(live, np.arange(size), size)
    assert live.votes.min() >= 1
    assert live.votes.max() <= 4


@pytest.mark.parametrize("size", SIZES)
def test_the_same_generator_asks_the_same_and_another_does_not(size: int) -> None:
    runs = [asked(fresh(size), np.arange(size), 30, seed) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("size", SIZES)
def test_no_pair_comes_twice_and_only_members_come(size: int) -> None:
    live = fresh(2 * size)
    members = np.arange(1, 2 * size, 2)
    pairs = {frozenset(pair) for pair in asked(live, members, 80)}
    assert len(pairs) == 80
    assert all(len(pair) == 2 and all(one % 2 for one in pair) for pair in pairs)


def test_pairs_voted_on_before_the_fit_do_not_come_again_unless_meant() -> None:
    every = list(itertools.combinations(range(6), 2))
    rows = [(one, other, RIGHT, 0) for one, other in every if (one, other) != (2, 5)]
    live, rng = Live(fit(6, PairVotes.of(rows))), np.random.default_rng(0)
    for _ in range(5):
        pair = next_pair(live, np.arange(6), rng)
        assert pair is not None
        assert sorted(pair) == [2, 5]
    live.compare(2, 5, RIGHT)
    assert next_pair(live, np.arange(6), rng) is None
    assert next_pair(live, np.arange(6), rng, again=True) is not None


@pytest.mark.parametrize("size", SIZES)
def test_curators_at_once_get_pictures_of_their_own(size: int) -> None:
    live, rng = fresh(size), np.random.default_rng(0)
    in_flight: list[tuple[int, int]] = []
    for _ in range(16):
        pair = next_pair(live, np.arange(size), rng, in_flight=in_flight)
        assert pair is not None
        in_flight.append(pair)
    assert len({picture for pair in in_flight for picture in pair}) == 32


def test_curators_who_crowd_a_small_class_still_get_pairs_of_their_own() -> None:
    live, rng = fresh(4), np.random.default_rng(0)
    in_flight: list[tuple[int, int]] = []
    for _ in range(6):
        pair = next_pair(live, np.arange(4), rng, in_flight=in_flight)
        assert pair is not None
        in_flight.append(pair)
    assert {tuple(sorted(pair)) for pair in in_flight} == set(itertools.combinations(range(4), 2))
    assert next_pair(live, np.arange(4), rng, in_flight=in_flight) is None
    assert next_pair(live, np.arange(4), rng, in_flight=in_flight, again=True) is None


def test_classes_of_no_or_one_picture_have_no_pair_and_two_have_one() -> None:
    live, rng = fresh(3), np.random.default_rng(0)
    assert next_pair(live, np.array([], dtype=np.int64), rng) is None
    assert next_pair(live, np.array([1]), rng) is None
    pair = next_pair(live, np.array([0, 2]), rng)
    assert pair is not None
    assert sorted(pair) == [0, 2]


def test_both_sides_come_about_equally_often() -> None:
    live, rng = fresh(2), np.random.default_rng(0)
    first = [next_pair(live, np.arange(2), rng) == (0, 1) for _ in range(400)]
    assert 160 < sum(first) < 240


@pytest.mark.parametrize("size", SIZES)
def test_pairs_of_near_scores_are_asked_for_once_scores_are_known(size: int) -> None:
    members, rng = np.arange(size), np.random.default_rng(0)
    rows = []
    for _ in range(20 * size):
        left, right = rng.choice(size, 2, replace=False).tolist()
        won = rng.random() < 1 / (1 + np.exp((right - left) * 6 / size))
        rows.append((left, right, LEFT if won else RIGHT, 0))
    live = Live(fit(size, PairVotes.of(rows)))
    apart = []
    for _ in range(20):
        pair = next_pair(live, members, rng)
        assert pair is not None
        apart.append(abs(live.mean[pair[0]] - live.mean[pair[1]]))
        live.compare(*pair, LEFT)
    assert np.median(apart) < 0.5 * live.scores.spread


def test_a_late_picture_of_a_large_class_is_asked_for_soon() -> None:
    size = 5 * SHORTLIST
    live = fresh(size)
    live.votes[:] = 10
    live.variance[:] = 0.3
    newcomer = 4321
    live.votes[newcomer], live.variance[newcomer] = 0, live.scores.spread**2
    pairs = [next_pair(live, np.arange(size), np.random.default_rng(seed)) for seed in range(5)]
    assert all(pair is not None and newcomer in pair for pair in pairs)


def test_information_beats_random_pairs() -> None:
    truth = np.random.default_rng(3).normal(size=64) * 2
    noise = np.random.default_rng(4)

    def answer(left: int, right: int) -> int:
        return LEFT if noise.random() < 1 / (1 + np.exp(truth[right] - truth[left])) else RIGHT

    def correlation(rows: list[tuple[int, int, int, int]]) -> float:
        return float(spearmanr(fit(64, PairVotes.of(rows)).mean, truth).statistic)

    ours, others = [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        live, chosen, drawn = fresh(64), [], []
        for _ in range(320):
            pair = next_pair(live, np.arange(64), rng)
            assert pair is not None
            chosen.append((*pair, answer(*pair), 0))
            live.compare(*chosen[-1])
            left, right = rng.choice(64, 2, replace=False).tolist()
            drawn.append((left, right, answer(left, right), 0))
        ours.append(correlation(chosen))
        others.append(correlation(drawn))
    assert np.mean(ours) > np.mean(others) + 0.01


def test_about_one_question_in_twenty_repeats_with_sides_swapped() -> None:
    rng = np.random.default_rng(0)
    log: list[tuple[int, int, int, int]] = []
    repeated = 0
    for number in range(2000):
        pair = pick_repeat(PairVotes.of(log), rng) if repeat_is_due(rng) else None
        if pair is not None:
            repeated += 1
            assert (pair[1], pair[0]) in {row[:2] for row in log[:-GAP]}
            assert pair not in {row[:2] for row in log}
        log.append((*(pair or (2 * number, 2 * number + 1)), LEFT, 0))
    assert 70 < repeated < 130


def test_a_pair_is_repeated_once_and_not_while_it_is_remembered() -> None:
    rng = np.random.default_rng(0)
    log = [(number, number + 100, LEFT, 0) for number in range(GAP)]
    assert pick_repeat(PairVotes.of(log), rng) is None
    log.append((50, 60, LEFT, 0))
    assert pick_repeat(PairVotes.of(log), rng) == (100, 0)
    log.append((100, 0, LEFT, 0))
    assert pick_repeat(PairVotes.of(log), rng) == (101, 1)
    assert pick_repeat(PairVotes.of(log), rng, in_flight=[(1, 101)]) is None


def test_shared_pairs_are_those_that_only_others_compared() -> None:
    rng = np.random.default_rng(0)
    others = PairVotes.of([(0, 1, LEFT, 1), (2, 3, LEFT, 1), (1, 0, LEFT, 2), (4, 5, LEFT, 2)])
    own = PairVotes.of([(3, 2, LEFT, 0)])
    drawn = {pick_shared(others, own, rng) for _ in range(60)}
    assert drawn == {(0, 1), (1, 0), (4, 5), (5, 4)}
    assert pick_shared(others.where(np.array([1])), own, rng) is None
    assert pick_shared(others, own, rng, in_flight=[(0, 1), (5, 4)]) is None
