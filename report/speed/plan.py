"""How much the benchmark measures: the real one, and a tiny one whose numbers mean nothing."""

from dataclasses import dataclass
from itertools import product

from lib import Experiment
from lib.datasets import available
from lib.store import GROUP

NETWORKS = ("WSN", "SN", "SAUX", "CAUX")  # those of the textbook
FORMS = ("", "one_hot_encoding=no", "fully_convolutional=yes", "fully_convolutional=yes one_hot_encoding=no")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much to measure; `settings` are words of Experiment's grammar that hold for all experiments."""

    settings: str
    stack: int = GROUP
    vmap_stacks: tuple[int, ...] = (5, GROUP)
    rounds: int = 11
    matrices: tuple[int, ...] = (512, 1024, 1536)  # sizes of the products that measure the core's rate
    scaling_trials: tuple[int, ...] = (25, 100, 300, 600)
    scaling_epochs: int = 2
    worker_trials: int = 100
    long_trials: int = 50
    long_epochs: int = 100

    @property
    def experiments(self) -> list[Experiment]:
        """All sixteen, WSN in its standard form first."""
        return [Experiment.parse(name, form, self.settings) for form, name in product(FORMS, NETWORKS)]


QUICK = Plan(
    settings="dataset=digits train_pairs=100 test_pairs=50",
    stack=3,
    vmap_stacks=(2, 3),
    rounds=1,
    matrices=(256,),
    scaling_trials=(GROUP, 2 * GROUP),
    scaling_epochs=1,
    worker_trials=2 * GROUP,
    long_trials=4,
    long_epochs=2,
)


def full() -> Plan:
    """Return the real benchmark: on MNIST, or on the embedded digits where it is not at hand."""
    return Plan(settings=f"dataset={'mnist' if available('mnist') else 'digits'}")
