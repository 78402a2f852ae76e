#!/usr/bin/env python3
"""Asks questions about generated books of 100 kB, one planted sentence of which has the answer.

usage: find_goals.py BANDMASTER [--home DIR] [--seeds 1,2] [--books-only DIR] [--questions 12] [--bytes 100000] [--out FILE]

A seed gives a book: varied prose about a hospital, an expedition, a railway, a garden, a brewery or a school, with names and
values of its own. Planted in it are, for each question,

  plain    the sentence with the answer, and near misses: an earlier, planned or rumoured value, or another thing's value
  twice    two sentences that give different values, between which the question does not decide: both are right
  missing  near misses alone, or nothing: the right answer says that the book does not say

Printed are the share of right answers for each kind, of those runs that say `completed`, recall@4 (the sentence stands in
the four parts that the search found nearest), the median time, and whether every cited span holds the quoted words.
"""
import argparse, collections, json, pathlib, random, re, statistics, subprocess, sys, tempfile, time

FIRST = "Aldo Brenna Carsten Dorit Edda Falko Gesine Harald Ines Jorun Klaas Levke Mirko Nele Oskar Petra Quirin Rieke Sven Thea Ulf Vera Wiebke Yorick Zita".split()
LAST = "Amsel Birnbaum Castell Dornfeld Eschweil Fenster Gravel Hollander Imhoff Jessen Kolbe Lindqvist Marten Nordahl Oster Pellworm Quandt Rasch Selby Tarnow Unger Vossberg Wieland Zander".split()
PLACE = ["Hollen", "Brast", "Vindal", "Kerrow", "Ostrup", "Lammet", "Tarn", "Sorwick", "Miredale", "Quern", "Affeld", "Norrby"]
SUFFIX = ["stead", "haven", "moor", "bridge", "ford", "holm", "combe", "wick"]

class Names:
    def __init__(self, rng):
        self.rng, self.used = rng, set()
    def fresh(self, make):
        while True:
            name = make()
            if name not in self.used:
                self.used.add(name)
                return name
    def person(self): return self.fresh(lambda: f"{self.rng.choice(FIRST)} {self.rng.choice(LAST)}")
    def place(self): return self.fresh(lambda: self.rng.choice(PLACE) + self.rng.choice(SUFFIX))
    def number(self): return self.fresh(lambda: str(self.rng.randrange(21, 989)))
    def year(self): return self.fresh(lambda: str(self.rng.randrange(1861, 1979)))
    def date(self):
        months = "January February March April May June July August September October November December".split()
        return self.fresh(lambda: f"{self.rng.randrange(1, 29)} {self.rng.choice(months)} {self.rng.randrange(1861, 1979)}")
    def thing(self):
        return self.fresh(lambda: self.rng.choice(["a blue hatbox", "a hollow globe", "a coal scuttle", "a violin case", "a flour bin", "an empty beehive",
            "a riding boot", "a piano stool", "a copper kettle", "a seed drawer", "a doctor's bag", "an umbrella stand", "a milk churn", "a tobacco jar"]))

