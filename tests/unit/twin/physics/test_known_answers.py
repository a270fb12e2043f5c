"""Published numbers that the physics reproduces, cases 1 to 6 of the founding requirements."""

import numpy as np
import pytest

from twin.physics.electrical_equipment import (
    PSU_RUBY_EFFICIENCY,
    PSU_TITANIUM_EFFICIENCY,
    UPS_ECO_MODE_EFFICIENCY,
    conversion_power,
    loss_from_efficiency,
    ups_loss,
)
from twin.physics.heat_exchangers import cold_plate_resistance
from twin.physics.heat_rejection import yorkcalc_approach
from twin.physics.psychrometrics import wet_bulb_temperature
from twin.physics.refrigeration import CARRIER_19XR_869, available_cooling_share, chiller_power


def frontier_power(cpu: float, gpu: float) -> tuple[float, float]:
    """Return a node's power [W] and the machine's [MW] at shares of the processors' ranges."""
    node = 90 + cpu * (280 - 90) + 4 * (88 + gpu * (560 - 88)) + 74.26 + 4 * 20 + 30
    chassis_output = 16 * conversion_power(node, 0.98, offset=13) + 4 * 250
    chassis = 4 * conversion_power(chassis_output / 4, 0.96, offset=17)
    return node, (74 * 8 * chassis + 25 * 8473.47) / 1e6


@pytest.mark.parametrize(
    ("cpu", "gpu", "node", "site"),
    [
        (0.0, 0.0, 626.26, 7.3065),
        (0.33, 0.79, 2180.48, 22.9545),
        (1.0, 1.0, 2704.26, 28.2279),
    ],
)
def test_frontier_draws_its_published_power(cpu, gpu, node, site):
    assert frontier_power(cpu, gpu) == pytest.approx((node, site), rel=1e-5)


@pytest.mark.parametrize(
    ("flow", "resistance"),
    [(0.4, 0.0389), (0.6, 0.0300), (0.8, 0.0265), (1.0, 0.0245), (1.4, 0.0220), (2.0, 0.0204),
     (2.4, 0.0197)],
)  # fmt: skip
def test_cold_plate_has_its_published_resistance(flow, resistance):
    assert cold_plate_resistance(flow) == pytest.approx(resistance, rel=1e-9)


@pytest.mark.parametrize(
    ("wet_bulb", "span", "ratio", "approach"),
    [(25.56, 5.56, 1, 3.84), (20, 6, 1, 5.38), (20, 10, 1, 7.96), (10, 10, 1, 11.95),
     (20, 6, 0.75, 3.76)],
)  # fmt: skip
def test_tower_has_the_published_approach(wet_bulb, span, ratio, approach):
    found = yorkcalc_approach(wet_bulb, span, liquid_gas_ratio=ratio)
    assert found == pytest.approx(approach, rel=1e-3)


@pytest.mark.parametrize(
    ("part_load", "power"), [(1, 160.97), (0.75, 100.51), (0.5, 56.38), (0.25, 18.97)]
)
def test_chiller_draws_the_published_power(part_load, power):
    curves = CARRIER_19XR_869
    available = curves.rated_cooling * available_cooling_share(8.89, 36.12, curves=curves)
    found = chiller_power(
        part_load * available,
        curves.rated_cooling,
        chilled_temperature=8.89,
        condenser_temperature=36.12,
        curves=curves,
    )
    assert 1000 * found == pytest.approx(power, rel=1e-3)


def test_wet_bulb_at_sea_level():
    air = np.array([20, 25, 30, 35, 35, 40, 0, -5, 15])
    humidity = np.array([50, 50, 40, 30, 50, 20, 80, 70, 90]) / 100
    known = [13.783, 17.889, 20.064, 21.524, 26.141, 22.032, -1.155, -6.335, 14.010]
    assert wet_bulb_temperature(air, humidity) == pytest.approx(known, abs=0.001)


def test_ups_in_double_conversion_has_its_published_efficiencies():
    share = np.array([0.25, 0.5, 0.75, 1.0])
    found = share / (share + ups_loss(share, 1.0))
    assert found == pytest.approx([0.970, 0.973, 0.970, 0.964], abs=1e-3)


@pytest.mark.parametrize(
    "points", [UPS_ECO_MODE_EFFICIENCY, PSU_TITANIUM_EFFICIENCY, PSU_RUBY_EFFICIENCY]
)
def test_efficiency_curve_goes_through_its_points(points):
    share, known = np.array(points).T
    found = share / (share + loss_from_efficiency(share, points))
    assert found == pytest.approx(known, abs=1e-12)
