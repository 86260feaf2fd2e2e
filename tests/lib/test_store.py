"""The store, tried against what can happen to files and to processes that write them.

A case, what the user sees, and the test that holds it:

- A writer is killed (-9) at a random moment: a whole file or none, and a re-run writes what is missing;
  `test_a_killed_writer_leaves_whole_files`.
- A call of mkdir, open, write, flush, fsync, chmod or link fails: the system's error, and nothing under the final name
  or all of it; `test_a_fault_at_any_call_leaves_a_whole_file_or_none`.
- The disk is full: "No space left on device", earlier files intact; `test_a_full_disk_leaves_earlier_files_intact`.
- The results folder is read-only: one sentence before any training;
  `test_analysis.py::test_a_read_only_folder_is_said_before_training`.
- Spaces and non-ASCII letters in the path, locale C: nothing; `test_any_folder_name_will_do`,
  `test_workers.py::test_two_runs_on_one_store_at_once_in_a_strange_folder_under_locale_c`.
- One byte flipped: file, reason, what to do; `test_every_flipped_byte_is_found`.
- A file cut short, or empty: the same; `test_a_file_cut_anywhere_is_refused`.
- A file edited by hand, if only its blanks: the same; `test_a_hand_edit_is_refused`.
- A file copied into another folder or under another name: the same, and where it belongs;
  `test_a_file_in_the_wrong_place_is_refused`.
- Another schema: the same, with both numbers; `test_another_schema_is_refused`.
- Another protocol: the result is not found, its key is another; `test_results_of_another_protocol_are_not_found`.
- NaN, infinity, a field named twice: file, reason, what to do; `test_what_json_lets_pass_is_refused`.
- Wrong shapes, counts, ranges, even under a right checksum: the same, nor can they be written;
  `test_contradictions_are_refused`.
- Other results for a stored block: ConflictError, the stored ones stay; `test_other_results_never_replace_stored_ones`.
- Two writers of one block at once: one file, and if results differ one of them is told; `test_two_writers_at_once`.
- A block in both stores, or a longer one: the published, the longest;
  `test_the_published_and_the_longest_block_is_read`.
- A damaged file among the stored: its name, before any training;
  `test_analysis.py::test_a_damaged_file_is_said_before_training`.
- The whole study is killed (-9): no process is left, a re-run says what is kept and ends with the same bits;
  `test_workers.py::test_a_study_killed_at_random_moments_is_resumed_to_the_same_bits`.
- A worker is killed: the missing blocks again, given up by name after three rounds without progress;
  `test_workers.py::test_a_killed_worker_...`, `test_workers.py::test_a_block_that_always_kills_...`.
- A worker has no memory left, a loss is not finite: the block's name and the reason, the other blocks are kept;
  `test_workers.py::test_an_error_in_one_block_is_said_and_the_others_are_kept`, `..._a_loss_that_is_not_finite_...`.
- Ctrl-C: finished blocks are kept, no process is left;
  `test_workers.py::test_ctrl_c_keeps_finished_blocks_and_leaves_no_process`.
- The clock is set back: nothing; `test_workers.py::test_a_clock_that_is_set_back_changes_nothing_but_the_start`.
- Fewer cores than workers: the same bits; `test_workers.py::test_any_number_of_workers_gives_the_same_bits`.
- Trials that saw other pairs: they cannot be paired; `test_analysis.py::test_only_trials_of_the_same_pairs_are_paired`.
- MNIST damaged, missing, not to be downloaded: file, hashes, what to put where; `test_data.py`.
- Bad parameters: one sentence naming the parameter, its value and what is allowed; `test_experiment.py`,
  `test_analysis.py::test_bad_arguments_...`, and by papermill, with an exit code that is not 0 and nothing trained,
  `test_build.py::test_plain_papermill_refuses_wrong_parameters_in_one_sentence`.
- lib computes other numbers under the same protocol: the golden block fails; `test_golden.py`.
"""

import copy
import errno
import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lib import store
from lib.machine import ROOT

TRIALS, EPOCHS, N = 3, 4, 30


