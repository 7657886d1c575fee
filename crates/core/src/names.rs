//! Names for agents whose creator gives none: two words in CamelCase.

use uuid::Uuid;

const FIRST: [&str; 48] = [
    "Amber", "Autumn", "Azure", "Bold", "Brave", "Bright", "Calm", "Clear", "Clever", "Copper",
    "Crisp", "Curious", "Early", "Eager", "Fair", "Fleet", "Gentle", "Golden", "Hidden", "Honest",
    "Ivory", "Jolly", "Keen", "Kind", "Lively", "Lucid", "Mellow", "Merry", "Mossy", "Noble", "Patient",
    "Plain", "Proud", "Quick", "Quiet", "Rapid", "Ready", "Rosy", "Silver", "Sincere", "Steady",
    "Sunny", "Swift", "Tidy", "True", "Velvet", "Warm", "Witty",
];

const SECOND: [&str; 48] = [
    "Acorn", "Anchor", "Badger", "Beacon", "Birch", "Brook", "Canyon", "Cedar", "Comet", "Crane",
    "Delta", "Dolphin", "Ember", "Falcon", "Fern", "Finch", "Garden", "Glacier", "Harbor", "Heron",
    "Island", "Jasmine", "Juniper", "Lagoon", "Lantern", "Lark", "Maple", "Meadow", "Meteor", "Otter",
    "Orchard", "Pebble", "Pilot", "Prairie", "Raven", "River", "Robin", "Saffron", "Sparrow", "Spruce",
    "Summit", "Thicket", "Tulip", "Valley", "Walnut", "Willow", "Wren", "Zephyr",
];

/// A random name such as `QuietHarbor`.
#[must_use]
pub fn random_agent_name() -> String {
    let bits = Uuid::new_v4().as_u128();
    let pick = |words: &[&'static str], bits: u128| {
        let index = usize::try_from(bits % words.len() as u128).unwrap_or(0);
        words.get(index).copied().unwrap_or("Mnemic")
    };
    // The low 62 bits and the high 48 bits of a version 4 UUID are random.
    format!("{}{}", pick(&FIRST, bits & 0xffff_ffff), pick(&SECOND, bits >> 96))
}
