import csv
import gzip
import io
import json
import re
import time
import tomllib

import numpy as np
import pytest
import yaml

from lib import Store, load, store
from lib.machine import ROOT
from report import publish, study, tables

PUBLISHED = ROOT / "report" / "published"
PACKAGE = json.loads((PUBLISHED / "datapackage.json").read_text(encoding="utf-8"))
RESOURCES = {each["name"]: each for each in PACKAGE["resources"]}
KINDS = {"integer": "i", "number": "f", "boolean": "b"}
pandas = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def loaded():
    """What README's line loads."""
    block = (ROOT / "README.md").read_text(encoding="utf-8").split("<!-- data -->")[1].split("<!-- /data -->")[0]
    [line] = re.search(r"```python\n(.*?)```", block, re.S)[1].splitlines()
    names = {"pandas": pandas}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        exec(line, names)
    return {name: names[name] for name in tables.TITLES}


def test_a_setting_is_described_by_what_it_is_and_who_chose_it():
    said = {field["name"]: field["description"] for field in RESOURCES["epochs"]["schema"]["fields"]}
    assert said["config.momentum"] == "of SGD; 0: plain (setting momentum, by we: 0.9 as a second reading)"
    assert "100 * test_correct / config.test_pairs" in said["config.test_pairs"]
    for resource in RESOURCES.values():
        names = [field["name"] for field in resource["schema"]["fields"]]
        text = " ".join(field["description"] for field in resource["schema"]["fields"])
        assert set(re.findall(r"config\.\w+", text)) <= set(names)


def test_readmes_line_loads_both_tables_and_the_dictionary_says_each_column(loaded):
    assert set(loaded) == set(RESOURCES)
    for name, found in loaded.items():
        schema = RESOURCES[name]["schema"]
        assert [field["name"] for field in schema["fields"]] == list(found.columns)
        assert not found.duplicated(schema["primaryKey"]).any()
        for field in schema["fields"]:
            values = found[field["name"]].dropna()
            assert len(values) and len(field["description"]) > 10, field
            if field["type"] == "string":
                assert all(isinstance(value, str) for value in values.unique())
            elif field["type"] == "integer":
                assert (values == values.round()).all()
            else:
                assert values.dtype.kind in KINDS[field["type"]] + "i"


def test_the_tables_hold_what_is_stored(loaded):
    epochs, final = loaded["epochs"], loaded["final"]
    assert len(epochs) == len(study.EXPERIMENTS) * study.TRIALS * 100
    stored = [file for root in tables.STORES for file in Store(root).files()]
    assert len(final) == sum(int(file.name[11:14]) - int(file.name[7:10]) + 1 for file in stored)
    for experiment in (study.STANDARD[0], study.STANDARD[-1]):
        mine = epochs[epochs.key == experiment.key]
        result = load(experiment, study.TRIALS, Store(tables.PUBLISHED))
        for name in ("test_correct", "train_loss", "test_loss"):
            assert mine[name].tolist() == result.values(name).ravel().tolist()
        assert (mine["config.momentum"] == experiment.momentum).all()
    for file in stored[:: len(stored) // 5]:
        record = store.read(file)
        mine = final[(final.store == file.parent.parent.name) & (final.key == file.parent.name.rpartition("-")[2])]
        mine = mine[mine.trial.isin(record["trials"])]
        assert mine.test_correct.tolist() == [row[-1] for row in record["test_correct"]]
        assert mine.fingerprint.tolist() == record["fingerprints"]
    ends = pandas.read_csv(PUBLISHED / "statements.csv")
    both = ends.merge(final[final.store == tables.PREREGISTERED.name], on=["key", "trial"])
    assert len(both) == len(ends)
    assert np.allclose(both.final_score_x, both.final_score_y, atol=1e-3)


@pytest.mark.parametrize("name", tables.TITLES)
def test_a_table_is_small_and_quick_to_read(name):
    path = PUBLISHED / f"{name}.csv.gz"
    assert path.stat().st_size <= 5_000_000
    taken = []
    for _ in range(3):
        start = time.process_time()
        pandas.read_csv(path)
        taken.append(time.process_time() - start)
    assert min(taken) < 1


@pytest.mark.slow
def test_the_published_tables_are_what_the_stores_give():
    assert tables.outdated(publish.stored_study()) == []


def test_the_same_results_are_packed_the_same(tmp_path):
    content = gzip.compress(b"a,b\n", 9, mtime=0)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a,b\n", 1, mtime=5))
    assert tables.unpacked(tmp_path / "a.csv.gz") == tables.plain("a.csv.gz", content), "packing does not count"
    assert tables.unpacked(tmp_path / "none.csv.gz") is None
    assert list(csv.reader(io.StringIO(tables.table(["a"], [["1, 2"]])))) == [["a"], ["1, 2"]]


def test_the_citation_says_what_the_project_says():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (cited["cff-version"], cited["version"], cited["license"]) == (
        "1.2.0",
        project["version"],
        project["license"],
    )
    assert cited["title"] and cited["message"] and cited["authors"]
    assert [each["type"] for each in cited["references"]] == ["report", "data"]
    addresses = {"url", "repository", "repository-code", "doi"} & set(cited)
    assert bool(addresses) <= bool(project.get("urls")), "no address is invented"
    assert ("homepage" in PACKAGE) == bool(project.get("urls"))
