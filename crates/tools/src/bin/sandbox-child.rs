//! The keeper of a sandbox as a program of its own, for tests; in the server it is a command of the one binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some(mnemic_tools::sandbox::CHILD_COMMAND) => {
            mnemic_tools::sandbox::keep(arguments.next().as_deref())
        }
        _ => ExitCode::from(2),
    }
}
