"""A service status with a day of plausible series, for tests of page and metrics."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Lock

import msgspec

from optimizer.service.hold import Hold
from optimizer.service.status import (
    DataAge,
    DecisionStatus,
    LinkState,
    LiveStatus,
    LiveValue,
    ServiceStatus,
    service_mode,
)
from twin.errors import IssueCode, ServiceError, ValidationIssue

NOW = datetime(2026, 7, 1, 12, 30, tzinfo=UTC)
STEP = timedelta(minutes=15)
DAY = 96
VALVE = "CDU/ValvePosition/rhine/hall_1/cdu_1/007/secondary_valve_position"
PARTNERS = ("tso-1", "dso-1", "aggregator-north")


def iso(time):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


ENDED = {"author": "ana", "reason": "work", "how": "released by eva", "time": iso(NOW)}
"""A HOLD that is over, before a decision has followed it."""


def wave(hour, *, peak, width=12.0):
    """Return a smooth curve from 0 to 1 around an hour of the day."""
    return 0.5 + 0.5 * math.cos((hour - peak) / width * math.pi)


def noise(step, scale):
    return scale * math.sin(step * 12.9898) * math.cos(step * 4.1)


def series(steps, *, is_plan):
    """Return the columns of past or plan on steps relative to now."""
    columns = {name: [] for name in ("time", "electricity_price", "carbon_intensity")}
    columns |= {name: [] for name in ("battery_level", "tank_level", "work_power")}
    columns |= {"renewable_power": [], "grid_power": []}
    heat = {"warm supply": [], "chilled supply": [], "rack supply": [], "hall air": []}
    columns |= {"p10": [], "p90": []} if is_plan else {"planned_power": []}
    for step in steps:
        time = NOW + step * STEP
        hour = time.hour + time.minute / 60
        sun = max(0.0, wave(hour, peak=11.5) - 0.35) / 0.65
        dear = wave(hour, peak=18, width=6.0)
        power = 150 + 35 * wave(hour, peak=13) - 28 * dear * (hour > 15) + noise(step, 1.5)
        columns["time"].append(iso(time))
        columns["electricity_price"].append(round(95 - 110 * sun + 85 * dear, 2))
        columns["carbon_intensity"].append(round(420 - 230 * sun + 60 * dear, 1))
        columns["battery_level"].append(round(15 + 60 * wave(hour, peak=16.5), 2))
        columns["tank_level"].append(round(40 + 150 * wave(hour, peak=15), 2))
        columns["work_power"].append(round(power * 0.86, 2))
        columns["renewable_power"].append(round(22 * sun + 12, 2))
        columns["grid_power"].append(round(power + (0 if is_plan else noise(step + 7, 3.0)), 2))
        if is_plan:
            spread = 2 + 0.16 * step
            columns["p10"].append(round(power - spread, 2))
            columns["p90"].append(round(power + spread, 2))
        else:
            columns["planned_power"].append(round(power, 2))
        heat["warm supply"].append(round(37.5 + 4 * wave(hour, peak=16), 2))
        heat["chilled supply"].append(round(18 + 1.2 * wave(hour, peak=17) + noise(step, 0.2), 2))
        heat["rack supply"].append(round(40.5 + 3.6 * wave(hour, peak=16), 2))
        heat["hall air"].append(round(25.4 + 1.1 * wave(hour, peak=15), 2))
    return {**columns, "temperatures": heat}


def held(hold):
    """Return a HOLD as JSON; None without one."""
    return hold and msgspec.to_builtins(hold.as_status())


HELD = {
    "number": 1,
    "author": "a",
    "reason": "b",
    "since": iso(NOW),
    "until": None,
    "is_self_ending": False,
}
"""A HOLD as JSON."""

NO_SERIES = {"time": [], "temperatures": {}}
"""Past of a service that has not decided yet, as JSON."""

NOTHING_DECIDED = {
    "decision": None,
    "past": NO_SERIES,
    "plan": None,
    "limits": {"grid_import_power": 235.0, "temperatures": []},
    "jobs": None,
    "failures": None,
}
"""Parts of the status of a service that has not decided yet, as JSON."""


def asked():
    """Return the load target of a partner."""
    words = "at most 150.00 MW until 2026-07-01T16:00Z; planned 171.30 MW: not kept"
    row = {"partner": "tso-1", "power": 150.0, "planned": 171.3, "is_kept": False, "words": words}
    return [row | {"begin": "2026-07-01T12:30Z", "end": "2026-07-01T16:00Z"}]


OPERATOR_TOKEN = "token-of-eva"


def require_token(requester):
    """Refuse an order without the operator's token."""
    if requester.token != OPERATOR_TOKEN:
        issue = ValidationIssue(
            code=IssueCode.UNAUTHORISED,
            location="HOLD",
            found="no operator's token",
            expected="the token of an operator",
            remedy="type your token",
        )
        raise ServiceError("hold", [issue])


