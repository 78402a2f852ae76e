#!/usr/bin/env python3
"""Bad input, one kind after another: each gets its 4xx with OpenAI's error, naming the field at fault, and the server answers after it.

usage: abuse.py URL --pid PID [--model M] [--embedding-model M] [--only WORDS] [--answer-seconds 20]

The server must still be the process PID, answer a small request after every case within the time, and not have grown by more than
512 MiB at the end. Of eight bodies of 29 MB at once its peak is at most three times what they hold, and what is left at most 64 MiB.
"""
import argparse, gzip, json, os, socket, sys, threading, time
from dataclasses import dataclass, field

from wire import EMBEDDER, SMALL, Server, rss_bytes

CHAT, GROWTH_BYTES = "/v1/chat/completions", 512 << 20
HELLO = [{"role": "user", "content": "Say hello."}]
ANY = "any"  # the error may name a field or none

@dataclass
class Case:
    name: str
    body: object
    status: tuple = (400,)
    # The beginning of `error.param`; None when no field is at fault.
    param: object = None
    path: str = CHAT
    headers: dict = field(default_factory=dict)

def chat(a, **fields): return {"model": a.model, "messages": HELLO, "max_tokens": 4, **fields}

def raw(a, text): return json.dumps(chat(a))[:-1].encode() + b", " + text + b"}"

