"""The ten batteries by FlexMeasures' `device_scheduler`, without its database and server.

`ten_flexmeasures.py [SOLVER]`: by default the scheduler's own default, which hands its arrays to
HiGHS itself; `appsi_highs` is its Pyomo model. Options of the solver are its own in both cases.
"""

import sys

import numpy as np
import pandas as pd
from flask import Flask
from flexmeasures.data.models.planning import FlowCommitment
from flexmeasures.data.models.planning.linear_optimization import device_scheduler
from flexmeasures.utils.config_defaults import Config
from timed import asked, report

COLUMNS = (
    "min", "max", "equals", "derivative min", "derivative max", "derivative equals", "efficiency",
    "derivative down efficiency", "derivative up efficiency", "stock delta",
)  # fmt: skip


def solve(case):
    """Return the cost of the best schedule, and what writes the model, if it is one of Pyomo."""
    hours = pd.date_range("2026-07-01", periods=len(case["price"]), freq="h", tz="UTC")
    battery = pd.DataFrame(np.nan, index=hours, columns=COLUMNS)
    battery["min"] = -case["level"]  # stocks count from where they begin
    battery["max"] = case["capacity"] - case["level"]
    battery["derivative min"], battery["derivative max"] = -case["power"], case["power"]
    battery["derivative down efficiency"] = case["efficiency"]
    battery["derivative up efficiency"] = case["efficiency"]
    battery["stock delta"] = 0.0
    bounds = {"derivative min": -case["fleet_power"], "derivative max": case["fleet_power"]}
    price = pd.Series(case["price"], index=hours)
    energy = FlowCommitment(
        name="energy",
        index=hours,
        quantity=0.0,
        upwards_deviation_price=price,
        downwards_deviation_price=price,
    )
    schedule, cost, results, model = device_scheduler(
        [battery.copy() for _ in range(case["count"])],
        pd.DataFrame(bounds, index=hours),
        commitments=[energy],
        initial_stock=case["level"],
    )
    assert results.solver.termination_condition == "optimal"
    assert len(schedule) == case["count"]
    return float(cost), lambda stem: IS_PYOMO and model.write(f"{stem}.mps")


SOLVER = (sys.argv[1:] or [Config.FLEXMEASURES_LP_SOLVER])[0]
IS_PYOMO = SOLVER != "highspy"
app = Flask("peer")
app.config.from_object(Config)
app.config["LOGGING_LEVEL"] = "INFO"
app.config["FLEXMEASURES_LP_SOLVER"] = SOLVER
with app.app_context():
    report(solve, asked(), "flexmeasures", "pyomo", "highspy")
