"""Keys and signatures of the feed: JWKs (RFC 7517), and JWS in compact form.

Our key and those of partners sign with ES256 (ECDSA on P-256 with SHA-256). DSX Flex also allows
RS256 with a partner's RSA key, for load targets only. A message only names the key that signed it.
The kind of that key gives the algorithm, and the kind of message gives the allowed algorithms.
:mod:`telemetry.messages.feed_documents` reads the content of a message after its signature.
"""

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import structlog
from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, RSAKey
from joserfc.registry import JWS_HEADER_REGISTRY

from telemetry.durable_files import create_folder, lock_folder, write_atomic
from telemetry.messages.strict_json import decode_json, encode_json, pack_gzip, unpack_gzip
from telemetry.messages.topics import TopicKind, parse_topic
from telemetry.mqtt.queues import MAX_PAYLOAD_BYTES
from twin.errors import IssueCode, MessageError, SecurityError

ES256: Final = "ES256"
"""Algorithm of ours: ECDSA on P-256 with SHA-256."""

RS256: Final = "RS256"
"""Algorithm of partners, for load targets only: RSASSA-PKCS1-v1_5 with SHA-256."""

MIN_RSA_BITS: Final = 2048
"""Shortest RSA key (RFC 7518, section 3.3). [bit]"""

MAX_RSA_BITS: Final = 8192
"""Longest RSA key; verifying with longer ones takes too long. [bit]"""

_CURVE: Final = "P-256"
_GROUP_AND_OTHERS: Final = 0o077  # permission bits
_KEY_LOCK_TIMEOUT_S: Final = 5.0  # longest wait while another process creates the key
_PUBLIC_KEYS_HINT: Final = (
    'give {"keys": [...]} with public P-256 keys; load targets may be signed with RSA'
)
_KEY_MEMBERS: Final = ("kty", "crv", "x", "y", "d", "n", "e")

_logger = structlog.get_logger(__name__)

type PublicKey = ECKey | RSAKey
"""Key to verify a signature."""


@dataclass(frozen=True)
class SigningKey:
    """A private key; its id ``kid`` is the thumbprint of RFC 7638.

    - `other_public_keys`: other valid public keys as JWKs: earlier ones, or the next one.
    """

    _key: ECKey
    other_public_keys: tuple[Mapping[str, object], ...] = ()

    @property
    def kid(self) -> str:
        """Id of the key and of its public half."""
        return self._key.thumbprint()

    @property
    def public(self) -> dict[str, object]:
        """The public half as a JWK."""
        return _as_jwk(self._key, is_private=False)

    @property
    def private(self) -> dict[str, object]:
        """The whole key as a JWK; keep it secret."""
        return _as_jwk(self._key, is_private=True)

    def __repr__(self) -> str:
        """Return the id only, so that no log contains a private key."""
        return f"SigningKey({self.kid})"


def generate_key() -> SigningKey:
    """Return a new private key."""
    return SigningKey(ECKey.generate_key(_CURVE))


def load_or_create_key(folder: Path, name: str = "feed") -> SigningKey:
    """Return the private key of a folder; create it at first use.

    The folder holds ``<name>.private.json`` (mode 0600) and ``<name>.jwks.json`` (public). Other
    public keys in the latter stay in it, after this one, until a person removes them.
    """
    create_folder(folder.parent, mode=0o700)  # often the state folder
    create_folder(folder, mode=0o700)
    path = folder / f"{name}.private.json"
    public = folder / f"{name}.jwks.json"
    if not path.exists():
        if public.exists():
            remedy = "restore the old one, or give partners the new set of public keys"
            _logger.warning(
                "private key was missing, new one created", file=str(path), remedy=remedy
            )
        lock = lock_folder(folder, timeout=_KEY_LOCK_TIMEOUT_S)
        try:
            if not path.exists():  # another process may have created it meanwhile
                write_atomic(path, _key_file_text(generate_key().private), is_private=True)
        finally:
            os.close(lock)
    key = read_private_key(path)
    key = replace(key, other_public_keys=_other_public_keys(public, key))
    text = _key_file_text(public_jwk_set(key))
    if not public.exists() or public.read_text() != text:  # so a full disk does not stop a start
        write_atomic(public, text)
    return key


