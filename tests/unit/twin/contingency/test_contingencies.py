"""Names of failures: as in the file, in common use, and wrong ones."""

import pytest

import sites
from tests.support.heat_pump_site import heated
from twin.contingency.contingencies import FailedPart, find_contingency, single_contingencies
from twin.errors import ProblemError

RHINE = sites.load_site("rhine")


def test_each_failure_of_a_site_is_listed_once():
    every = single_contingencies(RHINE)
    assert len({trip.name for trip in every}) == len(every)
    assert {trip.failed_part for trip in every} == set(FailedPart) - {FailedPart.HEAT_PUMP}
    alike = {trip.name: trip.equivalent_units for trip in every}
    assert alike["cdu_1/001"] == 140
    assert alike["chilled_plant/chiller_1"] == 9
    assert alike["warm_plant/dry_cooler_1"] == 240
    assert alike["ups_1/block_1"] == 84  # 210 MW in blocks of 2.5 MW
    assert "pump" in {trip.name for trip in single_contingencies(heated())}


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("chilled_plant/chiller_3", "chilled_plant/chiller_3"),
        ("chiller_3", "chilled_plant/chiller_3"),
        ("Chiller_03", "chilled_plant/chiller_3"),
        ("cdu_1/017", "cdu_1/017"),
        ("cdu_1/17", "cdu_1/017"),
        ("cdu_17", "cdu_1/017"),
        ("cdu_1/017/pump", "cdu_1/017/pump"),
        ("transformer_2", "transformer_1/unit_2"),
        ("dry_cooler_240", "warm_plant/dry_cooler_240"),
        ("warm_plant/pump_4", "warm_plant/pump_4"),
        ("warm_plant", "warm_plant"),
        ("tank_1", "tank_1"),
    ],
)
def test_failure_is_found_by_its_usual_name(said, name):
    assert find_contingency(RHINE, said).name == name


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("pump_1", "write warm_plant/pump_1 or chilled_plant/pump_1"),
        ("chillr_3", "did you mean chilled_plant/chiller_3 or"),
        ("chiller_10", "one of transformer_1/unit_1, ups_1/block_1, cdu_1/001"),
        ("", "one of transformer_1/unit_1"),
    ],
)
def test_unknown_failure_is_refused_with_the_choices(said, words):
    with pytest.raises(ProblemError, match=words):
        find_contingency(RHINE, said)


def test_failure_is_described_in_words():
    assert find_contingency(RHINE, "chiller_3").title == "one chiller of chilled_plant (9 alike)"
    assert find_contingency(RHINE, "warm_plant").title == "whole plant of warm_plant"
    assert find_contingency(RHINE, "tank_1").title == "tank tank_1"
