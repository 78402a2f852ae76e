#!/usr/bin/env python3
"""Write ten generated books and sixty questions about them.

    python3 book_questions.py --seed 7 --out DIR [--self-check]

DIR receives ten books of about 100 kB (txt, md, html), `questions.jsonl`
(35 single, 15 double, 10 unanswerable) and `distractors.jsonl` (sentences
near a question's subject that do not answer it).  The same seed always gives
the same files.  `--self-check` reads the files back and verifies them.
"""

import argparse
import html
import json
import random
import re
import sys
import textwrap
from pathlib import Path

from book_data import (FIRST_NAMES, FRAMES, HEADINGS, PLACE_ENDS, PLACE_STARTS,
                       SHARED, SURNAMES, TOPICS)

SINGLE, DOUBLE, UNANSWERABLE = 35, 15, 10
BOOK_CHARS = 100_000
CHAPTERS = 15
FORMATS = ["txt", "txt", "txt", "md", "md", "md", "html", "html", "html", "html"]
BOOK_FILE = re.compile(r"\d\d-(?:" + "|".join(t["key"] for t in TOPICS) + r")\.(?:txt|md|html)")
MONTHS = ("January February March April May June July August September October "
          "November December").split()
UNITS = ("zero one two three four five six seven eight nine ten eleven twelve thirteen "
         "fourteen fifteen sixteen seventeen eighteen nineteen").split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()

# What counts as saying that the books do not hold the answer.
NOT_THERE = (
    r"(?i)(?:\b(?:(?:can)?not|never|nowhere)\b|n['’]t\b).{0,60}\b(?:say|said|state[sd]?|mention(?:s|ed)?"
    r"|giv(?:e|es|en)|contain(?:s|ed)?|found|find|record(?:s|ed)?|specif(?:y|ied)|appear|includ(?:e|ed)"
    r"|provide[sd]?|answer(?:ed|able)?|determin(?:e|ed)|known?|tell|told|name[sd]?|list(?:ed)?|there|stated"
    r"|available|identif(?:y|ied)|disclosed?|present|indicate[sd]?|documented|located?|reveal(?:ed)?|covered)\b"
    r"|\bno\b.{0,40}\b(?:mention|information|record|answer|statement|reference|evidence|data|details?"
    r"|indication|passage|figure|name|date|year|books?|documents?|texts?|source)\b"
    r"|\bunanswerable\b|\bunknown\b|\bunspecified\b|\bnothing\b.{0,40}\b(?:about|on|say|says|found)\b"
    r"|\b(?:silent|silence)\b|\bunable to (?:find|answer|determine|locate)\b"
    r"|\b(?:fails?|omits?|neglects?) to\b|\bwithout (?:saying|stating|naming|giving)\b"
)


# ---------------------------------------------------------------- values

def number_words(number):
    """Spell a number below 1000: 342 -> 'three hundred and forty-two'."""
    if number < 20:
        return UNITS[number]
    if number < 100:
        tens, unit = divmod(number, 10)
        return TENS[tens] + ("-" + UNITS[unit] if unit else "")
    hundreds, rest = divmod(number, 100)
    return UNITS[hundreds] + " hundred" + (" and " + number_words(rest) if rest else "")


def digits_regex(number):
    """Match the number in digits, with or without a thousands mark, and no longer number."""
    text = str(number)
    if number >= 1000:
        text = text[:-3] + r"[,.  ’']?" + text[-3:]
    return r"(?<!\d)(?<!\d[.,])" + text + r"(?!\d|[.,]\d)"


def number_regex(number):
    """Match a number written in digits or in words."""
    alternatives = [digits_regex(number)]
    if number < 1000:
        spelled = number_words(number).replace(" and ", " (?:and )?").replace("-", "[- ]?")
        alternatives.append(
            r"\b(?<!hundred )(?<!hundred and )(?<!thousand )(?<!thousand and )" + spelled
            + r"\b(?![- ](?:" + "|".join(UNITS[1:10] + ["hundred", "thousand"])
            + r")\b)(?! and (?:" + "|".join(UNITS[1:] + TENS[2:]) + r")\b)")
    return "(?i)(?:" + "|".join(alternatives) + ")"


