"""A case: numbers known from elsewhere, with a tolerance, and how the twin computes them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from twin.physics import FloatArray


@dataclass(frozen=True, kw_only=True)
class ValidationCase:
    """Numbers that somebody else published or computed, and ours to be laid beside them.

    Attributes
    ----------
    number
        Number of the case in the founding requirements; 0 for what was added later.
    title
        What is compared, in a few words.
    unit
        Unit of the values.
    points
        What each value belongs to.
    expected
        The values known.
    tolerance
        Greatest error that is accepted: a share of the expected value, or in ``unit``.
    is_relative
        Whether the tolerance is a share.
    source
        Who says so.
    compute
        Returns our values. [``unit``]
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


@dataclass(frozen=True, kw_only=True)
class ValidationResult:
    """A case with our values.

    Attributes
    ----------
    case
        The case.
    computed
        Our values. [unit of the case]
    """

    case: ValidationCase
    computed: FloatArray

    @property
    def errors(self) -> FloatArray:
        """Ours less expected: shares of the expected, or in the unit of the case."""
        expected = np.array(self.case.expected)
        difference = self.computed - expected
        return np.asarray(difference / expected if self.case.is_relative else difference)

    @property
    def max_error(self) -> float:
        """Greatest error, without its sign."""
        return float(np.max(np.abs(self.errors)))

    @property
    def passes(self) -> bool:
        """Whether every value lies within the tolerance; a NaN does not."""
        return bool(np.all(np.abs(self.errors) <= self.case.tolerance))


@dataclass(frozen=True, kw_only=True)
class SkippedCase:
    """A case that cannot be computed here.

    Attributes
    ----------
    number, title
        As those of the case.
    reason
        What it needs, and how to have it.
    """

    number: int
    title: str
    reason: str

    def as_json(self) -> dict[str, object]:
        """Return the row of the command's JSON output."""
        return {"number": self.number, "title": self.title, "because": self.reason}


def evaluate_case(case: ValidationCase) -> ValidationResult:
    """Return a case with our values, computed now."""
    found = np.atleast_1d(np.asarray(case.compute(), dtype=np.float64))
    return ValidationResult(case=case, computed=found)
