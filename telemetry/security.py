"""Signatures of the feed: ES256 (ECDSA on P-256 with SHA-256), as JWS compact strings.

A message names only which known key signed it; that key says with which algorithm
(:mod:`telemetry.keys`), and the kind of message which may be: RS256 only where DSX Flex allows it.
What a message carries is read by :mod:`telemetry.codec.schedule`, after its signature.
"""

import json
from collections.abc import Mapping
from typing import Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.registry import JWS_HEADER_REGISTRY

from telemetry.keys import ES256, RS256, PublicKey, SigningKey, algorithm_of, public_keys
from twin.errors import WireError

LARGEST: Final = 256 * 1024
"""Longest signed message that is looked at. [byte]"""

LARGEST_HEADER: Final = 1024
"""Longest header of a signed message, in base64url; ours have about 170. [byte]"""

FLEX: Final = "dsx-flex"
"""Kind of what DSX Flex signs: its contract names no ``typ``; only ours are refused there."""


def sign(document: Mapping[str, object], key: SigningKey, *, kind: str = "schedule") -> str:
    """Return a document, signed.

    Parameters
    ----------
    document
        What to sign; numbers are finite.
    key
        Whose word it is.
    kind
        ``schedule``, ``status`` or ``ack``; stands in the header's ``typ``. Of :data:`FLEX` no typ.

    Returns
    -------
    str
        JWS compact serialisation: header, payload and signature in base64url, parted by dots.
    """
    header = {"alg": ES256, "kid": key.kid} | ({} if kind == FLEX else {"typ": typ(kind)})
    payload = json.dumps(document, allow_nan=False, separators=(",", ":"))
    return jws.serialize_compact(header, payload, key._key, algorithms=[ES256])


def typ(kind: str) -> str:
    """Return what the header of a kind of message says: a status never passes for a schedule."""
    return f"gigatwin-{kind}+jws"


def verify(compact: bytes | str, known: Mapping[str, object], *, kind: str = "schedule") -> bytes:
    """Return the payload of a signed message if one of the known keys signed it.

    Parameters
    ----------
    compact
        The message, as it came.
    known
        JWK set of the other side's public keys.
    kind
        What the message has to be.

    Returns
    -------
    bytes
        The payload, not yet read.

    Raises
    ------
    WireError
        If it is too long, no JWS, signed by an unknown key or another algorithm, of another kind,
        or if the signature does not fit.
    SecurityError
        If the known keys are no JWK set.
    """
    text = compact.encode(errors="replace") if isinstance(compact, str) else compact
    keys = public_keys(known)
    if len(text) > LARGEST:
        raise WireError(kind, f"{len(text)} bytes", f"a signed message has at most {LARGEST} bytes")
    try:
        if text.index(b".") > LARGEST_HEADER:
            mend = f"the header has at most {LARGEST_HEADER} letters"
            raise WireError(kind, text[:LARGEST_HEADER], mend)
        header = jws.extract_compact(text, registry=_registry(ES256, RS256)).headers()
        key = _named(header, keys, kind=kind)
        registry = _registry(algorithm_of(key))
        return jws.deserialize_compact(text, key, registry=registry).payload
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        mend = "the signature does not fit, or this is no JWS in compact form"
        raise WireError(kind, type(error).__name__, mend) from error


def _registry(*algorithms: str) -> jws.JWSRegistry:
    """Return what joserfc takes: as long as partners are told, instead of its own 128,000 letters.

    Header fields that nobody here reads are passed over (RFC 7515, section 4); ``crit`` is refused
    in :func:`_named`, as no extension is understood.
    """
    registry = jws.JWSRegistry(algorithms=algorithms, strict_check_header=False)
    read = ("alg", "kid", "typ", "crit")
    registry.header_registry = {name: JWS_HEADER_REGISTRY[name] for name in read}
    registry.max_header_length = LARGEST_HEADER
    registry.max_payload_length = registry.max_signature_length = LARGEST
    return registry


def _named(header: Mapping[str, object], keys: Mapping[str, PublicKey], *, kind: str) -> PublicKey:
    """Return the key that a header names if this kind of message may be signed with it."""
    allowed = (ES256, RS256) if kind == FLEX else (ES256,)
    if header.get("alg") not in allowed:
        mend = f"sign with {' or '.join(allowed)}, nothing else counts"
        raise WireError(kind, header.get("alg"), mend)
    if "crit" in header or "b64" in header:
        raise WireError(kind, sorted(header), "the header asks for more than alg, kid and typ")
    said = header.get("typ")
    if said != typ(kind) and (kind != FLEX or str(said).startswith("gigatwin-")):
        mend = "leave typ out, or give another" if kind == FLEX else f"typ must be {typ(kind)}"
        raise WireError(kind, said, mend)
    name = header.get("kid")
    if not isinstance(name, str) or name not in keys:
        mend = "no known key has this kid; exchange public keys first (docs/grid-partners.md)"
        raise WireError(kind, name, mend)
    return keys[name]