def date_regex(day, month, year):
    """Match day, month and year in the usual English, ISO and slashed forms."""
    name, number = MONTHS[month - 1], month
    month_name = name[:3] + "(?:" + name[3:] + r"|t)?\.?" if len(name) > 3 else name
    nth = f"0?{day}(?:st|nd|rd|th)?"
    forms = [
        rf"\b{nth}(?: day)?(?: of)? {month_name},?(?: in)?(?: the year)? {year}\b",
        rf"\b{month_name} (?:the )?{nth},? {year}\b",
        rf"\b{year}-0?{number}-0?{day}\b",
        rf"\b0?{day}[/.]\s?0?{number}[/.]\s?{year}\b",
        rf"\b0?{number}/0?{day}/{year}\b",
    ]
    return "(?i)(?:" + "|".join(forms) + ")"


# Words that may stand in a question and in its sentence without giving it away.
COMMON = set("after before first their there where which while whose would years".split())


class Values:
    """Draw answer values; no value is drawn twice, so each names one sentence."""

    def __init__(self, rng):
        self.rng = rng
        self.used = set()
        self.surnames = rng.sample(SURNAMES, len(SURNAMES))
        self.places = [a + b for a in PLACE_STARTS for b in PLACE_ENDS]
        rng.shuffle(self.places)

    def _fresh(self, draw):
        while (value := draw()) in self.used:
            pass
        self.used.add(value)
        return value

    def person(self):
        """A full name whose surname is used once."""
        return self.rng.choice(FIRST_NAMES)[0] + " " + self.surnames.pop()

    def place(self):
        """A place name used once, with a beginning not shared with a recent one."""
        return self.places.pop()

    def draw(self, kind):
        """Return (text, regex) for a kind: n:lo-hi, year, date, person, place or a|b *c."""
        rng = self.rng
        if kind.startswith("n:"):
            low, high = map(int, kind[2:].split("-"))
            number = self._fresh(lambda: rng.randint(low, high))
            if number < 1000 and rng.random() < 0.5:
                return number_words(number), number_regex(number)
            return (f"{number:,}" if number >= 1000 else str(number)), number_regex(number)
        if kind == "year":
            year = self._fresh(lambda: rng.randint(1841, 1958))
            return str(year), "(?i)" + digits_regex(year)
        if kind == "date":
            year = self._fresh(lambda: rng.randint(1841, 1958))
            month, day = rng.randint(1, 12), rng.randint(1, 28)
            text = rng.choice([f"{day} {MONTHS[month - 1]} {year}",
                               f"{MONTHS[month - 1]} {day}, {year}"])
            return text, date_regex(day, month, year)
        if kind == "person":
            name = self.person()
            return name, rf"(?i)\b{name.split()[1]}\b"
        if kind == "place":
            name = self.place()
            return name, rf"(?i)\b{name}\b"
        word = self._fresh(lambda: rng.choice(kind.split("|")))
        needed = word.split("*")[-1]  # what an answer must have stands after a star
        return word.replace("*", ""), r"(?i)\b" + re.sub(r"[ -]", "[ -]?", needed) + r"\b"


# ---------------------------------------------------------------- prose

