#!/usr/bin/env python3
"""Goals over several documents whose answer is a table, a rank, a list with gaps or a figure, drawn from a seed.

usage: map_goals.py BANDMASTER [--home DIR] [--seeds 1,2,3] [--each 4] [--kinds table,rank,gaps,figure] [--strategy map]
       map_goals.py --print                      print the goals as lines of a suite instead of running them

Every seed has other names, values and document forms: data sheets, bullet lists, mails, minutes, ini, JSON and prose, with
numbers in digits, in words and with separators, and with decoys such as last year's figure. It prints what is wrong, the
share of right answers by kind, and how many of the runs that said `completed` are right.
"""
import argparse, collections, json, pathlib, random, re, subprocess, tempfile, time

FIRST = "Aldo Berit Corin Delia Edda Fabio Greer Hanno Ilka Joris Katla Lorne Maeve Nuno Odile Pavel Runa Silas Tove Ulla".split()
LAST = "Ashby Bramall Corvin Dunmore Elstow Farrant Gorse Hallam Innes Jarrow Kember Lowick Marden Norwell Oakes Penrose".split()
PLACES = "Aldermoor Birkholt Carrick Dunwater Elmstead Foxley Grimsdale Hartwell Inverloch Kelderby Longmere Marwick".split()
COINED = "Auk Brant Curlew Dunlin Egret Fulmar Gannet Heron Ibis Jacana Kestrel Linnet Merlin Noddy Osprey Petrel".split()
ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()

class Field:
    """What a document says of its thing. `told` are sentences; `decoy` is one with another value of the same kind."""
    def __init__(self, key, values, unit="", most=None, least=None, at_least=None, at_most=None, told=(), decoy=None, find=None, before=""):
        self.key, self.values, self.unit, self.most, self.least = key, values, unit, most, least
        self.at_least, self.at_most, self.told, self.decoy, self.find, self.before = at_least, at_most, told, decoy, find or key, before

class Scene:
    def __init__(self, thing, things, name, fields):
        self.thing, self.things, self.name, self.fields = thing, things, name, fields

def coined(r, used, pattern):
    while True:
        name = pattern(r)
        if name not in used:
            used.add(name); return name

