//! Books with facts planted by a seed. Every place and person is named many times, so that a name alone finds nothing,
//! and questions use other words than the facts where they can.

pub(super) struct Book {
    pub(super) text: String,
    pub(super) questions: Vec<Question>,
}

pub(super) struct Question {
    pub(super) text: String,
    /// The planted sentences that answer it: two where the book has two different values.
    pub(super) facts: Vec<String>,
}

pub(super) struct Language {
    /// Sentences about a place `{p}`, a person `{n}` and a number `{x}`.
    filler: &'static [&'static str],
    /// A fact and a question about it.
    facts: &'static [(&'static str, &'static str)],
    chapter: &'static str,
}

pub(super) const ENGLISH: Language = Language {
    chapter: "Chapter",
    filler: &[
        "The road to {p} was muddy that spring, and few carts went there.",
        "{n} had always said that {p} was no place for somebody with weak lungs.",
        "In the evening they sat by the fire and spoke of the year when the river rose.",
        "Nobody remembered who had planted the {x} lime trees along the street of {p}.",
        "{n} wrote a long letter and did not send it.",
        "The council of {p} met on Thursdays, if the stove was repaired.",
        "It was said that {n} owned a coat with {x} buttons, all of them different.",
        "Snow fell early, and the children of {p} were glad of it.",
        "There was a market with apples, ropes, lamps and, once a year, a bear.",
        "When {n} came back from {p}, the clock had stopped.",
        "The price of coal went up, and with it the temper of {n}.",
        "A ferry, a mill and an inn: more could not be seen of {p} from the hill.",
        "The lighthouse keeper of another coast was a cousin of {n}.",
        "About {x} people lived there then, and all of them knew {n}.",
        "{n} bought bread, paid with a large coin and waited for the change.",
        "The schoolmaster of {p} taught Latin, badly, and the violin, well.",
        "Years later a photograph was found on which {n} looks at something outside the picture.",
        "Old maps show {p} on the wrong side of the river.",
        "The bakery opened at five, and by six the street smelled of it.",
        "What {n} thought of the matter is not known.",
    ],
    facts: &[
        ("The lighthouse at {p} was completed in {y}.", "In which year was the {p} lighthouse finished?"),
        ("{n} keeps {x} hives of bees behind the mill.", "How many beehives does {n} own?"),
        ("A ticket for the ferry of {p} costs {x} crowns.", "What must one pay to cross by ferry at {p}?"),
        ("{n} was born in the winter of {y}, in a sleigh.", "When was {n}'s birth?"),
        ("The bell of the church in {p} weighs {x} hundredweight.", "How heavy is the church bell of {p}?"),
        ("The bridge of {p} is held by {x} arches of granite.", "How many arches has the bridge in {p}?"),
        (
            "At the inn of {p}, guests must leave their dogs in the yard.",
            "Are dogs allowed inside the inn at {p}?",
        ),
        ("{n} lost the left thumb in a sawmill in {y}.", "How did {n} lose a finger?"),
        ("The library of {p} lends a book for {x} days.", "For how long can books be borrowed in {p}?"),
        ("{n} left the whole estate to a nephew in Lisbon.", "Who inherited the property of {n}?"),
        ("{n} keeps a diary. Its binding has {x} brass corners.", "How many corners has the diary of {n}?"),
        ("Much is wrong in {p}. Dr. Hale counted {x} leaking roofs there.", "How many roofs leak in {p}?"),
    ],
};

