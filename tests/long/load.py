#!/usr/bin/env python3
"""64 clients for two minutes: chats, streams, tools, clients that leave, broken requests. What must hold is looked at meanwhile and after.

usage: load.py URL --pid PID [--model M] [--clients 64] [--seconds 120] [--warm-up 30] [--seed 1] [--gap-ratio 2] [--rss-share 0.05] [--pause 0.3]

Between two requests a client waits for up to --pause seconds.

* A good request is answered well or with 429 and `Retry-After`, nothing else; a broken one with its 4xx and an error that says so.
* The server's resident memory after the load is that of the end of the warm-up (the same load), ± 5 %.
* At the end `/metrics` counts no running or waiting sequence and no held block.
* The 99th percentile of the gaps between a steady stream's tokens is at most --gap-ratio times that without load. The steady stream is a process
  of its own, so that the other clients' work in this one is not taken for the server's.
"""
import argparse, json, multiprocessing, random, resource, socket, sys, threading, time
from collections import Counter

from wire import SMALL, Server, metric, percentile, rss_bytes

WORDS = "river story whole study turn law city week help group case hour kind open feel air large keep door room order car".split()
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}},
                                                                             "required": ["city"], "additionalProperties": False}}}
CHAT = "/v1/chat/completions"
REQUEST_SECONDS, SETTLE_SECONDS, IDLE_SECONDS = 120, 20, 20

class Tally:
    """What happened, by all threads."""
    def __init__(self): self.lock, self.counts, self.faults = threading.Lock(), Counter(), []

    def add(self, what):
        with self.lock: self.counts[what] += 1

    def fault(self, what):
        with self.lock:
            self.counts["fault"] += 1
            if len(self.faults) < 40:
                self.faults.append(what)
                print(f"{time.strftime('%H:%M:%S')} fault {what}", file=sys.stderr, flush=True)

def message(r, words): return [{"role": "user", "content": " ".join(r.choice(WORDS) for _ in range(words))}]

def refused_well(tally, answer, kind):
    """A 429 with Retry-After: the seconds to wait; else a fault."""
    if answer.status == 429 and answer.headers.get("retry-after"):
        tally.add("429")
        return min(float(answer.headers["retry-after"]), 5.0)
    tally.fault(f"{kind}: {answer}")
    return 0.0

def chat(server, tally, r, a):
    body = {"model": a.model, "messages": message(r, r.randint(3, 200)), "max_tokens": r.randint(1, 48), "temperature": 1}
    answer = server.post(CHAT, body)
    if answer.status != 200: return refused_well(tally, answer, "chat")
    choice, usage = answer.json["choices"][0], answer.json["usage"]
    if choice["finish_reason"] not in ("stop", "length") or not 0 <= usage["completion_tokens"] <= body["max_tokens"]: tally.fault(f"chat: {answer}")
    tally.add("chat")

def stream(server, tally, r, a):
    body = {"model": a.model, "messages": message(r, r.randint(3, 100)), "max_tokens": r.randint(8, 64), "stream": True,
            "stream_options": {"include_usage": True}}
    ends, last = [], None
    for name, data in server.events(CHAT, body, REQUEST_SECONDS):
        if name == "answer": return refused_well(tally, data, "stream")
        last = data
        if data != "[DONE]": ends += [choice["finish_reason"] for choice in json.loads(data)["choices"] if choice.get("finish_reason")]
    if last != "[DONE]" or ends not in (["stop"], ["length"]): tally.fault(f"stream: ends {ends}, last {str(last)[:200]}")
    tally.add("stream")

