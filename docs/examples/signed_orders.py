# ruff: noqa: T201 - it prints for people
"""Orders of the service for an agent: whether the site signed one, and whether it counts now.

It needs joserfc if keys are given. See docs/reference/job-messages.md#signed-orders.
"""

import json
import zlib
from pathlib import Path

LARGEST = 256 * 1024  # bytes of an order as it is sent
UNPACKED = 2 * 1024 * 1024  # bytes of an order whose content was gzip
AHEAD = 5000  # ms by which the service's clock may be ahead


class OrderError(ValueError):
    """An order that the agent must not obey: a code of the documentation, and why in words."""

    def __init__(self, code, reason):
        super().__init__(reason)
        self.code = code


def add_options(parser):
    """Add the choice between signed and unsigned orders; a person must make it."""
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--keys", type=Path, help="public keys of the site's service, a JWK set")
    choice.add_argument("--unsigned", action="store_true", help="obey orders of any signature")


def announce(keys):
    """Report at the start whether orders are verified."""
    words = f"orders need a signature of {keys}"
    if keys is None:
        words = "WARNING: orders are not verified: the broker's access list alone protects them"
    print(words, flush=True)


def read(text, keys, kind):
    """Return the content of an order that the site signed; its other fields prove nothing.

    `keys` is the file of the site's public keys; it is read each time, so new keys need no restart.
    Without a file, the fields of an unsigned order count. `kind` is "job-orders" or "cap-order".
    """
    try:
        order = json.loads(text)
        return verified(order.get("signed"), keys, kind) if keys else order
    except (ValueError, AttributeError, zlib.error, RecursionError) as error:
        if isinstance(error, OrderError):
            raise
        raise OrderError("malformed", f"the order cannot be read: {error!r}"[:300]) from error


def verified(signed, keys, kind):
    """Return the content of a JWS in compact form, if a key of a file signed it."""
    from joserfc import jws  # noqa: PLC0415 - who has no keys needs no joserfc
    from joserfc.errors import JoseError  # noqa: PLC0415
    from joserfc.jwk import KeySet  # noqa: PLC0415

    if not signed:
        raise OrderError("missing", "the order is not signed: upgrade the service")
    limits = jws.JWSRegistry(algorithms=["ES256"])
    limits.max_payload_length = LARGEST
    try:
        known = KeySet.import_key_set(json.loads(keys.read_text()))
        found = jws.deserialize_compact(signed, known, registry=limits)
    except OSError as error:
        raise OrderError("file-error", f"no public keys: {error}") from error
    except (JoseError, TypeError, KeyError, AttributeError, ValueError) as error:
        reason = f"no key of {keys.name} signed the order ({error!r}): get the site's keys again"
        raise OrderError("invalid-signature", reason[:300]) from error
    header, content = found.headers(), found.payload
    if header.get("typ") != f"gigatwin-{kind}+jws":
        raise OrderError("invalid-signature", f"the signature is of {header.get('typ')}")
    if header.get("cty") == "gzip":
        content = zlib.decompressobj(31).decompress(content, UNPACKED)
    return json.loads(content)


def check(order, last, now, **place):
    """Refuse an order for another place or time, and one not after the last; times in ms."""
    for name, here in {"v": 1, **place}.items():
        if order[name] != here:
            raise OrderError("inconsistent", f"of another {name}: {order[name]!r}, not {here!r}")
    if order["sequence"] <= last:
        reason = f"stale: sequence {order['sequence']} is not above {last}"
        raise OrderError("replayed", reason)
    if order["expires"] <= now:
        raise OrderError("expired", f"expired at {order['expires']}")
    if order["issued"] > now + AHEAD:
        raise OrderError("time-order", f"issued in the future, at {order['issued']}")