# A fact: the sentence with {v}, near misses with {w} (another value of the same kind), questions, the kind of the value, and
# a second sentence with {u} that says the same of the same thing. {a} is the book's place.
SCENES = {
 "hospital": {
  "title": "Annals of the {a} Infirmary",
  "who": ["the matron", "a junior surgeon", "the dispenser", "the almoner", "a ward sister", "the hospital porter", "the treasurer", "a visiting physician", "the laundress", "the chaplain", "an apprentice nurse", "the cook"],
  "what": ["the fever ward", "the linen cupboard", "the donation box", "the north corridor", "the ambulance cart", "the steam boiler", "the sun terrace", "the ledger of patients", "the operating lamp", "the kitchen garden", "the mortuary key", "the waiting hall"],
  "facts": [
   ("The new isolation wing was opened on {v} in pouring rain.", ["The foundation stone of the isolation wing had been laid on {w}.", "For the opening of the isolation wing the committee had first proposed {w}."], ["On what day did the new isolation wing open?", "opening date of the isolation wing?", "When was the isolation wing actually opened?"], "date", None),
   ("Since the second reform, night nurses have been paid {v} shillings a month.", ["Before the second reform a night nurse earned {w} shillings a month.", "Day nurses, by contrast, were paid {w} shillings a month."], ["How many shillings a month do night nurses get since the second reform?", "monthly pay of a night nurse after the second reform"], "number", "A night nurse has drawn {u} shillings a month since the second reform."),
   ("In the end the X-ray apparatus was a gift of {v}, who never saw it at work.", ["It was long believed that {w} had given the X-ray apparatus.", "{w} had promised an X-ray apparatus but went bankrupt."], ["Who finally donated the X-ray apparatus?", "Whose gift was the X-ray apparatus in the end?"], "person", None),
   ("The register of births for those years turned up in {v} behind the organ.", ["The register of deaths for those years was found in {w}."], ["Where was the register of births found?", "In what did the birth register turn up?"], "thing", None),
   ("The cholera barracks held {v} beds at the height of the outbreak.", ["In peacetime the cholera barracks held {w} beds.", "The typhus barracks held {w} beds."], ["How many beds were in the cholera barracks when the outbreak was at its worst?", "Number of beds in the cholera barracks at the peak of the outbreak?"], "number", "At the height of the outbreak {u} beds stood in the cholera barracks."),
   ("The surgeon who performed the first kidney operation here was {v}.", ["{w} assisted at the first kidney operation.", "The second kidney operation was performed by {w}."], ["Which surgeon carried out the first kidney operation?", "Who did the first kidney operation here?"], "person", "The first kidney operation was performed by {u}, as the theatre book has it."),
   ("Convalescent patients are sent to {v}, where the air is dry.", ["Consumptive patients used to be sent to {w}."], ["Where do convalescent patients go?", "Where are patients who are convalescing sent?"], "place", "For their recovery, convalescent patients are sent to {u}."),
   ("The water for the wards comes from a well {v} feet deep.", ["The old well, now filled in, was {w} feet deep."], ["How deep is the well that supplies the wards?", "depth of the well for the wards, in feet?"], "number", "The wards draw their water from a well {u} feet deep."),
  ]},
 "expedition": {
  "title": "The voyage of the {a} expedition",
  "who": ["the first mate", "the naturalist", "a stoker", "the ship's doctor", "the sledge driver", "a cabin boy", "the sailmaker", "the astronomer", "an old whaler", "the quartermaster", "the harpooner", "the cartographer"],
  "what": ["the chronometer", "the lamp oil", "the dog kennels", "the starboard boat", "the spare rudder", "the biscuit chest", "the ice saw", "the sextant", "the sounding line", "the gramophone", "the winter quarters", "the barometer"],
  "facts": [
   ("On the second attempt the party reached a depth of {v} fathoms with the dredge.", ["On the first attempt the dredge had gone down to {w} fathoms only.", "The dredge of a rival ship was said to reach {w} fathoms."], ["How many fathoms deep did the dredge get on the second attempt?", "depth reached by the dredge, second try"], "number", None),
   ("Command passed to {v} after the captain's death.", ["{w} had hoped for the command and was bitterly disappointed.", "Before the captain, {w} had been in command."], ["Who took command once the captain had died?", "Who succeeded the dead captain in command?"], "person", "After the captain's death it was {u} who took command."),
   ("The ship was finally released from the ice on {v}.", ["The ship had been caught in the ice on {w}.", "The almanac had predicted the release from the ice for {w}."], ["On which day did the ice release the ship?", "When did the ship get free of the ice?"], "date", "It was on {u} that the ice at last let the ship go."),
   ("The last tin of tobacco was hidden in {v} by common consent.", ["The first tin of tobacco had been kept in {w}."], ["Where was the last tin of tobacco hidden?", "hiding place of the last tobacco tin?"], "thing", None),
   ("The depot on the glacier contained {v} tins of pemmican.", ["The depot on the beach contained {w} tins of pemmican.", "The plan had called for {w} tins of pemmican in the glacier depot."], ["How many pemmican tins did the glacier depot hold?", "pemmican in the depot on the glacier - how many tins?"], "number", "In the glacier depot lay {u} tins of pemmican."),
   ("The survivors were landed at {v} by a sealing schooner.", ["Mail for the expedition was landed at {w}.", "It had been intended to land the party at {w}."], ["At which place were the survivors put ashore?", "Where did the schooner land the survivors?"], "place", "A sealing schooner put the survivors ashore at {u}."),
   ("The map of the inner fjord is the work of {v}.", ["The map of the outer coast was drawn by {w}."], ["Who drew the map of the inner fjord?", "Who is the author of the map of the inner fjord?"], "person", "{u} drew the map of the inner fjord from memory."),
   ("Of the sledge dogs, {v} came back alive.", ["At the outset there were {w} sledge dogs."], ["How many sledge dogs survived?", "How many of the dogs returned alive?"], "number", "Only {u} of the sledge dogs came back alive."),
  ]},
 "railway": {
  "title": "A history of the {a} branch line",
  "who": ["the stationmaster", "a platelayer", "the signalman", "an inspector", "the ticket clerk", "the fireman", "a travelling salesman", "the line engineer", "the crossing keeper", "a shareholder", "the refreshment lady", "the lamp man"],
  "what": ["the goods shed", "the water crane", "the station clock", "the level crossing", "the luggage barrow", "the timetable", "the signal wires", "the embankment", "the coal stage", "the footbridge", "the weighbridge", "the ticket rack"],
  "facts": [
   ("The rebuilt viaduct has {v} arches, all of brick.", ["The first viaduct, which fell in the flood, had {w} arches.", "The drawings for the viaduct showed {w} arches."], ["How many arches has the rebuilt viaduct?", "number of arches of the viaduct as rebuilt"], "number", None),
   ("The contract for the tunnel was in the end awarded to {v}.", ["{w} had submitted the lowest tender for the tunnel but withdrew.", "The contract for the bridges went to {w}."], ["Who got the contract for the tunnel in the end?", "To whom was the tunnel contract awarded?"], "person", None),
   ("The first passenger train ran on {v}.", ["The first goods train had run on {w}.", "The prospectus had promised passenger trains from {w}."], ["When did the first passenger train run?", "date of the first passenger train"], "date", "Passengers were carried for the first time on {u}."),
   ("The lost cash box was discovered in {v} years later.", ["The lost ticket punch was discovered in {w}."], ["Where was the lost cash box discovered?", "In what was the missing cash box found?"], "thing", None),
   ("The steepest stretch of the line climbs 1 in {v}.", ["The surveyors had allowed for a climb of 1 in {w}."], ["What is the steepest gradient of the line (1 in ...)?", "steepest gradient: one in how many?"], "number", "At its steepest the line climbs 1 in {u}."),
   ("Since the war the locomotives have been repaired at {v}.", ["Before the war the locomotives were repaired at {w}.", "Carriages are repaired at {w}."], ["Where have the locomotives been repaired since the war?", "Place where the engines are repaired since the war?"], "place", "The locomotives have been repaired at {u} since the war."),
   ("The winding accident was blamed on {v}, who left the country.", ["{w} was at first suspected of the accident and later cleared."], ["Who was blamed for the winding accident?", "Who got the blame for the winding accident?"], "person", "For the winding accident the inquiry blamed {u}."),
   ("A season ticket cost {v} crowns in the final year.", ["A season ticket had cost {w} crowns in the opening year.", "A single ticket to the coast cost {w} pence in the final year."], ["What did a season ticket cost in the last year?", "price of a season ticket in the final year, in crowns"], "number", "In the final year {u} crowns were charged for a season ticket."),
  ]},
 "brewery": {
  "title": "Handbook and chronicle of the {a} brewery",
  "who": ["the maltster", "a drayman", "the head brewer", "the cooper", "an excise officer", "the bookkeeper", "a night watchman", "the founder's widow", "the yeast man", "a tavern keeper", "the stable hand", "the foreman"],
  "what": ["the copper kettle", "the ice cellar", "the hop store", "the bottling hall", "the drying floor", "the spring house", "the delivery cart", "the tasting room", "the cask stamp", "the gauge book", "the chimney", "the loading ramp"],
  "facts": [
   ("The recipe as it is used today calls for {v} pounds of hops to a vat.", ["The founder's recipe had called for {w} pounds of hops to a vat.", "The export recipe takes {w} pounds of hops to a vat."], ["How many pounds of hops per vat does today's recipe need?", "hops per vat in the current recipe (pounds)?"], "number", None),
   ("The trademark with the heron was designed by {v}.", ["The trademark with the anchor, given up long ago, was designed by {w}.", "{w} sued over the trademark with the heron and lost."], ["Who designed the heron trademark?", "designer of the trademark with the heron?"], "person", None),
   ("The great fire broke out on {v}.", ["A small fire had been put out on {w}.", "The insurance policy was signed on {w}."], ["When did the great fire break out?", "date of the great fire"], "date", "The date of the great fire is given as {u}."),
   ("The founder's gold watch is kept in {v} to this day.", ["The founder's silver watch was kept in {w} until it was stolen."], ["Where is the founder's gold watch kept?", "where do they keep the gold watch of the founder"], "thing", None),
   ("Complaints about the beer are to be made within {v} days.", ["Complaints about empty casks are to be made within {w} days."], ["Within how many days must one complain about the beer?", "deadline in days for complaints about beer"], "number", "The time allowed for complaints about the beer is {u} days."),
   ("The barley for the strong beer comes from {v}.", ["The barley for the light beer comes from {w}.", "Until the drought the barley for the strong beer came from {w}."], ["Where does the barley for the strong beer come from?", "origin of the barley in the strong beer"], "place", "For the strong beer barley from {u} is used."),
   ("Only {v} may open the yeast safe when the head brewer is away.", ["{w} was once caught at the open yeast safe."], ["Who may open the yeast safe in the head brewer's absence?", "If the head brewer is away, who is allowed to open the yeast safe?"], "person", "In the head brewer's absence the yeast safe is opened by {u}."),
   ("The deepest cellar lies {v} steps below the yard.", ["The upper cellar lies {w} steps below the yard."], ["How many steps down is the deepest cellar?", "steps from the yard to the deepest cellar?"], "number", "From the yard it is {u} steps down to the deepest cellar."),
  ]},
}
FRAMES = [
 "{W} {did} {o} {when}.", "{When}, {w} {did} {o}{tail}.", "It was {when} that {w} {did} {o}.", "{W} and {w2} {did} {o}, {aside}.",
 "Nobody could say why {w} {did} {o}{tail}.", "\"{say},\" said {w}, and {did} {o}.", "In a letter of those days {w} writes that {w2} {did} {o}{tail}.",
 "For {n} weeks {w} {did} {o}; {aside}.", "{W}, {trait}, {did} {o} {when}.", "Of {o} it is told that {w} {did} it {when}.",
 "If {w} had not {done} {o}, {w2} would have.", "{When} there were {n} complaints about {o}, most of them from {w}.",
 "Some {n} people came to see {o}, and {w} counted them twice.", "{W} paid {n} pence for it and {did} {o}{tail}.", "A photograph shows {w} beside {o}; {aside}."]
