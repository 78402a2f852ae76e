"""OpenAI's own client, sync and async: chat, completions, embeddings, responses."""
import asyncio, json
from typing import Literal

from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI
from pydantic import BaseModel

from checks import (ABOUT_ADA, ASK_WEATHER, BASE_URL, LONG, MODEL, WEATHER_PARAMETERS, WEATHER_TOOL, band, embedding_model, get_weather, raises,
                    same_direction, usage_adds_up)

client = OpenAI(base_url=BASE_URL, api_key="unused", max_retries=0, timeout=150)
ask = client.chat.completions.create
HELLO = [{"role": "system", "content": "You answer in a few words."}, {"role": "user", "content": "Say hello."}]

class Person(BaseModel):
    name: str
    age: int
    home: Literal["London", "Paris", "Rome"]

def models():
    listed = [model.id for model in client.models.list()]
    assert MODEL in listed, listed
    assert client.models.retrieve(MODEL).id == MODEL

def chat():
    answer = ask(model=MODEL, messages=HELLO, max_tokens=24, temperature=0.5, top_p=0.9, stop=["\n\n"], user="u", seed=3)
    assert answer.object == "chat.completion" and answer.id and answer.created > 1_600_000_000
    choice = answer.choices[0]
    assert choice.message.role == "assistant" and choice.message.content and choice.finish_reason in ("stop", "length")
    usage_adds_up(answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens)
    assert answer.usage.completion_tokens <= 24

def chat_stops_at_max_tokens():
    answer = ask(model=MODEL, messages=[{"role": "user", "content": LONG}], max_completion_tokens=5)
    assert answer.choices[0].finish_reason == "length" and answer.usage.completion_tokens == 5, answer

def chat_content_as_parts():
    parts = [{"type": "text", "text": "Say "}, {"type": "text", "text": "hello."}]
    assert ask(model=MODEL, messages=[{"role": "user", "content": parts}], max_tokens=16).choices[0].message.content

def chat_stream_with_usage():
    chunks = list(ask(model=MODEL, messages=HELLO, max_tokens=24, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason] in (["stop"], ["length"])
    assert len({chunk.id for chunk in chunks}) == 1
    usage = chunks[-1].usage
    assert not chunks[-1].choices and all(chunk.usage is None for chunk in chunks[:-1])
    usage_adds_up(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)

def chat_n_choices():
    answer = ask(model=MODEL, messages=HELLO, max_tokens=12, n=3, temperature=1)
    assert [choice.index for choice in answer.choices] == [0, 1, 2], answer

def chat_seed_reproduces():
    texts = {ask(model=MODEL, messages=HELLO, max_tokens=16, temperature=1, seed=11).choices[0].message.content for _ in range(3)}
    assert len(texts) == 1, texts

def chat_logprobs():
    answer = ask(model=MODEL, messages=HELLO, max_tokens=8, logprobs=True, top_logprobs=3)
    content = answer.choices[0].logprobs.content
    assert content and all(token.logprob <= 0 and len(token.top_logprobs) == 3 for token in content), content
    # A token may hold a part of a character: bytes, not texts, add up.
    said = b"".join(bytes(token.bytes) for token in content).decode(errors="replace")
    assert said.startswith(answer.choices[0].message.content), (said, answer.choices[0].message.content)

def tools_round_trip():
    messages = [{"role": "user", "content": ASK_WEATHER}]
    # One call: a small model that may call as often as it likes goes on until its tokens are used up.
    first = ask(model=MODEL, messages=messages, tools=[WEATHER_TOOL], tool_choice="required", parallel_tool_calls=False, max_tokens=64).choices[0]
    assert first.finish_reason == "tool_calls" and len(first.message.tool_calls) == 1, first
    call = first.message.tool_calls[0]
    assert call.type == "function" and call.function.name == "get_weather" and call.id
    result = get_weather(**json.loads(call.function.arguments))
    messages += [first.message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id, "content": result}]
    second = ask(model=MODEL, messages=messages, tools=[WEATHER_TOOL], tool_choice="none", max_tokens=48).choices[0]
    assert second.message.content and not second.message.tool_calls and second.finish_reason in ("stop", "length"), second

