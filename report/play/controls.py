"""Controls for the notebook's parameters, where ipywidgets is installed; without it one sentence says so."""

from html import escape
from importlib import import_module
from typing import Any

from IPython.display import display
from matplotlib.figure import Figure

from lib.datasets import DATASETS
from lib.experiment import OPTIMIZERS
from lib.registry import ARCHITECTURES
from lib.trained import Networks
from report.play import pictures
from report.play.answers import Answers
from report.play.choice import DIGITS, KINDS, Choice
from report.play.shown import ON_SCREEN, Draw, picture, png, show

RATES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
COPY = "navigator.clipboard.writeText(this.previousElementSibling.textContent); this.textContent = 'copied'"
MISSING = "No controls here: ipywidgets is not installed (pip install -e '.[explore]'); the parameters say the same."


def library() -> Any:
    """Return ipywidgets, or None where it is not installed."""
    try:
        return import_module("ipywidgets")
    except ImportError:
        return None


def choose(choice: Choice) -> None:
    """Show a control for each parameter that says what to train, and the command that says the same.

    Without ipywidgets that is a sentence, and the command.
    """
    w = library()
    if w is None:
        print(MISSING)
        print(choice.command())
        return
    now = choice.values
    controls = {
        "dataset": w.Dropdown(options=list(DATASETS)),
        "architecture": w.Dropdown(options=list(dict.fromkeys([*ARCHITECTURES, now["architecture"]]))),
        "fully_convolutional": w.Checkbox(indent=False),
        "one_hot_encoding": w.Checkbox(indent=False),
        "optimizer": w.Dropdown(options=list(OPTIMIZERS)),
        "learning_rate": w.SelectionSlider(options=sorted({*RATES, now["learning_rate"]})),
        "epochs": w.IntSlider(min=1, max=max(100, now["epochs"])),
        "trials": w.IntSlider(min=1, max=max(25, now["trials"])),
        "settings": w.Text(placeholder="further words, such as momentum=0.9", continuous_update=False),
    }
    refused, command = w.HTML(), w.HTML()
    for name, control in controls.items():
        control.value = now[name]
        control.observe(lambda change, name=name: put_in(choice, refused, **{name: change["new"]}), "value")

    def tell() -> None:
        line = f"<code style='white-space: pre-wrap; line-height: 1.5'>{escape(choice.command())}</code>"
        command.value = f'{line} <button class="jupyter-button" onclick="{COPY}">copy</button>'

    tell()
    choice.on_change.append(tell)
    labelled = [each for name, control in controls.items() for each in (w.Label(name), control)]
    layout = w.Layout(grid_template_columns="max-content minmax(12em, 24em)", grid_gap="2px 12px")
    display(w.VBox([w.GridBox(labelled, layout=layout), refused, command]))


def put_in(choice: Choice, refused: Any, **changes: Any) -> None:
    """Choose what a control says; what cannot be is said in a sentence, and what was chosen before stays."""
    try:
        choice.set(**changes)
    except (TypeError, ValueError) as error:
        refused.value = f"<b>Not chosen, and nothing is changed:</b> {escape(str(error))}"
    else:
        refused.value = ""


def gallery(networks: Networks, choice: Choice) -> None:
    """Show test pairs with the networks' answers, and controls for whose pairs and which.

    Without ipywidgets that is a sentence, and the pairs that the parameters say.
    """
    held: dict[int, Answers] = {}
    view = {name: choice.values[name] for name in ("pair_trial", "gallery", "page")}
    view["pair_trial"] = min(view["pair_trial"], networks.trials - 1)  # of more trials, chosen and not trained yet

    def draw() -> tuple[Figure, str]:
        trial = view["pair_trial"]
        if trial not in held:
            held[trial] = Answers.of(networks, trial)
        return pictures.cards(held[trial], view["gallery"], view["page"])

    w = library()
    if w is None:
        print(MISSING)
        show(draw)
        return
    pair = "" if view["gallery"] in KINDS else view["gallery"]
    kinds = w.ToggleButtons(options=list(KINDS), value=None if pair else view["gallery"])
    digits = w.Dropdown(options=[("any", ""), *((each.replace("-", " and "), each) for each in DIGITS)], value=pair)
    trial = w.IntSlider(min=0, max=networks.trials - 1, value=view["pair_trial"])
    page = w.BoundedIntText(min=1, max=1000, value=view["page"], layout=w.Layout(width="5em"))
    image, refused = live_image(w, draw), w.HTML()

    def renew(_: object = None) -> None:
        view.update(pair_trial=trial.value, gallery=digits.value or kinds.value or "all", page=page.value)
        image.value = png(draw()[0])
        put_in(choice, refused, **view)  # for the command, and the cells below

    for control in (kinds, digits, trial, page):
        control.observe(renew, "value")
    rows = [[kinds, w.Label("digits"), digits], [w.Label("pair_trial"), trial, w.Label("page"), page]]
    put(w.VBox([*map(w.HBox, rows), image, refused]), draw)


def live_image(w: Any, draw: Draw) -> Any:
    """Return a picture that callbacks renew."""
    fig, alt = draw()
    width = f"{fig.get_size_inches()[0] * ON_SCREEN:.0f}px"
    return w.Image(value=png(fig), format="png", layout=w.Layout(width=width, max_width="100%"), alt=alt)


def put(widget: Any, draw: Draw) -> None:
    """Display a widget; where a notebook is only read, the picture that it begins with is shown."""
    shown = picture(*draw())
    data = {**shown["data"], **widget._repr_mimebundle_()}
    display({**data, "text/plain": shown["data"]["text/plain"]}, raw=True, metadata=shown["metadata"])
