"""JSON schemas that are small to send and dear to enforce, drawn from kinds with a seed."""
import random

def pattern(draw):
    """A regular expression of a kind whose automaton is large, or whose text is short and whose counts are high."""
    n = lambda a, b: draw.randint(a, b)
    return draw.choice([
        lambda: "^" + "(" * 4 + "".join(f"{letter}{{1,{n(20, 1000)}}})" for letter in "abcd") + f"{{1,{n(2, 100)}}}$",
        lambda: f"(.*a.{{{n(8, 60)}}}){{{n(1, 5)}}}(.*b.{{{n(8, 60)}}}){{{n(1, 4)}}}",
        lambda: f"^(a|b)*a(a|b){{{n(8, 400)}}}$",
        lambda: f"^.{{{n(100, 5000)},{n(5001, 100000)}}}$",
        lambda: f"(x+x+)+y{{{n(1, 3000)}}}",
        lambda: f"^(\\w{{1,{n(10, 200)}}}\\.){{1,{n(10, 200)}}}\\w{{2,{n(10, 200)}}}$",
        lambda: "|".join(f"{draw.choice('abc')}.{{{n(5, 40)}}}{draw.choice('xyz')}" for _ in range(n(3, 30))),
        lambda: f"^(?:\\p{{L}}|\\p{{N}}){{{n(1, 20)},{n(100, 5000)}}}$",
        lambda: f"^(([a-z]{{1,{n(5, 60)}}}-){{0,{n(5, 60)}}}[a-z]+,){{0,{n(5, 60)}}}$",
        lambda: "^" + "".join(f"(?:{c}|.{{{n(2, 30)}}})?" for c in "abcdefghij") + "$",
    ])()

def count(draw): return draw.choice([draw.randint(1000, 10 ** 5), 10 ** draw.randint(5, 9), 2 ** 31, 2 ** 32 + 1, 2 ** 53])

def tree(draw, depth, branches, leaf):
    if depth == 0: return leaf
    inner = tree(draw, depth - 1, branches, leaf)
    return {draw.choice(["anyOf", "allOf", "oneOf"]): [{"type": "object", "properties": {f"{chr(97 + at)}{depth}": inner}} for at in range(branches)]}

def words(draw, many): return sorted({"".join(draw.choice("abcdefghij") for _ in range(draw.randint(1, 40))) for _ in range(many)})

