"""Names are declared, and arrays carry the unit of their name."""

import numpy as np
import pytest
import xarray as xr

from twin import variables
from twin.errors import UnitError


def test_names_of_machines_are_kind_and_role() -> None:
    assert variables.variable_definition("ups_loss").unit == "MW"
    assert variables.variable_definition("battery_level").unit == "MWh"


@pytest.mark.parametrize("name", ["upsloss", "toaster_loss", "ups_happiness", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UnitError, match="declare this one there"):
        variables.variable_definition(name)


def test_check_reports_all_issues_together() -> None:
    wrong = xr.Dataset({"electricity_price": ("time", np.zeros(2), {"units": "EUR kWh-1"})})
    with pytest.raises(UnitError) as caught:
        variables.check_variables(wrong, "electricity_price", "air_temperature")
    assert [(one.code.value, one.location) for one in caught.value.issues] == [
        ("wrong-unit", "electricity_price"),
        ("missing", "air_temperature"),
    ]
    assert "EUR MWh-1" in str(caught.value)


def test_tagged_data_pass_the_check() -> None:
    data = variables.tag_dataset(xr.Dataset({"electricity_price": ("time", np.zeros(2))}))
    assert variables.check_variables(data, "electricity_price") is data
