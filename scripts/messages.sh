#!/bin/sh
# SPDX-License-Identifier: EUPL-1.2
#
# Brings cardservice/locale/de.po up to date with the messages in code and templates. New ones stand there without a
# translation, which a test refuses; those that nobody uses any more go.
set -eu

cd -- "$(dirname -- "$0")/.."
# One at a time.
exec 9<cardservice/locale
flock 9
template=$(mktemp)
trap 'rm -f "$template"' EXIT

.venv/bin/pybabel --quiet extract --mapping-file cardservice/locale/babel.cfg --keyword translated:2 --keyword marked \
    --no-location --omit-header --sort-output --output-file "$template" cardservice
.venv/bin/pybabel --quiet update --domain cardservice --locale de --input-file "$template" \
    --output-file cardservice/locale/de.po --no-fuzzy-matching --ignore-obsolete --no-wrap --ignore-pot-creation-date
# What the tool says of itself and of the clock would make each run a change.
sed -i -e '/^"\(Report-Msgid\|POT-Creation\|PO-Revision\|Last-Trans\|Language-Team\|Generated-By\)/d' -e '/./,$!d' \
    cardservice/locale/de.po
grep -c '^msgid' cardservice/locale/de.po | sed 's/$/ messages in cardservice\/locale\/de.po/'
