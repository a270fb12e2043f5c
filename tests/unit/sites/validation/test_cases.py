"""Validation cases of the twin: each passes, each could fail, and the page shows them."""

from dataclasses import replace

import numpy as np
import pytest

from sites import catalogue
from sites.validation import reference_programs, report
from sites.validation.cases import ValidationCase, evaluate_case

PAGE = catalogue.SITES_DIR.parent / "docs" / "validation.md"
CASES = list(report.validation_cases())


@pytest.fixture(scope="module")
def found():
    """Return outcomes by title, each computed once."""
    return {}


def outcome(found, case):
    if case.title not in found:
        found[case.title] = evaluate_case(case)
    return found[case.title]


def hand(*values, expected=(10.0, 20.0), **changed):
    """Return a case whose values are given."""
    case = ValidationCase(
        number=0,
        title="by hand",
        unit="MW",
        points=("one", "two"),
        expected=expected,
        tolerance=0.01,
        source="this test",
        compute=lambda: np.array(values),
    )
    return evaluate_case(replace(case, **changed))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_validation_case_passes(case, found):
    result = outcome(found, case)
    assert len(case.points) == len(case.expected) == len(result.computed)
    assert result.passes, f"{case.title}: {result.errors} beside {case.tolerance}"


def test_every_required_number_has_a_case():
    numbers = {case.number for case in CASES}
    assert numbers == {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
    titles = [case.title for case in CASES]
    assert len(set(titles)) == len(titles)
    assert all(case.source and case.unit and case.tolerance > 0.0 for case in CASES)


def test_shares_and_units_by_hand():
    assert hand(10.05, 20.0).max_error == pytest.approx(0.005)  # a share: 0.05 of 10
    assert hand(10.05, 20.0).passes
    assert not hand(10.2, 20.0).passes
    assert hand(10.05, 20.0, is_relative=False).max_error == pytest.approx(0.05)  # in MW
    assert not hand(10.05, 20.0, is_relative=False).passes


def test_missing_or_infinite_values_fail():
    assert not hand(np.nan, 20.0).passes
    assert not hand(np.inf, 20.0).passes


@pytest.mark.parametrize("case", [c for c in CASES if c.number], ids=lambda case: case.title)
def test_error_of_three_tolerances_fails(case, found):
    """No case is so wide that it could not fail."""
    right = outcome(found, case).computed
    wrong = right * (1.0 + 3.0 * case.tolerance) if case.is_relative else right + 3 * case.tolerance
    assert not evaluate_case(replace(case, compute=lambda: wrong)).passes


def test_stored_hours_and_networks_exist():
    assert len(reference_programs.energyplus_case().points) >= 60
    assert {case.unit for case in reference_programs.load_flow_cases()} == {"1", "MW"}


def test_error_texts_by_hand():
    share, unit = hand(10.05, 20.0), hand(10.005, 20.0, is_relative=False)
    assert report.format_error(share, share.errors[0]) == "0.5 %"
    assert report.format_error(share, share.errors[1]) == "< 0.001 %"
    assert report.format_error(unit, unit.errors[0]) == "0.005 MW"
    assert report.format_tolerance(unit) == "0.01 MW"


def test_page_shows_failed_cases():
    text = report.validation_page([hand(10.05, 20.0), hand(11.0, 20.0, title="a wrong one")])
    assert "1 of 2 cases pass, 4 points in all." in text
    assert "| a wrong one | 2 | 10 % | 1 % | **fail** |" in text.replace("|  |", "|")
    assert "| one | 10 | 11 | 10 % |" in text
    many = hand(
        *np.linspace(1.0, 1.09, 20), expected=(1.0,) * 20, points=tuple(map(str, range(20)))
    )
    assert "20 points; the worst three:" in report.validation_page([many])


@pytest.mark.slow
def test_committed_page_is_up_to_date(found):
    written = PAGE.read_text(encoding="utf-8")
    page = report.validation_page([outcome(found, case) for case in CASES])
    assert written == page, "run `./dev gigatwin validate --markdown docs/validation.md`"
