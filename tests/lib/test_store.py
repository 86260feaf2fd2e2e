"""The store, tried against what can happen to files and to processes that write them.

A case, what the user sees, and the test that holds it:

- A writer is killed (-9) at a random moment: a whole file or none, and a re-run writes what is missing;
  `test_a_killed_writer_leaves_whole_files`.
- A call of mkdir, open, write, flush, fsync, chmod or link fails: the system's error, and nothing under the final name
  or all of it; `test_files.py::test_a_fault_at_any_call_...`, `test_a_fault_at_any_call_leaves_earlier_results`.
- The disk is full: "No space left on device", earlier files intact; `test_a_full_disk_leaves_earlier_files_intact`.
- The results folder is read-only: one sentence before any training;
  `test_analysis.py::test_a_read_only_folder_is_said_before_training`.
- Spaces and non-ASCII letters in the path, locale C: nothing; `test_any_folder_name_will_do`,
  `test_a_process_under_locale_c_writes_and_reads_the_same`,
  `test_workers.py::test_two_runs_on_one_store_at_once_in_a_strange_folder_under_locale_c`.
- One bit of a file flipped: file, reason, what to do, or the content is what it was; of its text: found;
  `test_a_flipped_bit_is_found_or_changes_nothing`, `test_every_flipped_bit_of_the_text_is_found`.
- A file cut short, or empty: the same; `test_a_file_cut_anywhere_is_refused`.
- A file edited by hand, if only its blanks: the same; `test_a_hand_edit_is_refused`.
- A file copied into another folder or under another name: the same, and where it belongs;
  `test_a_file_in_the_wrong_place_is_refused`.
- Another schema: the same, with both numbers; `test_another_schema_is_refused`.
- A file of schema 1: the command that carries it over, which changes no number and leaves what is damaged;
  `test_a_file_of_schema_1_is_carried_over`, `test_a_damaged_old_file_stays_and_is_named`.
- Another protocol: the result is not found, its key is another; `test_results_of_another_protocol_are_not_found`.
- NaN, infinity, a field named twice: file, reason, what to do; `test_what_json_lets_pass_is_refused`.
- Wrong shapes, counts, ranges, even under a right checksum: the same, nor can they be written;
  `test_contradictions_are_refused`.
- Other results for a stored group: ConflictError, the stored ones stay; `test_other_results_never_replace_stored_ones`.
- Two writers of one group at once: one file, and if results differ one of them is told; `test_two_writers_at_once`.
- A group in both folders, or a longer one: the folder that is only read, the longest;
  `test_the_published_and_the_longest_group_is_read`.
- Trials stored one by one, and a run that ends before they are one file: read as a group, none trained again;
  `test_trials_that_were_stored_one_by_one_are_read_as_a_group`, `test_a_fault_while_trials_are_gathered_loses_none`.
- A damaged file among the stored: its name, before any training;
  `test_analysis.py::test_a_damaged_file_is_said_before_training`.
- The whole study is killed (-9): no process is left, a re-run ends with the same bits;
  `test_workers.py::test_a_study_that_is_killed_is_resumed_to_the_same_bits`.
- A worker is killed: the missing groups again, given up by name after three rounds without progress;
  `test_workers.py::test_a_killed_worker_...`, `test_workers.py::test_a_group_that_always_kills_...`.
- A worker has no memory left, a loss is not finite: the group's name and the reason, the other groups are kept;
  `test_workers.py::test_an_error_in_one_group_is_said_and_the_others_are_kept`, `..._a_loss_that_is_not_finite_...`.
- Ctrl-C: finished groups are kept, no process is left;
  `test_workers.py::test_ctrl_c_keeps_finished_groups_and_leaves_no_process`.
- A script without a guard, or that no worker can import: one sentence says so, once;
  `test_workers.py::test_a_script_needs_a_guard`, `..._that_no_worker_can_import_is_tried_once`.
- The clock is set back: nothing; `test_workers.py::test_a_clock_that_is_set_back_changes_nothing`.
- Fewer cores than workers: the same bits; `test_workers.py::test_any_number_of_workers_gives_the_same_bits`.
- The file of an own architecture is edited: a new key, and what was made before refuses to train; `test_foreign.py`.
- Trials that saw other pairs: they cannot be paired; `test_analysis.py::test_only_trials_of_the_same_pairs_are_paired`.
- MNIST damaged, missing, not to be downloaded: file, hashes, what to put where; `test_datasets.py`.
- Bad parameters: one sentence naming the parameter, its value and what is allowed; `test_experiment.py`,
  `test_analysis.py::test_bad_arguments_...`, and by papermill, with an exit code that is not 0 and nothing trained,
  in the tests of the report.
- lib computes other numbers under the same protocol: the golden group fails; `test_golden.py`.
- Gradients, dtype, threads or the like set in torch by the caller: nothing, and they are as before; `test_state.py`.
- A file that an own network imports is edited: a new key; with other line ends it is the same one; `test_sources.py`.
- A network with torch's own dropout, or otherwise no stack of trials: refused; `test_check.py`, `test_layers.py`.
- A notebook's parameter of another type, misspelt or out of range: one sentence with the remedy, nothing trained; cells
  that run again, and a user's own: nothing; `press/test_parameters.py`.
- Two classes or two experiments of one name: told apart in names, curves and messages; `test_comparison.py`,
  `test_analysis.py::test_two_experiments_of_one_name_are_told_apart_in_every_message`.
- No repository, or another one around an unpacked archive: the commit is unknown; `test_machine.py`.
- matplotlibrc, startup files, kernels, templates, fonts of the user's: the same bytes; `press/test_surroundings.py`,
  `pictures/test_style.py`.
- `~`, variables and relative folders in the environment: what a user means; `test_machine.py`.
- A picture in any place of a notebook, an output of any kind: shown, or refused by its cell; `press/test_export.py`.
- Ctrl-C, TERM or a kill of a command: no process is left, the earlier report intact; `test_processes.py`,
  `press/test_run.py`, `test_build.py::test_a_command_stops_when_told_and_leaves_nothing`.
- Publishing is killed, or the disk full, or a file not whole: the old report or the new one; `test_publish.py`.
- Line ends converted, as by git: read as they were, or the file's message says so;
  `test_a_file_whose_line_ends_were_converted_says_so`, `test_build.py::test_a_checkout_that_converts_line_ends_...`.
- A file of results that lies, under a right checksum: found by training it again; `test_verify.py`.
- The compiler hangs or fails, its cache is not one's own: PyTorch computes, with the reason; `test_fused.py`.
- An SVG picture with what would run or ask for something, or what cannot be printed: it goes; `press/test_images.py`.
- A file, a link to nowhere or a directory where something else should be: which, and what to do; `test_files.py`,
  `test_analysis.py::test_what_stands_in_the_folders_place_is_said_before_training`.
- What killed writers left: removed after a day; `test_files.py`, `test_analysis.py::test_what_killed_writers_left_...`.
- A mirror that hangs, stalls, drips or sends something else: the next one, within a time limit; `test_datasets.py`.
- A package of another content than the one that was tested: refused by its hash on CI; `test_supply.py`.
"""