def make_record(architecture="CAUX", seed=1, trials=TRIALS, auxiliary=True, first=0, **configuration):
    """A record as the training makes it, out of numbers drawn here."""
    rng = random.Random(seed)
    bits = [[rng.random() < 0.7 for _ in range(N)] for _ in range(trials)]
    tables = []
    for row in bits:
        table = [[[0, 0] for _ in range(10)] for _ in range(10)]
        for right in row:
            cell = table[rng.randrange(10)][rng.randrange(10)]
            cell[0] += right
            cell[1] += 1
        tables.append(table)

    def losses():
        return [[float(f"{rng.random():.6g}") for _ in range(EPOCHS)] for _ in range(trials)]

    return {
        "schema": store.SCHEMA,
        "configuration": {
            "architecture": architecture,
            "epochs": EPOCHS,
            "test_pairs": N,
            "learning_rate": 0.01,
            **configuration,
        },
        "trials": list(range(first, first + trials)),
        "data": [f"{rng.getrandbits(64):016x}" for _ in range(trials)],
        "auxiliary_total": 2 * N if auxiliary else None,
        "test_correct": [[rng.randrange(N) for _ in range(EPOCHS - 1)] + [sum(row)] for row in bits],
        "auxiliary_test_correct": [[rng.randrange(2 * N) for _ in range(EPOCHS)] for _ in bits] if auxiliary else None,
        "train_loss": losses(),
        "test_loss": losses(),
        "auxiliary_train_loss": losses() if auxiliary else None,
        "auxiliary_test_loss": losses() if auxiliary else None,
        "last_bits": [store.hex_of(row) for row in bits],
        "last_table": tables,
        "provenance": {"seconds": rng.random()},
    }


