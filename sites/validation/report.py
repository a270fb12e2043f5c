"""All validation cases in their order, and the page that reports them."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from sites.validation import components, plants, reference_programs
from sites.validation.cases import SkippedCase, ValidationCase, ValidationResult, evaluate_case


def validation_cases() -> Iterator[ValidationCase]:
    """Yield all cases: first those of the founding requirements by number, then later ones."""
    found = [
        *components.correlation_cases(),
        *plants.plant_cases(),
        reference_programs.energyplus_case(),
        *reference_programs.load_flow_cases(),
    ]
    yield from sorted((case for case in found if case.number), key=lambda case: case.number)
    yield from (case for case in found if not case.number)
    yield from plants.annual_cases()
    yield from components.disturbance_cases()


def skipped_cases() -> list[SkippedCase]:
    """Return the cases that :func:`validation_cases` omits because a library is missing."""
    return [*reference_programs.skipped_load_flow_cases()]


def validation_results() -> list[ValidationResult]:
    """Return the results of all cases, computed now; takes some seconds."""
    return [evaluate_case(case) for case in validation_cases()]


VALIDATION_NOTICE: Final = (
    "<!-- Written by `gigatwin validate --markdown docs/validation.md`; change the cases. -->"
)
MAX_LISTED_POINTS: Final = 12
"""Maximum listed points of a case; longer cases list the worst ones. [1]"""

REPORTED_SIGNIFICANT_DIGITS: Final = 6
"""Significant digits of values. [1]"""

NEGLIGIBLE_ERROR_SHARE: Final = 1e-3
"""Share of the tolerance below which an error is shown as a bound. [1]"""

_HEAD: Final = """\
Each case compares published, measured or independently computed values with those of the twin. No
parameter was fitted to its case unless the source says so. The cold plate, the double conversion
and the power supplies are declared by the published points themselves; their cases only verify the
interpolation between the points.

An error is a share of the expected value, or in the unit of the case. A case passes if every point
is within the tolerance."""

_ELSEWHERE: Final = """\
## Comparisons in the tests

These are too long for this page and run with the tests:

| subject | reference | test |
|---|---|---|
| a chiller-tower plant, all 744 hours of a July | EnergyPlus, run again | \
`tests/unit/twin/equipment/test_energyplus.py` |
| load flows of random networks | pandapower, run again | \
`tests/unit/twin/physics/test_powerflow.py` |
| humid air and liquids | psychrolib, CoolProp | `tests/unit/twin/physics` |
| energy at every machine, on random sites, loads and weathers | first law, 1e-6 | \
`tests/laws/test_energy_closure.py` |
| time to limit after any single failure | full simulation | `tests/unit/twin/contingency` |
| parameters learned from telemetry, and bounds of states | the simulated plant's parameters | \
`tests/unit/twin/calibration/test_calibrate.py`, `tests/unit/twin/estimation/test_observer.py` |
| plans | the twin, independent of the optimiser | \
`tests/unit/optimizer/verification/test_verify.py` |
| set points of the water | laws, limits of random sites | \
`tests/unit/twin/simulation/test_setpoint_search.py` |

`gigatwin setpoints frontier --weather FILE` compares the yearly savings by better set points with
those published for Frontier."""


def validation_page(
    outcomes: Sequence[ValidationResult], skipped: Sequence[SkippedCase] = ()
) -> str:
    """Return the page as Markdown."""
    points = sum(len(outcome.case.points) for outcome in outcomes)
    parts = [
        "# Validation of the twin",
        VALIDATION_NOTICE,
        f"{describe_passed(outcomes, skipped)}, {points} points in all.",
        *(f"Not computed: {case.title}, {case.reason}." for case in skipped),
        _HEAD,
        "\n".join([*_summary(outcomes), *map(_skipped_row, skipped)]),
        "Numbers are those of the founding requirements; later cases have none.",
        *(text for outcome in outcomes for text in _section(outcome)),
        _ELSEWHERE,
    ]
    return "\n\n".join(parts) + "\n"


def describe_passed(outcomes: Sequence[ValidationResult], skipped: Sequence[SkippedCase]) -> str:
    """Return how many cases pass and how many were skipped."""
    passed = sum(outcome.passes for outcome in outcomes)
    passed_text = f"{passed} of {len(outcomes) + len(skipped)} cases pass"
    return f"{passed_text}, {len(skipped)} skipped" if skipped else passed_text


def format_error(outcome: ValidationResult, error: float) -> str:
    """Return an error for display: a share in per cent, or in the unit of the case."""
    case = outcome.case
    if abs(error) < NEGLIGIBLE_ERROR_SHARE * case.tolerance:
        return f"< {_amount(outcome, NEGLIGIBLE_ERROR_SHARE * case.tolerance)}"
    return _amount(outcome, error)


def format_tolerance(outcome: ValidationResult) -> str:
    """Return the tolerance for display."""
    return _amount(outcome, outcome.case.tolerance)


def _amount(outcome: ValidationResult, value: float) -> str:
    if outcome.case.is_relative:
        return f"{100.0 * value:.2g} %"
    unit = outcome.case.unit
    if unit == "degC":
        unit = "K"
    return f"{value:.2g}" + ("" if unit == "1" else f" {unit}".replace(" %", " points"))


def _summary(outcomes: Sequence[ValidationResult]) -> Iterator[str]:
    yield "| | case | points | greatest error | tolerance | |"
    yield "|---|---|---|---|---|---|"
    for outcome in outcomes:
        case = outcome.case
        cells = (
            str(case.number or ""),
            case.title,
            str(len(case.points)),
            format_error(outcome, outcome.max_error),
            format_tolerance(outcome),
            "pass" if outcome.passes else "**fail**",
        )
        yield f"| {' | '.join(cells)} |"


def _skipped_row(case: SkippedCase) -> str:
    return f"| {case.number or ''} | {case.title} | | | | not computed |"


def _section(outcome: ValidationResult) -> Iterator[str]:
    case = outcome.case
    yield f"## {case.title}"
    yield f"Source: {case.source}. Tolerance: {format_tolerance(outcome)}."
    if note := case.note():
        yield note
    errors = outcome.errors
    shown = np.arange(len(errors))
    if len(errors) > MAX_LISTED_POINTS:
        shown = np.argsort(-np.abs(errors), kind="stable")[:3]
        if outcome.max_error < NEGLIGIBLE_ERROR_SHARE * case.tolerance:
            yield f"All {len(errors)} points differ by {format_error(outcome, outcome.max_error)}."
            return
        yield f"{len(errors)} points; the worst three:"
    unit = "" if case.unit == "1" else f" [{case.unit}]"
    rows = [f"| | expected{unit} | ours{unit} | error |", "|---|---|---|---|"]
    for i in shown:
        expected, found = (
            f"{v:.{REPORTED_SIGNIFICANT_DIGITS}g}" for v in (case.expected[i], outcome.computed[i])
        )
        if abs(outcome.computed[i] - case.expected[i]) < 1e-9:  # noqa: PLR2004  (nothing, in any unit)
            found = expected
        rows.append(
            f"| {case.points[i]} | {expected} | {found} | {format_error(outcome, errors[i])} |"
        )
    yield "\n".join(rows)
