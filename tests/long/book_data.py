"""Words, sentence frames and facts from which book_questions.py composes its books.

Slots of a frame: {P} {Q} people, {he} {his} {him} of the first, {L} {M} places,
{T} {U} one thing, {S} {X} things in the plural, {R} a group, {C} {D} clauses,
{V} {Vd} {Vg} and {W} {Wd} {Wg} two verb phrases (base, past, -ing), and the
shared lists below by name.
"""

FIRST_NAMES = [(n, "he") for n in (
    "Abel Alban Ambrose Barnaby Caleb Conrad Cuthbert Edwin Ephraim Gideon Hector Isaac Jasper "
    "Josiah Lambert Magnus Nathan Osbert Philip Ralph Silas Tobias Walter Zachary").split()
] + [(n, "she") for n in (
    "Adela Agnes Beatrix Cecily Clemence Dorcas Edith Flora Greta Hester Ida Judith Keziah Lavinia "
    "Mabel Nora Ottilie Phoebe Rosamund Sabina Tamsin Ursula Verity Winifred").split()]

SURNAMES = """Abercorn Addlethorpe Ainsley Allardyce Amory Ansdell Arkwright Ashdown Astbury Aylward
Babbage Bagshaw Bamford Barraclough Beckwith Bellamy Bickerstaff Birtwistle Blenkinsop Boddington
Bracewell Braithwaite Bulstrode Burnaby Cadwallader Calloway Cardew Carmody Cattermole Chadwick
Cholmondeley Clitheroe Colquhoun Copplestone Crabtree Cranshaw Crowther Culpepper Dalrymple Danvers
Deverell Dinsdale Dobney Drinkwater Duckworth Dunstable Eardley Eccleston Edgecombe Ellwood Entwistle
Fairbrother Falconbridge Fanshawe Farquhar Featherstone Fenwick Fitchett Fothergill Frobisher
Gadsby Garside Gascoigne Gillespie Goldsworthy Gorringe Greatorex Grimshaw Gurney Haddow Halliwell
Hargreaves Hathersage Hebblethwaite Heathcote Hepworth Heseltine Higginbotham Hollingworth Horrocks
Huddleston Illingworth Inchbald Ingoldsby Jellicoe Jessop Kellaway Kenworthy Kilpatrick Kingscote
Lancaster-Poole Langstaff Lathbury Leadbetter Lethaby Lindqvist Liversedge Lockyer Lonsdale Loxley
Lumsden Mallinson Manningham Mapplebeck Marchbanks Maudsley Merriweather Micklethwait Molyneux
Moncrieff Mortlake Murgatroyd Nettleship Newbould Nightingale Norcross Oglethorpe Oldroyd Openshaw
Ormerod Osbaldeston Outhwaite Pakenham Papworth Pargeter Peckover Pemberton Penhaligon Pettigrew
Pickersgill Polkinghorne Postlethwaite Prendergast Priestnall Quarmby Quennell Rackstraw Ramsbottom
Rathbone Rawnsley Redfern Ridgeway Rigby-Holt Rosencrantz Rowbotham Ruddock Runciman Salthouse
Satterthwaite Scattergood Selwyn Shackleton Shuttleworth Sidebottom Skelmersdale Smallbone Snodgrass
Sotheby Spofforth Stapleton Starkweather Strickland Stubblefield Sugden Summerscale Swinburne
Tattersall Tennyson Thackray Thistlewood Threlfall Throckmorton Tillotson Titherington Trelawney
Trubshaw Tunnicliffe Turnbull Twelvetrees Tyndall Uttley Vavasour Venables Wagstaffe Walmsley
Warburton Weatherhead Wedderburn Whittaker Wigglesworth Winstanley Wolstenholme Woodhead Wrigley
Wycherley Yardley Yelverton""".replace("Lancaster-Poole ", "").replace("Rigby-Holt ", "").split()

PLACE_STARTS = """Ald Birk Cald Dray Elm Fern Gar Hax Ivel Kelm Lang Mar Nor Ox Pad Quarn Rush Sel
Tarn Ulver Wen Yox Thorn Brack Crook Holm Stan Whin""".split()
PLACE_ENDS = """wick thwaite combe hollow ford mouth stow dale worth gate minster ley barrow mere
bourne haven""".split()

