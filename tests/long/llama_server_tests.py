#!/usr/bin/env python3
"""llama.cpp's own tests of its server, run against `bandmaster serve`: flags are translated, and what a model says is not judged.

usage: llama_server_tests.py BANDMASTER LLAMA_CPP_SOURCE [PYTEST ARGUMENTS...]

LLAMA_CPP_SOURCE is a checkout or an unpacked source package of llama.cpp. Its tests are copied to target/llama-server-tests and stay as they
are, but for a conftest.py of ours in place of theirs. llama_server_tests.txt lists the tests that are expected to fail, and why. Every other one
must pass, and one that is listed and passes must be taken off the list. Tests marked `slow` need models of several GB and are left out, as
llama.cpp's own script does. The models are smollm2-135m and minilm-l6-v2, which must be installed.
"""
import fnmatch, json, os, re, shutil, socket, stat, subprocess, sys, textwrap, xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import wire

PACKAGES = ("aiohttp~=3.9.3", "pytest~=8.3.3", "numpy~=2.2.6", "openai~=2.14.0", "prometheus-client~=0.20.0", "requests~=2.32.3", "wget~=3.2",
            "tqdm~=4.67", "pyyaml~=6.0")
LISTED = Path(__file__).with_suffix(".txt")

# Stands where the tests expect llama-server, and starts `bandmaster serve`. A flag without a counterpart is left out: a test that needs it fails
# and is listed. A chat template is written into a copy of the model's file.
SHIM = '''
    #!{python}
    import hashlib, os, subprocess, sys, tempfile
    flags, words, at = {{}}, sys.argv[1:], 0
    while at < len(words):
        value = words[at + 1] if at + 1 < len(words) and not words[at + 1].startswith("-") else ""
        flags[words[at]] = value
        at += 2 if value else 1
    embeds, model = "--embedding" in flags, "{small}"
    template = open(flags["--chat-template-file"]).read() if "--chat-template-file" in flags else flags.get("--chat-template")
    if embeds: model = "{embedder}"
    elif template:
        template = {named!r}.get(template, template)
        model = "{folder}/" + hashlib.sha256(template.encode()).hexdigest()[:16] + ".gguf"
        if not os.path.exists(model):
            with tempfile.NamedTemporaryFile("w") as text:
                text.write(template)
                text.flush()
                subprocess.run([sys.executable, "-m", "gguf.scripts.gguf_new_metadata", "--chat-template-file", text.name, "{gguf}", model],
                               check=True, env={{**os.environ, "PYTHONPATH": "{gguf_py}"}})
    command = ["{bandmaster}", "serve", "--offline", "--model", model, "--port", flags["--port"], "--host", flags["--host"].split(",")[0]]
    for alias in filter(None, flags.get("--alias", "").split(",")): command += ["--alias", alias]
    if not embeds and "--ctx-size" in flags:  # theirs is of all slots together, and 256 tokens are the least here
        slots = 1 if "--kv-unified" in flags else int(flags.get("--parallel", 1))
        command += ["--context-tokens", str(max(256, int(flags["--ctx-size"]) // slots))]
    # llama-server answers every page unless it is told which, and `localhost` stands for the pages that may always ask here.
    if "--cors-origins" not in flags and "--tools" not in flags: command += ["--cors-origin", "*"]
    if "--api-key" in flags:
        with tempfile.NamedTemporaryFile("w", delete=False) as keys: keys.write(flags["--api-key"].replace(",", "\\n") + "\\n")
        command += ["--api-key-file", keys.name]
    os.execv(command[0], command)
'''

# The templates that llama-server has under a name.
NAMED = {
    "chatml": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
              "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "llama3": "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>{% endfor %}"
              "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
    "command-r": "{% set who = {'system': 'SYSTEM', 'user': 'USER', 'assistant': 'CHATBOT'} %}{% for m in messages %}<|START_OF_TURN_TOKEN|>"
                 "<|{{ who[m.role] }}_TOKEN|>{{ m.content | trim }}<|END_OF_TURN_TOKEN|>{% endfor %}"
                 "{% if add_generation_prompt %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{% endif %}",
}

