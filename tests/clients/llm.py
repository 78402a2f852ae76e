"""The `llm` tool: a model of `extra-openai-models.yaml`, on the command line and from Python. It has no setting for an embedding server."""
import json, os, subprocess, sys, tempfile
from pathlib import Path

HOME = tempfile.TemporaryDirectory()
os.environ["LLM_USER_PATH"] = HOME.name

import llm
from openai import BadRequestError, NotFoundError

from checks import ABOUT_ADA, ASK_WEATHER, BASE_URL, LONG, MODEL, get_weather, names, raises

def _entry(model_id, name, more=""):
    return f"- model_id: {model_id}\n  model_name: {name}\n  api_base: {BASE_URL}\n  supports_schema: true\n  supports_tools: true\n{more}"

Path(HOME.name, "extra-openai-models.yaml").write_text(
    _entry("here", MODEL) + _entry("nobody-here", "nobody") + _entry("here-responses", MODEL, "  responses: true\n"))
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name", "age"],
          "additionalProperties": False}

def _run(*words, text=None):
    return subprocess.run([Path(sys.executable).parent / "llm", *words], input=text, capture_output=True, text=True, timeout=150)

def command_line():
    done = _run("-m", "here", "Say hello.", "-o", "max_tokens", "24", "--usage")
    assert done.returncode == 0 and done.stdout.strip() and "output" in done.stderr, done

def command_line_reads_stdin_without_stream():
    done = _run("-m", "here", "--no-stream", "-s", "Say what this is in a few words.", "-o", "max_tokens", "24", text="print('hello')")
    assert done.returncode == 0 and done.stdout.strip(), done

def command_line_schema():
    done = _run("-m", "here", "--schema", json.dumps(SCHEMA), ABOUT_ADA, "-o", "max_tokens", "128", "-o", "temperature", "0")
    assert done.returncode == 0 and set(json.loads(done.stdout)) == {"name", "age"}, done

def command_line_conversation():
    assert _run("-m", "here", "My name is Ada.", "-o", "max_tokens", "16").returncode == 0
    done = _run("-c", "What is my name?", "-o", "max_tokens", "16")
    assert done.returncode == 0 and done.stdout.strip(), done

def command_line_unknown_model():
    done = _run("-m", "nobody-here", "a")
    assert done.returncode != 0 and "nobody" in done.stderr and MODEL in done.stderr, done

def stream_with_usage():
    response = llm.get_model("here").prompt("Say hello.", max_tokens=24)
    assert len(list(response)) > 1
    usage = response.usage()
    assert usage.input > 0 and usage.output > 0, usage

def structured_output():
    response = llm.get_model("here").prompt(ABOUT_ADA, schema=SCHEMA, stream=False, max_tokens=128, temperature=0)
    assert set(json.loads(response.text())) == {"name", "age"}

def tools_left_to_the_model():
    called = []
    def weather(city: str) -> str:
        "The weather in a city"
        called.append(city)
        return get_weather(city)
    chain = llm.get_model("here").conversation(tools=[weather]).chain(ASK_WEATHER, chain_limit=5, options={"max_tokens": 64, "temperature": 0})
    # The tool has no way to force a call or to end them: a small model may answer, or go on calling up to the limit.
    try: text = chain.text()
    except ValueError as error: text = names(error, "Chain limit") or ""
    assert text or called

def tool_result_goes_back():
    call = llm.ToolCall(name="get_weather", arguments={"city": "Paris"}, tool_call_id="call_1")
    result = llm.ToolResult(name="get_weather", output=get_weather("Paris"), tool_call_id=call.tool_call_id)
    conversation = llm.get_model("here").conversation(tools=[get_weather])
    first = conversation.prompt(ASK_WEATHER, max_tokens=32)
    first.text()
    assert isinstance(conversation.prompt("", tool_results=[result], max_tokens=32).text(), str)

def responses_api():
    assert llm.get_model("here-responses").prompt("Say hello.").text()

def unknown_model():
    raises(NotFoundError, lambda: llm.get_model("nobody-here").prompt("a").text())

def bad_parameter():
    error = raises(BadRequestError, lambda: llm.get_model("here").prompt("a", logit_bias={"0": 1.0, "-7": 1.0}).text())
    assert error.param and error.param.startswith("logit_bias"), error.body

def cancel_mid_stream():
    parts = iter(llm.get_model("here").prompt(LONG, max_tokens=2000))
    next(parts); parts.close()
    assert llm.get_model("here").prompt("Say hello.", max_tokens=4).text()
