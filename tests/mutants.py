"""Do the tests see a bug? Each of these hand-made ones goes into a copy of the tree, and the tests run there.

    .venv/bin/python tests/mutants.py [--only NAME ...] [--jobs 2]

prints which test catches each bug, and the share caught; the exit code is 1 below 95 %. It takes minutes and is no part
of `make test`. A bug whose old text is not in its file exactly once is an error here: then lib has changed, and the bug
must be written anew.
"""

import argparse
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
ENOUGH = 0.95
TIME_LIMIT = 300  # seconds for the tests of one bug, at least; a bug that makes them hang is caught too

# A few of the 48 cases of the comparison with the textbook; the rest would only take longer.
TEXTBOOK = tuple(
    f"tests/lib/test_equivalence.py::test_a_trial_in_a_stack_learns_as_if_alone[{case}]"
    for case in ("SN-False-True-sgd", "SAUX-False-False-momentum", "CAUX-True-True-adam", "CAUX-False-False-sgd")
)
BY_CHANCE = (
    "tests/lib/test_store.py::test_a_killed_writer_leaves_whole_files"  # depends on the machine's load: left out
)
GOLDEN = "tests/lib/test_golden.py"
# Most of a run of pytest would go into imports: a server does them once and is forked for each bug.
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch", "torchvision", "sklearn.datasets", "scipy.stats", "pytest"])
TESTS = {  # which tests see a bug in a file, the quick ones first
    "lib/data.py": ("tests/lib/test_data.py", GOLDEN),
    "lib/layers.py": ("tests/lib/test_architectures.py", *TEXTBOOK, GOLDEN),
    "lib/architectures.py": ("tests/lib/test_architectures.py", *TEXTBOOK, GOLDEN),
    "lib/optimizer.py": ("tests/lib/test_optimizer.py", "tests/lib/test_teacher.py"),
    "lib/teacher.py": ("tests/lib/test_teacher.py", *TEXTBOOK, GOLDEN),
    "lib/experiment.py": ("tests/lib/test_experiment.py",),
    "lib/store.py": ("tests/lib/test_store.py", "tests/lib/test_experiment.py"),
    "lib/training.py": (GOLDEN, "tests/lib/test_analysis.py", "tests/report/test_verify.py"),
    "lib/analysis.py": ("tests/lib/test_analysis.py",),
    "lib/workers.py": ("tests/lib/test_workers.py",),
    "report/verify.py": ("tests/report/test_verify.py",),
}


class Mutant(NamedTuple):
    """A bug: in `file`, `old` becomes `new`."""

    name: str
    file: str
    old: str
    new: str


def of(file: str, *mutants: tuple[str, str, str]) -> list[Mutant]:
    """Return the bugs of one file, each given as (name, old text, new text)."""
    return [Mutant(name, file, old, new) for name, old, new in mutants]


