import copy
import gzip
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from statistics import fmean, stdev

import pytest

from lib import Experiment, Store, load, store
from lib.analysis import default_store
from lib.machine import ROOT
from lib.table import columns
from lib.training import train
from report.inventory import (
    HEADER,
    Refused,
    Stored,
    add,
    age,
    experiment_of,
    inventory,
    lines,
    outlook,
    place_of,
    remove,
    stored_results,
    to_remove,
)

SMALL = Experiment.parse("CAUX dataset=digits epochs=2 train_pairs=50 test_pairs=20 momentum=0.9")
OTHER = SMALL.changed("SN epochs=3")
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def records():
    made = [train(SMALL, range(3))[0], train(SMALL, range(25, 27))[0], train(OTHER, range(2))[0]]
    for days, record in enumerate(made):
        record["provenance"]["started"] = (NOW - timedelta(days=days + 1)).isoformat()
    return made


@pytest.fixture
def held(tmp_path, records):
    held = Store(tmp_path / "held")
    for record in records:
        held.write(record)
    return held


@pytest.fixture
def own(records):
    """The user's own store, as the project's is asked for it."""
    own = default_store()
    for record in records:
        own.write(record)
    return own


def damage(file):
    file.write_bytes(file.read_bytes()[:-9])
    return file


