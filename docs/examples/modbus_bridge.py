r"""A bridge from Modbus TCP to the bus: a meter's registers as DSX Exchange points.

    python modbus_bridge.py MODBUS_HOST MODBUS_PORT BROKER_HOST BROKER_PORT SITE \
        [CA CERTIFICATE KEY]

It needs pymodbus and paho-mqtt only. Write your registers into `POINTS`, as in the meter's manual.
Gateways for BACnet, OPC UA, SNMP and Redfish are similar: read, scale, publish. While a meter does
not answer, its values are null and of bad quality. Values wait while the broker is disconnected.
"""

import itertools
import json
import sys
import time

import paho.mqtt.client as mqtt
from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

# register, number of registers, factor, and the metadata of the point
POINTS = {
    "PowerMeter/ActivePower/{site}/grid_1/power": (
        (3059, 2, 1.0),
        {"objectId": "grid_1", "objectName": "grid_1", "engUnit": "kW"},
    ),
    "BESS/GenericPoint/{site}/battery_1/level": (
        (40, 1, 0.1),
        {"associateId": "battery_1", "engUnit": "%", "processArea": ["State Of Charge"]},
    ),
}
PERIOD, METADATA, PATIENCE = 1.0, 100.0, 1.0  # s


def read(plc, register, count, factor):
    """Return a number of one or two registers, high word first, or None if it cannot be read."""
    try:
        answer = plc.read_holding_registers(register, count=count)
    except (ModbusException, OSError):  # disconnected: the next round connects again
        plc.close()
        return None
    if answer.isError():
        return None
    kind = {1: plc.DATATYPE.INT16, 2: plc.DATATYPE.INT32}[count]
    return plc.convert_from_registers(answer.registers, kind) * factor


def announce(bus, site):
    """Publish the metadata of the points, retained."""
    for name, (_, what) in POINTS.items():
        point = name.format(site=site)
        object_type, point_type, _ = point.split("/", 2)
        metadata = {"objectType": object_type, "pointType": point_type, **what}
        if object_type == "PowerMeter":
            metadata["servesId"] = ["transformer_1"]
        bus.publish(f"BMS/v1/PUB/Metadata/{point}", json.dumps(metadata), qos=1, retain=True)


def tell(plc, bus, site):
    """Publish the registers' values; an unreadable value is null and of bad quality."""
    for name, (register, _) in POINTS.items():
        value = read(plc, *register) if plc.connected else None
        said = {
            "value": value,
            "timestamp": int(time.time() * 1000),
            "quality": int(value is not None),
        }
        bus.publish(f"BMS/v1/PUB/Value/{name.format(site=site)}", json.dumps(said), qos=1)


def main(modbus_host, modbus_port, broker_host, broker_port, site, *tls, rounds=None):
    """Publish until stopped, or for the given rounds; with certificates over TLS."""
    plc = ModbusTcpClient(modbus_host, port=int(modbus_port), timeout=PATIENCE, retries=1)
    bus = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, f"bridge-{site}")
    bus.tls_set(*tls) if tls else None
    bus.connect_async(broker_host, int(broker_port))
    bus.loop_start()
    announced = -METADATA
    for _ in rounds or itertools.count():
        if time.monotonic() - announced >= METADATA:
            announce(bus, site)
            announced = time.monotonic()
        if not plc.connected:
            plc.connect()
        tell(plc, bus, site)
        time.sleep(PERIOD)
    bus.disconnect()
    bus.loop_stop()
    plc.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
