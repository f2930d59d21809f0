# SPDX-License-Identifier: EUPL-1.2
"""What works now, what does not, and until when: for whoever is called when something is wrong."""
