# SPDX-License-Identifier: EUPL-1.2
"""A browser that signs in through the form, as far as tests need one: its cookies, and the token its pages hold."""

import html
import re
from http.cookies import Morsel, SimpleCookie
from typing import Any, Self

import httpx2

from cardservice.web.login_devices import DEVICE_COOKIE
from cardservice.web.session import COOKIE
from city.people import password_of

TOKEN = re.compile(r'name="form_token" value="([0-9a-f]{64})"')
LIMIT_S = 60


def cookies_of(response: httpx2.Response) -> dict[str, Morsel[str]]:
    """Return the cookies that an answer sets, with their attributes."""
    found: dict[str, Morsel[str]] = {}
    for line in response.headers.get_list("set-cookie"):
        found |= SimpleCookie(line)
    return found


class Visitor:
    """Keeps secure cookies on loopback, as browsers do; says with each request that it comes from our own page."""

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self.client = httpx2.Client(base_url=url, timeout=LIMIT_S, **options)
        self.cookies: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    @property
    def session(self) -> str | None:
        """The session's token, None for none."""
        return self.cookies.get(COOKIE)

    @property
    def device(self) -> str | None:
        """What says that somebody signed in here before."""
        return self.cookies.get(DEVICE_COOKIE)

    def headers(self) -> dict[str, str]:
        """Return what the browser sends along: its cookies, and where the page is from."""
        sent = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {"Origin": self.url} | ({"Cookie": sent} if sent else {})

    def request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Send a request and keep the cookies that come back."""
        headers = {**self.headers(), **options.pop("headers", {})}
        response = self.client.request(method, path, headers=headers, **options)
        for name, cookie in cookies_of(response).items():
            if cookie.value and cookie["max-age"] != "0":
                self.cookies[name] = cookie.value
            else:
                self.cookies.pop(name, None)
        return response

    def get(self, path: str, **options: Any) -> httpx2.Response:
        """Ask for a page."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx2.Response:
        """Send a form."""
        return self.request("POST", path, **options)

    def try_to_sign_in(self, login: str, password: str, **fields: str) -> httpx2.Response:
        """Send the sign-in form."""
        return self.post("/login", data={"name": login, "password": password, **fields})

    def sign_in(self, login: str, password: str | None = None) -> Self:
        """Sign in; fails if that fails."""
        answered = self.try_to_sign_in(login, password_of(login) if password is None else password)
        assert answered.status_code == 303, answered.text
        return self

    def form_token(self) -> str:
        """Return what the pages of this session send along."""
        found = TOKEN.search(self.get("/confirm").text)
        assert found is not None
        return html.unescape(found[1])
