#!/usr/bin/env python3
"""Questions about generated tables, with other names, columns and values for each seed.

    python3 tests/long/table_goals.py target/release/bandmaster --seeds 1,2,3 [--home DIR] [--per-form 2] [--out FILE]

Each question has its answer computed here from the rows. Prints each question with whether the answer is right, then
right/total by form, and of the runs that said `completed` how many are right.
"""

import argparse
import collections
import datetime
import json
import pathlib
import random
import re
import subprocess
import tempfile
import time

FIRST = "Alda Bruno Cora Dario Edda Falk Greta Henno Ines Jonas Kaia Lars Mona Nils Olga Piet Runa Sven Tilda Ulla".split()
LAST = "Abel Brandt Corell Dreyer Eklund Fabri Gruber Hansen Ivarson Jansky Kolbe Lindt Moser Norden Oster Pohl".split()
PLACES = "Aldbury Bexley Corfe Dunmore Elstow Farley Gosford Hartwell Ingham Kirby Linton Marlow Newby Oakham".split()
FIRMS = "Aster Birch Cedar Dahlia Elm Fennel Gentian Hazel Iris Juniper".split()
KINDS = "Freight|Haulage|Works|Supplies|Bakery|Motors|Studio".split("|")
MONTHS = "January February March April May June July August September October November December".split()

# file, words for a row, date column, its verb, columns with few values, columns of numbers with how they are asked for
SCENES = [
    dict(file="shipments", row="shipment", date="sent_on", verb="sent", says={"carrier": "by", "outcome": ""}, cats={"carrier": "firm", "outcome": ["delivered", "delayed", "returned"]},
         nums={"weight_kg": ("weight", "kg", 5, 900, 0), "fee_eur": ("fee", "EUR", 4, 250, 2)}),
    dict(file="harvest", row="delivery", date="day", verb="brought in", says={"field": "from", "crop": "of"}, cats={"field": "place", "crop": ["barley", "rye", "oats", "beans"]},
         nums={"crates": ("crates", None, 3, 80, 0)}),
    dict(file="appointments", row="appointment", date="date", verb="held", says={"doctor": "with", "type": "", "state": ""}, cats={"doctor": "person", "type": ["checkup", "surgery", "vaccination"], "state": ["kept", "missed", "postponed"]},
         nums={"minutes": ("minutes", "minutes", 10, 90, 0)}),
    dict(file="loans", row="loan", date="taken", verb="taken out", says={"branch": "at", "medium": ""}, cats={"branch": "place", "medium": ["book", "film", "game"]},
         nums={"days": ("days", "days", 1, 60, 0), "fine": ("fine", None, 0, 12, 2)}),
    dict(file="repairs", row="repair", date="finished", verb="finished", says={"workshop": "by", "urgency": ""}, cats={"workshop": "firm", "urgency": ["urgent", "normal", "minor"]},
         nums={"hours": ("hours", "hours", 1, 20, 2), "parts_cost": ("parts cost", None, 5, 700, 2)}),
    dict(file="tours", row="tour", date="held_on", verb="held", says={"guide": "with", "language": "", "route": ""}, cats={"guide": "person", "language": ["German", "French", "Danish"], "route": ["harbour", "castle", "forest"]},
         nums={"guests": ("guests", None, 2, 40, 0)}),
]
# A second table: file, words for a row, key, its attribute, and the table that refers to it
JOINS = [
    dict(parent="members", prow="member", key="member_id", name="name", attr=("club", ["Rowing", "Chess", "Archery", "Fencing"]),
         child="bookings", crow="booking", date="booked", num=("price", "price", 5, 300, 2), cat=("status", ["confirmed", "cancelled", "waiting"])),
    dict(parent="suppliers", prow="supplier", key="supplier_no", name="company", attr=("country", ["Norway", "Austria", "Portugal", "Ireland"]),
         child="invoices", crow="invoice", date="issued", num=("gross_amount", "gross amount", 50, 4000, 2), cat=("state", ["settled", "overdue", "disputed"])),
    dict(parent="machines", prow="machine", key="machine", name="label", attr=("hall", ["Upper", "Lower", "Annex"]),
         child="stoppages", crow="stoppage", date="day", num=("minutes", "minutes", 3, 240, 0), cat=("cause", ["jam", "power", "cleaning"])),
]
ASK = ["{q}", "{q}", "Please tell me: {q}", "Hi, quick question - {q} Thanks!", "{q} I need it for a report.", "Could you look at the attached data? {q}"]


