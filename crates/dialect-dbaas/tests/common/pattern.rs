//! Expected bodies with words like `@date` in place of what differs from run to run.

use std::collections::HashMap;

use regex::Regex;
use serde_json::Value;

/// Puts values in for `{placeholders}`.
pub fn fill(text: &str, values: &HashMap<&'static str, String>) -> String {
    let mut text = text.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    text
}

/// Panics where `is` lacks something that `expected` has. Objects may have more, arrays may not.
pub fn assert_matches(expected: &Value, is: &Value, at: &str) {
    match (expected, is) {
        (Value::Object(expected), Value::Object(is)) if expected.is_empty() => assert!(is.is_empty(), "{at}: {is:?}"),
        (Value::Object(expected), Value::Object(is)) => {
            for (key, expected) in expected {
                let is = is.get(key).unwrap_or_else(|| panic!("{at} lacks {key}: {is:?}"));
                assert_matches(expected, is, &format!("{at}.{key}"));
            }
        }
        (Value::Array(expected), Value::Array(is)) => {
            assert_eq!(expected.len(), is.len(), "{at}: {is:?}");
            for (index, (expected, is)) in expected.iter().zip(is).enumerate() {
                assert_matches(expected, is, &format!("{at}[{index}]"));
            }
        }
        (Value::String(word), is) if word.starts_with('@') => {
            assert!(is_a(word, is), "{at} is no {word}: {is}");
        }
        (expected, is) => assert_eq!(expected, is, "{at}"),
    }
}

fn is_a(word: &str, is: &Value) -> bool {
    const UUID4: &str = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}";
    let text = |pattern: &str| {
        let pattern = Regex::new(&format!("^(?:{pattern})$")).unwrap();
        is.as_str().is_some_and(|text| pattern.is_match(text))
    };
    match word {
        "@any" => true,
        "@string" => is.is_string(),
        "@int" => is.is_u64(),
        "@hex24" => text("[0-9a-f]{24}"),
        "@date" => text(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"),
        "@name" => text(r"\d{14}_atelier_shop_\d+"),
        "@jwt" => text(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"),
        "@user" => text(&format!("us-{UUID4}")),
        "@project" => text("pr-[0-9a-f-]{36}"),
        "@link" => text(&format!(
            r"http://127\.0\.0\.1:\d+/api/databases/ad-{UUID4}/backups/[0-9a-f]{{24}}/download\?token=[A-Za-z0-9._~-]+"
        )),
        other => panic!("unknown word {other}"),
    }
}
