"""The brokers of ``deploy/`` refuse expired and self-signed certificates."""

import datetime as dt
import shutil

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.clients import until_told

pytestmark = pytest.mark.slow

SERVICE = "gigatwin-small"


def expired(folder, user, *, signer=None, until=-1):
    """Write a certificate that ended some days ago, signed by the authority or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user)])
    now = dt.datetime.now(dt.UTC)
    ca = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(ca.subject if signer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=30))
        .not_valid_after(now + dt.timedelta(days=until))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    made = builder.sign(signer or key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    (folder / f"{user}.crt").write_bytes(made.public_bytes(pem))
    form = serialization.PrivateFormat.PKCS8
    (folder / f"{user}.key").write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))


@pytest.mark.parametrize("kind", ["expired", "of its own", "valid"])
def test_expired_or_self_signed_certificate_is_refused(stand, tmp_path, kind):
    """The third, made in the same way, is accepted: the others are refused for their faults."""
    folder = tmp_path / "bad"
    shutil.copytree(stand.certificates, folder)
    signer = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    expired(
        folder,
        SERVICE,
        signer=None if kind == "of its own" else signer,
        until=-1 if kind == "expired" else 30,
    )
    stand.certificates = folder
    if kind == "valid":
        assert stand.connected(SERVICE).is_connected
        return
    until_told(stand.client(SERVICE), r"closed the connection|certificate|expired|unknown ca")
