"""Jobs and caps as they stand on the wire: each field with its bounds, its unit and its meaning.

``telemetry/schemas`` and the tables of docs/schedulers.md are written from here, by
``python -m tests.telemetry.test_job_docs``.
"""

from typing import Annotated

import msgspec

from telemetry.codec.strict import COUNT, MOMENT, VERSION


def _said(words: str, unit: str = "", **more: object) -> msgspec.Meta:
    """Return the meaning of a field, its unit, and what else a schema says of it."""
    extra = {"x-unit": unit} if unit else {}
    return msgspec.Meta(description=words, extra_json_schema=extra | more)


type _Moment = Annotated[int, MOMENT]
type _Number = Annotated[int, COUNT]
type _Hours = Annotated[float, msgspec.Meta(ge=0, lt=1e6)]
type _Positive = Annotated[float, msgspec.Meta(gt=0, lt=1e6)]
type _Cap = Annotated[float, msgspec.Meta(gt=0, le=1)]

type _Version = Annotated[int, _said("Major version of this format.", const=VERSION)]
type _Site = Annotated[str, _said("Name of the site, the same as in the topic.")]
type _Hall = Annotated[str, _said("Name of the hall, the same as in the topic.")]
type _Issued = Annotated[int, MOMENT, _said("When it was ordered.", "ms")]
type _Expires = Annotated[
    int, MOMENT, _said("When it ends unless it is renewed; not before `issued`.", "ms")
]
type _Sequence = Annotated[int, COUNT, _said("Rises with each order of the service.", "1")]
type _Applied = Annotated[bool, _said("Whether it was taken; if not, what held before goes on.")]
type _Reason = Annotated[str, _said("Why not, or what could not be done of it; may be empty.")]

_NUMBERED = {"pattern": "^(0|[1-9][0-9]{0,19})$"}


class History(msgspec.Struct):
    """Jobs that arrived in the last two weeks, by order of arrival; columns of equal length."""

    v: _Version
    site: _Site
    time: Annotated[int, MOMENT, _said("When this was so.", "ms")]
    number: Annotated[
        list[_Number],
        _said("Name of the job in orders; no number stands twice, or ever means another job.", "1"),
    ]
    kind: Annotated[list[str], _said("Its kind: a name of the site file's table `work`.")]
    arrival: Annotated[
        list[_Moment], _said("From when on it may run; not after `time` of the message.", "ms")
    ]
    deadline: Annotated[list[_Moment], _said("When it should be done; may be over.", "ms")]
    length_h: Annotated[
        list[_Positive], _said("All that it runs in uncapped racks, what is done included.", "h")
    ]
    racks: Annotated[
        list[_Positive],
        _said("Racks that it uses while it runs, all of them or none; fractions are fine.", "1"),
    ]


class Queue(History):
    """All jobs that are here and not done, in any order; columns of equal length."""

    done_h: Annotated[
        list[_Hours], _said("What of `length_h` is done by now; not more than it.", "h")
    ]
    ran_h: Annotated[
        list[_Hours], _said("Time since its last start, by the clock; 0 if it waits.", "h")
    ]
    running: Annotated[list[bool], _said("Whether it runs now.")]


class Orders(msgspec.Struct):
    """The jobs that run until the orders expire; all others wait."""

    v: _Version
    site: _Site
    sequence: _Sequence
    issued: _Issued
    expires: _Expires
    caps: Annotated[
        dict[str, _Cap],
        _said(
            "Number of a job: power of its racks as a share of what they draw uncapped.",
            "1",
            propertyNames=_NUMBERED,
        ),
    ]


class Status(msgspec.Struct):
    """What the scheduler did with orders."""

    v: _Version
    site: _Site
    sequence: Annotated[
        int,
        msgspec.Meta(ge=-1, le=2**53),
        _said("That of the orders; -1 if none has ever come.", "1"),
    ]
    applied: _Applied
    reason: _Reason


class HallCap(msgspec.Struct):
    """The greatest power of the racks of a hall until the order expires."""

    v: _Version
    site: _Site
    hall: _Hall
    sequence: _Sequence
    issued: _Issued
    expires: _Expires
    power_cap_mw: Annotated[
        float,
        msgspec.Meta(ge=0),
        _said("Greatest power at the inlets of the hall's racks, but those of `without`.", "MW"),
    ]
    without: Annotated[
        list[str], _said("Racks of the hall that it neither caps nor counts; may be left out.")
    ] = []


class HallCapStatus(HallCap, kw_only=True):
    """What the nodes did with the cap of a hall: the order word for word, and this."""

    applied: _Applied
    reason: _Reason
