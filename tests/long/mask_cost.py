#!/usr/bin/env python3
"""Measures what the masks of grammars cost the thread on which all models' steps are taken.

usage: mask_cost.py URL --pid PID [--model smollm2-135m] [--kind dear] [--count 400] [--seed 1] [--max-tokens 12] [--limit-ms 60]

One request at a time, each under a schema of dear_kinds.py (`--kind dear`) or schema_list.py (`--kind plain`). The processor time of
the engine's thread over what the same tokens take without a schema, per token, must be under the limit for every schema.
"""
import argparse, sys
from pathlib import Path

from wire import SMALL, Server, environment

CHAT = "/v1/chat/completions"

def engine_threads(pid):
    """Threads by name with their processor time in seconds."""
    out = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try: name, spent = (task / "comm").read_text().strip(), int((task / "schedstat").read_text().split()[0]) / 1e9
        except OSError: continue
        if "engine" in name: out[task.name] = spent
    return out

def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("url"); p.add_argument("--pid", type=int, required=True); p.add_argument("--model", default=SMALL); p.add_argument("--kind", default="dear", choices=["dear", "plain"])
    p.add_argument("--count", type=int, default=400); p.add_argument("--seed", type=int, default=1); p.add_argument("--max-tokens", type=int, default=12); p.add_argument("--limit-ms", type=float, default=60)
    a = p.parse_args()
    if a.kind == "plain": environment("schemas", "pydantic==2.14.4", "jsonschema[format-nongpl]==4.26.0")
    if a.kind == "dear": from dear_kinds import dear as drawn
    else: from schema_list import everything as drawn
    server = Server(a.url, timeout_s=120)

    def ask(schema):
        """Milliseconds of the engine's thread for each token, and the status."""
        body = {"model": a.model, "max_tokens": a.max_tokens, "temperature": 1, "seed": 1, "messages": [{"role": "user", "content": "Hello."}]}
        if schema is not None: body["response_format"] = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema, "strict": True}}
        else: body["ignore_eos"] = True
        before = engine_threads(a.pid)
        answer = server.post(CHAT, body)
        spent = sum(after - before.get(task, 0) for task, after in engine_threads(a.pid).items())
        tokens = (answer.json or {}).get("usage", {}).get("completion_tokens", 0)
        return spent * 1e3 / max(tokens, 1), answer.status

    plain = sorted(ask(None)[0] for _ in range(9))[4]
    costs = []
    for name, schema in drawn(a.count, a.seed):
        cost, status = ask(schema)
        if status == 200: costs.append((max(cost - plain, 0), name))
    costs.sort(reverse=True)
    print(f"a token without a schema takes {plain:.1f} ms of the engine's thread; over that, of {len(costs)} schemas that were taken:")
    for share in (0.5, 0.9, 0.99): print(f"  {share:.0%} within {costs[int(len(costs) * (1 - share))][0]:.1f} ms")
    for cost, name in costs[:8]: print(f"  {cost:7.1f} ms {name}")
    return 1 if costs[0][0] > a.limit_ms else 0

if __name__ == "__main__": sys.exit(main())
