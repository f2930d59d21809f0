# SPDX-License-Identifier: EUPL-1.2
"""What goes wrong with a directory, and what is seen in front of the doors and in health while it does.

`strike` begins a fault, `meanwhile` is what an administrator does in the directory during it (as a rule, disabling the
person who GOES), `mend` ends it. The service is never touched: it has to find back by itself.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import ldap3
from e2e.whole_city import dn_of
from faults.directory_city import (
    ALWAYS,
    BOUND_S,
    GOES,
    JUST_GONE,
    LOGINS,
    LONG,
    ROUND,
    SHORT,
    DirectoryCity,
    Look,
    Seen,
    Tap,
    until,
)
from support.slapd import READER_DN, SUFFIX, Slapd, SlapdOptions

# How long a fault goes on once health has named it: past the short bound; then everybody taps once more.
LASTS_S = BOUND_S + 0.2
# When waiting is given up; what is promised is judged afterwards. A comparison of a large directory leaves most of the
# time to other work.
HEALS_WITHIN_S = 120.0
SAYS_WITHIN_S = 120.0

Step = Callable[[DirectoryCity], None]


@dataclass(frozen=True)
class Fault:
    """One fault. `says`: words that health shows while it lasts.

    `disabled`: when the directory says that the person who GOES is disabled. `blind`: nothing can be proved from
    `strike` to `mend`. `lasting`: it goes on until `mend`; else it is over with `strike`. `remark`: what health remarks
    on afterwards, until everything has been compared. `back_within_s`: how soon after `mend` the copy is current again;
    by default the 10 s that a refused sign-in waits, the longest backoff, and reading everything on a busy machine.
    `hides`: the server answers, and keeps from the service whom it concerns.
    """

    name: str
    strike: Step
    says: str
    meanwhile: Step
    mend: Step
    disabled: Literal["struck", "meanwhile", "mended"] = "meanwhile"
    before: Step = lambda _: None
    blind: bool = True
    lasting: bool = True
    remark: str = ""
    back_within_s: float = 18.0
    forgets_just_gone: bool = False
    hides: bool = False


@dataclass
class Observed:
    """One fault from beginning to end: what was seen, and when what was done (`time.monotonic`)."""

    fault: Fault
    people: int
    taps: list[Tap]
    looks: list[Look]
    began_s: float
    struck_s: float
    disabled_s: float
    mending_s: float
    mended_s: float
    healed_s: float

    def taps_of(self, *cards: str, at: str, after_s: float = 0.0, before_s: float = 1e12) -> list[Tap]:
        """Return the taps at a point that lie wholly between two moments."""
        return [
            tap
            for tap in self.taps
            if tap.card in cards and tap.point == at and tap.sent_s >= after_s and tap.answered_s <= before_s
        ]

    def looks_between(self, after_s: float, before_s: float = 1e12) -> list[Look]:
        """Return what health said between two moments."""
        return [look for look in self.looks if after_s <= look.at_s <= before_s]


def nothing(_: DirectoryCity) -> None:
    """Nobody can do anything in the directory, or there is nothing to do."""


def disable(city: DirectoryCity) -> None:
    city.set_disabled(GOES, disabled=True)


def start(city: DirectoryCity) -> None:
    city.slapd.start()


def kill(city: DirectoryCity) -> None:
    city.slapd.kill()


def in_maintenance(city: DirectoryCity, work: Step) -> None:
    """Let administrators at the stopped directory while the service cannot reach it."""
    city.slapd.start(maintenance=True)
    work(city)
    city.slapd.stop()


def disable_in_maintenance(city: DirectoryCity) -> None:
    in_maintenance(city, disable)


def restart(city: DirectoryCity, options: SlapdOptions | None = None) -> None:
    """Stop and start, by default as it was in the beginning."""
    city.slapd.stop()
    city.slapd.configure(options or city.options)
    city.slapd.start()


def kill_after_a_write(city: DirectoryCity) -> None:
    """Killed with -9, OpenLDAP comes back with its entries, but with an older idea of which is the newest."""
    _describe_somebody(city)
    city.wait_current()
    city.slapd.kill()
    city.slapd.start()
    _wait_fallen_back(city)


def hang(city: DirectoryCity) -> None:
    city.slapd.pause()


def disable_as_soon_as_it_answers(city: DirectoryCity) -> None:
    """An administrator's request hangs as long as the server does."""
    city.late = threading.Thread(target=disable, args=(city,), name="administrator")
    city.late.start()


