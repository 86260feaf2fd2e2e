"""Twins: the same trial of several networks, which saw the same pairs in the same order, and where they part."""

import itertools

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from lib import Experiment
from lib.pairs import draw_trial
from lib.tasks import COMPARISON
from lib.teacher import DivergedError
from lib.training import hyperparameters, prepare
from report.pictures.style import COLOURS, INK, OTHER
from report.play.answers import sign
from report.play.live import one_thread, stopping
from report.play.pictures import RIGHT, WRONG
from report.play.shown import Bar, NotShownError
from report.press import display
from report.statistics import CHANCE
from report.study import NETWORKS


class Twins:
    """One trial of the four networks (and of the experiment's own), trained with the experiment's settings.

    `answers` has by network, for each epoch from 0, before any training, whether it says "smaller or equal" of each
    test pair: `[epochs + 1, pairs]`. A network that does not read one of the settings is left out, and `left_out` says
    why.
    """

    def __init__(self, experiment: Experiment, trial: int) -> None:
        self.trial, self.left_out = trial, dict[str, str]()
        self.experiments: dict[str, Experiment] = {}
        self.answers: dict[str, NDArray[np.bool_]] = {}
        for name in dict.fromkeys([*NETWORKS, experiment.architecture]):
            try:
                self.experiments[name] = experiment.changed(name)
            except ValueError as error:
                self.left_out[name] = str(error)
        e = experiment
        _, test = draw_trial(e.dataset, e.train_pairs, e.test_pairs, e.seed, trial, e.train_digits)
        self.images, self.classes = test.images.numpy(), test.classes.numpy()
        self.target = COMPARISON.target(test.classes).numpy() == 1

    def run(self) -> None:
        """Train one after the other, alone; an interrupt leaves out what was not finished."""
        bar, total = Bar(), sum(each.epochs for each in self.experiments.values())
        done = 0
        with stopping() as stopped, one_thread():
            for name, experiment in self.experiments.items():
                made = prepare(experiment, range(self.trial, self.trial + 1))
                scores = [made.teacher.test(made.network)]
                try:
                    for epoch in made.teacher.epochs(made.network, **hyperparameters(experiment)):
                        scores.append(epoch.score)
                        done += 1
                        bar.put(done, total, f"{name}: epoch {epoch.number} of {experiment.epochs}")
                        if stopped():
                            bar.put(done, total, "stopped: run this cell again for all of them")
                            return
                except DivergedError as error:
                    self.left_out[name] = str(error)
                    continue
                self.answers[name] = np.stack([each.heads["answer"].named[0].numpy() == 1 for each in scores])
        bar.put(total, total, f"trained: {', '.join(self.answers)}")

    def parted(self, first: str, second: str) -> tuple[int, int] | None:
        """Return the first epoch after which two answer differently, and the first pair of which they do, or None."""
        found = np.argwhere(self.answers[first] != self.answers[second])
        return (int(found[0, 0]), int(found[0, 1])) if len(found) else None

    def draw(self) -> tuple[Figure, str]:
        """Draw their curves, and the first pair over which any two part with what each says of it.

        Raises NotShownError where none is trained.
        """
        if not self.answers:
            raise NotShownError("No twin is trained: run the cell above.")
        fig = Figure(figsize=(8.4, 3.3), layout="constrained")
        ax, beside = fig.subplots(1, 2, width_ratios=(3, 1))
        for name, answers in self.answers.items():
            accuracy = 100 * (answers == self.target).mean(1)
            ax.plot(np.arange(len(accuracy)), accuracy, color=COLOURS.get(name, OTHER), label=name)
        ax.axhline(CHANCE, color="0.35", lw=0.8, ls=(0, (4, 3)))
        ax.set(xlabel="epoch (0: before any training)", ylabel="test accuracy (%)", ylim=(None, 100))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(self.answers))
        beside.set_axis_off()
        parted = [self.parted(*both) for both in itertools.combinations(self.answers, 2)]
        earliest = min(filter(None, parted), default=None)
        if earliest is None:
            return fig, f"Test accuracy of trial {self.trial} of {', '.join(self.answers)}, which never part."
        epoch, place = earliest
        (first, second), right = self.classes[place], sign(self.target[place])
        both = np.concatenate([self.images[place, 0], np.zeros((14, 2), np.float32), self.images[place, 1]], axis=1)
        beside.imshow(both, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        beside.set_title(f"epoch {epoch}, pair {place}: {first} {right} {second}", size=9)
        for i, (name, answers) in enumerate(self.answers.items()):
            says = answers[epoch, place]
            colour = RIGHT if says == self.target[place] else WRONG
            beside.text(0, 19 + 3.4 * i, name, size=9, color=INK, clip_on=False)
            beside.text(15, 19 + 3.4 * i, f"says {sign(says)}", size=9, color=colour, clip_on=False)
        return fig, (
            f"Test accuracy of trial {self.trial} of {', '.join(self.answers)} over the epochs; the first pair of "
            f"which two of them answer differently is pair {place}, after epoch {epoch}."
        )

    def table(self) -> None:
        """Show for every two of them where they part first."""
        rows: list[tuple[object, ...]] = []
        for both in itertools.combinations(self.answers, 2):
            parted = self.parted(*both)
            apart = int((self.answers[both[0]][-1] != self.answers[both[1]][-1]).sum())
            if parted is None:
                rows.append((" and ".join(both), "never", "", apart))
                continue
            epoch, place = parted
            first, second = self.classes[place]
            said = ", ".join(f"{name} says {sign(self.answers[name][epoch, place])}" for name in both)
            rows.append((" and ".join(both), epoch, f"pair {place}, {first} and {second}: {said}", apart))
        display.show_table(
            ("twins", "first epoch apart", "first pair", "pairs apart at the end"),
            rows,
            align="lrlr",
            label="tbl-twins",
            caption=f"Where the twins of trial {self.trial} part, of {len(self.target)} test pairs (epoch 0: before "
            "any training).",
        )
        for name, sentence in self.left_out.items():
            display.say(display.escape(f"{name} is left out: {sentence}"))
