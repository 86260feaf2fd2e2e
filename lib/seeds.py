"""Every random stream: one per purpose and trial, of weights and dropout one per layer too."""

import numpy as np

# Numbers in the seeds: written down once, never reused. No architecture, worker or stack is in a seed, so trial 17 of
# two architectures sees the same pairs in the same order, and their difference is a paired one.
PURPOSES = {
    "data": 0,  # which digits are paired
    "weights": 1,  # initial ones; of a plain module all that torch draws while it is made
    "order": 2,  # of the training pairs
    "dropout": 3,  # masks; of a plain module all that torch draws while it is trained
    "pairing": 4,  # of digits that are used more than once
    "final": 5,  # all test digits paired anew, for a last and sharper score
}


def generator(seed: int, trial: int, purpose: str, layer: str = "") -> np.random.Generator:
    """Return the random stream of one purpose of one trial; weights and dropout have one per layer."""
    return np.random.default_rng(np.random.SeedSequence([seed, trial, PURPOSES[purpose], *layer.encode()]))
