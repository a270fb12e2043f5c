"""Logs of spawned processes go where those of their parent go: nothing else reads as JSON."""

import json
import multiprocessing

import structlog

from telemetry.logs import logged


def tell(word):
    structlog.get_logger().warning("told", word=word)


def test_a_spawned_process_logs_lines_of_json_to_standard_error(capfd):
    process = multiprocessing.get_context("spawn").Process(target=logged, args=(tell, "hello"))
    process.start()
    process.join()
    told = capfd.readouterr()
    assert process.exitcode == 0
    assert told.out == ""
    assert json.loads(told.err)["word"] == "hello"