pub(super) const GERMAN: Language = Language {
    chapter: "Kapitel",
    filler: &[
        "Die Straße nach {p} war in jenem Frühjahr schlammig, und wenige Wagen fuhren dorthin.",
        "{n} hatte immer gesagt, {p} sei kein Ort für Leute mit schwacher Lunge.",
        "Abends saßen sie am Feuer und sprachen von dem Jahr, in dem der Fluss gestiegen war.",
        "Niemand wusste mehr, wer die {x} Linden an der Straße von {p} gepflanzt hatte.",
        "{n} schrieb einen langen Brief und schickte ihn nicht ab.",
        "Der Rat von {p} tagte donnerstags, wenn der Ofen geheizt war.",
        "Man sagte, {n} besitze einen Mantel mit {x} Knöpfen, alle verschieden.",
        "Der Schnee fiel früh, und die Kinder von {p} freuten sich.",
        "Es gab einen Markt mit Äpfeln, Seilen, Lampen und einmal im Jahr einem Bären.",
        "Als {n} aus {p} zurückkam, war die Uhr stehen geblieben.",
        "Der Preis der Kohle stieg, und mit ihm der Zorn von {n}.",
        "Eine Fähre, eine Mühle und ein Gasthaus: mehr sah man von {p} nicht.",
        "Etwa {x} Menschen lebten damals dort, und alle kannten {n}.",
        "{n} kaufte Brot, zahlte mit einer großen Münze und wartete auf das Wechselgeld.",
        "Der Lehrer von {p} unterrichtete Latein, schlecht, und Geige, gut.",
        "Alte Karten zeigen {p} auf der falschen Seite des Flusses.",
        "Was {n} davon hielt, ist nicht bekannt.",
    ],
    facts: &[
        (
            "Der Leuchtturm von {p} wurde {y} fertiggestellt.",
            "In welchem Jahr war der Leuchtturmbau in {p} fertig?",
        ),
        ("{n} hält hinter der Mühle {x} Bienenvölker.", "Wie viele Völker von Bienen hat {n}?"),
        ("Eine Fahrkarte für die Fähre von {p} kostet {x} Kronen.", "Was kosten Fährfahrten in {p}?"),
        (
            "{n} wurde im Winter {y} in einem Schlitten geboren.",
            "In welchem Schlitten ist {n} geboren worden, und wann?",
        ),
        (
            "Die Kirchenglocke von {p} wiegt {x} Zentner.",
            "Welches Gewicht hat die Glocke der Kirche von {p}?",
        ),
        ("Die Brücke von {p} ruht auf {x} Bögen aus Granit.", "Wie viele Brückenbögen gibt es in {p}?"),
        (
            "Im Gasthaus von {p} müssen Hunde im Hof bleiben.",
            "Darf man seinen Hund in das {p} Gasthaus mitnehmen?",
        ),
        ("{n} vererbte den ganzen Besitz einem Neffen in Lissabon.", "Wer hat den Besitz von {n} geerbt?"),
        (
            "{n} führt ein Tagebuch. Sein Einband hat {x} Ecken aus Messing.",
            "Wie viele Messingecken hat {n} am Tagebuch?",
        ),
        (
            "Manches liegt in {p} im Argen. Dr. Hahn zählte dort {x} undichte Dächer.",
            "Wie viele Dächer sind in {p} undicht?",
        ),
        (
            "Die Kündigungsfrist für Pächter in {p} beträgt {x} Wochen.",
            "Mit welcher Frist wird in {p} gekündigt?",
        ),
    ],
};

pub(super) const FRENCH: Language = Language {
    chapter: "Chapitre",
    filler: &[
        "La route de {p} était boueuse ce printemps-là, et peu de charrettes y allaient.",
        "{n} avait toujours dit que {p} n'était pas un lieu pour les poumons faibles.",
        "Le soir, on s'asseyait près du feu et l'on parlait de l'année de la crue.",
        "Personne ne savait plus qui avait planté les {x} tilleuls de la rue de {p}.",
        "{n} écrivit une longue lettre et ne l'envoya pas.",
        "Le conseil de {p} se réunissait le jeudi, si le poêle était réparé.",
        "On disait que {n} possédait un manteau à {x} boutons, tous différents.",
        "La neige tomba tôt, et les enfants de {p} s'en réjouirent.",
        "Il y avait un marché avec des pommes, des cordes, des lampes et, une fois l'an, un ours.",
        "Quand {n} revint de {p}, l'horloge s'était arrêtée.",
        "Le prix du charbon montait, et avec lui la colère de {n}.",
        "Un bac, un moulin et une auberge : on ne voyait rien d'autre de {p}.",
        "Environ {x} personnes y vivaient alors, et toutes connaissaient {n}.",
        "{n} acheta du pain, paya avec une grosse pièce et attendit la monnaie.",
        "L'instituteur de {p} enseignait le latin, mal, et le violon, bien.",
        "Ce que {n} en pensait, nul ne le sait.",
    ],
    facts: &[
        ("Le phare de {p} fut achevé en {y}.", "En quelle année l'achèvement du phare de {p} eut-il lieu ?"),
        ("{n} élève {x} ruches d'abeilles derrière le moulin.", "Combien de ruches {n} a-t-il ?"),
        ("Un billet pour le bac de {p} coûte {x} couronnes.", "Quel est le coût des billets du bac à {p} ?"),
        (
            "{n} naquit en hiver {y}, dans un traîneau.",
            "Quand la naissance de {n}, en traîneau, eut-elle lieu ?",
        ),
        (
            "La cloche de l'église de {p} pèse {x} quintaux.",
            "Combien pèsent les cloches de l'église, à {p} ?",
        ),
        ("Le pont de {p} repose sur {x} arches de granit.", "Combien d'arches compte le pont de {p} ?"),
        ("{n} légua tous ses biens à un neveu de Lisbonne.", "À qui {n} a-t-il légué ses biens ?"),
        ("{n} tient un journal. Sa reliure a {x} coins de laiton.", "Combien de coins a le journal de {n} ?"),
        ("Tout va mal à {p}. M. Henri y compta {x} toits percés.", "Combien de toits sont percés à {p} ?"),
        (
            "Le préavis pour résilier un bail à {p} est de {x} semaines.",
            "Quel préavis pour la résiliation des baux à {p} ?",
        ),
    ],
};

