"""Has Paho do what a client does, by one way into a broker. Each thing that it sees is a line.

paho_driver.py 4|5 URL [CA [CERTIFICATE KEY]]
"""

import os
import queue
import socket
import sys
from urllib.parse import urlsplit

try:
    import paho.mqtt.client as mqtt
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
except ImportError:
    sys.exit("Paho is not installed: pip install paho-mqtt; see CONTRIBUTING.md")

FOR_EVER = 60

VERSION = int(sys.argv[1])
URL = urlsplit(sys.argv[2])
TLS = sys.argv[3:]
TRANSPORTS = {"ws": "websockets", "wss": "websockets", "mqtt+unix": "unix"}


class Client:
    """A connected client."""

    def __init__(self, name, will=None, keep=False):
        self.name = name
        self.seen = {}
        clean = {"clean_session": not keep} if VERSION == 4 else {}
        self.paho = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=name,
            protocol=mqtt.MQTTProtocolVersion(VERSION),
            transport=TRANSPORTS.get(URL.scheme, "tcp"),
            reconnect_on_failure=False,
            **clean,
        )
        self.paho.on_connect = self.note("connected", lambda flags, reason, _: (flags, reason))
        self.paho.on_subscribe = self.note("subscribed", lambda _, reasons, __: reasons[0])
        self.paho.on_publish = self.note("published", lambda _, reason, __: reason)
        self.paho.on_message = self.note("message", lambda message: message)
        self.paho.on_disconnect = self.note("disconnected", lambda *_: None)
        if will:
            self.paho.will_set(will, "gone", qos=1)
        if TLS:
            self.paho.tls_set(*TLS)
        self.paho.ws_set_options(path=URL.path)
        self.connect(keep)

    def note(self, kind, what):
        """Makes a callback that keeps what Paho says behind client and user data."""
        seen = self.seen[kind] = queue.Queue()
        return lambda _client, _userdata, *told: seen.put(what(*told))

    def next(self, kind):
        try:
            return self.seen[kind].get(timeout=FOR_EVER)
        except queue.Empty:
            sys.exit(f"{self.name} was never {kind}")

    def says(self, line):
        print(self.name, line, flush=True)

    def connect(self, keep):
        start = {}
        if VERSION == 5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600 if keep else 0
            start = {"clean_start": not keep, "properties": properties}
        if URL.hostname:
            self.paho.connect(URL.hostname, URL.port, **start)
        else:
            self.paho.connect(URL.path, **start)
        self.paho.loop_start()
        flags, reason = self.next("connected")
        if reason.is_failure:
            sys.exit(f"{self.name} was refused: {reason}")
        self.says(f"connected, {'old' if flags.session_present else 'new'} session")

    def subscribe(self, topics, qos):
        self.paho.subscribe(topics, qos)
        self.says(f"subscribed with QoS {self.next('subscribed').value}")

    def publish(self, topic, qos, payload, retain=False):
        """Returns once it is acknowledged."""
        self.paho.publish(topic, payload, qos, retain)
        reason = self.next("published")
        if reason.is_failure:
            sys.exit(f"{self.name} may not publish: {reason}")
        self.says(f"published with QoS {qos}")

    def get(self):
        message = self.next("message")
        text = message.payload.decode()
        text = (text or "nothing") if len(text) < 100 else f"{len(text)} bytes"
        retained = "retained " if message.retain else ""
        self.says(f"got {retained}{message.topic}, QoS {message.qos}: {text}")

    def disconnect(self):
        self.paho.disconnect()
        self.next("disconnected")
        self.paho.loop_stop()

    def cut(self):
        """Closes the socket below Paho, which knows nothing of it."""
        handle = os.dup(self.paho.socket().fileno())
        with socket.socket(fileno=handle) as below:
            below.shutdown(socket.SHUT_RDWR)
        self.next("disconnected")
        self.paho.loop_stop()


def qos(reader, writer):
    reader.subscribe("office/#", 2)
    for qos in range(3):
        writer.publish("office/lab", qos, f"hi {qos}")
        reader.get()
    writer.publish("office/lab", 1, "x" * 100_000)
    reader.get()


def retained(writer):
    writer.publish("kept/lab", 1, "21", retain=True)
    late = Client("late")
    late.subscribe("kept/#", 1)
    late.get()
    writer.publish("kept/lab", 1, "", retain=True)
    late.get()
    late.disconnect()
    later = Client("later")
    later.subscribe("kept/#", 1)
    writer.publish("kept/end", 0, "live")
    later.get()
    later.disconnect()


def will(reader):
    reader.subscribe("will/#", 1)
    Client("polite", will="will/polite").disconnect()
    Client("lost", will="will/lost").cut()
    reader.get()


def session(writer):
    away = Client("away", keep=True)
    away.subscribe("queue/#", 2)
    away.disconnect()
    writer.publish("queue/a", 1, "while you")
    writer.publish("queue/b", 2, "were away")
    away = Client("away", keep=True)
    away.get()
    away.get()
    away.disconnect()
    Client("away").disconnect()


def main():
    reader, writer = Client("reader"), Client("writer")
    qos(reader, writer)
    retained(writer)
    will(reader)
    session(writer)
    reader.disconnect()
    writer.disconnect()


main()