def put(path, record):
    """Write a record's bytes, with a right checksum, without the store's checks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(store.serialise(record))
    return path


def refused(path, reason):
    """The file is refused in one message: its name, the reason, what to do."""
    with pytest.raises(store.DamagedResultError, match=reason) as caught:
        store.read(path)
    assert str(path) in str(caught.value)
    assert "Remove it to have these trials trained again" in str(caught.value)


@pytest.fixture
def stored(tmp_path):
    return store.write(tmp_path, make_record())


@pytest.mark.parametrize("auxiliary", [True, False])
def test_what_is_written_is_read(tmp_path, auxiliary):
    record = make_record(auxiliary=auxiliary)
    path = store.write(tmp_path, record)
    assert store.read(path) == record
    assert path.name == "trials-000-002.json"
    assert path.parent.name == f"CAUX-{store.key(record['configuration'])}"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [p.name for p in path.parent.iterdir()] == [path.name], "a temporary file is left"


def test_a_file_is_a_line_per_field_and_any_json_reader_reads_it(stored):
    lines = stored.read_text().splitlines()
    assert len(lines) == len(store.FIELDS) + 3
    assert json.loads(stored.read_text())["trials"] == [0, 1, 2]


def test_the_key_is_the_hash_of_the_canonical_configuration():
    configuration = {"b": 0.01, "a": "SN"}
    assert store.key(configuration) == hashlib.sha256(b'{"a":"SN","b":0.01}').hexdigest()[:16]
    assert store.key({"a": "SN", "b": 0.01}) == store.key(configuration)
    assert store.key({"a": "SN", "b": 0.02}) != store.key(configuration)


@pytest.mark.parametrize("n", [1, 3, 4, 5, 30, 1000])
def test_bits_survive_their_hexadecimal_form(n):
    bits = [bool(random.Random(n + i).randrange(2)) for i in range(n)]
    assert store.bits_of(store.hex_of(bits), n) == bits
    assert store.hex_of([True, False, False, False, True]) == "88"


def test_every_flipped_byte_is_found(stored):
    raw = stored.read_bytes()
    rng = random.Random(7)
    for place in rng.sample(range(len(raw)), 300):
        damaged = bytearray(raw)
        damaged[place] ^= 1 << rng.randrange(8)
        stored.write_bytes(damaged)
        refused(stored, "cannot be trusted")


def test_a_file_cut_anywhere_is_refused(stored):
    raw = stored.read_bytes()
    for length in [0, 1, len(raw) - 1, *random.Random(7).sample(range(2, len(raw)), 30)]:
        stored.write_bytes(raw[:length])
        refused(stored, "cannot be trusted")


@pytest.mark.parametrize("text", ["", "null", "[]", "7", '"x"', "{}", "\0" * 100, "[" * 100_000, "é".encode("latin-1")])
def test_a_file_of_another_kind_is_refused(stored, text):
    stored.write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(stored, "cannot be trusted")


def test_a_hand_edit_is_refused(stored):
    text = stored.read_text()
    correct = json.loads(text)["test_correct"][0][0]
    better = text.replace(f'"test_correct":[[{correct},', f'"test_correct":[[{correct + 1},')
    assert better != text
    for edited in (better, text + "\n", text.replace(",\n", ", \n", 1), json.dumps(json.loads(text))):
        stored.write_text(edited)
        refused(stored, "checksum")


def test_a_file_in_the_wrong_place_is_refused(tmp_path, stored):
    elsewhere = tmp_path / "SN-0123456789abcdef" / stored.name
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(stored.read_bytes())
    refused(elsewhere, f"belongs into {stored.parent.name}/{stored.name}")
    later = stored.with_name("trials-003-005.json")  # the same trials twice would make a mean of fewer
    later.write_bytes(stored.read_bytes())
    refused(later, f"belongs into {stored.parent.name}/{stored.name}")


def test_another_schema_is_refused(tmp_path):
    record = {**make_record(), "schema": store.SCHEMA + 1}
    path = put(store.group_path(tmp_path, record["configuration"], record["trials"]), record)
    refused(path, f"schema is {store.SCHEMA + 1}.*reads {store.SCHEMA}")


def test_results_of_another_protocol_are_not_found(tmp_path):
    old, new = (make_record(protocol=protocol)["configuration"] for protocol in (1, 2))
    store.write(tmp_path, make_record(protocol=1))
    assert store.find([tmp_path], old, range(TRIALS)) is not None
    assert store.find([tmp_path], new, range(TRIALS)) is None


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"train_loss":[[', '"train_loss":[[NaN,', "contains NaN"),
        ('"train_loss":[[', '"train_loss":[[-Infinity,', "contains -Infinity"),
        ('"train_loss":[[', '"train_loss":[[1e999,', "cannot be trusted"),
        ('"schema":1', '"schema":1,"schema":1', "names a field twice"),
        ('"seconds":', '"seconds":1,"seconds":', "names a field twice"),
    ],
)
def test_what_json_lets_pass_is_refused(stored, old, new, reason):
    text = stored.read_text()
    assert old in text
    stored.write_text(text.replace(old, new, 1))
    refused(stored, reason)


def cut_last_epoch(record):
    record["test_loss"][1].pop()


def swap_right_for_wrong(record):
    record["last_bits"][0] = f"{int(record['last_bits'][0], 16) ^ 0b10000:0{len(record['last_bits'][0])}x}"


def reshape_table(record):
    table = record["last_table"][0]
    record["last_table"][0] = [[cell for row in table for cell in row]]


def table_with_negatives(record):
    cells = [cell for row in record["last_table"][0] for cell in row]
    empty = [cell for cell in cells if cell == [0, 0]]
    empty[0][:], empty[1][:] = [0, 1], [0, -1]  # the sums are as they were


CONTRADICTIONS = {
    "a trial less": lambda r: r["test_correct"].pop(),
    "an epoch less": cut_last_epoch,
    "more right than there are pairs": lambda r: r["test_correct"][0].__setitem__(0, N + 1),
    "less than none right": lambda r: r["test_correct"][0].__setitem__(0, -1),
    "half a pair right": lambda r: r["test_correct"][0].__setitem__(0, 0.5),
    "a truth for a count": lambda r: r["test_correct"][0].__setitem__(0, True),
    "a negative loss": lambda r: r["train_loss"][0].__setitem__(0, -0.1),
    "a text for a loss": lambda r: r["train_loss"][0].__setitem__(0, "0.1"),
    "nothing for a loss": lambda r: r["train_loss"][0].__setitem__(0, None),
    "more right digits than digits": lambda r: r["auxiliary_test_correct"][0].__setitem__(0, 2 * N + 1),
    "auxiliary values without a head": lambda r: r.__setitem__("auxiliary_total", None),
    "bits of another count": swap_right_for_wrong,
    "bits of another length": lambda r: r["last_bits"].__setitem__(0, r["last_bits"][0] + "0"),
    "bits that are no digits": lambda r: r["last_bits"].__setitem__(0, "z" * len(r["last_bits"][0])),
    "bits of one trial less": lambda r: r["last_bits"].pop(),
    "a table of one row": reshape_table,
    "a table with negative counts": table_with_negatives,
    "a fingerprint less": lambda r: r["data"].pop(),
    "a field less": lambda r: r.pop("test_loss"),
    "a field more": lambda r: r.__setitem__("best_epoch", 3),
    "trials with a gap": lambda r: r.__setitem__("trials", [0, 1, 3]),
    "a trial twice": lambda r: r.__setitem__("trials", [0, 1, 1]),
    "no trials": lambda r: r.__setitem__("trials", []),
    "no number of epochs": lambda r: r["configuration"].pop("epochs"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictions_are_refused(tmp_path, name):
    record = make_record()
    path = store.group_path(tmp_path, record["configuration"], record["trials"])
    CONTRADICTIONS[name](record)
    if "configuration" in record and record["trials"] and "epochs" in record["configuration"]:
        path = store.group_path(tmp_path, record["configuration"], record["trials"])
    with pytest.raises((ValueError, LookupError, TypeError)):
        store.write(tmp_path, record)
    assert not list(tmp_path.rglob("*.json")), "it was written"
    refused(put(path, record), "cannot be trusted")  # as a file with a right checksum


def test_a_block_that_is_stored_is_left_as_it_is(stored, tmp_path):
    before = stored.read_bytes(), stored.stat().st_mtime_ns
    again = {**make_record(), "provenance": {"seconds": 99.0}}  # the same results, computed again elsewhere
    assert store.write(tmp_path, again) == stored
    assert (stored.read_bytes(), stored.stat().st_mtime_ns) == before


def test_other_results_never_replace_stored_ones(stored, tmp_path):
    before = stored.read_bytes()
    with pytest.raises(store.ConflictError, match=stored.name):
        store.write(tmp_path, make_record(seed=2))
    stored.write_bytes(before[:-9])
    with pytest.raises(store.DamagedResultError):
        store.write(tmp_path, make_record())  # nor damaged ones: they may be all that is left of something
    assert stored.read_bytes() == before[:-9]


@pytest.mark.parametrize("other", [1, 2], ids=["same results", "other results"])
def test_two_writers_at_once(tmp_path, monkeypatch, other):
    """Both see no file and write; the second meets the first's file at the last moment."""
    barrier, told = threading.Barrier(2, timeout=20), []
    link = os.link

    def link_together(*arguments):
        barrier.wait()
        link(*arguments)

    def write(seed):
        try:
            store.write(tmp_path, make_record(seed=seed))
        except store.ConflictError as error:
            told.append(error)

    monkeypatch.setattr(os, "link", link_together)
    writers = [threading.Thread(target=write, args=(seed,)) for seed in (1, other)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    (file,) = (p for p in tmp_path.rglob("*") if p.is_file())
    assert store.read(file) in (make_record(seed=1), make_record(seed=other))
    assert len(told) == (0 if other == 1 else 1)


def test_a_file_system_without_hard_links_will_do(tmp_path, monkeypatch):
    def no_link(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_link)
    path = store.write(tmp_path, make_record())
    assert store.read(path) == make_record()
    assert len(list(path.parent.iterdir())) == 1


def test_the_published_and_the_longest_block_is_read(tmp_path):
    published, own = tmp_path / "published", tmp_path / "own"
    configuration = make_record()["configuration"]
    short_published = store.write(published, make_record(trials=2))
    long_own = store.write(own, make_record(trials=5))
    store.write(own, make_record(trials=4))
    store.write(own, make_record(first=5))
    find = lambda trials: store.find([published, own], configuration, trials)  # noqa: E731
    assert find(range(2)) == short_published
    assert find(range(3)) == find(range(5)) == long_own
    assert find(range(6)) is None, "a block that is too short was taken"
    assert find(range(1, 3)) is None, "a block that starts elsewhere was taken"
    assert store.find([tmp_path / "nowhere"], configuration, range(2)) is None


@pytest.mark.parametrize("name", ["with a space", "Größe-数字-é", "semi;colon'quote"])
def test_any_folder_name_will_do(tmp_path, name):
    path = store.write(tmp_path / name, make_record())
    assert store.read(path) == make_record()
    assert store.find([tmp_path / name], make_record()["configuration"], range(TRIALS)) == path


def test_an_architecture_of_another_module_makes_a_file_name(tmp_path):
    path = store.write(tmp_path, make_record("a.b.c:D/../../E"))
    assert path.parent.parent == tmp_path
    assert path.parent.name.startswith("a_b_c_D_E-")


class Faults:
    """Fails the k-th call among those that change the disk."""

    def __init__(self, monkeypatch, k):
        self.k, self.calls, self.name = k, 0, None
        for module, name in [
            (os, "open"),
            (os, "fsync"),
            (os, "link"),
            (os, "chmod"),
            (os, "mkdir"),
            (Path, "replace"),
        ]:
            monkeypatch.setattr(module, name, self.wrap(getattr(module, name), name))
        fdopen = os.fdopen

        def opened(*arguments, **options):
            file = fdopen(*arguments, **options)
            try:
                self.count("fdopen")
            except OSError:
                file.close()
                raise
            return Written(file, self)

        monkeypatch.setattr(os, "fdopen", opened)

    def count(self, name):
        self.calls += 1
        if self.calls == self.k:
            self.name = name
            raise OSError(errno.EIO, f"injected into {name}")

    def wrap(self, function, name):
        def call(*arguments, **options):
            self.count(name)
            return function(*arguments, **options)

        return call


class Written:
    """A file whose writing and flushing can fail, half-way."""

    def __init__(self, file, faults):
        self.file, self.faults = file, faults

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, data):
        try:
            self.faults.count("write")
        except OSError:
            self.file.write(data[: len(data) // 2])
            raise
        return self.file.write(data)

    def flush(self):
        self.faults.count("flush")
        self.file.flush()


def test_a_fault_at_any_call_leaves_a_whole_file_or_none(tmp_path):
    record, tried = make_record(), set()
    for k in range(1, 100):
        root = tmp_path / str(k)
        other = store.write(root, make_record("SN", auxiliary=False))  # a result that must stay as it is
        before = other.read_bytes()
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, k)
            try:
                store.write(root, record)
            except OSError as error:
                assert "injected" in str(error)
        files = sorted(p for p in root.rglob("*") if p.is_file() and p != other)
        assert not [p for p in files if p.suffix != ".json"], f"{faults.name}: a temporary file is left"
        assert all(store.read(p) == record for p in files), faults.name
        assert other.read_bytes() == before
        assert store.read(store.write(root, record)) == record, "it cannot be written later"
        if faults.name is None:
            break
        tried.add(faults.name)
    assert tried >= {"open", "write", "flush", "fsync", "link", "mkdir"}, tried


def test_a_full_disk_leaves_earlier_files_intact(tmp_path, monkeypatch):
    """On a disk of 64 kB where one can be mounted; else the disk says "full" by itself."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = (
        sys.platform == "linux"
        and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], capture_output=True).returncode
        == 0
    )
    try:
        if not mounted:
            fsync, calls = os.fsync, []

            def full(descriptor):
                calls.append(descriptor)
                if len(calls) > 9:
                    raise OSError(errno.ENOSPC, "No space left on device")
                fsync(descriptor)

            monkeypatch.setattr(os, "fsync", full)
        written = []
        with pytest.raises(OSError, match="No space left"):
            for first in range(0, 300, TRIALS):
                written.append(store.write(disk, make_record(first=first)))
        assert written, "not even one file fits: the test would be vacuous"
        for path in written:
            store.read(path)
        assert set(written) == {p for p in disk.rglob("*") if p.is_file()}
    finally:
        if mounted:
            subprocess.run(["umount", disk], check=True)


WRITER = """
import importlib.util, itertools, json, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("store", sys.argv[1])
store = importlib.util.module_from_spec(spec)  # by itself: the rest of lib takes seconds to import
spec.loader.exec_module(store)
record = json.loads(sys.argv[3])
print("ready", flush=True)
for record["configuration"]["number"] in itertools.count(int(sys.argv[4])):
    store.write(Path(sys.argv[2]), record)
"""


def kill_writers(root, times):
    """Kill `times` writers while they write, and read every file that they leave under a final name."""
    rng, record = random.Random(3), json.dumps(make_record())
    for i in range(times):
        arguments = [str(ROOT / "lib" / "store.py"), str(root), record, str(1000 * i)]
        with subprocess.Popen([sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE) as writer:
            try:
                assert writer.stdout.readline() == b"ready\n"
                time.sleep(rng.random() * 0.05)
            finally:
                writer.kill()
    files = list(root.rglob("trials-*"))
    for file in files:
        store.read(file)
    assert files, "no writer finished a file: nothing was tried"
    assert list(root.rglob("*.part")), "no writer was killed while it wrote: nothing was tried"
    return files


def test_a_killed_writer_leaves_whole_files(tmp_path):
    files = kill_writers(tmp_path, 40)
    record = store.read(files[0])
    assert store.write(tmp_path, record) == files[0], "what is left of a killed writer is in the way"


@pytest.mark.slow
def test_five_hundred_killed_writers_leave_whole_files(tmp_path):
    kill_writers(tmp_path, 500)


def test_a_record_is_not_changed_by_writing_it(tmp_path):
    record = make_record()
    before = copy.deepcopy(record)
    store.write(tmp_path, record)
    assert record == before


def test_the_file_is_synced_before_it_gets_its_name_and_its_folders_after(tmp_path, monkeypatch):
    calls, fsync, link = [], os.fsync, os.link

    def spy_fsync(descriptor):
        calls.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def spy_link(*arguments):
        calls.append("link")
        link(*arguments)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "link", spy_link)
    path = store.write(tmp_path, make_record())
    assert calls == [path.stat().st_ino, "link", path.parent.stat().st_ino, tmp_path.stat().st_ino]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_json_number_has_no_canonical_text(value):
    with pytest.raises(ValueError, match="JSON compliant"):
        store.canonical({"learning_rate": value})
