"""`gigatwin front` as a planner runs it."""

import json

import pytest
from typer.testing import CliRunner

from optimizer.cli import app


@pytest.mark.slow
def test_front_is_shown_drawn_and_written(tmp_path):
    picture, json_path = tmp_path / "front.png", tmp_path / "front.json"
    words = ["front", "small", "--carbon-prices", "0.4,0", "--out", picture, "--json", json_path]
    shown = CliRunner().invoke(app, [str(word) for word in words])
    assert shown.exit_code == 0, shown.output
    assert "binds" in shown.output
    found = json.loads(json_path.read_text())
    assert [row["carbon_price"] for row in found["front"]] == [0.0, 0.4]
    assert found["front"][1]["carbon"] < found["front"][0]["carbon"]
    assert {"limit", "unit", "worth", "hours"} <= set(found["sensitivities"][0])
    assert found["gaps"] == []
    assert found["notes"] == ["synthetic_prices.csv: carbon_intensity is direct"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_invalid_price_is_refused():
    shown = CliRunner().invoke(app, ["front", "small", "--carbon-prices", "cheap"])
    assert shown.exit_code == 1
    assert "--carbon-prices" in shown.output


def test_missing_data_is_noted_before_planning(run_with_incomplete_files):
    """Proves: prices without carbon and unused columns are noted before planning.

    Sensitivity: the table shows carbon of 0 t without a reason.
    """
    shown = run_with_incomplete_files("front", "small")
    assert "note: dear.csv: no carbon intensity" in shown
    assert "note: mine.csv: not read: user" in shown
