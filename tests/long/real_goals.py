#!/usr/bin/env python3
"""Seeded generator of goals as people really put them, each with regexes that check an answer."""

import argparse
import calendar
import csv
import datetime as dt
import io
import json
import random
import re
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field

# ---------------------------------------------------------------- basics

MONTHS = list(calendar.month_name)[1:]
NOT_STATED = "I am sorry, but the documents do not state this."
EMPTYISH = "Here is the result you asked for:"


@dataclass
class Goal:
    """One goal with its files, its checks and the sample answers of the self-check."""

    kind: str
    goal: str
    files: dict
    must: list
    right: list
    wrong: list
    conversation: list = field(default_factory=list)

    def as_json(self, ident):
        """Return the JSON line of this goal."""
        out = {"id": ident, "kind": self.kind, "goal": self.goal, "files": self.files,
               "answer_must": self.must}
        if self.conversation:
            out["conversation"] = self.conversation
        return json.dumps(out, ensure_ascii=False)


FIRST = """Ada Alma Anton Arne Beatriz Bela Bruno Carla Cedric Clara Dario Dina Edda Egon Elif Emil Enzo
Esther Fabio Farah Femke Finn Gesa Gideon Greta Hadi Hanne Hugo Ida Ilse Imran Ines Ivo Jana Jasper
Jonas Judit Kaia Karim Katya Lars Leila Linus Lotte Luca Magda Malik Mara Mats Mila Mira Nadia Nils
Noor Odile Olga Oskar Paula Petra Priya Rafael Remy Rita Ronja Rufus Samir Selma Silas Sofie Stefan
Tamar Tessa Theo Tilda Tomas Ulla Viggo Wanda Xenia Yusuf Yvonne Zoe""".split()
SUR_A = """Al Ber Cor Dav Els Fen Gar Hol Ing Jor Kal Lin Mer Nor Os Pel Quin Ros Sten Tor Ul Ver Wes
Yar Zel Bram Cast Drey Falk Grun""".split()
SUR_B = """berg mansen quist dova elli ton ford wellin ström ides escu mann owski ano ieren ersen by dale
wick hurst""".split()
CITIES = """Aachen Bergen Bilbao Bolzano Bruges Cadiz Coimbra Cork Delft Dijon Esbjerg Faro Galway Ghent
Graz Haarlem Innsbruck Izmir Jena Kassel Kaunas Leeds Leuven Linz Lugano Lund Malaga Metz Modena Namur
Odense Ostend Padua Parma Pecs Plovdiv Porto Pula Rennes Riga Rouen Salford Sibiu Split Tampere Tartu
Trento Trieste Turku Uppsala Utrecht Varna Verona Vigo Zadar""".split()
FIRM_A = """Ald Bex Cind Dorn Ebb Fjor Gant Hesp Ilm Jax Korv Lum Mont Nex Orb Pren Quad Rill Sand Tarn
Umb Vant Wyr Yond Zeph""".split()
FIRM_B = "ara ero ix ona ulo ent isk ovia ette umo ada iro".split()
PROJECTS = """Amber Basalt Cobalt Dunlin Ember Falcon Granite Harrier Indigo Juniper Kestrel Larch Magpie
Nimbus Onyx Plover Quartz Raven Saffron Teal Umber Violet Willow Yarrow Zephyr Osprey Lapwing Topaz""".split()
CURRENCIES = [("€", "EUR", "euros"), ("£", "GBP", "pounds"), ("$", "USD", "dollars")]

NOISE = [
    "I'm on the train and the wifi is awful.", "My colleague is off sick, so this landed on my desk.",
    "The coffee machine is broken again, hence my mood.", "I have been staring at this since breakfast.",
    "We talked about it at the kitchen table yesterday and nobody knew.",
    "My eyes are not what they used to be.", "I promised my sister I would sort this out.",
    "By the way, the garden looks lovely at the moment.", "I'm sure it's easy, I just have no patience for it.",
    "The kids are home, so it's a bit loud here.", "I already asked two people and got two shrugs.",
    "Nobody seems to feel responsible for this.", "I'd do it myself but I'm about to walk into a meeting.",
    "It rained the whole weekend, so at least we tidied the files.",
    "The dog needs a walk, so I'll be back in a bit.",
    "I've never been good with paperwork.", "The neighbour recommended I try it this way.",
    "Sorry if this is a silly question.",
]


def pick_many(rng, pool, n):
    """Return n different members of the pool."""
    return rng.sample(list(pool), n)


def surnames(rng, n):
    """Return n different made-up surnames, none of which starts with another one."""
    out = []
    while len(out) < n:
        name = rng.choice(SUR_A) + rng.choice(SUR_B)
        if not any(name.startswith(o) or o.startswith(name) for o in out):
            out.append(name)
    return out


def people(rng, n):
    """Return n full names with different first names and surnames."""
    return [f"{a} {b}" for a, b in zip(pick_many(rng, FIRST, n), surnames(rng, n))]


def firms(rng, n):
    """Return n different made-up brand names."""
    pool = [a + b for a in FIRM_A for b in FIRM_B]
    return pick_many(rng, pool, n)


def file_name(rng, stem, ext):
    """Return a file name as people give them."""
    year = rng.choice([2023, 2024, 2025])
    return rng.choice([f"{stem}.{ext}", f"{stem}_{year}.{ext}", f"{stem.capitalize()}-final.{ext}",
                       f"{stem}_v{rng.randint(2, 5)}.{ext}", f"{year}-{rng.randint(1, 12):02d}_{stem}.{ext}",
                       f"{stem}-export.{ext}", f"my_{stem}.{ext}"])


def random_date(rng, year=None, months=range(1, 13)):
    """Return a date whose day is above 12, so that day and month cannot be mixed up."""
    return dt.date(year or rng.choice([2024, 2025, 2026]), rng.choice(list(months)), rng.randint(13, 28))


def show_date(rng, day, style=None):
    """Return the date in one of several written forms."""
    style = style or rng.choice(["long", "us", "iso", "dot", "short"])
    month = MONTHS[day.month - 1]
    return {"long": f"{day.day} {month} {day.year}", "us": f"{month} {day.day}, {day.year}",
            "iso": day.isoformat(), "dot": f"{day.day:02d}.{day.month:02d}.{day.year}",
            "short": f"{day.day} {month[:3]} {day.year}"}[style]


def group_digits(value, sep=","):
    """Return an integer with a thousands separator."""
    return f"{value:,}".replace(",", sep)


def money_text(cents):
    """Return cents as a plain amount with two decimals."""
    return f"{cents // 100:,}.{cents % 100:02d}"


# ---------------------------------------------------------------- regexes


def esc(text):
    """Escape a literal for a regex, with free white space, either apostrophe and a free umlaut."""
    out = re.sub(r"([.^$*+?()\[\]{}|\\])", r"\\\1", text)
    out = re.sub(r"['’]", "['’]", out).replace("ö", "(?:ö|oe?)")
    return re.sub(r"\s+", r"[\\s*_]+", out)


def lit(text):
    """Return a regex for the literal as whole words."""
    head = r"\b" if text[0].isalnum() else ""
    tail = r"\b" if text[-1].isalnum() else ""
    return head + esc(text) + tail


def ci(regex):
    """Return the regex with case ignored and the dot for any character."""
    return "(?is)" + regex


def num_core(value):
    """Return a regex for an integer with or without thousands separators, without guards."""
    groups = f"{value:,}".split(",")
    return r"[,.'’\s]?".join(groups)


def num(value):
    """Return a guarded regex for an integer, decimals of zero allowed."""
    return r"(?<!\d)(?<!\d[.,:])" + num_core(value) + r"(?:[.,]0{1,2})?(?!\d)(?![.,:]\d)"


