# The verbs of this repository. `./justw` runs them where `just` is not installed.

set shell := ["bash", "-euo", "pipefail", "-c"]

export QUADRILLE_ROOT := justfile_directory()

buf_version := "1.75.0"
asyncapi_parser_version := "3.6.3"
# The last that says it runs on the Node of Debian.
asyncapi_cli_version := "4.1.1"
check_jsonschema_version := "0.39.0"
# With `--package` cargo selects other features of other people's crates than for the whole workspace, and builds them once more.
stack := "cargo run --quiet --bin local-stack --"

# List the verbs.
[private]
default:
    @{{ just_executable() }} --justfile {{ quote(justfile()) }} --list --unsorted

# Start everything (databases, broker, services) and print where each thing is.
up *ARGS: _needs
    @cargo run --bin local-stack -- up {{ ARGS }}

# Stop everything; data stays.
down *ARGS: _needs
    @{{ stack }} down {{ ARGS }}

# Stop everything and remove the data.
reset *ARGS: _needs
    @{{ stack }} reset {{ ARGS }}

# Show what runs where.
status *ARGS: _needs
    @{{ stack }} status {{ ARGS }}

# Show logs: `logs`, `logs order`, `logs kafka -f`.
logs *ARGS: _needs
    @{{ stack }} logs {{ ARGS }}

# A narrated run: place, reserve, pay, confirm; decline and compensate; kill and recover; the books at the end.
demo *ARGS: up
    @{{ stack }} run -- sagactl demo {{ ARGS }}

# The second example (examples/trip): `trip demo` plays three trips, `trip up` runs its processes until Ctrl-C.
trip VERB="demo" *ARGS: _needs
    @cargo build --bin trip --bin outbox-relay --bin sagactl
    @{{ stack }} up --servers-only
    @{{ stack }} run -- trip {{ VERB }} {{ ARGS }}

# Every step of the trip against every fault (examples/trip/docs/certificate.md); a sample of it is part of `test`.
trip-certificate: _needs
    CERTIFICATE=whole cargo test --test certificate -- --nocapture

# All tests, with a PostgreSQL and a Kafka of their own: `test`, `test -p saga-core`.
test *ARGS: _needs
    cargo run --bin local-stack -- with-test-stack -- {{ just_executable() }} --justfile {{ quote(justfile()) }} _test {{ ARGS }}

# Failure injection: the shop as real processes, broken on purpose, and an accountant at the end.
failures *ARGS: _needs
    cargo test --package failure-tests --test it -- --test-threads=2 {{ ARGS }}

# Every step of the order saga against every fault (docs/certificate.md): `certificate`, `certificate --sample`, `--help`.
certificate *ARGS: _needs
    @cargo run --quiet --bin certificate -- {{ ARGS }}

# Everything breaks under load, and an accountant reads the books: `chaos --sagas 5000 --seed 7`, `chaos --sagas 1000000 --report`.
chaos *ARGS: _needs
    @cargo run --quiet --release --bin chaos -- {{ ARGS }}

# Draw the choreography of the shop (docs/choreography.md, choreography.json, asyncapi.json) and check it; `--check` writes nothing.
choreography *ARGS: _needs
    #!/usr/bin/env bash
    set -euo pipefail
    case "{{ ARGS }}" in
        "") export ACCEPT_CHOREOGRAPHY=1 ;;
        --check) unset ACCEPT_CHOREOGRAPHY ;;
        *) echo "choreography: '{{ ARGS }}' is neither nothing nor --check" >&2; exit 64 ;;
    esac
    cargo test --quiet --test model -- --nocapture choreography
    {{ just_executable() }} --justfile {{ quote(justfile()) }} asyncapi
    echo "choreography: sound; see docs/choreography.md, docs/choreography.json and docs/asyncapi.json"

# Write the JSON Schemas of the events (contracts/schemas) and check that nobody's reader breaks; `--check` writes nothing.
schemas *ARGS: _needs
    #!/usr/bin/env bash
    set -euo pipefail
    case "{{ ARGS }}" in
        "") export ACCEPT_SCHEMAS=1 ;;
        --check) unset ACCEPT_SCHEMAS ;;
        *) echo "schemas: '{{ ARGS }}' is neither nothing nor --check" >&2; exit 64 ;;
    esac
    cargo test --quiet --package quadrille-contracts --test it
    echo "schemas: contracts/schemas is what this build writes, and breaks nobody"

