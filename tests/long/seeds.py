#!/usr/bin/env python3
"""The same request with `seed`, 20 times among other traffic: 20 equal answers. For a chat, a stream, two choices, a schema, a completion.

usage: seeds.py URL [--model M] [--times 20] [--others 12] [--seed 1]
"""
import argparse, json, random, sys, threading, time
from collections import Counter

from load import CHAT, Tally, chat, leaver, message, stream, tools
from wire import SMALL, Server

def without(value, *names):
    """The answer without what may differ: its id, its time, how much of it was in the cache."""
    if isinstance(value, list): return [without(item, *names) for item in value]
    if not isinstance(value, dict): return value
    return {key: without(item, *names) for key, item in value.items() if key not in names}

def said(server, path, body):
    if body.get("stream"):
        parts = []
        for name, data in server.events(path, body):
            if name == "answer": return data
            # How a text is cut into chunks may differ; the text may not.
            if data != "[DONE]": parts += [choice["delta"].get("content") or "" for choice in json.loads(data)["choices"]]
        return "".join(parts)
    answer = server.post(path, body)
    return without(answer.json["choices"], "id") if answer.status == 200 else answer

def others(number, a, tally, over):
    server, r = Server(a.url), random.Random(f"{a.seed}/{number}")
    while not over.is_set():
        try: time.sleep(r.choice((chat, stream, tools, leaver))(server, tally, r, a) or 0)
        except Exception as error: tally.fault(f"{type(error).__name__}: {error}")

def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("url"); p.add_argument("--model", default=SMALL); p.add_argument("--times", type=int, default=20)
    p.add_argument("--others", type=int, default=12); p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    r, tally, over, server, begun = random.Random(a.seed), Tally(), threading.Event(), Server(a.url), time.monotonic()
    schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string", "maxLength": 20}}, "required": ["a", "b"]}
    plain = {"model": a.model, "messages": message(r, 60), "max_tokens": 40, "temperature": 1, "seed": 7}
    asked = {"chat": (CHAT, {**plain, "logprobs": True, "top_logprobs": 2}), "stream": (CHAT, {**plain, "stream": True, "top_p": 0.9}),
             "two choices": (CHAT, {**plain, "n": 2}), "penalties": (CHAT, {**plain, "frequency_penalty": 0.7, "min_p": 0.02}),
             "schema": (CHAT, {**plain, "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema, "strict": True}}}),
             "completion": ("/v1/completions", {"model": a.model, "prompt": "Once upon a time", "max_tokens": 40, "temperature": 1, "seed": 7})}
    threads = [threading.Thread(target=others, args=(number, a, tally, over), daemon=True) for number in range(a.others)]
    for thread in threads: thread.start()
    found = {kind: Counter() for kind in asked}
    wrong = []
    def repeat(kind, path, body):
        for _ in range(a.times):
            while True:
                answer = said(server, path, body)
                if getattr(answer, "status", 200) != 429: break
                time.sleep(0.5)
            if hasattr(answer, "status"): wrong.append(f"{kind}: {answer}")
            else: found[kind][json.dumps(answer)] += 1
            time.sleep(random.random() * 0.1)
    repeats = [threading.Thread(target=repeat, args=(kind, *request)) for kind, request in asked.items()]
    for thread in repeats: thread.start()
    for thread in repeats: thread.join()
    over.set()
    for kind, answers in found.items():
        if len(answers) != 1 or answers.total() != a.times:
            wrong.append(f"{kind}: {answers.total()} answers, {len(answers)} different: "
                         + " | ".join(f"{count} × {text[:200]}" for text, count in answers.most_common(3)))
    # A seed that is ignored would pass with temperature 0 in disguise: another seed must say something else.
    same = said(server, CHAT, {**plain, "seed": 8}) == said(server, CHAT, {**plain, "seed": 9}) == said(server, CHAT, {**plain, "seed": 7})
    if same: wrong.append("three seeds give the same answer")
    for reason in wrong: print(f"FAILED {reason}")
    print(f"{len(asked)} requests, each {a.times} times: {sum(len(answers) == 1 for answers in found.values())} always the same; "
          f"beside {sum(tally.counts.values())} others ({tally.counts['fault']} faults), {time.monotonic() - begun:.0f} s")
    return 1 if wrong else 0

if __name__ == "__main__": sys.exit(main())
