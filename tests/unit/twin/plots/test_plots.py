from io import BytesIO

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

import sites
from twin.errors import StateError
from twin.plots import (
    plot_comparison,
    plot_duration_curve,
    plot_energy_flows,
    plot_forecast_fan,
    plot_heat_map,
    plot_margins,
    plot_pareto_front,
    plot_run,
    plot_site,
    plot_sizing_curve,
    plot_validation_errors,
)
from twin.simulation.operating_limits import operating_limits
from twin.time_axes import regular_axes, to_utc

COUNT = 96


@pytest.fixture(scope="module")
def site():
    return sites.load_site("small")


@pytest.fixture(scope="module")
def run(site) -> xr.Dataset:
    """Return a day with all that a backtest records."""
    run = regular_axes(to_utc("2023-06-28"), COUNT)
    wave = np.sin(np.arange(COUNT) / 12.0)
    instants = np.sin(np.arange(COUNT + 1) / 12.0)
    flows = {
        "electricity_price": 60.0 + 90.0 * wave,
        "carbon_intensity": 400.0 + 100.0 * wave,
        "air_temperature": 20.0 + 5.0 * wave,
        "service_racks": 4.0 + wave,
        "facility_power": 3.5 + 0.5 * wave,
        "grid_import_power": 3.0 + 0.5 * wave,
        "grid_export_power": 0.0 * wave,
        "plan_grid_import_power": 3.1 + 0.5 * wave,
    }
    run = run.assign({name: ("time", values) for name, values in flows.items()})
    run["hall_power"] = ("time", "hall"), np.stack([1.4 + 0.2 * wave] * 2, axis=-1)
    run["work_power"] = ("time", "cohort"), np.stack([1.0 + wave, 1.0 - wave], axis=-1)
    run["work_backlog"] = ("instant", "cohort"), np.stack([9.0 + instants] * 2, axis=-1)
    run["work_late"] = ("instant", "cohort"), np.zeros((COUNT + 1, 2))
    run["renewable_used_power"] = ("time", "renewable"), np.full((COUNT, 1), 0.4)
    run["cooling_plant_draw"] = ("time", "circuit"), np.full((COUNT, 2), 0.05)
    for limit in operating_limits(site):
        if limit.margin_kind == "temperature":
            owners = [
                other.owner for other in operating_limits(site) if other.variable == limit.variable
            ]
            levels = np.full((COUNT + 1, len(owners)), limit.upper - 3.0)
            run[limit.variable] = ("instant", limit.dimension), levels
            run = run.assign_coords({limit.dimension: owners})
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        run = run.assign_coords({kind: [store.owner]})
        for name in (f"{kind}_level", f"plan_{kind}_level"):
            run[name] = ("instant", kind), np.full((COUNT + 1, 1), store.max_level / 2.0)
    return run.assign_coords(cohort=["training/0", "batch/0"], renewable=["wind_1"])


def drawn(figure: Figure) -> tuple[int, int]:
    """Return width and height of the figure's picture, in pixels."""
    picture = BytesIO()
    figure.savefig(picture, format="png")
    header = picture.getvalue()[16:24]
    return int.from_bytes(header[:4]), int.from_bytes(header[4:])


def labels(figure: Figure) -> list[str]:
    return [
        text.get_text()
        for axes in figure.axes
        if (legend := axes.get_legend())
        for text in legend.get_texts()
    ]


def test_a_whole_run_has_all_panels(run, site):
    figure = plot_run(run, site, title="small, optimal")
    width, height = drawn(figure)
    assert width == 1200
    assert height > 600
    shown = labels(figure)
    assert {"price below 0", "carbon (right)", "import, planned", "training", "late"} <= set(shown)
    assert {"full load chip, hottest (limit 80 °C)", "battery_1 (full: 1.6 MWh)"} <= set(shown)
    named = [axes.get_ylabel() for axes in figure.axes]
    assert named
    assert all("[" in label for label in named)
    assert figure.axes[4].get_xlabel() == "local time, Europe/Berlin"


@pytest.mark.parametrize(("start", "day"), [("T21:45", "06-28"), ("T22:00", "06-29")])
def test_title_and_axis_show_the_same_day(site, start, day):
    """Proves: 22:00 UTC is midnight in Berlin's summer, and belongs to the next day."""
    price = regular_axes(to_utc(f"2023-06-28{start}"), 8).assign(
        electricity_price=("time", np.ones(8))
    )
    assert plot_run(price, site, title="small").get_suptitle() == f"small, from 2023-{day}"


def test_without_negative_prices_nothing_is_shaded(run, site):
    calm = run.assign(electricity_price=abs(run["electricity_price"]))
    assert "price below 0" not in labels(plot_run(calm, site, title="calm"))


