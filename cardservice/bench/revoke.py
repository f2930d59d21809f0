# SPDX-License-Identifier: EUPL-1.2
"""`cardservice bench revoke`: how soon the service knows what a real directory server says, and what that costs a tap.

Four parts, each with a city of its own and with other people tapping meanwhile: somebody disabled in OpenLDAP, the same
in an Active Directory (Samba), everything read anew, and a server that hangs.
"""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cardservice.bench import revoke_disable, revoke_refresh, revoke_spare
from cardservice.bench.city_figures import load_row
from cardservice.bench.report import Report
from cardservice.bench.revoke_crowd import Crowd
from cardservice.bench.revoke_directory import check_installed, measured_samba, measured_slapd

LIBRARIES: Final = ("ldap3", "picows", "sqlalchemy", "uvloop", "websockets")
SERVERS: Final = (
    revoke_disable.Server("OpenLDAP", measured_slapd, refused_goal_ms=100.0, age_goal_ms=500.0),
    revoke_disable.Server("Samba", measured_samba, refused_goal_ms=500.0),
)


@dataclass(frozen=True, slots=True)
class Size:
    """How large each part is, and who else taps."""

    disable: revoke_disable.Size = field(default_factory=revoke_disable.Size)
    refresh: revoke_refresh.Size = field(default_factory=revoke_refresh.Size)
    spare: revoke_spare.Size = field(default_factory=revoke_spare.Size)
    crowd: Crowd = field(default_factory=Crowd)


def run(size: Size = Size()) -> Report:  # frozen
    """Measure.

    Raises:
        CardServiceError, RigError: a server is not installed, or a part did not start; one sentence.
    """
    check_installed()
    report = Report("revoke", libraries=LIBRARIES, rows=[load_row()])
    with tempfile.TemporaryDirectory(prefix="revoke-") as name:
        folder = Path(name)
        for server in SERVERS:
            revoke_disable.measure(report, folder / server.name, server, size.disable, size.crowd)
        revoke_refresh.measure(report, folder / "refresh", size.refresh, size.crowd)
        revoke_spare.measure(report, folder / "spare", size.spare, size.crowd)
    return report
