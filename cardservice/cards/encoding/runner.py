# SPDX-License-Identifier: EUPL-1.2
"""A job meets a card: what is known is read, the card is looked at, worked on, and what came of it is stored. Blocks.

Whatever goes wrong ends here as a state of the job: either the same card is wanted again, or the job has failed. Before
the first command that writes, the job says that it has begun.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy.engine import Engine

from cardservice.cards.encoding import service, store, works
from cardservice.cards.encoding.ports import CardOnEncoder
from cardservice.cards.encoding.recognising import CardUnknowable, recognise
from cardservice.cards.encoding.rules import MAX_DETAIL, JobKind, JobState, Trouble, state_after, trouble_of
from cardservice.cards.encoding.scanning import findings_document, followed_by, scan
from cardservice.cards.encoding.service import Job
from cardservice.cards.encoding.works import CardKeys, Looked, converse
from cardservice.cards.ports import TokenTrouble
from cardservice.chip.desfire_erase import erase
from cardservice.chip.desfire_layout import Step
from cardservice.chip.desfire_personalise import EncodedCard, personalise
from cardservice.chip.errors import CardUnfit, ChipError, UnfitCause
from cardservice.chip.keys import WritableKey
from cardservice.chip.open_reading import FREE_MEMORY, Place
from cardservice.chip.originality import is_original
from cardservice.chip.privacy_scan import has_random_uid
from cardservice.chip.probe import conclude
from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.errors import CardServiceError, Conflict, KeyStoreError

Told = Callable[[], None]
_log = structlog.get_logger()


class _Ended(Exception):
    """The job was cancelled while it ran: nothing more is sent to the card."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What every job is done with. `told` is called whenever a job has changed, `publish` when a card has."""

    state: Engine
    keys: CardKeys
    clock: Clock
    told: Told
    publish: Told


