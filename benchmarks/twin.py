"""The benches of the twin, and `twin.ensemble`: 1,000 samples of a day of rhine in one call."""

import numpy as np
import xarray as xr

import sites
import twin
from benchmarks import chip_hour, load_flow_year, site_year
from benchmarks.bench import Bench, Measured, Place, cpu
from twin import variables
from twin.simulation.simulate import settled_state
from twin.site import Site
from twin.time_axes import QUARTER_HOUR

SAMPLES = 1000


def ensemble(_place: Place, samples: int = SAMPLES) -> Measured:
    """Simulate all samples in one call, with names, units and checks."""
    site, state, orders = _day(samples)
    twin.simulate(site, state, orders.isel(sample=slice(2)))
    with cpu() as clock:
        run = twin.simulate(site, state, orders)
    return Measured(value=clock.seconds, figures=_figures([run]))


def one_by_one(_place: Place, samples: int = SAMPLES) -> Measured:
    """Simulate each sample in a call of its own."""
    site, state, orders = _day(samples)
    days = [orders.isel(sample=i, drop=True) for i in range(samples)]
    twin.simulate(site, state, days[0])
    with cpu() as clock:
        runs = [twin.simulate(site, state, day) for day in days]
    return Measured(value=clock.seconds, figures=_figures(runs))


def _day(samples: int) -> tuple[Site, xr.Dataset, xr.Dataset]:
    """Return rhine, its state, and a summer day with other air, work and storage in each sample."""
    site, rng = sites.load_site("rhine"), np.random.default_rng(1)
    orders = site_year.operation(site, 1, step=QUARTER_HOUR)
    state, shape = settled_state(site, orders), (samples, orders.sizes["time"])

    def random(low: float, high: float) -> xr.DataArray:
        return xr.DataArray(rng.uniform(low, high, shape), dims=("sample", "time"))

    varied = {
        "air_temperature": orders["air_temperature"] + random(15.0, 25.0),
        "relative_humidity": orders["relative_humidity"] + random(-0.2, 0.1),
        "hall_power": orders["hall_power"] * random(0.7, 1.0),
    }
    for store in site.stores:
        kind, power = site.equipment[store.owner].kind, random(-1.0, 1.0)
        for role, sign in (("charge", 1.0), ("discharge", -1.0)):
            share = np.maximum(sign * power, 0.0).expand_dims({kind: [store.owner]}, axis=-1)
            varied[f"{kind}_{role}"] = store.charge_limit * share
    return site, state, variables.tag_dataset(orders.assign(varied))


def _figures(runs: list[xr.Dataset]) -> dict[str, float]:
    names = ("facility_power", "water_use", "full_load_chip_temperature", "battery_level")
    return {name: sum(float(run[name].sum()) for run in runs) for name in names}


ENSEMBLE = Bench(
    name="twin.ensemble",
    unit="s of CPU",
    ours=ensemble,
    limit=one_by_one,
    tolerance=1e-9,
    note="1,000 samples of a summer day of rhine by the quarter-hour, which differ in air, work and"
    " use of the stores; the limit is one call for each sample",
)

BENCHES = (site_year.BENCH, chip_hour.BENCH, load_flow_year.BENCH, ENSEMBLE)