def test_missing_variables_are_not_drawn(run, site):
    bare = run[["time", "duration", "instant", "electricity_price"]]
    figure = plot_run(bare, site, title="prices")
    assert len(figure.axes) == 1
    assert drawn(figure)[0] == 1200


def test_total_backlog_is_drawn(run, site):
    total = run.assign(work_backlog=run["work_backlog"].sum("cohort")).drop_vars("work_late")
    assert "waiting" in labels(plot_run(total, site, title="total"))


COMPARED = {
    "optimal": {"objective": 900e3, "carbon_equal_work_kg": 80e3, "peak_mw": 200.0},
    "threshold": {"objective": 1000e3, "carbon_equal_work_kg": 100e3, "peak_mw": 200.0},
    "sunny": {"objective": -500e3, "carbon_equal_work_kg": 0.0, "peak_mw": 0.0},
}


def test_comparison_names_the_differences():
    figure = plot_comparison(COMPARED, beside="threshold", title="small, 7 days")
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert {"900 (-10.0 %)", "1,000", "-500 (-150.0 %)", "80 (-20.0 %)", "200"} <= set(texts)
    assert drawn(figure)[0] == 1200


def test_comparison_leaves_out_unknown_figures():
    """Proves: carbon that is unknown for a policy has no panel, and energy of none neither."""
    table = {name: row | {"carbon_equal_work_kg": None} for name, row in COMPARED.items()}
    figure = plot_comparison(table, beside="threshold")
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "objective, thousand EUR",
        "peak of import, MW",
    ]


def test_comparison_draws_intervals_of_the_objective():
    figure = plot_comparison(COMPARED, beside="threshold", half_widths={"optimal": 50e3})
    bars = figure.axes[0].containers[1]  # error bars
    (ends,) = (one.get_segments() for one in bars.lines[2])
    reach = [float(segment[1][0] - segment[0][0]) for segment in ends]
    assert reach == pytest.approx([100.0])
    assert "95 % interval" in figure.axes[0].get_xlabel()


def test_carbon_without_prices_has_a_labelled_axis(run, site):
    """Sensitivity: the axis of prices stood there empty, without a label."""
    figure = plot_run(run.drop_vars("electricity_price"), site, title="no prices")
    assert figure.axes[0].get_ylabel() == "carbon\n[kg/MWh]"
    assert all(axes.get_ylabel() for axes in figure.axes)


def test_errors_are_drawn_beside_the_tolerance():
    figure = plot_validation_errors(
        {"good": np.array([0.1, -0.9]), "bad": np.array([2.0])}, title="errors"
    )
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["good", "bad"]
    good, bad = (points.get_offsets().data[:, 0].tolist() for points in axes.collections)
    assert good == pytest.approx([0.1, 0.9])
    assert bad == pytest.approx([2.0])
    width, height = drawn(figure)
    assert width == 1200
    assert height > 100


def test_labels_of_close_plans_do_not_overlap() -> None:
    carbon = [107.4, 107.4, 107.4, 107.38, 107.3, 105.0, 105.0]  # t, two of them thrice and twice
    cost = [29_068.0, 29_068.0, 29_068.0, 29_069.0, 29_070.0, 29_406.0, 29_406.0]
    front = xr.Dataset(
        {"cost": ("carbon_price", cost), "carbon": ("carbon_price", 1e3 * np.array(carbon))},
        coords={"carbon_price": [0.0, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8]},
    )
    figure = plot_pareto_front(front, title="a week")
    assert drawn(figure)[0] == 1200
    (panel,) = figure.axes
    boxes = [label.get_window_extent() for label in panel.texts if label.get_text()]
    assert len(boxes) == 7
    assert not any(box.count_overlaps(boxes[:i]) for i, box in enumerate(boxes))
    assert all(panel.bbox.fully_contains(*corner) for box in boxes for corner in box.corners())


def power_of(run, values):
    """Return a power over the run's intervals."""
    array = xr.DataArray(values, coords={"time": run["time"]}, name="grid_import_power")
    return array.assign_coords(duration=run["duration"])


def test_duration_curve_falls_from_the_peak(run):
    """Proves: of the powers 1 to 96, half the time has at least 49."""
    figure = plot_duration_curve({"a": power_of(run, np.arange(96.0) + 1.0)}, title="a", limit=99.0)
    (axes,) = figure.axes
    (curve,) = axes.patches
    values, edges, _ = curve.get_data()
    assert (values[0], values[-1]) == (96.0, 1.0)
    assert values[edges[:-1] < 50.0].min() == 49.0
    assert axes.get_ylabel() == "grid import power\n[MW]"
    assert {"a", "limit"} == set(labels(figure))


