"""What breaks: the broker in mid-stream, the server, the password, the certificate, the limits."""

import asyncio
import json
import os
import pty
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.mqtt.broker import Broker, Peer, broker, program
from tests.integration.mqtt.test_mqtt_bridge import connected, history
from tests.integration.serving import ROOT, Serving, serve, start
from tests.integration.test_portal_chat import tape

PIECES = 300


def slow(folder: Path, url: str, more: str = "", *, pieces: int = PIECES) -> str:
    """A model that takes its time."""
    return tape(folder, pieces=pieces, interval_ms=10, more=f'[mqtt]\nurl = "{url}"\n{more}\n')


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Broker]:
    with broker(tmp_path / "broker") as found:
        yield found


def note(serving: Serving) -> str:
    with urllib.request.urlopen(f"{serving.url}/ready") as answer:
        return str(json.load(answer).get("notes", {}).get("mqtt", ""))


def noted(serving: Serving, word: str) -> None:
    for _ in range(200):
        if word in note(serving):
            return
        time.sleep(0.05)
    raise AssertionError(note(serving))


def cli(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "penstock.cli", *words],
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYTHONPATH": str(ROOT / "src")}
        | environment,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_broker_that_is_restarted_in_mid_stream_loses_nothing(
    tmp_path: Path, mosquitto: Broker, protocol: str
) -> None:
    text = slow(tmp_path, mosquitto.url, f'protocol = "{protocol}"')
    with serve(tmp_path / "server", text) as serving:
        connected(serving)
        with Peer(mosquitto.port, "general/stream/r") as peer:
            asked = {"message": "x", "sessionId": "s", "requestId": "r", "stream": True}
            peer.say("general/user_input", asked)
            peer.wait(lambda heard: len(heard) > 20)
            mosquitto.stop()
            noted(serving, "broker")
            with urllib.request.urlopen(f"{serving.url}/v1/models") as answer:
                assert answer.status == 200  # HTTP goes on.
            mosquitto.start()
            heard = peer.wait(lambda heard: b'"done"' in heard[-1].payload)
        seqs = [one.json["seq"] for one in heard]
        # At least once: some may come twice, and those that the peer missed it asks for.
        missing = sorted(set(range(1, PIECES + 3)) - {int(str(seq)) for seq in seqs})
        if missing:
            with Peer(mosquitto.port, "general/stream/r") as peer:
                peer.say("general/resume/r", {"after": missing[0] - 1})
                peer.wait(
                    lambda heard: set(missing) <= {int(str(one.json["seq"])) for one in heard}
                )
        assert note(serving) == ""


def test_the_command_reads_on_over_a_restarted_broker(tmp_path: Path, mosquitto: Broker) -> None:
    with serve(tmp_path / "server", slow(tmp_path, mosquitto.url)) as serving:
        connected(serving)
        command = [sys.executable, "-m", "penstock.cli", "mqtt", "-u", mosquitto.url, "Go"]
        environment = {"PATH": "/usr/bin", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "src")}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            begun = process.stdout.read(40)
            mosquitto.stop()
            time.sleep(0.3)
            mosquitto.start()
            rest = process.stdout.read()
            assert process.wait(60) == 0
    assert (begun + rest).decode().split() == [str(n) for n in range(PIECES)]
    # It leaves nothing behind that the broker would keep for a client that never comes again.
    came = [line for line in mosquitto.said.splitlines() if "as penstock-ask-" in line]
    assert len(came) >= 2
    assert all("(p5, c1, k30)" in line for line in came)


def states(serving: Serving) -> list[str]:
    with urllib.request.urlopen(f"{serving.url}/v1/streams") as answer:
        return [line["state"] for line in json.load(answer)["data"]]


