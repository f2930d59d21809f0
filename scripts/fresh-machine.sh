#!/bin/sh
# SPDX-License-Identifier: EUPL-1.2
#
# Tries ./run, ./test and the page docs/install.md on a really fresh machine: a minimal Debian root without git, make,
# Python or certificates, made by debootstrap and thrown away afterwards. What is committed is tried, nothing else.
# Needs root, git and debootstrap, about 3 GB in TMPDIR, and the network. Exit 0 only when all that was tried worked.
set -eu

usage() {
    cat <<'TEXT'
Usage: scripts/fresh-machine.sh [SUITE [COMMAND]]

  SUITE    bookworm (the default), trixie, or another that debootstrap and the archive know
  COMMAND  user     ./run by somebody who is not root, on a machine with Python alone: cards inside the process
           run      ./run as root
           test     ./test as root; without a COMMAND these three, in this order
           install  a service of its own, by the commands of docs/install.md and nothing else
TEXT
}

case ${1:-} in -h | --help) usage; exit 0 ;; esac
suite=${1:-bookworm}
commands=${2:-user run test}
case $commands in user | run | test | install | "user run test") ;; *) usage >&2; exit 2 ;; esac
run_limit_s=180
test_limit_s=5400
stop_limit_s=30

checkout=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
if [ "$(id -u)" -ne 0 ]; then echo "fresh-machine.sh needs root, because it mounts and changes roots." >&2; exit 3; fi
for tool in debootstrap git; do
    command -v "$tool" >/dev/null || { echo "fresh-machine.sh needs $tool: apt-get install $tool" >&2; exit 3; }
done

mkdir -p "$checkout/var/log"
logs=$checkout/var/log
fresh=$(mktemp -d "${TMPDIR:-/tmp}/fresh-machine.XXXXXX")

processes_inside() {
    for process in /proc/[0-9]*; do
        if [ "$(readlink "$process/root" 2>/dev/null)" = "$fresh" ]; then echo "${process#/proc/}"; fi
    done
}

