"""The simulated plant: hidden but repeatable, noisy but honest, and never faster than its ramp."""

import numpy as np
import pytest

import sites
from optimizer.realtime.intra_interval import metered_means
from telemetry.simulator.deviations import FacilityNoise, load_fluctuation, worn_facility
from telemetry.simulator.plant import SimulatedFacility, interpolate_to_minutes
from twin import time_axes, variables
from twin.equipment import CduBank, CoolingPlant, UpsBank
from twin.markets.tariffs import Tariff
from twin.simulation import state
from twin.simulation.operating_limits import count_violations
from twin.time_axes import METERING_PERIOD_MIN

START = time_axes.to_utc("2026-07-01T06:00")
SILENT = FacilityNoise(
    load_std=0.0, power_meter_error=0.0, level_sensor_error=0.0, temperature_sensor_error=0.0
)


@pytest.fixture(scope="module")
def small():
    return sites.load_site("small")


@pytest.fixture(scope="module")
def outdoors():
    """Return two hours of a mild morning in minutes, with a little sun and a steady wind."""
    around = time_axes.regular_axes(START, 120, time_axes.MINUTE)
    weather = {"air_temperature": 16.0, "relative_humidity": 0.6, "air_pressure": 100.0}
    for name, value in weather.items():
        around[name] = "time", np.full(120, value)
    around = around.assign_coords(renewable=["solar_1", "wind_1"])
    given = np.stack([np.linspace(0.1, 0.3, 120), np.full(120, 0.5)], axis=-1)
    around["renewable_available_power"] = ("time", "renewable"), given
    return variables.tag_dataset(around)


@pytest.fixture
def plant(small, outdoors):
    def make(seed=0, noise=None):
        begin = state.initial_state(small, START, peak_power=1.0, grid_import_power=1.0)
        return SimulatedFacility(small, outdoors, begin, seed=seed, noise=noise)

    return make


def points(hall=1.0, **others):
    """Return set points of the small site: each hall at some power, the rest at nothing."""
    commands = {("hall_power", f"hall_{i}"): hall for i in (1, 2)}
    for store in ("battery", "tank"):
        for way in ("charge", "discharge"):
            commands[f"{store}_{way}", f"{store}_1"] = others.get(f"{store}_{way}", 0.0)
    for source in ("solar_1", "wind_1"):
        commands["renewable_used_power", source] = others.get(source, 0.0)
    return commands


def followed(plant, *commands):
    for set_points in commands:
        plant.run_with(set_points)
    return plant.record()


def test_the_same_seed_is_the_same_plant(plant):
    one, other = (followed(plant(3), points(1.0), points(1.5)) for _ in range(2))
    assert one.identical(other)


def test_looking_at_a_plant_does_not_change_it(plant):
    watched, left_alone = plant(3), plant(3)
    for _ in range(5):
        watched.observe()
    assert followed(watched, points()).identical(followed(left_alone, points()))


def test_other_seeds_are_other_plants(plant):
    powers = [float(followed(plant(seed), points())["facility_power"][-1]) for seed in range(4)]
    assert len(set(powers)) == 4


def test_no_machine_is_better_than_its_data_sheet(small):
    for seed in range(20):
        real = worn_facility(small, np.random.default_rng(seed))
        assert 1.0 <= real.machines_of(UpsBank)[0].loss_factor <= 1.1
        assert 0.9 <= real.machines_of(CduBank)[0].fouling <= 1.0
        plants = real.machines_of(CoolingPlant)
        assert plants
        for plant in plants:
            assert 60.0 <= plant.loop.valve_lag <= 120.0
        assert 1.0 <= real.equipment["chilled_plant"].chillers.eir_factor <= 1.12
    assert small == sites.load_site("small")


