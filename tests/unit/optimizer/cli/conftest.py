"""Files whose gaps a command must note before it plans."""

import pytest
from typer.testing import CliRunner

import sites
from optimizer.backtesting.case import BacktestCase
from optimizer.cli import app
from twin.errors import ProblemError


@pytest.fixture
def run_with_incomplete_files(tmp_path, monkeypatch):
    """Return a function that runs a command up to planning on them and returns its output.

    Prices have no carbon, and the jobs have an unused column.
    """
    prices, jobs = tmp_path / "dear.csv", tmp_path / "mine.csv"
    lines = sites.series_file("prices").read_text(encoding="utf-8").splitlines()
    prices.write_text("\n".join(",".join(line.split(",")[:2]) for line in lines))
    jobs.write_text("arrival_time,length,cpus,user\n3984.5,2,4,ann\n")

    def none_of(*_, **__):
        raise ProblemError("test", [])

    def invoke(*words):
        monkeypatch.setattr(BacktestCase, "of", none_of)
        options = ["--prices", str(prices), "--jobs", str(jobs)]
        return CliRunner().invoke(app, [*words, *options]).output

    return invoke
