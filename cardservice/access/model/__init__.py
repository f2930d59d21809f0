# SPDX-License-Identifier: EUPL-1.2
"""Single entries of the access model: looked at, added, changed and removed by whoever they are within reach of."""
