#!/usr/bin/env python3
"""Makes goals that ask where documents disagree, from a seed, and runs them.

usage: compare_goals.py BANDMASTER [--seeds 1,2,3] [--home DIR] [--scene NAME] [--write SUITE.jsonl] [--any-strategy]

Each scene is a set of facts that three to five documents state in their own forms: mail, minutes, tables, lists,
configurations, prose. None, one or two of the facts are given differently in one document. Every document also has
statements that only look like these: another year's figure, another thing that is counted. An answer is right if it has both
values and both files of every planted contradiction and names no other, or says that there is none. With --write, the goals are
written to a suite and not run.
"""
import argparse, collections, json, pathlib, random, re, subprocess, tempfile, time

MONTHS = "January February March April May June July August September October November December".split()
FIRST = "Imogen Tadeo Bridget Osric Maren Leopold Sunniva Anselm Rosalind Piotr Yusra Caspian Dorothea Emeka Hilde Joaquin".split()
LAST = "Ravenscroft Okonjo Thistlewood Marchetti Lindqvist Abernathy Kowalczyk Pemberton Sørli Delacroix Hargreave Nakamura".split()
TOWNS = "Brackenford Wexcombe Saltmarsh Ormsby Thornwick Ellersby Penhallow Kirkstead Fenwood Marlow".split()
GOALS = [
    "Where do these disagree? Give me both values and the files.",
    "Do these documents contradict each other anywhere? Say what differs and in which files.",
    "pls check wether these files agree, and if not tell me which value is in which file",
    "Is there any inconsistency between the attached texts? I want the two values and where they stand.",
    "Find whatever doesn't match across these documents.",
    "Could you kindly look for statements in these papers that can't both be true, naming the documents?",
    "One of these may say something else than the others. What, and which one?",
    "Compare the facts in these files and report every discrepancy with its sources.",
]
FILLER = [
    "Thanks to everybody who helped.", "The printer is still waiting for a spare part.", "Please bring your own cup.",
    "More about this in the next letter.", "The weather has been kind to us so far.", "Nothing else was discussed.",
    "Do call if something is unclear.", "The old plan can be thrown away.", "We are looking forward to it.",
]


class Dice(random.Random):
    def name(self):
        return f"{self.choice(FIRST)} {self.choice(LAST)}"


class Number:
    def __init__(self, low, high, step=1, unit=""):
        self.low, self.high, self.step, self.unit = low, high, step, unit

    def draw(self, dice):
        return dice.randrange(self.low, self.high, self.step)

    def show(self, value, dice):
        text = f"{value:,}" if value >= 1000 and dice.random() < 0.7 else str(value)
        return text + self.unit

    def pattern(self, value):
        return rf"(?<![\d.,]){value:,}(?!\d)|(?<![\d.,]){value}(?!\d)"


class Money(Number):
    def show(self, value, dice):
        comma, point = f"{value:,}", f"{value:,}".replace(",", ".")
        return dice.choice([f"EUR {comma}", f"{comma} euros", f"€{comma}", f"{point} EUR", f"{value} euros"])

    def pattern(self, value):
        return Number.pattern(self, value) + "|" + re.escape(f"{value:,}".replace(",", "."))


class Months(Number):
    def show(self, value, dice):
        years = value // 12
        if value % 12 == 0 and dice.random() < 0.4:
            return f"{years} year" + ("s" if years > 1 else "")
        return f"{value} months"

    def pattern(self, value):
        years = rf"|\b{value // 12} years?" if value % 12 == 0 else ""
        return rf"\b{value} months" + years


class Day:
    def draw(self, dice):
        return (2027, dice.randint(1, 12), dice.randint(1, 28))

    def forms(self, value):
        year, month, day = value
        name = MONTHS[month - 1]
        return [f"{day} {name} {year}", f"{name} {day}, {year}", f"{year}-{month:02}-{day:02}", f"{day:02}.{month:02}.{year}",
                f"{day} {name[:3]} {year}", f"{day} {name}"]

    def show(self, value, dice):
        return dice.choice(self.forms(value))

    def pattern(self, value):
        return "|".join(re.escape(form) for form in self.forms(value))


