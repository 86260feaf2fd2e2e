"""The code says its own commit or none; other programs end when they should; folders are those that a user means."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import psutil
import pytest

from lib import analysis, datasets, machine
from lib.machine import finish, folder_from

UNKNOWN = {"commit": "unknown", "dirty": True}


# ---------------------------------------------------------------- the version of the code


@pytest.fixture(autouse=True)
def no_repository(tmp_path, monkeypatch):
    """A user of git whose settings are none of this machine's."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    settings = {
        "user.name": "A",
        "user.email": "a@example.org",
        "protocol.file.allow": "always",
        "commit.gpgsign": "no",
    }
    for name, value in settings.items():
        git(tmp_path, "config", "--global", name, value)


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def unpack(folder: Path) -> Path:
    """Put what an archive has, as far as it matters here, into a folder."""
    (folder / "lib").mkdir(parents=True)
    shutil.copy(machine.__file__, folder / "lib")
    return folder


def commit(folder: Path) -> str:
    """Make a repository of a folder, with all that it has."""
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "all")
    return git(folder, "rev-parse", "HEAD")


def version(folder: Path, **options) -> dict[str, object]:
    """What the code in a folder says of itself."""
    spec = spec_from_file_location("machine_elsewhere", folder / "lib" / "machine.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.code_version(**options)


def test_a_checkout_says_the_last_commit_of_lib_and_whether_it_has_changed(tmp_path):
    folder = unpack(tmp_path / "checkout")
    of_lib = commit(folder)
    (folder / "README.md").touch()
    assert commit(folder) != of_lib
    assert version(folder) == {"commit": of_lib, "dirty": False}
    git(tmp_path, "config", "--global", "status.showUntrackedFiles", "no")
    (folder / "lib" / "new.py").touch()
    assert version(folder) == {"commit": of_lib, "dirty": True}


def test_a_work_tree_a_submodule_and_a_link_are_checkouts(tmp_path):
    said = {"commit": commit(unpack(tmp_path / "checkout")), "dirty": False}
    git(tmp_path / "checkout", "worktree", "add", "--quiet", tmp_path / "work-tree")
    assert version(tmp_path / "work-tree") == said
    commit(tmp_path / "work-tree")
    (tmp_path / "other").mkdir()
    commit(tmp_path / "other")
    git(tmp_path / "other", "submodule", "--quiet", "add", tmp_path / "checkout", "inner")
    assert version(tmp_path / "other" / "inner") == said
    (tmp_path / "link").symlink_to(tmp_path / "checkout")
    assert version(tmp_path / "link") == said


def in_a_repository_that_has_commits(folder):
    commit(folder)
    return unpack(folder / "unpacked")


def in_a_repository_that_ignores_it(folder):
    (folder / ".gitignore").write_text("unpacked/\n")
    commit(folder)
    return unpack(folder / "unpacked")


def in_a_repository_that_tracks_it(folder):
    unpack(folder / "unpacked")
    commit(folder)
    return folder / "unpacked"


def in_an_empty_repository(folder):
    git(folder, "init", "--quiet")
    return unpack(folder / "unpacked")


def at_the_top_of_an_empty_repository(folder):
    git(folder, "init", "--quiet")
    return unpack(folder)


def at_the_top_of_another_repository(folder):
    (folder / "lib").mkdir()
    (folder / "lib" / "other.py").touch()
    commit(folder)
    shutil.copy(machine.__file__, folder / "lib")
    return folder


def in_a_bare_repository(folder):
    git(folder, "init", "--quiet", "--bare")
    return unpack(folder / "unpacked")


def at_the_top_of_a_repository_whose_files_are_elsewhere(folder):
    commit(unpack(folder))
    git(folder, "config", "core.worktree", folder.parent)
    return folder


def in_a_repository_without_objects(folder):
    commit(unpack(folder))
    shutil.rmtree(folder / ".git" / "objects")
    return folder


def in_no_repository(folder):
    return unpack(folder)


@pytest.mark.parametrize(
    "place",
    [
        in_a_repository_that_has_commits,
        in_a_repository_that_ignores_it,
        in_a_repository_that_tracks_it,
        in_an_empty_repository,
        at_the_top_of_an_empty_repository,
        at_the_top_of_another_repository,
        in_a_bare_repository,
        at_the_top_of_a_repository_whose_files_are_elsewhere,
        in_a_repository_without_objects,
        in_no_repository,
    ],
)
def test_what_is_no_checkout_of_its_own_has_an_unknown_commit(place, tmp_path):
    (tmp_path / "place").mkdir()
    assert version(place(tmp_path / "place")) == UNKNOWN


def test_what_the_environment_says_of_another_repository_does_not_count(tmp_path, monkeypatch):
    of_lib = commit(unpack(tmp_path / "checkout"))
    (tmp_path / "checkout" / "more").touch()
    (tmp_path / "other" / "lib").mkdir(parents=True)
    (tmp_path / "other" / "lib" / "machine.py").touch()
    commit(tmp_path / "other")
    for name, value in {
        "GIT_DIR": ".git",
        "GIT_WORK_TREE": ".",
        "GIT_INDEX_FILE": ".git/index",
        "GIT_CEILING_DIRECTORIES": "..",
    }.items():
        monkeypatch.setenv(name, str(tmp_path / "other" / value))
    assert version(tmp_path / "checkout") == {"commit": of_lib, "dirty": False}
    assert version(unpack(tmp_path / "unpacked")) == UNKNOWN


@pytest.fixture
def a_git_that(tmp_path, monkeypatch):
    """Put a script in git's place."""

    def install(script: str) -> None:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "git").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / "git").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)

    return install