MUTANTS = [
    *of(
        "lib/data.py",
        ("smaller, not smaller or equal", "(classes[:, 0] <= classes[:, 1])", "(classes[:, 0] < classes[:, 1])"),
        ("a digit used twice", "rng.permutation(count)[: 2 * n]", "rng.integers(0, count, 2 * n)"),
        (
            "test digits from the training set",
            "draw_pairs(test, test_pairs, rng)",
            "draw_pairs(train, test_pairs, rng)",
        ),
        ("normalised by the test set", "pixels = train.images.double()", "pixels = test.images.double()"),
        ("one seed for all trials", "SeedSequence([seed, trial, ", "SeedSequence([seed, 0, "),
        ("weights' stream without the layer", "PURPOSES[purpose], *layer.encode()]", "PURPOSES[purpose]]"),
        ("order and data share a stream", '"weights": 1, "order": 2}', '"weights": 1, "order": 0}'),
        ("MNIST's checksum ignored", "if found != expected:", "if False:"),
        ("largest pixel instead of the mean", ".sum((2, 4)).double()", ".amax((2, 4)).double() * 4"),
        (
            "training digits among the test digits",
            "Digits(images[EMBEDDED_TRAIN:], classes[EMBEDDED_TRAIN:]),",
            "Digits(images[:697], classes[:697]),",
        ),
        ("fingerprint of the training pairs only", "for pairs in sets:", "for pairs in sets[:1]:"),
    ),
    *of(
        "lib/layers.py",
        (
            "both digits in one batch's statistics",
            "return torch.stack([self.forward_torch(digit) for digit in x.unbind(2)], dim=2)",
            "return self.forward_torch(x.flatten(1, 2)).unflatten(1, x.shape[1:3])",
        ),
        (
            "fused: running statistics updated once per pair",
            "for digit in range(x.shape[2]):",
            "for digit in range(1):",
        ),
        ("fused: biased running variance", "var[:, digit] * (n / (n - 1))", "var[:, digit]"),
        (
            "running statistics never kept",
            "self.running_mean.flatten(), self.running_var.flatten()",
            "self.running_mean.flatten().clone(), self.running_var.flatten().clone()",
        ),
        (
            "convolution's weights averaged over trials",
            "x = F.conv2d(x, self.weight.flatten(0, 1), groups=trials)",
            "x = F.conv2d(x, self.weight.mean(0, keepdim=True).expand_as(self.weight).flatten(0, 1), groups=trials)",
        ),
        (
            "bias shared by the trials",
            "return torch.baddbmm(bias[:, None], x, weight.mT)",
            "return torch.baddbmm(bias.mean(0).expand_as(bias)[:, None], x, weight.mT)",
        ),
        ("gradient of the bias of the first pair only", "gradient.sum(1)", "gradient[:, 0]"),
        (
            "trials and channels interleaved",
            "x = F.relu(F.max_pool2d(x, 2))\n        return x.unflatten(1, (trials, -1)).transpose(0, 1)",
            "x = F.relu(F.max_pool2d(x, 2))\n        return x.unflatten(1, (-1, trials)).movedim(2, 0)",
        ),
        ("double precision on the float block", "elif dtype != torch.float32:", "elif False:"),
    ),
    *of(
        "lib/architectures.py",
        ("SN shares its extractor", "self.extract_second(second)], dim=2)", "self.extract(second)], dim=2)"),
        ("the digits of a pair swapped", "first, second = images", "second, first = images"),
        (
            "no sigmoid at the digits' head",
            "self.auxiliary = head(shape, shape.maps",
            'self.auxiliary = head(Shape(**{**vars(shape), "sigmoid": False}), shape.maps',
        ),
        ("classes of other pairs' digits", "unflatten(1, (-1, 2))", "unflatten(1, (2, -1)).transpose(1, 2)"),
        (
            "no ReLU between the layers",
            "layers += [Linear(shape.trials, size, width), nn.ReLU()]",
            "layers += [Linear(shape.trials, size, width)]",
        ),
        ("biases start at zero", "([layer.bias] if isinstance(layer, Linear) else [])", "[]"),
        ("weights start too small", ".numel() ** -0.5", ".numel() ** -1.0"),
        (
            "convolutionize mixes up the weights",
            "weight.unflatten(2, shape)",
            "weight.unflatten(2, shape[::-1]).movedim(-1, 2)",
        ),
        ("a layer that trials share is accepted", "if value.shape[:1] != (shape.trials,):", "if False:"),
    ),
    *of(
        "lib/teacher.py",
        (
            "the same order in each epoch",
            "np.stack([rng.permutation(n) for rng in self.orders])",
            "np.stack([__import__('copy').deepcopy(rng).permutation(n) for rng in self.orders])",
        ),
        ("tested in training mode", "        model.eval()\n", "        model.train()\n"),
        ("trained in evaluation mode after the first epoch", "            model.train()\n", ""),
        ("mean over trials instead of the sum", "total.sum().backward()", "total.mean().backward()"),
        (
            "auxiliary weight ignored",
            "losses.main + auxiliary_weight * losses.auxiliary",
            "losses.main + losses.auxiliary",
        ),
        (
            "auxiliary head in the score",
            "right = decide(outputs.answer.flatten(2)) == batch.target",
            'both = outputs.answer + (outputs.auxiliary if model.auxiliary_task == "comparison" else 0)\n'
            "            right = decide(both.flatten(2)) == batch.target",
        ),
        (
            "SAUX's second head learns a digit",
            "Losses(main, loss_per_trial(outputs.auxiliary.flatten(2), batch.target))",
            "Losses(main, loss_per_trial(outputs.auxiliary.flatten(2), batch.digits[..., 0].clamp(max=1)))",
        ),
        (
            "CAUX: sum over the digits instead of the mean",
            "main, loss_per_trial(outputs.auxiliary.flatten(3)",
            "main, 2 * loss_per_trial(outputs.auxiliary.flatten(3)",
        ),
        ("ties to class 1", "outputs.max(-1).indices", "(outputs.shape[-1] - 1 - outputs.flip(-1).argmax(-1))"),
        (
            "greater than 0.5, not at least",
            "middles, right=True)",
            "middles, right=False)",
        ),
        (
            "best epoch instead of the last",
            "history.last = score",
            "history.last = max(history.last or score, score, key=lambda s: s.correct.sum())",
        ),
        (
            "digit / 10 regressed, not / 9",
            "/ (classes - 1), reduction",
            "/ (classes - (classes < 10)), reduction",
        ),
        (
            "last small batch dropped",
            "rows.split(batch_size, dim=1)",
            "rows[:, : n - n % batch_size].split(batch_size, dim=1)",
        ),
        ("small batch counts as a whole one", "loss.detach() * batch.target.shape[1]", "loss.detach() * batch_size"),
        ("a loss of NaN goes on", "if not losses.isfinite().all():", "if False:"),
    ),
    *of(
        "lib/optimizer.py",
        ("momentum ignored", "momentum=self.momentum", "momentum=0.0"),
        ("Adam forgets faster", "beta2=0.999", "beta2=0.99"),
        ("a gradient is used twice", "            parameter.grad = None\n", "            pass\n"),
    ),
    *of(
        "lib/experiment.py",
        ("0 epochs accepted", 'within("epochs", self.epochs, 1,', 'within("epochs", self.epochs, 0,'),
        (
            "misspelt name ignored",
            "raise TypeError(unknown(name, known))",
            "parameters = {n: v for n, v in parameters.items() if n != name}",
        ),
        ("True taken for 1", "isinstance(value, Integral) and not is_bool", "isinstance(value, Integral)"),
        ("more pairs than digits accepted", '{"mnist": (30_000, 5_000)', '{"mnist": (60_000, 10_000)'),
        ("momentum of Adam accepted, and ignored", 'if self.momentum and self.optimizer != "sgd":', "if False:"),
        ("protocol not in the key", '{**dataclasses.asdict(self), "protocol": PROTOCOL}', "dataclasses.asdict(self)"),
        ("own source not in the key", "hashlib.sha256(source).hexdigest()", 'hashlib.sha256(b"").hexdigest()'),
    ),
    *of(
        "lib/store.py",
        ("file not synced", "            os.fsync(file.fileno())\n", ""),
        ("folder not synced", "    sync_folder(path.parent)\n    sync_folder(path.parent.parent)\n", ""),
        (
            "written in place",
            "    descriptor, temporary = tempfile.mkstemp(",
            "    path.write_bytes(serialise(record))\n    return path\n    descriptor, temporary = tempfile.mkstemp(",
        ),
        ("temporary file left over", "        Path(temporary).unlink(missing_ok=True)\n", "        pass\n"),
        ("checksum ignored", "if serialise(record) != raw:", "if False:"),
        (
            "another result overwrites",
            "    if path.exists():\n        return keep(path, record)\n",
            "    path.unlink(missing_ok=True)\n",
        ),
        ("a writer that comes second overwrites", "os.link(temporary, path)", "Path(temporary).replace(path)"),
        (
            "another result passes for the same",
            'if any(stored[name] != record[name] for name in FIELDS - {"provenance"}):',
            "if False:",
        ),
        (
            "a field missing in the key",
            "canonical(configuration).encode()",
            'canonical({n: v for n, v in configuration.items() if n != "momentum"}).encode()',
        ),
        ("NaN written", "allow_nan=False", "allow_nan=True"),
        ("shortest block found", "return last[max(last)]", "return last[min(last)]"),
        ("a block that is too short found", "if last and max(last) >= trials[-1]:", "if last:"),
        ("only the first store read", "for root in roots:", "for root in list(roots)[:1]:"),
        (
            "file of another folder accepted",
            "if (path.parent.name, path.name) != (expected.parent.name, expected.name):",
            "if path.name != expected.name:",
        ),
        ("another schema accepted", 'if record.get("schema") != SCHEMA:', "if False:"),
        ("contradicting counts accepted", "if len(counts) != 1 or sum", "if sum"),
        (
            "negative counts accepted",
            "type(value) in kinds and 0 <= value <= top",
            "type(value) in kinds and value <= top",
        ),
        ("bits filled up in front", '.ljust(-(-len(bits) // 4) * 4, "0")', '.rjust(-(-len(bits) // 4) * 4, "0")'),
    ),
    *of(
        "lib/training.py",
        (
            "every trial in the first one's order",
            'data.generator(e.seed, trial, "order")',
            'data.generator(e.seed, trials[0], "order")',
        ),
        ("the experiment's auxiliary weight not used", "        auxiliary_weight=e.auxiliary_weight,\n", ""),
        ("the experiment's batch size not used", "        batch_size=e.batch_size,\n", ""),
        ("table by second and first digit", "10 * digits[:, 0] + digits[:, 1]", "digits[:, 0] + 10 * digits[:, 1]"),
        ("a later block gets the first one's trials", "trials.start - offset, trials.stop - offset", "0, len(trials)"),
    ),
    *of(
        "lib/analysis.py",
        ("standard deviation with ddof 0", "std(0, ddof=1)", "std(0, ddof=0)"),
        ("trials of other data paired", "if data_a != data_b:", "if False:"),
        ("more trials than asked for", "for record in self.records])[: self.trials]", "for record in self.records])"),
        ("percent of the training pairs", "/ self.experiment.test_pairs", "/ self.experiment.train_pairs"),
        ("published results not read", "(PUBLISHED, Path(results))", "(Path(results),)"),
        ("stored blocks trained again", "if stored(experiment, block, results) is None]", "]"),
    ),
    *of(
        "lib/workers.py",
        ("failed block ignored", "errors[futures[future]] = error", "pass"),
        ("pool not built again", "tasks = [task for task in tasks if task in lost]", "return failed | lost"),
        ("given up at once", "GIVE_UP = 3", "GIVE_UP = 1"),
        ("Ctrl-C leaves processes", "                process.terminate()\n", "                pass\n"),
        ("a killed study leaves its workers", "    parent_process().join()\n    os._exit(1)\n", "    pass\n"),
        ("threads by default", "    torch.set_num_threads(1)\n", "    pass\n"),
        ("threads not set back", "        torch.set_num_threads(threads)\n", "        pass\n"),
    ),
    *of(
        "report/verify.py",
        ("verify: other data accepted", 'if stored["data"] != fresh["data"]:', "if False:"),
        ("verify: close is enough", "    if why:\n", "    if True:\n"),
        ("verify: 40 standard errors", "STANDARD_ERRORS = 4", "STANDARD_ERRORS = 40"),
        ("verify: always a success", "return 0 if agreeing == len(paths) else 1", "return 0"),
    ),
]


