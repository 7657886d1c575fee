//! What generated conversations are made of. `{who}` is somebody whom the speaker knows ("my cousin Liora"),
//! `{name}` only the name, `{owner}` the speaker, `{value}` and `{when}` what is told.

/// Something that can be told of a person, and may change.
pub struct Topic {
    /// What it may be.
    pub values: &'static [&'static str],
    /// Ways to tell it.
    pub told: &'static [&'static str],
    /// How the other person asks for it in the talk.
    pub asked_in_talk: &'static [&'static str],
    /// Answers to that which do not name the topic.
    pub answered: &'static [&'static str],
    /// Ways to tell that it changed.
    pub changed: &'static [&'static str],
    /// What is asked later.
    pub questions: &'static [&'static str],
}

/// The topics.
pub const TOPICS: [Topic; 9] = [
    Topic {
        values: &[
            "a baker",
            "a crane operator",
            "a midwife",
            "a tax adviser",
            "a locksmith",
            "a tram driver",
            "a beekeeper",
            "a court interpreter",
            "a dental nurse",
            "a stage designer",
            "a geologist",
            "a lighthouse guide",
            "a piano tuner",
            "a welder",
        ],
        told: &[
            "Did I tell you that {who} earns a living as {value}? The hours are odd, but it pays.",
            "{who} came by in work clothes, you know how it is when you are {value}.",
            "I had lunch with {who}, who is {value} and had stories for hours.",
        ],
        asked_in_talk: &[
            "What does {name} do for a living these days?",
            "And {name}, still in the old job?",
        ],
        answered: &[
            "{value}, since spring, and happy with it.",
            "Would you believe it: {value}!",
        ],
        changed: &[
            "News: {who} has given notice and starts over as {value} on Monday.",
            "{who} couldn't stand the old place any more and is {value} now.",
        ],
        questions: &[
            "What is {name}'s profession?",
            "How does {owner}'s acquaintance {name} make money?",
            "What does {name} work as?",
            "Which job does {name} have now?",
        ],
    },
    Topic {
        values: &[
            "Turin", "Ghent", "Oulu", "Bergamo", "Porto", "Leipzig", "Cork", "Malmö", "Graz",
            "Bilbao", "Riga", "Utrecht", "Split", "Tampere", "Aberdeen",
        ],
        told: &[
            "I visited {who} in {value} over the weekend, the flat is right at the river.",
            "{who} loves it in {value}, even the weather.",
            "We skyped with {who}; in {value} the tram goes past the kitchen window.",
        ],
        asked_in_talk: &[
            "Where has {name} settled by now?",
            "Is {name} anywhere near you?",
        ],
        answered: &[
            "{value}, of all places!",
            "No, in {value}, five hours by train.",
        ],
        changed: &[
            "{who} has packed everything into a van and moved to {value}.",
            "Goodbye party on Friday: {who} leaves for {value} for good.",
        ],
        questions: &[
            "In which city does {name} live?",
            "Where is {name}'s home?",
            "Where would one have to travel to visit {name}?",
        ],
    },
    Topic {
        values: &[
            "a tortoise called Bolt",
            "two ferrets",
            "a grey parrot",
            "a three-legged cat",
            "a greyhound",
            "an old pony",
            "a tank full of axolotls",
            "a beagle named Waffle",
            "a hedgehog",
            "four hens",
            "a ginger kitten",
            "a Newfoundland",
        ],
        told: &[
            "{who} takes care of {value} and talks of nothing else.",
            "Imagine, {who} came home with {value} last month.",
            "At {who}'s place you trip over {value} at every step.",
        ],
        asked_in_talk: &[
            "Does {name} still want an animal?",
            "Who was it that kept {name} awake all night?",
        ],
        answered: &[
            "{value}! It sleeps on the sofa.",
            "It's {value} now, and the carpets know it.",
        ],
        changed: &["{who} has had to give the last one away and has {value} instead."],
        questions: &[
            "Which pet does {name} have?",
            "What kind of animal lives with {name}?",
            "What companion with fur, feathers or scales does {name} keep?",
        ],
    },
    Topic {
        values: &[
            "the cello",
            "the accordion",
            "the bagpipes",
            "the harp",
            "the bass clarinet",
            "the banjo",
            "the trombone",
            "the mandolin",
            "the oboe",
            "the marimba",
        ],
        told: &[
            "{who} practises {value} every evening, the neighbours have begun to hum along.",
            "For the birthday we heard {who} on {value}, not bad at all.",
        ],
        asked_in_talk: &[
            "Does {name} make music too?",
            "What was that noise at {name}'s place?",
        ],
        answered: &[
            "{value}, with more zeal than talent.",
            "That was {value}. It gets better.",
        ],
        changed: &["{who} sold the old one and is learning {value} now."],
        questions: &[
            "Which instrument does {name} play?",
            "What does {name} make music with?",
            "What musical hobby has {name} got?",
        ],
    },
    Topic {
        values: &[
            "peanuts",
            "shellfish",
            "celery",
            "sesame",
            "kiwi fruit",
            "penicillin",
            "wasp stings",
            "latex",
            "hazelnuts",
            "mustard",
            "birch pollen",
        ],
        told: &[
            "Careful with the buffet, {who} can't go near {value}.",
            "{who} was in the emergency room again because of {value}.",
        ],
        asked_in_talk: &[
            "Is there anything that {name} must not have?",
            "Why did {name} swell up like that?",
        ],
        answered: &[
            "{value}. Even a trace.",
            "It was {value}, we know that for certain now.",
        ],
        changed: &["It turned out the old test was wrong, with {who} it is {value}."],
        questions: &[
            "What is {name} allergic to?",
            "What makes {name} ill?",
            "What should be kept away from {name}?",
        ],
    },
    Topic {
        values: &[
            "a rusty van",
            "a red scooter",
            "an electric hatchback",
            "a cargo bike",
            "a vintage convertible",
            "a grey estate car",
            "a motorbike with a sidecar",
            "a pick-up truck",
        ],
        told: &[
            "{who} picked me up in {value}, I feared for my life.",
            "{who} parks {value} in front of our door, of course.",
        ],
        asked_in_talk: &[
            "How did {name} get there?",
            "What has {name} got in the garage?",
        ],
        answered: &["With {value}, all the way.", "Only {value}, and it drips."],
        changed: &["{who} wrecked the last one and gets around with {value} these days."],
        questions: &[
            "What vehicle does {name} drive?",
            "What does {name} get about with?",
            "What is parked at {name}'s?",
        ],
    },
    Topic {
        values: &[
            "fencing",
            "curling",
            "bouldering",
            "water polo",
            "archery",
            "table tennis",
            "rowing",
            "judo",
            "orienteering",
            "badminton",
            "ice hockey",
        ],
        told: &[
            "{who} is mad about {value} and trains four times a week.",
            "I watched {who} at {value} on Sunday and understood nothing.",
        ],
        asked_in_talk: &[
            "How does {name} stay so fit?",
            "And what does {name} do on Thursdays?",
        ],
        answered: &[
            "{value}, believe it or not.",
            "{value}, with the people from the office.",
        ],
        changed: &["Because of the knee {who} has changed over to {value}."],
        questions: &[
            "Which sport does {name} do?",
            "How does {name} keep in shape?",
            "What kind of exercise does {name} like?",
        ],
    },
    Topic {
        values: &[
            "mushroom risotto",
            "pickled herring",
            "lemon tart",
            "jollof rice",
            "beef stew",
            "cold beetroot soup",
            "spinach dumplings",
            "fish curry",
            "plum cake",
            "ramen",
        ],
        told: &[
            "For {who} I always make {value}, nothing else is finished to the last crumb.",
            "{who} would cross the country for {value}.",
        ],
        asked_in_talk: &[
            "What shall we cook when {name} comes?",
            "Did {name} eat anything at all?",
        ],
        answered: &[
            "{value}, then you have a friend for life.",
            "Two helpings of {value}!",
        ],
        changed: &["Forget what I said, these days {who} wants {value} and nothing else."],
        questions: &[
            "What is {name}'s favourite dish?",
            "What does {name} like to eat most?",
            "Which meal would please {name}?",
        ],
    },
    Topic {
        values: &[
            "Icelandic",
            "Portuguese",
            "Welsh",
            "Japanese",
            "Swahili",
            "Hungarian",
            "Basque",
            "Georgian",
            "sign language",
            "Catalan",
        ],
        told: &[
            "{who} goes to evening classes in {value} and corrects everybody.",
            "{who} has labelled the whole kitchen in {value} to learn the words.",
        ],
        asked_in_talk: &[
            "What is it that {name} is studying?",
            "What was {name} mumbling on the bus?",
        ],
        answered: &[
            "{value}, chapter nine.",
            "That was {value}, or meant to be.",
        ],
        changed: &["{who} gave up after the exam and took up {value} instead."],
        questions: &[
            "Which language is {name} learning?",
            "What tongue does {name} study?",
            "In what language does {name} take lessons?",
        ],
    },
];

