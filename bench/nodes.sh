#!/bin/sh
# nodes.sh BUILD [NODES [RUNS]]: one message to each node and all replies, over tcp on loopback.
set -eu
build=$1
dir=$(mktemp -d)
"$build/cli/vflbus" broker --quiet --bind tcp://127.0.0.1:0 --state-dir "$dir/broker" >"$dir/out" &
pid=$!
trap 'kill $pid 2>/dev/null || :; wait $pid 2>/dev/null || :; rm -rf "$dir"' EXIT
while [ ! -s "$dir/out" ]; do sleep 0.05; done
"$build/bench/vflbus-bench-nodes" "$(head -1 "$dir/out")" "$pid" "${2:-1000}" "${3:-1}"
