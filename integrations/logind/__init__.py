# SPDX-License-Identifier: EUPL-1.2
"""The sessions of this PC through logind (org.freedesktop.login1) on the system bus."""

from integrations.logind.sessions import LogindSessions, build

__all__ = ["LogindSessions", "build"]
