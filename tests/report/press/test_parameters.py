import pytest

from report.press.parameters import assigned, check

DECLARED = "epochs: int = 100  # comment\ntrials = 5\n"
INJECTED, WRONG = "# Parameters\nepochs = 3\n", "# Parameters\nepoch = 3\n"


def test_known_names_pass():
    check({"In": ["", DECLARED, INJECTED, "check(globals())"]})


def test_a_misspelt_name_is_refused_with_the_nearest_one():
    with pytest.raises(TypeError, match=r"no parameter 'epoch' \(did you mean 'epochs'\?\)"):
        check({"In": ["", DECLARED, WRONG]})


def test_cells_may_run_again_in_any_order():
    check({"In": ["", DECLARED, INJECTED, "check(globals())", "1 +", INJECTED, "check(globals())"]})
    check({"In": ["", DECLARED, "check(globals())", INJECTED, "check(globals())"]})


def test_a_name_that_was_corrected_is_no_error_any_more():
    check({"In": ["", DECLARED, WRONG, "check(globals())", INJECTED, "check(globals())"]})
    with pytest.raises(TypeError, match="no parameter 'epoch'"):
        check({"In": ["", DECLARED, INJECTED, "check(globals())", WRONG, "check(globals())"]})


def test_without_injected_parameters_anything_goes():
    check({"In": ["", DECLARED, "import torch", "other = 3"]})
    check({})


def test_assigned_names_come_in_order():
    assert assigned(DECLARED) == ["epochs", "trials"]
    assert assigned("no Python") == []