class FakeBoard:
    """A service that accepts orders; `changes` overrides parts of the status, as JSON.

    An order about a HOLD in force needs the token :data:`OPERATOR_TOKEN`, which is that of eva.
    """

    def __init__(self):
        self.changes, self.live = {}, {}
        self.malformed = {}  # values of other types, which no service sends
        self.said = ""
        self.missing = []
        self.orders = []
        self._holds = []
        self._lock = Lock()
        self._past = series(range(1 - DAY, 1), is_plan=False)
        self._plan = series(range(DAY), is_plan=True)
        for step in range(40, 44):  # a gap in telemetry
            self._past["grid_power"][step] = None

    def status(self):
        with self._lock:
            content = {**self._whole(), **self.changes}
        decision = content["decision"] and msgspec.convert(content["decision"], DecisionStatus)
        mode = service_mode(
            decision,
            is_held=content["hold"] is not None,
            is_current=not (content["missing"] or content["ended"]),
            is_shadow=content["is_shadow"],
        )
        shown = msgspec.convert({"mode": mode.value, **content}, ServiceStatus)
        return msgspec.structs.replace(shown, **self.malformed)

    def live_status(self):
        """Return the newest readings; `live` overrides the first of them."""
        values = [live_value("grid_power", 184.2, "MW") | self.live]
        values += [live_value("battery_level", 60.1, "MWh"), live_value("tank_level", 150.0, "MWh")]
        values += [live_value(name, value, "degC") for name, value, _ in TEMPERATURES]
        return LiveStatus(
            time=iso(NOW),
            link=LinkState.CONNECTED,
            data_age=DataAge(newest_s=2.4, silence_s=0.4),
            messages=184_213,
            points=96_412,
            values=[LiveValue(**one) for one in values],
        )

    def hold(self, *, author, reason, hours, requester=None, is_self_ending=False):
        since = NOW.timestamp()
        with self._lock:
            self.orders.append(("hold", author, reason, hours))
            placed = Hold(
                number=len(self._holds) + 1,
                author=author or "not signed in (page)",
                reason=reason or "pending",
                since=since,
                until=None if hours is None else since + hours * 3600.0,
                is_self_ending=is_self_ending,
            )
            self._holds.append(placed)
            return placed, self.said

    def replace_hold(self, number, *, requester, of, reason, hours):
        require_token(requester)
        with self._lock:
            self.orders.append(("replace", number, reason, hours))
            before = next(one for one in self._holds if one.number == number)
            after = replace(before, author="eva", reason=reason or before.reason)
            self._holds = [after if one is before else one for one in self._holds]
            return after

    def release(self, number, *, requester, of):
        require_token(requester)
        with self._lock:
            self.orders.append(("release", number))
            released = next(one for one in self._holds if one.number == number)
            self._holds.remove(released)
            return released, "eva"

    def readiness_problems(self):
        return list(self.missing)

    def _whole(self):
        return {
            "site": "rhine",
            "title": "Rhine: 100,080 accelerators near Frankfurt, dry coolers and towers",
            "time_zone": "Europe/Berlin",
            "is_synthetic": True,
            "time": iso(NOW),
            "clock": "simulated",
            "is_shadow": False,
            "link": "connected",
            "data_age": {"newest_s": 2.4, "silence_s": 0.4},
            "interval_minutes": 15,
            "decision": decision(),
            "hold": held(Hold.combine(self._holds)),
            "holds": [held(one) for one in self._holds],
            "ended": None,
            "missing": "",
            "awaited": "",
            "guarded": "",
            "last_known": None,
            "asked": asked(),
            "feed": feed(),
            "answers": {"accepted": 140, "refused": 2},
            "requests": {"answered": 3, "refused": 0, "limited": 0},
            "load_targets": {"taken": 1, "refused": 3},
            "series": {
                "until": {"prices": "2026-07-02T22:00Z", "weather": "2026-07-01T20:00Z"},
                "short": ["weather"],
            },
            "broker": {"url": "mqtt://127.0.0.1:1883", "is_connected": True, "trouble": ""},
            "telemetry": {
                "age_s": 2.4,
                "messages": 184_213,
                "points": 96_412,
                "batches": 87_801,
                "quarantined": {"range": 3, "late": 1},
                "refused": [
                    {
                        "source": VALVE,
                        "topic": f"BMS/v1/PUB/Value/{VALVE}",
                        "value": 735.0,
                        "unit": "%",
                        "reason": "range",
                        "expected": "-5 to 110 %",
                        "time": iso(NOW),
                        "count": 3,
                    }
                ],
                "stale": [],
                "unknown": [],
                "archive": "committed to 14:29, 412 MB",
            },
            "limits": {
                "grid_import_power": 235.0,
                "battery_capacity": 80.0,
                "tank_capacity": 200.0,
                "temperatures": temperatures(),
            },
            "past": self._past,
            "plan": self._plan,
            "failures": failures(),
            "jobs": jobs(),
            "alarms": [
                {
                    "id": "telemetry:cdu_07",
                    "time": iso(NOW - timedelta(hours=2)),
                    "since": iso(NOW - timedelta(hours=2)),
                    "severity": "medium",
                    "cause": "telemetry",
                    "subject": "cdu_07",
                    "values": {"flow_share": 0.92},
                    "text": "cdu_07: secondary flow 8 % below its set point",
                    "remedy": "check the strainer of cdu_07 at the next round",
                    "consequence": "less cooling for the racks of cdu_07 on a hot day",
                    "time_to_act_s": 3600.0,
                }
            ],
        }