class Clock:
    def draw(self, dice):
        return (dice.randint(6, 20), dice.choice([0, 15, 30, 45]))

    def forms(self, value):
        hour, minute = value
        half = "am" if hour < 12 else "pm"
        short = (hour - 1) % 12 + 1
        return [f"{hour:02}:{minute:02}", f"{hour}:{minute:02}", f"{short}:{minute:02} {half}", f"{short}.{minute:02} {half}"]

    def show(self, value, dice):
        return dice.choice(self.forms(value))

    def pattern(self, value):
        return "|".join(re.escape(form) for form in self.forms(value))


class Words:
    """A name, a code or a place, always written the same way."""
    def __init__(self, draw):
        self.draw = draw

    def show(self, value, dice):
        return value

    def pattern(self, value):
        return re.escape(value)


person = Words(lambda dice: dice.name())
town = Words(lambda dice: dice.choice(TOWNS))
room = Words(lambda dice: f"{dice.choice('ABCDEFGH')}{dice.randint(100, 499)}")
order = Words(lambda dice: f"{dice.choice(['PO', 'WX', 'KL'])}-{dice.randint(10000, 99999)}")
version = Words(lambda dice: f"{dice.randint(2, 9)}.{dice.randint(0, 19)}.{dice.randint(1, 9)}")
mail = Words(lambda dice: f"{dice.choice(['help', 'desk', 'care', 'team'])}@{dice.choice(TOWNS).lower()}.example")

