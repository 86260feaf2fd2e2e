import numpy as np

from report import words
from tests.report.test_claims import result, whole_study

EPOCHS = 100


def made(accuracy, **changes):
    return result("SN", np.full(EPOCHS, accuracy), seed=1, **changes)


def test_a_minus_is_no_hyphen():
    assert [words.signed(1.256), words.signed(-0.5), words.signed(-0.5, 1)] == ["+1.26", "−0.50", "−0.5"]


def test_what_two_results_share_is_said_once():
    plain, other = made(80.0), made(80.0, one_hot_encoding=False)
    assert words.against(plain, other) == "SN without one-hot labels against SN"
    assert words.against(other, other) == "SN against SN without one-hot labels"
    assert words.against(plain, made(80.0, fully_convolutional=True)) == "fully convolutional SN against SN"


def test_a_difference_is_told_by_its_interval():
    text = words.comparison(made(75.0), made(80.0, one_hot_encoding=False))
    assert "SN without one-hot labels differs from SN by +5.00 points (95 % interval +5.00 to +5.00)" in text
    assert text.endswith("The interval does not contain 0: SN without one-hot labels is the better one.")
    a, b = made(75.0), result("WSN", np.full(EPOCHS, 75.0), seed=2)
    assert words.comparison(a, b).endswith("The interval contains 0: which of the two is better stays open.")


def test_equal_results_are_called_equal():
    text = words.comparison(made(75.0), made(75.0, fully_convolutional=True))
    assert text.startswith(f"After 100 epochs SN and fully convolutional SN both reach {words.plus_minus(made(75.0))} ")
    assert text.endswith("they are equal after every epoch.")


def test_the_other_forms_are_told_where_there_are_some():
    results = whole_study(trials=4)
    changes = [b.mean[-1] - a.mean[-1] for a, b in zip(results[:4], results[8:12], strict=True)]
    low, high = (words.signed(change, 1) for change in (min(changes), max(changes)))
    told = words.forms(results)
    assert f"change by {low} to {high} points." in told
    assert told.endswith("The fully convolutional forms give the same curves.")
    assert words.forms(results[:8]) == ""
    results = whole_study(trials=4)
    convolutional = next(r for r in results if r.name == "fully convolutional WSN")
    convolutional.records[0]["test_correct"][2][1] += 1
    assert words.forms(results).endswith("differ from the mixed ones by up to 0.1 points.")
