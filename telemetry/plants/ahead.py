"""What a simulated plant is about to do: run once for minutes that are asked for bit by bit."""

from dataclasses import dataclass

from twin.physics import FloatArray
from twin.run import Key, Run

type Courses = dict[Key, FloatArray]
"""(name, machine) -> its course, minute by minute. [MW; degC]"""


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """The coming minutes of a plant; true as long as nobody orders anything else.

    Attributes
    ----------
    begin, end
        The first minute, and the one behind the last.
    courses
        The set points in these minutes.
    run
        What the plant does in them.
    """

    begin: int
    end: int
    courses: Courses
    run: Run

    def points(self, minute: int) -> dict[Key, float]:
        """Return where the set points stand when a minute begins that is not the first."""
        last = minute - self.begin - 1
        return {key: float(course[last]) for key, course in self.courses.items()}
