"""Every random stream: one per purpose and trial, of the weights one per layer too."""

import numpy as np

# Numbers in the seeds: written down once, never reused. No architecture, worker or stack is in a seed, so trial 17 of
# two architectures sees the same pairs in the same order, and their difference is a paired one.
PURPOSES = {"data": 0, "weights": 1, "order": 2}


def generator(seed: int, trial: int, purpose: str, layer: str = "") -> np.random.Generator:
    """Return the random stream of one purpose ("data", "weights", "order") of one trial; weights have one per layer."""
    return np.random.default_rng(np.random.SeedSequence([seed, trial, PURPOSES[purpose], *layer.encode()]))