def number(value):
    """A pattern for a number, however its thousands are parted."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    whole, _, decimals = text.partition(".")
    grouped = ""
    for at, digit in enumerate(whole):
        grouped += digit
        if (len(whole) - at - 1) % 3 == 0 and at + 1 < len(whole):
            grouped += "[,.' ]?"
    tail = f"[.,]{decimals}0?" if decimals else "(?:[.,]0{1,2})?"
    return rf"(?<![\d.,-]){grouped}{tail}(?![\d])(?![.,]\d)"


def rounded(value):
    """A pattern for a mean with one or two decimals or more."""
    near = {f"{value:.1f}", f"{value:.2f}", f"{value:.3f}", f"{value:.4f}", f"{value:.0f}"} if abs(value - round(value)) < 1e-9 else {f"{value:.2f}", f"{value:.3f}", f"{value:.4f}"}
    return r"(?<![\d.,-])(?:" + "|".join(re.escape(one) for one in sorted(near, key=len, reverse=True)) + r")"


class Case:
    def __init__(self, form, goal, files, must, never=()):
        self.form, self.goal, self.files, self.must, self.never = form, goal, files, list(must), list(never)

    def is_right(self, answer):
        # The statement is no part of the answer's claim.
        told = answer.split("\n\nStatement:")[0]
        return all(re.search(one, told, re.I | re.M) for one in self.must) and not any(re.search(one, told, re.I | re.M) for one in self.never)


def written(rng, day, style):
    return {0: day.isoformat(), 1: day.strftime("%d.%m.%Y"), 2: f"{day.day} {MONTHS[day.month - 1][:3]} {day.year}"}[style]


def table(rng, columns, rows, delimiter):
    def cell(value):
        text = str(value)
        return '"' + text.replace('"', '""') + '"' if delimiter in text or '"' in text else text
    return "\n".join(delimiter.join(cell(value) for value in row) for row in [columns, *rows]) + "\n"


def pool(rng, kind, count):
    if isinstance(kind, list):
        return kind
    make = {"firm": lambda: f"{rng.choice(FIRMS)} {rng.choice(KINDS)}", "place": lambda: rng.choice(PLACES),
            "person": lambda: f"{rng.choice(FIRST)} {rng.choice(LAST)}"}[kind]
    made = set()
    while len(made) < count:
        made.add(make())
    return sorted(made)


def value(rng, low, high, decimals):
    return round(rng.uniform(low, high), decimals) if decimals else rng.randint(low, high)


def single(rng):
    """One table: its rows as dicts, and its text."""
    scene = rng.choice(SCENES)
    year = rng.randint(2021, 2025)
    pools = {name: pool(rng, kind, 4) for name, kind in scene["cats"].items()}
    rows = []
    for _ in range(rng.randint(60, 140)):
        row = {scene["date"]: datetime.date(year, 1, 1) + datetime.timedelta(days=rng.randrange(365))}
        row.update({name: rng.choice(values) for name, values in pools.items()})
        row.update({name: value(rng, *of[2:]) for name, of in scene["nums"].items()})
        rows.append(row)
    styles = rng.choice([[0], [0, 1, 2], [1], [2]])
    order = list(rows[0])
    rng.shuffle(order)
    def cell(row, name):
        if name == scene["date"]:
            return written(rng, row[name], rng.choice(styles))
        decimals = scene["nums"].get(name, (0, 0, 0, 0, 0))[4]
        return f"{row[name]:.{decimals}f}" if decimals else row[name]
    delimiter = rng.choice(",,;\t")
    text = table(rng, order, [[cell(row, name) for name in order] for row in rows], delimiter)
    return scene, year, pools, rows, {scene["file"] + (".tsv" if delimiter == "\t" else ".csv"): text}


def pair(rng):
    """Two tables that a key joins."""
    scene = rng.choice(JOINS)
    year = rng.randint(2021, 2025)
    names = pool(rng, "firm" if scene["parent"] != "members" else "person", 9)
    keys = rng.sample(range(100, 999), 9)
    mark = scene["key"][0].upper()
    parents = [{"key": f"{mark}{key}", "name": name, "attr": rng.choice(scene["attr"][1])} for key, name in zip(keys, names)]
    children = []
    for number_ in range(rng.randint(60, 110)):
        parent = rng.choice(parents[:-2])
        children.append({"id": f"N{1000 + number_}", "parent": parent, "date": datetime.date(year, 1, 1) + datetime.timedelta(days=rng.randrange(365)),
                         "num": value(rng, *scene["num"][2:]), "cat": rng.choice(scene["cat"][1])})
    decimals = scene["num"][4]
    files = {
        scene["child"] + ".csv": table(rng, ["id", scene["key"], scene["date"], scene["num"][0], scene["cat"][0]],
                                       [[c["id"], c["parent"]["key"], c["date"].isoformat(), f"{c['num']:.{decimals}f}", c["cat"]] for c in children], ","),
        scene["parent"] + ".csv": table(rng, [scene["key"], scene["name"], scene["attr"][0]], [[p["key"], p["name"], p["attr"]] for p in parents], ","),
    }
    return scene, year, parents, children, files


def measure(rng, scene):
    name = rng.choice(list(scene["nums"]))
    return name, scene["nums"][name][0]


def pick(rng, scene, pools, count):
    names = rng.sample(list(pools), min(count, len(pools)))
    return {name: rng.choice(pools[name]) for name in names}


def matching(rows, chosen):
    return [row for row in rows if all(row[name] == wanted for name, wanted in chosen.items())]


def spoken(rng, scene, chosen):
    """Rows with their conditions: as people say it, or with the names of the columns."""
    noun = files_noun(scene)
    if rng.random() < 0.3:
        return noun + (" with " + " and ".join(f"{name} {wanted}" for name, wanted in chosen.items()) if chosen else "")
    before = " ".join(wanted for name, wanted in chosen.items() if not scene["says"][name])
    behind = " ".join(f"{scene['says'][name]} {wanted}" for name, wanted in chosen.items() if scene["says"][name])
    return " ".join(part for part in (before, noun, behind) if part)


def totals(rng):
    scene, year, pools, rows, files = single(rng)
    name, word = measure(rng, scene)
    chosen = pick(rng, scene, pools, rng.randint(1, 3))
    found = matching(rows, chosen)
    which = spoken(rng, scene, chosen)
    goal = rng.choice([f"What is the total {word} of {which}?", f"total {word} of {which}?", f"Add up the {word} of all {which}.",
                       f"{word} of {which} altogether?", f"What do the {which} come to in total {word}?"])
    return Case("totals", goal, files, [number(sum(row[name] for row in found))]) if found else totals(rng)


def counts(rng):
    scene, year, pools, rows, files = single(rng)
    chosen = pick(rng, scene, pools, rng.randint(1, 2))
    found = matching(rows, chosen)
    which = spoken(rng, scene, chosen)
    goal = rng.choice([f"How many {which} are there?", f"Count the {which}.", f"number of {which} please", f"How many {which} do we have?"])
    return Case("counts", goal, files, [number(len(found))]) if found else counts(rng)


def files_noun(scene):
    return "deliveries" if scene["row"] == "delivery" else scene["row"] + "s"


def span(rng, year):
    first = datetime.date(year, rng.randint(1, 8), rng.randint(1, 28))
    month, late = rng.randint(1, 8), rng.randint(9, 11)
    day = f"{first.day} {MONTHS[first.month - 1]} {year}"
    end = (datetime.date(year, late % 12 + 1, 1) - datetime.timedelta(days=1))
    quarter = rng.randint(1, 4)
    return rng.choice([
        (f"after {day}", lambda d: d > first), (f"from {day} on", lambda d: d >= first), (f"before {day}", lambda d: d < first), (f"until {day} (that day included)", lambda d: d <= first),
        (f"in {MONTHS[month - 1]} {year}", lambda d: d.month == month), (f"in {MONTHS[month - 1]}", lambda d: d.month == month),
        (f"from {MONTHS[month - 1]} to {MONTHS[late - 1]} {year}", lambda d: datetime.date(year, month, 1) <= d <= end),
        (f"between {first.isoformat()} and {end.isoformat()}", lambda d: first <= d <= end),
        (f"in the {['first', 'second', 'third', 'fourth'][quarter - 1]} quarter of {year}", lambda d: (d.month + 2) // 3 == quarter),
    ])


def dates(rng):
    scene, year, pools, rows, files = single(rng)
    words, fits = span(rng, year)
    chosen = pick(rng, scene, pools, rng.randint(0, 1))
    found = [row for row in matching(rows, chosen) if fits(row[scene["date"]])]
    which = spoken(rng, scene, chosen)
    if rng.random() < 0.5:
        goal, expected = rng.choice([f"How many {which} were there {words}?", f"How many {which} were {scene['verb']} {words}?"]), len(found)
    else:
        name, word = measure(rng, scene)
        goal, expected = f"What was the total {word} of {which} {words}?", sum(row[name] for row in found)
    return Case("dates", goal, files, [number(expected)]) if found else dates(rng)


def joins(rng):
    scene, year, parents, children, files = pair(rng)
    attr = rng.choice(scene["attr"][1])
    cat = rng.choice(scene["cat"][1])
    word = scene["num"][1]
    found = [c for c in children if c["parent"]["attr"] == attr]
    form = rng.randrange(4)
    plural = scene["child"]
    if form == 0:
        goal, expected = f"What is the total {word} of the {plural} of {scene['parent']} with {scene['attr'][0]} {attr}?", sum(c["num"] for c in found)
    elif form == 1:
        goal, expected = f"How many {cat} {plural} do {attr} {scene['parent']} have?", len([c for c in found if c["cat"] == cat])
    elif form == 2:
        goal, expected = f"Total {word} of {plural} by {attr} {scene['parent']}, without the {cat} ones?", sum(c["num"] for c in found if c["cat"] != cat)
    else:
        name = rng.choice(parents[:-2])["name"]
        goal, expected = f"How many {plural} does {name} have?", len([c for c in children if c["parent"]["name"] == name])
    return Case("joins", goal, files, [number(expected)]) if expected else joins(rng)


def tops(rng):
    scene, year, parents, children, files = pair(rng)
    sums = collections.Counter()
    form = rng.randrange(3)
    cat = rng.choice(scene["cat"][1])
    for c in children:
        if form == 0:
            sums[c["parent"]["name"]] += c["num"]
        elif form == 1 and c["cat"] != cat:
            sums[c["parent"]["attr"]] += c["num"]
        elif form == 2:
            sums[c["parent"]["name"]] += 1
    ranked = sums.most_common()
    if len(ranked) < 4 or ranked[0][1] == ranked[1][1]:
        return tops(rng)
    winner, best = ranked[0]
    goal = [f"Which {scene['prow']} has the highest total {scene['num'][1]}, and how much is it?",
            f"Which {scene['attr'][0]} has the largest total {scene['num'][1]} if we leave out {cat} {scene['child']}, and how much?",
            f"Which {scene['prow']} has the most {scene['child']}, and how many?"][form]
    others = [re.escape(name) for name, _ in ranked[1:]]
    return Case("tops", goal, files, [re.escape(winner), number(best)], others)


def averages(rng):
    scene, year, pools, rows, files = single(rng)
    name, word = measure(rng, scene)
    chosen = pick(rng, scene, pools, 1)
    found = matching(rows, chosen)
    which = spoken(rng, scene, chosen)
    goal = rng.choice([f"What is the average {word} of {which}?", f"mean {word} of {which}?", f"What is the {word} of {which} on average?"])
    return Case("averages", goal, files, [rounded(sum(row[name] for row in found) / len(found))]) if found else averages(rng)


def groups(rng):
    scene, year, pools, rows, files = single(rng)
    column = rng.choice(list(pools))
    is_count = rng.random() < 0.5
    name, word = measure(rng, scene)
    sums = collections.Counter()
    for row in rows:
        sums[row[column]] += 1 if is_count else row[name]
    what = f"number of {files_noun(scene)}" if is_count else f"total {word}"
    goal = rng.choice([f"Give me the {what} per {column}.", f"{what} by {column}?", f"What is the {what} for each {column}?"])
    return Case("groups", goal, files, [rf"{re.escape(key)}.*{number(total)}" for key, total in sums.items()])


def withouts(rng):
    scene, year, parents, children, files = pair(rng)
    has = {c["parent"]["key"] for c in children}
    lone = [p for p in parents if p["key"] not in has]
    goal = rng.choice([f"Which {scene['parent']} have no {scene['child']}?", f"Which {scene['prow']} has no {scene['crow']} at all?", f"List the {scene['parent']} without any {scene['child']}."])
    return Case("withouts", goal, files, [re.escape(p["name"]) for p in lone], [re.escape(p["name"]) for p in parents if p["key"] in has])


def distincts(rng):
    scene, year, parents, children, files = pair(rng)
    cat = rng.choice(scene["cat"][1])
    found = {c["parent"]["key"] for c in children if c["cat"] == cat}
    goal = f"How many different {scene['parent']} have {cat} {scene['child']}?"
    return Case("distincts", goal, files, [number(len(found))])


def shares(rng):
    scene, year, pools, rows, files = single(rng)
    names = rng.sample(list(pools), 2)
    one, other = rng.choice(pools[names[0]]), rng.choice(pools[names[1]])
    base = [row for row in rows if row[names[0]] == one]
    part = [row for row in base if row[names[1]] == other]
    if not part:
        return shares(rng)
    which = spoken(rng, scene, {names[0]: one})
    said = scene["says"][names[1]]
    end = f"have {names[1]} {other}" if rng.random() < 0.4 else f"are {said} {other}".replace("  ", " ")
    goal = rng.choice([f"What percentage of the {which} {end}?", f"What share of the {which} {end}?"])
    share = 100 * len(part) / len(base)
    near = "|".join({re.escape(f"{share:.{n}f}") for n in (0, 1, 2, 3)} if share == round(share) else {re.escape(f"{share:.{n}f}") for n in (1, 2, 3)})
    return Case("shares", goal, files, [rf"(?<![\d.,])(?:{near})"])


def limits(rng):
    scene, year, pools, rows, files = single(rng)
    name, word = measure(rng, scene)
    low, high = scene["nums"][name][2:4]
    limit = rng.randint(low + (high - low) // 4, high - (high - low) // 4)
    words, fits = rng.choice([("more than", lambda v: v > limit), ("at least", lambda v: v >= limit), ("less than", lambda v: v < limit), ("at most", lambda v: v <= limit)])
    found = [row for row in rows if fits(row[name])]
    unit = scene["nums"][name][1]
    amount = f"{words} {limit} {unit}" if unit and unit != "EUR" else f"a {word} of {words} {limit}"
    goal = rng.choice([f"How many {files_noun(scene)} have {amount}?", f"Count the {files_noun(scene)} with {amount}."])
    return Case("limits", goal, files, [number(len(found))])


def lookups(rng):
    scene, year, parents, children, files = pair(rng)
    form = rng.randrange(2)
    parent = rng.choice(parents)
    child = rng.choice(children)
    if form == 0:
        return Case("lookups", f"What is the {scene['attr'][0]} of {parent['name']}?", files, [parent["attr"]], [a for a in scene["attr"][1] if a != parent["attr"]])
    return Case("lookups", f"What is the {scene['cat'][0]} of {scene['crow']} {child['id']}?", files, [child["cat"]], [a for a in scene["cat"][1] if a != child["cat"]])


def misspelt(rng):
    case = rng.choice([totals, counts, joins])(rng)
    words = case.goal.split(" ")
    at = rng.choice([at for at, word in enumerate(words) if len(word) > 6 and word.isalpha()] or [0])
    word = words[at]
    cut = rng.randrange(2, max(3, len(word) - 2))
    words[at] = word[:cut] + word[cut + 1:cut + 2] + word[cut:cut + 1] + word[cut + 2:]
    return Case("misspelt", " ".join(words), case.files, case.must, case.never)


SAYS_NOT = r"no column|not occur|nowhere|no row|does not|doesn't|isn't|not (?:in|given|there|stated)|none of"


def unanswerable(rng):
    scene, year, pools, rows, files = single(rng)
    chosen = pick(rng, scene, pools, 1)
    which = spoken(rng, scene, chosen)
    goal = rng.choice([
        f"What is the total {rng.choice(['discount', 'mileage', 'temperature', 'commission'])} of {which}?",
        f"What is the average {rng.choice(['age', 'height', 'rating', 'salary'])} of {which}?",
        f"How many {files_noun(scene)} were there {scene['says'][list(pools)[0]] or 'of'} {rng.choice(['Zorbana', 'Quixley Partners', 'Wexmoor'])}?",
        f"How much {rng.choice(['electricity', 'insurance', 'postage'])} was used for {which}?",
    ])
    return Case("unanswerable", goal, files, [SAYS_NOT])


FORMS = [totals, counts, dates, joins, tops, averages, groups, withouts, distincts, shares, limits, lookups, misspelt, unanswerable]


def cases(seed, per_form):
    rng = random.Random(f"tables {seed}")
    made = []
    for form in FORMS:
        for _ in range(4 if form is unanswerable else per_form):
            case = form(rng)
            case.goal = rng.choice(ASK).format(q=case.goal)
            made.append(case)
    return made


def run(arguments, case):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in case.files.items():
            pathlib.Path(folder, name).write_text(text)
        command = [arguments.binary, "run", case.goal, "--json", "--quiet", "-f", folder]
        command[1:1] = ["--home", arguments.home] if arguments.home else []
        command += ["--strategy", arguments.strategy] if arguments.strategy else []
        begin = time.time()
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=900)
    try:
        return json.loads(done.stdout), time.time() - begin
    except ValueError:
        return {"status": "failed", "answer": "", "strategy": "-", "error": done.stderr[-300:]}, time.time() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--per-form", type=int, default=2)
    parser.add_argument("--home")
    parser.add_argument("--strategy", help="default: the run chooses")
    parser.add_argument("--form", help="only these forms, comma-separated")
    parser.add_argument("--out", help="write each outcome to this file, a line of JSON each")
    parser.add_argument("--suite", help="write the questions to this file and run nothing")
    arguments = parser.parse_args()
    right, total, sure, sure_right = (collections.Counter() for _ in range(4))
    for seed in arguments.seeds.split(","):
        for at, case in enumerate(cases(seed, arguments.per_form)):
            if arguments.form and case.form not in arguments.form.split(","):
                continue
            name = f"{case.form}-{seed}-{at}"
            if arguments.suite:
                line = {"id": name, "kind": case.form, "goal": case.goal, "files": case.files, "answer_must": case.must}
                with open(arguments.suite, "a") as file:
                    file.write(json.dumps(line) + "\n")
                continue
            outcome, seconds = run(arguments, case)
            ok = case.is_right(outcome["answer"])
            right[case.form] += ok
            total[case.form] += 1
            if outcome["status"] == "completed":
                sure[case.form] += 1
                sure_right[case.form] += ok
            shown = " ".join(outcome["answer"].split())[:400]
            print(f"{name:20} {'right' if ok else 'WRONG'} {outcome['status']:11} {outcome['strategy']:7} {seconds:5.1f} s", flush=True)
            if not ok or outcome["status"] != "completed":
                print(f"    {case.goal}\n    must {case.must} never {case.never}\n    {shown}", flush=True)
            if arguments.out:
                with open(arguments.out, "a") as file:
                    file.write(json.dumps({"id": name, "ok": ok, "goal": case.goal, "seconds": seconds, **outcome}) + "\n")
    for form in total:
        print(f"{form}: {right[form]}/{total[form]} right; completed {sure[form]}, of them right {sure_right[form]}")
    print(f"all: {right.total()}/{total.total()} right; completed {sure.total()}, of them right {sure_right.total()}")


if __name__ == "__main__":
    main()
