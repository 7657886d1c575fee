//! Names for agents whose creator gives none: two words in CamelCase.

use uuid::Uuid;

const FIRST: [&str; 103] = [
    "Agile", "Amber", "Ample", "Arctic", "Autumn", "Azure", "Balmy", "Bold", "Brave", "Breezy",
    "Bright", "Brisk", "Bronze", "Calm", "Candid", "Cheery", "Clear", "Clever", "Copper", "Coral",
    "Cosmic", "Cozy", "Crimson", "Crisp", "Curious", "Daring", "Dapper", "Deft", "Eager", "Early",
    "Earnest", "Easy", "Emerald", "Fair", "Fancy", "Fleet", "Fluent", "Fresh", "Gentle", "Gifted",
    "Glad", "Golden", "Grand", "Hardy", "Hazel", "Hearty", "Honest", "Humble", "Indigo", "Ivory",
    "Jade", "Jolly", "Jovial", "Joyful", "Keen", "Kind", "Lively", "Loyal", "Lucid", "Lucky",
    "Lunar", "Mellow", "Merry", "Mild", "Misty", "Modest", "Mossy", "Neat", "Nimble", "Noble",
    "Opal", "Patient", "Placid", "Playful", "Plucky", "Polite", "Proud", "Quick", "Quiet",
    "Radiant", "Rapid", "Ready", "Rosy", "Ruby", "Rustic", "Silver", "Sincere", "Snowy", "Solar",
    "Spry", "Steady", "Sunny", "Swift", "Tidy", "Tranquil", "True", "Velvet", "Vivid", "Warm",
    "Wise", "Witty", "Zesty", "Zippy",
];

const SECOND: [&str; 102] = [
    "Acorn", "Alder", "Anchor", "Arbor", "Aspen", "Badger", "Bamboo", "Basil", "Beacon", "Birch",
    "Bison", "Brook", "Canyon", "Cedar", "Cherry", "Cliff", "Clover", "Comet", "Compass", "Condor",
    "Cove", "Crane", "Cricket", "Cypress", "Daisy", "Delta", "Dolphin", "Dove", "Eagle", "Elm",
    "Ember", "Falcon", "Fern", "Finch", "Fjord", "Forest", "Fox", "Garden", "Gecko", "Ginger",
    "Glacier", "Glade", "Grove", "Gull", "Harbor", "Hazelnut", "Heron", "Hill", "Ibis", "Iris",
    "Island", "Jasmine", "Juniper", "Kestrel", "Kite", "Lagoon", "Lake", "Lantern", "Lark",
    "Laurel", "Lily", "Linden", "Lotus", "Lynx", "Maple", "Marigold", "Meadow", "Meteor", "Mint",
    "Moose", "Nectar", "Nutmeg", "Oak", "Oasis", "Olive", "Orchard", "Orchid", "Otter", "Owl",
    "Panda", "Pebble", "Pelican", "Pine", "Plover", "Prairie", "Puffin", "Quail", "Raven", "Reef",
    "River", "Robin", "Saffron", "Sparrow", "Spruce", "Summit", "Tulip", "Valley", "Walnut",
    "Willow", "Wren", "Yarrow", "Zephyr",
];

/// A random name such as `QuietHarbor`. Names are for people and need not be unique.
#[must_use]
pub fn random_agent_name() -> String {
    // A version 4 UUID is random but for six bits, which stand in neither of these two parts.
    let bits = Uuid::new_v4().as_u128();
    name_of(bits & 0xffff_ffff, bits >> 96)
}

fn name_of(first: u128, second: u128) -> String {
    let pick = |words: &[&'static str], number: u128| {
        let index = usize::try_from(number % words.len() as u128).unwrap_or_default();
        words.get(index).copied().unwrap_or_default()
    };
    format!("{}{}", pick(&FIRST, first), pick(&SECOND, second))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::validation;

    #[test]
    fn every_pair_of_words_is_a_valid_name_of_its_own() {
        let count = (FIRST.len() * SECOND.len()) as u128;
        let names: HashSet<String> = (0..FIRST.len() as u128)
            .flat_map(|first| (0..SECOND.len() as u128).map(move |second| name_of(first, second)))
            .collect();
        assert_eq!(names.len() as u128, count);
        for name in names {
            assert_eq!(validation::agent_name(&name), Ok(()));
            assert_eq!(
                name.chars().filter(char::is_ascii_uppercase).count(),
                2,
                "{name}"
            );
        }
    }

    #[test]
    fn random_names_differ() {
        let names: HashSet<String> = (0..100).map(|_| random_agent_name()).collect();
        assert!(names.len() > 80, "{}", names.len());
    }
}