def test_ctrl_c_stops_an_answer_and_a_conversation_goes_on(
    tmp_path: Path, mosquitto: Broker
) -> None:
    command = [sys.executable, "-m", "penstock.cli", "mqtt", "-u", mosquitto.url]
    environment = {"PATH": "/usr/bin", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "src")}
    with serve(tmp_path / "server", slow(tmp_path, mosquitto.url, pieces=9000)) as serving:
        connected(serving)
        with subprocess.Popen([*command, "Go"], env=environment, stdout=subprocess.PIPE) as one:
            assert one.stdout is not None
            assert one.stdout.read(10)
            one.send_signal(signal.SIGINT)
            assert one.wait(20) == 130
        assert states(serving) == ["cancelled"]
        terminal, inside = pty.openpty()
        typed = {**environment, "TERM": "dumb"}
        with subprocess.Popen(
            command, env=typed, stdin=inside, stdout=inside, stderr=inside
        ) as two:
            os.close(inside)
            shown = b""

            def until(word: bytes) -> None:
                nonlocal shown
                while word not in shown:
                    shown += os.read(terminal, 4096)
                shown = shown.partition(word)[2]

            until(b"/quit leaves")
            for _ in range(2):
                os.write(terminal, b"Go\r")
                until(b"40 ")
                two.send_signal(signal.SIGINT)
                until(b"(stopped here)")
            os.write(terminal, b"/quit\r")
            assert two.wait(20) == 0
        os.close(terminal)
        assert states(serving) == ["cancelled"] * 3


def test_a_killed_server_tells_who_waits_and_knows_a_redelivery(
    tmp_path: Path, mosquitto: Broker
) -> None:
    text = slow(tmp_path, mosquitto.url, pieces=3000)
    first = start(tmp_path / "server", text)
    asked = {"message": "x", "sessionId": "s", "requestId": "r"}
    streamed = {"message": "x", "sessionId": "t", "requestId": "q", "stream": True}
    with Peer(mosquitto.port, "general/assistant_response/s", "general/stream/q") as peer:
        connected(first)
        peer.say("general/user_input", asked)
        peer.say("general/user_input", streamed)
        peer.wait(lambda heard: len(heard) > 20)
        first.kill()
        with serve(tmp_path / "server", text):
            told = peer.one("general/assistant_response/s")
            assert told.text.startswith("Error: ")
            failed = peer.wait(lambda heard: any(b'"interrupted"' in one.payload for one in heard))
            assert failed
            peer.forget()
            peer.say("general/user_input", asked)
            assert peer.one("general/assistant_response/s").text == told.text


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_of_two_servers_on_one_log_one_is_the_bridge(
    tmp_path: Path, mosquitto: Broker, how: str
) -> None:
    text = slow(tmp_path, mosquitto.url, pieces=3000)
    first = start(tmp_path / "server", text)
    connected(first)
    shared = {"PENSTOCK_STREAMS__FOLDER": str(first.streams)}
    try:
        with (
            serve(tmp_path / "other", text, environment=shared) as second,
            Peer(mosquitto.port, "general/stream/q") as peer,
        ):
            noted(second, "another server here is connected")
            assert "client_id" in second.said
            asked = {"message": "x", "sessionId": "s", "requestId": "q", "stream": True}
            peer.say("general/user_input", asked)
            peer.wait(lambda heard: len(heard) > 20)
            assert note(first) == ""
            if how == "killed":
                first.kill()
            else:
                first.stop()
            connected(second)  # It takes over, what was begun too.
            failed = peer.wait(lambda heard: b'"interrupted"' in heard[-1].payload)
            seqs = [one.json["seq"] for one in failed]
            assert len(seqs) == len(set(seqs))
    finally:
        first.kill()


def test_two_servers_of_folders_of_their_own_have_names_of_their_own(
    tmp_path: Path, mosquitto: Broker
) -> None:
    text = slow(tmp_path, mosquitto.url)
    with serve(tmp_path / "one", text) as one, serve(tmp_path / "two", text) as two:
        connected(one)
        connected(two)
        assert "already connected" not in mosquitto.said


