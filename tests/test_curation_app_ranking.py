"""Scores from comparisons and stars: known orders come back, and nothing odd breaks the fit."""

import itertools
import time

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from curation_app.ranking import LEFT, RIGHT, TIE, Live, PairVotes, Scores, StarVotes, fit

Row = tuple[int, int, int, int]


def simulated(
    truth: NDArray[np.float64],
    count: int,
    *,
    seed: int = 0,
    careless: tuple[float, ...] = (0.0,),
) -> PairVotes:
    """Random pairs answered with logistic noise; curators take turns."""
    rng = np.random.default_rng(seed)
    left = rng.integers(len(truth), size=count)
    right = (left + rng.integers(1, len(truth), size=count)) % len(truth)
    curator = np.arange(count) % len(careless)
    won = rng.random(count) < 1 / (1 + np.exp(truth[right] - truth[left]))
    slipped = rng.random(count) < np.array(careless)[curator]
    won = np.where(slipped, rng.random(count) < 0.5, won)
    return PairVotes(left=left, right=right, outcome=np.where(won, LEFT, RIGHT), curator=curator)


def stars_of(truth: NDArray[np.float64], *, shift: float = 0.0, curator: int = 0) -> StarVotes:
    """Stars by cutpoints, with logistic noise."""
    seen = truth + shift + np.random.default_rng(curator).logistic(size=len(truth))
    stars = np.digitize(seen, [-2.0, -0.6, 0.6, 2.0]) + 1
    return StarVotes(
        picture=np.arange(len(truth)), stars=stars, curator=np.full(len(truth), curator)
    )


def joined(*votes: StarVotes) -> StarVotes:
    return StarVotes(
        picture=np.concatenate([some.picture for some in votes]),
        stars=np.concatenate([some.stars for some in votes]),
        curator=np.concatenate([some.curator for some in votes]),
    )


def rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(spearmanr(one, other).statistic)


def both_ways(rows: list[Row]) -> Scores:
    """The fit of votes, after checking that their order and sides change no bit of it."""
    pictures = 1 + max(max(row[:2]) for row in rows)
    scores = fit(pictures, PairVotes.of(rows))
    turned = [(right, left, -outcome, curator) for left, right, outcome, curator in rows[::-1]]
    again = fit(pictures, PairVotes.of(turned))
    np.testing.assert_array_equal(scores.mean, again.mean)
    np.testing.assert_array_equal(scores.variance, again.variance)
    return scores


def test_a_known_order_comes_back_from_clear_votes() -> None:
    rows = [(high, low, LEFT, 0) for low, high in itertools.combinations(range(12), 2)]
    scores = both_ways(rows)
    assert np.argsort(scores.mean).tolist() == list(range(12))


def test_noisy_votes_give_the_order_and_an_honest_uncertainty() -> None:
    truth = np.random.default_rng(1).normal(size=200) * 1.5
    few, many = (fit(200, simulated(truth, count)) for count in (500, 4000))
    assert rank_correlation(few.mean, truth) < rank_correlation(many.mean, truth)
    assert rank_correlation(many.mean, truth) > 0.95
    assert many.deviation.mean() < 0.6 * few.deviation.mean()
    for scores in (few, many):
        # Errors in units of the told deviation have about unit size.
        assert 0.75 < np.std((scores.mean - truth) / scores.deviation) < 1.25
        assert scores.spread == pytest.approx(1.5, rel=0.35)


def test_the_order_of_voting_changes_nothing() -> None:
    votes = simulated(np.random.default_rng(2).normal(size=50), 400, careless=(0.0, 0.2))
    stars = stars_of(np.linspace(-3, 3, 50))
    shuffled = np.random.default_rng(3).permutation(400)
    one = fit(50, votes, stars)
    mixed = np.random.default_rng(4).permutation(50)
    other = fit(
        50,
        votes.where(shuffled),
        StarVotes(
            picture=stars.picture[mixed], stars=stars.stars[mixed], curator=stars.curator[mixed]
        ),
    )
    np.testing.assert_array_equal(one.mean, other.mean)
    np.testing.assert_array_equal(one.variance, other.variance)
    np.testing.assert_array_equal(one.habits.careless, other.habits.careless)


