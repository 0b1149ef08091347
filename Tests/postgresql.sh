#!/usr/bin/env bash
# A throw-away PostgreSQL cluster for tests: everything in one folder, reached by its socket only.
# SPDX-License-Identifier: Apache-2.0
#
# postgresql.sh start FOLDER [PID]  makes the cluster if need be and starts it; ended with process PID
# postgresql.sh crash FOLDER        kills the server as a power cut does
# postgresql.sh stop FOLDER         ends the server and removes the folder
# Then: postgresql://postgres@/postgres?host=FOLDER
set -euo pipefail

command="$1" folder="$2" watched="${3:-}"

programs="$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)"
[[ -x "$programs/initdb" ]] || { echo "postgresql.sh: no PostgreSQL server here" >&2; exit 3; }

# The server refuses to run as root.
as_owner() {
    if [[ "$(id -u)" == 0 ]]; then
        setpriv --reuid postgres --regid postgres --clear-groups "$@"
    else
        "$@"
    fi
}

# Runs a command that stays, in a subshell: it must not hold what the caller watches for its end,
# nor the lock.
detached() {
    local descriptor
    # By exec: a redirection of the call below would keep the old ones beside it.
    exec >/dev/null 2>&1 </dev/null
    for descriptor in /proc/self/fd/*; do
        descriptor="${descriptor##*/}"
        if ((descriptor > 2 && descriptor != 255)); then eval "exec $descriptor>&-"; fi
    done
    "$@"
}

start() {
    mkdir -p "$folder"
    if [[ "$(id -u)" == 0 ]]; then chown postgres "$folder"; fi
    # Several may ask for the same cluster at once.
    exec 9>"$folder/lock"
    flock 9
    if [[ ! -e "$folder/data/PG_VERSION" ]]; then
        as_owner "$programs/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C \
            --no-sync >"$folder/initdb.log"
        # Nothing here outlives the machine: what the system has taken need not be on the disk.
        cat >>"$folder/data/postgresql.conf" <<SETTINGS
listen_addresses = ''
unix_socket_directories = '$folder'
max_connections = 300
shared_buffers = 32MB
fsync = off
SETTINGS
        if [[ -n "$watched" ]]; then
            (detached guard) &
        fi
    fi
    "$programs/pg_isready" -q -h "$folder" && return
    # What a killed server left running holds its memory for a moment.
    for _ in {1..50}; do
        if (
            detached as_owner "$programs/pg_ctl" -D "$folder/data" -w -t 60 -l "$folder/log" start
        ); then
            return
        fi
        sleep 0.2
    done
    tail -n 20 "$folder/log" >&2
    exit 1
}

# Nothing stays behind when the tests end, however they do.
guard() {
    while kill -0 "$watched"; do sleep 0.5; done
    stop
}

crash() {
    local server
    server="$(head -n 1 "$folder/data/postmaster.pid")"
    kill -KILL "$server"
    while "$programs/pg_isready" -q -h "$folder"; do sleep 0.05; done
}

stop() {
    as_owner "$programs/pg_ctl" -D "$folder/data" -m immediate -w stop >/dev/null 2>&1 || true
    rm -rf "$folder"
}

case "$command" in
    start) start ;;
    crash) crash ;;
    stop) stop ;;
    *) echo "postgresql.sh: start, crash or stop" >&2; exit 2 ;;
esac
