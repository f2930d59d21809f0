# SPDX-License-Identifier: EUPL-1.2
"""Pages in a real browser; a package, so that one demonstration city serves all of its modules."""
