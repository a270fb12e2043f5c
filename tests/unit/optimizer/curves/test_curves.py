"""Segments worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from optimizer.curves.operating_range import CurveSamples, OperatingRange, operating_ranges
from optimizer.curves.piecewise_linear import fit_piecewise_linear
from optimizer.model.components.converter import parameters
from optimizer.model.model_data import build_model_data, build_scenario_data
from optimizer.planner.planner import solve_problem
from tests.support import small_days
from tests.support.hand import battery, grid, machine, outlook, problem, site, source
from twin.weather import Weather

OUTSIDE = Weather.from_dataset(outlook([0.0]))


def laid(draw, low=0.0, high=12.0):
    (convert,) = machine("one", "rack", draws={"medium_voltage": draw}).given
    ends = np.array([low]), np.array([high])
    samples = (CurveSamples.sample(convert, OUTSIDE, ends),)
    return fit_piecewise_linear(
        convert, OperatingRange(min_output=ends[0], max_output=ends[1], samples=samples)
    )


def test_line_is_one_segment():
    curve = laid(lambda q: 1.0 + 2.0 * q, low=3.0)
    assert curve.segment_widths == pytest.approx(np.array([[9.0]]))
    assert curve.draw_at_min_output["medium_voltage"] == pytest.approx([7.0])
    assert curve.segment_slopes["medium_voltage"] == pytest.approx(np.array([[2.0]]))
    assert curve.max_excess_over_curve["medium_voltage"] == pytest.approx([0.0], abs=1e-9)


def test_parabola_is_cut_into_equal_segments():
    """Four chords of q2 over 12 miss it by (12 / 4)2 / 4 = 2.25 at most.

    At the samples that is 2.0; between them 1.0 more might be hidden, as far as they tell.
    """
    curve = laid(lambda q: q**2)
    assert curve.segment_widths == pytest.approx(np.full((1, 4), 3.0))
    assert curve.segment_slopes["medium_voltage"] == pytest.approx(
        np.array([[3.0, 9.0, 15.0, 21.0]])
    )
    assert curve.max_excess_over_curve["medium_voltage"] == pytest.approx([2.0 + 1.0])


def test_kink_is_found():
    curve = laid(lambda q: np.maximum(q, 2.0 * q - 5.0))
    assert curve.segment_widths == pytest.approx(np.array([[5.0, 7.0]]))
    assert curve.segment_slopes["medium_voltage"] == pytest.approx(np.array([[1.0, 2.0]]))


def test_step_is_bounded_from_above():
    """A machine that starts at 6 MW with 1 MW: the line is at 1 MW or above from there."""
    curve = laid(lambda q: np.where(q > 5.9, 1.0 + q, q))
    for output, least in ((0.0, 0.0), (5.95, 6.95), (6.0, 7.0), (12.0, 13.0)):
        assert curve.draw("medium_voltage", np.array([output]))[0] >= least - 1e-9


def test_segments_fill_in_order():
    curve = laid(lambda q: q**2)
    assert curve.output_by_segment(np.array([7.0])) == pytest.approx(
        np.array([[3.0, 3.0, 1.0, 0.0]])
    )
    assert curve.draw("medium_voltage", np.array([6.0])) == pytest.approx([36.0])


def test_range_without_length_is_a_point():
    curve = laid(lambda q: q**2, low=4.0, high=4.0)
    assert curve.draw("medium_voltage", np.array([4.0])) == pytest.approx([16.0])
    assert curve.mean_slope["medium_voltage"] == pytest.approx([0.0])


def test_range_follows_demand_to_the_grid_connection():
    """2 to 10 racks; a battery of 1 MW and sun of 3 MW beside them; 5 MW may be sold."""
    where = site(battery(), source(), connection=grid(export_limit=5.0))
    given = problem(where, outlook([10.0], service=2.0, sun=[3.0]))
    found = operating_ranges(given, OUTSIDE)
    feeder, line = found["feeder"], found["line"]
    pad = 0.02 * 8.0
    assert (feeder.min_output[0], feeder.max_output[0]) == pytest.approx((2.0 - pad, 10.0 + pad))
    low, high = 2.0 - pad - 1.0 - 3.0, 10.0 + pad + 1.0
    pad = 0.02 * (high - low)
    assert (line.min_output[0], line.max_output[0]) == pytest.approx((low - pad, high + pad))


def test_machine_beside_another_may_stand_still():
    poor = machine("poor", "air", draws={"medium_voltage": lambda q: q})
    found = operating_ranges(problem(site(poor), outlook([10.0], service=4.0)), OUTSIDE)
    assert found["poor"].min_output[0] == found["cooler"].min_output[0] == 0.0


def test_machine_physics_is_evaluated_once():
    """Proves: 15 samples of one interval give the range of draws, and the lines over them."""
    shapes = []

    def draw(output):
        shapes.append(output.shape)
        return 2.0 * output

    poor = machine("poor", "air", draws={"medium_voltage": draw})
    build_model_data(problem(site(poor), outlook([10.0], service=4.0)))
    assert shapes == [(15, 1)]


@pytest.mark.parametrize("choice", ["declared", "cheapest"])
def test_curves_computed_together_equal_separate_ones(choice):
    """Proves: every scenario has the curves of its own weather and racks."""
    now = small_days.problem(4)
    site = now.site.model_copy(
        update={"set_points": now.site.set_points.model_copy(update={"choice": choice})}
    )
    air = now.outlook["air_temperature"]
    hot = now.outlook.assign(air_temperature=air.copy(data=air + 9.0))
    problems = [replace(now, site=site), replace(now, site=site, outlook=hot)]
    for one, together in zip(problems, build_scenario_data(problems), strict=True):
        alone = build_model_data(one)
        assert together.problem is one
        assert alone.curves
        for owner, curve in alone.curves.items():
            other = together.curves[owner]
            middle = curve.min_output + 0.4 * curve.segment_widths.sum(axis=1)
            for carrier in curve.segment_slopes:
                least = np.abs(curve.draw(carrier, middle) - other.draw(carrier, middle))
                assert (
                    least
                    <= curve.max_excess_over_curve[carrier]
                    + other.max_excess_over_curve[carrier]
                    + 1e-9
                ).all()
        assert together.terminal_value == pytest.approx(alone.terminal_value, rel=1e-3)


@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_machine_can_deliver_its_largest_output(share):
    """Proves: full segments keep the output range, and a site with service on all racks has a plan.

    Sensitivity: the cut was that of all that a machine bears; where the range begins high, it cut
    up to a third of it off.
    """
    problem = small_days.problem(4)
    busy = problem.outlook["service_racks"]
    most = busy.copy(data=np.full(busy.shape, share * problem.site.rack_count))
    full = replace(problem, outlook=problem.outlook.assign(service_racks=most))
    inputs = build_model_data(full)
    assert full.site.conversions
    for convert in full.site.conversions:
        found = parameters(convert, inputs)
        cut = (found["slope_above_secant"] * found["width"]).sum(axis=1)
        assert cut == pytest.approx(np.zeros(len(cut)), abs=1e-9)
    assert solve_problem(full).objective > 0.0


def test_clipped_lines_keep_their_values():
    """Proves: lines over -12 to 12 are clipped to -2 to 4, one of them without width."""
    (convert,) = machine("one", "rack", draws={"medium_voltage": lambda q: q**2}).given
    ends = np.array([-12.0]), np.array([12.0])
    samples = (CurveSamples.sample(convert, OUTSIDE, ends),)
    whole = fit_piecewise_linear(
        convert, OperatingRange(min_output=ends[0], max_output=ends[1], samples=samples)
    )
    cut = fit_piecewise_linear(
        convert,
        OperatingRange(min_output=np.array([-2.0]), max_output=np.array([4.0]), samples=samples),
    )
    assert cut.segment_widths == pytest.approx(np.array([[2.0, 4.0, 0.0]]))
    for output in (-2.0, 0.0, 3.0, 4.0):
        at = np.array([output])
        assert cut.draw("medium_voltage", at) == pytest.approx(whole.draw("medium_voltage", at))
    assert cut.mean_slope["medium_voltage"] == whole.mean_slope["medium_voltage"]
