#!/usr/bin/env python3
"""Validates every response and every chunk of a small mixed workload against OpenAI's own description of the route.

usage: conforms.py URL [--model M] [--small M] [--embedding-model M] [--band M] [--description openai-openapi.yaml]

The description is read beside the checkout (../shared/reference/openai-openapi.yaml); without it the suite is skipped. Beyond the
shapes it looks at what OpenAI promises of a stream: one id, one end for each choice, usage last, sequence numbers without a gap.
"""
import argparse, base64, json, struct, sys
from collections import Counter
from pathlib import Path

from wire import BIG, EMBEDDER, ROOT, SMALL, Server, environment

# Where the description contradicts itself or its own examples.
# everywhere: `nullable: true` is OpenAPI 3.0, in 3.1 it has no meaning: read as what it meant.
# everywhere: branches of `oneOf` overlap (an input message is an EasyInputMessage and an Item): read as `anyOf`.
CONTRADICTIONS = {
    # A stream of completions "shares the shape", but only its last chunk has an end, and earlier ones have `usage: null` (CreateCompletionRequest).
    "CreateCompletionResponse.choices.finish_reason": lambda schema: schema["enum"].append(None) or schema.update(type=["string", "null"]),
    "CreateCompletionResponse.usage": lambda schema: schema.update({"anyOf": [{"$ref": schema.pop("$ref")}, {"type": "null"}]}),
    # The first token of an echoed prompt has no probability.
    "CreateCompletionResponse.choices.logprobs.token_logprobs": lambda schema: schema["items"].update(type=["number", "null"]),
    "CreateCompletionResponse.choices.logprobs.top_logprobs": lambda schema: schema["items"].update(type=["object", "null"]),
    # `encoding_format: base64` answers with a string.
    "Embedding.embedding": lambda schema: schema.update(type=["array", "string"]),
}

def inside(schema, name):
    for branch in [schema, *schema.get("anyOf", [])]:
        if name in branch.get("properties", {}): return branch["properties"][name]
    raise KeyError(name)

def plain(value):
    """The description with `nullable` and `oneOf` as they were meant."""
    if isinstance(value, list): return [plain(item) for item in value]
    if not isinstance(value, dict): return value
    value = {("anyOf" if key == "oneOf" and isinstance(item, list) else key): plain(item) for key, item in value.items()}
    return {"anyOf": [value, {"type": "null"}]} if value.pop("nullable", None) is True else value

def load(path):
    import yaml
    from jsonschema import Draft202012Validator
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT202012
    described = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    schemas = described["components"]["schemas"]
    for place, mend in CONTRADICTIONS.items():
        schema, *names = place.split(".")
        found = schemas[schema]
        for name in names:
            found = inside(found.get("items", found), name)
        mend(found)
    contents = {"components": {"schemas": plain(schemas)}}
    registry = Registry().with_resource("openai:", Resource(contents=contents, specification=DRAFT202012))
    # An event's schema by the `type` it names.
    events = {}
    for branch in contents["components"]["schemas"]["ResponseStreamEvent"]["anyOf"]:
        name = branch["$ref"].rsplit("/", 1)[1]
        for kind in contents["components"]["schemas"][name]["properties"]["type"]["enum"]: events[kind] = name
    return lambda name: Draft202012Validator({"$ref": f"openai:#/components/schemas/{name}"}, registry=registry), events

