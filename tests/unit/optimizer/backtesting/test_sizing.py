"""Sizing study: options, drawn weeks, years and worth, against hand calculations."""

import pytest

import optimizer
import sites
from optimizer.backtesting.size_options import SizeOption, build_size_options, parse_variation
from optimizer.backtesting.sizing import (
    NO_INTERVAL,
    NOT_DISTINGUISHABLE,
    RunFigures,
    SampledRun,
    SizingResults,
    StudyDesign,
    YearFigures,
    estimate_year,
    sample_year,
)
from twin.errors import IssueCode, ProblemError, SiteError

SITE = sites.load_site("small")


def figures(cost, peak_charge, **other):
    zero = {"excess": 0.0, "peak": 3.0, "billed_peaks": 7.0, "weighted": 0.0, "carbon": 0.0}
    counts = {"lateness": 0.0, "violations": 0, "fallbacks": 0, "cpu_s": 1.0}
    return RunFigures(cost=cost, peak_charge=peak_charge, **zero | counts | other)


def study(present, larger, *, replicates, economics=None):
    """Return results of two options with given yearly costs by replicate."""

    def years(costs):
        zero = {"demand_charges": 0.0, "carbon": 0.0, "lateness": 0.0, "peak": 0.0}
        return tuple(YearFigures(cost=cost, objective=cost, **zero) for cost in costs)

    options = tuple(
        SizeOption(
            site=SITE, sizes={"tank_1.volume": size}, units={"tank_1.volume": "m3"}, label=label
        )
        for size, label in ((240.0, "present"), (480.0, "larger"))
    )
    return SizingResults(
        site="small",
        policy="threshold",
        load_scale=0.6,
        options=options,
        replicates=replicates,
        years=(years(present), years(larger)),
        sample=(),
        runs=((), ()),
        economics=economics,
        gaps=(),
        notes=(),
    )


def test_net_present_value_is_that_worked_out_by_hand():
    """Hand: -1000 + 600/1.1 + 600*0.9/1.21 = -1000 + 545.4545 + 446.2810 = -8.2645 EUR."""
    found = optimizer.net_present_value(1000.0, 600.0, life=2, discount_rate=0.1, degradation=0.1)
    assert found == pytest.approx(-8.2645, abs=1e-4)
    assert optimizer.net_present_value(10.0, 5.0, life=3, discount_rate=0.0) == pytest.approx(5.0)


def test_interval_is_that_worked_out_by_hand():
    """Savings 10, 20, 30 over three seeds: mean 20, s = 10, t(2) = 4.3027, half = 24.841 EUR."""
    seeds = ((2026, 0), (2026, 1), (2026, 2))
    found = study((100.0, 200.0, 300.0), (90.0, 180.0, 270.0), replicates=seeds)
    row = found.as_json()["options"][1]
    assert row["saving_eur_a"] == pytest.approx(20.0)
    assert row["low_eur_a"] == pytest.approx(-4.841, abs=1e-3)
    assert row["high_eur_a"] == pytest.approx(44.841, abs=1e-3)
    assert row["verdict"] == NOT_DISTINGUISHABLE
    assert found.best == ("present", "larger")


def test_pairs_are_years_if_there_are_several():
    """Savings 10, 30 of one year and 21, 21 of the other: 20 and 21, s = 0.7071.

    t(1) = 12.7062, half = 12.7062 * 0.7071 / sqrt(2) = 6.3531 EUR around 20.5.
    """
    both = ((2025, 0), (2025, 1), (2026, 0), (2026, 1))
    found = study((100.0,) * 4, (90.0, 70.0, 79.0, 79.0), replicates=both)
    less = found.paired(1)
    assert (less.pair_count, less.mean) == (2, pytest.approx(-20.5))
    assert less.half_width == pytest.approx(6.3531, abs=1e-4)
    assert found.verdict(1) == "better"
    assert found.best == ("larger",)


def test_investment_may_turn_a_saving_into_a_loss():
    """A saving of 20.5 EUR for 2 years at 0 % is 41 EUR; beside 100 EUR it loses 59 EUR.

    Its interval is 2 * 6.3531 = 12.706 EUR either way, so the loss is shown.
    """
    both = ((2025, 0), (2026, 0))
    terms = optimizer.Economics(investment=(0.0, 100.0), life=2, discount_rate=0.0)
    found = study((100.0, 100.0), (80.0, 79.0), replicates=both, economics=terms)
    row = found.as_json()["options"][1]
    assert row["npv_eur"] == pytest.approx(-59.0)
    assert row["npv_high_eur"] == pytest.approx(-59.0 + 12.706, abs=1e-3)
    assert (row["verdict"], found.best) == ("worse", ("present",))