DID = [("inspected", "inspected"), ("forgot", "forgotten"), ("painted", "painted"), ("sold tickets for", "sold tickets for"), ("quarrelled over", "quarrelled over"), ("measured", "measured"), ("locked up", "locked up"), ("praised", "praised"), ("took apart", "taken apart"), ("guarded", "guarded"), ("wrote a poem about", "written a poem about"), ("borrowed money for", "borrowed money for"), ("described", "described"), ("cleaned", "cleaned"), ("misplaced", "misplaced"), ("insured", "insured")]
WHEN = ["on a windy Monday", "before the thaw", "after the long holiday", "at the turn of the century", "in the driest summer anyone remembered", "while the bells were silent", "at half past four", "the day after the election", "during the strike", "on the eve of the feast", "towards the end of the war", "when the river stood high", "in the second winter", "shortly before the audit"]
TAIL = ["", "", ", to everybody's surprise", ", for which no receipt exists", " without a word", ", as the minutes record", " and regretted it", ", though it rained", " with borrowed tools", ", or so it was said"]
ASIDE = ["the reason is not known", "opinions differ on this", "it changed nothing", "the papers made much of it", "no harm was done", "this was thought odd", "the matter rested there", "someone kept the bill"]
TRAIT = ["a cautious soul", "who disliked noise", "always in a hurry", "newly arrived", "deaf in one ear", "fond of proverbs", "never late", "who could not swim"]
SAY = ["There is time enough", "I have seen worse", "That will have to do", "Ask somebody else", "It was like this before", "We shall be glad of it yet", "Not on a Friday"]
POLITE = ["", "", "", "Please tell me: ", "Hello! A short question about the attached text: ", "I can't find it anywhere, can you help? ", "Hi, for my talk tomorrow: ", "Would you please look this up for me - "]
AFTER = ["", "", "", " Thank you very much!", " Thanks.", " Just the answer, please.", " I'd be very grateful."]

