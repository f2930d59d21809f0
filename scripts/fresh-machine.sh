#!/bin/sh
# SPDX-License-Identifier: EUPL-1.2
#
# Tries ./run and ./test on a really fresh machine: a minimal Debian root without git, make, Python or certificates,
# made by debootstrap and thrown away afterwards. What is committed is tried, nothing else.
# Needs root, git and debootstrap, about 3 GB in TMPDIR, and the network. Exit 0 only when both commands did their work.
set -eu

usage() {
    cat <<'TEXT'
Usage: scripts/fresh-machine.sh [SUITE [COMMAND]]

  SUITE    bookworm (the default), trixie, or another that debootstrap and the archive know
  COMMAND  user  ./run by somebody who is not root, on a machine with Python alone: cards inside the process
           run   ./run as root
           test  ./test as root; without a COMMAND all three, in this order
TEXT
}

case ${1:-} in -h | --help) usage; exit 0 ;; esac
suite=${1:-bookworm}
commands=${2:-user run test}
case $commands in user | run | test | "user run test") ;; *) usage >&2; exit 2 ;; esac
run_limit_s=180
test_limit_s=3000
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
