"""Control between two decisions: batteries limit the peak, tanks give way as water warms.

Work is capped where batteries do not suffice for the limit of the connection. Jobs, set points and
all else stay as decided.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import structlog
import xarray as xr

from optimizer.realtime.intra_interval import MeteringIntervalControl
from optimizer.realtime.orders import DispatchOrders
from twin.time_axes import CONTROL_INTERVAL_MIN, METERING_PERIOD_MIN, MINUTE, QUARTER_HOUR
from twin.variables import net_import

METER_INTERVAL: Final = np.timedelta64(5, "s")
"""Time between two readings of the meter. [s]"""

MAX_READING_AGE_S: Final = 90.0
"""Age from which a reading is not used. [s]"""

SUPPLY_TEMPERATURE_VARIABLE: Final = "facility_supply_temperature"

logger = structlog.get_logger(__name__)


class IntraIntervalController:
    """Integrate the meter over the current quarter-hour and adjust stores and caps.

    Gaps in the readings are filled with the last reading. Of the water only the change since the
    first reading of a quarter-hour is used: the estimate of its level is better than a sensor,
    which may have an offset for days.
    """

    def __init__(self) -> None:
        self._interval_control: MeteringIntervalControl | None = None
        self._interval_start = self._integrated_to = self._controlled_at = np.datetime64(
            "NaT", "us"
        )
        self._energy, self._net = 0.0, np.nan
        self._estimated_water: Mapping[str, float] = {}
        self._first_reading: dict[str, float] = {}

    def start_interval(
        self,
        time: np.datetime64,
        interval_control: MeteringIntervalControl | None,
        water: Mapping[str, float] | None = None,
    ) -> None:
        """Begin a quarter-hour; a repeated decision keeps the integrated energy.

        ``interval_control`` is None where nothing is adjusted, as under HOLD. ``water`` is the
        estimated supply temperature at its start by circuit. [degC]
        """
        self._interval_control, self._estimated_water = interval_control, water or {}
        if time != self._interval_start:
            self._interval_start = self._integrated_to = self._controlled_at = time
            self._energy, self._first_reading = 0.0, {}

    def stop(self) -> None:
        """Adjust nothing more in this quarter-hour, because of a HOLD or a missing plan."""
        self._interval_control = None

    def describe_adjustments(self, now: np.datetime64) -> str:
        """Describe what was adjusted in this quarter-hour; empty if nothing."""
        control = self._interval_control
        if (
            control is None
            or control.total_reduction <= control.shed_from_start
            or not self._is_running(now)
        ):
            return ""
        stores, work = control.total_reduction - control.shed_work_power, control.shed_work_power
        done = [f"batteries reduce it by {stores:.1f} MW"] if stores > 0.0 else []
        if work > 0.0:
            done.append(f"jobs are capped by {work:.1f} MW, to keep the connection's limit")
        return f"the meter shows {self._net:.1f} MW from the grid: {' and '.join(done)}"

    def is_due(self, now: np.datetime64) -> bool:
        """Return whether the meter is to be read at ``now``."""
        is_late = bool(now - self._integrated_to >= METER_INTERVAL)
        return self._interval_control is not None and self._is_running(now) and is_late

    def adjust_orders(self, now: np.datetime64, observed: xr.Dataset) -> DispatchOrders | None:
        """Integrate the meter, and return other orders if they are needed, at most once a minute.

        ``observed`` holds the newest readings: ``grid_import_power``, ``grid_export_power`` [MW]
        and the age of the first [s], ``facility_supply_temperature`` [degC] and its age [s].
        """
        if self._interval_control is None or not self._is_running(now):
            return None
        is_recent = self._integrate_meter(now, observed)
        minutes = float((now - self._interval_start) / MINUTE)
        if (
            now - self._controlled_at
        ) / MINUTE < CONTROL_INTERVAL_MIN or minutes >= METERING_PERIOD_MIN:
            return None
        self._controlled_at = now
        cooler = self._prioritise_cooling(observed, self._interval_control)
        return (self._limit_peak(minutes, self._interval_control) if is_recent else None) or cooler

    def _is_running(self, now: np.datetime64) -> bool:
        return bool(self._interval_start <= now < self._interval_start + QUARTER_HOUR)

    def _integrate_meter(self, now: np.datetime64, observed: xr.Dataset) -> bool:
        """Add a reading of the meter; return whether it is recent."""
        net = float(net_import(observed))
        if (
            not np.isfinite(net)
            or not float(observed["grid_import_power_age"]) <= MAX_READING_AGE_S
        ):
            return False
        before = self._net if np.isfinite(self._net) else net
        self._energy += before * max(float((now - self._integrated_to) / MINUTE), 0.0)
        self._integrated_to, self._net = now, net
        return True

    def _limit_peak(
        self, minutes: float, interval_control: MeteringIntervalControl
    ) -> DispatchOrders | None:
        orders = interval_control.adjust_to_meter(
            minutes=minutes, mean=self._energy / minutes, latest=self._net
        )
        if orders is not None:
            logger.info(
                "import limit kept" if interval_control.shed_work_power else "peak limited",
                import_mw=round(self._net, 3),
                peak_mw=round(interval_control.uncharged_mean_import, 3),
                less_mw=round(interval_control.total_reduction, 3),
                work_mw=round(interval_control.shed_work_power, 3),
            )
        return orders

    def _prioritise_cooling(
        self, observed: xr.Dataset, interval_control: MeteringIntervalControl
    ) -> DispatchOrders | None:
        readings = (
            observed[SUPPLY_TEMPERATURE_VARIABLE]
            .where(observed[f"{SUPPLY_TEMPERATURE_VARIABLE}_age"] <= MAX_READING_AGE_S)
            .to_series()
        )
        shown = {str(circuit): float(value) for circuit, value in readings.dropna().items()}
        self._first_reading = shown | self._first_reading
        water = {
            circuit: self._estimated_water[circuit] + value - self._first_reading[circuit]
            for circuit, value in shown.items()
            if circuit in self._estimated_water
        }
        orders = interval_control.adjust_to_water(water)
        if orders is not None:
            logger.info(
                "cooling prioritised",
                water_degc=_rounded(water),
                charge_mw=_rounded(orders.tank_charge),
                discharge_mw=_rounded(orders.tank_discharge),
            )
        return orders


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}
