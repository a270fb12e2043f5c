"""Names are declared, and arrays carry the unit of their name."""

import numpy as np
import pytest
import xarray as xr

from twin import vocabulary
from twin.errors import UnitError


def test_names_of_machines_are_kind_and_role() -> None:
    assert vocabulary.term("ups_loss").unit == "MW"
    assert vocabulary.term("battery_level").unit == "MWh"


@pytest.mark.parametrize("name", ["upsloss", "toaster_loss", "ups_happiness", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UnitError, match="declare it there"):
        vocabulary.term(name)


def test_check_gathers_all_faults() -> None:
    wrong = xr.Dataset({"electricity_price": ("time", np.zeros(2), {"units": "EUR kWh-1"})})
    with pytest.raises(UnitError) as caught:
        vocabulary.check(wrong, "electricity_price", "air_temperature")
    text = str(caught.value)
    assert "2 faults" in text
    assert "EUR MWh-1" in text
    assert "air_temperature" in text


def test_tagged_data_pass_the_check() -> None:
    data = vocabulary.tag_all(xr.Dataset({"electricity_price": ("time", np.zeros(2))}))
    assert vocabulary.check(data, "electricity_price") is data
