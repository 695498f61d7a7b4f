"""Seeds for everything random: functions of what a draw is for, never of what was drawn before."""

import numpy as np


def mixed_seed(*parts: int) -> int:
    """One 63-bit seed from several numbers; near numbers give unrelated seeds."""
    state = np.random.SeedSequence(parts).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
