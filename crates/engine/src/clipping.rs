//! Returns cut to what a model may see, and a conversation keeps.

use mnemic_core::messages::ToolReturn;

/// Cuts a return that is too long for the model, and says so in it.
pub(crate) fn clipped(mut result: ToolReturn, max_chars: usize) -> ToolReturn {
    result.text = clipped_text(result.text, max_chars);
    result.stdout = first_lines(&result.stdout, max_chars);
    result.stderr = first_lines(&result.stderr, max_chars);
    result
}

/// Cuts a text that is too long for the model, and says so in it.
pub(crate) fn clipped_text(text: String, max_chars: usize) -> String {
    let length = text.chars().count();
    if length <= max_chars {
        return text;
    }
    let head: String = text.chars().take(max_chars).collect();
    format!("{head}\n[cut: {max_chars} of {length} characters are shown]")
}

/// The lines that so many characters have room for, and how many more there were: a conversation keeps them for ever.
fn first_lines(lines: &[String], max_chars: usize) -> Vec<String> {
    let mut room = max_chars;
    let fits = |line: &&String| {
        let length = line.chars().count();
        let fits = length <= room;
        room = room.saturating_sub(length);
        fits
    };
    let mut kept: Vec<String> = lines.iter().take_while(fits).cloned().collect();
    if kept.len() < lines.len() {
        kept.push(format!(
            "[cut: {} of {} lines are kept]",
            kept.len(),
            lines.len()
        ));
    }
    kept
}
