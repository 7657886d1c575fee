//! Which messages leave the context when it no longer fits the model's window.
//!
//! What leaves stays in recall memory and can be searched. Cuts never part a tool call from its
//! return.

use mnemic_core::messages::Role;

/// A message of the context, as far as fitting needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sized {
    /// Who speaks.
    pub role: Role,
    /// Tokens it takes.
    pub tokens: i64,
}

/// How many of the oldest messages must go so that the rest takes at most `budget` tokens. The rest
/// never begins with a tool's return, whose call would be gone.
pub(crate) fn evictions(messages: &[Sized], budget: i64) -> usize {
    let mut total: i64 = messages.iter().map(|message| message.tokens).sum();
    let mut gone = 0;
    for message in messages {
        let orphan = message.role == Role::Tool && gone > 0;
        if total <= budget && !orphan {
            break;
        }
        total -= message.tokens;
        gone += 1;
    }
    gone
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sized(roles: &str) -> Vec<Sized> {
        let role = |letter| match letter {
            'u' => Role::User,
            'a' => Role::Assistant,
            _ => Role::Tool,
        };
        roles
            .chars()
            .map(|letter| Sized {
                role: role(letter),
                tokens: 10,
            })
            .collect()
    }

    #[test]
    fn a_context_that_fits_stays_whole() {
        assert_eq!(evictions(&sized("uaua"), 40), 0);
    }

    #[test]
    fn the_oldest_go_first_and_returns_go_with_their_calls() {
        assert_eq!(evictions(&sized("uaua"), 20), 2);
        assert_eq!(
            evictions(&sized("uatau"), 30),
            3,
            "the return would have lost its call"
        );
        assert_eq!(evictions(&sized("uatttau"), 50), 5);
    }

    #[test]
    fn one_huge_message_leaves_an_empty_context_rather_than_a_full_one() {
        assert_eq!(evictions(&sized("u"), 5), 1);
    }

    proptest! {
        #[test]
        fn what_stays_fits_and_begins_with_no_return(roles in "(u(at{0,3}){1,3}){0,8}", budget in 0i64..400) {
            let messages = sized(&roles);
            let gone = evictions(&messages, budget);
            let rest = &messages[gone..];
            prop_assert!(rest.iter().map(|m| m.tokens).sum::<i64>() <= budget);
            prop_assert!(rest.first().is_none_or(|m| m.role != Role::Tool || gone == 0));
        }
    }
}
