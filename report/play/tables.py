"""Tables and sentences to play with: what was tried so far, and what the class head says beside the comparison."""

import math

import numpy as np
from IPython.display import Markdown

from lib import Store
from lib.analysis import default_store
from report.inventory import inventory
from report.play.answers import Answers, sign
from report.press import display

MOST = 20  # rows


def tried(store: Store | None = None) -> None:
    """Show every experiment in the user's own store: trials, accuracy after the last epoch, and its spread."""
    held, damaged = inventory(store or Store(default_store().root))
    held.sort(key=lambda each: each.started.timestamp() if each.started else 0, reverse=True)
    rows = []
    for each in held[:MOST]:
        sd = "" if math.isnan(each.sd) else f"{each.sd:.1f}"
        rows.append((each.words, each.trials, f"{each.mean:.1f}", sd, when(each.started)))
    older = f", the newest {MOST}" if len(held) > MOST else ""
    display.show_table(
        ("experiment", "trials", "accuracy (%)", "SD over trials", "trained"),
        rows,
        label="tbl-tried",
        caption=f"What was tried so far, from the store ({len(held)} experiments{older}): test accuracy after the last "
        "epoch, mean and standard deviation over the trials.",
    )
    for sentence in damaged:
        display.say(display.escape(sentence))


def when(started: object) -> str:
    """Return a time to the minute."""
    return f"{started:%Y-%m-%d %H:%M}" if started else ""


def heads(answers: Answers, which: str) -> None:
    """Show what the class head says beside what the comparison says: of a few pairs, and of all in a sentence."""
    e, own = answers.experiment, answers.trial
    if answers.names is None:
        display.say(f"{e.name} has no head that names digits with one output per class; CAUX with one-hot labels has.")
        return
    named = answers.names.argmax(-1)  # [networks, n, 2]
    by_name = named[..., 0] <= named[..., 1]
    rows = []
    for i in map(int, answers.places(which)[:8]):
        first, second = answers.classes[i]
        says = f"{sign(answers.answers[own, i])} ({100 * answers.confidence[own, i]:.0f} %)"
        names = [f"{digit} ({100 * answers.names[own, i, j, digit]:.0f} %)" for j, digit in enumerate(named[own, i])]
        other = "" if by_name[own, i] == answers.answers[own, i] else " **(otherwise)**"
        so = Markdown(f"{display.escape(sign(by_name[own, i]))}{other}")
        rows.append((f"{first} {sign(answers.target[i])} {second}", says, *names, so))
    display.show_table(
        ("pair", "the comparison says", "first is named", "second is named", "so its names say"),
        rows,
        align="lllll",
        label="tbl-heads",
        caption=f"Pairs of trial {own} ({which}): what the comparison says, and what the class head does.",
    )
    right = by_name == answers.target
    display.say(
        f"Over all {answers.correct.size:,} answers of {len(named)} networks, the comparison is right in "
        f"{100 * answers.correct.mean():.1f} %, comparing the two names would be in {100 * right.mean():.1f} %; "
        f"of the comparison's {np.count_nonzero(~answers.correct):,} mistakes the names would mend "
        f"{np.count_nonzero(right & ~answers.correct):,}, and they would spoil "
        f"{np.count_nonzero(~right & answers.correct):,} of its right answers."
    )