def test_heat_map_shows_local_hours(run):
    """Proves: 22:00 UTC is hour 0 of the next day in Berlin's summer."""
    price = power_of(run, (run["time"].dt.hour == 22).astype(float)).rename("electricity_price")
    figure = plot_heat_map(price, time_zone="Europe/Berlin", title="June")
    values = figure.axes[0].collections[0].get_array()
    assert values.shape == (24, 2)
    assert values[0, 1] == 1.0
    assert values.sum() == 1.0
    assert "electricity price [EUR/MWh]" in figure.axes[1].get_ylabel()


def test_fan_holds_its_scenarios_and_the_observation(run, site):
    """Proves: of scenarios 0 to 100 the median is 50, and 90 % lie between 5 and 95."""
    shape = (101, run.sizes["time"])
    values = np.broadcast_to(np.arange(101.0)[:, None], shape)
    fan = xr.DataArray(values, dims=("scenario", "time"), coords={"time": run["time"]})
    fan = fan.rename("electricity_price").assign_coords(duration=run["duration"])
    figure = plot_forecast_fan(fan, site, observed=power_of(run, np.full(96, 7.0)), title="fan")
    (axes,) = figure.axes
    wide, middle, median, observed = (patch.get_data() for patch in axes.patches)
    assert (set(wide.baseline), set(wide.values)) == ({5.0}, {95.0})
    assert (set(middle.baseline), set(middle.values)) == ({25.0}, {75.0})
    assert (set(median.values), set(observed.values)) == ({50.0}, {7.0})


def test_margins_mark_the_closest_approach_and_a_breach(run, site):
    """Proves: the warm plant is 27 K below its limit, all else 3 K; 3.5 of 4.7 MW are 74 %."""
    figure = plot_margins(run, site, title="margins")
    kelvin, power = figure.axes
    points = [line for line in kelvin.lines if line.get_marker() == "o"]
    nearest_k = [float(point.get_xdata()[0]) for point in points]
    assert nearest_k == pytest.approx([-27.0, -3.0, -3.0, -3.0, -3.0])
    nearest = next(line for line in power.lines if line.get_marker() == "o")
    assert float(nearest.get_xdata()[0]) == pytest.approx(100.0 * 3.5 / 4.7, abs=0.1)
    beyond = plot_margins(
        run.assign(grid_import_power=run["grid_import_power"] * 2.0), site, title=""
    )
    worst = next(line for line in beyond.axes[1].lines if line.get_marker() == "o")
    assert worst.get_color() != nearest.get_color()


def test_energy_flows_name_what_is_missing(run):
    with pytest.raises(StateError, match="cooling_plant_output"):
        plot_energy_flows(run, title="flows")


def test_energy_flows_balance_at_each_node(run):
    """Proves: 84 MWh enter the site and leave to outdoor air.

    Of 24 h at 3.5 MW: racks 2.8 MW (67.2 MWh), cooling 0.1 MW, the rest 0.6 MW; circuits take
    2.9 MW.
    """
    ones = np.ones(COUNT)
    flat = run.drop_vars(["renewable_used_power", "grid_export_power"]).assign(
        facility_power=("time", 3.5 * ones),
        grid_import_power=("time", 3.5 * ones),
        hall_power=(("time", "hall"), np.full((COUNT, 2), 1.4)),
        cooling_plant_output=(("time", "circuit"), np.full((COUNT, 2), 1.45)),
    )
    figure = plot_energy_flows(flat, title="flows")
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"grid\n84 MWh", "site\n84 MWh", "racks\n67.2 MWh", "cooling\n2.4 MWh"} <= texts
    assert {"fans, pumps, losses\n14.4 MWh", "rooms\n12 MWh", "outdoor air\n84 MWh"} <= texts
    assert {"warm plant\n36 MWh", "chilled plant\n36 MWh"} <= texts


def test_sizing_curve_draws_the_interval_of_each_size():
    figure = plot_sizing_curve(
        [480, 0, 240],
        [9.0, 0.0, 7.0],
        low=[5.0, 0.0, 6.0],
        high=[12.0, 0.0, 8.0],
        unit="m3",
        title="",
    )
    (axes,) = figure.axes
    assert axes.lines[0].get_xydata().tolist() == [[0.0, 0.0], [240.0, 7.0], [480.0, 9.0]]
    bars = axes.containers[0].lines[2][0].get_segments()
    assert [bar[:, 1].tolist() for bar in bars] == [[0.0, 0.0], [6.0, 8.0], [5.0, 12.0]]
    assert axes.get_xlabel() == "size [m³]"
    with pytest.raises(StateError, match="sizing curve"):
        plot_sizing_curve([1.0, 2.0], [1.0], low=[1.0], high=[1.0], unit="m3", title="")


@pytest.mark.parametrize("name", ["small", "baltica"])
def test_drawing_shows_every_machine_once(name):
    site = sites.load_site(name)
    axes = plot_site(site).axes[0]
    shown = [text.get_text().split("\n")[0] for text in axes.texts]
    assert all(shown.count(machine) == 1 for machine in site.equipment)
    assert "outdoor air" in shown
