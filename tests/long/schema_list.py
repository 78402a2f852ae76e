"""JSON schemas as people send them: Pydantic models, schemas in zod's manner, and drawn ones of growing difficulty."""
import random
from datetime import date, datetime, time
from enum import Enum
from typing import Annotated, Literal, Optional, Union
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, conint, conlist, constr

class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")

class Color(str, Enum):
    red, green, blue = "red", "green", "blue"

class Level(int, Enum):
    low, middle, high = 1, 2, 3

class Address(Closed):
    street: str
    number: int
    zip: constr(pattern=r"^[0-9]{5}$")

class Person(Closed):
    name: str
    age: conint(ge=0, le=150)

class Employee(Person):
    address: Address
    color: Color = Color.red
    email: Optional[str] = None

class Team(Closed):
    title: str = Field(max_length=30)
    members: conlist(Person, min_length=1, max_length=3)

class Ticket(Closed):
    """A ticket of the help desk."""
    priority: Level
    kind: Literal["bug", "wish", "question"]
    tags: list[Literal["ui", "api", "docs"]] = Field(max_length=3)
    summary: str = Field(min_length=5, max_length=60, description="One line")

class Booking(Closed):
    id: UUID
    day: date
    begins: time
    made: datetime
    mail: str = Field(json_schema_extra={"format": "email"})

class Cat(Closed):
    kind: Literal["cat"]
    lives: conint(ge=1, le=9)

class Dog(Closed):
    kind: Literal["dog"]
    tricks: list[str] = Field(max_length=2)

class Owner(Closed):
    pet: Annotated[Union[Cat, Dog], Field(discriminator="kind")]
    spare: Union[Cat, Dog, None]

class Measure(Closed):
    value: float = Field(gt=-50, lt=50)
    share: float = Field(ge=0, le=1)
    unit: Literal["C", "F"]
    steps: conint(multiple_of=5, ge=0, le=100)

class Node(Closed):
    label: constr(max_length=8)
    children: list["Node"] = Field(max_length=2)

class Expression(Closed):
    op: Literal["+", "*"]
    left: Union[int, "Expression"]
    right: Union[int, "Expression"]

class Linked(Closed):
    value: int
    next: Optional["Linked"]

class Point(Closed):
    at: tuple[int, int]
    label: Optional[constr(max_length=10)]

class Counts(Closed):
    by_name: dict[str, conint(ge=0, le=99)] = Field(max_length=4)

class Unique(Closed):
    numbers: set[conint(ge=1, le=9)] = Field(max_length=3)

class Flags(Closed):
    a: bool
    b: Optional[bool]
    c: Union[int, str, bool, None]

class Step(Closed):
    explanation: constr(max_length=80)
    output: constr(max_length=40)

class Reasoned(Closed):
    steps: conlist(Step, min_length=1, max_length=3)
    final_answer: constr(max_length=40)

class Invoice(Closed):
    number: constr(pattern=r"^INV-[0-9]{4}$")
    lines: conlist(Measure, min_length=1, max_length=2)
    currency: Literal["EUR", "USD"]
    paid: Optional[date]

class Version(Closed):
    version: constr(pattern=r"^v?\d+\.\d+\.\d+(-[a-z]+)?$")
    hex: constr(pattern=r"^#[0-9a-fA-F]{6}$")
    slug: constr(pattern=r"^[a-z][a-z0-9-]{2,20}$")

class Open(BaseModel):
    name: str
    note: str = ""

class Sentiment(Closed):
    label: Literal["positive", "negative", "neutral"]
    confidence: Annotated[float, Field(ge=0, le=1)]

class Search(Closed):
    queries: conlist(constr(min_length=1, max_length=40), min_length=1, max_length=3)
    site: Optional[constr(max_length=20)] = None

class Company(Closed):
    lead: Employee
    teams: conlist(Team, min_length=1, max_length=2)
    palette: dict[Literal["main", "back"], Color]

class Menu(Closed):
    text: constr(max_length=12)
    items: Optional[list["Menu"]] = Field(default=None, max_length=2)
    shortcut: Optional[constr(pattern=r"^Ctrl\+[A-Z]$")] = None

PYDANTIC = [Address, Person, Employee, Team, Ticket, Booking, Owner, Measure, Node, Expression, Linked, Point, Counts, Unique, Flags, Reasoned,
            Invoice, Version, Open, Sentiment, Search, Company, Menu]