def read_private_key(path: Path) -> SigningKey:
    """Return the private key of a file; see :func:`private_key_from_jwk`."""
    content = read_key_file(path)
    if path.stat().st_mode & _GROUP_AND_OTHERS:
        raise SecurityError(str(path), "other users can read it", f"run chmod 600 {path.name}")
    return private_key_from_jwk(content, location=str(path))


def private_key_from_jwk(jwk: object, *, location: str = "private key") -> SigningKey:
    """Return the private key in a JWK; ``location`` is its source for the error."""
    remedy = "give a private P-256 key as a JWK, with kty, crv, x, y and d"
    try:
        key = ECKey.import_key(_key_members(jwk))
        if key.curve_name == _CURVE and key.is_private:
            return SigningKey(key)
    except (JoseError, TypeError, ValueError, KeyError) as error:
        raise SecurityError(location, type(error).__name__, remedy) from error
    raise SecurityError(location, "it is public, or of another curve", remedy)


def public_jwk_set(*keys: SigningKey) -> dict[str, object]:
    """Return the public halves of keys, and their other public keys, for the other side."""
    return {"keys": [jwk for key in keys for jwk in (key.public, *key.other_public_keys)]}


def keys_by_thumbprint(known: Mapping[str, object]) -> dict[str, PublicKey]:
    """Return the keys of a JWK set by their thumbprints, ignoring any ``kid`` in it."""
    listed = known.get("keys")
    if not isinstance(listed, list) or not listed:
        raise SecurityError("JWK set", "it has no keys", _PUBLIC_KEYS_HINT, code=IssueCode.MISSING)
    return {key.thumbprint(): key for key in map(_public_key, listed)}


def algorithm_of(key: PublicKey) -> str:
    """Return the algorithm of a key; its kind decides it, never a message."""
    return ES256 if isinstance(key, ECKey) else RS256


