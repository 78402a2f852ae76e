#!/usr/bin/env python3
"""What the endpoint costs, and whether a short question waits for eight streams.

usage: endpoint_speed.py BANDMASTER SMALL.gguf LARGER.gguf [--rounds 5] [--cost 0.05] [--wait 2]

* Sixteen streams at once (64 made-up words each, 128 tokens of answer), by turns in this program's own process and over HTTP at a
  server of it: the same driver (`bench workflow`), the same engine. Over HTTP they may take `--cost` longer, medians compared.
* First token of a short question (of LARGER) alone and while eight streams go on: at most `--wait` times as late, medians compared.

Needs a quiet machine. Exit status 1 when a limit is passed.
"""
import argparse, contextlib, http.client, json, os, random, socket, statistics, subprocess, sys, tempfile, threading, time

WORDS = "river story whole study turn law city week help group case hour kind open feel air large keep door room order car".split()

@contextlib.contextmanager
def served(bandmaster, model):
    with tempfile.TemporaryDirectory() as home:
        command = [bandmaster, "serve", "--port", "0", "--offline", "--home", home, "--model", model]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            url = process.stdout.readline().split()[-1]
            while get(url, "/health") != 200: time.sleep(0.05)
            yield url
        finally:
            process.terminate(); process.wait()

def connection(url): return http.client.HTTPConnection(url.removeprefix("http://"), timeout=120)

def get(url, path):
    with contextlib.closing(connection(url)) as c:
        c.request("GET", path); return c.getresponse().status

def trace(model):
    tasks = [{"id": f"s{i}", "model": "worker", "prompt_tokens": 64, "output_tokens": 128} for i in range(16)]
    return {"schema": "bandmaster.trace/1", "name": "sixteen", "about": "Sixteen streams at once.", "models": {"worker": {"model": model}}, "tasks": tasks}

def play(bandmaster, file, *where):
    done = subprocess.run([bandmaster, "bench", "workflow", "--trace", file, "--repeat", "1", "--json", *where], capture_output=True, text=True)
    if done.returncode: sys.exit(done.stderr)
    return json.loads(done.stdout)["wall_s"]

def cost(a):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file, served(a.bandmaster, a.small) as url:
        json.dump(trace(a.small), file); file.flush()
        here, there = [], []
        for _ in range(a.rounds):
            here.append(play(a.bandmaster, file.name))
            there.append(play(a.bandmaster, file.name, "--url", url))
    ratio = statistics.median(there) / statistics.median(here)
    print(f"sixteen streams: {statistics.median(here):.3f} s in process, {statistics.median(there):.3f} s over HTTP: {ratio:.3f} (at most {1 + a.cost}); rounds {here} {there}")
    return ratio <= 1 + a.cost

def ask(url, words, tokens, over=None, begun=None):
    """Seconds to the first token; reads on until the end, or until `over`."""
    body = {"messages": [{"role": "user", "content": words}], "max_tokens": tokens, "temperature": 1, "stream": True, "ignore_eos": over is not None}
    with contextlib.closing(connection(url)) as c:
        sent = time.monotonic()
        c.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
        answer, first = c.getresponse(), None
        while line := answer.readline():
            if first is None and b'"content":"' in line and b'"content":""' not in line:
                first = time.monotonic() - sent
                if begun: begun.release()
            if over and over.is_set(): break
        return first

def wait(a):
    r = random.Random(1)
    question = lambda: " ".join(r.choice(WORDS) for _ in range(12))
    with served(a.bandmaster, a.larger) as url:
        ask(url, question(), 4)
        alone = [ask(url, question(), 4) for _ in range(3 * a.rounds)]
        over, begun = threading.Event(), threading.Semaphore(0)
        streams = [threading.Thread(target=ask, args=(url, question(), 4000, over, begun)) for _ in range(8)]
        for stream in streams: stream.start()
        for _ in streams: begun.acquire()
        beside = []
        for _ in range(3 * a.rounds):
            beside.append(ask(url, question(), 4)); time.sleep(0.2)
        over.set()
        for stream in streams: stream.join()
    ratio = statistics.median(beside) / statistics.median(alone)
    print(f"first token of a short question: {1e3 * statistics.median(alone):.0f} ms alone, {1e3 * statistics.median(beside):.0f} ms beside eight streams: {ratio:.2f} (at most {a.wait})")
    return ratio <= a.wait

def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("bandmaster"); p.add_argument("small"); p.add_argument("larger")
    p.add_argument("--rounds", type=int, default=5); p.add_argument("--cost", type=float, default=0.05); p.add_argument("--wait", type=float, default=2)
    a = p.parse_args()
    held = [cost(a), wait(a)]
    sys.exit(0 if all(held) else 1)

if __name__ == "__main__":
    main()
