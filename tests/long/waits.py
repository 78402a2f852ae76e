#!/usr/bin/env python3
"""Who waits for whom: a stream beside embedding clients, and short questions beside long prompts of the same model.

usage: waits.py BANDMASTER MODEL.gguf EMBEDDER [--words 6800] [--clients 48] [--seconds 20] [--gap-ratio 10] [--gap-ms 100] [--first-ratio 10] [--first-ms 100]

* A steady stream alone and beside --clients embedding clients, who send texts of 4 to 250 words and lists of up to 8 of them. The 99th
  percentile of its gaps is at most --gap-ratio times that alone or --gap-ms, whichever is more, and every client gets answers.
* One request of 2,048 short inputs beside the stream: the same limit, and it ends.
* An embedding client that leaves: nothing of its work is left within a second.
* The first token of a short question, alone and beside a prompt of --words words (some 7,000 tokens): at most --first-ratio times as late or --first-ms, medians
  compared. The long prompt's own first token comes at most 1.5 times as late beside the short questions.

Needs a quiet machine. Exit status 1 when a limit is passed.
"""
import argparse, contextlib, json, random, statistics, subprocess, sys, tempfile, threading, time

from wire import Server, metric, percentile

WORDS = "river story whole study turn law city week help group case hour kind open feel air large keep door room order car".split()
CHAT, EMBED = "/v1/chat/completions", "/v1/embeddings"

@contextlib.contextmanager
def served(a):
    with tempfile.TemporaryDirectory() as home:
        command = [a.bandmaster, "serve", "--port", "0", "--offline", "--home", home, "--model", a.model, "--model", a.embedder]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            server = Server(process.stdout.readline().split()[-1])
            while server.get("/health").status != 200: time.sleep(0.05)
            models = {model["kind"]: model["id"] for model in json.loads(server.get("/v1/models").body)["data"] if model["owned_by"] == "local"}
            server.post(EMBED, {"model": models["embeddings"], "input": "warm"})
            server.post(CHAT, {"model": models["chat"], "messages": [{"role": "user", "content": "warm"}], "max_tokens": 2})
            yield server, models["chat"], models["embeddings"]
        finally:
            process.terminate(); process.wait()

def text(r, words): return " ".join(r.choice(WORDS) for _ in range(words))

def gaps(server, model, seconds):
    """The gaps of streams, one after the other, in milliseconds."""
    found, end = [], time.monotonic() + seconds
    body = {"model": model, "messages": [{"role": "user", "content": "Count from one."}], "max_tokens": 200, "ignore_eos": True, "temperature": 0, "stream": True}
    while time.monotonic() < end:
        before = None
        for name, data in server.events(CHAT, body):
            if name == "answer": sys.exit(f"the stream is refused: {data}")
            now = time.monotonic()
            if before is not None and data != "[DONE]": found.append(1e3 * (now - before))
            before = now
    return found

def told(found): return f"p50 {percentile(found, 0.5):.1f}, p99 {percentile(found, 0.99):.1f}, max {max(found):.1f} ms over {len(found)}"

def embed_clients(server, embedder, clients, over):
    """Starts clients that embed until `over`; gives the threads, each client's count of texts, and what failed."""
    done, failed = [0] * clients, []
    def client(number):
        r = random.Random(number)
        while not over.is_set():
            texts = [text(r, r.randint(4, 250)) for _ in range(r.choice([1, 1, 1, 4, 8]))]
            try: answer = server.post(EMBED, {"model": embedder, "input": texts, "encoding_format": "base64"})
            except TimeoutError: return
            if answer.status == 200: done[number] += len(texts)
            elif answer.status == 429: time.sleep(1)
            else: failed.append(f"embeddings: {answer}")
    threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(clients)]
    for thread in threads: thread.start()
    return threads, done, failed

