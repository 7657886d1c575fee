use proptest::prelude::*;

use super::*;
use crate::{
    ids::{AgentId, ConversationId, MessageId},
    messages::{Role, ToolCall, ToolReturn, ToolStatus},
    time::Timestamp,
    tokens,
};

const SLIDING: Mode = Mode::SlidingWindow { share: 0.3 };

fn sized(letters: &str, tokens: &[i64]) -> Vec<Sized> {
    let mut sizes = tokens.iter().cycle();
    letters
        .chars()
        .map(|letter| Sized {
            role: match letter {
                'u' | 's' => Role::User,
                'a' | 'c' => Role::Assistant,
                _ => Role::Tool,
            },
            tokens: *sizes.next().unwrap(),
            is_summary: letter == 's',
        })
        .collect()
}

/// All from here on stays.
const fn from(from: usize) -> Staying {
    Staying {
        from,
        request: None,
    }
}

fn message(role: Role, body: MessageBody) -> Message {
    Message {
        id: MessageId::new(),
        agent_id: AgentId::new(),
        conversation_id: ConversationId::new(),
        role,
        tokens: tokens::count_message(role, &body, None),
        body,
        name: None,
        otid: None,
        sender_id: None,
        step_id: None,
        run_id: None,
        created_at: Timestamp(1_700_000_000_000_000),
    }
}

fn user(text: &str) -> Message {
    message(Role::User, MessageBody::text(text))
}

fn stats() -> CompactionStats {
    CompactionStats {
        trigger: Trigger::Manual,
        context_tokens_before: Some(2),
        context_tokens_after: Some(1),
        context_window: 3,
        messages_count_before: 4,
        messages_count_after: 3,
    }
}

#[test]
fn a_sliding_window_lets_go_of_its_share_and_of_more_when_that_is_too_little() {
    let ten = sized("uauauauaua", &[10]);
    let none = Mode::SlidingWindow { share: 0.0 };
    assert_eq!(
        cut(&ten, from(10), none, (1_000, 10)),
        2,
        "one message would only give way to another"
    );
    assert_eq!(cut(&ten, from(10), SLIDING, (1_000, 10)), 3);
    assert_eq!(cut(&ten, from(10), SLIDING, (60, 10)), 5);
    assert_eq!(
        cut(&ten, from(10), SLIDING, (15, 10)),
        10,
        "none fits: all go"
    );
    assert_eq!(cut(&ten, from(10), Mode::All, (1_000, 10)), 10);
}

#[test]
fn returns_go_with_their_calls() {
    let calls = sized("uctttauaua", &[10]);
    assert_eq!(cut(&calls, from(10), SLIDING, (1_000, 10)), 5);
    assert_eq!(open_exchange(&sized("uauctt", &[1])), 3);
    assert_eq!(open_exchange(&sized("uaua", &[1])), 4);
    assert_eq!(open_exchange(&sized("tt", &[1])), 0);
    assert_eq!(open_exchange(&[]), 0);
    assert_eq!(open_request(&sized("suauct", &[1])), Some(3));
    assert_eq!(open_request(&sized("sct", &[1])), None);
    let open = sized("uauctt", &[10]);
    assert_eq!(
        cut(&open, from(3), Mode::All, (0, 10)),
        3,
        "the open exchange stays"
    );
}

#[test]
fn what_the_user_asked_for_stays_while_the_steps_for_it_leave() {
    let long_turn = sized("uauctctctctct", &[10]);
    let staying = Staying {
        from: 11,
        request: Some(2),
    };
    assert_eq!(cut(&long_turn, staying, SLIDING, (100, 10)), 5);
    assert_eq!(
        cut(&long_turn, staying, SLIDING, (70, 10)),
        9,
        "the request counts among what stays"
    );
    let only_that = Staying {
        from: 2,
        request: Some(1),
    };
    assert_eq!(cut(&sized("suct", &[10]), only_that, Mode::All, (5, 1)), 0);
}

#[test]
fn a_summary_alone_is_not_summarized_again() {
    assert_eq!(cut(&sized("s", &[10]), from(1), Mode::All, (5, 1)), 0);
    assert_eq!(cut(&sized("sct", &[10]), from(1), SLIDING, (5, 1)), 0);
    assert_eq!(cut(&sized("su", &[10]), from(2), Mode::All, (5, 1)), 2);
    assert_eq!(cut(&[], from(0), SLIDING, (5, 1)), 0);
}