clean_up() {
    status=$?
    trap - EXIT HUP INT TERM
    for id in $(processes_inside); do kill -KILL "$id" 2>/dev/null || true; done
    for place in run dev/shm dev/pts dev proc; do
        if mountpoint -q "$fresh/$place"; then umount "$fresh/$place" || umount --lazy "$fresh/$place"; fi
    done
    # Never across a mount that would not go: /dev of this machine must survive.
    rm -rf --one-file-system "$fresh"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

seconds() { date +%s; }

# In the fresh root, with an environment that holds nothing of this machine but the way to the network.
inside() {
    for setting in http_proxy https_proxy no_proxy PIP_INDEX_URL UV_DEFAULT_INDEX; do
        eval "value=\${$setting:-}"
        if [ -n "$value" ]; then set -- "$setting=$value" "$@"; fi
    done
    # A shell starts its background children deaf to ctrl-C; the city has to hear it.
    exec env --default-signal=INT chroot "$fresh" \
        env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

make_the_machine() {
    # apt's own user has to find its way in.
    chmod 755 "$fresh"
    debootstrap --variant=minbase "$suite" "$fresh" >"$logs/fresh-debootstrap.log" 2>&1 || {
        echo "debootstrap failed; the log is $logs/fresh-debootstrap.log" >&2
        exit 1
    }
    for settings in /etc/apt/apt.conf.d/99*; do
        if [ -e "$settings" ]; then cp "$settings" "$fresh/etc/apt/apt.conf.d/"; fi
    done
    cp /etc/resolv.conf "$fresh/etc/resolv.conf"
    # A network's own authority, where the machine's administrator put one; ca-certificates takes it up.
    mkdir -p "$fresh/usr/local/share/ca-certificates"
    for authority in /usr/local/share/ca-certificates/*.crt; do
        if [ -e "$authority" ]; then cp "$authority" "$fresh/usr/local/share/ca-certificates/"; fi
    done
    mount -t proc proc "$fresh/proc"
    mount --bind /dev "$fresh/dev"
    # What is mounted below is the fresh machine's alone.
    mount --make-private "$fresh/dev"
    mount -t devpts -o mode=620,ptmxmode=666 devpts "$fresh/dev/pts"
    mount -t tmpfs tmpfs "$fresh/dev/shm"
    mount -t tmpfs tmpfs "$fresh/run"
    git clone --quiet --no-hardlinks "$checkout" "$fresh/srv/cardservice"
}

# What ./run says once a visitor can come in.
first_address() { sed -n 's/^The city is open: \(http:[^ ]*\).*/\1/p' "$1" | head -n 1; }

answers() {
    (inside python3 -c \
        'import sys, urllib.request; sys.exit(urllib.request.urlopen(sys.argv[1], timeout=5).status != 200)' "$1") \
        >/dev/null 2>&1
}

# A child that ended stays visible until it is waited for, so kill -0 cannot tell.
is_alive() {
    case $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) in "" | Z*) return 1 ;; esac
}

ended_within() {
    limit=$(($(seconds) + $2))
    while is_alive "$1"; do
        if [ "$(seconds)" -ge "$limit" ]; then return 1; fi
        sleep 1
    done
}

try_run() {
    log=$logs/fresh-run.log
    (inside sh -c 'cd /srv/cardservice && exec ./run') >"$log" 2>&1 &
    see_the_city "$!"
}

# Nothing but Python is there, and nobody may install more.
try_user() {
    log=$logs/fresh-user.log
    (inside sh -c 'cd /srv/cardservice && scripts/debian-packages.sh run && useradd --create-home visitor &&
        cp -a . /home/visitor/cardservice && chown -R visitor: /home/visitor') >"$log" 2>&1 ||
        { echo "the machine of the user could not be made; the log is $log"; return 1; }
    (inside setpriv --reuid=visitor --regid=visitor --init-groups env HOME=/home/visitor \
        sh -c 'cd /home/visitor/cardservice && exec ./run') >>"$log" 2>&1 &
    see_the_city "$!" || return 1
    grep -q "the cards run inside the process" "$log" || { echo "./run did not say where the cards are"; return 1; }
}

see_the_city() {
    city=$1
    started=$(seconds)
    while :; do
        address=$(first_address "$log")
        if [ -n "$address" ] && answers "$address"; then break; fi
        if ! is_alive "$city"; then echo "./run ended before its page answered; the log is $log"; return 1; fi
        if [ $(($(seconds) - started)) -ge $run_limit_s ]; then
            echo "./run: no page answered within $run_limit_s s; the log is $log"
            return 1
        fi
        sleep 1
    done
    ready_s=$(($(seconds) - started))
    kill -INT "$city"
    if ! ended_within "$city" $stop_limit_s; then echo "./run did not end within $stop_limit_s s of ctrl-C"; return 1; fi
    left=$(processes_inside | tr '\n' ' ')
    if [ -n "$left" ]; then echo "./run left processes behind: $left"; return 1; fi
    echo "./run ($command): $address answered after $ready_s s, set-up included; ctrl-C ended all of it"
}

try_test() {
    log=$logs/fresh-test.log
    status=0
    started=$(seconds)
    (inside env CARDSERVICE_REQUIRE_ALL=1 timeout $test_limit_s sh -c 'cd /srv/cardservice && exec ./test') \
        >"$log" 2>&1 || status=$?
    case $status in
    0) ;;
    124) echo "./test took over $test_limit_s s; the log is $log"; return 1 ;;
    *) tail -n 5 "$log"; echo "./test failed; the log is $log"; return 1 ;;
    esac
    echo "./test: $(tail -n 1 "$log"), $(($(seconds) - started)) s with set-up"
}

# The commands of one numbered step of the page.
commands_of_step() {
    awk -v step="### $1. " 'index($0, "###") == 1 { mine = index($0, step) == 1 }
        /^```/ { shown = mine && $0 == "```sh"; next } shown' "$checkout/docs/install.md"
}

