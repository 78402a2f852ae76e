#!/usr/bin/env python3
"""Asks the smallest model, at temperature 1, for answers under 200 JSON schemas of growing difficulty.

usage: schemas.py URL [--model smollm2-135m] [--count 200] [--seed 1] [--at-once 8] [--max-tokens 512] [--show]

Of the schemas that the server accepts, 90 % must finish within the tokens, and everything that finishes must be valid; at most 5 %
may be refused (400); those are listed with the reason.
"""
import argparse, concurrent.futures, json, sys, time

from wire import SMALL, Server, environment

FINISHED_MIN, REFUSED_MAX = 0.90, 0.05

def fields(schema):
    return ", ".join(schema.get("properties", {})) or "whatever fits"

def ask(server, a, name, schema, number):
    """What became of one schema: (word, detail)."""
    from jsonschema import Draft202012Validator
    body = {"model": a.model, "temperature": 1, "max_tokens": a.max_tokens, "seed": a.seed * 1000 + number,
            "messages": [{"role": "user", "content": f"Write one short example in JSON with: {fields(schema)}"}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "example", "schema": schema, "strict": True}}}
    try:
        answer = server.post("/v1/chat/completions", body)
        while answer.status == 429:
            time.sleep(min(float(answer.headers.get("retry-after", 1)), 5))
            answer = server.post("/v1/chat/completions", body)
    except OSError as error: return "broken", f"{type(error).__name__}: {error}"
    if answer.status == 400: return "refused", (answer.json or {}).get("error", {}).get("message", str(answer))
    if answer.status != 200: return "broken", str(answer)
    choice = answer.json["choices"][0]
    said = choice["message"]["content"] or ""
    if choice["finish_reason"] != "stop": return "cut", f"{choice['finish_reason']} after {answer.json['usage']['completion_tokens']} tokens: {said[:80]!r} … {said[-60:]!r}"
    try: value = json.loads(said)
    except ValueError as error: return "invalid", f"{error}: {said[:300]!r}"
    for error in Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).iter_errors(value):
        return "invalid", f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]} in {said[:300]!r}"
    return "valid", said

def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("url"); p.add_argument("--model", default=SMALL); p.add_argument("--count", type=int, default=200); p.add_argument("--show", action="store_true")
    p.add_argument("--seed", type=int, default=1); p.add_argument("--at-once", type=int, default=8); p.add_argument("--max-tokens", type=int, default=512)
    a = p.parse_args()
    environment("schemas", "pydantic==2.14.4", "jsonschema[format-nongpl]==4.26.0")
    from jsonschema import Draft202012Validator
    from schema_list import everything
    schemas, server, begun = everything(a.count, a.seed), Server(a.url, timeout_s=300), time.monotonic()
    for _, schema in schemas: Draft202012Validator.check_schema(schema)
    with concurrent.futures.ThreadPoolExecutor(a.at_once) as pool:
        found = list(pool.map(lambda item: ask(server, a, *item[1], item[0]), enumerate(schemas)))
    count = {word: sum(1 for kind, _ in found if kind == word) for word in ("valid", "invalid", "cut", "refused", "broken")}
    for (name, schema), (word, detail) in zip(schemas, found):
        if word == "valid" and not a.show: continue
        print(f"{word} {name}: {detail}" + ("" if word == "valid" else f"\n   {json.dumps(schema)[:1500]}"))
    accepted = len(found) - count["refused"]
    finished = count["valid"] + count["invalid"]
    good = (finished >= FINISHED_MIN * accepted and not count["invalid"] and not count["broken"] and count["refused"] <= REFUSED_MAX * len(found))
    print(f"schemas {len(found)}, accepted {accepted}, finished {finished} ({finished / max(accepted, 1):.1%}), valid {count['valid']}, invalid {count['invalid']}, "
          f"cut {count['cut']}, refused {count['refused']} ({count['refused'] / len(found):.1%}), broken {count['broken']}, {time.monotonic() - begun:.0f} s")
    return 0 if good and accepted else 1

if __name__ == "__main__": sys.exit(main())
