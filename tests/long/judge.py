#!/usr/bin/env python3
"""Works on the goals of a suite one by one and judges the answers by the suite's regular expressions.

    tests/long/real_goals.py --seed 1 > suite.jsonl
    tests/long/judge.py target/release/bandmaster suite.jsonl [--home DIR] [--kind a,b] [--strategy NAME] [--out FILE]

    tests/long/book_questions.py --seed 1 --out books && mkdir library && mv books/[0-9]* library
    tests/long/judge.py target/release/bandmaster books/questions.jsonl --folder library

Each line of a suite has id, kind, goal, files {name: text} and answer_must (all must match); a follow-up also has a
conversation, and goes through the endpoint. Prints each goal, then for each kind how many answers are right, and of
those called `completed` how many are.
"""

import argparse
import collections
import json
import pathlib
import re
import statistics
import subprocess
import tempfile
import time
import urllib.request

FLAGS = {"(?i)": re.I, "(?s)": re.S, "(?is)": re.I | re.S, "(?im)": re.I | re.M}
GOAL_SECONDS_MAX = 900


def matches(pattern, answer):
    """Whether a pattern matches; some have their flags in a place where Python refuses them."""
    try:
        return re.search(pattern, answer)
    except re.error:
        flags = 0
        for text, value in FLAGS.items():
            if text in pattern:
                flags |= value
                pattern = pattern.replace(text, "")
        return re.search(pattern, answer, flags)


def run(args, goal):
    """The outcome of a goal, as `run --json` prints it."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in goal["files"].items():
            path = pathlib.Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        command = [args.binary, *home(args), "run", goal["goal"], "--json", "--quiet"]
        command += ["-f", folder] if goal["files"] else []
        command += ["-f", args.folder] if args.folder else []
        command += ["--strategy", args.strategy] if args.strategy else []
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=GOAL_SECONDS_MAX
        )
    try:
        return json.loads(done.stdout)
    except ValueError:
        return {"answer": "", "status": "no result: " + done.stderr[-300:], "strategy": "-"}


def home(args):
    return ["--home", args.home] if args.home else []


class Server:
    """A server that is started for the first follow-up."""

    def __init__(self, args):
        self.args, self.process = args, None

    def chat(self, goal):
        if self.process is None:
            command = [self.args.binary, *home(self.args), "serve", "--port", str(self.args.port)]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            self.process.stdout.readline()
        messages = [*goal["conversation"], {"role": "user", "content": goal["goal"]}]
        body = json.dumps({"model": "bandmaster", "messages": messages}).encode()
        url = f"http://127.0.0.1:{self.args.port}/v1/chat/completions"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        choice = json.load(urllib.request.urlopen(request, timeout=GOAL_SECONDS_MAX))["choices"][0]
        return {"answer": choice["message"]["content"], "status": choice["finish_reason"], "strategy": "chat"}

    def stop(self):
        if self.process is not None:
            self.process.terminate()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("suite")
    parser.add_argument("--home")
    parser.add_argument("--kind", help="kinds to judge, comma-separated")
    parser.add_argument("--strategy")
    parser.add_argument("--folder", help="folder that is attached to every goal")
    parser.add_argument("--port", type=int, default=8127)
    parser.add_argument("--out", help="file that gets each outcome as a JSON line")
    parser.add_argument("--least", type=float, default=0, help="fail if a smaller share of all answers is right")
    parser.add_argument("--sound", type=float, default=0, help="fail if a smaller share of those completed is right")
    args = parser.parse_args()
    goals = [json.loads(line) for line in open(args.suite)]
    # Questions about a folder have no files of their own.
    goals = [{"files": {}, "goal": goal.get("question"), **goal} for goal in goals]
    if args.kind:
        goals = [goal for goal in goals if goal["kind"] in args.kind.split(",")]
    sums, seconds, server = collections.defaultdict(collections.Counter), collections.defaultdict(list), Server(args)
    try:
        for goal in goals:
            began = time.monotonic()
            outcome = server.chat(goal) if goal.get("conversation") else run(args, goal)
            took = time.monotonic() - began
            right = all(matches(pattern, outcome["answer"]) for pattern in goal["answer_must"])
            completed = outcome["status"] == "completed"
            for kind in (goal["kind"], "all"):
                sums[kind].update(goals=1, right=int(right), completed=int(completed), sound=int(right and completed))
                seconds[kind].append(took)
            shown = "" if right else " | " + " ".join(outcome["answer"].split())[:240]
            print(
                f"{goal['id']:22} {'right' if right else 'WRONG'} {outcome['status']:15} {outcome['strategy']:9} "
                f"{took:5.1f}s{shown}",
                flush=True,
            )
            if args.out:
                with open(args.out, "a") as out:
                    out.write(json.dumps({"goal": goal["id"], "right": right, "seconds": took, **outcome}) + "\n")
    finally:
        server.stop()
    for kind, of in sums.items():
        print(
            f"{kind}: {of['right']}/{of['goals']} right; of {of['completed']} completed {of['sound']} right; "
            f"median {statistics.median(seconds[kind]):.1f} s"
        )
    every = sums["all"]
    if every["right"] < args.least * every["goals"] or every["sound"] < args.sound * every["completed"]:
        raise SystemExit(f"fewer are right than --least {args.least} and --sound {args.sound} ask for")


if __name__ == "__main__":
    main()