def test_two_of_one_name_throw_each_other_out_less_and_less(
    tmp_path: Path, mosquitto: Broker
) -> None:
    """As on two machines, where neither can know of the other."""
    text = slow(tmp_path, mosquitto.url, 'client_id = "both"')
    with serve(tmp_path / "one", text) as one:
        connected(one)
        with serve(tmp_path / "two", text):
            noted(one, "is another client called both too? see [mqtt] client_id")
            time.sleep(2)
    assert mosquitto.said.count("already connected") < 12


def test_what_is_asked_while_the_server_is_away_is_answered(
    tmp_path: Path, mosquitto: Broker
) -> None:
    text = slow(tmp_path, mosquitto.url, pieces=3)
    with serve(tmp_path / "server", text) as serving:
        connected(serving)
    with Peer(mosquitto.port, "general/assistant_response/s") as peer:
        peer.say("general/user_input", {"message": "x", "sessionId": "s"})
        with serve(tmp_path / "server", text):
            assert peer.one("general/assistant_response/s").text == "0 1 2 "


def test_a_wrong_password_is_said_and_http_goes_on(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(
        [program("mosquitto_passwd"), "-c", "-b", str(passwords), "bridge", "right"], check=True
    )
    config = f"allow_anonymous false\npassword_file {passwords}"
    with broker(tmp_path / "broker", config) as found:
        wrong = slow(tmp_path, found.url, 'username = "bridge"\npassword = "wrong-secret"')
        with serve(tmp_path / "server", wrong) as serving:
            noted(serving, "authori")
            assert "wrong-secret" not in serving.said + note(serving)
            done = cli("doctor", "-c", str(serving.folder / "config.toml"))
            assert done.returncode == 1
            assert "✗ mqtt: the broker at 127.0.0.1" in done.stdout
            assert "wrong-secret" not in done.stdout
        right = slow(tmp_path, found.url, 'username = "bridge"\npassword = { env = "PASSWORD" }')
        with serve(tmp_path / "right", right, environment={"PASSWORD": "right"}) as serving:
            connected(serving)
            login = {"PENSTOCK_MQTT_PASSWORD": "right"}
            done = cli("mqtt", "-u", found.url, "--username", "bridge", "Hello", **login)
            assert done.stdout.split() == [str(n) for n in range(PIECES)]
            refused = cli("mqtt", "-u", found.url, "--username", "bridge", "Hello")
            assert refused.returncode == 1
            assert "MQTT broker" in refused.stderr


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of `localhost`'s own, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    more = [
        "-keyout",
        str(key),
        "-out",
        str(cert),
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
    ]
    subprocess.run([*command.split(), *more], check=True, capture_output=True)
    return cert, key


def test_tls(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    config = f"allow_anonymous true\ncertfile {cert}\nkeyfile {key}"
    with broker(tmp_path / "broker", config) as found:
        url = f"mqtts://localhost:{found.port}"
        trusting = slow(tmp_path, url, f'ca_file = "{cert}"', pieces=3)
        context = ssl.create_default_context(cafile=str(cert))
        with (
            serve(tmp_path / "server", trusting) as serving,
            Peer(found.port, "general/assistant_response/s", tls=context) as peer,
        ):
            connected(serving)
            peer.say("general/user_input", {"message": "x", "sessionId": "s"})
            assert peer.one("general/assistant_response/s").text == "0 1 2 "
        with serve(tmp_path / "other", slow(tmp_path, url, pieces=3)) as serving:
            noted(serving, "CERTIFICATE_VERIFY_FAILED")


class Between:
    """A proxy before a mosquitto. `old`: it knows no MQTT 5, and answers such a CONNECT as 3.1.1
    says (section 3.2.2.3, return code 1); no mosquitto of the distributions does. `deaf`: what the
    client sends is lost from now on.
    """

    def __init__(self, port: int, *, old: bool = False) -> None:
        self._broker = port
        self._old = old
        self._loop = asyncio.get_running_loop()
        self._writers: list[asyncio.StreamWriter] = []
        self.deaf = False
        self.lost = 0
        self.port = 0

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def cut(self) -> None:
        """Both sides see a connection that broke. From any thread."""
        for writer in self._writers:
            self._loop.call_soon_threadsafe(writer.transport.abort)
        self._writers = []
        self.deaf = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read(65536)
        if self._old and data[data.index(b"MQTT") + 4] == 5:
            writer.write(b"\x20\x02\x00\x01")
            writer.close()
            return
        theirs, their_writer = await asyncio.open_connection("127.0.0.1", self._broker)
        self._writers += [writer, their_writer]
        their_writer.write(data)
        await asyncio.gather(
            self._pump(reader, their_writer, up=True), self._pump(theirs, writer, up=False)
        )

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool
    ) -> None:
        try:
            while data := await reader.read(65536):
                if up and self.deaf:
                    self.lost += len(data)
                else:
                    writer.write(data)
        except ConnectionError:
            pass
        writer.close()


