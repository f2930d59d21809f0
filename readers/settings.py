# SPDX-License-Identifier: EUPL-1.2
"""The agent's settings: a TOML file, overridden by environment variables `CARDSERVICE_AGENT_*`."""

import os
import tomllib
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cardservice.agents.message_words import AgentId, PointCode
from readers.errors import SettingsFault

ENVIRONMENT_PREFIX = "CARDSERVICE_AGENT_"
# Many times what the settings need, comments included; more costs a TOML parser seconds.
MAX_FILE_BYTES = 16 * 1024
MAX_NAME_BYTES = 240
_NO_ADDRESS = "centre_url must look like wss://host[:port]/path, without user and password"


def _named_file(path: Path) -> Path:
    # No part longer than file systems take, with room for what is put beside the file.
    if not path.name or "\0" in str(path) or any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in path.parts):
        raise ValueError("must name a file")
    return path


FilePath = Annotated[Path, AfterValidator(_named_file)]


ModbusAddress = Annotated[int, Field(ge=0, le=65_535)]


class ModbusPoint(BaseModel):
    """How one point is wired: a coil that releases the strike while it is on, and discrete inputs, counted from 0.

    The last three say what an input reads while the door is closed, the button pressed, nothing tampered with: ordinary
    loops are closed while all is well, so that a cut wire is noticed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    strike: ModbusAddress
    contact: ModbusAddress | None = None
    rex: ModbusAddress | None = None
    tamper: ModbusAddress | None = None
    contact_closed: bool = True
    rex_pressed: bool = True
    tamper_fine: bool = True


class ModbusSection(BaseModel):
    """The Modbus TCP module beside the doors of this agent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$")]
    port: Annotated[int, Field(ge=1, le=65_535)] = 502
    unit: Annotated[int, Field(ge=0, le=255)] = 1
    poll_ms: Annotated[int, Field(ge=20, le=1_000)] = 50
    # How long one answer of the module is waited for.
    timeout_ms: Annotated[int, Field(ge=50, le=2_000)] = 300
    points: Annotated[dict[PointCode, ModbusPoint], Field(min_length=1, max_length=64)]


