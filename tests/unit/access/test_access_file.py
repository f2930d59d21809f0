# SPDX-License-Identifier: EUPL-1.2
"""The file of the access model: whatever names say comes back, and every mistake is named with its line."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.access.plan import text
from cardservice.access.plan.effects import Membership
from cardservice.access.plan.parts import write_membership
from cardservice.access.plan.rules import differences, in_order
from cardservice.access.plan.text import MAX_FILE_BYTES, read_changes, read_model, write_model
from cardservice.access.rules import Level, Use
from cardservice.access.schedules import Interval
from cardservice.access.setup_parts import (
    AccessSetup,
    DemandSetup,
    LevelException,
    PointClassSetup,
    PointSetup,
    RuleSetup,
    ScheduleSetup,
    ZoneSetup,
)
from cardservice.errors import Conflict

NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=0, max_size=30)
PRINTABLE = NAMES.filter(lambda name: name and name.isprintable())
MODEL = AccessSetup(
    zones=[ZoneSetup("house", "Haus")],
    schedules=[ScheduleSetup("night", "Nacht", (Interval(7, 0, 60), Interval(0, 1380, 1440)))],
    point_classes=[
        PointClassSetup("vault", "Tresor", ("piv",), Level.CARD_PIN, demands=(DemandSetup("night", Level.CARD, 2),))
    ],
    points=[
        PointSetup("door", "Tür", "house", "vault", exception=LevelException(1, "Umbau"), options={"a": "x", "b": 1})
    ],
    rules=[RuleSetup(group="A", use=Use.DOOR, valid_from_ms=-5, valid_until_ms=2**60)],
)


@given(PRINTABLE, NAMES, st.integers(-(2**62), 2**62))
def test_whatever_a_name_says_comes_back(name: str, login: str, instant_ms: int) -> None:
    """Quotes, brackets, control characters of a directory: nothing in a name can end it or begin another table."""
    rule = RuleSetup(login=login, zone="house", valid_from_ms=instant_ms)
    model = AccessSetup(zones=[ZoneSetup("house", name)], rules=[rule])
    assert read_model(write_model(model).encode()) == in_order(model)


def test_everything_a_model_can_say_comes_back() -> None:
    written = write_model(MODEL)
    assert read_model(written.encode()) == in_order(MODEL)
    assert write_model(read_model(written.encode())) == written


def test_what_somebody_else_wrote_is_brought_into_order() -> None:
    """Another order of tables and keys, comments and inline tables say the same."""
    foreign = b"""
