import json

import pytest

from report import certificate
from report.verify import BIT_BY_BIT, STATISTICALLY, UNEQUAL, Verdict


@pytest.fixture
def verdicts(tmp_path):
    file = tmp_path / "someone" / "results" / "SN-0123456789abcdef" / "trials-000-024.json.gz"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"stored")
    words = {BIT_BY_BIT: "all equal", STATISTICALLY: "close | enough", UNEQUAL: f"test_loss \x1b differs in {file}"}
    return [(file, Verdict(kind != UNEQUAL, said, kind)) for kind, said in words.items()]


def test_the_page_says_what_was_run_again_where_and_how_equal(verdicts, tmp_path):
    page = certificate.write(verdicts, "python -m report verify --groups 3 --seed 7", 12.3, tmp_path / "out")
    text, said = page.read_text(), json.loads(page.with_suffix(".json").read_text())
    assert "trained again: 3. Equal to what is stored: 1 bit by bit, 1 statistically, 1 not equal" in text
    for part in ("--seed 7", "12 s", said["commit"], said["machine"].split()[0], f"torch {said['versions']['torch']}"):
        assert part in text
    assert [each["file"] for each in said["files"]] == ["results/SN-0123456789abcdef/trials-000-024.json.gz"] * 3
    assert [each["equal"] for each in said["files"]] == [BIT_BY_BIT, STATISTICALLY, UNEQUAL]
    assert all(len(each["sha256"]) == 64 and each["sha256"][:16] in text for each in said["files"])


def test_it_names_no_folder_of_its_machine(verdicts, tmp_path):
    page = certificate.write(verdicts, "", 0, tmp_path / "out")
    for file in (page, page.with_suffix(".json")):
        text = file.read_text()
        assert str(tmp_path) not in text and "someone" not in text and "\x1b" not in text


def test_it_goes_to_the_projects_address_or_none(verdicts):
    said = certificate.certificate(verdicts, "", 0)
    assert certificate.NOWHERE in certificate.markdown(said, {}) and "https://" not in certificate.markdown(said, {})
    assert "to https://example.org." in certificate.markdown(said, {"Issues": "https://example.org"})
