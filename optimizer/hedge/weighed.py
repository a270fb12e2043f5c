"""What was weighed over scenarios, for people: mean, tail, and the worst."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from optimizer.hedge.risk import Risk
from twin.units import format_unit
from twin.variables import variable_definition


@dataclass(frozen=True, kw_only=True)
class Worst:
    """One of the dearest scenarios.

    Attributes
    ----------
    scenario
        What it is called.
    probability
        How probable it is. [1]
    cost, violations
        What it pays, and how much of it for broken promises. [EUR]
    apart
        Word -> its mean over the horizon less that of all scenarios, in the word's unit.
    """

    scenario: str
    probability: float
    cost: float
    violations: float
    apart: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """What was weighed over scenarios.

    Attributes
    ----------
    scenarios
        How many. [1]
    risk
        How mean and tail were weighed.
    mean, tail
        Mean cost, and mean of the worst costs. [EUR]
    worst
        The scenarios of the tail, the dearest first.
    """

    scenarios: int
    risk: Risk
    mean: float
    tail: float
    worst: tuple[Worst, ...]

    def words(self) -> list[str]:
        """Return it in words, one line each."""
        worst = f"{1.0 - self.risk.level:.0%}"
        lines = [
            f"hedged over {self.scenarios} scenarios: mean {self.mean:,.0f} EUR, "
            f"mean of the worst {worst} {self.tail:,.0f} EUR"
        ]
        for one in self.worst:
            apart = (_difference(name, value) for name, value in one.apart.items())
            lines.append(
                f"worst, {one.scenario} ({one.probability:.0%}): {one.cost:,.0f} EUR; "
                f"beside the mean of all: {', '.join(apart)}"
            )
        return lines

    def as_json(self) -> dict[str, object]:
        """Return it as plain values."""
        return {
            "scenarios": self.scenarios,
            "level": self.risk.level,
            "weight": self.risk.weight,
            "mean_eur": round(self.mean, 2),
            "tail_eur": round(self.tail, 2),
            "tail": [
                {
                    "scenario": one.scenario,
                    "probability": round(one.probability, 4),
                    "cost_eur": round(one.cost, 2),
                    "violations_eur": round(one.violations, 2),
                    "beside_the_mean": {name: round(v, 2) for name, v in one.apart.items()},
                }
                for one in self.worst
            ],
            "words": self.words(),
        }


def _difference(word: str, value: float) -> str:
    """Return by how much a mean differs, in words with its unit."""
    called, unit = _CALLED.get(word, word.replace("_", " ")), variable_definition(word).unit
    return f"{called} {value:+,.2f} {'K' if unit == 'degC' else format_unit(unit)}"


_CALLED: Final = {"work_most": "work that can be done"}
