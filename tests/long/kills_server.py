#!/usr/bin/env python3
"""Kills a server at random moments while it does runs, starts it again and resumes them through its routes.

    python3 tests/long/kills_server.py BINARY MODEL.gguf [--runs 200] [--seed 0]

The model is planner and worker. For every goal one run is left alone; the others are begun in groups of up to three. The
server is killed (-9) up to three times for a group, at moments drawn by the seed, and every run that it left is resumed.
Each must end with the answer of the run that was left alone, byte for byte. From the record it is counted that no task
which had an accepted result before a kill is done again, and `runs replay` finds every event as recorded.
"""
import pathlib
import random
import subprocess
import tempfile
import time

from kills import GOALS, Home, arguments, done_again, result
from wire import Server

# A resumed run that takes longer than this has not ended.
END_SECONDS = 300


class Serving:
    """A server that can be killed and started again."""

    def __init__(self, home, threads):
        self.home, self.threads, self.process, self.server = home, threads, None, None

    def start(self):
        model = str(self.home.model)
        words = self.home.command("serve", "--port", "0", "--planner", model, "--worker", model)
        if self.threads:
            words += ["--threads", str(self.threads)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        self.server = Server(line.split()[-1], END_SECONDS)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def begin(self, strategy, goal, inputs):
        texts = [(path.name, path.read_text()) for path in sorted(self.home.texts.iterdir())[:inputs]]
        files = [{"name": name, "text": text} for name, text in texts]
        answer = self.server.post("/v1/runs", {"goal": goal, "strategy": strategy, "files": files})
        if answer.status != 200:
            raise SystemExit(f"a run was refused: {answer}")
        return answer.json["id"]

    def status(self, run):
        return self.server.get(f"/v1/runs/{run}").json["status"]

    def wait(self, run, seconds):
        """Waits for the run's end. Returns its last status."""
        end = time.monotonic() + seconds
        while (status := self.status(run)) == "in_progress" and time.monotonic() < end:
            time.sleep(0.02)
        return status


def alone(serving):
    """For each strategy the seconds and the result of a run that nobody kills."""
    found = {}
    for strategy, goal, inputs in GOALS:
        began = time.monotonic()
        run = serving.begin(strategy, goal, inputs)
        serving.wait(run, END_SECONDS)
        found[strategy] = (time.monotonic() - began, result(serving.home, run))
    return found


def group(serving, draw, members, expected):
    """Begins runs together and kills the server while they go on. Returns the faults, kills and killed runs."""
    runs = [(strategy, serving.begin(strategy, goal, inputs)) for strategy, goal, inputs in members]
    faults, kills, killed = [], 0, set()
    seconds = sum(expected[strategy][0] for strategy, _ in runs)
    for _ in range(1 + draw.randrange(3)):
        time.sleep(draw.uniform(0.02, 0.7) * seconds)
        serving.kill()
        kills += 1
        serving.start()
        for strategy, run in runs:
            status = serving.status(run)
            if status == "incomplete" and result(serving.home, run) != expected[strategy][1]:
                killed.add(run)
                answer = serving.server.post(f"/v1/runs/{run}/resume", {})
                if answer.status != 200 or answer.json["id"] != run:
                    faults.append(f"{strategy} {run}: it was not resumed: {answer}")
            elif status == "in_progress":
                faults.append(f"{strategy} {run}: nobody runs it, and it is shown as in progress")
    for strategy, run in runs:
        faults += [f"{strategy} {run}: {fault}" for fault in faults_of(serving, run, expected[strategy][1])]
    return faults, kills, len(killed)


def faults_of(serving, run, expected):
    if serving.wait(run, END_SECONDS) == "in_progress":
        return [f"it has not ended after {END_SECONDS} s"]
    faults = []
    if (found := result(serving.home, run)) != expected:
        faults.append(f"{found} instead of {expected}")
    if again := done_again(serving.home.events(run)):
        faults.append(f"{again} were done again")
    status, text = serving.home.read("runs", "replay", run)
    if status != 0:
        faults.append(f"replay: {text}")
    return faults


def main():
    parser = arguments(__doc__, 200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    asked = parser.parse_args()
    draw = random.Random(asked.seed)
    faults, kills, killed, begun = [], 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        serving = Serving(Home(asked.binary, asked.model, pathlib.Path(folder)), asked.threads)
        serving.start()
        expected = alone(serving)
        while begun < asked.runs:
            size = min(1 + draw.randrange(3), asked.runs - begun)
            members = [GOALS[(begun + n) % len(GOALS)] for n in range(size)]
            begun += size
            found, times, left = group(serving, draw, members, expected)
            faults, kills, killed = faults + found, kills + times, killed + left
            if found:
                print("\n".join(found), flush=True)
        serving.kill()
    print(f"{begun} runs, {killed} of them killed and resumed, {kills} kills of the server, {len(faults)} faults")
    raise SystemExit(bool(faults) or kills < 0.2 * begun)


if __name__ == "__main__":
    main()
