# SPDX-License-Identifier: EUPL-1.2
"""The content of the test directory and a bare LDAP client that shows exactly what the server sends."""

import socket
import ssl
from dataclasses import dataclass, field

from directorysim import ber
from directorysim.sync import SYNC_REQUEST_OID

SUFFIX = "dc=corp,dc=example"
PEOPLE = f"ou=people,{SUFFIX}"
ADMIN = f"cn=admin,{SUFFIX}"
READER = f"cn=doors,{SUFFIX}"
PLAIN = f"cn=plain,{SUFFIX}"


def content(people: int) -> list[tuple[str, dict[str, str | list[str]]]]:
    """A tree with two accounts that can bind, a group and this many people."""
    tree: list[tuple[str, dict[str, str | list[str]]]] = [
        (SUFFIX, {"objectClass": ["dcObject", "organization"], "o": "Corp", "dc": "corp"}),
        (PEOPLE, {"objectClass": "organizationalUnit", "ou": "people"}),
        (READER, {"objectClass": "person", "cn": "doors", "sn": "doors", "userPassword": "doorspw"}),
        (PLAIN, {"objectClass": "person", "cn": "plain", "sn": "plain", "userPassword": "plainpw"}),
        (
            f"cn=staff,{SUFFIX}",
            {"objectClass": "groupOfNames", "cn": "staff", "member": [f"uid=u1,{PEOPLE}", f"uid=u2,{PEOPLE}"]},
        ),
    ]
    tree += [
        (
            f"uid=u{number},{PEOPLE}",
            {
                "objectClass": "inetOrgPerson",
                "uid": f"u{number}",
                "cn": f"User {number}",
                "sn": f"Name{number}",
                "mail": f"u{number}@corp.example",
            },
        )
        for number in range(1, people + 1)
    ]
    return tree


@dataclass
class Reply:
    """One message of the server."""

    message_id: int
    tag: int
    operation: ber.Element
    controls: dict[str, bytes] = field(default_factory=dict)

    @property
    def code(self) -> int:
        """The result code of a message that is a result."""
        return ber.to_integer(self.operation.children[0])

    @property
    def text(self) -> str:
        """The diagnostic text of a message that is a result."""
        return self.operation.children[2].content.decode()

    @property
    def name(self) -> str:
        """The name of an entry."""
        return self.operation.children[0].content.decode()

    def attribute(self, name: str) -> list[str] | None:
        """The values of an attribute of an entry, None when it is not there."""
        for attribute in self.operation.children[1].children:
            if attribute.children[0].content.decode() == name:
                return [value.content.decode() for value in attribute.children[1].children]
        return None

    def names(self) -> list[str]:
        """The attribute names of an entry."""
        return [item.children[0].content.decode() for item in self.operation.children[1].children]


def equality(name: str, value: str) -> bytes:
    """An equality filter."""
    return ber.encode_sequence(ber.encode_octets(name.encode()), ber.encode_octets(value.encode()), tag=0xA3)


ANY = ber.encode_octets(b"objectClass", 0x87)


def control(oid: str, value: bytes | None = None, *, critical: bool = True) -> bytes:
    """A request control."""
    tail = ber.encode_octets(value) if value is not None else b""
    return ber.encode_sequence(ber.encode_octets(oid.encode()), ber.encode_boolean(critical), tail)


def sync_control(mode: int, cookie: bytes | None = None) -> bytes:
    """A critical Sync Request control."""
    tail = ber.encode_octets(cookie) if cookie is not None else b""
    return control(SYNC_REQUEST_OID, ber.encode_sequence(ber.encode_integer(mode, ber.ENUMERATED), tail))