# What a Debian has and a minimal root has not: systemd's own commands. It does not run here.
# And what the city has: its directory, with a certificate by its own authority, and names for both machines.
prepare_the_city() {
    echo "127.0.0.1 ldap.stadt.example karte.stadt.example" >>"$fresh/etc/hosts"
    (inside sh -c 'apt-get -qq update && apt-get -qq -y --no-install-recommends install systemd') &&
        (inside sh -c 'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
            -subj /CN=ldap.stadt.example -addext subjectAltName=DNS:ldap.stadt.example \
            -addext keyUsage=digitalSignature,keyCertSign -keyout /srv/directory.key -out /srv/cardservice/directory-ca.pem')
}

start_the_directory() {
    cat >"$fresh/srv/directory.py" <<'PYTHON'
import asyncio
from pathlib import Path

from city import people
from directorysim.server import DirectoryServer
from directorysim.settings import Options, TlsFiles

ca = Path("/srv/cardservice/directory-ca.pem")
tls = TlsFiles(ca, ca, Path("/srv/directory.key"))
options = Options(ldaps_port=636, run_dir=Path("/run/directory"), tls=tls, unlimited_dns=(people.SERVICE_DN,))
entries = people.entries("PASSWORD-OF-THE-ACCOUNT")
server = DirectoryServer(people.SUFFIX, entries, admin_dn=people.ADMIN_DN, admin_password="admin", options=options)


async def run() -> None:
    await server.start()
    print("the directory is there", flush=True)
    await asyncio.Event().wait()


asyncio.run(run())
PYTHON
    mkdir -p "$fresh/run/directory"
    (inside /opt/cardservice/bin/python /srv/directory.py) &
    for _ in $(seq 10); do
        if grep -q "the directory is there" "$log"; then return 0; fi
        sleep 1
    done
    return 1
}

# What the unit says, done without systemd: its account, its environment, its credentials, its command.
start_the_unit() {
    unit=$fresh/etc/systemd/system/cardservice.service
    credentials=/run/credentials/cardservice.service
    mkdir -p "$fresh$credentials"
    sed -n 's/^LoadCredential=//p' "$unit" | while IFS=: read -r name file; do
        install -m 400 "$fresh$file" "$fresh$credentials/$name"
    done
    (inside chown -R cardservice: "$credentials")
    # shellcheck disable=SC2046 # words of the unit
    (inside setpriv --reuid=cardservice --regid=cardservice --init-groups --no-new-privs \
        env $(sed -n 's/^Environment=//p' "$unit") $(sed -n 's/^ExecStart=//p' "$unit")) &
    service=$!
    for _ in $(seq 30); do
        if grep -q '"url": "https://' "$log"; then return 0; fi
        if ! is_alive "$service"; then return 1; fi
        sleep 1
    done
    return 1
}

try_install() {
    log=$logs/fresh-install.log
    started=$(seconds)
    if ! install_by_the_page >"$log" 2>&1; then
        tail -n 15 "$log"
        echo "docs/install.md: a step failed; the log is $log"
        return 1
    fi
    echo "docs/install.md: every command worked, $(($(seconds) - started)) s"
}

install_by_the_page() {
    steps=$(sed -n 's/^### \([0-9]\)\. .*/\1/p' "$checkout/docs/install.md")
    for step in $steps; do
        echo "== step $step"
        case $step in
        5) start_the_directory || return 1 ;;
        7) start_the_unit || return 1 ;;
        esac
        commands_of_step "$step" >"$fresh/srv/step"
        [ -s "$fresh/srv/step" ] || return 1
        # systemctl notes down what is to be started, and starts nothing.
        (inside SYSTEMD_OFFLINE=1 sh -c 'cd /srv/cardservice && exec sh -eux /srv/step') || return 1
        # The directory's certificate needs openssl, which the first step brings.
        if [ "$step" = 1 ]; then prepare_the_city || return 1; fi
    done
    kill -TERM "$service"
    ended_within "$service" $stop_limit_s || return 1
    # It answered with the city's people, and the backup is one.
    grep -q '"status":"ready"' "$log" && [ -s "$fresh/var/lib/cardservice-backup/first/manifest.json" ]
}

if [ -n "$(git -C "$checkout" status --porcelain)" ]; then echo "Note: what is not committed is not tried."; fi
started=$(seconds)
make_the_machine
echo "A minimal $suite is ready after $(($(seconds) - started)) s ($(du -sm --one-file-system "$fresh" | cut -f 1) MB)."
result=0
for command in $commands; do
    "try_$command" || result=1
    for log in "$fresh"/srv/cardservice/var/log/*.log; do
        if [ -e "$log" ]; then cp "$log" "$logs/fresh-$command-${log##*/}"; fi
    done
done
if [ $result -eq 0 ]; then echo "Fresh machine ($suite): everything worked."; else echo "Fresh machine ($suite): FAILED."; fi
exit $result
