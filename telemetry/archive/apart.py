"""Icechunk in a process of its own: there it may hang or die, and what it keeps goes with it."""

import signal
import subprocess
import sys


def fault_of(script: str, *words: str, given: bytes = b"", patience: float) -> str:
    """Return what a script met that ran in another process, in its last line; "" if nothing.

    Parameters
    ----------
    script
        What it does, in Python.
    words
        Its arguments.
    given
        What it reads from its standard input.
    patience
        Longest wait for its end, at which it is killed. [s]
    """
    command = [sys.executable, "-I", "-c", script, *words]
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, check=False, timeout=patience
        )
    except subprocess.TimeoutExpired:
        return f"the process did not end within {patience:g} s"
    if done.returncode < 0:
        return f"the process ended: {signal.strsignal(-done.returncode)}"
    lines = done.stderr.decode(errors="replace").strip().splitlines() or ["without a word"]
    return lines[-1].lstrip(" `->") if done.returncode else ""
