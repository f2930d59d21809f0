# SPDX-License-Identifier: EUPL-1.2
"""New keys for one application of a card in use, from any place on the way; the old ones are dead afterwards."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.chip.hostile import Script, scripts
from unit.chip.virtual import PICC_KEY, SYSTEM_ID, Field, UseKeys, keys, number, plan, pulled_everywhere, tap

from cardservice.chip.conversation import drive
from cardservice.chip.desfire_application import CardApplication
from cardservice.chip.desfire_card import CardLevel
from cardservice.chip.desfire_formats import NewApplication
from cardservice.chip.desfire_layout import NUMBER_FILE, Step, write_number
from cardservice.chip.desfire_personalise import personalise
from cardservice.chip.desfire_rollover import (
    RolloverPlan,
    RolloverState,
    finish_rollover,
    prepare_rollover,
    replace_keys,
    roll_over,
)
from cardservice.chip.errors import (
    AuthenticationRefused,
    CardUnfit,
    ChipError,
    IntegrityRefused,
    ProofKeyRefused,
    StatusError,
    UnfitCause,
)
from cardservice.chip.keys import SoftwareWritableKey
from cardservice.chip.layout import CardUse, NumberFile
from cardservice.chip.locate import identify

DOOR = CardUse.DOOR


def rollover(current: int = 1, following: int = 2) -> RolloverPlan:
    return RolloverPlan(DOOR, number(DOOR), keys(current, DOOR), keys(following, DOOR))


def in_use() -> Field:
    """A card of ours with two applications, freshly activated."""
    field = Field()
    drive(personalise(plan()), field)
    field.activate()
    return field


def has_generation(field: Field, generation: int) -> bool:
    return tap(field, DOOR, generation) == number(DOOR)


def still_opens(field: Field) -> bool:
    """Whether the door opens to a card while both generations count."""
    return tap(field, DOOR, 2, 1) == number(DOOR)


def test_the_next_generation_is_prepared_beside_the_one_in_force():
    """Until the change is finished a tap sees the old keys, and nothing else."""
    field = in_use()
    assert drive(prepare_rollover(rollover()), field) is RolloverState.PREPARED
    assert has_generation(field, 1)
    with pytest.raises(AuthenticationRefused):
        tap(field, DOOR, 2)


def test_after_the_change_only_the_new_keys_count():
    """A tap proves the new generation, each old key is refused, and the other application is as it was."""
    field = in_use()
    drive(roll_over(rollover()), field)
    assert has_generation(field, 2)
    assert tap(field, CardUse.CANTEEN) == number(CardUse.CANTEEN)
    field.activate()
    application = drive(CardApplication.select(DOOR.aid), field)
    for key_no, key in keys(1, DOOR).numbered():
        with pytest.raises(AuthenticationRefused):
            drive(application.authenticate_ev2_first(key_no, key, random_bytes=bytes), field)


def test_a_card_changes_its_keys_again_and_again():
    """Each change prepares set 1, for the set in force is always number 0."""
    field = in_use()
    for generation in range(1, 6):
        drive(roll_over(rollover(generation, generation + 1)), field)
        assert has_generation(field, generation + 1)
        field.activate()


def test_a_change_pulled_at_any_command_is_finished_the_next_time():
    """Before or after InitializeKeySet, each ChangeKeyEV2, FinalizeKeySet, RollKeySet and the number file.

    Pulled anywhere, the card opens until then: while both generations count, a tap finds the one that is in force.
    """

    def work(field: Field) -> None:
        drive(roll_over(rollover()), field)

    assert pulled_everywhere(in_use, work, lambda field: has_generation(field, 2), still_opens) > 50


def test_preparing_a_second_time_writes_nothing():
    field = in_use()
    drive(prepare_rollover(rollover()), field)
    field.activate()
    assert drive(prepare_rollover(rollover()), field) is RolloverState.PREPARED
    assert not {apdu[1] for apdu in field.sent} & {0x55, 0x56, 0x57, 0xC6}


def test_between_rolling_and_the_number_file_the_next_generation_proves_the_card():
    """The file names the generation before, whose keys are dead: the next one's are tried, even if it is withdrawn."""
    field = in_use()
    drive(prepare_rollover(rollover()), field)
    roll = iter(range(100))
    try:
        drive(finish_rollover(rollover()), lambda apdu: b"" if apdu[1] == 0x3D and next(roll) == 0 else field(apdu))
    except ChipError:
        field.activate()
    for generations in ((2, 1), (2,)):
        field.activate()
        proven = drive(identify(DOOR, UseKeys(DOOR, *generations), system_id=SYSTEM_ID), field)
        assert (proven.number, proven.generation) == (number(DOOR), 2)
    with pytest.raises(AuthenticationRefused):
        tap(field, DOOR, 1)
    field.activate()
    assert drive(prepare_rollover(rollover()), field) is RolloverState.ROLLED
    drive(finish_rollover(rollover()), field)
    assert has_generation(field, 2)