class Outcome(NamedTuple):
    """What the tests made of a bug: the test that failed first (empty: none), their output, and the seconds."""

    caught_by: str
    output: str
    seconds: float


def copy_tree(folder: Path) -> None:
    """Copy code and tests, without results, to `folder`; the tests there refuse to run on any other copy of lib."""
    for part in ("lib", "report", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "results", "figures", "report.*")
        shutil.copytree(ROOT / part, folder / part, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    with (folder / "tests" / "conftest.py").open("a") as conftest:
        conftest.write(f"\nimport lib, report\nassert lib.__file__ == {str(folder / 'lib' / '__init__.py')!r}\n")
        conftest.write(f"assert report.__file__ == {str(folder / 'report' / '__init__.py')!r}\n")


def mutate(folder: Path, mutant: Mutant) -> None:
    """Put one bug into a copy. Raises ValueError when its old text is not there exactly once."""
    file = folder / mutant.file
    text = file.read_text()
    if (count := text.count(mutant.old)) != 1:
        raise ValueError(f"{mutant.name}: its old text is {count} times in {mutant.file}")
    file.write_text(text.replace(mutant.old, mutant.new))


def present(tests: Iterable[str]) -> list[str]:
    """Return those tests whose file exists."""
    return [test for test in tests if (ROOT / test.partition("::")[0]).exists()]


def run_tests(folder: Path, tests: list[str], limit: float) -> Outcome:
    """Run tests in a copy until one fails. Raises RuntimeError when pytest itself could not."""
    start = time.perf_counter()
    process = CONTEXT.Process(target=pytest_there, args=(folder, tests))
    process.start()
    process.join(limit)
    if process.is_alive():
        os.killpg(process.pid, signal.SIGKILL)  # and the workers that a test started
        process.join()
        return Outcome(f"(no end in {limit:.0f} s)", "", limit)
    output, seconds = (folder / "output.txt").read_text(), time.perf_counter() - start
    if process.exitcode == 0:
        return Outcome("", output, seconds)
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)
    if process.exitcode not in (1, 2) or not failed:
        raise RuntimeError(f"pytest ended with {process.exitcode}:\n{output}")
    return Outcome(failed[1], output, seconds)