class AgentSettings(BaseSettings):
    """What one agent needs to know; its points come from the centre."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, extra="forbid", frozen=True)

    agent: AgentId
    # wss://host[:port]/path; ws:// only to this machine, or with allow_plain_ws.
    centre_url: Annotated[str, Field(max_length=300)]
    # The CA that signed the centre's certificate; without it the system's CAs count.
    ca_file: FilePath | None = None
    allow_plain_ws: bool = False
    key_file: FilePath = Path("agent.key")
    outbox_file: FilePath = Path("outbox.sqlite")
    outbox_capacity: Annotated[int, Field(ge=100, le=5_000_000)] = 200_000
    # How long events stay here after the centre has them: a backup of the centre this old can be made good again.
    outbox_keep_days: Annotated[int, Field(ge=0, le=30)] = 7
    # pcscd's socket, when it is not the system's (environment PCSCLITE_CSOCK_NAME of libpcsclite).
    pcsc_socket: FilePath | None = None
    # The package below `integrations/` that makes the outputs.
    outputs: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")] = "simulated_io"
    # Of `outputs = "modbus"`.
    modbus: ModbusSection | None = None
    # The package below `integrations/` that unlocks and locks the sessions of this PC, if it is one; and its seat.
    sessions: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}(\.[a-z][a-z0-9_]{0,39})?$")] = "logind"
    seat: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "seat0"
    # A card that reappears this soon after a finished tap is still the same card (contactless flicker).
    removal_debounce_ms: Annotated[int, Field(ge=0, le=5_000)] = 0
    # A card already in the reader at start or after a restart of pcscd: the holder may be gone, so ask for it again.
    # Workstations always take it.
    found_card: Literal["ask_again", "tap"] = "ask_again"
    # PC/SC names of readers at which cards are encoded: a card on one of them is never a tap, whatever the points say.
    encoder_readers: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=127)], ...], Field(max_length=8)
    ] = ()
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    metrics_address: Annotated[str, Field(max_length=64)] = "127.0.0.1"
    # Where the pages of time clocks, canteen terminals, printers and doors with a PIN are served; 0: none. Needs the
    # extra `kiosk`.
    kiosk_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    # Loopback: the browser runs on this machine, and nobody else has any business there.
    kiosk_address: Annotated[str, Field(max_length=64)] = "127.0.0.1"
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("metrics_address")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        return str(ip_address(value))

    @field_validator("kiosk_address")
    @classmethod
    def _is_this_machine(cls, value: str) -> str:
        address = ip_address(value)
        if not address.is_loopback:
            raise ValueError("must be an address of this machine alone, such as 127.0.0.1 or ::1")
        return str(address)

    @property
    def is_unreadable_on_the_way(self) -> bool:
        """Whether nobody between here and the centre can read what is sent: TLS, or it never leaves this machine."""
        scheme, host = _address(self.centre_url)
        return scheme == "wss" or _is_loopback(host)

    @model_validator(mode="after")
    def _is_protected(self) -> Self:
        scheme, host = _address(self.centre_url)
        if scheme == "ws":
            if self.ca_file is not None:
                raise ValueError("ca_file is set, but centre_url is ws://; use wss://")
            if not (self.allow_plain_ws or _is_loopback(host)):
                raise ValueError("centre_url is ws:// to another machine; use wss://, or set allow_plain_ws")
        return self

    @model_validator(mode="after")
    def _has_its_outputs(self) -> Self:
        if (self.outputs == "modbus") != (self.modbus is not None):
            raise ValueError('outputs = "modbus" and the section [modbus] belong together; one of them is missing')
        return self


def _address(url: str) -> tuple[str, str]:
    """Return scheme and host of a URL to which a WebSocket client can connect."""
    try:
        parts = urlsplit(url)
        is_a_place = bool((parts.hostname or "").encode("idna")) and parts.port != 0
    except ValueError:
        raise ValueError(_NO_ADDRESS) from None
    extras = "@" in parts.netloc or parts.fragment
    if not is_a_place or extras or parts.scheme not in {"ws", "wss"} or not url.isprintable() or " " in url:
        raise ValueError(_NO_ADDRESS)
    return parts.scheme, parts.hostname or ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def load_settings(file: Path | None) -> AgentSettings:
    """Read the settings from `file` (TOML) and the environment; the environment wins.

    Raises:
        SettingsFault: one line for everything that is wrong, with the name of each setting.
    """
    values = {} if file is None else _read_toml(file)
    unknown = sorted(_in_environment() - set(AgentSettings.model_fields))
    if unknown:
        names = ", ".join(ENVIRONMENT_PREFIX + name.upper() for name in unknown)
        raise SettingsFault(f"environment: unknown settings {names}; known: {', '.join(AgentSettings.model_fields)}")
    return settings_from({name: value for name, value in values.items() if name not in _in_environment()})


def settings_from(values: Mapping[str, Any]) -> AgentSettings:
    """Return the settings of `values` (and of the environment, for what is not in it).

    Raises:
        SettingsFault: one line for everything that is wrong, with the name of each setting.
    """
    try:
        return AgentSettings(**values)
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        raise SettingsFault("; ".join(_sentence(detail["loc"], detail["msg"]) for detail in details)) from None


def _sentence(where: tuple[int | str, ...], message: str) -> str:
    name = ".".join(str(part) for part in where)
    return f"{name}: {message}" if name else message.removeprefix("Value error, ")


def _in_environment() -> set[str]:
    prefix = ENVIRONMENT_PREFIX
    return {name[len(prefix) :].lower() for name in os.environ if name.upper().startswith(prefix)}


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsFault(f"settings file {file} cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise SettingsFault(f"settings file {file} has more than {MAX_FILE_BYTES} bytes")
    try:
        values = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:
        # Not TOML, not UTF-8, a number of thousands of digits, or nested without end.
        raise SettingsFault(f"settings file {file} is not TOML: {error}") from error
    # Names like these would steer the settings library instead of being refused as unknown.
    strange = sorted(name for name in values if name.startswith("_"))
    if strange:
        raise SettingsFault(f"settings file {file}: unknown settings {', '.join(strange)}")
    return values