KINDS = {
    "multiple": lambda d: {"type": d.choice(["integer", "number"]), "multipleOf": d.choice([99999989, d.randint(1000, 2 ** 32 - 1), d.randint(10 ** 3, 10 ** 9) / 10 ** d.randint(1, 8)])},
    "multiple and bounds": lambda d: {"type": "integer", "multipleOf": d.randint(100, 10 ** 8), "minimum": d.randint(-10 ** 15, 0), "maximum": d.randint(1, 10 ** 18)},
    "multiples": lambda d: {"type": "integer", "allOf": [{"multipleOf": d.randint(90, 70000)} for _ in range(d.randint(2, 6))]},
    "multiple in many": lambda d: {"type": "object", "properties": {f"k{at}": {"type": "integer", "multipleOf": d.randint(500, 99999)} for at in range(d.randint(5, 60))}},
    "long text": lambda d: {"type": "string", "minLength": count(d), "maxLength": count(d) + 2 ** 53},
    "most text": lambda d: {"type": "string", "maxLength": count(d)},
    "long text with a pattern": lambda d: {"type": "string", "minLength": d.randint(10, 10 ** 5), "maxLength": d.randint(10 ** 5, 10 ** 6), "pattern": pattern(d)},
    "many items": lambda d: {"type": "array", "items": {"type": d.choice(["string", "integer", "object"])}, "minItems": count(d)},
    "most items": lambda d: {"type": "array", "items": {"type": "array", "items": {"type": "string", "maxLength": count(d)}, "maxItems": count(d)}, "maxItems": count(d)},
    "nested counts": lambda d: nested(d, d.randint(3, 12)),
    "pattern": lambda d: {"type": "string", "pattern": pattern(d)},
    "patterns": lambda d: {"type": "object", "properties": {f"k{at}": {"type": "string", "pattern": pattern(d)} for at in range(d.randint(2, 12))}},
    "patterns at once": lambda d: {"type": "string", "allOf": [{"pattern": pattern(d)} for _ in range(d.randint(2, 9))]},
    "names by pattern": lambda d: {"type": "object", "patternProperties": {pattern(d): {"type": "string"} for _ in range(d.randint(1, 8))}, "additionalProperties": d.choice([False, {"type": "integer"}])},
    "names that fit": lambda d: {"type": "object", "propertyNames": {"pattern": pattern(d)}, "minProperties": d.choice([0, count(d)])},
    "words": lambda d: {"enum": words(d, d.randint(1000, 15000))},
    "words by a pattern": lambda d: {"enum": words(d, d.randint(100, 3000)), "type": "string", "pattern": pattern(d)},
    "many optional": lambda d: {"type": "object", "properties": {f"k{at}": {"type": "string"} for at in range(d.randint(300, 3000))}, "additionalProperties": d.choice([False, {"type": "integer"}])},
    "many required": lambda d: {"type": "object", "properties": {f"k{at}": {"type": "integer"} for at in range(d.randint(300, 3000))}, "required": [f"k{at}" for at in range(300)]},
    "references": lambda d: bomb(d, d.randint(8, 60)),
    "circle of references": lambda d: {"$defs": {f"d{at}": {"allOf": [{"$ref": f"#/$defs/d{(at + 1) % 5}"}, {"$ref": f"#/$defs/d{(at + 2) % 5}"}]} for at in range(5)}, "$ref": "#/$defs/d0"},
    "product": lambda d: {"allOf": [{"anyOf": [{"type": "object", "properties": {f"k{a}{b}": {"type": "string"}}, "required": [f"k{a}{b}"]} for b in range(d.randint(2, 8))]} for a in range(d.randint(4, 14))]},
    "product of words": lambda d: {"allOf": [{"anyOf": [{"enum": words(d, 20)} for _ in range(d.randint(2, 8))]} for _ in range(d.randint(3, 10))]},
    "trees": lambda d: tree(d, d.randint(2, 6), d.randint(2, 5), {"type": "string"}),
    "one of many": lambda d: {"oneOf": [{"type": "object", "properties": {"kind": {"const": f"k{at}"}, "v": {"type": "string", "maxLength": count(d)}}, "required": ["kind"]} for at in range(d.randint(50, 400))]},
    "wide range": lambda d: {"type": d.choice(["integer", "number"]), "minimum": -d.randint(1, 10 ** d.randint(1, 30)), "maximum": d.randint(1, 10 ** d.randint(1, 30)) + d.random()},
    "many ranges": lambda d: {"type": "array", "prefixItems": [{"type": "number", "minimum": d.random() * 1e9, "maximum": 1e9 + d.random() * 1e15} for _ in range(d.randint(20, 400))], "minItems": 20},
    "long names": lambda d: {"type": "object", "properties": {"k" * d.randint(1000, 50000) + str(at): {"type": "integer"} for at in range(4)}},
    "formats at once": lambda d: {"type": "string", "allOf": [{"format": f} for f in d.sample(["email", "uri", "hostname", "ipv4", "ipv6", "uuid", "date-time", "duration"], d.randint(2, 6))], "maxLength": d.randint(5, 2000)},
    "format of a length": lambda d: {"type": "string", "format": d.choice(["email", "uri", "hostname", "date-time", "duration"]), "minLength": d.randint(1, 300), "maxLength": d.randint(301, 100000), "pattern": pattern(d)},
    "deep": lambda d: deep(d, d.randint(20, 62)),
    "numbers": lambda d: {"enum": [d.choice([d.randint(-10 ** 15, 10 ** 15), d.random() * 10 ** d.randint(-5, 14)]) for _ in range(d.randint(500, 8000))]},
    "patterns for listed names": lambda d: {"type": "object", "properties": {f"{d.choice('abcx')}{at}": {"type": "string", "pattern": pattern(d)} for at in range(d.randint(20, 200))},
                                            "patternProperties": {f"^{c}[0-9]{{1,{d.randint(2, 300)}}}$": {"type": "string", "maxLength": d.randint(10, 10 ** 6)} for c in "abc"}, "additionalProperties": d.choice([False, {"type": "integer"}])},
    "listed names of a map": lambda d: {"type": "object", "propertyNames": {"enum": words(d, d.randint(100, 3000))}, "additionalProperties": {"type": "string", "pattern": pattern(d)}},
    "constants": lambda d: {"anyOf": [{"const": {"a": [at, {"b": "x" * d.randint(1, 200)}], f"c{at}": None}} for at in range(d.randint(100, 1500))]},
    "siblings of a circle": lambda d: {"$defs": {"t": {"type": "object", "properties": {f"k{at}": {"$ref": "#/$defs/t", "type": ["object", "null"]} for at in range(d.randint(2, 9))}}}, "$ref": "#/$defs/t", "allOf": [{"$ref": "#/$defs/t"} for _ in range(d.randint(1, 6))]},
    "trees that meet": lambda d: {"allOf": [{"$ref": f"#/$defs/t{at}"} for at in range(d.randint(2, 6))], "$defs": {f"t{at}": {"anyOf": [{"type": "object", "properties": {"l": {"$ref": f"#/$defs/t{at}"}, "r": {"$ref": f"#/$defs/t{at}"}}}, {"type": "string", "pattern": pattern(d)}]} for at in range(6)}},
    "types and counts": lambda d: {"type": ["array", "object", "string"], "minItems": d.randint(1, 60000), "minLength": d.randint(1, 60000), "minProperties": d.randint(0, 1), "items": {"enum": words(d, d.randint(10, 500))}, "pattern": pattern(d)},
    "alternatives in text": lambda d: {"type": "string", "pattern": "^(" + "|".join(words(d, d.randint(500, 5000))) + f"){{1,{d.randint(1, 50)}}}$"},
    "classes": lambda d: {"type": "string", "pattern": "^" + "".join(f"[{chr(d.randint(97, 109))}-{chr(d.randint(110, 122))}{chr(d.randint(0x100, 0x3000))}-{chr(d.randint(0x3001, 0xD000))}]{{{d.randint(0, 5)},{d.randint(6, 300)}}}" for _ in range(d.randint(3, 40))) + "$"},
    "many names closed": lambda d: {"type": "object", "required": [f"k{at}" for at in range(d.randint(500, 4000))], "additionalProperties": {"type": "string", "pattern": pattern(d)}},
}

