#!/usr/bin/env python3
"""Compares `bandmaster bench serve` with a client of its own on the same load, by turns, against any OpenAI-compatible server.

usage: serve_agrees.py BANDMASTER --url URL --model NAME [--rounds 3] [--requests 24] [--concurrency 4] [--within 0.05]
       serve_agrees.py BANDMASTER --llama-server BINARY --gguf FILE [...]      starts a server of its own

Each round gives both the same lengths with other words, so that neither finds what the other left in the server's cache. Fails
when the medians of output tokens a second, of the median time to the first token or of the median time between tokens
differ by more than `--within`.
"""
import argparse, http.client, json, os, queue, random, socket, statistics, subprocess, sys, tempfile, threading, time, urllib.parse, urllib.request

WORDS = "river story whole study turn law city week help group case hour kind open feel air large keep door room order car".split()

def calls(seed, requests):
    lengths, words = random.Random(7), random.Random(seed)
    for _ in range(requests):
        size, out = lengths.randrange(40, 200), lengths.randrange(32, 96)
        text = "".join(" " + words.choice(WORDS) for _ in range(size))
        yield {"messages": [{"role": "user", "content": text}], "max_tokens": out}

def one(host, path, model, call, results):
    body = json.dumps(dict(call, model=model, stream=True, temperature=0, ignore_eos=True, stream_options={"include_usage": True}))
    connection = http.client.HTTPConnection(host)
    start = time.perf_counter()
    connection.request("POST", path + "/chat/completions", body, {"content-type": "application/json"})
    response, times, tokens = connection.getresponse(), [], 0
    for line in response:
        if not line.startswith(b"data: {"): continue
        chunk = json.loads(line[6:])
        if chunk.get("usage"): tokens = chunk["usage"]["completion_tokens"]
        if any(choice["delta"].get("content") for choice in chunk["choices"]): times.append(time.perf_counter())
    connection.close()
    if tokens != call["max_tokens"] or not times: sys.exit(f"the server wrote {tokens} of {call['max_tokens']} tokens")
    results.append((tokens, times[0] - start, [b - a for a, b in zip(times, times[1:])]))

def outside(url, model, work, concurrency):
    at = urllib.parse.urlparse(url)
    waiting, results = queue.SimpleQueue(), []
    for call in work: waiting.put(call)
    def loop():
        while True:
            try: call = waiting.get_nowait()
            except queue.Empty: return
            one(at.netloc, "/v1", model, call, results)
    start = time.perf_counter()
    threads = [threading.Thread(target=loop) for _ in range(concurrency)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    wall = time.perf_counter() - start
    return (sum(tokens for tokens, _, _ in results) / wall, 1e3 * statistics.median(first for _, first, _ in results),
            1e3 * statistics.median(gap for _, _, gaps in results for gap in gaps))

def ours(a, work):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write("\n".join(json.dumps(call) for call in work)); file.flush()
        done = subprocess.run([a.bandmaster, "bench", "serve", "--url", a.url, "--model", a.model, "--workload", file.name, "--warmup", "0",
                               "--concurrency", str(a.concurrency), "--requests", str(a.requests), "--json"], capture_output=True, text=True)
    if done.returncode: sys.exit(done.stderr)
    found = json.loads(done.stdout)
    return found["output_tokens_per_s"], found["ttft_ms"]["p50"], found["itl_ms"]["p50"]

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("bandmaster"); p.add_argument("--url"); p.add_argument("--model"); p.add_argument("--llama-server"); p.add_argument("--gguf")
    p.add_argument("--rounds", type=int, default=3); p.add_argument("--requests", type=int, default=24)
    p.add_argument("--concurrency", type=int, default=4); p.add_argument("--within", type=float, default=0.05)
    a = p.parse_args()
    if a.url: return compare(a)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0)); port = s.getsockname()[1]
    a.url, a.model = f"http://127.0.0.1:{port}", "model"
    server = subprocess.Popen([a.llama_server, "-m", a.gguf, "--alias", a.model, "--port", str(port), "-np", str(a.concurrency), "-c", "8192"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ, OMP_WAIT_POLICY="passive"))
    try:
        for _ in range(300):
            try:
                if urllib.request.urlopen(a.url + "/health", timeout=2).status == 200: break
            except OSError: time.sleep(0.2)
        compare(a)
    finally:
        server.terminate(); server.wait()

def compare(a):
    outside(a.url, a.model, list(calls(0, a.concurrency)), a.concurrency)
    mine, theirs = [], []
    for turn in range(a.rounds):
        mine.append(ours(a, list(calls(2 * turn + 1, a.requests))))
        theirs.append(outside(a.url, a.model, list(calls(2 * turn + 2, a.requests)), a.concurrency))
    far = []
    for name, own, other in zip(("tokens/s", "first token, ms", "between tokens, ms"), zip(*mine), zip(*theirs)):
        ratio = statistics.median(own) / statistics.median(other)
        print(f"{name:20} bench serve {statistics.median(own):8.1f}  outside {statistics.median(other):8.1f}  ratio {ratio:.3f}")
        if abs(ratio - 1) > a.within: far.append(name)
    if far: sys.exit(f"differ by more than {a.within:.0%}: {', '.join(far)}")

if __name__ == "__main__":
    main()