class BareClient:
    """Speaks LDAP byte by byte, so that a test sees exactly what the server sends."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._received = bytearray()
        self._last_id = 0

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def use_tls(self, context: ssl.SSLContext) -> None:
        """Do a TLS handshake."""
        self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")

    def send(self, operation: bytes, *controls: bytes) -> int:
        """Send a request and return its identifier."""
        self._last_id += 1
        tail = ber.encode_sequence(*controls, tag=0xA0) if controls else b""
        self.socket.sendall(ber.encode_sequence(ber.encode_integer(self._last_id), operation, tail))
        return self._last_id

    def receive(self) -> Reply:
        """Return the next message; raises EOFError when the server has closed."""
        while True:
            length = ber.message_length(self._received, limit_bytes=ber.MAX_MESSAGE_BYTES)
            if length is not None and len(self._received) >= length:
                break
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self._received += data
        parts = ber.decode(bytes(self._received[:length])).children
        del self._received[:length]
        controls = parts[2].children if len(parts) > 2 else ()
        values = {item.children[0].content.decode(): item.children[-1].content for item in controls}
        return Reply(ber.to_integer(parts[0]), parts[1].tag, parts[1], values)

    def until_result(self) -> list[Reply]:
        """Return messages up to and including the first that is a result."""
        replies = [self.receive()]
        while replies[-1].tag in {0x64, 0x79}:
            replies.append(self.receive())
        return replies

    def bind(self, dn: str, password: str, *, version: int = 3) -> Reply:
        """Bind and return the answer."""
        self.send(
            ber.encode_sequence(
                ber.encode_integer(version),
                ber.encode_octets(dn.encode()),
                ber.encode_octets(password.encode(), 0x80),
                tag=0x60,
            )
        )
        return self.receive()

    def search(self, base: str, *controls: bytes, **options: object) -> int:
        """Send a search: `scope`, `filter`, `attributes`, `size_limit`, `time_limit_s`, `dereference`."""
        names = options.get("attributes", ())
        assert isinstance(names, list | tuple)
        matches = options.get("filter", ANY)
        assert isinstance(matches, bytes)
        numbers = [int(str(options.get(name, 0))) for name in ("dereference", "size_limit", "time_limit_s")]
        return self.send(
            ber.encode_sequence(
                ber.encode_octets(base.encode()),
                ber.encode_integer(int(str(options.get("scope", 2))), ber.ENUMERATED),
                ber.encode_integer(numbers[0], ber.ENUMERATED),
                ber.encode_integer(numbers[1]),
                ber.encode_integer(numbers[2]),
                ber.encode_boolean(bool(options.get("types_only", False))),
                matches,
                ber.encode_sequence(*(ber.encode_octets(name.encode()) for name in names)),
                tag=0x63,
            ),
            *controls,
        )

    def found(self, base: str, *controls: bytes, **options: object) -> list[Reply]:
        """Search and return all messages, the result last."""
        self.search(base, *controls, **options)
        return self.until_result()

    def modify(self, dn: str, kind: int, name: str, *values: str) -> Reply:
        """Make one change (0 add, 1 delete, 2 replace) and return the answer."""
        attribute = ber.encode_sequence(
            ber.encode_octets(name.encode()),
            ber.encode_sequence(*(ber.encode_octets(value.encode()) for value in values), tag=ber.SET),
        )
        change = ber.encode_sequence(ber.encode_integer(kind, ber.ENUMERATED), attribute)
        self.send(ber.encode_sequence(ber.encode_octets(dn.encode()), ber.encode_sequence(change), tag=0x66))
        return self.receive()

    def add(self, dn: str, **attributes: str) -> Reply:
        """Add an entry and return the answer."""
        encoded = [
            ber.encode_sequence(
                ber.encode_octets(name.encode()), ber.encode_sequence(ber.encode_octets(value.encode()), tag=ber.SET)
            )
            for name, value in attributes.items()
        ]
        self.send(ber.encode_sequence(ber.encode_octets(dn.encode()), ber.encode_sequence(*encoded), tag=0x68))
        return self.receive()

    def delete(self, dn: str) -> Reply:
        """Delete an entry and return the answer."""
        self.send(ber.encode(0x4A, dn.encode()))
        return self.receive()

    def rename(self, dn: str, new_rdn: str, superior: str | None = None, *, delete_old: bool = True) -> Reply:
        """Rename an entry and return the answer."""
        tail = ber.encode_octets(superior.encode(), 0x80) if superior is not None else b""
        self.send(
            ber.encode_sequence(
                ber.encode_octets(dn.encode()),
                ber.encode_octets(new_rdn.encode()),
                ber.encode_boolean(delete_old),
                tail,
                tag=0x6C,
            )
        )
        return self.receive()

    def extended(self, oid: str) -> Reply:
        """Send an extended request and return the answer."""
        self.send(ber.encode_sequence(ber.encode_octets(oid.encode(), 0x80), tag=0x77))
        return self.receive()


def port_of(url: str) -> int:
    """The port of an address."""
    return int(url.rpartition(":")[2])
