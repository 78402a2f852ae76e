#!/usr/bin/env python3
"""Writes a suite of questions whose answer several files lead to, with new names and codes for each seed.

usage: follow_goals.py [--seed N] [--rounds N] > suite.jsonl; bandmaster bench accuracy --suite suite.jsonl --strategy auto

A round has one question of each scene. Each has decoys: other lines of the same form, and people who share a family name.
"""
import argparse, json, random, re

FIRST = "Ada Milo Ines Bruno Petra Juno Oskar Lena Karim Tilda Hugo Mara Nils Vera Samir Edda Ruben Greta Pavel Noor".split()
LAST = "Thorne Brandt Varga Lund Weiss Falk Osei Moreau Kato Silva Keller Novak Haddad Berg Rossi Dahl".split()
TOWNS = "Arle Borne Cadby Dorst Elmen Farrow Gorsk Hulme Istra Jarn".split()

class World:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.names = [f"{a} {b}" for a in FIRST for b in LAST]
        self.r.shuffle(self.names)
    def people(self, n):
        return [self.names.pop() for _ in range(n)]
    def codes(self, n, form):
        made = set()
        while len(made) < n:
            made.add("".join({"A": chr(self.r.randrange(65, 91)), "a": chr(self.r.randrange(97, 123)), "0": str(self.r.randrange(10))}.get(c, c) for c in form))
        made = sorted(made); self.r.shuffle(made)
        return made
    def shuffled(self, xs):
        xs = list(xs); self.r.shuffle(xs)
        return xs
    def numbers(self, n, low, high):
        return self.r.sample(range(low, high), n)

def csv(head, rows): return "\n".join([",".join(head)] + [",".join(map(str, row)) for row in rows]) + "\n"

def loans(w):
    people, cards, copies, phones = w.people(7), w.codes(7, "A00a"), w.codes(7, "cp-00a"), w.numbers(7, 4000, 5000)
    files = {"loans.csv": csv(["day", "copy", "card"], [(f"2026-02-{d:02}", c, k) for d, c, k in zip(sorted(w.numbers(7, 1, 29)), copies, cards)]),
             "cards.txt": "".join(f"{k}: {p}\n" for k, p in w.shuffled(zip(cards, people))),
             "phones.json": json.dumps({p: {"phone": str(n)} for p, n in w.shuffled(zip(people, phones))}, indent=1)}
    return f"somebody still has {copies[2]}. which number do i have to ring?", files, phones[2], phones[:2] + phones[3:]

def pump(w):
    halls, models, seals = [f"Hall {c}" for c in w.codes(6, "0A")], w.codes(6, "AA-000"), w.codes(6, "A00")
    a, b = w.people(2)
    files = {"note.txt": f"From: {a}\nTo: {b}\nSubject: pump\n\nHello,\n\nthe pump in {halls[1]} drips again. Nobody has looked at it since Monday, and the floor is wet. Could you get a new seal?\n\nThanks\n{a}\n",
             "halls.ini": "".join(f"[{h}]\npump = {m}\nyear = {2000 + y}\n\n" for h, m, y in w.shuffled(zip(halls, models, w.numbers(6, 1, 25)))),
             "parts.md": "# Parts\n\n| pump | seal |\n|---|---|\n" + "".join(f"| {m} | {s} |\n" for m, s in w.shuffled(zip(models, seals)))}
    return "Which seal has to be ordered for the pump that drips? Thanks!", files, seals[1], seals[:1] + seals[2:]

def owner(w):
    stems = w.r.sample("read write dial parse cache queue index retry".split(), 6)
    paths, people, desks = [f"src/io_{s}.c" for s in stems], w.people(6), w.codes(6, "A0")
    handles = [p.split()[0].lower() + str(n) for p, n in zip(people, w.numbers(6, 10, 99))]
    files = {"crash.md": f"# Crash at start\n\nIt happens on every start since Friday.\n\n```\nfatal: assertion failed in {paths[3]}:{w.r.randrange(20, 400)}\n```\n\nThe warning about {paths[0]} has nothing to do with it; that one is old.\n",
             "OWNERS": "# path owner\n" + "".join(f"{p} @{h}\n" for p, h in zip(paths, handles)),
             "desks.csv": csv(["person", "handle", "desk"], w.shuffled(zip(people, handles, desks)))}
    return "At which desk does the owner of the file that crashes sit?", files, desks[3], desks[:3] + desks[4:]

