"""Signatures: what one key signed is read by who knows it, and nothing else is."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers, RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey
from joserfc.util import int_to_base64

from telemetry.feed import signing
from tests.support.feeds import key
from twin.errors import MessageError

DOCUMENT = {"v": 1, "power": 1.5}


def known(*names):
    return signing.public_jwk_set(*(key(name) for name in names))


def token(header, payload=b"{}", private=None):
    """Return a message with a header of any kind, rightly signed by a key of any kind."""
    return jws.serialize_compact(header, payload, private, algorithms=[header["alg"]])


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def refused(message, words, keys=None, kind="schedule"):
    with pytest.raises(MessageError) as caught:
        signing.verify_signature(message, keys or known("site"), kind=kind)
    assert words in str(caught.value)


def test_what_is_signed_is_read_back():
    text = signing.sign_document(DOCUMENT, key("site"))
    payload = signing.verify_signature(text, known("other", "site"))
    assert json.loads(payload) == DOCUMENT


def test_a_jose_library_alone_reads_it():
    text = signing.sign_document(DOCUMENT, key("site"))
    public = ECKey.import_key(key("site").public)
    found = jws.deserialize_compact(text, public, algorithms=["ES256"])
    assert json.loads(found.payload) == DOCUMENT
    assert found.headers() == {
        "alg": "ES256",
        "kid": public.thumbprint(),
        "typ": "gigatwin-schedule+jws",
    }


def test_any_changed_letter_is_noticed():
    head, body, signature = signing.sign_document(DOCUMENT, key("site")).split(".")
    changed = part({"v": 1, "power": 9.5})
    refused(f"{head}.{changed}.{signature}", "signature")
    refused(f"{head}.{body}.{signature[:-4]}AAAA", "signature")
    refused(f"{head}.{body}.", "signature")


def test_another_key_is_unknown_even_under_a_known_name():
    refused(signing.sign_document(DOCUMENT, key("stranger")), "kid of a known key")
    header = {"alg": "ES256", "kid": key("site").kid, "typ": signing.jws_type("schedule")}
    stranger = ECKey.import_key(key("stranger").private)
    refused(token(header, private=stranger), "signature")


def test_message_cannot_choose_algorithm():
    kid, typ = key("site").kid, signing.jws_type("schedule")
    refused(f"{part({'alg': 'none', 'kid': kid, 'typ': typ})}.{part(DOCUMENT)}.", "ES256")
    secret = OctKey.import_key(json.dumps(key("site").public))
    refused(token({"alg": "HS256", "kid": kid, "typ": typ}, private=secret), "ES256")
    other = RSAKey.generate_key(2048)
    refused(token({"alg": "RS256", "kid": kid, "typ": typ}, private=other), "ES256")


@pytest.fixture(scope="module")
def rsa():
    return RSAKey.generate_key(2048)


def test_a_partner_may_sign_load_targets_with_rsa_and_nothing_else(rsa):
    both = {"keys": [*known("site")["keys"], rsa.as_dict(private=False)]}
    header = {"alg": "RS256", "kid": rsa.thumbprint()}
    text = token(header, b'{"v": 1}', rsa)
    assert signing.verify_signature(text, both, kind=signing.FLEX_DOCUMENT_KIND) == b'{"v": 1}'
    refused(text[:-8] + "AAAAAAAA", "signature", both, signing.FLEX_DOCUMENT_KIND)
    refused(text, "kid of a known key", known("site"), signing.FLEX_DOCUMENT_KIND)
    for kind in ("schedule", "status", "ack"):
        refused(token(header | {"typ": signing.jws_type(kind)}, b"{}", rsa), "ES256", both, kind)


def test_key_determines_algorithm(rsa):
    both = {"keys": [*known("site")["keys"], rsa.as_dict(private=False)]}
    own = ECKey.import_key(key("site").private)
    crossed = [
        token({"alg": "ES256", "kid": rsa.thumbprint()}, private=own),
        token({"alg": "RS256", "kid": key("site").kid}, private=rsa),
    ]
    for text in crossed:
        refused(text, "signature", both, signing.FLEX_DOCUMENT_KIND)
    secret = OctKey.import_key(json.dumps(rsa.as_dict(private=False)))
    shared = token({"alg": "HS256", "kid": rsa.thumbprint()}, private=secret)
    refused(shared, "ES256 or RS256", both, signing.FLEX_DOCUMENT_KIND)


def test_a_key_within_the_message_does_not_count():
    own = ECKey.generate_key("P-256")
    header = {
        "alg": "ES256",
        "typ": signing.jws_type("schedule"),
        "jwk": own.as_dict(private=False),
    }
    refused(token(header, private=own), "kid of a known key")


def test_a_status_is_no_schedule():
    text = signing.sign_document(DOCUMENT, key("site"), kind="status")
    refused(text, "typ must be gigatwin-schedule+jws")
    refused(text, "no typ", known("site"), signing.FLEX_DOCUMENT_KIND)
    assert signing.verify_signature(text, known("site"), kind="status")


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b".",
        b"..",
        b"a.b",
        b"a.b.c",
        b"....",
        "\ud800.\udfff.x",
        b"\xff\xfe.\x00.\x01",
        b"e30.e30.e30",
        b"bnVsbA.e30.e30",  # header null
        b"W10.e30.e30",  # header []
        b"MQ.e30.e30",  # header 1
        b"A" * 2000 + b".e30.e30",
    ],
)
def test_junk_is_refused(junk):
    refused(junk, "schedule")


def test_a_deeply_nested_header_is_refused():
    header = base64.urlsafe_b64encode(b'{"a":' + b"[" * 600).rstrip(b"=")
    refused(header + b".e30.e30", "schedule")


def test_too_long_message_is_refused_unread():
    refused(b"a" * (signing.MAX_SIGNED_BYTES + 1), "at most")


@pytest.mark.parametrize("kind", ["ack", signing.FLEX_DOCUMENT_KIND])
def test_longest_allowed_message_is_read(kind):
    """Proves: the limits are those of the page; joserfc's own end at 512 and 128,000 letters."""
    header = {"alg": "ES256", "kid": key("site").kid} | {
        name: text
        for name, text in [("typ", signing.jws_type(kind))]
        if kind != signing.FLEX_DOCUMENT_KIND
    }
    spare = signing.MAX_HEADER_BYTES * 3 // 4 - len(json.dumps(header)) - len(', "x": ""')
    long = by_hand(header | {"x": "y" * spare}, b"1" * 195_500)
    assert len(long) > 0.99 * signing.MAX_SIGNED_BYTES
    assert long.index(".") > 0.99 * signing.MAX_HEADER_BYTES
    assert signing.verify_signature(long, known("site"), kind=kind) == b"1" * 195_500
    longer = by_hand(header | {"x": "y" * (spare + 8)}, b"{}")
    refused(longer, "at most 1024 letters", kind=kind)


