"""Memory of a process, as the system reports it."""

from pathlib import Path


def held_mb(what: str, *, pid: int | str = "self", file: str = "status") -> float:
    """Return a figure that the system reports of a process: VmHWM, RssAnon, Pss; 0 without. [MB]"""
    for line in Path(f"/proc/{pid}/{file}").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0
