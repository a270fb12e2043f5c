"""Logs of spawned processes go where those of their parent go: nothing else reads as JSON."""

import io
import json
import multiprocessing
import os
import sys
from pathlib import Path

import pytest
import structlog

from telemetry.runtime import configure_logging, run_with_logging


def tell(word):
    structlog.get_logger().warning("sent", word=word)


def test_a_spawned_process_logs_lines_of_json_to_standard_error(capfd):
    process = multiprocessing.get_context("spawn").Process(
        target=run_with_logging, args=(tell, "hello")
    )
    process.start()
    process.join()
    shown = capfd.readouterr()
    assert process.exitcode == 0
    assert shown.out == ""
    assert json.loads(shown.err)["word"] == "hello"


@pytest.fixture
def logs(monkeypatch):
    """Return what lets logs go to a file; afterwards they go where they went."""

    def write_to(stream):
        monkeypatch.setattr(sys, "stderr", stream)
        configure_logging()
        return structlog.get_logger()

    yield write_to
    structlog.reset_defaults()


def tell_all(logger):
    for say in (logger.info, logger.warning, logger.error):
        say("sent")


def test_full_disk_of_log_ends_no_process(logs):
    """Sensitivity: a full disk under the log, or a reader that ended, ended the service with it."""
    with Path("/dev/full").open("wb", buffering=0) as full:
        tell_all(logs(io.TextIOWrapper(full, write_through=True)))


def test_closed_log_pipe_ends_no_process(logs):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as lost:
        tell_all(logs(io.TextIOWrapper(lost, write_through=True)))
