"""The signed word on how a feed is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from telemetry.codec.documents import State, Status
from telemetry.codec.schedule import check
from telemetry.codec.strict import VERSION, milliseconds
from telemetry.keys import SigningKey
from telemetry.security import sign


@dataclass(frozen=True)
class Said:
    """How a feed is, the same for all partners.

    Attributes
    ----------
    state
        Its state.
    reason
        Why, in words.
    """

    state: State
    reason: str

    def signed(
        self,
        key: SigningKey,
        *,
        site: str,
        partner: str,
        now: np.datetime64,
        revision: int | None = None,
        in_force: int | None = None,
    ) -> bytes:
        """Return the status for a partner, signed.

        Parameters
        ----------
        key
            Key of the site.
        site, partner
            Names in the topic.
        now
            When it is signed.
        revision, in_force
            Newest revision published, and the one that the partner accepted last; None for none.
        """
        status = Status(
            v=VERSION,
            site=site,
            partner=partner,
            time=milliseconds("status", now),
            state=self.state,
            reason=self.reason,
            revision=revision,
            in_force=in_force,
        )
        document = cast("Mapping[str, object]", status)
        check(document, "status")
        return sign(document, key, kind="status").encode()