def go_on(city: DirectoryCity) -> None:
    city.slapd.resume()
    assert city.late is not None
    city.late.join(HEALS_WITHIN_S)


def show_certificate(name: str) -> Step:
    return lambda city: restart(city, replace(city.options, tls_from=city.certificates / name))


def change_password_and_restart(city: DirectoryCity) -> None:
    change_password(city)
    restart(city)


def change_password(city: DirectoryCity) -> None:
    city.set_password(f"{city.password}*")


def tell_password(city: DirectoryCity) -> None:
    city.tell_password()


def limit_size(city: DirectoryCity) -> None:
    """More has changed meanwhile than the server's default size limit of 500 lets the service read."""
    city.slapd.stop()
    in_maintenance(city, _touch_600)
    city.slapd.configure(replace(city.options, unlimited=False))
    city.slapd.start()


def _touch_600(city: DirectoryCity) -> None:
    with city.slapd.admin() as connection:
        for number in range(600):
            dn = f"uid=p{number:05},ou=people,{SUFFIX}"
            connection.modify(dn, {"description": [(ldap3.MODIFY_REPLACE, [str(time.time_ns())])]})


def hide_people(city: DirectoryCity) -> None:
    """The service's account loses the right to see people; it still sees groups and their members."""
    rule = f'access to dn.children="ou=people,{SUFFIX}" by dn.exact="{READER_DN}" none by * break'
    restart(city, replace(city.options, first_rule=rule))


def back_up(city: DirectoryCity) -> None:
    city.backup = city.slapd.backup()


def _emptied(city: DirectoryCity) -> Slapd:
    city.slapd.stop()
    city.slapd.clear()
    return city.slapd


def start_without_people(city: DirectoryCity) -> None:
    """A new database: the suffix, the branches and the service's account, nobody else."""
    back_up(city)
    slapd = _emptied(city)
    slapd.load(slapd.base_entries())
    in_maintenance(city, lambda city: city.set_password(city.password))
    slapd.start()


def start_without_anything(city: DirectoryCity) -> None:
    """A new database in which not even the service's account is."""
    back_up(city)
    _emptied(city).start()


def bring_people_back(city: DirectoryCity) -> None:
    _restore(city)
    disable_in_maintenance(city)
    city.slapd.start()


def _restore(city: DirectoryCity) -> None:
    assert city.backup is not None
    city.slapd.stop()
    city.slapd.restore(city.backup)


def start_from_backup(city: DirectoryCity) -> None:
    """The backup knows nothing of the last disabling; wait until the service has noticed how old it is."""
    _restore(city)
    city.slapd.start()
    _wait_fallen_back(city)


def _wait_fallen_back(city: DirectoryCity) -> None:
    """Wait until the service has noticed that the server's position is behind its own."""
    city.service.wait_health(lambda state: "older than this copy" in (state["directories"][0]["remark"] or ""))


def back_up_with_both_gone(city: DirectoryCity) -> None:
    """A backup from when both were disabled; one of them is let in again after it."""
    for card in (JUST_GONE, GOES):
        city.set_disabled(card, disabled=True)
    city.wait_current()
    back_up(city)
    city.set_disabled(GOES, disabled=False)


def start_from_backup_and_write(city: DirectoryCity) -> None:
    """A backup in which something is changed before the service is back: the server's position does not look older."""
    _restore(city)
    in_maintenance(city, _describe_somebody)
    city.slapd.start()


def _describe_somebody(city: DirectoryCity) -> None:
    with city.slapd.admin() as connection:
        dn = dn_of(LOGINS[ALWAYS]).partition(",")[0] + f",ou=people,{SUFFIX}"
        connection.modify(dn, {"description": [(ldap3.MODIFY_REPLACE, [str(time.time_ns())])]})


def reset_storm(city: DirectoryCity) -> None:
    assert city.relay is not None
    city.relay.storm(city.dice, longest_s=0.15)


def swallow(city: DirectoryCity) -> None:
    assert city.relay is not None
    city.relay.swallow()