def read_key_file(path: Path) -> dict[str, object]:
    """Return the JSON object of a key file; SecurityError if it holds something else."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        remedy = "give a file of keys in JSON that the user of this process can read"
        raise SecurityError(str(path), str(error), remedy, code=IssueCode.FILE_ERROR) from error
    if not isinstance(found, dict):
        reason = f"it holds a {type(found).__name__}"
        raise SecurityError(str(path), reason, "give a JSON object", code=IssueCode.WRONG_TYPE)
    return found


def create_partner_keys(path: Path, *, partner: str, site: SigningKey) -> dict[str, object]:
    """Return the public keys of a partner of a demonstration or test, and write its key file.

    The file (mode 0600) holds ``{"partner", "key": private JWK, "site": JWK set of the site}``. The
    private key of an existing file stays. A real partner creates its own key and gives the site
    only its public keys.
    """
    key = private_key_from_jwk(read_key_file(path).get("key")) if path.exists() else generate_key()
    content = {"partner": partner, "key": key.private, "site": public_jwk_set(site)}
    write_atomic(path, _key_file_text(content), is_private=True)
    return public_jwk_set(key)


def _other_public_keys(path: Path, key: SigningKey) -> tuple[Mapping[str, object], ...]:
    """Return the other keys of a published set; rename a file that is no JWK set."""
    if not path.exists():
        return ()
    try:
        found = keys_by_thumbprint(read_key_file(path))
    except SecurityError as error:
        broken = path.with_suffix(".broken")
        path.replace(broken)
        _logger.warning("published keys unreadable", file=str(broken), reason=str(error))
        return ()
    return tuple(
        _as_jwk(other, is_private=False)
        for kid, other in found.items()
        if kid != key.kid and isinstance(other, ECKey)
    )


def _as_jwk(key: ECKey, *, is_private: bool) -> dict[str, object]:
    names = {"kid": key.thumbprint(), "use": "sig", "alg": ES256}
    return {**key.as_dict(private=is_private), **names}


def _public_key(jwk: object) -> PublicKey:
    """Return the key of a JWK if it can verify signatures of the feed."""
    try:
        found = _key_members(jwk)
        if found.get("kty") == "RSA":
            return _rsa_key(found)
        key = ECKey.import_key(found)
    except (JoseError, TypeError, ValueError, KeyError) as error:
        raise SecurityError("JWK set", type(error).__name__, _PUBLIC_KEYS_HINT) from error
    if key.curve_name != _CURVE:
        raise SecurityError("JWK set", str(key.curve_name), _PUBLIC_KEYS_HINT)
    return key


def _rsa_key(found: dict[str, str | list[str]]) -> RSAKey:
    """Return an RSA key of an allowed length."""
    with warnings.catch_warnings(action="ignore", category=SecurityWarning):  # refused below
        key = RSAKey.import_key(found)
    bits = key.public_key.key_size
    if MIN_RSA_BITS <= bits <= MAX_RSA_BITS:
        return key
    remedy = f"give an RSA key of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits"
    raise SecurityError("JWK set", f"RSA of {bits} bits", remedy)


def _key_members(jwk: object) -> dict[str, str | list[str]]:
    """Return the members of a JWK that make up the key, without those on its use."""
    if not isinstance(jwk, Mapping):
        raise TypeError
    return {name: str(jwk[name]) for name in _KEY_MEMBERS if name in jwk}


def _key_file_text(content: Mapping[str, object]) -> str:
    """Return the text of a file of keys."""
    return json.dumps(content, indent=1) + "\n"


MAX_SIGNED_BYTES: Final = 256 * 1024
"""Longest signed message that is read. [B]"""

MAX_HEADER_BYTES: Final = 1024
"""Longest header of a signed message, in base64url; ours have about 170. [B]"""

FLEX_DOCUMENT_KIND: Final = "dsx-flex"
"""Kind of signed documents of DSX Flex, whose contract has no ``typ``; ours are refused there."""


def sign_document(
    document: Mapping[str, object],
    key: SigningKey,
    *,
    kind: str = "schedule",
    claims: Mapping[str, object] | None = None,
) -> str:
    """Return a document of finite numbers as a signed JWS in compact form.

    ``kind`` is that of the document, which the header contains as ``typ``; documents of
    :data:`FLEX_DOCUMENT_KIND` have no ``typ``. ``claims`` are further fields of the protected
    header.
    """
    return _sign(encode_json(kind, document), key, kind=kind, claims=claims or {})


def _sign(content: bytes, key: SigningKey, *, kind: str, claims: Mapping[str, object]) -> str:
    header: dict[str, object] = {"alg": ES256, "kid": key.kid, **claims}
    if kind != FLEX_DOCUMENT_KIND:
        header["typ"] = jws_type(kind)
    return jws.serialize_compact(header, content, key._key, registry=_registry(ES256))


GZIP_CONTENT: Final = "gzip"
"""``cty`` in the header of a signed order whose content is gzip."""


SIGNED_ORDERS: Final[Mapping[TopicKind, str]] = {
    TopicKind.CAP_ORDER: "cap-order",
    TopicKind.JOB_ORDERS: "job-orders",
}
"""Orders to a plant that carry a signature -> kind of the signed document."""


def sign_order(topic: str, payload: bytes, key: SigningKey) -> bytes:
    """Return a cap or job orders with the field ``signed``: the same order as a JWS.

    ``payload`` is the order as JSON. Receivers without the site's key read its other fields.
    Long content is gzip, and ``cty`` in the header says so. Where a broker would refuse both
    forms together, only ``signed`` remains. Messages on other topics stay as they are.
    """
    kind = SIGNED_ORDERS.get(parse_topic(topic).kind)
    if kind is None:
        return payload
    content = pack_gzip(payload)
    claims = {} if content is payload else {"cty": GZIP_CONTENT}
    signed = _sign(content, key, kind=kind, claims=claims)
    whole = encode_json(topic, {**json.loads(payload), "signed": signed})
    if len(whole) <= MAX_PAYLOAD_BYTES:
        return whole
    remedy = "give the site's public keys to all agents: those without them refuse this order"
    _logger.error("order sent as signed content only", topic=topic, remedy=remedy)
    return encode_json(topic, {"signed": signed})


def verify_order(topic: str, payload: bytes, known: Mapping[str, object]) -> bytes:
    """Return the signed content of a cap or job orders; its other fields prove nothing.

    ``known`` is the JWK set of the site. MessageError reports an order without ``signed``, and what
    :func:`verify_signature` does. Messages on other topics stay as they are.
    """
    kind = SIGNED_ORDERS.get(parse_topic(topic).kind)
    if kind is None:
        return payload
    signed = decode_json(topic, payload, dict).get("signed")
    if not isinstance(signed, str) or not signed:
        expected = "an order with the field signed; upgrade the service of the site"
        raise MessageError(topic, signed, expected, code=IssueCode.MISSING)
    header, content = verify_with_header(signed, known, kind=kind)
    return unpack_gzip(topic, content) if header.get("cty") == GZIP_CONTENT else content


def jws_type(kind: str) -> str:
    """Return the header's ``typ`` of a kind of message, so that a status is never a schedule."""
    return f"gigatwin-{kind}+jws"


