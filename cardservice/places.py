# SPDX-License-Identifier: EUPL-1.2
"""Which places of use there are, and what each says of the options its points may have.

A new place gets its line here and its object in `app.py`; `docs/places.md` has the whole list.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cardservice.access.rules import Use
from cardservice.access.setup import OptionRule
from cardservice.canteen.rules import check_options as canteen_options
from cardservice.doors.rules import check_options as door_options
from cardservice.printing.rules import check_options as printing_options
from cardservice.timeclock.rules import check_options as timeclock_options
from cardservice.workstations.rules import check_options as workstation_options

OPTION_RULES: Final[Mapping[Use, OptionRule]] = MappingProxyType(
    {
        Use.DOOR: door_options,
        Use.WORKSTATION: workstation_options,
        Use.TIMECLOCK: timeclock_options,
        Use.PRINTER: printing_options,
        Use.CANTEEN: canteen_options,
    }
)
