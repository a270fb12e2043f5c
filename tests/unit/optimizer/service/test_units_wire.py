"""Chillers over a broker: a simulated plant runs as many as planned."""

import pytest
import xarray as xr

from sites.catalogue import find_site_file
from tests.support.service_processes import Stage

HEAD = "[equipment.chilled_plant.chillers]"
RULES = 'minimum_up = "1 h"\nminimum_down = "0.5 h"\nstart_cost = "20 EUR"\n'


@pytest.mark.slow
def test_run_over_a_broker_follows_planned_chillers(tmp_path, embedded):
    """Two cool hours: a plan keeps one chiller on for the coming day; nothing is refused.

    Sensitivity: by itself the plant runs none, since the economiser carries all.
    """
    file = tmp_path / "strict.toml"
    text = find_site_file("small").read_text()
    file.write_text(text.replace(HEAD, f"{HEAD}\n{RULES}", 1))
    with Stage(tmp_path, embedded.url, file=file) as played:
        played.attend()
        played.serve("--page", "0")
        played.play(8)
        result = played.result(timeout=900.0)
    assert result["violations"] == {}
    assert result["undecided"] == result["messages"].get("refused", 0) == 0
    assert (result["summary"]["starts"], result["accounts"]["starts"]) == (1, 20.0)
    with xr.open_dataset(tmp_path / "plant.nc") as course:
        ran = course["cooling_plant_units_on"].sel(circuit="chilled_plant").to_numpy()
    assert ran.tolist() == [1.0] * 8
