"""Keys of the feed, and the public ones of partners: files and JWKs (RFC 7517).

A key signs with one algorithm, which it alone decides: ES256 with one on P-256, ours and partners',
RS256 with a partner's RSA key, which DSX Flex allows. Signatures: :mod:`telemetry.feed.signing`.

Signatures of the feed: ES256 (ECDSA on P-256 with SHA-256), as JWS compact strings.

A message names only which known key signed it; that key says with which algorithm
(:mod:`telemetry.feed.signing`), and the kind of message which may be: RS256 only where DSX Flex
allows it.
What a message carries is read by :mod:`telemetry.messages.feed_documents`, after its signature.
"""

import json
import os
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import structlog
from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, RSAKey
from joserfc.registry import JWS_HEADER_REGISTRY

from telemetry.files import write_atomic
from twin.errors import MessageError, SecurityError

ES256: Final = "ES256"
"""Ours: ECDSA on P-256 with SHA-256."""

RS256: Final = "RS256"
"""A partner's, of load targets alone: RSASSA-PKCS1-v1_5 with SHA-256."""

MIN_RSA_BITS: Final = 2048
"""Shortest RSA key (RFC 7518, section 3.3). [bit]"""

MAX_RSA_BITS: Final = 8192
"""Longest RSA key: with a longer one a signature takes long to verify. [bit]"""

_CURVE: Final = "P-256"
_OTHERS: Final = 0o077  # permissions of group and others
_PUBLIC: Final = 'give {"keys": [...]} with public P-256 keys; load targets may be signed with RSA'
_PARTS: Final = ("kty", "crv", "x", "y", "d", "n", "e")

_logger = structlog.get_logger(__name__)

type PublicKey = ECKey | RSAKey
"""What a signature is verified with."""


@dataclass(frozen=True)
class SigningKey:
    """A private key; its name ``kid`` is the thumbprint of RFC 7638.

    Attributes
    ----------
    other_public_keys
        Public keys that count beside it, as JWKs: those before it, or the next one.
    """

    _key: ECKey
    other_public_keys: tuple[Mapping[str, object], ...] = ()

    @property
    def kid(self) -> str:
        """Name of the key, which its public half has too."""
        return self._key.thumbprint()

    @property
    def public(self) -> dict[str, object]:
        """The public half as a JWK."""
        return _as_jwk(self._key, is_private=False)

    @property
    def private(self) -> dict[str, object]:
        """The whole key as a JWK; keep it from everybody else."""
        return _as_jwk(self._key, is_private=True)

    def __repr__(self) -> str:
        """Return the name only: a private key never gets into a log."""
        return f"SigningKey({self.kid})"


def generate_key() -> SigningKey:
    """Return a new private key."""
    return SigningKey(ECKey.generate_key(_CURVE))


