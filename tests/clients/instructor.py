"""Instructor: a Pydantic model comes back, by a tool call, by a JSON schema or by JSON mode; whole, in parts, as a list."""
from typing import Literal

import instructor
from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI
from pydantic import BaseModel, Field

from checks import ABOUT_ADA, BASE_URL, MODEL, raises

PLAIN = {"base_url": BASE_URL, "api_key": "unused", "max_retries": 0, "timeout": 150}
ABOUT_TWO = "Ada is 36 years old and lives in London. Bob is 40 years old and lives in Rome. Return both persons."

class Person(BaseModel):
    """A person."""
    name: str = Field(description="The first name")
    age: int = Field(ge=0, le=130)
    home: Literal["London", "Paris", "Rome"]

def _ask(mode, text=ABOUT_ADA, method="create", **settings):
    client = instructor.from_openai(OpenAI(**PLAIN), mode=mode)
    return getattr(client, method)(**{"model": MODEL, "messages": [{"role": "user", "content": text}], "response_model": Person, "temperature": 0,
                                      "max_tokens": 200, "max_retries": 1, **settings})

def _cause(error, kind):
    """The client's own error behind the one for retries."""
    while error is not None and not isinstance(error, kind): error = error.__cause__ or error.__context__
    assert error is not None, f"no {kind.__name__} behind it"
    return error

def structured_output_by_tool():
    assert isinstance(_ask(instructor.Mode.TOOLS), Person)

def structured_output_by_strict_tool():
    assert isinstance(_ask(instructor.Mode.TOOLS_STRICT), Person)

def structured_output_by_schema():
    assert isinstance(_ask(instructor.Mode.JSON_SCHEMA), Person)

def structured_output_by_json_mode():
    # JSON mode promises JSON, not the schema, so that the model may need to be told what was wrong.
    assert isinstance(_ask(instructor.Mode.JSON, max_retries=4), Person)

def structured_output_with_usage():
    person, answer = _ask(instructor.Mode.TOOLS, method="create_with_completion")
    assert isinstance(person, Person) and answer.usage.completion_tokens > 0

def streamed_in_parts():
    parts = list(_ask(instructor.Mode.TOOLS, method="create_partial"))
    assert len(parts) > 1 and parts[-1].name and parts[-1].home in ("London", "Paris", "Rome"), parts

def streamed_as_a_list():
    persons = []
    for person in _ask(instructor.Mode.TOOLS, text=ABOUT_TWO, method="create_iterable"):
        persons.append(person)
        if len(persons) == 2: break  # leaves in the middle of the stream
    assert persons and all(isinstance(person, Person) for person in persons), persons
    assert isinstance(_ask(instructor.Mode.TOOLS), Person)

def responses_api():
    client = instructor.from_openai(OpenAI(**PLAIN), mode=instructor.Mode.RESPONSES_TOOLS)
    person = client.responses.create(model=MODEL, input=ABOUT_ADA, response_model=Person, max_output_tokens=200, max_retries=1)
    assert isinstance(person, Person), person

async def async_structured_output():
    client = instructor.from_openai(AsyncOpenAI(**PLAIN), mode=instructor.Mode.TOOLS)
    person = await client.create(model=MODEL, messages=[{"role": "user", "content": ABOUT_ADA}], response_model=Person, max_tokens=200, max_retries=1)
    assert isinstance(person, Person)

def plain_text():
    assert _ask(instructor.Mode.TOOLS, text="Say hello.", response_model=None, max_tokens=16).choices[0].message.content

def unknown_model():
    _cause(raises(Exception, lambda: _ask(instructor.Mode.TOOLS, model="nobody")), NotFoundError)

def bad_parameter():
    error = _cause(raises(Exception, lambda: _ask(instructor.Mode.TOOLS, temperature=-1)), BadRequestError)
    assert error.param == "temperature", error.body
