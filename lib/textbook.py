"""The protocol as a textbook writes it: one network, one trial, plain PyTorch. The first page of the project.

It imports nothing of ours, and says all that is done: what the networks are, how they learn, how they are scored. The
stacks of trials are compared with it, for equality in the tests and for time in the benchmark.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Return a convolution block: no padding, and no bias, which batch normalisation would cancel."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, bias=False), nn.BatchNorm2d(outputs), nn.MaxPool2d(2), nn.ReLU())


def head(maps: int, hidden: Sequence[int], outputs: int, sigmoid: bool, convolutional: bool) -> nn.Sequential:
    """Return a classifier on maps of 2x2, as Linear layers or as convolutions that cover their input."""
    sizes = [*hidden, outputs]
    layers: list[nn.Module] = [] if convolutional else [nn.Flatten()]
    inputs, kernel = maps, 2
    for i, size in enumerate(sizes):
        layers.append(nn.Conv2d(inputs, size, kernel) if convolutional else nn.Linear(inputs * kernel * kernel, size))
        layers += [nn.ReLU()] if i + 1 < len(sizes) else [nn.Sigmoid()] if sigmoid else []
        inputs, kernel = size, 1
    return nn.Sequential(*layers)


class Textbook(nn.Module):
    """SN, WSN, SAUX or CAUX (original report, section 1.2), for one trial.

    Maps `[batch, 2, 14, 14]` to the answer `[batch, outputs]` and what the auxiliary head says, once for each time it
    is called: not at all (SN, WSN), once (SAUX) or once per digit (CAUX).
    """

    def __init__(
        self, architecture: str, convolutional: bool = False, one_hot: bool = True, sigmoid: bool = True
    ) -> None:
        super().__init__()
        self.architecture, self.one_hot = architecture, one_hot
        outputs, classes = (2, 10) if one_hot else (1, 1)
        self.extract = nn.Sequential(block(1, 16), block(16, 32))
        if architecture == "SN":
            self.extract_second = nn.Sequential(block(1, 16), block(16, 32))
        self.compare = head(64, (64, 64, 32), outputs, sigmoid, convolutional)
        if architecture == "SAUX":
            self.auxiliary = head(64, (64,), outputs, sigmoid, convolutional)
        if architecture == "CAUX":
            self.auxiliary = head(32, (64,), classes, sigmoid, convolutional)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Compare the digits of each pair."""
        second = self.extract_second if self.architecture == "SN" else self.extract
        one, two = self.extract(images[:, :1]), second(images[:, 1:])  # one after the other
        both = torch.cat([one, two], dim=1)
        auxiliary = []
        if self.architecture == "SAUX":
            auxiliary = [self.auxiliary(both).flatten(1)]
        if self.architecture == "CAUX":
            auxiliary = [self.auxiliary(one).flatten(1), self.auxiliary(two).flatten(1)]
        return self.compare(both).flatten(1), auxiliary

    def losses(self, images: Tensor, target: Tensor, classes: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the loss of the answer, and the auxiliary one (of CAUX: the mean over both digits) or None."""
        answer, auxiliary = self(images)
        criterion: Callable[[Tensor, Tensor], Tensor]
        if self.one_hot:
            criterion = nn.CrossEntropyLoss()
            wanted = [classes[:, 0], classes[:, 1]]
        else:
            mse = nn.MSELoss()
            criterion = lambda outputs, wanted: mse(outputs[:, 0], wanted)  # noqa: E731
            target = target.to(images.dtype)
            wanted = [classes[:, 0].to(images.dtype) / 9, classes[:, 1].to(images.dtype) / 9]
        if not auxiliary:
            return criterion(answer, target), None
        if self.architecture == "SAUX":
            return criterion(answer, target), criterion(auxiliary[0], target)
        return criterion(answer, target), (criterion(auxiliary[0], wanted[0]) + criterion(auxiliary[1], wanted[1])) / 2


def make_optimizer(model: nn.Module, name: str, learning_rate: float, momentum: float) -> torch.optim.Optimizer:
    """Return Adam, or SGD with or without momentum."""
    if name == "adam":
        return torch.optim.Adam(model.parameters(), lr=learning_rate)
    return torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=momentum)


def train_epoch(
    model: Textbook,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    target: Tensor,
    classes: Tensor,
    order: Tensor,
    batch_size: int,
    auxiliary_weight: float,
) -> float:
    """Train for one epoch on `images` `[n, 2, 14, 14]` in the given order; return the mean loss of the answer."""
    model.train()
    total = 0.0
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        optimizer.zero_grad()
        loss, auxiliary = model.losses(images[rows], target[rows], classes[rows])
        whole = loss if auxiliary is None else loss + auxiliary_weight * auxiliary
        whole.backward()
        optimizer.step()
        total += loss.item() * len(rows)
    return total / len(order)


@torch.no_grad()
def test(model: Textbook, images: Tensor, target: Tensor) -> int:
    """Return the number of right answers in evaluation mode; the auxiliary head has no say."""
    model.eval()
    answer, _ = model(images)
    decision = answer.argmax(1) if model.one_hot else (answer[:, 0] >= 0.5).long()
    return int((decision == target).sum())


def copy_trial(stack: nn.Module, textbook: Textbook, trial: int) -> None:
    """Give `textbook` the weights of one trial of a stack of trials in the same form, by the names of the parts."""
    names = {"weight": "0.weight", "gamma": "1.weight", "beta": "1.bias"}
    names |= {"running_mean": "1.running_mean", "running_var": "1.running_var"}
    shift = 0 if isinstance(textbook.compare[0], nn.Flatten) else 1  # the convolutional form has no Flatten in front
    mixed_stack = "compare.1.weight" in stack.state_dict()
    state = {}
    for name, value in stack.state_dict().items():
        part, layer, kind = name.split(".")
        if part.startswith("extract"):
            state[f"{part}.{layer}.{names[kind]}"] = value[trial].clone()
        else:
            place = int(layer) - shift if mixed_stack else int(layer)
            state[f"{part}.{place}.{kind}"] = value[trial].clone()
    wanted = textbook.state_dict()
    for name, value in state.items():
        state[name] = value.reshape(wanted[name].shape)  # a covering kernel is the matrix's row, folded
    textbook.load_state_dict(state, strict=False)  # BatchNorm2d also counts its batches
    missing = {name for name in wanted if "num_batches" not in name} - set(state)
    assert not missing, missing
