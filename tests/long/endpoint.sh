#!/usr/bin/env bash
# The suites that judge a running server, one after the other on one server: shapes, schemas, seeds, bad input, drawn requests, load.
#
# usage: endpoint.sh BANDMASTER
set -euo pipefail
bandmaster=$(realpath "${1:?usage: endpoint.sh BANDMASTER}")
cd "$(dirname "$0")"
state=$(mktemp -d)
server=
stop() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null && wait "$server" || true; fi
  server=
}
trap 'stop; rm -rf "$state"' EXIT
start() {
  stop
  XDG_STATE_HOME=$state "$bandmaster" serve --port 0 --offline "$@" > "$state/address" 2> "$state/log" &
  server=$!
  for _ in $(seq 600); do
    url=$(sed -n 's/^listening on //p' "$state/address")
    if [ -n "$url" ] && python3 -c "import sys, urllib.request; urllib.request.urlopen(sys.argv[1] + '/health', timeout=2)" "$url" 2>/dev/null; then return; fi
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  cat "$state/log" >&2
  exit 1
}
failed=()
suite() {
  printf '\n-- %s\n' "$*"
  "$@" || failed+=("$1")
}
# A server with a single model answers under any name, so that a name that nobody has is refused only beside a second one.
start --model smollm2-135m --model qwen2.5-coder-0.5b
suite ./conforms.py "$url"
suite ./schemas.py "$url"
suite ./seeds.py "$url"
suite ./dear_schemas.py "$url" --pid "$server"
suite ./mask_cost.py "$url" --pid "$server"
suite ./abuse.py "$url" --pid "$server"
suite ./schemathesis.sh "$url"
# With so little memory the cache is full before the load is measured, so that memory must stay flat.
# Steps vary, so that gaps may be somewhat more than what others may slow a reply (--max-slowdown, 10 if nothing is said).
start --model smollm2-135m --memory 1GiB
suite ./load.py "$url" --pid "$server" --gap-ratio 12
start --model smollm2-135m --memory 1GiB --max-slowdown 2
suite ./load.py "$url" --pid "$server" --seconds 60 --gap-ratio 3
# Ten minutes of everything; two hours once a release: SOAK_SECONDS=7200.
start --model smollm2-135m --memory 1GiB
suite ./soak.py "$url" --pid "$server" --seconds "${SOAK_SECONDS:-600}" --warm-up 120
if [ ${#failed[@]} -gt 0 ]; then
  echo "failed: ${failed[*]}" >&2
  exit 1
fi