def tools_left_to_the_model():
    choice = ask(model=MODEL, messages=[{"role": "user", "content": ASK_WEATHER}], tools=[WEATHER_TOOL], max_tokens=64).choices[0]
    assert choice.message.content or choice.message.tool_calls, choice
    assert bool(choice.message.tool_calls) == (choice.finish_reason == "tool_calls"), choice

def tools_named_and_streamed():
    other = {"type": "function", "function": {"name": "get_time", "parameters": WEATHER_PARAMETERS}}
    chunks = list(ask(model=MODEL, messages=[{"role": "user", "content": ASK_WEATHER}], tools=[other, WEATHER_TOOL], stream=True, max_tokens=64,
                        tool_choice={"type": "function", "function": {"name": "get_weather"}}))
    calls = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or []]
    assert calls[0].id and calls[0].function.name == "get_weather" and all(call.index == 0 for call in calls), calls
    get_weather(**json.loads("".join(call.function.arguments or "" for call in calls)))
    # OpenAI says `stop` when a call was named, other servers `tool_calls`: both are met in the wild.
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] in ("tool_calls", "stop")

def structured_output():
    message = client.chat.completions.parse(model=MODEL, messages=[{"role": "user", "content": ABOUT_ADA}], response_format=Person,
                                             max_tokens=128, temperature=0).choices[0].message
    assert isinstance(message.parsed, Person), message

def structured_output_streamed():
    with client.chat.completions.stream(model=MODEL, messages=[{"role": "user", "content": ABOUT_ADA}], response_format=Person,
                                         max_tokens=128, temperature=0) as stream:
        kinds = {event.type for event in stream}
        assert isinstance(stream.get_final_completion().choices[0].message.parsed, Person)
    assert {"content.delta", "content.done"} <= kinds, kinds

def json_object():
    answer = ask(model=MODEL, messages=[{"role": "user", "content": "Answer in JSON: a cat's name and age."}], max_tokens=200, temperature=0,
                   response_format={"type": "json_object"}).choices[0]
    if answer.finish_reason == "stop": assert isinstance(json.loads(answer.message.content), dict)
    else: assert answer.message.content.lstrip().startswith("{"), answer

def completions():
    answer = client.completions.create(model=MODEL, prompt="def add(a, b):", max_tokens=8, echo=True, logprobs=2, temperature=0)
    choice = answer.choices[0]
    assert choice.text.startswith("def add(a, b):") and choice.finish_reason in ("stop", "length"), choice
    assert len(choice.logprobs.tokens) == len(choice.logprobs.token_logprobs) and choice.logprobs.token_logprobs[0] is None, choice.logprobs
    streamed = client.completions.create(model=MODEL, prompt="def add(a, b):", max_tokens=8, temperature=0, stream=True)
    text = "".join(chunk.choices[0].text for chunk in streamed if chunk.choices)
    assert "def add(a, b):" + text == choice.text, (text, choice.text)

def completions_of_several_prompts():
    answer = client.completions.create(model=MODEL, prompt=["One, two,", "A, b,"], max_tokens=4)
    assert [choice.index for choice in answer.choices] == [0, 1], answer

def embeddings():
    texts = ["A cat sleeps.", "A kitten naps.", "Stocks fell on Monday."]
    found = client.embeddings.create(model=embedding_model(), input=texts)  # this client asks for base64
    plain = client.embeddings.create(model=embedding_model(), input=texts, encoding_format="float")
    a, b, c = (item.embedding for item in found.data)
    assert len(a) == len(b) > 100 and found.usage.prompt_tokens > 0 and [item.index for item in found.data] == [0, 1, 2]
    assert same_direction(a, b) > same_direction(a, c)
    assert max(abs(x - y) for x, y in zip(a, plain.data[0].embedding)) < 1e-5

def unknown_model():
    for call in (lambda: ask(model="nobody", messages=HELLO), lambda: ask(model="nobody", messages=HELLO, stream=True),
                 lambda: client.models.retrieve("nobody"), lambda: client.embeddings.create(model="nobody", input="a")):
        error = raises(NotFoundError, call)
        assert error.code == "model_not_found" and MODEL in str(error), error

def bad_parameter():
    for field, value in (("temperature", -1), ("top_p", 2), ("max_tokens", -5), ("n", 0)):
        error = raises(BadRequestError, lambda: ask(model=MODEL, messages=HELLO, **{field: value}))
        assert error.param == field and error.type == "invalid_request_error", (field, error)
    error = raises(BadRequestError, lambda: ask(model=MODEL, messages=[{"role": "nobody", "content": "a"}]))
    assert error.param and error.param.startswith("messages"), error.body