CONFTEST = '''
    import openai, pytest, utils
    from requests.structures import CaseInsensitiveDict

    # What their models say, and into how many tokens they cut it, is not so with ours.
    utils.match_regex = lambda *_: True

    class AnyCount(int):
        __hash__ = int.__hash__
        def __eq__(self, other): return isinstance(other, int) and other > 0

    def pytest_collection_modifyitems(items):
        for item in items:
            params = getattr(item, "callspec", None) and item.callspec.params or {}
            if "n_prompt" in params: params["n_prompt"] = AnyCount()

    # Flags of the server that are fields of a request here, where the request doesn't have them; and llama.cpp's own POST /completion, which is
    # asked as POST /v1/completions.
    def translated(server, path, data):
        if path == "/apply-template" and server.reasoning:
            return path, {"chat_template_kwargs": {"enable_thinking": server.reasoning != "off"}, **data}
        if not isinstance(data, dict) or not path.endswith(("completion", "completions")): return path, data
        data = {"temperature": server.temperature, "seed": server.seed, **data}
        if path == "/completion": path, data = "/v1/completions", {"timings_per_token": True, "return_token_ids": True, **data}
        if server.n_predict and server.n_predict > 0 and "n_predict" not in data: data.setdefault("max_tokens", server.n_predict)
        return path, data

    # An answer's `model` is the one that answered, and not its alias. The text of a completion stands where llama.cpp's own route has it. A stream
    # opens with empty content, as OpenAI's does, and llama-server's with null.
    def as_llama(server, body):
        if isinstance(body, dict) and body.get("model") and server.model_alias: body["model"] = server.model_alias
        for choice in isinstance(body, dict) and body.get("choices") or []:
            delta = choice.get("delta") or {}
            if "role" in delta and delta.get("content") == "": delta["content"] = None
            if "text" in choice:
                body.update(content=choice["text"], tokens=choice.get("token_ids") or [], stop=choice["finish_reason"] is not None)
        return body

    request, stream, opened = utils.ServerProcess.make_request, utils.ServerProcess.make_stream_request, openai.Stream.__iter__

    def make_request(self, method, path, data=None, *rest, **named):
        response = request(self, method, *translated(self, path, data), *rest, **named)
        response.body = as_llama(self, response.body)
        # A preflight is answered with 204 here, and names of headers are in lower case.
        if method == "OPTIONS" and response.status_code == 204: response.status_code = 200
        response.headers = CaseInsensitiveDict(response.headers)
        return response

    def make_stream_request(self, method, path, data=None, *rest, **named):
        for event in stream(self, method, *translated(self, path, data), *rest, **named): yield as_llama(self, event)

    def events(self):
        for event in opened(self):
            for choice in getattr(event, "choices", None) or []:
                delta = getattr(choice, "delta", None)
                if delta is not None and delta.role and delta.content == "": delta.content = None
            yield event

    utils.ServerProcess.make_request, utils.ServerProcess.make_stream_request = make_request, make_stream_request
    openai.Stream.__iter__ = events

    @pytest.fixture(autouse=True)
    def stop_server_after_each_test():
        yield
        for server in set(utils.server_instances): server.stop()
'''

def prepare(bandmaster, source):
    folder, tests = wire.ROOT / "target" / "llama-server-tests", source / "tools" / "server" / "tests"
    for needed in (tests / "utils.py", source / "models" / "templates", source / "gguf-py"):
        if not needed.exists(): sys.exit(f"{needed} is missing: {source} is not a whole source of llama.cpp")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tests, folder / "tools" / "server" / "tests")
    shutil.copytree(source / "models" / "templates", folder / "models" / "templates")
    folder = folder / "tools" / "server" / "tests"
    (folder / "conftest.py").write_text(textwrap.dedent(CONFTEST))
    installed = json.loads(subprocess.run([bandmaster, "models", "list", "--json"], check=True, capture_output=True).stdout)
    gguf = next((model["path"] for model in installed if model["name"] == wire.SMALL and model["installed"]), None)
    if gguf is None: sys.exit(f"{wire.SMALL} is not installed: bandmaster models pull {wire.SMALL}")
    shim = folder / "llama-server"
    shim.write_text(textwrap.dedent(SHIM).lstrip().format(
        python=sys.executable, bandmaster=bandmaster, small=wire.SMALL, embedder=wire.EMBEDDER, folder=folder, gguf=gguf,
        gguf_py=source / "gguf-py", named=NAMED))
    shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
    return folder

def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken: return str(taken.getsockname()[1])

def listed():
    """Patterns of test names with the reason why they fail."""
    lines = (line.strip() for line in LISTED.read_text().splitlines())
    return [tuple(re.split(r"\s{2,}", line, maxsplit=1)) for line in lines if line and not line.startswith("#")]

def outcomes(report):
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname').rsplit('.', 1)[-1]}::{case.get('name')}"
        if case.find("skipped") is not None: yield name, "skipped", ""
        elif (bad := case.find("failure") if case.find("failure") is not None else case.find("error")) is not None:
            yield name, "failed", ((bad.get("message") or "").splitlines() or [""])[0][:150]
        else: yield name, "passed", ""

def judged(reasons, report):
    """How many came out how, and what is not as listed."""
    counts, wrong = Counter(), []
    for name, outcome, why in outcomes(report):
        reason = next((reason for pattern, reason in reasons if fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))), None)
        if outcome == "failed" and reason: outcome = "failed as listed"
        elif outcome == "failed": wrong.append(f"FAILED {name}: {why}")
        elif outcome == "passed" and reason: wrong.append(f"PASSES though it is listed: {name}")
        counts[outcome] += 1
    return counts, wrong

def main():
    if len(sys.argv) < 3: sys.exit(__doc__)
    wire.environment("llama-server-tests", *PACKAGES)
    bandmaster, source = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    folder, reasons = prepare(bandmaster, source), listed()
    whole = {pattern.removesuffix("::*") for pattern, _ in reasons if pattern.endswith("::*")}
    files = [str(path) for path in sorted((folder / "unit").glob("test_*.py")) if path.stem not in whole]
    report, log = folder / "report.xml", folder / "log.txt"
    environment = {**os.environ, "LLAMA_SERVER_BIN_PATH": str(folder / "llama-server"), "PYTHONPATH": str(folder),
                   "PORT": os.environ.get("PORT") or free_port(), "XDG_STATE_HOME": str(folder / "state")}  # runs and responses of its own
    with open(log, "w") as out:
        subprocess.run([sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", "-m", "not slow", f"--junitxml={report}",
                        *(sys.argv[3:] or files)], cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
    for copy in folder.glob("*.gguf"): copy.unlink()
    if not report.exists(): sys.exit(f"the tests did not run: {log}")
    counts, wrong = judged(reasons, report)
    print("\n".join(wrong))
    print(f"{dict(counts)}; {len(whole)} files are left out; log: {log}")
    return 1 if wrong or not counts["passed"] else 0

if __name__ == "__main__": sys.exit(main())
