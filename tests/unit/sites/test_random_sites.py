"""Random sites: different, valid, and closing at every machine."""

import numpy as np
import pytest

from tests.support.random_sites import random_site
from tests.support.seeds import seeds
from twin.relations import CARRIER_ENERGY_SIGN
from twin.site import mild_weather


@pytest.mark.parametrize("seed", seeds(range(8)))
def test_energy_closes_at_every_machine(seed):
    site = random_site(seed)
    assert site.conversions
    for convert in site.conversions:
        output = np.linspace(0.0, 1.0, 9)[:, None] * convert.max_output(mild_weather(site))
        flows = convert.flows_at_output(output, mild_weather(site))
        drawn = sum(CARRIER_ENERGY_SIGN[carrier] * draw for carrier, draw in flows.inputs.items())
        given = CARRIER_ENERGY_SIGN[convert.output_carrier] * output + flows.heat
        np.testing.assert_allclose(drawn, given, rtol=1e-9, atol=1e-9)


def test_random_sites_differ_and_are_reproducible():
    assert random_site(1) == random_site(1)
    assert random_site(1) != random_site(2)