SCENES = [
    Scene("boat", "boats", lambda r: f"{r.choice(COINED)} {r.randint(21, 49)}", [
        Field("weekly charter", range(640, 3900, 15), "EUR", "dearest weekly charter", "cheapest weekly charter", "a weekly charter of at least EUR {}", "a weekly charter of no more than EUR {}",
              ["A week's charter costs {v}.", "The weekly charter is {v}."], "Last season the charter was {d}.", before="EUR "),
        Field("berths", range(2, 13), "", "most berths", "fewest berths", "at least {} berths", "up to {} berths", ["There are {v} berths below deck.", "She sleeps her crew in {v} berths."]),
        Field("home port", PLACES, told=["Her home port is {v}.", "The home port is {v}."])]),
    Scene("flat", "flats", lambda r: f"{r.choice(PLACES)} Road {r.randint(2, 98)}", [
        Field("monthly rent", range(480, 2900, 10), "EUR", "highest monthly rent", "lowest monthly rent", "a monthly rent of EUR {} or more", "a monthly rent of EUR {} or less",
              ["The monthly rent is {v}.", "Tenants pay a monthly rent of {v}."], "The deposit is {d}.", before="EUR "),
        Field("floor area", range(28, 160), "square metres", "largest floor area", "smallest floor area", "a floor area of {} square metres or more", "a floor area under {0} square metres", ["The floor area is {v}.", "It has a floor area of {v}."]),
        Field("landlord", [f"{a} {b}" for a in FIRST for b in LAST], told=["The landlord is {v}.", "Ask the landlord, {v}."])]),
    Scene("solar panel", "solar panels", lambda r: f"{r.choice(COINED)}-{r.randint(100, 499)}", [
        Field("peak power", range(210, 620, 5), "watts", "highest peak power", "lowest peak power", "a peak power of at least {} watts", "a peak power of at most {} watts", ["Its peak power is {v}.", "It gives a peak power of {v}."], "A panel by our competitor gives {d}."),
        Field("guarantee", range(5, 31), "years", "longest guarantee", "shortest guarantee", "a guarantee of {} years or more", "a guarantee of at most {} years", ["The guarantee lasts {v}.", "It comes with a guarantee of {v}."]),
        Field("price", range(90, 480), "EUR", "highest price", "lowest price", "a price of EUR {} or more", "a price of up to EUR {}", ["The price is {v}.", "Its price is {v} plus delivery."], before="EUR ")]),
    Scene("course", "courses", lambda r: f"{r.choice(['Pottery', 'Welding', 'Spanish', 'Beekeeping', 'Carpentry', 'Fencing', 'Weaving', 'Ceramics', 'Baking'])} {r.randint(101, 399)}", [
        Field("fee", range(45, 990, 5), "EUR", "highest fee", "lowest fee", "a fee of at least EUR {}", "a fee of no more than EUR {}", ["The fee is {v}.", "There is a fee of {v}."], "Last year people paid {d}.", before="EUR "),
        Field("duration", range(3, 21), "weeks", "longest duration", "shortest duration", "a duration of at least {} weeks", "a duration of {} weeks or less", ["The duration is {v}.", "Its duration is {v} in all."]),
        Field("teacher", [f"{a} {b}" for a in FIRST for b in LAST], told=["The teacher is {v}.", "{v} is the teacher."])]),
    Scene("van", "vans", lambda r: f"{r.choice(COINED)} {r.choice('LMSX')}{r.randint(10, 99)}", [
        Field("mileage", range(8200, 198000, 100), "km", "highest mileage", "lowest mileage", "a mileage of at least {} km", "a mileage below {0} km", ["The mileage is {v}.", "It shows a mileage of {v}."]),
        Field("asking price", range(3100, 31000, 50), "EUR", "highest asking price", "lowest asking price", "an asking price of EUR {} or more", "an asking price of at most EUR {}", ["The asking price is {v}.", "The owner has an asking price of {v}."], "New it cost {d}.", before="EUR "),
        Field("seats", range(2, 10), "", "most seats", "fewest seats", "{} seats or more", "no more than {} seats", ["It has {v} seats.", "There are {v} seats."])]),
    Scene("node", "nodes", lambda r: f"{r.choice(['ash', 'birch', 'cedar', 'elm', 'fir', 'larch', 'oak', 'pine'])}{r.randint(1, 60):02}", [
        Field("memory", range(4, 513, 4), "GB", "most memory", "least memory", "at least {} GB of memory", "at most {} GB of memory", ["It has {v} of memory.", "The memory is {v}."]),
        Field("cores", range(2, 129, 2), "", "most cores", "fewest cores", "{} cores or more", "up to {} cores", ["It runs on {v} cores.", "There are {v} cores."], "Before the upgrade it was {d}."),
        Field("rack", [f"R{n}" for n in range(10, 60)], told=["It stands in rack {v}.", "The rack is {v}."])]),
    Scene("bridge", "bridges", lambda r: f"{r.choice(PLACES)} Bridge", [
        Field("span", range(18, 640), "metres", "longest span", "shortest span", "a span of at least {} metres", "a span of no more than {} metres", ["Its span is {v}.", "The span measures {v}."]),
        Field("load limit", range(3, 61), "tonnes", "highest load limit", "lowest load limit", "a load limit of {} tonnes or more", "a load limit of at most {} tonnes", ["The load limit is {v}.", "It has a load limit of {v}."], "Ten years ago it was {d}."),
        Field("engineer", [f"{a} {b}" for a in FIRST for b in LAST], told=["The engineer is {v}.", "The engineer in charge is {v}."])]),
    Scene("dog", "dogs", lambda r: r.choice(FIRST + COINED), [
        Field("weight", range(3, 62), "kg", "highest weight", "lowest weight", "a weight of at least {} kg", "a weight of up to {} kg", ["The weight is {v}.", "It has a weight of {v}."], "On arrival it was {d}."),
        Field("age", range(1, 15), "years", "highest age", "lowest age", "an age of at least {} years", "an age of at most {} years", ["The age is {v}.", "It has reached the age of {v}."]),
        Field("breed", ["collie", "beagle", "spaniel", "terrier", "poodle", "whippet", "boxer", "husky"], told=["The breed is {v}.", "By breed it is a {v}."])]),
    Scene("translator", "translators", lambda r: f"{r.choice(FIRST)} {r.choice(LAST)}", [
        Field("hourly rate", range(28, 190), "EUR", "highest hourly rate", "lowest hourly rate", "an hourly rate of EUR {} or more", "an hourly rate of no more than EUR {}", ["The hourly rate is {v}.", "My hourly rate is {v}."], "Until last year it was {d}.", before="EUR "),
        Field("experience", range(1, 36), "years", "most experience", "least experience", "{} years of experience or more", "at most {} years of experience", ["The experience amounts to {v}.", "There are {v} of experience to show."]),
        Field("town", PLACES, told=["The town is {v}.", "Lives in the town of {v}."])]),
    Scene("vineyard", "vineyards", lambda r: f"{r.choice(['Château', 'Weingut', 'Domaine', 'Bodega'])} {r.choice(COINED)}", [
        Field("area", range(2, 95), "hectares", "largest area", "smallest area", "an area of at least {} hectares", "an area of at most {} hectares", ["Its area is {v}.", "The vines cover an area of {v}."]),
        Field("bottles", range(4000, 260000, 500), "bottles", "most bottles", "fewest bottles", "{} bottles or more", "no more than {} bottles", ["It filled {v} this year.", "This year brought {v}."], "The year before it was {d}.", find="number of bottles"),
        Field("owner", [f"{a} {b}" for a in FIRST for b in LAST], told=["The owner is {v}.", "It belongs to its owner {v}."])]),
]
FILLER = ["The coffee machine is out of order.", "Thanks for your patience.", "The gate is locked after nine.", "More photos will follow.", "Nobody had any questions.",
          "We met in the small room.", "Rain is expected at the weekend.", "The keys are with the porter."]