class Runner:
    """Does one job after the other at one encoder, or several at once in threads of their own."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._works: dict[JobKind, Callable[[Job, CardOnEncoder], None]] = {
            JobKind.ENCODE: self._encode,
            JobKind.ERASE: self._erase,
            JobKind.REKEY: self._rekey,
            JobKind.PROBE: self._probe,
            JobKind.REGISTER: self._register,
        }

    def run(self, job: Job, card: CardOnEncoder) -> Job:
        """Do a job with a card; return what became of it.

        Raises:
            DatabaseUnavailable: it could not be written down; the job is as it was.
        """
        try:
            self._works[job.kind](job, card)
        except _Ended:
            _log.info("encoding.cancelled", kind=job.kind, agent=job.encoder.agent)
        except ChipError as error:
            self._trouble(job, trouble_of(error), str(error))
        except TokenTrouble as error:
            self._trouble(job, Trouble.KEYS_AWAY, str(error))
        except KeyStoreError as error:
            self._trouble(job, Trouble.NO_KEYS, str(error))
        except CardUnknowable as error:
            self._trouble(job, error.trouble, str(error))
        except Conflict as error:
            self._trouble(job, Trouble.CARD_CHANGED, str(error))
        except CardServiceError as error:
            self._trouble(job, Trouble.SERVICE, str(error))
        except Exception as error:  # noqa: BLE001  # a defect met by one card must not leave its job running for ever
            # What a library's error repeats may be a key.
            _log.error("encoding.failed", kind=job.kind, error=type(error).__name__)
            self._trouble(job, Trouble.SERVICE, "the service's log says more")
        finally:
            card.release()
            self._tools.told()
        with read(self._tools.state) as connection:
            return service.one(connection, job.reference)

    def _encode(self, job: Job, card: CardOnEncoder) -> None:
        with read(self._tools.state) as connection:
            held, wanted = service.badge(connection, job), service.applications(connection, int(job.card_id or 0))
        plan = self._tools.keys.card_plan(held, wanted)
        looked = self._look(card, self._tools.keys.picc(held))
        self._require_same(job, looked)
        if not looked.ours and looked.foreign:
            raise CardUnfit(UnfitCause.OCCUPIED, f"{looked.foreign} applications on it are not ours")
        self._begin(job, looked)
        card.begin()
        try:
            done = converse(personalise(plan, progress=self._progress(job)), card)
        except CardUnfit as unfit:
            if unfit.cause is UnfitCause.KEY and job.begun_ms is None:
                # None of the keys it could have opens it: nothing was written, and any blank will do.
                self._set(job, {"begun_ms": None, "chip": None})
            raise
        with write(self._tools.state) as connection:
            service.finish_encoding(connection, job, self._tools.clock.now_ms(), {"found": _found_of(done)})
        self._finished(job)

    def _erase(self, job: Job, card: CardOnEncoder) -> None:
        picc = self._key_of(job, card)
        self._begin(job, None)
        card.begin()
        converse(erase(picc, progress=self._progress(job)), card)
        with write(self._tools.state) as connection:
            service.finish_erasing(connection, job, self._tools.clock.now_ms())
        self._finished(job)

    def _rekey(self, job: Job, card: CardOnEncoder) -> None:
        self._key_of(job, card)
        with read(self._tools.state) as connection:
            here = service.applications(connection, int(job.card_id or 0))
        self._begin(job, None)
        for one in here:
            following = one.following or self._tools.keys.newest(one.use)
            if following != one.generation:
                card.begin()
                self._roll(job, card, one, following)
        with write(self._tools.state) as connection:
            service.finish_rekeying(connection, job, self._tools.clock.now_ms())
        self._finished(job)

    def _roll(self, job: Job, card: CardOnEncoder, one: works.Application, following: int) -> None:
        card_id, plan = int(job.card_id or 0), self._tools.keys.rollover_plan(one, following)

        def note() -> None:
            with write(self._tools.state) as connection:
                store.set_generation(connection, card_id, one.use, one.generation, following)

        works.roll(plan, card, note, self._progress(job))
        with write(self._tools.state) as connection:
            service.rolled(connection, job, one.use, following)

    def _probe(self, job: Job, card: CardOnEncoder) -> None:
        reading, findings = scan(card)
        stable = findings_document(findings)
        found, memory = conclude(reading), reading.values.get(Place(FREE_MEMORY), b"")
        facts = {
            "family": None if found.family is None else found.family.value,
            "storage_bytes": None if found.version is None else found.version.storage_bytes,
            "free_bytes": int.from_bytes(memory[:3], "little") if len(memory) >= 3 else None,
            "uses": [use.value for use in found.uses],
            "piv": found.has_piv,
            "random_uid": has_random_uid(reading),
            "can_be_encoded": found.can_be_personalised,
            "level": found.level.value,
            "followed_by": followed_by(stable),
            "stable": stable,
        }
        with write(self._tools.state) as connection:
            values = {"found": json.dumps(facts)}
            service.finish_probe(connection, job, self._tools.clock.now_ms(), values)
        self._finished(job)

    def _register(self, job: Job, card: CardOnEncoder) -> None:
        recognised = recognise(card, self._tools.keys, self._tools.clock.now_ms(), job.number_use)
        with write(self._tools.state) as connection:
            service.finish_registering(connection, job, recognised, self._tools.clock.now_ms())
        self._finished(job)

    def _look(self, card: CardOnEncoder, picc: WritableKey) -> Looked:
        card.begin()
        return converse(works.look(picc, self._tools.keys.chip_secret), card)

    def _key_of(self, job: Job, card: CardOnEncoder) -> WritableKey:
        """Return the card level's key that the card has; it is this card, then.

        Raises:
            CardUnfit: it is another card.
        """
        with read(self._tools.state) as connection:
            held = service.badge(connection, job)
        for picc in (self._tools.keys.picc(held), self._tools.keys.former_picc(held)):
            if picc is not None and self._look(card, picc).ours:
                return picc
        raise CardUnfit(UnfitCause.KEY, "the card level does not have the key of this badge")

    def _require_same(self, job: Job, looked: Looked) -> None:
        """Refuse another card than the one that was begun, even another blank."""
        with read(self._tools.state) as connection:
            row = store.find_job(connection, job.reference)
        begun = None if row is None or row.chip is None else bytes(row.chip)
        if begun is not None and (looked.chip != begun if looked.chip is not None else not looked.ours):
            raise CardUnfit(UnfitCause.KEY, "another card was begun; it is wanted, or cancel the job")

    def _begin(self, job: Job, looked: Looked | None) -> None:
        """Store that the card is written from now on, and by what it is known again."""
        values: dict[str, Any] = {"state": JobState.RUNNING.value, "trouble": None, "detail": None}
        if job.begun_ms is None:
            values["begun_ms"] = self._tools.clock.now_ms()
        if looked is not None and looked.chip is not None:
            values["chip"] = looked.chip
        self._set(job, values)

    def _progress(self, job: Job) -> Callable[[Step], None]:
        def told(step: Step) -> None:
            use = None if step.use is None else step.use.value
            values = {"step": step.number, "steps": step.total, "step_name": step.name, "step_use": use}
            self._set(job, values)

        return told

    def _set(self, job: Job, values: dict[str, Any]) -> None:
        with write(self._tools.state) as connection:
            if not store.set_job(connection, job.number, values):
                raise _Ended
        self._tools.told()

    def _trouble(self, job: Job, trouble: Trouble, detail: str) -> None:
        with write(self._tools.state) as connection:
            row = store.find_job(connection, job.reference)
            state = state_after(trouble, begun=row is not None and row.begun_ms is not None)
            values: dict[str, Any] = {"trouble": trouble.value, "detail": detail[:MAX_DETAIL]}
            if state is JobState.FAILED:
                service.end(connection, job, state, self._tools.clock.now_ms(), **values)
            else:
                store.set_job(connection, job.number, values | {"state": state.value})
        _log.warning("encoding.trouble", kind=job.kind, trouble=trouble, agent=job.encoder.agent)

    def _finished(self, job: Job) -> None:
        self._tools.publish()
        _log.info("encoding.done", kind=job.kind, agent=job.encoder.agent)


def _found_of(done: EncodedCard) -> str:
    signature = done.originality
    original = None if signature is None else is_original(done.uid, signature)
    return json.dumps({"family": done.version.family.value, "original": original})
