"""A file appears whole or not at all, whatever fails while it is written."""

import csv
import errno
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib import files
from lib.machine import ROOT

NEW = "new content, é\n" * 1000


class Faults:
    """Fails the k-th call among those that change the disk; `name` says which one it was."""

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


@pytest.mark.parametrize("content", ["a text, é\n", b"\x00\xff bytes", "", b""])
def test_texts_and_bytes_are_written_into_folders_that_are_made(tmp_path, content):
    path = tmp_path / "new" / "folder" / "file"
    assert files.write(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path], "a temporary file is left"


def test_a_file_is_replaced_unless_asked_otherwise(tmp_path):
    path = tmp_path / "file"
    assert files.write(path, "old")
    before = path.stat().st_mtime_ns
    assert not files.write(path, "other", replace=False)
    assert (path.read_text(), path.stat().st_mtime_ns) == ("old", before)
    assert files.write(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("replace", [True, False])
def test_a_fault_at_any_call_leaves_a_whole_file_or_none(tmp_path, replace):
    tried = set()
    for k in range(1, 100):
        path = tmp_path / str(k) / "folder" / "file"
        if replace:
            files.write(path, "old")
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, k)
            try:
                files.write(path, NEW, replace=replace)
            except OSError as error:
                assert "injected" in str(error)
        left = [p for p in path.parent.iterdir() if p != path] if path.parent.exists() else []
        assert not left, f"{faults.name}: a temporary file is left"
        if replace or path.exists():
            assert path.read_text() in ([NEW, "old"] if replace else [NEW]), faults.name
        assert files.write(path, NEW), "it cannot be written later"
        if faults.name is None:
            break
        tried.add(faults.name)
    named = {"replace"} if replace else {"link", "mkdir"}
    assert tried >= {"open", "write", "flush", "fsync", "chmod"} | named, tried


def test_a_file_system_without_hard_links_will_do(tmp_path, monkeypatch):
    def no_link(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_link)
    assert files.write(tmp_path / "file", "one", replace=False)
    assert not files.write(tmp_path / "file", "two", replace=False)
    assert (tmp_path / "file").read_text() == "one"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_is_synced_before_it_gets_its_name_and_its_folders_after(tmp_path, monkeypatch):
    calls, fsync, link = [], os.fsync, os.link

    def spy_fsync(descriptor):
        calls.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def spy_link(*arguments):
        calls.append("link")
        link(*arguments)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "link", spy_link)
    path = tmp_path / "folder" / "file"
    files.write(path, "content", replace=False)
    assert calls == [path.stat().st_ino, "link", path.parent.stat().st_ino, tmp_path.stat().st_ino]


# ---------------------------------------------------------------- what stands in the way


def a_folder(path):
    path.mkdir()


def a_dangling_link(path):
    path.symlink_to("nowhere")


def a_pipe(path):
    os.mkfifo(path)


def in_a_file(path):
    path.parent.rmdir()
    path.parent.write_text("a file")


def in_a_dangling_link(path):
    path.parent.rmdir()
    path.parent.symlink_to("nowhere")


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize(
    ("put", "words"),
    [
        (a_folder, "{path} is a folder where a file should be; move it away"),
        (a_dangling_link, "{path} is a link to nowhere, which does not exist; make that, or remove the link"),
        (a_pipe, "{path} is a special file where a file should be; move it away"),
        (in_a_file, "{path.parent} is a file where a folder should be; move it away"),
        (in_a_dangling_link, "{path.parent} is a link to nowhere, which does not exist"),
    ],
)
def test_what_stands_in_a_files_place_is_named_and_what_to_do(tmp_path, put, words, replace):
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    put(path)
    if replace and put in (a_dangling_link, a_pipe):  # a rename replaces them
        assert files.write(path, NEW) and path.read_text() == NEW
        return
    with pytest.raises(OSError) as caught:
        files.write(path, NEW, replace=replace)
    assert words.format(path=path) in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.errno in (errno.EEXIST, errno.EISDIR, errno.ENOTDIR)
    assert [each for each in tmp_path.rglob("*") if each not in (path, path.parent)] == []


def test_a_name_that_is_too_long_is_refused_in_words(tmp_path):
    for path in (tmp_path / ("x" * 300), tmp_path / ("x" * 300) / "file", tmp_path / ("x" * 250)):
        with pytest.raises(OSError, match=r"xxx.* cannot be written \(File name too long\): choose a shorter name"):
            files.write(path, NEW)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "cannot be written (No space left on device): make room there"),
        (errno.EDQUOT, "cannot be written (Disk quota exceeded): make room there"),
        (errno.EROFS, "cannot be written (Read-only file system): choose a folder on a disk that can be written"),
        (errno.EACCES, "cannot be written (Permission denied): get the right to write there"),
        (errno.EIO, "cannot be written (Input/output error)"),
    ],
)
def test_a_disk_that_cannot_be_written_keeps_its_number_and_says_what_to_do(tmp_path, monkeypatch, number, words):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError) as caught:
        files.write(tmp_path / "file", NEW)
    error = pickle.loads(pickle.dumps(caught.value))  # as a worker sends it
    assert error.errno == number and type(error) is type(OSError(number, ""))
    assert f"{tmp_path / 'file'} {words}" in str(error)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- leftovers


def age(path, seconds):
    os.utime(path, (time.time() - seconds,) * 2, follow_symlinks=False)


def test_what_a_killed_writer_left_is_removed_after_a_day(tmp_path):
    code = (
        "import os, pathlib, signal; from lib import files\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"files.write(pathlib.Path({str(tmp_path / 'file.json.gz')!r}), 'half')"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == -signal.SIGKILL
    [left] = tmp_path.iterdir()
    age(left, 80_000)
    files.write(tmp_path / "another", "whole")
    assert left.exists(), "its writer may still live"
    age(left, 90_000)
    files.write(tmp_path / "file.json.gz", "whole", replace=False)
    assert {each.name for each in tmp_path.iterdir()} == {"another", "file.json.gz"}


def test_nothing_else_is_removed_however_old_it_is(tmp_path):
    kept = [
        tmp_path / name for name in ("notes.part", ".part", ".notes.part", ".a.ABCDEFGH.part", ".a.abcdefgh.partial")
    ]
    for path in kept:
        path.write_text("a user's")
        age(path, 1e6)
    files.write(tmp_path / "file", "new")
    assert all(path.read_text() == "a user's" for path in kept)


def test_of_a_link_only_the_link_is_removed(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    link = tmp_path / ".file.abcdefgh.part"
    link.symlink_to(tmp_path / "mine")
    age(link, 1e6)
    files.sweep(tmp_path)
    assert not link.is_symlink() and (tmp_path / "mine" / "file").exists()


def test_a_folder_that_cannot_be_swept_is_left_without_a_word(tmp_path):
    files.sweep(tmp_path / "none")
    (tmp_path / "file").touch()
    files.sweep(tmp_path / "file")
    assert (tmp_path / "file").exists()


def test_a_table_is_what_any_csv_reader_reads():
    rows = [["a,b", 'say "so"', 1.5], ["é", "two\nlines", ""]]
    text = files.table(["name", "words", "number"], rows)
    assert list(csv.reader(text.splitlines(keepends=True))) == [
        ["name", "words", "number"],
        *([str(each) for each in row] for row in rows),
    ]
    assert files.table(["a", "b"], []) == "a,b\n"
