#!/usr/bin/env python3
"""Asks under JSON schemas that are dear to enforce, beside a stream and under ordinary schemas.

usage: dear_schemas.py URL --pid PID [--model smollm2-135m] [--count 1000] [--seed 1] [--at-once 4] [--max-tokens 4] [--show]

Each is answered or refused within 3 s of the server's processor time over what decoding takes, the server grows by no more than 500 MiB,
the stream's tokens keep at least 60 % of their pace alone, and no ordinary schema is turned away.
"""
import argparse, concurrent.futures, os, statistics, sys, threading, time

from dear_kinds import dear
from wire import SMALL, Server, percentile, rss_bytes

CPU_SECONDS, GROWTH_BYTES, PACE_MIN = 3.0, 500 << 20, 0.6
CHAT = "/v1/chat/completions"
ORDINARY = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name", "age"], "additionalProperties": False}

def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

def body(a, schema, tokens, **more):
    return {"model": a.model, "max_tokens": tokens, "temperature": 0, "messages": [{"role": "user", "content": "Hello."}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema, "strict": True}}, **more}

class Stream(threading.Thread):
    """One steady stream; how long it waits between tokens."""
    def __init__(self, server, a):
        super().__init__(daemon=True)
        self.server, self.a, self.gaps, self.going = server, a, [], True

    def run(self):
        while self.going:
            last = None
            request = {"model": self.a.model, "max_tokens": 400, "stream": True, "ignore_eos": True, "temperature": 0,
                       "messages": [{"role": "user", "content": "Count to a thousand."}]}
            for name, data in self.server.events(CHAT, request):
                now = time.monotonic()
                if name == "answer": sys.exit(f"the stream was refused: {data}")
                if last is not None: self.gaps.append(now - last)
                last = now
                if not self.going: break

    def over(self, seconds):
        """Gaps in the next so many seconds."""
        self.gaps = []
        time.sleep(seconds)
        return list(self.gaps)

def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("url"); p.add_argument("--pid", type=int, required=True); p.add_argument("--model", default=SMALL); p.add_argument("--count", type=int, default=1000)
    p.add_argument("--seed", type=int, default=1); p.add_argument("--at-once", type=int, default=4); p.add_argument("--max-tokens", type=int, default=4); p.add_argument("--show", action="store_true")
    a = p.parse_args()
    server = Server(a.url, timeout_s=60)
    schemas = dear(a.count, a.seed)
    server.post(CHAT, body(a, ORDINARY, 32))
    before, wrong = rss_bytes(a.pid), []

    # Alone, one after the other: what each costs.
    costs, statuses, most = [], {}, before
    for name, schema in schemas:
        begun, cpu = time.monotonic(), cpu_seconds(a.pid)
        answer = server.post(CHAT, body(a, schema, a.max_tokens))
        took, spent = time.monotonic() - begun, cpu_seconds(a.pid) - cpu
        costs.append((spent, took, name))
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        most = max(most, rss_bytes(a.pid))
        if answer.status not in (200, 400): wrong.append(f"{name}: {answer}")
        if spent > CPU_SECONDS: wrong.append(f"{name}: {spent:.2f} s of processor time")
        if a.show: print(f"{spent:6.2f} s {took:6.2f} s {answer.status} {name} {answer.body[:160]!r}")
    costs.sort(reverse=True)
    total = sum(cost for cost, _, _ in costs)
    print(f"{a.count} schemas one after the other: {statuses}, {total:.1f} s of processor time, the dearest {costs[0][0]:.2f} s ({costs[0][2]}), memory +{(most - before) >> 20} MiB")

    # Many at once, beside a stream and ordinary schemas.
    stream = Stream(server, a)
    stream.start()
    time.sleep(1)
    alone = statistics.median(stream.over(4))
    stream.gaps = []
    with concurrent.futures.ThreadPoolExecutor(a.at_once + 1) as pool:
        asked = [pool.submit(server.post, CHAT, body(a, schema, 1)) for _, schema in schemas]
        ordinary = []
        while not all(one.done() for one in asked):
            fresh = {**ORDINARY, "title": f"at {time.monotonic()}"}
            begun = time.monotonic()
            answer = server.post(CHAT, body(a, fresh, 1))
            ordinary.append(time.monotonic() - begun)
            if answer.status != 200: wrong.append(f"an ordinary schema: {answer}")
            most = max(most, rss_bytes(a.pid))
            time.sleep(0.1)
        refused = sum(1 for one in asked if one.result().status == 429)
    beside = statistics.median(stream.gaps) if stream.gaps else float("inf")
    stream.going = False
    print(f"at once: a stream's token every {alone * 1e3:.1f} ms alone, {beside * 1e3:.1f} ms beside them; {len(ordinary)} ordinary schemas, the slowest "
          f"{max(ordinary, default=0):.2f} s, 95 % within {percentile(ordinary or [0], 0.95):.2f} s; {refused} dear ones were told to wait; memory +{(most - before) >> 20} MiB")
    if alone / beside < PACE_MIN: wrong.append(f"the stream slowed down to {alone / beside:.0%}")
    if most - before > GROWTH_BYTES: wrong.append(f"memory grew by {(most - before) >> 20} MiB")
    for problem in wrong[:20]: print("WRONG", problem)
    return 1 if wrong else 0

if __name__ == "__main__": sys.exit(main())
