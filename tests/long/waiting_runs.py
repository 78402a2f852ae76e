#!/usr/bin/env python3
"""Runs that wait for an answer cost a server nothing, and each goes on when it is answered, also after a restart.

    python3 tests/long/waiting_runs.py BINARY MODEL.gguf [--runs 1000] [--memory-mb 20]

The runs end with a question. Then the server has no more threads than before, no sequence, no held cache, and at most
--memory-mb MiB of memory more. It is killed (-9) and started again: every run still waits. All are answered, a few at a
time, and each must go on under its own id, ask the model something and end.
"""
import concurrent.futures
import os
import pathlib
import tempfile
import time

from kills import Home, arguments
from kills_server import Serving
from wire import metric, rss_bytes

GOAL = {"goal": "Proofread it.", "strategy": "ask", "budget": {"tokens": 60}}
AT_ONCE = 8
WARM_UP = 50
SETTLE_SECONDS = 5
END_SECONDS = 120


def begin(serving):
    answer = serving.server.post("/v1/runs", GOAL)
    if answer.status != 200:
        raise SystemExit(f"a run was refused: {answer}")
    return answer.json["id"]


def answered(serving, run):
    """Answers a run and waits for its end. Returns what is wrong, if anything."""
    answer = serving.server.post(f"/v1/runs/{run}/answer", {"text": f"It are blue, said {run}."})
    if answer.status != 200 or answer.json["id"] != run:
        return f"{run}: not answered: {answer}"
    # The events end when the run does.
    events = serving.server.get(f"/v1/runs/{run}/events").body.decode()
    turns = [line[7:] for line in events.splitlines() if line.startswith("event: ")]
    status = serving.status(run)
    went_on = turns[turns.index("run.resumed"):] if "run.resumed" in turns else []
    if "task.output" not in went_on or went_on[-1] != "run.finished":
        return f"{run}: it did not go on: {turns}"
    if status not in ("completed", "incomplete"):
        return f"{run}: {status}"
    return None


class Cost:
    """What a server uses at this moment."""

    def __init__(self, serving):
        process = serving.process.pid
        self.threads = len(os.listdir(f"/proc/{process}/task"))
        self.bytes = rss_bytes(process)
        text = serving.server.get("/metrics").body.decode()
        names = ("running_sequences", "waiting_sequences", "cache_held_bytes")
        self.engine = {name: metric(text, f"bandmaster_engine_{name}") for name in names}

    def faults(self, before, bytes_max):
        faults = []
        if self.threads > before.threads:
            faults.append(f"{self.threads} threads, {before.threads} before")
        if any(self.engine.values()):
            faults.append(f"the engine still holds {self.engine}")
        if self.bytes - before.bytes > bytes_max:
            faults.append(f"{(self.bytes - before.bytes) / 2**20:.1f} MiB more")
        return faults


def settled(serving):
    time.sleep(SETTLE_SECONDS)
    return Cost(serving)


def main():
    parser = arguments(__doc__, 1000)
    parser.add_argument("--memory-mb", type=float, default=20)
    parser.add_argument("--threads", type=int)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(AT_ONCE) as clients:
        serving = Serving(Home(asked.binary, asked.model, pathlib.Path(folder)), asked.threads)
        serving.start()
        # The model is loaded and every thread has been used before anything is measured.
        warm = list(clients.map(lambda _: begin(serving), range(WARM_UP)))
        faults = [fault for fault in clients.map(lambda run: answered(serving, run), warm[:AT_ONCE]) if fault]
        before = settled(serving)
        runs = list(clients.map(lambda _: begin(serving), range(asked.runs)))
        waiting = sum(serving.wait(run, END_SECONDS) == "requires_action" for run in runs)
        after = settled(serving)
        faults += after.faults(before, asked.memory_mb * 2**20)
        print(f"{waiting} runs wait: {after.threads} threads ({before.threads} before), {after.engine}, "
              f"{(after.bytes - before.bytes) / 2**20:.1f} MiB more", flush=True)
        serving.kill()
        serving.start()
        still = sum(serving.status(run) == "requires_action" for run in runs)
        began = time.monotonic()
        faults += [fault for fault in clients.map(lambda run: answered(serving, run), runs) if fault]
        seconds = time.monotonic() - began
        serving.kill()
    if waiting != asked.runs or still != asked.runs:
        faults.append(f"{waiting} of {asked.runs} waited, {still} after the restart")
    print("\n".join(faults[:20]))
    print(f"{asked.runs} runs answered after a restart in {seconds:.0f} s, {len(faults)} faults")
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