#[test]
fn the_level_leaves_small_ones_whole() {
    assert_eq!(level(&[5, 100, 100], 65), 30);
    assert!(level(&[5, 6], 20) >= 6);
    assert_eq!(level(&[], 0), i64::MAX);
    assert_eq!(level(&[4], 0), 0);
}

#[test]
fn a_window_is_divided_so_that_the_answer_has_room() {
    let plain = Budget::new(10_000, 1_000, None, 0);
    assert_eq!((plain.messages, plain.kept), (8_000, 6_000));
    let long_answers = Budget::new(10_000, 1_000, Some(4_000), 0);
    assert_eq!(long_answers.messages, 5_000);
    assert_eq!(Budget::new(10_000, 1_000, Some(100_000), 0).messages, 4_500);
    let miscounted = Budget::new(10_000, 1_000, None, 2_000);
    assert_eq!((miscounted.messages, miscounted.kept), (6_000, 4_600));
}

#[test]
fn incoming_messages_are_whole_while_they_fit_and_leave_half_to_the_context_when_not() {
    let budget = Budget::new(10_000, 1_000, None, 0);
    assert!(budget.incoming(&[6_000], 5_000) >= 6_000);
    assert_eq!(budget.incoming(&[50_000], 5_000), 4_000);
    assert_eq!(budget.incoming(&[50_000], 100), budget.message - 100);
    assert_eq!(budget.incoming(&[50_000, 10, 50_000], 5_000), 1_995);
}

#[test]
fn a_huge_text_shows_its_beginning_and_its_end() {
    let text = format!("begin {} end", "word ".repeat(5_000));
    let long = user(&text);
    let shown = clip(Role::User, &long.body, long.tokens, 400).unwrap();
    let shown = shown.plain_text();
    assert!(shown.starts_with("begin word") && shown.ends_with("end"));
    assert!(shown.contains("conversation_search"), "{shown}");
    assert_eq!(clip(Role::User, &long.body, long.tokens, long.tokens), None);
}

#[test]
fn huge_arguments_stay_json_with_their_short_fields() {
    let huge = serde_json::json!({"label": "human", "new_string": "x ".repeat(50_000)}).to_string();
    let rows = serde_json::json!({ "rows": (0..50_000).collect::<Vec<i32>>() }).to_string();
    for (arguments, label) in [
        (huge, Some("human")),
        (rows, None),
        ("{broken ".repeat(9_000), None),
    ] {
        let body = MessageBody {
            tool_calls: vec![ToolCall {
                id: "c1".into(),
                name: "memory_insert".into(),
                arguments,
            }],
            ..MessageBody::default()
        };
        let tokens = tokens::count_message(Role::Assistant, &body, None);
        let shown = clip(Role::Assistant, &body, tokens, 300).unwrap();
        assert!(tokens::count_message(Role::Assistant, &shown, None) <= 300);
        let value: serde_json::Value =
            serde_json::from_str(&shown.tool_calls[0].arguments).unwrap();
        assert_eq!(value["label"].as_str(), label);
        assert_eq!(shown.tool_calls[0].id, "c1");
    }
}

#[test]
fn images_that_do_not_fit_are_named_only() {
    let image = ContentPart::Image {
        media_type: "image/png".into(),
        data: "AAAA".into(),
    };
    let body = MessageBody {
        content: vec![image; 20],
        ..MessageBody::default()
    };
    let tokens = tokens::count_message(Role::User, &body, None);
    let shown = clip(Role::User, &body, tokens, 10_000).unwrap();
    let images = shown
        .content
        .iter()
        .filter(|part| matches!(part, ContentPart::Image { .. }));
    assert_eq!(images.count(), 3);
    assert!(tokens::count_message(Role::User, &shown, None) <= 10_000);
}