def sentence(rng, scene):
    upper = lambda text: text[0].upper() + text[1:]
    w, w2 = rng.sample(scene["who"], 2)
    did, done = rng.choice(DID)
    when = rng.choice(WHEN)
    made = rng.choice(FRAMES).format(w=w, W=upper(w), w2=w2, did=did, done=done, o=rng.choice(scene["what"]), when=when, When=upper(when),
        n=rng.randrange(2, 90), tail=rng.choice(TAIL), aside=rng.choice(ASIDE), trait=rng.choice(TRAIT), say=rng.choice(SAY))
    return made

def typo(rng, question):
    """Swaps two letters within one long word."""
    words = question.split(" ")
    long = [at for at, word in enumerate(words) if len(word) >= 7 and word.isalpha() and word[0].islower()]
    if long and rng.random() < 0.35:
        at = rng.choice(long); word = words[at]; i = rng.randrange(1, len(word) - 2)
        words[at] = word[:i] + word[i + 1] + word[i] + word[i + 2:]
    return " ".join(words)

def book(seed, size, count):
    rng = random.Random(f"find {seed}")
    scenes = list(SCENES.values())
    scene, names = scenes[seed % len(scenes)], Names(rng)
    title, sentences = scene["title"].format(a=names.place()), []
    while sum(map(len, sentences)) < size:
        made = sentence(rng, scene)
        if made not in sentences[-40:]:
            sentences.append(made)
    facts = scene["facts"][:]
    rng.shuffle(facts)
    facts.sort(key=lambda fact: fact[4] is None)  # those that can be planted twice come first
    questions, planted = [], []
    for number, (fact, decoys, asked, kind, again) in enumerate(facts[:count]):
        make = {"number": names.number, "date": names.date, "person": names.person, "place": names.place, "thing": names.thing}[kind]
        v, w = make(), [make() for _ in decoys]
        what = "twice" if number < 2 and again else "missing" if number in (2, 7) else "plain"
        values, true, wrong = [v], [fact.format(v=v)], [d.format(w=x) for d, x in zip(decoys, w)]
        if what == "twice":
            u = make(); values.append(u); true.append(again.format(u=u)); wrong = []
        if what == "missing":
            values, true = [], []
            wrong = wrong if number == 2 else []
        planted += true + wrong
        question = rng.choice(POLITE) + typo(rng, rng.choice(asked)) + rng.choice(AFTER)
        questions.append({"id": f"{seed}.{number}", "kind": what, "goal": question, "values": values, "wrong": w, "facts": true})
    for one in planted:
        sentences.insert(rng.randrange(len(sentences)), one)
    return title, bound(rng, title, sentences, scene), questions

