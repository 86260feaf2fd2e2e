"""A public network of the same course's task in which class labels are known to pay, as a plain `torch.nn` module.

AuxNet2 of github.com/zenhaeus/ee559-dl-projects (`Proj1/src/model.py`), as they chose it at last: channels 32, 32 and
64, 256 hidden units, 25 epochs, batches of 50, Adam with learning rate 0.005, and the plain sum of three cross-
entropies, of the comparison and of either digit's class; ours takes the mean over the digits, so theirs is
`auxiliary_weight=2`. Its comparison reads features beside a class head, as CAUX's does, but no output has a Sigmoid,
every Linear layer is behind a dropout of 0.5, and what is read is narrow: 64 numbers per digit. They keep the pairs
in one order, and publish `PUBLISHED` (`Proj1/output/batch_sizes/AuxNet2`, the last of 25 values of five rounds).

Experiments are keyed by the bytes of this file, so it is left as it is.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from lib.tasks import CLASSES, COMPARISON, Task

PUBLISHED = "94.7 ± 0.7"  # what the authors publish: percent, mean ± standard deviation over 5 rounds


class PooledFeatures(nn.Module):
    """One extractor for both digits, pooled to 64 features each, which a class head and a comparison read side by side.

    Maps `[batch, 2, 14, 14]` to the answer `[batch, 2]` and the classes of the digits `[batch, 2, 10]`: 70,572
    parameters.
    """

    heads: ClassVar[Mapping[str, Task]] = {"answer": COMPARISON, "auxiliary": CLASSES}

    def __init__(self) -> None:
        super().__init__()
        self.extract = nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),  # to 6 x 6
            nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),  # to 3 x 3
            nn.Sequential(nn.Conv2d(32, 64, 2, padding=1), nn.ReLU(), nn.MaxPool2d(3)),  # to 4 x 4, and to 1 x 1
            nn.Flatten(),
        )
        self.name, self.compare = dropped(64, 256, CLASSES.classes), dropped(2 * 64, 256, COMPARISON.classes)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Compare two digits by their features, and say from the same features which they are."""
        features = torch.stack([self.extract(images[:, :1]), self.extract(images[:, 1:])], dim=1)
        return {"answer": self.compare(features.flatten(1)), "auxiliary": self.name(features)}


def dropped(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Return two Linear layers, each of which misses half of what it reads in training."""
    return nn.Sequential(
        nn.Dropout(0.5), nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, outputs)
    )
