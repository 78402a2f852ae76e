"""Runs a client's checks: each function of the file, in its order, prints a line. Exit status 1 when one fails.

usage: checks.py FILE    with BASE_URL, MODEL, EMBEDDING_MODEL (empty: none), BAND (empty: none) in the environment

The client files import from here what they share; what a client is and how it asks is known only there. Checks look at shapes, not at
wisdom: the models are small, so a tool call is forced by `tool_choice` where a model's mood would decide.
"""
import asyncio, importlib.util, inspect, os, signal, sys, time, traceback

BASE_URL, MODEL, EMBEDDING_MODEL, BAND = (os.environ.get(name, "") for name in ("BASE_URL", "MODEL", "EMBEDDING_MODEL", "BAND"))
CHECK_SECONDS = 180
# A question whose answer is long enough to be left in the middle.
LONG = "Write a long story about a lighthouse keeper and her cat."
ABOUT_ADA = "Ada is 36 years old and lives in London. Return this person."
WEATHER_PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
WEATHER_TOOL = {"type": "function", "function": {"name": "get_weather", "description": "The weather in a city", "strict": True,
                                                 "parameters": WEATHER_PARAMETERS}}
ASK_WEATHER = "What is the weather in Paris? Use the tool."

class Skip(Exception):
    """This check does not apply; the reason is shown."""

def get_weather(city: str) -> str:
    """The weather in a city.

    Args:
        city: The city's name.
    """
    assert isinstance(city, str), f"city is {city!r}"
    return "18 degrees and sunny"

def raises(kind, call):
    """The error that `call` must raise."""
    try: found = call()
    except kind as error: return error
    raise AssertionError(f"no {getattr(kind, '__name__', kind)}, but {str(found)[:300]}")

def names(error, field):
    """The error's text names the field: for clients that keep OpenAI's message but not its `param`."""
    assert field in str(error), f"{field} is not named in: {str(error)[:300]}"

def embedding_model():
    if not EMBEDDING_MODEL: raise Skip("no embedding model")
    return EMBEDDING_MODEL

def band():
    if not BAND: raise Skip("no band")
    return BAND

def same_direction(a, b):
    """The cosine of two vectors."""
    return sum(x * y for x, y in zip(a, b)) / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5

def usage_adds_up(prompt, completion, total):
    assert prompt > 0 and completion > 0 and total == prompt + completion, f"usage {prompt} + {completion} = {total}"

def too_long(*_):
    raise TimeoutError(f"not done within {CHECK_SECONDS} s")

def run_one(name, check):
    begun = time.monotonic()
    signal.alarm(CHECK_SECONDS)
    try:
        result = check()
        if inspect.iscoroutine(result): asyncio.run(result)
        word, why = "ok", ""
    except Skip as reason: word, why = "skipped", f": {reason}"
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == sys.argv[1]]
        place = f"line {' > '.join(str(frame.lineno) for frame in frames)}, {frames[-1].line}" if frames else "?"
        word, why = "FAILED", f" ({place}): {type(error).__name__}: {' '.join(str(error).split())[:900]}"
    finally: signal.alarm(0)
    print(f"{word} {name}{why} ({time.monotonic() - begun:.1f} s)", flush=True)
    return word != "FAILED"

def main():
    sys.modules["checks"] = sys.modules["__main__"]  # the folder is not on the path: its files are named like the packages
    spec = importlib.util.spec_from_file_location("client_checks", sys.argv[1])
    client = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(client)
    signal.signal(signal.SIGALRM, too_long)
    found = [(name, check) for name, check in vars(client).items()
             if inspect.isfunction(check) and check.__module__ == "client_checks" and not name.startswith("_")]
    passed = [run_one(name.replace("_", " "), check) for name, check in found]
    return 0 if passed and all(passed) else 1

if __name__ == "__main__": sys.exit(main())
