# SPDX-License-Identifier: EUPL-1.2
"""The service's error tree."""

import inspect

from cardservice import errors
from cardservice.errors import CardServiceError, Overloaded

TREE = [thing for _, thing in inspect.getmembers(errors, inspect.isclass)]


def test_every_error_is_in_the_tree_and_drawn() -> None:
    assert len(TREE) > 5
    for error in TREE:
        assert issubclass(error, CardServiceError)
        assert error.__name__ in (errors.__doc__ or "")


def test_the_command_line_ends_with_a_code_a_script_can_tell() -> None:
    """Never 0, and never above 125, which shells use themselves."""
    assert all(1 <= error.exit_code <= 125 for error in TREE)


def test_overloaded_says_when_to_come_back() -> None:
    assert Overloaded("full").retry_after_s == 1
    assert Overloaded("full", retry_after_s=7).retry_after_s == 7
