#!/usr/bin/env bash
# Checks for the system's packages that a group of tasks needs, and installs what is missing where that is allowed
# (Debian or Ubuntu, as root or with sudo that asks for no password). Otherwise one message names everything that is
# missing and the command that brings it.
#
#   prerequisites.sh [--check] GROUP…
#     build   what `cargo build` needs: C and C++ compiler, CMake, OpenSSL's headers
#     stack   what the native stack needs: Java 17 or newer, Maven, xz
#     redis   a Redis server; Debian's redis-tools holds one, and it starts no system service
#     client  psql, for people
#     test    PgBouncer, for the tests behind a pooler; without it they are skipped. gdb, for the stacks of one that hangs
#     bench   pgbench; Debian ships it with a server, whose package makes a cluster of its own on port 5432
#     node    npm, for the linters
#     python  python3 with venv, for the linters
#   --check   installs nothing
#
# Exit codes: 0 everything is there, 64 wrong usage, 69 something is missing.
set -euo pipefail

# command or test | Debian package | what for
readonly TABLE='
build|g++|g++|C++ compiler (librdkafka)
build|make|make|make (librdkafka)
build|cmake|cmake|CMake (librdkafka)
build|pkg-config|pkg-config|pkg-config (finds OpenSSL)
build|@openssl|libssl-dev|OpenSSL headers (librdkafka)
build|@zlib|zlib1g-dev|zlib headers (librdkafka)
stack|@java|default-jre-headless|Java 17 or newer (Apache Kafka)
stack|mvn|maven|Maven (fetches Kafka and PostgreSQL)
stack|xz|xz-utils|xz (unpacks PostgreSQL)
redis|@redis|redis-tools|Redis server
client|psql|postgresql-client|psql
test|@pgbouncer|pgbouncer|PgBouncer (tests behind a pooler)
test|gdb|gdb|gdb (stacks of a test program that hangs)
bench|@pgbench|postgresql-contrib|pgbench
node|npm|npm|npm (linters)
python|@venv|python3-venv|python3 with venv (linters)
'

has() {
    case "$1" in
        @openssl) pkg-config --exists openssl 2>/dev/null || [ -e /usr/include/openssl/ssl.h ] ;;
        @zlib) pkg-config --exists zlib 2>/dev/null || [ -e /usr/include/zlib.h ] ;;
        @java) java_is_recent ;;
        @redis) command -v redis-server >/dev/null 2>&1 || command -v redis-check-rdb >/dev/null 2>&1 ;;
        @pgbouncer) command -v pgbouncer >/dev/null 2>&1 || [ -x /usr/sbin/pgbouncer ] ;;
        @pgbench) command -v pgbench >/dev/null 2>&1 || compgen -G '/usr/lib/postgresql/*/bin/pgbench' >/dev/null ;;
        @venv) python3 -c 'import venv, ensurepip' >/dev/null 2>&1 ;;
        *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

java_is_recent() {
    local line java=java
    [ -n "${JAVA_HOME:-}" ] && [ -x "$JAVA_HOME/bin/java" ] && java=$JAVA_HOME/bin/java
    command -v "$java" >/dev/null 2>&1 || return 1
    # `openjdk version "17.0.15" 2025-04-15`; macOS has a `java` that only says that there is none.
    line=$("$java" -version 2>&1 | head -n 1) || return 1
    [[ "$line" =~ \"([0-9]+) ]] && [ "${BASH_REMATCH[1]}" -ge 17 ]
}

# The command line prefix that installs packages without asking, empty when there is none.
installer() {
    command -v apt-get >/dev/null 2>&1 || return 0
    if [ "$(id -u)" = 0 ]; then
        echo "apt-get"
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        echo "sudo -n apt-get"
    fi
}

install_packages() {
    local apt=$1
    shift
    echo "prerequisites: installing $* ($apt install)" >&2
    local env_prefix=(env DEBIAN_FRONTEND=noninteractive)
    [[ "$apt" == sudo* ]] && env_prefix=(sudo -n env DEBIAN_FRONTEND=noninteractive)
    "${env_prefix[@]}" apt-get -qq update >&2 || echo "prerequisites: apt-get update failed, going on with the lists that are here" >&2
    "${env_prefix[@]}" apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends "$@" >&2
}

main() {
    local check_only=no
    if [ "${1:-}" = --check ]; then
        check_only=yes
        shift
    fi
    [ $# -gt 0 ] || { echo "usage: $0 [--check] build|stack|redis|client|test|bench|node|python …" >&2; exit 64; }

    local packages=() reasons=() group row_group test package reason
    for group in "$@"; do
        grep -q "^$group|" <<<"$TABLE" || { echo "$0: no group '$group'" >&2; exit 64; }
        while IFS='|' read -r row_group test package reason; do
            [ "$row_group" = "$group" ] || continue
            has "$test" && continue
            packages+=("$package")
            reasons+=("$reason")
        done <<<"$TABLE"
    done
    [ ${#packages[@]} -gt 0 ] || exit 0

    local apt
    apt=$(installer)
    if [ "$check_only" = no ] && [ -n "$apt" ] && install_packages "$apt" "${packages[@]}"; then
        exit 0
    fi

    {
        echo "missing on this machine:"
        printf '  - %s\n' "${reasons[@]}"
        echo "get it with:"
        if command -v brew >/dev/null 2>&1; then
            echo "  brew install openjdk maven xz cmake pkg-config openssl redis node python"
        elif command -v apt-get >/dev/null 2>&1; then
            echo "  sudo apt-get update && sudo apt-get install -y ${packages[*]}"
        else
            echo "  your system's packages of: ${packages[*]} (names as in Debian)"
        fi
    } >&2
    exit 69
}

main "$@"
