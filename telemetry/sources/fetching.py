"""Ask a service for a text over HTTP, again after a while where it is busy or broken."""

import time
from collections.abc import Mapping
from typing import Final

import requests
from urllib3.util.retry import Retry

from twin.errors import Fault, SeriesError

PATIENCE: Final = 30.0
"""Longest that is waited for the next part of an answer. [s]"""

WHOLE: Final = 180.0
"""Longest that is waited for the whole of it. [s]"""

AGAIN: Final = 4
"""Times that is asked again. [1]"""

BACKOFF: Final = 1.0
"""The second time is at once, the third after twice this, each further one after twice that. [s]"""

LONGEST: Final = 120
"""Longest wait that a service may ask for (``Retry-After``). [s]"""

LARGEST: Final = 64 * 2**20
"""Most that is read of an answer. [bytes]"""

PIECE: Final = 2**16
"""Read at once. [bytes]"""

SHOWN: Final = 200
"""Of what a service says. [letters]"""

PASSING: Final = (429, 500, 502, 503, 504)
"""Statuses that pass: too many questions, or the service is broken or away."""

MENDS: Final = {
    400: "the service does not know such a question; see what it says",
    401: "give a valid token",
    403: "give a valid token; the service may not have this for you",
    404: "the service has none for this zone and these days; ask for others, or later",
    429: "it was asked too often; ask again later, and less often",
}
"""What can be done by status."""


class _Patient(Retry):
    """Waits as long as a service asks for, up to :data:`LONGEST`."""

    def get_retry_after(self, response: object) -> float | None:
        """Return the wait that the service asks for. [s]"""
        asked = super().get_retry_after(response)  # type: ignore[arg-type]
        return None if asked is None else min(asked, LONGEST)


def get(
    url: str,
    *,
    query: Mapping[str, str],
    headers: Mapping[str, str] | None = None,
) -> str:
    """Return what a service answers.

    Parameters
    ----------
    url
        Without the question.
    query
        The question; told in no error, since it may hold a token.
    headers
        Sent with it.

    Raises
    ------
    SeriesError
        If it is no web address, nobody answers, or the answer is none; with the status and what the
        service says.
    """
    if not url.startswith(("http://", "https://")):
        fault = Fault(place="url", value=url, mend="write https://HOST or http://HOST:PORT")
        raise SeriesError(url, [fault])
    retry = _Patient(AGAIN, backoff_factor=BACKOFF, status_forcelist=PASSING, raise_on_status=False)
    try:
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=retry))
            answer = session.get(
                url,
                params=query,
                headers=headers,
                timeout=PATIENCE,
                stream=True,
                allow_redirects=False,  # a token is for nobody else
            )
            text = _read(url, answer)
    except requests.RequestException as error:
        mend = "may this machine reach it, and is it up? what is there stays as it is"
        value = type(error).__name__
        fault = Fault(place=url, value=value, mend=mend)
        raise SeriesError(url, [fault]) from None  # theirs holds the question, with its token
    if answer.is_redirect or answer.is_permanent_redirect:
        moved = printable(answer.headers.get("Location", "").partition("?")[0])
        mend = "the service has moved: give its new address with --url, if you trust it"
        fault = Fault(place=url, value=f"status {answer.status_code}: {moved}", mend=mend)
        raise SeriesError(url, [fault])
    if not answer.ok:
        mend = MENDS.get(answer.status_code, "ask again later")
        fault = Fault(place=url, value=f"status {answer.status_code}: {printable(text)}", mend=mend)
        raise SeriesError(url, [fault])
    return text


def printable(text: str) -> str:
    """Return the beginning of a stranger's text without what a terminal would obey."""
    letters = "".join(one if one.isprintable() else " " for one in text[: 4 * SHOWN])
    return " ".join(letters.split())[:SHOWN]


def _read(url: str, answer: requests.Response) -> str:
    """Return the text of an answer, if it is not endless in bytes or in time."""
    raw, until = bytearray(), time.monotonic() + WHOLE
    for piece in answer.iter_content(PIECE):
        raw += piece
        if len(raw) > LARGEST or time.monotonic() > until:
            value = f"over {LARGEST} bytes" if len(raw) > LARGEST else f"over {WHOLE:g} s"
            fault = Fault(place=url, value=value, mend="ask for fewer days, or later")
            raise SeriesError(url, [fault])
    return bytes(raw).decode("utf-8", "replace")
