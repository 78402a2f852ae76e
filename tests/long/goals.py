#!/usr/bin/env python3
"""Runs `bandmaster run --json` on a suite of goals and says which are right.

usage: goals.py BANDMASTER SUITE.jsonl [--kind map] [--home DIR] [--require map=0.8,direct=0.8]

A line of the suite has `goal`, `files` (name to text), `best` and `tolerated` strategies, `answer_must` (regular
expressions, all of them), `min_parallel` and `max_tasks`, and for code `python_check`, run after the answer's code block in a
process with a time limit. Beside each kind's share of right answers it prints the three rules of thumb (three files or more:
map; nothing attached but the goal says so: ask; else direct) on the choice of strategy.
"""
import argparse, collections, json, pathlib, re, subprocess, sys, tempfile

def overlap(tasks):
    """The most model tasks that were under way at one moment."""
    marks = [m for t in tasks if t["model"] for m in ((t["started_ms"], 1), (t["finished_ms"], -1))]
    most = now = 0
    for _, step in sorted(marks):
        now += step
        most = max(most, now)
    return most

def matches(pattern, answer):
    """Suites write `(?i)` before a part of a pattern; Python takes it for the whole."""
    flags = re.IGNORECASE if "(?i)" in pattern else 0
    return re.search(pattern.replace("(?i)", ""), answer, flags)

def passes(check, answer):
    code = "\n".join(re.findall(r"```(?:python)?\n(.*?)```", answer, re.S)) or answer
    try:
        return subprocess.run([sys.executable, "-I", "-c", code + "\n" + check], timeout=10, capture_output=True).returncode == 0
    except subprocess.TimeoutExpired:
        return False

def rules(item):
    if len(item["files"]) >= 3:
        return "map"
    says_so = re.search(r"attach|sent you|enclosed", item["goal"], re.I)
    return "ask" if not item["files"] and says_so else "direct"

def run(a, item):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in item["files"].items():
            pathlib.Path(folder, name).write_text(text)
        command = [a.bandmaster, "run", item["goal"], "--json", "--quiet"] + (["-f", folder] if item["files"] else [])
        command += ["--home", a.home] if a.home else []
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600)
    if not done.stdout.strip():
        return None, done.stderr
    return json.loads(done.stdout), done.stderr

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("bandmaster"); p.add_argument("suite"); p.add_argument("--kind"); p.add_argument("--home")
    p.add_argument("--require", default="", help="least share of right answers by kind, e.g. map=0.8,direct=0.8")
    a = p.parse_args()
    items = [json.loads(line) for line in open(a.suite) if line.strip()]
    items = [item for item in items if not a.kind or item.get("kind") == a.kind]
    right, best, ruled = collections.Counter(), 0, 0
    for item in items:
        out, errors = run(a, item)
        if out is None:
            print(f"{item['id']:12} no result: {errors.strip().splitlines()[-1:]}"); continue
        answer = out["answer"]
        missing = [m for m in item["answer_must"] if not matches(m, answer)]
        allowed = [item["best"]] + item["tolerated"]
        faults = [f"lacks {m}" for m in missing]
        if out["strategy"] not in allowed: faults.append(f"chose {out['strategy']}")
        if len(out["tasks"]) > item["max_tasks"]: faults.append(f"{len(out['tasks'])} tasks")
        if item["min_parallel"] > 1 and out["strategy"] == item["best"] and overlap(out["tasks"]) < item["min_parallel"]: faults.append(f"only {overlap(out['tasks'])} at once")
        if item["python_check"] and not passes(item["python_check"], answer): faults.append("code fails its check")
        right[item["kind"]] += not faults
        best += out["strategy"] == item["best"]
        ruled += rules(item) == item["best"]
        u = out["usage"]
        print(f"{item['id']:12} {'right' if not faults else 'WRONG'} {out['strategy']:9} {len(out['tasks'])} tasks {u['wall_ms']/1000:6.1f} s "
              f"{u['prompt_tokens']}+{u['completion_tokens']} tokens  {'; '.join(faults)}")
        if faults: print("    answer: " + " ".join(answer.split())[:300])
    of = collections.Counter(item["kind"] for item in items)
    print("right by kind: " + ", ".join(f"{kind} {right[kind]}/{of[kind]}" for kind in of))
    print(f"best strategy: {best}/{len(items)} (three rules of thumb: {ruled}/{len(items)})")
    wanted = dict(pair.split("=") for pair in a.require.split(",") if pair)
    low = [kind for kind, least in wanted.items() if of[kind] and right[kind] / of[kind] < float(least)]
    if low: sys.exit("too few right answers: " + ", ".join(low))

if __name__ == "__main__":
    main()