def test_a_card_that_refuses_both_generations_is_refused():
    """Neither the proof key that it claims nor the next one is its own."""
    field = in_use()
    field.activate()
    known = UseKeys(DOOR, 1)
    known.proof = UseKeys(CardUse.CANTEEN, 1, 2).proof
    with pytest.raises(ProofKeyRefused):
        drive(identify(DOOR, known, system_id=SYSTEM_ID), field)


def test_nothing_is_rolled_that_was_not_prepared():
    field = in_use()
    with pytest.raises(CardUnfit, match="not prepared"):
        drive(finish_rollover(rollover()), field)
    assert has_generation(field, 1)


def test_a_card_of_neither_generation_is_not_touched():
    field = in_use()
    with pytest.raises(CardUnfit) as unfit:
        drive(prepare_rollover(rollover(3, 4)), field)
    assert unfit.value.cause is UnfitCause.KEY
    assert has_generation(field, 1)


def with_one_key_set() -> Field:
    """A card as they were made before there were key sets."""
    field = in_use()
    level = drive(CardLevel.select(), field)
    drive(level.authenticate_ev2_first(0, PICC_KEY, random_bytes=bytes), field)
    drive(level.delete_application(DOOR.aid), field)
    default = SoftwareWritableKey(bytes(16))
    drive(level.set_default_key(bytes(16)), field)
    drive(level.create_application(NewApplication(DOOR.aid, 0x0B, 3)), field)
    application = drive(CardApplication.select(DOOR.aid), field)
    drive(application.authenticate_ev2_first(0, default, random_bytes=bytes), field)
    drive(application.create_std_data_file(NUMBER_FILE), field)
    drive(write_number(application, NumberFile(1, number(DOOR))), field)
    for key_no, key in keys(1, DOOR).numbered():
        drive(application.change_key(key_no, key, old=default if key_no else None), field)
    field.activate()
    return field


def test_an_application_with_one_key_set_is_named():
    """Cards made before there were key sets are told apart from broken ones, and stay as they are."""
    field = with_one_key_set()
    with pytest.raises(CardUnfit) as unfit:
        drive(prepare_rollover(rollover()), field)
    assert unfit.value.cause is UnfitCause.KEY_SETS
    assert has_generation(field, 1)


def test_keys_without_key_sets_are_replaced_from_anywhere_on_the_way():
    """Pulled at any command, the replacement begun again ends with the new keys alone."""

    def work(field: Field) -> None:
        drive(replace_keys(rollover()), field)

    assert pulled_everywhere(with_one_key_set, work, lambda field: has_generation(field, 2), still_opens) > 40


def test_keys_of_neither_generation_are_not_replaced():
    field = with_one_key_set()
    with pytest.raises(CardUnfit) as unfit:
        drive(replace_keys(rollover(3, 4)), field)
    assert unfit.value.cause is UnfitCause.KEY
    assert has_generation(field, 1)


