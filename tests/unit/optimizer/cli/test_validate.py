"""`gigatwin validate`: it writes page, picture and JSON, and fails if a case fails."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from optimizer.cli import app, validate
from sites.validation import components, reference_programs
from sites.validation.cases import evaluate_case


@pytest.fixture
def few(monkeypatch):
    """Return two cases in the place of all; those of the whole book are tested where they live."""
    cases = [
        evaluate_case(case) for case in components.correlation_cases() if case.number in (3, 5)
    ]
    monkeypatch.setattr(validate, "validation_results", lambda: cases)
    return cases


def run(*words):
    return CliRunner().invoke(app, ["validate", *map(str, words)])


@pytest.mark.usefixtures("few")
def test_all_requested_files_are_written(tmp_path):
    files = {name: tmp_path / name for name in ("page.md", "errors.png")}
    result = run("--markdown", files["page.md"], "--picture", files["errors.png"], "--json", "-")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["failed"] == []
    first = document["cases"][0]
    assert (first["number"], first["unit"], len(first["found"])) == (3, "K", 5)
    assert first["worst"] <= first["tolerance"]
    assert files["page.md"].read_text().startswith("# Validation of the twin")
    assert files["errors.png"].read_bytes().startswith(b"\x89PNG")
    assert "2 of 2 cases pass" in result.stderr


def test_a_case_that_fails_is_told_by_the_exit_code(few, monkeypatch):
    wrong = evaluate_case(replace(few[0].case, compute=lambda: np.full(5, np.nan)))
    monkeypatch.setattr(validate, "validation_results", lambda: [wrong, few[1]])
    result = run("--json", "-")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["failed"] == [few[0].case.title]


@pytest.mark.usefixtures("few")
def test_cases_that_cannot_be_computed_are_told_everywhere(tmp_path, monkeypatch):
    """Without power-grid-model, as in the environment that `./dev gigatwin` makes."""
    monkeypatch.setattr(reference_programs, "find_spec", lambda name: None)  # noqa: ARG005
    page = tmp_path / "page.md"
    result = run("--markdown", page, "--json", "-")
    assert result.exit_code == 0, result.stderr
    assert "2 of 5 cases pass, 3 skipped" in result.stderr
    assert "Power taken from the grid, load flow, needs power-grid-model" in result.stderr
    skipped = json.loads(result.stdout)["skipped"]
    assert [case["number"] for case in skipped] == [9, 9, 9]
    assert "pip install 'gigatwin[planner]'" in skipped[0]["because"]
    text = page.read_text()
    assert "2 of 5 cases pass, 3 skipped, 14 points in all." in text
    assert "| 9 | Voltages of the nodes, load flow | | | | not computed |" in text
    assert "Not computed: Voltages of the nodes, load flow, needs power-grid-model" in text
