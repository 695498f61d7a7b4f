"""Agreement of curators on known cases, and the outlook of an order on simulated ones."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from curation_app.ranking import LEFT, RIGHT, TIE, Live, PairVotes, fit, next_pair
from curation_app.ranking.agreement import (
    Share,
    between_curators,
    consistency,
    overall_kappa,
    with_order,
)
from curation_app.ranking.stability import STABLE, Outlook, outlook
from curation_app.ranking.votes import Floats

Row = tuple[int, int, int, int]


def test_a_share_comes_with_wilsons_interval() -> None:
    # Wilson's interval for 8 of 10, as tables give it.
    share = Share(cases=10, hits=8)
    assert share.value == 0.8
    assert share.interval == pytest.approx((0.490, 0.943), abs=5e-4)
    assert Share(cases=0, hits=0).interval is None
    assert Share(cases=0, hits=0).value is None
    none_of_five = Share(cases=5, hits=0).interval
    assert none_of_five is not None
    assert none_of_five[0] == 0


def test_consistency_counts_repeats_whatever_their_sides() -> None:
    rows: list[Row] = [
        (0, 1, LEFT, 0),
        (2, 3, RIGHT, 0),
        (4, 5, TIE, 0),
        (1, 0, RIGHT, 0),  # alike: 0 is better again
        (3, 2, RIGHT, 0),  # not alike
        (5, 4, TIE, 0),  # alike
        (6, 7, LEFT, 0),
    ]
    found = consistency(PairVotes.of(rows))
    assert (found.alike.cases, found.alike.hits) == (3, 2)
    assert (found.left.cases, found.left.hits) == (5, 2)
    assert not found.biased


def test_a_third_answer_is_compared_with_the_second() -> None:
    rows: list[Row] = [(0, 1, LEFT, 0), (0, 1, RIGHT, 0), (1, 0, LEFT, 0)]
    assert consistency(PairVotes.of(rows)).alike == Share(cases=2, hits=1)


def test_who_always_clicks_left_is_biased() -> None:
    rows: list[Row] = [(number, number + 1, LEFT, 0) for number in range(12)]
    found = consistency(PairVotes.of(rows))
    assert found.biased
    assert found.left.value == 1
    assert found.alike.value is None


def test_no_votes_say_nothing() -> None:
    nothing = PairVotes.of([])
    assert consistency(nothing).alike.interval is None
    assert list(between_curators(nothing)) == []
    assert overall_kappa(nothing) is None
    assert with_order(nothing, np.zeros(0), np.zeros(0)).expected is None


def test_agreement_between_curators_is_corrected_for_chance() -> None:
    mine: list[Row] = [(number, number + 20, LEFT, 0) for number in range(10)]
    # The second answers seven alike, sides swapped, and shares no other pair.
    theirs: list[Row] = [
        (number + 20, number, RIGHT if number < 7 else LEFT, 1) for number in range(10)
    ]
    alone: list[Row] = [(50, 51, LEFT, 2)]
    (found,) = between_curators(PairVotes.of([*mine, *theirs, *alone]))
    assert found.curators == (0, 1)
    assert found.alike == Share(cases=10, hits=7)
    assert found.kappa == pytest.approx((0.7 - 0.5) / 0.5)


def test_who_only_ties_agrees_by_chance_alone() -> None:
    rows: list[Row] = [(one, one + 9, TIE, curator) for one in range(5) for curator in (0, 1)]
    (found,) = between_curators(PairVotes.of(rows))
    assert found.alike.value == 1
    assert found.kappa is None


def test_alpha_is_one_for_full_and_about_zero_for_random_answers() -> None:
    rng = np.random.default_rng(0)
    pairs = [(one, one + 500) for one in range(300)]
    alike: list[Row] = [(*pair, LEFT, curator) for pair in pairs for curator in range(3)]
    random: list[Row] = [
        (*pair, int(rng.choice([LEFT, RIGHT])), curator) for pair in pairs for curator in range(3)
    ]
    assert overall_kappa(PairVotes.of(alike)) == pytest.approx(1)
    assert overall_kappa(PairVotes.of(random)) == pytest.approx(0, abs=0.08)
    assert overall_kappa(PairVotes.of([(0, 1, LEFT, 0), (2, 3, LEFT, 1)])) is None


def test_alpha_of_a_case_worked_out_by_hand() -> None:
    # Four answers to two pairs, one pair alike: observed 1/2, by chance (2·2² - 4)/(4·3) = 1/3.
    rows: list[Row] = [(0, 1, LEFT, 0), (0, 1, LEFT, 1), (2, 3, LEFT, 0), (2, 3, RIGHT, 1)]
    assert overall_kappa(PairVotes.of(rows)) == pytest.approx((1 / 2 - 1 / 3) / (1 - 1 / 3))


def test_a_curator_is_held_against_the_order_and_what_it_lets_expect() -> None:
    mean, variance = np.array([4.0, 0.0, 0.0]), np.zeros(3) + 1e-6
    sure = with_order(PairVotes.of([(0, 1, LEFT, 0), (2, 0, RIGHT, 0)]), mean, variance)
    assert sure.alike == Share(cases=2, hits=2)
    assert sure.expected == pytest.approx(1 / (1 + np.exp(-4)), abs=1e-3)
    wrong = with_order(PairVotes.of([(0, 1, RIGHT, 0), (1, 2, TIE, 0)]), mean, variance)
    assert wrong.alike == Share(cases=1, hits=0)


def answered(truth: Floats, rng: np.random.Generator) -> Row:
    left, right = rng.choice(len(truth), 2, replace=False).tolist()
    won = rng.random() < 1 / (1 + np.exp(truth[right] - truth[left]))
    return left, right, LEFT if won else RIGHT, 0


def told(live: Live) -> Outlook:
    votes = live.votes.astype(np.float64)
    return outlook(live.mean, live.variance, votes, spread=live.scores.spread)


@pytest.mark.parametrize("each", [4, 12, 40])
def test_the_expected_correlation_is_the_real_one(each: int) -> None:
    expected, real = [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        truth = rng.normal(size=300) * 1.5
        scores = fit(300, PairVotes.of([answered(truth, rng) for _ in range(150 * each)]))
        expected.append(told(Live(scores)).correlation)
        real.append(float(spearmanr(scores.mean, truth).statistic))
    assert np.mean(expected) == pytest.approx(np.mean(real), abs=0.05)


def test_the_votes_still_needed_are_about_those_that_it_takes() -> None:
    rng = np.random.default_rng(3)
    truth = rng.normal(size=96) * 2
    rows: list[Row] = []
    live = Live(fit(96, PairVotes.of(rows)))
    forecasts: dict[int, int] = {}
    while True:
        if len(rows) % 48 == 0:
            live = Live(fit(96, PairVotes.of(rows)))
            now = told(live)
            if now.comparisons_needed == 0:
                break
            forecasts[len(rows)] = len(rows) + now.comparisons_needed
        pair = next_pair(live, np.arange(96), rng)
        assert pair is not None
        won = rng.random() < 1 / (1 + np.exp(truth[pair[1]] - truth[pair[0]]))
        rows.append((*pair, LEFT if won else RIGHT, 0))
        live.compare(*rows[-1])
    assert spearmanr(live.mean, truth).statistic > STABLE - 0.03
    # The day is foreseen to within a factor of two and a half, and late to within two fifths.
    assert all(len(rows) / 2.5 < when < len(rows) * 2.5 for when in forecasts.values())
    late = [when for asked, when in forecasts.items() if asked > 0.6 * len(rows)]
    assert late
    assert late == pytest.approx([len(rows)] * len(late), rel=0.4)


def test_the_outlook_of_nothing_is_settled_and_of_no_votes_is_long() -> None:
    assert outlook(np.zeros(1), np.ones(1), np.zeros(1), spread=1.0).comparisons_needed == 0
    prior, none = np.full(50, 2.25), np.zeros(50)
    begun = outlook(np.zeros(50), prior, none, spread=1.5)
    assert begun.correlation < 0.3
    assert begun.comparisons_needed > 50 * 5
    assert begun == outlook(np.zeros(50), prior, none, spread=1.5)
    half = np.where(np.arange(50) < 25, 2.25, 0.1)
    known = outlook(np.linspace(-3, 3, 50), half, np.where(half < 1, 50.0, 0.0), spread=1.5)
    assert known.comparisons_needed < 0.7 * begun.comparisons_needed
