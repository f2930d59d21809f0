# SPDX-License-Identifier: EUPL-1.2
"""Where whoever signed in is sent: to pages of ours, and nowhere else, however the address is written."""

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cardservice.web.login_paths import MAX_PATH, SignInNeeded, local_path

OURS = "https://card.example"


@pytest.mark.parametrize(
    "path", ["/", "/my/doors", "/my/time?month=2026-11&lang=en", "/a/b.c-d_e~f", "/x?next=https%3A%2F%2Fevil.example"]
)
def test_pages_of_ours_are_kept(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        *(None, "", "my/doors", "?x=1", "#x", "."),
        *("//evil.example", "///evil.example", "////evil.example", "/\\evil.example", "\\\\evil.example", "/a\\b"),
        *("https://evil.example", "HTTPS:/evil.example", "javascript:alert(1)", "//user@evil.example", "user@evil"),
        *("/%2fevil.example", "/%2Fevil.example", "%2f%2fevil.example", "/%5cevil.example", "/%252fevil.example"),
        *("/%09/evil.example", "/\t/evil.example", "/\n/evil.example", "\n//evil.example", " //evil.example", "/ /x"),
        *("/%0d%0aSet-Cookie:x=1", "/a\r\nb", "/\x00", "/%00", "/\x7f", "/straße", "/\u2028", "/\u200b/evil.example"),
        *("/login", "/login?next=/login", "/logout", "/confirm"),
        "/" + "a" * MAX_PATH,
    ],
)
def test_everything_else_is_not(path: str | None) -> None:
    """Other hosts, in each spelling that a browser or a proxy might read so; and the doors in and out themselves."""
    assert local_path(path) is None


@given(st.text(alphabet="/\\%25fFcC0aA9dD.:@?#ex \t\n", max_size=12).map(lambda text: "/" + text))
@example("/.//evil.example")
def test_whatever_is_kept_leads_to_us(path: str) -> None:
    """Resolved as the standard says (RFC 3986, section 5), the address has our host."""
    if local_path(path) is not None:
        assert urlsplit(urljoin(f"{OURS}/login", path)).netloc == "card.example"


def test_the_way_back_survives_the_sign_in_page() -> None:
    assert (
        SignInNeeded("/my/time?month=2026-11&lang=en").location
        == "/login?next=%2Fmy%2Ftime%3Fmonth%3D2026-11%26lang%3Den"
    )