def everything(folder):
    """All files below a folder, with their bytes."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def other_results(record):
    """The record, as another machine might have it."""
    other = copy.deepcopy(record)
    other["train_loss"][0][0] += 1
    return other


def test_a_store_is_listed_as_experiments_are_said(held, records):
    listed, damaged = inventory(held)
    assert damaged == []
    assert [(each.words, each.reason, each.trials, each.key) for each in listed] == [
        (str(SMALL), "", 5, SMALL.key),
        (str(OTHER), "", 2, OTHER.key),
    ]
    assert [Experiment.parse(each.words).key for each in listed] == [each.key for each in listed]
    assert [each.started for each in listed] == [NOW - timedelta(days=1), NOW - timedelta(days=3)]
    last = [5.0 * row[-1] for record in records[:2] for row in record["test_correct"]]
    assert (listed[0].mean, listed[0].sd) == pytest.approx((fmean(last), stdev(last)))
    assert inventory(Store(held.root / "elsewhere")) == ([], [])


def test_what_is_listed_agrees_with_the_table(held):
    """A trial of two groups counts once, out of the longer one."""
    held.write(train(SMALL, range(2, 6))[0])
    found, [small, other] = columns(held), inventory(held)[0]
    for experiment, listed, trials in ((SMALL, small, 8), (OTHER, other, 2)):
        last = found["accuracy"][(found["key"] == experiment.key) & (found["epoch"] == experiment.epochs)]
        assert listed.trials == len(last) == trials
        assert (listed.mean, listed.sd) == pytest.approx((last.mean(), last.std(ddof=1)))


def test_every_file_of_an_experiment_has_a_size(held):
    folder = next(held.files()).parent
    (folder / "weights-000-002.safetensors").write_bytes(bytes(1_500_000))
    assert inventory(held)[0][0].size == sum(len(content) for content in everything(folder).values()) > 1_500_000


def test_both_folders_of_a_store_are_listed_and_one_folder_once(tmp_path, own, records):
    Store(tmp_path / "other").write(records[0])
    listed, _ = inventory(Store(own.root, also=[tmp_path / "other", own.root]))
    assert [(each.place, each.trials, each.key) for each in listed] == [
        ("other", 3, SMALL.key),
        ("own", 5, SMALL.key),
        ("own", 2, OTHER.key),
    ]
    assert place_of(ROOT / "lib" / ".." / "report" / "results") == "published"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"protocol": 0}, "protocol 0 there and 1 here"),
        ({"noise": 0.5}, "noise 0.5 there and None here"),
        ({"architecture": "no_such_module:Mine"}, "no_such_module"),
        ({"optimizer": "lion"}, "optimizer is 'lion'"),
    ],
)
def test_an_experiment_that_this_version_cannot_say_is_listed_with_the_reason(held, records, change, reason):
    configuration = {**SMALL.configuration, **change}
    file = held.write({**records[0], "configuration": configuration})
    with pytest.raises((ValueError, TypeError), match=reason):
        experiment_of(configuration)
    listed, damaged = inventory(held)
    [other] = [each for each in listed if each.reason]
    assert reason in other.reason and damaged == []
    assert (other.words, other.trials, other.key) == (file.parent.name, 3, store.key(configuration))
    text = " ".join(" ".join(lines(listed, NOW, 100)).split())
    assert "cannot be said: " in text and reason in text


def test_a_damaged_file_is_named_and_what_else_there_is_is_listed(held, records):
    files = list(held.files())
    damage(files[0])
    files[2].unlink()
    files[2].mkdir()  # all of OTHER
    listed, damaged = inventory(held)
    assert [(each.words, each.trials) for each in listed] == [(str(SMALL), 2)]
    assert len(damaged) == 2
    assert damaged[0].startswith(f"{files[0]} cannot be trusted: ") and str(files[2]) in damaged[1]


def test_a_damaged_file_says_nothing_to_the_terminal(held):
    file = next(held.files())
    record = json.loads(gzip.decompress(file.read_bytes()))
    del record["sha256"]
    file.write_bytes(store.packed({**record, "\x1b[2J\nfield": 1}))
    [sentence] = inventory(held)[1]
    assert "field" in sentence and sentence.isprintable()


def test_a_record_that_says_no_time_at_which_it_can_have_been_made_is_listed(held, records):
    origin = {**records[2]["provenance"], "started": "0001-01-01T00:00:00+14:00"}
    record = {**records[2], "trials": [25, 26], "provenance": origin}
    held.write(record).with_name("trials-000-001.json.gz").unlink(missing_ok=True)
    [_, other], damaged = inventory(held)
    assert (other.started, damaged) == (None, [])
    assert "  unknown  " in lines([other], NOW, 120)[1]


def test_what_git_says_of_a_file_is_not_its_age(held):
    for file in held.files():
        assert datetime.fromtimestamp(file.stat().st_mtime, UTC) != NOW - timedelta(days=1)
    rows = lines(inventory(held)[0], NOW, 120)
    assert ["  1 day  " in row for row in rows] == [False, True, *[False] * (len(rows) - 2)]
    assert sum("  3 days  " in row for row in rows) == 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "just now"),
        (59, "just now"),
        (60, "1 minute"),
        (7300, "2 hours"),
        (86_399, "23 hours"),
        (3 * 86_400, "3 days"),
        (45 * 86_400, "1 month"),
        (800 * 86_400, "2 years"),
    ],
)
def test_an_age_is_said_in_its_largest_unit(seconds, words):
    assert age(seconds) == words


LONGEST = "SAUX fully_convolutional=True one_hot_encoding=False hidden=64-64-32-16 learning_rate=0.001 momentum=0.9"
LISTED = [
    Stored("CAUX", "", 150, 75.56, 7.68, 270_000, NOW - timedelta(days=3), "published", "1e234a8bcad4e86c"),
    Stored(LONGEST, "", 1, 100.0, float("nan"), 12_345_678, None, "own", "0123456789abcdef"),
    Stored("SN-00000000deadbeef", "a reason " * 20, 25, 9.5, 0.04, 0, NOW, "own", "00000000deadbeef"),
]


@pytest.mark.parametrize("width", [80, 90, 100, 120, 300])
def test_the_columns_are_aligned_at_any_width(width):
    rows = lines(LISTED, NOW, width)
    assert all(len(row) <= width for row in rows)
    assert all(word in " ".join(rows).split() for each in LISTED for word in each.words.split()), "a word is broken"
    keys = ["key", *(each.key for each in LISTED)]
    numbers = [next(row for row in rows if row.endswith(f"  {key}")) for key in keys]
    assert len({row.rindex("  ") for row in numbers}) == 1
    starts = {row.index(mark) for row, mark in zip(numbers, ("  store", "  published", "  own", "  own"), strict=True)}
    ends = {row.index(mark) + len(mark) for row, mark in zip(numbers, ("MB", "0.27", "12.35", "0.00"), strict=True)}
    assert len(starts) == len(ends) == 1
    assert numbers[1].split()[-9:] == ["150", "75.6", "±", "7.7", "0.27", "3", "days", "published", keys[1]]
    assert numbers[2].split()[-6:] == ["1", "100.0", "12.35", "unknown", "own", keys[2]]
    heading = " ".join(rows[:2]) if width < 100 else rows[0]
    assert heading.split() == " ".join(HEADER).split()


def test_what_fits_is_one_line_each():
    said = [each._replace(words=f"{each.words.split()[0]} momentum=0.9", reason="") for each in LISTED]
    assert [row.split("  ")[0].strip() for row in lines(said, NOW, 100)] == ["experiment", *(e.words for e in said)]


def test_an_experiment_is_removed_by_its_words_or_its_key_or_its_folder(own, records):
    folder = own.find(SMALL.configuration, range(3)).parent
    other = own.find(OTHER.configuration, range(2)).parent
    for name in ("measure-norm-000-024.json.gz", "weights-000-024.safetensors", "weights-000-024.json.gz"):
        (folder / name).touch()
    (folder / ".trials-000-024.json.gz.x7_.part").touch()  # a writer was killed
    shuffled = " ".join(reversed(str(SMALL).split()))
    for text in (str(SMALL), shuffled, SMALL.key, folder.name):
        assert to_remove(text, own) == (folder, sorted(folder.iterdir()))
    assert len(list(folder.iterdir())) == 6
    remove(*to_remove(SMALL.key, own))
    assert not folder.exists() and len(list(other.iterdir())) == 1


def test_a_damaged_or_unsayable_experiment_is_removed_too(own, records):
    damage(own.find(OTHER.configuration, range(2)))
    remove(*to_remove(str(OTHER), own))
    configuration = {**SMALL.configuration, "protocol": 0}
    own.write({**records[0], "configuration": configuration})
    remove(*to_remove(store.key(configuration), own))
    assert [file.name for file in Store(own.root).files()] == ["trials-000-002.json.gz", "trials-025-026.json.gz"]


@pytest.mark.parametrize("name", ["notes.txt", "trials-000-024.json.gz.bak", ".git", "weights.pt", "trials-a.json.gz"])
@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_nothing_is_removed_where_something_is_not_ours(own, name, kind, tmp_path):
    folder = own.find(SMALL.configuration, range(3)).parent
    if kind == "file":
        (folder / name).write_text("mine")
    elif kind == "folder":
        name = "trials-050-074.json.gz"
        (folder / name).mkdir()
    else:
        name = "weights-000-024.safetensors"
        (tmp_path / "weights").touch()
        (folder / name).symlink_to(tmp_path / "weights")
    before = everything(own.root)
    with pytest.raises(Refused, match=f"^nothing is removed: .*{folder.name} holds what is not ours: '{name}'$"):
        to_remove(SMALL.key, own)
    assert everything(own.root) == before


def test_a_link_to_another_folder_is_not_followed(own, tmp_path):
    folder = own.find(SMALL.configuration, range(3)).parent
    moved = folder.rename(tmp_path / folder.name)
    folder.symlink_to(moved)
    with pytest.raises(Refused, match="is a link to another folder"):
        to_remove(SMALL.key, own)
    assert len(list(moved.iterdir())) == 2


def test_a_file_that_appears_meanwhile_stays(own):
    folder, files = to_remove(SMALL.key, own)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(OSError, match=r"not empty"):
        remove(folder, files)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_the_published_study_is_never_removed_from(own):
    """Said by words or by key, and where it is the user's own store at the same time."""
    published = Experiment.parse("CAUX momentum=0.9")
    root = next(folder for folder in own.also if folder.is_dir())
    for held in (own, Store(root), Store(own.root)):
        for text in ("CAUX momentum=0.9", published.key):
            with pytest.raises(Refused, match=r"^'.*' is part of the published study, which is never removed from$"):
                to_remove(text, held)


