#!/usr/bin/env python3
"""Seeded generator of goals as people put them, with the right answer as regexes.

    tests/long/scene_goals.py --seed 1 --per-kind 4 > suite.jsonl
    tests/long/judge.py target/release/bandmaster suite.jsonl
    tests/long/scene_goals.py --self-check 1-30 --per-kind 6

Every line: {"id", "kind", "goal", "files", "answer_must"[, "conversation"]}.
"""
import argparse
import csv
import datetime as dt
import io
import json
import random
import re
import sys
from fractions import Fraction

# --------------------------------------------------------------------------
# people, numbers, dates
# --------------------------------------------------------------------------
FIRST = """Aoife Bartek Chiara Dagny Emeka Farida Goran Hanneke Ismail Jolanta Kwame Liesel
Mireille Nikhil Oksana Priya Quentin Rosalind Soren Tamsin Ulrike Viktor Wanjiru Xenia Yusuf Zdenka
Anselm Birgitta Cormac Delphine Edmund Fenella Gaspard Hedwig Ingmar Joaquim Katarzyna Lorenzo
Magnus Nadezhda Ottilie Pelle Ramona Siobhan Tobias Ursula Valentina Winifred Zoltan Adaeze
Bronwen Casimir Ebba Florian Gunnel Horatio Imke Jerome Keziah Ludmila Matteo Njoki Orla""".split()
LAST = """Abernathy Brannigan Castellano Dragomir Eklund Falkenrath Gutteridge Haldorsen Iwasaki
Jankowski Kowalczyk Lindqvist Mbatha Nakagawa Okonkwo Petrakis Quillfeather Rasmussen Szabo
Thistlewood Ulvestad Vandermeer Whitcombe Xanthou Yilmaz Zimmerli Achterberg Bellweather Corrigan
Dombrowski Escalante Fairweather Gallacher Hinterberger Ivarsson Jablonski Kerrigan Loxley
Montefiore Naismith Oyelaran Pemberton Rautio Sandoval Trevelyan Urquhart Villanueva Wetherby
Zieglmann Ashdown Baptiste Colquhoun Drinkwater Ferreira Grunwald Holloway Kjeldsen Marchetti""".split()
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September",
          "October", "November", "December"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def people(r, n):
    """n full names, no first name and no last name twice."""
    return [a + " " + b for a, b in zip(r.sample(FIRST, n), r.sample(LAST, n))]