def words(n):
    if n < 20: return ONES[n]
    return TENS[n // 10] + ("-" + ONES[n % 10] if n % 10 else "")

def written(r, field, value, spelled=False):
    """A value as a document writes it."""
    if not isinstance(value, int): return value
    digits = str(value)
    if value >= 1000 and r.random() < 0.6: digits = f"{value:,}"
    if spelled and value < 100 and not field.before and r.random() < 0.4: digits = words(value)
    return f"{field.before}{digits}{' ' + field.unit if field.unit and not field.before else ''}"

def decoy(r, field, value):
    other = value
    while other == value: other = r.choice(list(field.values))
    return field.decoy.format(d=written(r, field, other))

def document(r, scene, name, row):
    """One document about one thing: its file name and its text."""
    form = r.choice(["sheet", "bullets", "mail", "minutes", "ini", "json", "prose"])
    fields = [(field, row[field.key]) for field in scene.fields if row[field.key] is not None]
    r.shuffle(fields)
    tells = lambda: [r.choice(field.told).format(v=written(r, field, value, True)) for field, value in fields]
    decoys = [decoy(r, field, value) for field, value in fields if field.decoy and r.random() < 0.5]
    lines = [(field.key, written(r, field, value)) for field, value in fields]
    filler = r.choice(FILLER)
    if form == "sheet":
        return ".txt", f"{name}\n\n" + "\n".join(f"{key.capitalize()}: {value}" for key, value in lines) + "\n\n" + " ".join(decoys + [filler])
    if form == "bullets":
        return ".md", f"# {name}\n\n{filler}\n\n" + "\n".join(f"- {key}: {value}" for key, value in lines) + "".join(f"\n\n{one}" for one in decoys)
    if form == "mail":
        who = [f"{r.choice(FIRST)} {r.choice(LAST)}" for _ in range(2)]
        body = " ".join(tells() + decoys + [filler])
        return ".txt", f"From: {who[0]}\nTo: {who[1]}\nSubject: {name}\n\nHello,\n\nthis is about the {scene.thing} {name}. {body}\n\nRegards\n{who[0]}"
    if form == "minutes":
        points = tells() + decoys + [filler]
        r.shuffle(points)
        return ".md", f"# Minutes: {scene.thing} {name}\n\n" + "\n".join(f"{at}. {point}" for at, point in enumerate(points, 1))
    if form == "ini":
        return ".ini", f"[{scene.thing}]\nname = {name}\n" + "\n".join(f"{key.replace(' ', '_')} = {value}" for key, value in lines) + f"\nnote = {(decoys or [filler])[0]}"
    if form == "json":
        return ".json", json.dumps({scene.thing: name, **{key: value for key, value in lines}, "note": (decoys or [filler])[0]}, indent=2, ensure_ascii=False)
    return ".txt", f"{scene.thing.capitalize()} {name}\n\n{filler} " + " ".join(tells() + decoys)

def polite(r, goal):
    before = r.choice(["", "", "", "Could you help me? ", "pls: ", "Hi! "])
    after = r.choice(["", "", "", " Thanks a lot.", " Keep it short."])
    return before + goal + after

def goal_of(r, kind, scene, rows):
    """The goal in words, and what its answer must say: a list of (kind of check, arguments)."""
    numbers = [field for field in scene.fields if field.unit or field.most]
    names = list(rows)
    if kind == "table":
        chosen = scene.fields[:] if r.random() < 0.5 else r.sample(scene.fields, 2)
        listed = ", ".join([scene.thing] + [field.key for field in chosen[:-1]]) + " and " + chosen[-1].key
        goal = r.choice([f"Make a table of the {len(rows)} {scene.things} with {listed}, one row each.", f"Please put the {scene.things} in a table. Columns: {listed}.",
                         f"I need a table with {listed} of all {scene.things}.", f"a table pls: {listed}"])
        return goal, [("row", name, [rows[name][field.key] for field in chosen]) for name in names]
    if kind == "rank":
        by, where = r.sample(numbers, 2)
        top = r.random() < 0.5
        up = r.random() < 0.5
        values = sorted(row[where.key] for row in rows.values())
        limit = values[len(values) // 2 - (1 if up else -1)]
        below = not up and "{0}" in where.at_most
        passes = lambda v: v >= limit if up else v < limit if below else v <= limit
        left = {name: row[by.key] for name, row in rows.items() if passes(row[where.key])}
        if not left: return None
        best = (max if top else min)(left.values())
        winners = [name for name in left if left[name] == best]
        said = (where.at_least if up else where.at_most).format(limit)
        goal = r.choice([f"Which {scene.thing} has the {by.most if top else by.least} among those with {said}?", f"Of the {scene.things} with {said}, which one has the {by.most if top else by.least}?",
                         f"I want a {scene.thing} with {said}. Which of them has the {by.most if top else by.least}?"])
        return goal, [("winner", winners, names, best)]
    if kind == "gaps":
        field = r.choice(scene.fields)
        for name in r.sample(names, r.choice([1, 1, 2])): rows[name][field.key] = None
        goal = r.choice([f"List the {field.find} of every {scene.thing}; say so where it is not given.", f"What is the {field.find} of each {scene.thing}? If a document does not say, tell me.",
                         f"{field.find} of each {scene.thing} please, and name those without one"])
        return goal, [("gap" if rows[name][field.key] is None else "row", name, [rows[name][field.key]]) for name in names]
    field = r.choice(numbers)
    values = [row[field.key] for row in rows.values()]
    which = r.choice(["total", "average", "most", "least"])
    if which in ("most", "least"):
        best = (max if which == "most" else min)(values)
        goal = f"Which {scene.thing} has the {field.most if which == 'most' else field.least}?"
        return goal, [("winner", [name for name in names if rows[name][field.key] == best], names, best)]
    if which == "total":
        return r.choice([f"What is the total {field.find} of all {scene.things}?", f"Add up the {field.find} of the {scene.things}."]), [("number", sum(values))]
    return f"What is the average {field.find} of the {scene.things}?", [("number", sum(values) / len(values))]

def goals(seed, each, kinds):
    r = random.Random(seed)
    for kind in kinds:
        scenes = r.sample(SCENES, len(SCENES))
        for at in range(each):
            made = None
            while made is None:
                scene, used = scenes[at % len(scenes)], set()
                names = [coined(r, used, scene.name) for _ in range(r.randint(5, 8))]
                rows = {name: {field.key: r.choice(list(field.values)) for field in scene.fields} for name in names}
                made = goal_of(r, kind, scene, rows)
            goal, checks = made
            files = {}
            for number, name in enumerate(names, 1):
                ending, text = document(r, scene, name, rows[name])
                files[f"{scene.thing.replace(' ', '_')}{number}{ending}"] = text
            yield {"id": f"{kind}-{seed}-{at + 1}", "kind": kind, "goal": polite(r, goal), "files": files, "checks": checks}

def has(text, value):
    """Whether a value stands in a text, a number with or without separators."""
    if not isinstance(value, (int, float)): return value.lower() in text.lower()
    plain = re.sub(r"(?<=\d)[,'’  ](?=\d{3})", "", text)
    found = [float(number) for number in re.findall(r"(?<![\d.])\d+(?:\.\d+)?", plain)]
    return any(abs(number - value) <= 0.006 for number in found) or (isinstance(value, int) and value < 100 and re.search(rf"\b{words(value)}\b", text, re.I) is not None)

def fault(check, answer):
    lines = answer.splitlines()
    if check[0] == "row":
        own = [line.replace(check[1], "", 1) for line in lines if check[1].lower() in line.lower()]
        return None if any(all(has(line, value) for value in check[2]) for line in own) else f"{check[1]}: {check[2]}"
    if check[0] == "gap":
        absent = r"\b(not|no|none|n/a|missing|unknown|without|lacks?)\b|n't|[-–—]\s*(\||$)|\|\s*\|"
        own = [line for line in re.split(r"\n|(?<=\.)\s", answer) if check[1].lower() in line.lower()]
        return None if any(re.search(absent, line, re.I) for line in own) else f"{check[1]}: gap not told"
    if check[0] == "number":
        return None if has(answer, check[1]) else f"{check[1]}"
    winners, others = check[1], [name for name in check[2] if name not in check[1]]
    at = [answer.lower().find(name.lower()) for name in winners]
    before = answer.lower()[:max(at)] if min(at) >= 0 else answer.lower()
    wrong = [name for name in others if name.lower() in before]
    return None if min(at) >= 0 and not wrong else f"winner {winners}"

def run(a, item):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in item["files"].items(): pathlib.Path(folder, name).write_text(text)
        command = [a.bandmaster, "run", item["goal"], "--json", "--quiet", "-f", folder]
        command += ["--home", a.home] if a.home else []
        command += ["--strategy", a.strategy] if a.strategy else []
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=900)
    return json.loads(done.stdout) if done.stdout.strip() else {"answer": "", "status": "failed", "strategy": "-", "error": done.stderr}

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("bandmaster", nargs="?"); p.add_argument("--home"); p.add_argument("--strategy"); p.add_argument("--out")
    p.add_argument("--seeds", default="1,2,3"); p.add_argument("--each", type=int, default=4); p.add_argument("--kinds", default="table,rank,gaps,figure")
    p.add_argument("--print", action="store_true", dest="prints")
    a = p.parse_args()
    right, of, completed, good = (collections.Counter() for _ in range(4))
    for seed in a.seeds.split(","):
        for item in goals(int(seed), a.each, a.kinds.split(",")):
            if a.prints:
                print(json.dumps(item, ensure_ascii=False)); continue
            began = time.time()
            out = run(a, item)
            faults = [f for f in (fault(check, out["answer"]) for check in item["checks"]) if f]
            kind, done = item["kind"], out["status"] == "completed"
            of[kind] += 1; right[kind] += not faults; completed[kind] += done; good[kind] += done and not faults
            print(f"{item['id']:12} {'right' if not faults else 'WRONG'} {out['status']:11} {out['strategy']:9} {time.time() - began:5.1f} s  {'; '.join(faults)[:200]}", flush=True)
            if faults: print(f"    goal: {item['goal']}\n    answer: {' '.join(out['answer'].split())[:400]}")
            if a.out: open(a.out, "a").write(json.dumps({**item, "faults": faults, "run": out}, ensure_ascii=False) + "\n")
    if a.prints: return
    for kind in of: print(f"{kind}: {right[kind]}/{of[kind]} right; completed {completed[kind]}, of them right {good[kind]}")
    print(f"all: {sum(right.values())}/{sum(of.values())} right; completed {sum(completed.values())}, of them right {sum(good.values())}")

if __name__ == "__main__":
    main()