@pytest.mark.parametrize(
    "script",
    ["sleep 300 & sleep 300", "read -r password && sleep 300", "exit 1", "echo", "kill -9 $$"],
    ids=["hangs", "asks", "fails", "says nothing", "dies"],
)
def test_a_git_that_does_not_answer_is_no_git(script, a_git_that, tmp_path):
    commit(unpack(tmp_path / "checkout"))
    a_git_that(script)
    start = time.perf_counter()
    assert version(tmp_path / "checkout", seconds=0.5) == UNKNOWN
    assert time.perf_counter() - start < 10


def test_without_git_the_commit_is_unknown(tmp_path, monkeypatch):
    commit(unpack(tmp_path / "checkout"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert version(tmp_path / "checkout") == UNKNOWN


# ---------------------------------------------------------------- other programs


def test_a_command_that_ends_says_what_it_wrote():
    done = finish(["sh", "-c", "echo out; echo err >&2; cat; exit 3"], 60)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert finish(["no-such-command"], 60).returncode == 127
    assert finish(["sh", "-c", "echo $A"], 60, {"A": "b"}).stdout == "b\n"


def living(folder: Path) -> list[int]:
    """The processes that wrote their number into a folder and live: a dead one may wait to be noticed."""
    found = []
    for each in folder.iterdir():
        try:
            if psutil.Process(int(each.name)).status() != psutil.STATUS_ZOMBIE:
                found.append(int(each.name))
        except psutil.NoSuchProcess:
            pass
    return found


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


FAMILY = 'touch "$0/$$"; sh -c \'touch "$0/$$"; sleep 300\' "$0" & sleep 300'  # two processes that say who they are


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "living").mkdir()
    return tmp_path / "living"


def test_a_command_that_hangs_is_ended_with_its_children(folder):
    start = time.perf_counter()
    with pytest.raises(subprocess.TimeoutExpired, match="'sh'"):
        finish(["sh", "-c", FAMILY, str(folder)], 1)
    assert time.perf_counter() - start < 20
    assert len(list(folder.iterdir())) == 2
    wait_for(lambda: not living(folder))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_command_does_not_outlive_who_started_it(how, folder):
    code = f"from machine import finish; finish(['sh', '-c', {FAMILY!r}, {str(folder)!r}], 120)"
    of_lib = Path(machine.__file__).parent
    with subprocess.Popen([sys.executable, "-c", code], cwd=of_lib, stderr=subprocess.DEVNULL) as parent:
        try:
            wait_for(lambda: len(living(folder)) == 2)
            parent.send_signal(how)
            wait_for(lambda: not living(folder))
        finally:
            parent.kill()


# ---------------------------------------------------------------- folders


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("/a/b", "/a/b"),
        ("~", "{home}"),
        ("~/a b", "{home}/a b"),
        ("~root/a", "{root}/a"),
        ("$HOME/a", "{home}/a"),
        ("${ELSEWHERE}/a", "{home}/b/a"),
        ("  /a/b\t\n", "/a/b"),
        ('"/a/b"', "/a/b"),
        ("'~/a'", "{home}/a"),
        ("a/b", "{here}/a/b"),
        ("../a", "{here}/../a"),
        ("", "/the/default"),
        ("  ", "/the/default"),
        ("''", "/the/default"),
        (None, "/the/default"),
    ],
)
def test_a_folder_from_the_environment_is_what_a_user_means(said, meant, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("ELSEWHERE", "~/b")
    monkeypatch.delenv("A_FOLDER", raising=False)
    if said is not None:
        monkeypatch.setenv("A_FOLDER", said)
    root = Path("~root").expanduser()
    expected = Path(meant.format(home=tmp_path / "home", root=root, here=tmp_path / "here"))
    assert folder_from("A_FOLDER", Path("/the/default")) == expected
    assert folder_from("A_FOLDER", lambda: Path("/the/default")) == expected


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("~no-such-user/a", "A_FOLDER is '~no-such-user/a'; there is no home folder '~no-such-user'"),
        ("$NO_SUCH/a", "A_FOLDER is '$NO_SUCH/a'; the variable NO_SUCH in it is not set"),
        ("/a/${NO_SUCH}", "A_FOLDER is '/a/${NO_SUCH}'; the variable NO_SUCH in it is not set"),
    ],
)
def test_a_user_or_a_variable_that_does_not_exist_is_refused_in_words(said, words, monkeypatch):
    monkeypatch.setenv("A_FOLDER", said)
    monkeypatch.delenv("NO_SUCH", raising=False)
    with pytest.raises(ValueError) as caught:
        folder_from("A_FOLDER", Path("/"))
    assert str(caught.value) == words


