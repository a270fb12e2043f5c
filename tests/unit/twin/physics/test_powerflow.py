"""Load flow: two nodes by hand, and pandapower on random networks (case 9 of the physics)."""

import json
import os
import subprocess
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from twin.physics.load_flow_equations import (
    LineArrays,
    NetworkArrays,
    TransformerArrays,
    solve_load_flow,
)

ROOT = Path(__file__).parents[4]
ORACLE = Path(os.environ.get("GIGATWIN_ORACLE", ROOT / ".venv-oracle" / "bin" / "python"))
"""A Python with pandapower, which cannot share our environment."""

NO_TRANSFORMERS = TransformerArrays(
    ends=np.empty((0, 2), dtype=np.int64),
    voltages=np.empty((0, 2)),
    **dict.fromkeys(
        ("rating", "short_circuit_voltage", "load_loss", "no_load_loss", "no_load_current"),
        np.empty(0),
    ),
)
NO_LINES = LineArrays(
    ends=np.empty((0, 2), dtype=np.int64),
    **dict.fromkeys(("resistance", "reactance", "capacitance", "current"), np.empty(0)),
)
STIFF = {
    "source_node": 0,
    "source_voltage": 1.0,
    "short_circuit_power": 1e9,
    "source_resistance_ratio": 0.1,
}


def one_line(capacitance=0.0):
    """A line of 2 ohm at 20 kV from a stiff grid to one load."""
    return NetworkArrays(
        voltage=np.array([20.0, 20.0]),
        **STIFF,
        lines=LineArrays(
            ends=np.array([[0, 1]]),
            resistance=np.array([2.0]),
            reactance=np.array([0.0]),
            capacitance=np.array([capacitance]),
            current=np.array([500.0]),
        ),
        transformers=NO_TRANSFORMERS,
        load_nodes=np.array([1]),
    )


def test_load_that_is_not_a_number_is_refused():
    """Sensitivity: the solver ignored it and returned plausible voltages."""
    loads = np.array([[1.0], [np.nan]])
    with pytest.raises(ValueError, match="load 0 is not finite in interval 1"):
        solve_load_flow(one_line(), loads, np.zeros((2, 1)))


def test_a_line_by_hand():
    # U2 (20 - U2) = R P, so U2^2 - 20 U2 + R P = 0 in kV, ohm, MW; R P = 19.5,
    # U2 = 10 + sqrt(100 - 19.5) = 18.9722 kV; I = 9.75/(sqrt 3 U2) = 296.71 A; loss 3 R I^2
    found = solve_load_flow(one_line(), np.array([[9.75]]), np.array([[0.0]]))
    assert found.voltage[0] == pytest.approx([1.0, 0.948609], abs=1e-6)
    assert found.loading[0, 0] == pytest.approx(0.593412, abs=1e-5)
    assert found.loss[0, 0] == pytest.approx(3 * 2.0 * 0.296706**2, rel=1e-4)
    assert found.active_import[0] == pytest.approx(9.75 + found.loss[0, 0])
    assert found.reactive_import[0] == pytest.approx(0.0, abs=1e-5)


def test_generation_lifts_the_voltage():
    # P = -9.75: U2 = 10 + sqrt(119.5) = 20.9316 kV
    found = solve_load_flow(one_line(), np.array([[-9.75]]), np.array([[0.0]]))
    assert found.voltage[0, 1] == pytest.approx(1.046580, abs=1e-6)


def test_idle_cable_supplies_reactive_power():
    # 2 uF at 20 kV: w C U^2 = 314.159 x 2e-6 x 4e8 = 0.2513 Mvar
    found = solve_load_flow(one_line(capacitance=2.0), np.array([[0.0]]), np.array([[0.0]]))
    assert found.reactive_import[0] == pytest.approx(-0.2513, abs=1e-4)


def test_infeasible_load_is_reported():
    # R P may be 100 at most: 50 MW
    found = solve_load_flow(one_line(), np.array([[49.0], [51.0], [1.0]]), np.zeros((3, 1)))
    assert found.is_solved.tolist() == [True, False, True]
    assert found.voltage[0, 1] == pytest.approx(0.5 + np.sqrt(0.25 - 98 / 400), abs=1e-6)
    assert np.isnan(found.voltage[1]).all()
    assert np.isfinite(found.voltage[2]).all()