def decision():
    return {
        "time": iso(NOW),
        "source": "optimum",
        "reason": "",
        "revision": 147,
        "cost_eur": 286_412.7,
        "accounts": {
            "electricity": 271_900.2,
            "grid fees": 32_204.0,
            "peak": 4_310.5,
            "carbon": 11_840.0,
            "water": 1_204.4,
            "heat sold": -9_120.0,
            "work left": -25_926.4,
        },
        "binding": [
            {
                "limit": "deadlines of the work, fine_tuning",
                "from": iso(NOW + 20 * STEP),
                "to": iso(NOW + 31 * STEP),
                "intervals": 12,
                "price_eur": 84.21,
                "unit": "MWh",
            },
            {
                "limit": "level of the store, battery_1",
                "from": iso(NOW + 12 * STEP),
                "to": iso(NOW + 15 * STEP),
                "intervals": 4,
                "price_eur": 37.5,
                "unit": "MWh",
            },
        ],
        "changes": [
            "moves 41 MWh of pre-training from 17:00-20:30 to 01:00-04:15: cheaper by 5,120 EUR",
            "charges tank_1 two hours earlier: the wet bulb is 2 K lower than expected",
        ],
        "softened": [
            {
                "target": "load target of a partner (tso_1)",
                "from": iso(NOW + 12 * STEP),
                "to": iso(NOW + 15 * STEP),
                "above": 2.5,
                "below": 0.0,
                "unit": "MWh",
                "paid_eur": 750.0,
                "is_hard": False,
            }
        ],
        "doubtful": ["racks for training"],
        "units": ["more chillers of chilled_plant run than planned from 14:00 to 14:30: 1"],
        "reserves": ["holds 10 MW of FCR up from 00:00 to 04:00 for 1,240 EUR"],
        "hedge": {
            "scenarios": 6,
            "level": 0.9,
            "weight": 0.2,
            "mean_eur": 2_039_000.0,
            "tail_eur": 2_210_000.0,
            "tail": [],
            "words": [
                "hedged over 6 scenarios: mean 2,039,000 EUR, mean of the worst 10% 2,210,000 EUR",
                "in the tail: as after 2026-05-30T00:00Z, 1 in 6, 2,210,000 EUR; beside the mean "
                "of all: electricity price +21.40 EUR/MWh",
            ],
        },
        "degraded": "carbon_intensity: nothing from 2026-06-16T00:00Z on, so forecast",
        "seconds": 1.84,
    }