def test_in_a_notebook_a_relative_folder_begins_where_jupyter_was_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("A_FOLDER", "a")
    monkeypatch.setenv("PWD", "/where/the/shell/is")
    assert folder_from("A_FOLDER", Path("/")) == tmp_path / "a"
    monkeypatch.setenv("JPY_PARENT_PID", "1")  # as every kernel has it
    assert folder_from("A_FOLDER", Path("/")) == Path("/where/the/shell/is/a")


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("RESULTS_ROOT", lambda: analysis.default_store().root),
        ("MNIST_ROOT", datasets.mnist_root),
        ("XDG_CACHE_HOME", lambda: machine.cache_folder().parent),
    ],
)
@pytest.mark.parametrize(("said", "meant"), [("~/a", "home/a"), (" $HOME/a ", "home/a"), ("a", "here/a")])
def test_every_folder_that_can_be_set_is_read_by_this_rule(name, read, said, meant, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv(name, said)
    assert read() == tmp_path / meant
    assert not (tmp_path / "here" / "~").exists()


def test_without_a_home_it_is_said_what_to_set():
    code = (
        "import os, json; from lib.machine import cache_folder\n"
        "os.environ.pop('HOME'); os.setuid(54321)\n"
        "try: cache_folder()\n"
        "except ValueError as error: print(json.dumps(str(error)))"
    )
    if os.geteuid() != 0:
        pytest.skip("only root becomes a user without a home")
    done = subprocess.run([sys.executable, "-c", code], cwd=machine.ROOT, capture_output=True, text=True)
    assert json.loads(done.stdout) == "this user has no home folder; set XDG_CACHE_HOME to a folder", done.stderr
