"""LangChain's ChatOpenAI and OpenAIEmbeddings, and LangGraph on top of them."""
from typing import Literal

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, create_react_agent
from openai import BadRequestError, NotFoundError
from pydantic import BaseModel, Field

from checks import (ABOUT_ADA, ASK_WEATHER, BASE_URL, LONG, MODEL, embedding_model, get_weather, names, raises, same_direction, usage_adds_up)

weather = tool(get_weather, parse_docstring=True)

class Person(BaseModel):
    """A person."""
    name: str = Field(description="The first name")
    age: int
    home: Literal["London", "Paris", "Rome"]

def _model(**settings):
    return ChatOpenAI(**{"model": MODEL, "base_url": BASE_URL, "api_key": "unused", "max_retries": 0, "timeout": 150, "max_tokens": 64, **settings})

def chat():
    answer = _model(temperature=0.5).invoke([("system", "You answer in a few words."), ("user", "Say hello.")])
    assert answer.content and answer.response_metadata["finish_reason"] in ("stop", "length"), answer
    usage_adds_up(answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"], answer.usage_metadata["total_tokens"])

def stream_with_usage():
    whole = None
    for chunk in _model(stream_usage=True).stream("Say hello."): whole = chunk if whole is None else whole + chunk
    assert whole.content and whole.usage_metadata["output_tokens"] > 0, whole

def batch():
    answers = _model(max_tokens=8).batch(["Say one.", "Say two.", "Say three."])
    assert len(answers) == 3 and all(answer.content for answer in answers)

def tools_round_trip():
    first = _model().bind_tools([weather], tool_choice="any", parallel_tool_calls=False).invoke(ASK_WEATHER)
    assert first.tool_calls and first.tool_calls[0]["name"] == "get_weather" and not first.invalid_tool_calls, first
    result = weather.invoke(first.tool_calls[0])
    assert isinstance(result, ToolMessage)
    answer = _model().bind_tools([weather], tool_choice="none").invoke([HumanMessage(ASK_WEATHER), first, result])
    assert answer.content and not answer.tool_calls, answer

def tools_streamed():
    whole = None
    for chunk in _model().bind_tools([weather], tool_choice="get_weather").stream(ASK_WEATHER): whole = chunk if whole is None else whole + chunk
    assert whole.tool_calls[0]["name"] == "get_weather" and "city" in whole.tool_calls[0]["args"], whole

def structured_output_by_schema():
    assert isinstance(_model(temperature=0, max_tokens=128).with_structured_output(Person, method="json_schema").invoke(ABOUT_ADA), Person)

def structured_output_by_tool():
    assert isinstance(_model(temperature=0, max_tokens=128).with_structured_output(Person, method="function_calling").invoke(ABOUT_ADA), Person)

def responses_api():
    answer = _model(use_responses_api=True).invoke("Say hello.")
    assert answer.text and answer.usage_metadata["output_tokens"] > 0, answer

def embeddings():
    # Without the check the client sends texts; with it, token ids of OpenAI's own vocabulary.
    model = OpenAIEmbeddings(model=embedding_model(), base_url=BASE_URL, api_key="unused", check_embedding_ctx_length=False)
    a, b, c = model.embed_documents(["A cat sleeps.", "A kitten naps.", "Stocks fell on Monday."])
    assert len(a) == len(model.embed_query("A cat sleeps.")) and same_direction(a, b) > same_direction(a, c)

def unknown_model():
    raises(NotFoundError, lambda: _model(model="nobody").invoke("a"))

def bad_parameter():
    error = raises(BadRequestError, lambda: _model(temperature=-1).invoke("a"))
    assert error.param == "temperature", error.body
    names(error, "temperature")

def cancel_mid_stream():
    stream = _model(max_tokens=2000).stream(LONG)
    for count, _ in enumerate(stream):
        if count == 3: break
    stream.close()
    assert _model(max_tokens=4).invoke("Say hello.").content

async def async_stream():
    assert "".join([chunk.content async for chunk in _model().astream("Say hello.")])

def graph_calls_a_tool_and_answers():
    asks, answers = _model().bind_tools([weather], tool_choice="any", parallel_tool_calls=False), _model().bind_tools([weather], tool_choice="none")
    graph = StateGraph(MessagesState)
    graph.add_node("ask", lambda state: {"messages": [asks.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode([weather]))
    graph.add_node("answer", lambda state: {"messages": [answers.invoke(state["messages"])]})
    for begin, end in ((START, "ask"), ("ask", "tools"), ("tools", "answer"), ("answer", END)): graph.add_edge(begin, end)
    messages = graph.compile().invoke({"messages": [("user", ASK_WEATHER)]})["messages"]
    kinds = [message.type for message in messages]
    assert kinds[:2] == ["human", "ai"] and "tool" in kinds and kinds[-1] == "ai" and messages[-1].content, kinds

def graph_streams_tokens():
    graph = StateGraph(MessagesState)
    graph.add_node("answer", lambda state: {"messages": [_model().invoke(state["messages"])]})
    graph.add_edge(START, "answer"); graph.add_edge("answer", END)
    parts = [part for part, _ in graph.compile().stream({"messages": [("user", "Say hello.")]}, stream_mode="messages")]
    assert len(parts) > 1 and "".join(part.content for part in parts), parts

def agent_left_to_the_model():
    called = []
    @tool
    def look_up(city: str) -> str:
        """The weather in a city."""
        called.append(city)
        return get_weather(city)
    # The model may answer, or go on calling up to the limit.
    try: messages = create_react_agent(_model(temperature=0), [look_up]).invoke({"messages": [("user", ASK_WEATHER)]}, {"recursion_limit": 12})["messages"]
    except GraphRecursionError: messages = []
    assert called or isinstance(messages[-1], AIMessage) and messages[-1].content
