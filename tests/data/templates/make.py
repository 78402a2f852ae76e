#!/usr/bin/env python3
"""Writes what Jinja2 makes of the templates in this folder, as `transformers` sets it up. Needs `pip install jinja2==3.1.6`.

    tests/data/templates/make.py

`conversations.json` holds the variables of each case, and `expected/NAME.json` what NAME.jinja makes of them: a text, or
an error. `semantics.json` holds small templates with what they make of `variables.json`.
"""

import copy
import datetime
import json
import pathlib

from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(__file__).parent
NOW = datetime.datetime(2025, 7, 6, 14, 5, 9)


class Generation(Extension):
    """`{% generation %}` marks what is trained on."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)

    def _same(self, caller):
        return caller()


class Raised(Exception):
    pass


def raise_exception(message):
    raise Raised(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = NOW.strftime
    return made


ENVIRONMENT = environment()


def rendered(template, variables):
    """The text; `{"raised": words}` where the template refuses; `{"error": type}` where Python does."""
    try:
        return ENVIRONMENT.from_string(template).render(**variables)
    except Raised as error:
        return {"raised": str(error)}
    except Exception as error:
        return {"error": type(error).__name__}


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read(name):
    return json.loads((HERE / name).read_text(encoding="utf-8"))


def main():
    conversations = read("conversations.json")
    for path in sorted(HERE.glob("*.jinja")):
        with open(path, encoding="utf-8", newline="") as file:
            source = file.read()
        made = {name: rendered(source, copy.deepcopy(variables)) for name, variables in conversations.items()}
        write(HERE / "expected" / f"{path.stem}.json", made)
    variables = read("variables.json")
    write(HERE / "semantics.json", [[template, rendered(template, copy.deepcopy(variables))] for template, _ in read("semantics.json")])


if __name__ == "__main__":
    main()
