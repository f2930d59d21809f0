# SPDX-License-Identifier: EUPL-1.2
"""The tables of accounts and their keys."""

import json
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.client_certificates import ClientCertificate
from cardservice.database import STATE, RowNumber
from cardservice.web.accounts.rules import Account, Binding, Key, Pace, Terms
from cardservice.web.operations import Scope
from cardservice.web.reach import Reach

# Keys that have ended and are still listed.
_KEPT_KEYS: Final = 20

service_account = sa.Table(
    "service_account",
    STATE,
    sa.Column("id", RowNumber, primary_key=True, autoincrement=True),
    sa.Column("name", sa.String(40), nullable=False, unique=True),
    sa.Column("scopes", sa.Text, nullable=False),
    # The reach: the code of an organisation, lists of codes and departments; none: all.
    sa.Column("organisation", sa.String(40)),
    sa.Column("points", sa.Text),
    sa.Column("zones", sa.Text),
    sa.Column("units", sa.Text),
    sa.Column("attested_points", sa.Text, nullable=False),
    sa.Column("per_s", sa.Integer, nullable=False),
    sa.Column("burst", sa.Integer, nullable=False),
    sa.Column("needs_both", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("reason", sa.String(200), nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("changed_by", sa.Text, nullable=False),
    sa.Column("changed_ms", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

service_key = sa.Table(
    "service_key",
    STATE,
    sa.Column("id", RowNumber, primary_key=True, autoincrement=True),
    sa.Column("account_id", sa.ForeignKey("service_account.id"), nullable=False, index=True),
    # What lists call it.
    sa.Column("key", sa.String(8), nullable=False, unique=True),
    # SHA-256 of the token: whoever reads this table cannot call with it.
    sa.Column("token_digest", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("begins_ms", sa.BigInteger, nullable=False),
    sa.Column("expires_ms", sa.BigInteger, nullable=False),
    sa.Column("last_used_ms", sa.BigInteger),
    sa.Column("revoked_ms", sa.BigInteger),
    sa.Column("revoked_by", sa.Text),
    sqlite_autoincrement=True,
)


service_certificate = sa.Table(
    "service_certificate",
    STATE,
    sa.Column("id", RowNumber, primary_key=True, autoincrement=True),
    sa.Column("account_id", sa.ForeignKey("service_account.id"), nullable=False, index=True),
    # What lists call it.
    sa.Column("certificate", sa.String(16), nullable=False, unique=True),
    # SHA-256 of its public key: no two accounts share one, and one that was revoked stays taken.
    sa.Column("key_digest", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("subject", sa.String(200), nullable=False),
    sa.Column("begins_ms", sa.BigInteger, nullable=False),
    sa.Column("expires_ms", sa.BigInteger, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("last_used_ms", sa.BigInteger),
    sa.Column("revoked_ms", sa.BigInteger),
    sa.Column("revoked_by", sa.Text),
    sqlite_autoincrement=True,
)


def accounts(connection: Connection) -> list[Account]:
    """Return every account with its keys and certificates, by name."""
    keys: dict[int, list[Key]] = {}
    for row in connection.execute(sa.select(service_key).order_by(service_key.c.id.desc())):
        keys.setdefault(row.account_id, []).append(_key(row))
    bound: dict[int, list[Binding]] = {}
    for row in connection.execute(sa.select(service_certificate).order_by(service_certificate.c.id.desc())):
        bound.setdefault(row.account_id, []).append(_binding(row))
    rows = connection.execute(sa.select(service_account).order_by(service_account.c.name))
    return [_account(row, keys.get(row.id, ()), bound.get(row.id, ())) for row in rows]


def find(connection: Connection, name: str, *, lock: bool = False) -> Account | None:
    """Return an account with its keys and certificates; `lock`: nobody else changes it before this transaction ends."""
    wanted = sa.select(service_account).where(service_account.c.name == name)
    row = connection.execute(wanted.with_for_update() if lock else wanted).first()
    if row is None:
        return None
    its = sa.select(service_key).where(service_key.c.account_id == row.id).order_by(service_key.c.id.desc())
    bound = sa.select(service_certificate).where(service_certificate.c.account_id == row.id)
    bindings = connection.execute(bound.order_by(service_certificate.c.id.desc()))
    return _account(row, [_key(one) for one in connection.execute(its)], [_binding(one) for one in bindings])


def count(connection: Connection) -> int:
    """Return how many accounts there are."""
    return int(connection.execute(sa.select(sa.func.count()).select_from(service_account)).scalar_one())


def add(connection: Connection, name: str, terms: Terms, **values: Any) -> int:
    """Add an account and return its row number."""
    new = sa.insert(service_account).values(name=name, **_columns(terms), **values)
    return int(connection.execute(new.returning(service_account.c.id)).scalar_one())


def change(connection: Connection, row: int, terms: Terms, **values: Any) -> None:
    """Change an account."""
    changed = sa.update(service_account).where(service_account.c.id == row)
    connection.execute(changed.values(**_columns(terms), **values))


def add_key(connection: Connection, account: int, key: Key, token_digest: bytes) -> None:
    """Add a key to an account, and forget those that ended longest ago."""
    values = {"begins_ms": key.begins_ms, "expires_ms": key.expires_ms, "created_by": key.created_by}
    new = sa.insert(service_key).values(account_id=account, key=key.key, token_digest=token_digest, **values)
    connection.execute(new)
    its = sa.select(service_key.c.id).where(service_key.c.account_id == account).order_by(service_key.c.id.desc())
    old = connection.execute(its.offset(_KEPT_KEYS)).scalars().all()
    # No more than two of them all have not ended, and those are asked for before.
    over = sa.or_(service_key.c.revoked_ms.is_not(None), service_key.c.expires_ms <= key.begins_ms)
    connection.execute(sa.delete(service_key).where(service_key.c.id.in_(old), over))


def revoke(connection: Connection, key: str, by: str, at_ms: int) -> None:
    """Revoke a key."""
    revoked = sa.update(service_key).where(service_key.c.key == key, service_key.c.revoked_ms.is_(None))
    connection.execute(revoked.values(revoked_by=by, revoked_ms=at_ms))


def used(connection: Connection, key: str, at_ms: int) -> None:
    """Note when a key was used; nobody's later note is taken back."""
    earlier = sa.or_(service_key.c.last_used_ms.is_(None), service_key.c.last_used_ms < at_ms)
    noted = sa.update(service_key).where(service_key.c.key == key, earlier)
    connection.execute(noted.values(last_used_ms=at_ms))


def is_bound(connection: Connection, key_digest: bytes) -> bool:
    """Tell whether a public key is bound to some account, or was."""
    its = sa.select(service_certificate.c.id).where(service_certificate.c.key_digest == key_digest)
    return connection.execute(its).first() is not None


def bind(connection: Connection, account: int, binding: Binding) -> None:
    """Bind an account to a certificate."""
    values = {
        "certificate": binding.certificate,
        "key_digest": binding.key_digest,
        "subject": binding.subject,
        "begins_ms": binding.begins_ms,
        "expires_ms": binding.expires_ms,
        "created_by": binding.created_by,
        "created_ms": binding.created_ms,
    }
    connection.execute(sa.insert(service_certificate).values(account_id=account, **values))


def revoke_certificate(connection: Connection, certificate: str, by: str, at_ms: int) -> None:
    """Revoke a certificate."""
    its = service_certificate.c.certificate == certificate, service_certificate.c.revoked_ms.is_(None)
    connection.execute(sa.update(service_certificate).where(*its).values(revoked_by=by, revoked_ms=at_ms))


def certificate_used(connection: Connection, certificate: str, seen: ClientCertificate, at_ms: int) -> None:
    """Note when a certificate was used and what the one with its key says of itself; no later note is taken back."""
    noted = service_certificate.c.last_used_ms
    earlier = service_certificate.c.certificate == certificate, sa.or_(noted.is_(None), noted < at_ms)
    says = {"subject": seen.subject, "begins_ms": seen.begins_ms, "expires_ms": seen.expires_ms}
    connection.execute(sa.update(service_certificate).where(*earlier).values(last_used_ms=at_ms, **says))


def digests(connection: Connection) -> dict[str, bytes]:
    """Return the digest of each key."""
    return {row.key: bytes(row.token_digest) for row in connection.execute(_DIGESTS)}


_DIGESTS: Final = sa.select(service_key.c.key, service_key.c.token_digest).where(service_key.c.revoked_ms.is_(None))


def _columns(terms: Terms) -> dict[str, Any]:
    found = terms.document()
    lists = {name: None if found[name] is None else json.dumps(found[name]) for name in ("points", "zones", "units")}
    return {
        "scopes": json.dumps(found["scopes"]),
        "organisation": found["organisation"],
        "attested_points": json.dumps(found["attested_points"]),
        **lists,
        "per_s": terms.pace.per_s,
        "burst": terms.pace.burst,
        "needs_both": terms.needs_both,
    }


def _account(row: sa.Row[Any], keys: Sequence[Key], bound: Sequence[Binding]) -> Account:
    reach = Reach(
        organisations=None if row.organisation is None else frozenset({row.organisation}),
        zones=_read_list(row.zones),
        units=_read_list(row.units),
        points=_read_list(row.points),
    )
    # A scope that a newer program knew is none here: it opens nothing.
    scopes = frozenset(Scope(one) for one in json.loads(row.scopes) if one in set(Scope))
    return Account(
        row=row.id,
        name=row.name,
        terms=Terms(
            scopes,
            reach,
            Pace(row.per_s, row.burst),
            frozenset(json.loads(row.attested_points)),
            needs_both=row.needs_both,
        ),
        disabled=row.disabled,
        reason=row.reason,
        created_by=row.created_by,
        created_ms=row.created_ms,
        changed_by=row.changed_by,
        changed_ms=row.changed_ms,
        keys=tuple(keys),
        certificates=tuple(bound),
    )


def _read_list(text: str | None) -> frozenset[str] | None:
    return None if text is None else frozenset(json.loads(text))


def _key(row: sa.Row[Any]) -> Key:
    return Key(
        key=row.key,
        begins_ms=row.begins_ms,
        expires_ms=row.expires_ms,
        created_by=row.created_by,
        last_used_ms=row.last_used_ms,
        revoked_ms=row.revoked_ms,
        revoked_by=row.revoked_by,
    )


def _binding(row: sa.Row[Any]) -> Binding:
    return Binding(
        certificate=row.certificate,
        key_digest=bytes(row.key_digest),
        subject=row.subject,
        begins_ms=row.begins_ms,
        expires_ms=row.expires_ms,
        created_by=row.created_by,
        created_ms=row.created_ms,
        last_used_ms=row.last_used_ms,
        revoked_ms=row.revoked_ms,
        revoked_by=row.revoked_by,
    )
