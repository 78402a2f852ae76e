"""Pydantic AI: agents over chat completions and over responses, typed outputs, tools, embeddings."""
from typing import Literal

from pydantic import BaseModel
from pydantic_ai import Agent, Embedder, NativeOutput, ToolOutput
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.exceptions import ModelHTTPError, UnexpectedModelBehavior
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

from checks import ABOUT_ADA, ASK_WEATHER, BASE_URL, LONG, MODEL, embedding_model, get_weather, names, raises, same_direction

class Person(BaseModel):
    """A person."""
    name: str
    age: int
    home: Literal["London", "Paris", "Rome"]

def _provider():
    return OpenAIProvider(base_url=BASE_URL, api_key="unused")

def _agent(kind=OpenAIChatModel, model=MODEL, tokens=64, temperature=0.0, **settings):
    return Agent(kind(model, provider=_provider()), model_settings={"max_tokens": tokens, "temperature": temperature, "timeout": 150}, retries=0, **settings)

def chat():
    result = _agent(instructions="You answer in a few words.").run_sync("Say hello.")
    assert result.output and result.usage.input_tokens > 0 and result.usage.output_tokens > 0, result

async def stream_with_usage():
    async with _agent().run_stream("Say hello.") as result:
        parts = [part async for part in result.stream_text(delta=True, debounce_by=None)]
        assert len(parts) > 1 and result.usage.output_tokens > 0, parts

def conversation():
    first = _agent().run_sync("My name is Ada.")
    second = _agent().run_sync("What is my name?", message_history=first.all_messages())
    assert second.output and second.usage.input_tokens > first.usage.input_tokens

def structured_output_by_tool():
    # The output is a tool that must be called: `tool_choice` required.
    assert isinstance(_agent(tokens=200, output_type=ToolOutput(Person)).run_sync(ABOUT_ADA).output, Person)

def structured_output_by_schema():
    assert isinstance(_agent(tokens=200, output_type=NativeOutput(Person)).run_sync(ABOUT_ADA).output, Person)

async def structured_output_streamed():
    async with _agent(tokens=200, output_type=NativeOutput(Person)).run_stream(ABOUT_ADA) as result:
        assert isinstance(await result.get_output(), Person)

def tools_round_trip():
    called = []
    def stop_here(city: str) -> Person:
        """The weather in a city."""
        called.append(get_weather(city))
        return Person(name="Ada", age=36, home="Paris")
    # An output function is called like a tool, and must be.
    assert isinstance(_agent(output_type=stop_here).run_sync(ASK_WEATHER).output, Person) and called

def tools_left_to_the_model():
    called = []
    def weather(city: str) -> str:
        """The weather in a city."""
        called.append(city)
        return get_weather(city)
    # A small model may go on calling, or end without a word, which this client takes for an error.
    try: output = _agent(tools=[weather]).run_sync(ASK_WEATHER).output
    except UnexpectedModelBehavior: output = ""
    assert output or called

def responses_api():
    assert _agent(OpenAIResponsesModel).run_sync("Say hello.").output
    assert isinstance(_agent(OpenAIResponsesModel, tokens=200, output_type=NativeOutput(Person)).run_sync(ABOUT_ADA).output, Person)

def embeddings():
    found = Embedder(OpenAIEmbeddingModel(embedding_model(), provider=_provider())).embed_documents_sync(
        ["A cat sleeps.", "A kitten naps.", "Stocks fell on Monday."])
    a, b, c = found.embeddings
    assert same_direction(a, b) > same_direction(a, c)

def unknown_model():
    assert raises(ModelHTTPError, lambda: _agent(model="nobody").run_sync("a")).status_code == 404

def bad_parameter():
    error = raises(ModelHTTPError, lambda: _agent(temperature=-1.0).run_sync("a"))
    assert error.status_code == 400 and error.body["param"] == "temperature", error
    names(error, "temperature")

async def cancel_mid_stream():
    async with _agent(tokens=2000).run_stream(LONG) as result:
        async for _ in result.stream_text(delta=True, debounce_by=None): break
    assert (await _agent(tokens=4).run("Say hello.")).output
