"""Keys of the feed, and the public ones of partners: files and JWKs (RFC 7517).

A key signs with one algorithm, which it alone decides: ES256 with one on P-256, ours and partners',
RS256 with a partner's RSA key, which DSX Flex allows. Signatures: :mod:`telemetry.security`.
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
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, RSAKey

from telemetry.durable import write_whole
from twin.errors import SecurityError

ES256: Final = "ES256"
"""Ours: ECDSA on P-256 with SHA-256."""

RS256: Final = "RS256"
"""A partner's, of load targets alone: RSASSA-PKCS1-v1_5 with SHA-256."""

LEAST: Final = 2048
"""Shortest RSA key (RFC 7518, section 3.3). [bit]"""

MOST: Final = 8192
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
    others
        Public keys that count beside it, as JWKs: those before it, or the next one.
    """

    _key: ECKey
    others: tuple[Mapping[str, object], ...] = ()

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


def new_key() -> SigningKey:
    """Return a new private key."""
    return SigningKey(ECKey.generate_key(_CURVE))


def make_keys(folder: Path, name: str = "feed") -> SigningKey:
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
            mend = "partners do not know it: put the old one back, or give them the set anew"
            _logger.warning("a new key is made", file=str(path), because="it was gone", mend=mend)
        _write(path, json.dumps(new_key().private, indent=1), is_first=True)
    key = read_key(path)
    key = replace(key, others=_others(public, key))
    text = json.dumps(jwks(key), indent=1) + "\n"
    if not public.exists() or public.read_text() != text:  # a full disk keeps no start
        write_whole(public, text)
    return key


def read_key(path: Path) -> SigningKey:
    """Return the private key of a file; see :func:`private_key`."""
    try:
        if path.stat().st_mode & _OTHERS:
            raise SecurityError(str(path), "others can read it", f"chmod 600 {path.name}")
        content = json.loads(path.read_bytes())
    except OSError as error:
        mend = "let the service's user read it, and nobody else"
        raise SecurityError(str(path), error.strerror or str(error), mend) from error
    except (ValueError, RecursionError) as error:
        raise SecurityError(str(path), str(error), "give a private key as a JWK") from error
    return private_key(content, place=str(path))


def private_key(jwk: object, *, place: str = "private key") -> SigningKey:
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
    mend = "give a private P-256 key as a JWK, with kty, crv, x, y and d"
    try:
        key = ECKey.import_key(_texts(jwk))
        if key.curve_name == _CURVE and key.is_private:
            return SigningKey(key)
    except (JoseError, TypeError, ValueError, KeyError) as error:
        raise SecurityError(place, type(error).__name__, mend) from error
    raise SecurityError(place, "is public, or of another curve", mend)


def jwks(*keys: SigningKey) -> dict[str, object]:
    """Return the public halves of keys, and what counts beside, to hand to the other side."""
    return {"keys": [jwk for key in keys for jwk in (key.public, *key.others)]}


def public_keys(known: Mapping[str, object]) -> dict[str, PublicKey]:
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


def read_json(path: Path) -> dict[str, object]:
    """Return the JSON object of a key file; SecurityError if it holds something else."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
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


def _others(path: Path, key: SigningKey) -> tuple[Mapping[str, object], ...]:
    """Return what a set that was published holds beside a key; one that is none is set aside."""
    if not path.exists():
        return ()
    try:
        found = public_keys(read_json(path))
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
    if LEAST <= bits <= MOST:
        return key
    raise SecurityError("JWK set", f"RSA of {bits} bits", f"give one of {LEAST} to {MOST} bits")


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