def closed(required=None, **properties):
    """An object in zod's manner: every property required unless said otherwise, nothing else allowed."""
    return {"type": "object", "properties": properties, "required": list(properties) if required is None else required, "additionalProperties": False}

STRING, NUMBER, INTEGER, TRUTH, NULL = ({"type": name} for name in ("string", "number", "integer", "boolean", "null"))

def optional(schema): return {"anyOf": [schema, NULL]}

ZOD = {
    "zod plain": {"$schema": "http://json-schema.org/draft-07/schema#", **closed(name=STRING, ok=TRUTH)},
    "zod optional": closed(["id"], id=INTEGER, nick=STRING, age=NUMBER),
    "zod nullable type list": closed(name={"type": ["string", "null"]}, age={"type": ["integer", "null"]}),
    "zod enum and const": closed(type={"type": "string", "const": "move"}, to={"type": "string", "enum": ["north", "south", "east", "west"]}),
    "zod numbers": closed(positive={"type": "integer", "exclusiveMinimum": 0, "maximum": 1000}, part={"type": "number", "minimum": 0, "maximum": 1}),
    "zod strings": closed(short={"type": "string", "minLength": 1, "maxLength": 12}, code={"type": "string", "pattern": "^[A-Z]{3}[0-9]{2,4}$"}),
    "zod formats": closed(mail={"type": "string", "format": "email"}, day={"type": "string", "format": "date"}, id={"type": "string", "format": "uuid"}),
    "zod date-time": closed(at={"type": "string", "format": "date-time"}, ip={"type": "string", "format": "ipv4"}),
    "zod uri": closed(link={"type": "string", "format": "uri"}),
    "zod array of objects": closed(rows={"type": "array", "items": closed(k={"type": "string", "maxLength": 6}, v=INTEGER), "minItems": 1, "maxItems": 3}),
    "zod tuple": closed(pair={"type": "array", "prefixItems": [INTEGER, {"type": "string", "maxLength": 5}], "items": False, "minItems": 2}),
    "zod union": closed(value={"anyOf": [INTEGER, {"type": "string", "maxLength": 10}, TRUTH, NULL]}),
    "zod discriminated": closed(shape={"anyOf": [closed(kind={"type": "string", "const": "circle"}, r={"type": "number", "minimum": 0, "maximum": 9}),
                                                 closed(kind={"type": "string", "const": "box"}, w=INTEGER, h=INTEGER)]}),
    "zod reference": {**closed(a={"$ref": "#/definitions/P"}, b={"$ref": "#/definitions/P"}), "definitions": {"P": closed(x=INTEGER, y=INTEGER)}},
    "zod recursive root": closed(name={"type": "string", "maxLength": 8}, children={"type": "array", "items": {"$ref": "#"}, "maxItems": 2}),
    "zod recursive": {"$ref": "#/$defs/List", "$defs": {"List": closed(head=INTEGER, tail=optional({"$ref": "#/$defs/List"}))}},
    "zod record": {"type": "object", "additionalProperties": INTEGER, "maxProperties": 3},
    "zod intersection": {"allOf": [{"type": "object", "properties": {"a": INTEGER}, "required": ["a"]},
                                   {"type": "object", "properties": {"b": TRUTH}, "required": ["b"]}]},
    "one of": closed(id={"oneOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^id_[a-z]{4}$"}]}),
    "array at the root": {"type": "array", "items": {"type": "string", "enum": ["a", "b", "c"]}, "minItems": 1, "maxItems": 4},
    "string at the root": {"type": "string", "enum": ["yes", "no"]},
    "number at the root": {"type": "integer", "minimum": -5, "maximum": 5},
    "enum of all kinds": closed(v={"enum": [1, "one", None, True, [1], {"a": 1}]}),
    "deep": closed(a=closed(b=closed(c=closed(d=closed(e=closed(f=TRUTH)))))),
    "wide": closed(**{f"field_{i}": {"type": "integer", "minimum": 0, "maximum": 9} for i in range(40)}),
    "keys to escape": closed(**{'qu"ote': INTEGER, "back\\slash": INTEGER, "new\nline": INTEGER, "größe": INTEGER, "": INTEGER, "日本": INTEGER}),
    "titles and examples": {"title": "T", "description": "D", **closed(a={"title": "A", "type": "integer", "default": 3, "examples": [1, 2]})},
    "references to siblings": {**closed(a={"$ref": "#/$defs/A"}), "$defs": {"A": closed(b={"$ref": "#/$defs/B"}), "B": {"type": "string", "enum": ["x"]}}},
}

