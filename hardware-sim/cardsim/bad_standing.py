# SPDX-License-Identifier: EUPL-1.2
"""Cards whose chip is in order and that must not open all the same: states of their life, dates, holders."""

from cardsim.bad_cards import BadCard, OnRecord, issued


def _state(name: str, record: OnRecord, threat: str, reason: str, detail: str) -> BadCard:
    made = f"genuine; on record as {record.state}" + (f" ({record.state_reason})" if record.state_reason else "")
    return BadCard(name, threat, made, reason, detail, issued, record)


def _suspended(why: str, threat: str) -> BadCard:
    name = f"suspended-{why.replace('_', '-')}"
    return _state(name, OnRecord("suspended", why), threat, "card_suspended", f"suspended_{why}")


def _revoked(why: str, threat: str) -> BadCard:
    return _state(f"revoked-{why}", OnRecord("revoked", why), threat, "card_revoked", f"revoked_{why}")


def _unissued(state: str, threat: str) -> BadCard:
    return _state(state.replace("_", "-"), OnRecord(state), threat, "card_not_issued", state)


def _holder(holder: str, threat: str, reason: str) -> BadCard:
    made = f"genuine and active; its holder: {holder.replace('_', ' ')}"
    return BadCard(f"holder-{holder.replace('_', '-')}", threat, made, reason, reason, issued, OnRecord(holder=holder))


STANDINGS = (
    _suspended("missing", "a card that lies somewhere, nobody knows where"),
    _suspended("forgotten", "a card that was said to lie at home is used by somebody else meanwhile"),
    _suspended("long_absence", "a card whose holder is away for months"),
    _suspended("investigation", "a card under suspicion"),
    _suspended("pin_blocked", "a card with which somebody guessed PINs"),
    _revoked("lost", "a lost card in a finder's hands"),
    _revoked("stolen", "a stolen card"),
    _revoked("damaged", "a card that was withdrawn and not destroyed"),
    _revoked("left", "a leaver's card that was not handed back"),
    _revoked("replaced", "the old one of two cards"),
    _unissued("stock", "blank stock taken from a drawer"),
    _unissued("in_production", "a card taken out of the encoder before it is finished"),
    _unissued("produced", "a finished card taken from the box"),
    _unissued("ready_for_pickup", "a card taken from the desk before its holder came"),
    _state("expired", OnRecord("expired"), "a card that should have been renewed", "card_expired", "expired"),
    _state("returned", OnRecord("returned"), "a card taken from the box of returned ones", "card_revoked", "returned"),
    _state("erased", OnRecord("erased"), "a card that an eraser missed", "card_revoked", "erased"),
    _state("destroyed", OnRecord("destroyed"), "a card that the shredder missed", "card_revoked", "destroyed"),
    BadCard(
        "temporary-over",
        "a temporary card that was not handed back in the evening",
        "genuine and active; valid until yesterday",
        "card_expired",
        "card_expired",
        issued,
        OnRecord(valid="no_more"),
    ),
    BadCard(
        "not-yet-valid",
        "a card for a contract that has not begun",
        "genuine and active; valid from tomorrow",
        "card_not_yet_valid",
        "card_not_yet_valid",
        issued,
        OnRecord(valid="not_yet"),
    ),
    _holder("nobody", "a card that belongs to nobody opens for everybody", "no_holder"),
    _holder("blocked", "somebody who was told to stay out", "blocked"),
    _holder("left", "somebody whom the directory no longer lists", "person_left"),
    _holder("disabled", "somebody whose account is disabled", "person_disabled"),
    _holder("expired", "somebody whose account has expired", "person_expired"),
    _holder("without_grant", "an employee at a door of another department", "no_grant"),
)
