"""Certificates and brokers of ``deploy/``."""

import shutil

import pytest

from tests.system.deploy import stands


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """Return a folder with certificates of all users of ``deploy/``; tests do not change them."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return stands.make_certificates(tmp_path_factory.mktemp("certificates"), *stands.USERS)


@pytest.fixture(params=["mosquitto", "nats"])
def stand(request, tmp_path, certificates):
    """Return a running broker of ``deploy/``."""
    running = getattr(stands, request.param)(tmp_path, certificates)
    running.broker.start()
    yield running
    running.close()
