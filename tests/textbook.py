"""The protocol as a textbook writes it: one network, one trial, plain PyTorch, nothing of lib's layers or Teacher.

What the stacks of trials are compared with, for equality in the tests and for time in the benchmark.
"""

import torch
from torch import nn


def block(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, bias=False), nn.BatchNorm2d(outputs), nn.MaxPool2d(2), nn.ReLU())


def head(maps, hidden, outputs, sigmoid, convolutional):
    """A classifier on maps of 2x2, as Linear layers or as convolutions that cover their input."""
    sizes = [*hidden, outputs]
    layers = [] if convolutional else [nn.Flatten()]
    inputs, kernel = maps, 2
    for i, size in enumerate(sizes):
        layers.append(nn.Conv2d(inputs, size, kernel) if convolutional else nn.Linear(inputs * kernel * kernel, size))
        layers += [nn.ReLU()] if i + 1 < len(sizes) else [nn.Sigmoid()] if sigmoid else []
        inputs, kernel = size, 1
    return nn.Sequential(*layers)


class Textbook(nn.Module):
    """SN, WSN, SAUX or CAUX, for one trial: `[batch, 2, 14, 14]` to an answer and what the auxiliary head says."""

    def __init__(self, architecture, convolutional=False, one_hot=True, sigmoid=True):
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

    def forward(self, images):
        second = self.extract_second if self.architecture == "SN" else self.extract
        one, two = self.extract(images[:, :1]), second(images[:, 1:])  # one after the other
        both = torch.cat([one, two], dim=1)
        auxiliary = []
        if self.architecture == "SAUX":
            auxiliary = [self.auxiliary(both).flatten(1)]
        if self.architecture == "CAUX":
            auxiliary = [self.auxiliary(one).flatten(1), self.auxiliary(two).flatten(1)]
        return self.compare(both).flatten(1), auxiliary

    def losses(self, images, target, digits):
        """The loss of the answer, and the auxiliary one (of CAUX: the mean over both digits) or None."""
        answer, auxiliary = self(images)
        if self.one_hot:
            criterion = nn.CrossEntropyLoss()
            digit_targets = [digits[:, 0], digits[:, 1]]
        else:
            mse = nn.MSELoss()
            criterion = lambda outputs, wanted: mse(outputs[:, 0], wanted)  # noqa: E731
            target = target.to(images.dtype)
            digit_targets = [digits[:, 0].to(images.dtype) / 9, digits[:, 1].to(images.dtype) / 9]
        if not auxiliary:
            return criterion(answer, target), None
        if self.architecture == "SAUX":
            return criterion(answer, target), criterion(auxiliary[0], target)
        return criterion(answer, target), sum(map(criterion, auxiliary, digit_targets)) / 2


def copy_trial(stack, textbook, trial):
    """Give `textbook` the weights of one trial of a stack in the same form, by the names of the parts."""
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
            layer = int(layer) - shift if mixed_stack else int(layer)
            state[f"{part}.{layer}.{kind}"] = value[trial].clone()
    wanted = textbook.state_dict()
    for name, value in state.items():
        state[name] = value.reshape(wanted[name].shape)  # a covering kernel is the matrix's row, folded
    textbook.load_state_dict(state, strict=False)  # BatchNorm2d also counts its batches
    missing = {name for name in wanted if "num_batches" not in name} - set(state)
    assert not missing, missing


def make_optimizer(model, name, learning_rate, momentum):
    if name == "adam":
        return torch.optim.Adam(model.parameters(), lr=learning_rate)
    return torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=momentum)


def train_epoch(model, optimizer, images, target, digits, order, batch_size, auxiliary_weight):
    """One epoch in the given order; returns the mean training loss of the answer."""
    model.train()
    total = 0.0
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        optimizer.zero_grad()
        loss, auxiliary = model.losses(images[rows], target[rows], digits[rows])
        (loss if auxiliary is None else loss + auxiliary_weight * auxiliary).backward()
        optimizer.step()
        total += loss.item() * len(rows)
    return total / len(order)


@torch.no_grad()
def test(model, images, target):
    """Number of right answers in evaluation mode."""
    model.eval()
    answer, _ = model(images)
    decision = answer.argmax(1) if model.one_hot else (answer[:, 0] >= 0.5).long()
    return int((decision == target).sum())