#[test]
fn a_digest_tells_who_said_what_and_carries_on_what_was_known() {
    let called = MessageBody {
        tool_calls: vec![ToolCall {
            id: "1".into(),
            name: "find".into(),
            arguments: "{\"q\": 1}".into(),
        }],
        ..MessageBody::default()
    };
    let returned = MessageBody {
        tool_returns: vec![ToolReturn {
            tool_call_id: "1".into(),
            name: "find".into(),
            status: ToolStatus::Error,
            text: "nothing".into(),
            stdout: Vec::new(),
            stderr: Vec::new(),
            images: Vec::new(),
        }],
        ..MessageBody::default()
    };
    let old = message(Role::User, summary_body("Ada sails.", stats()));
    let messages = [
        old,
        user("My boat is called Vega."),
        message(Role::Assistant, called),
        message(Role::Tool, returned),
    ];
    let earlier = earlier_summaries(&messages);
    assert_eq!(earlier, "Ada sails.");
    let text = digest(&earlier, &messages, "UTC", 500);
    for piece in [
        "Ada sails.",
        "[2023-11-14] user: My boat is called Vega.",
        "assistant calls find: {\"q\": 1}",
        "find fails: nothing",
    ] {
        assert!(text.contains(piece), "{piece} in {text}");
    }
    assert_eq!(text.matches("Ada sails.").count(), 1);
    let again = digest(&text, &messages[1..2], "UTC", 500);
    assert_eq!(again.matches(digest::DIGEST_HEAD).count(), 1);
    let many: Vec<Message> = (0..500).map(|n| user(&format!("fact {n}"))).collect();
    let text = digest("", &many, "UTC", 600);
    assert!(
        text.contains("fact 499") && text.contains("older messages are left out"),
        "{text}"
    );
}

#[test]
fn a_summary_is_told_from_what_the_user_said() {
    let body = summary_body("S", stats());
    assert_eq!(summary_of(&body), Some("S"));
    assert_eq!(summary_of(&MessageBody::text("S")), None);
    let kept: MessageBody = serde_json::from_str(&serde_json::to_string(&body).unwrap()).unwrap();
    assert_eq!(kept, body);
}

/// Turns of user messages, answers, and calls with one to three returns.
const TURNS: &str = "s?(u(ct{1,3}){0,3}a){0,12}(uct{1,2})?";