# A fact: kind of value, sentences that state it, and keys of a form. Near misses: sentences about something else.
SCENES = {
    "marathon": (
        {"start": (Clock(), ["The first wave starts at {}.", "We start at {} sharp.", "The gun goes off at {} for the start."], ["start", "start time"]),
         "runners": (Number(1500, 6000, 50), ["We have {} registered runners.", "{} runners will take part.", "The course is closed for {} runners."], ["runners", "number of runners"]),
         "fee": (Money(30, 95), ["The entry fee is {}.", "Every starter pays an entry fee of {}."], ["entry fee", "fee"]),
         "bibs": (Day(), ["Bibs are handed out on {}.", "Bib pick-up is on {}."], ["bib pick-up", "bibs handed out"]),
         "head": (person, ["{} is the race director.", "The race director is {}."], ["race director", "director"])},
        ["Last year 1,310 runners finished.", "Volunteers meet at 5:10.", "48 toilets are ordered.", "Sponsors pay 2,500 euros each."]),
    "rental": (
        {"rent": (Money(600, 1900, 10), ["The monthly rent is {}.", "The rent comes to {} a month."], ["rent", "monthly rent"]),
         "deposit": (Money(2000, 5000, 100), ["A deposit of {} is due before the keys are handed over.", "The tenant leaves a deposit of {}."], ["deposit", "deposit due"]),
         "notice": (Months(1, 7), ["The notice period is {}.", "Either side may end the lease with a notice of {}."], ["notice period", "notice"]),
         "area": (Number(40, 140), ["The flat has {} square metres.", "Its area is {} square metres."], ["area (square metres)", "square metres"]),
         "move": (Day(), ["The tenant moves in on {}.", "The move-in date is {}."], ["move-in date", "move in"])},
        ["The tenant before paid 540 euros.", "The cellar has 9 shelves.", "The heating was checked on 2 November 2021.", "There are 3 keys to the bin shed."]),
    "release": (
        {"version": (version, ["We ship version {}.", "Version {} is the one that goes out."], ["version", "release_version"]),
         "day": (Day(), ["The release goes out on {}.", "Release day is {}."], ["release_date", "release day"]),
         "memory": (Number(4, 64, 4, " GB"), ["It needs {} of memory.", "Machines need {} of memory."], ["memory", "memory_required"]),
         "seats": (Number(20, 400), ["The licence covers {} seats.", "We pay for {} seats."], ["seats", "licence_seats"]),
         "support": (mail, ["Support answers at {}.", "Questions go to support at {}."], ["support", "support_address"])},
        ["Version 1.4.2 was withdrawn long ago.", "The test took 37 minutes.", "The office has 12 desks.", "Training is on 5 December 2026."]),
    "trial": (
        {"dose": (Number(5, 80, 5, " mg"), ["Each patient takes a dose of {} a day.", "The daily dose is {}."], ["dose", "daily dose"]),
         "patients": (Number(40, 400), ["{} patients are enrolled.", "The trial enrols {} patients."], ["patients", "patients enrolled"]),
         "visits": (Number(3, 19), ["There are {} visits at the clinic.", "Every patient comes for {} visits."], ["visits", "clinic visits"]),
         "lead": (person, ["{} leads the study as principal investigator.", "The principal investigator is {}."], ["principal investigator"]),
         "room": (room, ["Blood is drawn in room {}.", "Patients report to room {}."], ["room", "reception room"])},
        ["In the pilot 17 patients took part.", "The freezer holds 600 samples.", "The ethics board met on 9 October 2026.", "Nurses work in 2 shifts."]),
    "loan": (
        {"items": (Number(12, 90), ["The loan comprises {} paintings.", "We lend {} paintings."], ["paintings", "number of paintings"]),
         "value": (Money(100000, 900000, 5000), ["They are insured for {}.", "The insured value is {}."], ["insured value", "insurance value"]),
         "pickup": (Day(), ["The crates are collected on {}.", "Collection of the crates is on {}."], ["collection", "crates collected"]),
         "humidity": (Number(40, 60, 1, " %"), ["Humidity has to be kept at {}.", "A humidity of {} is required."], ["humidity", "relative humidity"]),
         "registrar": (person, ["{} is the registrar in charge.", "Our registrar {} signs the papers."], ["registrar"])},
        ["The museum owns 2,400 drawings.", "The catalogue costs 35 euros.", "The show closes on 30 November 2028.", "Two guards work at night."]),
    "trip": (
        {"bus": (Clock(), ["The bus leaves at {}.", "Departure of the bus is at {}."], ["bus leaves", "departure"]),
         "pupils": (Number(20, 95), ["{} pupils are coming along.", "We travel with {} pupils."], ["pupils", "number of pupils"]),
         "cost": (Money(90, 400, 5), ["The trip costs {} per pupil.", "Every family pays a cost of {} per pupil."], ["cost per pupil", "cost"]),
         "where": (town, ["The hostel is in {}.", "We sleep at the hostel of {}."], ["hostel", "place of the hostel"]),
         "teacher": (person, ["{} is the teacher in charge.", "The teacher in charge is {}."], ["teacher in charge"])},
        ["Lunch is at 12:20.", "Last time 14 pupils were sick.", "The deposit was 25 euros.", "The school has 640 pupils."]),
    "machine": (
        {"order": (order, ["Your order {} is on its way.", "The order has the number {}."], ["order", "order number"]),
         "warranty": (Months(12, 61), ["The warranty lasts {}.", "We give a warranty of {}."], ["warranty", "warranty period"]),
         "voltage": (Number(110, 480, 10, " V"), ["It runs on {}.", "The supply voltage must be {}."], ["voltage", "supply voltage"]),
         "price": (Money(3000, 48000, 50), ["The lathe costs {} net.", "We agreed on a net price of {}."], ["net price", "price"]),
         "delivery": (Day(), ["Delivery is on {}.", "The lathe will be delivered on {}."], ["delivery", "delivery date"])},
        ["The old lathe had a warranty of 6 months.", "The floor carries 900 kg.", "Your offer is dated 3 March 2026.", "Training costs 480 euros."]),
    "server": (
        {"port": (Number(2000, 9000), ["The queue listens on port {}.", "Point your client to port {}."], ["port", "listen_port"]),
         "timeout": (Number(5, 120, 5, " seconds"), ["Requests time out after {}.", "The timeout is {}."], ["timeout", "request timeout"]),
         "workers": (Number(2, 64), ["It runs {} workers.", "We start {} workers on each machine."], ["workers", "worker_count"]),
         "retention": (Number(3, 90, 1, " days"), ["Messages are kept for {}.", "We keep messages for {}."], ["messages_kept", "keep messages"]),
         "owner": (person, ["{} is the owner of the queue.", "Ask the owner {}."], ["owner"])},
        ["The old queue listened to 40 clients.", "Restarts took 11 seconds in spring.", "The rack has 42 units.", "Backups are made at 2:40."]),
    "choir": (
        {"concert": (Day(), ["The concert is on {}.", "We sing our concert on {}."], ["concert", "date of the concert"]),
         "doors": (Clock(), ["Doors open at {}.", "The doors are opened at {}."], ["doors", "doors open"]),
         "singers": (Number(18, 120), ["{} singers are on stage.", "The choir has {} singers."], ["singers", "number of singers"]),
         "ticket": (Money(8, 45), ["A ticket costs {}.", "Tickets are {} each."], ["ticket", "ticket price"]),
         "conductor": (person, ["{} conducts.", "The conductor is {}."], ["conductor"])},
        ["In 2019 we had 31 singers.", "The rehearsal begins at 4:50 pm.", "The piano cost 7,200 euros.", "The next concert will be in spring."]),
}
FILES = {
    "mail": ["mail_{}.txt", "{}.eml"], "minutes": ["minutes-{}.md", "meeting_{}.txt"], "table": ["{}-sheet.md", "{}_overview.md"],
    "list": ["{}-facts.md", "{}_notes.txt"], "config": ["{}.ini", "{}.conf"], "prose": ["about-{}.md", "{}-letter.txt"],
}


