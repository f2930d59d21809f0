# SPDX-License-Identifier: EUPL-1.2
"""Real parts the suite needs: a missing one is a loud skip at a desk and a failure in CI.

A test says what it needs with a marker (``@pytest.mark.slapd``). ``CI=true`` or ``CARDSERVICE_REQUIRE_ALL=1`` turns the
skip into a failure, so that a green run there has used every real part.
"""

import gc
import importlib.util
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.postgres import PostgresServer

# Nothing here trusts the authorities of the machine; to read them all would cost every client of a test 40 ms.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)

LACKS = "lacks"
SERVER_FOLDERS = ("/usr/sbin", "/sbin", "/usr/local/sbin")


def program(name: str) -> str | None:
    """The path of a program, servers included, which are seldom on a user's PATH."""
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), *SERVER_FOLDERS)))


def lacks_programs(*names: str) -> list[str]:
    return [name for name in names if program(name) is None]


def lacks_pcscd() -> list[str]:
    lacking = lacks_programs("pcscd")
    if not any(Path("/usr/lib").glob("pcsc/drivers/serial/libifdvpcd.so*")):
        lacking.append("the vpcd driver")
    if importlib.util.find_spec("smartcard") is None:
        lacking.append("pyscard")
    return lacking


def lacks_cups() -> list[str]:
    lacking = lacks_programs("cupsd", "lpadmin", "lp", "ippeveprinter", "dbus-daemon", "pdftotext")
    # Documents are sent as several accounts of this machine.
    return lacking if os.geteuid() == 0 else [*lacking, "root"]


def lacks_samba() -> list[str]:
    lacking = lacks_programs("samba", "samba-tool")
    # A domain is made by Debian's own interpreter with modules that are packages of their own.
    parts = {"samba-ad-provision": "share/samba/setup", "samba-vfs-modules": "lib/*/samba/vfs/acl_xattr.so"}
    lacking += [name for name, place in parts.items() if not any(Path("/usr").glob(place))]
    # The ports of LDAP, and the rights within a domain's files.
    return lacking if os.geteuid() == 0 else [*lacking, "root"]


def lacks_ds389() -> list[str]:
    lacking = lacks_programs("ns-slapd", "certutil", "pk12util")
    return lacking if Path("/usr/share/dirsrv/data/template-dse.ldif").exists() else [*lacking, "389-ds-base"]


def lacks_postgres() -> list[str]:
    installed = any(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")) or program("pg_ctl") is not None
    return [] if installed else ["pg_ctl"]


def lacks_logind() -> list[str]:
    lacking = lacks_programs("dbus-daemon", "Xvfb", "xss-lock", "i3lock", "xwininfo")
    # Debian's own, run with Debian's own interpreter.
    return lacking if Path("/usr/lib/python3/dist-packages/dbusmock").exists() else [*lacking, "python3-dbusmock"]


def lacks_browser() -> list[str]:
    return [] if program("chromium") or program("chromium-browser") else ["chromium"]


def lacks_yubico() -> list[str]:
    lacking = lacks_programs("yubico-piv-tool")
    lacking += [] if any(Path("/usr/lib").glob("*/libykcs11.so*")) else ["libykcs11"]
    ykman = Path(__file__).resolve().parents[1] / "var" / "ykman" / "ykman"
    return lacking if ykman.exists() else [*lacking, "ykman"]


WHAT_IS_LACKING: dict[str, Callable[[], list[str]]] = {
    "pcscd": lacks_pcscd,
    "slapd": lambda: lacks_programs("slapd"),
    "samba": lacks_samba,
    "ds389": lacks_ds389,
    "postgres": lacks_postgres,
    "cups": lacks_cups,
    "logind": lacks_logind,
    "opensc": lambda: lacks_programs("opensc-tool", "pkcs11-tool"),
    "freefare": lambda: lacks_programs("mifare-desfire-info"),
    "gnutls": lambda: lacks_programs("p11tool"),
    "yubico": lacks_yubico,
    "softhsm": lambda: lacks_programs("softhsm2-util"),
    "browser": lacks_browser,
    "openssl": lambda: lacks_programs("openssl"),
    "systemd": lambda: lacks_programs("systemd-analyze"),
    "poppler": lambda: lacks_programs("pdfinfo", "pdffonts", "pdftotext", "pdftoppm"),
    "promtool": lambda: lacks_programs("promtool"),
    "atheris": lambda: [] if importlib.util.find_spec("atheris") else ["atheris"],
}


@cache
def lacking(part: str) -> tuple[str, ...]:
    return tuple(WHAT_IS_LACKING[part]())


@pytest.fixture(scope="session")
def postgres_server() -> Iterator["PostgresServer"]:
    """One private server for the whole run; every test takes databases of its own, and drops them."""
    # Imported here: most folders of tests need no database driver.
    from support.postgres import running_server

    with running_server() as server:
        yield server


def pytest_collection_finish() -> None:
    """Keep what was loaded out of every garbage collection; tests leave cycles, so one is made now and then."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def all_parts_are_required() -> bool:
    return os.environ.get("CI") == "true" or os.environ.get("CARDSERVICE_REQUIRE_ALL") == "1"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Stop a test before its fixtures when a real part it needs is not on this machine."""
    for part in WHAT_IS_LACKING:
        if item.get_closest_marker(part) is None or not lacking(part):
            continue
        reason = f"{part} is missing here ({', '.join(lacking(part))}); ./test installs it"
        if all_parts_are_required():
            pytest.fail(reason, pytrace=False)
        # It travels with the report, whichever process ran the test.
        item.user_properties.append((LACKS, part))
        pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end, in one place, which real parts this run has not used."""
    skipped = terminalreporter.stats.get("skipped", [])
    skipped_for = Counter(part for report in skipped for name, part in report.user_properties if name == LACKS)
    if not skipped_for:
        return
    terminalreporter.section("NOT TESTED HERE: real parts are missing", sep="!", red=True, bold=True)
    for part, count in sorted(skipped_for.items()):
        terminalreporter.line(f"{part}: {count} tests skipped, missing: {', '.join(lacking(part))}")
    terminalreporter.line("As root, ./test installs them.")