def load_or_create_key(folder: Path, name: str = "feed") -> SigningKey:
    """Return the private key of a folder, made at first use.

    Parameters
    ----------
    folder
        Where ``<name>.private.json`` (mode 0600) and ``<name>.jwks.json`` (public) stand. Public
        keys that are in the latter stay in it, after this one, until somebody takes them out.
    name
        Whose key it is.

    Returns
    -------
    SigningKey
        The key.

    Raises
    ------
    SecurityError
        If the file is no key, or can be read by others.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{name}.private.json"
    public = folder / f"{name}.jwks.json"
    if not path.exists():
        if public.exists():
            remedy = "partners do not know it: put the old one back, or give them the set anew"
            _logger.warning(
                "a new key is made", file=str(path), because="it was gone", remedy=remedy
            )
        _write(path, json.dumps(generate_key().private, indent=1), is_first=True)
    key = read_private_key(path)
    key = replace(key, other_public_keys=_others(public, key))
    text = json.dumps(public_jwk_set(key), indent=1) + "\n"
    if not public.exists() or public.read_text() != text:  # a full disk keeps no start
        write_atomic(public, text)
    return key


def read_private_key(path: Path) -> SigningKey:
    """Return the private key of a file; see :func:`private_key_from_jwk`."""
    try:
        if path.stat().st_mode & _OTHERS:
            raise SecurityError(str(path), "others can read it", f"chmod 600 {path.name}")
        content = json.loads(path.read_bytes())
    except OSError as error:
        remedy = "let the service's user read it, and nobody else"
        raise SecurityError(str(path), error.strerror or str(error), remedy) from error
    except (ValueError, RecursionError) as error:
        raise SecurityError(str(path), str(error), "give a private key as a JWK") from error
    return private_key_from_jwk(content, place=str(path))


def private_key_from_jwk(jwk: object, *, place: str = "private key") -> SigningKey:
    """Return the private key that a JWK holds.

    Parameters
    ----------
    jwk
        What holds it.
    place
        Where that stands, for the error.

    Raises
    ------
    SecurityError
        If it is none, one of another curve, or others can read its file.
    """
    remedy = "give a private P-256 key as a JWK, with kty, crv, x, y and d"
    try:
        key = ECKey.import_key(_texts(jwk))
        if key.curve_name == _CURVE and key.is_private:
            return SigningKey(key)
    except (JoseError, TypeError, ValueError, KeyError) as error:
        raise SecurityError(place, type(error).__name__, remedy) from error
    raise SecurityError(place, "is public, or of another curve", remedy)


def public_jwk_set(*keys: SigningKey) -> dict[str, object]:
    """Return the public halves of keys, and what counts beside, to hand to the other side."""
    return {"keys": [jwk for key in keys for jwk in (key.public, *key.other_public_keys)]}


def keys_by_thumbprint(known: Mapping[str, object]) -> dict[str, PublicKey]:
    """Return the keys of a JWK set by their thumbprints; a ``kid`` of their own is not believed.

    Raises
    ------
    SecurityError
        If it is no JWK set of P-256 or RSA keys.
    """
    listed = known.get("keys")
    if not isinstance(listed, list) or not listed:
        raise SecurityError("JWK set", "has no keys", _PUBLIC)
    return {key.thumbprint(): key for key in map(_public_key, listed)}


def algorithm_of(key: PublicKey) -> str:
    """Return what a key signs with: its kind says so, never a message."""
    return ES256 if isinstance(key, ECKey) else RS256


def read_key_file(path: Path) -> dict[str, object]:
    """Return the JSON object of a key file; SecurityError if it holds something else."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise SecurityError(str(path), str(error), "give a file of keys in JSON") from error
    if not isinstance(found, dict):
        raise SecurityError(str(path), type(found).__name__, "give a JSON object")
    return found


def create_partner_keys(path: Path, *, partner: str, site: SigningKey) -> dict[str, object]:
    """Return the public keys of a partner whose key file we make, for demonstrations and tests.

    Parameters
    ----------
    path
        The file (mode 0600): ``{"partner", "key": private JWK, "site": JWK set of the site}``. If
        it stands, its private key is kept.
    partner
        Name of the partner.
    site
        Key of the site.

    Returns
    -------
    dict
        JWK set of the partner. A real partner makes its own key and sends us only this.

    Raises
    ------
    SecurityError
        If the file stands and is no such file.
    """
    key = private_key_from_jwk(read_key_file(path).get("key")) if path.exists() else generate_key()
    whole = {"partner": partner, "key": key.private, "site": public_jwk_set(site)}
    _write(path, json.dumps(whole, indent=1), is_first=False)
    return public_jwk_set(key)


def _others(path: Path, key: SigningKey) -> tuple[Mapping[str, object], ...]:
    """Return what a set that was published holds beside a key; one that is none is set aside."""
    if not path.exists():
        return ()
    try:
        found = keys_by_thumbprint(read_key_file(path))
    except SecurityError as error:
        aside = path.with_suffix(".broken")
        path.replace(aside)
        _logger.warning("published keys cannot be read", file=str(aside), reason=str(error))
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
    """Return the key of a JWK if it is one that we verify with."""
    try:
        found = _texts(jwk)
        if found.get("kty") == "RSA":
            return _long_enough(found)
        key = ECKey.import_key(found)
    except (JoseError, TypeError, ValueError, KeyError) as error:
        raise SecurityError("JWK set", type(error).__name__, _PUBLIC) from error
    if key.curve_name != _CURVE:
        raise SecurityError("JWK set", str(key.curve_name), _PUBLIC)
    return key


def _long_enough(found: dict[str, str | list[str]]) -> RSAKey:
    """Return an RSA key if its length will do."""
    with warnings.catch_warnings(action="ignore", category=SecurityWarning):  # refused below
        key = RSAKey.import_key(found)
    bits = key.public_key.key_size
    if MIN_RSA_BITS <= bits <= MAX_RSA_BITS:
        return key
    raise SecurityError(
        "JWK set", f"RSA of {bits} bits", f"give one of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits"
    )


def _texts(jwk: object) -> dict[str, str | list[str]]:
    """Return what of a JWK is the key itself: what it says of its use decides nothing here."""
    if not isinstance(jwk, Mapping):
        raise TypeError
    return {name: str(jwk[name]) for name in _PARTS if name in jwk}


