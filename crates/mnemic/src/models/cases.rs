//! The tasks by which language models are measured: ten of each kind.

/// A question, and words of which one is to be in the answer.
pub struct Question {
    pub text: &'static str,
    pub wanted: &'static [&'static str],
}

/// Something that is known, the question about it, and the word that answers it.
pub struct Fact {
    pub text: &'static str,
    pub question: &'static str,
    pub wanted: &'static str,
}

/// What anybody knows.
pub const PLAIN: [Question; 10] = [
    Question {
        text: "What is the capital of France?",
        wanted: &["paris"],
    },
    Question {
        text: "How many days does a week have?",
        wanted: &["7", "seven"],
    },
    Question {
        text: "What colour is the sky on a clear day?",
        wanted: &["blue"],
    },
    Question {
        text: "Which animal barks?",
        wanted: &["dog"],
    },
    Question {
        text: "What is 2 plus 3?",
        wanted: &["5", "five"],
    },
    Question {
        text: "On which continent is Egypt?",
        wanted: &["africa"],
    },
    Question {
        text: "What do bees make?",
        wanted: &["honey"],
    },
    Question {
        text: "Which planet do we live on?",
        wanted: &["earth"],
    },
    Question {
        text: "What is the opposite of hot?",
        wanted: &["cold"],
    },
    Question {
        text: "What is frozen water called?",
        wanted: &["ice"],
    },
];

/// What one person told.
pub const FACTS: [Fact; 10] = [
    Fact {
        text: "The spare key is under the blue flowerpot.",
        question: "Where is the spare key?",
        wanted: "flowerpot",
    },
    Fact {
        text: "My sister Clara lives in Lisbon.",
        question: "In which city does Clara live?",
        wanted: "lisbon",
    },
    Fact {
        text: "The dentist appointment is on Thursday at nine.",
        question: "On which day is the dentist appointment?",
        wanted: "thursday",
    },
    Fact {
        text: "Our cat is called Biscuit.",
        question: "What is our cat called?",
        wanted: "biscuit",
    },
    Fact {
        text: "The wifi password is marmalade.",
        question: "What is the wifi password?",
        wanted: "marmalade",
    },
    Fact {
        text: "I am allergic to peanuts.",
        question: "What am I allergic to?",
        wanted: "peanut",
    },
    Fact {
        text: "The project is due in November.",
        question: "When is the project due?",
        wanted: "november",
    },
    Fact {
        text: "My favourite colour is turquoise.",
        question: "What is my favourite colour?",
        wanted: "turquoise",
    },
    Fact {
        text: "The boat is moored in Bergen.",
        question: "Where is the boat moored?",
        wanted: "bergen",
    },
    Fact {
        text: "My grandfather was a carpenter.",
        question: "What was my grandfather's job?",
        wanted: "carpenter",
    },
];