@pytest.mark.parametrize("changed", range(4))
def test_a_set_that_cannot_be_initialised_twice_is_completed(changed):
    """Some keys of it are new already: each is written with whichever old key is there."""
    field = in_use()
    application = drive(CardApplication.select(DOOR.aid), field)
    drive(application.authenticate_ev2_first(0, keys(1, DOOR).master, random_bytes=bytes), field)
    drive(application.initialize_key_set(1), field)
    pairs = zip(keys(2, DOOR).numbered(), keys(1, DOOR).numbered(), strict=True)
    for (key_no, new), (_, old) in list(pairs)[:changed]:
        drive(application.change_key_ev2(1, key_no, new, old=old), field)
    field.activate()

    def once_only(apdu: bytes) -> bytes:
        if apdu[1] != 0x56:
            return field(apdu)
        field.card.transmit(bytes.fromhex("905A000003" + DOOR.aid.hex() + "00"))  # an error ends the session
        return b"\x91\x9d"

    assert drive(prepare_rollover(rollover()), once_only) is RolloverState.PREPARED
    field.activate()
    drive(finish_rollover(rollover()), field)
    assert has_generation(field, 2)


def test_an_old_key_that_lives_on_is_noticed():
    """A chip that would keep an old key in force is not called finished."""
    field = in_use()
    plan_with_a_key_that_stays = RolloverPlan(
        DOOR,
        number(DOOR),
        keys(1, DOOR),
        type(keys(2, DOOR))(2, keys(2, DOOR).master, keys(1, DOOR).proof, keys(2, DOOR).locate),
    )
    with pytest.raises(CardUnfit) as unfit:
        drive(roll_over(plan_with_a_key_that_stays), field)
    assert unfit.value.cause is UnfitCause.LEFTOVERS


def test_a_set_that_holds_other_keys_than_expected_is_given_up():
    """When the card accepts none of the old keys that can be there, the work ends and the card is as it was."""
    field = in_use()

    def refuse(apdu: bytes) -> bytes:
        if apdu[1] == 0xC6:
            field.card.transmit(bytes.fromhex("905A000003" + DOOR.aid.hex() + "00"))
            return b"\x91\x1e"
        return field(apdu)

    with pytest.raises((CardUnfit, IntegrityRefused)):
        drive(prepare_rollover(rollover()), refuse)
    assert has_generation(field, 1)


def test_the_steps_can_be_named():
    told: list[Step] = []
    drive(roll_over(rollover(), progress=told.append), in_use())
    assert [(step.number, step.total, step.name) for step in told] == [
        (1, 3, "state"),
        (2, 3, "keys"),
        (3, 3, "finalize"),
        (1, 4, "state"),
        (2, 4, "roll"),
        (3, 4, "number_file"),
        (4, 4, "check"),
    ]


def test_a_generation_is_not_followed_by_itself():
    with pytest.raises(ValueError, match="another number"):
        rollover(1, 1)


@settings(max_examples=60, deadline=None)
@given(scripts, st.sampled_from([prepare_rollover, finish_rollover, replace_keys]))
def test_arbitrary_answers_never_look_like_a_change(script, conversation):
    """Whatever a card says, the change ends with one of the module's errors."""
    with pytest.raises((ChipError, StatusError)):
        drive(conversation(rollover()), Script(script))


@settings(max_examples=50, deadline=None)
@given(position=st.integers(0, 40), bit=st.integers(0, 30 * 8 - 1))
def test_a_changed_bit_never_ends_a_change_that_did_not_happen(position, bit):
    """Whatever single bit a relay changes in the answers: an error, or a card that taps with the new keys."""
    field, count = in_use(), iter(range(1000))

    def relay(apdu: bytes) -> bytes:
        answer = bytearray(field(apdu))
        if next(count) == position:
            answer[bit // 8 % len(answer)] ^= 1 << bit % 8
        return bytes(answer)

    try:
        drive(roll_over(rollover()), relay)
    except ChipError:
        field.activate()
        drive(roll_over(rollover()), field)
    assert has_generation(field, 2)