def beside_embeddings(a, server, model, embedder):
    alone = gaps(server, model, a.seconds / 2)
    over, begun = threading.Event(), time.monotonic()
    threads, done, failed = embed_clients(server, embedder, a.clients, over)
    time.sleep(1)
    beside = gaps(server, model, a.seconds)
    over.set()
    for thread in threads: thread.join()
    rate = sum(done) / (time.monotonic() - begun)
    print(f"gaps alone: {told(alone)}\ngaps beside {a.clients} embedding clients: {told(beside)}; {rate:.1f} texts/s, the least served client got {min(done)}")
    many = threading.Thread(target=lambda: ended.append(server.post(EMBED, {"model": embedder, "input": ["a few words of text"] * 2048, "encoding_format": "base64"})))
    ended = []
    many.start()
    with_many = gaps(server, model, a.seconds / 2)
    many.join()
    print(f"gaps beside one request of 2,048 inputs: {told(with_many)}; {ended[0].status}")
    limit = max(a.gap_ms, a.gap_ratio * percentile(alone, 0.99))
    held = all(percentile(found, 0.99) <= limit for found in (beside, with_many))
    for what in failed: print(f"fault {what}")
    return held and not failed and min(done) > 0 and ended[0].status == 200

def leaver(a, server, embedder):
    r = random.Random(5)
    sent = {"model": embedder, "input": [text(r, 200) for _ in range(1500)]}
    server_fast = Server(f"http://{server.host}:{server.port}", timeout_s=2)
    try: server_fast.post(EMBED, sent)
    except TimeoutError: pass
    time.sleep(1)
    begun = time.monotonic()
    answer = server.post(EMBED, {"model": embedder, "input": "a few words"})
    took = time.monotonic() - begun
    print(f"a text behind a client that left: {1e3 * took:.0f} ms; {answer.status}")
    return took < 1

def first_token(server, model, words):
    """Milliseconds to the first token."""
    sent = time.monotonic()
    for name, data in server.events(CHAT, {"model": model, "messages": [{"role": "user", "content": words}], "max_tokens": 1, "temperature": 0, "stream": True}):
        if name == "answer": sys.exit(f"refused: {data}")
        if '"content":"' in data and '"content":""' not in data: return 1e3 * (time.monotonic() - sent)
    return 1e3 * (time.monotonic() - sent)

def beside_long(a, server, model):
    r = random.Random(6)
    long_words, rounds = a.words, 3
    short = lambda: text(r, 5)
    alone = [first_token(server, model, short()) for _ in range(15)]
    long_alone = first_token(server, model, text(r, long_words))
    beside, long_beside = [], []
    for _ in range(rounds):
        words = text(r, long_words)
        long = threading.Thread(target=lambda: long_beside.append(first_token(server, model, words)))
        long.start()
        time.sleep(0.3)
        while long.is_alive():
            asked = first_token(server, model, short())
            if long.is_alive(): beside.append(asked)
            time.sleep(0.1 + 0.1 * r.random())
        long.join()
    limit = max(a.first_ms, a.first_ratio * statistics.median(alone))
    print(f"first token of a short question alone: {told(alone)}\nbeside a prompt of {long_words} words: {told(beside)}; median at most {limit:.0f}"
          f"\nfirst token of the long prompt: {long_alone:.0f} ms alone, {statistics.median(long_beside):.0f} ms beside short questions")
    return statistics.median(beside) <= limit and statistics.median(long_beside) <= 1.5 * long_alone

def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("bandmaster"); p.add_argument("model"); p.add_argument("embedder")
    p.add_argument("--words", type=int, default=6800); p.add_argument("--clients", type=int, default=48); p.add_argument("--seconds", type=float, default=20)
    p.add_argument("--gap-ratio", type=float, default=10); p.add_argument("--gap-ms", type=float, default=100)
    p.add_argument("--first-ratio", type=float, default=10); p.add_argument("--first-ms", type=float, default=100)
    a = p.parse_args()
    with served(a) as (server, model, embedder):
        held = [beside_long(a, server, model), beside_embeddings(a, server, model, embedder), leaver(a, server, embedder)]
    sys.exit(0 if all(held) else 1)

if __name__ == "__main__":
    main()
