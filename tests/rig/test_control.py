# SPDX-License-Identifier: EUPL-1.2
"""The control socket without pcscd: what it accepts, what it refuses, what it survives."""

import json
import socket
import threading
from pathlib import Path

import pytest

from rig.control import MAX_REQUEST_BYTES, ControlServer, RigClient
from rig.errors import ControlError
from rig.readers import doors
from rig.runner import Rig

OUTSIDE, INSIDE = "Door 1 00 00", "Door 1 00 01"


@pytest.fixture
def control(cards, run_dir: Path):
    """The control socket of a rig inside this process."""
    rig = Rig(doors(1), cards.load_deck(None), None)
    path = run_dir.with_name("control")
    server = ControlServer(path, rig.execute)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield path
    if thread.is_alive():
        with RigClient(path) as client:
            client.quit()
    thread.join(10)
    assert not thread.is_alive()
    assert not path.exists()


def raw(path: Path, data: bytes) -> dict:
    """Send bytes and return the first answer."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(path))
        sock.sendall(data)
        with sock.makefile("rb") as answers:
            return json.loads(answers.readline())


def test_cards_move_on_command(control):
    """Every movement is carried out and shown by "state"."""
    assert control.stat().st_mode & 0o777 == 0o600
    with RigClient(control) as client:
        client.insert("card 1", OUTSIDE)
        assert client.swap("card 2", OUTSIDE) == "card 1"
        client.pull_after(OUTSIDE, 3)
        state = client.state()
        assert state["readers"][OUTSIDE] == {"state": "present", "events": 3, "card": "card 2"}
        assert state["readers"][INSIDE] == {"state": "empty", "events": 0, "card": None}
        assert "card 15" in state["cards"]
        assert client.eject(OUTSIDE) == "card 2"
        client.remove_reader(INSIDE)
        states = {name: reader["state"] for name, reader in client.state()["readers"].items()}
        assert states == {OUTSIDE: "unavailable", INSIDE: "unavailable"}
        client.restore_reader(OUTSIDE)
        with pytest.raises(ControlError, match="runs without pcscd"):
            client.restart_pcscd()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"insert", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 2000, "not JSON"),
        (b"[]", "a JSON object"),
        (b"{}", "op must be one of insert, eject"),
        (b'{"op": ["insert"]}', "op must be one of"),
        (b'{"op": "insert", "card": "card 1"}', "insert takes card, reader"),
        (b'{"op": "eject", "reader": 1}', "reader must be of type str"),
        (b'{"op": "eject", "reader": "Door 1 00 00", "force": true}', "eject takes reader"),
        (b'{"op": "pull_after", "reader": "Door 1 00 00", "n_apdus": true}', "n_apdus must be of type int"),
        (b'{"op": "eject", "reader": "Roof"}', "no reader is named 'Roof'"),
        (b'"' + b"a" * MAX_REQUEST_BYTES + b'"', "at most 4096 bytes"),
    ],
)
def test_wrong_commands_are_refused_in_clear_words(control, line, complaint):
    """The answer names what is allowed, and the server goes on."""
    answer = raw(control, line + b"\n")
    assert answer["ok"] is False
    assert complaint in answer["error"]
    assert raw(control, b'{"op": "state"}\n')["ok"] is True


def test_an_endless_line_is_cut_off(control):
    """Without a line end, the connection is refused at the limit and closed."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(control))
        sock.sendall(b"x" * (MAX_REQUEST_BYTES + 1))
        with sock.makefile("rb") as answers:
            assert b"at most 4096 bytes" in answers.readline()
            assert answers.read() == b""


def test_several_commands_in_one_packet_are_answered_in_order(control):
    """Lines sent together are answered one by one."""
    insert = json.dumps({"op": "insert", "card": "card 1", "reader": OUTSIDE}).encode()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(control))
        sock.sendall(insert + b"\n" + insert + b"\n" + b'{"op": "eject", "reader": "Door 1 00 00"}\n')
        with sock.makefile("rb") as answers:
            oks = [json.loads(answers.readline())["ok"] for _ in range(3)]
    assert oks == [True, False, True]


def test_a_client_that_is_gone_does_not_matter(control):
    """A client may hang up in the middle of a line or before its answer."""
    for data in (b'{"op": "st', b'{"op": "state"}\n' * 50):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(control))
            sock.sendall(data)
    with RigClient(control) as client:
        assert client.state()["pcscd"]["running"] is False


def test_an_absent_rig_is_named(tmp_path):
    """A client without a server says where it looked."""
    with pytest.raises(ControlError, match="no rig answers at"):
        RigClient(tmp_path / "none")