def tools(server, tally, r, a):
    body = {"model": a.model, "messages": message(r, 20), "max_tokens": 64, "tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False}
    answer = server.post(CHAT, body)
    if answer.status != 200: return refused_well(tally, answer, "tools")
    choice = answer.json["choices"][0]
    if choice["finish_reason"] == "tool_calls":
        if set(json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"])) != {"city"}: tally.fault(f"tools: {answer}")
    elif choice["finish_reason"] != "length": tally.fault(f"tools: {answer}")
    tally.add("tools")

def leaver(server, tally, r, a):
    """Leaves: before the answer, or in the middle of the stream."""
    body = {"model": a.model, "messages": message(r, r.randint(3, 400)), "max_tokens": 1000, "stream": r.random() < 0.7, "n": r.choice([1, 1, 3])}
    if not body["stream"]:
        sent = json.dumps(body).encode()
        with socket.create_connection((server.host, server.port), timeout=REQUEST_SECONDS) as raw:
            raw.sendall(b"POST %s HTTP/1.1\r\nhost: %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
                        % (CHAT.encode(), server.host.encode(), len(sent), sent))
            time.sleep(r.random() * 0.5)
    else:
        stay = r.randint(1, 10)
        for name, data in server.events(CHAT, body, REQUEST_SECONDS):
            if name == "answer": return refused_well(tally, data, "leaver")
            stay -= 1
            if stay == 0: break
    tally.add("left")

BROKEN = (("malformed", lambda a: b'{"model": ', 400), ("wrong type", lambda a: {"model": a.model, "messages": "hello"}, 400),
          ("temperature", lambda a: {"model": a.model, "messages": message(random, 2), "temperature": "hot"}, 400),
          ("huge", lambda a: b'{"model": "' + b"x" * (96 << 20) + b'"}', 413), ("role", lambda a: {"model": a.model, "messages": [{"role": "nobody", "content": "a"}]}, 400),
          ("UTF-8", lambda a: b'{"model": "\xff\xfe", "messages": []}', 400))

def broken(server, tally, r, a):
    kind, make, status = r.choices(BROKEN, [6, 6, 6, 1, 6, 6])[0]
    try: answer = server.post(CHAT, make(a))
    except (BrokenPipeError, ConnectionResetError):
        # A server may close on a body that is too large before it has all been sent.
        if kind != "huge": raise
        return tally.add("broken")
    if answer.status == 429: return refused_well(tally, answer, kind)
    if answer.status != status or not (answer.json or {}).get("error", {}).get("message"): tally.fault(f"broken ({kind}): wanted {status}, got {answer}")
    tally.add("broken")

KINDS, WEIGHTS = (chat, stream, tools, leaver, broken), (4, 5, 2, 3, 3)

def client(number, a, tally, end):
    server, r = Server(a.url, REQUEST_SECONDS), random.Random(f"{a.seed}/{number}")
    while time.monotonic() < end:
        kind = r.choices(KINDS, WEIGHTS)[0]
        try: pause = kind(server, tally, r, a) or 0.0
        except Exception as error:
            tally.fault(f"{kind.__name__}: {type(error).__name__}: {str(error)[:200]}")
            pause = 0.2
        time.sleep(pause + r.random() * a.pause)

def steady(url, model, seconds, pipe):
    """A stream after another with always the same request; sends the gaps between tokens, in seconds."""
    server, end, gaps = Server(url, REQUEST_SECONDS), time.monotonic() + seconds, []
    body = {"model": model, "messages": [{"role": "user", "content": "Count from one."}], "max_tokens": 128, "ignore_eos": True, "temperature": 0, "stream": True}
    while time.monotonic() < end:
        before = None
        for name, data in server.events(CHAT, body, REQUEST_SECONDS):
            if name == "answer":
                time.sleep(0.1)
                break
            now = time.monotonic()
            if before is not None and data != "[DONE]": gaps.append(now - before)
            before = now
    pipe.send(gaps)

def steady_gaps(a, seconds):
    """Starts the steady stream; call the result for its gaps."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=steady, args=(a.url, a.model, seconds, there), daemon=True)
    process.start()
    def wait():
        if not here.poll(seconds + 2 * REQUEST_SECONDS): sys.exit("the steady stream does not end")
        return here.recv()
    return wait

def under_load(a, seconds, tally):
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=client, args=(number, a, tally, end), daemon=True) for number in range(a.clients)]
    for thread in threads: thread.start()
    for thread in threads: thread.join(seconds + 3 * REQUEST_SECONDS)
    if any(thread.is_alive() for thread in threads): tally.fault("a request hangs")

def settled(server):
    """The last `/metrics`, when nothing runs, waits or is held, or after SETTLE_SECONDS."""
    for _ in range(SETTLE_SECONDS * 2):
        text = server.get("/metrics").body.decode()
        left = {"running": metric(text, "running"), "waiting": metric(text, "waiting"), "held blocks": metric(text, "blocks", "held")}
        if not any(left.values()): break
        time.sleep(0.5)
    return left

def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("url"); p.add_argument("--pid", type=int, required=True); p.add_argument("--model", default=SMALL); p.add_argument("--seed", type=int, default=1)
    p.add_argument("--clients", type=int, default=64); p.add_argument("--seconds", type=float, default=120); p.add_argument("--warm-up", type=float, default=30)
    p.add_argument("--gap-ratio", type=float, default=2); p.add_argument("--rss-share", type=float, default=0.05); p.add_argument("--pause", type=float, default=0.3)
    a = p.parse_args()
    server, tally, wrong = Server(a.url), Tally(), []
    warm = server.post(CHAT, {"model": a.model, "messages": message(random, 3), "max_tokens": 2})
    if warm.status != 200: sys.exit(f"the server does not answer: {warm}")
    idle = steady_gaps(a, IDLE_SECONDS)()
    under_load(a, a.warm_up, tally)
    settled(server)
    before, cpu, begun = rss_bytes(a.pid), resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    loaded = steady_gaps(a, a.seconds)
    under_load(a, a.seconds, tally)
    wall, spent = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_SELF)
    gaps, left, after = loaded(), settled(server), rss_bytes(a.pid)
    if tally.counts["fault"]: wrong.append(f"{tally.counts['fault']} answers that should not be")
    for name, count in left.items():
        if count is None: wrong.append(f"/metrics has no count of {name}")
        elif count: wrong.append(f"{count:.0f} {name} at the end")
    if abs(after / before - 1) > a.rss_share: wrong.append(f"memory went from {before >> 20} to {after >> 20} MiB")
    if not idle or not gaps: wrong.append("the steady stream was not served")
    p99 = [percentile(found, 0.99) * 1e3 if found else 0.0 for found in (idle, gaps)]
    if p99[1] > a.gap_ratio * p99[0]: wrong.append(f"gap between tokens, p99: {p99[0]:.1f} ms idle, {p99[1]:.1f} ms under load")
    for fault in tally.faults: print(f"fault {fault}")
    for reason in wrong: print(f"FAILED {reason}")
    p50 = [percentile(found, 0.5) * 1e3 if found else 0.0 for found in (idle, gaps)]
    share = (spent.ru_utime + spent.ru_stime - cpu.ru_utime - cpu.ru_stime) / wall
    print(f"{', '.join(f'{name} {count}' for name, count in sorted(tally.counts.items()))}; memory {before >> 20} to {after >> 20} MiB; gaps idle p50 {p50[0]:.1f} "
          f"p99 {p99[0]:.1f} ms, loaded p50 {p50[1]:.1f} p99 {p99[1]:.1f} ms over {len(gaps)}; these clients took {share:.2f} cores, {wall:.0f} s")
    return 1 if wrong else 0

if __name__ == "__main__": sys.exit(main())
