"""`gigatwin fit`: a curve for the site file, its error, and one clear block for a fault."""

import json

import pytest
from typer.testing import CliRunner

from optimizer.cli import app

RUNS = """network,power_limit,time_per_epoch,average_power
one,125,16.666666667,100
one,150,13.888888889,120
one,188,11.111111111,150
one,200,10.869565217,160
one,250,10,200
two,125,50,100
two,250,10,200
"""


@pytest.fixture
def fit(tmp_path):
    """Return the function that fits the runs of a file in this process."""
    file = tmp_path / "runs.csv"
    file.write_text(RUNS)
    return lambda *words: CliRunner().invoke(
        app, ["fit", "throughput", str(file), *map(str, words)]
    )


def test_curve_of_one_network_is_fitted(fit):
    result = fit("--only", "network=one", "--name", "ours", "--json", "-")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["power_points"] == pytest.approx([0.5, 0.75, 1.0])
    assert document["work_points"] == pytest.approx([0.6, 0.9, 1.0], abs=1e-4)
    assert document["error"] == pytest.approx(0.0, abs=1e-6)
    assert [row["jobs"] for row in document["medians"]] == [1] * 5
    assert "[ours]" in result.stderr


def test_missing_rows_are_refused(fit):
    result = fit("--only", "batch=1")
    assert result.exit_code == 1
    assert "batch: a column of the file: network" in result.stderr


def test_unknown_value_is_refused_with_known_ones(fit):
    result = fit("--only", "network=on")
    assert result.exit_code == 1
    assert "network = on: a value of the selected rows: one" in result.stderr


def test_invalid_file_is_refused(tmp_path):
    result = CliRunner().invoke(app, ["fit", "throughput", str(tmp_path / "none.csv")])
    assert result.exit_code == 1
    assert "cannot be read as CSV" in result.stderr
