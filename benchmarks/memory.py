"""How fast and how well the pool finds notes, beside words alone (FTS5) and vectors alone (Chroma).

    python benchmarks/memory.py [--notes N] [--embedding NAME ...] [--store NAME ...] [--rounds N] [--near SHARE] [--seed N]

A brain of N notes is made in a folder of its own: sentences put together from the words of some seventy subjects. With
`--near 0.1` one note in ten uses the very words of the questions and of what they ask for (some twenty such notes a question); the
others are about something else. Among them stand the notes of PLANTED, each asked for twice: with words it holds, and in
other words; and those of HELD_OUT, which nothing was tuned on (the figures below `held out`). `recall_at_1` and `recall_at_5` are the shares of these questions whose note comes
first, or among the first five. `flat` goes through every vector, `chroma` asks Chroma; the daemon does the
former up to 100,000 vectors. Times are of whole searches in this process, excerpts read, in milliseconds. Prints JSON.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from brain_daemon.memory.index import Index
from brain_daemon.memory.pool import Pool
from brain_daemon.memory.vectors import EmbeddingWish, Vectors, index_path
from brain_daemon.store.files import Files
from brain_daemon.store.layout import Layout

WAIT_SECONDS = 1800.0
FOUND = 5

PLANTED = [
    ("The backup job of the billing database runs at 03:40 and keeps fourteen copies.", "billing database backup copies", "how many old snapshots of the invoice store do we hold on to"),
    ("Ann is allergic to nuts; order her lunch from the vegan place.", "Ann allergic nuts lunch", "what food must we avoid for our colleague"),
    ("To roll back a release, redeploy the previous image tag and drain the load balancer first.", "roll back release image tag", "undo a bad deployment"),
    ("The office door code changes on the first Monday of each month.", "office door code changes", "when do we get a new entrance PIN"),
    ("Customers in Norway pay no VAT on software sold by the Irish company.", "Norway VAT software Irish", "sales tax for Scandinavian buyers"),
    ("The car will not start in frost unless the battery is warmed for ten minutes.", "car start frost battery", "vehicle fails to ignite in cold weather"),
    ("Use feature flags for the checkout redesign; the flag is called basket_two.", "feature flag checkout redesign", "toggle for the new shopping cart layout"),
    ("The physician recommends an aspirin a day for Peter after his heart attack.", "physician aspirin heart attack", "medicine the doctor gave following cardiac trouble"),
    ("We chose PostgreSQL over MySQL because of row level security.", "PostgreSQL MySQL row level security", "why did we pick this relational store"),
    ("The printer on the second floor jams when paper is thicker than 120 grams.", "printer second floor jams paper", "machine gets stuck with heavy sheets"),
    ("Interview candidates get a take-home exercise of at most two hours.", "candidates take-home exercise hours", "how long is the homework for job applicants"),
    ("The certificate of the mail server expires on the ninth of March.", "certificate mail server expires", "when must we renew TLS for SMTP"),
    ("Rate limits of the weather service are sixty requests a minute.", "rate limits weather service requests", "how often may we call the forecast API"),
    ("Our landlord allows dogs in the building but no cats.", "landlord allows dogs cats", "are pets permitted by the property owner"),
    ("The quarterly report goes to the auditors in Zurich by courier.", "quarterly report auditors Zurich courier", "who receives the financial statement in Switzerland"),
    ("Memory leaks in the image resizer come from unclosed temporary files.", "memory leak image resizer temporary files", "picture scaler eats RAM"),
    ("The kitchen closes at half past nine, drinks are served until midnight.", "kitchen closes drinks midnight", "until when can guests order meals"),
    ("Salaries are paid on the 25th, bonuses in April.", "salaries paid bonuses April", "payday and extra compensation"),
    ("Logs are kept for thirty days and then shipped to cold storage.", "logs kept thirty days cold storage", "retention of audit trails"),
    ("The garden needs watering twice a week between May and September.", "garden watering May September", "how often to irrigate plants in summer"),
    ("Flights to Lisbon are cheapest on Tuesdays with the morning carrier.", "flights Lisbon cheapest Tuesdays", "inexpensive plane tickets to Portugal"),
    ("The unit tests of the parser take four minutes since the fuzz corpus grew.", "unit tests parser fuzz corpus", "why is the test suite slow"),
    ("Passwords must have sixteen characters and are never rotated without cause.", "passwords sixteen characters rotated", "rules for login secrets"),
    ("The children's museum is free on the last Sunday of the month.", "children museum free Sunday", "day without admission fee for kids"),
    ("Our sourdough needs seventy percent hydration and a cold rise overnight.", "sourdough hydration cold rise", "how much water goes into the bread dough"),
    ("The contract with the hosting company ends in November with three months' notice.", "contract hosting company notice", "cancel the agreement with our server provider"),
    ("Write error messages as a sentence that says what to do next.", "error messages sentence next", "style guide for failure texts"),
    ("The lift is out of order; use the stairs at the back of the house.", "lift out of order stairs", "elevator broken"),
    ("Search latency doubled after we turned on synonyms in the index.", "search latency doubled synonyms index", "queries became sluggish after equivalent terms were enabled"),
    ("The choir rehearses on Thursdays in the old school hall.", "choir rehearses Thursdays school hall", "where do the singers practise"),
    ("Refunds above two hundred euros need the approval of the head of sales.", "refunds approval head of sales", "who signs off on giving money back"),
    ("The robot's left arm drifts because its encoder is loose.", "robot left arm drifts encoder", "why is the machine's limb inaccurate"),
    ("Retry a failed webhook five times with doubling waits, then park it.", "retry failed webhook doubling", "exponential backoff for callbacks"),
    ("The lawyer advises against naming competitors in advertisements.", "lawyer competitors advertisements", "attorney's opinion on mentioning rivals in marketing"),
    ("Grandmother's plum cake takes a kilo of plums and no butter.", "grandmother plum cake butter", "family dessert with fruit"),
    ("Turn off the heating in the storehouse when the frost warning is lifted.", "heating storehouse frost warning", "stop warming the depot after the freeze"),
    ("The staging environment shares its queue with production, so purge nothing.", "staging queue production purge", "pre-live system uses the same message broker"),
    ("New laptops are encrypted before they are handed out.", "laptops encrypted handed out", "disk protection for fresh computers"),
    ("The river floods the lower car park when the gauge shows three metres.", "river floods car park gauge", "when does high water reach the parking lot"),
    ("Meeting notes belong in the wiki by the evening of the same day.", "meeting notes wiki evening", "deadline for writing up minutes"),
    ("The API returns 409 if two writers update one order at the same time.", "API 409 writers order", "conflict response for concurrent modification"),
    ("Our accountant is on parental leave until June; ask Mira instead.", "accountant parental leave Mira", "who replaces the bookkeeper"),
    ("The film club shows silent movies with a live pianist.", "film club silent movies pianist", "cinema evening with music on stage"),
    ("Compress images to WebP, quality eighty, before uploading.", "compress images WebP quality", "shrink pictures prior to publishing"),
    ("The night watchman makes his rounds at one and at four.", "night watchman rounds", "when does the guard patrol"),
    ("Charge electric bikes only in the courtyard, never in the hallway.", "charge electric bikes courtyard", "where to plug in e-cycles"),
    ("The translation agency needs five working days for legal texts.", "translation agency legal texts days", "turnaround for rendering contracts in another language"),
    ("Do not water the orchid from above, its leaves rot.", "orchid water leaves rot", "how to care for the flower without spoiling it"),
    ("The trainee may approve purchases below fifty euros.", "trainee approve purchases euros", "spending limit of the apprentice"),
    ("Nightly jobs run in Frankfurt because electricity is cheapest there at three.", "nightly jobs Frankfurt electricity", "why do batch workloads execute in Germany"),
]  # fmt: skip

HELD_OUT = [
    ("The swimming pool is drained every second October to replace the tiles at the deep end.", "swimming pool drained tiles", "when is the basin emptied for repairs"),
    ("Our insurance does not cover phones that were left in a parked vehicle.", "insurance cover phones parked vehicle", "is a mobile stolen from the car reimbursed"),
    ("The parrot learned to imitate the doorbell, so wait for two rings.", "parrot imitate doorbell rings", "the bird copies the sound of visitors"),
    ("Interns get a badge for the laboratory only after the safety course.", "interns badge laboratory safety course", "what must trainees pass before they may enter the research rooms"),
    ("The crane must be lowered when the wind is above fifty kilometres an hour.", "crane lowered wind kilometres", "up to which storm strength may we hoist loads"),
    ("Recipes for the canteen are halved in August because most people are away.", "recipes canteen halved August", "smaller food portions during the holiday season"),
    ("The embedded firmware watchdog resets the board after eight seconds of silence.", "firmware watchdog resets board seconds", "how long may the microcontroller hang before it reboots"),
    ("Timber from the north slope is too wet to be burned before its second winter.", "timber north slope wet winter", "how long does firewood have to dry"),
    ("We answer support letters in the language in which they were written.", "support letters language written", "which tongue do we use when replying to customers"),
    ("The tram stops at the stadium only on days with a match.", "tram stops stadium match", "public transport to the arena when a game is played"),
    ("Old invoices may be shredded after ten years, contracts never.", "old invoices shredded contracts", "which paperwork are we allowed to destroy"),
    ("The telescope on the roof needs an hour to cool down before it shows sharp pictures.", "telescope roof hour cool sharp", "why is the view of the stars blurry at first"),
    ("Marta translates the newsletter into Catalan on Fridays.", "Marta translates newsletter Catalan", "who puts the mailing into another tongue at the end of the week"),
    ("Deleting a customer also removes their shopping lists, which cannot be undone.", "deleting customer shopping lists undone", "erasing an account is irreversible"),
    ("The bakery next door sells yesterday's rolls at half price before eight.", "bakery yesterday rolls half price", "cheap leftover bread in the morning"),
    ("Wear gloves when you touch the seedlings, their sap irritates the skin.", "gloves seedlings sap skin", "protect your hands from the young plants"),
    ("The compiler flag for link time optimisation doubles the build time on the small runners.", "compiler flag link time optimisation runners", "what makes our continuous integration take twice as long"),
    ("Grandfather's clock loses four minutes a week and is set on Sundays.", "clock loses minutes week Sundays", "the antique timepiece runs slow"),
    ("The ferry does not take caravans longer than seven metres.", "ferry caravans seven metres", "size limit for campers on the boat"),
    ("Donations under twenty francs get no receipt.", "donations francs receipt", "small gifts are not confirmed in writing"),
    ("The lamp in the cellar goes off by itself after three minutes.", "lamp cellar off minutes", "light downstairs has a timer"),
    ("Photos of pupils are published only with a signed form from both parents.", "photos pupils published signed parents", "consent for pictures of schoolchildren"),
    ("The message broker drops events bigger than one megabyte without a word.", "broker drops events megabyte", "why do large payloads vanish silently in the queue"),
    ("Chickpeas are soaked overnight and cooked without salt.", "chickpeas soaked overnight salt", "how to prepare dried legumes"),
    ("The choreographer wants the stage floor swept before every rehearsal.", "choreographer stage floor swept rehearsal", "dancers need a clean surface to practise"),
    ("Our test phones are charged in the drawer below the window.", "test phones charged drawer window", "where do the devices for trying out the app get power"),
    ("The museum lends paintings only to houses with climate control.", "museum lends paintings climate control", "conditions for borrowing artworks"),
    ("Wolves were seen near the hut twice in November, keep the dog on the leash.", "wolves hut November dog leash", "danger from predators in the hills"),
    ("The second signature on cheques is that of the vice chair.", "second signature cheques vice chair", "who countersigns payments"),
    ("Snow on the glass roof is removed from inside by heating, never with shovels.", "snow glass roof heating shovels", "how to clear the winter load above the atrium"),
    ("A migration that rewrites a table larger than ten gigabytes needs a maintenance window.", "migration rewrites table gigabytes maintenance window", "big schema changes have to be scheduled at night"),
    ("The violin teacher accepts no pupils under six.", "violin teacher pupils under six", "minimum age for music lessons"),
    ("Bottles without a deposit go into the green container behind the gym.", "bottles deposit green container gym", "where to recycle glass"),
    ("The lighthouse keeper retired in 1987, since then the lamp is automatic.", "lighthouse keeper retired automatic", "nobody looks after the coastal beacon any more"),
    ("Exceptions from the payment provider are logged without card numbers.", "exceptions payment provider card numbers", "we keep no credit card data in error traces"),
    ("Ask Jonas before you repot the lemon tree, it sulks for months.", "repot lemon tree Jonas", "moving the citrus into another container needs permission"),
    ("The fire drill is on the second Tuesday in May, at eleven.", "fire drill second Tuesday May", "when do we practise leaving the house in an emergency"),
    ("Caching of the price list is switched off for wholesale customers.", "caching price list wholesale customers", "big buyers always see fresh tariffs"),
    ("The youth hostel has no towels, bring your own.", "youth hostel towels", "what to pack for the cheap accommodation"),
    ("The tailor shortens sleeves for free in the first month.", "tailor shortens sleeves free month", "complimentary alteration of a jacket"),
]  # fmt: skip
"""Written once, after everything was tuned on PLANTED, and before anything was asked with them: nothing may be tuned on these."""

NEAR = """
billing invoice database backup copy store customer account ledger payment|lunch food nuts vegan order kitchen guest meal drink cook
release deploy image tag rollback server balancer version pipeline branch|office door code entrance key floor building visitor badge month
tax VAT sales country buyer software company Ireland Norway rate|car battery frost engine start winter tyre garage fuel road
feature flag checkout basket design layout toggle cart experiment shop|doctor heart medicine patient aspirin hospital nurse health dose pain
PostgreSQL MySQL row security table query index schema migration lock|printer paper floor ink jam sheet tray scanner toner page
interview candidate exercise job offer hour homework team hiring manager|certificate mail server TLS renew expire domain key SMTP March
weather forecast request limit service minute API sensor rain wind|landlord dog cat tenant rent building owner pet garden contract
report quarter auditor Zurich courier finance statement profit bank board|memory leak image resize temporary file process heap picture cache
restaurant kitchen midnight guest table wine bar close waiter menu|salary bonus payday April pension contract hour leave raise payroll
log storage retention day archive audit event trail disk rotate|garden water plant summer flower tree soil week seed leaf
flight Lisbon ticket plane airport Tuesday hotel trip carrier luggage|test parser fuzz corpus suite unit minute failure coverage build
password character login secret rotate policy user account reset token|museum child free Sunday exhibition ticket school visit guide family
bread sourdough dough flour water oven cold rise hydration crust|hosting contract company notice provider server month price renewal invoice
error message sentence text style writer guide button label screen|lift stairs house order floor repair technician elevator safety cable
search latency index synonym query rank term result engine cluster|choir singer rehearsal hall school concert voice song Thursday stage
refund approval sales money customer euro return complaint head policy|robot arm encoder motor drift joint sensor calibration gripper axis
webhook retry callback queue wait failure event delivery signature backoff|lawyer competitor advertisement market brand claim court opinion rival law
cake plum butter sugar grandmother recipe oven fruit dessert cream|heating storehouse frost depot warm valve pipe boiler winter gauge
staging production queue broker purge environment message system deploy topic|laptop disk encrypt computer hand screen keyboard dock battery account
river flood park gauge water metre bridge rain level warning|meeting note wiki evening minute agenda action owner decision week
order conflict writer update response version concurrent lock resource client|accountant leave parental replace June bookkeeper invoice tax Mira desk
film club silent movie pianist cinema evening music stage ticket|watchman night guard round patrol gate alarm camera shift lamp
"""

FAR = """
orbit planet telescope moon crater comet eclipse nebula dust gravity|knight bishop pawn opening endgame castle gambit clock tournament draw
sail mast rudder anchor harbour tide knot deck keel breeze|granite basalt fossil quartz layer glacier canyon cliff mineral sediment
loom thread wool weave dye linen cotton spindle fabric stitch|violin bow chord sonata rhythm tempo flute orchestra conductor melody
falcon heron nest feather migration beak wing flock egg songbird|poem stanza novel chapter hero plot author narrator irony metaphor
protein enzyme cell membrane nucleus gene mutation virus tissue antibody|bishopric abbey monk chapel saint fresco altar pilgrim choirbook bell
sprint marathon coach medal relay stadium hurdle javelin referee trophy|canvas brush pigment portrait sketch gallery easel palette varnish frame
turbine dam reactor grid voltage transformer coil magnet generator insulator|wolf deer forest trail burrow antler pack scent den prey
theorem proof lemma prime matrix integral vector graph polygon axiom|empire treaty siege king rebellion dynasty colony parliament duke crown
bee hive honey queen swarm comb nectar drone pollen smoke|glass furnace kiln clay glaze pottery vase wheel bowl ceramic
tractor plough barley harvest barn silo fertiliser crop field hay|coral reef whale plankton current trench submarine diver shell squid
timber saw plank joint chisel varnishing bench hinge carving nail|vowel dialect grammar verb syllable accent alphabet rune suffix idiom
rocket thruster capsule astronaut payload booster satellite launchpad docking module|mushroom spore moss fern lichen bark root canopy sapling pine
camera lens shutter aperture tripod negative flash portraiture exposure darkroom|saddle stable pony bridle hoof gallop rider mane fence foal
desert dune oasis camel caravan mirage scorpion cactus nomad sandstorm|locomotive track signal carriage tunnel platform freight conductor junction sleeper
perfume jasmine musk amber distil bottle essence citrus resin vapour|volcano lava ash magma geyser tremor fault plate eruption caldera
"""

SENTENCES = [
    "We looked at the {0} and the {1} on {day}; the {2} was fine.",
    "The {0} of {name} depends on the {1}, so check the {2} before the {3}.",
    "{name} says that every {0} needs a {1} and at most {n} of {2}.",
    "If the {0} fails, ask {name} about the {1} or look into the {2}.",
    "Since {day} the {0} takes {n} minutes longer, because the {1} has a new {2}.",
    "Open question: who owns the {0}, and may the {1} be changed without the {2}?",
    "The {0} costs {n} euros a month; a cheaper {1} was tried and given up for its {2}.",
    "Number {n} on the list: move the {0} away from the {1}, then test the {2} again.",
]
NAMES = ["Ben", "Carla", "Dario", "Elif", "Farid", "Greta", "Hugo", "Iris", "Jonas", "Kira"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]


def sentence(subject: list[str], every: list[str], draw: random.Random) -> str:
    """One that holds two words of a subject and two of any."""
    words = draw.sample(subject, 2) + draw.sample(every, 2)
    draw.shuffle(words)
    return draw.choice(SENTENCES).format(
        *words, name=draw.choice(NAMES), day=draw.choice(DAYS), n=draw.randrange(2, 90)
    )


def note(subject: list[str], every: list[str], draw: random.Random) -> str:
    """A few paragraphs on a subject."""
    paragraphs = [
        " ".join(sentence(subject, every, draw) for _ in range(draw.randrange(2, 5)))
        for _ in range(draw.randrange(1, 4))
    ]
    return f"# {' '.join(draw.sample(subject, 2))}\n\n" + "\n\n".join(paragraphs) + "\n"


def make(root: Path, notes: int, near_share: float, draw: random.Random) -> list[str]:
    """The brain; the paths of the planted notes."""
    near, far = ([line.split() for line in text.strip().replace("\n", "|").split("|")] for text in (NEAR, FAR))
    of_near, of_far = (sorted({word for subject in subjects for word in subject}) for subjects in (near, far))
    folder = root / "knowledge"
    for number in range(notes):
        place = folder / f"{number % 100:02}"
        place.mkdir(parents=True, exist_ok=True)
        subjects, every = (near, of_near) if draw.random() < near_share else (far, of_far)
        (place / f"note-{number:05}.md").write_text(note(draw.choice(subjects), every, draw))
    paths = []
    for number, (fact, _, _) in enumerate([*PLANTED, *HELD_OUT]):
        path = f"knowledge/{number % 100:02}/planted-{number:03}.md"
        aside = sentence(draw.choice(far), of_far, draw)
        (root / path).write_text(f"# Things to know\n\n{fact}\n\n{aside}\n")
        paths.append(path)
    return paths


def measure(ask: Callable[[str], list[str]], paths: list[str], rounds: int) -> dict[str, object]:
    """Recall of the planted notes and times of one way to search, on each set of questions."""
    known = len(PLANTED)
    return {**measured(ask, PLANTED, paths[:known], rounds), "held out": measured(ask, HELD_OUT, paths[known:], rounds)}


def measured(
    ask: Callable[[str], list[str]], planted_notes: list[tuple[str, str, str]], paths: list[str], rounds: int
) -> dict[str, object]:
    said: dict[str, object] = {}
    times = []
    for kind, column in (("words", 1), ("paraphrase", 2)):
        ranks = []
        for path, planted in zip(paths, planted_notes, strict=True):
            for _ in range(rounds):
                began = time.perf_counter()
                found = ask(planted[column])
                times.append((time.perf_counter() - began) * 1000)
            ranks.append(found.index(path) + 1 if path in found else 0)
        said[f"{kind}_recall_at_1"] = round(sum(rank == 1 for rank in ranks) / len(ranks), 3)
        said[f"{kind}_recall_at_5"] = round(sum(rank > 0 for rank in ranks) / len(ranks), 3)
    times.sort()
    said["p50_ms"] = round(statistics.median(times), 2)
    said["p95_ms"] = round(times[int(len(times) * 0.95)], 2)
    return said


def by_words(pool: Pool) -> Callable[[str], list[str]]:
    return lambda question: list(dict.fromkeys(hit.path for hit in pool.search(question, FOUND)))


def by_vectors(pool: Pool, vectors: Vectors) -> Callable[[str], list[str]]:
    def ask(question: str) -> list[str]:
        found = vectors.search(question, FOUND * 2)
        with closing(Index(index_path(pool.layout), pool.files)) as index:
            places = index.places(chunk for chunk, _ in found)
        return list(dict.fromkeys(places[chunk].path for chunk, _ in found if chunk in places))[:FOUND]

    return ask


def complete(layout: Layout, embedding: str, store: str, passages: int) -> Vectors:
    """A child that holds a vector of everything, in this store alone."""
    vectors = Vectors(layout, EmbeddingWish(wanted=embedding), dict(os.environ), store=store, exact=0)
    vectors.start()
    deadline = time.monotonic() + WAIT_SECONDS
    while not (vectors.told.complete and vectors.told.vectors >= passages and vectors.told.store == store):
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {WAIT_SECONDS} s in vain for the vectors: {vectors.told}")
        time.sleep(0.1)
    return vectors


def run(base: Path, root: Path, embedding: str, stores: list[str], paths: list[str], rounds: int) -> dict[str, object]:
    """One embedding, from nothing."""
    layout = Layout(str(root), str(base / f"state-{embedding}"), str(base / "work"))
    words = Pool(layout, Files())
    began = time.monotonic()
    words.refresh()
    said: dict[str, object] = {"index_seconds": round(time.monotonic() - began, 1), "passages": words.counts()[1]}
    search = {"fts5 alone": measure(by_words(words), paths, rounds)}
    for store in stores:
        began = time.monotonic()
        vectors = complete(layout, embedding, store, words.counts()[1])
        said[f"{store}_seconds"] = round(time.monotonic() - began, 1)
        said["embedding"] = vectors.told.embedding
        search[f"{store} alone"] = measure(by_vectors(words, vectors), paths, rounds)
        search[f"fts5 and {store}"] = measure(by_words(Pool(layout, Files(), vectors)), paths, rounds)
        vectors.stop()
    said["index_mb"] = round(os.path.getsize(index_path(layout)) / 1e6, 1)
    return {**said, "search": search}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--notes", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--near", type=float, default=0.0, help="the share of notes with the words of the questions")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", action="append", default=[], help="flat, chroma; both where nothing is said")
    parser.add_argument("--embedding", action="append", default=[])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="memory-") as folder:
        base = Path(folder)
        paths = make(base / "brain", options.notes, options.near, random.Random(options.seed))
        found = [
            run(base, base / "brain", one, options.store or ["flat", "chroma"], paths, options.rounds)
            for one in options.embedding or ["auto", "local"]
        ]
    print(
        json.dumps(
            {
                "notes": options.notes,
                "near": options.near,
                "questions": 2 * (len(PLANTED) + len(HELD_OUT)),
                "runs": found,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