def parcel(w):
    numbers, drivers, phones = w.codes(8, "0000-A"), w.people(8), w.numbers(8, 70000, 79999)
    vans = w.codes(8, "van-00a")
    files = {"scans.log": "".join(f"2026-03-0{1 + i} 1{i}:15:0{i} INFO {v} loaded {n}\n" for i, (v, n) in enumerate(zip(vans, numbers))),
             "vans.csv": csv(["van", "driver"], w.shuffled(zip(vans, drivers))),
             "mobiles.txt": "".join(f"{d}: {p}\n" for d, p in w.shuffled(zip(drivers, phones)))}
    return f"Please go through the files: parcel {numbers[4]}, who has it and what's their mobile number?", files, phones[4], phones[:4] + phones[5:]

def talk(w):
    people, halls, hours = w.people(6), [f"Room {c}" for c in w.codes(6, "A00")], w.r.sample(["09:15", "10:30", "11:45", "14:00", "15:30", "16:45", "17:20"], 6)
    towns = w.r.sample(TOWNS, 6)
    files = {"speakers.txt": "Speakers and where they come from\n\n" + "".join(f"{p}: {t}\n" for p, t in zip(people, towns)),
             "programme.csv": csv(["speaker", "room"], w.shuffled(zip(people, halls))),
             "rooms.md": "| room | begins |\n|---|---|\n" + "".join(f"| {h} | {t} |\n" for h, t in w.shuffled(zip(halls, hours)))}
    return f"when does the talk of the speaker from {towns[2]} begin?", files, hours[2], hours[:2] + hours[3:]

def dish(w):
    goods = w.r.sample("lentils saffron walnuts fennel barley figs chicory".split(), 6)
    firms, towns = [f"{n.split()[1]} & Co" for n in w.people(40)], w.r.sample(TOWNS, 6)
    firms = list(dict.fromkeys(firms))[:6]
    files = {"menu.md": f"# This week\n\nOn Monday there is a stew, for which we need a lot of {goods[1]}. Tuesday is closed. On Wednesday we make the soup that everybody likes; it is mostly {goods[4]}.\n",
             "supply.csv": csv(["article", "firm"], w.shuffled(zip(goods, firms))),
             "firms.txt": "".join(f"{f}: {t}\n" for f, t in w.shuffled(zip(firms, towns)))}
    return "Where does the firm sit that delivers what Wednesday's soup is made of?", files, towns[4], towns[:4] + towns[5:]

def prize(w):
    people, streets, days = w.people(7), [f"{n} Lane" for n in w.r.sample("Mill Church Abbey Ferry Orchard Station Quarry".split(), 7)], w.r.sample(["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"], 7)
    files = {"minutes.txt": f"The club met in May. {people[5]} takes the cup this season, after {people[0]} held it for two years. The lawn will be cut in June.\n",
             "members.csv": csv(["name", "street"], w.shuffled(zip(people, streets))),
             "round.txt": "Collection of glass\n\n" + "".join(f"{s}: {d}\n" for s, d in w.shuffled(zip(streets, days)))}
    return "on which day is glass collected in the street of the member who has the cup this season", files, days[5], days[:5] + days[6:]

def alert(w):
    ids, hosts, racks, floors = w.codes(9, "ev-00a0"), w.codes(9, "db-00a"), w.codes(9, "R00"), w.numbers(9, 2, 60)
    files = {"alerts.jsonl": "".join(json.dumps({"id": i, "host": h, "level": "warn"}) + "\n" for i, h in zip(ids, hosts)),
             "hosts.ini": "".join(f"[{h}]\nrack = {r}\n\n" for h, r in w.shuffled(zip(hosts, racks))),
             "racks.csv": csv(["rack", "floor"], w.shuffled(zip(racks, floors)))}
    return f"Alert {ids[6]} came in. On which floor is the machine?", files, floors[6], floors[:6] + floors[7:]

SCENES = [loans, pump, owner, parcel, talk, dish, prize, alert]

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seed", type=int, default=1); p.add_argument("--rounds", type=int, default=1)
    a = p.parse_args()
    for n in range(a.rounds):
        for scene in SCENES:
            goal, files, right, wrong = scene(World(f"{a.seed}.{n}.{scene.__name__}"))
            others = "|".join(rf"\b{re.escape(str(x))}\b" for x in wrong)
            must = [rf"\b{re.escape(str(right))}\b", rf"(?s)^(?!.*(?:{others}))"]
            print(json.dumps({"id": f"{scene.__name__}-{a.seed}.{n}", "kind": "follow", "goal": goal, "files": files, "answer_must": must}))

main()