/// The generator SplitMix64, so that a seed gives the same book everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn name(&mut self) -> String {
        let syllables = ["bra", "ven", "ko", "lis", "tor", "mar", "ul", "dep", "ran", "sil", "go", "phe"];
        let ends = ["dal", "wick", "no", "sta", "rim", "beck", "lo", "hurst"];
        let name = format!("{}{}{}", self.pick(&syllables), self.pick(&syllables), self.pick(&ends));
        name[..1].to_uppercase() + &name[1..]
    }

    fn fill(&mut self, template: &str, place: &str, person: &str) -> String {
        let filled = template.replace("{p}", place).replace("{n}", person);
        let filled = filled.replace("{x}", &(2 + self.below(90)).to_string());
        filled.replace("{y}", &(1700 + self.below(250)).to_string())
    }
}

/// A book of about `bytes` with two facts of each kind, every fifth one planted twice with different values.
pub(super) fn book(language: &Language, bytes: usize, seed: u64) -> Book {
    let mut random = Random(seed);
    let names: Vec<String> = (0..24).map(|_| random.name()).collect();
    let (places, persons) = names.split_at(12);
    let mut sentences = Vec::new();
    let mut written = 0;
    while written < bytes {
        let (place, person) = (random.pick(places).clone(), random.pick(persons).clone());
        let template = *random.pick(language.filler);
        sentences.push(random.fill(template, &place, &person));
        written += sentences[sentences.len() - 1].len() + 1;
    }
    let mut questions = Vec::new();
    for (number, (fact, question)) in language.facts.iter().chain(language.facts).enumerate() {
        // Each kind has two places and two persons, and no fact is planted by chance for another one's question.
        let (place, person) = (&places[number % places.len()], &persons[(number * 5) % persons.len()]);
        let mut planted: Vec<String> = Vec::new();
        while planted.len() < if number % 5 == 4 { 2 } else { 1 } {
            let fact = random.fill(fact, place, person);
            if !planted.contains(&fact) {
                let at = random.below(sentences.len());
                sentences.insert(at, fact.clone());
                planted.push(fact);
            }
            if !fact_has_value(language, number) {
                break;
            }
        }
        questions.push(Question { text: random.fill(question, place, person), facts: planted });
    }
    Book { text: bound(language, &sentences, &mut random), questions }
}

/// Whether a fact can have two values.
fn fact_has_value(language: &Language, number: usize) -> bool {
    let fact = language.facts[number % language.facts.len()].0;
    fact.contains("{x}") || fact.contains("{y}")
}

/// A book as Markdown: chapters with headings, each of several paragraphs.
fn bound(language: &Language, sentences: &[String], random: &mut Random) -> String {
    let mut text = String::new();
    for (number, chapter) in (1..).zip(sentences.chunks(sentences.len() / 9 + 1)) {
        text += &format!("## {} {number}\n\n", language.chapter);
        let mut rest = chapter;
        while !rest.is_empty() {
            let (paragraph, after) = rest.split_at(rest.len().min(3 + random.below(7)));
            text += &format!("{}\n\n", paragraph.join(" "));
            rest = after;
        }
    }
    text
}