def nested(draw, depth):
    schema = {"type": "string", "maxLength": draw.randint(10, 10 ** 5)}
    for _ in range(depth): schema = {"type": "array", "items": schema, "minItems": draw.randint(2, 500), "maxItems": draw.randint(500, 10 ** 5)}
    return schema

def bomb(draw, depth):
    part = lambda at: {"$ref": f"#/$defs/d{at + 1}"}
    body = draw.choice([
        lambda at: {"type": "object", "properties": {"a": part(at), "b": part(at)}, "required": ["a", "b"]},
        lambda at: {"allOf": [part(at), part(at)]},
        lambda at: {"anyOf": [part(at), {"type": "array", "items": part(at)}]},
        lambda at: {"type": "object", "properties": {"a": {"allOf": [part(at), part(at)]}, "b": {"anyOf": [part(at), part(at)]}}},
    ])
    return {"$defs": {**{f"d{at}": body(at) for at in range(depth)}, f"d{depth}": {"type": "string", "pattern": pattern(draw)}}, "$ref": "#/$defs/d0"}

def deep(draw, depth):
    schema = {"type": "string", "pattern": pattern(draw)}
    for at in range(depth // 2): schema = {"type": "object", "properties": {"a": schema}, "minProperties": 1} if at % 2 else {"type": "array", "items": schema, "minItems": 50}
    return schema

def dear(many, seed):
    """So many schemas with the names of their kinds, by turns."""
    names = list(KINDS)
    out = []
    for at in range(many):
        draw = random.Random(seed * 1_000_003 + at)
        name = names[at % len(names)]
        out.append((f"{name} {at}", KINDS[name](draw)))
    return out

if __name__ == "__main__":
    import json, sys
    for _, schema in dear(int(sys.argv[1]), int(sys.argv[2])): print(json.dumps(schema))
