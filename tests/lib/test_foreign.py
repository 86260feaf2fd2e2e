"""Architectures from outside lib: found by name, named in the key by their source, and trained only as that source."""

import hashlib
import re
import sys

import pytest

from lib import Experiment, Store, load, registry, run_analysis, store, training
from lib.architectures import SN, Network
from lib.foreign import find
from lib.workers import StudyError
from tests.lib.own import look_in, tiny

SOURCE = """from dataclasses import replace

from lib.architectures import WSN


class Net(WSN):
    def __init__(self, sizes):
        super().__init__(replace(sizes, channels=(2, 3), hidden=(4,)))
"""
EDITED = f"{SOURCE}\n    note = 'edited'\n"


@pytest.mark.parametrize("setting", ["auxiliary_weight=1.0", "auxiliary_hidden=9"])
@pytest.mark.parametrize("alone", [True, False])
def test_a_stack_with_an_answer_alone_reads_nothing_of_a_second_head(own_module, alone, setting):
    source = "from lib.architectures import Network\nfrom lib.tasks import CLASSES, COMPARISON\nclass Net(Network):\n"
    heads = "{'answer': COMPARISON}" if alone else "{'answer': COMPARISON, 'digits': CLASSES}"
    name = own_module(f"{source}    heads = {heads}\n")
    said = setting.replace("=", " is ")
    if alone:
        with pytest.raises(ValueError, match=f"^{said}, which {name}:Net does not read; leave it out$"):
            Experiment.parse(f"{name}:Net {setting}")
    else:
        assert setting in str(Experiment.parse(f"{name}:Net {setting}"))


@pytest.fixture
def module(own_module, tmp_path):
    """The name and the file of a module with an architecture `Net`."""
    name = own_module(SOURCE)
    yield name, tmp_path / f"{name}.py"
    sys.modules.pop(name, None)


def test_lib_s_own_architectures_are_found_by_either_name():
    assert find("SN") is find("lib.architectures:SN") is SN
    known = "SN, WSN, SAUX, CAUX, NAMES, NARROW, SIDE, DIAL"
    with pytest.raises(ValueError, match=f"^architecture is 'SM'; allowed: {known}, or module:Class$"):
        find("SM")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("1 / 0", "division by zero"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("class", "invalid syntax"),
        ("raise SystemExit('a script, not a module')", "a script, not a module"),
        ("", "has no attribute 'Net'"),
        ("class Nett: pass", r"has no attribute 'Net' \(did you mean 'Nett'\?\) \(its file is .*\)"),
    ],
)
def test_a_module_that_cannot_be_imported_is_refused_with_its_reason(own_module, source, reason):
    name = own_module(source)
    with pytest.raises(ValueError, match=f"^architecture is '{name}:Net', which cannot be imported: .*{reason}"):
        Experiment(architecture=f"{name}:Net")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("Net = 1", "which is neither a torch.nn.Module nor a subclass of lib.architectures.Network"),
        ("class Net: pass", "which is neither a torch.nn.Module nor a subclass of lib.architectures.Network"),
        (f"{SOURCE}    heads = {{}}", "whose heads are {}; allowed: a lib.tasks.Task for 'answer' and for each"),
        (f"{SOURCE}    heads = None", "whose heads are None; allowed: "),
        (f"{SOURCE}    heads = {{'answer': 2}}", "whose heads are {'answer': 2}; allowed: "),
        (f"{SOURCE}    heads = {{'auxiliary': WSN.heads['answer']}}", "whose heads are {'auxiliary': Task("),
    ],
)
def test_what_is_no_network_is_refused_and_told_why(own_module, source, reason):
    name = own_module(source)
    with pytest.raises(ValueError, match=re.escape(f"architecture is '{name}:Net', {reason}")):
        Experiment(architecture=f"{name}:Net")


def test_the_source_is_part_of_the_key_and_an_edited_file_makes_another_one(module):
    name, file = module
    before = Experiment(architecture=f"{name}:Net")
    assert before.configuration["source"] == hashlib.sha256(SOURCE.encode()).hexdigest()
    key = before.key
    file.write_text(EDITED)
    assert find(f"{name}:Net").note == "edited", "the edited file was imported"
    after = Experiment(architecture=f"{name}:Net")
    assert after.configuration["source"] == hashlib.sha256(EDITED.encode()).hexdigest()
    assert before.key == key != after.key and before != after
    file.write_text(SOURCE)
    assert Experiment(architecture=f"{name}:Net") == before
    assert not hasattr(find(f"{name}:Net"), "note")


def test_a_class_that_another_module_imports_is_that_of_its_own_file(module, own_module):
    name, file = module
    other = own_module(f"from {name} import Net", "_other")
    experiment = Experiment(architecture=f"{other}:Net")
    assert experiment.configuration["source"] == hashlib.sha256(SOURCE.encode()).hexdigest()
    file.write_text(EDITED)
    assert Experiment(architecture=f"{other}:Net") != experiment
    assert find(f"{other}:Net").note == "edited"


