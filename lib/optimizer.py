"""SGD and Adam, by the functions of torch.optim.

Its classes do the same, but first import the machinery of torch.compile: a second and 150 MB in every worker.
"""

from collections.abc import Iterable

import torch
from torch.optim.adam import adam
from torch.optim.sgd import sgd

OPTIMIZERS = ("sgd", "adam")


class Optimizer:
    """Changes parameters along their gradients, each number by itself: on a stack, as one optimizer per trial.

    Both start as `torch.optim.SGD` and `torch.optim.Adam` do, whose defaults hold for what is not named here.
    """

    def __init__(
        self, parameters: Iterable[torch.nn.Parameter], name: str, learning_rate: float, momentum: float = 0.0
    ) -> None:
        """Take the parameters to change; `momentum` is SGD's. Raises ValueError for another name."""
        if name not in OPTIMIZERS:
            raise ValueError(f"optimizer is {name!r}; allowed: {', '.join(map(repr, OPTIMIZERS))}")
        self.parameters, self.name, self.learning_rate, self.momentum = [*parameters], name, learning_rate, momentum
        moments = 2 if name == "adam" else 1 if momentum else 0
        self.moments = [[torch.zeros_like(p) for p in self.parameters] for _ in range(moments)]
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Change all parameters that have a gradient."""
        used = [i for i, parameter in enumerate(self.parameters) if parameter.grad is not None]
        parameters, steps, *moments = ([each[i] for i in used] for each in (self.parameters, self.steps, *self.moments))
        gradients = [parameter.grad for parameter in parameters]
        common = {"lr": self.learning_rate, "weight_decay": 0.0, "maximize": False, "fused": True}
        if self.name == "adam":
            adam(parameters, gradients, *moments, [], steps, amsgrad=False, beta1=0.9, beta2=0.999, eps=1e-8, **common)
        else:
            buffers = moments[0] if moments else [None] * len(used)
            sgd(parameters, gradients, buffers, momentum=self.momentum, dampening=0.0, nesterov=False, **common)