ONES = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen""".split()
TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def words_of(n):
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + ("-" + ONES[n % 10] if n % 10 else "")
    if n < 1000:
        return ONES[n // 100] + " hundred" + (" and " + words_of(n % 100) if n % 100 else "")
    raise ValueError(n)


def thou(n, sep=","):
    return f"{n:,}".replace(",", sep)


def money(r, cents, cur="EUR", style=None):
    """An amount as some person would write it."""
    style = style or r.choice(["en", "plain", "de", "sym", "words"])
    u, c = divmod(cents, 100)
    sym = {"EUR": "€", "GBP": "£"}[cur]
    word = {"EUR": "euros", "GBP": "pounds"}[cur]
    if style == "en":
        return f"{cur} {thou(u)}.{c:02d}"
    if style == "plain":
        return f"{u}.{c:02d} {cur}" if c else f"{u} {cur}"
    if style == "de":
        return f"{thou(u, '.')},{c:02d} {cur}"
    if style == "sym":
        return f"{sym}{thou(u)}.{c:02d}" if c else f"{sym}{thou(u)}"
    return f"{thou(u)}.{c:02d} {word}" if c else f"{thou(u)} {word}"


def datestr(r, d, style=None, year=True):
    style = style or r.choice(["iso", "dmy", "mdy", "ord", "dot"] if year else ["dmy", "mdy", "ord"])
    m = MONTHS[d.month - 1]
    suf = "th" if 10 <= d.day % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(d.day % 10, "th")
    if style == "iso":
        return d.isoformat()
    if style == "dmy":
        return f"{d.day} {m}" + (f" {d.year}" if year else "")
    if style == "mdy":
        return f"{m} {d.day}" + (f", {d.year}" if year else "")
    if style == "ord":
        return f"{d.day}{suf} of {m}" + (f" {d.year}" if year else "")
    return f"{d.day:02d}.{d.month:02d}.{d.year}"


def clock(r, t, style=None):
    h, m = divmod(t, 60)
    h12 = (h - 1) % 12 + 1
    ap = "am" if h < 12 else "pm"
    style = style or r.choice(["24", "24", "12", "12dot", "words" if m in (0, 30) else "24"])
    if style == "24":
        return f"{h:02d}:{m:02d}" if r.random() < .5 else f"{h}:{m:02d}"
    if style == "12":
        return f"{h12}:{m:02d} {ap}" if m or r.random() < .3 else f"{h12} {ap}"
    if style == "12dot":
        return f"{h12}.{m:02d} {ap[0]}.m."
    part = "in the morning" if h < 12 else ("in the afternoon" if h < 18 else "in the evening")
    return (f"{words_of(h12)} o'clock {part}" if m == 0 else f"half past {words_of(h12)} {part}")


def intstr(r, n):
    x = r.random()
    if n < 100 and x < .2:
        return words_of(n)
    if n >= 1000 and x < .6:
        return thou(n)
    return str(n)


# --------------------------------------------------------------------------
# regexes for values
# --------------------------------------------------------------------------
LB = r"(?<!\d)(?<!\d[.,:\-])"
RB = r"(?!\d)(?![.,:]\d)(?!-\d)"
TS = r"[.,\s'’]?"


def core(n):
    s = thou(n, "\0")
    return s.replace("\0", TS)


def x_int(n, words=True):
    p = LB + core(n) + r"(?:[.,]0{1,2}(?!\d))?" + RB
    if words and n < 100:
        w = words_of(n).replace("-", r"[-\s]?")
        tail = r"(?![-\s](?:one|two|three|four|five|six|seven|eight|nine)\b)" if n >= 20 and n % 10 == 0 else ""
        head = r"(?<!ty-)(?<!ty )" if n < 10 else ""
        p += r"|" + head + r"\b" + w + r"\b(?!-)(?! hundred)" + tail
    elif words and n < 1000:
        p += r"|\b" + words_of(n).replace(" and ", " (?:and )?").replace("-", r"[-\s]?") + r"\b"
    if n >= 1_000_000 and n % 10_000 == 0:
        m = f"{n / 1e6:.2f}".rstrip("0").rstrip(".").replace(".", "[.,]")
        p += r"|" + LB + m + r"0?\s*(?:million|mio|m\b)"
    return "(?:" + p + ")"


def x_money(cents):
    u, c = divmod(cents, 100)
    if c == 0:
        t = r"(?:[.,](?:00?(?!\d)|[-–—]+))?"
    elif c % 10 == 0:
        t = r"[.,]" + str(c // 10) + "0?"
    else:
        t = r"[.,]" + f"{c:02d}"
    return "(?:" + LB + core(u) + t + RB + ")"


def half_up(fr, d):
    s = 10 ** d
    return int((fr * s * 2 + 1) // 2)


def fmt_dec(fr, d, point="."):
    q = half_up(fr, d)
    u, c = divmod(q, 10 ** d)
    return f"{u}{point}{c:0{d}d}" if d else str(u)


def x_dec(fr, dmin=1, dmax=4):
    """A number that may be given with dmin or more decimals (rounded up or cut at the half)."""
    alts = []
    for d in range(dmin, dmax + 1):
        q = half_up(fr, d)
        qs = {q}
        if (fr * 10 ** d * 2) % 2 == 1:          # exactly a half: both neighbours
            qs.add(q - 1)
        for v in qs:
            u, c = divmod(v, 10 ** d)
            if d == 0:
                alts.append(core(u))
            else:
                f = f"{c:0{d}d}"
                z = f.rstrip("0")
                if len(z) < len(f):               # 12.50 -> 12.5, 12.00 -> 12
                    tail = (r"[.,]" + z + "0*") if z else r"(?:[.,]0+)?"
                else:
                    tail = r"[.,]" + f
                alts.append(core(u) + tail)
    u, c = divmod(int(fr * 10 ** 3), 10 ** 3)      # longer expansions
    alts.append(core(u) + r"[.,]" + f"{c:03d}" + r"\d+")
    return "(?:" + LB + "(?:" + "|".join(dict.fromkeys(alts)) + ")" + RB + ")"


def x_date(d, year=False):
    m = MONTHS[d.month - 1]
    mm = m if len(m) <= 4 else m[:3] + "(?:" + m[3:] + "|t)?" if m == "September" else m[:3] + "(?:" + m[3:] + ")?"
    if m in ("June", "July"):
        mm = m[:3] + "(?:" + m[3:] + ")?"
    y = str(d.year)
    yy = r"(?:" + y + "|" + y[2:] + ")"
    yopt = r"(?:,?\s*" + y + r")" if year else ""
    D = r"0?" + str(d.day)
    M = r"0?" + str(d.month)
    alts = [
        r"(?<!\d)" + D + r"(?:st|nd|rd|th)?\.?(?:\s+of)?[\s\-]*" + mm + r"\b\.?" + yopt,
        r"\b" + mm + r"\.?\s+(?:the\s+)?" + D + r"(?:st|nd|rd|th)?(?!\d)" + yopt,
        r"(?<!\d)" + y + r"[-/.]" + f"{d.month:02d}" + r"[-/.]" + f"{d.day:02d}" + r"(?!\d)",
        r"(?<!\d)" + D + r"[./-]" + M + r"[./-]" + yy + r"(?!\d)",
        r"(?<!\d)" + M + r"/" + D + r"/" + yy + r"(?!\d)",
    ]
    if not year:
        alts.append(r"(?<!\d)" + D + r"\." + M + r"\.(?!\d)")
    return "(?:" + "|".join(alts) + ")"


def x_time(t):
    h, m = divmod(t, 60)
    h12 = (h - 1) % 12 + 1
    no = r"(?!\s*p\.?m)" if h < 12 else r"(?!\s*a\.?m)"
    ap = r"\s*a\.?m\b" if h < 12 else r"\s*p\.?m\b"
    alts = []
    for hh in {h, h12}:
        alts.append(r"(?<![\d:.])0?" + str(hh) + r"\s?[:.h]\s?" + f"{m:02d}" + r"(?!\d)" + (no if hh == h12 else ""))
    alts.append(r"(?<![\d:.])" + f"{h:02d}{m:02d}" + r"(?!\d)")
    if m == 0:
        alts.append(r"(?<![\d:.])0?" + str(h12) + ap)
        alts.append(r"(?<![\d:.])" + str(h) + r"\s*(?:h\b|hrs|hours|o['’]clock|uhr)")
        alts.append(r"(?<![\d:.])" + str(h12) + r"\s*o['’]clock")
        alts.append(r"\b" + words_of(h12) + r"\s+(?:o['’]clock|in the|a\.?m|p\.?m)")
    elif m == 30:
        alts.append(r"half[\s-]past[\s-](?:" + words_of(h12) + r"|" + str(h12) + r")\b")
    elif m == 15:
        alts.append(r"quarter[\s-]past[\s-](?:" + words_of(h12) + r"|" + str(h12) + r")\b")
    elif m == 45:
        alts.append(r"quarter[\s-]to[\s-](?:" + words_of(h12 % 12 + 1) + r"|" + str(h12 % 12 + 1) + r")\b")
    return "(?:" + "|".join(alts) + ")"


def x_name(full):
    """Full name, or first or last name alone (all names of a goal have distinct parts)."""
    return r"\b(?:" + "|".join(re.escape(p) for p in full.split()) + r")\b"


def x_lit(s):
    """A literal, blind to Markdown, hyphens and white space."""
    s = re.escape(s)
    s = re.sub(r"(\\ |\\-|\s|-)+", r"[\\s*_\\-–]+", s)
    s = s.replace("'", "['’]")
    return r"(?<!\w)" + s + r"(?!\w)"


def any_of(ps):
    return "(?:" + "|".join(ps) + ")"


def has(p):
    return "(?is)" + p


def hasnt(p):
    return "(?is)^(?!.*" + p + ")"


def has_only(right, wrongs):
    """right must be in the answer, none of wrongs."""
    out = [has(right)]
    if wrongs:
        out.append(hasnt(any_of(wrongs)))
    return out


SUP_ANY = r"best|winner|wins|top|first place|number one|recommend\w*"
SUP_HI = r"most|highest|largest|biggest|longest|greatest|busiest|heaviest|" + SUP_ANY
SUP_LO = r"cheapest|lowest|fewest|smallest|shortest|nearest|" + SUP_ANY
YET = r"(?:although|though|while|but|however|despite|even|without|not|n['’]t|no)\b"


def best_of(win, others, low=False):
    """win (regex) is named as the best; no other one is."""
    o = any_of(others)
    sup = (r"(?<!second )(?<!second-)(?<!third )(?<!third-)(?<!next )(?<!next-)\b(?:" + (SUP_LO if low else SUP_HI) + r")\b")
    free = r"(?:^|[.\n])(?![^.\n]*\b" + YET + r")"
    return [
        has(win),
        r"(?is)(?:^(?:(?!" + o + r").)*?" + win + r"|" + win + r"(?:(?!" + o + r").)*$)",
        r"(?is)^(?!.*" + free + r"[^.\n]*" + o + r"(?:(?!" + win + r")[^.\n|]){0,50}?" + sup + r")",
        r"(?is)^(?!.*" + free + r"[^.\n]*" + sup + r"[^.\n]{0,30}?(?:\b(?:is|was|goes to|be)\b|:)[\s*_\"'“]*(?:the )?" + o + r")",
    ]


def top_n(wins, others):
    """wins are named in this order; nobody of others before or between them."""
    pat = r"(?is)^"
    for i, w in enumerate(wins):
        block = list(others) + list(wins[i + 1:])
        pat += (r"(?:(?!" + any_of(block) + r").)*?" if block else r".*?") + w
    return [pat]


# --------------------------------------------------------------------------
# goals as typed by people
# --------------------------------------------------------------------------
TYPOS = {
    "which": "wich", "please": "plese", "the": "teh", "their": "thier", "average": "avarage",
    "between": "betwen", "documents": "documets", "contradictions": "contradicitons",
    "together": "togehter", "separate": "seperate", "need": "ned", "because": "becuase",
    "what": "waht", "have": "hvae", "with": "wiht", "from": "form", "there": "ther",
    "whether": "wether", "attached": "attatched", "files": "fiels", "total": "totel",
    "people": "poeple", "would": "woud", "know": "knwo", "receive": "recieve", "table": "tabel",
    "cheapest": "cheepest", "until": "untill", "definitely": "definately", "and": "adn",
}
del TYPOS["from"]                     # 'form' changes the sense
PRE = ["", "", "", "", "Hi, ", "Hello! ", "Quick one: ", "Sorry to bother you again - ", "ok so ",
       "Morning. ", "hey ", "Right, "]
POST = ["", "", "", "", "", " Thanks!", " thx", " Cheers.", " Many thanks in advance."]


STARTS = set("""What How Which Who Whose Whom Where When Could Can Do Does Did Compare List Count Add Name Names Make Give Take Find Fact Check Read Tell Total Sum Average Mean
Only Don So Just Not Taking Number Please Put Turn Go Somebody Someone Somewhere Any Between Before Each Every For On In At From If The There We Our My Our A Is Are It Its You They That Looking Need Use
Out Unique Countries Forget Drop Without And Split Half Shift Say Change Same Now As Too Sorry Look Headings Insurance Visits Price Stuff Location Population Date""".split())


def messy(r, s, typos=True, pre=True, post=True):
    """Greeting, thanks, slips of the keyboard; never inside quotes or names."""
    if pre:
        p = r.choice(PRE)
        if p.endswith("so "):
            s = re.sub(r"^So (\w)", lambda m: m.group(1) if m.group(1) == "I" else m.group(1).upper(), s)
        if p and p.rstrip().endswith((":", "-", ",", "so", "hey")) and re.match(r"[A-Za-z]*", s).group() in STARTS:
            s = s[0].lower() + s[1:]
        s = p + s
    if post:
        x = r.choice(POST)
        s = s if not x or re.search(r"[.?!)]$", s) or r.random() < .3 else s + r.choice([".", ".", ",", " -"])
        s += x
    if typos and r.random() < .28:
        hits = {}
        for m in re.finditer(r"\b[a-z]+\b", s):
            if m.group() in TYPOS and s.count('"', 0, m.start()) % 2 == 0:
                hits.setdefault(m.group(), []).append(m)
        ms = [r.choice(hits[w]) for w in r.sample(sorted(hits), min(len(hits), r.choice([1, 1, 2, 3])))]
        for m in sorted(ms, key=lambda m: -m.start()):
            s = s[:m.start()] + TYPOS[m.group()] + s[m.end():]
    if typos and r.random() < .12:
        s = s.rstrip(".")
    return s


def fill(s, /, **k):
    """{name} slots; leaves other braces alone."""
    return re.sub(r"\{(\w+)\}", lambda m: str(k[m.group(1)]), s)


def tidy(s):
    s = re.sub(r"\.m\.\.", ".m.", s)
    s = re.sub(r"\b([Aa]) (?=(?!use|uni|eu|one)[aeiou])", r"\1n ", s)
    s = re.sub(r"(^|[.!?]\s+)([a-z])", lambda m: m.group(1) + m.group(2).upper()
               if not re.search(r"\b[ap]\.m\.\s+$", s[:m.end(1)]) else m.group(0), s)
    return s


def paras(r, sents, lo=3, hi=7):
    out, i = [], 0
    while i < len(sents):
        n = r.randint(lo, hi)
        out.append(" ".join(sents[i:i + n]))
        i += n
    return "\n\n".join(out)


LOWER = set("""The It There We At In On Our A An Each Every For When Its They Somebody Someone Nobody Nothing One If All To You Visitors People Questions
Children Dogs Please By As Some Several Not After Until This Since""".split())
LINK = ["By the way, {x}", "Incidentally, {x}", "As you may know, {x}", "To be clear, {x}", "And {x}", "I should add that {x}", "It bears repeating that {x}", "Oh, and {x}", "For the record, {x}"]


def weave(r, sents):
    """Make single sentences read like prose: some are joined, some get an opening."""
    out = []
    for s in sents:
        w = re.match(r"[A-Za-z]*", s).group()
        low = s[0].lower() + s[1:] if w in LOWER else s
        x = r.random()
        if out and x < .14 and w in LOWER and w not in ("Please", "If", "When") and out[-1].endswith(".") and not out[-1].endswith(".m.") and out[-1].count(" ") < 16 and ";" not in out[-1] and ", and " not in out[-1]:
            out[-1] = out[-1][:-1] + r.choice(["; ", ", and "]) + low
        elif x < .24 and w in LOWER and w not in ("Please", "Not", "By", "As"):
            out.append(fill(r.choice(LINK), x=low))
        else:
            out.append(s)
    return out


def slug(s):
    return re.sub(r"[^a-z0-9]+", "_", s.lower()).strip("_")


def table_text(header, rows, fmt):
    """fmt: csv, semi, tsv, jsonl."""
    if fmt == "jsonl":
        return "\n".join(json.dumps(dict(zip(header, row)), ensure_ascii=False) for row in rows) + "\n"
    b = io.StringIO()
    w = csv.writer(b, delimiter={"csv": ",", "semi": ";", "tsv": "\t"}[fmt], lineterminator="\n")
    w.writerow(header)
    w.writerows(rows)
    return b.getvalue()


EXT = {"csv": "csv", "semi": "csv", "tsv": "tsv", "jsonl": "jsonl"}


def cell_money(cents, fmt, style):
    u, c = divmod(cents, 100)
    if fmt == "jsonl":
        return cents / 100 if c else u
    if style == "de":
        return f"{thou(u, '.')},{c:02d}"
    if style == "en":
        return f"{thou(u)}.{c:02d}"
    return f"{u}.{c:02d}"


def pick_fmt(r, allow=("csv", "semi", "tsv", "jsonl")):
    f = r.choice(allow)
    st = {"csv": r.choice(["plain", "plain", "en"]), "semi": r.choice(["de", "de", "plain"]),
          "tsv": r.choice(["plain", "en"]), "jsonl": "plain"}[f]
    return f, st


def item(goal, files, must, right, wrong, conversation=None):
    d = {"goal": goal, "files": files, "answer_must": must, "_right": right, "_wrong": wrong}
    if conversation is not None:
        d["conversation"] = conversation
    return d


class Retry(Exception):
    """This draw gives no clear question; draw again."""


KINDS = {}


def scene(kind):
    def deco(f):
        KINDS.setdefault(kind, []).append(f)
        return f
    return deco


# --------------------------------------------------------------------------
# 1. contradiction
# --------------------------------------------------------------------------
# a fact: (key, type, parameters, sentence templates with {v})
CONTRA = {}

CONTRA["honey fair"] = dict(
    org=["Lower Wessel Beekeepers' Association", "Harnby Apiarists' Circle", "Stour Vale Bee Society"],
    docs=[("newsletter", "{org} - Members' newsletter", "Dear members, another season is nearly behind us and the smoke still hangs in our jackets."),
          ("leaflet", "COME TO THE HONEY FAIR", "Honey, wax and good company await every visitor."),
          ("minutes", "{org}: minutes of the committee", "The secretary opened the evening by thanking everyone for coming out in the rain."),
          ("press_note", "For the local paper", "It is a pleasure to tell your readers about our fair."),
          ("volunteer_mail", "Subject: helpers wanted", "Thank you all for offering to lend a hand.")],
    facts=[
        ("day", "date", None, ["The honey fair takes place on {v}.", "Put {v} in your diary for the fair.", "We hold the fair on {v}, whatever the weather."]),
        ("open", "time", (8, 11), ["The gates open to visitors at {v}.", "Visitors are let in from {v}.", "Nobody is admitted before {v}."]),
        ("stalls", "int", (18, 64), ["There will be {v} stalls in all.", "In total {v} stalls have been let.", "The plan shows {v} stalls."]),
        ("price", "money", (250, 900, 50), ["Admission for adults is {v}.", "A grown-up pays {v} at the gate.", "The adult ticket costs {v}."]),
        ("chair", "name", None, ["The association is chaired by {v}.", "Our chair, {v}, will say a few words of welcome.", "{v} has the chair of the association this year."]),
        ("venue", "place", ["Corn Exchange", "Old Tannery", "Mill Meadow", "Priory Barn", "Drill Hall", "Wool Market"], ["The venue is the {v}.", "We have hired the {v} for the fair.", "All of it happens at the {v}."]),
        ("hives", "int", (14, 95), ["The association's own apiary holds {v} hives.", "We look after {v} hives in the association's apiary.", "At the last count the association apiary stood at {v} hives."]),
        ("yield", "int", (410, 2600), ["The apiary gave {v} kilograms of honey this summer.", "This summer's crop from the apiary came to {v} kg.", "We extracted {v} kg from the apiary over the summer."]),
        ("founded", "year", (1880, 1962), ["The association was founded in {v}.", "Beekeepers here have been organised since {v}, when the association was founded.", "Our founding year is {v}."]),
        ("judge", "name", None, ["The honey will be judged by {v}.", "{v} has agreed to judge the jars.", "As honey judge we have secured {v}."]),
        ("entries", "date", None, ["Entries for the honey competition close on {v}.", "Jars for the competition must be entered by {v}.", "The last day for competition entries is {v}."]),
        ("jars", "int", (12, 48), ["Each competitor may bring at most two jars, and {v} jars won a card last year.", "Last year {v} jars were given a card.", "Cards went to {v} jars last year."]),
    ],
    filler=["The swarms came early and left us breathless.", "Children love the glass hive more than anything else.", "Tea and cake will be on offer as ever.", "Please wash your suits before you lend them out.", "A little rain never hurt a bee, though it does hurt the takings.", "We owe a great deal to the neighbours, who put up with us.", "The candle corner was a quiet success.", "Heather honey divides opinion and always will.", "Somebody left a hive tool behind, and it is waiting for its owner.", "Wasps were a nuisance towards the end.", "Dogs are welcome if they stay on the lead.", "The smoker demonstration will be short and smoky.", "It helps if you bring your own bag.", "There is talk of planting more lime trees.", "The library box has been tidied and looks the better for it.", "New beekeepers are a pleasure to teach.", "We will not sell honey from abroad.", "Mead, of course, is for adults.", "The raffle needs good prizes, so look in your cupboards.", "Varroa counts were lower than we had feared.", "The wax moth is not our friend.", "Some of us still miss the old meeting room."],
    goals=["Before the {thing} leaflets go to print: do these texts say different things about the same point anywhere? Tell me which and what each one says.",
           "my husband says two of our bee papers don't agree on something. find what, with both versions", ], before=[("entries", "day")], thing="honey fair")

CONTRA["tram depot"] = dict(
    org=["Northgate Tramways", "Harbour City Trams", "Bellmoor Municipal Tramway"],
    docs=[("works_notice", "Notice to all staff - {org}", "The rebuilding of the depot enters its next stage, and we ask for patience."),
          ("council_report", "Report to the transport committee", "Members asked for a short account of the depot works."),
          ("site_diary", "Site diary, depot works", "A dry week at last, and the mud is turning back into ground."),
          ("neighbour_letter", "To our neighbours", "You have put up with a good deal of noise, and we want to thank you."),
          ("contractor_mail", "Re: depot", "Following our walk round the site I note the points below.")],
    facts=[
        ("end", "date", None, ["The works are to be finished on {v}.", "Completion is set for {v}.", "We expect to hand the depot back on {v}."]),
        ("tracks", "int", (12, 31), ["When done, the hall will have {v} stabling tracks.", "The new hall is laid out with {v} stabling tracks.", "There will be room for {v} stabling tracks under the roof."]),
        ("trams", "int", (44, 180), ["The depot is home to {v} trams.", "A fleet of {v} trams runs out of this depot.", "Every night {v} trams sleep at the depot."]),
        ("staff", "int", (120, 640), ["It employs {v} people.", "The number of people employed at the depot is {v}.", "At present {v} people are employed at the depot."]),
        ("first", "time", (3, 5), ["The first tram leaves the depot at {v}.", "Run-out begins with the first tram at {v}.", "The earliest tram pulls out at {v}."]),
        ("manager", "name", None, ["The depot is managed by {v}.", "{v} is the depot manager.", "Questions go to the depot manager, {v}."]),
        ("engineer", "name", None, ["The site engineer is {v}.", "On site the engineer in charge is {v}.", "{v} acts as site engineer."]),
        ("cost", "int", (1_200_000, 9_800_000, 10_000), ["The works cost EUR {v}.", "The budget for the works stands at EUR {v}.", "The council voted EUR {v} for the works."]),
        ("gate", "place", ["Foundry Lane", "Canal Street", "Gasworks Road", "Mercer Row", "Vinegar Hill", "Saltpan Way"], ["Lorries use the gate in {v}.", "The only gate for lorries is the one in {v}.", "All deliveries come in by the {v} gate."]),
        ("built", "year", (1898, 1937), ["The old hall was built in {v}.", "The hall dates from {v}.", "It was in {v} that the hall was put up."]),
        ("quiet", "time", (19, 21), ["Noisy work stops at {v} each evening.", "After {v} no noisy work is done.", "The noisy machines are switched off at {v}."]),
        ("wash", "int", (13, 60), ["The new washing plant cleans a tram in {v} minutes.", "A tram needs {v} minutes in the new washing plant.", "Washing a tram in the new plant takes {v} minutes."]),
    ],
    filler=["The pigeons have moved out of the roof and into the canteen yard.", "Please keep the fire lanes clear.", "Hard hats are to be worn everywhere beyond the yellow line.", "The canteen stays open throughout.", "The scaffolders did a tidy job.", "Dust remains a worry on windy days.", "The old lathe has been given to the museum.", "Several neighbours have asked for photographs.", "The drains turned out to be in better shape than the drawings suggested.", "Nobody has been hurt, and we mean to keep it that way.", "Bicycles may be left by the porter's lodge.", "The crane is gone and will not be missed.", "A second coat of paint is still to come.", "We are grateful to the night shift for its good humour.", "The clock above the door has been repaired by volunteers.", "Cables have been pulled through the new ducts.", "The smell of tar should fade soon.", "Visitors must sign in at the lodge.", "The inspection pits are dry again.", "The works council has been kept informed."],
    goals=["I have to answer a question in committee about the {thing}. Is there anything in the attached that is stated one way in one paper and another way in another?",
           "Compare these depot papers and give me only the facts on which two of them contradict one another, plus who says what."], thing="depot works")

CONTRA["quarry permit"] = dict(
    org=["Stannard Aggregates", "Corrie Stone Ltd", "Pellmount Quarries"],
    docs=[("application", "Application for renewal of the extraction permit", "{org} applies herewith for the renewal of its permit."),
          ("inspector_note", "Note of the site visit", "I walked the quarry from the weighbridge to the upper bench in fair weather."),
          ("parish_letter", "From the parish council", "The parish has lived beside the quarry for a long time and wishes to be fair."),
          ("hearing", "Summary of the public hearing", "The hearing was well attended and on the whole courteous."),
          ("ecology_memo", "Memo: nature conservation", "This memo deals with the quarry and its surroundings.")],
    facts=[
        ("area", "int", (14, 88), ["The quarry covers {v} hectares.", "An area of {v} hectares belongs to the quarry.", "The site takes up {v} hectares."]),
        ("tonnes", "int", (60_000, 480_000, 1000), ["It yields {v} tonnes of stone a year.", "Annual output is {v} tonnes.", "Every year {v} tonnes of stone leave the site."]),
        ("lorries", "int", (35, 140), ["On a working day {v} lorries pass through the gate.", "The daily number of lorries is {v}.", "We counted {v} lorries per working day."]),
        ("blast", "time", (10, 15), ["Blasting takes place at {v}.", "Charges are fired at {v} and at no other time.", "The siren goes just before the blast at {v}."]),
        ("blastday", "place", ["Tuesdays", "Wednesdays", "Thursdays"], ["Blasting is confined to {v}.", "There is blasting on {v} only.", "Shots are fired on {v}."]),
        ("expiry", "date", None, ["The present permit runs out on {v}.", "The permit now in force expires on {v}.", "Until {v} the old permit remains valid."]),
        ("manager", "name", None, ["The quarry manager is {v}.", "{v} manages the quarry.", "The site is run by {v}."]),
        ("depth", "int", (22, 96), ["The deepest point lies {v} metres below the rim.", "At its deepest the pit goes down {v} metres from the rim.", "From rim to floor the pit measures {v} metres."]),
        ("bond", "int", (90_000, 900_000, 5000), ["A restoration bond of EUR {v} has been lodged.", "The bond for restoration is EUR {v}.", "For the restoration a bond of EUR {v} is held."]),
        ("road", "place", ["Hagg Lane", "Stonepit Road", "the Fell Road", "Cinder Track", "Quarrel Bank"], ["Lorries leave by {v}.", "The haul route is {v}.", "All stone traffic goes along {v}."]),
        ("ecologist", "name", None, ["The bat survey was carried out by {v}.", "{v} did the survey of the bats.", "For the bats, {v} was commissioned."]),
        ("opened", "year", (1871, 1955), ["Stone was first cut here in {v}.", "The quarry was opened in {v}.", "The first stone was won in {v}."]),
    ],
    filler=["Peregrines nest on the eastern face.", "The wheel wash was working on the day.", "Some dust reached the washing lines in the spring.", "The footpath will be kept open.", "A row of hornbeams hides the crusher from the road.", "The pond has been taken over by newts.", "Complaints are answered in writing.", "The tea was weak but welcome.", "Nobody asked for the quarry to be closed.", "The school visits the fossils and enjoys it.", "Spoil is to be graded and sown with native grasses.", "The siren can be heard as far as the church.", "Screens have been fitted to the conveyor.", "The stone is a pale limestone, good for walls.", "Monitoring wells are read regularly.", "An orchid was found and fenced in.", "The fences are in good order.", "There was a lively exchange about mud.", "The chapel choir sent its regrets.", "Lighting is switched off when the shift ends."],
    goals=["Planning file, {thing}. I need the points where two of these papers state the same fact differently. Both values please, and where.",
           "does anything clash between the papers on the quarry? facts like figures, dates, names. if nothing does, say so"], thing="quarry permit")

CONTRA["choir tour"] = dict(
    org=["Saint Brannoc Chamber Choir", "Weaver Street Singers", "Cantores Limini"],
    docs=[("tour_letter", "{org}: tour letter", "Dear singers, the suitcases are almost packed."),
          ("host_mail", "Greetings from your hosts", "We look forward to your visit more than we can say."),
          ("programme_note", "Programme note", "Tonight's concert brings together music of leave-taking and return."),
          ("coach_sheet", "To the coach driver", "Thank you for driving us once again."),
          ("parents", "For the parents of the younger singers", "You will want to know where your children are going to be.")],
    facts=[
        ("depart", "time", (6, 9), ["The coach leaves at {v} sharp.", "Departure of the coach is at {v}.", "We set off in the coach at {v}."]),
        ("day", "date", None, ["We travel out on {v}.", "The outward journey is on {v}.", "The tour begins on {v}."]),
        ("singers", "int", (24, 76), ["There are {v} singers in the party.", "The touring choir numbers {v} singers.", "Altogether {v} singers are coming along."]),
        ("concert", "time", (18, 20), ["The main concert starts at {v}.", "The big concert begins at {v}.", "At {v} the main concert gets under way."]),
        ("church", "place", ["Saint Olave's", "the Dominican church", "the Seamen's Chapel", "Saint Gertrude's", "the Minster"], ["The main concert is given in {v}.", "For the main concert we sing in {v}.", "The main concert takes place in {v}."]),
        ("conductor", "name", None, ["{v} conducts.", "The conductor is {v}.", "The choir is led by {v}, its conductor."]),
        ("organ", "name", None, ["At the organ we have {v}.", "The organist is {v}.", "{v} plays the organ."]),
        ("hostel", "place", ["Linden House", "Harbour Hostel", "the Bishop's Lodge", "Villa Castanea", "the Old Seminary"], ["The party sleeps at {v}.", "Beds are booked at {v}.", "We stay the nights in {v}."]),
        ("cost", "money", (18000, 46000, 500), ["Each singer pays {v} for the tour.", "The tour costs {v} a head.", "The price per singer is {v}."]),
        ("deposit", "date", None, ["The deposit is due on {v}.", "Deposits have to be in by {v}.", "Pay the deposit no later than {v}."]),
        ("km", "int", (210, 960), ["The drive out is {v} kilometres.", "It is {v} kilometres from door to door.", "The way out measures {v} km."]),
        ("founded", "year", (1921, 1988), ["The choir was founded in {v}.", "The choir has been singing since its foundation in {v}.", "Our choir goes back to {v}."]),
    ],
    filler=["Bring black folders and soft shoes.", "The altos have promised to be punctual.", "Throat sweets are better than regrets.", "Nobody is to sing in the corridors after bedtime.", "The acoustics are kind to the basses.", "A packed lunch is a good idea.", "We are not going to get lost this time.", "The hosts have offered soup.", "Please label your music.", "There will be a stop on the way for those who need it.", "The weather should be mild.", "The Rheinberger still needs work.", "Photographs are welcome, flashes are not.", "The sopranos asked for more light, and they will have it.", "Passports are not required, but take some proof of who you are.", "The collection goes to the roof fund.", "An umbrella never hurts.", "One of the encores is a secret.", "Good humour travels free.", "The cellist has her own lift."],
    goals=["We had a muddle last year, so: go through the {thing} papers and list each thing that two of them state differently (time, name, whatever) with both versions.",
           "Parents keep ringing. Which details of the choir tour contradict each other in these letters?"], before=[("deposit", "day")], thing="choir tour")

CONTRA["seed bank"] = dict(
    org=["Fenmark Seed Bank", "Upland Seed Vault", "Orrin Botanical Seed Store"],
    docs=[("move_plan", "Plan for the move of the collection", "The collection will be moved with the utmost care."),
          ("insurer", "Letter to the insurer", "You asked for particulars of the seed collection, which we gladly give."),
          ("annual_report", "From the annual report", "It has been a year of preparation."),
          ("donor_mail", "To our donors", "Your gifts have brought us to the threshold of a new home."),
          ("lab_memo", "Memo from the germination lab", "The lab wishes to put the following on record.")],
    facts=[
        ("acc", "int", (3100, 48000), ["The bank holds {v} accessions.", "There are {v} accessions in the collection.", "The collection stands at {v} accessions."]),
        ("species", "int", (410, 2900), ["They represent {v} species.", "The number of species in the collection is {v}.", "In all {v} species are kept."]),
        ("move", "date", None, ["The move begins on {v}.", "Moving starts on {v}.", "The first crate is carried out on {v}."]),
        ("temp", "int", (16, 24), ["The vault is kept at minus {v} degrees Celsius.", "Inside the vault it is minus {v} degrees.", "The seeds lie at minus {v} degrees in the vault."]),
        ("curator", "name", None, ["The curator is {v}.", "{v} is curator of the collection.", "The collection is in the care of its curator, {v}."]),
        ("site", "place", ["Ferrow House", "the old waterworks", "Kestrel Park", "the Granary Annexe", "Moss Lane"], ["The new home of the bank is {v}.", "The bank moves to {v}.", "The new vault has been built at {v}."]),
        ("crates", "int", (65, 390), ["The seeds travel in {v} crates.", "We have packed {v} crates.", "Some planning went into the {v} crates that will be needed."]),
        ("value", "int", (700_000, 6_000_000, 25_000), ["The collection is insured for EUR {v}.", "The insured sum is EUR {v}.", "Insurance cover amounts to EUR {v}."]),
        ("oldest", "year", (1894, 1949), ["The oldest seeds were gathered in {v}.", "Our oldest sample dates from {v}.", "The oldest accession was collected in {v}."]),
        ("head", "name", None, ["The germination lab is headed by {v}.", "{v} heads the germination lab.", "Head of the germination lab is {v}."]),
        ("close", "date", None, ["The old building closes for good on {v}.", "The doors of the old building shut on {v}.", "On {v} the old building is given up."]),
        ("visitors", "int", (26, 98), ["Guided visits are limited to {v} people a week.", "Not more than {v} visitors are shown round per week.", "We can guide {v} visitors each week."]),
    ],
    filler=["Barley remains the pride of the house.", "Silica gel is cheap and has saved many a harvest.", "The lifts have been tested.", "Nothing is to be thawed on the way.", "Volunteers cleaned the poppies by hand.", "We thank the fire brigade for its advice.", "A good label outlives its writer.", "The mice were outwitted.", "Some vetches sulk for years and then sprout overnight.", "The alarm now rings at the right house.", "Loans to breeders go on as usual.", "The new shelving rolls like a dream.", "Photography inside the vault is not allowed.", "The registers are being scanned.", "Wild relatives of our crops deserve more attention.", "The canteen has planted its own beans.", "Every foil bag is weighed before it is sealed.", "The windows face north, as they should.", "We would like to see more schoolchildren.", "The generator passed its test."],
    goals=["The insurer wants consistent papers about the {thing}. Find any fact given with two different values and quote both values.",
           "Read all attached texts on the seed bank. Where do two of them make statements that cannot both be true?"], before=[("move", "close")], thing="seed bank")

C_FILL = ["Please pass this on to anyone concerned.", "More will follow in due course.", "Thank you for reading to the end.", "Copies have gone to the usual people.", "The rest can wait.",
          "So far, so good.", "We remain grateful for every helping hand.", "Questions are welcome at any time.", "A sketch is being prepared.", "It has been a pleasure so far.", "Some details are still being talked over.",
          "Nobody objected."]

CONTRA_GOALS = [
    "Do these {n} documents contradict each other anywhere? If so, on what, and what does each say?",
    "Find the contradictions between the attached files. If there aren't any, say that.",
    "Check the files for facts that are stated differently (numbers, dates, times, names, places). Give both versions of each.",
    "any contradictions in here?",
    "Somebody says these papers don't agree with one another. Is that so? Which facts, and what are the two versions?",
    "Please compare the attached texts. I don't want a summary of each, just the points where two of them contradict one another.",
    "Could you list every inconsistency between these documents, naming the two conflicting values? Different wording or a different way of writing the same time or date isn't one.",
    "I'm the poor soul who has to sign these off. Are the facts the same throughout, or is something given differently in two of them? A detail that just isn't in one of them doesn't matter.",
    "spot the conflicting facts pls, with both values",
    "Fact check across documents: report conflicts only (what, value A, value B). No conflicts = say none.",
]


def c_render(r, typ, v):
    if typ == "date":
        return datestr(r, v, year=r.random() < .7)
    if typ == "time":
        return clock(r, v)
    if typ == "int":
        return intstr(r, v)
    if typ == "money":
        return money(r, v)
    return str(v)


def c_regex(typ, v):
    return {"date": x_date, "time": x_time, "int": x_int, "money": x_money, "name": x_name,
            "year": lambda v: x_int(v, False),
            "place": lambda v: x_lit(re.sub(r"^(the|Saint) ", "", v).rstrip("s") if v.endswith("days") else
                                     re.sub(r"^(the|Saint) ", "", v))
            .replace(r"(?!\w)", r"(?!\w)" if not v.endswith("days") else "")}[typ](v)


NONE_WORD = (r"(?is)(?:\bno(?:ne)?\b|\bnot\b|n['’]t\b|\bnothing\b|\bwithout\b|\bzero\b|\b0\b|\bfree of\b|\bneither\b|"
             r"\bconsistent\b|\bagree\b|\bmatch(?:es)?\b|\bin line\b|\bidentical\b|\bthe same\b)")
SAME = r"(?:same|equivalent|equal|identical|consistent|agree|matches|not an? (?:real )?(?:contradiction|conflict))"
STYLE = r"(?:wording|phrasing|format\w*|style|notation|spelling|writing|level of detail|detail)"


def no_dump(fs):
    """Sentences that carry no fact, from two documents: the answer is a copy of them."""
    return r"(?is)^(?!.*" + re.escape(fs[0]) + r".*" + re.escape(fs[1]) + ")"


def contra_none():
    """The answer says that there is no contradiction and claims none."""
    return [
        NONE_WORD,
        r"(?is)^(?!.*\b(?:one|two|three|four|five|six|several|some|[1-9]\d*)\s+(?:\w+\s+)?(?:contradictions?|conflicts?|discrepanc\w+|inconsistenc\w+|differences?|mismatch\w*)\b(?!\s+(?:in|of)\s+(?:the\s+)?" + STYLE + r"))",
        r"(?is)^(?!.*(?<!no )(?<!any )(?<!of )\bcontradictions?(?:\s*\d+)?[\s*_]*:(?![\s*_]*(?:none|no|0|not|nothing|n/a)\b))",
        r"(?is)^(?:(?=.*\b" + SAME + r"\b)|(?!.*\b(?:whereas|while|but)\b[^.]{0,80}\b(?:says?|states?|gives?|has|puts)\b))",
        r"(?is)^(?!.*\b(?:do(?:es)? not|don['’]t|doesn['’]t|not|cannot)\s+(?:all |fully |entirely |quite |both )?(?:agree|match|consistent|the same|correspond|be true)\b)",
        r"(?is)^(?!.*(?:\byes\b(?!.{0,80}\b(?:same|consistent|agree|no|identical|match)\b)|\bthey (?:do )?(?:contradict|conflict|disagree)|\bthere is an? (?:contradiction|conflict|discrepancy|inconsistency)"
        r"|\b(?:vs\.?|versus)(?=\s)|\bthe (?!wording|phrasing|format|style|spelling)\w+ (?:differs?\b|is stated differently|is inconsistent|is contradict)))",
    ]


def make_contra(name):
    S = CONTRA[name]

    def gen(r):
        facts = S["facts"]
        nd = r.choice([2, 2, 3, 3, 4, 5])
        nconf = r.choice([0, 1, 1, 2, 2, 3])
        org = r.choice(S["org"])
        year = r.choice([2023, 2024, 2025])
        nm = people(r, 8)
        used = set()

        def fresh(gen_):
            for _ in range(1000):
                v = gen_()
                k = v.toordinal() % 366 if isinstance(v, dt.date) else v
                if (type(v), k) not in used and not (isinstance(v, int) and any(isinstance(u, tuple) and u[0] is int and u[1] == v for u in used)):
                    used.add((type(v), k))
                    return v
            raise RuntimeError

        def value(typ, par):
            if typ == "date":
                return fresh(lambda: dt.date(year, r.randint(3, 11), r.randint(2, 27)))
            if typ == "time":
                return fresh(lambda: r.randint(par[0], par[1]) * 60 + r.choice([0, 15, 30, 45]))
            if typ in ("int", "money"):
                lo, hi = par[0], par[1]
                st = par[2] if len(par) > 2 else 1
                return fresh(lambda: r.randrange(lo, hi + 1, st))
            if typ == "year":
                return fresh(lambda: r.randint(*par))
            if typ == "name":
                return nm.pop()
            return fresh(lambda: r.choice(par))

        def other(typ, par, v):
            if typ == "date":
                return fresh(lambda: min(max(v + dt.timedelta(days=r.choice([-9, -7, -3, -2, -1, 1, 2, 3, 7, 10, 14])), dt.date(year, 2, 1)), dt.date(year, 12, 20)))
            if typ == "time":
                return fresh(lambda: v + r.choice([-45, -30, -15, 15, 30, 45, 60]))
            if typ in ("int", "money"):
                st = par[2] if len(par) > 2 else 1
                def g():
                    s = list(str(v // st))
                    if r.random() < .4 and len(s) > 1:
                        i = r.randrange(len(s) - 1)
                        s[i], s[i + 1] = s[i + 1], s[i]
                        if s[0] == "0":
                            return v
                        return int("".join(s)) * st
                    return max(st * 2, v // st * st + r.choice([-1, 1]) * st * max(1, r.randint(1, max(2, v // st // 4))))
                def g2():
                    while True:
                        x = g()
                        if x != v and (typ != "int" or x >= 11):
                            return x
                return fresh(g2)
            if typ == "year":
                return fresh(lambda: v + r.choice([-10, -9, -4, -3, -2, -1, 1, 2, 3, 9, 10]))
            if typ == "name":
                return nm.pop()
            return fresh(lambda: r.choice(par))

        vals = {k: value(t, p) for k, t, p, _ in facts}
        for a, b in S.get("before", []):                    # a date that must lie well before another
            while (vals[b] - vals[a]).days < 24:
                pa = [f for f in facts if f[0] == a][0]
                pb = [f for f in facts if f[0] == b][0]
                vals[a], vals[b] = value(pa[1], pa[2]), value(pb[1], pb[2])
        order = list(facts)
        r.shuffle(order)
        conf, typs = [], {}
        for f in order:                                     # different types where possible
            if len(conf) < nconf and (typs.get(f[1], 0) < 1 or len(facts) - order.index(f) < 4):
                conf.append(f)
                typs[f[1]] = typs.get(f[1], 0) + 1
        doc_ids = r.sample(range(len(S["docs"])), nd)
        docs = {i: [] for i in doc_ids}                     # sentences with facts
        said = {}                                           # key -> [(doc, rendered)]

        def put(i, f, v):
            key, typ, par, tmpl = f
            unused = [t for t in tmpl if t not in said.get(("t", key), [])]
            t = r.choice(unused or tmpl)
            said.setdefault(("t", key), []).append(t)
            x = c_render(r, typ, v)
            docs[i].append(tidy(fill(t, v=x)))
            said.setdefault(key, []).append((i, x))

        alts = {}
        for f in conf:
            a, b = r.sample(doc_ids, 2)
            alts[f[0]] = other(f[1], f[2], vals[f[0]])
            put(a, f, vals[f[0]])
            put(b, f, alts[f[0]])
        rest = [f for f in order if f not in conf]
        nshare = r.randint(3, min(7, len(rest)))
        for j, f in enumerate(rest):
            if j < nshare:
                k = r.randint(2, min(nd, 4))
            elif r.random() < .5:
                k = 1
            else:
                continue
            for i in r.sample(doc_ids, k):
                if len(docs[i]) < 14:
                    put(i, f, vals[f[0]])
        fillers = S["filler"] + r.sample(C_FILL, 9)
        r.shuffle(fillers)
        files, fills = {}, {}
        for i in doc_ids:
            lo = max(3, 4 - len(docs[i]))
            n = r.randint(lo, max(lo, min(24 - len(docs[i]), 22, len(fillers) // 2)))
            left = doc_ids[doc_ids.index(i) + 1:]
            keep = sum(max(2, 4 - len(docs[j])) for j in left)
            mine = [fillers.pop() for _ in range(min(n, max(2, 4 - len(docs[i]), len(fillers) - keep)))]
            fills[i] = mine
            body = docs[i] + mine
            r.shuffle(body)
            fn, head, opening = S["docs"][i]
            txt = fill(head, org=org) + "\n\n" + paras(r, [fill(opening, org=org)] + (weave(r, body) if len(body) > 7 else body)) + "\n"
            files[fn + r.choice([".txt", ".txt", ".md"])] = txt
        g = r.choice(CONTRA_GOALS + S["goals"] * 2)
        goal = messy(r, fill(g, n=words_of(nd), thing=S["thing"]))
        if not conf:
            sh = [f for f in rest if len({x for _, x in said.get(f[0], [])}) > 1]
            right = ["I found no contradictions: the documents agree on every fact they share.", "None.",
                     "No, they don't contradict each other anywhere. The same time written as 19:30 and 7:30 pm is not a conflict."]
            f = r.choice([f for f in rest if said.get(f[0])])
            x = said[f[0]][0][1]
            wrong = [f"There is one contradiction: one file says {x} and another gives a different value.",
                     f"Contradiction: {x} in the first document, while the second document states something else.",
                     "Yes, they contradict each other."]
            right.append("Yes, the facts are the same throughout. There are some differences in wording, nothing more.")
            k = r.choice(rest)[0]
            wrong += [f"The documents do not agree: one says {x}, another says something else.", "\n".join(files.values())]
            fs = [q[0][:-1] for q in fills.values() if q]
            return item(goal, files, contra_none() + [no_dump(fs)], right, wrong)
        must, pairs = [], []
        for f in conf:
            must += [has(c_regex(f[1], vals[f[0]])), has(c_regex(f[1], alts[f[0]]))]
            pairs.append((f[0], said[f[0]][0], said[f[0]][1]))
        # an agreed fact written in two ways must not be reported as a conflict
        for f in rest:
            xs = list(dict.fromkeys(x for _, x in said.get(f[0], [])))
            if len(xs) > 1 and f[1] in ("time", "money") and r.random() < .7:
                a, b = re.escape(xs[0]), re.escape(xs[1])
                if xs[0] in xs[1] or xs[1] in xs[0]:
                    continue
                must.append(r"(?is)^(?:(?=.*\b" + SAME + r"\b)|(?!.*(?:" + a + r".{0,90}" + b + "|" + b + r".{0,90}" + a + r")))")
                break
        # a copy of the documents is no answer
        must.append(no_dump([q[0][:-1] for q in fills.values() if q]))
        must.append(r"(?is)^(?!\W*(?:there (?:are|is) )?no (?:contradictions?|conflicts?|inconsistenc\w+|discrepanc\w+)\b(?!.{0,30}(?:except|other than|apart|besides|but)))")
        names = {i: fn for i, (fn, _, _) in enumerate(S["docs"])}
        sent = [f"{k}: {names[a[0]]} says {a[1]}, {names[b[0]]} says {b[1]}." for k, a, b in pairs]
        right = ["\n".join("- " + s for s in sent),
                 "| fact | value A | value B |\n|---|---|---|\n" + "\n".join(f"| {k} | **{a[1]}** | **{b[1]}** |" for k, a, b in pairs)]
        wrong = ["There are no contradictions.", "\n".join(files.values())]
        k, a, b = pairs[0]
        wrong.append("\n".join(sent[1:] + [f"{k}: both say {a[1]}."]))
        return item(goal, files, must, right, wrong)

    gen.__name__ = "contra_" + slug(name)
    KINDS.setdefault("contradiction", []).append(gen)


for _n in CONTRA:
    make_contra(_n)


# --------------------------------------------------------------------------
# 2. csv-join
# --------------------------------------------------------------------------
ONLY = [" Just the name.", " Only the name please.", " Name only.", ""]
NAMES_ONLY = [" Names only.", " Just the names please.", " Only their names, nothing else."]


def dec_places(r):
    return r.choice([" One decimal is enough.", " (to one decimal place)", " Round to one decimal."])


def cell_date(r, d, style):
    return datestr(r, d, style)


def drop(r, files, stem):
    """Sometimes a file that is not needed is not there."""
    if r.random() < .6:
        for n in [n for n in files if n.startswith(stem)]:
            del files[n]


def uniq_max(d):
    """key with the strictly greatest value, or None."""
    s = sorted(d.items(), key=lambda kv: -kv[1])
    if len(s) > 1 and s[0][1] == s[1][1]:
        return None
    return s[0][0] if s else None


def wrong_num(r, cents):
    return [cents + r.choice([100, 250, 1000]), max(1, cents - r.choice([50, 300, 700]))]


def ans_money(r, cents, must_extra=()):
    u, c = divmod(cents, 100)
    right = [f"{u}.{c:02d}", f"The total is **€{thou(u)}.{c:02d}**.", f"It comes to {thou(u, '.')},{c:02d} EUR."]
    wrong = [f"{x // 100}.{x % 100:02d} EUR" for x in wrong_num(r, cents)] + ["I could not find it."]
    return [has(x_money(cents))] + list(must_extra), right, wrong


def ans_int(r, n, noun="in total"):
    if n < 2:
        raise Retry
    right = [str(n), f"There are **{thou(n)}** {noun}."] + ([f"There are {words_of(n)}."] if n < 100 else [])
    wrong = [str(n + 1), f"There are {max(0, n - 2)} {noun}.", f"{n * 10 + 3}"]
    return [has(x_int(n))], right, wrong


def ans_best(win, others, r, what="most"):
    right = [win, f"**{win}** has the {what}.", f"{win}, ahead of {others[0]}."]
    wrong = [others[0], f"{others[0]} has the {what}, ahead of {win}.", "I don't know."]
    return best_of(x_name(win), [x_name(o) for o in others]), right, wrong


def ans_set(names, others):
    must = [has(x_name(n)) for n in names]
    if others:
        must.append(hasnt(any_of([x_name(o) for o in others])))
    right = [", ".join(names), "\n".join("- **" + n + "**" for n in reversed(names)),
             " and ".join(n.split()[1] for n in names)]
    wrong = [", ".join(names[1:]) or "Nobody.", ", ".join(names + others[:1]) if others else "Nobody", "Nobody."]
    return must, right, wrong


def ans_dec(fr, r, dmin=1):
    right = [fmt_dec(fr, dmin), f"The average is **{fmt_dec(fr, 2)}**.", f"About {fmt_dec(fr, dmin, ',')}"]
    wrong = [fmt_dec(fr + Fraction(3, 10), dmin), fmt_dec(fr * 2 + 1, dmin), "It is not possible to say."]
    return [has(x_dec(fr, dmin))], right, wrong


@scene("csv-join")
def join_vet(r):
    n_own, n_an, n_vis = r.randint(5, 9), r.randint(9, 16), r.randint(16, 45)
    own = people(r, n_own)
    towns = r.sample(["Brackley", "Ostrava Green", "Withen", "Lower Hale", "Pendrick", "Cawsby"], 3)
    own_town = [r.choice(towns) for _ in own]
    pets = ["Biscuit", "Bella", "Bella", "Rufus", "Moth", "Pickle", "Otto", "Luna", "Tiger", "Tiger", "Nettle",
            "Sooty", "Waffle", "Hector", "Plum", "Maude", "Figaro", "Dot"]
    r.shuffle(pets)
    species = ["dog", "cat", "rabbit", "ferret", "tortoise"]
    an = [(f"A{100 + i * 3}", pets[i], r.choice(species[:3] if r.random() < .8 else species), r.randrange(n_own)) for i in range(n_an)]
    reasons = ["vaccination", "dental", "check-up", "lameness", "surgery"]
    vis = []
    for i in range(n_vis):
        a = r.randrange(n_an)
        vis.append((f"V{r.randint(1, 9)}{i:03d}", a, dt.date(2024, r.randint(1, 6), r.randint(1, 28)), r.choice(reasons),
                    r.choice([1850, 2400, 3275, 4500, 6190, 8800, 12050, 24500, 132000, 4120])))
    f1, _ = pick_fmt(r)
    f2, _ = pick_fmt(r)
    f3, st = pick_fmt(r)
    ds = r.choice(["iso", "dot", "dmy"])
    oid = [f"K{r.randint(10, 99)}{i}" for i in range(n_own)]
    files = {
        f"owners.{EXT[f1]}": table_text(["owner_id", "name", "town"], [(oid[i], own[i], own_town[i]) for i in range(n_own)], f1),
        f"animals.{EXT[f2]}": table_text(["animal_id", "name", "species", "owner_id"], [(a[0], a[1], a[2], oid[a[3]]) for a in an], f2),
        f"visits.{EXT[f3]}": table_text(["visit_id", "animal_id", "date", "reason", "fee_eur"],
                                        [(v[0], an[v[1]][0], cell_date(r, v[2], ds), v[3], cell_money(v[4], f3, st)) for v in vis], f3),
    }
    q = r.choice(["sum", "best", "count", "set"])
    by = {}
    for v in vis:
        by.setdefault(an[v[1]][3], []).append(v)
    if q == "sum":
        o = r.choice([k for k in by if len(by[k]) > 1] or list(by))
        if r.random() < .5:
            m = r.choice(sorted({v[2].month for v in by[o]}))
            vs, when = [v for v in by[o] if v[2].month == m], f" in {MONTHS[m - 1]}"
        else:
            vs, when = by[o], ""
        g = r.choice(["How much did {o} owe us{w} for all their animals together?",
                      "What is the total of the fees for {o}'s animals{w}?",
                      "{o} is on the phone. What do all visits of their animals{w} add up to?",
                      "vet bill {o}{w}, all animals, total in euros?",
                      "I don't need a list of each visit, just compare nothing and add up: total fees for {o}{w}.",
                      "Could you work out what we charged {o}{w}? Look up which animals are theirs, then sum the fees."])
        return item(messy(r, fill(g, o=own[o], w=when)), files, *ans_money(r, sum(v[4] for v in vs)))
    if q == "best":
        tot = {own[k]: sum(v[4] for v in by[k]) for k in by}
        cnt = {own[k]: len(by[k]) for k in by}
        if r.random() < .5 and uniq_max(cnt):
            w = uniq_max(cnt)
            g = r.choice(["Which owner came in most often, counting every animal they have?", "Who has had the most visits (all their animals counted)?",
                          "most frequent client? name please", "Compare the owners by number of visits and tell me who is at the top.",
                          "Each visit is filed under an animal, not under an owner. So which owner turns up most?"])
            return item(messy(r, g + r.choice(ONLY)), files, *ans_best(w, [o for o in own if o != w], r))
        w = uniq_max(tot)
        if w:
            g = r.choice(["Which owner has spent the most with us in total?", "Who brought in the highest total of fees?",
                          "biggest spender among the owners?", "I want to send a thank-you card to the owner whose animals cost the most in fees altogether. Who is it?",
                          "List nothing, just say who paid the largest sum of fees over all visits."])
            return item(messy(r, g + r.choice(ONLY)), files, *ans_best(w, [o for o in own if o != w], r))
        q = "count"
    if q == "count":
        for _ in range(200):
            sp, t = r.choice(["dog", "cat", "rabbit"]), r.choice(towns)
            n = sum(1 for v in vis if an[v[1]][2] == sp and own_town[an[v[1]][3]] == t)
            if n >= 2:
                break
        pl = sp + "s"
        g = r.choice(["How many visits were there by {pl} whose owners live in {t}?", "Count the visits of {pl} from {t}, please.",
                      "visits: {pl}, owner's town {t}. how many?", "We're planning a round in {t}. How often did {pl} owned by people from there come in?",
                      "Please compare the three files and tell me the number of visits by {pl} with an owner in {t}."])
        return item(messy(r, fill(g, pl=pl, t=t)), files, *ans_int(r, n, "visits"))
    for _ in range(500):
        sp, re_ = r.choice(["dog", "cat", "rabbit"]), r.choice(reasons)
        s = sorted({own[an[v[1]][3]] for v in vis if an[v[1]][2] == sp and v[3] == re_})
        if 2 <= len(s) < n_own:
            break
    g = r.choice(["Which owners brought a {sp} in for {re}?", "I need the names of everyone whose {sp} was here with the reason \"{re}\".",
                  "owners of a {sp} w/ a visit for {re}, please", "Who do I have to call? Everybody whose {sp} had a visit for {re}.",
                  "Each owner once: whose {sp} came for {re}?"])
    return item(messy(r, fill(g, sp=sp, re=re_) + r.choice(NAMES_ONLY), post=False), files, *ans_set(s, [o for o in own if o not in s]))


@scene("csv-join")
def join_depot(r):
    types = r.sample(["GT6", "Combino", "T3", "Variobahn", "M32", "Flexity"], 3)
    depots = r.sample(["Northgate", "Salt Quay", "Hollins", "Ferry Road"], 2)
    nt = r.randint(8, 16)
    trams = [(r.randint(1, 9) * 100 + i * 3 + 1, r.choice(types), r.choice(depots)) for i in range(nt)]
    mech = people(r, r.randint(4, 7))
    mid = [f"M-{r.randint(10, 99)}{chr(65 + i)}" for i in range(len(mech))]
    cats = ["doors", "brakes", "pantograph", "heating", "bell"]
    faults = [(i + 4001, r.randrange(nt), dt.date(2024, r.randint(1, 12), r.randint(1, 28)), r.choice(cats), r.choice([4, 7, 9, 12, 15, 22, 38, 51, 75]), r.randrange(len(mech)))
              for i in range(r.randint(20, 70))]
    f1, _ = pick_fmt(r)
    f2, _ = pick_fmt(r, ("jsonl", "csv", "tsv"))
    f3, _ = pick_fmt(r)
    ds = r.choice(["iso", "dot"])
    files = {
        f"fleet.{EXT[f1]}": table_text(["fleet_no", "type", "depot"], trams, f1),
        f"faults_2024.{EXT[f2]}": table_text(["fault", "fleet_no", "date", "category", "minutes_lost", "mechanic"],
                                             [(f[0], trams[f[1]][0], cell_date(r, f[2], ds), f[3], f[4], mid[f[5]]) for f in faults], f2),
        f"mechanics.{EXT[f3]}": table_text(["id", "name"], list(zip(mid, mech)), f3),
    }
    q = r.choice(["sum", "best", "set", "avg"])
    if q == "sum":
        for _ in range(300):
            c, d = r.choice(cats), r.choice(depots)
            s = [f for f in faults if f[3] == c and trams[f[1]][2] == d]
            if len(s) >= 2:
                break
        n = sum(f[4] for f in s)
        drop(r, files, "mechanics")
        g = r.choice(["How many minutes did trams of the {d} depot lose to faults in the category {c}?", "{d} depot: total minutes lost, category {c}?",
                      "Add up the minutes lost because of {c} on trams that belong to {d}.", "Don't compare the depots, don't list each fault. I only need the sum of minutes lost for {c} at {d}.",
                      "The boss wants to know how much time {c} trouble cost {d} over the year, in minutes. Can you get that out of the files?"])
        return item(messy(r, fill(g, d=d, c=c)), files, *ans_int(r, n, "minutes"))
    if q == "best":
        for _ in range(300):
            t = r.choice(types)
            cnt = {}
            for f in faults:
                if trams[f[1]][1] == t:
                    cnt[mech[f[5]]] = cnt.get(mech[f[5]], 0) + 1
            w = uniq_max(cnt)
            if w:
                break
        if w:
            g = r.choice(["Which mechanic dealt with the most faults on the {t}?", "Who among the mechanics handled {t} faults most often?",
                          "top mechanic for type {t} by number of faults?", "I'd like to know who knows the {t} best, meaning who has the most faults on that type against their name.",
                          "For each mechanic there are faults on several types; compare only those on the {t} and say who has most."])
            return item(messy(r, fill(g, t=t) + r.choice(ONLY)), files, *ans_best(w, [m for m in mech if m != w], r))
        q = "set"
    if q == "set":
        for _ in range(500):
            i = r.randrange(nt)
            s = sorted({mech[f[5]] for f in faults if f[1] == i})
            if 2 <= len(s) < len(mech):
                break
        else:
            q = "avg"
        if q == "set":
            g = r.choice(["Who has worked on tram {n}?", "Names of the mechanics who handled a fault on tram {n}, please.",
                          "tram no. {n} - which mechanics had it?", "I'm writing up tram {n}. Please give me everyone whose id stands against a fault of that tram.",
                          "Compare the fault list with the staff file: which people repaired number {n}?"])
            return item(messy(r, fill(g, n=trams[i][0]) + r.choice(NAMES_ONLY), post=False), files, *ans_set(s, [m for m in mech if m not in s]))
    for _ in range(300):
        t = r.choice(types)
        s = [f[4] for f in faults if trams[f[1]][1] == t]
        if len(s) >= 3:
            break
    drop(r, files, "mechanics")
    g = r.choice(["What is the average number of minutes lost per fault on trams of type {t}?", "avg minutes lost per fault, type {t} only?",
                  "On average, how long does one fault on a {t} cost us in minutes?", "Compare nothing else, only the {t}: mean of minutes lost.",
                  "How many minutes does a fault on the {t} take up in the mean? The type is in the fleet file."])
    return item(messy(r, fill(g, t=t) + dec_places(r)), files, *ans_dec(Fraction(sum(s), len(s)), r))


@scene("csv-join")
def join_props(r):
    items_ = r.sample(["brass telescope", "stuffed heron", "gramophone", "birdcage", "ship's wheel", "rubber chicken", "samovar", "skull", "typewriter",
                       "candelabra", "wicker wheelchair", "parasol", "hat stand", "rotary telephone", "crystal ball", "milk churn", "harpoon", "cuckoo clock"], r.randint(10, 16))
    prods = r.sample(["The Drowned Mill", "Hedda at Sea", "Nine Umbrellas", "A Winter Lodger", "The Glass Aunt", "Pigeons"], r.randint(3, 5))
    dirs = people(r, 3)
    pdir = [dirs[i % 3] for i in range(len(prods))]
    r.shuffle(pdir)
    val = [r.choice([1500, 2250, 4000, 7990, 12500, 18000, 34950, 62000, 115000]) for _ in items_]
    pid = [f"P{r.randint(1, 9)}{i:02d}" for i in range(len(items_))]
    prid = [f"{r.choice('ABCDE')}{2020 + i}" for i in range(len(prods))]
    loans, k = [], 0
    for i in range(len(items_)):
        t = dt.date(2024, 1, r.randint(5, 25))
        for p in r.sample(range(len(prods)), r.randint(1, min(3, len(prods)))):
            back = t + dt.timedelta(days=r.randint(10, 50))
            loans.append([i, p, t, back])
            t = back + dt.timedelta(days=r.randint(3, 20))
        if r.random() < .45:
            loans[-1][3] = None
    r.shuffle(loans)
    f1, st = pick_fmt(r)
    f2, _ = pick_fmt(r)
    f3, _ = pick_fmt(r)
    ds = r.choice(["iso", "dot"])
    files = {
        f"props.{EXT[f1]}": table_text(["prop_id", "item", "value_gbp"], [(pid[i], items_[i], cell_money(val[i], f1, st)) for i in range(len(items_))], f1),
        f"productions.{EXT[f2]}": table_text(["code", "title", "director"], [(prid[i], prods[i], pdir[i]) for i in range(len(prods))], f2),
        f"loans.{EXT[f3]}": table_text(["loan", "prop_id", "production", "taken", "returned"],
                                       [(7000 + i, pid[l[0]], prid[l[1]], cell_date(r, l[2], ds), cell_date(r, l[3], ds) if l[3] else "") for i, l in enumerate(loans)], f3),
    }
    q = r.choice(["out", "value", "best"])
    if q == "out":
        ok = [p for p in range(len(prods)) if 2 <= sum(1 for l in loans if l[1] == p and not l[3]) <= 6]
        if ok:
            p = r.choice(ok)
            s = sorted(items_[l[0]] for l in loans if l[1] == p and not l[3])
            oth = [x for x in items_ if x not in s]
            g = r.choice(["Which props are still out for {p}? (no return date)", "What has {p} not brought back yet?",
                          "stuff still missing from \"{p}\", i.e. not returned?", "I'm chasing the team of {p}. Which items do they still have? An empty return date means it isn't back.",
                          "Compare loans and props and list each item {p} still has out."])
            must = [has(x_lit(x)) for x in s] + [hasnt(any_of([x_lit(x) for x in oth]))]
            right = [", ".join(s), "\n".join("* **" + x.capitalize() + "**" for x in s)]
            wrong = [", ".join(s[1:]), ", ".join(s + oth[:1]), "Everything has been returned."]
            return item(messy(r, fill(g, p=prods[p]) + r.choice([" Only the items please.", " Just the names of the things.", " Items only, no values or dates."]), post=False), files, must, right, wrong)
        q = "value"
    if q == "value":
        p = r.choice([p for p in range(len(prods)) if sum(1 for l in loans if l[1] == p) >= 2] or [0])
        c = sum(val[l[0]] for l in loans if l[1] == p)
        if c:
            g = r.choice(["What is the total value of all props lent to {p}, whether they came back or not?", "Insurance question: what were the things lent to {p} worth altogether, returned or not?",
                          "total value of props that ever went to {p}?", "Please add up the value of every prop on loan, past or present, to {p}.",
                          "Don't list the props. I just want the sum of the values of what {p} borrowed, back or not."])
            u, cc = divmod(c, 100)
            right = [f"{u}.{cc:02d}", f"**£{thou(u)}.{cc:02d}**", f"It comes to GBP {thou(u)}" + (f".{cc:02d}" if cc else "")]
            wrong = [f"£{(c + 1500) // 100}.{(c + 1500) % 100:02d}", f"£{u + 3}", "Nothing was lent."]
            return item(messy(r, fill(g, p=prods[p])), files, [has(x_money(c))], right, wrong)
    cnt = {}
    for l in loans:
        cnt[pdir[l[1]]] = cnt.get(pdir[l[1]], 0) + 1
    w = uniq_max(cnt)
    if not w:
        d = r.choice(list(cnt))
        g = r.choice(["How many loans went to productions directed by {d}?", "loans to {d}'s shows - how many in all?", "Number of loans for productions of {d}, returned or not?"])
        return item(messy(r, fill(g, d=d)), files, *ans_int(r, cnt[d], "loans"))
    g = r.choice(["Which director's productions have taken out the most loans?", "Who is the director with the most loans from our store?",
                  "most loans by director - who?", "Compare the directors: whose shows borrowed most often from us?",
                  "Each production has a director. Adding their productions together, which director has the most entries in the loans file?"])
    return item(messy(r, g + r.choice(ONLY)), files, *ans_best(w, [d for d in dirs if d != w], r))


@scene("csv-join")
def join_seeds(r):
    sp = r.sample([("Vicia faba", "Fabaceae"), ("Pisum sativum", "Fabaceae"), ("Lens culinaris", "Fabaceae"), ("Papaver rhoeas", "Papaveraceae"),
                   ("Avena nuda", "Poaceae"), ("Secale cereale", "Poaceae"), ("Daucus carota", "Apiaceae"), ("Pastinaca sativa", "Apiaceae"),
                   ("Lactuca serriola", "Asteraceae"), ("Centaurea cyanus", "Asteraceae")], r.randint(6, 9))
    fams = sorted({s[1] for s in sp})
    countries = ["Georgia", "Portugal", "Norway", "Ethiopia", "Chile"]
    acc = [(f"{r.choice('XYZ')}-{1000 + i * 7}", r.randrange(len(sp)), r.choice(countries), r.randint(1978, 2019)) for i in range(r.randint(12, 30))]
    tests = []
    for a in range(len(acc)):
        for _ in range(r.choice([0, 1, 1, 2])):
            sown = r.choice([20, 25, 40, 50, 100])
            tests.append((a, dt.date(r.choice([2022, 2023, 2024]), r.randint(1, 12), r.randint(1, 28)), sown, int(sown * r.uniform(.2, .99))))
    r.shuffle(tests)
    f1, _ = pick_fmt(r)
    f2, _ = pick_fmt(r)
    f3, _ = pick_fmt(r, ("jsonl", "csv", "tsv"))
    ds = r.choice(["iso", "dmy"])
    sid = [f"s{r.randint(10, 99)}{chr(97 + i)}" for i in range(len(sp))]
    files = {
        f"species.{EXT[f1]}": table_text(["species_id", "latin", "family"], [(sid[i], *sp[i]) for i in range(len(sp))], f1),
        f"accessions.{EXT[f2]}": table_text(["accession", "species_id", "country", "year"], [(a[0], sid[a[1]], a[2], a[3]) for a in acc], f2),
        f"germination.{EXT[f3]}": table_text(["accession", "tested", "sown", "germinated"], [(acc[t[0]][0], cell_date(r, t[1], ds), t[2], t[3]) for t in tests], f3),
    }
    q = r.choice(["rate", "count", "best"])
    if q == "rate":
        for _ in range(300):
            f = r.choice(fams)
            s = [t for t in tests if sp[acc[t[0]][1]][1] == f]
            if len(s) >= 2:
                break
        fr = Fraction(100 * sum(t[3] for t in s), sum(t[2] for t in s))
        g = r.choice(["What percentage of all seeds sown from the family {f} germinated?", "{f}: overall germination in percent (all germinated divided by all sown)?",
                      "Taking all tests of {f} together, how many percent of the seeds came up?", "I don't want each test, only the germination rate of the whole family {f}: germinated over sown, in per cent.",
                      "germination % for {f} please, seeds not tests (so sum first, divide after)"])
        must, right, wrong = ans_dec(fr, r)
        return item(messy(r, fill(g, f=f) + dec_places(r)), files, must, right, wrong)
    if q == "count":
        for _ in range(300):
            f, c = r.choice(fams), r.choice(countries)
            n = sum(1 for a in acc if sp[a[1]][1] == f and a[2] == c)
            if n >= 2:
                break
        else:
            f = max(fams, key=lambda f: sum(1 for a in acc if sp[a[1]][1] == f))
            n = sum(1 for a in acc if sp[a[1]][1] == f)
            c = None
        drop(r, files, "germination")
        if c:
            g = r.choice(["How many accessions from {c} belong to the family {f}?", "Number of {f} accessions collected in {c}?", "accessions, {f}, {c}: how many",
                          "A visitor from {c} asks how many of our accessions from there are {f}.", "Compare the accession list with the species list: how many are {f} and from {c}?"])
        else:
            g = "How many accessions do we have of the family {f}?"
        return item(messy(r, fill(g, c=c, f=f)), files, *ans_int(r, n, "accessions"))
    cnt = {}
    for t in tests:
        k = sp[acc[t[0]][1]][0]
        cnt[k] = cnt.get(k, 0) + t[3]
    w = uniq_max(cnt)
    if not w:
        return join_seeds(r)
    g = r.choice(["Which species has the most germinated seeds over all tests?", "Of which species did we get the most seedlings, all tests and accessions together?",
                  "species with highest number of germinated seeds in total? latin name", "Compare the species by seeds germinated in total (not by rate). Which one is at the top?",
                  "For each species add up the germinated seeds over its accessions. Who wins? Latin name please."])
    others = [s[0] for s in sp if s[0] != w]
    must = best_of(x_lit(w), [x_lit(o) for o in others])
    return item(messy(r, g), files, must, [w, f"*{w}* has the most.", f"**{w}**, followed by {others[0]}"], [others[0], f"{others[0]} has the most.", "No idea."])


@scene("csv-join")
def join_freezers(r):
    fz = r.sample(["Polaris", "Yeti", "Amundsen", "Fram", "Snowdrop", "Igloo"], r.randint(3, 4))
    room = [r.choice(["B104", "B107", "C012"]) for _ in fz]
    boxes = [(f"BX{r.randint(1, 9)}{i:02d}", r.randrange(len(fz))) for i in range(r.randint(6, 12))]
    res = people(r, r.randint(3, 5))
    types = ["plasma", "serum", "tissue", "DNA"]
    smp = [(f"S{20000 + i * 11}", r.randrange(len(boxes)), r.choice(types), r.choice(res), r.choice([5, 10, 15, 20, 25, 45])) for i in range(r.randint(30, 90))]
    f1, _ = pick_fmt(r)
    f2, _ = pick_fmt(r)
    f3, st = pick_fmt(r)
    ml = lambda t: (t / 10 if f3 == "jsonl" else f"{t // 10}{',' if st == 'de' else '.'}{t % 10}")
    files = {
        f"freezers.{EXT[f1]}": table_text(["no", "freezer", "room"], [(i + 1, fz[i], room[i]) for i in range(len(fz))], f1),
        f"boxes.{EXT[f2]}": table_text(["box", "freezer_no"], [(b[0], b[1] + 1) for b in boxes], f2),
        f"samples.{EXT[f3]}": table_text(["sample", "box", "type", "owner", "volume_ml"], [(s[0], boxes[s[1]][0], s[2], s[3], ml(s[4])) for s in smp], f3),
    }
    q = r.choice(["count", "best", "sum", "where"])
    if q == "count":
        for _ in range(300):
            f, t = r.randrange(len(fz)), r.choice(types)
            n = sum(1 for s in smp if boxes[s[1]][1] == f and s[2] == t)
            if n >= 3:
                break
        g = r.choice(["How many {t} samples are in the freezer {f}?", "{f} is failing! Number of {t} samples in it?", "Count the {t} samples that are stored in {f}.",
                      "how many tubes of {t} in {f}? one row = one tube", "Please compare boxes and samples and tell me how many samples of type {t} sit in {f}."])
        return item(messy(r, fill(g, t=t, f=fz[f])), files, *ans_int(r, n, "samples"))
    if q == "best":
        for _ in range(300):
            rm = r.choice(room)
            cnt = {}
            for s in smp:
                if room[boxes[s[1]][1]] == rm:
                    cnt[s[3]] = cnt.get(s[3], 0) + 1
            w = uniq_max(cnt)
            if w:
                break
        if w:
            g = r.choice(["Who owns the most samples in room {m}?", "Which researcher has most samples in the freezers of room {m}?", "room {m} - whose samples are the most numerous?",
                          "We have to clear {m}. Who has the most samples there and so has to come first?", "Compare the owners: for room {m} only, who has the highest number of samples?"])
            return item(messy(r, fill(g, m=rm) + r.choice(ONLY)), files, *ans_best(w, [x for x in res if x != w], r))
    if q == "where":
        for _ in range(300):
            x = r.choice(res)
            t = r.choice(types)
            s = sorted({fz[boxes[s[1]][1]] for s in smp if s[3] == x and s[2] == t})
            if 1 <= len(s) < len(fz) and (len(s) > 1 or r.random() < .4):
                break
        else:
            q = "sum"
        if q == "where" and 1 <= len(s) < len(fz):
            g = r.choice(["In which freezers does {x} keep {t}?", "Where are {x}'s {t} samples? I need the freezer names.", "{x} / {t} -> which freezer(s)?",
                          "{x} is away and I have to fetch all of their {t}. Which freezers do I open?", "Names of each freezer with at least one {t} sample of {x}."])
            oth = [f for f in fz if f not in s]
            must = [has(x_lit(f)) for f in s] + [hasnt(any_of([x_lit(f) for f in oth]))]
            return item(messy(r, fill(g, x=x, t=t) + r.choice([" Only the names of the freezers.", " Freezer names only please."]), post=False), files, must,
                        [", ".join(s), "\n".join("- " + f for f in s)], [oth[0], ", ".join(s + oth[:1]), "None"])
    for _ in range(300):
        x, f = r.choice(res), r.randrange(len(fz))
        s = [s for s in smp if s[3] == x and boxes[s[1]][1] == f]
        if len(s) >= 2:
            break
    fr = Fraction(sum(t[4] for t in s), 10)
    g = r.choice(["How many millilitres does {x} have in {f} in total?", "Total volume of {x}'s samples in freezer {f}?", "sum of volume_ml, owner {x}, freezer {f}",
                  "{x} wants to know how much material (ml) lies in {f}. Their own samples only, all types.", "No list please, just one number: the volume in ml of everything in {f} that belongs to {x}."])
    must = [has(x_dec(fr, 1))]
    return item(messy(r, fill(g, x=x, f=fz[f])), files, must, [fmt_dec(fr, 1), f"**{fmt_dec(fr, 1)} ml**", fmt_dec(fr, 1, ",") + " ml"],
                [fmt_dec(fr + Fraction(1, 2), 1), fmt_dec(fr * 2 + 1, 1), "0 ml in total"])


# --------------------------------------------------------------------------
# 3. csv-aggregate
# --------------------------------------------------------------------------
def median(xs):
    s = sorted(xs)
    n = len(s)
    return Fraction(s[n // 2]) if n % 2 else Fraction(s[n // 2 - 1] + s[n // 2], 2)


def ans_groups(cnt, rx=x_lit):
    """Every group with its number."""
    must = [r"(?is)" + rx(k) + r"[^\d]{0,40}?" + x_int(v) for k, v in cnt.items()]
    right = ["\n".join(f"- {k}: {v}" for k, v in cnt.items()), "| group | n |\n|---|---|\n" + "\n".join(f"| **{k}** | {v} |" for k, v in cnt.items())]
    ks = list(cnt)
    wrong = ["\n".join(f"- {k}: {v + 1}" for k, v in cnt.items()), f"{ks[0]}: {cnt[ks[0]]}", str(sum(cnt.values()))]
    return must, right, wrong


def ans_top(order, rest, rx):
    must = top_n([rx(x) for x in order], [rx(x) for x in rest])
    right = [", ".join(order), "\n".join(f"{i + 1}. **{x}**" for i, x in enumerate(order))]
    wrong = [", ".join(reversed(order)), ", ".join(order[:-1]), ", ".join((rest[:1] or order[-1:]) + order)]
    return must, right, wrong


def strict_top(d, n):
    s = sorted(d.items(), key=lambda kv: -kv[1])
    v = [x for _, x in s[:n + 1]]
    return [k for k, _ in s[:n]] if len(s) > n and len(set(v)) == len(v) else None


def between(r, a, b):
    return r.choice([f"from {datestr(r, a)} to {datestr(r, b)} (both days included)", f"between {datestr(r, a, 'dmy')} and {datestr(r, b, 'dmy')} inclusive"])


@scene("csv-aggregate")
def agg_ferry(r):
    n = r.randint(20, 300)
    routes = r.sample(["Skarholm", "Inver Point", "Mellan", "Port Aske", "Tarbin"], r.randint(3, 5))
    ships = r.sample(["Gannet", "Lady Maud", "Solveig", "Otter", "Tern"], 3)
    d0 = dt.date(2024, 5, 1)
    rows = sorted((d0 + dt.timedelta(days=r.randint(0, 91)), r.choice(routes), r.choice(ships), r.randint(3, 240), r.randint(0, 58)) for _ in range(n))
    f, _ = pick_fmt(r)
    ds = r.choice(["iso", "dot", "dmy"])
    files = {r.choice(["crossings", "ferry_log", "sailings"]) + "." + EXT[f]:
             table_text(["date", "to", "ship", "passengers", "cars"], [(cell_date(r, x[0], ds), *x[1:]) for x in rows], f)}
    q = r.choice(["range", "groups", "top", "median", "avg", "maxrow"])
    if q == "range":
        for _ in range(100):
            a = d0 + dt.timedelta(days=r.randint(0, 60))
            b = a + dt.timedelta(days=r.randint(10, 30))
            s = [x for x in rows if a <= x[0] <= b]
            if len(s) > 2:
                break
        k = r.choice([3, 4])
        what = ["passengers", "cars"][k - 3]
        g = r.choice(["How many {w} did we carry {b}?", "Total {w} {b}, all routes and ships?", "sum of {w} {b}", "The harbour office wants one figure: {w} carried {b}.",
                      "Please don't list each crossing. What do the {w} add up to {b}?"])
        return item(messy(r, fill(g, w=what, b=between(r, a, b))), files, *ans_int(r, sum(x[k] for x in s), what))
    if q == "groups":
        cnt = {}
        for x in rows:
            cnt[x[1]] = cnt.get(x[1], 0) + 1
        g = r.choice(["How many crossings were there to each port?", "Count the sailings by destination please.", "crossings per port (column to)", "I need the number of trips for each place we sail to.",
                      "Compare the destinations for me: how many sailings did each one get?"])
        return item(messy(r, g), files, *ans_groups(cnt))
    if q == "top":
        tot = {}
        for x in rows:
            tot[x[1]] = tot.get(x[1], 0) + x[3]
        t = strict_top(tot, 2)
        if t:
            g = r.choice(["Which two destinations had the most passengers in total? The busiest first.", "Top 2 ports by passengers, in order.", "the two busiest ports (passengers summed), biggest first pls",
                          "Compare all destinations by total passengers and give me just the first two, in order.", "I have money for two new shelters. They should go to the ports with the most passengers; name them, the one with more first."])
            return item(messy(r, g), files, *ans_top(t, [p for p in routes if p not in t], x_lit))
    if q == "median":
        s = r.choice(ships)
        xs = [x[3] for x in rows if x[2] == s]
        if len(xs) > 2:
            m = median(xs)
            g = r.choice(["What is the median number of passengers per crossing on the {s}?", "median passengers, ship {s}?", "Not the average, the median please: passengers per trip of the {s}.",
                          "If you put the {s}'s crossings in order of passengers, what is the middle value (the median)?", "For the {s} only, no comparison with each other ship: median of passengers."])
            return item(messy(r, fill(g, s=s)), files, [has(x_dec(m, 1))], [fmt_dec(m, 1), f"The median is **{fmt_dec(m, 1)}**."], [fmt_dec(m + 2, 1), "The median is unknown.", fmt_dec(m + Fraction(1, 2), 1)])
    if q == "maxrow":
        mx = max(x[3] for x in rows)
        best = [x for x in rows if x[3] == mx]
        if len({x[0] for x in best}) == 1:
            g = r.choice(["On what date did we have the crossing with the most passengers, and how many were aboard?", "fullest single crossing: date + passengers?", "Which crossing was the fullest? I need its date and the number of passengers.",
                          "Each crossing is one row. Find the one with the highest passenger figure; when was it and how many?", "For the chronicle: the day of our single busiest crossing and its number of passengers."])
            return item(messy(r, g), files, [has(x_date(best[0][0])), has(x_int(mx))],
                        [f"{best[0][0]}: {mx} passengers", f"On {datestr(r, best[0][0], 'mdy')}, with **{mx}** aboard."], [f"{best[0][0]}: {mx - 1} passengers", f"{best[0][0] + dt.timedelta(days=1)}: {mx}", "I don't know."])
    k = r.choice([3, 4])
    p = r.choice(sorted({x[1] for x in rows}))
    s = [x[k] for x in rows if x[1] == p]
    what = ["passengers", "cars"][k - 3]
    g = r.choice(["What was the average number of {w} per crossing to {p}?", "avg {w} per trip to {p}?", "How many {w} were there on average on a crossing to {p}?",
                  "Mean of {w} for sailings to {p}, please.", "Forget the other routes, no need to compare each of them: {w} per sailing to {p} on average?"])
    return item(messy(r, fill(g, w=what, p=p) + dec_places(r)), files, *ans_dec(Fraction(sum(s), len(s)), r))


@scene("csv-aggregate")
def agg_radio(r):
    n = r.randint(15, 260)
    bands = r.sample(["160m", "80m", "40m", "20m", "15m", "10m"], r.randint(3, 5))
    modes = ["SSB", "CW", "FT8"]
    calls = [f"{r.choice(['DL', 'G', 'OH', 'SP', 'EA', 'JA', 'VK', 'LU'])}{r.randint(1, 9)}{''.join(r.choice('ABCDEFGHKLMNPRSTUWXYZ') for _ in range(3))}" for _ in range(max(8, n // 2))]
    calls = list(dict.fromkeys(calls))
    countries = ["Germany", "England", "Finland", "Poland", "Spain", "Japan", "Australia", "Argentina"]
    pre = ["DL", "G", "OH", "SP", "EA", "JA", "VK", "LU"]
    rows = []
    for i in range(n):
        c = r.choice(calls)
        k = next(j for j, p in enumerate(pre) if c.startswith(p) and (len(p) == 2 or c[1].isdigit()))
        rows.append((dt.date(2023, r.randint(1, 12), r.randint(1, 28)), f"{r.randint(0, 23):02d}{r.randint(0, 59):02d}", c, countries[k], r.choice(bands), r.choice(modes), int([700, 560, 1900, 1300, 1500, 9400, 15800, 11700][k] * r.uniform(.8, 1.2))))
    rows.sort()
    f, _ = pick_fmt(r)
    ds = r.choice(["iso", "dot"])
    files = {r.choice(["logbook", "qso_2023", "station_log"]) + "." + EXT[f]: table_text(["date", "utc", "call", "country", "band", "mode", "km"], [(cell_date(r, x[0], ds), *x[1:]) for x in rows], f)}
    q = r.choice(["groups", "uniq", "avg", "far", "month", "top"])
    if q == "groups":
        cnt = {}
        for x in rows:
            cnt[x[4]] = cnt.get(x[4], 0) + 1
        g = r.choice(["How many contacts did I make on each band?", "QSOs per band please.", "count by band", "For my club talk: number of contacts for each band.", "Compare the bands by number of log entries."])
        return item(messy(r, g), files, *ans_groups(cnt))
    if q == "uniq":
        m = r.choice(modes)
        k = len({x[2] for x in rows if x[5] == m})
        g = r.choice(["How many different stations did I work in {m}? Count each call once.", "unique callsigns, mode {m}?", "Number of distinct calls worked in {m}.", "I want to know with how many different stations I had contact in {m} (the same call twice counts once).",
                      "How long is the list of calls for {m} if you drop each repeat?"])
        return item(messy(r, fill(g, m=m)), files, *ans_int(r, k, "different stations"))
    if q == "far":
        mx = max(x[6] for x in rows)
        b = [x for x in rows if x[6] == mx]
        if len(b) == 1:
            b = b[0]
            g = r.choice(["Which station was the farthest away, and how many kilometres was it?", "best dx in this log? call and km", "What is my longest-distance contact: call sign and distance?", "My grandson asks how far I got. Farthest contact please, with call and km.",
                          "Compare the distances in the list: whose call belongs to the largest, and how large is it?"])
            o = r.choice([c for c in calls if c != b[2]])
            return item(messy(r, g), files, [has(x_lit(b[2])), has(x_int(mx))], [f"{b[2]}, {mx} km", f"**{b[2]}** at {thou(mx)} km"], [f"{o}, {mx} km", f"{b[2]}, {mx - 10} km", "unknown"])
    if q == "month":
        m = r.choice(sorted({x[0].month for x in rows}))
        k = sum(1 for x in rows if x[0].month == m)
        g = r.choice(["How many contacts are logged in {m}?", "{m} 2023: number of QSOs?", "How many lines of the log fall in {m}?", "Was {m} a busy month? How many contacts did I have?", "Don't list each one, just count my contacts of {m} 2023."])
        return item(messy(r, fill(g, m=MONTHS[m - 1])), files, *ans_int(r, k, "contacts"))
    if q == "top":
        cnt = {}
        for x in rows:
            cnt[x[3]] = cnt.get(x[3], 0) + 1
        t = strict_top(cnt, 3)
        if t:
            g = r.choice(["Which three countries did I work most often, in order?", "top 3 countries by number of contacts, most first", "Countries: the three with the most contacts, starting with the most.", "Give me my three best countries by count of contacts (the best first).",
                          "Compare the countries and name just the leading three by contacts, in order."])
            return item(messy(r, g), files, *ans_top(t, [c for c in countries if c not in t], x_lit))
    b = r.choice(sorted({x[4] for x in rows}))
    s = [x[6] for x in rows if x[4] == b]
    g = r.choice(["What is the average distance of my contacts on {b}, in km?", "avg km on {b}?", "Mean distance for the band {b} please.", "On {b}, how far away were the other stations on average (km)?", "Average of km, only band {b}, not each band."])
    return item(messy(r, fill(g, b=b) + dec_places(r)), files, *ans_dec(Fraction(sum(s), len(s)), r))


@scene("csv-aggregate")
def agg_weighbridge(r):
    n = r.randint(12, 220)
    mats = r.sample(["gravel", "armour stone", "lime dust", "chippings", "topsoil"], r.randint(3, 4))
    cust = r.sample(["Oakes Haulage", "Parish of Thirl", "Menzel Bau", "Ridgeway Paving", "Delacroix & Fils", "Tolland Farms"], r.randint(4, 6))
    rows = sorted((dt.date(2025, r.randint(1, 4), r.randint(1, 28)), r.randint(10000, 99999), r.choice(cust), r.choice(mats), r.randint(30, 290), r.choice([1250, 1480, 1900, 2275])) for _ in range(n))
    f, st = pick_fmt(r)
    tt = lambda t: (t / 10 if f == "jsonl" else f"{t // 10}{',' if st == 'de' else '.'}{t % 10}")
    ds = r.choice(["iso", "dot", "dmy"])
    amt = [x[4] * x[5] // 10 for x in rows]
    files = {r.choice(["weighbridge", "tickets", "loads"]) + "." + EXT[f]:
             table_text(["date", "ticket", "customer", "material", "tonnes", "amount_eur"], [(cell_date(r, x[0], ds), x[1], x[2], x[3], tt(x[4]), cell_money(a, f, st)) for x, a in zip(rows, amt)], f)}
    q = r.choice(["sum", "tonnes", "top", "count", "maxcust"])
    if q == "sum":
        c = r.choice(sorted({x[2] for x in rows}))
        v = sum(a for x, a in zip(rows, amt) if x[2] == c)
        g = r.choice(["How much does {c} owe us for all loads in the file?", "Invoice total for {c}?", "sum of amount for {c}", "{c} says our invoice is wrong. What do their loads come to in euros?", "I don't want a list of each ticket for {c}, only the total amount."])
        return item(messy(r, fill(g, c=c)), files, *ans_money(r, v))
    if q == "tonnes":
        m, mo = r.choice(sorted({(x[3], x[0].month) for x in rows}))
        v = Fraction(sum(x[4] for x in rows if x[3] == m and x[0].month == mo), 10)
        g = r.choice(["How many tonnes of {m} went out in {mo}?", "{m}, {mo}: tonnes?", "Total weight of {m} sold in {mo} 2025 please.", "The inspector asks for the tonnage of {m} in {mo}.", "Compare nothing, just add up the tonnes of {m} for {mo}."])
        return item(messy(r, fill(g, m=m, mo=MONTHS[mo - 1])), files, [has(x_dec(v, 1))], [fmt_dec(v, 1), f"**{fmt_dec(v, 1)} t**", fmt_dec(v, 1, ",") + " tonnes"],
                    [fmt_dec(v + 2, 1), fmt_dec(v * 2 + 1, 1), "No idea"])
    if q == "top":
        tot = {}
        for x, a in zip(rows, amt):
            tot[x[2]] = tot.get(x[2], 0) + a
        t = strict_top(tot, 3)
        if t:
            g = r.choice(["Who are our three biggest customers by amount, in order?", "top three customers (euros), biggest first", "Compare the customers by total amount and give me only the first three, in order.", "Three Christmas hampers for those who spent most with us. Names in order, please, the largest sum first.",
                          "List the three customers with the highest totals, highest first."])
            return item(messy(r, g), files, *ans_top(t, [c for c in cust if c not in t], x_lit))
    if q == "maxcust":
        tot = {}
        for x in rows:
            tot[x[2]] = tot.get(x[2], 0) + x[4]
        w = uniq_max(tot)
        if w:
            o = [c for c in cust if c != w]
            g = r.choice(["Which customer took the most tonnes altogether?", "heaviest customer (tonnes in total)?", "Who hauled the greatest total weight out of here?", "Compare customers by tonnes, not by money: who is first?", "For each customer add the tonnes; who has the largest sum?"])
            return item(messy(r, g + r.choice(ONLY)), files, best_of(x_lit(w), [x_lit(c) for c in o]), [w, f"**{w}** took the most."], [o[0], f"{o[0]} took the most tonnes.", "Not given."])
    lim = r.choice([150, 200, 220, 250])
    k = sum(1 for x in rows if x[4] > lim)
    g = r.choice(["How many loads were heavier than {l} tonnes?", "loads over {l} t - how many?", "Count the tickets with more than {l} tonnes.", "The bridge takes {l} tonnes at most. How many of our loads were above that?", "How many rows have a weight above {l} t? No list, just the number."])
    return item(messy(r, fill(g, l=lim // 10)), files, *ans_int(r, k, "loads"))


@scene("csv-aggregate")
def agg_choir(r):
    singers = people(r, r.randint(6, 16))
    part = {s: r.choice(["soprano", "alto", "tenor", "bass"]) for s in singers}
    d0 = dt.date(2024, 9, 3)
    dates = [d0 + dt.timedelta(days=7 * i) for i in range(r.randint(4, 14))]
    rows = [(d, s, part[s], r.choices(["present", "excused", "absent"], [7, 2, 1])[0], 0) for d in dates for s in singers if r.random() < .95]
    rows = [(a, b, c, e, r.choice([0, 0, 5, 10, 15]) if e == "present" else 0) for a, b, c, e, _ in rows][:300]
    f, _ = pick_fmt(r)
    ds = r.choice(["iso", "dot", "dmy"])
    files = {r.choice(["attendance", "rehearsals", "register"]) + "." + EXT[f]:
             table_text(["date", "singer", "voice", "status", "minutes_late"], [(cell_date(r, x[0], ds), *x[1:]) for x in rows], f)}
    q = r.choice(["count", "groups", "best", "never", "late"])
    if q == "groups":
        cnt = {}
        for x in rows:
            if x[3] == "present":
                cnt[x[2]] = cnt.get(x[2], 0) + 1
        g = r.choice(["How many times was 'present' noted, by voice?", "count of present per voice", "For each voice: how many entries say present?", "Compare the four voices, how often present in total?", "Number of present marks for each of the voices please."])
        rx = lambda k: {"bass": r"\bbass(?:es)?\b"}.get(k, r"\b" + k + r"s?\b")
        return item(messy(r, g), files, *ans_groups(cnt, rx))
    if q == "best":
        cnt = {s: sum(1 for x in rows if x[1] == s and x[3] == "absent") for s in singers}
        w = uniq_max(cnt)
        if w:
            g = r.choice(["Who was absent most often (excused doesn't count)?", "Which singer has the most 'absent' entries?", "most absences, not counting excused - who?", "I have to have a word with whoever is marked absent most. Who?", "Compare the singers: the highest number of absent marks belongs to whom?"])
            return item(messy(r, g + r.choice(ONLY)), files, *ans_best(w, [s for s in singers if s != w], r, "most absences"))
    if q == "never":
        s = [x for x in singers if any(y[1] == x for y in rows) and all(y[3] == "present" for y in rows if y[1] == x)]
        if 1 <= len(s) <= 6:
            g = r.choice(["Who was present at every rehearsal they are listed for?", "Which singers have only 'present' entries?", "never missed one (all entries present) - names", "Chocolates for those who have nothing but present marks. Who gets some?", "List each singer without a single absent or excused."])
            return item(messy(r, g + r.choice(NAMES_ONLY), post=False), files, *ans_set(s, [x for x in singers if x not in s]))
    if q == "late":
        xs = {s: sum(x[4] for x in rows if x[1] == s) for s in singers}
        s = r.choice([k for k in xs if xs[k] > 10] or singers)
        g = r.choice(["How many minutes late was {s} altogether?", "{s}: total minutes late?", "Add up the minutes {s} came late over the term.", "{s} claims to be always on time. How many minutes is it in total?", "sum minutes_late for {s}, not each rehearsal"])
        if xs[s] > 0:
            return item(messy(r, fill(g, s=s)), files, *ans_int(r, xs[s], "minutes"))
    d = r.choice(dates)
    k = sum(1 for x in rows if x[0] == d and x[3] == "present")
    if k == 0:
        return agg_choir(r)
    g = r.choice(["How many singers were present on {d}?", "present on {d}?", "How many did we have at the rehearsal of {d}?", "On {d} the room felt empty. How many were there (status present)?", "Don't list the names, only how many were present on {d}."])
    return item(messy(r, fill(g, d=datestr(r, d))), files, *ans_int(r, k, "singers"))


@scene("csv-aggregate")
def agg_freezer_log(r):
    fz = r.sample(["Polaris", "Yeti", "Amundsen", "Fram", "Snowdrop"], r.randint(3, 5))
    n = r.randint(24, 300)
    t0 = dt.datetime(2025, 2, 3, 0, 0)
    rows = []
    for i in range(n):
        t = t0 + dt.timedelta(minutes=30 * i)
        v = r.gauss(-79, 3)
        if r.random() < .08:
            v += r.uniform(8, 30)
        rows.append((t, fz[i % len(fz)], round(v * 10)))
    f, st = pick_fmt(r)
    tt = lambda t: (t / 10 if f == "jsonl" else f"{t / 10:.1f}".replace(".", "," if st == "de" else "."))
    files = {r.choice(["temps", "freezer_log", "minus80"]) + "." + EXT[f]: table_text(["time", "freezer", "celsius"], [(x[0].strftime("%Y-%m-%d %H:%M"), x[1], tt(x[2])) for x in rows], f)}
    q = r.choice(["alarm", "max", "avg", "groups"])
    x_neg = lambda fr: r"(?:[-−–]|minus\s)\s*" + x_dec(-fr, 1)
    if q == "alarm":
        lim = r.choice([-75, -74, -72, -76])
        k = sum(1 for x in rows if x[2] > lim * 10)
        if k:
            g = r.choice(["How many readings were warmer than {l} degrees?", "readings above {l} C, how many in all?", "Count the rows where the temperature is higher than {l}. Remember they're negative.", "The alarm limit is {l}. How often were we above it, all freezers together?", "No list of each alarm, just how many readings lie above {l}."])
            return item(messy(r, fill(g, l=lim)), files, *ans_int(r, k, "readings"))
    if q == "max":
        mx = max(x[2] for x in rows)
        b = [x for x in rows if x[2] == mx]
        if len(b) == 1:
            v = Fraction(mx, 10)
            g = r.choice(["What was the warmest reading, and in which freezer?", "worst (warmest) temperature and the freezer?", "Which freezer got the warmest, and how warm was it?", "Compare all readings: the highest temperature, with the name of the freezer please.", "Somewhere the door was left open. Where was the warmest value and what was it?"])
            o = [z for z in fz if z != b[0][1]]
            return item(messy(r, g), files, [has(x_lit(b[0][1])), has(r"[-−–]?\s*" + x_dec(-v, 1) if v < 0 else x_dec(v, 1))] + [hasnt(any_of([x_lit(z) for z in o]) + r"[^.\n]{0,40}\bwarmest\b")],
                        [f"{b[0][1]}, {mx / 10:.1f} °C", f"**{b[0][1]}** reached {mx / 10:.1f} degrees."], [f"{o[0]}, {mx / 10:.1f}", f"{b[0][1]}, {(mx - 30) / 10:.1f} °C", "unknown"])
    if q == "groups":
        cnt = {}
        for x in rows:
            if x[2] > -750:
                cnt[x[1]] = cnt.get(x[1], 0) + 1
        if len(cnt) >= 2:
            g = r.choice(["How many readings above -75 did each freezer have? Those with none can be left out.", "per freezer: number of readings warmer than -75 (skip zeros)", "For each freezer with at least one reading warmer than -75: how many such readings?", "Compare the freezers by how often they were above -75 degrees. Give the numbers; leave out any with none.",
                          "Count by freezer, only rows warmer than -75; freezers without such rows needn't be mentioned."])
            return item(messy(r, g), files, *ans_groups(cnt))
    z = r.choice(fz)
    s = [x[2] for x in rows if x[1] == z]
    fr = Fraction(sum(s), 10 * len(s))
    g = r.choice(["What is the mean temperature of {z} over the whole log?", "avg temp {z}?", "Average of all readings of freezer {z} please.", "I need the average temperature of {z} for the audit.", "Only {z}, not each freezer: the mean of celsius."])
    return item(messy(r, fill(g, z=z) + dec_places(r)), files, [has(x_neg(fr))], [f"-{fmt_dec(-fr, 1)}", f"The mean is **−{fmt_dec(-fr, 2)} °C**.", f"minus {fmt_dec(-fr, 1)}"],
                [f"-{fmt_dec(-fr + 2, 1)}", f"-{fmt_dec(-fr - 1, 1)}", "It is unknown."])


# --------------------------------------------------------------------------
# 4. needle
# --------------------------------------------------------------------------
N_OPEN = """In the morning|Towards evening|After the rain had stopped|Before anyone else was up|On the second day|A little later|That same week|Once the lamps were lit|
When the wind turned|Not long afterwards|As so often in that season|With the door still open|While the kettle sang|By the time the light failed|Some days on|To everyone's surprise|
Against my advice|For want of anything better|In spite of the cold|Between two showers|At the turn of the month|On the way back|Without a word|After much to and fro|Just as the bells began|
In those weeks|Late in the season|Rather to my relief|As the custom was|On a quiet afternoon""".replace("\n", "").split("|")
N_MAIN = """{P} {vt} the {A} {O}|{P} and {P2} {vt} the {O} together|{P} asked whether the {O} had been seen near the {L}|{P2} said that the {L} {st}|the {L} {st}|
nobody could tell {P} why the {O} {ob}|{P} went down to the {L} with a {A} {O}|the {O} {ob} and had to be set aside|we found {P} beside the {L}, {ing}|{P} spent the better part of the day {ing}|
{P2} told us a long story about a {O} and a {A} {O2}|a stranger came to the {L} and asked for {P}|{P} wrote a letter to {P2} about the {O}|there was talk of moving the {O} to the {L}|
{P} had made up a song about the {L}|{P2} refused to lend out the {A} {O}|the {O2} stood in the {L} as if it had always been there|{P} counted the {Os} twice and got two different answers|
I walked as far as the {L} and back|we ate {F} in the {L}|{P} brought {F} for all of us|{P2} complained that there was no {F} left|the smell of {F} hung about the {L}|{P} dreamt of {F} and woke up hungry|
{P} took great care with the {Os}|it was {P} who first noticed that the {O} {ob}|{P2} blamed {P} for the state of the {L}|somebody had tied a ribbon to the {O}|the {L} was full of {Os}|
{P} taught {P2} how one handles a {O}|{P} swore never again to touch a {A} {O}|we borrowed a {O} from {P}'s cousin|the {Os} were laid out in the {L} to dry|{P} was seen {ing} near the {L}|
{P2} read aloud from an old almanac|the cat of the {L} slept on the {O}|{P} quarrelled with {P2} about a {O}, and both were wrong|a {A} silence fell over the {L}|the {O} was wrapped in cloth and carried to the {L}|
{P} laughed until {P2} begged for mercy|the children drew the {L} with chalk|{P} kept the {A} {O2} and gave away the {O}|the rain found its way into the {L}|{P2} had a cold and spoke very little|
we agreed that {P} should look after the {Os}|the carpenter put a new handle on the {O}|there were more {Os} than anybody wanted|{P} swept the {L} from end to end|the {O} turned up again, of all places, in the {L}|
{P2} insisted on {ing}, and there was no holding back|{P} had no gift for {ing}|all the {Os} had been washed and looked like new|two boys from the {L} made off with a {O} and brought it back the same night|
{P} remarked that the {L} had seen better days|{P2} wanted to sell the {O2}, but found no buyer|the postman left a parcel for {P} at the {L}|a wasp got into {P}'s sleeve|{P} planted something green by the {L}|
the {O} cast a long shadow|{P} and {P2} played cards on a {A} {O}|the lamp in the {L} smoked|{P} lost a button and looked for it all over the {L}|one could hear {P} {ing} through the wall|
the dog would not pass the {L}|{P2} came back without the {O} and without an excuse|somebody painted the {O} blue|{P} praised the {F} more than it deserved|the {L} was locked, and {P} climbed in through the window|
{P} carved initials into the {O}|{P2} kept bees behind the {L}, or claimed to|we lent the {O} to {P}, who lent it to {P2}|a swallow nested above the {O}|{P} paid far too much for a {A} {O}|the {L} echoed with laughter|
{P2} fell in love with a {A} {O}, there is no other word for it|somebody from the ministry photographed the {L}|{P} swore that the {O} had belonged to a duke|there was ice in every {O}|{P} lost a bet about the {L} to {P2}|
the {Os} had to be carried up by hand|{P2} made a soup that tasted of {O}|a letter came for {P}, but without a stamp|{P} sat in the {L} and would not be moved|the {A} {O} changed hands again|{P} had the hiccups all through the blessing of the {L}|
moths had got into everything, even the {O}|{P2} showed {P} a short cut by way of the {L}|the {O} was lowered on a rope|{P} wore two coats and carried a {O}|we heard {P2} {ing} long before we saw the {L}|{P} nodded to the {O} as to an old friend|
nobody had thought of bringing a {O}|{P} wanted to know what the {L} had cost, and {P2} would not say|the {L} was painted by an artist on holiday|a hen had laid an egg in the {O}|{P}'s hat ended up on the roof of the {L}""".replace("\n", "").split("|")
N_TAIL = """||||, which surprised no one|, and that was that|, or so I was told|, much to the annoyance of {P3}|, as {P3} would have it|, and for once nobody grumbled|, though the weather was {W}|, because it was {W}|
, while {P3} kept the fire going|, and {P3} made a note of it|, for reasons I never understood|, just as the year before|, and we spoke of other things|, until {P3} called us in to supper|, and it was {W} all along|
, without so much as a thank-you|, which {P3} thought improper|, so we left it there|, and the matter was never mentioned again|, to the sound of someone {ing}|, and I have thought of it often since|, whatever {P3} may say|, and nobody was the wiser|, to be on the safe side|, after which we all went home|, for the good of the house|, by way of apology|
, and in this {P3} was not mistaken|, at no small expense|, as one does|, and a good thing too|, which is more than can be said of {P3}|, with {P3} looking on|, to judge by what {P3} told me later|, in the pouring rain|, in perfect good humour|, with the help of {P3}|, and {P3} clapped""".replace("\n", "").split("|")
N_SOLO = """It was {W}.|I slept badly.|{P} was in a good mood.|Nothing else of note.|One does what one can.|{P2} had gone to bed early.|Nobody answered.|I make no comment on that.|The evening was {W} and rather long.|
So much for plans.|We waited.|{P} only shrugged.|What a day!|How {P2} laughed!|Who would have thought it?|I still have the {O} somewhere.|It could have been worse.|There is more to be said about {P}, but not here.|
Of the {Os} I shall speak another time.|{F} again.|Perhaps {P3} will remember it differently.|Such is life at the {L}.|The less said about the {O2} the better.|And yet, in the {L}, one felt at home.|{P} has aged since then; so have I.""".replace("\n", "").split("|")
N_VT = "mended|cleaned|carried off|measured|hid|repaired|admired|dropped|sketched|described|mislaid|greased|weighed|inspected|polished|borrowed|unpacked|praised".split("|")
N_ING = "whistling|sorting nails|mending stockings|peeling apples|talking to no one in particular|reading the paper|oiling hinges|humming|looking for spectacles|chopping wood|writing postcards|feeding the hens|drawing maps|splicing rope|counting sheep|airing blankets".split("|")
N_W = "foggy|close and still|raw|bright and windy|wet through|warmer than it had any right to be|grey|mild|bitterly cold|clear|drizzling|stormy|hazy|calm".split("|")
N_A = "old|heavy|crooked|handsome|useless|borrowed|rusty|small|painted|much-loved|wobbly|ugly|spare|curious|worn|broken|splendid|plain".split("|")
N_F = "barley soup|cold mutton|plum cake|rye bread and cheese|smoked eel|pancakes|bean stew|gooseberry tart|porridge|pickled herring|dumplings|roast chestnuts".split("|")
N_ST = "needed a coat of paint|was draughty|had been let to strangers|stood empty|was crowded|looked smaller than before|had a new roof|was under water|smelt of tar|was quieter than usual|had never been so tidy|wanted repairing".split("|")
N_OB = "would not budge|was missing|had come apart|made a strange noise|leaked|was too short|had been mended with string|fell over|got stuck|had gone mouldy|squeaked".split("|")


