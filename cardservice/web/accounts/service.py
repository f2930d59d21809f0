# SPDX-License-Identifier: EUPL-1.2
"""What is done with accounts and their keys, by the API, the pages and the command line. Blocks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from secrets import token_bytes
from typing import Any, Final

import structlog
from sqlalchemy.engine import Connection, Engine

from cardservice import changes
from cardservice.client_certificates import Authorities, CertificateRefused, ClientCertificate, read_pem
from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.errors import Conflict, DatabaseUnavailable, NotFound
from cardservice.web.accounts import store
from cardservice.web.accounts.rules import (
    DAY_MS,
    MAX_ACCOUNTS,
    MAX_CERTIFICATES,
    MAX_DAYS,
    MAX_EVER_BOUND,
    MAX_KEYS,
    USUAL_DAYS,
    Account,
    Binding,
    Key,
    Terms,
    manages,
    name_of,
    new_key,
)
from cardservice.web.callers import Caller, digest
from cardservice.web.once import Asked, Once
from cardservice.web.reach import EVERYWHERE, Reach

_RANDOM_BYTES: Final = 36
_log = structlog.get_logger()


class ForeignReach(Conflict):
    """An account would reach beyond whoever manages it."""

    code = "foreign_reach"


class TooManyKeys(Conflict):
    """An account has the key in use and the one that replaces it."""

    code = "too_many_keys"


class TooManyCertificates(Conflict):
    """An account has the certificate in use and the one that replaces it."""

    code = "too_many_certificates"


class CertificatesOff(Conflict):
    """The settings name no authority whose certificates would count."""

    code = "certificates_off"


class CertificateTaken(Conflict):
    """A certificate's key is bound to an account, or was revoked."""

    code = "certificate_taken"


class CertificateUseless(Conflict):
    """A certificate that no request could be made with."""

    def __init__(self, code: str) -> None:
        super().__init__(_USELESS[code])
        self.code = code


_USELESS: Final[Mapping[str, str]] = {
    "certificate_unreadable": "this is no certificate in PEM, with those above it where they are needed",
    "certificate_untrusted": "the certificate leads to no authority of api.client_ca_file, or is not for clients",
    "certificate_expired": "the certificate has expired",
}


@dataclass(frozen=True, slots=True)
class Who:
    """Who manages accounts: what the record calls them, and how far their right goes."""

    name: str
    reaches: tuple[Reach, ...] = (EVERYWHERE,)


@dataclass(frozen=True, slots=True)
class Wish:
    """What an account is to be."""

    name: str
    terms: Terms
    reason: str
    disabled: bool = False


def _nothing() -> None:
    """The running service finds out by itself."""


def _any_state(_: Mapping[str, Any]) -> None:
    """It may be changed whatever it is."""