class Prose:
    """Compose sentences and paragraphs from frames and one topic's vocabulary."""

    def __init__(self, rng, topic, people, places):
        self.rng, self.topic, self.people, self.places = rng, topic, people, places
        self.verbs = [(forms.split(","), rest) for forms, rest in
                      (verb.split("/") for verb in topic["verbs"])]
        self.seen = set()
        self.decks = {}

    def deal(self, name, items):
        """Take the next item of a shuffled deck, so that all come before one repeats."""
        deck = self.decks.get(name)
        if not deck:
            deck = self.decks[name] = self.rng.sample(items, len(items))
        return deck.pop()

    def _slots(self):
        """One value for every slot that a frame may use."""
        rng, topic = self.rng, self.topic
        (first, he), (second, _) = rng.sample(self.people, 2)
        verb_one, verb_two = (self.deal("verbs", self.verbs) for _ in range(2))
        place, place_two = rng.sample(self.places, 2)
        thing, thing_two = (self.deal("things", topic["things"]) for _ in range(2))
        plural, plural_two = (self.deal("plurals", topic["plurals"]) for _ in range(2))
        slots = {
            "P": rng.choice([first, first.split()[1], first.split()[0]]),
            "Q": rng.choice([second, second.split()[0]]),
            "he": he, "his": {"he": "his", "she": "her"}[he],
            "him": {"he": "him", "she": "her"}[he],
            "L": place, "M": place_two, "T": thing, "U": thing_two,
            "S": plural, "X": plural_two,
            "R": self.deal("roles", topic["roles"]),
            "C": self.deal("clauses", topic["clauses"]),
            "D": self.deal("clauses", topic["clauses"]),
        }
        for letter, (forms, rest) in (("V", verb_one), ("W", verb_two)):
            for key, form in zip(("", "d", "g"), forms):
                slots[letter + key] = f"{form} {rest}"
        for key, items in SHARED.items():
            slots[key] = self.deal(key, items)
        return slots

    def sentence(self):
        """A sentence that has not been used in this book yet."""
        while True:
            frame = self.deal("frames", FRAMES)
            text = frame.format(**self._slots())
            text = text[0].upper() + text[1:]
            if text not in self.seen:
                self.seen.add(text)
                return text

    def paragraph(self):
        """A list of three to nine sentences."""
        return [self.sentence() for _ in range(self.rng.randint(3, 9))]

    def chapter(self, chars):
        """Paragraphs of about so many characters together."""
        paragraphs, size = [], 0
        while size < chars:
            paragraphs.append(self.paragraph())
            size += sum(len(s) + 1 for s in paragraphs[-1])
        return paragraphs

    def heading(self):
        """A chapter heading."""
        text = self.deal("headings", HEADINGS).format(**self._slots())
        return text[0].upper() + text[1:]


