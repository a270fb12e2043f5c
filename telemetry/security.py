"""Keys and signatures of the feed: ES256 (ECDSA on P-256 with SHA-256), as JWS compact strings.

The algorithm is fixed here, not taken from a message; a message names only which known key signed
it. What a message carries is read by :mod:`telemetry.codec.schedule`, after its signature.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from twin.errors import SecurityError, WireError

ALGORITHM: Final = "ES256"
"""The one algorithm of the feed."""

LARGEST: Final = 256 * 1024
"""Longest signed message that is looked at. [byte]"""

LARGEST_HEADER: Final = 1024
"""Longest header of a signed message; ours have about 130. [byte]"""

FLEX: Final = "dsx-flex"
"""Kind of what DSX Flex signs: its contract names no ``typ``; only ours are refused there."""
_CURVE: Final = "P-256"
_OTHERS: Final = 0o077  # permissions of group and others

Jwk = Mapping[str, object]
"""A key as RFC 7517 writes it."""


@dataclass(frozen=True)
class SigningKey:
    """A private key; its name ``kid`` is the thumbprint of RFC 7638."""

    _key: ECKey

    @property
    def kid(self) -> str:
        """Name of the key, which its public half has too."""
        return self._key.thumbprint()

    @property
    def public(self) -> dict[str, object]:
        """The public half as a JWK."""
        return self._as_jwk(is_private=False)

    @property
    def private(self) -> dict[str, object]:
        """The whole key as a JWK; keep it from everybody else."""
        return self._as_jwk(is_private=True)

    def _as_jwk(self, *, is_private: bool) -> dict[str, object]:
        names = {"kid": self.kid, "use": "sig", "alg": ALGORITHM}
        return {**self._key.as_dict(private=is_private), **names}

    def __repr__(self) -> str:
        """Return the name only: a private key never gets into a log."""
        return f"SigningKey({self.kid})"


def new_key() -> SigningKey:
    """Return a new private key."""
    return SigningKey(ECKey.generate_key(_CURVE))


def make_keys(folder: Path, name: str = "feed") -> SigningKey:
    """Return the private key of a folder, made at first use.

    Parameters
    ----------
    folder
        Where ``<name>.private.json`` (mode 0600) and ``<name>.jwks.json`` (public) stand.
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
    if not path.exists():
        _write(path, json.dumps(new_key().private, indent=1), is_first=True)
    key = read_key(path)
    (folder / f"{name}.jwks.json").write_text(json.dumps(jwks(key), indent=1) + "\n")
    return key


def read_key(path: Path) -> SigningKey:
    """Return the private key of a file; see :func:`private_key`."""
    try:
        if path.stat().st_mode & _OTHERS:
            raise SecurityError(str(path), "others can read it", f"chmod 600 {path.name}")
        return private_key(json.loads(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise SecurityError(str(path), str(error), "give a private key as a JWK") from error


def private_key(jwk: object) -> SigningKey:
    """Return the private key that a JWK holds.

    Raises
    ------
    SecurityError
        If it is none, one of another curve, or others can read its file.
    """
    mend = "give a private P-256 key as a JWK, with kty, crv, x, y and d"
    try:
        key = ECKey.import_key(_texts(jwk))
        if key.curve_name == _CURVE and key.is_private:
            return SigningKey(key)
    except (JoseError, TypeError, ValueError, KeyError) as error:
        raise SecurityError("private key", type(error).__name__, mend) from error
    raise SecurityError("private key", "is public, or of another curve", mend)


def jwks(*keys: SigningKey) -> dict[str, object]:
    """Return the public halves of keys as a JWK set, to hand to the other side."""
    return {"keys": [key.public for key in keys]}


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
    header = {"alg": ALGORITHM, "kid": key.kid} | ({} if kind == FLEX else {"typ": typ(kind)})
    payload = json.dumps(document, allow_nan=False, separators=(",", ":"))
    return jws.serialize_compact(header, payload, key._key, algorithms=[ALGORITHM])


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
            raise WireError(kind, text[:LARGEST_HEADER], "the header is too long")
        header = jws.extract_compact(text).headers()
        if header.get("alg") != ALGORITHM:
            raise WireError(kind, header.get("alg"), f"sign with {ALGORITHM}, nothing else counts")
        if "crit" in header or "b64" in header:
            raise WireError(kind, sorted(header), "the header asks for more than alg, kid and typ")
        said = header.get("typ")
        if said != typ(kind) and (kind != FLEX or str(said).startswith("gigatwin-")):
            raise WireError(kind, said, f"typ must be {typ(kind)}")
        name = header.get("kid")
        if not isinstance(name, str) or name not in keys:
            mend = "no known key has this kid; exchange public keys first (docs/grid-partners.md)"
            raise WireError(kind, name, mend)
        return jws.deserialize_compact(text, keys[name], algorithms=[ALGORITHM]).payload
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        mend = "the signature does not fit, or this is no JWS in compact form"
        raise WireError(kind, type(error).__name__, mend) from error


def public_keys(known: Mapping[str, object]) -> dict[str, ECKey]:
    """Return the keys of a JWK set by their thumbprints; a ``kid`` of their own is not believed.

    Raises
    ------
    SecurityError
        If it is no JWK set of P-256 keys.
    """
    found = {}
    mend = 'give {"keys": [...]} with public P-256 keys'
    listed = known.get("keys")
    if not isinstance(listed, list) or not listed:
        raise SecurityError("JWK set", "has no keys", mend)
    for jwk in listed:
        try:
            key = ECKey.import_key(_texts(jwk))
        except (JoseError, TypeError, ValueError, KeyError) as error:
            raise SecurityError("JWK set", type(error).__name__, mend) from error
        if key.curve_name != _CURVE:
            raise SecurityError("JWK set", str(key.curve_name), mend)
        found[key.thumbprint()] = key
    return found


def read_json(path: Path) -> dict[str, object]:
    """Return the JSON object of a key file; SecurityError if it holds something else."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SecurityError(str(path), str(error), "give a file of keys in JSON") from error
    if not isinstance(found, dict):
        raise SecurityError(str(path), type(found).__name__, "give a JSON object")
    return found


def partner_keys(path: Path, *, partner: str, site: SigningKey) -> dict[str, object]:
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
    key = private_key(read_json(path).get("key")) if path.exists() else new_key()
    whole = {"partner": partner, "key": key.private, "site": jwks(site)}
    _write(path, json.dumps(whole, indent=1), is_first=False)
    return jwks(key)


def _texts(jwk: object) -> dict[str, str | list[str]]:
    """Return what of a JWK is the key itself: what it says of its use decides nothing here."""
    if not isinstance(jwk, Mapping):
        raise TypeError
    return {name: str(jwk[name]) for name in ("kty", "crv", "x", "y", "d") if name in jwk}


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
