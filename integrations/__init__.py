# SPDX-License-Identifier: EUPL-1.2
"""Systems outside the service, one package each; a package here knows only the port it implements."""