def _write(path: Path, text: str, *, is_first: bool) -> None:
    """Write a file that only its owner can read, whole or not at all.

    If ``is_first``, a file that stands already is kept: of two processes one was first.
    """
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
    with os.fdopen(handle, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    if not is_first:
        Path(draft).replace(path)
        return
    with suppress(FileExistsError):
        os.link(draft, path)
    Path(draft).unlink()


MAX_SIGNED_BYTES: Final = 256 * 1024
"""Longest signed message that is looked at. [byte]"""

MAX_HEADER_BYTES: Final = 1024
"""Longest header of a signed message, in base64url; ours have about 170. [byte]"""

FLEX_KIND: Final = "dsx-flex"
"""Kind of what DSX Flex signs: its contract names no ``typ``; only ours are refused there."""


def sign_document(
    document: Mapping[str, object], key: SigningKey, *, kind: str = "schedule"
) -> str:
    """Return a document, signed.

    Parameters
    ----------
    document
        What to sign; numbers are finite.
    key
        Whose word it is.
    kind
        ``schedule``, ``status`` or ``ack``; stands in the header's ``typ``. Of :data:`FLEX_KIND` no
        typ.

    Returns
    -------
    str
        JWS compact serialisation: header, payload and signature in base64url, parted by dots.
    """
    header = {"alg": ES256, "kid": key.kid} | ({} if kind == FLEX_KIND else {"typ": jws_type(kind)})
    payload = json.dumps(document, allow_nan=False, separators=(",", ":"))
    return jws.serialize_compact(header, payload, key._key, algorithms=[ES256])


def jws_type(kind: str) -> str:
    """Return what the header of a kind of message says: a status never passes for a schedule."""
    return f"gigatwin-{kind}+jws"


def verify_signature(
    compact: bytes | str, known: Mapping[str, object], *, kind: str = "schedule"
) -> bytes:
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
    MessageError
        If it is too long, no JWS, signed by an unknown key or another algorithm, of another kind,
        or if the signature does not fit.
    SecurityError
        If the known keys are no JWK set.
    """
    text = compact.encode(errors="replace") if isinstance(compact, str) else compact
    keys = keys_by_thumbprint(known)
    if len(text) > MAX_SIGNED_BYTES:
        raise MessageError(
            kind, f"{len(text)} bytes", f"a signed message has at most {MAX_SIGNED_BYTES} bytes"
        )
    try:
        if text.index(b".") > MAX_HEADER_BYTES:
            remedy = f"the header has at most {MAX_HEADER_BYTES} letters"
            raise MessageError(kind, text[:MAX_HEADER_BYTES], remedy)
        header = jws.extract_compact(text, registry=_registry(ES256, RS256)).headers()
        key = _named(header, keys, kind=kind)
        registry = _registry(algorithm_of(key))
        return jws.deserialize_compact(text, key, registry=registry).payload
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        remedy = "the signature does not fit, or this is no JWS in compact form"
        raise MessageError(kind, type(error).__name__, remedy) from error


def _registry(*algorithms: str) -> jws.JWSRegistry:
    """Return what joserfc takes: as long as partners are told, instead of its own 128,000 letters.

    Header fields that nobody here reads are passed over (RFC 7515, section 4); ``crit`` is refused
    in :func:`_named`, as no extension is understood.
    """
    registry = jws.JWSRegistry(algorithms=algorithms, strict_check_header=False)
    read = ("alg", "kid", "typ", "crit")
    registry.header_registry = {name: JWS_HEADER_REGISTRY[name] for name in read}
    registry.max_header_length = MAX_HEADER_BYTES
    registry.max_payload_length = registry.max_signature_length = MAX_SIGNED_BYTES
    return registry


def _named(header: Mapping[str, object], keys: Mapping[str, PublicKey], *, kind: str) -> PublicKey:
    """Return the key that a header names if this kind of message may be signed with it."""
    allowed = (ES256, RS256) if kind == FLEX_KIND else (ES256,)
    if header.get("alg") not in allowed:
        remedy = f"sign with {' or '.join(allowed)}, nothing else counts"
        raise MessageError(kind, header.get("alg"), remedy)
    if "crit" in header or "b64" in header:
        raise MessageError(kind, sorted(header), "the header asks for more than alg, kid and typ")
    said = header.get("typ")
    if said != jws_type(kind) and (kind != FLEX_KIND or str(said).startswith("gigatwin-")):
        remedy = (
            "leave typ out, or give another"
            if kind == FLEX_KIND
            else f"typ must be {jws_type(kind)}"
        )
        raise MessageError(kind, said, remedy)
    name = header.get("kid")
    if not isinstance(name, str) or name not in keys:
        remedy = "no known key has this kid; exchange public keys first (docs/grid-partners.md)"
        raise MessageError(kind, name, remedy)
    return keys[name]
