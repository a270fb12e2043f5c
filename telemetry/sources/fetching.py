"""Ask a service for a text over HTTP, again after a while where it is busy or broken."""

from collections.abc import Mapping
from typing import Final

import requests
from urllib3.util.retry import Retry

from twin.errors import Fault, SeriesError

PATIENCE: Final = 30.0
"""Longest that an answer is waited for. [s]"""

AGAIN: Final = 4
"""Times that is asked again. [1]"""

BACKOFF: Final = 1.0
"""Wait before the second time; each further one is twice as long. [s]"""

LONGEST: Final = 120
"""Longest wait that a service may ask for (``Retry-After``). [s]"""

LARGEST: Final = 64 * 2**20
"""Most that is read of an answer. [bytes]"""

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
            with session.get(
                url, params=query, headers=headers, timeout=PATIENCE, stream=True
            ) as answer:
                raw = answer.raw.read(LARGEST + 1, decode_content=True)
    except requests.RequestException as error:
        mend = "may this machine reach it, and is it up? what is there stays as it is"
        value = type(error).__name__
        raise SeriesError(url, [Fault(place=url, value=value, mend=mend)]) from error
    text = bytes(raw).decode("utf-8", "replace")
    if len(raw) > LARGEST:
        fault = Fault(place=url, value=f"over {LARGEST} bytes", mend="ask for fewer days")
        raise SeriesError(url, [fault])
    if not answer.ok:
        mend = MENDS.get(answer.status_code, "ask again later")
        said = " ".join(text.split())[:200]
        fault = Fault(place=url, value=f"status {answer.status_code}: {said}", mend=mend)
        raise SeriesError(url, [fault])
    return text