def verify_signature(
    compact: bytes | str, known: Mapping[str, object], *, kind: str = "schedule"
) -> bytes:
    """Return the payload of a signed message if one of the known keys signed it.

    ``known`` is the JWK set of the other side's public keys and ``kind`` the required kind of
    message. MessageError reports messages that are too long, malformed, of another kind, or signed
    by an unknown key or with another algorithm, and signatures that do not match.
    """
    return verify_with_header(compact, known, kind=kind)[1]


def verify_with_header(
    compact: bytes | str, known: Mapping[str, object], *, kind: str
) -> tuple[Mapping[str, object], bytes]:
    """Return the protected header and the payload of a message; see :func:`verify_signature`."""
    text = compact.encode(errors="replace") if isinstance(compact, str) else compact
    keys = keys_by_thumbprint(known)
    if len(text) > MAX_SIGNED_BYTES:
        expected = f"at most {MAX_SIGNED_BYTES} bytes"
        raise MessageError(kind, f"{len(text)} bytes", expected, code=IssueCode.TOO_LARGE)
    try:
        if text.index(b".") > MAX_HEADER_BYTES:
            expected = f"a header of at most {MAX_HEADER_BYTES} letters"
            raise MessageError(kind, text[:MAX_HEADER_BYTES], expected, code=IssueCode.TOO_LARGE)
        header = jws.extract_compact(text, registry=_registry(ES256, RS256)).headers()
        key = _key_of_header(header, keys, kind=kind)
        registry = _registry(algorithm_of(key))
        return header, jws.deserialize_compact(text, key, registry=registry).payload
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        expected = "a JWS in compact form whose signature matches"
        name = type(error).__name__
        raise MessageError(kind, name, expected, code=IssueCode.INVALID_SIGNATURE) from error


def _registry(*algorithms: str) -> jws.JWSRegistry:
    """Return the limits of joserfc: those that partners know, not its own 128,000 letters.

    Unused header fields are ignored (RFC 7515, section 4). :func:`_key_of_header` refuses ``crit``,
    as no extension is supported.
    """
    registry = jws.JWSRegistry(algorithms=algorithms, strict_check_header=False)
    used = ("alg", "kid", "typ", "crit")
    registry.header_registry = {name: JWS_HEADER_REGISTRY[name] for name in used}
    registry.max_header_length = MAX_HEADER_BYTES
    registry.max_payload_length = registry.max_signature_length = MAX_SIGNED_BYTES
    return registry


def _key_of_header(
    header: Mapping[str, object], keys: Mapping[str, PublicKey], *, kind: str
) -> PublicKey:
    """Return the key that a header names if it may sign this kind of message."""
    allowed = (ES256, RS256) if kind == FLEX_DOCUMENT_KIND else (ES256,)
    if header.get("alg") not in allowed:
        expected = f"a signature with {' or '.join(allowed)}"
        raise MessageError(kind, header.get("alg"), expected, code=IssueCode.INVALID_SIGNATURE)
    if "crit" in header or "b64" in header:
        raise MessageError(kind, sorted(header), "a header without crit and b64")
    found = header.get("typ")
    if found != jws_type(kind) and (
        kind != FLEX_DOCUMENT_KIND or str(found).startswith("gigatwin-")
    ):
        expected = (
            "no typ, or another" if kind == FLEX_DOCUMENT_KIND else f"typ must be {jws_type(kind)}"
        )
        raise MessageError(kind, found, expected)
    name = header.get("kid")
    if not isinstance(name, str) or name not in keys:
        page = "docs/how-to/partners/receive-schedules.md"
        expected = f"the kid of a known key; exchange public keys first ({page})"
        raise MessageError(kind, name, expected, code=IssueCode.INVALID_SIGNATURE)
    return keys[name]
