#!/bin/sh
# SPDX-License-Identifier: EUPL-1.2
#
# Installs the Debian or Ubuntu packages that a target needs (Debian 12 and 13, Ubuntu 24.04).
# What is installed already is left alone; when nothing is missing, apt is not called at all.
# Exit: 0 all there, 1 the installation failed, 2 wrong use, 3 root is needed (the command is printed).
set -eu

usage() {
    cat <<'TEXT'
Usage: scripts/debian-packages.sh TARGET...

  run       Python 3.11 or later with venv, and the certificates that downloads are checked with
  pcsc      the real pcscd with its virtual reader driver, and what building pyscard needs
  postgres  the PostgreSQL server
  print     CUPS, its command-line programs and its simulated printer
  sessions  a PC's desk: logind's double on a bus of its own, a virtual screen and a locker
  samba     an Active Directory domain controller
  ds389     a 389 Directory Server
  piv       programs that speak to PIV cards: OpenSC, Yubico's, and what reaches them by PKCS#11
  cards     a foreign program that speaks to DESFire cards
  checks    what checks the units, the alert rules and TLS: systemd, Prometheus and OpenSSL
  test      all of these, slapd, SoftHSM, Chromium, git and make

Needs root. Without root it prints the one apt-get command to run. No service is started by it.
TEXT
}

# Why some of them: ca-certificates because pip and uv trust the system's store, libc6-dev because gcc only recommends
# it, iproute2 because a private pcscd needs the loopback of its own network namespace, libnss3-tools because a 389
# Directory Server reads its certificate from a database of NSS.
packages_of() {
    case $1 in
    run) echo "ca-certificates python3 python3-venv" ;;
    pcsc) echo "pcscd vsmartcard-vpcd iproute2 gcc libc6-dev python3-dev libpcsclite-dev" ;;
    postgres) echo "postgresql" ;;
    print) echo "cups-daemon cups-client cups-filters cups-ipp-utils dbus-daemon poppler-utils" ;;
    sessions) echo "dbus-daemon python3-dbusmock xvfb xss-lock i3lock x11-utils" ;;
    # samba-ad-dc brings the parts that Debian 12 keeps in packages of their own.
    samba) echo "samba-ad-dc samba-ad-provision python3-samba" ;;
    ds389) echo "389-ds-base libnss3-tools" ;;
    piv) echo "opensc opensc-pkcs11 yubico-piv-tool ykcs11 gnutls-bin" ;;
    cards) echo "libfreefare-bin" ;;
    checks) echo "systemd prometheus openssl" ;;
    test)
        for part in run pcsc postgres print sessions samba ds389 piv cards checks; do packages_of "$part"; done
        echo "slapd ldap-utils pcsc-tools softhsm2 chromium git make"
        ;;
    *)
        echo "debian-packages.sh: there is no target '$1'." >&2
        usage >&2
        exit 2
        ;;
    esac
}

# Ubuntu has Chromium as a snap only: a package that the archive does not know is left out, and said.
may_be_absent="chromium libfreefare-bin"

missing_of() {
    known=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "$@" 2>/dev/null || true)
    for package in "$@"; do
        echo "$known" | grep -qx "$package installed" || printf '%s ' "$package"
    done
}

leave_out_what_the_archive_lacks() {
    for package in "$@"; do
        case " $may_be_absent " in
        *" $package "*)
            if ! apt-cache show "$package" >/dev/null 2>&1; then
                echo "Debian packages: this system's archive has no '$package'; it is left out." >&2
                continue
            fi
            ;;
        esac
        printf '%s ' "$package"
    done
}

policy=/usr/sbin/policy-rc.d
own_policy=no
units="pcscd.service pcscd.socket slapd.service postgresql.service
    samba-ad-dc.service smbd.service nmbd.service winbind.service
    cups.service cups.socket cups.path cups-browsed.service prometheus.service"
masked=no

keep_services_from_starting() {
    if [ ! -e "$policy" ]; then
        own_policy=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    if [ -d /run/systemd/system ]; then
        # Units of packages that are installed already are in use by someone: only new ones are masked.
        units=$(for unit in $units; do systemctl cat "$unit" >/dev/null 2>&1 || echo "$unit"; done)
        # shellcheck disable=SC2086 # a list of unit names
        if [ -n "$units" ] && systemctl mask --runtime --quiet $units; then masked=yes; fi
    fi
}

restore_services() {
    if [ "$own_policy" = yes ]; then rm -f "$policy"; fi
    own_policy=no
    if [ "$masked" = yes ]; then
        # shellcheck disable=SC2086
        systemctl unmask --runtime --quiet $units || true
    fi
    masked=no
}

install_packages() {
    export DEBIAN_FRONTEND=noninteractive
    trap restore_services EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    keep_services_from_starting
    set -- -o DPkg::Lock::Timeout=600 -o Acquire::Retries=2 -o Acquire::http::Timeout=60 -o Acquire::https::Timeout=60
    apt-get "$@" -qq update >"$log" 2>&1 ||
        echo "Debian packages: the package lists could not be refreshed; trying with the old ones." >&2
    # shellcheck disable=SC2086 # lists of package names
    wanted=$(leave_out_what_the_archive_lacks $missing)
    if [ -z "$wanted" ]; then return 0; fi
    case " $wanted " in
    # The tests start slapd with configuration of their own; the machine shall not get a directory.
    *" slapd "*) echo "slapd slapd/no_configuration boolean true" | debconf-set-selections ;;
    esac
    # shellcheck disable=SC2086
    apt-get "$@" -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends install $wanted >>"$log" 2>&1
}

[ $# -gt 0 ] || { usage >&2; exit 2; }
case $1 in -h | --help) usage; exit 0 ;; esac

all=""
for target in "$@"; do
    all="$all $(packages_of "$target")"
done

if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
    # shellcheck disable=SC2086 # a list of package names
    echo "This is not a Debian or Ubuntu system. Please install what corresponds to:" $all >&2
    exit 1
fi

# shellcheck disable=SC2086
missing=$(missing_of $all)
missing=${missing% }
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "Debian packages are missing, and installing them needs root. Please run:" >&2
    echo "  sudo apt-get install --no-install-recommends $missing" >&2
    exit 3
fi

echo "Debian packages: installing $missing (no service is started)."
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
mkdir -p "$root/var/log"
log=$root/var/log/debian-packages.log
if ! install_packages; then
    echo "Debian packages: the installation failed; the log is $log, its last lines are:" >&2
    tail -n 5 "$log" >&2 2>/dev/null || true
    exit 1
fi