def prose(r, S, n_words, banned):
    """Long prose of about n_words, no sentence twice, nothing from banned in it."""
    ban = re.compile("|".join(banned), re.I | re.S) if banned else None
    P = people(r, 50)
    ok = [p for p in P if not (ban and ban.search(p))][:S.get("cast", 14)]
    firsts = [p.split()[0] for p in ok]
    lasts = [r.choice(["Mr ", "Mrs ", "old ", "young ", "Captain " if S.get("sea") else "Dr "]) + p.split()[1] for p in ok]
    cast = [f if r.random() < .6 else l for f, l in zip(firsts, lasts)]
    mains = N_MAIN + S["main"] * 2
    seen, out, words = set(), [], 0
    while words < n_words:
        p = r.sample(cast, 3)
        o = r.sample(S["obj"], 3)
        k = dict(P=p[0], P2=p[1], P3=p[2], O=o[0], O2=o[1], Os=plural(o[2]), L=r.choice(S["loc"]), A=r.choice(N_A), F=r.choice(N_F), W=r.choice(N_W),
                 vt=r.choice(N_VT), ing=r.choice(N_ING), st=r.choice(N_ST), ob=r.choice(N_OB))
        x = r.random()
        if x < .12:
            s = fill(r.choice(N_SOLO), **k)
        elif x < .5:
            s = r.choice(N_OPEN) + r.choice([", ", " "]) + fill(r.choice(mains), **k) + fill(r.choice(N_TAIL), **k) + "."
        elif x < .85:
            s = fill(r.choice(mains), **k) + fill(r.choice(N_TAIL), **k) + "."
        else:
            p2 = r.sample(cast, 3)
            k2 = dict(k, P=p2[0], P2=p2[1], O=r.choice(S["obj"]), L=r.choice(S["loc"]), ing=r.choice(N_ING), st=r.choice(N_ST))
            s = fill(r.choice(mains), **k) + r.choice(["; ", ", and ", ", but ", ", so "]) + fill(r.choice(mains), **k2) + "."
        s = re.sub(r"\b([Aa]) (?=(?!use|uni|eu|one)[aeiouAEIOU])", r"\1n ", s)
        s = re.sub(r"\ba (spectacles|scissors)", r"a pair of \1", s)
        s = s[0].upper() + s[1:]
        if (len(s) > 30 and s in seen) or (ban and ban.search(s)):
            continue
        seen.add(s)
        out.append(s)
        words += s.count(" ") + 1
    return out


