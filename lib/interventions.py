"""Networks that ask why: each takes one of the original's apart, or changes what its comparison may read.

Known by name beside the four of the original (`lib.registry`), and trained as they are; the statements that they test
are in report/preregistration.md.
"""

import math

import torch
from torch import Tensor, nn

from lib.architectures import CAUX, Network, Sizes, extractor, head
from lib.layers import Dropout, Flatten, Linear
from lib.tasks import CLASSES, COMPARISON


def classifier(sizes: Sizes) -> nn.Sequential:
    """Build CAUX's class head: `[trials, n, 32, 2, 2]` to `[trials, n, outputs]`."""
    return head(sizes, sizes.maps, (sizes.auxiliary_hidden,), CLASSES, "auxiliary")


def reader(sizes: Sizes, numbers: int) -> nn.Sequential:
    """Build a comparison that reads so many numbers of each digit: `[trials, batch, 2 numbers]` in."""
    return head(sizes, (2 * numbers, 1, 1), sizes.hidden, COMPARISON, "answer")


def by_pair(digits: Tensor) -> Tensor:
    """Return digits `[trials, 2 batch, ...]` by their pairs, `[trials, batch, 2, ...]`."""
    paired: Tensor = digits.unflatten(1, (-1, 2))
    return paired


def features(sizes: Sizes) -> int:
    """Return how many features the extractor makes of a digit."""
    return math.prod(sizes.maps)


def named(outputs: Tensor, sizes: Sizes) -> Tensor:
    """Return what a class head says, `[trials, n, outputs, ...]`, as something to read: shares that sum to one.

    As it is where its Sigmoid has bounded it, or where it is a single output.
    """
    return outputs if sizes.sigmoid_of("auxiliary") or not sizes.one_hot else outputs.softmax(2)


class NAMES(Network):
    """A class bottleneck: all that the comparison reads of a digit is what the class head says of it."""

    heads = {"answer": COMPARISON, "auxiliary": CLASSES}  # noqa: RUF012

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.extract = extractor(sizes)  # [trials, batch, 2, 1, 14, 14] -> [trials, batch, 2, 32, 2, 2]
        self.auxiliary = classifier(sizes)
        self.compare = reader(sizes, sizes.outputs(CLASSES))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Say which digits they are, and compare what was said."""
        maps = self.extract(images.unsqueeze(3))
        classes = self.auxiliary(maps.flatten(1, 2))
        read = by_pair(named(classes, self.sizes)).flatten(2, 3)
        return {"answer": self.compare(read), "auxiliary": by_pair(classes)}


class NARROW(Network):
    """As narrow as the class bottleneck, without its meaning: ten numbers of a further head, the class head apart."""

    heads = {"answer": COMPARISON, "auxiliary": CLASSES}  # noqa: RUF012

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.extract = extractor(sizes)
        self.auxiliary = classifier(sizes)
        self.narrow = classifier(sizes)  # the same shape
        self.compare = reader(sizes, sizes.outputs(CLASSES))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Compare ten numbers of each digit, and say beside it which digits they are."""
        digits = self.extract(images.unsqueeze(3)).flatten(1, 2)
        read = by_pair(named(self.narrow(digits), self.sizes)).flatten(2, 3)
        return {"answer": self.compare(read), "auxiliary": by_pair(self.auxiliary(digits))}


