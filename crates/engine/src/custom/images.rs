//! Images in what a tool returned.

use mnemic_core::messages::{ContentPart, Image};
use mnemic_llm::image_from_data_url;
use serde_json::Value;

/// Images of one return that a model sees. Each takes about as much of its context as 5,000 characters.
const MAX_IMAGES: usize = 8;

/// A value without its images, and these. In the value stands which is which.
///
/// An image is an object with `"type": "image"`, in the form of the V1 API (`source`) or in that of MCP (`data`). A list of
/// parts that is nothing but texts and images becomes one text.
pub(super) fn taken(value: &Value) -> (Value, Vec<Image>) {
    let mut images = Vec::new();
    let rest = replaced(value, &mut images);
    let parts = value.as_array().filter(|_| !images.is_empty());
    let texts: Option<Vec<&str>> = parts.and_then(|parts| {
        let rest = rest.as_array().into_iter().flatten();
        let pairs = parts.iter().zip(rest);
        pairs.map(|(part, rest)| text_of(part, rest)).collect()
    });
    match texts {
        Some(texts) => (Value::String(texts.join("\n")), images),
        None => (rest, images),
    }
}

/// The text of a part, or the note that stands for an image.
fn text_of<'v>(part: &'v Value, rest: &'v Value) -> Option<&'v str> {
    if data_of(part).is_some() {
        return rest.as_str();
    }
    let field = |name: &str| part.get(name).and_then(Value::as_str);
    (field("type") == Some("text"))
        .then(|| field("text"))
        .flatten()
}

fn replaced(value: &Value, images: &mut Vec<Image>) -> Value {
    if let Some(data) = data_of(value) {
        return Value::String(note(data, images));
    }
    match value {
        Value::Array(items) => items.iter().map(|item| replaced(item, images)).collect(),
        Value::Object(fields) => {
            let fields = fields.iter();
            fields
                .map(|(name, value)| (name.clone(), replaced(value, images)))
                .collect()
        }
        other => other.clone(),
    }
}

/// The base64 of a value that is an image.
fn data_of(value: &Value) -> Option<&str> {
    if value.get("type").and_then(Value::as_str) != Some("image") {
        return None;
    }
    let source = value.get("source").unwrap_or(value);
    source.get("data").and_then(Value::as_str)
}

/// Keeps an image; what stands in its place.
fn note(data: &str, images: &mut Vec<Image>) -> String {
    if images.len() >= MAX_IMAGES {
        return format!("[an image that is not shown: a tool may return {MAX_IMAGES}]");
    }
    match image_from_data_url(&format!("data:;base64,{data}")) {
        Ok(ContentPart::Image { media_type, data }) => {
            images.push(Image { media_type, data });
            format!("[image {}]", images.len())
        }
        Ok(_) => "[no image]".to_owned(),
        Err(error) => format!("[an image that can't be shown: {error}]"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The smallest PNG there is, as far as its first bytes tell.
    const PNG: &str = "iVBORw0KGgo=";

    #[test]
    fn images_are_taken_out_of_a_value_wherever_they_are() {
        let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}});
        let of_mcp = json!({"type": "image", "data": PNG, "mimeType": "image/png"});
        let text = |text: &str| json!({"type": "text", "text": text});
        let table = [
            (image.clone(), json!("[image 1]"), 1),
            (json!([image, of_mcp]), json!("[image 1]\n[image 2]"), 2),
            (json!([text("a"), image]), json!("a\n[image 1]"), 1),
            (json!([1, image]), json!([1, "[image 1]"]), 1),
            (
                json!({"chart": of_mcp, "n": 1}),
                json!({"chart": "[image 1]", "n": 1}),
                1,
            ),
            (json!([text("a")]), json!([text("a")]), 0),
            (json!({"type": "image"}), json!({"type": "image"}), 0),
            (json!(null), json!(null), 0),
        ];
        for (value, rest, count) in table {
            let (left, images) = taken(&value);
            assert_eq!((left, images.len()), (rest, count), "{value}");
            assert!(images.iter().all(|image| image.media_type == "image/png"));
        }
    }

    #[test]
    fn what_is_no_image_or_one_too_many_is_said_and_not_shown() {
        for data in ["", "AAAA", "not base64"] {
            let (left, images) = taken(&json!({"type": "image", "data": data}));
            let told = left.as_str().unwrap();
            assert!(
                images.is_empty() && told.contains("can't be shown"),
                "{told}"
            );
        }
        let many: Vec<Value> = vec![json!({"type": "image", "data": PNG}); MAX_IMAGES + 1];
        let (left, images) = taken(&json!(many));
        assert_eq!(images.len(), MAX_IMAGES);
        assert!(left.as_str().unwrap().ends_with("may return 8]"), "{left}");
    }
}
