#!/bin/sh
# SPDX-License-Identifier: EUPL-1.2
#
# Brings the files of every vendor.toml anew from npm, in the versions it names, and says which differ from their
# checksum. For a new version: change `version`, run this, check what changed, write the new checksum it prints.
set -eu

cd -- "$(dirname -- "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fetch() {
    folder=$1 name=$2 package=$3 version=$4 path=$5 sum=$6
    (cd "$work" && rm -rf package ./*.tgz && npm pack --silent "$package@$version" >/dev/null && tar -xzf ./*.tgz)
    found=$(sha256sum "$work/package/$path" | cut -d ' ' -f 1)
    cp "$work/package/$path" "$folder/$name"
    if [ "$found" = "$sum" ]; then
        echo "$folder/$name: $package $version, as listed"
    else
        echo "$folder/$name: $package $version: sha256 = \"$found\" is not what is listed" >&2
        return 1
    fi
}

for list in cardservice/web/static/vendor/vendor.toml tests/vectors/axe/vendor.toml; do
    folder=$(dirname "$list")
    .venv/bin/python - "$list" <<'PYTHON' | while IFS='	' read -r name package version path sum; do
import sys, tomllib
with open(sys.argv[1], "rb") as file:
    for one in tomllib.load(file)["file"]:
        print(*(one[key] for key in ("name", "package", "version", "path", "sha256")), sep="\t")
PYTHON
        fetch "$folder" "$name" "$package" "$version" "$path" "$sum"
    done
done
