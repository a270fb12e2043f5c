"""`./dev` makes its environment once, repairs a half-made one, and says what is missing.

A stand-in for Python plays the part of venv and pip, and writes down what it is asked to do.
"""

import shutil
import subprocess

import pytest

STAND_IN = """\
#!/bin/sh
case "$*" in
*sys.version_info*) echo "${{STAND_IN_VERSION:-3.13}}" ;;
*ensurepip*) [ -z "${{STAND_IN_BARE:-}}" ] && echo "$0" ;;
*flock*) ;;
"-m venv "*) echo venv >>"{log}"; mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
*requirements*) echo "${{*##*/}}" >>"{log}"; [ -z "${{STAND_IN_KILLED:-}}" ] || kill -9 $PPID ;;
*editable*) echo project >>"{log}" ;;
*) echo "ran $*" ;;
esac
"""
BASE = ["venv", "requirements.lock", "project"]


class Clone:
    """A folder with `./dev` and its locks, and a stand-in Python on the PATH."""

    def __init__(self, root, folder):
        self.folder = folder / "clone"
        self.path = folder / "bin"
        self.log = folder / "log"
        self.folder.mkdir()
        self.path.mkdir()
        for name in ("dev", "pyproject.toml", "requirements.lock", "requirements-dev.lock"):
            shutil.copy(root / name, self.folder)
        for name in ("cat", "cksum", "cp", "date", "dirname", "grep", "mkdir", "rm", "sh"):
            (self.path / name).symlink_to(shutil.which(name))

    def put_python(self, name):
        python = self.path / name
        python.write_text(STAND_IN.format(log=self.log))
        python.chmod(0o755)

    def run(self, *words, **environment):
        return subprocess.run(
            [self.folder / "dev", *words],
            env={"PATH": str(self.path), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def done(self):
        """Return what the stand-in did since the last call."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def clone(root, tmp_path):
    return Clone(root, tmp_path)


def test_environment_is_made_once(clone):
    clone.put_python("python3.13")
    first = clone.run("python", "-V")
    assert (first.returncode, first.stdout) == (0, "ran -V\n")
    assert "making .venv" in first.stderr
    assert clone.done() == BASE
    assert clone.run("python", "-V").stderr == ""
    assert clone.done() == []


def test_killed_install_is_repeated(clone):
    clone.put_python("python3.13")
    assert clone.run("python", "-V", STAND_IN_KILLED="1").returncode != 0
    assert clone.done() == BASE[:2]
    assert clone.run("python", "-V").returncode == 0
    assert clone.done() == BASE


def test_changed_lock_is_installed_again(clone):
    clone.put_python("python3.13")
    clone.run("python", "-V")
    clone.done()
    with (clone.folder / "requirements.lock").open("a") as lock:
        lock.write("# another day\n")
    clone.run("python", "-V")
    assert clone.done() == BASE


def test_moved_clone_is_installed_again(clone):
    clone.put_python("python3.13")
    clone.run("python", "-V")
    clone.done()
    clone.folder = clone.folder.rename(clone.folder.with_name("moved"))
    clone.run("python", "-V")
    assert clone.done() == BASE


def test_missing_venv_module_is_named_as_in_debian(clone):
    clone.put_python("python3.13")
    done = clone.run("python", STAND_IN_BARE="1")
    assert done.returncode == 1
    assert "apt-get install python3.13-venv" in done.stderr


def test_old_python_is_refused_by_name(clone):
    clone.put_python("python3")
    done = clone.run("python", STAND_IN_VERSION="3.11")
    assert done.returncode == 1
    assert "needs Python 3.12, 3.13 or 3.14, found python3=3.11" in done.stderr


def test_missing_python_is_reported(clone):
    done = clone.run("python")
    assert done.returncode == 1
    assert "found none; on Debian: apt-get install python3 python3-venv" in done.stderr


def test_unknown_command_prints_usage(clone):
    clone.put_python("python3.13")
    done = clone.run("no-such-word")
    assert done.returncode == 127
    assert "there is no command 'no-such-word'" in done.stderr
    assert "./dev check" in done.stderr


@pytest.mark.parametrize(
    ("word", "module"), [("bench", "benchmarks"), ("soak", "soak"), ("golden", "tests.golden")]
)
def test_benches_and_soaks_use_the_test_environment(clone, word, module):
    clone.put_python("python3.13")
    done = clone.run(word, "twin", "--json", "-")
    assert (done.returncode, done.stdout) == (0, f"ran -P -m {module} twin --json -\n")
    assert clone.done() == [*BASE[:2], "requirements-dev.lock", "project"]