def pytest_there(folder: Path, tests: list[str]) -> None:
    """Run pytest in a copy, in a process of its own that has imported nothing of the project yet."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where this runs in the background of a shell
    os.chdir(folder)
    os.environ |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}  # for processes that tests start
    sys.path[0], sys.dont_write_bytecode = str(folder), True
    output = os.open("output.txt", os.O_CREAT | os.O_WRONLY)
    os.dup2(output, 1)
    os.dup2(output, 2)
    import pytest

    options = ["-x", "-q", "-rfE", "--tb=line", "-p", "no:cacheprovider", "--deselect", BY_CHANCE]
    sys.exit(int(pytest.main([*options, *tests])))


def try_mutant(mutant: Mutant | None, tests: list[str], limit: float) -> Outcome:
    """Run tests on a fresh copy with a bug, or with none."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name).resolve()
        copy_tree(folder)
        if mutant:
            mutate(folder, mutant)
        return run_tests(folder, tests, limit)


def main() -> int:
    """Try all bugs, or some; print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="only bugs whose name, or file, contains one of these"
    )
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time (default: 1)")
    options = parser.parse_args()
    chosen = [m for m in MUTANTS if not options.only or any(part in m.name or part in m.file for part in options.only)]
    if not chosen:
        parser.error(f"no bug is named like {options.only}")
    absent = {test for tests in TESTS.values() for test in tests} - set(present(sum(TESTS.values(), ())))
    if absent:
        print(f"not there: {', '.join(sorted(absent))}")

    sound = try_mutant(None, present(dict.fromkeys(test for m in chosen for test in TESTS[m.file])), limit=3600)
    if sound.caught_by:
        print(f"{sound.output}\nThe tests fail without any bug: nothing can be learned from them.", file=sys.stderr)
        return 2
    limit = max(TIME_LIMIT, 2 * sound.seconds)
    print(f"without a bug all tests pass ({sound.seconds:.0f} s)\n", flush=True)
    print(f"| {'bug':50} | {'file':20} | caught by |\n|{'-' * 52}|{'-' * 22}|-----------|")
    caught = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = pool.map(lambda mutant: try_mutant(mutant, present(TESTS[mutant.file]), limit), chosen)
        for mutant, outcome in zip(chosen, outcomes, strict=True):
            caught += bool(outcome.caught_by)
            seen = outcome.caught_by.removeprefix("tests/") or "NOT CAUGHT"
            print(f"| {mutant.name:50} | {mutant.file:20} | {seen} ({outcome.seconds:.0f} s) |", flush=True)
    print(f"\n{caught} of {len(chosen)} caught: {100 * caught / len(chosen):.0f} %")
    return 0 if caught >= ENOUGH * len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