def test_of_what_is_stored_in_both_ones_own_is_removed(tmp_path, own, records):
    published = Store(tmp_path / "published")
    file = published.write(records[0])
    folder, _ = to_remove(SMALL.key, Store(own.root, also=[published.root]))
    assert folder.parent == own.root and file.exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (SMALL.key[:-1] + "x", rf"no key, and no experiment: architecture is .*; near it: .*\({SMALL.key}\)"),
        (SMALL.key[:4], rf"no key, and no experiment: .*; near it: {SMALL} \({SMALL.key}\)"),
        (f"0{SMALL.key[1:]}" if SMALL.key[0] != "0" else f"1{SMALL.key[1:]}", rf"is not in .*near it: {SMALL} "),
        (str(SMALL.changed("momentum=0.5")), rf"is not in .*; near it: {SMALL} \({SMALL.key}\)"),
        ("CAUX momentun=0.9", "there is no parameter 'momentun' \\(did you mean 'momentum'"),
        ("WSN momentum=0.5 seed=7", "`python -m report stored` lists what is stored"),
        ("../elsewhere", "no key, and no experiment"),
        ("  ", "say what to remove"),
    ],
)
def test_what_is_not_stored_is_refused_in_a_sentence_that_names_near_ones(own, text, sentence):
    before = everything(own.root)
    with pytest.raises(Refused, match=sentence) as refused:
        to_remove(text, own)
    assert "\n" not in str(refused.value)
    assert everything(own.root) == before


