"""A validation case: published numbers with a tolerance, and a function that computes the twin's
values.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from twin.physics import FloatArray


@dataclass(frozen=True, kw_only=True)
class ValidationCase:
    """Published or independently computed numbers, and their computation by the twin.

    - `number`: number of the case in the founding requirements; 0 for later cases.
    - `tolerance`: maximum accepted error: a share of the expected value, or in ``unit``.
    - `is_relative`: whether the tolerance is a share.
    - `compute`: returns the twin's values. [``unit``]
    - `note`: returns a remark for the page, with the twin's values.
    """

    number: int
    title: str
    unit: str
    points: tuple[str, ...]
    expected: tuple[float, ...]
    tolerance: float
    is_relative: bool = True
    source: str
    compute: Callable[[], FloatArray]
    note: Callable[[], str] = str


@dataclass(frozen=True, kw_only=True)
class ValidationResult:
    """A case with the computed values of the twin. [unit of the case]"""

    case: ValidationCase
    computed: FloatArray

    @property
    def errors(self) -> FloatArray:
        """Computed less expected values: shares of the expected, or in the unit of the case."""
        expected = np.array(self.case.expected)
        difference = self.computed - expected
        return np.asarray(difference / expected if self.case.is_relative else difference)

    @property
    def max_error(self) -> float:
        """Greatest absolute error."""
        return float(np.max(np.abs(self.errors)))

    @property
    def passes(self) -> bool:
        """Whether every value is within the tolerance; a NaN is not."""
        return bool(np.all(np.abs(self.errors) <= self.case.tolerance))


@dataclass(frozen=True, kw_only=True)
class SkippedCase:
    """A case that cannot be computed in this environment; ``reason`` says what it needs."""

    number: int
    title: str
    reason: str

    def as_json(self) -> dict[str, object]:
        """Return the row of the command's JSON output."""
        return {"number": self.number, "title": self.title, "because": self.reason}


def evaluate_case(case: ValidationCase) -> ValidationResult:
    """Return the result of a case, computed now."""
    found = np.atleast_1d(np.asarray(case.compute(), dtype=np.float64))
    return ValidationResult(case=case, computed=found)
