import pytest

from report.press.parameters import assigned, check

DECLARED = "epochs: int = 100  # comment\ntrials = 5\n"


def test_known_names_pass():
    check({"In": ["", DECLARED, "# Parameters\nepochs = 3\n", "check(globals())"]})


def test_a_misspelt_name_is_refused_with_the_nearest_one():
    with pytest.raises(TypeError, match=r"no parameter 'epoch' \(did you mean 'epochs'\?\)"):
        check({"In": ["", DECLARED, "# Parameters\nepoch = 3\n"]})


def test_without_injected_parameters_anything_goes():
    check({"In": ["", DECLARED, "import torch", "other = 3"]})
    check({})


def test_assigned_names_come_in_order():
    assert assigned(DECLARED) == ["epochs", "trials"]
