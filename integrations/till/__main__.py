# SPDX-License-Identifier: EUPL-1.2
"""`python -m integrations.till`: a till on the command line.

Exit codes: 0 paid (or taken back), 1 refused, timed out or cancelled, 2 refused by the service, 3 outcome unknown.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

from integrations.till.client import Till, TillError, UnknownOutcome


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    options = _parser().parse_args(argv)
    token = options.token_file.read_text("utf-8").strip()
    try:
        with Till(options.url, token, options.terminal, options.open_file) as till:
            return _run(till, options)
    except TillError as error:
        sys.stderr.write(f"refused: {error.code}: {error}\n")
        return 2
    except UnknownOutcome as error:
        again = "run 'settle'" if options.command in {"pay", "settle"} else "run the same command again"
        sys.stderr.write(f"unknown: {error}; {again}\n")
        return 3


def _run(till: Till, options: argparse.Namespace) -> int:
    if options.command in {"pay", "settle"}:
        outcome = till.pay(options.amount, wait_s=options.wait) if options.command == "pay" else till.settle_open()
        if outcome is None:
            sys.stdout.write("nothing is open\n")
            return 0
        sys.stdout.write(json.dumps(dict(outcome.details)) + "\n")
        return 0 if outcome.status == "paid" else 1
    if options.command == "void":
        answer = till.void(options.payment)
    else:
        answer = till.refund(options.payment, options.amount, key=options.key)
    sys.stdout.write(json.dumps(dict(answer)) + "\n")
    return 0 if answer["status"] == "refunded" else 1


def _euros(text: str) -> int:
    try:
        cents = Decimal(text.replace(",", ".")) * 100
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount; 9.80 is one") from None
    if cents != cents.to_integral_value() or cents <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount in cents; 9.80 is one")
    return int(cents)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m integrations.till", description="A till that is paid by card.")
    parser.add_argument("--url", required=True, help="the service, for example https://card.example.org")
    parser.add_argument("--token-file", type=Path, required=True, help="file with the till's token")
    parser.add_argument("--terminal", required=True, help="code of the terminal's point")
    parser.add_argument("--open-file", type=Path, default=Path("till-open.json"), help="where an open payment is kept")
    commands = parser.add_subparsers(dest="command", required=True)
    pay = commands.add_parser("pay", help="wait for a card and let it pay")
    pay.add_argument("amount", type=_euros, help="in euros, for example 9.80")
    pay.add_argument("--wait", type=int, default=30, help="seconds to wait for a card")
    commands.add_parser("settle", help="find out what came of a payment that is still open")
    void = commands.add_parser("void", help="take back a whole payment")
    void.add_argument("payment")
    refund = commands.add_parser("refund", help="give back part of a payment")
    refund.add_argument("payment")
    refund.add_argument("amount", type=_euros)
    refund.add_argument("--key", required=True, help="the till's own number of this refund")
    return parser


if __name__ == "__main__":
    sys.exit(main())
