import subprocess
import sys

import pytest

from lib import Experiment, Store
from lib.machine import ROOT
from lib.training import train
from report.__main__ import main

COMMANDS = ("build", "quick", "study", "verify", "bench", "publish", "stored")


def said_by(arguments, capsys, code=0):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == code
    return "".join(capsys.readouterr())


def test_help_lists_every_command_and_each_says_its_options(capsys):
    text = said_by(["--help"], capsys)
    assert all(f"\n    {command} " in text for command in COMMANDS)
    for command, options in (
        ("build", "--output"),
        ("quick", "--output"),
        ("study", "--dry-run"),
        ("verify", "--groups --each --seed --results"),
        ("bench", "--quick --long --output"),
        ("publish", "--check --output"),
        ("stored", "--carry-over"),
    ):
        text = said_by([command, "--help"], capsys)
        assert all(option in text for option in options.split()), command


def test_help_takes_neither_torch_nor_numpy():
    code = "import sys\nfrom report.__main__ import main\ntry:\n    main(['--help'])\nfinally:\n    "
    code += "assert not {'torch', 'numpy', 'papermill'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["veryfy"], "invalid choice: 'veryfy'"),
        (["verify", "--groups", "0"], "allowed: a whole number of at least 1"),
        (["verify", "--each", "--groups", "2"], "not allowed with argument"),
    ],
)
def test_a_wrong_command_line_is_refused_with_its_usage(arguments, message, capsys):
    text = said_by(arguments, capsys, code=2)
    assert "usage: python -m report" in text
    assert message in text


def test_an_expected_error_is_one_sentence(tmp_path, capsys, monkeypatch):
    file = tmp_path / "SN-0123456789abcdef" / "trials-000-024.json.gz"
    file.parent.mkdir()
    file.write_bytes(b"damaged")
    monkeypatch.setenv("RESULTS_ROOT", str(tmp_path))
    assert main(["stored"]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"{file} cannot be trusted: ") and err.count("\n") == 1


def test_an_unexpected_error_keeps_its_traceback(tmp_path, monkeypatch):
    monkeypatch.setattr("report.inventory.inventory", lambda store: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["stored"])


def test_the_store_is_listed_in_words(tmp_path, capsys, monkeypatch):
    experiment = Experiment.parse("CAUX dataset=digits epochs=1 train_pairs=50 test_pairs=20 momentum=0.9")
    monkeypatch.setenv("RESULTS_ROOT", str(tmp_path))
    for record in train(experiment, range(2)):
        Store(tmp_path).write(record)
    (tmp_path / "SN-0").mkdir()
    (tmp_path / "SN-0" / "trials-000-024.json").touch()
    assert main(["stored"]) == 0
    out, err = capsys.readouterr()
    [line] = [line for line in out.splitlines() if experiment.key in line]
    assert line.split() == [*str(experiment).split(), "2", "trials", experiment.key]
    assert err.startswith("not listed: 1 files of an older schema; `python -m report stored --carry-over`")


def test_files_of_the_older_schema_are_carried_over(tmp_path, capsys):
    assert main(["stored", "--carry-over", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}: 0 files carried over\n"


def test_a_dry_run_of_the_study_says_what_is_to_be_trained(capsys):
    assert main(["study", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith(("nothing to train: all 120 groups are stored", "to train: "))