async def test_a_broker_without_mqtt_5_is_asked_with_3_1_1(
    tmp_path: Path, mosquitto: Broker
) -> None:
    between = Between(mosquitto.port, old=True)

    def talk() -> None:
        text = slow(tmp_path, f"mqtt://127.0.0.1:{between.port}", pieces=3)
        with (
            serve(tmp_path / "server", text) as serving,
            Peer(mosquitto.port, "general/assistant_response/s", version=5) as peer,
        ):
            connected(serving)
            peer.say("general/user_input", {"message": "x", "sessionId": "s"})
            assert peer.one("general/assistant_response/s").text == "0 1 2 "
            assert not peer.all()[0].facts

    async with await between.start():
        await asyncio.to_thread(talk)


@pytest.mark.parametrize("given", [True, False])
async def test_what_the_broker_delivers_again_is_not_run_again(
    tmp_path: Path, mosquitto: Broker, given: bool
) -> None:
    between = Between(mosquitto.port)

    def talk() -> None:
        text = slow(tmp_path, f"mqtt://127.0.0.1:{between.port}", pieces=100)
        with (
            serve(tmp_path / "server", text) as serving,
            Peer(mosquitto.port, "general/assistant_response/s") as peer,
        ):
            connected(serving)
            between.deaf = True  # The bridge's acknowledgement is lost.
            asked = {"message": "x", "sessionId": "s"} | ({"requestId": "r"} if given else {})
            peer.say("general/user_input", asked)
            for _ in range(200):
                if between.lost:
                    break
                time.sleep(0.02)
            assert between.lost
            between.cut()
            assert peer.one("general/assistant_response/s").text.split()[-1] == "99"
            assert len(history(serving, "general/s")) == 3
        sent = [line for line in mosquitto.said.splitlines() if "Sending PUBLISH" in line]
        assert [line for line in sent if "(d1," in line and "user_input" in line]

    async with await between.start():
        await asyncio.to_thread(talk)


def test_it_says_when_it_is_full(tmp_path: Path, mosquitto: Broker) -> None:
    limits = "max_waiting = 2\nmax_payload_bytes = 200\nrequests_per_minute = 1"
    with (
        serve(tmp_path / "server", slow(tmp_path, mosquitto.url, limits)) as serving,
        Peer(mosquitto.port, "general/assistant_response/#") as peer,
    ):
        connected(serving)
        for n in range(4):
            peer.say("general/user_input", {"message": "x", "sessionId": f"s{n}"})
        third = peer.one("general/assistant_response/s2", 10)
        assert third.text == "Server is overloaded. Please try again in a moment."
        peer.wait(lambda heard: {one.topic[-2:] for one in heard} >= {"s0", "s1", "s3"})
        peer.forget()
        peer.say("general/user_input", {"message": "y", "sessionId": "s0"})
        rate = "Error: Rate limit exceeded. Please slow down your requests."
        assert peer.one("general/assistant_response/s0").text == rate
        peer.say("general/user_input", {"message": "y" * 200, "sessionId": "long"})
        told = peer.one("general/assistant_response/long").text
        assert told == "Error: the message is longer than 200 bytes"


