#!/bin/sh
# SPDX-License-Identifier: EUPL-1.2
#
# Prints the first Python that can carry the project: 3.11 or later, with venv and ensurepip. Exit 1 when there is none.
# PYTHON names one to try first.
set -eu

for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
    found=$(command -v "$name" 2>/dev/null) || continue
    if "$found" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        echo "$found"
        exit 0
    fi
done
exit 1