def test_ties_draw_scores_together_and_tell_how_readily_a_curator_ties() -> None:
    wins = [(1, 0, LEFT, 0), (2, 1, LEFT, 0), (3, 2, LEFT, 0)] * 3
    apart = both_ways([*wins, (0, 3, RIGHT, 0)])
    tied = both_ways([*wins, *[(0, 3, TIE, 0)] * 3])
    assert tied.mean[3] - tied.mean[0] < apart.mean[3] - apart.mean[0]
    assert tied.mean[3] > tied.mean[0]
    assert tied.habits.ties[0] > apart.habits.ties[0]


def test_only_ties_leave_all_equal_but_less_uncertain() -> None:
    scores = both_ways([(0, 1, TIE, 0), (1, 2, TIE, 0), (2, 0, TIE, 0)])
    np.testing.assert_allclose(scores.mean, 0, atol=1e-9)
    assert (scores.variance < fit(3, PairVotes.of([])).variance).all()


def test_stars_and_pairs_agree_on_one_scale() -> None:
    truth = np.random.default_rng(10).normal(size=90) * 2
    by_pairs = fit(90, simulated(truth, 3000))
    stars = joined(*(stars_of(truth, curator=curator) for curator in range(8)))
    by_stars = fit(90, PairVotes.of([]), stars)
    assert rank_correlation(by_stars.mean, truth) > 0.9
    # Not only the order: a logit of one is about a logit of the other.
    slope = np.polyfit(by_pairs.mean, by_stars.mean, 1)[0]
    assert 0.7 < slope < 1.4


def test_stars_place_pictures_that_no_pair_reaches() -> None:
    truth = np.linspace(-3, 3, 60)
    votes = simulated(truth[::2], 1500)
    pairs = PairVotes(
        left=votes.left * 2, right=votes.right * 2, outcome=votes.outcome, curator=votes.curator
    )
    stars = joined(*(stars_of(truth, curator=curator) for curator in range(4)))
    scores = fit(60, pairs, stars)
    assert rank_correlation(scores.mean, truth) > 0.93
    assert rank_correlation(scores.mean[1::2], truth[1::2]) > 0.85


def test_a_generous_curator_is_known_as_such() -> None:
    truth = np.linspace(-3, 3, 80)
    stars = joined(stars_of(truth), stars_of(truth, shift=1.5, curator=1))
    habits = fit(80, PairVotes.of([]), stars).habits
    assert habits.generosity[1] - habits.generosity[0] > 0.7


def test_stars_that_are_never_low_still_tell_the_worst_from_the_best() -> None:
    truth = np.random.default_rng(11).normal(size=120) * 1.5
    kind = stars_of(truth)
    upper = StarVotes(picture=kind.picture, stars=np.maximum(kind.stars, 3), curator=kind.curator)
    scores = fit(120, simulated(truth, 600), upper)
    assert rank_correlation(scores.mean, truth) > 0.88
    # Three stars are low praise there: the bounds below them have moved out of the way.
    assert scores.habits.cutpoints[1] < -0.9
    assert (np.diff(scores.habits.cutpoints) > 0).all()


def test_a_careless_curator_is_found_out_and_weighs_less() -> None:
    truth = np.random.default_rng(5).normal(size=100) * 2
    votes = simulated(truth, 2400, careless=(0.0, 0.0, 0.9))
    scores = fit(100, votes)
    assert scores.habits.careless[2] > 0.5
    assert scores.habits.careless[:2].max() < 0.15
    alone = fit(100, votes.where(votes.curator != 2))
    assert rank_correlation(scores.mean, truth) > rank_correlation(alone.mean, truth) - 0.005


def test_nothing_and_next_to_nothing_can_be_fitted() -> None:
    assert len(fit(0, PairVotes.of([])).mean) == 0
    alone = fit(1, PairVotes.of([]))
    assert alone.mean.tolist() == [0.0]
    assert alone.deviation[0] == pytest.approx(alone.spread)
    two = both_ways([(0, 1, RIGHT, 0)])
    assert two.mean[1] > 0 > two.mean[0]
    assert two.votes.tolist() == [1, 1]


