# SPDX-License-Identifier: EUPL-1.2
"""Follow-me printing: what a person has sent waits in one queue until their card is shown at a printer."""
