//! What models read about running code.

use super::{
    BuiltinTool,
    ParameterKind::{OneOf, Text},
    specs::{optional, required},
};
use crate::tools::ToolType;

/// Languages under the names of the V1 contract, as far as this server runs them.
pub(super) const LANGUAGES: &[&str] = &["python", "js", "ts"];

pub(super) const RUN_CODE: BuiltinTool = BuiltinTool {
    name: "run_code",
    tool_type: ToolType::LettaBuiltin,
    description: "Run a short program and see what it prints. Use it to calculate, to work on texts and dates, and \
                  to check what you believe.

The program runs alone: it has no network, no files of the user, and nothing is left of it afterwards, so put \
everything it needs into the code. Print what you want to see; in Python the value of a last line that is an \
expression is shown as well.
  {\"code\": \"from datetime import date\\nprint((date(2026, 12, 24) - date(2026, 3, 1)).days)\", \"language\": \"python\"}

Returns what it printed, its value, and its error with the line if it failed.",
    enable_parallel_execution: true,
    parameters: &[
        required("code", Text, "The whole program."),
        optional(
            "language",
            OneOf(LANGUAGES),
            "What it is written in: python (used if left out), js or ts.",
        ),
    ],
};

pub(super) const RUN_CODE_WITH_TOOLS: BuiltinTool = BuiltinTool {
    name: "run_code_with_tools",
    tool_type: ToolType::LettaBuiltin,
    description: "Run a Python program that calls your other tools as functions. Use it when one tool's result goes \
                  into the next, or when a tool has to be called many times.

Those of your tools that people wrote can be called by their names; each takes the same arguments as when you call \
it yourself, and returns its result. The program has no network and no files of the user.
  {\"code\": \"rows = [price(item=name) for name in ('oars', 'rope')]\\nprint(sum(rows))\"}

Returns what it printed, the value of a last line that is an expression, and its error if it failed.",
    enable_parallel_execution: false,
    parameters: &[required("code", Text, "The whole program, in Python.")],
};