def pass_on(city: DirectoryCity) -> None:
    assert city.relay is not None
    city.relay.pass_on()


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("killed", kill, "connection refused", disable_in_maintenance, start),
        Fault("hung", hang, "answer", disable_as_soon_as_it_answers, go_on, disabled="mended"),
        Fault(
            "killed after a write",
            kill_after_a_write,
            "",
            disable,
            nothing,
            blind=False,
            lasting=False,
            remark="older than this copy",
        ),
        Fault("restarted", restart, "", disable, nothing, blind=False, lasting=False),
        Fault("foreign certificate", show_certificate("foreign"), "certificate was refused", disable, restart),
        Fault("misnamed certificate", show_certificate("misnamed"), "IP address mismatch", disable, restart),
        Fault("expired certificate", show_certificate("expired"), "certificate has expired", disable, restart),
        Fault("sign-in refused", change_password_and_restart, "name or password is wrong", disable, tell_password),
        Fault("password changed", change_password, "comparison", disable, tell_password, blind=False),
        Fault("size limit", limit_size, "size limit", disable, restart),
        Fault(
            "people hidden",
            hide_people,
            "no longer names",
            disable,
            restart,
            blind=False,
            back_within_s=90.0,
            hides=True,
        ),
        Fault("no people", start_without_people, "names none of", nothing, bring_people_back, "mended"),
        Fault("no suffix", start_without_anything, "name or password is wrong", nothing, bring_people_back, "mended"),
        Fault(
            "older backup",
            start_from_backup,
            "",
            disable,
            nothing,
            before=back_up,
            blind=False,
            lasting=False,
            remark="older than this copy",
            forgets_just_gone=True,
        ),
        Fault(
            "older backup, written since",
            start_from_backup_and_write,
            "",
            nothing,
            nothing,
            disabled="struck",
            before=back_up_with_both_gone,
            blind=False,
            lasting=False,
            remark="no longer knows what was changed",
        ),
        Fault("reset storm", reset_storm, "", disable, pass_on, blind=False),
        Fault("swallowed", swallow, "answer", disable, pass_on),
    )
}


def observe(city: DirectoryCity, fault: Fault) -> Observed:
    """Let `fault` happen to a healthy city while people tap, until everything is as it should be again."""
    for card in (JUST_GONE, GOES):
        city.set_disabled(card, disabled=False)
    fault.before(city)
    city.set_disabled(JUST_GONE, disabled=True)
    city.wait_current()
    with city.watched() as seen:
        until(seen, lambda: seen.looks and _healthy(seen.looks[-1]), HEALS_WITHIN_S)
        everybody_taps(seen)
        began_s = time.monotonic()
        fault.strike(city)
        struck_s = time.monotonic()
        fault.meanwhile(city)
        meanwhile_s = time.monotonic()
        if fault.lasting:
            until(seen, lambda: fault.says in said(seen.looks[-1]), SAYS_WITHIN_S)
            past_s = time.monotonic() + LASTS_S
            until(seen, lambda: time.monotonic() >= past_s, HEALS_WITHIN_S)
            everybody_taps(seen)
        mending_s = time.monotonic()
        fault.mend(city)
        mended_s = time.monotonic()
        disabled_s = {"struck": struck_s, "meanwhile": meanwhile_s, "mended": mended_s}[fault.disabled]
        until(seen, lambda: _healed(seen, mended_s), HEALS_WITHIN_S)
        healed_s = time.monotonic()
        everybody_taps(seen)
        if fault.remark:
            until(seen, lambda: fault.remark not in (seen.looks[-1].directory["remark"] or ""), HEALS_WITHIN_S)
    moments = (began_s, struck_s, disabled_s, mending_s, mended_s, healed_s)
    return Observed(fault, city.people, seen.taps, seen.looks, *moments)


def everybody_taps(seen: Seen) -> None:
    """Wait until each card was held to each of its points once more, and health was looked at."""
    since_s, before = time.monotonic(), len(seen.looks)

    def done() -> bool:
        tapped = {(tap.card, tap.point) for tap in seen.taps[-2 * len(ROUND) :] if tap.sent_s >= since_s}
        return tapped == set(ROUND) and len(seen.looks) > before

    until(seen, done, HEALS_WITHIN_S)


def said(look: Look) -> str:
    return " ".join(look.state["degraded"])


def _healthy(look: Look) -> bool:
    return look.state["status"] == "ready" and not look.directory["trouble"]


def _healed(seen: Seen, mended_s: float) -> bool:
    """Health is content, who was disabled is refused, and who was not is let in where only a fresh copy counts."""
    look = seen.looks[-1]
    last = {(tap.card, tap.point): tap for tap in seen.taps[-2 * len(ROUND) :] if tap.sent_s > mended_s}
    gone, there = last.get((GOES, LONG)), last.get((ALWAYS, SHORT))
    return (
        look.at_s > mended_s
        and _healthy(look)
        and gone is not None
        and gone.reason == "person_disabled"
        and there is not None
        and there.permit
    )