# Every interleaving of the shop's decisions under faults: `model`, `model deep` (minutes), `model explore card` (a browser).
model *ARGS: _needs
    #!/usr/bin/env bash
    set -euo pipefail
    run=(cargo test --test model -- --nocapture)
    # A model that does not end fills the memory before the patience.
    ulimit -v $((8 * 1024 * 1024))
    set -- {{ ARGS }}
    case "${1:-}" in
        "") "${run[@]}" --test-threads=1 ;;
        deep) "${run[@]}" --ignored --exact deep ;;
        explore) QUADRILLE_MODEL_RUN="${*:2}" "${run[@]}" --ignored --exact explore ;;
        *) echo "model: '$1' is none of nothing, deep, explore" >&2; exit 64 ;;
    esac

# Break the shop's decisions on purpose, one mistake at a time, and see which test notices (docs/mutants.md); `mutants --trip`, `mutants --relay`.
mutants *ARGS: _needs
    @failure-tests/mutants/run {{ ARGS }}

# Two builds side by side under load, and yesterday's events put to tomorrow's build (failure-tests/upgrade; minutes).
upgrade: _needs
    @failure-tests/upgrade/run

# Long runs with random faults: `soak relay --events 10000000`; see docs/soak.md.
soak WHAT *ARGS: _needs
    cargo test --release --package outbox-{{ WHAT }} --test soak -- {{ ARGS }}

# Benchmarks against the machine's limits: `bench`, `bench saga`, `bench relay.drain`; see docs/figures.md.
bench *ARGS: _needs
    cargo run --release --bin bench -- {{ ARGS }}

# What has to be green before a change lands: check, then test.
verify: check test

# Everything of `verify` but the tests.
check: fmt-check lint deny package buf asyncapi compose-check script-check alerts-check

# Format the code.
fmt:
    cargo fmt --all

# Check the format of the code.
fmt-check:
    cargo fmt --all --check

# Clippy; a warning is an error.
lint: _needs
    cargo clippy --workspace --all-targets -- -D warnings

# Licences, sources and duplicate versions of dependencies.
deny:
    #!/usr/bin/env bash
    set -euo pipefail
    if ! cargo deny --version >/dev/null 2>&1; then
        echo "deny: skipped, cargo-deny is not here; get it with: cargo install --locked cargo-deny (3 minutes)"
        exit 0
    fi
    cargo deny --log-level error check bans licenses sources

# The crates that others may take (saga-core, saga-runtime, outbox-relay, and what they need): packed as they would be published, the relay's library checked by itself, the documentation written.
package: _needs
    #!/usr/bin/env bash
    set -euo pipefail
    crates=(-p saga-core-macros -p saga-core -p quadrille-process -p saga-runtime -p outbox-relay)
    cargo package --quiet --no-verify --allow-dirty --exclude-lockfile "${crates[@]}"
    # By itself, as others have it: in the workspace it may live on what another crate asks of a dependency.
    cargo check --quiet --package outbox-relay --lib --no-default-features
    # Without default features as well, so that it stands on what was checked before.
    RUSTDOCFLAGS='-D warnings' cargo doc --quiet --no-deps --lib --no-default-features "${crates[@]}"

# Known vulnerabilities of dependencies; needs the network.
advisories:
    cargo deny --log-level error check advisories

# Lint the .proto files.
buf:
    #!/usr/bin/env bash
    set -euo pipefail
    deploy/native/prerequisites.sh node
    tool=.local/npm/node_modules/.bin/buf
    if [ "$("$tool" --version 2>/dev/null)" != {{ buf_version }} ]; then
        echo "buf: fetching {{ buf_version }} from npm"
        npm install --prefix .local/npm --no-audit --no-fund --loglevel=error @bufbuild/buf@{{ buf_version }}
    fi
    "$tool" lint proto
    "$tool" format --diff --exit-code proto

# Validate docs/asyncapi.json with AsyncAPI's own parser, if npm is here.
asyncapi:
    #!/usr/bin/env bash
    set -euo pipefail
    if ! command -v npm >/dev/null 2>&1; then
        echo "asyncapi: docs/asyncapi.json is not validated, npm is not here; get it with: deploy/native/prerequisites.sh node"
        exit 0
    fi
    package=.local/npm/node_modules/@asyncapi/parser/package.json
    if ! grep -q '"version": "{{ asyncapi_parser_version }}"' "$package" 2>/dev/null; then
        echo "asyncapi: fetching @asyncapi/parser {{ asyncapi_parser_version }} from npm"
        npm install --prefix .local/npm --no-audit --no-fund --loglevel=error @asyncapi/parser@{{ asyncapi_parser_version }}
    fi
    NODE_PATH=.local/npm/node_modules node .ci/asyncapi.cjs docs/asyncapi.json