class Judge:
    def __init__(self, server, validator, events):
        self.server, self.validator, self.kinds = server, validator, events
        self.bodies = self.chunks = self.checks = 0
        self.failures, self.case, self.cache, self.seen = [], "", {}, {}

    def expect(self, ok, why):
        self.checks += 1
        if not ok and len(self.failures) < 2000: self.failures.append(f"{self.case}: {why}")
        return ok

    def valid(self, name, value):
        from jsonschema.exceptions import best_match
        if name not in self.cache: self.cache[name] = self.validator(name)
        error = best_match(self.cache[name].iter_errors(value))
        if error is None: return
        place = ".".join(str(step) for step in error.absolute_path) or "the whole"
        # The value is shown once: a fault of every chunk is one line.
        why = f"not a {name}: {place}: {error.message[:300]}"
        sent = "" if why in self.seen else f"; first sent: {json.dumps(value)[:700]}"
        if sent: self.seen[why] = sent
        self.expect(False, why + self.seen[why])

    def body(self, name, answer, status=200):
        """A whole response of this schema; returns its JSON, or nothing when it is none."""
        self.bodies += 1
        if not self.expect(answer.status == status and answer.json is not None, f"status {status} and JSON wanted, got {answer}"): return None
        self.expect("application/json" in answer.headers.get("content-type", ""), f"content-type {answer.headers.get('content-type')}")
        if name: self.valid(name, answer.json)
        return answer.json

    def post(self, name, path, body, status=200): return self.body(name, self.server.post(path, body), status)

    def stream(self, path, body):
        """A stream's data, decoded, with the names of its events."""
        found = []
        for name, data in self.server.events(path, {**body, "stream": True}):
            if name == "answer":
                self.expect(False, f"no stream: {data}")
                return []
            found.append((name, data))
        self.expect(bool(found), "an empty stream")
        return found

    def chat_stream(self, name, path, body):
        """Chunks of a chat or of completions: each valid, and the whole as OpenAI promises. Returns the chunks."""
        found = self.stream(path, body)
        if not found: return []
        self.expect(found[-1][1] == "[DONE]", f"the last data is {found[-1][1][:80]}, not [DONE]")
        chunks = [json.loads(data) for _, data in found if data != "[DONE]"]
        for chunk in chunks: self.valid(name, chunk)
        self.chunks += len(chunks)
        for field in ("id", "created", "model"): self.expect(len({str(chunk.get(field)) for chunk in chunks}) == 1, f"{field} changes in the stream")
        ends = [choice["index"] for chunk in chunks for choice in chunk["choices"] if choice.get("finish_reason")]
        self.expect(sorted(ends) == list(range(body.get("n", 1))), f"ends of choices {ends}")
        if body.get("stream_options", {}).get("include_usage"):
            self.expect(chunks[-1].get("usage") and chunks[-1]["choices"] == [], f"the last chunk has no usage of its own: {chunks[-1]}")
            self.expect(all("usage" in chunk and chunk["usage"] is None for chunk in chunks[:-1]), "usage is not null in the chunks before the last")
        else: self.expect(not any(chunk.get("usage") for chunk in chunks), "usage that nobody asked for")
        return chunks

    def usage(self, usage, inward="prompt_tokens", outward="completion_tokens"):
        if self.expect(bool(usage), "no usage"):
            self.expect(usage[inward] > 0 and usage["total_tokens"] == usage[inward] + usage[outward], f"usage does not add up: {usage}")

HELLO = [{"role": "system", "content": "You answer in a few words."}, {"role": "user", "content": "Say hello."}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "The weather in a city", "parameters": CITY}}
FLAT_TOOL = {"type": "function", "name": "get_weather", "description": "The weather in a city", "parameters": CITY, "strict": True}
PERSON = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "minimum": 0, "maximum": 150}},
          "required": ["name", "age"], "additionalProperties": False}
ASK = "What is the weather in Paris?"
CHAT, DELTA, TEXT = "CreateChatCompletionResponse", "CreateChatCompletionStreamResponse", "CreateCompletionResponse"

def models(j, a):
    listed = j.body("ListModelsResponse", j.server.get("/v1/models"))
    ids = [model["id"] for model in (listed or {}).get("data", [])]
    for name in (a.model, a.small, a.embedding_model, a.band.split(":")[0]): j.expect(name in ids, f"{name} is not among {ids}")
    one = j.body("Model", j.server.get(f"/v1/models/{a.model}"))
    j.expect(one and one["id"] == a.model, f"another model: {one}")

