"""Invented results of back-tests, for tests of reports."""

from optimizer.backtesting.results import BacktestResults, PolicySummary


def summary(objective=0.0, violations=0, **others):
    """Return the summary of a policy; its other numbers are 1."""
    names = (
        "cost_eur",
        "carbon_kg",
        "energy_mwh",
        "energy_equal_work_mwh",
        "it_energy_mwh",
        "water_m3",
        "peak_mw",
    )
    names += ("lateness_h", "pue", "work_done", "work_left")
    values = dict.fromkeys(names, 1.0) | others
    return PolicySummary(objective=objective, violations=violations, **values)


def results(**objectives):
    """Return results of some policies with their objectives."""
    policies = {name: summary(value) for name, value in objectives.items()}
    return BacktestResults(
        site="small",
        start="2026-06-16T00:00Z",
        days=7,
        seeds=1,
        cpu_s=1.234,
        gaps=("prices.csv: a/b",),
        notes=(),
        policies=policies,
        by_seed={name: [one] for name, one in policies.items()},
        accounts={name: {"electricity": one.cost_eur} for name, one in policies.items()},
        weighed={name: {"carbon": one.objective} for name, one in policies.items()},
        broken={name: [] for name in policies},
    )
