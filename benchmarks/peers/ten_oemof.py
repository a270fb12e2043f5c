"""The ten batteries by oemof.solph: an energy system, its model, HiGHS, and its results."""

import pandas as pd
from oemof import solph
from timed import asked, report

Flow = solph.flows.Flow


def solve(case):
    """Return the cost of the best schedule, and what writes the model."""
    edges = pd.date_range("2026-07-01", periods=len(case["price"]) + 1, freq="h")
    system = solph.EnergySystem(timeindex=edges, infer_last_interval=False)
    bus = solph.buses.Bus(label="bus")
    most, price = case["fleet_power"], pd.Series(case["price"]).to_numpy()
    buy = Flow(nominal_capacity=most, variable_costs=price)
    sell = Flow(nominal_capacity=most, variable_costs=-price)
    system.add(
        bus,
        solph.components.Source(label="import", outputs={bus: buy}),
        solph.components.Sink(label="export", inputs={bus: sell}),
        *(
            solph.components.GenericStorage(
                label=f"battery_{number}",
                inputs={bus: Flow(nominal_capacity=case["power"])},
                outputs={bus: Flow(nominal_capacity=case["power"])},
                nominal_capacity=case["capacity"],
                initial_storage_level=case["level"] / case["capacity"],
                balanced=False,
                inflow_conversion_factor=case["efficiency"],
                outflow_conversion_factor=case["efficiency"],
            )
            for number in range(case["count"])
        ),
    )
    model = solph.Model(system)
    model.solve(solver="highs")
    results = solph.Results(model)
    assert results["flow"].shape[1] == 2 * case["count"] + 2
    return float(results["objective"]), lambda stem: model.write(f"{stem}.mps")


report(solve, asked(), "oemof-solph", "pyomo", "highspy")