def write(form, title, facts, extra, dice):
    """A document of a form. `facts` are pairs of a sentence and a key with the value shown."""
    dice.shuffle(facts)
    sentences = [sentence for sentence, _, _ in facts]
    for line in extra:
        sentences.insert(dice.randint(0, len(sentences)), line)
    pairs = [(key, value) for _, key, value in facts]
    if form == "mail":
        return (f"From: {dice.name()} <{dice.choice(FIRST).lower()}@example.org>\nTo: {dice.name()} <x@example.org>\n"
                f"Date: Mon, {dice.randint(1, 28):02} Feb 2026 {dice.randint(10, 19)}:{dice.randint(10, 59)}\nSubject: {title}\n\n"
                f"Hello,\n\n{' '.join(sentences)}\n\nBest wishes,\n{dice.choice(FIRST)}\n")
    if form == "minutes":
        return f"# Minutes: {title}\n\n" + "".join(f"{at}. {line}\n" for at, line in enumerate(sentences, 1))
    if form == "table":
        return f"# {title}\n\n| item | value |\n|---|---|\n" + "".join(f"| {k} | {v} |\n" for k, v in pairs) + "\n" + " ".join(extra) + "\n"
    if form == "list":
        return f"{title}\n\n" + "".join(f"- {k}: {v}\n" for k, v in pairs) + "".join(f"- {line}\n" for line in extra)
    if form == "config":
        return f"; {title}\n[main]\n" + "".join(f"{k.replace(' ', '_')} = {v}\n" for k, v in pairs)
    half = len(sentences) // 2
    return f"# {title}\n\n{' '.join(sentences[:half])}\n\n## More\n\n{' '.join(sentences[half:])}\n"


