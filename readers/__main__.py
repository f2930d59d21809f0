# SPDX-License-Identifier: EUPL-1.2
"""`python -m readers`: the reader agent."""

import sys

from readers.main import main

sys.exit(main())
