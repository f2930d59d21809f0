# SPDX-License-Identifier: EUPL-1.2
"""Changes of single entries rehearsed: the same use cases with the same checks, and nothing of it stays."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from sqlalchemy.engine import Connection

from cardservice.access.model.service import By, Model, ModelServices
from cardservice.access.plan.effects import Effects
from cardservice.access.plan.service import Outlook, Plans
from cardservice.access.setup_parts import RuleSetup


class _Undone(Exception):
    """Rolls a transaction back that was for looking only."""


class _Stage(Model):
    """The use cases as they are, in a transaction that is looked at and rolled back; no line, no tap sees any of it."""

    def __init__(self, services: ModelServices, look: Callable[[Connection], None]) -> None:
        super().__init__(replace(services, keep=lambda _facts, _personal: None, publish=lambda: None))
        self._look = look

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        with suppress(_Undone), super()._changing() as connection:
            yield connection
            self._look(connection)
            raise _Undone

    def try_rule(self, rule: RuleSetup, by: By) -> None:
        """Add a grant or block; raises as `add_rule`."""
        with self._changing() as connection:
            self._added(connection, rule, by)


class Rehearsal:
    """Says what a change would do to how many. Everything blocks, and raises what the change itself would."""

    def __init__(self, services: ModelServices) -> None:
        self._services = services
        self._plans = Plans(services.state, services.clock, services.option_rules)

    def of(self, change: Callable[[Model], Any]) -> Effects:
        """Return what a change of the model would do to whom."""
        return self._plans.weighed(lambda look: _ran(change, _Stage(self._services, look)))

    def of_file(self, content: bytes) -> Outlook:
        """Return what taking a file over would change, and what that does to whom."""
        return self._plans.preview(content)

    def of_rule(self, rule: RuleSetup, by: By) -> Effects:
        """Return what another grant or block would do to whom."""
        return self._plans.weighed(lambda look: _Stage(self._services, look).try_rule(rule, by))


def _ran(change: Callable[[Model], Any], model: Model) -> None:
    change(model)
