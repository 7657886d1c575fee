//! Images in what tools returned.

use super::*;

/// A return with a picture.
fn pictured(id: &str) -> MessageBody {
    let mut body = returned(id, "a chart");
    body.tool_returns[0].images.push(Image {
        media_type: "image/png".into(),
        data: "AAAA".into(),
    });
    body
}

#[test]
fn images_that_a_tool_returned_stand_in_its_result() {
    let sent = messages(|transcript| {
        said(Role::User, "draw")(transcript);
        push(transcript, Role::Assistant, &called("c1", "{}"));
        push(transcript, Role::Tool, &pictured("c1"));
    });
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}});
    assert_eq!(
        sent[2]["content"],
        json!([{"type": "tool_result", "tool_use_id": "c1", "content": [text("a chart"), image]}])
    );
    let failed = messages(|transcript| {
        said(Role::User, "draw")(transcript);
        push(transcript, Role::Assistant, &called("c1", "{}"));
        let mut body = pictured("c1");
        body.tool_returns[0].status = ToolStatus::Error;
        push(transcript, Role::Tool, &body);
    });
    assert_eq!(
        failed, sent,
        "an error with images is refused by the provider"
    );
}
