# SPDX-License-Identifier: EUPL-1.2
"""`cardservice demo`: the city with its page, or a script."""

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

from cardservice import logs
from cardservice.demo.city import HOST_PCSC, DemoCity, Options, default_state
from cardservice.demo.one_day import one_day
from cardservice.demo.page import serve_page
from cardservice.demo.script import first_tap
from cardservice.errors import CardServiceError
from rig.errors import RigError

DEFAULT_PORT = 8080
SCRIPTS: Final[Mapping[str, Callable[[DemoCity], dict[str, Any]]]] = {"first-tap": first_tap, "one-day": one_day}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration; return the exit code: 0 all went as it should, 1 it did not, others as the errors say."""
    options = _parser().parse_args(argv)
    logs.configure("error", "text")
    _end_on_terminate()
    wanted = Options(
        _state_folder(options),
        "never" if options.in_process else "required" if options.require_pcsc else "auto",
        host_pcsc=HOST_PCSC if options.script is None else None,
    )
    city = DemoCity(wanted, _say_nothing if options.json else _say)
    try:
        city.start()
        return _play(city, options.script, as_json=options.json) if options.script else _show(city, options)
    except (CardServiceError, RigError) as error:
        _complain(str(error))
        return error.exit_code if isinstance(error, CardServiceError) else 1
    except KeyboardInterrupt:
        return 0
    finally:
        city.stop()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cardservice demo",
        description="The demonstration city: directory, service, agents, readers, cards and a page in the browser.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address of the page (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"port of the page (default {DEFAULT_PORT})")
    parser.add_argument("--state", type=Path, default=None, help="folder for all state; emptied at start")
    parser.add_argument("--script", choices=sorted(SCRIPTS), help="play a script instead of showing the page")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    readers = parser.add_mutually_exclusive_group()
    readers.add_argument("--in-process", action="store_true", help="without pcscd, even if it could be had")
    readers.add_argument("--require-pcsc", action="store_true", help="fail if the real pcscd cannot be used")
    return parser


def _state_folder(options: argparse.Namespace) -> Path:
    """Return the folder for all state: a script's own beside the page's, so that both can run at once."""
    if options.state is not None:
        return Path(options.state)
    return default_state() if options.script is None else default_state().with_name(f"demo-{options.script}")


def _play(city: DemoCity, script: str, *, as_json: bool) -> int:
    document = SCRIPTS[script](city)
    if as_json:
        sys.stdout.write(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    else:
        for step in document["steps"]:
            _say(_line(step))
        if "revocation" in document:
            _say(f"revocation published after {document['revocation']['published_ms']} ms")
    return 0 if document["ok"] else 1


def _line(step: Mapping[str, Any]) -> str:
    """Return what is said of one step, of either script."""
    verdict = "ok  " if step["ok"] else "FAIL"
    if "permit" in step:
        outcome = "opens" if step["permit"] else f"refused: {step['reason']}"
        return f"{verdict}  {step['step']}: {outcome} ({step['inserted_to_decision_ms']} ms)"
    if not step["played"]:
        return f"--    {step['step']} ({step['place']}): not on this machine: {step['why_not']}"
    why = "" if step["ok"] else f": {step['seen']}"
    return f"{verdict}  {step['step']} ({step['place']}, {step['took_ms']} ms){why}"


def _show(city: DemoCity, options: argparse.Namespace) -> int:
    with serve_page(city, options.host, options.port) as url:
        _say(f"\nThe city is open: {url}\nCtrl-C closes it.")
        threading.Event().wait()
    return 0


def _end_on_terminate() -> None:
    def stop(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _say_nothing(_: str) -> None:
    """Only the JSON document is printed."""


def _complain(line: str) -> None:
    sys.stderr.write(f"cardservice demo: {line}\n")