def plural(s):
    if s.endswith(("s", "sh", "ch", "x")):
        return s + "es"
    if s.endswith("y") and s[-2] not in "aeiou":
        return s[:-1] + "ies"
    if s.endswith("fe"):
        return s[:-2] + "ves"
    return s + "s"


def any_word(v):
    """One telling word of the value is enough."""
    ws = [w for w in re.findall(r"[A-Za-z]+", v) if w.lower() not in ("a", "an", "the", "of", "old", "our", "named", "man", "aunt", "widow")]
    return r"\b(?:" + "|".join(ws) + r")"


def v_num(lo, hi, words=True):
    def f(r):
        n = r.randint(lo, hi)
        return words_of(n) if words and n < 100 and r.random() < .5 else str(n)
    return f


def n_num(v):
    return int(v) if v.isdigit() else next(k for k in range(1, 100) if words_of(k) == v)


def k_num(v):
    return x_int(n_num(v))


def v_date(*months):
    return lambda r: f"{r.randint(1, 27)} {MONTHS[r.choice(months) - 1]}"


def k_date(v):
    return x_date(dt.datetime.strptime(v + " 2000", "%d %B %Y").date())


def v_who(*roles):
    return lambda r: f"{r.choice(roles)} {r.choice(LAST)}"


NEEDLE = {}
# a needle: sentences with {v}; decoys (sentences with {w}, about something else); questions; values; regex maker; ban (regexes kept out of the text)
NEEDLE["island memoir"] = dict(
    files=["memoir.txt", "island_years.txt", "keeper_recollections.md"], title="Recollections of an Island Schoolmaster", sea=True,
    loc=["jetty", "boathouse", "schoolroom", "lower field", "net loft", "chapel", "smithy", "lighthouse yard", "bakehouse", "west beach", "sheepfold", "signal hut"],
    obj=["lantern", "oar", "barrel", "ladder", "kite", "fiddle", "anchor", "wheelbarrow", "basket", "telescope", "bucket", "stool", "churn", "sail"],
    main=["the mail boat brought {P} a {O}", "the tide carried the {O} out past the {L}", "{P} rowed across with {P2} to fetch the {Os}", "the seals sang off the {L}", "a schoolchild wrote {P}'s name on the slate", "the inspector admired the {L}", "the fishing was poor and {P} knew why"],
    needles=[
        dict(say=["The duplicate for the lock of the powder store had hung all those years behind the portrait of {v}, on a bit of tarred string.", "As it came out much later, whoever wanted to get into the powder store without asking had only to reach behind the portrait of {v}, where the second key dangled."],
             decoy=["The key of the chapel lay under {w}.", "The key to the net loft was kept in {w}, as any child could tell you."], wvals=["the third flagstone", "the blue jug", "a flowerpot"],
             ask=["Where was the spare key to the powder store hidden?", "I'm looking for the place where they kept the second key of the powder store.", "powder store: where's the extra key"],
             vals=["Aunt Odile", "the Bishop of Trondheim", "the old harbour master", "Queen Sophie"], key=any_word, ban=["portrait", "powder", "Odile", "Bishop", "harbour master", "Queen", "key"]),
        dict(say=["We were {v} souls on the island that winter, infants and the two prisoners included.", "When the snow closed us in, the headcount, from the oldest widow to the newest infant, stood at {v}."],
             decoy=["In the summer before, there had been {w} of us, counting the road gang.", "The parish on the mainland numbered {w} at the time."], wvals=["two hundred and six", "three hundred and eleven", "517"],
             ask=["How many people lived on the island in that winter when they were cut off?", "Population of the island during the winter?", "i need the number of inhabitants in the winter, not the summer before"],
             vals=v_num(55, 190), key=k_num, ban=["souls", "headcount", "winter", r"\d"]),
        dict(say=["My own boat, the one with the patched stern, I had bought from {v} for nine sheep and a promise.", "For nine sheep and a promise {v} parted with the boat that was to be mine for the rest of my stay."],
             decoy=["The doctor's boat was built by {w}.", "{w} once tried to sell me a horse."], wvals=["Ezekiel Horne", "a man called Purdie", "the brothers Skaife"],
             ask=["From whom did the writer get his boat?", "Who sold the schoolmaster his boat?", "the author's boat - who was the previous owner?"],
             vals=v_who("Widow", "the deacon", "Farmer", "the pedlar", "Cousin"), key=any_word, ban=["sheep and", r"\bboat\b"]),
        dict(say=["The foghorn, which had been silent since the gale, spoke again for the first time on {v}.", "It was on {v} that we heard the foghorn once more after its long silence."],
             decoy=["The new bell was first rung on {w}.", "The gale itself had struck on {w}."], wvals=["3 October", "19 September", "27 August"],
             ask=["On which day did the foghorn work again?", "When did they get the foghorn going again after the storm? Date please.", "date the foghorn came back to life?"],
             vals=v_date(11, 12, 1, 2, 3), key=k_date, ban=["foghorn", "gale"] + MONTHS),
    ])
NEEDLE["tramway chronicle"] = dict(
    files=["chronicle.txt", "tramway_history.txt", "conductors_diary.txt"], title="From the Diary of a Conductor", cast=16,
    loc=["depot", "terminus", "signal cabin", "paint shop", "canteen", "market loop", "upper viaduct", "ticket office", "sand store", "waiting room", "turntable", "weaving mill stop"],
    obj=["whistle", "ticket punch", "hand lamp", "sandbox", "lost umbrella", "timetable board", "pole", "signal flag", "bell rope", "brake handle", "cash bag", "bench", "overcoat", "crate"],
    main=["the nine o'clock car ran late because of the {O}", "a passenger left a {O} on the back platform", "{P} rang the bell for no reason at the {L}", "the inspector boarded by the {L} and found nothing amiss", "{P} changed the points with a {O}", "the horses of the coal merchant took fright near the {L}", "car after car stood waiting by the {L}"],
    needles=[
        dict(say=["The lady with the parrot never paid, for {v} had settled her fares in advance with a gold watch.", "It was {v} who, with a gold watch, had paid beforehand for every ride the lady with the parrot would ever take."],
             decoy=["{w} gave the drivers a goose each Christmas.", "The boy with the drum was let off by {w}."], wvals=["The grocer Abt", "Alderman Pryce", "The widow Kessel"],
             ask=["Who covered the tram fares of the woman with the parrot?", "Why did the parrot lady ride free, i.e. who paid for her?", "parrot woman - name of her benefactor"],
             vals=v_who("the dentist", "Judge", "the brewer", "the organist", "the notary"), key=any_word, ban=["parrot", "gold watch"]),
        dict(say=["Car {v} was the one that rolled down Chandler's Hill with nobody on the platform and stopped by itself at the fish market.", "Down Chandler's Hill, with no one at the controls, came car {v}, and of its own accord it halted by the fish market."],
             decoy=["Car {w} lost its roof under the viaduct.", "Car {w} was sold to a farmer, who keeps hens in it."], wvals=["12", "77", "9"],
             ask=["What was the number of the tram that ran away downhill without a driver?", "which car was the runaway? number", "One tram went down a hill unmanned. Which number did it have?"],
             vals=v_num(21, 140, False), key=k_num, ban=["Chandler", "fish market", r"\d"]),
        dict(say=["Nobody but the night watchman knew that the strike fund was kept in {v}.", "The strike fund, as only the night watchman knew, lay in {v}."],
             decoy=["The coffee money was kept in {w}.", "The lost gloves went into {w}."], wvals=["a biscuit tin", "the big drawer", "an old hat box"],
             ask=["Where did they hide the money for the strike?", "In what was the strike money stored?", "I only want the hiding place of the strikers' cash."],
             vals=["a hollow fire extinguisher", "the belly of a stuffed pike", "a false chimney", "the organ of the mission hall"], key=lambda v: x_lit({"a": v.split()[-1], "the": v.split()[-1]}[v.split()[0]]) if "pike" not in v and "mission" not in v else (r"\bpike\b" if "pike" in v else r"\borgan\b"),
             ban=["strike", "night watchman", "extinguisher", "pike", "chimney", r"\borgan\b"]),
        dict(say=["The overhead wire was put under current for the first time at {v}, before a crowd that kept well back.", "At {v} the current was let into the overhead wire for the very first time, and the crowd kept its distance."],
             decoy=["The last horse car came home at {w}.", "The mayor's speech began at {w}."], wvals=["a quarter to eleven", "noon sharp", "ten past two"],
             ask=["At what time of day was the overhead line first switched on?", "When exactly (hour) did the electricity go into the wire for the first time?", "time of first power in the overhead wire?"],
             vals=["half past five in the morning", "half past nine in the morning", "seven in the evening", "half past three in the afternoon"],
             key=lambda v: {"half past five in the morning": x_time(330), "half past nine in the morning": x_time(570), "seven in the evening": "(?:" + x_time(1140) + r"|\bseven\b)", "half past three in the afternoon": x_time(930)}[v],
             ban=["overhead", "current", "half past", r"\bseven\b"]),
    ])
NEEDLE["botanist journal"] = dict(
    files=["journal.txt", "expedition.md", "field_notes_long.txt"], title="Journal of a Seed Collector",
    loc=["base camp", "river ford", "mule stable", "upper valley", "monastery", "rest house", "salt pass", "village square", "drying shed", "rope bridge", "hot spring", "customs post"],
    obj=["plant press", "saddle", "compass", "tent pole", "seed packet", "barometer", "notebook", "trowel", "map case", "blanket", "cooking pot", "mosquito net", "specimen jar", "walking stick"],
    main=["the mules refused the path to the {L}", "{P} pressed a gentian between two sheets", "{P2} shook the seeds out over the {O}", "the guide pointed out the {L} and fell asleep", "a pale vetch grew beside the {L}", "{P} labelled the {Os} by candlelight", "we crossed the stream below the {L} with a {O} held high"],
    needles=[
        dict(say=["The only ripe capsule of the blue poppy we ever saw grew {v}, and I put it in my breast pocket.", "I found the one ripe capsule of the blue poppy {v}, and it went straight into my breast pocket."],
             decoy=["The white primula stood {w}.", "The yellow poppy, a commoner thing, was found {w}."], wvals=["by a mill race", "on a grave", "in a potato patch"],
             ask=["Where did the collector come across the blue poppy with ripe seed?", "Location of the single ripe blue poppy fruit?", "blue poppy, ripe capsule: found where?"],
             vals=["under a fallen cedar", "behind the toll-keeper's oven", "on the roof of a prayer mill", "in the crack of a boundary stone"],
             key=lambda v: {"under a fallen cedar": r"\bcedar\b", "behind the toll-keeper's oven": r"\boven\b", "on the roof of a prayer mill": r"\bprayer[\s-]*mill\b", "in the crack of a boundary stone": r"\bboundary[\s-]*stone\b"}[v],
             ban=["poppy", "capsule", "cedar", r"\boven\b", "prayer", "boundary", "primula"]),
        dict(say=["For the white mule with the torn ear we paid {v} silver pieces, which was robbery.", "It was robbery, but the white mule with the torn ear cost us {v} silver pieces."],
             decoy=["The brown mule had cost {w} silver pieces and was worth it.", "Our guide asked {w} silver pieces for a month."], wvals=["nineteen", "twenty-two", "12"],
             ask=["What was the price of the white mule?", "How many silver coins did they give for the mule with the damaged ear?", "price paid for white mule?"],
             vals=v_num(31, 88), key=k_num, ban=["silver", "torn ear", r"\d", "white mule"]),
        dict(say=["It was {v} who warned us that the ice on the pass was hollow, and we owe our lives to that warning.", "We owe our lives to {v}, from whom came the warning that the ice on the pass was hollow."],
             decoy=["{w} warned us of bad water, quite wrongly.", "{w} told us that the ferry had sunk."], wvals=["A tax clerk", "The abbot's brother", "A woman selling onions"],
             ask=["Who told the party about the dangerous ice?", "Who saved them by pointing out that the ice wasn't solid?", "hollow ice: who gave the warning"],
             vals=["a blind fiddler", "the smith's youngest daughter", "a deserter from the garrison", "the bell-founder"],
             key=lambda v: {"a blind fiddler": r"\bfiddler\b", "the smith's youngest daughter": r"\bdaughter\b", "a deserter from the garrison": r"\bdeserter\b", "the bell-founder": r"\bbell[\s-]*founder\b"}[v],
             ban=[r"\bice\b", "warn", "fiddler", "daughter", "deserter", "founder"]),
        dict(say=["Packet {v} is the one whose label was eaten by goats; it holds the black barley.", "The black barley is in packet {v}, the label of which was eaten by goats."],
             decoy=["Packet {w} holds the red barley.", "Packet {w} burst, and the sparrows had a feast."], wvals=["118", "240", "87"],
             ask=["In which packet is the black barley?", "The packet with the black barley lost its label. What is its number?", "black barley packet no.?"],
             vals=v_num(92, 310, False), key=k_num, ban=["barley", "goats", r"\d"]),
    ])