def test_a_transformer_by_hand():
    # 63 MVA at full resistive load, stiff grid: copper 0.2 MW (I/I_r)^2, core 0.04 MW
    wiring = NetworkArrays(
        voltage=np.array([110.0, 20.0]),
        **STIFF,
        lines=NO_LINES,
        transformers=TransformerArrays(
            ends=np.array([[0, 1]]),
            voltages=np.array([[110.0, 20.0]]),
            rating=np.array([63.0]),
            short_circuit_voltage=np.array([0.12]),
            load_loss=np.array([0.2]),
            no_load_loss=np.array([0.04]),
            no_load_current=np.array([0.003]),
        ),
        load_nodes=np.array([1]),
    )
    found = solve_load_flow(wiring, np.array([[0.0], [60.0]]), np.zeros((2, 1)))
    assert found.loss[0, 0] == pytest.approx(0.04, rel=1e-3)
    current = 60.0 / 63.0 / found.voltage[1, 1]
    assert found.loss[1, 0] == pytest.approx(0.2 * current**2 + 0.04, rel=2e-3)
    assert found.loading[1, 0] == pytest.approx(
        np.hypot(found.active_import[1], found.reactive_import[1]) / 63.0, rel=1e-6
    )


def test_open_line_disconnects_its_end():
    found = solve_load_flow(
        one_line(), np.full((2, 1), 5.0), np.zeros((2, 1)), is_closed=np.array([False])
    )
    assert found.voltage[1] == pytest.approx([1.0, 0.0])
    assert found.active_import[1] == 0.0


def random_case(seed):
    """Two transformers in parallel onto a ring of six nodes with a spur, and an open branch."""
    rng = np.random.default_rng(seed)
    ends = [(1, 2), (2, 3), (3, 4), (4, 5), (5, 1), (3, 6)]
    length = rng.uniform(0.2, 3.0, len(ends))
    wiring = NetworkArrays(
        voltage=np.array([110.0] + [20.0] * 6),
        source_node=0,
        source_voltage=rng.uniform(0.98, 1.04),
        short_circuit_power=rng.uniform(1500.0, 8000.0),
        source_resistance_ratio=rng.uniform(0.05, 0.3),
        lines=LineArrays(
            ends=np.array(ends),
            resistance=rng.uniform(0.03, 0.12) * length,
            reactance=rng.uniform(0.09, 0.12) * length,
            capacitance=rng.uniform(0.2, 0.5) * length,
            current=rng.uniform(400.0, 900.0, len(ends)),
        ),
        transformers=TransformerArrays(
            ends=np.array([(0, 1), (0, 1)]),
            voltages=np.array([[110.0, rng.uniform(20.0, 21.0)], [110.0, 20.5]]),
            rating=np.array([63.0, 40.0]),
            short_circuit_voltage=rng.uniform(0.1, 0.16, 2),
            load_loss=rng.uniform(0.1, 0.2, 2),
            no_load_loss=np.array([0.04, 0.03]),
            no_load_current=np.array([0.003, 0.002]),
        ),
        load_nodes=np.array([2, 3, 4, 5, 6]),
    )
    closed = np.ones(8, dtype=bool)
    closed[rng.choice([0, 2, 4, 7])] = False
    active = rng.uniform(-3.0, 9.0, 5)
    return wiring, active, rng.uniform(-1.0, 3.0, 5), closed


@pytest.mark.slow
def test_power_flow_agrees_with_pandapower():
    if not ORACLE.exists():
        pytest.skip("no pandapower: .ci/run makes .venv-oracle, or name it in GIGATWIN_ORACLE")
    cases = [random_case(seed) for seed in range(20)]
    asked = [
        {"wiring": asdict(wiring), "active": active, "reactive": reactive, "closed": closed}
        for wiring, active, reactive, closed in cases
    ]
    answer = subprocess.run(
        [ORACLE, ROOT / "tests" / "support" / "oracles" / "pandapower_flow.py"],
        input=json.dumps(asked, default=lambda array: array.tolist()),
        capture_output=True,
        text=True,
        check=True,
    )
    for (wiring, active, reactive, closed), expected in zip(
        cases, json.loads(answer.stdout), strict=True
    ):
        found = solve_load_flow(wiring, active[None], reactive[None], is_closed=closed)
        assert found.voltage[0] == pytest.approx(expected["voltage"], rel=1e-3)
        assert found.loading[0][closed] == pytest.approx(
            np.array(expected["loading"])[closed], rel=1e-3, abs=1e-6
        )
        assert found.loss[0] == pytest.approx(expected["loss"], rel=1e-3, abs=1e-6)
        assert found.active_import[0] == pytest.approx(expected["active"], rel=1e-3)
        assert found.reactive_import[0] == pytest.approx(expected["reactive"], rel=1e-3, abs=1e-3)
