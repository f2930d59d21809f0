# SPDX-License-Identifier: EUPL-1.2
"""The two stores: *state* (who may do what) and *record* (what happened), apart so that neither ever blocks the other.

On SQLite they are two files (WAL, `synchronous=FULL`), on PostgreSQL two schemas of one database. No transaction spans
both. Writers take the write lock at once (`BEGIN IMMEDIATE`), so that two of them queue instead of failing half-way.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as postgresql_dialect
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from cardservice.errors import DatabaseUnavailable, MigrationMissing, SettingsError
from cardservice.use_guard import keep_apart

if TYPE_CHECKING:
    from alembic.config import Config

StoreName = Literal["state", "record"]
STORES: Final[tuple[StoreName, ...]] = ("state", "record")
BUSY_TIMEOUT_MS: Final = 5_000
# 32 MB of SQLite's log before it is taken over into the file: a page that many transactions change is copied once.
_LOG_PAGES: Final = 8_000
_PREPARED_STATEMENTS: Final = 512
# A connection that was left alone for longer is tried before it is used.
_ALONE_S: Final = 1.0

_NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
STATE: Final = sa.MetaData(naming_convention=_NAMING)
RECORD: Final = sa.MetaData(naming_convention=_NAMING)

# What these say is about the statement or its values; whatever else a driver raises is about the database.
_BLAMES_THE_STATEMENT: Final = (
    sa.exc.IntegrityError,
    sa.exc.DataError,
    sa.exc.ProgrammingError,
    sa.exc.NotSupportedError,
)

# How long a silent or busy PostgreSQL is waited for; a tap does not wait for minutes.
_PATIENCE: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    "target_session_attrs": "read-write",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 8_000,
}
_STATEMENT_LIMITS: Final = "-c statement_timeout=20s -c lock_timeout=5s -c idle_in_transaction_session_timeout=60s"

# SQLite gives automatic row numbers only to INTEGER primary keys.
RowNumber = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


@dataclass(frozen=True, slots=True)
class Databases:
    """The engines of both stores."""

    state: Engine
    record: Engine

    def close(self) -> None:
        """Close every connection; what a thread still has is closed when it brings it back."""
        for engine in (self.state, self.record):
            sa.event.listen(engine, "checkin", _close_late)
            engine.dispose()


def _close_late(_: object, late: ConnectionPoolEntry) -> None:
    late.invalidate()


def open_databases(url: str) -> Databases:
    """Open both stores of `url` without reading or creating anything.

    `url` is `sqlite:///DIRECTORY` (two files are kept in it) or a `postgresql://` URL of one database.

    Raises:
        SettingsError: another kind of URL.
    """
    databases = Databases(state=_open(url, "state"), record=_open(url, "record"))
    for store in STORES:
        keep_apart(getattr(databases, store), RECORD)
    return databases


def _open(url: str, store: StoreName) -> Engine:
    try:
        parsed = make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise SettingsError("database.url: not a database URL; allowed are sqlite:/// and postgresql://") from None
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database:
            raise SettingsError(
                "database.url: sqlite:/// needs a directory, for example sqlite:////var/lib/cardservice"
            )
        file = Path(parsed.database) / f"{store}.db"
        engine = sa.create_engine(
            f"sqlite:///{file}",
            connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "cached_statements": _PREPARED_STATEMENTS},
            hide_parameters=True,
        )
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine
    if parsed.get_backend_name() == "postgresql":
        return sa.create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            connect_args=_PATIENCE | {"options": f"-c search_path=cardservice_{store} {_STATEMENT_LIMITS}"},
            pool_pre_ping=True,
            hide_parameters=True,
        )
    raise SettingsError(
        f"database.url: {parsed.get_backend_name()!r} is not supported; allowed are sqlite:/// and postgresql://"
    )


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # The driver's own transaction handling is off: SAVEPOINT and BEGIN IMMEDIATE are ours.
    connection.isolation_level = None
    limits = (f"busy_timeout={BUSY_TIMEOUT_MS}", f"wal_autocheckpoint={_LOG_PAGES}")
    for pragma in (*limits, "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()
    # Read to its end: only then SQLite has changed over, or says why not.
    if connection.execute("PRAGMA journal_mode=WAL").fetchall() != [("wal",)]:
        raise sqlite3.OperationalError("no write-ahead log could be made")


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("write", False)
    statement = "BEGIN IMMEDIATE" if immediate else "BEGIN"
    driver: Any = connection.connection.dbapi_connection
    try:
        # By the driver itself: SQLAlchemy's way to it takes 20 µs, for which everybody waits whose tap is written down.
        driver.execute(statement).close()
    except sqlite3.Error as error:
        dialect = connection.dialect
        raise sa.exc.DBAPIError.instance(statement, None, error, sqlite3.Error, True, dialect=dialect) from error


class Writer:
    """The connection of a store's only writer, kept from one transaction to the next. Used by one thread at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._used_s = 0.0

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Run one transaction that writes; commits at the end, rolls back on any error.

        Raises:
            DatabaseUnavailable: locked, read-only, full or unreachable.
        """
        with _said_plainly(self._engine):
            try:
                connection = self._connected()
                with connection.begin():
                    yield connection
            except BaseException:
                self.close()
                raise
        self._used_s = monotonic()

    def _connected(self) -> Connection:
        """Return the connection; one that was left alone for a while may be gone."""
        if self._connection is not None and monotonic() - self._used_s > _ALONE_S and not _answers(self._connection):
            self.close()
        if self._connection is None:
            self._connection = self._engine.connect().execution_options(write=True)
            if self._engine.dialect.name == "postgresql":
                _never_scan(self._connection)
        return self._connection

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _answers(connection: Connection) -> bool:
    try:
        connection.exec_driver_sql("SELECT 1")
        connection.rollback()
    except sa.exc.DBAPIError:
        return False
    return True


def _never_scan(connection: Connection) -> None:
    """Take the connection out of the pool and let it ask indexes only: its plans last longer than tables are small."""
    connection.detach()
    connection.exec_driver_sql("SET enable_seqscan = off")
    connection.commit()


@contextmanager
def write(engine: Engine) -> Iterator[Connection]:
    """Run one transaction that writes; commits at the end, rolls back on any error.

    Raises:
        DatabaseUnavailable: locked, read-only, full or unreachable.
    """
    with _said_plainly(engine), engine.execution_options(write=True).begin() as connection:
        yield connection


@contextmanager
def _said_plainly(engine: Engine) -> Iterator[None]:
    try:
        yield
    except _BLAMES_THE_STATEMENT:
        raise
    except sa.exc.DBAPIError as error:
        # A server that became read-only keeps its connections: only new ones find the one that can be written.
        # A file's connection is kept: it knows what of the log a flush that failed has left uncertain, and to open the
        # file anew takes room on the disk.
        if engine.dialect.name == "postgresql":
            engine.dispose()
        raise unavailable(engine, error) from error


def is_the_databases_fault(error: BaseException) -> bool:
    """Tell whether `error` says something about the database rather than about one statement."""
    return isinstance(error, sa.exc.DBAPIError) and not isinstance(error, _BLAMES_THE_STATEMENT)


def insert_or(connection: Connection, table: sa.Table) -> sqlite_dialect.Insert | postgresql_dialect.Insert:
    """Return an INSERT that can say what happens ON CONFLICT, on either engine."""
    if connection.dialect.name == "postgresql":
        return postgresql_dialect.insert(table)
    return sqlite_dialect.insert(table)


@contextmanager
def read(engine: Engine) -> Iterator[Connection]:
    """Run one transaction that only reads; everything it reads is from one moment.

    Raises:
        DatabaseUnavailable: locked or unreachable.
    """
    # SQLite's transactions are of one moment anyway.
    options = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
    try:
        with engine.execution_options(**options).connect() as connection:
            yield connection
    except _BLAMES_THE_STATEMENT:
        raise
    except sa.exc.DBAPIError as error:
        raise unavailable(engine, error) from error


def unavailable(engine: Engine, error: sa.exc.DBAPIError) -> DatabaseUnavailable:
    """Say in one sentence why the database cannot be used, and what to do."""
    where = _where(engine)
    cause = next(iter(str(error.orig or "").strip().splitlines()), "unknown error")
    hints = {
        "locked": "another program holds its write lock; end it or wait",
        "readonly": "it is read-only; check the owner and mode of the file and its directory",
        "read-only": "it is read-only; check the server's mode and this user's rights",
        "disk is full": "the disk is full; free some space, nothing acknowledged is lost",
        "disk I/O error": "the disk is full or broken; free some space, and look at the system's log",
        "unable to open": "it cannot be opened; check that the directory exists and this user may write in it",
    }
    hint = next((text for mark, text in hints.items() if mark in cause), "check that it runs and is reachable")
    return DatabaseUnavailable(f"database {where}: {cause}: {hint}")


def _where(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=True)


def _migrations() -> Path:
    """Return the folder of the migrations: inside the installed package, or beside it in a checkout."""
    inside = Path(__file__).parent / "migrations"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "migrations"


def revisions(store: StoreName) -> list[str]:
    """Return the revisions that this program knows of a store, the newest last: their files begin with them."""
    return sorted(path.name.partition("_")[0] for path in (_migrations() / store).glob("[rs][0-9]*_*.py"))


def _config(store: StoreName) -> "Config":
    # Only who upgrades waits for alembic: it takes longer to load than most commands to run.
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_migrations()))
    config.set_main_option("version_locations", str(_migrations() / store))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(databases: Databases) -> None:
    """Bring both stores to the newest revision, creating what is missing.

    Raises:
        DatabaseUnavailable: locked, read-only, full or unreachable.
    """
    from alembic import command

    for store in STORES:
        engine: Engine = getattr(databases, store)
        _make_place(engine, store)
        config = _config(store)
        with write(engine) as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _make_place(engine: Engine, store: StoreName) -> None:
    if engine.dialect.name == "sqlite":
        directory = Path(str(engine.url.database)).parent
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseUnavailable(f"database {_where(engine)}: {directory}: {error.strerror}") from error
        return
    with write(engine) as connection:
        connection.execute(sa.schema.CreateSchema(f"cardservice_{store}", if_not_exists=True))


def require_head(databases: Databases) -> None:
    """Refuse a database that this program was not written for.

    Raises:
        MigrationMissing: a store is absent, older or newer.
        DatabaseUnavailable: locked or unreachable.
    """
    for store in STORES:
        engine: Engine = getattr(databases, store)
        wanted = revisions(store)[-1]
        found = _current_revision(engine)
        if found != wanted:
            raise MigrationMissing(
                f"database {_where(engine)} is at revision {found or 'none (empty)'}, this program needs {wanted}: "
                "run 'cardservice db upgrade' (a newer revision means a newer program has been here: use that one)"
            )


def require_known(store: StoreName, revision: str) -> None:
    """Refuse a revision of a store that this program has never heard of.

    Raises:
        MigrationMissing: a newer program made it.
    """
    if revision not in revisions(store):
        raise MigrationMissing(
            f"the {store} store is at revision {revision}, which this program does not know: a newer program has been "
            "here, use that one"
        )


def require_writable(databases: Databases) -> None:
    """Refuse a database that cannot be written now.

    Raises:
        DatabaseUnavailable: locked, read-only or unreachable.
    """
    for store in STORES:
        require_store_writable(getattr(databases, store))


def require_store_writable(engine: Engine) -> None:
    """Refuse one store that cannot be written now.

    Raises:
        DatabaseUnavailable: locked, read-only, full or unreachable.
    """
    with write(engine) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = version_num"))
    if engine.dialect.name == "sqlite":
        _fold_back(engine)


def _fold_back(engine: Engine) -> None:
    """Bring the write-ahead log into the database file and begin a new one.

    What a failed flush left of the log may be in the system's memory only: nothing may be appended to it.
    """
    try:
        with closing(engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error as error:
        raise DatabaseUnavailable(f"database {_where(engine)}: {error}: the disk is full or broken") from error


def _current_revision(engine: Engine) -> str | None:
    if engine.dialect.name == "sqlite" and not Path(str(engine.url.database)).exists():
        return None
    with read(engine) as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        return None if found is None else str(found)


def row_id(result: sa.CursorResult[Any]) -> int:
    """Return the number the database gave to the one row just inserted."""
    key = result.inserted_primary_key
    if key is None:
        raise AssertionError("an insert of one row always yields its key")
    return int(key[0])
