//! Expected answers with holes: a text that begins with `~` is a regular expression, and an object with the member `...`
//! may have more members than it names.

use serde_json::Value;

pub fn assert_matches(expected: &Value, found: &Value, what: &str) {
    match (expected, found) {
        (Value::String(pattern), Value::String(text)) if pattern.starts_with('~') => {
            let pattern = regex::Regex::new(&pattern[1..]).unwrap();
            assert!(pattern.is_match(text), "{what}: {text:?} does not match {pattern}");
        }
        (Value::Object(expected), Value::Object(found_members)) => {
            let is_open = expected.contains_key("...");
            for (name, value) in expected.iter().filter(|(name, _)| *name != "...") {
                let member = found_members.get(name).unwrap_or_else(|| panic!("{what}: {name} is missing in {found}"));
                assert_matches(value, member, &format!("{what}.{name}"));
            }
            for name in found_members.keys().filter(|_| !is_open) {
                assert!(expected.contains_key(name), "{what}: {name} is too much in {found}");
            }
        }
        (Value::Array(expected), Value::Array(elements)) => {
            assert_eq!(expected.len(), elements.len(), "{what}: {found}");
            for (index, (value, element)) in expected.iter().zip(elements).enumerate() {
                assert_matches(value, element, &format!("{what}[{index}]"));
            }
        }
        _ => assert_eq!(expected, found, "{what}"),
    }
}