def test_an_experiment_whose_file_was_edited_since_is_not_trained(module, tmp_path):
    name, file = module
    experiment = tiny(f"{name}:Net")
    training.prepare(experiment, range(2))
    file.write_text(EDITED)
    sentence = f"the file of {name}:Net is not the one that this experiment was made with: make it again"
    for train in (training.prepare, training.train):
        with pytest.raises(ValueError, match=f"^{sentence}$"):
            train(experiment, range(2))
    with pytest.raises(StudyError, match=sentence):
        run_analysis(experiment, 2, store=Store(tmp_path / "results"), progress=False)
    assert not list(Store(tmp_path / "results").files())
    assert training.prepare(tiny(f"{name}:Net"), range(2)), "made again, it is trained"


@pytest.mark.slow  # a process of its own; the same check in this process is above
def test_a_worker_that_imports_another_source_refuses(module, pool, tmp_path):
    """It has another folder of the same modules, say; or the file was edited on its way."""
    name, file = module
    pool.submit(look_in, str(tmp_path)).result()
    file.write_text(EDITED)
    experiment = tiny(f"{name}:Net", epochs=1)
    file.write_text(SOURCE)
    with pytest.raises(ValueError, match=f"the file of {name}:Net is not the one that this experiment was made with"):
        pool.submit(training.train, experiment, range(2)).result()
    file.write_text(EDITED)  # and it can learn
    run_analysis(experiment, 2, store=Store(tmp_path / "results"), executor=pool, progress=False)
    assert len(list(Store(tmp_path / "results").files())) == 1


@pytest.fixture
def fifth(module):
    """A fifth architecture: one line."""
    registry.ARCHITECTURES["FIFTH"] = f"{module[0]}:Net"
    yield "FIFTH"
    del registry.ARCHITECTURES["FIFTH"]


def test_a_fifth_architecture_is_one_line(fifth, module, tmp_path):
    experiment = Experiment.parse("FIFTH dataset=digits epochs=1 train_pairs=20 test_pairs=20 batch_size=10")
    assert issubclass(find("FIFTH"), Network) and experiment.name == "FIFTH"
    assert str(experiment) == "FIFTH dataset=digits train_pairs=20 test_pairs=20 epochs=1 batch_size=10"
    assert Experiment.parse(str(experiment)) == experiment
    assert experiment.configuration["source"] == hashlib.sha256(SOURCE.encode()).hexdigest()
    assert experiment.key == store.key(experiment.configuration) != Experiment(architecture=f"{module[0]}:Net").key
    with pytest.raises(ValueError, match=r"did you mean 'FIFTH'\?"):
        Experiment(architecture="fifht")
    with pytest.raises(ValueError, match=r"^auxiliary_weight is 1\.0, which FIFTH does not read; leave it out$"):
        Experiment.parse("FIFTH auxiliary_weight=1")
    held = Store(tmp_path / "results")
    result = run_analysis(experiment, 3, store=held, progress=False)
    assert result.accuracy.shape == (3, 1)
    [file] = held.files()
    assert file.parent.name == f"FIFTH-{experiment.key}"
    assert load(experiment, 3, held).records == result.records


def test_a_worker_knows_the_names_that_were_registered(fifth, pool, tmp_path):
    pool.submit(look_in, str(tmp_path)).result()
    held = Store(tmp_path / "results")
    assert run_analysis(tiny(fifth, epochs=1), 2, store=held, executor=pool, progress=False).trials == 2


def test_an_architecture_that_is_no_stack_of_trials_is_refused_before_any_training(own_module, tmp_path):
    noisy = f"""{SOURCE}
    def forward(self, images):
        import torch
        return super().forward(images + torch.rand_like(images))
"""
    name = own_module(noisy)
    with pytest.raises(
        ValueError, match=f"^{name}:Net cannot be trained: Net gives other numbers when it is trained again"
    ):
        run_analysis(tiny(f"{name}:Net"), 2, store=Store(tmp_path / "results"), progress=False)
    assert not (tmp_path / "results").exists()


def test_the_battery_runs_once_per_source(own_module, tmp_path, monkeypatch):
    log = tmp_path / "built.log"
    monkeypatch.setenv("BUILT_LOG", str(log))
    counting = (
        SOURCE
        + """
        with open(os.environ["BUILT_LOG"], "a") as log:
            log.write(f"{sizes.trials}")
"""
    )
    name = own_module(f"import os\n{counting}")
    held = Store(tmp_path / "results")
    run_analysis(tiny(f"{name}:Net"), 4, store=held, progress=False)
    first = log.read_text()
    assert first[-1] == "4" and set(first[:-1]) == {"1", "2", "3"}, "the battery's stacks, and the training's"
    run_analysis(tiny(f"{name}:Net", epochs=1), 4, store=held, progress=False)
    assert log.read_text() == first + "4"
    (tmp_path / f"{name}.py").write_text(f"import os\n{counting}# edited\n")
    run_analysis(tiny(f"{name}:Net", epochs=1), 4, store=held, progress=False)
    assert log.read_text() == first + "4" + first
