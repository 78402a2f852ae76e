"""LiteLLM: `openai/MODEL` with an `api_base`, sync and async."""
import json
from typing import Literal

import litellm
from pydantic import BaseModel

from checks import (ABOUT_ADA, ASK_WEATHER, BASE_URL, LONG, MODEL, WEATHER_TOOL, embedding_model, get_weather, names, raises, same_direction,
                    usage_adds_up)

litellm.suppress_debug_info = True
HERE = {"model": f"openai/{MODEL}", "api_base": BASE_URL, "api_key": "unused", "max_retries": 0, "timeout": 150}
HELLO = [{"role": "user", "content": "Say hello."}]

class Person(BaseModel):
    name: str
    age: int
    home: Literal["London", "Paris", "Rome"]

def _ask(messages=HELLO, **settings):
    return litellm.completion(messages=messages, **{**HERE, "max_tokens": 64, **settings})

def chat():
    answer = _ask(temperature=0.5)
    assert answer.choices[0].message.content and answer.choices[0].finish_reason in ("stop", "length")
    usage_adds_up(answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens)

def stream_with_usage():
    chunks = list(_ask(stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    used = [chunk.usage for chunk in chunks if getattr(chunk, "usage", None)]
    assert used and used[-1].completion_tokens > 0, chunks[-1]

async def async_chat():
    assert (await litellm.acompletion(messages=HELLO, max_tokens=16, **HERE)).choices[0].message.content

def tools_round_trip():
    messages = [{"role": "user", "content": ASK_WEATHER}]
    first = _ask(messages, tools=[WEATHER_TOOL], tool_choice="required", parallel_tool_calls=False).choices[0]
    assert first.finish_reason == "tool_calls", first
    call = first.message.tool_calls[0]
    result = get_weather(**json.loads(call.function.arguments))
    messages += [first.message.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": result}]
    assert _ask(messages, tools=[WEATHER_TOOL], tool_choice="none").choices[0].message.content

def tools_streamed():
    chunks = list(_ask([{"role": "user", "content": ASK_WEATHER}], tools=[WEATHER_TOOL], tool_choice="required", parallel_tool_calls=False, stream=True))
    call = litellm.stream_chunk_builder(chunks).choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather"
    get_weather(**json.loads(call.function.arguments))

def structured_output():
    answer = _ask([{"role": "user", "content": ABOUT_ADA}], response_format=Person, temperature=0, max_tokens=128)
    Person.model_validate_json(answer.choices[0].message.content)

def text_completion():
    assert litellm.text_completion(prompt="def add(a, b):", max_tokens=8, **{**HERE, "model": f"text-completion-openai/{MODEL}"}).choices[0].text

def embeddings():
    found = litellm.embedding(input=["A cat sleeps.", "A kitten naps.", "Stocks fell on Monday."], encoding_format="float",
                              **{**HERE, "model": f"openai/{embedding_model()}"})
    a, b, c = (item["embedding"] for item in found.data)
    assert same_direction(a, b) > same_direction(a, c)

def responses():
    answer = litellm.responses(input="Say hello.", max_output_tokens=24, **{key: HERE[key] for key in ("model", "api_base", "api_key", "timeout")})
    assert any(part.text for item in answer.output if item.type == "message" for part in item.content), answer

def unknown_model():
    raises(litellm.NotFoundError, lambda: _ask(model="openai/nobody"))

def bad_parameter():
    names(raises(litellm.BadRequestError, lambda: _ask(temperature=-1)), "temperature")

def cancel_mid_stream():
    stream = _ask([{"role": "user", "content": LONG}], stream=True, max_tokens=2000)
    for count, _ in enumerate(stream):
        if count == 3: break
    stream.completion_stream.close()
    assert _ask(max_tokens=4).choices[0].message.content
