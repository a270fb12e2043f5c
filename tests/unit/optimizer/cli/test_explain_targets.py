"""What explain says of a target that is not kept."""

import pytest

from optimizer.cli.explain import _describe_relaxed

ROW = {
    "target": "load target of a partner (tso_1)",
    "from": "2026-07-01T14:00Z",
    "to": "2026-07-01T15:45Z",
    "above": 2.5,
    "below": 0.0,
    "unit": "MWh",
    "paid_eur": 1250.0,
    "is_hard": False,
}


@pytest.mark.parametrize(
    ("changed", "values"),
    [
        ({}, "2.5 MWh above, penalty 1,250 EUR"),
        ({"is_hard": True}, "2.5 MWh above, which is not allowed, penalty 1,250 EUR"),
        ({"is_hard": True, "paid_eur": 0.0, "penalty_eur": 75000.0}, "limit exceeded by 2.5 MWh"),
        ({"below": 1.0, "paid_eur": -20.0}, "2.5 MWh above and 1.0 MWh below, penalty -20 EUR"),
    ],
)
def test_missed_load_target_is_one_line(changed, values):
    line = f"- load target of a partner (tso_1), 07-01 14:00Z to 07-01 15:45Z: {values}"
    assert _describe_relaxed(ROW | changed) == line
