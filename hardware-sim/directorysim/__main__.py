# SPDX-License-Identifier: EUPL-1.2
"""Runs a directory server in the foreground: `python -m directorysim --ldif FILE --suffix ...`."""

import argparse
import asyncio
import json
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from directorysim.errors import ConfigurationError, DirectorySimError
from directorysim.server import DirectoryServer
from directorysim.settings import Options, TlsFiles

_MAX_PASSWORD_FILE_BYTES: Final = 4_096


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="directorysim", description="An LDAP directory in memory, on 127.0.0.1.")
    parser.add_argument("--ldif", type=Path, required=True, help="initial content")
    parser.add_argument("--suffix", required=True, help="for example dc=corp,dc=example")
    parser.add_argument("--admin-dn", required=True, help="the only name that may write")
    parser.add_argument("--admin-password-file", type=Path, required=True)
    parser.add_argument("--run-dir", type=Path, required=True, help="for certificate and control socket")
    parser.add_argument("--port", type=int, default=0, help="ldap port; 0 takes a free one")
    parser.add_argument("--ldaps-port", type=int, default=0, help="ldaps port; 0 takes a free one")
    parser.add_argument("--size-limit", type=int, default=500, help="entries per search; 0 means no limit")
    parser.add_argument("--unlimited-dn", action="append", default=[], help="a name without a size limit")
    parser.add_argument("--session-log", type=int, default=10_000, help="changes kept for consumers")
    parser.add_argument("--tls-ca", type=Path, help="PEM; all three --tls files or none")
    parser.add_argument("--tls-certificate", type=Path)
    parser.add_argument("--tls-key", type=Path)
    return parser.parse_args(arguments)


def _tls_files(given: argparse.Namespace) -> TlsFiles | None:
    files = (given.tls_ca, given.tls_certificate, given.tls_key)
    if not any(files):
        return None
    if not all(files):
        raise ConfigurationError("--tls-ca, --tls-certificate and --tls-key belong together")
    return TlsFiles(*files)


def _build(given: argparse.Namespace) -> DirectoryServer:
    with given.admin_password_file.open("rb") as file:
        password = file.read(_MAX_PASSWORD_FILE_BYTES).decode().rstrip("\r\n")
    options = Options(
        ldap_port=given.port,
        ldaps_port=given.ldaps_port,
        run_dir=given.run_dir,
        tls=_tls_files(given),
        size_limit=given.size_limit,
        unlimited_dns=tuple(given.unlimited_dn),
        session_log_size=given.session_log,
    )
    return DirectoryServer(given.suffix, given.ldif, admin_dn=given.admin_dn, admin_password=password, options=options)


async def _run(server: DirectoryServer) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await server.start()
    try:
        ready = {
            "ready": True,
            "ldap": server.ldap_url,
            "ldaps": server.ldaps_url,
            "ca": str(server.ca_file),
            "control": str(server.control_path),
        }
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        await stopped.wait()
    finally:
        await server.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; returns 0, or 1 when the server cannot start."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        asyncio.run(_run(_build(_arguments(arguments))))
    except (DirectorySimError, OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"directorysim: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