def became(folder, held):
    """What became of the files of another store, and the sentences."""
    several = list(add(folder, held))
    return [what for what, _ in several], [sentence for _, sentence in several if sentence]


def test_another_store_is_brought_in_once(held):
    own = default_store()
    assert became(held.root, own) == (["added"] * 3, [])
    relative = {path.relative_to(held.root): content for path, content in everything(held.root).items()}
    assert {path.relative_to(own.root): content for path, content in everything(own.root).items()} == relative
    assert became(held.root, own) == (["there"] * 3, [])


def test_groups_of_other_lengths_stand_beside_each_other(held, records, tmp_path):
    longer = Store(tmp_path / "longer")
    [record] = train(SMALL, range(5))
    longer.write(record)
    own = default_store()
    assert became(held.root, own)[0] + became(longer.root, own)[0] == ["added"] * 4
    assert load(SMALL, 5, own).records == (record,)


def test_what_conflicts_or_is_damaged_is_named_and_the_rest_is_brought(held, records):
    own = default_store()
    stands = own.write(other_results(records[0]))
    before = stands.read_bytes()
    files = list(held.files())
    damage(files[1])
    whats, sentences = became(held.root, own)
    assert whats == ["conflict", "damaged", "added"]
    assert sentences[0].startswith(f"{stands} holds other results") and sentences[1].startswith(f"{files[1]} cannot be")
    assert stands.read_bytes() == before and not stands.with_name(files[1].name).exists()
    damage(stands)
    assert became(held.root, own)[0] == ["damaged", "damaged", "there"]


def test_what_is_published_is_there_already(held, records, tmp_path):
    published = Store(tmp_path / "published")
    published.write(records[0])
    published.write(other_results(records[1]))
    own = Store(tmp_path / "own", also=[published.root])
    assert became(held.root, own)[0] == ["there", "conflict", "added"]
    assert len(list(Store(own.root).files())) == 1