proptest! {
    #[test]
    fn a_cut_keeps_calls_with_returns_and_what_stays_fits(
        letters in TURNS, sizes in prop::collection::vec(1i64..300, 1..9), spares in any::<bool>(),
        kept in 0i64..3_000, summary in 1i64..100, share in 0.0f64..=1.0, all in any::<bool>(),
    ) {
        let messages = sized(&letters, &sizes);
        let mode = if all { Mode::All } else { Mode::SlidingWindow { share } };
        let request = open_request(&messages).filter(|_| spares);
        let staying = Staying { from: open_exchange(&messages), request };
        let gone = cut(&messages, staying, mode, (kept, summary));
        prop_assert!(gone <= staying.from);
        let rest = after(&messages, gone, request);
        prop_assert!(pairs_are_whole(&rest), "{letters}: {gone}");
        let left = tokens_of(&rest);
        let least = tokens_of(&after(&messages, staying.from, request));
        // It fits wherever it can.
        prop_assert!(gone == 0 || gone == staying.from || left + summary <= kept);
        if gone > 0 && least + summary <= kept {
            prop_assert!(left + summary <= kept);
        }
        // No smaller share would have made the rest fit.
        let first = (share * 100.0) as usize;
        for percent in (first..100).step_by(10).filter(|_| !all) {
            let count = past(&messages, (messages.len() * percent).div_ceil(100).max(2));
            let leaving = messages.iter().take(count).enumerate();
            let worth = leaving.into_iter().any(|(index, one)| !one.is_summary && Some(index) != request);
            let left = tokens_of(&after(&messages, count, request));
            prop_assert!(count >= gone || !worth || left + summary > kept);
        }
    }

    #[test]
    fn compacting_again_and_again_comes_to_an_end(
        letters in TURNS, sizes in prop::collection::vec(1i64..300, 1..9), spares in any::<bool>(),
        kept in 0i64..3_000, summary in 1i64..100, share in 0.0f64..=1.0, all in any::<bool>(),
    ) {
        let mode = if all { Mode::All } else { Mode::SlidingWindow { share } };
        let mut messages = sized(&letters, &sizes);
        for _ in 0..=letters.len() {
            let request = open_request(&messages).filter(|_| spares);
            let staying = Staying { from: open_exchange(&messages), request };
            let gone = cut(&messages, staying, mode, (kept, summary));
            if gone == 0 {
                break;
            }
            let before = messages.iter().filter(|one| !one.is_summary).count();
            messages = after(&messages, gone, request);
            messages.insert(0, Sized { role: Role::User, tokens: summary, is_summary: true });
            prop_assert!(messages.iter().filter(|one| !one.is_summary).count() < before);
            prop_assert_eq!(messages.iter().filter(|one| one.is_summary).count(), 1);
        }
        let request = open_request(&messages).filter(|_| spares);
        let staying = Staying { from: open_exchange(&messages), request };
        prop_assert_eq!(cut(&messages, staying, mode, (kept, summary)), 0);
        prop_assert!(pairs_are_whole(&messages));
    }

    #[test]
    fn the_room_for_incoming_messages_holds_them_beside_a_summary(
        window in 2_000i64..200_000, share in 0i64..75, answer in prop::option::of(1i64..100_000),
        drift in 0i64..20_000, sizes in prop::collection::vec(1i64..50_000, 1..6), context in 0i64..50_000,
    ) {
        let fixed = window * share / 100;
        let budget = Budget::new(window, fixed, answer, drift);
        prop_assert!(budget.kept <= budget.messages && budget.messages + fixed <= window);
        prop_assert!(budget.summary < budget.messages);
        let cap = budget.incoming(&sizes, context.min(budget.messages));
        let shown: i64 = sizes.iter().map(|size| *size.min(&cap)).sum();
        let least = MIN_SHOWN * sizes.len() as i64;
        prop_assert!(shown + budget.summary <= budget.messages.max(least + budget.summary));
    }

    #[test]
    fn levels_fit_and_use_what_there_is(sizes in prop::collection::vec(0i64..1_000, 0..20), budget in 0i64..5_000) {
        let level = level(&sizes, budget);
        let used: i64 = sizes.iter().map(|size| *size.min(&level)).sum();
        prop_assert!(used <= budget || sizes.is_empty());
        let more: i64 = sizes.iter().map(|size| *size.min(&level.saturating_add(1))).sum();
        prop_assert!(more > budget || level == i64::MAX);
    }

    #[test]
    fn what_is_clipped_fits_and_once_clipped_stays(text in "(\\PC{0,40}\n?){0,120}", cap in 100i64..600) {
        let whole = user(&text);
        if let Some(shown) = clip(Role::User, &whole.body, whole.tokens, cap) {
            let count = tokens::count_message(Role::User, &shown, None);
            prop_assert!(count <= cap);
            prop_assert_eq!(clip(Role::User, &shown, count, cap), None);
        } else {
            prop_assert!(whole.tokens <= cap);
        }
        prop_assert!(tokens::count(&clip_text(&text, cap)) as i64 <= cap);
    }

    #[test]
    fn digests_and_transcripts_fit_and_keep_the_order(count in 1usize..40, words in 1usize..200, cap in 200i64..900) {
        let messages: Vec<Message> = (0..count)
            .map(|n| user(&format!("n{n}n {}", "word ".repeat(words))))
            .collect();
        for text in [digest("known", &messages, "UTC", cap), transcript(&messages, "UTC", cap)] {
            prop_assert!(tokens::count(&text) as i64 <= cap);
            let places: Vec<usize> = (0..count).filter_map(|n| text.find(&format!("n{n}n"))).collect();
            prop_assert!(places.is_sorted());
        }
    }
}

fn past(messages: &[Sized], count: usize) -> usize {
    let returns = messages
        .iter()
        .skip(count)
        .take_while(|message| message.role == Role::Tool);
    count + returns.count()
}

/// What stays when so many of the oldest leave, but for the request.
fn after(messages: &[Sized], gone: usize, request: Option<usize>) -> Vec<Sized> {
    let stays = |(index, _): &(usize, &Sized)| *index >= gone || Some(*index) == request;
    let staying = messages.iter().enumerate().filter(stays);
    staying.map(|(_, one)| *one).collect()
}

fn tokens_of(messages: &[Sized]) -> i64 {
    messages.iter().map(|message| message.tokens).sum()
}

/// Whether every return follows its call, or another return of the same.
fn pairs_are_whole(messages: &[Sized]) -> bool {
    let mut is_open = false;
    messages.iter().all(|message| {
        let fits = message.role != Role::Tool || is_open;
        is_open = matches!(message.role, Role::Tool | Role::Assistant);
        fits
    })
}