def chat(j, a):
    for more in ({}, {"temperature": 1, "top_p": 0.9, "seed": 5, "stop": ["\n\n", "zebra"], "frequency_penalty": 0.5, "presence_penalty": -0.5},
                 {"logit_bias": {"11": -100}, "user": "u", "metadata": {"a": "b"}, "store": False, "service_tier": "auto", "safety_identifier": "s",
                  "prompt_cache_key": "p"},
                 {"top_k": 20, "min_p": 0.05, "repetition_penalty": 1.1, "min_tokens": 2}, {"response_format": {"type": "text"}}):
        answer = j.post(CHAT, "/v1/chat/completions", {"model": a.model, "messages": HELLO, "max_tokens": 16, **more})
        if answer: j.usage(answer.get("usage"))
    answer = j.post(CHAT, "/v1/chat/completions", {"model": a.model, "messages": HELLO, "max_completion_tokens": 3, "ignore_eos": True})
    if answer: j.expect(answer["choices"][0]["finish_reason"] == "length" and answer["usage"]["completion_tokens"] == 3, f"not cut at 3 tokens: {answer}")
    roles = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hello"}], "name": "ada"},
             {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "Bye."}]
    j.post(CHAT, "/v1/chat/completions", {"model": a.small, "messages": roles, "max_tokens": 8})

def chat_n(j, a):
    answer = j.post(CHAT, "/v1/chat/completions", {"model": a.small, "messages": HELLO, "max_tokens": 8, "n": 3, "temperature": 1})
    if answer: j.expect([choice["index"] for choice in answer["choices"]] == [0, 1, 2], "not three choices")
    j.chat_stream(DELTA, "/v1/chat/completions", {"model": a.small, "messages": HELLO, "max_tokens": 8, "n": 3, "temperature": 1})

def chat_stream(j, a):
    for model in (a.model, a.small):
        for more in ({}, {"stream_options": {"include_usage": True}}):
            chunks = j.chat_stream(DELTA, "/v1/chat/completions", {"model": model, "messages": HELLO, "max_tokens": 16, **more})
            if chunks: j.expect(chunks[0]["choices"][0]["delta"].get("role") == "assistant", f"the first delta has no role: {chunks[0]}")
            if chunks and more: j.usage(chunks[-1].get("usage"))
    same = {"model": a.model, "messages": HELLO, "max_tokens": 16, "temperature": 0}
    chunks, whole = j.chat_stream(DELTA, "/v1/chat/completions", same), j.post(CHAT, "/v1/chat/completions", same)
    said = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    j.expect(whole and said == whole["choices"][0]["message"]["content"], f"streamed {said!r}, whole {whole and whole['choices'][0]['message']['content']!r}")

def chat_logprobs(j, a):
    asked = {"model": a.model, "messages": HELLO, "max_tokens": 6, "logprobs": True, "top_logprobs": 4}
    answer, chunks = j.post(CHAT, "/v1/chat/completions", asked), j.chat_stream(DELTA, "/v1/chat/completions", asked)
    if answer:
        content = answer["choices"][0]["logprobs"]["content"]
        j.expect(content and all(len(token["top_logprobs"]) == 4 and token["logprob"] <= 0 for token in content), f"log-probabilities: {content}")
    j.expect(any((choice.get("logprobs") or {}).get("content") for chunk in chunks for choice in chunk["choices"]), "no log-probabilities in the stream")
    answer = j.post(CHAT, "/v1/chat/completions", {**asked, "top_logprobs": 0})
    if answer: j.expect(answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == [], "top_logprobs 0 wants none")

def chat_json(j, a):
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    asked = {"model": a.small, "messages": [{"role": "user", "content": "Ada is 36."}], "max_tokens": 120, "response_format": form}
    answer = j.post(CHAT, "/v1/chat/completions", asked)
    if answer and answer["choices"][0]["finish_reason"] == "stop":
        j.expect(set(json.loads(answer["choices"][0]["message"]["content"])) == {"name", "age"}, f"not a person: {answer}")
    j.chat_stream(DELTA, "/v1/chat/completions", asked)
    j.post(CHAT, "/v1/chat/completions", {**asked, "response_format": {"type": "json_object"}, "messages": [{"role": "user", "content": "A JSON object."}]})