@pytest.mark.parametrize(
    ("limit", "protocol"), [("message_size_limit 500", "5"), ("max_packet_size 500", "3.1.1")]
)
def test_an_answer_that_is_too_large_for_the_broker_is_told_and_stops_nobody(
    tmp_path: Path, limit: str, protocol: str
) -> None:
    with broker(tmp_path / "broker", f"allow_anonymous true\n{limit}") as found:
        text = slow(tmp_path, found.url, f'protocol = "{protocol}"', pieces=200)
        with (
            serve(tmp_path / "server", text) as serving,
            Peer(found.port, "general/assistant_response/+", "general/stream/q") as peer,
        ):
            connected(serving)
            peer.say("general/user_input", {"message": "x", "sessionId": "s"})
            streamed = {"message": "x", "sessionId": "t", "requestId": "q", "stream": True}
            peer.say("general/user_input", streamed)
            told = peer.one("general/assistant_response/s", 60).text
            assert told.startswith("Error: ")
            assert "690 bytes" in told
            peer.wait(lambda heard: any(b'"done"' in one.payload for one in heard))
            seqs = {one.json["seq"] for one in peer.all() if one.topic == "general/stream/q"}
            assert seqs == set(range(1, 203))
            assert note(serving) == ""


def test_what_the_broker_forbids_is_said(tmp_path: Path) -> None:
    rights = tmp_path / "rights"
    rights.write_text("topic read #\ntopic write general/user_input\ntopic write general/status\n")
    config = f"allow_anonymous true\nacl_file {rights}"
    with broker(tmp_path / "broker", config) as found:
        with serve(tmp_path / "server", slow(tmp_path, found.url, pieces=3)) as serving:
            connected(serving)
            with Peer(found.port) as peer:
                peer.say("general/user_input", {"message": "x", "sessionId": "s"})
            for _ in range(200):
                if "is not delivered" in serving.said:
                    break
                time.sleep(0.05)
        forbidden = "takes no message on general/assistant_response/s: Not authorized"
        assert forbidden in serving.said
        done = cli("mqtt", "-u", found.url, "-p", "other", "Hello")
        assert done.returncode == 1
        assert "takes no message on other/user_input: Not authorized" in done.stderr


def test_two_sessions_are_answered_at_once_and_one_in_its_turn(
    tmp_path: Path, mosquitto: Broker
) -> None:
    with (
        serve(tmp_path / "server", slow(tmp_path, mosquitto.url, pieces=50)) as serving,
        Peer(mosquitto.port, "general/stream/+") as peer,
    ):
        connected(serving)
        for session, request in (("s", "s1"), ("s", "s2"), ("t", "t1")):
            asked = {"message": request, "sessionId": session, "requestId": request}
            peer.say("general/user_input", {**asked, "stream": True})
        peer.wait(lambda heard: sum(b'"done"' in one.payload for one in heard) == 3)
    order = [one.topic[-2:] for one in peer.all()]
    first = {name: order.index(name) for name in set(order)}
    last = {name: len(order) - order[::-1].index(name) for name in set(order)}
    assert first["t1"] < last["s1"]
    assert first["s1"] < last["t1"]
    assert last["s1"] <= first["s2"]