def by_hand(header, payload, sign=None):
    """Return a message signed by the key of the site, whatever joserfc thinks of its header."""
    head = part(header) + "." + base64.urlsafe_b64encode(payload).rstrip(b"=").decode()
    private = ECKey.import_key(key("site").private)
    sign = sign or (lambda text: jws.JWSRegistry.algorithms["ES256"].sign(text, private))
    signature = base64.urlsafe_b64encode(sign(head.encode())).rstrip(b"=")
    return f"{head}.{signature.decode()}"


@pytest.mark.parametrize("more", [{"iat": 1}, {"jti": "x"}, {"jku": 5}, {"x5c": "no list"}])
def test_unknown_header_fields_are_ignored(more):
    header = {"alg": "ES256", "kid": key("site").kid, "typ": signing.jws_type("ack")}
    assert (
        signing.verify_signature(by_hand(header | more, b"{}"), known("site"), kind="ack") == b"{}"
    )


def test_a_long_rsa_key_signs_what_is_read():
    """Proves: of two Mersenne primes, 7,640 bits: 1,274 letters, more than joserfc's 1,024."""
    p, q, e = 2**4423 - 1, 2**3217 - 1, 65537
    d, public = pow(e, -1, (p - 1) * (q - 1)), RSAPublicNumbers(e, p * q)
    own = RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public).private_key(
        unsafe_skip_rsa_key_validation=True  # it takes twenty seconds
    )
    long = RSAKey.import_key({"kty": "RSA", "n": int_to_base64(p * q), "e": int_to_base64(e)})
    text = by_hand(
        {"alg": "RS256", "kid": long.thumbprint()},
        b"{}",
        lambda head: own.sign(head, PKCS1v15(), SHA256()),
    )
    assert len(text.rsplit(".", 1)[1]) == 1274
    known_keys = {"keys": [long.as_dict(private=False)]}
    assert signing.verify_signature(text, known_keys, kind=signing.FLEX_DOCUMENT_KIND) == b"{}"


def test_critical_header_is_refused():
    header = {"alg": "ES256", "kid": key("site").kid, "typ": signing.jws_type("schedule")}
    text = f"{part(header | {'crit': ['exp'], 'exp': 1})}.{part(DOCUMENT)}.AAAA"
    refused(text, "without crit")
