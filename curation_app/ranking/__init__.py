"""Scores from votes, the next pair to ask for, and how far curators agree: arrays in, arrays out.

scores = fit(pictures, PairVotes.of(log), StarVotes.of(stars))   # after a start, and now and then
live = Live(scores)                                              # between refits
left, right = next_pair(live, members, rng)                      # members: one class
live.compare(left, right, RIGHT)

Pictures and curators are numbers from 0. No database, no Flask, and nothing random but what the
caller's generator draws.
"""

from curation_app.ranking.live import Live
from curation_app.ranking.model import Habits, Scores, fit
from curation_app.ranking.pairing import next_pair
from curation_app.ranking.votes import LEFT, RIGHT, TIE, PairVotes, StarVotes

__all__ = [
    "LEFT",
    "RIGHT",
    "TIE",
    "Habits",
    "Live",
    "PairVotes",
    "Scores",
    "StarVotes",
    "fit",
    "next_pair",
]
