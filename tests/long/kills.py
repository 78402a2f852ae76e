#!/usr/bin/env python3
"""Kills runs at random moments and resumes them. Each must end with the answer of a run that was not killed.

    python3 tests/long/kills.py BINARY MODEL.gguf [--runs 200] [--seed 0]

The model is planner and worker. For every goal one run is left alone; the others are killed (-9) up to three times, at
moments drawn by the seed, and resumed each time. From the record it is counted that no task which had an accepted
result before a kill is done again, and `runs replay` finds every event as recorded. Fewer than four kills for ten runs are a
fault, because then the suite has shown nothing.

Then runs under a token budget are ended by it, resumed, killed, and resumed again. Each stretch between two ends may
use the budget once.
"""
import argparse
import json
import pathlib
import random
import subprocess
import tempfile
import time

GOALS = [
    ("direct", "Name three uses of salt.", 0),
    ("map", "How many sheep does each farm keep, and how many in all?", 6),
    ("parallel", "Write a short guide to roses with a section on each of: soil, water, pests.", 0),
    ("sequence", "Find out which farm keeps most sheep and then say how many it keeps.", 3),
    ("free", "Find out how many sheep each farm keeps and write a note on the farms.", 3),
    ("vote", "A farm has 5 rows of 3 trees and 2 fall. How many trees stand?", 0),
    ("ask", "Summarise the attached minutes.", 0),
]


class Home:
    def __init__(self, binary, model, folder):
        self.binary, self.model, self.folder = binary, model, folder
        self.texts = folder / "farms"
        self.texts.mkdir()
        for n in range(6):
            text = f"Farm number {n} lies by the river.\n\nIt keeps {n + 1}0 sheep in winter.\n"
            (self.texts / f"farm{n}.md").write_text(text)

    def command(self, *words):
        return [self.binary, *words, "--home", str(self.folder / "home"), "--offline"]

    def start(self, strategy, goal, inputs, *more):
        files = [word for n in range(inputs) for word in ("-f", str(self.texts / f"farm{n}.md"))]
        words = self.command("run", goal, *files, "--strategy", strategy, "--quiet", "--standalone")
        words += ["--planner", self.model, "--worker", self.model, *more]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def resume(self, run):
        words = self.command("runs", "resume", run, "--quiet", "--standalone")
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def read(self, *words):
        done = subprocess.run(self.command(*words), capture_output=True, text=True)
        return done.returncode, done.stdout

    def events(self, run):
        return [json.loads(line) for line in self.read("runs", "show", run, "--events", "--json")[1].splitlines()]

    def last(self):
        return json.loads(self.read("runs", "list", "--json")[1])[0]


def kill_after(process, seconds):
    """Kills the process after a time. Returns whether it was still running."""
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True


def result(home, run):
    state = json.loads(home.read("runs", "show", run, "--json")[1])
    return state["status"], state["answer"], [(task["id"], task["status"], task["output"]) for task in state["tasks"]]


def done_again(events):
    """Tasks that had an accepted result and were begun again."""
    accepted, again = set(), []
    for event in events:
        if event["type"] == "task.finished" and event["status"] == "completed":
            accepted.add(event["task"])
        if event["type"] in ("task.started", "task.retried") and event["task"] in accepted:
            again.append(event["task"])
    return again


def one(home, draw, strategy, goal, inputs, seconds, expected):
    """Runs a goal with kills. Returns the faults, and how often it was killed."""
    process, kills, run = home.start(strategy, goal, inputs), 0, None
    before = {row["id"] for row in json.loads(home.read("runs", "list", "--json")[1])}
    for _ in range(1 + draw.randrange(3)):
        if not kill_after(process, draw.uniform(0.1, 1.0) * seconds):
            break
        last = home.last() if home.read("runs", "list", "--json")[1] != "[]\n" else None
        if last is None or (run is None and last["id"] in before):
            # It was killed before the run began, so there is nothing to go on with.
            process = home.start(strategy, goal, inputs)
            continue
        run = run or last["id"]
        kills += 1
        if home.last()["status"] not in ("incomplete",):
            break
        process = home.resume(run)
    process.communicate()
    run = run or home.last()["id"]
    faults = []
    found = result(home, run)
    if found != expected:
        faults.append(f"{strategy}: {found} instead of {expected}")
    again = done_again(home.events(run))
    if again:
        faults.append(f"{strategy}: {again} were done again")
    status, text = home.read("runs", "replay", run)
    if status != 0:
        faults.append(f"{strategy}: replay: {text}")
    return faults, kills, run


def computed(event):
    """Tokens that count against a budget."""
    usage = event["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    return usage["prompt_tokens"] - cached + usage["completion_tokens"]


def under_budget(home, draw, whole, seconds):
    """A run that ends at its budget, half of the `whole` cost, is resumed, killed and resumed. Returns the faults."""
    budget = whole // 2
    strategy, goal, inputs = GOALS[2]
    home.start(strategy, goal, inputs, "--budget-tokens", str(budget)).communicate()
    run = home.last()["id"]
    if home.last()["status"] != "incomplete":
        return [f"budget: the run ended as {home.last()['status']}"]
    process = home.resume(run)
    if kill_after(process, draw.uniform(0.2, 0.9) * seconds):
        process = home.resume(run)
    process.communicate()
    faults, used, calls = [], 0, 0
    for event in home.events(run):
        if event["type"] == "task.output":
            used, calls = used + computed(event), calls + 1
        if event["type"] == "run.finished":
            # The call that reaches the budget may have read a prompt that was counted only afterwards.
            if not 0.5 * budget <= used <= 1.5 * budget and event["status"] != "completed":
                faults.append(f"budget: {used} tokens of {budget} between two ends")
            used = 0
    status, text = home.read("runs", "replay", run)
    return faults + ([f"budget: replay: {text}"] if status else [])


def arguments(doc, runs):
    """What every suite over runs of a small model is told."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("model")
    parser.add_argument("--runs", type=int, default=runs)
    return parser


def main():
    parser = arguments(__doc__, 200)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    draw = random.Random(asked.seed)
    faults, kills, resumed = [], 0, 0
    with tempfile.TemporaryDirectory() as folder:
        home = Home(asked.binary, asked.model, pathlib.Path(folder))
        alone = {}
        for strategy, goal, inputs in GOALS:
            began = time.monotonic()
            home.start(strategy, goal, inputs).communicate()
            run = home.last()["id"]
            alone[strategy] = (time.monotonic() - began, result(home, run))
            if strategy == GOALS[2][0]:
                whole = sum(computed(event) for event in home.events(run) if event["type"] == "task.output")
        for n in range(asked.runs):
            strategy, goal, inputs = GOALS[n % len(GOALS)]
            seconds, expected = alone[strategy]
            found, killed, _ = one(home, draw, strategy, goal, inputs, seconds, expected)
            faults += found
            kills += killed
            resumed += killed > 0
            if found:
                print("\n".join(found), flush=True)
        if kills < 0.4 * asked.runs:
            faults.append("too few runs were killed for the suite to show anything")
        for _ in range(asked.runs // 20):
            faults += under_budget(home, draw, whole, alone["parallel"][0])
    print("\n".join(faults))
    print(f"{asked.runs} runs, {resumed} of them killed and resumed, {kills} kills, {len(faults)} faults")
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