def bound(rng, title, sentences, scene):
    """Chapters with headings, and paragraphs of different lengths."""
    out, at, number = [f"# {title}"], 0, 1
    while at < len(sentences):
        out.append(f"## {number}. Concerning {rng.choice(scene['what'])}")
        number += 1
        for _ in range(rng.randrange(4, 12)):
            size = rng.randrange(2, 9)
            if sentences[at:at + size]:
                out.append(" ".join(sentences[at:at + size]))
            at += size
    return "\n\n".join(out) + "\n"

NOT = re.compile(r"\b(not|no|none|nowhere|nothing|neither)\b|n't\b", re.I)
def place_of(value, text):
    found = re.search(r"(?<![\w.,])" + re.escape(value) + r"(?!\w)", text)
    return found.start() if found else None

def is_right(question, answer):
    places = [place_of(value, answer) for value in question["values"]]
    if question["kind"] == "missing":
        head = answer.split("\n\n")[0]
        return bool(NOT.search(head)) and not any(place_of(w, head) is not None for w in question["wrong"])
    if any(place is None for place in places):
        return False
    wrong = [p for p in (place_of(w, answer) for w in question["wrong"]) if p is not None]
    return question["kind"] == "twice" or all(p > max(places) for p in wrong)

def run(a, question, path):
    command = [a.bandmaster, "run", question["goal"], "--events", "--quiet", "-f", str(path)] + (["--home", a.home] if a.home else [])
    command += ["--strategy", a.strategy] if a.strategy else []
    began = time.time()
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=900)
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    last = [event for event in events if event["type"] == "run.finished"]
    return time.time() - began, events, (last[-1] if last else None), done.stderr

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("bandmaster"); p.add_argument("--home"); p.add_argument("--seeds", default="1,2"); p.add_argument("--strategy")
    p.add_argument("--questions", type=int, default=8); p.add_argument("--bytes", type=int, default=100_000)
    p.add_argument("--books-only"); p.add_argument("--out")
    a = p.parse_args()
    right, all_, completed, times = collections.Counter(), collections.Counter(), [0, 0], []
    recalled = spans = spans_right = asked = 0
    for seed in map(int, a.seeds.split(",")):
        title, text, questions = book(seed, a.bytes, a.questions)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(a.books_only or folder, f"book{seed}.md")
            path.write_text(text)
            if a.books_only:
                path.with_suffix(".json").write_text(json.dumps(questions, indent=1))
                continue
            for question in questions:
                seconds, events, out, errors = run(a, question, path)
                if out is None:
                    print(question["id"], "NO RESULT", errors[-300:]); all_[question["kind"]] += 1; continue
                ok = is_right(question, out["answer"])
                right[question["kind"]] += ok; all_[question["kind"]] += 1; times.append(seconds)
                if out["status"] == "completed":
                    completed[0] += ok; completed[1] += 1
                searched = [event for event in events if event["type"] == "inputs.searched"]
                raw = text.encode()
                if searched and question["facts"]:
                    parts = [raw[hit["bytes"]["start"]:hit["bytes"]["end"]].decode() for hit in searched[0]["found"][:4]]
                    recalled += all(any(fact in part for part in parts) for fact in question["facts"]); asked += 1
                for cited in out.get("citations", []):
                    spans += 1
                    spans_right += raw[cited["bytes"][0]:cited["bytes"][1]].decode() == cited["quote"]
                shown = "" if ok else " | " + question["goal"] + " | " + " ".join(out["answer"].split())[:300] + f" | {question['values']} not {question['wrong']}"
                print(f"{question['id']:6} {question['kind']:8} {'right' if ok else 'WRONG'} {out['status']:12} {out['strategy']:7} {seconds:5.1f} s{shown}", flush=True)
                if a.out:
                    with open(a.out, "a") as log:
                        log.write(json.dumps({**question, "ok": ok, "seconds": seconds, "events": events}) + "\n")
    if all_:
        for kind in all_:
            print(f"{kind}: {right[kind]}/{all_[kind]}")
        print(f"all: {sum(right.values())}/{sum(all_.values())} right; completed {completed[1]}, of them right {completed[0]}; "
              f"recall@4 {recalled}/{asked}; median {statistics.median(times):.1f} s; spans {spans_right}/{spans} hold their words")

if __name__ == "__main__":
    sys.exit(main())