# The same with the AsyncAPI CLI, as anybody would; not part of `check`, since it is 1.5 GB and takes two minutes to get.
asyncapi-cli:
    #!/usr/bin/env bash
    set -euo pipefail
    deploy/native/prerequisites.sh node
    at=.local/asyncapi-cli
    if ! grep -q '"version": "{{ asyncapi_cli_version }}"' "$at/node_modules/@asyncapi/cli/package.json" 2>/dev/null; then
        echo "asyncapi-cli: fetching @asyncapi/cli {{ asyncapi_cli_version }} from npm (1.5 GB)"
        # One of its parts would fetch a browser.
        npm install --prefix "$at" --ignore-scripts --no-audit --no-fund --loglevel=error @asyncapi/cli@{{ asyncapi_cli_version }}
    fi
    # It would tell its makers of each call.
    printf '{"analyticsEnabled":"false","infoMessageShown":"true"}\n' > "$at/analytics.json"
    ASYNCAPI_METRICS_CONFIG_PATH=$at/analytics.json SUPPRESS_NO_CONFIG_WARNING=1 \
        "$at/node_modules/.bin/asyncapi" validate docs/asyncapi.json

# Check the compose file against the Compose specification, and with Compose where it is; needs no Docker engine.
compose-check:
    #!/usr/bin/env bash
    set -euo pipefail
    deploy/native/prerequisites.sh python
    venv=.local/check-venv
    if ! "$venv/bin/check-jsonschema" --version 2>/dev/null | grep -q '{{ check_jsonschema_version }}$'; then
        echo "compose-check: fetching check-jsonschema {{ check_jsonschema_version }} from PyPI"
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check check-jsonschema=={{ check_jsonschema_version }}
    fi
    "$venv/bin/check-jsonschema" --builtin-schema vendor.compose-spec deploy/compose.yaml
    if docker compose version >/dev/null 2>&1; then
        # Any value will do for the passwords, which have no default.
        passwords=$(grep -o '\${[A-Z_]*:?' deploy/compose.yaml | tr -d '${:?' | sort -u | sed 's/$/=x/')
        env $passwords SECRETS_JSON='{}' docker compose --file deploy/compose.yaml --profile services config --quiet
    else
        echo "compose-check: no Docker Compose here, so only its specification was asked"
    fi

# Check the alert rules, and try them, where promtool is or can be had.
alerts-check:
    #!/usr/bin/env bash
    set -euo pipefail
    tool=$(command -v promtool || echo .local/promtool)
    if [ ! -x "$tool" ] && command -v apt-get >/dev/null 2>&1; then
        echo "alerts-check: fetching promtool, of Debian's package prometheus"
        # Unpacked and not installed: the package would start a server. An image may have no lists of packages yet.
        apt=(apt-get -qq -o APT::Sandbox::User=root)
        new=$(mktemp -d)
        (
            cd "$new"
            "${apt[@]}" download prometheus || {
                [ "$(id -u)" = 0 ] || apt=(sudo -n "${apt[@]}")
                "${apt[@]}" update && "${apt[@]}" download prometheus
            }
            dpkg -x prometheus_*.deb . && mkdir -p "$OLDPWD/.local" && mv usr/bin/promtool "$OLDPWD/.local/promtool"
        ) || true
        rm -rf "$new"
    fi
    if [ ! -x "$tool" ]; then
        echo "alerts-check: promtool is not here; get it with Debian's package prometheus, or from https://prometheus.io/download" >&2
        # What nobody looks at would be skipped for ever.
        [ -z "${CI:-}" ] || exit 69
        exit 0
    fi
    "$tool" check rules deploy/prometheus/alerts.yaml
    "$tool" test rules deploy/prometheus/alerts.test.yaml

# Check the syntax of the shell scripts.
script-check:
    #!/usr/bin/env bash
    set -euo pipefail
    for script in justw .ci/run deploy/ready deploy/native/*.sh examples/python/run failure-tests/*/run; do
        bash -n "$script"
        [ -x "$script" ] || { echo "$script is not executable"; exit 1; }
    done

# What cargo needs from the system before it can build.
[private]
_needs:
    @deploy/native/prerequisites.sh build

# The tests themselves, inside `with-test-stack`. The failure tests share a shop per process, so they need libtest.
[private]
_test *ARGS:
    #!/usr/bin/env bash
    set -euo pipefail
    scope=({{ ARGS }})
    if [ ${#scope[@]} -eq 0 ]; then
        scope=(--workspace)
    fi
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --no-fail-fast -E 'not (package(failure-tests) & binary(it))' "${scope[@]}"
        [ "${scope[*]}" != --workspace ] || cargo test --workspace --doc
        [ "${scope[*]}" != --workspace ] || cargo test --package failure-tests --test it
    else
        # They wait for servers more than they compute.
        export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(getconf _NPROCESSORS_ONLN)))}
        cargo test --no-fail-fast "${scope[@]}"
    fi