def test_no_link_is_followed_out_of_the_folder(held, tmp_path):
    """Neither that of a file nor that of a folder; one that stays inside is read."""
    files = list(held.files())
    outside = tmp_path / "outside"
    outside.mkdir()
    target = files[0].rename(outside / files[0].name)
    files[0].symlink_to(target)
    folder = files[2].parent.rename(outside / files[2].parent.name)
    files[2].parent.symlink_to(folder)
    inside = files[1].rename(held.root / "elsewhere")
    files[1].symlink_to(inside)
    whats, sentences = became(held.root, default_store())
    assert whats == ["damaged", "added", "damaged"]
    assert [f"{file} is no file in that folder: it was not read" for file in (files[0], files[2])] == sentences
    link = tmp_path / "link"
    link.symlink_to(held.root)
    assert became(link, default_store())[0] == ["damaged", "there", "damaged"], "the folder itself may be a link"


def test_no_module_that_a_file_names_is_imported(held, records, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    name = "named_by_a_stored_file"
    (tmp_path / f"{name}.py").write_text("raise SystemExit('this was imported')")
    architecture = {**SMALL.configuration, "architecture": f"{name}:Mine", "source": "0"}
    held.write({**records[0], "configuration": architecture})
    assert became(held.root, default_store()) == (["added"] * 4, [])
    assert name not in sys.modules
    [reason] = [each.reason for each in inventory(held)[0] if each.reason]
    assert "this was imported" in reason, "it could not have been imported: the test would be vacuous"


def test_where_there_is_nothing_to_bring_it_is_said(tmp_path):
    for folder, sentence in ((tmp_path / "nowhere", "there is no folder "), (tmp_path, "holds no stored group")):
        with pytest.raises(Refused, match=sentence):
            list(add(folder, default_store()))


def test_what_is_stored_is_loaded_and_what_is_required_and_missing_is_named(held):
    [found] = stored_results(held, [OTHER, SMALL], 3, required=[SMALL])
    assert found.experiment == SMALL
    assert found.accuracy.tolist() == load(SMALL, 3, held).accuracy.tolist()
    with pytest.raises(FileNotFoundError, match=r"no stored result of CAUX .* trials 0 to 24"):
        stored_results(held, [SMALL, OTHER], 30, required=[SMALL])


def test_the_outlook_counts_what_is_missing_and_takes_the_stored_seconds(held, records):
    text = outlook(held, [SMALL, OTHER], trials=30, workers=2)
    # SMALL lacks trials 0-24 and 25-29, OTHER the same
    assert text.startswith("to train: 4 of 4 groups, 150 trial-epochs, in a time that no stored group tells")
    seconds = records[2]["provenance"]["seconds"] / 2 / 3
    text = outlook(held, [OTHER, SMALL.changed("epochs=90000")], trials=2, workers=4)
    assert text.startswith("to train: 1 of 2 groups, 180,000 trial-epochs, about ")
    assert f"about {180_000 * seconds / 3600 / 4:.1f} hours with 4 at a time" in text
    assert f"(stored groups took {1000 * seconds:.1f} ms of a core per trial-epoch)" in text
    assert outlook(held, [OTHER], trials=2, workers=2) == "nothing to train: all 1 groups are stored"


def test_a_store_is_listed_without_torch(tmp_path):
    code = "import sys\nfrom report.__main__ import main\n"
    code += f"main(['stored', '--results', {str(tmp_path)!r}])\nsys.exit('torch' in sys.modules)"
    published = next(ROOT.glob("report/results/CAUX-*/trials-000-024.json.gz"))
    for each in (published, next(ROOT.glob("report/results/SN-*/trials-000-024.json.gz"))):
        (tmp_path / each.parent.name).mkdir()
        (tmp_path / each.parent.name / each.name).write_bytes(each.read_bytes())
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" 25 ") == 2
