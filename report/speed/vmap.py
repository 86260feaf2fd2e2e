"""The rival that PyTorch itself offers: plain networks side by side by `torch.func`."""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from lib.pairs import Pairs
from lib.tasks import COMPARISON
from lib.teacher import TEST_BATCH


class VmapStack:
    """Plain networks side by side by `stack_module_state`, `functional_call`, `grad` and `vmap`.

    For networks that return one answer with an output per class. Batch normalisation is not changed: within `vmap` each
    network normalises by its own batch, per call of the extractor (so per digit), and updates its slice of the stacked
    running statistics in place, as it does alone.
    """

    def __init__(self, networks: Sequence[nn.Module], learning_rate: float) -> None:
        self.network = networks[0]  # only its forward is used; weights and statistics come from the stacks
        self.parameters, self.buffers = stack_module_state(list(networks))
        self.optimizer = torch.optim.SGD(self.parameters.values(), lr=learning_rate)
        self.gradients = vmap(grad(self.loss))
        self.answers = vmap(self.answer)

    def answer(self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor) -> Tensor:
        """One network's answer, `[batch, 2, 14, 14]` to `[batch, outputs]`."""
        answer: Tensor = functional_call(self.network, (parameters, buffers), (images,))[0]
        return answer

    def loss(self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor, target: Tensor) -> Tensor:
        """One network's mean loss over a batch."""
        return F.cross_entropy(self.answer(parameters, buffers, images), target)

    def train(self, batches: Iterable[Pairs]) -> None:
        """Train all networks, each on its slice of the batches, `[trials, batch, ...]`."""
        self.network.train()
        for batch in batches:
            target = COMPARISON.target(batch.classes)
            gradients = self.gradients(self.parameters, self.buffers, batch.images, target)
            for name, parameter in self.parameters.items():
                parameter.grad = gradients[name]
            self.optimizer.step()

    @torch.no_grad()
    def test(self, pairs: Pairs) -> Tensor:
        """Return the number of right answers, `[trials]`, in evaluation mode."""
        self.network.eval()
        parts = pairs.images.split(TEST_BATCH, 1)
        decisions = torch.cat([self.answers(self.parameters, self.buffers, images).argmax(2) for images in parts], 1)
        return (decisions == COMPARISON.target(pairs.classes)).sum(1)