SHARED = {
    "when": """in the early years|one wet spring|towards the end of the war|the following summer
before the railway came|in a season that nobody cared to remember|on a raw morning in November
as soon as the frost had gone|year after year|for the rest of that decade|late one evening
within a month|long after the others had gone home|at the turn of the century|that same week
when trade was slack|during the long drought|on most Sundays|shortly before harvest|by midsummer
after the second winter|in those days|from time to time|without any warning""",
    "how": """with more patience than skill|against all advice|in near silence|by lamplight
with borrowed tools|at great speed|with the door bolted|as though it were nothing at all|badly at first
to the astonishment of the neighbours|with a cheerful disregard for cost|slowly and with much swearing
in the manner of an older generation|under a leaking roof|with one eye on the sky|for no pay whatever
in full view of the committee|with the help of a cousin|wearing a borrowed coat|like a sleepwalker""",
    "tail": """and nothing more was said about it|which surprised no one who knew the district
though the accounts tell a different story|and the habit has never quite died out
as the older hands had always said it would|which is why so few of the papers survive
and there, for the moment, the matter rested|although the parish clerk took another view
and everyone was the better for it|which may be only a story|but that belongs to a later chapter
and the smell of it clung to their clothes|as any visitor can still see|whatever the newspapers said
and the children were sent to bed|so the work went on as before|which cost more than anyone admitted
and the argument was still going on at Christmas|in spite of everything|much to the bank's relief""",
    "quality": """patience|good temper|a steady hand|thrift|plain stubbornness|a head for figures|luck
quiet loyalty|common sense|a long memory|the courage to wait|neighbourly feeling|sheer habit|tact
a dislike of waste|an ear for gossip|curiosity|a taste for argument""",
    "adj": """unreliable|handsome|half forgotten|costly|oddly beautiful|cold to the touch|hard to replace
older than it looked|much admired|badly in need of paint|perfectly ordinary|a source of pride
out of fashion|worth the trouble|difficult to explain|smaller than the drawings suggest|well made
not to be trusted in wet weather""",
    "says": """wrote|complained|remarked|noted in the margin|told a visitor|used to say|insisted|admitted
recalled many years later|confided to a friend|declared|grumbled|explained""",
    "remark": """one learns more from a failure than from a fair wind|it is the small jobs that break you
nobody thanks you for what does not happen|a thing well kept is a thing half paid for
there was never a good year that began with a plan|you can hear trouble before you see it
the young are always in a hurry to be old|I would not have changed places with a bishop
if it looks easy, somebody has been up all night|we had no money, but we had the evenings
a quiet day is the best kind of day|the first rule is to sweep the floor|no two winters are alike
you cannot argue with the weather|what is not written down is lost by Easter
it was the waiting that wore us out""",
    "source": """a bundle of letters|the minute book|an unsigned note|a photograph of the period
the recollections of a schoolteacher|a torn receipt|the local newspaper|a sketch on the back of an envelope
an account book with a broken spine|the diary of a lodger|a pamphlet printed at private expense
a tape recording made for the county|family tradition|a pencilled map""",
    "season": "autumn|winter|spring|the dry season|haymaking|ploughing time|Lent|the rainy season|the thaw",
}
SHARED = {key: [item for line in text.splitlines() for item in line.split("|")]
          for key, text in SHARED.items()}

FRAMES = """{when}, {P} {Vd}, while {Q} {Wd}.
Nobody in {L} had expected {T} to last, yet {C}.
{P} {Vd} {how}, {tail}.
To {V} takes {quality}; to {W} takes rather more.
According to {source}, {P} {Vd} before {he} was twenty, {tail}.
"{remark}," {P} {says}.
Where {C}, {R} learned to {V} without being told.
It is easy to forget that {S} were once {adj}.
{R} of {L} seldom agreed with those of {M} about {S}.
Between {L} and {M} there was little to see but {S} and {X}.
{T} was {adj}, and {P} said so to anyone who would listen.
For weeks {C}, and only {quality} kept {R} at their work.
{P} had meant to {V}; instead {he} {Wd}.
What {source} does not show is how {C}.
If {T} failed, {R} would {V} {how}.
{when}, when {C}, even {Q} lost heart.
Visitors came to {L} for {S} and stayed for {X}.
{Vg} was held to be lighter work than {Wg}, {tail}.
There were evenings when {C} and {D}, and no one spoke.
{Q} disliked {T} from the start, and it must be said that it was {adj}.
{P} kept {S} in a shed behind {his} house at {L}.
Of {U} we know only that it was {adj}.
As {C}, so {D}.
The lesson that {R} drew from this was a simple one: {remark}.
{P} {Vd}, {Wd}, and went home to {M} on foot.
Some said that {P} had {quality}; others, less kindly, that {he} merely {Vd}.
{when} {R} met in {L} to talk about {S}, {tail}.
{source} describes {P} {Vg} {how}.
Without {S} there could be no work in {season} at all.
Few people now living have seen anyone {V}.
{he} was not the first to {V}, but {P} was the first to do so {how}.
{T} stood beside {U}, {tail}.
Because {C}, it became the custom to {V} before {season}.
{P} asked {Q} to {V}, and was refused.
Not everything at {L} went well: {C}, and {T} proved {adj}.
A stranger might have thought {S} {adj}.
{R} who {Vd} were paid by the week; those who {Wd} were paid, if at all, in kind.
Then came {season}, and with it {X}.
In {M} they tell the story differently: there, it was {Q} who {Vd}.
The sound of {R} {Vg} could be heard as far off as {L}.
{P} never explained why {he} {Vd} {when}.
"{remark}": so {Q} {says}, and {P} agreed.
One may doubt whether {T} was ever as {adj} as {source} makes out.
Neither {P} nor {Q} could {V}, which did not stop them from trying.
From the road above {L} one could watch {R} {Vg}.
{when}, {T} was moved to {M}, {tail}.
It took {quality}, and a good deal of tea, to {V}.
Children in {L} grew up among {S} and thought nothing of them.
Once {C}, there was time to {V}.
{Q} had a theory about {S}, and explained it {how}.
By then {D}, and {R} had begun to leave for {M}.
The trouble with {T} lay in {S}.
When asked about {X}, {P} would change the subject.
{C}; {D}; and still {P} {Vd}.
{source} lists {S}, {X} and a number of things that cannot now be identified.
{P} used to say that anyone could {V}, given {quality}.
In the matter of {S}, {L} followed where {M} led.
{season} was the time to {V}, and {R} did little else.
{R} resented {Q}, who {Vd} {how}.
Here and there in {L} one still comes upon {S}, {adj} and quite unexplained.
Had {P} not {Vd}, {C} all the same.
It was {Q}, of all people, who {Vd}.
Half of {L} turned out to see {P} {V}.
{T}, like so much else in {M}, was {adj}.
Much has been written about {S}, most of it by people who could not {V}.
The road to {M} was bad, {X} were worse, and {P} had neither gloves nor {quality}.
{when} there was talk of selling {T}, {tail}.
{P} and {Q} quarrelled over {S} and were reconciled over {X}.
First {he} {Vd}; then {P} {Wd} {how}.
As a rule {R} preferred {Vg} to {Wg}, particularly in {season}.
Ask in {L} about {U} and you will be told that {C}.
Why {R} should {V} {when} is not clear.
{P} left {his} notes on {S} to {Q}, {tail}.
On {T} itself opinions differ.
Nothing in {source} suggests that {P} regretted {Vg}.
At {M} {C}, but at {L} matters were otherwise.
To understand {T}, one has to imagine {S} by the hundred and {R} {Vg} among them.
{quality} was what {P} looked for in others, and {quality} was what {he} found in {Q}.
Perhaps {C}; perhaps {R} had simply grown tired of {Wg}.
There is a drawer in {L} full of {S}, {tail}.
{P} {says} that {S} were {adj}, and that {X} were no better.
{when} a letter from {M} arrived, and {P} {Vd} the very same day.
Whoever would {V} must first {W}.
{Q} laughed when {C}, and was not asked back.
All {season} passed in this way, {R} {Vg} and {Q} looking on.""".splitlines()

