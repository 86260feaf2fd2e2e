"""A file appears whole or not at all, whatever fails while it is written."""

import csv
import errno
import os
from pathlib import Path

import pytest

from lib import files

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


def test_a_table_is_what_any_csv_reader_reads():
    rows = [["a,b", 'say "so"', 1.5], ["é", "two\nlines", ""]]
    text = files.table(["name", "words", "number"], rows)
    assert list(csv.reader(text.splitlines(keepends=True))) == [
        ["name", "words", "number"],
        *([str(each) for each in row] for row in rows),
    ]
    assert files.table(["a", "b"], []) == "a,b\n"