/// Things of which a person has several, each told in a talk of its own.
pub const PLACES: [&str; 14] = [
    "the Dolomites",
    "Cornwall",
    "the Baltic coast",
    "Crete",
    "Lapland",
    "the Azores",
    "Morocco",
    "the Highlands",
    "Sicily",
    "Patagonia",
    "Quebec",
    "the Camargue",
    "Madeira",
    "Tasmania",
];

/// How a journey is told.
pub const JOURNEYS: [&str; 4] = [
    "{who} is back from {value}, brown as a nut.",
    "A card from {who} came today, with a stamp from {value}!",
    "{who} spent the holidays in {value} and lost a suitcase.",
    "We got hundreds of pictures: {who} was in {value} with the tent.",
];

/// What is asked about journeys.
pub const JOURNEY_QUESTIONS: [&str; 3] = [
    "Which places has {name} travelled to?",
    "Where has {name} been on vacation?",
    "What trips did {name} make?",
];

/// What happens once; the first part with "who", the second for the question.
pub const EVENTS: [(&str, &str); 12] = [
    (
        "{who} ran a first half marathon {when}.",
        "run a half marathon",
    ),
    (
        "{who} got married {when}, in the rain, and it was lovely.",
        "have the wedding",
    ),
    (
        "{who} passed the driving test {when}, at the third try.",
        "get a driving licence",
    ),
    (
        "{who} broke a wrist {when} on the ice.",
        "have the accident with the wrist",
    ),
    (
        "{who} opened a little shop {when}, I was at the party.",
        "start the business",
    ),
    (
        "{who} had the operation {when} and is up again.",
        "undergo surgery",
    ),
    (
        "{who} finished the degree {when}, with honours.",
        "graduate",
    ),
    (
        "{who} adopted a girl {when}, she is four.",
        "become a parent",
    ),
    (
        "{who}'s house was broken into {when}, the silver is gone.",
        "have burglars",
    ),
    (
        "{who} won the quiz night {when}, a whole ham.",
        "win the ham",
    ),
    (
        "{who} lost the wallet on the ferry {when}.",
        "lose the wallet",
    ),
    (
        "{who} gave the first concert {when}, I wept.",
        "perform on stage",
    ),
];

