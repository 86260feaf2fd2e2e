"""The public surface: what lib offers, what it no longer calls so, and what reading results does without."""

import re
import subprocess
import sys

import pytest

import lib
from lib import registry
from lib.machine import ROOT


def run(code, *options):
    """Run code in a Python of its own, in the project's folder; return what it printed."""
    done = subprocess.run([sys.executable, *options, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_public_name_is_there_and_knows_where_it_comes_from():
    for name in lib.__all__:
        assert getattr(lib, name).__name__ == name
    assert {"Experiment", "Result", "Store", "Teacher", "run_analysis", "run_study", "load"} <= set(lib.__all__)


def test_another_name_is_refused_with_those_that_there_are():
    with pytest.raises(AttributeError, match=r"^module 'lib' has no attribute 'Experiments'; public: Experiment, Res"):
        _ = lib.Experiments
    assert not hasattr(lib, "experiments")


def test_what_was_renamed_says_its_name():
    sentence = r"^lib\.Analysis is now called lib\.Result$"
    with pytest.raises(ImportError, match=sentence):
        _ = lib.Analysis
    with pytest.raises(ImportError, match=sentence):
        from lib import Analysis  # noqa: F401


@pytest.mark.parametrize(
    "code",
    [
        "import lib",
        "from lib import Experiment, Result, Store, load, paired, run_analysis, run_study",
        "from lib import load, Experiment, run_analysis; load(Experiment.parse('WSN momentum=0.9'), 25).mean",
        "from lib import Experiment, run_analysis; run_analysis(Experiment.parse('CAUX'), 25)",
        "import lib.analysis, lib.datasets, lib.experiment, lib.files, lib.machine, lib.registry, lib.seeds, lib.store",
        "from lib import Experiment; str(Experiment.parse('SN epochs=3')) + Experiment(architecture='CAUX').key",
    ],
)
def test_reading_results_imports_no_torch(code):
    heavy = "import sys; print([name for name in ('torch', 'scipy', 'sklearn', 'tqdm') if name in sys.modules])"
    assert run(f"{code}\n{heavy}") == "[]\n"


def test_the_architectures_are_known_without_torch_and_are_those_of_the_file():
    names = run("from lib import registry; print(*registry.ARCHITECTURES)").split()
    assert list(registry.NETWORKS) == ["SN", "WSN", "SAUX", "CAUX"]
    assert names == list(registry.ARCHITECTURES) == [*registry.NETWORKS, "NAMES", "NARROW", "SIDE", "DIAL"]


def test_the_readmes_own_network_and_setting_are_as_it_says(own_module, tmp_path):
    """The other example: a plain module in a file, as its name in the command beneath says."""
    text = (ROOT / "README.md").read_text()
    [example] = [each for each in re.findall(r"```python\n(.*?)```", text, re.S) if "nn.Module" in each]
    assert example.startswith("# own/mynet.py\n") and "-p b mynet:Mine" in text
    name = f"{own_module(example)}:Mine"
    assert lib.check_architecture(name) == []
    e = lib.Experiment.parse(
        f"{name} dataset=digits train_pairs=20 test_pairs=20 batch_size=10 epochs=2 optimizer=adam"
    )
    result = lib.run_analysis(e, 1, store=lib.Store(tmp_path / "results"), progress=False)
    assert result.values("digits_test_correct").shape == (1, 2)


@pytest.mark.parametrize("which", [0, 1], ids=["a batch", "from Python"])
def test_an_example_of_the_readme_runs_as_a_script(which, tmp_path):
    """It asks for what is published, so it trains nothing; for other experiments it needs the guard that it shows."""
    every = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    examples = [each for each in every if re.search(r'^if __name__ == "__main__":', each, re.M)]
    assert len(examples) == 2 and "(0.1, 0.3, 1, 3)" in examples[0]
    example = examples[which].replace("(0.1, 0.3, 1, 3)", "(0.3,)")  # the one that is published
    script = tmp_path / "example.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{example}")
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "something was trained"
    assert [path.name for path in tmp_path.iterdir()] == ["example.py"]
