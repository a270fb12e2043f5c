"""Both ways of the solver's benches have the same model, to the last bit, and the same optimum."""

import numpy as np
import pytest

from benchmarks import solve_commitment, solve_hedged
from benchmarks.bench import Place
from benchmarks.measuring import compare
from benchmarks.solve_bare import Bare
from benchmarks.solve_cycle import BENCHES, limit, ours, prices_of
from benchmarks.solve_fleet import KINDS, SITES, Fleet
from optimizer.compiler.structure import compile_model
from optimizer.model.formulation import parameter_values, signature_of


@pytest.fixture(scope="module")
def many():
    return Fleet(24).inputs(0)


def test_fleet_has_the_stated_sites_and_kinds(many):
    assert tuple(inputs.problem.site.name for inputs in many) == SITES
    assert all(inputs.problem.outlook.sizes["cohort"] == len(KINDS) == 12 for inputs in many)


@pytest.mark.parametrize("place", range(4), ids=SITES)
def test_arrays_by_hand_equal_compiled_arrays(many, place):
    inputs = many[place]
    mine = compile_model(signature_of(inputs)).with_parameter_values(parameter_values(inputs))
    bare = Bare(inputs)
    bare.fill(inputs)
    cost, offset = mine.accounts.weighted_column_costs(prices_of(inputs), len(mine.column_low))
    pairs = [
        (mine.row_starts, bare.start), (mine.column_indices, bare.index),
        (mine.matrix_values, bare.value),
        (cost, bare.cost), (mine.column_low, bare.low), (mine.column_high, bare.high),
        (mine.row_low, bare.row_low), (mine.row_high, bare.row_high),
    ]  # fmt: skip
    for one, other in pairs:
        np.testing.assert_array_equal(one, other)
    assert offset == pytest.approx(bare.offset, rel=1e-12)


@pytest.mark.slow
def test_both_ways_agree_and_export_models(tmp_path):
    place = Place(scratch=tmp_path, export=tmp_path)
    both = [way(place, steps=24, cycles=2) for way in (ours, limit)]
    compare(BENCHES[0], both[0].figures, both[1].figures)
    names = {path.stem for path in tmp_path.glob("*.mps")}
    assert names == {f"{site}-24-{way}" for site in SITES for way in ("ours", "limit")}


@pytest.mark.slow
def test_unit_commitments_keep_their_gap(tmp_path):
    for way in (solve_commitment.cold, solve_commitment.warm):
        assert way(Place(scratch=tmp_path), steps=24).value > 0.0


@pytest.mark.slow
def test_hedged_decisions_are_timed_one_by_one():
    seconds, made = solve_hedged.decide_hourly("hedged", decisions=2)
    assert len(seconds) == len(made) == 2
    assert all(decision.explanation.hedge.scenario_count > 1 for decision in made)
    assert min(seconds) > 0.0
