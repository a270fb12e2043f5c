import numpy as np
import pytest

from twin.physics.refrigeration import lorenz_cop, thermodynamic_mean_temperature


def test_log_mean_is_slightly_below_the_arithmetic_mean():
    assert thermodynamic_mean_temperature(80.0, 50.0) == pytest.approx(64.78, abs=0.01)
    assert thermodynamic_mean_temperature(50.0, 80.0) == pytest.approx(
        thermodynamic_mean_temperature(80.0, 50.0)
    )
    assert thermodynamic_mean_temperature(50.0, 50.0) == 50.0


def test_lorenz_by_hand():
    """35 to 45 degC lifted to 50 to 80: 313.12 K and 337.93 K, COP of 13.6."""
    source, sink = (
        thermodynamic_mean_temperature(35.0, 45.0),
        thermodynamic_mean_temperature(50.0, 80.0),
    )
    assert lorenz_cop(source, sink) == pytest.approx(13.6, abs=0.05)


def test_lorenz_without_temperature_span_is_carnot():
    assert lorenz_cop(26.85, 76.85) == pytest.approx(350.0 / 50.0)


def test_bound_without_lift_is_infinite():
    """Sensitivity: a sink colder than its source had a bound of -15.7, one as warm an exception."""
    assert lorenz_cop(60.0, 40.0) == np.inf
    assert lorenz_cop(np.array([50.0, 40.0]), 50.0).tolist() == pytest.approx([np.inf, 32.315])
