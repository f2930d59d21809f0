# SPDX-License-Identifier: EUPL-1.2
"""`python -m cardservice` is the command `cardservice`."""

from cardservice.cli import main

main()
