# SPDX-License-Identifier: EUPL-1.2
"""The demonstration city, once for all modules that show its page, and a browser for each of them."""

from collections.abc import Iterator

import pytest
from playwright.async_api import expect as expect_async
from playwright.sync_api import Browser, Page, expect, sync_playwright
from support.browser import launch_options

from cardservice.demo.city import DemoCity
from cardservice.demo.page import serve_page
from pages.visitor import open_page, running_city

# A limit for what hangs, not a measure: these tests share a busy machine.
expect.set_options(timeout=60_000)
expect_async.set_options(timeout=60_000)


@pytest.fixture(scope="package")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoCity]:
    with running_city(tmp_path_factory.mktemp("city") / "state") as running:
        yield running


@pytest.fixture(scope="package")
def address(city: DemoCity) -> Iterator[str]:
    with serve_page(city, "127.0.0.1", 0) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Not for longer than a module: its event loop is in the way of tests that have one of their own.
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(**launch_options())
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def drawer(browser: Browser, address: str) -> Iterator[tuple[Page, list[str]]]:
    """One open page, for many cards."""
    page, complaints = open_page(browser, address)
    yield page, complaints
    page.close()