def failures():
    names = ("warm_plant", "chilled_plant", "chilled_plant/power", "cdu_1/001")
    titles = ("whole plant of warm_plant", "whole plant of chilled_plant")
    titles += ("power supply of chilled_plant, which comes back", "one CDU of cdu_1 (140 alike)")
    limits = ("supply limit of warm_plant", "supply limit of chilled_plant")
    limits += ("inlet limit of hall_air_1", "")
    minutes = ((3.71, 2.18), (14.42, 3.4), (None, 2.7), (None, None))
    rows = [
        {
            "failure": name,
            "title": title,
            "must": name.startswith("cdu"),
            "minutes": now,
            "limit": limit if now else "",
            "worst_minutes": least,
            "worst_limit": limit,
            "worst_time": iso(NOW + 90 * STEP),
        }
        for name, title, limit, (now, least) in zip(names, titles, limits, minutes, strict=True)
    ]
    return {"time": iso(NOW), "least_minutes": 5.0, "exposed": [], "rows": rows, "plan": None}


def feed():
    states = ("acknowledged", "waiting", "rejected")
    texts = ("", "", "A02: revision 146 exceeds the agreed band at 18:15")
    return [
        {
            "partner": partner,
            "revision": 147,
            "acknowledged": 147 - place,
            "state": state,
            "sent": iso(NOW),
            "text": text,
        }
        for place, (partner, state, text) in enumerate(zip(PARTNERS, states, texts, strict=True))
    ]


TEMPERATURES = (
    ("warm supply", 40.9, 45.0),
    ("chilled supply", 18.9, 20.0),
    ("rack supply", 43.6, 45.0),
    ("hall air", 26.3, 27.0),
)
"""Name, value and limit of each limited temperature. [degC]"""


def live_value(name, value, unit):
    """Return a reading of 2.4 s ago."""
    read = {"time": iso(NOW), "age_s": 2.4, "is_stale": False}
    return {"name": name, "value": value, "unit": unit} | read


def temperatures():
    return [
        {"name": name, "value": value, "limit": limit, "unit": "degC"}
        for name, value, limit in TEMPERATURES
    ]


def jobs():
    kinds = (
        ("pretraining", 4, 1, 820),
        ("fine_tuning", 61, 38, 364),
        ("batch_inference", 120, 44, 240),
        ("inference", 12, 0, 96),
    )
    return {
        "running": 197,
        "waiting": 83,
        "late": 1,
        "backlog_mwh": 1_284.0,
        "kinds": [
            {"kind": kind, "running": running, "waiting": waiting, "racks": racks}
            for kind, running, waiting, racks in kinds
        ],
    }