NEEDLE["theatre years"] = dict(
    files=["theatre_years.txt", "prompter.txt", "memories_of_the_wings.md"], title="Thirty Years a Prompter",
    loc=["green room", "scene dock", "fly tower", "prompt corner", "box office", "wardrobe", "stage door", "upper gallery", "paint frame", "cellar", "foyer", "rehearsal room"],
    obj=["wig", "crown", "sword", "candlestick", "trumpet", "curtain", "trunk", "fan", "mask", "thunder sheet", "throne", "cloak", "dagger", "moustache"],
    main=["{P} forgot the second act in front of a full house", "the understudy wore the {O} back to front", "{P2} was booed and took it well", "the limelight fell on the {O} instead of on {P}", "the orchestra struck before the {L} was cleared", "{P} died so slowly that {P2} sat down", "the manager paid us in {Os} that week"],
    needles=[
        dict(say=["The ghost in the fourth box, as the fireman found, was nothing but {v}.", "What everyone took for a ghost in the fourth box turned out, thanks to the fireman, to be {v}."],
             decoy=["The noise in the organ loft was only {w}.", "The shadow on the backcloth came from {w}."], wvals=["a loose slate", "the moon", "a coat hanger"],
             ask=["What was the supposed ghost in box four really?", "What explained the haunting of the fourth box?", "the ghost: what did the fireman discover it was?"],
             vals=["a runaway heron", "the usher's drying laundry", "a gas leak that whistled", "the sleeping piano tuner"],
             key=lambda v: {"a runaway heron": r"\bheron\b", "the usher's drying laundry": r"\blaundry\b", "a gas leak that whistled": r"\bgas\b", "the sleeping piano tuner": r"\btuner\b"}[v],
             ban=["ghost", "fireman", "fourth box", "heron", "laundry", r"\bgas\b", "tuner"]),
        dict(say=["The longest run we ever had was {v} nights, of The Miller's Revenge, and I knew it by heart forwards and backwards.", "The Miller's Revenge beat every other piece with a run of {v} nights."],
             decoy=["The Silver Spoon closed after {w} nights.", "A Night in Seville managed {w} nights before the flood."], wvals=["16", "27", "61"],
             ask=["How many performances did the most successful play get?", "For how many nights did The Miller's Revenge run?", "length of our record run, in nights?"],
             vals=v_num(92, 260, False), key=k_num, ban=["Miller", "nights", r"\d"]),
        dict(say=["Old Mother Fitch, who sold oranges on the steps, was in truth the mother of {v}, and only I was told.", "Only I was told that {v} was the child of Mother Fitch, who sold oranges on the steps."],
             decoy=["The boy who swept the stalls was the son of {w}.", "{w} married into the circus."], wvals=["the tenor Lasalle", "the ticket-seller", "a coachman named Bream"],
             ask=["Whose mother was the orange seller?", "The woman with the oranges had a secret child. Who?", "who was mother fitch's child"],
             vals=v_who("the soprano", "the stage manager", "our leading man", "the critic", "the bass"), key=any_word, ban=["orange", "Fitch"]),
        dict(say=["The trapdoor that cost us our Mephisto was nailed shut on {v} and has not been opened since.", "Since {v}, when it was nailed down, no one has opened the trapdoor that cost us our Mephisto."],
             decoy=["The gas was replaced by electric light on {w}.", "On {w} the great chandelier came down."], wvals=["2 May", "16 June", "29 October"],
             ask=["When was the trapdoor closed up for good?", "date on which the trapdoor was sealed", "On what day did they nail the trap shut after the accident with Mephisto?"],
             vals=v_date(1, 3, 4, 7, 9, 12), key=k_date, ban=["trapdoor", "Mephisto"] + [r"\b" + m + r"\b" for m in MONTHS]),
    ])
NEEDLE["vet practice book"] = dict(
    files=["country_vet.txt", "practice_book.txt", "calls_and_cases.md"], title="A Country Practice, Written Down at Leisure",
    loc=["surgery", "cowshed", "hay barn", "upper farm", "kennels", "dairy", "orchard", "duck pond", "market", "pigsty", "vicarage", "stable yard"],
    obj=["halter", "syringe", "bandage", "milk pail", "saddle", "thermometer", "pitchfork", "muzzle", "boot", "crook", "feed sack", "gate", "hoof knife", "bottle"],
    main=["the mare kicked over the {O}", "{P} held the calf while {P2} prayed", "a ewe got her head stuck in the {O}", "the goose chased {P} round the {L}", "{P}'s terrier swallowed half a {O}", "the pigs got out and made for the {L}", "a lame carthorse stood patiently by the {L}"],
    needles=[
        dict(say=["What cured the vicar's donkey in the end was {v}, given twice a day, and I claim no credit for it.", "In the end the vicar's donkey got well on {v} twice a day, for which I claim no credit."],
             decoy=["The colonel's bull was helped by {w}.", "For the hens {w} did wonders."], wvals=["warm ale", "a mustard poultice", "charcoal biscuits"],
             ask=["Which remedy made the vicar's donkey better?", "how did the donkey of the vicar get well - what was it given", "What was the donkey treated with successfully?"],
             vals=["cold nettle tea", "grated quince", "linseed jelly", "goat's whey"],
             key=lambda v: {"cold nettle tea": r"\bnettles?\b", "grated quince": r"\bquinces?\b", "linseed jelly": r"\blinseed\b", "goat's whey": r"\bwhey\b"}[v], ban=["donkey", "vicar", "nettle", "quince", "linseed", "whey", "cured"]),
        dict(say=["Farmer Threlkeld still owes me for {v} calvings, and I no longer expect to see the money.", "I no longer expect any money for the {v} calvings at Threlkeld's."],
             decoy=["At Ormerod's I attended {w} calvings, all of them paid for in eggs.", "I pulled {w} lambs in one week at the upper farm."], wvals=["29", "41", "33"],
             ask=["For how many births of calves has Threlkeld not paid?", "How many calvings are unpaid at Threlkeld's farm?", "threlkeld: number of calvings outstanding?"],
             vals=v_num(12, 28), key=k_num, ban=["Threlkeld", "calving", r"\d", "Ormerod"]),
        dict(say=["The first horse I ever lost was a roan called {v}, and I can show you the place where she lies.", "I can still show you where {v} lies, a roan, and the first horse I ever lost."],
             decoy=["The best jumper in the county was a bay called {w}.", "A grey by the name of {w} bit me twice."], wvals=["Thunder", "Duchess", "Mister Pym"],
             ask=["What was the name of the first horse that died in the vet's care?", "name of the first horse the author couldn't save", "The writer mentions the first horse he lost. What was it called?"],
             vals=["Calliope", "Saltash", "Mirabel", "Juniper"], key=lambda v: x_lit(v), ban=["roan", "Calliope", "Saltash", "Mirabel", "Juniper", "horse I"]),
        dict(say=["I was called out to {v} on the night of the great frost, and it proved to be a false alarm.", "On the night of the great frost it was to {v} that they called me, and all for a false alarm."],
             decoy=["In the week of the flood I was at {w}.", "The night before the wedding I spent at {w} with a colicky pony."], wvals=["Gorse Hall", "Pott's Mill", "Sandy Corner"],
             ask=["Where did the vet have to go when the great frost came?", "The false alarm in the frosty night: at which place was that?", "great frost night - which farm/house was the call to?"],
             vals=["Hangman's Acre", "Burnt Ash Farm", "Cold Harbour", "Nine Elms"], key=lambda v: x_lit(v.replace(" Farm", "")), ban=["frost", "false alarm", "Hangman", "Burnt Ash", "Cold Harbour", "Nine Elms"]),
    ])

N_FRAME = ["{q}", "{q}", "{q} It must be somewhere in the attached text.", "It's a long text, sorry. {q}", "I don't want a summary. {q}", "{q} One line is enough.",
           "Somewhere in the file it says so, but I can't find it: {q}", "No need to list or compare anything, I have a single question. {q}", "I've read each page twice and still missed it. {q}", "My aunt asks: {q}"]
N_HEAD = ["Chapter {n}", "{n}.", "* * *", "Part the {o}", "[page {p}]"]


def make_needle(name):
    S = NEEDLE[name]

    def gen(r):
        N = r.choice(S["needles"])
        draw = N["vals"] if callable(N["vals"]) else (lambda r: r.choice(N["vals"]))
        v = draw(r)
        rx = N["key"](v)
        num = N["key"] is k_num
        other = next(o for o in iter(lambda: draw(r), None) if not re.search(has(rx), o) and not re.search(has(N["key"](o)), v))
        n = r.randint(5100, 14300)
        low = [w for w in re.findall(r"[a-z]{4,}", v.lower()) if w not in ("morning", "evening", "afternoon", "behind", "under")]
        ban = N["ban"] + [r"\b" + w for w in low] + [re.escape(w) for w in N["wvals"]] + ([r"\b" + words_of(n_num(v)) + r"\b"] if num else [])
        sents = prose(r, S, n, ban)
        s = fill(r.choice(N["say"]), v=v)
        s = s[0].upper() + s[1:]
        pos = int(len(sents) * r.uniform(.06, .95))
        sents.insert(pos, s)
        wv = r.sample([w for w in N["wvals"] if not re.search(has(rx), w)], 2)
        for w, d in zip(wv, r.sample(N["decoy"], 2)):
            p = int(len(sents) * r.uniform(.03, .97))
            d = fill(d, w=w)
            sents.insert(p, d[0].upper() + d[1:])
        out, i, ch, style = [S["title"].upper(), ""], 0, 0, r.choice(N_HEAD)
        nums = "\\d" not in "".join(N["ban"])
        if not nums and style != "* * *":
            style = "* * *"
        while i < len(sents):
            ch += 1
            out.append(fill(style, n=ch, o=["First", "Second", "Third", "Fourth", "Fifth", "Sixth", "Seventh", "Eighth", "Ninth", "Tenth"][min(ch, 10) - 1], p=ch * 7 + 3))
            for _ in range(r.randint(6, 14)):
                k = r.randint(3, 9)
                if i < len(sents):
                    out.append(" ".join(sents[i:i + k]))
                i += k
        files = {r.choice(S["files"]): "\n\n".join(x for x in out if x) + "\n"}
        q = r.choice(N["ask"])
        if not q.endswith((".", "?")):
            q += r.choice(["", "?"])
        goal = messy(r, fill(r.choice(N_FRAME), q=q))
        right = [v, f"It was **{v}**.", s] + ([str(n_num(v))] if num else [])
        wrong = [f"It was {wv[0]}.", other, "The text does not say."]
        must = [has(rx)]
        return item(goal, files, must, right, wrong)

    gen.__name__ = "needle_" + slug(name)
    KINDS.setdefault("needle", []).append(gen)


for _n in NEEDLE:
    make_needle(_n)


# --------------------------------------------------------------------------
# 5. table
# --------------------------------------------------------------------------
# A column: (head, kind, values, sentences). kind: int (with unit in the sentence), money, date, time, word, name.
TABLE = {}
TABLE["shelter dogs"] = dict(
    what="dog", fn=["dog", "kennel"], unit_names="Bramble Pilot Zuzu Kaiser Marzipan Tinker Olive Fergus Dumpling Valko Sprout Nanook Hattie Rollo".split(),
    first=["This is {n}.", "{n} came to us from a house that was being sold.", "Meet {n}.", "{n} was found by the ring road."],
    cols=[("Age", "int", (2, 13), ["{n} is {v} years old.", "According to the papers {n}'s age is {v}.", "{n} has seen {v} summers, so {v} years it is."]),
          ("Weight", "int", (14, 58), ["On our scales {n} came to {v} kilos.", "The weight is {v} kg.", "We weighed {n} on arrival, {v} kg."]),
          ("Breed", "word", ["whippet", "boxer", "spitz", "collie", "pointer", "beagle", "terrier", "dachshund"], ["{n} is a {v}.", "By breed {n} is a {v}, or near enough.", "The vet says we have a {v} here."]),
          ("Fee", "money", (9000, 32000, 500), ["The adoption fee is {v}.", "We ask {v} for the adoption.", "Whoever takes {n} home pays a fee of {v}."]),
          ("Carer", "name", None, ["{v} looks after {n} here.", "The carer is {v}.", "Ask for {v}, who is the carer."])],
    fill=["Long walks are a delight.", "Cats are not appreciated.", "The coat needs brushing.", "Thunder is a trial.", "There is a fondness for slippers.", "Children should be gentle.", "A garden would be lovely but isn't a must.", "House-trained, on the whole.", "The bark is worse than the bite.", "Vaccinations are up to date.", "Loves to ride in cars.", "Sausages work wonders.", "Sleeps on the left side of every sofa.", "Shy with strangers at first."])
TABLE["lighthouses"] = dict(
    what="lighthouse", fn=["light", "station"], unit_names=["Gull Skerry", "Cape Morrow", "Ness Point", "Saint Ebba", "Tolven Head", "Black Nab", "Farrow Bank", "Isla Perdida", "Holmen", "Wester Ruff", "Long Stack", "Calf Rock"],
    first=["{n} can be seen from a long way off.", "The light at {n} stands on bare rock.", "I visited {n} on a windy afternoon.", "{n} is not easily reached."],
    cols=[("Height", "int", (14, 63), ["The tower is {v} metres high.", "From base to lantern it measures {v} metres.", "With its {v} metres in height the tower is imposing enough."]),
          ("Built", "year", (1771, 1913), ["It was built in {v}.", "The tower was finished in {v}.", "Masons completed the tower in {v}."]),
          ("Keeper", "name", None, ["The last keeper was {v}.", "Its last keeper, {v}, left a diary.", "{v} was the last to keep the light."]),
          ("Colour", "word", ["white", "red", "yellow", "black", "grey", "orange"], ["The tower is painted {v}.", "Its colour is {v}.", "Somebody painted the tower {v} long ago, and so it is still."]),
          ("Range", "int", (11, 34), ["The light carries {v} nautical miles.", "Its range is {v} nautical miles.", "On a clear night it can be made out at {v} nautical miles."])],
    fill=["Puffins nest below.", "The stairs are steep.", "A rope is advisable.", "The lens is a thing of beauty.", "Sheep graze right up to the wall.", "The fog signal has fallen silent.", "Bring a sandwich.", "The door needs a shove.", "The view is all sea and sky.", "Paint flakes off on the weather side.", "The boatman talks a good deal.", "One can stay overnight in the oil store.", "Seals look on.", "The garden wall still stands."])
TABLE["hive inspections"] = dict(
    what="hive", fn=["hive", "inspection"], unit_names=["Hive Aster", "Hive Borage", "Hive Clover", "Hive Dill", "Hive Erica", "Hive Fennel", "Hive Gorse", "Hive Hyssop", "Hive Iris", "Hive Jasmine", "Hive Lupin", "Hive Mallow"],
    first=["Looked into {n} before lunch.", "{n} today.", "Smoke on, lid off: {n}.", "{n} was humming when I came."],
    cols=[("Date", "date", None, ["The inspection was on {v}.", "I opened it on {v}.", "Seen on {v}."]),
          ("Frames of brood", "int", (2, 11), ["I counted {v} frames of brood.", "There is brood on {v} frames.", "Brood: {v} frames, nicely closed."]),
          ("Queen colour", "word", ["blue", "white", "yellow", "red", "green"], ["The queen carries a {v} dot.", "The queen is marked {v}.", "I saw the queen with her {v} mark."]),
          ("Temper", "word", ["calm", "nervous", "aggressive", "sleepy"], ["The temper was {v}.", "I would call the bees {v} today.", "As to temper: {v}."]),
          ("Mites", "int", (12, 80), ["The board showed {v} mites.", "I found {v} mites on the board.", "Mite drop was {v}."])],
    fill=["Plenty of pollen coming in.", "A little chalk on the floor.", "The lid sticks.", "Willow is in flower.", "I gave them a clean floor.", "No swarm cells.", "The neighbour watched from behind the hedge.", "Forgot my gloves.", "The entrance block stays in.", "Nice pattern, nothing to worry about.", "Some burr comb scraped off.", "Heavy enough, no feeding.", "Wind got up in the end.", "One sting, my own fault."])
TABLE["choir auditions"] = dict(
    what="candidate", fn=["audition", "notes"], unit_names=None,
    first=["{n} sang for us in the side chapel.", "Next came {n}.", "{n} had travelled a long way.", "{n} was early and nervous."],
    cols=[("Voice", "word", ["soprano", "alto", "tenor", "bass"], ["{n} is a {v}.", "The voice is that of a {v}.", "Wants to join us as a {v}."]),
          ("Age", "int", (19, 68), ["{n} is {v} years old.", "The age on the form is {v}.", "Aged {v}."]),
          ("Piece", "word", ["Schubert", "Purcell", "Dowland", "Brahms", "Grieg", "Bellini"], ["The audition piece was by {v}.", "We heard something by {v}.", "Sang {v}, and by heart."]),
          ("Points", "int", (31, 97), ["The jury gave {v} points.", "In the end it was {v} points.", "The jury's verdict was {v} points."]),
          ("Town", "word", ["Ardley", "Quenby", "Stoke Peverel", "Llanfor", "Misterton", "Thraxby"], ["Home is {v}.", "{n} lives in {v}.", "Comes to us from {v}."])],
    fill=["A cold was mentioned.", "The vowels are lovely.", "Sight-reading went well enough.", "The piano was out of tune.", "We would like to hear more.", "Breath could be steadier.", "Smiles while singing.", "A good ear.", "The clapping exercise went wrong and right again.", "Has sung in a school choir.", "Can't come on bank holidays.", "Asked about robes.", "The top notes shone.", "Knows some of us already."])
TABLE["hall hire"] = dict(
    what="hall", fn=["hall", "offer"], unit_names=["Assembly Rooms", "Butter Hall", "Chandlers' Hall", "Dovecote Barn", "Eagle Loft", "Friends' Meeting House", "Guild Chamber", "Hop Store", "Ivy Pavilion", "Jubilee Hall", "Keel House", "Lantern Room"],
    first=["Thank you for asking about the {n}.", "The {n} could be yours for the day.", "I went to see the {n}.", "About the {n}:"],
    cols=[("Price", "money", (18000, 145000, 500), ["The hire for a day is {v}.", "It costs {v} a day.", "They want {v} per day."]),
          ("Seats", "int", (45, 420), ["There are seats for {v}.", "It seats {v} people.", "We counted {v} chairs, which is all that is allowed."]),
          ("Contact", "name", None, ["The contact is {v}.", "Bookings are handled by {v}.", "Talk to {v} for bookings."]),
          ("Opens", "time", (7, 11), ["The doors are unlocked at {v}.", "One can get in from {v}.", "It opens at {v}."]),
          ("Heating", "word", ["gas", "electric", "oil", "wood"], ["The heating is {v}.", "As for heating, it is {v}.", "They heat with a {v} boiler."])],
    fill=["The floor is fine for dancing.", "Echo at the back.", "Parking is a matter of luck.", "The kitchen has more spoons than forks.", "The piano is locked.", "No confetti, they say.", "Curtains are heavy and red.", "A ramp leads to the side door.", "The stage creaks.", "Bats live in the roof and mustn't be disturbed.", "You take your rubbish with you.", "The lamps can be dimmed.", "The lavatories are new.", "Neighbours like it quiet after dark."])
TABLE["quarry machines"] = dict(
    what="machine", fn=["machine", "card"], unit_names=["Loader Bertha", "Crusher Nils", "Drill Agnes", "Dumper Roy", "Excavator Tove", "Screen Paula", "Grader Hugo", "Loader Fritz", "Dumper Enid", "Drill Walter"],
    first=["Service note on {n}.", "{n} was in the workshop again.", "Had a look at {n}.", "{n} runs, with reservations."],
    cols=[("Hours", "int", (1200, 19800), ["The clock shows {v} hours.", "It has run {v} hours.", "Running time so far is {v} hours."]),
          ("Last service", "date", None, ["The last service was on {v}.", "It was last serviced on {v}.", "Oil and filters were last done on {v}, with the service."]),
          ("Fitter", "name", None, ["The fitter was {v}.", "{v} did the work.", "Work done by our fitter {v}."]),
          ("Cost", "money", (11000, 960000, 50), ["The repair cost {v}.", "We paid {v} for the repair.", "The repair bill was {v}."]),
          ("State", "word", ["good", "fair", "poor", "critical"], ["Its state is {v}.", "I would call its condition {v}.", "Overall condition: {v}."])],
    fill=["One tyre is bald.", "The seat has been patched with tape.", "Grease nipples were dry.", "The horn works, and how.", "A hose was weeping.", "The cab smells of dog.", "Mirrors adjusted.", "The bucket has a new lip.", "Someone lost a thermos in it.", "Paint is coming off.", "The beacon was replaced.", "Starts badly in frost.", "The operator is happy.", "The radio is stuck on one station."])

T_GOALS = [
    "Make a table with the columns {cols}, one row per {what}.",
    "Please put the files into a table: {cols}. One line for each file.",
    "table pls. columns: {cols}. one row a file",
    "I need an overview of all the {what}s as a Markdown table with exactly these columns, in this order: {cols}.",
    "Could you go through each file and fill in a table for me? The head should read {cols}. Nothing else, no commentary.",
    "So I've got {k} little texts and my boss wants a table out of them ({cols}). Can you do that? Each {what} gets one row, the order of the rows doesn't matter.",
    "Compare the {what}s side by side: {cols}. As a table, one row for each.",
    "List every {what} in a table. The columns are {cols}, in that order.",
]


def p_value(r, kind, par, pool):
    if kind == "int":
        return r.randint(*par)
    if kind == "year":
        return r.randint(*par)
    if kind == "money":
        return r.randrange(par[0], par[1] + 1, par[2])
    if kind == "date":
        return dt.date(r.choice([2023, 2024, 2025]), r.randint(1, 12), r.randint(1, 28))
    if kind == "time":
        return r.randint(par[0], par[1]) * 60 + r.choice([0, 15, 30, 45])
    if kind == "name":
        return pool.pop()
    return r.choice(par)


def p_say(r, kind, v):
    return {"int": lambda: intstr(r, v) if r.random() < .8 else str(v), "year": lambda: str(v), "money": lambda: money(r, v),
            "date": lambda: datestr(r, v), "time": lambda: clock(r, v)}.get(kind, lambda: v)()


def p_plain(kind, v, alt=False):
    if kind == "money":
        return f"{v // 100}.{v % 100:02d}" if not alt else f"€{thou(v // 100)}.{v % 100:02d}"
    if kind == "date":
        return v.isoformat() if not alt else f"{v.day} {MONTHS[v.month - 1]} {v.year}"
    if kind == "time":
        return f"{v // 60:02d}:{v % 60:02d}" if not alt else f"{(v // 60 - 1) % 12 + 1}:{v % 60:02d} {'am' if v < 720 else 'pm'}"
    return str(v) if not (alt and kind == "int") else thou(v)


def p_rx(kind, v):
    return {"int": x_int, "year": lambda v: x_int(v, False), "money": x_money, "date": x_date, "time": x_time, "name": x_name,
            "word": x_lit}[kind](v)


def make_table(name):
    S = TABLE[name]

    def gen(r):
        k = r.randint(4, 10)
        pool = people(r, 40)
        names = r.sample(S["unit_names"], k) if S["unit_names"] else [pool.pop() for _ in range(k)]
        extra = r.randint(1, 4)
        cols = r.sample(S["cols"], extra)
        vals = [{c[0]: p_value(r, c[1], c[2], pool) for c in S["cols"]} for _ in names]
        gap = None
        if r.random() < .25 and extra > 1:
            gap = (r.randrange(k), r.choice(cols)[0])
        files = {}
        style = r.choice(["num", "name"])
        order = list(range(k))
        for i in order:
            s = []
            for c in S["cols"]:
                if gap == (i, c[0]) or (c not in cols and r.random() < .25):
                    continue
                s.append(tidy(fill(r.choice(c[3]), n=names[i] if S["what"] != "hall" else "the " + names[i], v=p_say(r, c[1], vals[i][c[0]]))))
            s += r.sample(S["fill"], r.randint(2, 6))
            r.shuffle(s)
            first = fill(r.choice(S["first"]), n=names[i])
            fn = f"{r.choice(S['fn'][:1])}_{i + 1:02d}.txt" if style == "num" else slug(names[i]) + ".txt"
            files[fn] = paras(r, [first] + weave(r, s), 3, 6) + "\n"
        heads = ["Name"] + [c[0] for c in cols]
        rxs = {"Name": lambda i: x_lit(names[i]) if S["unit_names"] else x_name(names[i])}
        for c in cols:
            rxs[c[0]] = (lambda c: lambda i: p_rx(c[1], vals[i][c[0]]))(c)
        if S["unit_names"] and S["what"] == "hive":
            rxs["Name"] = lambda i: x_lit(names[i].split()[1])
        if S["what"] in ("machine",):
            rxs["Name"] = lambda i: x_lit(names[i].split()[1])
        if r.random() < .3 and len(heads) > 2:
            rest = heads[1:]
            r.shuffle(rest)
            heads = heads[:1] + rest
        colstr = r.choice([", ".join(heads), " | ".join(heads), ", ".join(heads[:-1]) + " and " + heads[-1], "; ".join(heads)])
        goal = fill(r.choice(T_GOALS), cols=colstr, what=S["what"], k=words_of(k))
        if gap:
            goal += r.choice([" If something isn't stated, put a dash.", " Where a text doesn't say, write - in the cell.", " Missing information: just a dash (-), please don't guess."])
        goal = messy(r, goal, typos=False)
        SEP = r"[^\n]{0,60}?[|\t;,][^\n]{0,60}?"
        must = [r"(?im)^[^\n]*?" + SEP.join(x_lit(h).replace(r"(?!\w)", "") for h in heads)]
        dash = (r"(?:[|\t;,]\s*\**(?:[-–—]+|n\.?/?a\.?|not (?:stated|given|mentioned|available|specified|known)|none|unknown|missing|\?)\**"
                r"\s*(?=[|\t;,\n]|\Z)|\|\s*(?=\|))")
        for i in range(k):
            row = r"(?im)^[^\n]*?" + rxs["Name"](i)
            for h in heads[1:]:
                if gap == (i, h):
                    row += r"[^|\n]{0,60}?" + dash
                else:
                    row += SEP + rxs[h](i)
            must.append(row)
        kinds = {c[0]: c[1] for c in cols}

        def table(alt, v=vals, nm=names):
            t = "| " + " | ".join(heads) + " |\n|" + "---|" * len(heads) + "\n"
            idx = order if not alt else order[::-1]
            for i in idx:
                t += "| " + " | ".join(nm[i] if h == "Name" else "-" if gap == (i, h) else p_plain(kinds[h], v[i][h], alt) for h in heads) + " |\n"
            return t

        right = [table(False), "Here is the table:\n\n" + table(True)]
        w1 = [dict(v) for v in vals]
        diff = [(a, b, h) for a in range(k) for b in range(a) for h in heads[1:] if vals[a][h] != vals[b][h] and gap not in ((a, h), (b, h))]
        if not diff:
            raise Retry
        a, b, h = r.choice(diff)
        w1[a][h], w1[b][h] = vals[b][h], vals[a][h]
        lines = table(False).splitlines()
        wrong = [table(False, w1), "\n".join(lines[:-1]), "\n".join(f"{n}: see file" for n in names)]
        if gap:
            i, h = gap
            t = lines[2 + i].split(" | ")
            c = next(c for c in cols if c[0] == h)
            gv = p_plain(c[1], vals[i][h])
            cells = [x.strip() for x in lines[2 + i].strip("| ").split(" | ")]
            cells[heads.index(h)] = gv
            wrong.append("\n".join(lines[:2 + i] + ["| " + " | ".join(cells) + " |"] + lines[3 + i:]))
        return item(goal, files, must, right, wrong)

    gen.__name__ = "table_" + slug(name)
    KINDS.setdefault("table", []).append(gen)


for _n in TABLE:
    make_table(_n)


# --------------------------------------------------------------------------
# 6. rank
# --------------------------------------------------------------------------
RANK = {}
RANK["rehearsal rooms"] = dict(
    what="room", files="room", names=["Kiln Yard Studio", "Tannery Loft", "Saint Jude's Crypt", "Basement Nine", "The Hayrack", "Plum Street Annexe", "Ropewalk Hall", "Old Fire Station", "Miller's Attic", "Cable House", "Vestry Two", "The Glasshouse", "Signal Box Room",
                                      "Cooper's Shed", "Quayside Cabin", "Orchard Pavilion", "Bell Foundry", "The Dye Works", "Printer's Den", "Granary Floor"],
    first=["Thank you for your interest in {n}.", "{n} is looking for musicians.", "A word about {n}.", "We went to look at {n}."],
    metric=("money", (14000, 98000, 500), "the monthly rent", ["The rent is {v} a month.", "Each month you would pay {v}.", "We ask for {v} per month, bills included."], "low",
            ["cheapest", "lowest monthly rent"]),
    nums=[("floor space", (22, 140), "m²", ["The floor measures {v} square metres.", "It offers {v} m² of floor.", "There are {v} square metres to move about in."]),
          ("distance to the station", (3, 40), "minutes on foot from the station", ["From the station it is {v} minutes on foot.", "You walk {v} minutes from the station.", "It lies {v} minutes' walk from the station."])],
    feats=[("a piano", ["A piano stands ready.", "There is a piano, tuned last spring.", "The piano stays in the room and may be used."], ["There is no piano.", "You would have to bring your own piano, as there isn't one.", "We sold the piano."]),
           ("step-free access", ["The entrance is step-free.", "You get in without a single step.", "Access is step-free throughout."], ["Access is by a flight of steps only.", "There are eleven steps to climb, and no lift.", "It is not step-free, I'm afraid."])],
    fill=["The neighbours are fond of music.", "The light is good in the afternoon.", "Somebody has left a drum kit.", "The kettle is shared.", "It smells faintly of varnish.", "A bicycle stand is round the corner.", "The walls are thick.", "Keys are handed out by the caretaker.", "There's a bakery opposite.", "Paint is fresh.", "No smoking, naturally.", "The ceiling is high and the echo short."])
RANK["used tractors"] = dict(
    what="tractor", files="tractor", names=["Fordson Belle", "Green Hanno", "Massey Mule", "Little Deutz", "Zetor Prince", "Blue Leyland", "Old Fendt", "Steyr Gretl", "Red Ursus", "Grey Fergie", "Belarus Bear", "Lanz Thunder", "Valmet Viking", "Same Tiger", "Hurlimann Jo", "Nuffield Ned"],
    first=["For sale: {n}.", "We part with {n} reluctantly.", "{n} has been in the family for ages.", "You asked about {n}."],
    metric=("money", (150000, 1900000, 5000), "the price", ["I want {v} for it.", "The price is {v}.", "It can be had for {v}."], "low", ["cheapest", "lowest price"]),
    nums=[("power", (28, 140), "hp", ["The engine makes {v} hp.", "It has {v} horsepower.", "With {v} hp it pulls nicely."]),
          ("running hours", (1400, 14500), "running hours", ["The clock stands at {v} hours.", "It has {v} running hours behind it.", "So far it has done {v} hours."])],
    feats=[("a front loader", ["A front loader comes with it.", "It has a front loader.", "The front loader is included and works."], ["There is no front loader.", "It comes without a front loader.", "The front loader went to my brother."]),
           ("a cab", ["The cab keeps the rain out.", "It has a cab with a heater.", "There is a cab on it."], ["It has no cab.", "There's no cab, so wear a hat.", "The cab was taken off and scrapped."])],
    fill=["It starts on the first turn, mostly.", "The paint is honest.", "Rear tyres have life in them.", "Papers are in order.", "No leaks worth mentioning.", "The seat has been re-covered.", "Hens have slept in it.", "Come and see for yourself.", "Delivery can be arranged.", "The hitch has been welded.", "My father loved it.", "The lamps work."])
RANK["boarding kennels"] = dict(
    what="place", files="kennel", names=["Wagtail Lodge", "Happy Paws Farm", "Cedar Kennels", "The Dog House", "Barking Hall", "Sunny Bank", "Four Feathers", "Muddy Meadow", "Tail End", "Fetch and Rest", "Beechwood Pets", "Whisker Manor", "The Snug", "Hound's Hollow", "Riverside Boarding"],
    first=["Welcome to {n}.", "{n} takes dogs all the year round.", "I rang {n} for you.", "At {n} every dog has a name."],
    metric=("money", (1400, 6200, 50), "the price per night", ["A night costs {v}.", "They charge {v} a night.", "The price per night is {v}, food included."], "low", ["cheapest", "lowest price per night"]),
    nums=[("run size", (6, 60), "m²", ["Each run has {v} square metres.", "The runs measure {v} m².", "A dog gets a run of {v} square metres."]),
          ("drive", (8, 75), "minutes' drive away", ["It's a drive of {v} minutes.", "By car you need {v} minutes.", "You'd be {v} minutes on the road."])],
    feats=[("a vet on call at night", ["A vet is on call at night.", "At night they can call a vet who lives next door.", "There's a vet on call through the night."], ["No vet is on call at night.", "At night there is no vet.", "They can't get a vet at night."]),
           ("webcams", ["You can watch your dog by webcam.", "There are webcams in the runs.", "Webcams are installed."], ["There are no webcams.", "Webcams they don't have.", "They have done away with the webcams."])],
    fill=["The owner breeds spaniels.", "Bring your own blanket.", "Walks are in small groups.", "The grass is real.", "Raw food is no problem.", "They like to have a chat first.", "Quiet hours are kept.", "A deposit is asked for in summer.", "Old dogs sleep indoors.", "Grooming can be added.", "They've been in business for ages.", "It looked clean."])
