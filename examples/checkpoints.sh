#!/usr/bin/env bash
# A run is killed and goes on; a fork of it words the answer as a table; the two are compared.
#
#     examples/checkpoints.sh HOME MODEL    # a folder for the record, and a GGUF file
#
# BANDMASTER names the program, if it is not on the PATH.
set -eu
model=$2 texts=$(dirname "$0")/reports
export BANDMASTER_HOME=$1
bandmaster=${BANDMASTER:-bandmaster}
goal="How many people does each museum employ, and how many in all?"

echo "== The process is killed when the first text has been read."
"$bandmaster" run "$goal" -f "$texts" --strategy map --planner "$model" --worker "$model" \
    --events > "$1/events" 2> "$1/log" &
process=$!
until grep -q '"task.finished","task":"t' "$1/events"; do
    kill -0 $process || { cat "$1/log"; exit 1; }
    sleep 0.02
done
kill -9 $process
wait $process 2> /dev/null || true
"$bandmaster" runs show last

echo "== It goes on where it was, in the same run."
run=$("$bandmaster" runs show last | awk 'NR == 1 { print $1 }')
"$bandmaster" runs resume "$run" 2> "$1/log" || test $? = 3 # 3: the answer is incomplete
"$bandmaster" runs show "$run"

echo "== A fork shares all events before the answer is worded, and has another goal."
at=$("$bandmaster" runs show "$run" --events |
    awk '($4 == "tasks.added" && /synthesis/) || $4 == "run.finished" { print $1 - 1; exit }')
"$bandmaster" runs fork "$run" --at "$at" --set goal="$goal Answer as a table." 2> "$1/log" || test $? = 3

echo "== What is different."
fork=$("$bandmaster" runs show last | awk 'NR == 1 { print $1 }')
"$bandmaster" runs diff "$run" "$fork"

echo "== The run computed anew from its record, without a model."
"$bandmaster" runs replay "$run"
