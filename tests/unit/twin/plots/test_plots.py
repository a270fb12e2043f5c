from io import BytesIO

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

import sites
from twin.plots import plot_comparison, plot_pareto_front, plot_run, plot_validation_errors
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
