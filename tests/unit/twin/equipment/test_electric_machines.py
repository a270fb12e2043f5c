"""Transformers, UPS and busways: losses by hand, and where the losses go."""

import numpy as np
import pytest
from pydantic import ValidationError

from twin.equipment import Busway, TransformerBank, UpsBank

TRANSFORMER = {
    "name": "transformer",
    "count": 3,
    "rating": "63 MVA",
    "power_factor": 0.95,
    "no_load_loss": "40 kW",
    "load_loss": "200 kW",
}
UPS = {
    "name": "ups",
    "rating": "100 MW",
    "loss_constant": 0.006,
    "loss_linear": -0.001,
    "loss_quadratic": 0.03,
}
BUSWAY = {"name": "busway", "rating": "100 MW", "rated_loss": 0.015}


@pytest.fixture
def calm(outdoors):
    return outdoors([20.0, 20.0, 20.0], 15.0)


def flows(machine, output, weather):
    (convert,) = machine.relations()
    return convert.flows_at_output(np.array(output), weather)


def test_transformer_loss_is_core_plus_square_of_load(calm):
    # 179.55 MW are 189 MVA: rated. 3 x (40 + 200) kW; half of it: 3 x (40 + 50) kW
    found = flows(TransformerBank.model_validate(TRANSFORMER), [179.55, 89.775, 0.0], calm)
    assert found.heat == pytest.approx([0.72, 0.27, 0.12])
    assert found.inputs["grid"] == pytest.approx([180.27, 90.045, 0.12])
    assert found.details["transformer_loading"] == pytest.approx([1.0, 0.5, 0.0])


def test_transformer_loss_is_equal_in_both_directions(calm):
    found = flows(TransformerBank.model_validate(TRANSFORMER), [-89.775], calm)
    assert found.heat == pytest.approx([0.27])
    assert found.inputs["grid"] == pytest.approx([-89.505])


def test_transformer_limit_is_its_rated_power(calm):
    (convert,) = TransformerBank.model_validate(TRANSFORMER).relations()
    assert convert.max_output(calm) == pytest.approx([179.55] * 3)


def test_ups_loss_heats_the_chilled_water(calm):
    # at rating 100 (0.006 - 0.001 + 0.03) = 3.5 MW; at half 100 (0.006 - 0.0005 + 0.0075); at no
    # load what the polynomial gives at its least, at 1/60: 0.6 - 0.1 / 60 + 3 / 3600
    found = flows(UpsBank.model_validate(UPS), [100.0, 50.0, 0.0], calm)
    assert found.inputs["chilled"] == pytest.approx([3.5, 1.3, 0.599167], abs=1e-6)
    assert found.inputs["medium_voltage"] == pytest.approx([103.5, 51.3, 0.599167], abs=1e-6)
    assert (found.heat == 0.0).all()


def test_a_worn_ups_loses_more(calm):
    found = flows(UpsBank.model_validate(UPS | {"loss_factor": 1.1}), [100.0], calm)
    assert found.inputs["chilled"] == pytest.approx([3.85])


def test_busway_loss_heats_halls_with_square_of_current(calm):
    found = flows(Busway.model_validate(BUSWAY), [100.0, 50.0, 0.0], calm)
    assert found.inputs["air"] == pytest.approx([1.5, 0.375, 0.0])
    assert found.inputs["critical"] == pytest.approx([101.5, 50.375, 0.0])


@pytest.mark.parametrize(
    ("kind", "declared", "name", "value"),
    [
        (TransformerBank, TRANSFORMER, "rating", "63 MWh"),
        (TransformerBank, TRANSFORMER, "power_factor", 1.2),
        (UpsBank, UPS, "loss_constant", -0.1),
        (UpsBank, UPS, "loss_linear", -0.05),
        (Busway, BUSWAY, "rated_loss", 0.2),
    ],
)
def test_invalid_machines_are_refused(kind, declared, name, value):
    with pytest.raises(ValidationError, match=name):
        kind.model_validate(declared | {name: value})
