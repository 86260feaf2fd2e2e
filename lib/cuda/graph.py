"""Work on a GPU recorded once and replayed: a launch for all of it, instead of one for each of its operations."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Replayed:
    """A function of one tensor whose work on the GPU is recorded at its second call, and replayed from then on.

    The function may change tensors in place, such as weights; it must do the same operations at each call, and may wait
    for nothing. Its first call is an ordinary one: libraries get ready, and an optimizer makes what it keeps. What it
    returns, tensors in dicts and tuples, are copies.
    """

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        self.function, self.stream, self.called = function, torch.cuda.Stream(), False
        self.graph: torch.cuda.CUDAGraph | None = None
        self.argument, self.returned = torch.empty(0), None

    def __call__(self, argument: Tensor) -> Any:
        """Call the function, or have the GPU do again what it did."""
        if not self.called:
            self.called = True
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):  # the one that records: autograd remembers where it worked
                returned = self.function(argument)
            torch.cuda.current_stream().wait_stream(self.stream)
            return returned
        if self.graph is None:
            self.argument, self.graph = argument.clone(), torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, stream=self.stream):
                self.returned = self.function(self.argument)
        self.argument.copy_(argument)
        self.graph.replay()
        return copied(self.returned)


def copied(value: Any) -> Any:
    """Return tensors in dicts and tuples as they are now."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {name: copied(each) for name, each in value.items()}
    each = [copied(part) for part in value]
    return type(value)(*each) if hasattr(value, "_fields") else tuple(each)