def make(scene, seed, planted):
    dice = Dice(f"{scene} {seed} {planted}")
    facts, misses = SCENES[scene]
    forms = dice.sample(list(FILES), dice.randint(3, 5))
    stem = dice.choice(TOWNS).lower()
    names = {form: dice.choice(FILES[form]).format(stem) for form in forms}
    values, wrong, where = {}, {}, {}
    for fact, (kind, _, _) in facts.items():
        values[fact] = kind.draw(dice)
        where[fact] = dice.sample(forms, dice.randint(2, min(3, len(forms))))
        if dice.random() < 0.15:
            where[fact] = where[fact][:1]
    for fact in dice.sample([fact for fact in facts if len(where[fact]) > 1], min(planted, 2)):
        other = facts[fact][0].draw(dice)
        while re.search(facts[fact][0].pattern(other), facts[fact][0].show(values[fact], dice)) or other == values[fact]:
            other = facts[fact][0].draw(dice)
        wrong[fact] = (dice.choice(where[fact]), other)
    texts = {}
    for form in forms:
        stated = []
        for fact, (kind, sentences, keys) in facts.items():
            if form in where[fact]:
                value = wrong[fact][1] if fact in wrong and wrong[fact][0] == form else values[fact]
                shown = kind.show(value, dice)
                stated.append((dice.choice(sentences).format(shown), dice.choice(keys), shown))
        extra = dice.sample(misses, 1) + dice.sample(FILLER, 2)
        texts[names[form]] = write(form, f"{dice.choice(TOWNS)} {scene}", stated, extra, dice)
    expected = []
    for fact, (form, other) in wrong.items():
        kind = facts[fact][0]
        rest = [names[one] for one in where[fact] if one != form]
        expected.append({"patterns": [kind.pattern(values[fact]), kind.pattern(other)], "odd": names[form], "others": rest})
    return {"id": f"{scene}-{seed}-{planted}", "kind": "compare", "goal": dice.choice(GOALS), "files": texts, "expected": expected}


def is_right(item, answer):
    none = re.search(r"(?i)no contradiction", answer)
    if not item["expected"]:
        return bool(none)
    points = re.search(r"in (one|two|\d+) points?", answer)
    count = {"one": 1, "two": 2}.get(points[1], 0) or int(points[1]) if points else 0
    def has(one):
        values = all(re.search(pattern, answer) for pattern in one["patterns"])
        return values and one["odd"] in answer and any(name in answer for name in one["others"])
    return count == len(item["expected"]) and all(has(one) for one in item["expected"])


def run(a, item):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in item["files"].items():
            pathlib.Path(folder, name).write_text(text)
        command = [a.bandmaster, "run", item["goal"], "--json", "--quiet", "-f", folder]
        command += ["--home", a.home] if a.home else []
        command += [] if a.any_strategy else ["--strategy", "compare"]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=900)
    return json.loads(done.stdout) if done.stdout.strip() else {"answer": done.stderr, "status": "failed", "strategy": "?"}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("bandmaster"); p.add_argument("--seeds", default="1,2,3"); p.add_argument("--home"); p.add_argument("--scene")
    p.add_argument("--write"); p.add_argument("--any-strategy", action="store_true", help="let the goal choose the strategy")
    a = p.parse_args()
    items = [make(scene, seed, planted) for seed in a.seeds.split(",") for at, scene in enumerate(SCENES)
             for planted in [(at + int(seed)) % 4 if (at + int(seed)) % 4 < 3 else 1] if not a.scene or scene == a.scene]
    if a.write:
        pathlib.Path(a.write).write_text("".join(json.dumps(item) + "\n" for item in items))
        return
    right = collections.Counter()
    for item in items:
        began = time.time()
        out = run(a, item)
        ok = is_right(item, out["answer"])
        right[ok] += 1
        right["completed"] += out["status"] == "completed"
        right["completed right"] += ok and out["status"] == "completed"
        told = "" if ok else f" | {' '.join(out['answer'].split())[:400]} | wanted {json.dumps(item['expected'])}"
        print(f"{item['id']:16} {'right' if ok else 'WRONG'} {out['status']:11} {out['strategy']:8} {time.time() - began:5.1f}s{told}", flush=True)
    print(f"{right[True]}/{len(items)} right; completed {right['completed']}, of them right {right['completed right']}")


if __name__ == "__main__":
    main()
