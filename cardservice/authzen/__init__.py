# SPDX-License-Identifier: EUPL-1.2
"""AuthZEN: the OpenID Authorization API 1.0 over the same decision as a tap."""