class SIDE(Network):
    """CAUX with a Linear layer before its comparison, to `width` numbers per digit, and dropout in its heads.

    With the standard `width`, that of the features, it is as deep and narrows nothing.
    """

    heads = {"answer": COMPARISON, "auxiliary": CLASSES}  # noqa: RUF012
    reads = (*Network.reads, "width", "dropout", "auxiliary_dropout")

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.extract = extractor(sizes)
        self.read = nn.Sequential(Flatten(sizes.maps), Linear(sizes.trials, features(sizes), sizes.width))
        self.compare = dropping(reader(sizes, sizes.width), sizes.trials, sizes.dropout)
        self.auxiliary = dropping(classifier(sizes), sizes.trials, sizes.auxiliary_dropout)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Compare the digits of each pair, and say which digits they are."""
        digits = self.extract(images.unsqueeze(3)).flatten(1, 2)
        read = by_pair(self.read(digits)).flatten(2, 3)
        return {"answer": self.compare(read), "auxiliary": by_pair(self.auxiliary(digits))}


def dropping(layers: nn.Sequential, trials: int, p: float) -> nn.Sequential:
    """Return a head with dropout behind each hidden layer's ReLU; of probability 0 too: it changes no layer's name."""
    found: list[nn.Module] = []
    for layer in layers:
        found += [layer, Dropout(trials, p)] if isinstance(layer, nn.ReLU) else [layer]
    return nn.Sequential(*found)


class DIAL(CAUX):
    """CAUX in which the spread of the features within a class can be set before the comparison reads them.

    Instead of the features h of a digit it reads c + `spread` (h - c), rescaled to the variance of h, where c is the
    mean feature of the training digits that the class head gives the same name; or, with `centres`, of those that are
    nearest to the same centre as h: no label is used. The means are collected while the network trains with a frozen
    extractor (settings `first`, `first_epochs`, `frozen`); before that the features pass as they are.
    """

    reads = (*Network.reads, "spread", "centres")

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.centres = Centres(sizes.trials, sizes.centres or CLASSES.classes, features(sizes))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Compare the digits of each pair, and say which digits they are.

        Raises ValueError for larger images: centres are of whole digits.
        """
        maps = self.extract(images.unsqueeze(3))
        if maps.shape[3:] != self.sizes.maps:
            raise ValueError(f"images is {list(images.shape)}; allowed: 14x14 pixels, as centres are of whole digits")
        classes = self.auxiliary(maps.flatten(1, 2))
        features = maps.flatten(3).flatten(1, 2)  # [trials, 2 batch, 128]
        with torch.no_grad():
            collecting = self.training and not self.extract.training
            if collecting and self.sizes.centres:
                self.centres.begin(features)
            groups = self.centres.nearest(features) if self.sizes.centres else classes.flatten(2).max(2).indices
            if collecting:
                self.centres.collect(features, groups)
        read = self.centres.pull(features, groups, self.sizes.spread).view(maps.shape)
        return {"answer": self.compare(read.flatten(2, 3)), "auxiliary": by_pair(classes)}


class Centres(nn.Module):
    """Means of groups of features, collected as they pass: `groups` of `[trials, n, features]`."""

    count: Tensor
    total: Tensor
    squares: Tensor

    def __init__(self, trials: int, groups: int, features: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(trials, groups))
        self.register_buffer("total", torch.zeros(trials, groups, features))
        self.register_buffer("squares", torch.zeros(trials))  # sum of the squared norms of all features

    @property
    def overall(self) -> Tensor:
        """Mean of all features, `[trials, features]`; 0 where nothing was collected yet."""
        return self.total.sum(1) / self.count.sum(1).clamp(min=1)[:, None]

    @property
    def means(self) -> Tensor:
        """Mean of each group `[trials, groups, features]`; of one that was never seen the mean of all."""
        own = self.total / self.count.clamp(min=1)[..., None]
        return torch.where(self.count[..., None] > 0, own, self.overall[:, None])

    def begin(self, features: Tensor) -> None:
        """Let the first features be the centres, where nothing was collected yet."""
        if not self.count.any():
            first = features[:, : self.count.shape[1]]
            places = torch.arange(first.shape[1], device=first.device)
            self.collect(first, places.expand(first.shape[:2]))

    def nearest(self, features: Tensor) -> Tensor:
        """Return the group whose mean is nearest, `[trials, n]`: with `collect`, mini-batch k-means (Sculley 2010)."""
        means = self.means
        distances = means.square().sum(2)[:, None] - 2 * features @ means.mT  # + the features' own: the same for all
        return distances.min(2).indices

    def collect(self, features: Tensor, groups: Tensor) -> None:
        """Add features to their groups, `[trials, n]`."""
        self.count.scatter_add_(1, groups, torch.ones_like(groups, dtype=self.count.dtype))
        self.total.scatter_add_(1, groups[..., None].expand_as(features), features)
        self.squares += features.square().sum((1, 2))

    def pull(self, features: Tensor, groups: Tensor, spread: float) -> Tensor:
        """Bring features to `spread` times their distance from their group's mean, the whole to its former variance.

        As they are where nothing was collected yet.
        """
        if not self.count.any():
            return features
        means, overall, n = self.means, self.overall, self.count.sum(1)
        whole = self.squares / n - overall.square().sum(1)
        between = (self.count * (means - overall[:, None]).square().sum(2)).sum(1) / n
        left = between + spread**2 * (whole - between)
        scale = torch.where(left > 1e-6 * whole, whole / left, 1.0).sqrt()  # of a single group nothing may be left
        centres = means.gather(1, groups[..., None].expand_as(features))
        return scale[:, None, None] * (centres + spread * (features - centres))