format = 1
point = [{point_class = "k", zone = "z", use = "door", name = "P", code = "p"}]  # one line
[[point_class]]
name = "K"
code = "k"
level = "card"
methods = ["desfire"]
[[zone]]
name = "Z"
code = "z"
"""
    model = read_model(foreign)
    assert [point.code for point in model.points] == ["p"]
    assert model.point_classes == [PointClassSetup("k", "K")]
    assert not any(differences(model, read_model(write_model(model).encode())))


GOOD = write_model(MODEL)
WRONG = [
    ('code = "door"', 'cod = "door"', "line 26: point number 1.code: nothing"),
    ('name = "Haus"', 'name = "Haus"\nfarbe = "rot"', "zone 'house'.farbe: 'farbe'; allowed is nothing of that name"),
    ('name = "Haus"', "name = 7", "line 8: zone 'house'.name: 7; allowed is a text of 1 to 200"),
    ('name = "Haus"', 'name = "a\\nb"', "printable"),
    ('name = "Haus"', f'name = "{"x" * 201}"', "1 to 200"),
    ('name = "Haus"', 'name = "Haus"\nlevel = "strong"', "one of none, uid, reader_attested, card, card_pin"),
    ('name = "Haus"', 'name = "Haus"\nparent = "nowhere"', "zone 'house'.parent: there is no zone 'nowhere'"),
    ('name = "Haus"', 'name = "Haus"\nparent = "house"', "zone 'house'.parent: it lies in itself"),
    ('"23:00-24:00"', '"23:00-24:01"', "07:30-18:00"),
    ('"23:00-24:00"', '"23:60-24:00"', "07:30-18:00"),
    ('"23:00-24:00"', '"23:00-23:00"', "end after the start"),
    ('"23:00-24:00"', "5", "07:30-18:00"),
    ('monday = ["23:00-24:00"]', 'monday = "23:00-24:00"', "a list of at most 500 times of day"),
    ('methods = ["piv"]', "methods = []", "desfire, piv, attested, each once"),
    ('methods = ["piv"]', 'methods = ["piv", "piv"]', "each once"),
    ('methods = ["piv"]', 'methods = ["nfc"]', "each once"),
    ('use = "door"\nzone', 'use = "lift"\nzone', "one of door, workstation"),
    ('zone = "house"', 'zone = "nowhere"', "point 'door'.zone: there is no zone 'nowhere'"),
    ('schedule = "night"', 'schedule = "day"', "point_class 'vault'.demands.schedule: there is no schedule 'day'"),
    ("people = 2", "people = true", "a whole number"),
    ("people = 2", "people = 2, more = 1", "demands.more"),
    ("freshness_ms = 43200000", "freshness_ms = -1", "a whole number from 0"),
    ("until = 1970-01-01T00:00:00.001000Z", "until = 1970-01-01T00:00:00", "with a zone"),
    ("until = 1970-01-01T00:00:00.001000Z, ", "", "with a zone"),
    ('group = "A"', 'group = "A"\nlogin = "b"', "one of group and login"),
    ('use = "door"\nvalid', "valid", "one of point, zone and use"),
    ("valid_from = -5", "valid_from = 1.5", "with a zone"),
    ("format = 1", "format = 2", "format: 2; allowed is 1"),
    ("format = 1", "format = true", "allowed is 1"),
    ("format = 1", "", "format: nothing"),
    ("[[grant]]", "[[grants]]", "'grants': there is no such table; allowed are [[zone]]"),
    ("[[grant]]", "[grant]", "allowed are at most 100000 tables"),
    ('[[zone]]\ncode = "house"', '[[zone]]\ncode = "house"\nname = "H"\n[[zone]]\ncode = "house"', "two of this code"),
    ("[[grant]]", "[[membership]]", "'membership': there is no such table"),
]


@pytest.mark.parametrize(("right", "wrong", "says"), WRONG, ids=range(len(WRONG)))
def test_a_mistake_is_named_with_its_place_and_what_is_allowed(right: str, wrong: str, says: str) -> None:
    assert right in GOOD
    with pytest.raises(Conflict) as refused:
        read_model(GOOD.replace(right, wrong, 1).encode())
    assert says in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe",
        b"format = 1\n[[zone",
        b"format = 1\nx = " + b"[" * 100_000,
        b"format = " + b"9" * 5_000,
        b"format = 1\nzone = [1]",
        b"format = 1\nzone = 1",
        b"#" * (MAX_FILE_BYTES + 1),
    ],
    ids=range(7),
)
def test_whatever_the_bytes_are_it_is_one_refusal(content: bytes) -> None:
    with pytest.raises(Conflict) as refused:
        read_model(content)
    assert len(str(refused.value)) < 400


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_else(content: bytes) -> None:
    with pytest.raises(Conflict):
        read_model(content)


def test_more_tables_than_a_city_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "LIMITS", dict(text.LIMITS) | {"zone": 1})
    model = AccessSetup(zones=[ZoneSetup("a", "A"), ZoneSetup("b", "B")])
    with pytest.raises(Conflict, match="at most 1 tables"):
        read_model(write_model(model).encode())


def test_zones_lie_32_deep_at_most() -> None:
    chain = [ZoneSetup(f"z{n:02}", "Z", f"z{n - 1:02}" if n else None) for n in range(33)]
    assert len(read_model(write_model(AccessSetup(zones=chain[:32])).encode()).zones) == 32
    with pytest.raises(Conflict, match=r"zone 'z32'\.parent: allowed are 32"):
        read_model(write_model(AccessSetup(zones=chain)).encode())


def test_who_joins_and_leaves_stands_in_a_file_of_changes() -> None:
    """With or without a model; a file without one leaves it as it is."""
    joins = Membership("office", "anna", None, joins=True)
    leaves = Membership("office", None, "guests", joins=False)
    lines = "\n".join(
        "[[membership]]\n" + "\n".join(f'{key} = "{value}"' for key, value in write_membership(one).items())
        for one in (joins, leaves)
    )
    assert read_changes(f"format = 1\n{lines}\n".encode()) == (None, [joins, leaves])
    assert read_changes(f"{GOOD}\n{lines}\n".encode()) == (in_order(MODEL), [joins, leaves])
    with pytest.raises(Conflict, match="one of login and member_group"):
        read_changes(b'format = 1\n[[membership]]\ngroup = "a"\nchange = "joins"\n')


def test_the_file_is_plain_toml() -> None:
    assert tomllib.loads(GOOD)["point_class"][0]["demands"] == [{"schedule": "night", "level": "card", "people": 2}]