def chat_tools(j, a):
    messages = [{"role": "user", "content": ASK}]
    asked = {"model": a.model, "messages": messages, "max_tokens": 64, "tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False}
    answer, chunks = j.post(CHAT, "/v1/chat/completions", asked), j.chat_stream(DELTA, "/v1/chat/completions", asked)
    calls = [call for chunk in chunks for choice in chunk["choices"] for call in choice["delta"].get("tool_calls") or []]
    if j.expect(bool(calls), "no tool call in the stream"):
        j.expect(calls[0].get("id") and calls[0].get("type") == "function" and calls[0]["function"].get("name"), f"the first delta of a call: {calls[0]}")
        json.loads("".join(call["function"].get("arguments", "") for call in calls if call["index"] == 0))
    if answer:
        choice = answer["choices"][0]
        if j.expect(choice["finish_reason"] == "tool_calls" and choice["message"].get("tool_calls"), f"no tool call: {choice}"):
            call = choice["message"]["tool_calls"][0]
            messages += [choice["message"], {"role": "tool", "tool_call_id": call["id"], "content": "sunny"}]
            j.post(CHAT, "/v1/chat/completions", {**asked, "messages": messages, "tool_choice": "none"})
    named = {"type": "function", "function": {"name": "get_weather"}}
    for choice in ("auto", "none", named): j.post(CHAT, "/v1/chat/completions", {**asked, "messages": messages[:1], "tool_choice": choice})
    j.post(CHAT, "/v1/chat/completions", {**asked, "messages": messages[:1], "parallel_tool_calls": True})

def band(j, a):
    asked = {"model": a.band, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 32}
    answer = j.post(CHAT, "/v1/chat/completions", asked)
    if answer: j.usage(answer.get("usage"))
    j.chat_stream(DELTA, "/v1/chat/completions", {**asked, "stream_options": {"include_usage": True}})
    j.post("Response", "/v1/responses", {"model": a.band, "input": "Say hello.", "max_output_tokens": 32})

def completions(j, a):
    for more in ({}, {"echo": True, "logprobs": 3}, {"echo": True, "logprobs": 1, "max_tokens": 0}, {"n": 2}, {"prompt": ["One, two,", "A, b,"]},
                 {"prompt": [9707, 11, 1879]}, {"prompt": [[9707], [1879]]}, {"suffix": None, "stop": "x"}):
        answer = j.post(TEXT, "/v1/completions", {"model": a.model, "prompt": "def add(a, b):", "max_tokens": 6, **more})
        if answer: j.usage(answer.get("usage"))
        if answer and more.get("echo"):
            marks = answer["choices"][0]["logprobs"]
            if j.expect(bool(marks), "no log-probabilities"):
                j.expect(marks["token_logprobs"][0] is None and len({len(marks[key]) for key in ("tokens", "token_logprobs", "text_offset")}) == 1,
                         f"log-probabilities of an echo: {marks}")
    for more in ({}, {"stream_options": {"include_usage": True}}, {"logprobs": 2}, {"echo": True}):
        j.chat_stream(TEXT, "/v1/completions", {"model": a.model, "prompt": "def add(a, b):", "max_tokens": 6, **more})

def embeddings(j, a):
    texts = ["A cat sleeps.", "Stocks fell."]
    asked = {"model": a.embedding_model, "input": texts}
    whole = j.post("CreateEmbeddingResponse", "/v1/embeddings", asked)
    packed = j.post("CreateEmbeddingResponse", "/v1/embeddings", {**asked, "encoding_format": "base64"})
    j.post("CreateEmbeddingResponse", "/v1/embeddings", {**asked, "input": texts[0], "encoding_format": "float", "user": "u"})
    j.post("CreateEmbeddingResponse", "/v1/embeddings", {**asked, "input": [[101, 1037, 4937, 102], [101, 102]]})
    short = j.post("CreateEmbeddingResponse", "/v1/embeddings", {**asked, "dimensions": 64})
    if whole and packed:
        raw = base64.b64decode(packed["data"][0]["embedding"])
        values = struct.unpack(f"<{len(raw) // 4}f", raw)
        j.expect(max(abs(x - y) for x, y in zip(values, whole["data"][0]["embedding"])) < 1e-5 and len(values) == len(whole["data"][0]["embedding"]),
                 "base64 and float differ")
    if short: j.expect(len(short["data"][0]["embedding"]) == 64, f"{len(short['data'][0]['embedding'])} dimensions, not 64")

def response_events(j, body):
    """A stream of events: each by its own schema, numbered without a gap, from created to the end. Returns the last one's response."""
    events = []
    for name, data in j.stream("/v1/responses", body):
        if data == "[DONE]": continue
        event = json.loads(data)
        if j.expect(event.get("type") in j.kinds, f"an event OpenAI does not know: {data[:200]}"): j.valid(j.kinds[event["type"]], event)
        j.expect(name == event.get("type"), f"the event's name {name!r} is not its type {event.get('type')!r}")
        events.append(event)
    j.chunks += len(events)
    if not events: return None
    kinds = [event["type"] for event in events]
    j.expect([event.get("sequence_number") for event in events] == list(range(len(events))), "sequence numbers have gaps")
    j.expect(kinds[0] == "response.created" and kinds[-1] in ("response.completed", "response.incomplete"), f"events {kinds}")
    for delta, done, field in (("response.output_text.delta", "response.output_text.done", "text"),
                               ("response.function_call_arguments.delta", "response.function_call_arguments.done", "arguments")):
        parts, wholes = ["".join(event[key] for event in events if event["type"] == kind) for kind, key in ((delta, "delta"), (done, field))]
        j.expect(parts == wholes, f"the deltas make {parts!r}, {done} says {wholes!r}")
    for begin, end in (("response.output_item.added", "response.output_item.done"), ("response.content_part.added", "response.content_part.done")):
        j.expect(kinds.count(begin) == kinds.count(end), f"{begin} and {end} do not pair: {kinds}")
    return events[-1].get("response")

def responses(j, a):
    asked = {"model": a.model, "input": "Say hello.", "max_output_tokens": 24}
    for more in ({}, {"instructions": "Be brief.", "temperature": 0.5, "metadata": {"a": "b"}, "store": False, "user": "u"},
                 {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Say hello."}]}]}, {"max_output_tokens": 16, "truncation": "disabled"},
                 {"text": {"format": {"type": "json_schema", "name": "person", "schema": PERSON, "strict": True}}, "max_output_tokens": 120},
                 {"include": ["message.output_text.logprobs"], "top_logprobs": 2}):
        answer = j.post("Response", "/v1/responses", {**asked, **more})
        if answer: j.usage(answer.get("usage"), "input_tokens", "output_tokens")
        last = response_events(j, {**asked, **more})
        if last: j.expect(last["status"] in ("completed", "incomplete"), f"status {last['status']}")

def responses_tools(j, a):
    asked = {"model": a.model, "input": ASK, "tools": [FLAT_TOOL], "tool_choice": "required", "parallel_tool_calls": False, "max_output_tokens": 64}
    response_events(j, asked)
    answer = j.post("Response", "/v1/responses", asked)
    calls = [item for item in (answer or {}).get("output", []) if item["type"] == "function_call"]
    if j.expect(bool(calls), f"no function call: {answer}"):
        result = {"type": "function_call_output", "call_id": calls[0]["call_id"], "output": "sunny"}
        j.post("Response", "/v1/responses", {**asked, "input": [result], "previous_response_id": answer["id"], "tool_choice": "none"})
        j.post("Response", "/v1/responses", {**asked, "input": [{"role": "user", "content": ASK}, *answer["output"], result], "tool_choice": "none"})

def responses_conversation(j, a):
    first = j.post("Response", "/v1/responses", {"model": a.model, "input": "My name is Ada.", "max_output_tokens": 16})
    if not first: return
    second = j.post("Response", "/v1/responses", {"model": a.model, "input": "My name?", "previous_response_id": first["id"], "max_output_tokens": 16})
    if second: j.expect(second["usage"]["input_tokens"] > first["usage"]["total_tokens"], "what was said before is not in the prompt")
    again = j.body("Response", j.server.get(f"/v1/responses/{first['id']}"))
    j.expect(again and again["output"] == first["output"], "what is stored is not what was answered")
    j.body("ResponseItemList", j.server.get(f"/v1/responses/{first['id']}/input_items"))
    gone = j.server.call("DELETE", f"/v1/responses/{first['id']}")
    j.expect(gone.status == 200, f"deleting: {gone}")
    j.body("ErrorResponse", j.server.get(f"/v1/responses/{first['id']}"), 404)
    made = j.server.post("/v1/conversations", {"metadata": {"a": "b"}})
    if made.status in (404, 405): print("   (no route /v1/conversations)"); return
    talk = j.body("ConversationResource", made)
    answer = talk and j.post("Response", "/v1/responses", {"model": a.model, "input": "Hello.", "conversation": talk["id"], "max_output_tokens": 16})
    if answer: j.body("ConversationItemList", j.server.get(f"/v1/conversations/{talk['id']}/items"))

def errors(j, a):
    said = {"model": a.small, "messages": HELLO, "max_tokens": 4}
    for status, path, body, param in (
            (404, "/v1/chat/completions", {**said, "model": "nobody"}, "model"), (404, "/v1/completions", {"model": "nobody", "prompt": "a"}, "model"),
            (404, "/v1/embeddings", {"model": "nobody", "input": "a"}, "model"), (404, "/v1/responses", {"model": "nobody", "input": "a"}, "model"),
            (400, "/v1/chat/completions", {**said, "temperature": "hot"}, "temperature"), (400, "/v1/chat/completions", {**said, "top_p": 3}, "top_p"),
            (400, "/v1/chat/completions", {"model": a.small}, "messages"), (400, "/v1/chat/completions", b"{", None),
            (400, "/v1/responses", {"model": a.small, "input": "a", "max_output_tokens": -2}, "max_output_tokens"),
            (400, "/v1/completions", {"model": a.small, "prompt": 3}, "prompt"), (400, "/v1/embeddings", {"model": a.embedding_model}, "input")):
        answer = j.post("ErrorResponse", path, body, status)
        if answer: j.expect(answer["error"].get("param") == param, f"{path}: param {answer['error'].get('param')!r}, wanted {param!r}")
    for path in ("/v1/models/nobody", "/v1/nothing", "/v1/responses/resp_nobody"): j.body("ErrorResponse", j.server.get(path), 404)
    # An error before the first token of a stream is an ordinary error.
    j.post("ErrorResponse", "/v1/chat/completions", {**said, "model": "nobody", "stream": True}, 404)

CASES = (models, chat, chat_n, chat_stream, chat_logprobs, chat_json, chat_tools, band, completions, embeddings, responses, responses_tools,
         responses_conversation, errors)

def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("url"); p.add_argument("--model", default=BIG); p.add_argument("--small", default=SMALL); p.add_argument("--only", action="append")
    p.add_argument("--embedding-model", default=EMBEDDER); p.add_argument("--band", default="bandmaster:direct")
    p.add_argument("--description", type=Path, default=ROOT.parent / "shared/reference/openai-openapi.yaml")
    a = p.parse_args()
    if not a.description.exists():
        print(f"skipped: no {a.description}")
        return 0
    environment("conforms", "jsonschema==4.26.0", "PyYAML==6.0.4", "referencing==0.37.0")
    j = Judge(Server(a.url), *load(a.description))
    for case in CASES:
        if a.only and case.__name__ not in a.only: continue
        j.case, before = case.__name__, len(j.failures)
        try: case(j, a)
        except (OSError, KeyError, TypeError, IndexError, ValueError, AttributeError) as error: j.expect(False, f"{type(error).__name__}: {error}")
        print(f"{'ok' if len(j.failures) == before else 'FAILED'} {case.__name__}", flush=True)
        for why, times in Counter(failure for failure in j.failures[before:]).items(): print(f"   {why}" + (f" ({times} times)" if times > 1 else ""))
    print(f"bodies {j.bodies}, chunks {j.chunks}, further checks {j.checks}, failures {len(j.failures)}")
    return 1 if j.failures or not j.bodies else 0

if __name__ == "__main__": sys.exit(main())
