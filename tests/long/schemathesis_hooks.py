"""For schemathesis.sh: makes drawn bodies cheap and, where they are meant to be good, answerable; counts the answers.

A body that names a model names one that is there, and asks for few tokens: drawn model names would all be 404, and drawn limits would
have the model write for minutes. Everything else stays as drawn. Counts go to the file named by SCHEMATHESIS_COUNTS, a line an answer.
"""
import json, os

import schemathesis

MODEL, EMBEDDER = os.environ["SCHEMATHESIS_MODEL"], os.environ["SCHEMATHESIS_EMBEDDER"]
LIMITS = {"max_tokens": 4, "max_completion_tokens": 4, "max_output_tokens": 16, "min_tokens": 2, "n": 2, "best_of": 2}
ANSWERS = open(os.environ["SCHEMATHESIS_COUNTS"], "a", buffering=1)

def cheap(path, body):
    """Limits what a body may ask for; a value of the wrong kind stays as it was drawn."""
    if "model" in body and isinstance(body["model"], str): body["model"] = EMBEDDER if "embeddings" in path else MODEL
    for name, most in LIMITS.items():
        value = body.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > most: body[name] = most
    # Without a limit an answer goes on until the model ends it.
    if path.endswith(("/chat/completions", "/completions")) and all(body.get(name) is None for name in ("max_tokens", "max_completion_tokens")): body["max_tokens"] = 4
    if path.endswith("/responses") and body.get("max_output_tokens") is None: body["max_output_tokens"] = 16
    if path.endswith("/runs") and isinstance(body.get("goal"), str): body.update(strategy="direct", budget={"tokens": 16})
    return body

@schemathesis.hook
def before_call(context, case, kwargs):
    known = {"/v1/models/{id}": MODEL, "/v1/runs/{id}": "last"}.get(case.operation.path)
    # Every other drawn id: all of them would be 404. Events of the last run would be followed to its end, for minutes perhaps.
    if known and isinstance(case.path_parameters, dict) and len(str(case.path_parameters.get("id"))) % 2: case.path_parameters = {"id": known}
    # Here, not in `map_body`, which the coverage phase does not pass through.
    if isinstance(case.body, dict): case.body = cheap(case.operation.path, dict(case.body))

@schemathesis.hook
def after_call(context, case, response):
    # Why good requests were refused: bad ones are meant to be.
    good = case.meta is not None and case.meta.generation.mode.is_positive
    reason = response.text[:300] if good and response.status_code == 400 else ""
    ANSWERS.write(json.dumps([case.operation.label, response.status_code, round(response.elapsed, 3), good, reason]) + "\n")
