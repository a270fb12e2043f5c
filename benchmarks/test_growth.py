"""Both ways of the fleet's benches find the same cost; speed is not tested."""

import pytest

from benchmarks.bench import Place
from benchmarks.measuring import compare
from benchmarks.solve_growth import BENCHES, COUNTS, as_one, by_prices, few
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


@pytest.mark.slow
def test_price_coordination_matches_one_model():
    place = Place(scratch=None)
    one, other = by_prices(place, count=4, horizon=DAY), as_one(place, horizon=DAY)
    compare(BENCHES[0], one.figures, other.figures)
    assert few(place, horizon=DAY).cost > 0.0