RANK["deckhand applicants"] = dict(
    what="applicant", files="applicant", names=None,
    first=["Interview with {n}.", "{n} came in uniform.", "Spoke to {n} on the quay.", "{n} was recommended by the pilot."],
    metric=("int", (2, 31), "years at sea", ["That makes {v} years at sea.", "{n} has spent {v} years at sea.", "Sea time so far: {v} years."], "high", ["most years at sea", "longest time at sea"]),
    nums=[("wage wanted", (2100, 3900), "euros a month wanted", ["The wage asked for is {v} euros a month.", "{n} wants {v} euros a month.", "Would come for {v} euros per month."]),
          ("notice", (1, 24), "weeks' notice", ["The notice to be given is {v} weeks.", "Could start in {v} weeks.", "Is bound for another {v} weeks and can start then."])],
    feats=[("a radio certificate", ["Holds a radio certificate.", "The radio certificate is valid.", "Has the radio certificate, I saw it."], ["Has no radio certificate.", "The radio certificate is lacking.", "Never took the radio certificate."]),
           ("a fire-fighting course", ["Did the fire-fighting course last year.", "The fire-fighting course has been passed.", "Has passed the fire-fighting course."], ["Has not done the fire-fighting course.", "No fire-fighting course so far.", "Failed the fire-fighting course and hasn't repeated it."])],
    fill=["A firm handshake.", "Gets on with passengers.", "Swims well.", "Cooks a little.", "Asked sensible questions.", "Knows the islands.", "Plays the concertina.", "No trouble with heights.", "Was on time.", "References are friendly.", "Doesn't mind nights.", "Has a cousin on the dredger."])
RANK["allotment sheds"] = dict(
    what="greenhouse", files="greenhouse", names=["Model Aurora", "Model Boreas", "Model Cicero", "Model Dahlia", "Model Elba", "Model Fresco", "Model Ginkgo", "Model Halden", "Model Indigo", "Model Jutta", "Model Kestrel", "Model Lindau", "Model Mistral", "Model Nimbus", "Model Osprey", "Model Pomona"],
    first=["{n} has been our best seller.", "Some words on {n}.", "Gardeners ask for {n} every spring.", "{n}: a greenhouse for the patient."],
    metric=("int", (6, 48), "the floor area in square metres", ["Its floor area is {v} square metres.", "It covers {v} m².", "Inside you have {v} square metres."], "high", ["largest", "biggest floor area"]),
    nums=[("price", (480, 7900), "euros", ["It costs {v} euros.", "The price is {v} euros.", "Yours for {v} euros."]),
          ("delivery time", (1, 16), "weeks' delivery time", ["Delivery takes {v} weeks.", "It arrives {v} weeks after the order.", "You wait {v} weeks for it."])],
    feats=[("safety glass", ["The panes are safety glass.", "It is glazed with safety glass.", "Safety glass throughout."], ["The panes are ordinary glass, not safety glass.", "No safety glass is available for it.", "It has plastic sheets instead of safety glass."]),
           ("a double door", ["It has a double door.", "You enter by a double door.", "A double door lets the barrow in."], ["It has a single door, not a double one.", "There is no double door.", "The door is a narrow single one."])],
    fill=["The frame comes in green.", "Gutters are included.", "Put it on level ground.", "Tomatoes love it.", "Two people can put it up in a day.", "Snow slides off.", "Shelves cost extra.", "The vents open by themselves.", "Screws are stainless.", "The instructions are clear.", "It rattles a bit in a gale.", "A base frame is part of the set."])

R_BEST = ["Which {what} is the {sup} of those with {c}? Just the name.", "Which {what} has the {sup2}, if it must have {c}?", "best {what} pls: {sup2}, must have {c}. name only",
          "I need {c}. Among the ones that have that, which is the {sup}? Only its name please.", "Compare the {what}s and tell me which one to take. Conditions: {c}. What counts is {met} ({dir}). One name, no list.",
          "We've got {k} of these and I can't face reading each. Conditions are {c}; after that I only care about {met} ({dir}). Which one? Name only.",
          "Out of all these, what's the {sup} {what} that offers {c}? Name is enough."]
R_TOP = ["Name the top three {what}s by {met} ({dir}), in order, counting only those with {c}.", "List the three best {what}s: {sup2} first. They must have {c}. Just the three names in order.",
         "top 3 by {met}, {dir}, only {what}s with {c}. names in order, nothing else", "I want a shortlist of three, in order, judged by {met} ({dir}). Anything without {c} is out. Names only please.",
         "Compare each {what} and give me the first, second and third by {met} ({dir}); conditions: {c}. Only three names."]