COUNT_WORDS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty""".split()


def count_rx(n):
    """Return a regex for a count: digits, which are not the mark of a list item, or the word."""
    forms = [r"(?<!\n)" + num(n), num(n) + r"(?![.)])"]
    return any_of(forms + ([rf"\b{COUNT_WORDS[n]}\b"] if n < len(COUNT_WORDS) else []))


def cents_rx(cents):
    """Return a guarded regex for an amount given in cents."""
    whole, rest = divmod(cents, 100)
    if rest == 0:
        return num(whole)
    tail = f"{rest:02d}" if rest % 10 else f"{rest // 10}0?"
    return r"(?<!\d)(?<!\d[.,])" + num_core(whole) + r"[.,]" + tail + r"(?!\d)(?![.,]\d)"


def mean_rx(total, count, strict=False):
    """Return a regex for an average of hundredths: two decimals, more decimals, or (not strict) one."""
    exact = total / count / 100
    cut = int(total / count)
    forms = [cents_rx(round(total / count))]
    if total % count:
        forms.append(r"(?<!\d)(?<!\d[.,])" + num_core(cut // 100) + rf"[.,]{cut % 100:02d}\d+")
    if not strict:
        forms.append(cents_rx(round(exact * 10) * 10))
    return "(?:" + "|".join(dict.fromkeys(forms)) + ")"


def date_rx(day):
    """Return a regex for a date in the usual written forms, year optional."""
    full = MONTHS[day.month - 1]
    month = full if len(full) < 4 else f"{full[:3]}(?:{full[3:]}|t)?\\.?"
    d, m = f"0?{day.day}", f"0?{day.month}"
    th = "(?:st|nd|rd|th)?"
    forms = [rf"{day.year}[\-/.]{m}[\-/.]{d}(?!\d)", rf"{d}[./\-]\s?{m}(?!\d)", rf"{m}/{d}(?!\d)",
             rf"{d}{th}\.?[\s\-]+(?:of\s+)?{month}", rf"{month}[\s\-]+(?:the\s+)?{d}{th}(?!\d)"]
    return r"(?<!\d)(?<!\d[./\-])(?:" + "|".join(forms) + ")"


def time_rx(hour, minute):
    """Return a regex for a time of day in 24 or 12 hour form."""
    twelve = (hour - 1) % 12 + 1
    forms = [rf"0?{hour}[:.h]{minute:02d}", rf"0?{twelve}[:.]{minute:02d}\s?[ap]\.?m"]
    if minute == 0:
        forms += [rf"{twelve}\s?[ap]\.?m", rf"{hour}\s?(?:h\b|o['’]clock)"]
    return r"(?<![\d:.])(?:" + "|".join(forms) + r")(?![\d:])"


def surname_rx(name):
    """Return a regex for the surname of a full name."""
    return lit(name.split()[-1])


def any_of(regexes):
    """Return the alternation of regexes."""
    return "(?:" + "|".join(regexes) + ")"


def near(one, two, gap=400):
    """Return a regex: both occur within the gap, in any order."""
    return ci(rf"(?:{one}.{{0,{gap}}}?{two}|{two}.{{0,{gap}}}?{one})")


def never(regex):
    """Return a regex that matches only texts in which the given one does not occur."""
    return ci(rf"\A(?!.*{regex})")


def in_line(regexes):
    """Return a regex: one line holds all of the given ones, in any order."""
    heads = "".join(rf"(?=[^\n]*{r})" for r in regexes[1:])
    return rf"(?im)^{heads}[^\n]*{regexes[0]}"


KEYWORDS = (r"(?:cheapest|lowest|highest|most\b|longest|latest|earliest|winner|answer|result|best|top\b|recommend"
            r"|largest|biggest|therefore|thus|hence|\bso\b|choice|leads?\b|greatest|maximum|busiest|oldest)")


def pick_rx(best, others):
    """Return a regex: of all candidates the best is the one named first or the one named as the answer."""
    oth = rf"(?:(?!{any_of(others)}).)"
    return ci(rf"(?:\A{oth}*?{best}|{KEYWORDS}{oth}{{0,80}}?{best}|{best}{oth}{{0,60}}?{KEYWORDS})")


DENY = (r"(?:n['’]t\b|\bcan\s?not\b|\bunable\b|\bimpossible\b|\bmissing\b|\black(?:s|ing)?\b|\babsent\b"
        r"|\bunknown\b|\bunavailable\b|\bunspecified\b|\bomit(?:s|ted)?\b|\bn/a\b|\bnone\b|\bnothing\b|\bneither\b"
        r"|\bnot\s+(?:\w+\s+){0,4}?(?:stat|giv|mention|list|includ|provid|specif|contain|record|f[io]u?nd|appear|attach"
        r"|kn[eo]w|avail|present|there|sa[iy]|tell|told|determin|see|show|quot|ha[vsd]|answer|possib|nam|receiv|open|access"
        r"|cover|disclos|exist|part|in\b|upload|any|able|enough|clear|set|been|come|a\b|the\b|public|predict|reveal)"
        r"|\bno\s+(?:\w+[\s\-]+){0,4}?(?:price|cost|fee|info\w*|data|mention|files?|attachments?|columns?|records?|entr\w+"
        r"|values?|figures?|documents?|rows?|amounts?|numbers?|dates?|names?|answer|indication|details?|one|such|phone"
        r"|person|text|image|photo|table|list|page|reason|rate|forecast|sales|way|access|conversation|offer|quote|messages?"
        r"|information|word|trace|earlier|previous|password|section|address|weather|content|spreadsheet|letter|report)\b)")


def must_deny():
    """Return the regex for an answer which says that something is not there."""
    return ci(DENY)


# ---------------------------------------------------------------- wording


def add_typos(rng, text, count=3):
    """Swap or drop letters in a few longer lower-case words, away from the protected slots."""
    spots = [m for m in re.finditer(r"(?<![\w\x00])[a-z]{6,}(?![\w\x00])", text)]
    for m in sorted(rng.sample(spots, min(count, len(spots))), key=lambda s: -s.start()):
        word, at = m.group(), rng.randint(1, len(m.group()) - 3)
        new = rng.choice([word[:at] + word[at + 1] + word[at] + word[at + 2:], word[:at] + word[at + 1:]])
        text = text[:m.start()] + new + text[m.end():]
    return text


def noise(rng, n):
    """Return n irrelevant sentences."""
    return " ".join(pick_many(rng, NOISE, n))


def lower_first(text):
    """Return the text with a small first letter, unless it starts with a slot, I or a capitalised word."""
    return text if text.startswith(("\x00", "I ", "I'")) else text[:1].lower() + text[1:]


def wrap_in(sentences, text):
    """Put one sentence before and one after the text."""
    return f"{sentences[0]} Anyway. {text} {sentences[1]}"


STYLES = [
    lambda r, t: t,
    lambda r, t: r.choice(["Hello, ", "Hi there, ", "Good morning, "]) + r.choice(
        ["I'd be grateful for your help with this one. ", "a small request if I may. ", "quick one please. "])
    + t + r.choice([" Thank you very much!", " Many thanks in advance.", " Much appreciated."]),
    lambda r, t: t + r.choice([" Need this asap.", " need it in ten minutes, thx", " It's urgent!!"]),
    lambda r, t: t.lower().rstrip("."),
    lambda r, t: add_typos(r, t),
    lambda r, t: noise(r, 2) + " " + t,
    lambda r, t: t + " " + noise(r, 2),
    lambda r, t: r.choice(["My boss wants this before lunch: ", "For the meeting at noon: ",
                           "Still open on my list: "])
    + lower_first(t),
    lambda r, t: "hey " + add_typos(r, lower_first(t),
                                    2).lower() + r.choice([" thx", " cheers", " (typing on my phone)"]),
    lambda r, t: wrap_in(pick_many(r, NOISE, 2), t) + r.choice([" Thanks!", " Best wishes", " Bye"]),
    lambda r, t: r.choice(["pls: ", "Question: ", "Task - ", "todo: "]) + t,
    lambda r, t: add_typos(r, "So here's the thing. " + noise(r, 2) + " What I need from you is this: " + t, 4),
]


def dress(rng, template, style=None, **slots):
    """Fill a wording and dress it in a way of speaking; the slots stay as they are."""
    keys, values = [], []

    def mark(m):
        """Replace one slot by a marker."""
        keys.append(m.group(1))
        values.append(str(slots[m.group(1)]))
        return f"\x00{len(values) - 1}\x00"

    text = re.sub(r"\{(\w+)\}", mark, template)
    text = text[:1].upper() + text[1:]
    text = STYLES[(style if style is not None else rng.randrange(len(STYLES))) % len(STYLES)](rng, text)
    return re.sub(r"\x00(\d+)\x00", lambda m: values[int(m.group(1))], text)


def to_csv(header, rows, delimiter=",", quote_all=False):
    """Return rows as CSV text."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n",
                        quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL)
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def to_table(header, rows):
    """Return rows as a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows])


def basic_wrong(plausible):
    """Return the three wrong answers: a plausible value, not stated, almost nothing."""
    return [plausible, NOT_STATED, EMPTYISH]


# ---------------------------------------------------------------- contradiction

# A scene: the thing, then facts as (label, topic regex, sort of value, sentences with {v}).
SAME_SCENES = [
    ("the summer outing of our firm", "outing", [
        ("date", r"\bda(?:te|y)|when|takes? place|held|outing", "date",
         ["The outing takes place on {v}.", "We are off together on {v}."]),
        ("bus departure", r"bus|depart|leav|coach|time|start", "time",
         ["The bus leaves the car park at {v}.", "Bus departure: {v} sharp."]),
        ("cost per person", r"cost|price|pay|contribut|fee|amount|per (?:person|head)", "money",
         ["Everyone chips in {v}.", "The cost per person is {v}."]),
        ("restaurant", r"restaurant|eat|dinner|lunch|meal|table|venue|place", "inn",
         ["We eat at the {v}.", "A table is booked at the {v}."]),
        ("headcount", r"people|head|count|number|participant|guest|sign|colleague|attend", "count",
         ["So far {v} people have signed up.", "We plan for {v} people."]),
        ("contact", r"contact|organi|person|responsib|charge|question|who", "person",
         ["Questions go to {v}.", "The person in charge is {v}."]),
    ]),
    ("the wedding party of our friends", "party", [
        ("ceremony date", r"\bda(?:te|y)|when|ceremony|wedding|held", "date",
         ["The ceremony is on {v}.", "They get married on {v}."]),
        ("start of the reception", r"recept|start|time|begin|when", "time",
         ["The reception begins at {v}.", "Glasses are raised from {v}."]),
        ("hall", r"hall|room|venue|place|where|location", "inn",
         ["We celebrate in the {v}.", "The hall is the {v}."]),
        ("number of guests", r"guest|count|number|people|seat", "count",
         ["The list has {v} guests.", "Catering is ordered for {v} guests."]),
        ("price of the band", r"band|music|price|cost|fee", "money",
         ["The band asks {v}.", "We agreed {v} with the band."]),
        ("photographer", r"photo|picture|camera|name|who", "person",
         ["Pictures will be taken by {v}.", "The photographer is {v}."]),
    ]),
    ("the class trip", "trip", [
        ("return date", r"return|back|home|\bda(?:te|y)", "date", ["We are back on {v}.", "Return is on {v}."]),
        ("meeting time", r"meet|time|gather|start|when", "time",
         ["Pupils meet at the gate at {v}.", "Please be at the gate by {v}."]),
        ("cost of the trip", r"cost|price|fee|pay|amount|trip", "money",
         ["The trip costs {v}.", "Please transfer {v} for the trip."]),
        ("number of pupils", r"pupil|student|child|number|count|kids|class", "count",
         ["{v} pupils come along.", "We travel with {v} pupils."]),
        ("hostel", r"hostel|stay|lodg|accommod|sleep|where|place", "inn",
         ["We sleep at the {v}.", "The hostel is the {v}."]),
        ("teacher in charge", r"teacher|charge|lead|accompan|responsib|who", "person",
         ["The group is led by {v}.", "Teacher in charge: {v}."]),
    ]),
    ("the office move", "move", [
        ("moving day", r"mov|\bda(?:te|y)|when", "date", ["The lorry comes on {v}.", "Moving day is {v}."]),
        ("new meeting room", r"room|meeting", "room", ["Meetings will be in room {v} from then on.",
                                                       "The new meeting room is {v}."]),
        ("number of desks", r"desk|number|count|table|furniture", "count",
         ["We take {v} desks with us.", "There will be {v} desks."]),
        ("quote of the movers", r"quote|offer|cost|price|mover|moving|amount", "money",
         ["The movers quoted {v}.", "Moving costs come to {v}."]),
        ("lift booking", r"lift|elevator|time|book|from|reserv", "time",
         ["The goods lift is ours from {v}.", "Lift booked from {v}."]),
        ("key holder", r"key|who|person|holder|responsib", "person",
         ["The keys are with {v}.", "Key holder is {v}."]),
    ]),
    ("the new garden pump", "pump", [
        ("launch date", r"launch|release|sale|\bda(?:te|y)|market|available", "date",
         ["The pump goes on sale on {v}.", "Launch is {v}."]),
        ("retail price", r"price|retail|cost|sell", "money", ["It will retail at {v}.", "The shop price is {v}."]),
        ("motor power", r"power|motor|watt", "watts", ["The motor draws {v}.", "Motor power: {v}."]),
        ("warranty", r"warrant|guarantee", "months", ["The warranty runs {v}.", "We grant a warranty of {v}."]),
        ("hose length", r"hose|length|long", "metres", ["A hose of {v} is in the box.", "The hose measures {v}."]),
        ("product manager", r"manager|product|responsib|contact|who|lead", "person",
         ["The product manager is {v}.", "Product questions: {v}."]),
    ]),
    ("the choir concert", "concert", [
        ("concert date", r"concert|\bda(?:te|y)|when|held|perform", "date",
         ["The choir sings on {v}.", "The concert is on {v}."]),
        ("doors open", r"door|open|entr|time|admission", "time",
         ["Doors open at {v}.", "The audience is let in at {v}."]),
        ("ticket price", r"ticket|price|cost|entr|admission", "money",
         ["A ticket costs {v}.", "Tickets are sold for {v}."]),
        ("church", r"church|venue|place|where|location|perform", "church", ["We sing in {v}.", "The venue is {v}."]),
        ("soloist", r"solo|sing|who|sopran", "person", ["The solo part is sung by {v}.", "Our soloist is {v}."]),
        ("number of singers", r"singer|number|count|choir|people|member", "count",
         ["{v} singers are on stage.", "The choir counts {v} singers."]),
    ]),
    ("the roof repair at our house", "repair", [
        ("start of work", r"start|begin|work|\bda(?:te|y)|scaffold", "date",
         ["Work starts on {v}.", "The roofers begin on {v}."]),
        ("cost share per flat", r"share|cost|flat|pay|amount|contribut|price", "money",
         ["Each flat pays a share of {v}.", "The share per flat is {v}."]),
        ("duration", r"duration|last|how long|work|day|take|time", "days", ["The work lasts {v}.", "Duration: {v}."]),
        ("quiet hours from", r"quiet|noise|time|silence|from|hour", "time",
         ["No noise is made after {v}.", "Quiet hours start at {v}."]),
        ("roofer", r"roofer|company|firm|contractor|who|carr", "firm",
         ["The job went to the company {v}.", "The roofer is {v}."]),
        ("caretaker", r"caretaker|contact|person|who|question", "person",
         ["Ask the caretaker, {v}, if anything leaks.", "The caretaker is {v}."]),
    ]),
    ("the youth football tournament", "tournament", [
        ("tournament day", r"tournament|\bda(?:te|y)|when|held|play", "date",
         ["We play on {v}.", "The tournament is on {v}."]),
        ("kick-off", r"kick|start|time|begin|first (?:match|game)", "time",
         ["Kick-off of the first match: {v}.", "The first match starts at {v}."]),
        ("number of teams", r"team|number|count", "count", ["{v} teams have entered.", "We expect {v} teams."]),
        ("entry fee", r"fee|entry|cost|price|pay|charge", "money",
         ["The entry fee per team is {v}.", "Each team pays {v}."]),
        ("referee", r"refere|whistle|who|umpire", "person", ["The final is refereed by {v}.", "Head referee: {v}."]),
        ("sports ground", r"ground|field|pitch|venue|place|where|location", "inn",
         ["The ground is the {v}.", "It all happens at the {v}."]),
    ]),
]
INNS = """Golden Heron|Old Tannery|River Lodge|Copper Kettle|Linden Court|Blue Lantern|Mill House|Crow's Nest
|White Gable|Orchard Barn|Salt Loft|Fox and Ferry|Stone Arch|Poplar Yard""".replace("\n", "").split("|")
CHURCHES = ["St Oswald's", "St Brigid's", "the Trinity Chapel", "St Clement's", "the Abbey Church", "St Lucia's"]
ASK_SAME = [
    "Compare the documents about {thing} and list what contradicts.",
    "Where do these papers on {thing} disagree with each other?",
    "List every contradiction between {files}.",
    "Do the attached texts about {thing} say the same? Name each point where they don't, with both values.",
    "Check {files} against each other, which facts don't match?",
    "Something about {thing} doesn't add up. Which statements in the files clash?",
    "Find the inconsistencies in the papers on {thing}. Only the differences, not what agrees.",
    "Which details differ from one document to the next? It's about {thing}.",
    "I have several papers on {thing}, please tell me which points conflict and what each of them says.",
    "Go through {files} and give me the discrepancies as a list.",
]
SAME_FILLER = [
    "Please bring good mood and patience.", "More will follow as soon as we know it.",
    "Thanks to all who helped so far.",
    "As always, nothing is perfect, but it will be fine.", "Please pass this on to those who are not on the list.",
    "We look forward to it.", "The rest was discussed without a result.", "Feedback is welcome at any time.",
]


class Value:
    """A value of a fact: the ways to write it and the regex which finds it."""

    def __init__(self, forms, regex):
        """Keep the forms and the regex."""
        self.forms, self.regex = forms, regex

    def text(self, rng):
        """Return one of the written forms."""
        return rng.choice(self.forms)


def number_value(n, form="{}", forms=None):
    """Return a value for a whole number."""
    return Value([f.format(n) for f in (forms or [form])], num(n))


def make_values(rng, sort, used, money):
    """Return two different values of the sort, whose numbers are new to this goal."""
    def fresh(choices):
        """Draw a number which the goal does not hold yet."""
        n = rng.choice([c for c in choices if c not in used])
        used.add(n)
        return n

    if sort == "date":
        first = random_date(rng)
        other = first.replace(day=rng.choice([d for d in range(13, 29) if d != first.day]))
        return [Value([show_date(rng, d, s) for s in ("long", "us", "iso", "dot")], date_rx(d))
                for d in (first, other)]
    if sort == "time":
        out = []
        for hour in pick_many(rng, range(13, 20), 2):
            minute = rng.choice([0, 15, 30, 45])
            forms = [f"{hour}:{minute:02d}", f"{hour - 12}:{minute:02d} pm"]
            out.append(Value(forms, time_rx(hour, minute)))
        return out
    if sort == "money":
        sign, code, word = money
        return [number_value(fresh(range(60, 990, 5)), forms=[sign + "{}", "{} " + code, "{} " + word]) for _ in "ab"]
    if sort in ("count", "watts", "months", "metres", "days"):
        ranges = {"count": range(31, 59), "watts": range(1100, 1900, 50), "months": range(48, 85),
                  "metres": range(29, 47), "days": range(29, 47)}
        forms = {"count": ["{}"], "watts": ["{} W", "{} watts"], "months": ["{} months"],
                 "metres": ["{} m", "{} metres"], "days": ["{} days"]}
        return [number_value(fresh(ranges[sort]), forms=forms[sort]) for _ in "ab"]
    if sort == "room":
        a, b = pick_many(rng, range(101, 399), 2)
        return [Value([f"{x}{n}"], lit(f"{x}{n}")) for x, n in zip(pick_many(rng, "ABCDEF", 2), (a, b))]
    if sort == "person":
        return [Value([p], surname_rx(p)) for p in people(rng, 2)]
    if sort == "firm":
        return [Value([f], lit(f)) for f in firms(rng, 2)]
    pool = CHURCHES if sort == "church" else INNS
    return [Value([p], lit(re.sub("^the ", "", p))) for p in pick_many(rng, pool, 2)]


def lay_out(rng, style, thing, sentences, labels):
    """Return one document of the style with the sentences."""
    title = thing[4:] if thing.startswith("the ") else thing
    extra = pick_many(rng, SAME_FILLER, 2)
    if style == "minutes":
        lines = [f"Minutes: {title}", "", f"Keeper of the minutes: {rng.choice(FIRST)}", ""]
        lines += [f"{n}. {s}" for n, s in enumerate(sentences, 1)] + ["", extra[0]]
    elif style == "mail":
        lines = [f"From: {rng.choice(FIRST).lower()}@{rng.choice(FIRM_A).lower()}mail.example", f"Subject: {title}",
                 "",
                 "Hi all,", "", extra[0] + " " + " ".join(sentences) + " " + extra[1], "", "Best", rng.choice(FIRST)]
    elif style == "notice":
        lines = ["NOTICE", title.upper(), ""] + [f"* {s}" for s in sentences] + ["", extra[1]]
    else:
        lines = [f"# {title.capitalize()} - key facts", ""] + [f"{a.capitalize()}: {b}" for a, b in labels] + ["",
            extra[0]]
    return "\n".join(lines) + "\n"


def contradiction(rng, turn):
    """Documents state the same things; one to three facts differ."""
    thing, stem, facts = SAME_SCENES[turn % len(SAME_SCENES)]
    facts = pick_many(rng, facts, rng.randint(5, 6))
    used, money = set(), rng.choice(CURRENCIES)
    styles = pick_many(rng, ["minutes", "mail", "notice", "facts"], rng.randint(2, 4))
    n_bad = rng.randint(1, 3)
    bad, good, stated = [], [], {s: [] for s in styles}
    for at, (label, topic, sort, sentences) in enumerate(facts):
        one, two = make_values(rng, sort, used, money)
        if sort == "person":
            while any(p.forms[0].split()[-1] in str([f[2].forms for f in bad + good]) for p in (one, two)):
                one, two = make_values(rng, sort, used, money)
        odd = rng.choice(styles) if at < n_bad else None
        (bad if odd else good).append((label, topic, one, two, odd))
        keep = styles if odd else pick_many(rng, styles, rng.randint(2, len(styles)))
        for style in keep:
            value = (two if style == odd else one).text(rng)
            sentence = rng.choice(sentences).format(v=value)
            stated[style].append((sentence[:1].upper() + sentence[1:], label, value))
    files, name_of = {}, {}
    for style in styles:
        rng.shuffle(stated[style])
        name_of[style] = file_name(rng, f"{stem}_{style}", rng.choice(["txt", "md"]))
        files[name_of[style]] = lay_out(rng, style, thing, [s[0] for s in stated[style]],
                                        [s[1:] for s in stated[style]])
    must = []
    for label, topic, one, two, _ in bad:
        must += [near(any_of([topic]), one.regex), near(any_of([topic]), two.regex), near(one.regex, two.regex)]
    differing = any_of([v.regex for f in bad for v in f[2:4]])
    agree = r"(?:agree|same|consisten|identical|match|\bboth\b|\ball\b|align|no (?:contra|conflict|differ|discrep)|\bok\b|✓|✔|coincid)"
    contrast = r"(?:\bvs\b|versus|whereas|while\b|\bbut\b|differ|contradict|instead|however|conflict|inconsisten|mismatch|discrepan|disagree)"
    for _, _, one, _, _ in good:
        line = rf"(?![^\n]*{agree})(?![^\n]*{differing})"
        must.append(rf"(?i)\A(?![\s\S]*(?:\A|\n){line}(?=[^\n]*{one.regex})[^\n]*(?:{contrast}|{one.regex}[^\n]*{one.regex}))")
    names = list(files)
    goal = dress(rng, ASK_SAME[(turn + rng.randint(0, 1) * 5) % len(ASK_SAME)], thing=thing,
                 files=" and ".join(names))
    regular = {f[0]: next(s for s in styles if s != f[4]) for f in bad}

    def prose(rows):
        """Return the answer in sentences."""
        return " ".join(f"The {l} differs: {name_of[regular[l]]} says {a}, while {name_of[o]} says {b}." for l, a, b,
                        o in rows)

    rows = [(l, a.text(rng), b.text(rng), o) for l, _, a, b, o in bad]
    table = to_table(["Point", "one document", "other document"],
                     [(l, f"{a} ({name_of[regular[l]]})", f"{b} ({name_of[o]})") for l, a, b, o in rows])
    false = [(rows[0][0], rows[0][1], "something which nobody wrote", rows[0][3])] + rows[1:]
    wrong = basic_wrong(prose(false)) + ["There are no contradictions, the documents agree in all points."]
    if good:
        text = good[0][2].text(rng)
        wrong.append(table + f"\n| {good[0][0]} | {text} | {text} |")
        wrong.append(prose(rows) + f"\n\nThe {good[0][0]} also conflicts: {text} in one of them.")
    right = [prose(rows), table, table + "\n\nEverything else agrees" + (f", e.g. {good[0][2].text(rng)}." if good
        else ".")]
    return Goal("contradiction", goal, files, must, right, wrong)


# ---------------------------------------------------------------- csv-join

# who, whos, group column, group wording, groups, the rows' noun, plural, amount, unit, further columns
JOIN_SCENES = [
    dict(a="customers", b="orders", who="customer", whos="customers", col="city", grp="customers in {g}",
         groups=CITIES,
         item="order", items="orders", amt="order value", head="amount", key=("customer_id", "cust_no"), unit="money",
         pre="C"),
    dict(a="members", b="donations", who="member", whos="members", col="branch", grp="members of the {g} branch",
         groups=CITIES,
         item="donation", items="donations", amt="donated sum", head="donated", key=("member_no", "member"),
         unit="money", pre="M"),
    dict(a="staff", b="timesheet", who="employee", whos="employees", col="department",
         grp="employees in the {g} department",
         groups=["Sales", "Kitchen", "Dispatch", "Legal", "Design", "Service", "Research"], item="shift",
         items="shifts",
         amt="minutes worked", head="minutes", key=("staff_id", "employee"), unit="minutes", pre="E"),
    dict(a="pet_owners", b="vet_bills", who="owner", whos="owners", col="village", grp="owners from {g}",
         groups=CITIES,
         item="bill", items="bills", amt="billed amount", head="total", key=("owner_id", "owner_id"), unit="money",
         pre="P"),
    dict(a="readers", b="loans", who="reader", whos="readers", col="class", grp="readers of the {g} class",
         groups=["Owl", "Fox", "Hare", "Otter", "Lynx", "Heron"], item="loan", items="loans", amt="days on loan", head="days",
         key=("card", "card_number"), unit="days", pre="R"),
    dict(a="suppliers", b="deliveries", who="contact person", whos="suppliers", col="region",
         grp="suppliers in the {g} region",
         groups=["North", "South", "East", "West", "Coast", "Lakes"], item="delivery", items="deliveries",
         amt="delivered kilos",
         head="kg", key=("supplier_code", "supplier"), unit="kg", pre="S"),
    dict(a="tenants", b="repairs", who="tenant", whos="tenants", col="street", grp="tenants in {g}",
         groups=["Mill Lane", "Quay Street", "Elm Road", "Chapel Hill", "Market Row"], item="repair", items="repairs",
         amt="repair costs", head="cost", key=("flat_ref", "ref"), unit="money", pre="F"),
    dict(a="riders", b="rides", who="rider", whos="riders", col="plan", grp="riders on the {g} plan",
         groups=["Basic", "Plus", "Night", "Family", "Student"], item="ride", items="rides", amt="minutes ridden",
         head="min", key=("rider", "rider_id"), unit="minutes", pre="B"),
]
ASK_JOIN = {
    "total": ["What is the total {amt} of all {grp}?", "Add up the {amt} for {grp}, using both files.",
              "how much {amt} do the {grp} come to in all?", "Sum of {amt}, only {grp}."],
    "most": ["Which {who} has the most {items}?", "Give me the name of the {who} with the highest number of {items}.",
             "Who is top by number of {items}? I need the {who}'s name, not the id.",
             "Name of the {who} with most {items}?"],
    "highest": ["Which {who} has the highest total {amt}?", "Whose {amt} add up to the most? Name please.",
                "Find the {who} with the largest sum of {amt} (all {items} together).",
                "Top {who} by total {amt}: name and sum."],
    "mean": ["What is the average {amt} per {item} for {grp}? Two decimals please.",
             "Average {amt} of one {item}, {grp} only, to two decimals.",
             "Work out the mean {amt} per {item} across {grp} (2 decimals)."],
    "count": ["How many {items} belong to {grp}?", "Count the {items} of {grp}.",
              "number of {items} that come from {grp}?"],
    "none": ["Which {whos} have no {item} at all? Give names.",
             "List the names in {fa} for which there is no {item} in {fb}.",
             "Who of the people in {fa} doesn't show up in {fb}?"],
    "single": ["Among {grp}, who has the single biggest {item} by {amt}, and how much is it?",
               "Look at {grp}: whose is the one {item} with the largest {amt}? Name plus value."],
}


def money_or_plain(value, unit):
    """Return a stored value as text; money is in cents."""
    return money_text(value).replace(",", "") if unit == "money" else str(value)


def value_rx(value, unit):
    """Return the regex for a stored value; money is in cents."""
    return cents_rx(value) if unit == "money" else num(value)


def say_value(value, unit):
    """Return a stored value as an answer would write it."""
    return money_text(value) if unit == "money" else f"{value:,} {unit}"


def csv_join(rng, turn):
    """Two CSV files share a key, and the question needs both."""
    while True:
        made = csv_join_once(rng, turn)
        if made:
            return made


def csv_join_once(rng, turn):
    """Build one join goal, or nothing where there is a tie."""
    sc = JOIN_SCENES[turn % len(JOIN_SCENES)]
    kinds = list(ASK_JOIN)
    ask = kinds[(turn + turn // len(JOIN_SCENES)) % len(kinds)]
    groups = pick_many(rng, sc["groups"], rng.randint(3, 4))
    names = people(rng, rng.randint(8, 14))
    ids = [f"{sc['pre']}{n}" for n in pick_many(rng, range(100, 999), len(names))]
    group_of = {i: rng.choice(groups) for i in ids}
    name_of = dict(zip(ids, names))
    silent = set(pick_many(rng, ids, rng.randint(1, 2)))
    active = [i for i in ids if i not in silent]
    rows = []
    for n in range(rng.randint(18, 45)):
        value = rng.randint(1200, 98000) if sc["unit"] == "money" else rng.randint(11, 240)
        rows.append((n, rng.choice(active), random_date(rng, 2025), value))
    if set(active) != {r[1] for r in rows}:
        return None
    g = rng.choice(groups)
    mine = [r for r in rows if group_of[r[1]] == g]
    if len(mine) < 3:
        return None
    unit, sums = sc["unit"], Counter()
    for r in rows:
        sums[r[1]] += r[3]
    counts = Counter(r[1] for r in rows)
    total, others = sum(r[3] for r in mine), [surname_rx(n) for n in names]
    fa, fb, wording = file_name(rng, sc["a"], "csv"), file_name(rng, sc["b"], "csv"), rng.choice(ASK_JOIN[ask])
    if ask in ("most", "highest"):
        top = (counts if ask == "most" else sums).most_common(2)
        if top[0][1] == top[1][1]:
            return None
        best, second = name_of[top[0][0]], name_of[top[1][0]]
        score = say_value(top[0][1], unit) if ask == "highest" else top[0][1]
        must = [pick_rx(surname_rx(best), [o for o in others if o != surname_rx(best)])]
        if "and sum" in wording:
            must.append(ci(value_rx(top[0][1], unit)))
        right = [f"It is {best} with {score}.", to_table(["name", "value"], [(best, score), (second, "less")])]
        wrong = basic_wrong(f"It is {second} with {score}.")
    elif ask == "none":
        out = [name_of[i] for i in sorted(silent)]
        rest = [surname_rx(name_of[i]) for i in active]
        must = [ci(surname_rx(n)) for n in out] + [ci(rf"\A(?!(?:.*?{any_of(rest)}){{3}})")]
        right = ["These have none: " + ", ".join(out) + ".", "\n".join(f"- {n}" for n in out)]
        wrong = basic_wrong("It is " + name_of[active[0]] + ".") + ["\n".join(f"- {n}" for n in names)]
    elif ask == "single":
        best = max(mine, key=lambda r: r[3])
        if len({r[3] for r in mine}) < len(mine) or len({r[1] for r in mine}) < 2:
            return None
        other = next(r for r in mine if r[1] != best[1])
        must = [ci(surname_rx(name_of[best[1]])), ci(value_rx(best[3], unit))]
        right = [f"{name_of[best[1]]}, with {say_value(best[3], unit)}.",
                 to_table(["name", sc["amt"]], [(name_of[best[1]], say_value(best[3], unit))])]
        wrong = basic_wrong(f"{name_of[other[1]]}, with {say_value(other[3], unit)}.")
    else:
        whole = sum(r[3] for r in rows)
        if ask == "total":
            rx, text, bad = value_rx(total, unit), say_value(total, unit), say_value(whole, unit)
        elif ask == "count":
            rx, text, bad = count_rx(len(mine)), str(len(mine)), str(len(mine) + 1)
        else:
            scale = 1 if unit == "money" else 100
            rx, text = mean_rx(total * scale, len(mine), strict=True), money_text(round(total * scale / len(mine)))
            bad = money_text(round(whole * scale / len(rows)))
        if text == bad:
            return None
        must = [ci(rx)]
        right = [f"For the {sc['grp'].format(g=g)} it is {text}.", to_table([sc["col"], "result"], [(g, text)])]
        wrong = basic_wrong(f"For the {sc['grp'].format(g=g)} it is {bad}.")
    ka, kb = sc["key"]
    head_a, cols_a = [ka, "name", sc["col"], "since"], [[i, name_of[i], group_of[i], rng.randint(2009, 2023)]
                                                        for i in ids]
    head_b = ["no", kb, "date", sc["head"]]
    cols_b = [[7000 + r[0], r[1], r[2].isoformat(), money_or_plain(r[3], unit)] for r in rows]
    if rng.random() < 0.5:
        rng.shuffle(cols_a)
    if rng.random() < 0.4:
        head_b.append("status")
        cols_b = [row + [rng.choice(["done", "open", "ok"])] for row in cols_b]
    sep = rng.choice([",", ",", ";", "\t"])
    files = {fa: to_csv(head_a, cols_a, sep), fb: to_csv(head_b, cols_b, sep, rng.random() < 0.2)}
    lead = rng.choice(["", "", "I've attached {fa} and {fb}. ", "From {fa} and {fb}: ",
                       "Two tables, {fa} and {fb}. "])
    slots = dict(sc, g=g, grp=sc["grp"].format(g=g), fa=fa, fb=fb)
    slots.pop("groups"), slots.pop("key")
    goal = dress(rng, lead + wording, turn + rng.randint(0, 3), **slots)
    return Goal("csv-join", goal, files, must, right, wrong)


# ---------------------------------------------------------------- csv-aggregate

SUM_SCENES = [
    dict(stem="expenses", item="expense", items="expenses", group="category", label="purpose", amt="amount",
         unit="money",
         groups=["Travel", "Meals", "Software", "Postage", "Books", "Repairs"],
         labels=["Train, return", "Taxi", "Lunch with client", "Stamps", "Licence", "Lamp, desk", "Paper",
                 "Hotel, one night", "Cable"]),
    dict(stem="sales", item="sale", items="sales", group="shop", label="article", amt="revenue", unit="money",
         groups=CITIES,
         labels=["Mug, blue", "Teapot", "Tray", "Bowl, large", "Vase", "Candle", "Plate, set of six", "Jug"]),
    dict(stem="training", item="session", items="sessions", group="sport", label="route", amt="minutes",
         unit="minutes",
         groups=["running", "rowing", "cycling", "swimming", "hiking"],
         labels=["river loop", "hill, steep", "indoor", "lake", "forest, long way", "harbour"]),
    dict(stem="tickets", item="ticket", items="tickets", group="team", label="subject", amt="handling minutes",
         unit="minutes",
         groups=["Network", "Printers", "Accounts", "Phones", "Web"],
         labels=["password, forgotten", "no paper", "slow page", "new laptop", "VPN drops", "headset, broken"]),
    dict(stem="harvest", item="delivery", items="deliveries", group="variety", label="field", amt="kilos", unit="kg",
         groups=["Elstar", "Boskoop", "Conference", "Mirabelle", "Quince", "Williams"],
         labels=["upper field", "lower field, east", "by the brook", "old wall", "nursery, row two"]),
    dict(stem="donations", item="gift", items="gifts", group="campaign", label="donor type", amt="sum", unit="money",
         groups=["Roof", "Organ", "Playground", "Winter Aid", "Library"],
         labels=["private", "firm, local", "school class", "bequest", "club, sports"]),
    dict(stem="meter_readings", item="reading", items="readings", group="building", label="remark", amt="consumption",
         unit="kWh",
         groups=["Annex", "Gym", "Main House", "Workshop", "Pool", "Canteen"],
         labels=["normal", "estimated, no access", "after repair", "heat wave", "holiday"]),
]
ASK_SUM = {
    "sum": ["What is the total {amt} for {group} {g}?", "Sum up the {amt} of all {items} with {group} {g} in {f}.",
            "how much is it altogether for {g} ({group})? I mean the {amt}.", "{g}: total {amt}?"],
    "mean": ["What is the average {amt} per {item} for {group} {g}? Two decimals.",
             "Average {amt} for {group} {g}, please give it with two decimals.",
             "mean {amt} where {group} = {g}, 2 decimals"],
    "topgroup": ["Which {group} has the highest total {amt}?",
                 "Group {f} by {group}: which one comes out on top in {amt}, and with what total?",
                 "Where (which {group}) do the {amt} add up to the most?"],
    "range": ["How many {items} fall between {d1} and {d2}, both days included?",
              "Count the {items} from {d1} to {d2} (inclusive).",
              "number of rows dated {d1} up to and including {d2}?"],
    "rangesum": ["Total {amt} from {d1} to {d2}, both days included?",
                 "What do the {items} between {d1} and {d2} (inclusive) add up to in {amt}?",
                 "Please sum the {amt} of everything dated {d1} to {d2} inclusive."],
    "month": ["What was the total {amt} in {month}?", "Sum of {amt} for {month} only.",
              "only the {items} of {month}: total {amt} please"],
    "max": ["Which {item} number has the largest {amt} of all, and how much is it?",
            "Find the biggest single {item} in {f}: number and {amt}.",
            "largest {amt} in the file? With its number."],
    "top3": ["Top three {items} by {amt}, with their numbers, highest first.",
             "Give me the numbers of the three {items} with the largest {amt}, in descending order.",
             "3 biggest {items} please ({amt}), number and value, sorted from high to low"],
    "over": ["How many {items} have a {amt} above {limit}?", "Count the {items} whose {amt} is more than {limit}.",
             "how many rows in {f} exceed {limit} in {amt}?"],
}


def csv_aggregate(rng, turn):
    """One CSV file; the question asks for a sum, average, count, maximum, range or top three."""
    while True:
        made = csv_aggregate_once(rng, turn)
        if made:
            return made


def csv_aggregate_once(rng, turn):
    """Build one aggregation goal, or nothing where there is a tie or too little."""
    sc = SUM_SCENES[turn % len(SUM_SCENES)]
    kinds = list(ASK_SUM)
    ask, unit = kinds[(turn * 2 + turn // len(SUM_SCENES)) % len(kinds)], sc["unit"]
    groups = pick_many(rng, sc["groups"], rng.randint(3, 5))
    n_rows, prefix = rng.randint(20, 80), rng.choice(["K", "T-", "Q", "R-", "X"])
    numbers = [f"{prefix}{n}" for n in pick_many(rng, range(2100, 9900), n_rows)]
    span = rng.sample(range(1, 13), 4) if rng.random() < 0.5 else sorted(rng.sample(range(1, 13), 3))
    rows = []
    for no in numbers:
        value = rng.randint(250, 389999) if unit == "money" else rng.randint(12, 2900)
        day = dt.date(2025, rng.choice(span), rng.randint(1, 28))
        rows.append((no, day, rng.choice(groups), rng.choice(sc["labels"]), value))
    g, values = rng.choice(groups), [r[4] for r in rows]
    mine = [r for r in rows if r[2] == g]
    ranked = sorted(rows, key=lambda r: -r[4])
    if len(mine) < 3 or len(set(values)) < len(values):
        return None
    days = sorted(r[1] for r in rows)
    d1, d2 = days[n_rows // 4], days[n_rows * 3 // 4]
    inside = [r for r in rows if d1 <= r[1] <= d2]
    month = rng.choice(span)
    monthly = [r for r in rows if r[1].month == month]
    limit_value = rng.choice([400, 800, 1200, 1500]) * (100 if unit == "money" else 1)
    f, wording = file_name(rng, sc["stem"], rng.choice(["csv", "csv", "tsv"])), rng.choice(ASK_SUM[ask])
    sums = Counter()
    for r in rows:
        sums[r[2]] += r[4]
    scale = 1 if unit == "money" else 100
    if ask == "topgroup":
        (best, top), (second, low) = sums.most_common(2)
        if top == low:
            return None
        must = [pick_rx(lit(best), [lit(x) for x in groups if x != best])]
        if "what total" in wording:
            must.append(ci(value_rx(top, unit)))
        pair, bad = (best, say_value(top, unit)), f"{second} has the highest total."
    elif ask in ("max", "top3"):
        lead = ranked[:1 if ask == "max" else 3]
        gap = rf"(?:(?!{any_of([lit(r[0]) for r in ranked[3:]])}).)*?"
        must = [ci(gap.join(lit(r[0]) for r in lead))]
        if ask == "max":
            must.append(ci(value_rx(lead[0][4], unit)))
        pair = None
        bad = ", ".join(f"{r[0]} ({say_value(r[4], unit)})" for r in ranked[1:1 + len(lead)])
    else:
        total = lambda some: sum(r[4] for r in some)
        result = {"sum": (total(mine), unit), "mean": None, "range": (len(inside), "rows"),
                  "rangesum": (total(inside), unit),
                  "month": (total(monthly), unit), "over": (sum(v > limit_value for v in values), "rows")}[ask]
        if result is None:
            must = [ci(mean_rx(total(mine) * scale, len(mine), strict=True))]
            text, bad = money_text(round(total(mine) * scale / len(mine))), money_text(round(total(rows) * scale / n_rows))
        else:
            must = [ci(count_rx(result[0]) if result[1] == "rows" else value_rx(*result))]
            text = say_value(*result)
            bad = say_value(result[0] - (1 if result[1] == "rows" else min(v for v in values)), result[1])
        if ask == "range" and len(inside) in (d1.day, d2.day, d1.month, d2.month, 25):
            return None
        if text == bad or (result and result[0] < 3):
            return None
        pair = ("result", text)
    if pair:
        right = [f"The answer: {pair[0]} - {pair[1]}.", to_table(["what", "value"], [pair])]
    else:
        said = [(r[0], say_value(r[4], unit)) for r in lead]
        right = ["In order: " + ", then ".join(f"{a} with {b}" for a, b in said) + ".",
                 to_table(["number", "value"], said)]
    sep = "\t" if f.endswith("tsv") else rng.choice([",", ";", "\t", ";", ","])
    form = rng.choice(["plain", "thousands", "european"])
    as_cell = {"plain": lambda v: money_or_plain(v, unit), "thousands": lambda v: money_text(v) if unit == "money"
               else f"{v:,}",
               "european": lambda v: (money_text(v) if unit == "money"
                                      else f"{v:,}").translate(str.maketrans(",.", ".,"))}
    if unit != "money" and form == "european":
        form = "thousands"
    date_style = rng.choice(["iso", "dot", "short"])
    head = ["number", "date", sc["group"], sc["label"], sc["amt"]]
    cells = [[r[0], show_date(rng, r[1], date_style), r[2], r[3], as_cell[form](r[4])] for r in rows]
    order = rng.sample(range(5), 5) if rng.random() < 0.3 else list(range(5))
    files = {f: to_csv([head[i] for i in order], [[row[i] for i in order] for row in cells], sep,
                       rng.random() < 0.25)}
    limit = f"{limit_value // 100 if unit == 'money' else limit_value:,}"
    style = rng.choice(["long", "iso", "us"])
    goal = dress(rng, wording, turn + rng.randint(0, 4), f=f, g=g, item=sc["item"], items=sc["items"],
                 group=sc["group"], amt=sc["amt"], month=f"{MONTHS[month - 1]} 2025", limit=limit,
                 d1=show_date(rng, d1, style), d2=show_date(rng, d2, style))
    return Goal("csv-aggregate", goal, files, must, right,
                basic_wrong(bad + ("" if bad.endswith(".") else " is the answer.")))


# ---------------------------------------------------------------- needle

PROSE_SCENES = [
    dict(stem="harbour_chronicle", title="Chronicle of the Harbour",
         folk="dockers|pilots|rope makers|fishermen|customs men|sail menders",
         spots="the east pier|the fish hall|the long quay|the rope walk|the signal mast|the ice house|the net loft",
         things="crates of herring|coils of rope|tarred planks|barrels of salt|old charts|signal flags|lobster pots"),
    dict(stem="museum_handbook", title="Handbook of the Museum",
         folk="guards|guides|restorers|volunteers|lenders|school groups",
         spots="the cast gallery|the print room|the cloakroom|the loading bay|the upper rotunda|the reading corner",
         things="plaster casts|glass cases|woodcuts|label cards|humidity strips|loan forms|linen gloves"),
    dict(stem="orchard_diary", title="Diary of an Orchard",
         folk="pickers|beekeepers|neighbours|grafters|carters|seasonal hands",
         spots="the south slope|the cider press|the drying shed|the lower meadow|the hedge path|the brook",
         things="ladders|baskets of pears|grafting knives|straw mats|bundles of twigs|crates of quinces|wasp traps"),
    dict(stem="school_yearbook", title="Yearbook of the School",
         folk="pupils|teachers|parents|former pupils|cooks|music students",
         spots="the gym|the biology room|the schoolyard|the old wing|the canteen|the stage|the corridor of portraits",
         things="exercise books|stage costumes|maps|microscopes|sports medals|paper lanterns|chess sets"),
    dict(stem="hospital_report", title="Annual Report of the Hospital",
         folk="nurses|porters|pharmacists|night staff|visitors|laundry workers",
         spots="the day ward|the outpatient hall|the laundry|the roof terrace|the records room|the dispensary",
         things="linen carts|charts|crutches|meal trays|stretchers|blood pressure cuffs|dressing packs"),
    dict(stem="mill_manual", title="Manual of the Paper Mill",
         folk="millers|engineers|apprentices|carriers|rag sorters|foremen",
         spots="the beating floor|the vat room|the drying loft|the wheel pit|the cutting table|the store",
         things="felt blankets|moulds|bundles of rags|wire screens|reams of paper|drive belts|buckets of size"),
    dict(stem="village_minutes", title="Papers of the Village Council",
         folk="councillors|farmers|shopkeepers|road workers|newcomers|bell ringers",
         spots="the green|the weighbridge|the parish room|the ford|the market cross|the upper lane|the common",
         things="boundary stones|benches|lamp posts|petitions|milk churns|road signs|flower tubs"),
]
PROSE = [
    "In {month} the {folk} spent several days at {spot}, where {things} had piled up since the {season}.",
    "Nobody could say why {things} were kept near {spot}, but the habit went back a long way.",
    "{person} noted that the {folk} were {mood}, and that {things} were in better order than the year before.",
    "A {adj} wind came over {spot} and scattered what had been put aside for the {folk}.",
    "It is worth remembering that {spot} was once {adj} and nearly empty.",
    "When the {folk} arrived, {person} was already counting {things} with a pencil behind the ear.",
    "The discussion about {things} went on until late and ended, as usual, without a vote.",
    "Several {folk} asked for more light at {spot}, which seemed a {adj} wish to everyone present.",
    "Between {spot} and {spot2} there used to be a path which has since grown over.",
    "{person} and {person2} disagreed about {things}, though they remained on friendly terms.",
    "The {season} was {adj}, and most of the work had to be done under cover.",
    "Visitors often mistake {spot} for {spot2}, since both look {adj} from a distance.",
    "What the {folk} liked best was the quiet hour after the {things} had been put away.",
    "For a while there was talk of moving {things} to {spot}, but the plan was dropped in {month}.",
    "One of the {folk} wrote a long letter in which {spot} is described as {adj} and a little sad.",
    "There were fewer {folk} than expected, so {person} took over the rounds at {spot}.",
    "By {month} the worst was over, and the {folk} could turn to smaller tasks again.",
    "Old photographs show {spot} with {things} stacked up to the ceiling.",
    "{person} used to say that {things} outlive everybody who carries them.",
    "Some of the {things} were given away, others were mended, and a few simply disappeared.",
    "The {folk} met at {spot} every other week and drank {adj} tea.",
    "If the {season} is {adj}, {things} should be brought inside without waiting for instructions.",
    "It took three {folk} and a good deal of patience to get {things} through the door.",
    "A note in the margin, probably by {person}, mentions {things} and nothing else.",
    "Children were fond of {spot}, mainly because the {folk} told them stories there.",
    "Since then the {folk} have kept a list of {things}, which hangs at {spot2}.",
    "The change was {adj} at first, yet within a {season} it had become routine.",
    "Compared with {spot2}, {spot} is easier to reach and {adj} all year round.",
    "{person} brought cake, {person2} brought news, and the {folk} brought complaints about {things}.",
    "Rules on {things} had never been written down until the {folk} insisted on it in {month}.",
    "After the {adj} {season}, two of the {folk} left and were not replaced.",
    "Everybody agreed that {spot} needed paint, and nobody volunteered.",
    "The smell at {spot} was {adj}, especially when {things} had been left out overnight.",
    "Later generations of {folk} will wonder about the {adj} marks on the wall of {spot}.",
    "Much of what is told about {spot} is invention, but the part about {things} is true.",
    "In the evening the {folk} swept {spot}, locked up and walked home in small groups.",
]
ADJ = """quiet crooked pleasant narrow muddy stubborn generous curious drowsy bright tired hopeful strange plain
solid draughty cheerful modest foggy golden""".split()
MOODS = "in good spirits|tired but content|rather silent|full of plans|short of sleep|proud of their work".split("|")
PARTS = ["Beginnings", "A Slow Year", "On Daily Work", "Repairs and Renewals", "People", "Weather",
         "Letters Received",
         "Things Lost and Found", "The Long Winter", "Order and Disorder", "Visitors", "Small Improvements",
         "Loose Ends",
         "Customs", "What Remains", "A New Start", "Accounts of the Older Ones", "Notes from the Margin"]

# Fact: sentence with {v}, questions, sort of value, sentences about other things with {w}.
NEEDLES = [
    ("The spare key to the boathouse is kept {v}.", ["where can i find the second key for the boat shed?",
                                                     "Where is the extra key of the building with the boats hidden?"],
     "spot", ["The spare key to the chapel is kept {w}."]),
    ("It was {v} who got the tower clock going again after the flood.",
     ["Who repaired the big clock when the water had gone?",
      "Name of the person who fixed the clock up in the tower?"],
     "person", ["It was {w} who tuned the organ again after the fire.", "The tower clock was later painted by {w}."]),
    ("For the second-hand grand piano the committee finally handed over {v} crowns.",
     ["How much did they pay for the used piano?", "what was the price of the piano (used one)?"],
     "number", ["For the new harmonium the committee asked {w} crowns.",
                "The piano stool was valued at {w} crowns."]),
    ("Whoever wants to get on the guest network has to type in {v}.",
     ["What is the wifi password for visitors?", "visitors need the internet password, what is it?"],
     "code", ["Whoever wants to open the bicycle rack has to type in {w}."]),
    ("The inspector will look at the steam boiler again on {v}.",
     ["When is the next check of the boiler due?", "On which date does the boiler get examined next?"],
     "date", ["The inspector looked at the lightning rod on {w}."]),
    ("Because of her allergy, the old cook must on no account be served {v}.",
     ["What food is the elderly cook unable to tolerate?", "Which food must be kept away from the old cook?"],
     "food", ["Her nephew, on the other hand, could never get enough {w}."]),
    ("The kiln in the back room cracks as soon as it gets hotter than {v} degrees.",
     ["What is the maximum temperature of the kiln?", "Up to how many degrees may the kiln be fired?"],
     "number", ["The bread oven is heated to {w} degrees on feast days."]),
    ("The little ferry was christened {v} by the mayor's daughter.",
     ["What name was given to the small ferry?", "how is the little ferryboat called"],
     "name", ["The tugboat was christened {w} by a former captain."]),
    ("In an emergency at night, the watchman answers on extension {v}.",
     ["Which internal number reaches the guard if something happens after dark?",
      "Phone extension of the night guard?"],
     "phone", ["Questions about lost property are answered on extension {w}."]),
    ("The assembly tent holds {v} seated guests and not one more.",
     ["What is the seating capacity of the big tent?", "How many people can sit in the tent for assemblies?"],
     "number", ["The dining barn holds {w} seated guests if the tables are moved."]),
    ("The doors on the garden side were given a coat of paint with the shade number {v}.",
     ["Which colour code has the paint of the garden doors?",
      "I have to touch up the doors towards the garden, what shade do I order?"],
     "code", ["The window frames on the street side carry the shade number {w}."]),
    ("The founder's silver compass was left by will to {v}.",
     ["Who inherited the compass of the founder?", "Who got the silver compass after the founder had died?"],
     "person", ["The founder's walking stick was left by will to {w}."]),
    ("The old well goes down exactly {v} feet before it meets rock.",
     ["How deep is the well?", "what depth does the old well have, in feet"],
     "number", ["The new cistern goes down {w} feet and is lined with brick."]),
]
FOODS = ["walnuts", "celery", "mussels", "strawberries", "buckwheat", "lupins", "mustard", "sesame", "apricots",
         "crayfish"]
HIDES = ["behind the third shutter of the ticket office", "under the blue flowerpot by the pantry",
         "inside the broken barometer",
         "on the nail above the cellar stairs", "in the tea tin next to the stove",
         "beneath the loose step of the veranda",
         "in the drawer with the candle stubs", "behind the framed map in the hall"]
HIDE_WORDS = {h: re.findall(r"shutter|ticket|flowerpot|pantry|barometer|nail|cellar|tea tin|stove|loose step|veranda|drawer|candle|map\b|framed", h) for h in HIDES}
NEEDLE_LEADS = ["", "", "See {f}. ", "Somewhere in {f}: ", "It's a long text ({f}), I can't read all of it. ",
                "From the attached {f}: ", "{f} should say it. "]


def needle_values(rng, sort, n):
    """Return n different (text, regex) values of the sort."""
    if sort == "person":
        return [(p, surname_rx(p)) for p in people(rng, n)]
    if sort == "number":
        return [(str(x), num(x)) for x in pick_many(rng, range(61, 1900), n)]
    if sort == "phone":
        return [(str(x), rf"\b{x}\b") for x in pick_many(rng, range(2101, 8999), n)]
    if sort == "code":
        return [(t, lit(t)) for t in (f"{w}-{x}" for w,
                                      x in zip(pick_many(rng, PROJECTS, n), pick_many(rng, range(11, 99), n)))]
    if sort == "date":
        return [(show_date(rng, d, "long"), date_rx(d))
                for d in (random_date(rng, 2026, [m]) for m in pick_many(rng, range(1, 13), n))]
    if sort == "food":
        return [(t, esc(t[:-1])) for t in pick_many(rng, FOODS, n)]
    if sort == "spot":
        return [(t, any_of([lit(w.replace(r"\b", "")) for w in HIDE_WORDS[t]])) for t in pick_many(rng, HIDES, n)]
    return [(t, lit(t)) for t in firms(rng, n)]


def long_text(rng, scene, words, planted):
    """Return generated prose with headings, the planted sentences at random places."""
    names = [p.split()[0] for p in people(rng, 12)]
    paragraphs, count, last = [], 0, []
    lists = {k: scene[k].split("|") for k in ("folk", "spots", "things")}
    while count < words:
        lines = []
        for _ in range(rng.randint(4, 8)):
            template = rng.choice([t for t in PROSE if t not in last])
            last = (last + [template])[-12:]
            spot, spot2 = pick_many(rng, lists["spots"], 2)
            one, two = pick_many(rng, names, 2)
            text = template.format(month=rng.choice(MONTHS), folk=rng.choice(lists["folk"]), spot=spot, spot2=spot2,
                                   person=one,
                                   person2=two, things=rng.choice(lists["things"]), adj=rng.choice(ADJ),
                                   mood=rng.choice(MOODS),
                                   season=rng.choice(["spring", "summer", "autumn", "winter"]))
            lines.append(text[:1].upper() + text[1:])
        count += sum(len(s.split()) for s in lines)
        paragraphs.append(lines)
    for sentence, at in zip(planted, pick_many(rng, range(2, len(paragraphs) - 1), len(planted))):
        paragraphs[at].insert(rng.randint(1, len(paragraphs[at]) - 1), sentence)
    heads = pick_many(rng, PARTS, min(len(PARTS), max(6, len(paragraphs) // 6)))
    step, out = len(paragraphs) // len(heads) + 1, [f"# {scene['title']}"]
    for at, lines in enumerate(paragraphs):
        if at % step == 0:
            out.append(f"## {heads[at // step]}")
        out.append(" ".join(lines))
    return "\n\n".join(out) + "\n"


def needle(rng, turn):
    """One sentence of a long text holds the fact asked, in other words."""
    scene = PROSE_SCENES[turn % len(PROSE_SCENES)]
    sentence, questions, sort, others = NEEDLES[(turn * 5 + rng.randint(0, 4)) % len(NEEDLES)]
    values = needle_values(rng, sort, 3)
    planted = [sentence.format(v=values[0][0])]
    if rng.random() < 0.6:
        planted += [o.format(w=v[0]) for o, v in zip(others, values[1:])]
    f = file_name(rng, scene["stem"], rng.choice(["txt", "md"]))
    files = {f: long_text(rng, scene, rng.randint(6200, 11500), planted)}
    goal = dress(rng, rng.choice(NEEDLE_LEADS) + rng.choice(questions), turn + rng.randint(0, 3), f=f)
    if sort == "spot":
        must = [ci(lit(w.replace(r"\b", ""))) for w in HIDE_WORDS[values[0][0]][:2]]
    else:
        must = [ci(values[0][1])]
    text = values[0][0]
    right = [f"According to the text it is {text}.", to_table(["question", "answer"], [("asked fact", text)])]
    return Goal("needle", goal, files, must, right, basic_wrong(f"According to the text it is {values[1][0]}."))


# ---------------------------------------------------------------- table

# Columns: name of the column -> (sort of value, wordings with {v}).
CARD_SCENES = [
    dict(stem="offer", item="offer", name="firm", who="supplier", lead="Offer by {n}", cols={
        "price": ("money", ["We would do the job for {v}.", "Our price is {v}, all in.", "You pay {v} to {n}."]),
        "delivery time": ("weeks", ["Delivery takes {v}.", "We need {v} from the day you order."]),
        "warranty": ("months", ["The warranty is {v}.", "We stand behind it for {v}."]),
        "contact": ("person", ["Ask for {v}.", "Your contact with us is {v}."])}),
    dict(stem="portrait", item="staff portrait", name="person", who="person", lead="{n}", cols={
        "department": ("dept", ["You'll find {n} in {v}.", "The {v} team could not do without this colleague."]),
        "joined": ("year", ["With us since {v}.", "The first working day was back in {v}."]),
        "hobby": ("hobby", ["After work it's all about {v}.", "In the spare time: {v}."]),
        "extension": ("phone", ["Call extension {v}.", "Reachable under {v}."])}),
    dict(stem="lab_note", item="lab note", name="code", who="sample", lead="Sample {n}", cols={
        "temperature": ("degrees", ["The run was held at {v}.", "We heated it to {v} and kept it there."]),
        "yield": ("percent", ["We got a yield of {v}.", "In the end {v} of it could be recovered."]),
        "solvent": ("solvent", ["It was dissolved in {v}.", "The solvent was {v} this time."]),
        "technician": ("person", ["At the bench: {v}.", "The run was watched over by {v}."])}),
    dict(stem="house_ad", item="house ad", name="house", who="house", lead="{n}", cols={
        "price": ("bigmoney", ["Yours for {v}.", "The owner asks {v}."]),
        "rooms": ("rooms", ["There is space in {v}.", "It has {v} and a lot of light."]),
        "city": ("city", ["It stands in {v}, close to the station.", "A quiet street in {v}."]),
        "year built": ("oldyear", ["Built in {v}.", "The house dates from {v}."])}),
    dict(stem="course", item="course description", name="course", who="course", lead="{n}", cols={
        "teacher": ("person", ["You learn from {v}.", "{v} leads the evenings."]),
        "fee": ("money", ["Taking part costs {v}.", "The fee is {v}, material included."]),
        "start": ("date", ["We start on {v}.", "The first evening is {v}."]),
        "city": ("city", ["We meet in {v}.", "The room is in {v}, step-free."])}),
    dict(stem="boat", item="boat description", name="boat", who="boat", lead="The {n}", cols={
        "length": ("metres", ["From bow to stern she measures {v}.", "She is {v} long."]),
        "berths": ("berths", ["There are {v} on board.", "She sleeps a crew with {v}."]),
        "weekly rent": ("money", ["A week with her costs {v}.", "You rent her for {v} a week."]),
        "harbour": ("city", ["She lies in {v}.", "Pick her up in {v}."])}),
    dict(stem="car", item="car ad", name="firm", who="car", lead="For sale: {n}", cols={
        "mileage": ("km", ["It has run {v} so far.", "On the clock: {v}."]),
        "price": ("bigmoney", ["I'd like {v} for it.", "Take it home for {v}."]),
        "colour": ("colour", ["The paint is {v} and without rust.", "Colour: {v}, no scratches."]),
        "seller": ("person", ["Ring {v} after six.", "The seller's name is {v}."])}),
]
CARD_FILLER = ["Everything else we can settle in a talk.", "Non-smoking, of course.",
               "Take your time and have a look.", "We've been around for a while now.",
               "There is coffee too.", "No nonsense, no small print.", "A picture will follow.",
               "Much loved and well kept."]
CARD_POOLS = {
    "dept": ["Accounting", "Logistics", "Purchasing", "Marketing", "Maintenance", "Archive", "Reception", "Training",
             "Exports", "Payroll"],
    "hobby": ["beekeeping", "pottery", "rowing", "origami", "bouldering", "chess", "baking", "birdwatching",
              "fencing", "gardening"],
    "solvent": ["ethanol", "acetone", "toluene", "water", "hexane", "methanol", "glycerol", "benzene", "xylene",
                "isopropanol"],
    "colour": ["silver", "burgundy", "navy", "olive", "white", "black", "turquoise", "beige", "orange", "yellow"]}
ASK_TABLE = [
    "Make a table with the columns {cols}, one row per {who}.", "Put the {n} {item}s into a table: {cols}.",
    "I need an overview as a table. Columns: {cols}. One line for each {who}.", "table pls, {cols}, for each {who}",
    "Read all the files and fill a table ({cols}) with one row for every {who}.",
    "For each {who} give me {cols} - as a table.",
    "Could you tabulate the attached {item}s by {cols}?",
    "Please summarise the {item}s in a Markdown table with {cols} as columns.",
    "Turn these {item}s into one table. What I want to see: {cols}."]


def card_values(rng, sort, n, money):
    """Return n different (text, regex) values of the sort."""
    sign, code, word = money
    units = {"weeks": (range(2, 40), "{} weeks"), "months": (range(12, 61), "{} months"),
             "degrees": (range(40, 190), "{} °C"),
             "percent": (range(21, 98), "{} %"), "metres": (range(7, 29), "{} metres"),
             "berths": (range(2, 19), "{} berths"),
             "rooms": (range(2, 18), "{} rooms"), "year": (range(1991, 2024), "{}"),
             "oldyear": (range(1870, 1999), "{}"),
             "phone": (range(2100, 8999), "{}"), "km": (range(21000, 180000, 250), "{:,} km"),
             "money": (range(120, 980), rng.choice([sign + "{}", "{} " + code, "{} " + word])),
             "bigmoney": (range(101500, 899000, 500), rng.choice([sign + "{:,}", "{:,} " + code]))}
    if sort in units:
        pool, form = units[sort]
        return [(form.format(x), num(x)) for x in pick_many(rng, pool, n)]
    if sort == "person":
        return [(p, surname_rx(p)) for p in people(rng, n)]
    if sort == "city":
        return [(c, lit(c)) for c in pick_many(rng, CITIES, n)]
    if sort == "date":
        days = [random_date(rng, 2026, [m]) for m in pick_many(rng, range(1, 13), n)]
        return [(show_date(rng, d), date_rx(d)) for d in days]
    return [(t, lit(t)) for t in pick_many(rng, CARD_POOLS[sort], n)]


def card_names(rng, sort, n):
    """Return n different names for the items of a scene."""
    if sort == "person":
        return people(rng, n)
    if sort == "code":
        return [f"{rng.choice('KLMPRT')}-{x}" for x in pick_many(rng, range(1010, 9890), n)]
    if sort == "house":
        return [f"{a} {b}" for a, b in zip(pick_many(rng,
                                                     ["Rose", "Larch", "Heron", "Miller's", "Stone", "Ivy", "Fern",
                                                      "Robin", "Swan", "Clover", "Badger", "Otter"], n),
                                           (rng.choice(["Cottage", "House", "Lodge", "Villa"]) for _ in range(n)))]
    if sort == "course":
        return pick_many(rng, ["Bread Baking", "Bookbinding", "Watercolour", "Italian Cooking", "Bicycle Repair",
                               "Storytelling", "Wood Carving",
                               "First Aid", "Knitting", "Choir Singing", "Photography", "Chess for Adults"], n)
    return firms(rng, n)


def and_list(words, rng=None):
    """Join words as people do."""
    words = list(words)
    if len(words) < 2:
        return "".join(words)
    if rng and rng.random() < 0.5:
        return ", ".join(words)
    return ", ".join(words[:-1]) + " and " + words[-1]


def item_file(rng, stem, at, name, named):
    """Return the file name of the document of one item."""
    return f"{stem}_{re.sub(r'[^a-z0-9]+', '_', name.lower())}.txt" if named else f"{stem}{at:02d}.txt"


def table(rng, turn):
    """Short prose documents become one table with named columns."""
    sc = CARD_SCENES[turn % len(CARD_SCENES)]
    n, money = rng.randint(5, 10), rng.choice(CURRENCIES)
    names = card_names(rng, sc["name"], n)
    name_last = {p.split()[-1] for p in names}
    cols = {}
    for col, (sort, _) in sc["cols"].items():
        cols[col] = card_values(rng, sort, n, money)
        while sort == "person" and name_last & {v[0].split()[-1] for v in cols[col]}:
            cols[col] = card_values(rng, sort, n, money)
    files, named = {}, rng.random() < 0.5
    for at, name in enumerate(names):
        lines = [rng.choice(s).format(n=name, v=cols[c][at][0]) for c, (_, s) in sc["cols"].items()]
        rng.shuffle(lines)
        lines.insert(rng.randint(0, len(lines)), rng.choice(CARD_FILLER))
        files[item_file(rng, sc["stem"], at + 1, name,
                        named)] = sc["lead"].format(n=name) + "\n\n" + " ".join(lines) + "\n"
    asked = pick_many(rng, sc["cols"], rng.randint(2, 4))
    name_rx = surname_rx if sc["name"] == "person" else lit
    must = [in_line([name_rx(name)] + [cols[c][at][1] for c in asked]) for at, name in enumerate(names)]
    goal = dress(rng, rng.choice(ASK_TABLE), turn + rng.randint(0, 3), n=n, item=sc["item"], who=sc["who"],
                 cols=and_list([sc["who"]] + asked, rng))
    rows = [[name] + [cols[c][at][0] for c in asked] for at, name in enumerate(names)]
    false = [row[:] for row in rows]
    false[0][-1], false[1][-1] = false[1][-1], false[0][-1]
    right = ["\n".join(f"{r[0]}: " + ", ".join(r[1:]) for r in rows), to_table([sc["who"]] + asked, rows)]
    wrong = basic_wrong(to_table([sc["who"]] + asked, false)) + [to_table([sc["who"]] + asked, rows[:-1])]
    return Goal("table", goal, files, must, right, wrong)


# ---------------------------------------------------------------- rank

# Item, measured column (sort, sentences, words for low and high end), second criterion.
RANK_SCENES = [
    dict(stem="dishwasher", item="dishwasher", name="firm", lead="Dishwasher {n}",
         m=("money", ["The {n} costs {v}.", "You get it for {v}."], "cheapest", "most expensive"),
         second=("months", ["Warranty: {v}.", "It comes with {v} of warranty."], "with at least {x} of warranty")),
    dict(stem="flat", item="flat", name="house", lead="Flat in {n}",
         m=("money", ["The rent is {v} a month.", "Rent per month {v}."], "cheapest", "most expensive"),
         second=("cityset", ["It lies in {v}.", "City: {v}."], "that is not in {x}")),
    dict(stem="course", item="course", name="course", lead="Course: {n}",
         m=("days", ["It lasts {v}.", "The whole thing takes {v}."], "shortest", "longest"),
         second=("cityset", ["Held in {v}.", "We teach in {v}."], "that doesn't take place in {x}")),
    dict(stem="van", item="van", name="firm", lead="Van {n}",
         m=("money", ["Weekly rental comes to {v}.", "A week costs {v}."], "cheapest", "most expensive"),
         second=("seats", ["It has {v}.", "There is room on {v}."], "with {x} or more")),
    dict(stem="exhibition", item="exhibition", name="exhibit", lead="Exhibition \"{n}\"",
         m=("date", ["It opens on {v}.", "Opening: {v}."], "earliest", "latest"),
         second=("cityset", ["Shown in {v}.", "The venue is in {v}."], "that isn't shown in {x}")),
    dict(stem="lamp", item="lamp", name="firm", lead="Lamp {n}",
         m=("hours", ["One charge lasts {v}.", "It shines for {v} per charge."], "shortest-burning",
            "longest-burning"),
         second=("months", ["The maker grants {v} of warranty.", "Warranty {v}."],
                 "with a warranty of at least {x}")),
    dict(stem="trail", item="hiking trail", name="trail", lead="{n}",
         m=("km", ["It is {v} from start to end.", "Length {v}."], "shortest", "longest"),
         second=("cityset", ["You start in {v}.", "The trailhead is at {v}."], "that doesn't start in {x}")),
    dict(stem="printer", item="printer", name="firm", lead="Printer {n}",
         m=("money", ["List price {v}.", "It is sold at {v}."], "cheapest", "most expensive"),
         second=("pages", ["It prints {v} per minute.", "Speed: {v} a minute."],
                 "that does at least {x} per minute")),
]
RANK_NAMES = {
    "exhibit": ["Clay and Fire", "Paper Worlds", "The Blue Hour", "Salt", "Quiet Machines", "After the Rain",
                "Golden Threads", "Night Ships", "Lines",
                "Borrowed Light", "Masks", "The Open Hand", "Snow Maps", "Copper", "Glasshouses", "Small Kings",
                "Tides", "Iron Garden", "Echoes", "First Steps"],
    "trail": [f"{a} {b}" for a,
              b in zip("Heron Badger Miller Pilgrim Ridge Brook Quarry Smuggler Abbey Juniper Falcon Lime Hermit Shepherd Border Castle Moor Cliff Beech Raven".split(),
                                         ["Trail", "Path", "Way", "Loop"] * 5)],
    "house": [f"{a} {b}" for a,
              b in zip("Rose Larch Heron Juniper Stone Ivy Fern Robin Swan Clover Badger Otter Plum Maple Thistle Willow Hazel Rowan Cedar Aspen".split(),
                                         ["House", "Court", "Yard", "Terrace"] * 5)],
    "course": ["Bread Baking", "Bookbinding", "Watercolour", "Italian Cooking", "Bicycle Repair", "Storytelling",
               "Wood Carving", "First Aid", "Knitting",
               "Choir Singing", "Photography", "Chess Basics", "Beekeeping", "Fermenting", "Calligraphy", "Sewing",
               "Lino Printing", "Juggling", "Drumming", "Pruning"]}
ASK_BEST = ["Which is the {end} {item} {crit}?", "Find me the {end} {item} {crit}.",
            "I'm looking for the {end} {item} {crit}. Which one is it?",
            "{end} {item} {crit}?", "Of all these documents, which {item} {crit} is the {end}?",
            "please tell me the {end} {item} {crit}, name is enough",
            "We need a {item} {crit}; among those take the {end} one and tell me its name."]
ASK_THREE = ["Name the three {end} {item}s in order, the {end} first.",
             "Top three {item}s: the {end} ones, in order ({end} first).",
             "rank the {item}s and give me only the first three, beginning with the {end}",
             "Which three {item}s are the {end}? In the right order please, {end} at the top.",
             "I'd like a list of the 3 {end} {item}s, sorted, starting with the {end}."]


def rank_values(rng, sort, n, money):
    """Return n pairs of (sort key, text); keys of the measured column are all different."""
    sign, code, word = money
    forms = {"money": (range(210, 990), rng.choice([sign + "{}", "{} " + code, "{} " + word])),
             "days": (range(3, 60), "{} days"),
             "hours": (range(5, 70), "{} hours"), "km": (range(4, 60), "{} km")}
    if sort == "date":
        days = set()
        while len(days) < n:
            days.add(random_date(rng, 2026))
        days = sorted(days)
        rng.shuffle(days)
        return [(d.toordinal(), show_date(rng, d)) for d in days]
    pool, form = forms[sort]
    return [(x, form.format(x)) for x in pick_many(rng, pool, n)]


def rank(rng, turn):
    """The best of many short documents, by a measure and a second criterion, or the top three."""
    while True:
        made = rank_once(rng, turn)
        if made:
            return made


def rank_once(rng, turn):
    """Build one ranking goal, or nothing where the second criterion would not matter."""
    sc = RANK_SCENES[turn % len(RANK_SCENES)]
    n, money = rng.randint(6, 20), rng.choice(CURRENCIES)
    names = pick_many(rng, RANK_NAMES[sc["name"]], n) if sc["name"] in RANK_NAMES else firms(rng, n)
    m_sort, m_says, low, high = sc["m"]
    values = rank_values(rng, m_sort, n, money)
    s_sort, s_says, crit = sc["second"]
    if s_sort == "cityset":
        towns = pick_many(rng, CITIES, 4)
        second = [rng.choice(towns) for _ in names]
        seconds = second
        x = rng.choice(towns)
        passes = [c != x for c in second]
        shown = x
    else:
        pool, form = {"months": ([6, 12, 18, 24, 36, 48], "{} months"), "seats": ([2, 3, 5, 7, 8, 9], "{} seats"),
                      "pages": ([12, 18, 22, 28, 34, 40], "{} pages")}[s_sort]
        second = [rng.choice(pool) for _ in names]
        seconds = [form.format(s) for s in second]
        x = rng.choice(pool[2:4])
        passes = [s >= x for s in second]
        shown = form.format(x)
    if rng.random() < 0.5:
        end, sign = low, 1
    else:
        end, sign = high, -1
    order = sorted(range(n), key=lambda i: sign * values[i][0])
    three = turn % 3 == 2
    rx = [lit(name) for name in names]
    if three:
        top = order[:3]
        rest = rf"(?:(?!{any_of([rx[i] for i in order[3:]])}).)*?"
        must = [ci(rest.join(rx[i] for i in top))]
        wrong = basic_wrong("\n".join(f"{k}. {names[i]}" for k, i in enumerate([top[1], top[0], top[2]], 1)))
        right = ["In order: " + ", ".join(f"{names[i]} ({values[i][1]})" for i in top) + ".",
                 to_table(["place", "name", "value"], [(k, names[i], values[i][1]) for k, i in enumerate(top, 1)])]
    else:
        fit = [i for i in order if passes[i]]
        if len(fit) < 2 or fit[0] == order[0]:
            return None
        best, lure = fit[0], order[0]
        must = [pick_rx(rx[best], [rx[i] for i in range(n) if i != best])]
        wrong = basic_wrong(f"The {end} one is {names[lure]} with {values[lure][1]}.")
        right = [f"The {end} one that fits is {names[best]} with {values[best][1]}; {names[lure]} is ruled out.",
                 to_table(["name", "value", "second"], [(names[best], values[best][1], seconds[best])])]
    files, named = {}, rng.random() < 0.5
    for i, name in enumerate(names):
        lines = [rng.choice(m_says).format(n=name, v=values[i][1]),
                 rng.choice(s_says).format(v=seconds[i])] + pick_many(rng, CARD_FILLER, 2)
        rng.shuffle(lines)
        files[item_file(rng, sc["stem"], i + 1, name,
                        named)] = sc["lead"].format(n=name) + "\n" + " ".join(lines) + "\n"
    ask = rng.choice(ASK_THREE if three else ASK_BEST)
    goal = dress(rng, ask, turn + rng.randint(0, 3), end=end, item=sc["item"], crit=crit.format(x=shown))
    return Goal("rank", goal, files, must, right, wrong)


# ---------------------------------------------------------------- chain

# Three links: (stem, left column, right column, sentences with {a} and {b}); then questions with {x}.
CHAIN_SCENES = [
    ([("projects", "person", "project", ["{a} works on {b}.", "{a} has been assigned to {b}."]),
      ("rooms", "project", "room", ["{a} sits in room {b}.", "The team of {a} uses room {b}."]),
      ("phones", "room", "phone", ["In room {a} the phone is {b}.", "Room {a} answers on {b}."])],
     ("person", "project", "room", "phone"),
     ["On which phone number do I reach the project room of {x}?",
      "I need to call {x} at the project's room, which number?",
      "phone of the room where {x}'s project sits?"]),
    ([("admissions", "patient", "ward", ["{a} lies on {b}.", "{a} was admitted to {b}."]),
      ("rota", "ward", "nurse", ["{a} is looked after by {b}.", "On {a} the nurse is {b}."]),
      ("pagers", "nurse", "pager", ["{a} carries pager {b}.", "Pager {b} belongs to {a}."])],
     ("person", "ward", "person", "phone"),
     ["Which pager has the nurse who looks after {x}?",
      "Who do I page for {x}? Just the pager number of the ward nurse.", "pager number for the nurse of {x}"]),
    ([("catalogue", "book", "shelf", ["\"{a}\" stands on shelf {b}.", "Look for \"{a}\" on shelf {b}."]),
      ("floor_plan", "shelf", "hall", ["Shelf {a} is in the {b}.", "You find shelf {a} in the {b}."]),
      ("keys", "hall", "key holder", ["The {a} is opened by {b}.", "{b} has the key to the {a}."])],
     ("book", "shelf", "hall", "person"),
     ["Who has the key to the hall in which \"{x}\" stands?",
      "I want to borrow \"{x}\". Who must unlock the hall for me?", "who opens the hall with the book \"{x}\""]),
    ([("arrivals", "ship", "berth", ["The {a} moors at {b}.", "{b} is reserved for the {a}."]),
      ("wardens", "berth", "warden", ["{a} is in the care of {b}.", "{b} watches over {a}."]),
      ("radio", "warden", "channel", ["{a} listens on channel {b}.", "Call {a} on channel {b}."])],
     ("firm", "berth", "person", "channel"),
     ["On which radio channel can the {x} call the warden of her berth?",
      "Radio channel for the berth warden of the {x}?",
      "The {x} comes in tonight, which channel does her warden listen on?"]),
    ([("bookings", "band", "stage", ["{a} play on the {b}.", "The {b} goes to {a}."]),
      ("crew", "stage", "stage manager", ["The {a} is run by {b}.", "{b} is in charge of the {a}."]),
      ("contacts", "stage manager", "mobile", ["{a} has the mobile number {b}.", "Dial {b} for {a}."])],
     ("firm", "stage", "person", "mobile"),
     ["What's the mobile number of the manager of the stage where {x} play?",
      "{x} have a problem with their stage, whom do they ring (number)?",
      "number of the stage manager for {x}"]),
    ([("orders", "order", "pallet", ["Order {a} was packed on pallet {b}.", "Pallet {b} holds order {a}."]),
      ("bays", "pallet", "bay", ["Pallet {a} stands in bay {b}.", "Bay {b} is where pallet {a} waits."]),
      ("drivers", "bay", "driver", ["Bay {a} is served by {b}.", "{b} loads at bay {a}."])],
     ("order", "pallet", "bay", "person"),
     ["Which driver will load order {x}?", "Who is the driver for the goods of order {x}?", "order {x} - driver?"]),
    ([("classes", "pupil", "class", ["{a} is in class {b}.", "{a} goes to class {b}."]),
      ("teachers", "class", "class teacher", ["Class {a} is taught by {b}.", "{b} is the teacher of class {a}."]),
      ("hours", "class teacher", "consulting hour", ["{a} sees parents on {b}.", "Parents can talk to {a} on {b}."])],
     ("person", "class", "person", "slot"),
     ["When can the parents of {x} see the class teacher?", "Consulting hour of {x}'s teacher?",
      "I'm the mother of {x}, when may I come to see the teacher?"]),
]
BOOKS = ["The Salt Road", "Winter Birds", "A House of Clay", "The Ninth Bell", "Letters to Nobody", "Grey Harbour",
         "The Glass Ox", "Under the Quince",
         "Paper Moons", "The Last Ferry", "A Short Eclipse", "Nettles", "The Copper Key", "Low Tide"]
HALLS = ["North Hall", "Map Hall", "Garden Hall", "Old Hall", "Round Hall", "Press Hall", "Music Hall", "Tower Hall",
         "Vault Hall", "Glass Hall", "River Hall", "Long Hall", "East Hall", "West Hall"]
STAGES = [f"{w} Stage"
          for w in "Meadow River Barn Tent Hill Forest Castle Beach Garden Market Bridge Moon Sun Silver".split()]
WARDS = [f"Ward {w}"
         for w in "Maple Birch Cedar Linden Rowan Aspen Elder Hazel Alder Poplar Spruce Beech Walnut Chestnut".split()]
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]


def chain_pool(rng, sort, n):
    """Return n different (text, regex) members of one step of a chain."""
    if sort == "slot":
        slots = [(d, h) for d in WEEKDAYS for h in range(13, 18)]
        return [(f"{d} at {h}:30", rf"(?:{d[:3]}\w*.{{0,30}}?{time_rx(h, 30)}|{time_rx(h, 30)}.{{0,20}}?{d[:3]})")
                for d, h in pick_many(rng, slots, n)]
    made = {"person": lambda: people(rng, n), "project": lambda: pick_many(rng, PROJECTS, n),
            "firm": lambda: firms(rng, n),
            "room": lambda: [f"{rng.choice('ABCD')}{x}" for x in pick_many(rng, range(101, 499), n)],
            "phone": lambda: [str(x) for x in pick_many(rng, range(3100, 9899), n)],
            "ward": lambda: pick_many(rng, WARDS, n),
            "book": lambda: pick_many(rng, BOOKS, n), "shelf": lambda: [f"{rng.choice('RSTU')}-{x}"
                for x in pick_many(rng, range(11, 99), n)],
            "hall": lambda: pick_many(rng, HALLS, n), "berth": lambda: [f"berth {x}"
                for x in pick_many(rng, range(101, 199), n)],
            "channel": lambda: [str(x) for x in pick_many(rng, range(11, 88), n)],
            "stage": lambda: pick_many(rng, STAGES, n),
            "mobile": lambda: [f"07{rng.randint(10, 99)} {x}" for x in pick_many(rng, range(110200, 998000), n)],
            "order": lambda: [f"A{x}" for x in pick_many(rng, range(40100, 49900), n)],
            "class": lambda: pick_many(rng, [f"{a}{b}" for a in range(5, 11) for b in "abcd"], n),
            "pallet": lambda: [f"P{x}" for x in pick_many(rng, range(310, 990), n)],
            "bay": lambda: [str(x) for x in pick_many(rng, range(11, 60), n)]}[sort]()
    if sort == "person":
        return [(p, surname_rx(p)) for p in made]
    if sort == "mobile":
        return [(t, rf"\b{t[:4]}[\s\-]?{t[5:8]}\s?{t[8:]}\b") for t in made]
    return [(t, lit(t)) for t in made]


def chain_file(rng, link, pairs):
    """Return (ending, text) of one link as prose, CSV or a Markdown list or table."""
    stem, left, right, sentences = link
    form = rng.choice(["prose", "csv", "list", "table"])
    pairs = rng.sample(pairs, len(pairs))
    if form == "prose":
        said = [rng.choice(sentences).format(a=a, b=b) for a, b in pairs]
        text = " ".join(s[:1].upper() + s[1:] for s in said)
        return "txt", f"{rng.choice(SAME_FILLER)} {text}\n"
    if form == "csv":
        return "csv", to_csv([left, right, "updated"], [(a, b, random_date(rng, 2025).isoformat()) for a, b in pairs],
                             rng.choice([",", ";"]))
    if form == "list":
        return "md", f"# {stem.replace('_', ' ').capitalize()}\n\n" + "\n".join(f"- {a}: {b}" for a,
            b in pairs) + "\n"
    return "md", f"# {stem.replace('_', ' ').capitalize()}\n\n" + to_table([left, right], pairs) + "\n"


def chain(rng, turn):
    """Three files must be followed one after the other."""
    links, sorts, questions = CHAIN_SCENES[turn % len(CHAIN_SCENES)]
    n = rng.randint(6, 12)
    steps = [chain_pool(rng, s, n) for s in sorts]
    lasts = [p[0].split()[-1] for s, pool in zip(sorts, steps) if s == "person" for p in pool]
    while len(set(lasts)) < len(lasts):
        steps = [chain_pool(rng, s, n) for s in sorts]
        lasts = [p[0].split()[-1] for s, pool in zip(sorts, steps) if s == "person" for p in pool]
    files = {}
    for link, left, right in zip(links, steps, steps[1:]):
        ending, text = chain_file(rng, link, [(a[0], b[0]) for a, b in zip(left, right)])
        files[file_name(rng, link[0], ending)] = text
    at, off = pick_many(rng, range(n), 2)
    answer, lure = steps[3][at], steps[3][off]
    others = any_of([s[1] for i, s in enumerate(steps[3]) if i != at])
    must = [ci(answer[1]), ci(rf"\A(?!(?:.*?{others}){{3}})")]
    lead = rng.choice(["", "", "The three files hang together. ", "Everything needed is in the lists. ",
                       "Look it up in the attached lists: "])
    goal = dress(rng, lead + rng.choice(questions), turn + rng.randint(0, 3), x=steps[0][at][0])
    middle = " -> ".join(s[at][0] for s in steps[:3])
    right = [f"It is {answer[0]} ({middle}).", to_table(["step", "value"],
                                                        [(k, s[at][0]) for k, s in zip(sorts, steps)])]
    wrong = basic_wrong(f"It is {lure[0]}.") + ["One of these: " + ", ".join(s[0] for s in steps[3])]
    return Goal("chain", goal, files, must, right, wrong)


# ---------------------------------------------------------------- missing

ABSENT_COLUMNS = {"expenses": ["VAT rate", "approval date"], "sales": ["discount", "customer age"],
                  "training": ["heart rate", "distance"],
                  "tickets": ["satisfaction score", "cost per hour"], "harvest": ["sugar content", "price per kilo"],
                  "donations": ["donor age", "tax number"],
                  "meter_readings": ["outdoor temperature", "price per kWh"]}
ASK_COLUMN = ["What is the average {x} in {f}?", "Give me the mean {x} over all {items}.",
              "Which {group} has the best {x} on average? With value.",
              "average {x} per {group} please, from {f}", "Work out the median {x} of the {items}."]
ASK_ONE = ["What is the {x} of {n}?", "{n}: {x}?", "Could you look up the {x} for {n} in the files?",
           "I only need one thing, the {x} of {n}.",
           "Tell me which {x} is given for {n}."]
ASK_MONTH = ["What is the total {amt} for {month}?", "How much {amt} did we have in {month}? It's in {f}.",
             "sum of {amt}, {month} only", "Add up the {amt} of {month}."]
ASK_LIST = ["What is the {x} of {n}?", "I need the {x} for {n}, see {f}.", "{x} of {n} pls",
            "Look in {f} and tell me the {x} that belongs to {n}."]
ASK_FACT = ["What do the papers give as the {x} for {thing}?", "{x} for {thing}?",
            "It's about {thing}: please tell me the {x}.", "Read the attached and answer: {thing}, {x}?"]
ASK_GHOST = [
    "Please summarise the attached {doc} in three sentences.", "What is the total on the attached {doc}?",
    "I've attached the {doc}, who signed it?",
    "Which date is on the {doc} I sent with this message?", "See attachment ({f}): list the main points.",
    "Translate the attached {doc} into German.",
    "Check the {doc} in {f} for mistakes and tell me the three worst.", "how many rows does {f} have",
    "Compare the two attached {doc}s and tell me which is cheaper.",
    "Using {f}, what is the highest value in the second column?"]
GHOSTS = [("rental contract", "contract", "pdf"), ("invoice", "invoice", "pdf"), ("price list", "prices", "xlsx"),
          ("letter from the insurer", "insurer", "txt"),
          ("offer", "offer", "docx"), ("meeting report", "report", "docx"), ("order form", "order_form", "csv"),
          ("medical report", "findings", "pdf")]
PLEASE_SEND = r"(?:please|could you|can you|if you|once you|kindly)\s+(?:\w+\s+){0,3}?(?:attach|upload|send|share|provide|paste|add|include|supply|resend)"


def only_numbers_of(*texts):
    """Return a regex which forbids numbers of two or more digits that the texts do not hold."""
    known = set()
    for token in re.findall(r"\d+(?:[.,:/\-]\d+)*", " ".join(texts)):
        known.add(esc(token))
        known.update(p for p in re.split(r"[.,:/\-]", token) if len(p) > 1)
        if "," in token:
            known.add(r"[,.'’\s]?".join(token.split(",")))
            known.add(token.replace(",", ""))
    known = sorted(known, key=lambda k: (-len(k), k)) or ["00"]
    return ci(rf"\A(?!.*(?<![\w.,:/\-])(?!{any_of(known)}(?!\d))\d[\d.,]*\d)")


def cards(rng, turn, skip_name=None):
    """Return scene, names, columns of values and files of prose cards; one card lacks one column."""
    sc = CARD_SCENES[turn % len(CARD_SCENES)]
    n, money = rng.randint(4, 7), rng.choice(CURRENCIES)
    names = card_names(rng, sc["name"], n)
    cols = {c: card_values(rng, sort, n, money) for c, (sort, _) in sc["cols"].items()}
    lasts = [x.split()[-1] for x in names] + [v[0].split()[-1] for c, (s, _) in sc["cols"].items() if s == "person"
                                              for v in cols[c]]
    if len(set(lasts)) < len(lasts):
        return cards(rng, turn)
    gap, gap_col = rng.randrange(n), rng.choice([c for c, (s, _) in sc["cols"].items()
                                                 if s not in ("dept", "hobby", "colour", "solvent", "city",
                                                              "person")])
    files, named = {}, rng.random() < 0.5
    for at, name in enumerate(names):
        lines = [rng.choice(s).format(n=name, v=cols[c][at][0]) for c, (_, s) in sc["cols"].items()
                 if (at, c) != (gap, gap_col)]
        rng.shuffle(lines)
        files[item_file(rng, sc["stem"], at + 1, name,
                        named)] = sc["lead"].format(n=name) + "\n\n" + " ".join(lines) + "\n"
    return sc, names, cols, gap, gap_col, files


def missing(rng, turn):
    """The asked value is nowhere, or one document lacks it, or the attachment is not there."""
    sort = ["column", "one", "table", "ghost", "person", "month", "fact"][turn % 7]
    style = turn + rng.randint(0, 4)
    if sort in ("one", "table"):
        sc, names, cols, gap, col, files = cards(rng, rng.randrange(len(CARD_SCENES)))
        name, texts = names[gap], " ".join(list(files) + list(files.values())) + f" {len(names)}"
        name_rx = surname_rx if sc["name"] == "person" else lit
        other = next(i for i in range(len(names)) if i != gap)
        if sort == "one":
            goal = dress(rng, rng.choice(ASK_ONE), style, x=col, n=name)
            right = [f"The {col} of {name} is not stated in the documents.",
                     to_table([sc["who"], col], [(name, "not given")])]
            wrong = [f"The {col} of {name} is {cols[col][gap][0]}.", f"The {col} of {name} is {cols[col][other][0]}.",
                     EMPTYISH,
                     f"It isn't stated, but it should be about {cols[col][gap][0]}."]
            if cols[col][gap][0] in texts:
                return missing(rng, turn)
            shaky = re.findall(r"\d+(?:,\d+)?", cols[col][gap][0])[0]
            if len(shaky) < 2 or re.search(rf"(?<!\d){shaky}(?!\d)", texts):
                wrong.pop()
            return Goal("missing", goal, files, [must_deny(), only_numbers_of(texts, goal)], right, wrong)
        goal = dress(rng, rng.choice(ASK_TABLE), style, n=len(names), item=sc["item"], who=sc["who"],
                     cols=and_list([sc["who"], col], rng))
        rest = [name_rx(x) for i, x in enumerate(names) if i != gap]
        none = rf"(?:{DENY}|[—–-]+\s*(?:\||\n|\Z)|\|\s*\||\?|\bopen\b|to be confirmed|tbc|tbd)".replace(r"\Z",
            r"(?![\s\S])")
        must = [in_line([name_rx(x), cols[col][i][1]]) for i, x in enumerate(names) if i != gap]
        me = name_rx(name)
        must += [ci(rf"(?:{me}(?:(?!{any_of(rest)}).){{0,150}}?{none}|{DENY}(?:(?!{any_of(rest)}).){{0,100}}?{me})")]
        must.append(rf"(?im)\A(?![\s\S]*^[^\n]*{me}(?:(?!{any_of(rest)})[^\n])*{any_of([v[1] for v in cols[col]])})")
        rows = [(x, "not stated" if i == gap else cols[col][i][0]) for i, x in enumerate(names)]
        false = [(x, cols[col][i][0]) for i, x in enumerate(names)]
        right = ["\n".join(f"{a}: {b}" for a, b in rows), to_table([sc["who"], col], rows)]
        return Goal("missing", goal, files, must, right, basic_wrong(to_table([sc["who"], col], false)))
    if sort == "ghost":
        doc, stem, ending = GHOSTS[(turn // 7 + rng.randrange(len(GHOSTS))) % len(GHOSTS)]
        f = file_name(rng, stem, ending)
        goal = dress(rng, rng.choice(ASK_GHOST), style, doc=doc, f=f)
        must = [ci(any_of([DENY, PLEASE_SEND])), only_numbers_of(goal, "2023 2024 2025")]
        right = [f"There is no {doc} attached, so I cannot answer this.",
                 f"- Attachment: missing\n- Please send the {doc} again."]
        n = rng.randint(210, 990)
        wrong = [f"The {doc} names {rng.choice(FIRST)} and a total of {n}.",
                 f"The {doc} isn't readable in part, the total is {n + 1009}.", EMPTYISH]
        return Goal("missing", goal, {}, must, right, wrong)
    if sort in ("column", "month"):
        sc = rng.choice(SUM_SCENES)
        f = file_name(rng, sc["stem"], "csv")
        groups, there = pick_many(rng, sc["groups"], 3), sorted(pick_many(rng, range(1, 13), 4))
        rows = [(f"N{i}", dt.date(2025, rng.choice(there), rng.randint(1, 28)).isoformat(), rng.choice(groups),
                 rng.choice(sc["labels"]),
                 money_or_plain(rng.randint(500, 90000) if sc["unit"] == "money" else rng.randint(10, 900),
                                sc["unit"]))
                for i in pick_many(rng, range(100, 999), rng.randint(14, 30))]
        files = {f: to_csv(["number", "date", sc["group"], sc["label"], sc["amt"]], rows, rng.choice([",", ";"]))}
        if sort == "column":
            x = rng.choice(ABSENT_COLUMNS[sc["stem"]])
            goal = dress(rng, rng.choice(ASK_COLUMN), style, x=x, f=f, items=sc["items"], group=sc["group"])
            must = [must_deny(),
                    never(rf"{esc(x)}[^\n]{{0,60}}?(?:\bis\b|\bwas\b|=|:|\bof\b|about|comes to)[\s*]*[€$£]?\s?\d"),
                    ci(r"\A(?!\W*\d)")]
            right = [f"The file has no column for the {x}, so this cannot be worked out.",
                     to_table(["value", "result"], [(x, "not in the file")])]
            n = rng.randint(11, 90)
            wrong = [f"The average {x} is {n}.4.", f"{n}.4", EMPTYISH,
                     f"There is no column for it, but the {x} is about {n}."]
            return Goal("missing", goal, files, must, right, wrong)
        month = f"{MONTHS[rng.choice([m for m in range(1, 13) if m not in there]) - 1]} 2025"
        goal = dress(rng, rng.choice(ASK_MONTH), style, month=month, amt=sc["amt"], f=f)
        must = [ci(any_of([DENY, rf"\bno\s+(?:\w+\s+){{0,3}}?{any_of([sc['items'], sc['amt']])}",
                           r"(?<![\d.,])0(?:[.,]0+)?(?![\d.,]*\d)", r"\bzero\b"])),
                never(r"(?:total|sum|amount|come)[^\n]{0,60}?(?:\bis\b|\bwas\b|:|=|\bto\b)[\s*]*[€$£]?\s?[1-9]"),
                ci(r"\A(?!\W*[1-9])")]
        right = [f"There are no {sc['items']} from {month} in the file.",
                 to_table(["month", sc["amt"]], [(month, "no data")])]
        total = rng.randint(1000, 9000)
        wrong = [f"The total for {month} is {total}.", f"{total}", EMPTYISH,
                 f"The file doesn't cover all of it, the total is {total}."]
        return Goal("missing", goal, files, must, right, wrong)
    if sort == "person":
        links, sorts, _ = rng.choice([s for s in CHAIN_SCENES if any(k in ("phone", "mobile") for k in s[1])])
        who = people(rng, rng.randint(7, 12))
        numbers = chain_pool(rng, "phone", len(who))
        label = rng.choice(["phone extension", "locker number", "staff number", "room phone"])
        ending, text = chain_file(rng, (rng.choice(["extensions", "lockers", "people_list", "directory"]), "name",
                                        label,
                                        [f"{{a}} has the {label} {{b}}.", f"The {label} of {{a}} is {{b}}."]),
                                  [(a, b[0]) for a, b in zip(who[1:], numbers[1:])])
        f = file_name(rng, "directory", ending)
        goal = dress(rng, rng.choice(ASK_LIST), style, x=label, n=who[0], f=f)
        must = [must_deny(), only_numbers_of(text, goal, f)]
        right = [f"{who[0]} is not in the list, so I can't give a {label}.",
                 to_table(["name", label], [(who[0], "not listed")])]
        wrong = [f"The {label} of {who[0]} is {numbers[0][0]}.", f"The {label} of {who[0]} is {numbers[1][0]}.",
                 EMPTYISH,
                 f"{who[0]} isn't listed by full name, the {label} is {numbers[0][0]}."]
        if numbers[0][0] in text:
            return missing(rng, turn)
        return Goal("missing", goal, {f: text}, must, right, wrong)
    thing, stem, facts = rng.choice(SAME_SCENES)
    facts = pick_many(rng, facts, 6)
    gap = next(f for f in facts if f[2] in ("money", "person", "time", "count", "firm", "inn"))
    used, money, sentences, labels = set(), rng.choice(CURRENCIES), [], []
    lost = make_values(rng, gap[2], used, money)[0].forms[0]
    for label, _, fsort, says in facts:
        if label != gap[0]:
            value = make_values(rng, fsort, used, money)[0].text(rng)
            sentences.append(rng.choice(says).format(v=value))
            labels.append((label, value))
    style_doc = rng.choice(["minutes", "mail", "notice", "facts"])
    f = file_name(rng, f"{stem}_{style_doc}", rng.choice(["txt", "md"]))
    text = lay_out(rng, style_doc, thing, [s[:1].upper() + s[1:] for s in sentences], labels)
    if lost in text or lost.split()[-1] in text:
        return missing(rng, turn)
    goal = dress(rng, rng.choice(ASK_FACT), style, x=gap[0], thing=thing)
    must = [must_deny(), only_numbers_of(text, goal, f, "00 15 30 45")]
    right = [f"The {gap[0]} is not mentioned in the paper.",
             to_table(["point", "value"], [(gap[0], "not mentioned")])]
    wrong = [f"The {gap[0]} is {lost}.", f"{lost}", EMPTYISH]
    return Goal("missing", goal, {f: text}, must, right, wrong)


# ---------------------------------------------------------------- parts

# Text, topic, headings, words to use, words to avoid.
PART_SCENES = [
    ("a notice for the tenants", "the new bicycle cellar",
     "Opening Hours|House Rules|Getting a Key|Safety|Contact|Costs|What Changes",
     "deposit padlock ramp lantern charger caretaker bell pump helmet signature drain sticker",
     "forbidden problem chaos"),
    ("a product page", "a folding kayak", "At a Glance|Materials|Assembly|Care|Delivery|Who It Is For|In the Box",
     "paddle canvas zipper rivet backpack river lake sunlight soap carton rope seat", "cheap revolutionary amazing"),
    ("an invitation", "our summer fete",
     "Programme|Food and Drink|How to Get There|For Children|Weather Plan|Please Bring|Thanks",
     "brass band lemonade tram puppet tent salad blanket raffle sunset torch volunteers",
     "unfortunately boring nice"),
    ("a job ad", "a gardener for the botanical garden",
     "Your Tasks|Your Profile|What We Offer|How to Apply|About Us|Working Time",
     "greenhouse pruning licence teamwork overtime canteen pension roots deadline compost apprentices",
     "ninja rockstar guru"),
    ("an incident report", "a burst pipe in the archive", "Summary|Timeline|Damage|Cause|Next Steps|Lessons Learned",
     "valve basement plumber boxes mould insurance midnight alarm frost shelves towels", "blame guilty stupid"),
    ("a newsletter", "the month in our library",
     "New Books|Events|From the Team|Good to Know|Reading Tip|Looking Ahead",
     "crime poetry ticket apprentice scanner holiday comic audio cushion renewal quiz", "sadly cancelled boring"),
    ("a handout", "first aid for burns", "First Minutes|What Not to Do|When to Call|Kit|Myths|Aftercare",
     "water jewellery butter ambulance gauze blister gloves cream child tetanus sunlight",
     "miracle certainly always"),
    ("a short project plan", "a community orchard", "Goal|Partners|Schedule|Budget|Risks|Communication",
     "apples fence council school autumn grant watering voles blog signs harvest", "impossible guarantee urgent"),
]
FLAT_WORDS = "here we set out in plain language how this goes and who takes care of it so that each reader finds the way".split()


def heading_rx(head):
    """Return a regex for the heading on a line of its own or followed by a colon; needs flags i and m."""
    return rf"^[ \t#>*_\d.)\-]{{0,12}}{esc(head)}[ \t]*(?:[*_]*[ \t]*:[*_]*|[*_#]*[ \t]*$|[*_]+[ \t]*[\-–—])"


def section_rx(head, others, tail):
    """Return a regex for a heading whose section, up to the next heading, goes on with the tail."""
    stop = any_of([heading_rx(o) for o in others])
    return rf"(?im){heading_rx(head)}(?:(?!{stop})[\s\S])*?{tail}"


def size_rx(head, others, low, high):
    """Return a regex for a section of low to high words."""
    stop = any_of([heading_rx(o) for o in others])
    return rf"(?im){heading_rx(head)}\s*(?:(?!{stop})\S+(?:\s+|(?![\s\S]))){{{low},{high}}}(?:(?={stop})|(?![\s\S]))"


def fill_words(rng, words, length):
    """Return a sentence of the length which holds the words."""
    rest = [FLAT_WORDS[i % len(FLAT_WORDS)] for i in range(max(6, length - len(words)))]
    step = max(1, len(rest) // (len(words) + 1))
    for at, word in enumerate(words, 1):
        rest.insert(at * step + at - 1, word)
    text = " ".join(rest)
    return text[:1].upper() + text[1:] + "."


def say_parts(rng, way, text, topic, heads, need, limit, total, avoid, ordered):
    """Return the wording of the constraints as a template and its slots."""
    slots = {"text": text, "topic": topic, "heads": ", ".join(heads), "quoted": ", ".join(f"\"{h}\"" for h in heads),
             "n": len(heads)}
    with_need = [h for h in heads if need.get(h)]
    quote = rng.choice(["'{}'", "\"{}\"", "{}"])
    words = {h: and_list([quote.format(w) for w in need[h]]) for h in with_need}
    per = rng.choice(["Each section has at most {limit} words.", "No section longer than {limit} words.",
                      "max. {limit} words per section."]) if limit else ""
    whole = rng.choice(["The whole text must not exceed {limit} words.", "In total {limit} words at most.",
                        "Keep all of it under {limit} words in total."]) if total else ""
    size = per or whole
    order = rng.choice(["Keep this order.", "The sections come in exactly this order.",
                        "Order as given, please."]) if ordered else ""
    never_words = rng.choice(["Do not use the words {avoid}.", "Avoid these words entirely: {avoid}.",
                              "The words {avoid} must not occur."]) if avoid else ""
    slots["limit"], slots["avoid"] = limit or total, and_list(avoid)
    if way == 0:
        body = "Write {text} about {topic}. Headings: {heads}. " + size + " " + " ".join(f"The section {h} must mention {w}." for h, w in words.items())
    elif way == 1:
        lines = "\n".join(f"- {h}" + (f" (must contain: {', '.join(need[h])})" if need.get(h) else "") for h in heads)
        slots["lines"] = lines
        body = "Please write {text} about {topic} with exactly these headings:\n{lines}\n" + size
    elif way == 2:
        slots["inline"] = ", ".join(h + (f" (with {' and '.join(need[h])})" if need.get(h) else "") for h in heads)
        body = "Draft {text}, topic: {topic}. It has {n} sections: {inline}. " + size
    elif way == 3:
        slots["first"] = "; ".join(f"{w} in the part {quote.format(h)}" for h, w in words.items())
        body = "Certain words have to appear, namely {first}. The parts are called {quoted}. What I need is {text} about {topic}. " + size
    elif way == 4:
        slots["lines"] = "\n".join(f"{i}. {h}" + (f": use {words[h]}" if h in words else "") for i,
                                   h in enumerate(heads, 1))
        body = "I need {text} on {topic}. " + size + " Sections:\n{lines}\n"
    elif way == 5:
        slots["lines"] = "\n".join(f"{h}: {', '.join(need[h])}" if need.get(h) else f"{h}: (free)" for h in heads)
        body = "{text} about {topic}. Below are the headings and behind each colon the words which have to occur there.\n{lines}\n" + size
    elif way == 6:
        slots["arrows"] = "; ".join(f"{h} -> {' + '.join(need[h])}" for h in with_need)
        slots["pipes"] = " | ".join(heads)
        body = "need {text}, topic {topic}. sections = [{pipes}]. words: {arrows}. " + size
    elif way == 7:
        slots["lines"] = to_table(["heading", "must contain"],
                                  [(h, ", ".join(need.get(h, [])) or "anything") for h in heads])
        body = "Write {text} about {topic} following this plan. " + size + "\n\n{lines}\n"
    else:
        slots["named"] = "; ".join(f"the one headed {quote.format(h)}" + (f" speaks of {words[h]}" if h in words
            else " is up to you") for h in heads)
        body = "We would like to have {text} about {topic}. Please divide it into {n} sections: {named}. " + size
    return " ".join(x for x in (body, order, never_words) if x), slots


def parts(rng, turn):
    """Write a text with named headings, word limits and words for given sections."""
    text, topic, heads, words, avoid = PART_SCENES[turn % len(PART_SCENES)]
    heads = pick_many(rng, heads.split("|"), rng.randint(3, 5))
    words = pick_many(rng, words.split(), len(words.split()))
    need, k = {}, 0
    for h in pick_many(rng, heads, rng.randint(2, len(heads))):
        size = rng.randint(1, 2)
        need[h], k = words[k:k + size], k + size
    by_section = rng.random() < 0.6
    limit = rng.choice([30, 35, 40, 50, 60, 80]) if by_section else None
    total = None if by_section else rng.choice([90, 100, 120, 150, 200, 250])
    avoid = pick_many(rng, avoid.split(), rng.randint(1, 3)) if rng.random() < 0.4 else []
    ordered = rng.random() < 0.5
    template, slots = say_parts(rng, (turn + rng.randint(0, 2) * 3) % 9, text, topic, heads, need, limit, total,
                                avoid, ordered)
    goal = dress(rng, template, turn // 2 + rng.randint(0, 3), **slots)
    must = []
    for h in heads:
        rx, others = heading_rx(h), [o for o in heads if o != h]
        must.append(rf"(?im)\A(?![\s\S]*{rx}[\s\S]*{rx})[\s\S]*{rx}")
        must += [section_rx(h, others, rf"\b{esc(w)}(?:e?s)?\b") for w in need.get(h, [])]
        high = limit * 11 // 10 + 1 if limit else total * 11 // 10
        must.append(size_rx(h, others, 4, high))
    if total:
        high = total * 11 // 10 + sum(len(h.split()) + 1 for h in heads)
        must.append(rf"(?i)\A\s*(?:\S+(?:\s+|(?![\s\S]))){{20,{high}}}(?![\s\S])")
    if ordered:
        must.append("(?im)" + r"[\s\S]*?".join(heading_rx(h) for h in heads))
    must += [never(rf"\b{esc(w)}\b") for w in avoid]
    room = limit or total // len(heads) - 3
    body = {h: fill_words(rng, need.get(h, []), rng.randint(9, max(10, room - 6))) for h in heads}
    plain = "\n\n".join(f"{h}\n{body[h]}" for h in heads)
    marked = "\n\n".join(f"## {h}\n\n- {body[h]}" for h in heads)
    bold = "\n".join(f"**{h}:** {body[h]}" for h in heads)
    first = next(h for h in heads if need.get(h))
    lost = dict(body, **{first: fill_words(rng, [], 12)})
    long = dict(body, **{heads[-1]: fill_words(rng, need.get(heads[-1], []), (limit or total) * 5 // 4 + 30)})
    shape = lambda b: "\n\n".join(f"## {h}\n\n{b[h]}" for h in heads)
    wrong = [shape(lost), NOT_STATED, EMPTYISH, shape(long), "\n\n".join(f"## {h}\n\n{body[h]}" for h in heads[:-1]),
             marked + f"\n\n## {heads[0]}\n\n{body[heads[0]]}"]
    if ordered:
        wrong.append("\n\n".join(f"## {h}\n\n{body[h]}" for h in reversed(heads)))
    if avoid:
        wrong.append(marked + f" And it is {avoid[0]} too.")
    return Goal("parts", goal, {}, must, [plain, marked, bold], wrong)


# ---------------------------------------------------------------- each

LANGUAGES = {
    "German": r"der|das|und|ist|nicht|wir|mit|für|den|dem|ein|eine|einen|zu|zum|zur|bitte|sind|wird|werden|haben|hat|im|von|auf|sie|ich|uns|bei|nach|um",
    "French": r"le|la|les|des|une|un|est|nous|vous|pour|avec|du|et|au|aux|sont|dans|qui|ce|cette|sur|de|à|pas|il|elle",
    "Spanish": r"el|la|los|las|una|un|es|para|con|del|por|que|en|se|su|al|y|de|está|nos|hay|tiene"}
# Name {n}, place {p}, numbers {a} and {b}; English, German, French, Spanish.
TO_TRANSLATE = [
    ("{n} is waiting at the station in {p} with {a} suitcases and does not know where to go.",
     "{n} wartet mit {a} Koffern am Bahnhof in {p} und weiß nicht, wohin sie gehen soll. Das ist für uns nicht "
     "schön.",
     "{n} attend à la gare de {p} avec {a} valises et ne sait pas où aller.",
     "{n} espera en la estación de {p} con {a} maletas y no sabe a dónde ir."),
    ("The bakery in {p} is closed until {n} comes back, but {a} loaves are still in the oven.",
     "Die Bäckerei in {p} ist geschlossen, bis {n} zurückkommt, aber {a} Brote sind noch im Ofen und werden mit "
     "der Zeit dunkel.",
     "La boulangerie de {p} est fermée jusqu'au retour de {n}, mais il y a encore {a} pains dans le four.",
     "La panadería de {p} está cerrada hasta que vuelva {n}, pero hay {a} panes en el horno."),
    ("We need {a} chairs for the party, and {n} will bring the table from {p}.",
     "Wir brauchen {a} Stühle für das Fest, und {n} wird den Tisch von {p} mit dem Auto bringen.",
     "Nous avons besoin de {a} chaises pour la fête, et {n} apporte la table de {p} avec la voiture.",
     "Necesitamos {a} sillas para la fiesta, y {n} trae la mesa de {p} en el coche."),
    ("The doctor told {n} to drink {a} glasses of water a day and to stay at home in {p}.",
     "Der Arzt hat {n} gesagt, sie solle {a} Gläser Wasser am Tag trinken und in {p} zu Hause bleiben. Das ist "
     "nicht schwer.",
     "Le médecin a dit à {n} de boire {a} verres d'eau par jour et de rester à la maison à {p}.",
     "El médico le dijo a {n} que beba {a} vasos de agua al día y que se quede en casa, en {p}."),
    ("Please write to {n} that the house in {p} has {a} windows and a new roof.",
     "Bitte schreib an {n}, dass das Haus in {p} {a} Fenster und ein neues Dach hat und wir mit dem Bau zufrieden"
     " sind.",
     "Écrivez à {n}, s'il vous plaît, que la maison de {p} a {a} fenêtres et un toit neuf.",
     "Escribe a {n}, por favor, que la casa de {p} tiene {a} ventanas y un tejado nuevo."),
    ("The train to {p} leaves from platform {a}, and {n} has the tickets in the bag.",
     "Der Zug nach {p} fährt von Gleis {a}, und {n} hat die Karten in der Tasche. Wir sind auf dem Weg.",
     "Le train pour {p} part de la voie {a}, et {n} a les billets dans le sac.",
     "El tren para {p} sale de la vía {a}, y {n} tiene los billetes en la bolsa."),
    ("In winter the lake near {p} is frozen, and {n} walks across it with {a} dogs.",
     "Im Winter ist der See bei {p} gefroren, und {n} geht mit {a} Hunden über das Eis und ist nicht allein.",
     "En hiver, le lac près de {p} est gelé, et {n} le traverse avec {a} chiens.",
     "En invierno el lago cerca de {p} está helado, y {n} lo cruza con {a} perros por la mañana."),
    ("Our school in {p} is looking for a music teacher; {a} children play in the orchestra and {n} leads it.",
     "Unsere Schule in {p} sucht eine Lehrerin für Musik; {a} Kinder spielen im Orchester, und {n} leitet das "
     "Ganze mit viel Geduld.",
     "Notre école à {p} cherche un professeur de musique ; {a} enfants jouent dans l'orchestre et {n} le dirige.",
     "Nuestra escuela en {p} busca un profesor de música; {a} niños tocan en la orquesta y {n} la dirige."),
]
TO_CLASSIFY = [
    ("customer messages", {"complaint": ["The kettle arrived with a crack and nobody answers my mails.",
                                         "Third time the courier left my parcel in the rain. I want my money back.",
                                         "The zip broke on day two, that's not acceptable."],
                           "question": ["Do you also have the lamp in green?",
                                        "How long does shipping to the islands take?",
                                        "Can the filter go into the dishwasher?"],
                           "praise": ["Best teapot I ever owned, thank you!",
                                      "Quick, friendly, perfect. I'm delighted.",
                                      "The blanket is wonderfully soft, well done."]}),
    ("headlines", {"sports": ["Late goal sends the visitors home empty-handed",
                              "Sprinter breaks club record at the spring meeting",
                              "Keeper saves two penalties in the cup final"],
                   "weather": ["Storm front to bring gusts and hail by evening",
                               "Frost until Thursday, then milder air",
                               "Warmest night of the year recorded, no rain in sight"],
                   "culture": ["Novelist reads from new book at the town library",
                               "Museum opens rooms with early woodcuts",
                               "Orchestra starts season with a forgotten symphony"]}),
    ("mails", {"urgent": ["The server is down and nobody can work, please call at once!",
                          "Water is coming through the ceiling right now!",
                          "The customs papers must be signed within the hour or the ship leaves without our goods."],
               "routine": ["Here are the minutes of last month's meeting for your files.",
                           "The canteen menu for the coming weeks is on the intranet.",
                           "A reminder that the plants are watered on Fridays."]}),
    ("reviews", {"positive": ["Lovely rooms, kind people, we will be back.", "Delicious soup and a splendid view.",
                              "Everything worked and the guide was brilliant."],
                 "negative": ["Cold food, rude waiter, never again.", "The bed squeaked and the shower was filthy.",
                              "A waste of an evening, dull from start to end."],
                 "neutral": ["The hotel has four floors and a car park.",
                             "We stayed one night on the way to the coast.", "The museum shows coins and maps."]}),
    ("to-do notes", {"home": ["Descale the coffee maker and fix the kitchen tap.",
                              "Wash the curtains in the bedroom.", "Clean out the attic."],
                     "work": ["Send the quarterly figures to the head office.",
                              "Prepare slides for the client presentation.",
                              "Approve the leave requests of the team."],
                     "health": ["Make an appointment with the dentist.", "Pick up the blood pressure tablets.",
                                "Go for the yearly check-up with the doctor."]}),
    ("bank entries", {"food": ["Bakery Krume, rolls and bread", "Greengrocer at the market, vegetables",
                               "Fish shop, two trout"],
                      "transport": ["Monthly bus pass", "Petrol station, 40 litres", "Train ticket to the coast"],
                      "housing": ["Rent for the flat", "Electricity, monthly instalment for the flat",
                                  "Landlord, heating costs"]})]
TO_SHORTEN = [
    "When {n} took over the small bakery near the canal, nobody in the street believed that the business would "
    "last, because two owners before had given up after only a few months, the oven was old, the rent was high, "
    "and the supermarket around the corner sold cheaper bread all day long.",
    "The committee met again to talk about the footbridge, and after a long debate, in which nearly everyone "
    "repeated what had been said before, {n} proposed to ask an engineer for a report on the timber first, so "
    "that a decision could be taken on the ground of facts rather than of feelings.",
    "For many years {n} collected weather data by hand, reading the thermometer in the garden each morning and "
    "each evening, and writing the numbers into school exercise books, which now fill a whole shelf at the "
    "university and are used by researchers who want to understand the local climate.",
    "Although the concert had been sold out for weeks, {n} decided to open the doors of the church during the "
    "performance, so that those who had not got a ticket could listen from the churchyard, where people sat down "
    "on the grass in the evening sun and stayed until the very last note.",
    "The new rules on waste, which {n} explained at the residents' meeting, mean that glass is no longer picked "
    "up at the door but must be carried to the containers behind the station, while paper, as before, is "
    "collected twice a month, provided that it is bundled and dry.",
    "After the storm had torn off half of the roof, {n} spent the night with neighbours carrying books, pictures "
    "and instruments from the music school down into the cellar of the town hall, and thanks to this effort "
    "almost nothing was lost except an old harmonium and some curtains.",
    "In her report about the pilot scheme, {n} concludes that lending out cargo bikes for free has led many "
    "families to leave the car at home for shopping trips, but that the bikes need more repairs than planned, and"
    " that without a second mechanic the service can hardly go on.",
    "Because the ferry did not run in thick fog, {n} had to spend two extra days on the island, shared a room "
    "with a birdwatcher from the north, learned the names of eleven kinds of gulls, and came home with a notebook"
    " full of drawings and a heavy cold."]
TO_DATE = [
    "The lease was signed on {d1}; the keys were handed over on {d2}.",
    "{n} was born on {d1} and moved to {p} on {d2}.",
    "We planted the hedge on {d1}. It was cut for the first time on {d2}.",
    "Order received {d1}, shipped {d2}, nothing heard since.",
    "The application has to be in by {d1}, the talks are held on {d2} in {p}.",
    "{n} reported the damage on {d1}. The expert came to {p} on {d2}.",
    "Course begins {d1}; last evening {d2}. Bring pencils.",
    "On {d1} the bridge in {p} was closed, and on {d2} it was opened again."]
ASK_EACH = {
    "translate": ["Translate each of the texts into {lang}.",
                  "Please put every one of these texts into {lang}, one after the other.",
                  "{lang} version of each text please.",
                  "I need all {n} texts in {lang}.",
                  "can you translate these {n} notes to {lang}? Names stay as they are."],
    "classify": ["Classify each of the {what}: {labels}. One label each.",
                 "For each text say whether it is {labels}.",
                 "Sort these {what} into the labels {labels} - give the label behind the name of each text.",
                 "Label every one of the {n} {what} with one of: {labels}.",
                 "Which of the labels ({labels}) fits each text?"],
    "shorten": ["Shorten each text to at most {k} words, keep the name of the person in it.",
                "Boil every text down to a maximum of {k} words. The person's name must stay in.",
                "One line per text please, not more than {k} words each, with the person's name.",
                "Summarise each of the {n} texts in no more than {k} words and mention who it is about."],
    "dates": ["Extract all dates from each text.", "List every date in these {n} texts, text by text.",
              "Pull out the dates, for each text separately.",
              "Which dates occur in each of the texts?", "For each text give me the dates in the form YYYY-MM-DD."]}


def at_least(words, count):
    """Return a regex: the words, given as alternatives, occur so many times at least."""
    return ci(rf"\A(?:(?:(?!\b(?:{words})\b).)*\b(?:{words})\b){{{count}}}")


def in_language(lang, sample, limit):
    """Return a regex: hardly any English words, or (where the originals are quoted) as many of the language as in a sample."""
    count = len(re.findall(rf"(?i)\b(?:{LANGUAGES[lang]})\b", sample)) * 8 // 10
    few_english = at_least("the|and|with|is|does|will|has", limit)[len("(?is)"):]
    enough = at_least(LANGUAGES[lang], max(count, 3))[len("(?is)"):]
    return ci(rf"(?:\A(?!{few_english})|{enough})")


def put_texts(rng, texts, stem):
    """Return (files, text behind the goal, name of each text): as files or inside the goal."""
    if rng.random() < 0.6:
        names = [f"{stem}{i}" for i in range(1, len(texts) + 1)] if rng.random() < 0.5 else [f"{stem}_{w}"
            for w in pick_many(rng, "red blue green amber violet grey".split(), len(texts))]
        return {f"{n}.txt": t + "\n" for n, t in zip(names, texts)}, "", names
    names = [f"{rng.choice(['Text', stem.capitalize()])} {i}" for i in range(1, len(texts) + 1)]
    names = [f"{names[0].split()[0]} {i}" for i in range(1, len(texts) + 1)]
    return {}, "\n\n" + "\n".join(f"{n}: {t}" for n, t in zip(names, texts)), names


def label_rx(name, others, label, labels):
    """Return a regex: the text of that name is given that label, before or after it."""
    stop = any_of([lit(o) for o in others] + [rf"\b{x}" for x in labels if x != label])
    wrong = any_of([rf"\b{x}" for x in labels if x != label])
    me, mine = lit(name), rf"\b{label}"
    return (rf"(?im)(?:{me}(?:(?!{stop})[\s\S]){{0,300}}?{mine}"
            rf"|^[ \t#>*_|\-\d.]*{label}\w{{0,2}}[ \t]*[*_]*[ \t]*[:|\-–(][^\n]*?{me}"
            rf"|^[ \t#>*_|\-\d.]*{label}\w{{0,2}}[\s:*]*\n(?:[ \t]*[\-*•](?!{wrong})[^\n]*\n)*[ \t]*[\-*•][^\n]*{me})")


def each(rng, turn):
    """Do something to each of several short texts."""
    task, n = list(ASK_EACH)[turn % 4], rng.randint(3, 5)
    names, towns = people(rng, n), pick_many(rng, CITIES, n)
    short = [p.split()[0] for p in names]
    style, wording = turn // 4 + rng.randint(0, 5), rng.choice(ASK_EACH[task])
    if task == "translate":
        lang = rng.choice(list(LANGUAGES))
        numbers = pick_many(rng, range(13, 98), n)
        chosen = pick_many(rng, TO_TRANSLATE, n)
        spot = list(LANGUAGES).index(lang) + 1
        filled = [[t.format(n=a, p=p, a=x) for t in four] for four, a, p, x in zip(chosen, short, towns, numbers)]
        files, behind, ids = put_texts(rng, [f[0] for f in filled], rng.choice(["note", "message", "letter"]))
        must = [ci(lit(a)) for a in short] + [ci(num(x)) for x in numbers]
        out = [f[spot] for f in filled]
        must.append(at_least(LANGUAGES[lang], 3 * n))
        must.append(in_language(lang, " ".join(out), 3 * n + 2))
        other = [f[spot % 3 + 1] for f in filled]
        right = ["\n\n".join(out), to_table(["text", lang], list(zip(ids, out)))]
        changed = [t.replace(str(x), str(x + 1)) for t, x in zip(out, numbers)]
        wrong = basic_wrong("\n".join(changed)) + ["\n".join(f[0] for f in filled)]
        if lang == "German":
            wrong.append("\n".join(other))
        goal = dress(rng, wording, style, lang=lang, n=n) + behind
    elif task == "classify":
        what, pools = TO_CLASSIFY[(turn // 4 + rng.randint(0, 1)) % len(TO_CLASSIFY)]
        labels = list(pools)
        pairs = [(x, t) for x in labels for t in pools[x]]
        pairs = [rng.choice([p for p in pairs if p[0] == x]) for x in labels[:2]]
        pairs += rng.sample([(x, t) for x in labels for t in pools[x] if (x, t) not in pairs], n - 2)
        rng.shuffle(pairs)
        files, behind, ids = put_texts(rng, [p[1] for p in pairs], rng.choice(["item", "entry", "doc"]))
        must = [label_rx(i, [o for o in ids if o != i], p[0], labels) for i, p in zip(ids, pairs)]
        rows = [(i, p[0]) for i, p in zip(ids, pairs)]
        grouped = "\n".join(f"{x.capitalize()}: " + ", ".join(i for i, y in rows if y == x) for x in labels
                            if x in [y for _, y in rows])
        swapped = [(i, labels[(labels.index(x) + 1) % len(labels)] if k == 0 else x) for k, (i, x) in enumerate(rows)]
        right = ["\n".join(f"{i} is {x}." for i, x in rows), to_table(["text", "label"], rows), grouped]
        wrong = basic_wrong("\n".join(f"{i}: {x}" for i, x in swapped)) + [to_table(["text", "label"], rows[:-1])]
        quote = rng.choice(["{}", "'{}'", "\"{}\""])
        goal = dress(rng, wording, style, what=what, n=n,
                     labels=", ".join(quote.format(x)
                                      for x in labels[:-1]) + " or " + quote.format(labels[-1])) + behind
    elif task == "shorten":
        k, last = rng.randint(9, 18), [p.split()[1] for p in names]
        texts = [t.format(n=p) for t, p in zip(pick_many(rng, TO_SHORTEN, n), names)]
        files, behind, ids = put_texts(rng, texts, rng.choice(["story", "report", "article"]))
        high = k * 11 // 10 + 5
        must = [rf"(?im)^(?=[^\n]*{lit(x)})[ \t]*(?:\S+[ \t]+){{2,{high}}}\S*[ \t]*$" for x in last]
        rows = [(i, f"{p} did what had to be done.") for i, p in zip(ids, names)]
        right = ["\n".join(s for _, s in rows), to_table(["text", "short"], rows)]
        wrong = basic_wrong("\n\n".join(texts)) + ["\n".join(s for _, s in rows[1:])]
        goal = dress(rng, wording, style, k=k, n=n) + behind
    else:
        iso = "YYYY" in wording
        months = pick_many(rng, range(1, 13), 2 * n)
        dates = [sorted(random_date(rng, 2025, [m]) for m in months[2 * k:2 * k + 2]) for k in range(n)]
        texts = [t.format(d1=show_date(rng, a), d2=show_date(rng, b), n=p, p=c) for t, (a, b), p,
                 c in zip(pick_many(rng, TO_DATE, n), dates, names, towns)]
        files, behind, ids = put_texts(rng, texts, rng.choice(["memo", "card", "slip"]))
        must = [ci(rf"\b{d.isoformat()}\b" if iso else date_rx(d)) for pair in dates for d in pair]
        shown = [[show_date(rng, d, "iso" if iso else None) for d in pair] for pair in dates]
        right = ["\n".join(f"{i}: {a} and {b}" for i, (a, b) in zip(ids, shown)),
                 to_table(["text", "first", "second"], [(i, a, b) for i, (a, b) in zip(ids, shown)])]
        last = dates[-1][1]
        off = shown[:-1] + [(shown[-1][0], last.replace(day=last.day - 11).isoformat())]
        wrong = basic_wrong("\n".join(f"{i}: {a} and {b}" for i, (a, b) in zip(ids, off)))
        goal = dress(rng, wording, style, n=n) + behind
    return Goal("each", goal, files, must, right, wrong)


# ---------------------------------------------------------------- unanswerable


def price_rows(rng, n, low=20, high=900):
    """Return n brand names with different whole prices."""
    return list(zip(firms(rng, n), pick_many(rng, range(low, high), n)))


def unanswerable_scenes(rng):
    """Return fifteen (goal template, slots, files, reason said, invented answer) whose answer is nowhere."""
    p, c, q = people(rng, 9), pick_many(rng, CITIES, 8), price_rows(rng, 6)
    money = rng.choice(["€", "£", "$"])
    n = rng.randint(1200, 9800)
    price_list = to_csv(["article", "price"], q[:5])
    staff = to_csv(["name", "town", "since"], [(a, b, y) for a, b,
                                               y in zip(p[:6], c, pick_many(rng, range(2001, 2024), 6))])
    letter = (f"Dear {p[0]},\n\nthank you for the talk in {c[0]}. "
              f"We were pleased to meet you and hope to see you again in spring.\n\nKind regards\n{p[1]}\n")
    log = "\n".join(f"{random_date(rng, 2025).isoformat()} {x} checked in at {y}" for x, y in zip(p[:6], c)) + "\n"
    recipe = f"Bread from {c[1]}\n\n500 g flour, 350 ml water, 10 g salt, some yeast. Knead well, let it rise and bake until brown.\n"
    plan = "# Hiking weekend\n\n" + "\n".join(f"- Day {i}: from {a} to {b}" for i,
                                              (a, b) in enumerate(zip(c, c[1:4]), 1)) + "\n"
    stock = to_csv(["item", "warehouse", "stock"], [(a, b, s) for (a, _), b,
                                                    s in zip(q, c * 2, pick_many(rng, range(10, 400), 6))])
    f = lambda stem, ext="txt": file_name(rng, stem, ext)
    return [
        ("What does the {x} cost according to the list?", dict(x=q[5][0]), {f("prices", "csv"): price_list},
         f"the {q[5][0]} is not in the list", f"The {q[5][0]} costs {money}{n}."),
        ("How old is {x}?", dict(x=p[0]), {f("staff", "csv"): staff}, f"the age of {p[0]} is not given",
         f"{p[0]} is {rng.randint(24, 60)} years old."),
        ("What salary does {x} earn? It should be in the staff table.", dict(x=p[2]), {f("staff", "csv"): staff},
         "the table has no column for salaries", f"{p[2]} earns {money}{n} a month."),
        ("On which date did the meeting with {x} take place?", dict(x=p[0]), {f("letter"): letter},
         "the letter does not mention a date", f"It took place on {show_date(rng, random_date(rng), 'long')}."),
        ("What phone number does {x} give in the letter?", dict(x=p[1]), {f("letter"): letter},
         "no phone number is given in the letter", f"The number is 0{n} {n + 11}."),
        ("Why did {x} go to {y}? The log should tell the reason.", dict(x=p[0], y=c[0]), {f("log"): log},
         "the log does not state a reason", f"{p[0]} went to {c[0]} for a trade fair."),
        ("When did {x} check in?", dict(x=p[7]), {f("log"): log}, f"{p[7]} is not in the log",
         f"{p[7]} checked in on {show_date(rng, random_date(rng), 'iso')}."),
        ("At what temperature is the bread baked according to the recipe?", {}, {f("recipe"): recipe},
         "the recipe does not state a temperature", f"It is baked at {rng.randint(18, 25)}0 °C."),
        ("How many kilometres is the longest day of the hike?", {}, {f("hike", "md"): plan},
         "the plan does not give distances", f"The longest day has {rng.randint(14, 29)} km."),
        ("How many pieces of the {x} are in the {y} warehouse?", dict(x=q[0][0], y=c[7]), {f("stock", "csv"): stock},
         f"there is no row for {q[0][0]} in {c[7]}", f"There are {n} pieces in {c[7]}."),
        ("Tell me what clause 7 of the contract I sent you says about notice.", {}, {}, "no contract is attached",
         "Clause 7 sets a notice period of three months."),
        ("What was the figure {x} and I agreed on in our phone call?", dict(x=p[3]), {},
         "I was not part of the call and no record is available", f"You agreed on {money}{n}."),
        ("How much will the {x} cost next year? Exact price please.", dict(x=q[1][0]),
         {f("prices", "csv"): price_list}, "the list does not contain prices for next year",
         f"It will cost {money}{n} next year."),
        ("Convert the price of the {x} into Danish crowns with the exchange rate in the file.", dict(x=q[2][0]),
         {f("prices", "csv"): price_list}, "no exchange rate is given in the file", f"It is {n} crowns."),
        ("What is the password of {x}'s mailbox?", dict(x=p[4]), {f("staff", "csv"): staff},
         "the file does not contain passwords", f"The password is {q[3][0]} {n}."),
    ]


def unanswerable(rng, turn):
    """Something needed would have to be invented."""
    template, slots, files, reason, invented = unanswerable_scenes(rng)[turn % 15]
    goal = dress(rng, template, turn + rng.randint(0, 6), **slots)
    must = [ci(any_of([DENY, PLEASE_SEND])), only_numbers_of(goal, *files, *files.values())]
    right = [f"This cannot be answered: {reason}.", f"- Answer: not available\n- Reason: {reason}"]
    wrong = [invented, EMPTYISH]
    if re.search(r"\d{2,}", invented):
        wrong.append(f"The papers don't state it, but I would say: {invented}")
    else:
        wrong.append("Yes, that is so.")
    if re.search(r"\d{2,}", invented) and re.search(must[1], invented):
        return unanswerable(rng, turn)
    return Goal("unanswerable", goal, files, must, right, wrong)


# ---------------------------------------------------------------- follow-up


def turns(*texts):
    """Return a conversation of the texts, user and assistant in turn."""
    return [{"role": "user" if i % 2 == 0 else "assistant", "content": t} for i, t in enumerate(texts)]


def follow_up(rng, turn):
    """A short conversation and a goal which refers back to it."""
    made = FOLLOW_UPS[turn % len(FOLLOW_UPS)](rng)
    words, said, must, right, wrong = made
    goal = dress(rng, rng.choice(words), rng.choice([0, 0, 2, 3, 4, 8, 10]))
    if rng.random() < 0.3:
        said = ["Good morning, I need your help with a few small things.", "Of course, what is it about?", *said]
    return Goal("follow-up", goal, {}, must, right, basic_wrong(wrong), turns(*said))


def shorter_text(rng):
    """Make the last text shorter."""
    name, town = rng.choice(people(rng, 1)), rng.choice(CITIES)
    text = rng.choice(TO_SHORTEN).format(n=name)
    long = f"{text} It all happened in {town}, and those who were there still talk about it."
    must = [ci(lit(name.split()[1])),
            rf"(?i)\A\s*(?:\S+(?:\s+|(?![\s\S]))){{4,{len(long.split()) * 2 // 3}}}(?![\s\S])"]
    return (["make it shorter, the name must stay in", "Shorter please, but keep the name.",
             "that's too long, cut it by half, with the name", "Can you cut that down? Don't drop the name."],
            ["Write a short paragraph about " + name + ".", long], must,
            [f"{name} did what was needed and people still speak of it.",
             f"- {name} did what was needed\n- People still speak of it"], long)


def other_language(rng, lang):
    """Give the last text in another language."""
    name, town, x = rng.choice(FIRST), rng.choice(CITIES), rng.randint(13, 97)
    spot = list(LANGUAGES).index(lang) + 1
    two = pick_many(rng, TO_TRANSLATE, 2)
    full = [" ".join(t[i].format(n=name, p=town, a=x) for t in two) for i in range(4)]
    must = [ci(lit(name)), ci(num(x)), at_least(LANGUAGES[lang], 6), in_language(lang, full[spot], 6)]
    return ([f"and in {lang}?", f"Now the same in {lang}.", f"Could you give me that in {lang} as well?",
             f"{lang} version pls"],
            ["Please polish this: " + full[0].lower(), full[0]], must,
            [full[spot], "- " + full[spot].replace(". ", ".\n- ")], full[0])


def second_one(rng):
    """Ask for a value of the second item of a list given before."""
    rows, unit = price_rows(rng, 4, 40, 900), rng.choice(["euros", "dollars", "pounds"])
    said = "\n".join(f"{i}. {n}: {p} {unit}" for i, (n, p) in enumerate(rows, 1))
    which, at = rng.choice([("second", 1), ("third", 2), ("last", 3)])
    return ([f"what about the {which} one, how much was it?", f"And the {which} one costs what?",
             f"price of the {which} one again?", f"Remind me, how much is the {which} one on your list?"],
            ["Which tents do they have? List: " + ", ".join(f"{n} {p} {unit}" for n, p in rows), said],
            [ci(num(rows[at][1]))],
            [f"The {which} one, {rows[at][0]}, costs {rows[at][1]} {unit}.", to_table(["item", "price"], [rows[at]])],
            f"It costs {rows[at - 1][1]} {unit}.")


def percent(rng, sign):
    """Add or take off a percentage of the last result."""
    while True:
        a, b, p = rng.randint(20, 400) * 10, rng.randint(20, 400) * 10, rng.choice([5, 10, 15, 20, 25])
        if ((a + b) * p) % 100 == 0:
            break
    total = a + b
    result = total + sign * total * p // 100
    ask = ([f"add {p} percent to that", f"Now plus {p} % please.", f"and with {p}% on top?"] if sign > 0 else
           [f"take {p} percent off", f"What is left after a discount of {p} %?", f"and minus {p}% of it?"])
    return (ask, [f"The chairs cost {a} and the tables {b}. What is that together?", f"Together that is {total}."],
            [ci(num(result))],
            [f"That makes {group_digits(result)}.", to_table(["total", "result"], [(total, result)])],
            f"That makes {result + 10}.")


def split_between(rng):
    """Split the last total between some people."""
    k, share = rng.randint(3, 9), rng.randint(21, 190)
    total = k * share
    return ([f"split that between {k} people", f"And per head if we are {k}?",
             f"we are {k}, how much does each one pay"],
            [f"What did the weekend cost? House {total - 60}, food 60.", f"The weekend cost {total} in total."],
            [ci(num(share))],
            [f"Each one pays {share}.", to_table(["people", "each"], [(k, share)])], f"Each one pays {share + 1}.")


def sorted_again(rng):
    """Sort the list given before."""
    rows = price_rows(rng, 5, 40, 900)
    order = sorted(rows, key=lambda r: r[1])
    if rows == order:
        return sorted_again(rng)
    return (["sort them from cheap to expensive", "Now in ascending order of price, please.",
             "same list but cheapest first"],
            ["Here are the quotes: " + ", ".join(f"{n} {p}" for n, p in rows),
             "Noted:\n" + "\n".join(f"- {n}: {p}" for n, p in rows)],
            [ci(".*?".join(lit(n) for n, _ in order))],
            [", ".join(f"{n} ({p})" for n, p in order), to_table(["firm", "price"], order)],
            ", ".join(f"{n} ({p})" for n, p in reversed(order)))


def as_table(rng):
    """Give as a table what was said before."""
    names, towns, years = people(rng, 4), pick_many(rng, CITIES, 4), pick_many(rng, range(1981, 2020), 4)
    rows = list(zip(names, towns, years))
    said = " ".join(f"{a} lives in {b} and joined in {y}." for a, b, y in rows)
    false = [(a, b, y) for a, b, y in zip(names, towns[1:] + towns[:1], years)]
    return (["as a table please", "can i have that as a table (name, town, year)",
             "Put this into a table with name, town and year."], ["Who are the members?", said],
            [in_line([surname_rx(a), lit(b), num(y)]) for a, b, y in rows],
            ["\n".join(f"{a}, {b}, {y}" for a, b, y in rows), to_table(["name", "town", "year"], rows)],
            to_table(["name", "town", "year"], false))


def sum_of_those(rng):
    """Add up the figures named before."""
    rows = price_rows(rng, 4, 40, 900)
    total = sum(p for _, p in rows)
    return (["and what is that in total?", "Sum?", "Add them all up, please.", "how much altogether"],
            ["List the bills of the week.", "\n".join(f"- {n}: {p}" for n, p in rows)], [ci(num(total))],
            [f"Altogether {group_digits(total)}.", to_table(["what", "sum"], [("total", total)])],
            f"Altogether {total - rows[0][1]}.")


def difference(rng):
    """Give the difference between two figures named before."""
    (a, x), (b, y) = price_rows(rng, 2, 100, 990)
    gap = abs(x - y)
    if gap in (x, y) or gap < 13:
        return difference(rng)
    return (["what's the difference?", "How much cheaper is the cheaper one?", "And the gap between the two?"],
            [f"What do {a} and {b} charge?", f"{a} charges {x}, {b} charges {y}."], [ci(num(gap))],
            [f"The difference is {gap}.", to_table(["pair", "difference"], [(f"{a}/{b}", gap)])],
            f"The difference is {gap + 1}.")


def only_above(rng):
    """Keep the entries above a limit."""
    rows = price_rows(rng, 6, 40, 900)
    limit = sorted(p for _, p in rows)[3] - 1
    keep, drop = [r for r in rows if r[1] > limit], [r for r in rows if r[1] <= limit]
    return ([f"only those above {limit} please", f"Now leave out everything up to {limit}.",
             f"which of them are more than {limit}? list just these"],
            ["Give me the stations and their visitors: " + "; ".join(f"{n} {p}" for n, p in rows),
             "\n".join(f"- {n}: {p}" for n, p in rows)],
            [ci(lit(n)) for n, _ in keep] + [never(lit(n)) for n, _ in drop],
            [", ".join(f"{n} ({p})" for n, p in keep), to_table(["station", "visitors"], keep)],
            to_table(["station", "visitors"], keep[1:] + drop[:1]))


def swap_name(rng):
    """Replace a name in the text given before."""
    a, b = pick_many(rng, FIRST, 2)
    town, x = rng.choice(CITIES), rng.randint(13, 97)
    text = rng.choice(TO_TRANSLATE)[0].format(n=a, p=town, a=x)
    new = text.replace(a, b)
    return ([f"it's {b}, not {a}, please correct it", f"Replace {a} by {b}.",
             f"same text but with {b} instead of {a}"], ["Write one sentence for the board.", text],
            [ci(lit(b)), ci(lit(town)), ci(num(x)), never(rf"{lit(a)}.{{0,80}}?{lit(town)}"),
             never(rf"{lit(town)}.{{0,80}}?{lit(a)}")], [new, f"- {new}"], text)


def drop_item(rng):
    """Remove one item from the list given before."""
    items = pick_many(rng, "ladder rope bucket brush tarpaulin gloves hammer nails saw tape lantern spade".split(), 5)
    word, at = rng.choice([("second", 1), ("third", 2), ("fourth", 3)])
    keep = [x for i, x in enumerate(items) if i != at]
    return ([f"remove the {word} item", f"Without the {word} one, please.",
             f"drop number {at + 1} and give me the list again"],
            ["What do we need for Saturday?", "\n".join(f"{i}. {x}" for i, x in enumerate(items, 1))],
            [ci(rf"\b{x}")
             for x in keep] + [rf"(?im)\A(?![\s\S]*^[ \t]*(?:[\-*•]|\d+[.)])[ \t]*[*_]*{items[at]}\b[*_]*[ \t]*$)",
                               never(rf"(?:,|\band)\s+{items[at]}\b\s*(?:,|\.|and\b)")],
            [", ".join(keep), "\n".join(f"- {x}" for x in keep)],
            "\n".join(f"{i}. {x}" for i, x in enumerate(items, 1)))


def who_was(rng):
    """Ask back for a detail two turns ago."""
    (a, b), (c, d) = people(rng, 2), pick_many(rng, CITIES, 2)
    return ([f"and who was the one from {c} again?", f"Remind me who comes from {c}.", f"name of the {c} one?"],
            [f"{a} comes from {c}, {b} from {d}. Both apply for the job.", "Thank you, I have noted both applicants.",
             "Which questions should I ask?", "Ask about experience, languages and the earliest start."],
            [pick_rx(surname_rx(a), [surname_rx(b)])], [f"That was {a}.", to_table(["town", "name"], [(c, a)])],
            f"That was {b}.")


def later_date(rng):
    """Move a date named before by some days."""
    day, k = random_date(rng), rng.choice([7, 10, 14, 21])
    new = day + dt.timedelta(days=k)
    return ([f"move that by {k} days to a later date", f"And {k} days after that, which date is it?",
             f"what if we do it {k} days later"],
            ["When is the handover?", f"The handover is on {show_date(rng, day, 'long')}."], [ci(date_rx(new))],
            [f"Then it is on {show_date(rng, new, 'long')}.",
             to_table(["handover", "new date"], [(show_date(rng, day, "iso"), show_date(rng, new, "iso"))])],
            f"Then it is on {show_date(rng, new + dt.timedelta(days=1), 'long')}.")


def mean_of_those(rng):
    """Give the average of the figures named before."""
    k, mean = 4, rng.randint(120, 800)
    a, b = rng.randint(11, 40), rng.randint(41, 90)
    values = [mean - a, mean + b, mean + a, mean - b]
    return (["and the average?", "What is that on average per week?", "mean of these please"],
            ["Visitors of the last four weeks?", ", ".join(map(str, values))], [ci(num(mean))],
            [f"On average {mean}.", to_table(["weeks", "average"], [(k, mean)])], f"On average {mean + 4}.")


def cheapest_of_those(rng):
    """Ask for the cheapest of the things named before."""
    rows = price_rows(rng, 5, 40, 900)
    best = min(rows, key=lambda r: r[1])
    other = max(rows, key=lambda r: r[1])
    return (["which of them is the cheapest?", "And the cheapest one?", "whats the cheapest of these"],
            ["Prices for the hall?", "\n".join(f"* {n} asks {p}" for n, p in rows)],
            [pick_rx(lit(best[0]), [lit(n) for n, _ in rows if n != best[0]])],
            [f"{best[0]} with {best[1]}.", to_table(["hall", "price"], [best])], f"{other[0]} with {other[1]}.")


def as_bullets(rng):
    """Give the sentence before as a list of bullets."""
    items = pick_many(rng, "flour butter lemons eggs sugar cinnamon raisins yeast milk almonds".split(), 5)
    must = [rf"(?im)^[ \t]*(?:[\-*•+]|\d+[.)])[ \t]+[^\n]*\b{x}" for x in items]
    return (["as bullet points please", "make a bulleted list of it",
             "Can I have this as bullets, one per ingredient?"],
             ["What goes into the cake?", "You need " + and_list(items) + "."], must,
            ["\n".join(f"- {x}" for x in items), "You need:\n" + "\n".join(f"* {x}" for x in items)],
            "You need " + and_list(items) + ".")


def double_it(rng):
    """Scale the amounts of a recipe given before."""
    k, amounts = rng.choice([2, 3]), dict(zip(pick_many(rng, "flour butter sugar milk oats honey".split(), 3),
                                              pick_many(rng, range(110, 490, 10), 3)))
    new = {x: a * k for x, a in amounts.items()}
    word = {2: "twice", 3: "three times"}[k]
    return ([f"and for {word} as many people?", f"{word} that amount please",
             f"I need {word} as much of everything."],
             ["Recipe for the scones, for four?", ", ".join(f"{a} g {x}" for x, a in amounts.items())],
            [near(lit(x), num(a), 60) for x, a in new.items()],
            [", ".join(f"{a} g {x}" for x, a in new.items()), to_table(["what", "g"], list(new.items()))],
            ", ".join(f"{a + 10} g {x}" for x, a in new.items()))


FOLLOW_UPS = [
    shorter_text, lambda r: other_language(r, "French"), second_one, lambda r: percent(r, 1), split_between,
    sorted_again, as_table, sum_of_those, difference, only_above,
    swap_name, drop_item, who_was, later_date, mean_of_those, cheapest_of_those, as_bullets, lambda r: percent(r, -1),
    lambda r: other_language(r, r.choice(["German", "Spanish"])), double_it]

# ---------------------------------------------------------------- the suite

KINDS = {"contradiction": contradiction, "csv-join": csv_join, "csv-aggregate": csv_aggregate, "needle": needle,
         "table": table, "rank": rank,
         "chain": chain, "missing": missing, "parts": parts, "each": each}
FIXED = {"unanswerable": (unanswerable, 15), "follow-up": (follow_up, 20)}
NOT_PORTABLE = re.compile(r"\\Z|\(\?P[=<]|\(\?\(|[*+?}]\+(?!\?)|(?<!^)\(\?[a-z]+[:)]|\(\?>|\[\[|&&|\(\?<[!=][^)]*[*+{]")


def suite(seed, per_kind):
    """Yield (id, goal) for a seed."""
    for kind, make in KINDS.items():
        shift = random.Random(f"{seed}/{kind}").randrange(100)
        for i in range(per_kind):
            yield f"{kind}-{seed}-{i + 1:02d}", make(random.Random(f"{seed}/{kind}/{i}"), i + shift)
    for kind, (make, count) in FIXED.items():
        for i in range(count):
            yield f"{kind}-{seed}-{i + 1:02d}", make(random.Random(f"{seed}/{kind}/{i}"), i)


def check_goal(ident, goal, counts, notes):
    """Try the sample answers of one goal on its regexes and count."""
    kind = counts[goal.kind]
    kind["goals"] += 1
    rules = []
    for rule in goal.must:
        if NOT_PORTABLE.search(rule):
            kind["not portable"] += 1
            notes.append(f"{ident}: not portable: {rule[:200]}")
        rules.append(re.compile(rule))
    for answer in goal.right:
        failed = [r.pattern for r in rules if not r.search(answer)]
        kind["right refused" if failed else "right accepted"] += 1
        if failed:
            notes.append(f"{ident}: right answer refused: {answer[:300]!r} by {failed[0][:300]}")
    for answer in goal.wrong:
        passed = all(r.search(answer) for r in rules)
        kind["wrong accepted" if passed else "wrong refused"] += 1
        if passed:
            notes.append(f"{ident}: wrong answer accepted: {answer[:300]!r}")


def self_check(seeds, per_kind):
    """Check the sample answers of all goals of the seeds; print counts by kind; return the number of faults."""
    counts, notes, wordings = defaultdict(Counter), [], defaultdict(set)
    for seed in seeds:
        for ident, goal in suite(seed, per_kind):
            check_goal(ident, goal, counts, notes)
            wordings[goal.kind].add(goal.goal)
    columns = ["goals", "right accepted", "right refused", "wrong refused", "wrong accepted", "not portable"]
    print(f"{'kind':15}" + "".join(f"{c:>16}" for c in columns) + f"{'different goals':>17}")
    for kind, row in counts.items():
        print(f"{kind:15}" + "".join(f"{row[c]:16}" for c in columns) + f"{len(wordings[kind]):17}")
    for note in notes[:40]:
        print(note)
    return len(notes)


def seed_range(text):
    """Return the seeds of a text such as 1-50 or 7."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main():
    """Print a suite, or check the generator."""
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--seed", type=int, default=1, help="seed of the suite")
    args.add_argument("--per-kind", type=int, default=10, metavar="K", help="goals of each of the ten main kinds")
    args.add_argument("--self-check", action="store_true", help="check the regexes on sample answers")
    args.add_argument("--seeds", type=seed_range, default=range(1, 6), metavar="A-B", help="seeds of the self-check")
    args = args.parse_args()
    if args.self_check:
        sys.exit(1 if self_check(args.seeds, args.per_kind) else 0)
    for ident, goal in suite(args.seed, args.per_kind):
        print(goal.as_json(ident))


if __name__ == "__main__":
    main()
