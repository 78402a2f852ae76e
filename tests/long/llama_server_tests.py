#!/usr/bin/env python3
"""llama.cpp's own tests of its server, run against `bandmaster serve`: its flags are translated, and what a model says is not judged.

usage: llama_server_tests.py BANDMASTER LLAMA_CPP_SOURCE [PYTEST ARGUMENTS...]

LLAMA_CPP_SOURCE is a checkout or an unpacked source package of llama.cpp; its tests are copied to target/llama-server-tests and stay unchanged
there, but for a conftest.py of ours. Which tests are expected to fail, and why, is in llama_server_tests.txt: every other one must pass, and
one that is listed and passes must be taken off the list. The models are smollm2-135m and minilm-l6-v2, which must be installed.
"""
import fnmatch, os, re, shutil, stat, subprocess, sys, textwrap, xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import wire

PACKAGES = ("aiohttp~=3.9.3", "pytest~=8.3.3", "numpy~=2.2.6", "openai~=2.14.0", "prometheus-client~=0.20.0", "requests~=2.32.3", "wget~=3.2")
LISTED = Path(__file__).with_suffix(".txt")

# Stands where the tests expect llama-server. What a flag has no counterpart for is left out: the test that needs it fails and is listed.
SHIM = '''
    #!{python}
    import os, sys, tempfile
    flags, words, at = {{}}, sys.argv[1:], 0
    while at < len(words):
        value = words[at + 1] if at + 1 < len(words) and not words[at + 1].startswith("--") else ""
        flags[words[at]] = value
        at += 2 if value else 1
    embeds = "--embedding" in flags
    command = ["{bandmaster}", "serve", "--offline"]
    command += ["--port", flags["--port"], "--host", flags.get("--host", "127.0.0.1").split(",")[0]]
    model = "minilm-l6-v2" if embeds else "smollm2-135m"
    command += ["--model", model]
    for alias in filter(None, flags.get("--alias", "").split(",")): command += ["--alias", alias]
    if not embeds and "--ctx-size" in flags: command += ["--context-tokens", str(max(256, int(flags["--ctx-size"]) // int(flags.get("--parallel", 1))))]
    if "--cors-origins" in flags: command += ["--cors-origin", flags["--cors-origins"]]
    if "--api-key" in flags:
        keys = tempfile.NamedTemporaryFile("w", delete=False)
        keys.write("".join(key + "\\n" for key in flags["--api-key"].split(",")))
        keys.close()
        command += ["--api-key-file", keys.name]
    os.execv(command[0], command)
'''

CONFTEST = '''
    import pytest, utils
    # What a model of theirs says is not what a model of ours says.
    utils.match_regex = lambda *_: True
    utils.ServerPreset.load_all = staticmethod(lambda: None)

    @pytest.fixture(autouse=True)
    def stop_server_after_each_test():
        yield
        for server in set(utils.server_instances): server.stop()
'''

def prepare(bandmaster, source):
    folder, tests = wire.ROOT / "target" / "llama-server-tests", Path(source) / "tools" / "server" / "tests"
    if not (tests / "utils.py").exists(): sys.exit(f"{tests} has no tests of llama.cpp's server")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tests, folder / "tools" / "server" / "tests")
    if (templates := Path(source) / "models" / "templates").exists(): shutil.copytree(templates, folder / "models" / "templates")
    folder = folder / "tools" / "server" / "tests"
    (folder / "conftest.py").write_text(textwrap.dedent(CONFTEST))
    shim = folder / "llama-server"
    shim.write_text(textwrap.dedent(SHIM.format(python=sys.executable, bandmaster=bandmaster)).lstrip())
    shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
    return folder

def listed():
    """Patterns of test names with the reason why they fail."""
    lines = (line.strip() for line in LISTED.read_text().splitlines())
    return [tuple(re.split(r"\s{2,}", line, maxsplit=1)) for line in lines if line and not line.startswith("#")]

def outcomes(report):
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname').rsplit('.', 1)[-1]}::{case.get('name')}"
        if case.find("skipped") is not None: yield name, "skipped", ""
        elif (bad := case.find("failure") if case.find("failure") is not None else case.find("error")) is not None:
            yield name, "failed", (bad.get("message") or "").splitlines()[0][:150]
        else: yield name, "passed", ""

def main():
    if len(sys.argv) < 3: sys.exit(__doc__)
    wire.environment("llama-server-tests", *PACKAGES)
    bandmaster, source = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    folder = prepare(bandmaster, source)
    names = [name for name, _ in listed()]
    whole = {name.removesuffix("::*") for name in names if name.endswith("::*") and "*" not in name.removesuffix("::*")}
    files = [str(path) for path in sorted((folder / "unit").glob("test_*.py")) if path.stem not in whole]
    report = folder / "report.xml"
    environment = {**os.environ, "LLAMA_SERVER_BIN_PATH": str(folder / "llama-server"), "PYTHONPATH": str(folder), "PORT": os.environ.get("PORT", "8391"),
                   # A home's server is alone on it; this one keeps to itself.
                   "XDG_STATE_HOME": str(folder / "state")}
    arguments = sys.argv[3:] or files
    subprocess.run([sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", f"--junitxml={report}", *arguments], cwd=folder, env=environment,
                   stdout=open(folder / "log.txt", "w"), stderr=subprocess.STDOUT)
    counts, wrong = Counter(), []
    for name, outcome, why in outcomes(report):
        reason = next((reason for pattern, reason in listed() if fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))), None)
        if outcome == "failed" and reason: outcome = "failed as listed"
        elif outcome == "failed": wrong.append(f"FAILED {name}: {why}")
        elif outcome == "passed" and reason: wrong.append(f"PASSES though it is listed: {name}")
        counts[outcome] += 1
    print("\n".join(wrong))
    print(f"{dict(counts)}; {len(whole)} files of llama.cpp's own routes are left out; log: {folder / 'log.txt'}")
    return 1 if wrong else 0

if __name__ == "__main__": sys.exit(main())