def cancel_mid_stream():
    stream = ask(model=MODEL, messages=[{"role": "user", "content": LONG}], max_tokens=2000, stream=True)
    for count, _ in enumerate(stream):
        if count == 3: break
    stream.close()
    assert ask(model=MODEL, messages=HELLO, max_tokens=4).choices[0].message.content

async def async_eight_at_once():
    async with AsyncOpenAI(base_url=BASE_URL, api_key="unused", max_retries=0, timeout=150) as client:
        answers = await asyncio.gather(*(client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=12) for _ in range(8)))
    assert all(answer.choices[0].message.content for answer in answers)

def responses():
    answer = client.responses.create(model=MODEL, input="Say hello.", instructions="You answer in a few words.", max_output_tokens=24)
    assert answer.output_text and answer.status in ("completed", "incomplete"), answer
    usage_adds_up(answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens)

def responses_stream():
    events = list(client.responses.create(model=MODEL, input="Say hello.", max_output_tokens=24, stream=True))
    assert events[0].type == "response.created" and events[-1].type in ("response.completed", "response.incomplete"), [event.type for event in events]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert said and said == events[-1].response.output_text

def responses_tools_round_trip():
    tool = {"type": "function", "name": "get_weather", "description": "The weather in a city", "parameters": WEATHER_PARAMETERS, "strict": True}
    first = client.responses.create(model=MODEL, input=ASK_WEATHER, tools=[tool], tool_choice="required", parallel_tool_calls=False,
                                    max_output_tokens=64)
    call = next(item for item in first.output if item.type == "function_call")
    result = {"type": "function_call_output", "call_id": call.call_id, "output": get_weather(**json.loads(call.arguments))}
    second = client.responses.create(model=MODEL, previous_response_id=first.id, input=[result], tools=[tool], tool_choice="none", max_output_tokens=48)
    assert second.output_text and second.previous_response_id == first.id, second
    whole = [{"role": "user", "content": ASK_WEATHER}, *(item.model_dump(exclude_none=True) for item in first.output), result]
    assert client.responses.create(model=MODEL, input=whole, tools=[tool], tool_choice="none", max_output_tokens=48, store=False).output_text

def responses_structured_output():
    assert isinstance(client.responses.parse(model=MODEL, input=ABOUT_ADA, text_format=Person, max_output_tokens=128, temperature=0).output_parsed, Person)

def responses_conversation():
    first = client.responses.create(model=MODEL, input="My name is Ada.", max_output_tokens=16)
    second = client.responses.create(model=MODEL, input="What is my name?", previous_response_id=first.id, max_output_tokens=16)
    assert second.usage.input_tokens > first.usage.input_tokens + first.usage.output_tokens, "what was said before is not in the prompt"
    assert client.responses.retrieve(first.id).output_text == first.output_text
    assert any("Ada" in str(item) for item in client.responses.input_items.list(first.id))
    client.responses.delete(first.id)
    raises(NotFoundError, lambda: client.responses.retrieve(first.id))

def responses_errors():
    raises(NotFoundError, lambda: client.responses.create(model="nobody", input="a"))
    error = raises(BadRequestError, lambda: client.responses.create(model=MODEL, input="a", temperature=-1))
    assert error.param == "temperature", error.body
    error = raises((NotFoundError, BadRequestError), lambda: client.responses.create(model=MODEL, input="a", previous_response_id="resp_nobody"))
    assert error.param == "previous_response_id", error.body

def responses_cancel_mid_stream():
    stream = client.responses.create(model=MODEL, input=LONG, max_output_tokens=2000, stream=True)
    for event in stream:
        if event.type == "response.output_text.delta": break
    stream.close()
    assert ask(model=MODEL, messages=HELLO, max_tokens=4).choices[0].message.content

def the_whole_band():
    answer = ask(model=band(), messages=HELLO, max_tokens=24)
    assert answer.choices[0].message.content and answer.model == band(), answer
    assert list(ask(model=band(), messages=HELLO, max_tokens=24, stream=True))[-1].choices[0].finish_reason
