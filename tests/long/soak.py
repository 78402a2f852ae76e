#!/usr/bin/env python3
"""Many clients for hours: what load.py does, and embeddings, responses, token counts, schemas that cost much, connections that say nothing.

usage: soak.py URL --pid PID [--model M] [--embedding-model M] [--clients 64] [--seconds 7200] [--warm-up 300] [--seed 1]
               [--rss-share 0.02] [--health-ms 50] [--every 60] [--pause 0.3]

* Every answer is what load.py asks of it; a schema that costs too much is a 400.
* Resident memory is looked at after each --every seconds. The median of the last quarter is that of the first quarter after the
  warm-up, within --rss-share.
* `/health` is asked twice a second from a process of its own, on a new connection each time, and answers within --health-ms: no
  answer may be later, but for the share --health-late (0.001) that a machine with busy cores owes to its own scheduler.
* At the end no sequence runs or waits and no block is held.
"""
import argparse, json, multiprocessing, random, socket, statistics, sys, threading, time

import load
from wire import EMBEDDER, SMALL, Server, percentile, rss_bytes

def embed(server, tally, r, a):
    texts = [m["content"] for m in (load.message(r, r.randint(1, 200))[0] for _ in range(r.randint(1, 16)))]
    answer = server.post("/v1/embeddings", {"model": a.embedding_model, "input": texts})
    if answer.status != 200: return load.refused_well(tally, answer, "embed")
    if len(answer.json["data"]) != len(texts): tally.fault(f"embed: {answer}")
    tally.add("embed")

def respond(server, tally, r, a):
    body = {"model": a.model, "input": load.message(r, r.randint(3, 50))[0]["content"], "max_output_tokens": r.randint(16, 48), "store": r.random() < 0.5}
    answer = server.post("/v1/responses", body)
    if answer.status != 200: return load.refused_well(tally, answer, "respond")
    if body["store"]:
        gone = server.call("DELETE", f"/v1/responses/{answer.json['id']}")
        if gone.status != 200: tally.fault(f"respond: {gone}")
    tally.add("respond")

def count(server, tally, r, a):
    text = load.message(r, r.randint(1, 20_000))[0]["content"]
    answer = server.post("/tokenize", {"model": a.model, "content": text})
    if answer.status != 200: return load.refused_well(tally, answer, "count")
    if not answer.json["tokens"]: tally.fault(f"count: {answer}")
    tally.add("count")

PATTERN_LENGTHS = (20, 60)

def pattern(length): return {"type": "string", "pattern": "^(a|b)*a(a|b){%d}$" % length}

def dear(server, tally, r, a, schema=None):
    schema = schema or r.choice([{"type": "integer", "multipleOf": r.randint(10**7, 10**9)}, pattern(r.randint(*PATTERN_LENGTHS)),
                                 {"type": "array", "items": {"type": "string", "maxLength": 10**6}, "minItems": 10**5}])
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    answer = server.post(load.CHAT, {"model": a.model, "messages": load.message(r, 3), "max_tokens": 16, "response_format": form})
    if answer.status not in (200, 400): return load.refused_well(tally, answer, "dear")
    tally.add("dear")

def silent(server, tally, r, a):
    """A connection that says nothing, or the half of a head, and is closed."""
    with socket.create_connection((server.host, server.port), timeout=load.REQUEST_SECONDS) as raw:
        if r.random() < 0.5: raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: ")
        time.sleep(r.random() * 2)
    tally.add("silent")

def health(url, seconds, pipe):
    """How long `/health` takes, in seconds, each from a new connection."""
    server, end, took = Server(url, load.REQUEST_SECONDS), time.monotonic() + seconds, []
    while time.monotonic() < end:
        begun = time.monotonic()
        try: answer = server.get("/health").status
        except OSError as error: answer = str(error)
        took.append((time.monotonic() - begun, answer))
        time.sleep(0.5)
    pipe.send(took)

def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("url"); p.add_argument("--pid", type=int, required=True); p.add_argument("--model", default=SMALL); p.add_argument("--embedding-model", default=EMBEDDER)
    p.add_argument("--clients", type=int, default=64); p.add_argument("--seconds", type=float, default=7200); p.add_argument("--warm-up", type=float, default=300)
    p.add_argument("--seed", type=int, default=1); p.add_argument("--rss-share", type=float, default=0.02); p.add_argument("--every", type=float, default=60)
    p.add_argument("--pause", type=float, default=0.3); p.add_argument("--health-ms", type=float, default=50); p.add_argument("--health-late", type=float, default=0.001)
    a = p.parse_args()
    load.KINDS += (embed, respond, count, dear, silent)
    load.WEIGHTS += (2, 2, 1, 0.3, 1)
    server, tally, wrong, memory = Server(a.url), load.Tally(), [], []
    if (warm := server.post(load.CHAT, {"model": a.model, "messages": load.message(random, 3), "max_tokens": 2})).status != 200: sys.exit(f"the server does not answer: {warm}")
    # A server keeps the grammars of a few dozen schemas; once there are as many, they take no more memory.
    for length in range(PATTERN_LENGTHS[0], PATTERN_LENGTHS[1] + 1): dear(server, tally, random.Random(length), a, pattern(length))
    load.under_load(a, a.warm_up, tally)
    here, there = multiprocessing.Pipe()
    watcher = multiprocessing.Process(target=health, args=(a.url, a.seconds, there), daemon=True)
    watcher.start()
    running = threading.Thread(target=load.under_load, args=(a, a.seconds, tally), daemon=True)
    running.start()
    while running.is_alive():
        running.join(a.every)
        memory.append(rss_bytes(a.pid))
        print(f"{len(memory) * a.every:.0f} s: {memory[-1] >> 20} MiB, {dict(tally.counts)}", flush=True)
    took = here.recv() if here.poll(load.REQUEST_SECONDS) else []
    left = load.settled(server)
    quarter = max(1, len(memory) // 4)
    first, last = statistics.median(memory[:quarter]), statistics.median(memory[-quarter:])
    if abs(last / first - 1) > a.rss_share: wrong.append(f"memory went from {first / 2**20:.0f} to {last / 2**20:.0f} MiB")
    if tally.counts["fault"]: wrong.append(f"{tally.counts['fault']} answers that should not be")
    for name, held in left.items():
        if held is None or held: wrong.append(f"{held} {name} at the end")
    late = [seconds for seconds, _ in took if seconds * 1e3 > a.health_ms]
    if not took or len(late) > a.health_late * len(took): wrong.append(f"/health was late {len(late)} times of {len(took)}")
    for status in {str(status) for _, status in took if status != 200}: wrong.append(f"/health said {status}")
    for fault in tally.faults: print(f"fault {fault}")
    for reason in wrong: print(f"FAILED {reason}")
    times = [seconds * 1e3 for seconds, _ in took] or [0]
    print(f"{dict(tally.counts)}; memory {first / 2**20:.0f} to {last / 2**20:.0f} MiB ({last / first - 1:+.3f}); /health p50 {percentile(times, 0.5):.1f}, "
          f"p99 {percentile(times, 0.99):.1f}, longest {max(times):.1f} ms of {len(times)}; {a.seconds:.0f} s")
    return 1 if wrong else 0

if __name__ == "__main__": sys.exit(main())