def make_rank(name):
    S = RANK[name]

    def gen(r):
        k = r.randint(6, min(18, len(S["names"] or range(18))))
        pool = people(r, 30)
        names = r.sample(S["names"], k) if S["names"] else pool[:k]
        kind, rng_, met, say, direc, sups = S["metric"]
        top3 = r.random() < .35
        for _ in range(3000):
            if kind == "money":
                m = [r.randrange(rng_[0], rng_[1] + 1, rng_[2]) for _ in names]
            else:
                m = [r.randint(*rng_) for _ in names]
            num = [[r.randint(*n[1]) for n in S["nums"]] for _ in names]
            ft = [[r.random() < .6 for _ in S["feats"]] for _ in names]
            conds = []
            pick = r.choice([[("f", 0)], [("f", 1)], [("n", 0)], [("f", 0), ("n", 0)], [("f", 1), ("n", 1)], [("f", 0), ("f", 1)], [("n", 1)]])
            for t, j in pick:
                if t == "f":
                    conds.append((t, j, None, None))
                else:
                    xs = sorted(x[j] for x in num)
                    lim = r.choice(xs[len(xs) // 4: 3 * len(xs) // 4 + 1])
                    if r.random() < .5:
                        lim = lim // 5 * 5 if lim > 20 else lim
                    if lim > 300:
                        lim = lim // 100 * 100
                    n = S["nums"][j]
                    up = (n[0] in ("floor space", "power", "run size"))
                    conds.append((t, j, lim, up))

            def ok(i):
                for t, j, lim, up in conds:
                    if t == "f" and not ft[i][j]:
                        return False
                    if t == "n" and not (num[i][j] >= lim if up else num[i][j] <= lim):
                        return False
                return True

            good = [i for i in range(k) if ok(i)]
            good.sort(key=lambda i: m[i], reverse=direc == "high")
            allb = sorted(range(k), key=lambda i: m[i], reverse=direc == "high")
            if len(set(m)) < len(m) and kind != "int" or len({m[i] for i in good}) < len(good):
                continue
            if not top3 and len(good) >= 2 and len(good) < k and allb[0] != good[0] and m[allb[0]] != m[good[0]]:
                break
            if top3 and 4 <= len(good) < k and allb[0] not in good[:1]:
                break
        else:
            raise Retry
        files = {}
        for i, n in enumerate(names):
            s = [tidy(fill(r.choice(say), n=n, v=money(r, m[i]) if kind == "money" else intstr(r, m[i])))]
            for j, nn in enumerate(S["nums"]):
                s.append(tidy(fill(r.choice(nn[3]), n=n, v=intstr(r, num[i][j]))))
            for j, f in enumerate(S["feats"]):
                s.append(r.choice(f[1] if ft[i][j] else f[2]))
            s += r.sample(S["fill"], r.randint(2, 7))
            r.shuffle(s)
            files[f"{S['files']}_{i + 1:02d}.txt"] = paras(r, [fill(r.choice(S["first"]), n=n)] + weave(r, s), 3, 6) + "\n"

        def cstr(c):
            t, j, lim, up = c
            if t == "f":
                return S["feats"][j][0]
            nn = S["nums"][j]
            lo = r.choice(["at least", "no less than"]) if up else r.choice(["at most", "no more than", "a maximum of"])
            if nn[2] == "m²":
                return f"{lo} {lim} m² " + ("of floor space" if nn[0] == "floor space" else "per run")
            if nn[0] == "power":
                return f"{lo} {lim} hp"
            if nn[0] == "price":
                return f"a price of {lo} {thou(lim)} euros"
            if nn[0] == "wage wanted":
                return f"a wage wish of {lo} {thou(lim)} euros a month"
            if nn[0] == "notice":
                return f"{lo} {lim} weeks until they can start"
            if nn[0] == "delivery time":
                return f"a delivery time of {lo} {lim} weeks"
            if nn[0] == "drive":
                return f"a drive of {lo} {lim} minutes"
            if nn[0].startswith("distance"):
                return f"{lo} {lim} minutes' walk from the station"
            return f"{lo} {thou(lim)} {nn[2]}"

        c = " and ".join(cstr(x) for x in conds)
        d = {"low": r.choice(["lowest first", "the lower the better"]), "high": r.choice(["highest first", "the higher the better"])}[direc]
        sup, sup2 = sups
        if S["what"] == "applicant":
            sup = "one with the " + sups[0]
        tmpl = r.choice(R_TOP if top3 else R_BEST)
        kk = dict(what=S["what"], sup=sup, sup2=sup2, c=c, met=met, dir=d, k=words_of(k))
        if S["what"] == "applicant":
            tmpl = tmpl.replace("the {sup} {what}", "the applicant with the {sup2}").replace("is the {sup}", "has the {sup2}").replace("the {sup} of those", "the {sup2} of those").replace(" that offers ", ", given ").replace("Only its name", "Only the name").replace("if it must have", "if they must have")
        goal = messy(r, fill(tmpl, **kk), post=r.random() < .5)

        def rx(i):
            n = names[i]
            a = x_lit(re.sub(r"^(The|Model) ", "", n)) if S["names"] else x_name(n)
            return "(?:" + a + "|" + S["files"] + r"[_\s]0?" + str(i + 1) + r"(?!\d))"

        win = good[0]
        bad = [i for i in range(k) if i != win]
        if top3:
            w3 = good[:3]
            rest = [i for i in range(k) if i not in w3]
            must = top_n([rx(i) for i in w3], [rx(i) for i in rest])
            right = [", ".join(names[i] for i in w3), "\n".join(f"{a + 1}. **{names[i]}**" for a, i in enumerate(w3))]
            wrong = [", ".join(names[i] for i in (w3[1], w3[0], w3[2])), ", ".join(names[i] for i in allb[:3]) if allb[:3] != w3 else names[rest[0]], names[win]]
        else:
            must = best_of(rx(win), [rx(i) for i in bad], direc == "low")
            right = [names[win], f"**{names[win]}** is the one.", f"{names[win]} - the overall {sups[0]} would be {names[allb[0]]}, but it doesn't meet the conditions."]
            wrong = [names[allb[0]], f"{names[good[1]]} is the best choice.", f"{names[allb[0]]} is the {sups[0]}, ahead of {names[win]}."]
        return item(goal, files, must, right, wrong)

    gen.__name__ = "rank_" + slug(name)
    KINDS.setdefault("rank", []).append(gen)


for _n in RANK:
    make_rank(_n)


# --------------------------------------------------------------------------
# 7. chain
# --------------------------------------------------------------------------
def chain_item(r, goal, files, right_rx, wrong_rx, right, wrong):
    must = [has(right_rx)]
    if wrong_rx:
        must.append(hasnt(any_of(wrong_rx)))
    ks = list(files)
    r.shuffle(ks)
    return item(messy(r, goal), {k: files[k] for k in ks}, must, right, wrong + ["I don't know."])


def phone(r):
    return r.randint(1001, 8999)


@scene("chain")
def chain_ferry(r):
    ships = r.sample(["Gannet", "Lady Maud", "Solveig", "Otter", "Tern", "Kittiwake"], 4)
    ports = r.sample(["Skarholm", "Inver Point", "Mellan", "Port Aske", "Tarbin", "Oyster Quay"], 4)
    caps = people(r, 5)
    ext = r.sample(range(1100, 8900), 5)
    times = r.sample(range(6 * 60, 20 * 60, 15), 8)
    times.sort()
    rows = [(clock(r, t, "24"), ports[i % 4], ships[r.randrange(4)]) for i, t in enumerate(times)]
    f, _ = pick_fmt(r)
    weekcap = list(range(4))
    r.shuffle(weekcap)
    crew = ["Crew notice for this week.", ""] + [""]
    parts = []
    idx = list(range(4))
    r.shuffle(idx)
    for i in idx:
        parts.append(fill(r.choice(["The {s} is in the hands of {c} until further notice.", "On the {s} the captain is {c}.", "{c} commands the {s}.", "As captain of the {s} we have {c}."]), s=ships[i], c=caps[weekcap[i]]))
    parts.insert(r.randint(0, 4), f"{caps[4]} is on leave and commands nothing at all.")
    parts.insert(r.randint(0, 5), "Life jackets are to be counted before every sailing.")
    parts.insert(r.randint(0, 5), "The mess will serve fish on all days, as the freezer is full.")
    crew = "Crew notice\n\n" + " ".join(parts) + "\n"
    dirl = list(range(5))
    r.shuffle(dirl)
    style = r.choice(["list", "csv"])
    if style == "list":
        tel = "Internal telephone list\n\n" + "\n".join(f"{caps[i].split()[1]}, {caps[i].split()[0]} ....... {ext[i]}" for i in dirl) + "\n"
    else:
        tel = table_text(["name", "extension"], [(caps[i], ext[i]) for i in dirl], "csv")
    files = {"timetable." + EXT[f]: table_text(["departs", "to", "ship"], rows, f), "crew_notice.txt": crew, ("phones.txt" if style == "list" else "phones.csv"): tel}
    if r.random() < .5:
        files["tariff.txt"] = "Tariff\n\nBicycles travel free. Dogs pay as children do. Lorries need to book ahead, and the purser decides in doubtful cases.\n"
    q = r.randrange(len(rows))
    s = ships.index(rows[q][2])
    c = weekcap[s]
    t = clock(r, times[q], r.choice(["24", "12"]))
    if r.random() < .75:
        g = fill(r.choice(["What's the phone extension of the captain on the {t} to {p}?", "I left my umbrella on the {t} sailing to {p}. Which extension do I dial to get hold of the captain?", "{t} ferry to {p} - captain's extension?",
                           "Please compare timetable, crew notice and phone list and tell me under which number I reach whoever commands the {t} boat to {p}.", "Not each captain, only the one who takes the {t} to {p}: what is the extension?"]), t=t, p=rows[q][1])
        x = ext[c]
        return chain_item(r, g, files, x_int(x, False), [x_int(e, False) for e in ext if e != x], [str(x), f"Extension **{x}** ({caps[c]})."], [str(ext[(c + 1) % 5]), f"{x + 1}"])
    g = fill(r.choice(["Who is the captain of the {t} to {p}?", "captain on the {t} sailing to {p}? name", "I'd like to thank the captain who sails at {t} for {p}. What is their name?", "Name of whoever commands the ship that leaves for {p} at {t}?", "Don't list all crews, just the captain of the {t} for {p}."]), t=t, p=rows[q][1])
    return chain_item(r, g, files, x_name(caps[c]), [x_name(z) for z in caps if z != caps[c]], [caps[c], f"**{caps[c]}**, on the {rows[q][2]}."], [caps[(c + 1) % 5], caps[4]])


@scene("chain")
def chain_lab(r):
    n = 8
    smp = [f"{r.choice('KLM')}{r.randint(100, 999)}-{i}" for i in range(n)]
    boxes = r.sample(["amber", "blue", "coral", "green", "ivory", "violet"], 5)
    inb = [r.randrange(5) for _ in range(n)]
    fz = r.sample(["Polaris", "Yeti", "Amundsen", "Fram", "Igloo"], 5)
    infz = r.sample(range(5), 5)
    who = people(r, 5)
    rooms = r.sample(["B104", "B207", "C012", "C118", "A031", "D220"], 5)
    f, _ = pick_fmt(r)
    s1 = table_text(["sample", "box", "taken"], [(smp[i], boxes[inb[i]], (dt.date(2024, r.randint(1, 12), r.randint(1, 28))).isoformat()) for i in range(n)], f)
    ps = [fill(r.choice(["The {b} box has been moved to {f}.", "You will find the {b} box in {f}.", "{f} now holds the {b} box.", "I put the {b} box into {f}, third drawer."]), b=boxes[i], f=fz[infz[i]]) for i in range(5)]
    r.shuffle(ps)
    s2 = "Where the boxes are after the spring clean\n\n" + " ".join([r.choice(["It took all day and two pairs of gloves.", "Please keep it that way."])] + ps + [r.choice(["Frost has been scraped off everywhere.", "The old labels are gone for good."])]) + "\n"
    s3 = "| Freezer | Room | Key holder |\n|---|---|---|\n" + "".join(f"| {fz[i]} | {rooms[i]} | {who[i]} |\n" for i in r.sample(range(5), 5))
    hol = r.sample(range(5), 2)
    files = {"samples." + EXT[f]: s1, "box_moves.txt": s2, "freezers.md": s3}
    k = r.randrange(n)
    z = infz[inb[k]]
    q = r.choice(["holder", "room", "deputy"])
    if q == "deputy":
        dep = people(random.Random(r.random()), 30)
        used = {p for w in who for p in w.split()}
        dep = [d for d in dep if not set(d.split()) & used][:5]
        files["holidays.txt"] = "Deputies while people are away\n\n" + "\n".join(f"- {dep[i]} stands in for {who[i]}." for i in r.sample(range(5), 5)) + "\n"
        g = fill(r.choice(["The key holder for the freezer with sample {s} is away. Who stands in?", "I need sample {s}, but the key holder is on holiday. Name of the deputy?", "sample {s} -> freezer -> key holder -> who is the deputy?",
                           "Each freezer has a key holder and each key holder a deputy. Who is it for the one where {s} lies?", "Whom do I ask for {s} while the person with the key is off?"]), s=smp[k])
        return chain_item(r, g, files, x_name(dep[z]), [x_name(d) for d in dep if d != dep[z]], [dep[z], f"**{dep[z]}** (for {who[z]})"], [who[z], dep[(z + 1) % 5]])
    if q == "holder":
        g = fill(r.choice(["Who has the key to the freezer in which sample {s} is?", "I need {s} out of the freezer. Who holds the key?", "key holder for sample {s}?", "Compare the three files: whom do I have to ask for the key in order to get at {s}?",
                           "Whose key opens the freezer with {s} in it? No list, one name."]), s=smp[k])
        return chain_item(r, g, files, x_name(who[z]), [x_name(d) for d in who if d != who[z]], [who[z], f"Ask **{who[z]}**."], [who[(z + 1) % 5], who[(z + 2) % 5]])
    g = fill(r.choice(["In which room is sample {s}?", "where do I go for sample {s}? room number", "Sample {s}: which room is its freezer in?", "A courier comes for {s}. To which room do I send them?", "Don't list each box, just tell me the room where {s} is kept."]), s=smp[k])
    return chain_item(r, g, files, x_lit(rooms[z]), [x_lit(d) for d in rooms if d != rooms[z]], [rooms[z], f"Room **{rooms[z]}**, in {fz[z]}."], [rooms[(z + 1) % 5], rooms[(z + 2) % 5]])


@scene("chain")
def chain_vet(r):
    pets = r.sample(["Biscuit", "Moth", "Rufus", "Pickle", "Otto", "Waffle", "Hector", "Maude"], 6)
    owners = people(r, 6)
    meds = r.sample(["Calmovet", "Arthrodex", "Pruritin", "Cardizol", "Otiflor", "Digestal", "Ferromel"], 6)
    pm = [r.randrange(6) for _ in pets]
    sup = r.sample(["Haldane & Sons", "Vetmarket", "Pharmacia Nord", "Brook Supplies"], 4)
    ms = [r.randrange(4) for _ in meds]
    days = r.sample(DAYS[:6], 4)
    notes = []
    for i in range(6):
        notes.append(fill(r.choice(["{p} was prescribed {m} and took it like a lamb.", "For {p} I wrote up {m}.", "Gave {p} the first dose of {m}; the rest is on order.", "{p} goes on with {m}."]), p=f"{pets[i]} ({owners[i]})", m=meds[pm[i]]))
    notes.insert(2, "The waiting room was full and the parrot would not be quiet.")
    notes.insert(5, "Scales to be recalibrated.")
    f, st = pick_fmt(r)
    price = r.sample([890, 1250, 1475, 2130, 3360, 4905, 6020], 6)
    t = table_text(["product", "supplier", "price_eur"], [(meds[i], sup[ms[i]], cell_money(price[i], f, st)) for i in r.sample(range(6), 6)], f)
    dl = [fill(r.choice(["{s} comes by on {d}.", "On {d} we can expect the van of {s}.", "{s} delivers every {d}."]), s=sup[i], d=days[i]) for i in range(4)]
    r.shuffle(dl)
    files = {"day_notes.txt": "Consulting notes\n\n" + " ".join(notes) + "\n", "products." + EXT[f]: t, "deliveries.txt": "To whoever minds the back door\n\n" + " ".join(dl + ["Please sign only for what is there."]) + "\n"}
    k = r.randrange(6)
    m = pm[k]
    s = ms[m]
    who = r.choice([pets[k], owners[k] + "'s animal"])
    if r.random() < .6:
        g = fill(r.choice(["On which day of the week is the medicine for {w} delivered?", "When does the stuff for {w} come? day of the week", "The owner is asking: on what day will the medicine for {w} be here?", "{w}: which weekday does the delivery with their medication come?",
                           "Compare notes, products and deliveries. I need the weekday for the medicine of {w}, not a list of each supplier."]), w=who)
        return chain_item(r, g, files, x_lit(days[s]), [x_lit(d) for d in days if d != days[s]], [days[s], f"On **{days[s]}** ({meds[m]} from {sup[s]})."], [days[(s + 1) % 4], days[(s + 2) % 4]])
    g = fill(r.choice(["What does the medicine for {w} cost?", "price of what {w} was prescribed?", "How much is the medication that {w} is on?", "{w}'s people want to know the price of the medicine.", "Don't compare the suppliers, only say what the product for {w} costs."]), w=who)
    c = price[m]
    return chain_item(r, g, files, x_money(c), [x_money(p) for p in price if p != c], [f"{c // 100}.{c % 100:02d} EUR", f"{meds[m]} costs **€{c / 100:.2f}**."], [f"{(c + 100) / 100:.2f} EUR", f"{price[(m + 1) % 6] / 100:.2f}"])


@scene("chain")
def chain_theatre(r):
    props = r.sample(["brass telescope", "stuffed heron", "gramophone", "birdcage", "samovar", "typewriter", "harpoon", "cuckoo clock"], 6)
    plays = r.sample(["The Drowned Mill", "Hedda at Sea", "Nine Umbrellas", "The Glass Aunt", "Pigeons"], 5)
    pp = [r.randrange(5) for _ in props]
    pp[0] = 0
    asm = people(r, 5)
    shelf = r.sample(["12", "17", "23", "31", "38", "44", "52"], 5)
    lo = []
    for i in range(6):
        lo.append(fill(r.choice(["The {a} is used in {p}.", "We need the {a} for {p}.", "{p} cannot do without the {a}.", "The {a} appears in the second act of {p}."]), a=props[i], p=plays[pp[i]]))
    r.shuffle(lo)
    f, _ = pick_fmt(r)
    t = table_text(["play", "stage_manager", "first_night"], [(plays[i], asm[i], datestr(r, dt.date(2025, 2 + i, r.randint(3, 26)), "iso")) for i in range(5)], f)
    lk = [fill(r.choice(["{n} has locker {l}.", "Locker {l} belongs to {n}.", "{n}'s things are in locker {l}."]), n=asm[i], l=shelf[i]) for i in range(5)]
    r.shuffle(lk)
    files = {"props_talk.txt": "From the props meeting\n\n" + " ".join(lo) + " Nobody is to sit on the furniture.\n", "season." + EXT[f]: t, "lockers.txt": "Lockers, since people keep asking\n\n" + " ".join(lk) + "\n"}
    k = r.randrange(6)
    z = pp[k]
    if r.random() < .65:
        g = fill(r.choice(["I found the {a}. Into which locker should I put a note for the stage manager of the play it's used in?", "{a} -> play -> stage manager -> locker number?", "The {a} is broken. Which locker belongs to the stage manager who needs to know?",
                           "What's the locker number of the stage manager of the show with the {a}?", "Compare the lists, please: locker of whoever stage-manages the play that uses the {a}. Not each locker, just that one."]), a=props[k])
        return chain_item(r, g, files, x_int(int(shelf[z]), True), [x_int(int(s), False) for s in shelf if s != shelf[z]], [shelf[z], f"Locker **{shelf[z]}** ({asm[z]})."], [shelf[(z + 1) % 5], f"Locker {shelf[(z + 2) % 5]}"])
    g = fill(r.choice(["Who is the stage manager of the play in which the {a} is used?", "{a}: name of the stage manager?", "Whom do I tell that the {a} is broken? I mean the stage manager of that play.", "The {a} belongs to one of the plays. Who manages the stage there?", "stage manager for the show with the {a} pls"]), a=props[k])
    return chain_item(r, g, files, x_name(asm[z]), [x_name(s) for s in asm if s != asm[z]], [asm[z], f"**{asm[z]}**"], [asm[(z + 1) % 5], asm[(z + 2) % 5]])


@scene("chain")
def chain_radio(r):
    calls = [f"{r.choice(['DL', 'OH', 'SP', 'EA'])}{r.randint(1, 9)}{''.join(r.choice('ABCDEFGHKLMNPRSTUWXYZ') for _ in range(3))}" for _ in range(6)]
    if len(set(calls)) < 6:
        raise Retry
    ppl = people(r, 6)
    towns = r.sample(["Ardley", "Quenby", "Misterton", "Thraxby", "Llanfor"], 4)
    pt = [r.randrange(4) for _ in ppl]
    hills = r.sample(["Kettle Hill", "Raven Top", "Beacon Rigg", "Gallows Down"], 4)
    freq = r.sample(["145.600", "145.725", "438.950", "439.175", "145.6625"], 4)
    f, _ = pick_fmt(r)
    t = table_text(["call", "operator", "licence_since"], [(calls[i], ppl[i], r.randint(1969, 2021)) for i in range(6)], f)
    li = [fill(r.choice(["{n} lives in {t}.", "{n} has moved to {t}.", "In {t} we have {n}."]), n=ppl[i], t=towns[pt[i]]) for i in range(6)]
    r.shuffle(li)
    li = "Round robin to members\n\n" + " ".join(li) + " The summer fair was a success in spite of the thunder.\n"
    rep = "\n".join(f"{towns[i]}: use {hills[i]}" for i in r.sample(range(4), 4))
    fr = table_text(["repeater", "MHz"], [(hills[i], freq[i]) for i in r.sample(range(4), 4)], "csv")
    files = {"members." + EXT[f]: t, "letter.txt": li, "which_repeater.txt": rep + "\n", "repeaters.csv": fr}
    k = r.randrange(6)
    z = pt[k]
    if r.random() < .6:
        g = fill(r.choice(["On which frequency should {c} use the local repeater?", "{c} - repeater frequency for where they live?", "I'd like to meet the operator of {c} on the local repeater. Which frequency (MHz)?", "What is the frequency of the repeater that serves the town of {c}'s operator?",
                           "Compare the files, don't list each member: which repeater frequency goes with {c}?"]), c=calls[k])
        num = freq[z]
        rx = r"(?<!\d)" + num.rstrip("0").replace(".", "[.,]") + r"0*(?!\d)"
        return chain_item(r, g, files, rx, [r"(?<!\d)" + x.rstrip("0").replace(".", "[.,]") + r"0*(?!\d)" for x in freq if x != num], [num + " MHz", f"**{num.rstrip('0')}** ({hills[z]})"], [freq[(z + 1) % 4], "145.000"])
    g = fill(r.choice(["Which repeater is the right one for {c}?", "name of the repeater for {c}'s town?", "{c} wants to know the name of the local repeater.", "Who serves {c}? I mean the repeater, by name.", "Not each town, only the one where {c}'s operator lives: what's the repeater called?"]), c=calls[k])
    return chain_item(r, g, files, x_lit(hills[z]), [x_lit(x) for x in hills if x != hills[z]], [hills[z], f"**{hills[z]}**"], [hills[(z + 1) % 4], hills[(z + 2) % 4]])


# --------------------------------------------------------------------------
# 8. missing
# --------------------------------------------------------------------------
HEDGE = (r"(?is)(?:\bno\b|\bnot\b|\bnone\b|n['’]t\b|\bmissing\b|\bunable\b|\bcannot\b|\black(?:s|ing)?\b|\bwithout\b|\babsent\b|\bunknown\b|"
         r"\bunspecified\b|\bunclear\b|\bnowhere\b|\bneither\b|\bnothing\b|\bonly (?:the|lists?|contains?|covers?|have)\b|\bcould you\b|\bcan you\b|\bwould you\b|\bplease (?:provide|attach|share|send|tell|give|upload|check)|\?)")


def no_new_money(allowed):
    """No amount of money that the files don't have."""
    al = []
    for c in sorted(set(allowed)):
        u, cc = divmod(c, 100)
        al.append(core(u) + (r"(?:[.,]" + (f"{cc:02d}" if cc % 10 else f"{cc // 10}0?") + ")" if cc else r"(?:[.,]00?)?") + r"(?!\d)(?![.,]\d)")
    a = "(?!(?:" + "|".join(al) + "))" if al else ""
    return [r"(?is)^(?!.*(?<![\d.,])" + a + r"\d+(?:[.,]\d{3})*[.,]\d{2}(?!\d))",
            r"(?is)^(?!.*(?:€|£|\bEUR|\bGBP)\s*(?<![\d.,])" + a + r"\d)",
            r"(?is)^(?!.*(?<![\d.,])" + a + r"\d[\d.,]*\s*(?:€|£|EUR\b|GBP\b|euros?\b|pounds?\b))"]


def no_claim(subject, pat):
    """No sentence of the sort 'subject is PAT' without a 'not' before it."""
    return r"(?is)^(?!.*" + subject + r"(?:(?!\bnot?\b|n['’]t\b|\bunknown|\bmissing|\black|\bbut\b|[.;\n]).){0,30}?" + pat + ")"


def miss(r, goal, files, extra, wrong, right=()):
    rt = list(right) + ["The files don't say.", "That isn't in what you sent me. Could you attach it?"]
    return item(messy(r, goal), files, [HEDGE] + extra, rt, wrong)


@scene("missing")
def miss_nursery(r):
    stock = r.sample(["Rosemary", "Hyssop", "Lovage", "Sorrel", "Lemon balm", "Tarragon", "Chervil", "Borage", "Winter savory", "Angelica", "Sweet cicely", "Rue", "Feverfew", "Costmary", "Bergamot", "Salad burnet"], r.randint(8, 13))
    gone = stock.pop()
    p = [r.choice([240, 275, 310, 345, 390, 420, 480, 515, 660]) for _ in stock]
    f, st = pick_fmt(r)
    files = {"price_list." + EXT[f]: table_text(["plant", "pot_cm", "price_eur"], [(s, r.choice([9, 11, 13]), cell_money(c, f, st)) for s, c in zip(stock, p)], f)}
    if r.random() < .5:
        files["welcome.txt"] = f"Dear gardener,\n\nour nursery lies behind the church. We grow herbs without peat, among them {stock[0].lower()}, {stock[1].lower()} and, in good years, {gone.lower()}. Orders leave on Mondays. If a pot breaks on the way we replace it without fuss.\n"
    g = fill(r.choice(["How much is a pot of {g}?", "price of {g}?", "I'd like three pots of {g}. What does one cost?", "Please look up what {g} costs in the attached list and tell me.", "My neighbour wants {g}. What do they charge for each pot?",
                       "Compare {g} with {o}: what does each cost? I mostly need the price of {g}."]), g=gone.lower(), o=stock[2].lower())
    gx = r"\b" + re.escape(gone.lower()).replace("\\ ", r"\s+")
    w = r.choice([x for x in (285, 330, 365, 455, 545) if x not in p])
    return miss(r, g, files, no_new_money(p) + [no_claim(gx, r"\d")],
                [f"A pot of {gone.lower()} costs {w / 100:.2f} EUR.", f"€{w / 100:.2f}", f"{gone} is {p[0] / 100:.2f} EUR, not more."],
                [f"There's no price for {gone.lower()} in the list.", f"{gone} is not on the list; {stock[2].lower()} is, at {p[2] / 100:.2f} EUR."])


@scene("missing")
def miss_column(r):
    who = r.choice(["vet", "tram", "bees"])
    n = r.randint(6, 20)
    f, _ = pick_fmt(r)
    if who == "vet":
        names = r.sample(["Biscuit", "Bella", "Rufus", "Moth", "Pickle", "Otto", "Luna", "Nettle", "Sooty", "Waffle", "Hector", "Plum", "Maude", "Figaro", "Dot", "Bruno", "Ginger", "Tess", "Percy", "Juno"], n)
        files = {"patients." + EXT[f]: table_text(["animal", "species", "owner", "last_visit"], [(x, r.choice(["dog", "cat", "rabbit"]), y, dt.date(2024, r.randint(1, 12), r.randint(1, 28)).isoformat()) for x, y in zip(names, people(r, n))], f)}
        x = names[3]
        ask = r.choice([("weight", ["How heavy is {x}?", "{x}'s weight please, for the dose", "What does {x} weigh?", "List nothing, just give me the weight of {x} in kilos.", "I have to work out a dose for {x}. What's the weight on file?"], r"\d[\d.,]*\s*(?:kg|kilo|g\b|pounds|lb)"),
                        ("chip number", ["What's the chip number of {x}?", "chip no. {x}?", "I need the microchip number of {x} for the passport.", "Compare with the reader: which chip number do we hold for {x}?", "Can you read me {x}'s chip number from the file?"], r"\d{6,}")])
        wrong_v = {"weight": f"{x} weighs 12.4 kg.", "chip number": f"The chip number of {x} is 276098106123456."}[ask[0]]
        wrong2 = {"weight": "About 9 kg", "chip number": "276097200456789"}[ask[0]]
    elif who == "tram":
        names = [str(r.randint(1, 8) * 100 + i * 3 + 2) for i in range(n)]
        files = {"fleet." + EXT[f]: table_text(["fleet_no", "type", "depot", "seats"], [(x, r.choice(["GT6", "T3", "M32"]), r.choice(["Northgate", "Hollins"]), r.choice([48, 56, 64, 72])) for x in names], f)}
        x = "tram " + names[3]
        ask = r.choice([("year", ["In which year was {x} built?", "{x}: year of construction?", "How old is {x}?", "Please check each column and tell me when {x} was made.", "A visitor asks for the year in which {x} was built. What do I say?"], r"\b(?:18|19|20)\d\d\b"),
                        ("mileage", ["How many kilometres has {x} done?", "km of {x}?", "What is the mileage of {x}?", "I need the kilometres run by {x} for the report.", "Compare nothing, only give me the mileage of {x} so far."], r"\d[\d.,\s]*\s*(?:km|kilomet|miles)")])
        wrong_v = {"year": f"{x} was built in 1987.", "mileage": f"{x} has run 845,300 km."}[ask[0]]
        wrong2 = {"year": "In 1974.", "mileage": "612 000 kilometres"}[ask[0]]
    else:
        names = r.sample(["Aster", "Borage", "Clover", "Dill", "Erica", "Fennel", "Gorse", "Hyssop", "Iris", "Jasmine", "Lupin", "Mallow", "Nigella", "Oregano", "Phlox", "Quince", "Reseda", "Sage", "Thyme", "Verbena"], n)
        files = {"hives." + EXT[f]: table_text(["hive", "site", "frames", "temper"], [(x, r.choice(["orchard", "heath", "roof"]), r.randint(5, 11), r.choice(["calm", "nervous"])) for x in names], f)}
        x = "hive " + names[3]
        ask = r.choice([("honey", ["How many kilos of honey did {x} give?", "{x}: honey yield in kg?", "What was the crop of {x}?", "For the label I need the kilograms of honey from {x}.", "List the hives if you must, but what I need is the honey crop of {x}."], r"\d[\d.,]*\s*(?:kg|kilo|lb|pounds)"),
                        ("queen", ["How old is the queen of {x}?", "age of queen, {x}?", "In what year was the queen in {x} born?", "Each hive has a queen; how old is the one in {x}?", "My mentor asks for the age of the queen in {x}."], r"(?:\b20\d\d\b|\b(?:one|two|three|four|five|\d+)[\s-]years?\b)")])
        wrong_v = {"honey": f"The crop of {x} was 23 kg.", "queen": f"The queen of {x} is 2 years old."}[ask[0]]
        wrong2 = {"honey": "It gave 17.5 kg of honey.", "queen": "She was born in 2022."}[ask[0]]
    if ask[0] in ("year", "queen"):
        # dates of the file may be mentioned; none here
        pass
    return miss(r, fill(r.choice(ask[1]), x=x), files, [r"(?is)^(?!.*" + ask[2] + ")"], [wrong_v, wrong2, wrong_v + " It isn't much."],
                [f"There is no column for the {ask[0]} in the file.", f"I can't tell: the file has no {ask[0]} for {x}."])


@scene("missing")
def miss_minutes(r):
    ppl = people(r, 6)
    street = r.choice(["Foundry Lane", "Canal Street", "Mercer Row", "Vinegar Hill"])
    d = dt.date(2025, r.randint(2, 10), r.randint(2, 27))
    topics = [
        ("the new shelter in {s}", "It was agreed that a shelter should be put up in {s}. Three designs were passed round, and most liked the one with the green roof. {a} will ask for offers.", "cost", ["What will the new shelter in {s} cost?", "how much for the shelter in {s}?", "Find out from the minutes what we are paying for the shelter in {s}.", "My committee wants a figure for the shelter in {s}. What is it?", "List the costs: what's the shelter in {s} going to be?"], r"(?:€|£|\bEUR|\bGBP)\s*\d|\d[\d.,]*\s*(?:€|£|EUR\b|euros?\b|pounds\b|k\b)", "The shelter will cost EUR 14,500.", "€12,000"),
        ("the open day", "The open day was a success last time and is to be repeated in the summer. {a} promised to look for a date that suits the choir as well. There will be rides on the horse tram.", "date", ["When is the open day?", "date of the open day?", "On which day does the open day take place? I must tell the choir.", "Could you check each file and give me the date fixed for the open day?", "I'd like to put the open day into my calendar. What date did they settle on?"], None, "The open day is on 14 June.", "2025-07-05"),
        ("the vacancy", "The post of workshop foreman is still vacant. {a} reported that two people had applied, one of whom had withdrawn. The talks go on.", "name", ["Who is the new workshop foreman?", "name of the new foreman?", "Who got the job of workshop foreman?", "Compare the minutes if need be: who was chosen as workshop foreman?", "I want to congratulate the new workshop foreman. What's the name?"], "NAME", "The new workshop foreman is Harald Stubbs.", "It's Petra Langworth."),
    ]
    intro = [f"Minutes of the tram depot committee, {datestr(r, d)}", f"Present: {', '.join(ppl[:5])}."]
    fillers = ["The minutes of the previous meeting were approved.", "The heating in the mess room has been repaired.", "Someone keeps parking on the turning circle.", "Thanks went to the volunteers who swept the pits.", f"{ppl[1]} showed photographs of the old horse tram.", "The insurance has been renewed on the old terms.",
               "There was some discussion of the noise at the points.", "The tea fund is healthy.", f"{ppl[2]} apologised for being late.", "Next, the committee turned to the state of the roof.", "It was felt that the gate ought to be painted."]
    i = r.randrange(3)
    body = [fill(t[1], s=street, a=ppl[r.randrange(5)]) for t in topics]
    fl = r.sample(fillers, 8)
    text = "\n\n".join([intro[0], intro[1], " ".join(fl[:3]), body[0], " ".join(fl[3:5]), body[1], fl[5], body[2], " ".join(fl[6:])]) + "\n"
    files = {"minutes.txt": text}
    if r.random() < .5:
        files["agenda.txt"] = "Agenda\n\n1. Minutes of the last meeting\n2. Shelter\n3. Open day\n4. Vacancy\n5. Any other business\n"
    t = topics[i]
    if t[4] == "NAME":
        extra = [r"(?s)^(?!.*(?i:\bforeman\b)[^.\n]{0,25}(?i:\b(?:is|was|will be)\b|:)[\s*]*(?!(?i:not|still|un|vacant|yet|open|to be))[A-Z])",
                 r"(?s)^(?!.*(?:" + "|".join(p.split()[0] for p in ppl) + r")[^.\n]{0,30}(?i:\b(?:is|as|became|got|was chosen)\b)[^.\n]{0,25}(?i:foreman))",
                 r"(?s)^(?!\W*(?:(?i:it)(?:['’]s| is)\s+)?[A-Z][a-z]+ [A-Z][a-z]+\W*$)"]
    elif t[2] == "date":
        ok = d
        mon = "|".join(m for m in MONTHS)
        da = r"(?!" + x_date(ok) + ")"
        extra = [r"(?is)^(?!.*" + da + r"(?:\b\d{4}-\d\d-\d\d\b|(?<!\d)\d{1,2}(?:st|nd|rd|th)?(?: of)? (?:" + mon + r")|\b(?:" + mon.replace("May", "May (?=\\d)") + r")\.? \d{1,2}\b(?!\d)))",
                 no_claim(r"open day", x_date(d))]
    else:
        extra = [r"(?is)^(?!.*(?:" + t[4] + "))"]
    # a date in the head of the minutes could be mentioned in a right answer
    return miss(r, fill(r.choice(t[3]), s=street), files, extra, [t[5], t[6], t[5] + " That was decided without a vote."],
                [{"cost": "No cost is mentioned; offers are still to be asked for.", "date": f"No date has been fixed yet in the minutes of {datestr(r, d, 'dmy')}.", "name": "The post is still vacant, so no name is given."}[t[2]]])


@scene("missing")
def miss_contact(r):
    n = r.randint(7, 14)
    ppl = people(r, n + 1)
    gone = ppl.pop()
    nums = [f"0{r.randint(30, 89)} {r.randint(100, 999)} {r.randint(100, 999)}" for _ in ppl]
    role = ["soprano", "alto", "tenor", "bass"]
    sty = r.choice(["csv", "list"])
    if sty == "csv":
        f, _ = pick_fmt(r)
        files = {"members." + EXT[f]: table_text(["name", "voice", "phone"], [(p, r.choice(role), x) for p, x in zip(ppl, nums)], f)}
    else:
        files = {"members.txt": "Choir telephone list\n\n" + "\n".join(f"{p} ({r.choice(role)}): {x}" for p, x in zip(ppl, nums)) + "\n"}
    files["rota.txt"] = f"Coffee rota\n\n{ppl[0]} and {gone} make the coffee on the first evening, {ppl[1]} and {ppl[2]} on the second. Milk is bought by whoever comes first. Please rinse the cups.\n"
    g = fill(r.choice(["What is {x}'s phone number?", "tel. {x}?", "I have to ring {x} about the coffee. Number please.", "Please look {x} up in the list and give me the telephone number.", "Each person on the rota should be rung. I've done the others; what's the number of {x}?"]), x=gone, o=ppl[0])
    digits = [re.sub(r"\D", "", x) for x in nums]
    al = "|".join(r"[\s\-/]*".join(d_) for d_ in digits)
    extra = [r"(?s)^(?!.*(?<!\d)(?!" + al + r")\+?\d[\d\s\-/]{5,}\d)", no_claim(r"\b" + gone.split()[1] + r"\b", r"\d{3}")]
    fake = f"0{r.randint(30, 89)} {r.randint(100, 999)} {r.randint(100, 999)}"
    return miss(r, g, files, extra, [f"{gone}'s number is {fake}.", fake, f"{gone.split()[1]}: {nums[0]}, I have no other."], [f"{gone} is on the coffee rota but has no entry in the phone list."])


@scene("missing")
def miss_file(r):
    y = r.choice([2021, 2022, 2023])
    org = r.choice(["Fenmark Seed Bank", "Upland Seed Vault", "Orrin Botanical Seed Store"])
    acc, vis, rate = r.randint(3000, 9000), r.randint(400, 1900), r.randint(61, 93)
    t = (f"{org} - annual report {y}\n\nThe year {y} was kind to us. At its end the collection stood at {thou(acc)} accessions. {vis} visitors were shown round, most of them schoolchildren. "
         f"In the germination tests {rate} per cent of the seeds came up, which pleased the lab. A new boiler was put in. We lost no sample, though a mouse came close. "
         f"The figures for {y + 1} will be found in next year's report.\n")
    files = {f"report_{y}.txt": t}
    if r.random() < .5:
        files["readme.md"] = f"# Reports\n\nThis folder is meant to hold the annual reports, one file for each year. Please don't rename the files.\n"
    what, val, rx = r.choice([("visitors", vis, r"\d[\d.,]*"), ("accessions", acc, r"\d[\d.,]*"), ("germination rate", rate, r"\d[\d.,]*\s*(?:%|per\s?cent)")])
    q = {"visitors": "number of visitors", "accessions": "number of accessions", "germination rate": "germination rate"}[what]
    g = fill(r.choice(["What was the {q} in {z}?", "{q} {z}?", "By how much did the {q} change from {y} to {z}? Both reports are attached.", "Compare {y} and {z}: {q}, and the difference please.", "Take the two annual reports and tell me how the {q} in {z} compares with {y}.",
                       "For a grant form I need the {q} for {z}. It should be in the reports."]), q=q, y=y, z=y + 1)
    # any number but those of the file, years and small counts
    al = any_of([x_int(v, False) for v in (acc, vis, rate)] + [rf"(?:{y - 1}|{y}|{y + 1}|{y + 2})(?!\d)", r"\d(?![\d.,]*\d)"])
    extra = [r"(?is)^(?!.*(?<![\d.,])(?!" + al + r")\d+(?:[.,]\d+)?)", no_claim(r"\b" + str(y + 1) + r"\b", r"(?<!\d)(?!(?:19|20)\d\d\b)\d{2,}")]
    wv = val + r.choice([-17, 13, 24, 41]) if what == "germination rate" else val + r.choice([-117, 113, 244, 341])
    return miss(r, g, files, extra, [f"In {y + 1} it was {thou(wv)}.", f"{wv}", f"The {q} rose from {val} to {wv}, no small thing."],
                [f"The report for {y + 1} isn't attached; I only have {y} ({val}).", f"I don't have the {y + 1} figures. For {y} the {q} was {thou(val)}. Could you send the other report?"])


@scene("missing")
def miss_timetable(r):
    ports = r.sample(["Skarholm", "Inver Point", "Mellan", "Port Aske", "Tarbin"], 3)
    ts = sorted(r.sample(range(6 * 60, 21 * 60, 15), 6))
    s = clock(r, ts[0], "24"), clock(r, ts[-1], "24")
    lines = "\n".join(f"{clock(r, t, '24')}  {ports[i % 2]}" for i, t in enumerate(ts))
    files = {"timetable.txt": f"Ferry timetable, Monday to Saturday\n\n{lines}\n\nSunday sailings are on a separate sheet.\n",
             "conditions.txt": "Conditions of carriage\n\nPassengers should be at the quay ten minutes before sailing. Bicycles travel free. In fog the captain decides. Tickets are sold on board, and dogs are welcome on deck.\n"}
    q = r.choice(["sunday", "port", "fare"])
    if q == "sunday":
        g = fill(r.choice(["What time is the first ferry to {p} on Sunday?", "sunday first boat to {p}?", "We want to go to {p} next Sunday. When does the first ferry leave?", "List the Sunday sailings to {p}, or at least tell me the first.", "Do compare the days if it helps: at what time does the first Sunday boat leave for {p}?"]), p=ports[0])
        tl = any_of([x_time(t) for t in ts])
        extra = [r"(?is)^(?!.*(?<![\d:.])(?!" + tl + r")\d{1,2}[:.]\d\d(?!\d))", no_claim(r"\bSundays?\b", r"\b\d{1,2}[:.]\d\d")]
        alt = next(t for t in range(8 * 60, 22 * 60, 5) if all(t != x for x in ts) and t % 15)
        wrong = [f"The first ferry on Sunday leaves at {alt // 60}:{alt % 60:02d}.", f"On Sunday it goes at {ts[0] // 60:02d}:{ts[0] % 60:02d}, no later.", f"{alt // 60:02d}:{alt % 60:02d}"]
        right = ["The Sunday times aren't in the files; they are on a separate sheet.", f"I only have Monday to Saturday (first boat {s[0]}). Could you attach the Sunday sheet?"]
    elif q == "port":
        g = fill(r.choice(["When does the last ferry to {p} leave on a weekday?", "last boat to {p} on friday?", "At what time can I get to {p} on Tuesday evening, last sailing?", "Look through each sailing and tell me the departure times for {p}, Monday to Saturday.", "My sister lives in {p}. What time is the last boat there on a Wednesday?"]), p=ports[2])
        extra = [no_claim(re.escape(ports[2]).replace("\\ ", r"\s+"), r"\b\d{1,2}[:.]\d\d"), r"(?s)^(?!\W*(?:At )?\d)",
                 r"(?is)^(?!.*\d{1,2}[:.]\d\d(?:(?!\b(?:not?|only|but|other|" + "|".join(x.split()[-1] for x in ports[:2]) + r")\b|n['’]t\b|[.\n]).){0,40}" + re.escape(ports[2]).replace("\\ ", r"\s+") + ")"]
        wrong = [f"The last ferry to {ports[2]} leaves at {s[1]}.", f"At {s[1]}, not later.", f"{s[1]}"]
        right = [f"The timetable has no sailings to {ports[2]}, only to {ports[0]} and {ports[1]}."]
    else:
        g = fill(r.choice(["How much is a return ticket to {p}?", "fare to {p} and back?", "What do two adults pay for the crossing to {p}?", "Please find the ticket price to {p} in the attached files.", "Compare single and return to {p}. What does each cost?"]), p=ports[0])
        extra = [r"(?is)^(?!.*(?:€|£|\$|\bEUR|\bGBP)\s*\d)", r"(?is)^(?!.*\d[\d.,]*\s*(?:€|£|\$|EUR\b|GBP\b|euros?\b|pounds?\b|kr\b))"]
        wrong = [f"A return ticket to {ports[0]} costs 18.50 EUR.", "€24", "It is 12 euros, no more."]
        right = ["No fares are given; it only says that tickets are sold on board."]
    return miss(r, g, files, extra, wrong, right)


@scene("missing")
def miss_offers(r):
    k = r.randint(3, 6)
    what, names = r.choice([("boat", ["Marigold", "Petrel", "Juno", "Skua", "Annabel", "Kelpie", "Merlin"]), ("harmonium", ["Estey", "Mannborg", "Debain", "Schiedmayer", "Alexandre", "Lindholm"]),
                            ("press", ["Adana", "Heidelberg", "Albion", "Columbian", "Vandercook", "Korrex"]), ("sheepdog", ["Fly", "Moss", "Nell", "Cap", "Tweed", "Jess"])])
    names = r.sample(names, k)
    who = people(r, k)
    pr = [r.randrange(40000, 900000, 2500) for _ in names]
    place = r.sample(["Ardley", "Quenby", "Misterton", "Thraxby", "Llanfor", "Stoke Peverel"], k)
    fill_ = {"boat": ["She is dry and sound.", "The sails were new not long ago.", "The trailer goes with her.", "She has never been raced.", "The engine starts, if you ask nicely."],
             "harmonium": ["All reeds speak.", "The bellows were re-covered.", "One knee lever sticks.", "The case is walnut.", "It has stood in a chapel."],
             "press": ["The rollers are fine.", "Type is not included.", "It needs a strong floor.", "The treadle squeaks.", "My uncle printed hymn sheets on it."],
             "sheepdog": ["Works well on cattle too.", "Sleeps in the barn.", "Comes to the whistle.", "Is afraid of geese.", "Was bred on the hill."]}[what]
    g = r.randrange(k)
    ask = r.choice(["price", "place"])
    files = {}
    for i in range(k):
        s = [fill(r.choice(["This is about {n}, a {w} I have to part with.", "You asked for details of {n}, the {w}.", "My {w} {n} is for sale."]), n=names[i], w=what)]
        b = r.sample(fill_, 3)
        if not (i == g and ask == "price"):
            b.append(tidy(fill(r.choice(["I want {v}.", "The price is {v}.", "I would let it go for {v}."]), v=money(r, pr[i]))))
        if not (i == g and ask == "place"):
            b.append(fill(r.choice(["It can be seen in {v}.", "Viewing in {v}, by arrangement.", "You would have to come to {v}."]), v=place[i]))
        r.shuffle(b)
        files[f"letter_{i + 1}.txt"] = " ".join(s + b) + f"\n\nYours, {who[i]}\n"
    if ask == "price":
        q = fill(r.choice(["What is the price of {n}?", "{n}: how much?", "How much does {o} want for {n}?", "Compare the letters: what does {n} cost?", "I'd like {n}. What's the asking price in the letter?", "Each letter gives a price, I think. Which is it for {n}?"]), n=names[g], o=who[g])
        al = [p for i, p in enumerate(pr) if i != g]
        extra = no_new_money(al) + [no_claim(r"\b" + names[g] + r"\b", r"\d{3}")]
        w = next(x for x in (77700, 123450, 456700, 310900) if x not in pr)
        return miss(r, q, files, extra, [f"{names[g]} costs {w / 100:.2f} EUR.", f"€{w // 100}", f"{names[g]} is offered at {al[0] // 100}.{al[0] % 100:02d} EUR, no haggling."],
                    [f"The letter about {names[g]} gives no price.", f"No price is mentioned for {names[g]}. {names[(g + 1) % k]} costs {pr[(g + 1) % k] / 100:.2f} EUR."])
    q = fill(r.choice(["Where can I see {n}?", "{n}: in which town?", "To which town do I have to go to look at {n}?", "List the towns if you must, but where is {n}?", "I'd like to have a look at {n}. In what place is that?"]), n=names[g])
    ot = any_of([x_lit(p) for i, p in enumerate(place) if i != g])
    extra = [no_claim(r"\b" + names[g] + r"\b", ot), r"(?is)^(?!\W*(?:in |at |to |it(?:['’]s| is) in |you can see (?:it|her|him) in )?" + ot + ")"]
    return miss(r, q, files, extra, [f"{names[g]} can be seen in {place[(g + 1) % k]}, not far away.", f"In {place[(g + 1) % k]}.", f"{place[(g + 2) % k] if k > 2 else place[(g + 1) % k]}"],
                [f"The letter about {names[g]} doesn't name a town.", f"No place is given for {names[g]}; {names[(g + 1) % k]} is in {place[(g + 1) % k]}."])


# --------------------------------------------------------------------------
# 9. parts
# --------------------------------------------------------------------------
HM = r"[ \t>#*_]*(?:\d+[.)][ \t]*)?[*_]*"
HT = r"[ \t]*(?:[:*_#.]*[ \t]*$|[:*_]+[ \t]*(?=\S))"
RULE = r"(?:[-*_=]{3,}\s*)?"
TOK = r"(?:(?:[^\w\s]+|^\d{1,2}[.)])\s+)*(?!^\d{1,2}[.)]\s)[^\w\s]*\w\S*(?:\s+|\Z)"
BUL = r"(?:[-*•–+]|\d+[.)])[ \t]+"


def head_rx(h):
    return r"^" + HM + re.escape(h).replace(r"\ ", r"[ \t]+").replace("'", "['’]") + r"(?!\w)" + HT


def section_rx(h, nxt, lo, hi):
    """Heading h, then lo to hi words, then the heading nxt (or the end)."""
    end = RULE + head_rx(nxt) if nxt else r"\Z"
    return r"(?im)" + head_rx(h) + r"\s*(?:(?!" + end + ")" + TOK + r"){" + f"{lo},{hi}" + r"}\s*(?:[^\w\s]+(?:\s+|\Z))*?" + end


def bullets_rx(h, nxt, n, maxw=None):
    line = BUL + (r"\S+(?:[ \t]+\S+){0," + str(maxw - 1) + r"}[ \t]*" if maxw else r"\S.*")
    end = RULE + head_rx(nxt) if nxt else r"\Z"
    return r"(?im)" + head_rx(h) + r"\s*(?:(?!" + BUL + r")(?!" + end + r")\S.*\n\s*)?" + line + r"(?:\s*\n\s*" + line + r"){" + str(n - 1) + r"}\s*" + end


def order_rx(hs):
    return r"(?im)\A[\s\S]{0,200}?" + r"[\s\S]*?".join(head_rx(h) for h in hs)


def total_rx(n):
    return r"(?m)\A\s*(?:" + TOK + r"){1," + str(n) + r"}\s*(?:[^\w\s]+(?:\s+|\Z))*\Z"


PARTS = {}
# heads: (heading, what goes in, sentences for the sample)
PARTS["bee open day"] = dict(
    kind=["newsletter piece", "article for the newsletter", "report for our members"],
    notes=["open day at the apiary", "{n1} visitors, more than ever", "weather: sun after rain", "glass hive broke, nobody stung", "{p1} sold all candles", "takings {m1}", "next one on {d1}", "still need helpers for the tea tent", "thanks to the scouts for the benches"],
    heads=[("What happened", "how the day went"), ("Money matters", "takings and sales"), ("Thank you", "who is to be thanked"), ("Next time", "the next date and what is needed")],
    kw=["apiary", "visitor", "tea tent", "benches", "candle", "takings"],
    must=["candles", "scouts", "glass hive"], ban=["amazing", "buzz", "unfortunately", "very"])
PARTS["fireworks notice"] = dict(
    kind=["notice for the waiting room", "notice to our clients", "handout for pet owners"],
    notes=["fireworks on {d1}", "walk dogs before dusk", "close curtains, radio on", "microchip details up to date!", "don't punish a frightened animal", "tablets must be ordered by {d2}", "emergency line {t1}", "ask for {p1}", "{n1} frightened animals came in last year"],
    heads=[("Before the day", "what to do beforehand"), ("On the night", "what to do on the night itself"), ("If things go wrong", "whom to ring"), ("Medicines", "tablets and the deadline")],
    kw=["dog", "curtain", "radio", "firework", "tablet", "animal"],
    must=["curtains", "microchip", "emergency"], ban=["panic", "simply", "cute", "very"])
PARTS["depot incident"] = dict(
    kind=["incident report", "report for the works manager", "short report on what went wrong"],
    notes=["tram {n1} ran over the stop block", "{d1}, at {h1}", "driver {p1}, shunter {p2}", "sand on the rails, brakes cold", "nobody hurt", "damage: buffer bent, two lamps", "cost about {m1}", "rails swept since; checklist changed", "stop block to be replaced"],
    heads=[("Course of events", "what happened, when and to whom"), ("Damage", "what was broken and what it costs"), ("Cause", "why it happened"), ("Measures taken", "what has been done since")],
    kw=["rail", "brake", "buffer", "driver", "tram", "stop block"],
    must=["stop block", "nobody", "sand"], ban=["blame", "stupid", "obviously", "disaster"])
PARTS["theatre release"] = dict(
    kind=["press release", "text for the programme leaflet", "piece for the town website"],
    notes=["new play: The Glass Aunt", "first night {d1}, {h1}", "director {p1}", "aunt sells ghosts by post", "{n1} seats, new cushions", "tickets {m2}, pupils half", "box office phone {t1}", "set built from old greenhouse", "no interval"],
    heads=[("The play", "what it is about"), ("The people", "who directs and takes part"), ("Dates and tickets", "when, where, how much"), ("Good to know", "practical things")],
    kw=["aunt", "seats", "ticket", "ghost", "box office", "set"],
    must=["greenhouse", "ghosts", "interval"], ban=["stunning", "unmissable", "journey", "unique"])
PARTS["seed grant"] = dict(
    kind=["grant application", "summary for the foundation", "letter to the trust (with headings)"],
    notes=["we ask for {m1}", "a drying room", "old one is a cupboard with a fan", "{n1} accessions wait to be dried", "builder: {p1}", "finished by {d1}", "own share one fifth", "schools may visit", "roof has been paid for already"],
    heads=[("Our request", "how much and for what"), ("Why it matters", "the need"), ("Plan of work", "who does it and until when"), ("What we give", "own share and benefit to others")],
    kw=["dry", "cupboard", "builder", "roof", "accession", "school"],
    must=["drying room", "schools", "own share"], ban=["passionate", "leverage", "synergy", "very"])
PARTS["ferry job"] = dict(
    kind=["job advert", "advertisement for the paper", "vacancy notice"],
    notes=["purser wanted, ferry Solveig", "{n2} hours a week, shifts", "pay {m1} a month", "start {d1}", "sells tickets, minds the freight", "must be able to swim", "uniform provided", "apply to {p1}, phone {t1}", "cabin on the island possible"],
    heads=[("The job", "what the work is"), ("What you bring", "what is expected"), ("What we offer", "pay, uniform and so on"), ("How to apply", "to whom and how")],
    kw=["ferry", "ticket", "shift", "cabin", "purser", "uniform"],
    must=["swim", "uniform", "freight"], ban=["rockstar", "dynamic", "family", "exciting"])

POOL = """the and with for our from last next week after before people work place made good time year also then when each other still more small large open
new old first room group table door light paper water stone garden hands voice letter number street""".split()


def lorem(r, n):
    """n plain words as sentences."""
    ws = [r.choice(POOL) for _ in range(n)]
    out, i = [], 0
    while i < n:
        k = min(n - i, r.randint(6, 12))
        s = " ".join(ws[i:i + k])
        out.append(s[0].upper() + s[1:] + ".")
        i += k
    return " ".join(out)


P_OPEN = ["Turn the notes into a {kind}.", "Please write a {kind} from my notes.", "{kind} from the attached notes, please.", "I've scribbled down a few things (attached). Make a {kind} of them.",
          "Could you write up notes as a {kind}? I'm no good at this.", "Need a {kind} out of the notes by tonight."]
P_HEADS = ["Use exactly these headings, in this order: {hs}.", "It needs {k} sections headed {hs}, in that order.", "Headings (word for word, this order): {hs}.", "{K} parts please, with the headings {hs}. Keep the order.",
           "The sections must be called {hs}, one after the other."]


def quoted(hs, r):
    q = r.choice(['"{}"', "'{}'", "{}"]) if not any("'" in h for h in hs) else '"{}"'
    x = [q.format(h) for h in hs]
    if q == "{}":
        return " / ".join(x)
    return ", ".join(x[:-1]) + " and " + x[-1]


def make_parts(name):
    S = PARTS[name]

    def gen(r):
        hs = r.sample(S["heads"], r.choice([2, 3, 3, 4]))
        H = [h for h, _ in hs]
        pl = people(r, 2)
        d1 = dt.date(2025, r.randint(3, 11), r.randint(2, 27))
        k = dict(n2=r.randint(19, 39), m2=money(r, r.randrange(800, 2900, 50)), n1=r.randint(41, 380), p1=pl[0], p2=pl[1], m1=money(r, r.randrange(90000, 480000, 2500)), d1=datestr(r, d1), d2=datestr(r, d1 - dt.timedelta(days=9)),
                 t1=f"0{r.randint(30, 89)} {r.randint(1000, 9999)}", h1=clock(r, r.randint(14, 20) * 60 + r.choice([0, 30])))
        nt = [fill(x, **k) for x in S["notes"]]
        keep = nt[:1]
        rest = nt[1:]
        r.shuffle(rest)
        bul = r.choice(["- ", "* ", "", "-> "])
        files = {r.choice(["notes.txt", "scribbles.txt", "notes.md"]): "\n".join(bul + x for x in keep + rest) + "\n"}
        rules, limits = [], []
        bsec = r.choice([None] + list(range(len(H))))
        for i, h in enumerate(H):
            if i == bsec:
                nb = r.randint(3, 5)
                mw = r.choice([None, None, 10, 12])
                limits.append(("b", nb, mw))
                rules.append(r.choice(["Under {h}: exactly {n} bullet points", "{h} consists of {n} bullet points, no more, no less", "In {h} I want {n} bullets"]).replace("{h}", '"' + h + '"').replace("{n}", words_of(nb))
                             + (r.choice([", each of at most {m} words", ", none longer than {m} words"]).replace("{m}", str(mw)) if mw else "") + ".")
            else:
                t = r.choice(["max", "max", "range", "min"])
                if t == "max":
                    m = r.choice([25, 30, 40, 50, 60])
                    limits.append(("w", 4, m))
                    rules.append(r.choice(["{h}: at most {m} words.", "Not more than {m} words for {h}.", "Keep {h} to {m} words or fewer."]).replace("{h}", '"' + h + '"').replace("{m}", str(m)))
                elif t == "range":
                    a = r.choice([15, 20, 30])
                    m = a + r.choice([20, 25, 30])
                    limits.append(("w", a, m))
                    rules.append(r.choice(["{h}: between {a} and {m} words.", "{h} should have {a} to {m} words."]).replace("{h}", '"' + h + '"').replace("{m}", str(m)).replace("{a}", str(a)))
                else:
                    a = r.choice([15, 20, 25])
                    limits.append(("w", a, 250))
                    rules.append(r.choice(["{h}: at least {a} words.", "Please no fewer than {a} words in {h}."]).replace("{h}", '"' + h + '"').replace("{a}", str(a)))
        mustw = r.sample(S["must"], r.choice([0, 1, 1, 2]))
        banw = r.sample(S["ban"], r.choice([0, 1, 1, 2]))
        total = None
        hi = sum(l[2] if l[0] == "w" else 0 for l in limits)
        lows = sum(l[1] if l[0] == "w" else l[1] * 4 for l in limits) + sum(len(h.split()) for h in H)
        if r.random() < .35:
            total = r.choice([120, 150, 180, 200])
            if total < lows + 40:
                total = None
        for w in mustw:
            rules.append(r.choice(['"{w}" has to be mentioned.', 'The word "{w}" must occur.', 'Don\'t leave out "{w}" (that very wording).'] if " " not in w else ['The words "{w}" must occur.', '"{w}" has to be mentioned, in just these words.']).replace("{w}", w))
        for w in banw:
            rules.append(r.choice(['Do not use the word "{w}".', 'No "{w}" anywhere, please.', 'The word "{w}" must not occur.']).replace("{w}", w))
        if total:
            rules.append(r.choice(["All in all no more than {t} words, headings included.", "Total length: up to {t} words including the headings."]).replace("{t}", str(total)))
        style = r.choice(["run", "run", "list", "chat"])
        op = fill(r.choice(P_OPEN), kind=r.choice(S["kind"]))
        op = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", op[0].upper() + op[1:])
        hd = fill(r.choice(P_HEADS), hs=quoted(H, r), k=words_of(len(H)), K=words_of(len(H)).capitalize())
        if style == "list":
            goal = op + " " + hd + " Rules:\n" + "\n".join("- " + x for x in rules)
        elif style == "chat":
            goal = op + " " + hd + " And then there are the rules of the house, don't ask me why: " + " ".join(rules) + r.choice(["", " Nothing before the first heading, please.", " Nothing after the last section."])
        else:
            goal = op + " " + hd + " " + " ".join(rules)
        goal = messy(r, goal, typos=False, post=style != "list")
        must = [order_rx(H)]
        for i, (h, l) in enumerate(zip(H, limits)):
            nxt = H[i + 1] if i + 1 < len(H) else None
            if l[0] == "w":
                must.append(section_rx(h, nxt, l[1], l[2]))
            else:
                must.append(bullets_rx(h, nxt, l[1], l[2] + 1 if l[2] else None))
        kw = any_of([r"\b" + w.replace(" ", r"\s+") for w in S["kw"]])
        must.append("(?is)" + kw + ".*" + kw)               # it is about the notes
        for w in mustw:
            must.append(r"(?is)" + (r"\b" + re.escape(w).replace(r"\ ", r"[\s\-]+")))
        for w in banw:
            must.append(r"(?is)\A(?!.*\b" + re.escape(w) + r"\b)")
        if total:
            must.append(total_rx(total))

        def text(fmt, lim=limits, order=None, words=mustw, bad=None, delta=0):
            out, first = [], True
            idx = order or range(len(H))
            ws = list(words) + S["kw"][:2]
            for i in idx:
                h, l = H[i], lim[i]
                if l[0] == "w":
                    n = min(l[2], max(l[1], min(l[2], 26)))
                    if total:
                        n = max(l[1], min(n, 8))
                    if delta and i == 0:
                        n = l[2] + delta
                    body = lorem(r, n)
                    if ws and i == [j for j in idx if lim[j][0] == "w"][0]:
                        t = body.rstrip(".").split()
                        add = " ".join(ws).split()
                        t[1:1 + len(add)] = add
                        t = t[:max(n, len(add) + 1)]
                        body = " ".join(t) + "."
                        ws = []
                else:
                    body = "\n".join(fmt[1] + lorem(r, 4) for _ in range(l[1] + (1 if delta and i == 0 else 0)))
                out.append(fmt[0].format(h) + "\n" + body)
            t = "\n\n".join(out)
            return t

        if not any(l[0] == "w" for l in limits):
            raise Retry
        right = [text(("## {}", "- ")), text(("**{}**", "* ")), text(("{}:", "• ")) + "\n"]
        wrong = [text(("## {}", "- "), order=list(range(len(H)))[::-1]), text(("## {}", "- "), delta=231), text(("## {}", "- ")).replace(H[0], "Introduction")]
        if banw:
            wrong.append(right[0].replace(".", " " + banw[0] + ".", 1))
        if mustw:
            wrong.append(text(("## {}", "- "), words=[]))
        return item(goal, files, must, right, wrong)

    gen.__name__ = "parts_" + slug(name)
    KINDS.setdefault("parts", []).append(gen)


for _n in PARTS:
    make_parts(_n)


# --------------------------------------------------------------------------
# 10. followup
# --------------------------------------------------------------------------
def talk(u, a):
    return [{"role": "user", "content": u}, {"role": "assistant", "content": a}]


def max_words(n):
    return r"\A\s*(?:\S+\s+){0," + str(n) + r"}\S*\s*\Z"


@scene("followup")
def fu_quote(r):
    what, unit, un = r.choice([("re-tiling the milking parlour", "tiles", "m²"), ("tuning the chapel organ", "work", "hours"), ("sandblasting four tram bogies", "blasting", "hours"), ("lifting stone from the lower bench", "crane hire", "hours"), ("re-upholstering the stalls", "fabric", "metres")])
    rate = r.choice([19, 20, 21, 25])
    for _ in range(999):
        q, p, fx = r.randint(8, 60), r.randrange(1200, 9500, 50), r.randrange(2000, 30000, 500)
        net = q * p + fx
        if net * rate % 100 == 0:
            break
    tax = net * rate // 100
    gross = net + tax
    disc = r.choice([5, 10])
    e = lambda c: f"{thou(c // 100)}.{c % 100:02d} EUR"
    hide = r.choice(["gross", "items"])
    u = fill(r.choice(["What does {w} come to? {q} {un} of {x} at {p} each, {f} for travel and {t} % tax on top.", "Quote for {w}: {x} {q} {un} at {p}, travel flat {f}, plus {t} % tax. Total please."]), w=what, q=q, un=un, x=unit, p=money(r, p), f=money(r, fx), t=rate)
    a = r.choice([f"The total for {what} is {e(gross)} including {rate} % tax.", f"That comes to {e(gross)}, tax included."])
    c = r.choice(["net", "tax", "disc", "half", "diff"])
    if c == "net":
        g, v, bad = r.choice(["and how much without tax?", "What would that be before tax?", "And net?", "My customer is exempt, so the same without the tax please.", "ok and w/o tax?"]), net, [gross + 100, net + 1000]
    elif c == "tax":
        g, v, bad = r.choice(["How much of that is tax?", "and the tax alone?", "What's the tax part in it, in euros?", "I need the amount of tax separately.", "And just the tax, please, no list of each item?"]), tax, [net, tax + 100]
    elif c == "disc":
        v2 = Fraction(gross * (100 - disc), 100)
        if v2.denominator != 1:
            raise Retry
        g, v, bad = fill(r.choice(["And with {d} % off that total?", "They want a discount of {d} % on the final amount. What is it then?", "take {d}% off the total incl. tax", "If I give them {d} % off the whole sum, tax included, what do they pay?", "{d} % less, then?"]), d=disc), int(v2), [gross, int(v2) + 500]
    elif c == "half":
        if gross % 2:
            raise Retry
        g, v, bad = r.choice(["And if two of us share that equally, what does each pay?", "split in two?", "We are two parties, half each. How much is that for one?", "Half of it is paid by the parish. How much is the half?", "They'll pay it in two equal parts. What's one part?"]), gross // 2, [gross, gross // 2 + 100]
    else:
        v = q * p
        g, bad = fill(r.choice(["How much of that is the {x}, before tax and without travel?", "and the {x} alone, net?", "What do the {q} {un} by themselves come to (no travel, no tax)?", "Just the {x} without tax and without the journey?", "leave out travel and tax - what remains?"]), x=unit, q=q, un=un), [gross, v + 100]
    ss = f"{v // 100}.{v % 100:02d}"
    return item(messy(r, g, pre=False), {}, [has(x_money(v))], [ss, f"**€{thou(v // 100)}.{v % 100:02d}**", f"{thou(v // 100, '.')},{v % 100:02d} EUR"], [e(b) for b in bad] + ["I don't know the total you mean."], talk(u, a))


@scene("followup")
def fu_shorter(r):
    who, who2 = people(r, 2)
    ev, place, fact = r.choice([("annual bat walk", "Hagg Wood car park", "bring a torch"), ("choir's scratch Messiah", "Priory Barn", "bring a pencil"), ("depot jumble sale", "tram hall two", "bring small change"), ("seed swap", "Granary Annexe", "label your packets"), ("blessing of the boats", "north pier", "wear a life jacket")])
    d = dt.date(2025, r.randint(3, 10), r.randint(2, 27))
    t = r.randint(16, 20) * 60 + r.choice([0, 30])
    u = fill(r.choice(["Write an invitation to the {e}: {d}, {t}, {p}. Tell them to {f}. {w} is in charge.", "I need an invitation. {e}, on {d} at {t}, place {p}. Also say: {f}. Signed {w}."]), e=ev, d=datestr(r, d, "dmy"), t=clock(r, t, "24"), p=place, f=fact, w=who)
    a = (f"Dear friends and neighbours,\n\nwe are delighted to invite you most warmly to the {ev}, which is going to take place on {datestr(r, d, 'dmy')} at {clock(r, t, '24')} at {place}. As in former years we look forward to a lively gathering with plenty of "
         f"conversation, something to eat and drink, and the chance to get to know one another a little better. Please {fact}, so that everything runs smoothly and nobody is left standing around. Should the weather turn against us, we will of course find a way to carry on regardless, "
         f"as we always have. If you have any questions at all, do not hesitate to get in touch.\n\nWith kind regards and in happy expectation\n{who}")
    n = r.choice([30, 40, 50])
    q = r.choice(["short", "short", "place", "sign", "bullets"])
    if q == "short":
        g = fill(r.choice(["Make it shorter, at most {n} words. Date, time and place have to stay.", "Too long! No more than {n} words please, but keep when and where.", "shorter pls, max {n} words, keep date/time/place", "Lovely, but can you cut it down to {n} words or fewer? The date, the time and the place must still be in it.", "That's far too chatty. {n} words at the outside, with date, time and place."]), n=n)
        must = [max_words(n), has(x_date(d)), has(x_time(t)), has(x_lit(place))]
        s = f"Join us for the {ev} on {datestr(r, d, 'dmy')} at {clock(r, t, '24')}, {place}."
        return item(messy(r, g, pre=False), {}, must, [s, s + f" Please {fact}. {who}", f"**{ev}**: {d.isoformat()}, {clock(r, t, '12')}, {place}"], [a, f"Join us for the {ev} soon.", f"{ev}, {datestr(r, d + dt.timedelta(days=1), 'dmy')}, {place}"], talk(u, a))
    if q == "place":
        np = r.choice(["Drill Hall", "Saint Ebba's yard", "Wool Market", "Kestrel Park"])
        g = fill(r.choice(["The place has changed, it's {p} now. Please write it again with that.", "Sorry, wrong place: {p}. Same text otherwise.", "new venue {p}, redo pls", "Could you put {p} instead of the old place and leave everything else as it is?", "We had to move to {p}. Give me the whole invitation again, corrected."]), p=np)
        must = [has(x_lit(np)), hasnt(x_lit(place)), has(x_date(d)), has(x_time(t)), has(re.escape(ev).replace("\\ ", r"\s+").replace("'", "['’]"))]
        return item(messy(r, g, pre=False), {}, must, [a.replace(place, np), f"Dear all, the {ev} is on {d.isoformat()} at {clock(r, t, '24')} at {np}. {who}"], [a, "Where should it be?", a.replace(place, np).replace(datestr(r, d, "dmy"), "soon")], talk(u, a))
    if q == "sign":
        g = fill(r.choice(["Please sign it with {w} instead.", "It should be from {w}, not me. Whole text again please.", "change the name at the end to {w}", "{w} has taken over from me. Same invitation, other name under it.", "Put {w} at the bottom instead and give me the full text."]), w=who2)
        must = [r"(?is)" + re.escape(who2).replace("\\ ", r"\s+") + r"\W*\Z", hasnt(x_name(who)), has(x_date(d)), has(x_lit(place))]
        return item(messy(r, g, pre=False), {}, must, [a.replace(who, who2), f"Dear all, {ev}, {d.isoformat()}, {place}.\n\n**{who2}**"], [a, who2, a.replace(who, who + "\n" + who2)], talk(u, a))
    k = r.choice([3, 4])
    g = fill(r.choice(["Can I have the essentials as {k} bullet points instead? Date and place must be among them.", "As {k} bullets please, with date and place in there.", "{k} bullet points, nothing else. date + place included", "Turn that into a list of {k} points (bullets) with the date and the place in it.", "Not a letter: {k} bullet points, and don't lose the date or the place."]), k=words_of(k))
    must = [r"(?m)\A(?:(?!\s*" + BUL + r").*\n)?\s*" + BUL + r"\S.*(?:\s*\n\s*" + BUL + r"\S.*){" + str(k - 1) + r"}\s*\Z", has(x_date(d)), has(x_lit(place))]
    pts = [f"What: {ev}", f"When: {datestr(r, d, 'dmy')}, {clock(r, t, '24')}", f"Where: {place}", f"Please {fact}"]
    pts = pts[:k]
    return item(messy(r, g, pre=False), {}, must, ["\n".join("- " + p for p in pts), "Here you are:\n" + "\n".join("* **" + p + "**" for p in pts)], ["\n".join("- " + p for p in pts + ["Fun"]), a, "\n".join("- " + p for p in pts[:-1])], talk(u, a))


@scene("followup")
def fu_language(r):
    # notices with a number each; the n-th one in another language
    base = r.sample([
        ("The kennels have room for {a} dogs.", {"French": "Le chenil a de la place pour {a} chiens.", "German": "Die Hundepension hat Platz für {a} Hunde.", "Spanish": "La perrera tiene sitio para {a} perros."}, (13, 60)),
        ("Please keep {a} metres away from the hives.", {"French": "Veuillez rester à {a} mètres des ruches.", "German": "Bitte halten Sie {a} Meter Abstand zu den Bienenstöcken.", "Spanish": "Por favor, manténgase a {a} metros de las colmenas."}, (13, 40)),
        ("The tram museum has {a} old trams.", {"French": "Le musée du tramway possède {a} anciens trams.", "German": "Das Straßenbahnmuseum hat {a} alte Bahnen.", "Spanish": "El museo del tranvía tiene {a} tranvías antiguos."}, (13, 60)),
        ("The ferry takes {a} minutes to the island.", {"French": "Le ferry met {a} minutes pour rejoindre l'île.", "German": "Die Fähre braucht {a} Minuten bis zur Insel.", "Spanish": "El ferry tarda {a} minutos hasta la isla."}, (13, 90)),
        ("The choir is looking for {a} new voices.", {"French": "Le chœur cherche {a} nouvelles voix.", "German": "Der Chor sucht {a} neue Stimmen.", "Spanish": "El coro busca {a} voces nuevas."}, (13, 25)),
        ("The freezer must not be opened for {a} hours.", {"French": "Le congélateur ne doit pas être ouvert pendant {a} heures.", "German": "Der Gefrierschrank darf {a} Stunden lang nicht geöffnet werden.", "Spanish": "El congelador no debe abrirse durante {a} horas."}, (13, 72)),
    ], r.choice([3, 4]))
    nums = r.sample(range(13, 61), len(base))
    en = [fill(b[0], a=n) for b, n in zip(base, nums)]
    u = r.choice(["Please write {k} short notices for the notice board: {x}.", "I need {k} signs, one sentence each, about: {x}"])
    u = fill(u, k=words_of(len(base)), x="; ".join(f"{e[:-1].lower()}" for e in en))
    a = "\n".join(f"{i + 1}. {e}" for i, e in enumerate(en))
    i = r.randrange(len(base))
    L = r.choice(["French", "German", "Spanish"])
    ordw = ["first", "second", "third", "fourth"][i]
    if i == len(base) - 1 and r.random() < .5:
        ordw = "last"
    g = fill(r.choice(["The {o} one in {l}.", "And the {o} one in {l}, please, only that one.", "{o} one in {l} pls", "Can you translate the {o} into {l}? Leave the others.", "I can't compare, I don't speak it, but I need the {o} notice in {l}. Just that one."]), o=ordw, l=L)
    fw = {"French": r"\b(?:le|la|les|des?|du|une?|est|à|pour|pendant|veuillez|doit|nous|vous)\b|\bl['’]", "German": r"\b(?:der|die|das|den|dem|ein|eine|um|bitte|sie|uhr|nicht|wird|zu|von|muss|ist|es|bis|für|hat|sucht|werden)\b", "Spanish": r"\b(?:el|la|los|las|de|un|una|por|favor|durante|para|debe|tiene|hasta|está)\b"}[L]
    must = [has(x_int(nums[i], False)), r"(?is)(?:" + fw + ")", hasnt(any_of([x_int(n, False) for j, n in enumerate(nums) if j != i]))]
    key = {"French": r"\b(?:chiens?|chenils?|pensions?|ruches?|tramway|trams?|ferry|bac|traversier|ch[oœ]+e?ur|chorale|cong[ée]lateur|garderie|refuge|île|ile)\b", "German": r"(?:hunde|zwinger|tierpension|bien|straßenbahn|tram|fähre|chor|gefrier|tiefkühl|museum)", "Spanish": r"(?:perrera|residencia|guarder[ií]a|criadero|perr|colmenas?|tranv[ií]as?|ferry|transbordador|barco|coro|congelador)"}[L]
    must.append("(?is)" + key)
    # an English sentence alone is not enough
    must.append(r"(?is)^(?!\W*(?:\d\.\s*)?" + re.escape(en[i]).replace("\\ ", r"\s+") + r"\W*\Z)")
    ok = fill(base[i][1][L], a=nums[i])
    j = (i + 1) % len(base)
    return item(messy(r, g, pre=False, typos=False), {}, must, [ok, f"{i + 1}. **{ok}**", f"Here it is in {L}: {ok}"], [en[i], fill(base[j][1][L], a=nums[j]), "\n".join(fill(b[1][L], a=n) for b, n in zip(base, nums))], talk(u, a))


@scene("followup")
def fu_scale(r):
    dish, ing = r.choice([("honey cake", [("flour", "g", 300), ("honey", "g", 180), ("butter", "g", 120), ("milk", "ml", 240)]), ("fish soup for the crew", [("cod", "g", 900), ("potatoes", "g", 720), ("cream", "ml", 300), ("leeks", "g", 420)]),
                          ("sugar syrup for the hives", [("sugar", "g", 1800), ("water", "ml", 1200), ("thyme tea", "ml", 180)]), ("fixing solution for the lab", [("buffer", "ml", 480), ("formalin", "ml", 60), ("water", "ml", 660)]), ("papier-mâché for the props", [("paper", "g", 540), ("flour", "g", 360), ("water", "ml", 1260)])])
    base = r.choice([4, 6, 12])
    unit = {"honey cake": "people", "fish soup for the crew": "people", "sugar syrup for the hives": "hives", "fixing solution for the lab": "jars", "papier-mâché for the props": "masks"}[dish]
    amt = [q * (2 if base == 12 else 1) for _, _, q in ing]
    to = r.choice([t for t in (2, 3, 5, 8, 9, 10, 15, 18, 20) if t != base and all(a * t % base == 0 for a in amt)])
    u = fill(r.choice(["What do I need for {d} for {b} {u}?", "{d}, {b} {u}: quantities?"]), d=dish, b=base, u=unit)
    a = f"For {base} {unit} you need:\n" + "\n".join(f"- {x[0]}: {q} {x[1]}" for x, q in zip(ing, amt))
    i = r.randrange(len(ing))
    al = r.random() < .4
    v = [q * to // base for q in amt]
    def rx(x, n):
        p = x_int(n, False)
        if n >= 1000:
            k = f"{n / 1000:.3f}".rstrip("0").rstrip(".")
            p = "(?:" + p + "|" + LB + k.replace(".", "[.,]") + r"0*\s*(?:kg|kilo|l\b|lit))"
        return p
    if al:
        g = fill(r.choice(["And for {t}?", "We'll be {t} after all, please do it again for that." if unit == "people" else "It's {t} after all, please do it again for that.", "same for {t} {u} pls", "Change it to {t} {u}.", "Now the whole list for {t} {u} instead of {b}, each item."]), t=to, u=unit, b=base)
        must = [r"(?is)" + re.escape(x[0]) + r"[^\d]{0,25}" + rx(x, n) + r"|(?is:" + rx(x, n) + r"[\s*_]*\w*[\s*_]*(?:of )?[*_]*" + re.escape(x[0]) + ")" for x, n in zip(ing, v)]
        must = [m.replace("|(?is:", "|(?:") for m in must]
        right = ["\n".join(f"- {x[0]}: {n} {x[1]}" for x, n in zip(ing, v)), ", ".join(f"**{n} {x[1]}** of {x[0]}" for x, n in zip(ing, v))]
        wrong = [a, "\n".join(f"- {x[0]}: {n + 50} {x[1]}" for x, n in zip(ing, v)), "How many?"]
    else:
        g = fill(r.choice(["How much {x} would that be for {t}?", "and the {x} for {t} {u}?", "If there are {t} {u}, how much {x} do I need?", "{x}, for {t} instead of {b}?", "I only need to buy the {x}. How much for {t} {u}? No list please."]), x=ing[i][0], t=to, u=unit, b=base)
        must = [has(rx(ing[i], v[i]))]
        right = [f"{v[i]} {ing[i][1]}", f"You need **{thou(v[i])} {ing[i][1]}** of {ing[i][0]}."]
        wrong = [f"{amt[i]} {ing[i][1]}", f"{v[i] + 40} {ing[i][1]}", "It depends."]
    return item(messy(r, g, pre=False), {}, must, right, wrong, talk(u, a))


@scene("followup")
def fu_timeplan(r):
    ev = r.choice([("rehearsal plan", ["warm-up", "Purcell", "break", "Brahms", "notices"]), ("surgery list", ["cat teeth", "dog leg", "rabbit check", "ferret jab", "phone calls"]), ("depot tour", ["welcome", "wheel lathe", "paint shop", "old trams", "tea"]), ("quarry visit", ["safety talk", "upper bench", "crusher", "fossils", "coach back"]), ("stage day", ["unload", "lights", "set", "run-through", "notes"])])
    n = len(ev[1])
    t0 = r.randint(8, 13) * 60 + r.choice([0, 15, 30])
    dur = [r.choice([20, 25, 35, 40, 45, 50, 55]) for _ in range(n)]
    st = [t0 + sum(dur[:i]) for i in range(n)]
    end = t0 + sum(dur)
    u = fill(r.choice(["Make a {e} starting at {t}: {x}.", "{e} please, begin {t}. Items with minutes: {x}"]), e=ev[0], t=clock(r, t0, "24"), x=", ".join(f"{a} {d} min" for a, d in zip(ev[1], dur)))
    a = "\n".join(f"{s // 60:02d}:{s % 60:02d} {x}" for s, x in zip(st, ev[1])) + f"\n{end // 60:02d}:{end % 60:02d} end"
    q = r.choice(["late", "drop", "endlate"])
    sh = r.choice([10, 20, 25, 40])
    i = r.randrange(1, n)
    f = lambda t: f"{t // 60:02d}:{t % 60:02d}"
    if q == "late":
        v = st[i] + sh
        g = fill(r.choice(["We'll begin {s} minutes later. When is \"{x}\" then?", "everything {s} min later - when's {x}?", "The coach is late, so all of it moves back by {s} minutes. At what time does {x} start now?", "And if we start {s} minutes later, when do we get to {x}?", "Shift each item by {s} minutes (later). I only need the new time of {x}."]), s=sh, x=ev[1][i])
        bad = [st[i], st[i] + sh + 5]
    elif q == "endlate":
        j = r.randrange(n)
        v = end + sh
        g = fill(r.choice(["If {x} takes {s} minutes longer, when are we done?", "{x} +{s} min. new end?", "Say {x} overruns by {s} minutes: what time is the end then?", "And the end, if we give {x} another {s} minutes?", "Don't list it all again. When do we finish if {x} gets {s} minutes more?"]), x=ev[1][j], s=sh)
        bad = [end, end - sh]
    else:
        j = r.randrange(n)
        v = end - dur[j]
        g = fill(r.choice(["Drop {x}. When are we finished then?", "without {x}, what's the end?", "If we leave out {x} and move up what follows, at what time do we end?", "And the end time if {x} is cancelled?", "{x} is off. New end?"]), x=ev[1][j])
        bad = [end, v + 5]
    must = [has(x_time(v))]
    return item(messy(r, g, pre=False), {}, must, [f(v), f"At **{clock(r, v, '12')}**.", f"It would be {v // 60}.{v % 60:02d}"], [f(b) for b in bad] + ["That depends."], talk(u, a))


@scene("followup")
def fu_facts(r):
    # the facts are in the first message, the second question is about another of them
    ns = people(r, 5)
    th, unit = r.choice([("beekeepers", "hives"), ("radio amateurs", "contacts"), ("drivers", "runs"), ("singers", "solo bars"), ("divers", "dives")])
    v = r.sample(range(24, 190), 5)
    y = r.sample(range(1961, 2003), 5)
    u = "Here are our " + th + ": " + " ".join(fill(r.choice(["{n}, born {y}, has {v} {u}.", "{n} (born in {y}) comes with {v} {u}.", "Then {n}: {v} {u}, year of birth {y}."][:3 if i else 2]), n=n, y=yy, v=vv, u=unit) for i, (n, yy, vv) in enumerate(zip(ns, y, v))) + f" Who has the most {unit}?"
    o = sorted(range(5), key=lambda i: -v[i])
    a = f"{ns[o[0]]} has the most {unit} ({v[o[0]]})."
    q = r.choice(["second", "fewest", "oldest", "sum", "diff", "born"])
    fn = lambda i: ans_best(ns[i], [ns[j] for j in range(5) if j != i], r)[0]
    if q in ("second", "fewest", "oldest"):
        if q == "second":
            i = o[1]
            g = r.choice(["And who comes second?", "second place?", "Who is next after that?", "If that one drops out, who has the most?", "And the runner-up? Name only."])
        elif q == "fewest":
            i = o[-1]
            g = r.choice(["And the fewest?", "who has the fewest", "And who is at the other end?", "Compare them once more: who has the smallest number?", "Now the one with the lowest number, name only please."])
        else:
            i = min(range(5), key=lambda i: y[i])
            if i == o[0]:
                raise Retry
            g = r.choice(["And who is the oldest?", "oldest one?", "Who of them was born first?", "Which of those people is the oldest? Just the name.", "And by age, who's the eldest?"])
        w = [j for j in range(5) if j != i]
        must = [has(x_name(ns[i])), r"(?is)^(?:(?!" + any_of([x_name(ns[j]) for j in w if not (q == "second" and j == o[0])]) + r").)*?" + x_name(ns[i])]
        return item(messy(r, g, pre=False), {}, must, [ns[i], f"**{ns[i]}** with {v[i]} {unit}."], [ns[w[-1]] if w[-1] != o[0] else ns[w[0]], ns[o[0]] if i != o[0] else ns[o[1]], "I can't tell."], talk(u, a))
    if q == "sum":
        n = sum(v)
        g = r.choice(["And all of them together?", "total?", "How many is that for the five of them in all?", "Add them up for me, please.", "What's the sum of all five? Just the number, not each."])
        bad = [n + 10, v[o[0]]]
    elif q == "diff":
        n = v[o[0]] - v[o[1]]
        g = r.choice(["How many more than the second?", "By how many does this one lead over the next?", "lead over no. 2?", "And the gap to the one behind?", "Compare first and second: how large is the difference?"])
        bad = [n + 3, v[o[1]] + 200]
        if n < 4:
            raise Retry
    else:
        n = y[o[0]]
        g = r.choice(["In what year was this person born?", "year of birth of that one?", "And when was that one born?", "Which year was the leader born in?", "born when?"])
        bad = [y[o[1]], y[o[2]]]
    return item(messy(r, g, pre=False), {}, [has(x_int(n, False))], [str(n), f"**{n}**"], [str(b) for b in bad] + ["unknown"], talk(u, a))


# --------------------------------------------------------------------------
# out
# --------------------------------------------------------------------------
ORDER = ["contradiction", "csv-join", "csv-aggregate", "needle", "table", "rank", "chain", "missing", "parts", "followup"]


def make(seed, per_kind, kinds=ORDER):
    for kind in kinds:
        scenes = KINDS[kind]
        r0 = random.Random(f"{seed}/{kind}")
        order = []
        while len(order) < per_kind:
            order += r0.sample(range(len(scenes)), len(scenes))
        for i in range(per_kind):
            for tries in range(200):
                r = random.Random(f"{seed}/{kind}/{i}/{tries}")
                try:
                    d = scenes[order[i]](r)
                    break
                except Retry:
                    continue
            else:
                raise RuntimeError(f"no draw: {kind} {scenes[order[i]].__name__}")
            yield {"id": f"{kind}-{seed}-{i + 1}", "kind": kind, "_scene": scenes[order[i]].__name__, **d}


def passes(musts, answer):
    return all(re.search(m, answer) for m in musts)


def structure(d):
    """Faults in the shape of a goal."""
    k, F = d["kind"], d["files"]
    lo, hi = {"contradiction": (2, 5), "csv-join": (2, 3), "csv-aggregate": (1, 1), "needle": (1, 1), "table": (4, 12), "rank": (6, 20),
              "chain": (3, 4), "missing": (1, 6), "parts": (1, 2), "followup": (0, 2)}[k]
    if not lo <= len(F) <= hi:
        yield f"{len(F)} files"
    if ("conversation" in d) != (k == "followup"):
        yield "conversation"
    for n, t in F.items():
        if re.search(r"\{[a-zA-Z]\w*\}", t):
            yield f"open slot in {n}"
        if k == "contradiction" and not 5 <= len(re.findall(r"[.!?](?=\s|$)", re.sub(r"\b[ap]\.m\.(?! [A-Z]|\s*$)", "", t))) <= 27:
            yield f"{n}: number of sentences"
        if k == "needle" and not 5000 <= len(t.split()) <= 15000:
            yield f"{len(t.split())} words"
        if k == "csv-aggregate" and not 10 <= len(t.splitlines()) <= 301:
            yield f"{len(t.splitlines())} rows"
    if re.search(r"\{[a-zA-Z]\w*\}", d["goal"]):
        yield "open slot in the goal: " + d["goal"]


def self_check(seeds, per_kind):
    import time
    bad = n = 0
    slow = (0, "")
    for s in seeds:
        for d in make(s, per_kind):
            n += 1
            for m in d["answer_must"]:
                re.compile(m)
            json.dumps(d)
            for what in structure(d):
                bad += 1
                print("STRUCTURE", d["id"], d["_scene"], what)
            if len(d["_right"]) < 1 or len(d["_wrong"]) < 2:
                print("too few samples", d["id"], d["_scene"])
                bad += 1
            for a in d["_right"]:
                t = time.time()
                f = [m for m in d["answer_must"] if not re.search(m, a)]
                slow = max(slow, (time.time() - t, d["id"] + " " + d["_scene"]))
                if f:
                    bad += 1
                    print("RIGHT REJECTED", d["id"], d["_scene"], repr(d["goal"][:300]), "\n   ", repr(a[:400]), "\n   ", f[0][:600])
            for a in d["_wrong"]:
                t = time.time()
                if passes(d["answer_must"], a):
                    bad += 1
                    print("WRONG ACCEPTED", d["id"], d["_scene"], repr(d["goal"][:300]), "\n   ", repr(a[:400]))
                slow = max(slow, (time.time() - t, d["id"] + " " + d["_scene"]))
    print(f"{n} goals, {bad} faults, slowest match {slow[0]:.3f} s ({slow[1]})")
    return bad


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--per-kind", type=int, default=4)
    ap.add_argument("--kind", action="append", choices=ORDER)
    ap.add_argument("--self-check", metavar="A-B", help="check samples over the seeds A to B; prints no goals")
    a = ap.parse_args()
    if a.self_check:
        lo, _, hi = a.self_check.partition("-")
        sys.exit(1 if self_check(range(int(lo), int(hi or lo) + 1), a.per_kind) else 0)
    for d in make(a.seed, a.per_kind, a.kind or ORDER):
        print(json.dumps({k: v for k, v in d.items() if not k.startswith("_")}, ensure_ascii=False))


if __name__ == "__main__":
    main()