/// When events happened, as people tell it on the day; all within two days.
pub const RECENTLY: [&str; 4] = [
    "yesterday",
    "the day before yesterday",
    "this morning",
    "last night",
];

/// Whom one knows.
pub const RELATIONS: [&str; 12] = [
    "my cousin",
    "my neighbour",
    "my old teacher",
    "my colleague",
    "my friend",
    "my aunt",
    "my uncle",
    "my flatmate",
    "my godchild",
    "my trainer",
    "my landlord",
    "my nephew",
];

/// First names.
pub const FIRST: [&str; 40] = [
    "Liora", "Benedikt", "Anouk", "Tariq", "Solveig", "Matteo", "Ifeoma", "Jarek", "Paloma",
    "Dmitri", "Yuki", "Callum", "Zsófia", "Amadou", "Greta", "Ravi", "Niamh", "Otto", "Leilani",
    "Bruno", "Katya", "Emre", "Saskia", "Hugo", "Amina", "Lars", "Pilar", "Tomasz", "Ingrid",
    "Kofi", "Marisol", "Viktor", "Chiara", "Rashid", "Elodie", "Sven", "Nandini", "Felix",
    "Oksana", "Idris",
];

/// Family names.
pub const LAST: [&str; 40] = [
    "Brandt",
    "Okafor",
    "Lindqvist",
    "Moreau",
    "Kowalski",
    "Haddad",
    "Tanaka",
    "Ferreira",
    "Novak",
    "MacLeod",
    "Rossi",
    "Petrov",
    "Andersen",
    "Mbeki",
    "Castillo",
    "Weber",
    "Nakamura",
    "Dubois",
    "Eriksen",
    "Farouk",
    "Santos",
    "Jansen",
    "Popescu",
    "Gallagher",
    "Ivanov",
    "Silva",
    "Horvat",
    "Nguyen",
    "Keller",
    "Osei",
    "Vargas",
    "Larsen",
    "Bianchi",
    "Demir",
    "Fischer",
    "Costa",
    "Kaya",
    "Byrne",
    "Marek",
    "Sato",
];

