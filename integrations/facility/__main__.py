# SPDX-License-Identifier: EUPL-1.2
"""`python -m integrations.facility`: the doors on the command line. Exit code 0, or 2 if the service refuses."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from integrations.facility.client import Facility, FacilityError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    options = _parser().parse_args(argv)
    token = options.token_file.read_text("utf-8").strip()
    try:
        with Facility(options.url, token) as facility:
            _run(facility, options)
    except FacilityError as error:
        sys.stderr.write(f"refused: {error.code}: {error}\n")
        return 2
    except KeyboardInterrupt:
        pass
    return 0


def _run(facility: Facility, options: argparse.Namespace) -> None:
    match options.command:
        case "list":
            _print(*facility.doors())
        case "open":
            _print(facility.open_once(options.door, options.reason))
        case "lockdown":
            facility.lock_down(options.zone, options.reason, options.passing)
        case "lockdowns":
            _print(*facility.lockdowns())
        case "end-lockdown":
            facility.end_lock_down(options.zone)
        case _:
            for event in facility.follow(options.after):
                _print(event)


def _print(*documents: object) -> None:
    for document in documents:
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
        sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m integrations.facility", description="Doors over the public API.")
    parser.add_argument("--url", required=True, help="the service, for example https://card.example.org")
    parser.add_argument("--token-file", type=Path, required=True, help="file with the caller's token")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="every door and what it does now")
    opening = commands.add_parser("open", help="open a door once")
    opening.add_argument("door")
    opening.add_argument("reason", help="why; it is kept")
    locking = commands.add_parser("lockdown", help="lock every door of a zone")
    locking.add_argument("zone")
    locking.add_argument("reason")
    locking.add_argument("--passing", help="a group whose members still enter where they have a grant")
    commands.add_parser("lockdowns", help="which zones are locked down")
    commands.add_parser("end-lockdown", help="end a lockdown").add_argument("zone")
    commands.add_parser("follow", help="print events as they come").add_argument("--after", help="cursor to go on from")
    return parser


if __name__ == "__main__":
    sys.exit(main())
