# SPDX-License-Identifier: EUPL-1.2
"""Chromium as every test of a page starts it, and what it has to complain about."""

import shutil
from typing import Any

CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def launch_options() -> dict[str, Any]:
    """Return how Playwright starts this machine's Chromium, under either of its names."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    return {"executable_path": path, "args": list(CHROMIUM_FLAGS)}


def complaints_of(page: Any) -> list[str]:
    """Return the list that collects every error and warning of a page, synchronous or not, from now on."""
    complaints: list[str] = []

    def note(message: Any) -> None:
        if message.type in {"error", "warning"}:
            complaints.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


def press(page: Any, control: Any) -> None:
    """Reach a control by the keyboard, in a page of Playwright's synchronous kind, and press Enter.

    Returns when a page that this brings is there: `keyboard.press` does not wait for it.
    """
    del page
    control.press("Enter")
