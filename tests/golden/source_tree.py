"""A checkout of the project, used only through its command line and its files on disk."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

START = "2026-06-16"
"""Day of all runs; the synthetic series that ship with the project cover June 2026."""

SITES = ("rhine", "iberia", "gallia", "baltica", "small")

FORECAST_PLANNER = "deterministic"
"""Planner for the forecast alone."""

EARLIER_PLANNER = "optimal"
"""Its name in earlier versions."""

TIME_LIMIT_S = 600.0
"""Longest run of one command. [s]"""


class CommandFailedError(Exception):
    """A command of the checkout ended with an unexpected exit status."""


@dataclass(frozen=True, kw_only=True)
class SourceTree:
    """A checkout and a scratch folder for what its commands write.

    Attributes
    ----------
    root
        Folder of the checkout.
    scratch
        Folder for files; results of shared runs are kept in it and read again.
    variables
        Further environment variables of its processes.
    """

    root: Path
    scratch: Path
    variables: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables under which Python imports this checkout."""
        own = {"PYTHONPATH": str(self.root), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
        return {**os.environ, **own, **self.variables}

    def arguments(self, *words: str) -> list[str]:
        """Return the arguments of a process that runs a command of this checkout."""
        return [sys.executable, "-P", "-m", "optimizer.cli", *words]

    def folder(self, name: str) -> Path:
        """Return a folder inside the scratch folder; it is made if missing."""
        path = self.scratch / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def command(self, *words: str, statuses: Sequence[int] = (0,)) -> Any:
        """Run a command with ``--json`` and return what it writes.

        Parameters
        ----------
        words
            The command and its options, without ``--json``.
        statuses
            Exit statuses that are accepted.

        Raises
        ------
        CommandFailedError
            If the exit status is another one.
        """
        path = self.folder("json") / "result.json"
        path.unlink(missing_ok=True)
        done = self.run(*self.arguments(*words, "--json", str(path)))
        if done.returncode not in statuses or not path.exists():
            message = f"{' '.join(words)}: exit status {done.returncode}\n{done.stderr[-2000:]}"
            raise CommandFailedError(message)
        return json.loads(path.read_text(encoding="utf-8"))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a process with this checkout on Python's path."""
        return subprocess.run(
            arguments,
            cwd=self.folder("work"),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )

    @cached_property
    def series(self) -> dict[str, Path]:
        """Files of the synthetic prices, weather and jobs of this checkout."""
        names = ("prices", "weather", "jobs")
        script = (
            "import sites; file = getattr(sites, 'series_file', None) or sites.data; "
            f"print(*(file(name) for name in {names}), sep='\\n')"
        )
        done = self.run(sys.executable, "-P", "-c", script)
        if done.returncode != 0:
            raise CommandFailedError(done.stderr[-2000:])
        return dict(zip(names, map(Path, done.stdout.splitlines()), strict=True))

    @cached_property
    def series_options(self) -> list[str]:
        """Options that name the synthetic series."""
        return [word for name, path in self.series.items() for word in (f"--{name}", str(path))]

    def backtest_words(self, site: str, start: str, policies: str) -> list[str]:
        """Return the words of a backtest of one day."""
        named = ["--start", start, "--days", "1", "--policies", policies]
        return ["backtest", site, *named, *self.series_options]

    def plan(self, site: str, out: str, models: str) -> None:
        """Plan a day for the forecast alone, by the present or the earlier name of the planner."""
        for policy in (FORECAST_PLANNER, EARLIER_PLANNER):
            words = self.backtest_words(site, START, policy)
            try:
                self.command(*words, "--out", out, "--export-mps", models)
            except CommandFailedError:
                if policy == EARLIER_PLANNER:
                    raise
            else:
                return

    def planned_day(self, site: str) -> tuple[Path, Path]:
        """Return the output folder and the model folder of a day planned by the optimiser.

        The day runs once; a later call reads the same folders.
        """
        out, models = self.folder(f"day/{site}"), self.folder(f"models/{site}")
        if not any(models.iterdir()):
            self.plan(site, str(out), str(models))
        return out, models