def test_no_ups_loses_less_than_its_data_sheet_says(small, plant):
    runs = [followed(plant(seed, SILENT), points(1.0)) for seed in range(6)]
    for run in runs:
        losses = run["ups_loss"][-1].sum() / run["ups_output"][-1].sum()
        share = float(run["ups_output"][-1].sum()) / 4.2
        believed = small.machines_of(UpsBank)[0]
        declared = believed.loss_constant + believed.loss_linear * share
        declared += believed.loss_quadratic * share**2
        assert float(losses) >= declared / share - 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_the_connection_never_ramps_faster_than_it_may(small, plant, seed):
    leaps = [
        points(1.8, battery_charge=0.8),
        points(0.4, battery_discharge=0.8, wind_1=np.inf),
        points(1.6, tank_discharge=0.3),
        points(0.3),
    ]
    record = followed(plant(seed), points(1.0), *leaps)
    counts = count_violations(small, record).to_series()
    assert counts["ramp of grid_import_power"] == 0
    net = (record["grid_import_power"] - record["grid_export_power"]).to_numpy()
    assert np.abs(np.diff(net)).max() > 0.1  # but it does move


def test_small_changes_are_made_in_ten_minutes(plant):
    record = followed(plant(0, SILENT), points(1.0), points(1.1))
    course = record["hall_power"].sel(hall="hall_1").to_numpy()
    step = np.diff(course[METERING_PERIOD_MIN - 1 : 2 * METERING_PERIOD_MIN])
    assert step[:10] == pytest.approx([step[0]] * 10)
    assert step[10:] == pytest.approx([0.0] * 5)


@pytest.mark.parametrize("since", [3, 8])
def test_its_meter_shows_what_documents_foresee(plant, since):
    """Proves: means of hall power, moved once a minute, lie within half a minute's move of it."""
    here = plant(0, SILENT)
    for _ in range(2):
        here.run_with(points(1.0))
    here.advance(since)
    here.run_with(points(1.1), METERING_PERIOD_MIN - since)
    here.run_with(points(1.1))
    halls = (
        here.record()["hall_power"]
        .sum("hall")
        .to_numpy()[METERING_PERIOD_MIN:]
        .reshape(-1, METERING_PERIOD_MIN)
    )
    before, goal = halls[0, -1], halls[-1, -1]
    foreseen = metered_means(np.array([goal, goal]), before=before, since=since)
    assert halls[1:].mean(axis=1) == pytest.approx(
        foreseen, abs=0.51 * (goal - before) / METERING_PERIOD_MIN
    )


def test_store_that_turns_never_flows_both_ways(plant):
    """Proves: from 0.6 MW of charge to 0.6 MW of discharge, the net power moves in a line.

    Sensitivity: 0.3 MW both ways after five minutes, each direction on a line of its own.
    """
    ran = followed(plant(), points(battery_charge=0.6), points(battery_discharge=0.6))
    charge, discharge = (
        ran[f"battery_{way}"].sel(battery="battery_1").to_numpy() for way in ("charge", "discharge")
    )
    assert np.minimum(charge, discharge).max() == 0.0
    net = discharge - charge
    assert np.diff(net[14:25]) == pytest.approx(np.full(10, net[24] - net[23]), abs=1e-3)
    assert (charge[14], discharge[24]) == (pytest.approx(0.6, abs=0.01),) * 2


def test_large_changes_take_over_more_than_one_quarter_hour(plant):
    # two halls by 1.4 MW each swing 1.15 x 2.8 = 3.22 MW; at 0.75 x 0.2 MW/min that takes 21.5 min
    record = followed(plant(0, SILENT), points(0.4), points(1.8), points(1.8))
    course = record["hall_power"].sum("hall").to_numpy()
    whole = course[-1] - course[METERING_PERIOD_MIN - 1]
    done = course[2 * METERING_PERIOD_MIN - 1] - course[METERING_PERIOD_MIN - 1]
    assert done / whole == pytest.approx(15 / (3.22 / 0.15), rel=1e-6)


def test_a_plant_may_be_run_minute_by_minute(plant):
    leaps = [points(0.4), points(1.8, wind_1=np.inf), points(1.5, battery_charge=0.5)]
    whole, split = plant(2), plant(2)
    for leap in leaps:
        whole.run_with(leap)
        split.begin_move(leap)
        for count in (1, 6, 8):
            split.advance(count)
    one, other = whole.record(), split.record()
    for name in one.data_vars:
        if name != "closure":
            np.testing.assert_allclose(one[name], other[name], rtol=1e-12, atol=1e-12)
    assert whole.true_values() == pytest.approx(split.true_values())