def test_the_command_says_that_nobody_listens(tmp_path: Path, mosquitto: Broker) -> None:
    done = cli("mqtt", "-u", mosquitto.url, "-p", "nobodys", "Hello")
    assert done.returncode == 1
    assert "nobody listens on nobodys/user_input" in done.stderr
    with serve(tmp_path / "server", slow(tmp_path, mosquitto.url, pieces=3)) as serving:
        connected(serving)
    # Its server is away, but will have the question when it is back.
    command = [sys.executable, "-m", "penstock.cli", "mqtt", "-u", mosquitto.url, "Hello"]
    environment = {"PATH": "/usr/bin", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as asking:
        for _ in range(200):
            if "'general/user_input'" in mosquitto.said:
                break
            time.sleep(0.05)
        with serve(tmp_path / "server", slow(tmp_path, mosquitto.url, pieces=3)):
            assert asking.communicate(timeout=30)[0].split() == [b"0", b"1", b"2"]


def test_a_cancelled_stream_says_so(tmp_path: Path, mosquitto: Broker) -> None:
    with (
        serve(tmp_path / "server", slow(tmp_path, mosquitto.url, pieces=9000)) as serving,
        Peer(mosquitto.port, "general/stream/c") as peer,
    ):
        connected(serving)
        asked = {"message": "x", "sessionId": "s", "requestId": "c", "stream": True}
        peer.say("general/user_input", asked)
        peer.wait(lambda heard: len(heard) > 5)
        peer.say("general/cancel/c", "")
        last = peer.wait(lambda heard: b'"done"' in heard[-1].payload)[-1]
        assert last.json["event"] == {"type": "done", "reason": "cancelled"}


def test_a_request_that_waits_for_its_turn_can_be_cancelled_and_resumed(
    tmp_path: Path, mosquitto: Broker
) -> None:
    with (
        serve(tmp_path / "server", slow(tmp_path, mosquitto.url, pieces=100)) as serving,
        Peer(mosquitto.port, "general/stream/+", "general/assistant_response/s") as peer,
    ):
        connected(serving)
        peer.say("general/user_input", {"message": "x", "sessionId": "s"})
        for request in ("cancelled", "resumed"):
            asked = {"message": "y", "sessionId": "s", "requestId": request, "stream": True}
            peer.say("general/user_input", asked)
        peer.say("general/cancel/cancelled", "")
        peer.say("general/resume/resumed", "")
        assert peer.one("general/assistant_response/s").text.split()[-1] == "99"
        peer.wait(lambda heard: b'"reason":"stop"' in heard[-1].payload)
    told = [one.json for one in peer.all() if one.topic == "general/stream/cancelled"]
    assert told[-1]["event"] == {"type": "done", "reason": "cancelled"}
    assert len(told) < 20
    resumed = [one.json for one in peer.all() if one.topic == "general/stream/resumed"]
    assert {one["seq"] for one in resumed} == set(range(1, 103))


def test_a_retained_template_is_no_new_one_at_every_connection(
    tmp_path: Path, mosquitto: Broker
) -> None:
    def system(serving: Serving, session: str) -> str:
        topic = f"general/assistant_response/{session}"
        with Peer(mosquitto.port, topic) as peer:
            peer.say("general/user_input", {"message": "x", "sessionId": session})
            peer.one(topic)
        return history(serving, f"general/{session}")[0]["content"]

    text = slow(tmp_path, mosquitto.url, pieces=3)
    with serve(tmp_path / "server", text) as serving:
        connected(serving)
        with Peer(mosquitto.port) as peer:
            peer.say("general/template", {"template": "Kept."}, retain=True)
        assert system(serving, "s") == "Kept."
        mosquitto.stop()
        noted(serving, "broker")
        mosquitto.start()
        connected(serving)
        assert system(serving, "t") == "Kept."
        assert len(history(serving, "general/s")) == 3
    with serve(tmp_path / "server", text) as serving:  # It has forgotten the template.
        connected(serving)
        assert system(serving, "u") == "Kept."
        assert len(history(serving, "general/s")) == 3


def test_a_project_has_the_rights_of_its_key(tmp_path: Path, mosquitto: Broker) -> None:
    security = '[security]\nallowed_api_keys = ["key-of-anna"]\n'
    tables = '[mqtt.projects.open]\n[mqtt.projects.keyed]\nkey = "key-of-anna"\n'
    text = security + slow(tmp_path, mosquitto.url, tables, pieces=3)
    with (
        serve(tmp_path / "server", text) as serving,
        Peer(mosquitto.port, "+/assistant_response/s") as peer,
    ):
        connected(serving)
        for project in ("open", "keyed"):
            peer.say(f"{project}/user_input", {"message": "x", "sessionId": "s"})
        assert peer.one("keyed/assistant_response/s").text == "0 1 2 "
        assert peer.one("open/assistant_response/s").text.startswith("Error: ")
        assert "key-of-anna" not in serving.said
