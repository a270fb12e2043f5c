"""Peers: schedulers and modelling tools of others, in an environment of their own, asked in JSON.

FlexMeasures holds a Pyomo older than ours, so the peers have their own lock and `.venv-peers`, made
when a bench first asks for them; GIGATWIN_PEERS names another Python that has them. Every script of
`peers/` reads a question from its standard input and prints its results in its last line, and the
CPU seconds that this took, imports left out.
"""

import fcntl
import json
import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(__file__).parent / "peers"
LOCK = ROOT / "requirements-peers.lock"
HOME = ROOT / ".venv-peers"

WITHOUT_WHEELS = ("flask-principal", "flask-sslify", "marshmallow-polyfield", "pymeeus")
"""Packages that bring sources only: all pure Python, built by the setuptools of the lock."""


class PeerError(RuntimeError):
    """A peer did not answer."""

    def __init__(self, script: str, output: str) -> None:
        super().__init__(f"peer {script} failed:\n{output}")


def ask(script: str, cases: list, *words: str, export: Path | None = None) -> dict:
    """Return the answer of a peer's script to some problems.

    Parameters
    ----------
    script
        Name of a script in `peers/`.
    cases
        The problems, which it reads as JSON.
    *words
        Its arguments.
    export
        Folder for the peer's models; none are written without.
    """
    stem = str(export / "-".join([script, *words])) if export else None
    done = subprocess.run(
        [python(), "-W", "ignore", SCRIPTS / f"{script}.py", *words],
        input=json.dumps({"cases": cases, "export": stem}),
        env={k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PeerError(script, done.stderr)
    answer: dict = json.loads(done.stdout.splitlines()[-1])
    return answer


def python() -> Path:
    """Return the Python of the peers, whose environment is made or repaired if need be."""
    if given := os.environ.get("GIGATWIN_PEERS"):
        return Path(given)
    with (ROOT / ".venv-peers.lock").open("w") as claim:
        fcntl.flock(claim, fcntl.LOCK_EX)  # one at a time; the kernel lets it go
        if not is_ready(HOME):
            make(HOME)
    return HOME / "bin" / "python"


def is_ready(home: Path) -> bool:
    """Return whether an environment was made whole, for the lock as it is, at this place."""
    stamp = home / "peers.stamp"
    return stamp.exists() and stamp.read_text() == _state(home)


def make(home: Path) -> None:
    """Make the environment again from the lock; the stamp is written last.

    FlexMeasures asks for a Python below 3.13. Its scheduler runs with later ones too, and all ways
    shall be measured with the same Python, so that wish is not heard.
    """
    sys.stderr.write(f"bench: making {home.name} from {LOCK.name} (once, some minutes)\n")
    _run([sys.executable, "-m", "venv", "--clear", str(home)])
    install = [str(home / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    install += ["--quiet", "install", "--no-compile", "--require-hashes", "--only-binary", ":all:"]
    with tempfile.TemporaryDirectory() as folder:
        builder = Path(folder) / "builder.txt"
        builder.write_text(entry(LOCK.read_text(), "setuptools"))
        _run([*install, "-r", str(builder)])
    sources = ["--no-build-isolation", "--no-binary", ",".join(WITHOUT_WHEELS)]
    _run([*install, *sources, "--ignore-requires-python", "-r", str(LOCK)])
    (home / "peers.stamp").write_text(_state(home))


def entry(lock: str, package: str) -> str:
    """Return the lines of one package of a lock."""
    lines, is_in = [], False
    for line in lock.splitlines():
        if line[:1].isalpha():
            is_in = line.startswith(f"{package}==")
        if is_in:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _state(home: Path) -> str:
    return f"{zlib.crc32(LOCK.read_bytes())} {home}\n"


def _run(words: Sequence[str]) -> None:
    subprocess.run(words, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    sys.stdout.write(f"{python()}\n")
