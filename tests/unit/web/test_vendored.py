# SPDX-License-Identifier: EUPL-1.2
"""Files of others are what their list says: name, version, checksum, and nothing beside them."""

import hashlib
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LISTS = sorted([*ROOT.glob("cardservice/**/vendor.toml"), *ROOT.glob("tests/vectors/**/vendor.toml")])


def test_there_are_lists():
    assert [file.parent.name for file in LISTS] == ["fonts", "vendor", "axe"]


@pytest.mark.parametrize("file", LISTS, ids=lambda file: file.parent.name)
def test_a_vendored_file_is_the_one_that_was_checked(file):
    listed = tomllib.loads(file.read_text())["file"]
    assert {one["name"]: one["sha256"] for one in listed} == {
        found.name: hashlib.sha256(found.read_bytes()).hexdigest()
        for found in file.parent.iterdir()
        if found.name != file.name
    }
    for one in listed:
        assert one["package"]
        assert one["version"]
        assert one["licence"]
