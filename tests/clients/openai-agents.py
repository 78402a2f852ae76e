"""OpenAI's Agents SDK, over chat completions and over responses: tools, handoffs, typed outputs, streams."""
from typing import Literal

from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI, BadRequestError, NotFoundError
from pydantic import BaseModel

from checks import ABOUT_ADA, ASK_WEATHER, BASE_URL, LONG, MODEL, get_weather, usage_adds_up

set_tracing_disabled(True)
weather = function_tool(get_weather)
KINDS = (OpenAIChatCompletionsModel, OpenAIResponsesModel)

class Person(BaseModel):
    name: str
    age: int
    home: Literal["London", "Paris", "Rome"]

def _agent(kind, model=MODEL, settings=(), **fields):
    # Room enough: over responses the SDK takes an answer that was cut for an error.
    client = AsyncOpenAI(base_url=BASE_URL, api_key="unused", max_retries=0, timeout=150)
    return Agent(name="clerk", model=kind(model=model, openai_client=client), instructions="You answer in a few words.",
                 model_settings=ModelSettings(**{"max_tokens": 400, "temperature": 0, "include_usage": True, **dict(settings)}), **fields)

async def _run_refused(kind, error, **fields):
    try: result = await Runner.run(_agent(kind, **fields), "Say hello.")
    except error as refused: return refused
    raise AssertionError(f"no {error.__name__}, but {result.final_output!r}")

async def _chat(kind):
    result = await Runner.run(_agent(kind), "Say hello.")
    assert result.final_output
    usage = result.context_wrapper.usage
    usage_adds_up(usage.input_tokens, usage.output_tokens, usage.total_tokens)

async def _stream(kind):
    result = Runner.run_streamed(_agent(kind), "Say hello.")
    deltas = [event.data.delta async for event in result.stream_events()
              if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"]
    assert len(deltas) > 1 and "".join(deltas) == result.final_output, (deltas, result.final_output)
    assert result.context_wrapper.usage.output_tokens > 0

async def _tools(kind):
    # The first turn must call the tool; after that the choice is the model's again.
    result = await Runner.run(_agent(kind, settings={"tool_choice": "required", "parallel_tool_calls": False}, tools=[weather]), ASK_WEATHER, max_turns=6)
    kinds = [item.type for item in result.new_items]
    assert "tool_call_item" in kinds and "tool_call_output_item" in kinds and result.final_output, kinds
    assert any("18 degrees" in str(item.output) for item in result.new_items if item.type == "tool_call_output_item")

async def _structured(kind):
    result = await Runner.run(_agent(kind, output_type=Person), ABOUT_ADA)
    assert isinstance(result.final_output, Person), result.final_output

async def _handoff(kind):
    # A handoff is a tool that must be called; the other agent answers.
    other = Agent(name="cook", model=_agent(kind).model, model_settings=ModelSettings(max_tokens=400, temperature=0), instructions="You say hello.")
    result = await Runner.run(_agent(kind, settings={"tool_choice": "required", "parallel_tool_calls": False}, handoffs=[other]), "Hand this over to the cook.", max_turns=6)
    assert result.last_agent.name == "cook" and result.final_output, result.new_items

async def _leave(kind):
    result = Runner.run_streamed(_agent(kind, settings={"max_tokens": 2000}), LONG)
    async for event in result.stream_events():
        if event.type == "raw_response_event": break
    result.cancel()
    assert (await Runner.run(_agent(kind), "Say hello.")).final_output

async def chat(): await _chat(KINDS[0])
async def chat_stream(): await _stream(KINDS[0])
async def chat_tools_round_trip(): await _tools(KINDS[0])
async def chat_structured_output(): await _structured(KINDS[0])
async def chat_handoff(): await _handoff(KINDS[0])
async def chat_cancel_mid_stream(): await _leave(KINDS[0])
async def chat_unknown_model(): await _run_refused(KINDS[0], NotFoundError, model="nobody")
async def chat_bad_parameter():
    error = await _run_refused(KINDS[0], BadRequestError, settings={"temperature": -1})
    assert error.param == "temperature", error.body

async def responses(): await _chat(KINDS[1])
async def responses_stream(): await _stream(KINDS[1])
async def responses_tools_round_trip(): await _tools(KINDS[1])
async def responses_structured_output(): await _structured(KINDS[1])
async def responses_handoff(): await _handoff(KINDS[1])
async def responses_cancel_mid_stream(): await _leave(KINDS[1])
async def responses_unknown_model(): await _run_refused(KINDS[1], NotFoundError, model="nobody")
async def responses_bad_parameter():
    error = await _run_refused(KINDS[1], BadRequestError, settings={"temperature": -1})
    assert error.param == "temperature", error.body

async def responses_conversation():
    first = await Runner.run(_agent(KINDS[1]), "My name is Ada.")
    second = await Runner.run(_agent(KINDS[1]), "What is my name?", previous_response_id=first.last_response_id)
    assert second.context_wrapper.usage.input_tokens > first.context_wrapper.usage.input_tokens