def text(r, level):
    kind = r.randrange(5 if level > 2 else 3)
    if kind == 0: return {"type": "string", "enum": r.sample(["red", "green", "blue", "north", "south", "open", "closed", "draft"], r.randint(1, 4))}
    if kind == 1: return {"type": "string", "maxLength": r.randint(4, 40)}
    if kind == 2: return {"type": "string", **({"description": "A few words"} if level < 3 else {"minLength": r.randint(1, 5), "maxLength": r.randint(8, 30)})}
    if kind == 3: return {"type": "string", "pattern": r.choice(["^[a-z]{3,8}$", "^[A-Z][a-z]+ [A-Z][a-z]{1,9}$", r"^\d{3}-\d{4}$", "^(alpha|beta)[0-9]?$",
                                                                 "^[a-z0-9_.]{2,10}@[a-z]{2,8}\\.(com|org)$", "^#([0-9a-f]{3}|[0-9a-f]{6})$", "^\\S{1,12}$"])}
    return {"type": "string", "format": r.choice(["date", "date-time", "time", "email", "uuid", "ipv4", "hostname"])}

def number(r, level):
    whole = r.random() < 0.6
    schema = {"type": "integer" if whole else "number"}
    low = r.choice([-1000, -10, 0, 1, 17])
    if level > 1 and r.random() < 0.8:
        schema |= {r.choice(["minimum", "exclusiveMinimum"]): low, r.choice(["maximum", "exclusiveMaximum"]): low + r.randint(3, 5000)}
    if whole and level > 6 and r.random() < 0.2: schema["multipleOf"] = r.choice([2, 3, 10])
    return schema

def value(r, level, depth):
    """A schema no deeper than `depth`. From level 5 on `$defs` has A and B."""
    choices = [text, text, number] + [lambda *_: {"type": "boolean"}]
    if depth > 0: choices += [record, listing] * (1 + level // 4)
    if level > 3 and depth > 0: choices += [union, lambda r, level, depth: {"anyOf": [value(r, level, depth - 1), {"type": "null"}]}]
    if level > 4: choices += [lambda *_: {"$ref": r.choice(["#/$defs/A", "#/$defs/B"])}]
    pick = r.choice(choices)
    return pick(r, level) if pick in (text, number) else pick(r, level, depth)

def union(r, level, depth):
    return {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 99}, {"type": "boolean"}, value(r, level, depth - 1)][:r.randint(2, 3)]}

def listing(r, level, depth):
    low = r.randint(0, 2)
    return {"type": "array", "items": value(r, level, depth - 1), "minItems": low, "maxItems": low + r.randint(1, 2)}

def record(r, level, depth):
    names = r.sample("name size status count owner created items note score parent is_open kind".split(), r.randint(1, min(2 + level // 2, 5)))
    schema = closed(**{name: value(r, level, depth - 1) for name in names})
    if level > 2 and r.random() < 0.4: schema["required"] = [name for name in names if r.random() < 0.7]
    return schema

def drawn(count, seed):
    """Schemas of level 1 to 10, as many of each."""
    for index in range(count):
        level, r = 1 + index * 10 // count, random.Random(f"{seed}/{index}")
        schema = record(r, level, 1 + level // 3)
        if level > 4:
            schema["$defs"] = {"B": text(r, level), "A": closed(b={"$ref": "#/$defs/B"}, n=number(r, level))}
        if level > 7 and index % 4 == 0:
            # Not in all of them: the model, not the schema, decides where a tree ends.
            schema["properties"]["tree"] = {"$ref": "#/$defs/Tree"}
            schema["required"].append("tree")
            schema["$defs"]["Tree"] = closed(v={"type": "integer", "minimum": 0, "maximum": 9},
                                             kids={"type": "array", "items": {"$ref": "#/$defs/Tree"}, "maxItems": 2})
        yield f"drawn {index} (level {level})", schema

def everything(count, seed):
    """`count` named schemas: all handwritten ones, the rest drawn."""
    written = [(f"pydantic {model.__name__}", model.model_json_schema()) for model in PYDANTIC] + list(ZOD.items())
    return written + list(drawn(count - len(written), seed))
