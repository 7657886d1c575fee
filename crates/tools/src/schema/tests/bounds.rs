//! Whatever is sent as a source: an answer, soon, and never a panic.

use std::fmt::Write;

use proptest::prelude::*;

use super::*;

/// Sources that nest as deep as they are long.
#[test]
fn what_nests_without_end_is_refused() {
    let n = 60_000;
    let table = [
        format!("x = {}1{}", "(".repeat(n), ")".repeat(n)),
        format!("x = {}1{}", "[".repeat(n), "]".repeat(n)),
        format!("x = {}1", "-".repeat(n)),
        format!("x = {}1", "not ".repeat(n / 2)),
        format!("x = a{}", ".a".repeat(n)),
        format!("x = a{}", "()".repeat(n)),
        format!("x = 1{}", "+1".repeat(n)),
        format!("x = 1{}", "**1".repeat(n / 2)),
        format!("x = {}1", "lambda a, b: ".repeat(n / 10)),
        format!("x = {}1", "1 if 1 else ".repeat(n / 10)),
        format!("x = {}", "[)".repeat(n)),
        format!("x = {}", "f'{".repeat(n / 3)),
        format!("x = f'{{a:'{}", "[".repeat(n)),
        format!("x = {}", "a:=".repeat(n / 2)),
        format!(
            "def f(x: {}int{}): 'Does.'",
            "list[".repeat(n / 6),
            "]".repeat(n / 6)
        ),
        format!("def f(x: int{}): 'Does.'", " | int".repeat(n / 6)),
        format!("def f(x: '{}int'): 'Does.'", "-".repeat(n)),
        format!("match x:\n case {}1: pass", "[".repeat(n)),
        (0..1_000).fold(String::new(), |mut source, depth| {
            let _ = writeln!(source, "{}if 1:", " ".repeat(depth % 600));
            source
        }),
    ];
    for source in table {
        let start: String = source.chars().take(20).collect();
        assert!(derive(&source).is_err(), "{start}");
    }
}

#[test]
fn long_but_flat_sources_are_read() {
    let mut source = String::from("TABLE = {\n");
    for n in 0..3_000 {
        let _ = writeln!(
            source,
            "    'key {n}': [{n}, f'{{TABLE}} {n}', lambda a, b: a + b],"
        );
    }
    source.push_str("}\n\ndef tool():\n    \"\"\"Does.\"\"\"\n");
    assert!(source.len() < super::super::MAX_SOURCE, "{}", source.len());
    assert_eq!(derive(&source).unwrap().name, "tool");
    let long = format!(
        "{}\ndef tool():\n    'Does.'\n",
        "# a comment\n".repeat(20_000)
    );
    assert!(refused(&long).1.contains("at most 200000"));
}

#[test]
fn types_that_grow_without_end_are_refused() {
    let mut growing = String::new();
    for n in 0..10 {
        let _ = writeln!(growing, "class A{n}(TypedDict):");
        for field in ["a", "b", "c", "d"] {
            let _ = writeln!(growing, "    {field}: A{}", n + 1);
        }
    }
    growing.push_str("class A10(TypedDict):\n    a: int\n\ndef f(x: A0):\n    'Does.'\n");
    assert!(refused(&growing).1.contains("parts"));
    let mut bases = String::from("class A0: pass\n");
    for n in 0..40 {
        let _ = writeln!(bases, "class A{}(A{n}, A{n}): pass", n + 1);
    }
    bases.push_str("def f(x: A31):\n    'Does.'\n");
    assert!(refused(&bases).1.contains("no type that models can fill"));
    let values: Vec<String> = (0..9_000).map(|n| n.to_string()).collect();
    let fields: String = (0..2_000).fold(String::new(), |mut all, n| {
        let _ = write!(all, "a{n}: A, ");
        all
    });
    let copied = format!(
        "A = Literal[{}]\ndef f({fields}):\n    'Does.'\n",
        values.join(", ")
    );
    assert!(derive(&copied).is_err());
}

/// Pieces of sources, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("def f(x: ".to_owned()),
        Just("):\n    \"\"\"Does.\n\n    Args:\n        x: it\n    \"\"\"\n".to_owned()),
        Just("class A(BaseModel):\n    ".to_owned()),
        Just("x: 'A' = Field(".to_owned()),
        Just("Annotated[".to_owned()),
        Just("Literal[A.x, 1]".to_owned()),
        Just("Optional[\"".to_owned()),
        Just("] | None".to_owned()),
        Just(" = f\"{".to_owned()),
        Just("\n    :param x: it\n".to_owned()),
        "[\\[\\](){}:,.\"'\\\\\n\t =|*-]{1,6}",
        "\\PC{0,8}",
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_source_has_an_answer(source in pieces()) {
        for name in [None, Some("f")] {
            let given = Given { name, ..Given::default() };
            if let Err(error) = super::super::python(&source, given) {
                prop_assert!(!error.reason.is_empty());
                let lines = source.lines().count() + 1;
                prop_assert!(error.line.is_none_or(|line| line >= 1 && line <= lines));
            }
            let _ = super::super::typescript(&source, given);
        }
    }

    #[test]
    fn parameters_come_in_order_with_their_descriptions(
        names in prop::collection::hash_set("[a-d][a-z0-9]{3,8}", 1..8),
        words in "[A-Za-z][A-Za-z ,:()-]{0,30}[a-z]",
    ) {
        let names: Vec<String> = names.into_iter().map(|name| format!("p_{name}")).collect();
        let signature: Vec<String> = names.iter().map(|name| format!("{name}: int")).collect();
        let docs: String = names.iter().map(|name| format!("        {name} (int): {words}\n")).collect();
        let source = format!("def f({}):\n    \"\"\"Does.\n\n    Args:\n{docs}    \"\"\"\n", signature.join(", "));
        let parameters = parameters(&source);
        prop_assert_eq!(&parameters["required"], &json!(names));
        let properties = parameters["properties"].as_object().unwrap();
        prop_assert_eq!(properties.keys().cloned().collect::<Vec<_>>(), names);
        let said = words.split_whitespace().collect::<Vec<_>>().join(" ");
        for schema in properties.values() {
            let found = schema["description"].as_str().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
            prop_assert_eq!(&found, &said);
        }
    }
}