class Book:
    """A book: its topic, people, places, chapters, and the names its facts use."""

    def __init__(self, rng, values, topic, number, suffix):
        self.rng, self.topic, self.suffix = rng, topic, suffix
        first_names = rng.sample(FIRST_NAMES, 7)
        people = [(f"{name} {values.surnames.pop()}", he) for name, he in first_names]
        places = [values.place() for _ in range(7)]
        mark = values.place()
        self.names = {"org": topic["org"].format(X=mark),
                      **{f"p{i}": people[i][0] for i in range(3)},
                      **{f"l{i}": places[i] for i in range(3)}}
        self.title = topic["title"].format(**self.names)
        self.author = values.person()
        self.file = f"{number:02d}-{topic['key']}.{suffix}"
        prose = Prose(rng, topic, people, places)
        self.chapters = [(prose.heading(), prose.chapter(BOOK_CHARS // CHAPTERS))
                         for _ in range(CHAPTERS)]
        self.taken = set()

    def plant(self, sentence, avoid_chapter=None):
        """Put a sentence in a paragraph without another planted one; return its chapter."""
        while True:
            chapter = self.rng.randrange(CHAPTERS)
            paragraphs = self.chapters[chapter][1]
            index = self.rng.randrange(len(paragraphs))
            near = avoid_chapter is not None and abs(chapter - avoid_chapter) < 2
            if near or (chapter, index) in self.taken:
                continue
            self.taken.add((chapter, index))
            paragraph = paragraphs[index]
            paragraph.insert(self.rng.randint(1, len(paragraph)), sentence)
            return chapter

    def render(self):
        """The text of the file."""
        return {"txt": self._txt, "md": self._md, "html": self._html}[self.suffix]()

    def _txt(self):
        parts = [self.title.upper(), f"by {self.author}", ""]
        for number, (heading, paragraphs) in enumerate(self.chapters, 1):
            parts += ["", f"CHAPTER {number}", heading, ""]
            for paragraph in paragraphs:
                parts += [textwrap.fill(" ".join(paragraph), 78, break_on_hyphens=False), ""]
        return "\n".join(parts)

    def _md(self):
        parts = [f"# {self.title}", f"*{self.author}*"]
        for number, (heading, paragraphs) in enumerate(self.chapters, 1):
            parts.append(f"## {number}. {heading}")
            parts += [" ".join(paragraph) for paragraph in paragraphs]
        return "\n\n".join(parts) + "\n"

    def _html(self):
        title = html.escape(self.title, quote=False)
        parts = ["<!DOCTYPE html>", '<html lang="en"><head><meta charset="utf-8">',
                 f"<title>{title}</title>", "<style>body{font-family:serif}</style>",
                 "</head><body>", f"<h1>{title}</h1>", f"<p><em>{self.author}</em></p>"]
        for number, (heading, paragraphs) in enumerate(self.chapters, 1):
            parts.append(f'<h2 id="c{number}">{number}. {html.escape(heading, quote=False)}</h2>')
            parts += [f"<p>{html.escape(' '.join(p), quote=False)}</p>" for p in paragraphs]
        return "\n".join(parts + ["</body></html>", ""])


# ---------------------------------------------------------------- questions

def fill(template, names, value=""):
    """A fact's sentence or question, with a capital at the start."""
    text = template.format(v=value, **names)
    return text[0].upper() + text[1:]


def choose_facts(rng, books):
    """Pick the facts of each kind, spread over the books: lists of (book, fact)."""
    singles, doubles, missing = [], [], []
    for book in books:
        facts = book.topic["facts"]
        singles += [(book, f) for f in facts if "alt" not in f]
        doubles += [(book, f) for f in facts if "alt" in f]
        missing += [(book, f) for f in book.topic["missing"]]
    for pool in (singles, doubles, missing):
        rng.shuffle(pool)
    return singles[:SINGLE], doubles[:DOUBLE], missing[:UNANSWERABLE]


def build(seed):
    """Return (books, questions, distractors) for a seed."""
    rng = random.Random(seed)
    values = Values(rng)
    topics, formats = rng.sample(TOPICS, len(TOPICS)), rng.sample(FORMATS, len(FORMATS))
    books = [Book(rng, values, topic, i, suffix)
             for i, (topic, suffix) in enumerate(zip(topics, formats), 1)]
    singles, doubles, missing = choose_facts(rng, books)
    questions, distractors = [], []

    def add(kind, question, places, regexes):
        names = list(dict.fromkeys(name for name, _ in places))
        questions.append({"id": "", "kind": kind, "question": question, "books": names,
                          "answer_must": regexes, "places": places})
        return questions[-1]

    def add_near(entry, book, fact):
        """Plant a sentence on a near subject, if the fact has one."""
        if "near" in fact:
            text = values.draw(fact["kind"])[0] if "{v}" in fact["near"] else ""
            sentence = fill(fact["near"], book.names, text)
            book.plant(sentence)
            distractors.append((entry, book.file, sentence))

    for book, fact in singles:
        text, regex = values.draw(fact["kind"])
        sentence = fill(fact["text"], book.names, text)
        book.plant(sentence)
        entry = add("single", fill(fact["ask"], book.names), [[book.file, sentence]], [regex])
        add_near(entry, book, fact)
    for index, (book, fact) in enumerate(doubles):
        places, regexes, chapter, home = [], [], None, book
        for form in ("text", "alt"):
            text, regex = values.draw(fact["kind"])
            sentence = fill(fact[form], book.names, text)
            chapter = home.plant(sentence, chapter if home is book else None)
            places.append([home.file, sentence])
            regexes.append(regex)
            if index % 2:  # every second pair lies in two books
                home = rng.choice([b for b in books if b is not book])
        entry = add("double", fill(fact["ask"], book.names), places, regexes)
        add_near(entry, book, fact)
    for book, fact in missing:
        entry = add("unanswerable", fill(fact["ask"], book.names), [], [NOT_THERE])
        add_near(entry, book, fact)

    rng.shuffle(questions)
    for number, question in enumerate(questions, 1):
        question["id"] = f"s{seed}-q{number:02d}"
    return books, questions, [{"id": entry["id"], "book": book, "sentence": sentence}
                              for entry, book, sentence in distractors]


def write(seed, out):
    """Write the books, the questions and the distractors; replace those of an earlier run."""
    books, questions, distractors = build(seed)
    out.mkdir(parents=True, exist_ok=True)
    for old in out.iterdir():  # books of an earlier seed
        if BOOK_FILE.fullmatch(old.name):
            old.unlink()
    for book in books:
        (out / book.file).write_text(book.render(), encoding="utf-8")
    for name, rows in (("questions", questions), ("distractors", distractors)):
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (out / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


# ---------------------------------------------------------------- self-check

def plain(path):
    """A book's text with tags removed and white space folded."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        text = html.unescape(re.sub(r"<[^>]+>", " ", text))
    return re.sub(r"\s+", " ", text)


def rows_of(path):
    """The objects of a JSON lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def shared_words(question, sentence):
    """Words of five letters and more, names aside, that both have."""
    return set.intersection(*(set(re.findall(r"(?<![\w'’])[a-z]{5,}", text))
                              for text in (question, sentence))) - COMMON


def self_check(out):
    """Return a list of faults found in a written folder."""
    questions, distractors = rows_of(out / "questions.jsonl"), rows_of(out / "distractors.jsonl")
    listed = {name for q in questions for name in q["books"]}
    texts = {p.name: plain(p) for p in sorted(out.iterdir()) if BOOK_FILE.fullmatch(p.name)}
    faults = []
    if len(texts) != 10 or not listed <= set(texts):
        faults.append("the books and the questions do not fit")
    for name, text in texts.items():
        if not 90_000 <= len(text) <= 125_000:
            faults.append(f"{name}: {len(text)} characters")
    kinds = [q["kind"] for q in questions]
    for kind, count in (("single", SINGLE), ("double", DOUBLE), ("unanswerable", UNANSWERABLE)):
        if kinds.count(kind) != count:
            faults.append(f"{kinds.count(kind)} {kind} questions, not {count}")
    if len({q["question"] for q in questions}) != len(questions):
        faults.append("a question is asked twice")
    everything = " ".join(texts.values())
    for q in questions:
        for name, sentence in q["places"]:
            if len(shared := shared_words(q["question"], sentence)) > 2:
                faults.append(f"{q['id']}: the question repeats {sorted(shared)}: {sentence}")
    for q in questions:
        sentences = [sentence for _, sentence in q["places"]]
        for name, sentence in q["places"]:
            if texts[name].count(sentence) != 1 or everything.count(sentence) != 1:
                faults.append(f"{q['id']}: not once in the books: {sentence}")
        if q["kind"] == "unanswerable":
            continue
        if len(q["answer_must"]) != len(sentences):
            faults.append(f"{q['id']}: {len(q['answer_must'])} values, {len(sentences)} places")
        rest = everything
        for sentence in sentences:
            rest = rest.replace(sentence, " ")
        for index, regex in enumerate(q["answer_must"]):
            hits = [bool(re.search(regex, sentence)) for sentence in sentences]
            if hits != [i == index for i in range(len(sentences))]:
                faults.append(f"{q['id']}: {regex} does not tell its sentences apart")
            if re.search(regex, q["question"]):
                faults.append(f"{q['id']}: the question gives the answer away")
            if found := re.search(regex, rest):
                faults.append(f"{q['id']}: the value also stands elsewhere: "
                              + rest[max(0, found.start() - 60):found.end() + 40])
    for d in distractors:
        if texts[d["book"]].count(d["sentence"]) != 1:
            faults.append(f"distractor not once in {d['book']}: {d['sentence']}")
        question = next(q for q in questions if q["id"] == d["id"])
        if question["kind"] != "unanswerable" and any(
                re.search(regex, d["sentence"]) for regex in question["answer_must"]):
            faults.append(f"{d['id']}: a distractor matches: {d['sentence']}")
    return faults


def main():
    """Read the command line, write the files, check them when asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--self-check", action="store_true", help="verify the written files")
    args = parser.parse_args()
    write(args.seed, args.out)
    if args.self_check:
        faults = self_check(args.out)
        print("\n".join(faults) or "self-check: no faults")
        sys.exit(bool(faults))


if __name__ == "__main__":
    main()
