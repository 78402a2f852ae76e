"""Inspect, of the UK's AI Security Institute: a task, one with a tool, and one with an answer under a schema."""
import tempfile

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig, ResponseSchema
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, use_tools
from inspect_ai.tool import tool
from inspect_ai.util import json_schema
from pydantic import BaseModel

from checks import ABOUT_ADA, ASK_WEATHER, BASE_URL, MODEL, get_weather

class Person(BaseModel):
    name: str
    age: int

@tool(name="get_weather")
def _weather():
    async def execute(city: str):
        """The weather in a city.

        Args:
            city: The city's name.
        """
        return get_weather(city)
    return execute

def _eval(task, **config):
    with tempfile.TemporaryDirectory() as logs:
        log, = eval(task, model=f"openai-api/here/{MODEL}", model_base_url=BASE_URL, model_args={"api_key": "unused"}, log_dir=logs, display="none",
                    max_retries=0, **{"max_tokens": 48, "temperature": 0, **config})
        assert log.status == "success", log.error
        # They are read from the folder when they are asked for.
        return log, [sample.output.completion for sample in log.samples]

def score():
    log, _ = _eval(Task(dataset=[Sample(input="Say hello.", target="hello"), Sample(input="Say Paris.", target="Paris")], solver=[generate()], scorer=includes()))
    assert log.results.completed_samples == 2 and 0 <= log.results.scores[0].metrics["accuracy"].value <= 1, log.results
    assert all(usage.input_tokens > 0 and usage.output_tokens > 0 for usage in log.stats.model_usage.values()), log.stats

def tools():
    log, _ = _eval(Task(dataset=[Sample(input=ASK_WEATHER, target="18")], solver=[use_tools(_weather()), generate()], scorer=includes(), message_limit=6))
    assert log.results.total_samples == 1, log.results

def structured_output():
    schema = ResponseSchema(name="person", json_schema=json_schema(Person), strict=True)
    _, answers = _eval(Task(dataset=[Sample(input=ABOUT_ADA, target="36")], solver=[generate()], scorer=includes(), config=GenerateConfig(response_schema=schema)),
                max_tokens=128)
    Person.model_validate_json(answers[0])