/// What people say who say nothing; `{thing}` and `{place}` vary.
pub const CHATTER: [&str; 14] = [
    "Did you see the {thing} that they put up near the {place}? I don't know what to think of it.",
    "I slept badly and then the {thing} broke, so forgive me if I'm short today.",
    "We should really go to the {place} together one of these days.",
    "It rained into the {place} again, everybody stood there with buckets and a {thing}.",
    "My whole afternoon went into the {thing}, and it still doesn't work.",
    "There was a queue at the {place} all the way to the corner, for a {thing}!",
    "I found an old {thing} in the cellar, do you want it?",
    "The {place} has a new owner and the coffee is worse, in my opinion.",
    "I keep forgetting the {thing}, I should tie a knot into something.",
    "They closed the {place} for repairs, so I have to walk round it every morning.",
    "On the radio they talked about a {thing} for a full hour, I couldn't switch it off.",
    "The children of the neighbourhood have built a {thing} behind the {place}.",
    "If I see one more {thing} this week I'm going to scream.",
    "I had tea at the {place} and thought of you.",
];

/// Things.
pub const THINGS: [&str; 24] = [
    "lamp",
    "printer",
    "fence",
    "statue",
    "kettle",
    "umbrella",
    "bench",
    "password",
    "boiler",
    "raft",
    "ladder",
    "typewriter",
    "curtain",
    "snowman",
    "calendar",
    "mural",
    "thermostat",
    "suitcase",
    "trellis",
    "gramophone",
    "spreadsheet",
    "key ring",
    "kite",
    "blender",
];

/// Places of a town.
pub const SPOTS: [&str; 16] = [
    "library",
    "town hall",
    "swimming pool",
    "bakery on the corner",
    "station",
    "museum",
    "market",
    "car park",
    "chapel",
    "old cinema",
    "sports hall",
    "allotments",
    "harbour",
    "bus depot",
    "post office",
    "botanical garden",
];

/// What one says to what was told.
pub const REACTIONS: [&str; 12] = [
    "No way! You must tell me everything when we meet.",
    "Ha, I'm not even surprised.",
    "That's good to hear, honestly. Give them my love.",
    "Oh dear. And how are you with all that?",
    "I wish I had half of that energy.",
    "You never told me! Since when do you keep secrets?",
    "Lovely. I'm at the stove, so excuse typos.",
    "Hm, I'd have to think about that.",
    "Same here, more or less. It's the season.",
    "Wonderful, that made me smile on a grey day.",
    "I can't imagine it, but then I'm old-fashioned.",
    "Typical! Some people have all the luck.",
];
