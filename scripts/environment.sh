#!/bin/sh
# SPDX-License-Identifier: EUPL-1.2
#
# Makes .venv hold what requirements/NAME.txt locks, and the project itself. Does nothing when that is so already.
# PIP_* and UV_* in the environment are respected; nothing else of the machine is needed but Python and the network.
set -eu

usage() {
    cat <<'TEXT'
Usage: scripts/environment.sh NAME

  service  the central service with the demonstration city
  agent    a reader machine
  dev      service and the tools of the gate and the tests
TEXT
}

case ${1:-} in
service | agent | dev) name=$1 ;;
-h | --help) usage; exit 0 ;;
*) usage >&2; exit 2 ;;
esac

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"
log=var/log/setup.log
stamp=.venv/cardservice-environment
version_of='import sys; print("%d.%d.%d" % sys.version_info[:3])'

# pyscard is built here: a machine that gets a compiler or the headers later is worth another try.
can_build_pyscard() {
    command -v gcc >/dev/null 2>&1 && [ -e /usr/include/PCSC/winscard.h ] && echo yes || echo no
}

fingerprint() {
    { pwd; .venv/bin/python -c "$version_of"; can_build_pyscard; cat requirements/*.txt pyproject.toml; } 2>/dev/null |
        sha256sum | cut -d ' ' -f 1
}

is_ready() {
    [ -r "$stamp" ] || return 1
    read -r made_for made_from <"$stamp" || return 1
    # dev holds the same versions as the other two, and more.
    case $made_for in "$name" | dev) ;; *) return 1 ;; esac
    [ "$made_from" = "$(fingerprint)" ]
}

failed() {
    echo "Setting up Python failed: $1" >&2
    echo "The log is $root/$log; its last lines are:" >&2
    tail -n 5 "$log" >&2
    exit 1
}

step() {
    what=$1
    shift
    printf '\n== %s\n' "$what" >>"$log"
    "$@" >>"$log" 2>&1
}

make_venv() {
    if .venv/bin/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then return 0; fi
    python=$(scripts/find-python.sh) || {
        echo "No Python 3.11 or later with venv was found. On Debian: scripts/debian-packages.sh run" >&2
        exit 1
    }
    step "venv with $python" "$python" -m venv --clear .venv || failed "$python could not make .venv."
}

# uv comes through pip, checked by hash; everything after it comes through uv, which needs seconds, not a minute.
# --system-certs: uv's own list of roots does not know the authority of a network that inspects TLS.
uv_pip() {
    verb=$1
    shift
    .venv/bin/uv --system-certs pip "$verb" --python .venv/bin/python --require-hashes "$@"
}

install_pyscard() {
    # Its build tools come from requirements/bootstrap.txt; an isolated build would fetch unlocked ones.
    step "pyscard" env PATH="$root/.venv/bin:$PATH" .venv/bin/uv --system-certs pip install --python .venv/bin/python \
        --require-hashes --no-deps --no-build-isolation -r requirements/pcsc.txt &&
        step "pyscard loads" .venv/bin/python -c 'import smartcard.scard'
}

# Foreign card programs of the tests lie apart, so that none of them decides a version of ours.
install_clients() {
    for list in clients ykman; do
        step "foreign card programs" rm -rf "var/$list" &&
            step "foreign card programs" .venv/bin/uv --system-certs pip install --python .venv/bin/python \
                --require-hashes --no-deps --target "var/$list" -r "requirements/$list.txt" || return 1
    done
}

set_up() {
    started=$(date +%s)
    : >"$log"
    make_venv
    echo "Python: setting up .venv for '$name' (Python $(.venv/bin/python -c "$version_of"))."
    rm -f "$stamp"
    step "bootstrap" .venv/bin/python -m pip install --disable-pip-version-check --no-input --require-hashes \
        -r requirements/bootstrap.txt || failed "pip could not install requirements/bootstrap.txt."
    # Compiled here, once: a machine may forbid Python to write beside what it runs, and would compile at every start.
    step "packages" uv_pip sync --compile-bytecode requirements/bootstrap.txt "requirements/$name.txt" ||
        failed "the packages of requirements/$name.txt could not be installed."
    # Editable, so that the code that runs is the code in the checkout, with its version and its command 'cardservice'.
    # hatchling is among the locked build tools, so this needs no network.
    step "project" .venv/bin/uv --system-certs pip install --python .venv/bin/python --no-deps --no-build-isolation \
        --editable . || failed "the project itself could not be installed."
    step "bytecode" .venv/bin/python -m compileall -q cardservice hardware-sim integrations migrations readers ||
        failed "the project could not be compiled."
    if [ "$name" = dev ]; then
        install_clients || failed "the packages of requirements/clients.txt and ykman.txt could not be installed."
    fi
    if ! install_pyscard; then
        echo "Python: pyscard could not be built (see $log), so virtual cards run inside the process; 'scripts/debian-packages.sh pcsc' installs what it needs."
    fi
    echo "$name $(fingerprint)" >"$stamp"
    echo "Python: ready after $(($(date +%s) - started)) s."
}

if is_ready; then exit 0; fi
mkdir -p var/log
if command -v flock >/dev/null 2>&1; then
    exec 9>var/log/setup.lock
    flock -n 9 || { echo "Python: waiting for another set-up in this checkout."; flock 9; }
    if is_ready; then exit 0; fi
fi
set_up