import copy
import errno
import gzip
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
import zlib
from itertools import count

import pytest

from lib import Store, store
from lib.machine import ROOT
from tests.lib.own import ORIGIN
from tests.lib.test_files import Faults

TRIALS, EPOCHS, N = 3, 4, 30


def make_record(architecture="CAUX", seed=1, trials=TRIALS, auxiliary=True, first=0, further=False, **configuration):
    """A record as the training makes it, out of numbers drawn here; `further`: with another head."""
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

    def counts(total):
        return [[rng.randrange(total) for _ in range(EPOCHS)] for _ in range(trials)]

    def named():
        return ["".join(str(rng.randrange(10)) for _ in range(2 * N)) for _ in range(trials)]

    record = {
        "schema": store.SCHEMA,
        "configuration": {
            "architecture": architecture,
            "epochs": EPOCHS,
            "test_pairs": N,
            "learning_rate": 0.01,
            **configuration,
        },
        "trials": list(range(first, first + trials)),
        "fingerprints": [f"{rng.getrandbits(64):016x}" for _ in range(trials)],
        "auxiliary_total": 2 * N if auxiliary else None,
        "test_correct": [[rng.randrange(N) for _ in range(EPOCHS - 1)] + [sum(row)] for row in bits],
        "auxiliary_test_correct": counts(2 * N) if auxiliary else None,
        "train_loss": losses(),
        "test_loss": losses(),
        "auxiliary_train_loss": losses() if auxiliary else None,
        "auxiliary_test_loss": losses() if auxiliary else None,
        "last_bits": [store.hex_of(row) for row in bits],
        "last_table": tables,
        "last_named": {"auxiliary": named()} if auxiliary else {},
        "provenance": {**ORIGIN, "seconds": rng.random()},
    }
    if further:
        record |= {"parity_total": N, "parity_test_correct": counts(N)}
        record |= {"parity_train_loss": losses(), "parity_test_loss": losses()}
    return record


