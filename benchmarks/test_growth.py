"""The fleet's benches solve what they say; speed is not tested."""

from benchmarks.bench import Place
from benchmarks.solve_growth import BENCHES, COUNTS, apart, as_one
from benchmarks.solve_wide import MOVABLE, Wide

DAY = ((24.0, 60.0),)


def test_sites_of_a_wide_fleet_are_all_different():
    problems = Wide(6, DAY).problems()
    assert len({problem.site.name for problem in problems}) == len(problems) == 6
    assert (
        len({problem.outlook["electricity_price"].to_numpy().tobytes() for problem in problems})
        == 6
    )
    assert all(len(problem.migration.migration_routes) == len(MOVABLE) for problem in problems)
    assert [bench.name for bench in BENCHES] == [f"solve.fleet_{count}" for count in COUNTS]


def test_sharing_costs_less_than_sites_apart():
    place = Place(scratch=None)
    shared, separate = (way(place, count=2, horizon=DAY) for way in (as_one, apart))
    assert 0.9 * separate.figures["cost"] < shared.figures["cost"] < separate.figures["cost"]
