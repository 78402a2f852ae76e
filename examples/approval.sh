#!/usr/bin/env bash
# A run waits until its plan is approved. The plan is edited, and the run goes on with it.
#
#     examples/approval.sh HOME MODEL    # a folder for the record, and a GGUF file
#
# BANDMASTER names the program, if it is not on the PATH.
set -eu
model=$2
export BANDMASTER_HOME=$1
bandmaster=${BANDMASTER:-bandmaster}
goal="Write a guide to keeping bees with a section on each of: hives, food."

echo "== The run ends with exit status 4 when it has a plan. Nothing of it stays in memory."
status=0
"$bandmaster" run "$goal" --approve --planner "$model" --worker "$model" 2> "$1/log" || status=$?
test $status = 4
"$bandmaster" runs show last

echo "== The plan as a file, and what is added to it."
"$bandmaster" runs show last --plan | tee "$1/plan.toml"
cat >> "$1/plan.toml" << 'PLAN'

[[sections]]
title = "winter"
instruction = "how bees get through the cold months"
PLAN

echo "== The answer is the edited plan, and the run goes on. It could have been yes or no, or come a week later."
"$bandmaster" runs answer last --plan "$1/plan.toml" 2> "$1/log" || test $? = 3 # 3: the answer is incomplete
"$bandmaster" runs show last --events | awk '$4 ~ /^(run|plan|tasks)[.]/ { print $1, $4 }'
