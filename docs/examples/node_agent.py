"""A rack's agent in fifty lines: once a second, its chips' readings as one MQTT message.

    python node_agent.py BROKER_HOST PORT SITE HALL RACK [CA CERTIFICATE KEY]

It needs paho-mqtt only. Return the readings of your chips in `chips`; here `nvidia-smi` gives them.
Messages that the broker has not acknowledged stay queued, and are sent again after a reconnection.
"""

import struct
import subprocess
import sys
import time

import paho.mqtt.client as mqtt

HEADER = struct.Struct("<4sBBHIQQHHI")  # magic, version, flags, length, boot, sequence, time,
QUERY = "power.draw,temperature.gpu,utilization.gpu,memory.used,memory.total,clocks.sm"  # rows, ...


def chips():
    """Return power [W], temperature [degC], use [1], memory [1] and clock [MHz], by chip."""
    command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [chip(line) for line in lines.splitlines()]


def chip(line):
    """Return the readings of a chip; if any is missing, as "[N/A]", all are NaN."""
    try:
        power, temperature, use, used, total, clock = map(float, line.split(","))
        return power, temperature, use / 100.0, used / total, clock
    except (ValueError, ZeroDivisionError):
        return (float("nan"),) * 5


def payload(rows, boot, sequence, now):
    """Return a batch: the header, then all powers, all temperatures and so on, as float32."""
    count = len(rows)
    values = [number for column in zip(*rows, strict=True) for number in column]
    times = (boot, sequence, int(now * 1000))
    head = HEADER.pack(b"GTRB", 1, 0, HEADER.size, *times, 5, count, 1000)
    return head + struct.pack(f"<{len(values)}f", *values)


def main(host, port, site, hall, rack, *tls):
    """Publish until stopped; with certificates over TLS."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, f"rack-{site}-{hall}-{rack}")
    client.tls_set(*tls) if tls else None
    client.connect(host, int(port))
    client.loop_start()
    boot, sequence = int(time.time()), 0
    while True:
        time.sleep(1.0 - time.time() % 1.0)
        sequence += 1
        batch = payload(chips(), boot, sequence, time.time())
        client.publish(f"dc/v1/{site}/{hall}/{rack}/tele", batch, qos=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