def test_a_picture_that_always_wins_stays_finite() -> None:
    rows = [(0, other, LEFT, 0) for other in range(1, 20)] * 10
    scores = both_ways(rows)
    assert np.isfinite(scores.mean).all()
    assert scores.mean[0] == scores.mean.max()
    assert scores.mean[0] < 12


def test_contradictory_votes_leave_a_draw() -> None:
    scores = both_ways([(0, 1, LEFT, 0), (0, 1, RIGHT, 0)] * 25)
    assert scores.mean == pytest.approx([0, 0], abs=1e-3)
    circle = both_ways([(0, 1, LEFT, 0), (1, 2, LEFT, 0), (2, 0, LEFT, 0)] * 5)
    assert circle.mean == pytest.approx([0, 0, 0], abs=1e-3)


def test_islands_without_a_vote_between_them_are_ordered_each_by_itself() -> None:
    chain = [(low + 1, low, LEFT, 0) for low in range(5)] * 4
    island = [(left + 10, right + 10, outcome, 0) for left, right, outcome, _ in chain]
    scores = both_ways([*chain, *island])
    assert np.argsort(scores.mean[:6]).tolist() == list(range(6))
    np.testing.assert_allclose(scores.mean[:6], scores.mean[10:16], atol=1e-6)
    assert scores.mean[6:10].tolist() == [0.0] * 4
    assert scores.deviation[6:10] == pytest.approx(scores.spread, rel=0.01)


def test_uncertainty_is_that_of_the_inverse_matrix() -> None:
    truth = np.random.default_rng(6).normal(size=60)
    scores = fit(60, simulated(truth, 120))
    exact = np.diagonal(np.linalg.inv(scores.precision.block(np.arange(60))))
    assert scores.variance == pytest.approx(exact, rel=0.05)


def test_votes_between_refits_bring_scores_near_to_the_refit() -> None:
    truth = np.random.default_rng(7).normal(size=80) * 1.5
    votes = simulated(truth, 1500)
    rows = list(zip(votes.left.tolist(), votes.right.tolist(), votes.outcome.tolist(), strict=True))
    begun = fit(80, votes.where(np.arange(1200)))
    whole = fit(80, votes)
    for exact in (False, True):
        live = Live(begun)
        if exact:
            live.covariance(np.arange(80))
        for left, right, outcome in rows[1200:]:
            live.compare(left, right, outcome)
        far = np.abs(begun.mean - whole.mean).mean()
        near = np.abs(live.mean - whole.mean).mean()
        assert near < (0.5 if exact else 0.7) * far
        assert live.variance.mean() == pytest.approx(
            whole.variance.mean(), rel=0.15 if exact else 0.35
        )
        np.testing.assert_array_equal(live.votes, whole.votes)


def test_covariances_asked_for_after_votes_are_those_asked_for_before() -> None:
    truth = np.random.default_rng(8).normal(size=40)
    begun = fit(40, simulated(truth, 200))
    early, late = Live(begun), Live(begun)
    members = np.arange(0, 40, 2)
    early.covariance(members)
    early.rate(4, 5)
    late.rate(4, 5)
    first, then = early.covariance(members), late.covariance(members)
    assert first is not None
    assert then is not None
    np.testing.assert_allclose(first, then, rtol=0.05, atol=1e-3)


def test_stars_between_refits_move_a_score_towards_them() -> None:
    live = Live(fit(3, PairVotes.of([])))
    live.rate(0, 5)
    live.rate(1, 1, curator=7)  # who has not voted before
    assert live.mean[0] > 0.5
    assert live.mean[1] < -0.5
    assert live.variance[0] < live.variance[2]


def test_ten_thousand_pictures_are_fitted_in_no_time() -> None:
    truth = np.random.default_rng(9).normal(size=10_000) * 1.5
    votes = simulated(truth, 50_000)
    begun = time.process_time()
    scores = fit(10_000, votes)
    assert time.process_time() - begun < 5
    assert rank_correlation(scores.mean, truth) > 0.83
