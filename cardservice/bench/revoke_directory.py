# SPDX-License-Identifier: EUPL-1.2
"""The real directory servers that are measured, each with the people of a plan."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from cardservice.bench.city import GROUP, DirectoryAddress, Plan, entries, login, person_dn
from cardservice.bench.city_program import BenchError
from cardservice.bench.revoke_administrator import Account, signed_in
from rig import samba
from rig.program import find_program
from rig.slapd import ADMIN_DN, ADMIN_PASSWORD, READER_DN, READER_PASSWORD, SLAPD, Slapd, SlapdOptions


class Switch(NamedTuple):
    """How an account is disabled: the attribute, and what it is then and otherwise."""

    attribute: str
    disabled: tuple[str, ...]
    enabled: tuple[str, ...]


# draft-behera-ldap-password-policy-10 section 5.3.3: locked until an administrator frees it.
_SLAPD_SWITCH: Final = Switch("pwdAccountLockedTime", ("000001010000Z",), ())
# An account that needs no password; bit 2 disables it.
_SAMBA_SWITCH: Final = Switch("userAccountControl", ("546",), ("544",))


@dataclass(frozen=True, slots=True)
class Measured:
    """A directory that runs: what the service needs to know of it, and how an administrator works there."""

    address: DirectoryAddress
    administrator: Account
    switch: Switch
    dn_of: Callable[[int], str]


def check_installed() -> None:
    """Find out before minutes were spent on the other parts.

    Raises:
        BenchError: a server is not installed; one sentence.
    """
    if not SLAPD.exists():
        raise BenchError(f"OpenLDAP's server is not installed: there is no {SLAPD} (Debian: apt-get install slapd)")
    if find_program("samba-tool") is None:
        raise BenchError("Samba's domain controller is not installed (Debian: scripts/debian-packages.sh samba)")


@contextmanager
def running_slapd(folder: Path, plan: Plan, options: SlapdOptions | None = None) -> Iterator[Slapd]:
    """Run slapd with the people of `plan` while the context lasts."""
    slapd = Slapd(folder / "slapd", entries(plan), options)
    slapd.start()
    try:
        yield slapd
    finally:
        slapd.stop()


def slapd_address(slapd: Slapd, *spares: Slapd) -> DirectoryAddress:
    """Return how the service is told of slapd, and of others that replace it."""
    urls = tuple(spare.url for spare in spares)
    return DirectoryAddress(slapd.url, slapd.ca_file, READER_DN, READER_PASSWORD, spare_urls=urls)


def slapd_administrator(slapd: Slapd) -> Account:
    """Return who may write to slapd: on its plain port, which nobody but this machine reaches."""
    return Account("127.0.0.1", urlsplit(slapd.plain_url).port or 0, ADMIN_DN, ADMIN_PASSWORD)


@contextmanager
def measured_slapd(folder: Path, plan: Plan) -> Iterator[Measured]:
    """Run OpenLDAP with the people of `plan` while the context lasts."""
    with running_slapd(folder, plan) as slapd:
        yield Measured(slapd_address(slapd), slapd_administrator(slapd), _SLAPD_SWITCH, person_dn)


@contextmanager
def measured_samba(folder: Path, plan: Plan) -> Iterator[Measured]:
    """Run an Active Directory domain controller with the people of `plan` while the context lasts.

    Raises:
        RigError: it cannot be made, or did not start.
    """
    controller = samba.Samba(folder / "samba", samba.provision(folder / "domain"))
    controller.start()
    administrator = Account(
        controller.address,
        urlsplit(controller.url).port or 0,
        samba.ADMIN,
        samba.ADMIN_PASSWORD,
        controller.ca_file,
    )
    address = DirectoryAddress(
        controller.url, controller.ca_file, controller.bind_dn, controller.password, kind="active-directory"
    )
    try:
        asyncio.run(_bring_in(administrator, plan))
        yield Measured(address, administrator, _SAMBA_SWITCH, _account_dn)
    finally:
        controller.stop()


def _account_dn(number: int) -> str:
    return f"CN={login(number)},OU=people,{samba.SUFFIX}"


async def _bring_in(account: Account, plan: Plan) -> None:
    """Add the people and the one group they all are in."""
    members = [_account_dn(number) for number in range(plan.people)]
    async with signed_in(account) as administrator:
        for branch in ("people", "groups"):
            await administrator.add(f"OU={branch},{samba.SUFFIX}", {"objectClass": ["organizationalUnit"]})
        for number, dn in enumerate(members):
            attributes = {
                "objectClass": ["user"],
                "sAMAccountName": [login(number)],
                "displayName": [login(number)],
                _SAMBA_SWITCH.attribute: _SAMBA_SWITCH.enabled,
            }
            await administrator.add(dn, attributes)
        everybody = {"objectClass": ["group"], "sAMAccountName": [GROUP], "member": members}
        await administrator.add(f"CN={GROUP},OU=groups,{samba.SUFFIX}", everybody)