def put(path, record):
    """Write a record's file, with a right checksum, without the store's checks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(store.packed(record))
    return path


def text_of(path):
    return gzip.decompress(path.read_bytes()).decode()


def put_text(path, text):
    """Write a file of another text, which unpacks without complaint."""
    path.write_bytes(gzip.compress(text if isinstance(text, bytes) else text.encode()))


def refused(path, reason):
    """The file is refused in one message: its name, the reason, what to do."""
    with pytest.raises(store.DamagedResultError, match=reason) as caught:
        store.read(path)
    assert str(path) in str(caught.value)
    assert "Remove it to have these trials trained again" in str(caught.value)


@pytest.fixture
def stored(tmp_path):
    return Store(tmp_path).write(make_record())


@pytest.mark.parametrize("parts", [{}, {"auxiliary": False}, {"further": True}], ids=str)
def test_what_is_written_is_read(tmp_path, parts):
    record = make_record(**parts)
    path = Store(tmp_path).write(record)
    assert store.read(path) == Store(tmp_path).read(record["configuration"], range(TRIALS)) == record
    assert path.name == "trials-000-002.json.gz"
    assert path.parent.name == f"CAUX-{store.key(record['configuration'])}"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [p.name for p in path.parent.iterdir()] == [path.name], "a temporary file is left"


def test_a_file_is_packed_text_of_a_line_per_field_that_any_json_reader_reads(stored):
    text = text_of(stored)
    assert len(text.splitlines()) == len(make_record()) + 3
    assert json.loads(text)["trials"] == [0, 1, 2]


def test_the_same_record_is_the_same_bytes_at_any_time(tmp_path, monkeypatch):
    first = Store(tmp_path / "now").write(make_record()).read_bytes()
    monkeypatch.setattr(time, "time", lambda: 2e9)
    assert Store(tmp_path / "later").write(make_record()).read_bytes() == first
    assert 2.5 * len(first) < len(gzip.decompress(first)), "packed, a file is much smaller"


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


def flipped(raw, rng):
    """`raw` with one bit flipped."""
    damaged, place = bytearray(raw), rng.randrange(len(raw))
    damaged[place] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def test_a_flipped_bit_is_found_or_changes_nothing(stored):
    """A few bits of a packed file's head, such as its time, stand for nothing."""
    raw, record, rng, found = stored.read_bytes(), store.read(stored), random.Random(7), 0
    head = [raw[:i] + bytes([raw[i] ^ 1 << bit]) + raw[i + 1 :] for i in range(12) for bit in range(8)]
    for damaged in [*head, *(flipped(raw, rng) for _ in range(300))]:
        stored.write_bytes(damaged)
        try:
            assert store.read(stored) == record
        except store.DamagedResultError:
            refused(stored, "cannot be trusted")
            found += 1
    assert found >= 300


def test_every_flipped_bit_of_the_text_is_found(stored):
    text, rng = text_of(stored).encode(), random.Random(7)
    for _ in range(200):
        put_text(stored, flipped(text, rng))
        refused(stored, "cannot be trusted")


def test_a_file_cut_anywhere_is_refused(stored):
    raw = stored.read_bytes()
    for length in [0, 1, len(raw) - 1, *random.Random(7).sample(range(2, len(raw)), 30)]:
        stored.write_bytes(raw[:length])
        refused(stored, "cannot be trusted")
    put_text(stored, text_of(put(stored, make_record()))[:-40])
    refused(stored, "cannot be trusted")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    "text", ["", "null", "[]", "7", '"x"', "{}", "\0" * 100, "[" * 100_000, "é".encode("latin-1")], ids=count()
)
def test_a_file_of_another_kind_is_refused(stored, text, packed):
    raw = text if isinstance(text, bytes) else text.encode()
    stored.write_bytes(gzip.compress(raw) if packed else raw)
    refused(stored, "cannot be trusted")


def test_a_file_that_unpacks_wrongly_is_refused(stored):
    raw = stored.read_bytes()
    checksum = zlib.crc32(gzip.decompress(raw)).to_bytes(4, "little")
    assert raw[-8:-4] == checksum
    for damaged in (raw[:-8] + bytes(4) + raw[-4:], raw + b"more", raw + gzip.compress(b" ")):
        stored.write_bytes(damaged)
        refused(stored, "cannot be trusted")