def test_orders_amid_a_quarter_hour_count_from_then_on(plant):
    """Proves: what was foreseen for 15 minutes is dropped by other orders after 6 of them."""
    machine, left_alone = plant(0, SILENT), plant(0, SILENT)
    for each in (machine, left_alone):
        each.run_with(points(1.0))
        each.begin_move(points(1.0))
        each.advance(6)
    machine.begin_move(points(1.0, battery_discharge=0.5))
    machine.advance(9)
    left_alone.advance(9)
    given = machine.record()["battery_discharge"].sum("battery").to_numpy()[METERING_PERIOD_MIN:]
    assert given[:6] == pytest.approx([0.0] * 6)
    assert given[6:] == pytest.approx(np.minimum(np.arange(1, 10) / 10.0, 1.0) * 0.5)
    net = [each.true_values(9)["grid_import_power", ""] for each in (machine, left_alone)]
    assert net[1] - net[0] > 0.2  # of 0.25 MW in the mean of 9 minutes, by 10 minutes of way
    assert machine.meter.mean_net_import(9) == pytest.approx(net[0])


def test_warmer_water_follows_request(plant):
    machine = plant(0, SILENT)
    machine.run_with(points())
    machine.set_supply_temperature("warm_plant", 40.0)
    machine.run_with(points(), minutes=45)
    supply = machine.record()["facility_supply_temperature"].sel(circuit="warm_plant")
    assert float(supply[METERING_PERIOD_MIN]) == pytest.approx(
        38.0, abs=0.8
    )  # its valve still swings
    assert float(supply[-1]) == pytest.approx(40.0, abs=0.5)


def test_racks_stay_between_nothing_and_full(small, plant):
    record = followed(plant(1, FacilityNoise(load_std=0.3)), *[points(1.84)] * 4)
    full = small.equipment["hall_1"].full_power
    assert record["hall_power"].max() <= full
    assert record["hall_power"].min() >= 0.0


def test_no_more_sun_and_wind_is_used_than_there_is(plant, outdoors):
    record = followed(plant(0), points(), points(solar_1=np.inf, wind_1=0.2), points(wind_1=9.0))
    used, given = record["renewable_used_power"], outdoors["renewable_available_power"]
    assert (used <= given.isel(time=slice(0, 3 * METERING_PERIOD_MIN)) + 1e-12).all()
    assert used.sel(renewable="wind_1")[2 * METERING_PERIOD_MIN - 1] == pytest.approx(0.2)
    assert used.sel(renewable="wind_1")[-1] == pytest.approx(0.5)


def test_the_sensors_scatter_about_the_truth(plant):
    machine = plant(5)
    record = followed(machine, points(1.2), points(1.2, battery_charge=0.3))
    seen = [machine.observe() for _ in range(400)]
    truths = {
        "facility_supply_temperature": (record["facility_supply_temperature"][-1].to_numpy(), 0.1),
        "battery_level": (record["battery_level"][-1].to_numpy(), 0.003 * 1.6),
        "grid_import_power": (
            float(record["grid_import_power"][-METERING_PERIOD_MIN:].mean()),
            0.002 * float(record["grid_import_power"][-METERING_PERIOD_MIN:].mean()),
        ),
    }
    for name, (truth, error) in truths.items():
        values = np.array([observed[name].to_numpy() for observed in seen])
        assert np.abs(values.mean(axis=0) - truth).max() < 4.0 * error / np.sqrt(400)
        assert values.std(axis=0) == pytest.approx(error, rel=0.2)


def test_observation_is_a_valid_state(small, plant):
    machine = plant(2)
    machine.run_with(points())
    observed = machine.observe()
    state.check_state(small, observed)
    assert observed["instant"].to_numpy() == machine.now == START + np.timedelta64(15, "m")


def test_the_peak_is_the_greatest_mean_of_a_quarter_hour(plant):
    machine = plant(0)
    record = followed(machine, points(0.4), points(1.5), points(0.4), points(0.4))
    means = record["grid_import_power"].to_numpy().reshape(-1, METERING_PERIOD_MIN).mean(axis=1)
    assert float(machine.observe()["peak_power"]) == pytest.approx(means.max())
    assert means.max() < record["grid_import_power"].max()


