#!/usr/bin/env bash
# Drawn requests, good and bad, for every route of /openapi.json: at least 2,000, none answered 5xx, none left without an answer,
# and 30 % answered 200 (else the requests are too wild to tell anything).
#
# usage: schemathesis.sh URL [EXAMPLES-PER-ROUTE] [SEED]
set -euo pipefail
url=${1:?usage: schemathesis.sh URL [EXAMPLES-PER-ROUTE] [SEED]}
examples=${2:-150} seed=${3:-1}
case $url in http://127.0.0.1:*|http://localhost:*) ;; *) echo "$url: only a server on this machine is tested" >&2; exit 2 ;; esac
url=${url%/}; url=${url%/v1}
here=$(cd "$(dirname "$0")" && pwd)
environment=$here/../../target/clients/schemathesis
wanted=schemathesis==4.32.5
if [ "$(cat "$environment/installed.txt" 2>/dev/null)" != "$wanted" ]; then
  python3 -m venv --clear "$environment"
  "$environment/bin/pip" install --quiet --disable-pip-version-check "$wanted"
  echo "$wanted" > "$environment/installed.txt"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export SCHEMATHESIS_HOOKS=schemathesis_hooks SCHEMATHESIS_COUNTS=$work/answers PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1
export SCHEMATHESIS_MODEL=${SCHEMATHESIS_MODEL:-smollm2-135m} SCHEMATHESIS_EMBEDDER=${SCHEMATHESIS_EMBEDDER:-minilm-l6-v2}
# One worker: with more, Python 3.11 trips over its own parser (drawing code is not safe in threads there).
status=0
draw() {
  (cd "$work" && timeout --kill-after=20 1200 "$environment/bin/schemathesis" run "$url/openapi.json" --url "$url" --no-color \
    --checks not_a_server_error --phases "$1" --mode "$2" --max-examples "$3" --seed "$seed" --workers 1 --request-timeout 60 \
    --continue-on-failure --no-shrink --suppress-health-check all --generation-database none --warnings off) || status=$?
}
# What must be refused, then mostly what may be good: the first alone would tell little of what is behind the door.
draw coverage,fuzzing all "$((examples / 5))"
draw fuzzing positive "$examples"
echo
python3 - "$work/answers" "$status" <<'P'
import collections, json, sys
answers = [json.loads(line) for line in open(sys.argv[1])]
routes = collections.defaultdict(collections.Counter)
refused = collections.defaultdict(collections.Counter)
for route, status, _, meant_good, reason in answers:
    routes[route][status] += 1
    if reason: refused[route][reason[:160]] += 1
for route, counts in sorted(routes.items()):
    print(f"{route}: " + ", ".join(f"{count} × {status}" for status, count in sorted(counts.items())))
    for reason, count in refused[route].most_common(3): print(f"   by the description good, refused {count} times: {reason}")
total, good, broken = len(answers), sum(answer[1] == 200 for answer in answers), sum(answer[1] >= 500 for answer in answers)
slowest = max(answers, key=lambda answer: answer[2], default=("none", 0, 0, False, ""))
failed = [why for why, wrong in ((f"schemathesis ended with status {sys.argv[2]} (a 5xx, a request without an answer, or its own time is over)", sys.argv[2] != "0"),
                                 ("fewer than 2,000 requests", total < 2000), ("5xx", broken), ("less than 30 % answered 200", good < 0.3 * total)) if wrong]
for why in failed: print(f"FAILED {why}")
print(f"requests {total}, answered 200: {good} ({good / max(total, 1):.1%}), 5xx: {broken}, routes {len(routes)}, slowest {slowest[2]:.1f} s ({slowest[0]})")
sys.exit(1 if failed else 0)
P