def test_a_file_whose_line_ends_were_converted_says_so(stored, tmp_path):
    """As git does with core.autocrlf=true, and a transfer as text."""
    raw, text = stored.read_bytes(), text_of(stored)
    converted = "its line ends were converted, as git does with core.autocrlf"
    assert b"\n" in raw.replace(b"\r\n", b"")
    stored.write_bytes(raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    refused(stored, converted)
    put_text(stored, text.replace("\n", "\r\n"))
    refused(stored, f"checksum .*; {converted}")
    old = old_file(tmp_path / "old", make_record())
    old.write_bytes(old.read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(store.DamagedResultError, match=f"{re.escape(str(old))} .*; {converted}"):
        store.carry_over(tmp_path / "old")
    stored.write_bytes(raw[:-9])
    with pytest.raises(store.DamagedResultError) as caught:
        store.read(stored)
    assert "converted" not in str(caught.value)


def test_a_hand_edit_is_refused(stored):
    text = text_of(stored)
    correct = json.loads(text)["test_correct"][0][0]
    better = text.replace(f'"test_correct":[[{correct},', f'"test_correct":[[{correct + 1},')
    assert better != text
    for edited in (better, text + "\n", text.replace(",\n", ", \n", 1), json.dumps(json.loads(text))):
        put_text(stored, edited)
        refused(stored, "checksum")


def test_a_file_in_the_wrong_place_is_refused(tmp_path, stored):
    elsewhere = tmp_path / "SN-0123456789abcdef" / stored.name
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(stored.read_bytes())
    refused(elsewhere, f"belongs into {stored.parent.name}/{stored.name}")
    later = stored.with_name("trials-003-005.json.gz")  # the same trials twice would make a mean of fewer
    later.write_bytes(stored.read_bytes())
    refused(later, f"belongs into {stored.parent.name}/{stored.name}")


def test_another_schema_is_refused(tmp_path):
    record = {**make_record(), "schema": store.SCHEMA + 1}
    path = put(store.group_path(tmp_path, record["configuration"], record["trials"]), record)
    refused(path, f"schema is {store.SCHEMA + 1}.*reads {store.SCHEMA}")


def test_results_of_another_protocol_are_not_found(tmp_path):
    old, new = (make_record(protocol=protocol)["configuration"] for protocol in (1, 2))
    Store(tmp_path).write(make_record(protocol=1))
    assert Store(tmp_path).find(old, range(TRIALS)) is not None
    assert Store(tmp_path).find(new, range(TRIALS)) is None


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"train_loss":[[', '"train_loss":[[NaN,', "contains NaN"),
        ('"train_loss":[[', '"train_loss":[[-Infinity,', "contains -Infinity"),
        ('"train_loss":[[', '"train_loss":[[1e999,', "cannot be trusted"),
        ('"schema":2', '"schema":2,"schema":2', "names a field twice"),
        ('"seconds":', '"seconds":1,"seconds":', "names a field twice"),
    ],
)
def test_what_json_lets_pass_is_refused(stored, old, new, reason):
    text = text_of(stored)
    assert old in text
    put_text(stored, text.replace(old, new, 1))
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
    "a fingerprint less": lambda r: r["fingerprints"].pop(),
    "digits of another count": lambda r: r["last_named"]["auxiliary"].__setitem__(0, "7"),
    "digits that are none": lambda r: r["last_named"]["auxiliary"].__setitem__(0, "x" * 2 * N),
    "digits of one trial less": lambda r: r["last_named"]["auxiliary"].pop(),
    "digits of a head that there is not": lambda r: r["last_named"].__setitem__("other", [""] * TRIALS),
    "a further head less a list": lambda r: r.pop("parity_test_loss"),
    "more right than a further head has answers": lambda r: r["parity_test_correct"][0].__setitem__(0, N + 1),
    "measures, which have files of their own": lambda r: r.__setitem__("measures", {"norm": [[1.0] * EPOCHS] * TRIALS}),
    "a field less": lambda r: r.pop("test_loss"),
    "a field more": lambda r: r.__setitem__("best_epoch", 3),
    "trials with a gap": lambda r: r.__setitem__("trials", [0, 1, 3]),
    "a trial twice": lambda r: r.__setitem__("trials", [0, 1, 1]),
    "no trials": lambda r: r.__setitem__("trials", []),
    "no number of epochs": lambda r: r["configuration"].pop("epochs"),
    "no account of where it comes from": lambda r: r.__setitem__("provenance", None),
    "a list of where it comes from": lambda r: r.__setitem__("provenance", [["cpu", "this one"]]),
    "a seed more, in a list": lambda r: r["provenance"].__setitem__("seed", [1]),
    "a start that is no time": lambda r: r["provenance"].__setitem__("started", "yesterday"),
    "a start in seconds": lambda r: r["provenance"].__setitem__("started", 1.7e9),
    "a commit that is a number": lambda r: r["provenance"].__setitem__("commit", 7),
    "changes that are a number": lambda r: r["provenance"].__setitem__("dirty", 0),
    "a truth for a number of threads": lambda r: r["provenance"].__setitem__("threads", True),
    "less than no time": lambda r: r["provenance"].__setitem__("seconds", -1.0),
    "no processor": lambda r: r["provenance"].pop("cpu"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictions_are_refused(tmp_path, name):
    record = make_record(further=True)
    path = store.group_path(tmp_path, record["configuration"], record["trials"])
    CONTRADICTIONS[name](record)
    if record["trials"] and "epochs" in record["configuration"]:
        path = store.group_path(tmp_path, record["configuration"], record["trials"])
    with pytest.raises((ValueError, LookupError, TypeError, AttributeError)):
        Store(tmp_path).write(record)
    assert not list(tmp_path.rglob("*.json*")), "it was written"
    refused(put(path, record), "cannot be trusted")  # as a file with a right checksum


def places(value, *path):
    """Give the path to every number and text of a record, the first two of each list."""
    if isinstance(value, dict | list):
        for name, each in list(value.items() if isinstance(value, dict) else enumerate(value))[: None if path else 99]:
            if not isinstance(name, int) or name < 2:
                yield from places(each, *path, name)
    else:
        yield path


@pytest.mark.parametrize("wrong", [10**400, -(10**400), None, [], {}, [10**400]], ids=lambda wrong: str(wrong)[:5])
def test_what_is_of_no_use_is_refused_in_any_place(tmp_path, wrong):
    """In the configuration, whose values the experiment checks, only where a number of them is needed here."""
    for path in places(make_record(further=True)):
        if path[0] == "configuration" and path[1] not in ("epochs", "test_pairs"):
            continue
        record = make_record(further=True)
        inner = record
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = wrong
        refused(put(store.group_path(tmp_path, record["configuration"], [0, TRIALS - 1]), record), "cannot be trusted")


def test_a_group_that_is_stored_is_left_as_it_is(stored, tmp_path):
    before = stored.read_bytes(), stored.stat().st_mtime_ns
    again = {**make_record(), "provenance": {**ORIGIN, "seconds": 99.0}}  # the same results, computed again elsewhere
    assert Store(tmp_path).write(again) == stored
    again.pop("last_named")  # or by a version that did not keep these
    assert Store(tmp_path).write(again) == stored
    assert (stored.read_bytes(), stored.stat().st_mtime_ns) == before


def test_other_results_never_replace_stored_ones(stored, tmp_path):
    before = stored.read_bytes()
    with pytest.raises(store.ConflictError, match=stored.name):
        Store(tmp_path).write(make_record(seed=2))
    stored.write_bytes(before[:-9])
    with pytest.raises(store.DamagedResultError):
        Store(tmp_path).write(make_record())  # nor damaged ones: they may be all that is left of something
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
            Store(tmp_path).write(make_record(seed=seed))
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


def test_the_published_and_the_longest_group_is_read(tmp_path):
    published, own = Store(tmp_path / "published"), Store(tmp_path / "own", also=[tmp_path / "published"])
    configuration = make_record()["configuration"]
    short_published = published.write(make_record(trials=2))
    long_own = own.write(make_record(trials=5))
    own.write(make_record(trials=4))
    own.write(make_record(first=5))
    assert own.find(configuration, range(2)) == short_published
    assert own.find(configuration, range(3)) == own.find(configuration, range(5)) == long_own
    assert own.find(configuration, range(6)) is None, "a group that is too short was taken"
    assert own.find(configuration, range(1, 3)) is None, "a group that starts elsewhere was taken"
    assert Store(tmp_path / "nowhere").find(configuration, range(2)) is None
    assert list(published.files()) == [short_published], "something was written where it is only read"
    assert next(own.files()) == short_published and len(list(own.files())) == 4


def test_two_stores_know_nothing_of_each_other(tmp_path):
    one, other = Store(tmp_path / "one"), Store(str(tmp_path / "other"))
    first, second = one.write(make_record(seed=1)), other.write(make_record(seed=2))
    configuration = make_record()["configuration"]
    assert one.read(configuration, range(TRIALS)) == make_record(seed=1)
    assert other.read(configuration, range(TRIALS)) == make_record(seed=2)
    assert (list(one.files()), list(other.files())) == ([first], [second])


def test_what_is_missing_is_whole_groups(tmp_path):
    held = Store(tmp_path)
    configuration = make_record()["configuration"]
    assert held.missing(configuration, 60) == [range(25), range(25, 50), range(50, 60)]
    held.write(make_record(trials=25))
    held.write(make_record(first=50))
    assert held.missing(configuration, 60) == [range(25, 50), range(50, 60)], "trials 50 to 52 are no 50 to 59"
    assert held.missing(configuration, 53) == [range(25, 50)]
    assert held.missing(configuration, 7) == []


def singles(record):
    """The records of a group's single trials, as those of a plain module are written."""
    return [store.cut(record, range(trial, trial + 1)) for trial in record["trials"]]


def as_singles(folder, record, trials=TRIALS):
    """A store with files of single trials, and their names."""
    held = Store(folder)
    for single in singles(record)[:trials]:
        held.write(single)
    return held


@pytest.mark.parametrize("parts", [{}, {"auxiliary": False}, {"further": True}], ids=str)
def test_trials_that_were_stored_one_by_one_are_read_as_a_group(tmp_path, parts):
    record = make_record(**parts)
    held, configuration = as_singles(tmp_path, record), record["configuration"]
    assert [path.name for path in held.files()] == [f"trials-00{i}-00{i}.json.gz" for i in range(TRIALS)]
    read = held.read(configuration, range(TRIALS))
    assert store.differing(read, record) == [] and read.keys() == record.keys()
    assert read["provenance"]["seconds"] == pytest.approx(3 * record["provenance"]["seconds"], abs=1e-3)
    assert held.find(configuration, range(TRIALS)) is None
    assert held.read(configuration, range(TRIALS + 1)) is None and held.missing(configuration, TRIALS) == []
    assert held.missing(configuration, TRIALS + 1) == [range(TRIALS + 1)]
    [path, *_] = held.files()
    path.unlink()
    assert held.read(configuration, range(TRIALS)) is None
    assert store.differing(held.read(configuration, range(1, TRIALS)), store.cut(record, range(1, TRIALS))) == []


def test_a_group_is_put_together_of_longer_files_too(tmp_path):
    """Three trials were stored as a group, then two more one by one."""
    record = make_record(trials=5)
    held, configuration = Store(tmp_path), record["configuration"]
    for trials in (range(3), range(3, 4), range(4, 5)):
        held.write(store.cut(record, trials))
    assert store.differing(held.read(configuration, range(5)), record) == []
    held.gather(configuration, range(5))
    assert [path.name for path in held.files()] == ["trials-000-002.json.gz", "trials-000-004.json.gz"]
    assert store.differing(held.read(configuration, range(5)), record) == []
    assert store.differing(held.read(configuration, range(1, 4)), store.cut(record, range(1, 4))) == []


def test_gathered_trials_are_one_file_and_those_of_the_trials_go(tmp_path):
    record = make_record()
    held = as_singles(tmp_path / "own", record)
    held.gather(record["configuration"], range(TRIALS + 1))
    assert len(list(held.files())) == TRIALS, "they are no whole group yet"
    before = held.read(record["configuration"], range(TRIALS))
    for _ in range(2):
        held.gather(record["configuration"], range(TRIALS))
        [path] = held.files()
        assert path.name == "trials-000-002.json.gz" and store.read(path) == before
    published = as_singles(tmp_path / "published", record)
    Store(tmp_path / "other", also=[published.root]).gather(record["configuration"], range(TRIALS))
    assert len(list(published.files())) == TRIALS, "nothing goes where it is only read"


def test_a_fault_while_trials_are_gathered_loses_none(tmp_path):
    record = make_record()
    for k in range(1, 100):
        held = as_singles(tmp_path / str(k), record)
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, k)
            try:
                held.gather(record["configuration"], range(TRIALS))
            except OSError as error:
                assert "injected" in str(error)
        assert store.differing(held.read(record["configuration"], range(TRIALS)), record) == [], faults.name
        held.gather(record["configuration"], range(TRIALS))
        assert store.differing(held.read(record["configuration"], range(TRIALS)), record) == []
        if faults.name is None:
            break
    assert k > 6, "hardly a fault was tried"


def test_a_damaged_file_of_a_single_trial_is_named(tmp_path):
    record = make_record()
    held = as_singles(tmp_path, record)
    path = list(held.files())[1]
    path.write_bytes(path.read_bytes()[:-9])
    for ask in (held.read, held.gather):
        with pytest.raises(store.DamagedResultError, match=r"trials-001-001\.json\.gz cannot be trusted"):
            ask(record["configuration"], range(TRIALS))
    assert len(list(held.files())) == TRIALS


def test_joined_trials_say_where_each_of_them_comes_from():
    """A group that was trained by two versions of the code must not look as if one had trained it."""
    same = {"cpu": "this one", "dirty": False, "threads": 1}
    first, second, third = (
        {**record, "provenance": {**same, **own}}
        for record, own in zip(
            singles(make_record()),
            (
                {"commit": "a", "started": "2030-01-01", "seconds": 1.5},
                {"commit": "b", "started": "2030-01-02", "seconds": 2.0, "dirty": True},
                {"commit": "a", "started": "2030-01-03", "seconds": 3.0},
            ),
            strict=True,
        )
    )
    assert store.joined([first, third])["provenance"] == {
        **same,
        **{"commit": "a", "started": "2030-01-01", "seconds": 4.5},
    }
    assert store.joined([first, second, third])["provenance"] == {
        **same,
        **{"commit": "a and b", "started": "2030-01-01", "seconds": 6.5, "dirty": True},
    }


@pytest.mark.parametrize("name", ["with a space", "Größe-数字-é", "semi;colon'quote"])
def test_any_folder_name_will_do(tmp_path, name):
    held = Store(tmp_path / name)
    path = held.write(make_record())
    assert store.read(path) == make_record()
    assert held.find(make_record()["configuration"], range(TRIALS)) == path


def test_a_process_under_locale_c_writes_and_reads_the_same(tmp_path):
    code = f"""
import json, sys
sys.path.insert(0, {str(ROOT)!r})
from lib import Store
record, held = json.loads(sys.argv[2]), Store(sys.argv[1])
held.write(record)
assert held.read(record["configuration"], range({TRIALS})) == record
"""
    record, folder = make_record(note="Größe"), tmp_path / "Größe und Zahl 数"
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    subprocess.run([sys.executable, "-c", code, folder, json.dumps(record)], env=environment, check=True)
    [path] = Store(folder).files()
    assert path.read_bytes() == store.packed(record)


def test_an_architecture_of_another_module_makes_a_file_name(tmp_path):
    path = Store(tmp_path).write(make_record("a.b.c:D/../../E"))
    assert path.parent.parent == tmp_path
    assert path.parent.name.startswith("a_b_c_D_E-")


def test_a_fault_at_any_call_leaves_earlier_results(tmp_path):
    record = make_record()
    for k in range(1, 100):
        held = Store(tmp_path / str(k))
        other = held.write(make_record("SN", auxiliary=False))
        before = other.read_bytes()
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, k)
            try:
                held.write(record)
            except OSError as error:
                assert "injected" in str(error)
        assert all(store.read(p) in (record, make_record("SN", auxiliary=False)) for p in held.files()), faults.name
        assert other.read_bytes() == before
        assert store.read(held.write(record)) == record, "it cannot be written later"
        if faults.name is None:
            break
    assert k > 9, "hardly a fault was tried"


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
                written.append(Store(disk).write(make_record(first=first)))
        assert written, "not even one file fits: the test would be vacuous"
        for path in written:
            store.read(path)
        assert set(written) == {p for p in disk.rglob("*") if p.is_file()}
    finally:
        if mounted:
            subprocess.run(["umount", disk], check=True)


WRITER = """
import itertools, json, sys
sys.path.insert(0, sys.argv[1])
from lib import Store
record = json.loads(sys.argv[3])
print("ready", flush=True)
for record["configuration"]["number"] in itertools.count(int(sys.argv[4])):
    Store(sys.argv[2]).write(record)
"""


def kill_writers(root, times):
    """Kill `times` writers while they write, and read every file that they leave under a final name."""
    rng, record = random.Random(3), json.dumps(make_record())
    for i in range(times):
        arguments = [str(ROOT), str(root), record, str(1000 * i)]
        with subprocess.Popen([sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE) as writer:
            try:
                assert writer.stdout.readline() == b"ready\n"
                time.sleep(rng.random() * 0.05)
            finally:
                writer.kill()
    files = list(Store(root).files())
    for file in files:
        store.read(file)
    assert files, "no writer finished a file: nothing was tried"
    assert list(root.rglob("*.part")), "no writer was killed while it wrote: nothing was tried"
    return files


def test_a_killed_writer_leaves_whole_files(tmp_path):
    files = kill_writers(tmp_path, 12)
    record = store.read(files[0])
    assert Store(tmp_path).write(record) == files[0], "what is left of a killed writer is in the way"


@pytest.mark.slow
def test_five_hundred_killed_writers_leave_whole_files(tmp_path):
    kill_writers(tmp_path, 500)


def test_a_record_is_not_changed_by_writing_it(tmp_path):
    record = make_record()
    before = copy.deepcopy(record)
    Store(tmp_path).write(record)
    assert record == before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_json_number_has_no_canonical_text(value):
    with pytest.raises(ValueError, match="JSON compliant"):
        store.canonical({"learning_rate": value})


def old_file(root, record):
    """Write a record as schema 1 had it: `data`, no digits that were named, plain text."""
    old = {name: value for name, value in record.items() if name != "last_named"}
    old |= {"schema": 1, "data": old.pop("fingerprints")}
    path = store.group_path(root, record["configuration"], record["trials"]).with_suffix("")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(store.serialise(old))
    return path


def carried(record):
    """What an old file's record must become: another name, the new schema, and not a number that differs."""
    return {name: value for name, value in record.items() if name != "last_named"}


def test_a_file_of_schema_1_is_carried_over(tmp_path):
    records = [make_record(), make_record(first=3), make_record("SN", auxiliary=False), make_record("a.b:C", seed=9)]
    old = [old_file(tmp_path, record) for record in records]
    assert [path.name for path in old] == [f"trials-{a}.json" for a in ("000-002", "003-005", "000-002", "000-002")]
    assert store.carry_over(tmp_path) == 4
    new = [path.with_name(f"{path.name}.gz") for path in old]
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == sorted(new), "one to one, and the old ones go"
    assert [store.read(path) for path in new] == [carried(record) for record in records]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in new]
    assert store.carry_over(tmp_path) == 0
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in new] == before
    assert store.carry_over(tmp_path / "nowhere") == 0


def test_a_carry_over_that_was_killed_before_the_old_file_went_goes_on(tmp_path):
    old = old_file(tmp_path, make_record())
    text = old.read_bytes()
    store.carry_over(tmp_path)
    old.write_bytes(text)
    assert store.carry_over(tmp_path) == 1
    assert not old.exists() and [store.read(path) for path in Store(tmp_path).files()] == [carried(make_record())]


@pytest.mark.parametrize("kind", ["bit", "cut", "deep", "elsewhere", "contradiction", "schema", "other results"])
def test_a_damaged_old_file_stays_and_is_named(tmp_path, kind):
    record, error = make_record(), store.DamagedResultError
    if kind == "contradiction":
        record["test_correct"][0][-1] += 1
    path = old_file(tmp_path, record)
    text = path.read_text()
    if kind == "bit":
        path.write_text(text.replace('"train_loss":[[0.', '"train_loss":[[1.', 1))
    elif kind == "cut":
        path.write_text(text[:-40])
    elif kind == "deep":
        path.write_text("[" * 100_000)
    elif kind == "schema":
        path.write_text(store.serialise({**json.loads(text), "schema": 0}))
    elif kind == "elsewhere":
        path = path.rename(path.with_name("trials-003-005.json"))
    elif kind == "other results":
        Store(tmp_path).write(make_record(seed=2))
        error = store.ConflictError
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(error, match=r"trials-00.-00.") as caught:
        store.carry_over(tmp_path)
    assert str(path) in str(caught.value)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_an_old_file_in_a_store_is_refused_with_the_command_that_carries_it_over(tmp_path):
    own, published = tmp_path / "own", tmp_path / "published"
    path = old_file(published, make_record())
    held, configuration = Store(own, also=[published]), make_record()["configuration"]
    for ask in (held.find, held.read, lambda *_: held.missing(configuration, TRIALS)):
        with pytest.raises(store.DamagedResultError) as caught:
            ask(configuration, range(TRIALS))
        assert str(path) in str(caught.value)
        assert f"`python -m report stored --carry-over {published}`" in str(caught.value)
    store.carry_over(published)
    assert held.read(configuration, range(TRIALS)) == carried(make_record())


def test_a_file_does_not_tell_when_it_was_packed():
    assert store.packed(make_record())[4:8] == bytes(4)  # where gzip keeps a time