def test_a_month_begins_without_a_peak(small, outdoors):
    """Proves: the quarter-hour that ends the month counts in it, the next in the next month."""
    start = np.datetime64("2026-07-31T21:30", "us")  # 23:30 in Berlin
    around = outdoors.assign_coords(
        time=outdoors["time"] - START + start, instant=outdoors["instant"] - START + start
    )
    begin = state.initial_state(
        small, start, peak_power=9.0, mean_weekly_import=1.0, grid_import_power=1.0
    )
    machine = SimulatedFacility(small, around, begin, seed=0)
    peaks = []
    for hall in (1.2, 1.2, 0.4, 0.3):
        machine.run_with(points(hall))
        peaks.append(float(machine.observe()["peak_power"]))
    means = (
        machine.record()["grid_import_power"]
        .to_numpy()
        .reshape(-1, METERING_PERIOD_MIN)
        .mean(axis=1)
    )
    assert peaks[:2] == [9.0, 0.0]
    assert peaks[2:] == pytest.approx([means[2], max(means[2:])])
    usual = 1.0
    for mean in means:
        usual += (mean - usual) * (1.0 - np.exp(-0.25 / 168.0))
    assert float(machine.observe()["usual_power"]) == pytest.approx(usual)


def test_only_what_counts_is_the_peak(small, outdoors):
    """Proves: with a window from 06:15 to 06:30 UTC, the second quarter-hour alone is the peak."""
    windows = [{"hours": ["8:15-8:30"]}]  # in Berlin
    rules = {"peaks": [{"name": "power", "price": "9 EUR/MW", "windows": windows}]}
    about = {"name": "a", "valid_from": "2026-01-01", "status": "assumed", "source": "assumed"}
    site = small.with_tariffs({"a": Tariff.model_validate(about | rules)})
    machine = SimulatedFacility(
        site, outdoors, state.initial_state(small, START, peak_power=0.0), seed=0
    )
    record = followed(machine, points(1.5), points(0.4), points(1.5))
    means = record["grid_import_power"].to_numpy().reshape(-1, METERING_PERIOD_MIN).mean(axis=1)
    assert float(machine.observe()["peak_power"]) == pytest.approx(means[1])
    assert means[1] < min(means[0], means[2])


def test_the_record_is_whole_and_in_minutes(plant):
    machine = plant(4)
    record = followed(machine, points(1.0), points(1.2, battery_charge=0.4), points(1.1))
    assert record.sizes["time"] == 3 * METERING_PERIOD_MIN
    np.testing.assert_array_equal(record["time"], START + np.arange(45) * time_axes.MINUTE)
    np.testing.assert_array_equal(record["instant"], START + np.arange(46) * time_axes.MINUTE)
    assert record["closure"].max() < 1e-6
    battery = machine.site.equipment["battery_1"]
    kept = record["battery_level"].to_numpy()[:, 0]
    put = record["battery_charge"].to_numpy()[:, 0]
    after = kept[:-1] * (1.0 - battery.standing_loss) ** (1 / 60)
    after += battery.charge_efficiency * put / 60.0
    np.testing.assert_allclose(kept[1:], after, atol=1e-12)  # across the quarter-hours too
    variables.check_variables(record, *map(str, record.data_vars))


def test_hours_become_smooth_minutes():
    hours = time_axes.regular_axes(START, 3, np.timedelta64(1, "h"))
    hours["air_temperature"] = "time", [10.0, 16.0, 16.0]
    hours = hours.assign_coords(renewable=["wind_1"])
    hours["renewable_available_power"] = ("time", "renewable"), [[1.0], [2.0], [3.0]]
    fine = interpolate_to_minutes(variables.tag_dataset(hours), START, 180)
    course = fine["air_temperature"].to_numpy()
    # 6 K between 06:30 and 07:30; the first minute's middle is before it, and held
    assert course[:30] == pytest.approx([10.0] * 30)
    assert course[60] == pytest.approx(10.0 + 6.0 * 30.5 / 60.0)
    assert course[90:] == pytest.approx([16.0] * 90)
    assert fine["renewable_available_power"].dims == ("time", "renewable")
    assert fine["air_temperature"].attrs["units"] == "degC"


def test_restlessness_has_its_size_and_its_memory():
    noise = FacilityNoise(load_std=0.02, load_time_constant=10.0)
    course = load_fluctuation(noise, 200_000, np.random.default_rng(1))
    assert course.std() == pytest.approx(0.02, rel=0.03)
    later = np.corrcoef(course[:-10], course[10:])[0, 1]
    assert later == pytest.approx(np.exp(-1.0), abs=0.03)