def test_one_replicate_has_no_interval():
    found = study((100.0,), (90.0,), replicates=((2026, 0),))
    row = found.as_json()["options"][1]
    assert (row["low_eur_a"], row["verdict"]) == (None, NO_INTERVAL)
    assert found.best == ("present", "larger")


def test_drawn_weeks_stand_for_a_year_with_its_peak():
    for seed in range(20):
        drawn = sample_year(2026, seed, weeks=5, peak_week=31)
        assert sum(one.weight for one in drawn) == pytest.approx(365 / 7)
        (peak,) = (one for one in drawn if one.is_peak)
        assert str(peak.start)[:10] == "2026-08-06"
        assert peak.weight == pytest.approx(365 / 364)
    starts = {
        one.start for seed in range(400) for one in sample_year(2026, seed, weeks=5, peak_week=31)
    }
    assert len(starts) == 52  # each week of the year may be drawn


def test_year_is_that_worked_out_by_hand():
    """Weeks of weight 1 and 51 with costs 100 and 10: 100 + 510 = 610 EUR.

    Months: 12 * 1/52 of 26 EUR, and 12 * 51/52 of 13 EUR: 6 + 153 = 159 EUR; a yearly peak is
    billed once, 26 EUR. A whole year bills the peaks of its own months, 7 EUR.
    """
    sample = [
        SampledRun(year=2026, seed=0, start=None, days=7, weight=weight) for weight in (1.0, 51.0)
    ]
    runs = [figures(100.0, 26.0), figures(10.0, 13.0)]
    assert estimate_year(sample, runs, has_yearly_peak=False).cost == pytest.approx(769.0)
    assert estimate_year(sample, runs, has_yearly_peak=True).cost == pytest.approx(636.0)
    assert estimate_year(sample[:1], runs[:1], has_yearly_peak=True).cost == pytest.approx(107.0)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("tank_2.volume=240,480 m3", IssueCode.UNKNOWN_NAME),
        ("tank_1.volum=240,480 m3", IssueCode.UNKNOWN_NAME),
        ("tank_1.volume=240,480 MW", IssueCode.WRONG_UNIT),
        ("tank_1.volume=480,480 m3", IssueCode.DUPLICATE),
        ("tank_1.volume", IssueCode.INVALID_FORMAT),
        ("hall_1.racks=12", IssueCode.UNSUPPORTED),
    ],
)
def test_impossible_variation_is_refused(text, code):
    with pytest.raises(ProblemError) as error:
        parse_variation(SITE, text)
    assert [issue.code for issue in error.value.issues] == [code]


def test_error_names_the_nearest_machine():
    with pytest.raises(ProblemError, match="did you mean tank_1"):
        parse_variation(SITE, "tank_l.volume=480 m3")


def test_units_of_sizes_are_read():
    expected = (480.0, 960.0)
    for text in ("480,960 m3", "480,960", "480 m3,960 m3", "480000,960000 L"):
        assert parse_variation(SITE, f"tank_1.volume={text}").sizes == pytest.approx(expected)


def test_options_begin_with_the_present_site():
    volume = parse_variation(SITE, "tank_1.volume=240,480 m3")
    power = parse_variation(SITE, "tank_1.power=0.3,0.6 MW")
    mixed = build_size_options(SITE, [volume, power])
    assert [tuple(one.sizes.values()) for one in mixed] == [
        (240.0, 0.3),
        (240.0, 0.6),
        (480.0, 0.3),
        (480.0, 0.6),
    ]
    stepped = build_size_options(SITE, [volume, power], together=True)
    assert [tuple(one.sizes.values()) for one in stepped] == [(240.0, 0.3), (480.0, 0.6)]
    assert stepped[1].site.equipment["tank_1"].power == pytest.approx(0.6)


def test_nothing_to_vary_is_refused():
    for variations in ([], [parse_variation(SITE, "tank_1.volume=240 m3")]):
        with pytest.raises(ProblemError) as error:
            build_size_options(SITE, variations)
        assert error.value.issues[0].code is IssueCode.MISSING


def test_size_out_of_range_is_refused():
    with pytest.raises(SiteError) as error:
        build_size_options(SITE, [parse_variation(SITE, "tank_1.volume=-5 m3")])
    assert error.value.issues[0].location == "equipment.tank_1.volume"


def test_design_out_of_range_is_refused():
    with pytest.raises(ProblemError):
        StudyDesign(years=(2026,), weeks=1)
    with pytest.raises(ProblemError):
        StudyDesign(years=(2026, 2026))