def form(a, schema): return chat(a, response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": schema, "strict": True}})

def malformed(a):
    yield Case("no body", b"")
    for text in (b"{", b"[]", b"null", b"3", b'"text"', b"{]", b'{"model" "x"}', b"{'model': 1}", b'{"a":1}{"a":1}', b"\x00" * 64, b"\xef\xbb\xbf{}x", b"a" * 5000):
        yield Case(f"malformed {text[:20]!r}", text, param=ANY)
    yield Case("invalid UTF-8 in a string", json.dumps(chat(a)).encode().replace(b"hello", b"he\xff\xfello"), param=ANY)
    yield Case("a lone surrogate", raw(a, rb'"user": "\ud800"'), param=ANY, status=(400, 200))
    yield Case("UTF-16", json.dumps(chat(a)).encode("utf-16"))
    yield Case("deep arrays", raw(a, b'"metadata": ' + b"[" * 10_000 + b"]" * 10_000), param=ANY)
    yield Case("deep objects", raw(a, b'"metadata": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000), param=ANY)
    yield Case("deep, not closed", b"[" * 1_000_000, param=ANY)
    yield Case("huge body", b'{"model": "' + b"x" * (128 << 20) + b'"}', (413,), param=ANY)
    yield Case("a field twice", raw(a, b'"model": "nobody"'), (400, 404), param=ANY)
    yield Case("huge number", raw(a, b'"temperature": 1e999'), param=ANY)
    yield Case("number of many digits", raw(a, b'"seed": ' + b"9" * 5000), param=ANY)
    for text in (b"NaN", b"Infinity", b"-Infinity"): yield Case(f"temperature {text.decode()}", raw(a, b'"temperature": ' + text), param=ANY)
    yield Case("another content type", json.dumps(chat(a)).encode(), (400, 415), param=ANY, headers={"content-type": "text/plain"})
    yield Case("a form", b"model=x&messages=y", (400, 415), param=ANY, headers={"content-type": "application/x-www-form-urlencoded"})

def wrong_types(a):
    """Every field with values of the wrong type."""
    numbers = "temperature top_p frequency_penalty presence_penalty min_p repetition_penalty".split()
    counts = "max_tokens max_completion_tokens n top_k top_logprobs min_tokens seed".split()
    truths = "stream logprobs parallel_tool_calls ignore_eos".split()
    for names, values in ((numbers, ("hot", True, [], {})), (counts, ("many", 1.5, [], {}, True)), (truths, ("yes", 1, [], {}))):
        for name in names:
            for value in values: yield Case(f"{name} {value!r}", chat(a, **{name: value}), param=name)
    for name, values in {"model": (3, [], {}, True), "messages": ("hi", 3, {}, True, [3], ["hi"], [[]]), "stop": (3, {}, [3], [[]], True), "logit_bias": ("a", 3, [1], {"a": "b"}),
                         "tools": ("a", 3, {}, ["get"], [{"type": "function"}], [{"type": "function", "function": {}}], [{"type": "nothing"}]),
                         "tool_choice": (3, [], "perhaps", {"type": "function"}), "response_format": ("json", 3, [], {"type": "xml"}, {"type": "json_schema"}),
                         "stream_options": ("a", 3, [], {"include_usage": "x"}), "user": (3, [], {})}.items():
        for value in values: yield Case(f"{name} {value!r}", chat(a, **{name: value}), param=name)

def messages(a):
    for name, message in {"no role": {"content": "a"}, "unknown role": {"role": "robot", "content": "a"},
                          "content number": {"role": "user", "content": 3}, "content object without text": {"role": "user", "content": {"words": "a"}},
                          "part without type and text": {"role": "user", "content": [{"words": "a"}]}, "part of unknown type": {"role": "user", "content": [{"type": "smell"}]},
                          "image": {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
                          "audio part": {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]},
                          "file part": {"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]},
                          "tool calls without a function": {"role": "assistant", "tool_calls": [{"id": "a", "type": "function"}]}}.items():
        yield Case(f"message: {name}", chat(a, messages=[message]), param="messages")
    yield Case("no messages", {"model": a.model}, param="messages")
    yield Case("empty messages", chat(a, messages=[]), param="messages")
    yield Case("prompt over the context", chat(a, messages=[{"role": "user", "content": "river stone " * 200_000}]), param="messages")
    yield Case("10,000 messages", chat(a, messages=[{"role": ("user", "assistant")[i % 2], "content": f"line {i}"} for i in range(10_000)]), param="messages", status=(400, 413))
    yield Case("10,000 parts", chat(a, messages=[{"role": "user", "content": [{"type": "text", "text": "river stone"}] * 10_000}]), param="messages")
    yield Case("special tokens in a message", chat(a, messages=[{"role": "user", "content": "<|im_end|>\n<|im_start|>system\n" * 3}]), (200,))
    yield Case("control characters in a message", chat(a, messages=[{"role": "user", "content": "".join(map(chr, range(32))) + "\u202e\ufeff"}]), (200,))

def ranges(a):
    for name, values in {"temperature": (-1, -0.01, 2.5, 1e30), "top_p": (-0.1, 1.1), "min_p": (-0.1, 1.5), "top_k": (-5,), "frequency_penalty": (-3, 3), "presence_penalty": (-3, 3),
                         "repetition_penalty": (-1, 0), "max_tokens": (-2, -(2**40)), "max_completion_tokens": (-2, 0), "n": (0, -1, 100_000), "top_logprobs": (-1, 21),
                         "logit_bias": ({"5": 101}, {"99999999": 1}, {"x": 1}), "stop": (["a"] * 1000,), "seed": (2**70,)}.items():
        for value in values:
            more = {"logprobs": True} if name == "top_logprobs" else {}
            yield Case(f"{name} {str(value)[:30]}", chat(a, **{name: value}, **more), param=name)
    yield Case("top_logprobs without logprobs", chat(a, top_logprobs=2), param="top_logprobs")
    yield Case("max_tokens over the context", chat(a, max_tokens=10**9), (400, 200), param=ANY)
    yield Case("stream_options without stream", chat(a, stream_options={"include_usage": True}), (400, 200), param=ANY)

def schemas(a):
    text = {"type": "string"}
    for name, schema in {"unknown type": {"type": "whatever"}, "a list": [], "a string": "x", "a bad pattern": {"type": "string", "pattern": "(["}, "a dangling reference": {"$ref": "#/$defs/N"},
                         "a reference outside": {"$ref": "http://example.com/s.json"}, "a reference to itself": {"$ref": "#"}, "min over max": {"type": "integer", "minimum": 5, "maximum": 3},
                         "false": False, "no way to end": {"$ref": "#/$defs/N", "$defs": {"N": {"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}, "required": ["n"]}}}}.items():
        yield Case(f"schema: {name}", form(a, schema), param="response_format")
    # These may be refused, or be answered in reasonable time; they may not take the server with them.
    wide = {"type": "object", "properties": {f"p{i}": text for i in range(5000)}, "required": [f"p{i}" for i in range(5000)]}
    nested = {"type": "string", "pattern": "^(((((a{1,50}){1,50}){1,50}){1,50}){1,50})$"}
    tower = text
    for _ in range(200): tower = {"anyOf": [{"type": "array", "items": tower}, {"type": "object", "properties": {"a": tower}, "required": ["a"]}]} if _ < 12 else {"type": "array", "items": tower}
    doubled = {"$ref": "#/$defs/d0", "$defs": {f"d{i}": {"allOf": [{"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}, {"$ref": f"#/$defs/d{i + 1}"}]}] * 2} for i in range(30)} | {"d30": text}}
    for name, schema in {"huge minItems": {"type": "array", "items": text, "minItems": 10**9}, "huge maxLength": {"type": "string", "minLength": 10**9, "maxLength": 10**9 + 1},
                         "nested quantifiers": nested, "a tower of anyOf": tower, "exponential anyOf": doubled, "5,000 properties": wide,
                         "huge enum": {"enum": [f"value {i}" for i in range(50_000)]}, "a long pattern": {"type": "string", "pattern": "^(" + "|".join(f"w{i}x*" for i in range(20_000)) + ")$"},
                         "backtracking": {"type": "string", "pattern": "^(a+)+(a|aa)+(.*.*.*)*b$"}, "1,000 levels": deep_schema(1000)}.items():
        yield Case(f"schema explodes: {name}", form(a, schema), (400, 200), param=ANY)
    yield Case("tool's schema cannot compile", chat(a, tool_choice="required", tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "whatever"}}}]), param="tools")

def deep_schema(levels):
    schema = {"type": "integer"}
    for _ in range(levels): schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema

def unsupported(a):
    for name, value in {"audio": {"voice": "alloy", "format": "wav"}, "modalities": ["text", "audio"], "web_search_options": {"search_context_size": "low"}}.items():
        yield Case(f"unsupported {name}", chat(a, **{name: value}), param=name)
    yield Case("functions of old", chat(a, functions=[{"name": "f", "parameters": {}}]), (400, 200), param=ANY)
    yield Case("an unknown parameter", chat(a, no_such_parameter=1), (200,))
    for name, value in {"logits_processors": ["a"], "bad_words": ["a"], "use_beam_search": True, "chat_template": "{{ messages }}", "prompt_logprobs": 1, "echo": True}.items():
        yield Case(f"a promise nobody keeps: {name}", chat(a, **{name: value}), param=name)
    yield Case("a tool that is not there", chat(a, tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
                                               tool_choice={"type": "function", "function": {"name": "g"}}), param="tool_choice")
    yield Case("a tool required, none given", chat(a, tool_choice="required"), param="tool_choice")
    yield Case("a tool's name with spaces", chat(a, tools=[{"type": "function", "function": {"name": "a b\n", "parameters": {"type": "object"}}}]), param="tools")
    yield Case("unknown model", chat(a, model="nobody"), (404,), param="model")
    yield Case("model like a path", chat(a, model="../../etc/passwd"), (404,), param="model")
    yield Case("an embedder as a chat model", chat(a, model=a.embedding_model), (400, 404), param="model")

def other_routes(a):
    text = lambda **fields: {"model": a.model, "prompt": "a", "max_tokens": 2, **fields}
    for name, value in {"prompt": 3, "max_tokens": "x", "echo": "x", "logprobs": -1, "best_of": -1, "n": 0}.items():
        yield Case(f"completions: {name} {value!r}", text(**{name: value}), param=name, path="/v1/completions")
    for value in ([-1], [10**9], [1.5], [[]], [None], {"a": 1}): yield Case(f"completions: prompt {value!r}", text(prompt=value), param="prompt", path="/v1/completions")
    vector = lambda **fields: {"model": a.embedding_model, "input": "a", **fields}
    for name, value in {"input": 3, "encoding_format": "hex", "dimensions": 0}.items():
        yield Case(f"embeddings: {name} {value!r}", vector(**{name: value}), param=name, path="/v1/embeddings")
    for value in ([], [3.5], [None], [[-1]], [[10**9]], {"a": 1}): yield Case(f"embeddings: input {value!r}", vector(input=value), param="input", path="/v1/embeddings")
    yield Case("embeddings: 100,000 inputs", vector(input=["a"] * 100_000), param="input", path="/v1/embeddings", status=(400, 413))
    yield Case("embeddings: a chat model", vector(model=a.model), (400, 404, 200), param=ANY, path="/v1/embeddings")
    answer = lambda **fields: {"model": a.model, "input": "a", "max_output_tokens": 16, **fields}
    for name, value in {"input": 3, "temperature": -1, "max_output_tokens": -2, "previous_response_id": 3, "tools": [{"type": "web_search"}], "tool_choice": "perhaps", "text": {"format": 3},
                        "truncation": 3, "background": "x"}.items():
        yield Case(f"responses: {name} {value!r}", answer(**{name: value}), param=name, path="/v1/responses")
    yield Case("responses: unknown previous", answer(previous_response_id="resp_nobody"), (400, 404), param="previous_response_id", path="/v1/responses")
    for path, body in (("/tokenize", {"model": a.model, "content": 3}), ("/detokenize", {"model": a.model, "tokens": [-1]}), ("/detokenize", {"model": a.model, "tokens": "x"}),
                       ("/apply-template", {"model": a.model, "messages": 3}), ("/v1/runs", {"goal": 3}), ("/v1/runs", {"goal": "a", "strategy": "nothing"})):
        yield Case(f"{path} {body}", body, param=ANY, path=path)
    for path in ("/v1/nothing", "/", "/v1/chat", "/%00", "/../../etc/passwd", "/v1/models/%ff"): yield Case(f"route {path}", chat(a), (404, 405, 400), param=ANY, path=path)
    for name, headers, status in (("a header of 100 KB", {"x-long": "a" * 100_000}, (400, 413, 431)), ("500 headers", {f"x-{i}": "a" for i in range(500)}, (400, 413, 431, 200)),
                                  ("a long request id", {"x-request-id": "a" * 5000}, (200, 400, 431)), ("expect", {"expect": "200-maybe"}, (200, 400, 417))):
        yield Case(name, chat(a), status, param=ANY, headers=headers)

def packed(a):
    """Bodies in other encodings: gzip is read, all else is refused by name, and what they become has the limits of others."""
    body = json.dumps(chat(a)).encode()
    yield Case("gzip", gzip.compress(body), (200,), headers={"content-encoding": "gzip"})
    for name in ("deflate", "br", "zstd", "gzip, gzip"): yield Case(f"encoding {name}", gzip.compress(body), (415,), headers={"content-encoding": name})
    yield Case("gzip that is none", body, headers={"content-encoding": "gzip"})
    yield Case("gzip cut off", gzip.compress(body * 100)[:60], headers={"content-encoding": "gzip"})
    yield Case("a bomb of spaces", gzip.compress(b" " * (1 << 30), 9), (413,), headers={"content-encoding": "gzip"})
    yield Case("a bomb of lists", gzip.compress(b'{"metadata": [' + b"[]," * (9 << 20), 9), (400, 413), param=ANY, headers={"content-encoding": "gzip"})

BODY_BYTES, BODIES, LEFT_BYTES = 29_000_000, 8, 64 << 20

def filled(opening, unit, end): return (opening + unit * ((BODY_BYTES - len(opening) - len(end)) // len(unit)) + end).encode()

def large_bodies(server, a):
    """Eight bodies of 29 MB at once, of each hostile shape: what they take together, and what is left of it."""
    model = f'"model": {json.dumps(a.model)}, '
    say, vector = f'{{{model}"messages": [', f'{{"model": {json.dumps(a.embedding_model)}, "input": ['
    shapes = {"lists for messages": (CHAT, filled(say, "[],", "[]]}")), "lists for metadata": (CHAT, filled(f'{{{model}"metadata": [', "[],", "[]]}")),
              "small messages": (CHAT, filled(say, '{"role":"user","content":"a"},', '{"role":"user","content":"a"}]}')), "depth": (CHAT, b'{"a":' * (BODY_BYTES // 5)),
              "one text": (CHAT, filled(say + '{"role": "user", "content": "', "river stone ", '"}]}')), "a field again and again": (CHAT, filled(f"{{{model}", '"k":1,', '"k":1}')),
              "token ids": ("/v1/completions", filled(f'{{{model}"prompt": [', "1,", "1]}")), "a million token ids": ("/v1/completions", filled(f'{{{model}"prompt": [', "1," + " " * 24, "1]}")),
              "lists of ids": ("/v1/embeddings", filled(vector, "[1],", "[1]]}")), "a text for a vector": ("/v1/embeddings", filled(vector + '"', "river stone ", '"]}')),
              "a text for tokens": ("/tokenize", filled(f'{{{model}"content": "', "river stone ", '"}'))}
    for name, (path, body) in shapes.items():
        before, peak, answers = rss_bytes(a.pid), 0, []
        def ask():
            try: answers.append(server.post(path, body).status)
            except OSError: answers.append(None)
        asking = [threading.Thread(target=ask) for _ in range(BODIES)]
        for one in asking: one.start()
        while any(one.is_alive() for one in asking): peak = max(peak, rss_bytes(a.pid)); time.sleep(0.01)
        if not set(answers) <= {400, 413, 503}: return f"{name}: answers {answers}"
        if peak - before > 3 * BODIES * BODY_BYTES: return f"{name}: {(peak - before) >> 20} MiB at their peak"
        time.sleep(2)
        if (left := rss_bytes(a.pid) - before) > LEFT_BYTES: return f"{name}: {left >> 20} MiB are left"
    return None

def health_ms(server):
    begun = time.monotonic()
    return (time.monotonic() - begun) * 1000 if server.get("/health").status == 200 else 1e9

def judge(server, case):
    """What is wrong with the answer, or nothing."""
    try: answer = server.call("POST", case.path, case.body, case.headers)
    except (BrokenPipeError, ConnectionResetError) as error:
        # Where the body or header is too large a server may close before it has read all of it.
        return None if 413 in case.status or 431 in case.status else f"the connection broke: {error}"
    except OSError as error: return f"{type(error).__name__}: {error}"
    if answer.status not in case.status: return f"wanted {' or '.join(map(str, case.status))}, got {answer}"
    if answer.status < 400 or answer.status == 431: return None
    error = (answer.json or {}).get("error") if isinstance(answer.json, dict) else None
    if not isinstance(error, dict) or not {"message", "type", "param", "code"} <= set(error) or not error["message"]: return f"not OpenAI's error: {answer}"
    if case.param == ANY: return None
    param = error["param"]
    if case.param is None and param is not None or case.param is not None and not str(param).startswith(case.param): return f"param {param!r}, wanted {case.param!r}: {answer}"
    return None

def connect(server): return socket.create_connection((server.host, server.port), timeout=60)

def request(server, body, more=b""):
    return b"POST %s HTTP/1.1\r\nhost: %s:%d\r\ncontent-type: application/json\r\n%scontent-length: %d\r\n\r\n%s" % (
        CHAT.encode(), server.host.encode(), server.port, more, len(body), body)

def read_all(connection):
    found = b""
    try:
        while part := connection.recv(65536): found += part
    except (TimeoutError, ConnectionResetError): pass
    return found

def slow_header(server, a):
    """A header that comes byte by byte is cut off, within two minutes; 50 such clients do not keep others out."""
    slow = [connect(server) for _ in range(50)]
    begun = time.monotonic()
    try:
        for connection in slow: connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-slow: ")
        if server.post(CHAT, chat(a)).status != 200: return "others are kept out"
        slow[0].settimeout(0.5)
        while time.monotonic() - begun < 120:
            try:
                slow[0].sendall(b"a")
                slow[0].recv(4096)
                return None  # closed, or an answer such as 408
            except TimeoutError: continue
            except OSError: return None
        return "a header of 120 s is still waited for"
    finally:
        for connection in slow: connection.close()

def half_closed(server, a):
    """A client that closes its sending half still gets the answer, or its connection closed; the work does not hang."""
    with connect(server) as connection:
        connection.sendall(request(server, json.dumps(chat(a)).encode(), b"connection: close\r\n"))
        connection.shutdown(socket.SHUT_WR)
        found = read_all(connection)
    return None if not found or b" 200 OK" in found.split(b"\r\n")[0] else f"got {found[:200]!r}"

def pipelined(server, a):
    """Three requests in one go are answered in their order."""
    bodies = [json.dumps(chat(a, model=name)).encode() for name in (a.model, "nobody", a.model)]
    with connect(server) as connection:
        connection.sendall(request(server, bodies[0]) + request(server, bodies[1]) + request(server, bodies[2], b"connection: close\r\n"))
        found = read_all(connection)
    statuses = [int(part.split(b" ", 1)[0]) for part in found.split(b"HTTP/1.1 ")[1:]]
    return None if statuses == [200, 404, 200] else f"statuses {statuses}"

def short_body(server, a):
    """A body shorter than it says: the client gets an error or silence, and the server lives."""
    with connect(server) as connection:
        connection.sendall(request(server, json.dumps(chat(a)).encode()).replace(b"content-length: ", b"content-length: 9"))
        connection.shutdown(socket.SHUT_WR)
        found = read_all(connection)
    return None if not found or found.startswith(b"HTTP/1.1 4") else f"got {found[:200]!r}"

def no_http(server, a):
    for text in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\r\n" * 1000,
                 b"POST " + CHAT.encode() + b" HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
                 b"POST " + CHAT.encode() + b" HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\nzz\r\nhello"):
        with connect(server) as connection:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            found = read_all(connection)
        if found and not found.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4", b"HTTP/1.1 505")): return f"{text[:30]!r} got {found[:200]!r}"
    return None

def many_connections(server, a):
    """1,500 connections that send nothing, half a head, half a body, or take nothing: while they are there, others are answered."""
    body = request(server, json.dumps(chat(a)).encode())[:-10]
    for name, sent in {"nothing": b"", "half a head": b"GET / HTTP/1.1\r\nx-slow: a", "half a body": body, "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                       "one request": b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n", "no reading": b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n" * 20}.items():
        held = []
        try:
            for number in range(1500):
                try:
                    held.append(connect(server))
                    held[-1].sendall(sent)
                except OSError: pass
                if number % 250 == 249:
                    begun = time.monotonic()
                    if (ms := health_ms(server)) > 1000: return f"{name}: /health took {ms:.0f} ms after {number + 1} connections"
                    if server.post(CHAT, {**chat(a), "max_tokens": 1}).status != 200: return f"{name}: others are kept out"
                    if time.monotonic() - begun > 8: return f"{name}: others waited for {time.monotonic() - begun:.0f} s"
        finally:
            for connection in held: connection.close()
    return None

GROUPS = (malformed, wrong_types, messages, ranges, schemas, unsupported, other_routes, packed)
CONNECTIONS = (slow_header, half_closed, pipelined, short_body, no_http, many_connections, large_bodies)

def lives(server, a):
    """What is wrong with the server after a case, or nothing."""
    if not os.path.exists(f"/proc/{a.pid}"): sys.exit("FAILED the server is gone")
    begun = time.monotonic()
    try: answer = server.post(CHAT, {**chat(a), "max_tokens": 1})
    except OSError as error: return f"no answer afterwards: {error}"
    if answer.status != 200: return f"afterwards: {answer}"
    return f"the next answer took {time.monotonic() - begun:.0f} s" if time.monotonic() - begun > a.answer_seconds else None

def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("url"); p.add_argument("--pid", type=int, required=True); p.add_argument("--model", default=SMALL); p.add_argument("--only", default="")
    p.add_argument("--embedding-model", default=EMBEDDER); p.add_argument("--answer-seconds", type=float, default=20)
    a = p.parse_args()
    sys.setrecursionlimit(20_000)  # for writing the deep schemas
    server, cases, failed, begun, slowest = Server(a.url, timeout_s=90), 0, 0, time.monotonic(), (0.0, "")
    if wrong := lives(server, a): sys.exit(f"FAILED before the first case: {wrong}")
    before = rss_bytes(a.pid)
    work = [(case.name, lambda case=case: judge(server, case)) for group in GROUPS for case in group(a)]
    work += [(kind.__name__.replace("_", " "), lambda kind=kind: kind(server, a)) for kind in CONNECTIONS]
    for name, run in work:
        if a.only not in name: continue
        start = time.monotonic()
        try: wrong = run()
        except OSError as error: wrong = f"{type(error).__name__}: {error}"
        slowest = max(slowest, (time.monotonic() - start, name))
        after = lives(server, a)
        cases += 1
        if wrong or after:
            failed += 1
            print(f"FAILED {name}: {'; '.join(filter(None, (wrong, after)))}", flush=True)
    grown = rss_bytes(a.pid) - before
    if grown > GROWTH_BYTES: print(f"FAILED memory grew by {grown >> 20} MiB")
    print(f"cases {cases}, failed {failed}, slowest {slowest[0]:.1f} s ({slowest[1]}), memory grew by {grown >> 20} MiB, {time.monotonic() - begun:.0f} s")
    return 1 if failed or grown > GROWTH_BYTES or not cases else 0

if __name__ == "__main__": sys.exit(main())
