"""What a person may order from the page: the bodies of its POSTs, read strictly."""

import json
from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from starlette.requests import Request

from optimizer.service.overrides import LONGEST
from twin.text import one_line

MOST_BYTES: Final = 4096
"""Largest body of an order. [bytes]"""


# Letters that cannot be seen would forge lines of a log; no HOLD is refused for what was pasted.
type Author = Annotated[
    str, AfterValidator(one_line), StringConstraints(min_length=1, max_length=80)
]
type Reason = Annotated[
    str, AfterValidator(one_line), StringConstraints(min_length=1, max_length=300)
]


class OrderError(ValueError):
    """An order that is not one; `status` is the answer in HTTP."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


class _Order(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Hold(_Order):
    """Stop the optimiser; `hours` null: until a person releases it. [h]"""

    author: Author
    reason: Reason
    hours: Annotated[float, Field(gt=0, le=LONGEST)] | None = None


class Release(_Order):
    """Let the optimiser go on."""

    author: Author


async def read[T: _Order](request: Request, kind: type[T]) -> T:
    """Return the order in the body of a request.

    Raises
    ------
    OrderError
        If the body is not JSON, too large, or not such an order.
    """
    media, _, _ = request.headers.get("Content-Type", "").partition(";")
    if media.strip().lower() != "application/json":
        raise OrderError(415, "send the order as application/json")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise OrderError(413, f"an order has at most {MOST_BYTES} bytes")
    try:
        content = json.loads(body, object_pairs_hook=_once, parse_constant=_no_number)
        return kind.model_validate(content)
    except ValidationError as error:
        raise OrderError(400, _words(error)) from error
    except (ValueError, RecursionError) as error:
        raise OrderError(400, f"the body is not JSON of an order: {error}") from error


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) < len(pairs):
        msg = "a name stands twice"
        raise ValueError(msg)
    return content


def _no_number(text: str) -> None:
    msg = f"{text} is not a number"
    raise ValueError(msg)


def _words(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'order'}: {fault['msg']}" for fault in faults
    )