HEADINGS = ["{T}", "{R} at work", "How {P} came to {L}", "{Vg}", "{S} and {X}", "The road to {M}",
            "{season}", "What {Q} remembered", "{L} and its people", "Of {S}",
            "{P} and {Q}", "An end and a beginning", "{when}", "Letters from {M}", "{T} again"]


def _fact(kind, text, ask, alt=None, near=None):
    """One fact: with `alt` a second sentence gives another value; `near` misleads."""
    fact = {"kind": kind, "text": text, "ask": ask}
    fact.update({k: v for k, v in (("alt", alt), ("near", near)) if v})
    return fact


def _topic(key, org, title, things, plurals, verbs, roles, clauses, facts, missing):
    """One book's subject, from compact lists split at bars."""
    def split(text):
        return [item.strip() for item in " ".join(text.split()).split("|")]
    return {"key": key, "org": org, "title": title, "things": split(things),
            "plurals": split(plurals), "verbs": split(verbs), "roles": split(roles),
            "clauses": split(clauses), "facts": [_fact(*f) for f in facts],
            "missing": [_fact("n:32-99", "", ask, near=near) for ask, near in missing]}


TOPICS = [
_topic("canal", "the {X} Canal", "Still Water: A Life of {org}",
    """the lower basin|the pumping engine|the toll house|the stop gate|the company's barge|the side pond
    |the aqueduct|the dry dock|the towpath bridge|the feeder stream|the ice-breaker|the weigh lock""",
    """coal boats|mooring rings|towing lines|puddled banks|paddle gears|lock beams|toll tickets|stables
    |clay pits|market boats|culverts|cargoes of lime""",
    """puddle,puddled,puddling/the clay|mend,mended,mending/the upper gates|lead,led,leading/the horses
    |clear,cleared,clearing/the weed|gauge,gauged,gauging/the boats|count,counted,counting/the tolls
    |raise,raised,raising/the paddles|dredge,dredged,dredging/the winding hole|tar,tarred,tarring/the hull
    |splice,spliced,splicing/a towline|walk,walked,walking/the bank at night|patch,patched,patching/a leak
    |load,loaded,loading/the lime|drain,drained,draining/the short pound""",
    """the lock-keepers|the boatmen|the lengthsmen|the toll clerks|the navvies|the wharfingers|the carriers""",
    """the water rose behind the gates|the banks softened|the traffic drifted away to the rails
    |the ice held for a fortnight|the reservoirs ran low|the horses went lame|the tunnel dripped
    |the wharf stood empty|the fog lay along the cut|the lime trade revived|the shareholders grew restless""",
    [("n:32-58", "Between the basin at {l1} and the summit, {org} climbs through {v} locks.",
      "How many chambers must a boat work through to get from {l1} up to the highest level of {org}?", None,
      "The older navigation at {l2} had {v} locks, all of them now filled in."),
     ("person", "The first boat to make the whole passage of {org} was steered by {v}.",
      "Who was at the tiller when a vessel went from end to end of {org} for the very first time?", None,
      "The second boat through, a day later, had {v} at the helm."),
     ("pickled *herring|liquorice|whale oil|pipe clay|treacle|goose feathers",
      "In its opening year the most profitable cargo on {org} turned out to be {v}.",
      "Which goods earned {org} the most money in its first twelve months?"),
     ("date", "The great breach of {org}, when the embankment at {l1} gave way, happened on {v}.",
      "When did the raised bank of {org} near {l1} burst?"),
     ("n:300-990", "The tunnel that carries {org} under {l2} measures {v} yards.",
      "How far does the underground stretch of {org} below {l2} run?",
      "A surveyor's notebook gives the bore of {org} beneath {l2} a length of {v} yards."),
     ("person", "The line of {org} was laid out by the engineer {v}.",
      "Who planned the route of {org}?",
      "In an obituary of the time it is {v} who is credited with choosing the course of {org}."),
     ("year", "Horses were last used for towing on {org} in {v}.",
      "In what year did animals cease to pull boats on {org}?",
      "A boatman's widow remembered that the final towing horse of {org} was led away in {v}.")],
    [("What did it cost to dredge the basin of {org} at {l1}?",
      "Dredging the basin at {l1} took far longer than dredging anywhere else on {org}."),
     ("Which company insured the warehouses of {org}?",
      "The warehouses of {org} were insured, though the clerk grumbled about the premium.")]),
_topic("bees", "the {X} Beekeepers' Guild", "Smoke and Honey: The Story of {org}",
    """the observation hive|the honey press|the old bee garden|the wax boiler|the guild's library
    |the lime avenue|the travelling hive|the queen cage|the long shelf of jars|the heather stand
    |the winter store|the smoker""",
    """straw skeps|swarms|brood frames|honey jars|drone cells|wax candles|heather moors|clover fields
    |bee veils|queen cells|mite boards|mead barrels""",
    """smoke,smoked,smoking/the hives|take,took,taking/a swarm|spin,spun,spinning/the combs
    |feed,fed,feeding/the weak colonies|mark,marked,marking/the queens|scrape,scraped,scraping/the frames
    |strain,strained,straining/the honey|weave,wove,weaving/a skep|move,moved,moving/the boxes to the heather
    |render,rendered,rendering/the wax|count,counted,counting/the mites|paint,painted,painting/the hive lids
    |stop,stopped,stopping/the robbing|plant,planted,planting/borage""",
    """the beekeepers|the guild's elders|the orchard owners|the judges|the apprentices|the schoolmasters""",
    """the bees came out too early|the lime trees failed to flower|the combs filled overnight
    |the swarms settled in chimneys|the honey set hard|wasps found the weak hives|the heather was late
    |the price of wax rose|the queens were superseded|the hives went quiet|the clover yielded at last""",
    [("n:120-480", "The heaviest crop that {org} ever took from one hive was {v} pounds.",
      "What did the most productive single colony of {org} yield?", None,
      "Another guild, at {l2}, boasted of {v} pounds from a hive, which nobody believed."),
     ("person", "It was {v} who gave {org} its first movable-frame hive.",
      "From whom did {org} receive the earliest of its hives with frames that could be lifted out?"),
     ("phacelia|sainfoin|buckwheat|melilot|viper's bugloss|hyssop",
      "The honey that won {org} its gold medal came almost wholly from {v}.",
      "What plant lay behind the prize-winning honey of {org}?", None,
      "The honey shown by {l2} the same year was said to be from {v}."),
     ("date", "Disease was first confirmed in the apiary of {org} at {l1} on {v}.",
      "On which day was sickness proved among the colonies that {org} kept at {l1}?"),
     ("year", "Women were admitted to {org} in {v}.",
      "Since when has {org} let in female members?",
      "A speech printed for the jubilee puts the opening of {org} to women in {v}."),
     ("n:60-290", "At the founding of {org} there were {v} members on the roll.",
      "How many people belonged to {org} when it began?",
      "The treasurer's book shows that {v} persons had paid when {org} came into being."),
     ("place", "The oldest skep in the collection of {org} was found in a barn at {v}.",
      "Where did the most ancient straw hive owned by {org} turn up?",
      "The museum label says that the oldest skep of {org} came out of a church tower at {v}.")],
    [("What did a jar of honey from {org} sell for at the {l1} fair?",
      "At the {l1} fair the honey of {org} was sold out before noon."),
     ("Who painted the portrait of the founder that hangs in the hall of {org}?",
      "The founder's portrait in the hall of {org} is large, dark and not very like.")]),
_topic("lighthouse", "the {X} Light", "Keepers of the Lamp: {org} and Its Coast",
    """the lamp room|the fog horn|the landing stage|the keepers' cottage|the spiral stair|the relief boat
    |the oil store|the signal mast|the great lens|the sea wall|the logbook|the winch""",
    """lamp wicks|oil barrels|storm shutters|gull eggs|fishing smacks|brass fittings|rope ladders
    |weather charts|lobster pots|mooring buoys|wrecks|night watches""",
    """trim,trimmed,trimming/the wick|polish,polished,polishing/the lens|wind,wound,winding/the clockwork
    |sound,sounded,sounding/the horn|row,rowed,rowing/out to the reef|haul,hauled,hauling/the barrels
    |write,wrote,writing/up the log|whitewash,whitewashed,whitewashing/the tower
    |signal,signalled,signalling/to the boats|grease,greased,greasing/the turntable
    |read,read,reading/the barometer|catch,caught,catching/pollack from the steps
    |patch,patched,patching/the sea wall|watch,watched,watching/the horizon""",
    """the keepers|the pilots|the coastguards|the fishermen|the relief crew|the inspectors|the lens-makers""",
    """the fog came in without a sound|the swell broke over the landing|the relief was overdue
    |the gulls dashed against the glass|the oil froze in the pipes|the lamp burned low
    |the reef claimed another boat|the tower shook|the glass fell|the wind backed to the east
    |the boats ran for shelter""",
    [("n:90-290", "A visitor who wants to reach the lantern of {org} has {v} steps to climb.",
      "How many stairs lead to the top of {org}?", None,
      "The little tower on the pier at {l2} has {v} steps and no lift either."),
     ("person", "The lens of {org} was ground in the workshop of {v}.",
      "Who made the optical glass of {org}?"),
     ("a tame *jackdaw|a one-eyed *goat|a blind *spaniel|a *tortoise|a tame *otter|a *hedgehog",
      "For company the last keeper of {org} had only {v}.",
      "Which animal lived with the final keeper of {org}?"),
     ("place", "In the year of the great storm the crew of the wrecked barque near {org} were all natives of {v}.",
      "Where did the sailors come from whose ship was lost close to {org} during the big gale?", None,
      "The cook of another vessel, lost off {l2}, was born in {v}."),
     ("date", "{org} was lit for the first time on {v}.",
      "When did the beam of {org} begin to shine?",
      "A framed certificate in the pilots' hall has {org} first lit on {v}."),
     ("n:32-88", "On a clear night {org} could be seen from {v} miles away.",
      "Up to what distance was the beam of {org} visible in good conditions?",
      "An admiralty list allows {org} a range of {v} miles in fine weather."),
     ("year", "The fog horn of {org} fell silent for good in {v}.",
      "When was the sound signal of {org} given up?",
      "The postmistress at {l1} always held that the horn of {org} was switched off in {v}.")],
    [("How much were the keepers of {org} paid in a year?",
      "The keepers of {org} drew their wages once a quarter, when the boat could land."),
     ("What colour was the door of the oil store at {org}?",
      "The door of the oil store at {org} had to be repainted every spring.")]),
_topic("bells", "the {X} Bell Foundry", "Bronze and Fire: {org} in Its Century",
    """the casting pit|the tuning lathe|the great furnace|the loam shed|the pattern loft|the order book
    |the tenor bell|the yard crane|the cracked treble|the tuning fork|the clay core|the counting house""",
    """clappers|bell frames|moulds|ingots of tin|copper pans|church towers|headstocks|handbells|strickles
    |tuning charts|sallies|ringing chambers""",
    """pour,poured,pouring/the metal|tune,tuned,tuning/the treble|break,broke,breaking/the mould
    |ram,rammed,ramming/the loam|hang,hung,hanging/a peal|stoke,stoked,stoking/the furnace
    |skim,skimmed,skimming/the dross|chip,chipped,chipping/the lip|test,tested,testing/the note
    |cut,cut,cutting/the inscription|cart,carted,carting/a bell through the lanes
    |oil,oiled,oiling/the bearings|recast,recast,recasting/an old tenor|sieve,sieved,sieving/the sand""",
    """the founders|the tuners|the moulders|the ringers|the carters|the churchwardens|the pattern-makers""",
    """the metal cooled too fast|the note came out flat|the mould cracked|the orders dried up
    |the towers swayed|the price of tin doubled|the furnace roared all night|the ringers went on strike
    |the casting came out clean|smoke hung over the yard|the vicar refused to pay""",
    [("n:400-990", "The smallest bell of the cathedral ring cast by {org} weighs {v} pounds.",
      "How heavy is the lightest of the bells that {org} supplied to the cathedral?"),
     ("person", "The secret of the alloy used by {org} was sold to a rival by {v}.",
      "Who betrayed the metal recipe of {org} to the competition?", None,
      "The ledger that went missing from {org} was later found in a cupboard by {v}."),
     ("horse *dung|wood ash|cow hair|barley chaff|brick dust|ox blood",
      "To bind the loam of its moulds {org} mixed in {v}.",
      "What was added to the moulding earth at {org} so that it held together?"),
     ("date", "The fire that destroyed the pattern loft of {org} broke out on {v}.",
      "On what day did the store of patterns at {org} burn down?"),
     ("n:1100-8900", "In all, {org} cast {v} bells.",
      "What was the total output of {org} in bells?",
      "A count made from the daybooks credits {org} with {v} bells."),
     ("place", "The very first bell of {org} was hung at {v}.",
      "Which village got the earliest of the bells made by {org}?",
      "The ringers' handbook maintains that the first bell from {org} went to {v}."),
     ("person", "After the founder's death {org} was run by {v}.",
      "Who took charge of {org} once its founder had died?",
      "An indenture of the period names {v} as master of {org} in succession to the founder.")],
    [("How long did the tuning of the cathedral ring at {org} take?",
      "Tuning the cathedral ring kept {org} busy and its neighbours awake."),
     ("To which bank did {org} owe money?",
      "Like most works of its kind, {org} owed the bank more than it liked to say.")]),
_topic("railway", "the {X} Mountain Railway", "Up the Gradient: The Years of {org}",
    """the rack engine|the summit station|the long viaduct|the snow plough|the engine shed|the turntable
    |the water tower|the excursion train|the upper signal box|the goods yard|the loop line|the refuge hut""",
    """sleepers|brake vans|tank engines|snow fences|tickets|gradients|luggage trolleys|rack plates
    |signal lamps|picnic parties|culverts|third-class carriages""",
    """oil,oiled,oiling/the rack|clear,cleared,clearing/the drifts|punch,punched,punching/the tickets
    |fire,fired,firing/the engine|relay,relaid,relaying/the track|set,set,setting/the points
    |walk,walked,walking/the line|light,lit,lighting/the signal lamps|pack,packed,packing/the ballast
    |couple,coupled,coupling/the carriages|test,tested,testing/the brakes|shovel,shovelled,shovelling/ash
    |sell,sold,selling/picture postcards|carry,carried,carrying/milk down the valley""",
    """the drivers|the platelayers|the guards|the porters|the station-masters|the shareholders|the guides""",
    """the snow closed the cutting|the engine slipped on wet leaves|the viaduct hummed in the wind
    |the last train was late|the cloud came down to the platform|the brakes grew hot
    |the tourists stayed away|the stream undercut the bank|the rails buckled in the heat
    |the summit lay above the mist|the timetable was torn up""",
    [("n:1200-4800", "At its highest platform {org} stands {v} feet above the sea.",
      "What elevation does {org} reach?", None,
      "The summit cairn near {l2}, which no train could reach, is put at {v} feet."),
     ("person", "The runaway of the milk train on {org} was stopped by {v}.",
      "Who brought the out-of-control milk wagons of {org} to a halt?"),
     ("ginger biscuits|smoked *trout|*bilberry tart|mutton pies|boiled eggs|seed cake",
      "The refreshment room at the top of {org} was known above all for its {v}.",
      "For what food was the summit buffet of {org} famous?"),
     ("n:32-88", "The journey from bottom to top of {org} used to take {v} minutes.",
      "How long did passengers sit in the train for a full ascent on {org}?", None,
      "On foot, by the path from {l2}, a fit person needed {v} minutes to the halfway hut."),
     ("date", "The last passenger train of {org} ran on {v}.",
      "When did {org} carry travellers for the final time?",
      "A poster kept by an enthusiast announces the closing run of {org} for {v}."),
     ("n:32-78", "The long viaduct of {org} has {v} arches.",
      "How many spans hold up the big bridge of {org}?",
      "An engineer's paper, read in {l1}, speaks of the viaduct of {org} and its {v} spans."),
     ("year", "{org} received its first electric locomotive in {v}.",
      "From what year did {org} own an engine that needed no coal?",
      "In the workshop register the earliest electric engine of {org} is entered under {v}.")],
    [("What was the price of a return ticket to the top of {org}?",
      "Return tickets on {org} were printed on green card and could be kept as a souvenir."),
     ("Which firm built the carriages of {org}?",
      "The carriages of {org} were built to order and creaked from the first day.")]),
_topic("bakery", "the {X} Mill and Bakery", "Daily Bread: A Century of {org}",
    """the stone floor|the brick oven|the mill race|the flour loft|the delivery cart|the sourdough crock
    |the proving cupboard|the great wheel|the shop counter|the sack hoist|the kneading trough|the bell""",
    """loaves|flour sacks|bread peels|millstones|rye fields|currant buns|baskets|ovens|yeast jars
    |delivery rounds|wheat prices|bolting cloths""",
    """knead,kneaded,kneading/the dough|dress,dressed,dressing/the millstones|fire,fired,firing/the oven
    |sift,sifted,sifting/the flour|deliver,delivered,delivering/the loaves|weigh,weighed,weighing/the sacks
    |open,opened,opening/the sluice|scald,scalded,scalding/the troughs|feed,fed,feeding/the leaven
    |haggle,haggled,haggling/over rye|glaze,glazed,glazing/the buns|sweep,swept,sweeping/the loft
    |grease,greased,greasing/the wheel|stack,stacked,stacking/the shelves""",
    """the bakers|the millers|the delivery boys|the farmers|the shop girls|the stone-dressers|the carters""",
    """the wheel stood still for want of water|the dough refused to rise|the price of wheat climbed
    |the oven cracked|the queue reached the church|mice found the loft|the harvest came in damp
    |the smell of rye filled the street|the stones ran hot|the flour turned grey|the shop closed early""",
    [("n:150-950", "On the eve of the coronation {org} baked {v} loaves in one night.",
      "How much bread came out of the ovens of {org} the night before the crowning?", None,
      "On an ordinary Friday some {v} loaves left the shop at {l2}."),
     ("person", "The recipe for the dark rye of {org} was brought from abroad by {v}.",
      "Who introduced the black bread sold by {org}?"),
     ("caraway|aniseed|fennel seed|cardamom|nutmeg|coriander",
      "What set the festival bun of {org} apart was a pinch of {v}.",
      "Which spice distinguished the holiday buns of {org}?", None,
      "Their rivals in {l2} used {v}, and far too much of it."),
     ("date", "The flood that carried away the wheel of {org} came on {v}.",
      "When did high water tear off the mill wheel of {org}?"),
     ("year", "{org} changed over to steel rollers in {v}.",
      "When did {org} stop grinding between stones?",
      "The maker's plate shows that the rollers of {org} were put in during {v}."),
     ("place", "The millstones of {org} were quarried at {v}.",
      "What is the origin of the grinding stones of {org}?",
      "A geologist who examined the millstones of {org} traced them to {v}."),
     ("n:32-68", "The delivery round of {org} covered {v} farms.",
      "At how many farmsteads did the cart of {org} call?",
      "In the driver's own notebook {v} farms are listed for the round of {org}.")],
    [("How many people worked at {org} in its busiest year?",
      "In its busiest year {org} took on hands from three parishes."),
     ("What was the name of the horse that drew the cart of {org}?",
      "The horse that drew the cart of {org} knew every gate and waited at none.")]),
_topic("garden", "the {X} Botanic Garden", "Under Glass: The Making of {org}",
    """the palm house|the seed vault|the herbarium|the lily tank|the boiler room|the potting shed
    |the rock garden|the walled border|the fern stove|the library of pressed leaves|the iron gate
    |the alpine frame""",
    """seed packets|orchids|tree ferns|glazing bars|labels|cuttings|hothouse pipes|rare bulbs|plant hunters
    |specimen sheets|compost heaps|crates of moss""",
    """pot,potted,potting/the seedlings|prune,pruned,pruning/the vines|label,labelled,labelling/the beds
    |press,pressed,pressing/the specimens|water,watered,watering/the ferns|glaze,glazed,glazing/the roof
    |stoke,stoked,stoking/the boiler|graft,grafted,grafting/the pears|sow,sowed,sowing/the alpines
    |catalogue,catalogued,cataloguing/the bulbs|rake,raked,raking/the gravel|trap,trapped,trapping/slugs
    |sketch,sketched,sketching/an orchid|unpack,unpacked,unpacking/the crates""",
    """the gardeners|the botanists|the plant hunters|the students|the glaziers|the night stokers
    |the subscribers""",
    """the frost crept under the doors|the orchids sulked|the boiler failed at midnight
    |the seeds arrived mouldy|the palm reached the glass|greenfly covered the roses|the labels faded
    |the lily opened for a single night|the ship was delayed|hail broke the panes|the beds flooded""",
    [("n:60-240", "The palm in the great house of {org} was {v} years old when it was felled.",
      "What age had the tall tree under the glass of {org} reached before it was cut down?"),
     ("person", "The blue poppy grown at {org} was collected on a cliff by {v}.",
      "Who found the celebrated azure flower that {org} cultivated?", None,
      "The white poppy, a much duller plant, had been sent from {l2} by {v}."),
     ("soot water|tobacco smoke|soft soap|crushed *eggshell|quassia chips|cider vinegar",
      "Against greenfly the head gardener of {org} swore by {v}.",
      "What remedy for aphids did the chief of the staff at {org} recommend?"),
     ("n:1100-9800", "The herbarium of {org} holds {v} sheets of mosses.",
      "How big is the collection of dried mosses at {org}?", None,
      "The seaweeds, which are kept at {l2}, fill {v} sheets."),
     ("date", "{org} opened its gates to the public on {v}.",
      "From which day could anyone walk into {org}?",
      "The gatekeeper's diary says that the public first came into {org} on {v}."),
     ("person", "The palm house of {org} was designed by {v}.",
      "Who was the architect of the big glass building at {org}?",
      "On the drawings for the palm house of {org} stands the signature of {v}."),
     ("place", "The giant lily of {org} was grown from seed sent from {v}.",
      "Where did the seed of the huge water plant at {org} come from?",
      "The accession register states that {v} supplied the seed of the giant lily at {org}.")],
    [("How many panes of glass did the hailstorm break at {org}?",
      "After the hailstorm the glaziers were at {org} for the whole of the summer."),
     ("What did {org} charge for admission on Sundays?",
      "On Sundays {org} charged for admission, which led to angry letters.")]),
_topic("observatory", "the {X} Observatory", "The Patient Sky: A History of {org}",
    """the great refractor|the meridian room|the dome|the plate archive|the regulator clock
    |the comet seeker|the observers' hut|the mirror cell|the spectrograph|the darkroom|the weather mast
    |the observing chair""",
    """glass plates|star charts|eyepieces|comets|sunspots|logbooks|shutters|computing sheets|double stars
    |time signals|meteor counts|cold nights""",
    """open,opened,opening/the dome|measure,measured,measuring/the plates|wind,wound,winding/the clock
    |silver,silvered,silvering/the mirror|reduce,reduced,reducing/the figures|chase,chased,chasing/a comet
    |guide,guided,guiding/the long exposures|develop,developed,developing/the plates
    |oil,oiled,oiling/the bearings|chart,charted,charting/the variables|brush,brushed,brushing/snow off the shutter
    |time,timed,timing/the transits|draw,drew,drawing/the sunspots|warm,warmed,warming/the eyepiece""",
    """the observers|the computers|the night assistants|the instrument-makers|the visitors' guides
    |the directors|the amateurs""",
    """the cloud would not lift|the mirror tarnished|the clock lost time in the cold|the comet faded
    |the dome jammed|the town lights spread|dew settled on the lens|the plates were fogged
    |the seeing steadied after midnight|the sums did not agree|the stove went out""",
    [("n:32-72", "The main mirror of {org} measures {v} inches across.",
      "What is the diameter of the principal reflector at {org}?", None,
      "The finder from {l2}, now in a cupboard, has a lens of {v} millimetres."),
     ("person", "The comet of the hard winter was discovered from {org} by {v}.",
      "Who first noticed, while working at {org}, the tailed visitor of that freezing season?"),
     ("beeswax|lavender oil|whale bone|cork|piano wire|horsehair",
      "The rattle in the dome of {org} was finally cured with {v}.",
      "By means of what material did {org} get rid of the noise in its roof?"),
     ("n:1100-9900", "The catalogue of double stars made at {org} contains {v} pairs.",
      "How many binary systems are listed in the work that {org} published?", None,
      "A rival list, drawn up at {l2}, has {v} entries and a good many mistakes."),
     ("year", "The great refractor of {org} was sold in {v}.",
      "When did {org} part with its largest lens telescope?",
      "The auctioneer's catalogue for the refractor of {org} bears the date {v}."),
     ("person", "The first director of {org} was {v}.",
      "Who headed {org} at the beginning?",
      "A marble tablet by the door honours {v} as the earliest director of {org}."),
     ("date", "Smoke from the moor fire forced {org} to close on {v}.",
      "On what day did burning moorland oblige {org} to shut down?",
      "The night assistant's journal records that {org} was closed because of the moor fire on {v}.")],
    [("How much did the glass blank for the mirror of {org} cost?",
      "The glass blank for the mirror of {org} had to be ordered twice."),
     ("What sort of car did the second director of {org} drive?",
      "The second director of {org} drove up the hill every evening, usually too fast.")]),
_topic("glass", "the {X} Glassworks", "Breath and Sand: The People of {org}",
    """the cone|the annealing arch|the melting pot|the cutting shop|the colour store|the sample cabinet
    |the pot arch|the blowing iron|the polishing wheel|the packing room|the sand barge|the glory hole""",
    """goblets|blowing irons|sand heaps|pots of metal|cullet bins|engraving wheels|paperweights|moulds
    |straw crates|witch balls|window panes|decanters""",
    """gather,gathered,gathering/the metal|blow,blew,blowing/a bulb|anneal,annealed,annealing/the goblets
    |cut,cut,cutting/the stems|engrave,engraved,engraving/a crest|charge,charged,charging/the pots
    |pack,packed,packing/the crates|sort,sorted,sorting/the cullet|wash,washed,washing/the sand
    |polish,polished,polishing/the rims|draw,drew,drawing/a rod|spin,spun,spinning/a crown
    |mix,mixed,mixing/the colours|rake,raked,raking/the furnace""",
    """the blowers|the cutters|the engravers|the teasers|the packers|the apprentices|the merchants""",
    """the pots cracked in the heat|the glass came out green|the furnace went cold|the sand ran short
    |the tax was lifted|the crates arrived in splinters|the colour would not hold
    |the fashion changed|the cone glowed at night|the engravers went blind early|the barge stuck fast""",
    [("n:32-96", "The cone of {org} rose {v} feet above the yard.",
      "How tall was the brick tower of {org}?", None,
      "The chimney at {l2}, which belonged to a brewery, was all of {v} feet."),
     ("person", "The royal service made by {org} was engraved by {v}.",
      "Whose hand decorated the set that {org} produced for the palace?"),
     ("cobalt|manganese|gold chloride|selenium|uranium|antimony",
      "The ruby red of {org} owed its colour to {v}.",
      "Which ingredient made the crimson ware of {org} red?", None,
      "For the yellow ware the recipe, sent from {l2}, called for {v}."),
     ("place", "All the sand that {org} melted was shipped from {v}.",
      "Where did {org} get the raw material for its melt?"),
     ("year", "The furnace of {org} was put out for ever in {v}.",
      "When did the fires of {org} go cold for the last time?",
      "By the account of an old packer, {org} made its final melt in {v}."),
     ("n:1100-7600", "For the exhibition {org} blew {v} witch balls.",
      "How many of the hanging glass globes did {org} prepare for the show?",
      "The exhibition catalogue sets the witch balls of {org} at {v}."),
     ("person", "{org} was founded by {v}.",
      "Who established {org}?",
      "The deed of sale for the land calls {v} the founder of {org}.")],
    [("How hot did the furnace of {org} get?",
      "Nobody at {org} owned a thermometer that could survive the furnace."),
     ("What was served at the dinner when {org} turned a hundred?",
      "The dinner for the hundredth birthday of {org} lasted until the next morning.")]),
_topic("theatre", "the {X} Players", "Lamps and Canvas: {org} on the Road",
    """the painted curtain|the prompt box|the costume basket|the thunder sheet|the box office|the trapdoor
    |the touring van|the green room|the leading part|the orchestra pit|the limelight|the paint frame""",
    """wigs|playbills|footlights|costumes|benefit nights|farces|scene flats|understudies|fog machines
    |encores|curtain calls|prompt books""",
    """rehearse,rehearsed,rehearsing/the fourth act|paint,painted,painting/the flats|sew,sewed,sewing/the ruffs
    |learn,learnt,learning/the part|prompt,prompted,prompting/the lovers|sweep,swept,sweeping/the stage
    |post,posted,posting/the playbills|shake,shook,shaking/the thunder sheet|count,counted,counting/the house
    |load,loaded,loading/the van|trim,trimmed,trimming/the footlights|rewrite,rewrote,rewriting/the ending
    |mend,mended,mending/the curtain|borrow,borrowed,borrowing/a sofa""",
    """the actors|the stagehands|the critics|the prompters|the dressers|the managers|the landladies""",
    """the audience stayed away|the scenery fell over|the leading man lost his voice
    |the gallery threw oranges|the van broke down|the takings were stolen|the rain drummed on the roof
    |the lamps went out|the town council objected|the comedy ran longer than the tragedy
    |the curtain stuck halfway""",
    [("n:120-690", "The longest run in the history of {org} came to {v} performances.",
      "How often was the most enduring show of {org} given?", None,
      "A visiting troupe in {l2} claimed {v} performances, but counted the rehearsals."),
     ("person", "When the lead fell ill at {l1}, the part was taken for {org} by {v}.",
      "Who stepped in for the sick star of {org} at {l1}?"),
     ("sheet iron|dried peas|roller skates|a *barrel of gravel|a *wind harp|tea trays",
      "{org} made the sound of the storm with {v}.",
      "What did {org} use to imitate bad weather on stage?"),
     ("n:1100-4900", "When {org} lost its theatre, the debts stood at {v} pounds.",
      "How much was owed at the time {org} had to give up its house?", None,
      "The rebuilding fund at {l2} had by then reached {v} pounds."),
     ("date", "{org} gave its first performance on {v}.",
      "When did {org} first appear before an audience?",
      "The oldest playbill of {org} announces the opening night for {v}."),
     ("person", "The comedy that made the name of {org} was written by {v}.",
      "Who was the author of the funny play to which {org} owed its fame?",
      "The licence for that famous comedy of {org} was made out to {v} as its author."),
     ("place", "The costumes of {org} were lost in a fire at {v}.",
      "Where did flames consume the wardrobe of {org}?",
      "The insurance papers say that the costumes of {org} burned at {v}.")],
    [("What fee did the leading lady of {org} receive for a week?",
      "The leading lady of {org} was paid by the week and always in advance."),
     ("How many seats did the house of {org} in {l1} have?",
      "In {l1} the house of {org} was so narrow that latecomers had to wait for the interval.")]),
]
