#!/bin/sh
# SPDX-License-Identifier: EUPL-1.2
#
# Writes requirements/*.txt: every package with its version and hashes, no download address.
# Versions already locked stay; 'scripts/lock.sh --upgrade' takes the newest ones. UV names another uv.
set -eu

cd -- "$(dirname -- "$0")/.."
uv=${UV:-.venv/bin/uv}
export UV_CUSTOM_COMPILE_COMMAND="scripts/lock.sh"

compile() {
    target=$1
    shift
    "$uv" --system-certs pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --universal \
        --python-version 3.11 --output-file "requirements/$target.txt" "$@"
}

# dev first: the others take their versions from it, so that one .venv can serve them all.
compile dev pyproject.toml --group dev --extra demo --extra bench --extra doors --extra logind --extra pkcs11 "$@"
compile service pyproject.toml --extra demo --extra pkcs11 --constraints requirements/dev.txt "$@"
compile agent pyproject.toml --extra agent --extra doors --extra logind --extra kiosk --constraints requirements/dev.txt "$@"
compile bootstrap requirements/bootstrap.in --constraints requirements/dev.txt "$@"
compile pcsc requirements/pcsc.in --no-deps "$@"
compile clients requirements/clients.in "$@"
compile ykman requirements/ykman.in --constraints requirements/dev.txt --no-emit-package pyscard \
    --no-emit-package cryptography --no-emit-package cffi --no-emit-package pycparser "$@"

for file in dev service agent bootstrap pcsc clients ykman; do
    for version in 3.12 3.13; do
        "$uv" --system-certs pip compile --quiet --python-version "$version" "requirements/$file.txt" >/dev/null
    done
    echo "requirements/$file.txt: $(grep -c '^[a-z0-9].*==' "requirements/$file.txt") packages, resolved for Python 3.11 to 3.13"
done
