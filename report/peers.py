"""Networks of other people's as they would write them: plain `torch.nn` modules that know nothing of stacks of trials.

The two here are the twin LeNets of A. Zadoks' solution of the same course project (EPFL, Deep Learning, EE-559, 2021;
github.com/azadoks/EE-559, `miniproject/Proj1` and the report in it), told in our own code. He crosses weight sharing
with a loss on the classes of the digits, which makes four systems of two networks: without that loss, the classes are
still what the comparison reads, only nobody says which they should be (`auxiliary_weight=0`).

His protocol: 1,000 training and 1,000 test pairs, 25 epochs, batches of 128, Adam with learning rate 0.01 and nothing
else (no decay, no schedule); pixels as they are, 0 to 255, and the pairs in the same order in every epoch. The loss is
the plain sum of three cross-entropies: of the comparison and of either digit's class. Ours takes the mean over the
digits, so his is `auxiliary_weight=2`. He reports the test error after the last epoch, in percent, mean ± standard
deviation over 32 rounds:

| | no loss on the classes | loss on the classes |
|:--|--:|--:|
| a network per digit | 16.7 ± 1.7 | 6.6 ± 0.8 |
| one network for both | 12.7 ± 1.6 | 5.0 ± 0.9 |
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from lib.tasks import CLASSES, COMPARISON, Task

DIGITS = CLASSES.classes
DROPPED = 0.25  # of the hidden values


def hidden(inputs: int, outputs: int) -> nn.Sequential:
    """Return a hidden layer with batch normalisation and, in training, dropout."""
    return nn.Sequential(nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU(), nn.Dropout(DROPPED))


def lenet() -> nn.Sequential:
    """Return a small LeNet, `[batch, 1, 14, 14]` -> `[batch, 10]`: 9,322 parameters."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.AvgPool2d(2)),  # to 6 x 6
        nn.Sequential(nn.Conv2d(16, 32, 3), nn.ReLU(), nn.AvgPool2d(2)),  # to 2 x 2
        nn.Flatten(),
        hidden(128, 32),
        nn.Linear(32, DIGITS),
    )


def comparer() -> nn.Sequential:
    """Return what compares two digits by their class outputs, `[batch, 20]` -> `[batch, 2]`: 252 parameters."""
    return nn.Sequential(nn.ReLU(), hidden(2 * DIGITS, 10), nn.Linear(10, COMPARISON.classes))


class TwinLeNet(nn.Module):
    """A LeNet of its own for each digit, and a comparison that reads nothing but their class outputs.

    Maps `[batch, 2, 14, 14]` to the answer `[batch, 2]` and the classes of the digits `[batch, 2, 10]`, without Sigmoid
    or softmax: 18,896 parameters.
    """

    heads: ClassVar[Mapping[str, Task]] = {"answer": COMPARISON, "digits": CLASSES}

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.compare = lenet(), lenet(), comparer()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Say which digits they are, and compare them by that."""
        digits = torch.stack([self.first(images[:, :1]), self.second(images[:, 1:])], dim=1)
        return {"answer": self.compare(digits.flatten(1)), "digits": digits}


class SharedLeNet(nn.Module):
    """One LeNet that reads both digits, and the same comparison of its outputs: 9,574 parameters.

    It reads first digits and second digits one after the other, so batch normalisation takes each by themselves.
    """

    heads: ClassVar[Mapping[str, Task]] = TwinLeNet.heads

    def __init__(self) -> None:
        super().__init__()
        self.both, self.compare = lenet(), comparer()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Say which digits they are, and compare them by that."""
        digits = torch.stack([self.both(images[:, :1]), self.both(images[:, 1:])], dim=1)
        return {"answer": self.compare(digits.flatten(1)), "digits": digits}