class Accounts:
    """The accounts of the state store.

    `settled` are the callers of the settings, whose names are taken; `changed` makes the running service look. With
    `authorities` accounts may be bound to certificates.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        settled: Sequence[Caller] = (),
        changed: Callable[[], None] = _nothing,
        authorities: Authorities | None = None,
    ) -> None:
        self._authorities = authorities
        self._engine, self._clock = engine, clock
        self._settled = {caller.name: caller for caller in settled}
        self._changed = changed
        self._once = Once(engine, clock)

    def list(self, who: Who, after: str = "", limit: int = 2 * MAX_ACCOUNTS) -> list[dict[str, Any]]:
        """Return the accounts somebody may manage, by name: those of the database and those of the settings."""
        with read(self._engine) as connection:
            found = store.accounts(connection)
        now_ms = self._clock.now_ms()
        documents = [one.document(now_ms) for one in found if manages(who.reaches, one.terms.reach)]
        documents += [_settled(one) for one in self._settled.values() if manages(who.reaches, one.reach)]
        return sorted((one for one in documents if one["name"] > after), key=lambda one: str(one["name"]))[:limit]

    def show(self, name: str, who: Who) -> Account:
        """Return an account of the database.

        Raises:
            NotFound: there is none that this person may manage.
        """
        with read(self._engine) as connection:
            return self._found(connection, name, who)

    def document(self, account: Account) -> dict[str, Any]:
        """Return an account as JSON shows it now."""
        return account.document(self._clock.now_ms())

    def add(self, wish: Wish, who: Who, asked: Asked | None = None) -> dict[str, Any]:
        """Add an account without a key, once for each request that `asked`.

        Raises:
            Conflict: the name is taken, there are too many, or it would reach beyond `who`.
        """

        def make(connection: Connection) -> dict[str, Any]:
            _require_reach(who, wish.terms)
            taken = wish.name in self._settled or store.find(connection, wish.name) is not None
            if taken:
                raise Conflict(f"there is an account {wish.name} already")
            if store.count(connection) >= MAX_ACCOUNTS:
                raise Conflict(f"there are {MAX_ACCOUNTS} accounts already")
            now_ms = self._clock.now_ms()
            made = {"created_by": who.name, "created_ms": now_ms, "changed_by": who.name, "changed_ms": now_ms}
            row = store.add(connection, wish.name, wish.terms, disabled=wish.disabled, reason=wish.reason, **made)
            changes.append(connection, "caller", [row])
            return self._found(connection, wish.name, who).document(now_ms)

        return self._run(asked, make, "accounts.added", wish.name)

    def change(self, wish: Wish, who: Who, require: Callable[[Mapping[str, Any]], None] = _any_state) -> dict[str, Any]:
        """Change an account to what is wished for; `require` refuses to change what it is shown.

        Raises:
            NotFound: there is none that this person may manage.
            Conflict: it would reach beyond `who`.
        """

        def make(connection: Connection) -> dict[str, Any]:
            found = self._found(connection, wish.name, who, lock=True)
            require(found.head())
            _require_reach(who, wish.terms)
            now_ms = self._clock.now_ms()
            made = {"changed_by": who.name, "changed_ms": now_ms}
            store.change(connection, found.row, wish.terms, disabled=wish.disabled, reason=wish.reason, **made)
            changes.append(connection, "caller", [found.row])
            return self._found(connection, wish.name, who).document(now_ms)

        return self._run(None, make, "accounts.changed", wish.name)

    def disable(self, name: str, who: Who, reason: str, *, disabled: bool) -> dict[str, Any]:
        """Have an account opened to nothing, or open again; raises as `change`."""
        found = self.show(name, who)
        return self.change(Wish(name, found.terms, reason, disabled), who, _same_as(found))

    def ask_for_both(self, name: str, who: Who, reason: str, *, both: bool) -> dict[str, Any]:
        """Have key and certificate asked for together, or one of them again; raises as `change`."""
        found = self.show(name, who)
        terms = replace(found.terms, needs_both=both)
        return self.change(Wish(name, terms, reason, found.disabled), who, _same_as(found))

    def issue_key(self, name: str, who: Who, days: int = USUAL_DAYS, asked: Asked | None = None) -> dict[str, Any]:
        """Give an account another key. Its `token` is told now and never again: None to a request that comes again.

        Raises:
            NotFound: there is none that this person may manage.
            TooManyKeys: two of its keys have not ended.
            ValueError: keys do not live for so long.
        """
        if not 1 <= days <= MAX_DAYS:
            raise ValueError(f"a key lives for 1 to {MAX_DAYS} days, not for {days}")
        new = new_key(token_bytes(_RANDOM_BYTES))

        def make(connection: Connection) -> dict[str, Any]:
            found, now_ms = self._found(connection, name, who, lock=True), self._clock.now_ms()
            if sum(not key.ended(now_ms) for key in found.keys) >= MAX_KEYS:
                raise TooManyKeys(f"account {name} has {MAX_KEYS} keys already; revoke the one that nobody uses now")
            key = Key(new.key, now_ms, now_ms + days * DAY_MS, who.name)
            store.add_key(connection, found.row, key, digest(new.token))
            changes.append(connection, "caller", [found.row])
            return key.document(now_ms)

        told = self._run(asked, make, "accounts.key_made", name)
        # What is stored with the answer lacks it: it would be a key that lies about.
        return told | {"token": new.token if told["key"] == new.key else None}

    def revoke_key(self, name: str, key: str, who: Who) -> dict[str, Any]:
        """End a key now, for good; a key that has ended stays as it is.

        Raises:
            NotFound: there is none that this person may manage.
        """

        def make(connection: Connection) -> dict[str, Any]:
            found = self._found(connection, name, who, lock=True)
            if key not in {one.key for one in found.keys}:
                raise NotFound(f"account {name} has no key {key}")
            store.revoke(connection, key, who.name, self._clock.now_ms())
            changes.append(connection, "caller", [found.row])
            return self._found(connection, name, who).document(self._clock.now_ms())

        return self._run(None, make, "accounts.key_revoked", name)

    @property
    def takes_certificates(self) -> bool:
        """Whether accounts may be bound to certificates here."""
        return self._authorities is not None

    def bind_certificate(self, name: str, pem: str, who: Who, asked: Asked | None = None) -> dict[str, Any]:
        """Bind an account to a certificate: the first of `pem`; the others are between it and its authority.

        Raises:
            NotFound: there is none that this person may manage.
            Conflict: two of its certificates have not ended, or this one cannot be used, or is bound already.
        """
        certificate = self._usable(pem)

        def make(connection: Connection) -> dict[str, Any]:
            found, now_ms = self._found(connection, name, who, lock=True), self._clock.now_ms()
            if store.is_bound(connection, certificate.key_digest):
                raise CertificateTaken("the certificate's key is bound to an account already, or was revoked")
            if sum(not one.ended(now_ms) for one in found.certificates) >= MAX_CERTIFICATES:
                raise TooManyCertificates(
                    f"account {name} has {MAX_CERTIFICATES} certificates already; revoke the one that nobody uses now"
                )
            if len(found.certificates) >= MAX_EVER_BOUND:
                raise TooManyCertificates(f"account {name} had {MAX_EVER_BOUND} certificates; make another account")
            binding = Binding(
                name_of(certificate.key_digest),
                certificate.key_digest,
                certificate.subject,
                certificate.begins_ms,
                certificate.expires_ms,
                who.name,
                now_ms,
            )
            store.bind(connection, found.row, binding)
            changes.append(connection, "caller", [found.row])
            return binding.document(now_ms)

        return self._run(asked, make, "accounts.certificate_bound", name)

    def revoke_certificate(self, name: str, certificate: str, who: Who) -> dict[str, Any]:
        """End a certificate's worth for an account now, for good; one that was revoked stays as it is.

        Raises:
            NotFound: there is none that this person may manage.
        """

        def make(connection: Connection) -> dict[str, Any]:
            found = self._found(connection, name, who, lock=True)
            if certificate not in {one.certificate for one in found.certificates}:
                raise NotFound(f"account {name} has no certificate {certificate}")
            store.revoke_certificate(connection, certificate, who.name, self._clock.now_ms())
            changes.append(connection, "caller", [found.row])
            return self._found(connection, name, who).document(self._clock.now_ms())

        return self._run(None, make, "accounts.certificate_revoked", name)

    def _usable(self, pem: str) -> ClientCertificate:
        if self._authorities is None:
            raise CertificatesOff("api.client_ca_file is not set: no certificate would count here")
        try:
            leaf, *above = read_pem(pem)
            certificate = self._authorities.verified(leaf, above)
        except CertificateRefused as error:
            raise CertificateUseless(error.code) from None
        if certificate.expires_ms <= self._clock.now_ms():
            raise CertificateUseless("certificate_expired")
        return certificate

    def _found(self, connection: Connection, name: str, who: Who, *, lock: bool = False) -> Account:
        found = store.find(connection, name, lock=lock)
        # Whether there is one that somebody else manages is not told.
        if found is None or not manages(who.reaches, found.terms.reach):
            settled = " in the database; it is one of the settings" if name in self._settled else ""
            raise NotFound(f"there is no account {name}{settled}")
        return found

    def _run(
        self, asked: Asked | None, make: Callable[[Connection], dict[str, Any]], event: str, name: str
    ) -> dict[str, Any]:
        if asked is None:
            with write(self._engine) as connection:
                made = make(connection)
        else:
            made = self._once.run(asked, make)
        _log.info(event, account=name)
        try:
            self._changed()
        except DatabaseUnavailable as error:
            # It is stored; whoever looks next finds it.
            _log.warning("accounts.change_waits", error=str(error))
        return made


def _same_as(found: Account) -> Callable[[Mapping[str, Any]], None]:
    def require_same(shown: Mapping[str, Any]) -> None:
        if shown != found.head():
            raise Conflict(f"account {found.name} was changed meanwhile; look at it, and try again")

    return require_same


def _require_reach(who: Who, terms: Terms) -> None:
    if not manages(who.reaches, terms.reach):
        raise ForeignReach("the account would reach further than your own right does; bind it to what is yours")


def _settled(caller: Caller) -> dict[str, Any]:
    """Return a caller of the settings as the accounts of the database are shown."""
    return {
        "name": caller.name,
        "source": "settings",
        "scopes": sorted(caller.uses),
        "organisation": None,
        "points": sorted(caller.points) or None,
        "zones": None,
        "units": None,
        "attested_points": sorted(caller.attested_points),
        "requests_per_s": None,
        "burst": None,
        "needs_both": False,
        "disabled": False,
        "reason": None,
        "created_by": None,
        "created_ms": None,
        "changed_by": None,
        "changed_ms": None,
        "keys": [],
        "certificates": [],
    }
