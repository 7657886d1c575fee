//! Words for people: everything that is printed goes through here.

use std::io::Write as _;

/// Prints a line; a closed output is nobody's loss.
pub fn say(line: impl AsRef<str>) {
    writeln!(std::io::stdout(), "{}", line.as_ref()).ok();
}

/// Prints a line of trouble.
pub fn complain(line: impl AsRef<str>) {
    writeln!(std::io::stderr(), "{}", line.as_ref()).ok();
}
