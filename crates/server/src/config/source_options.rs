//! `--option KEY=VALUE` of a source: the same keys and values as `options` in the configuration file.

use serde_json::Value;
use trivault_engine::NewSource;

/// The source with its options. A value that is not TOML is taken as a text, so that texts need no quotes of their own.
///
/// # Errors
/// A sentence with an example.
pub fn complete(mut source: NewSource, given: &[String]) -> Result<NewSource, String> {
    for text in given {
        let (key, value) = text
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("`{text}` is not an option. Write KEY=VALUE, for example workers=2."))?;
        if source.config.options.insert(key.to_owned(), value_of(value)).is_some() {
            return Err(format!("The option {key} is given twice."));
        }
    }
    Ok(source)
}

fn value_of(text: &str) -> Value {
    let table: Option<toml::Table> = toml::from_str(&format!("value = {text}")).ok();
    let value = table.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    value.and_then(|value| serde_json::to_value(value).ok()).unwrap_or_else(|| Value::from(text))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::config::source_argument::parse;

    fn options(given: &[&str]) -> Result<Value, String> {
        let source = parse("p=dir:/srv/p", Path::new("/")).unwrap();
        let given: Vec<String> = given.iter().map(|text| (*text).to_owned()).collect();
        complete(source, &given).map(|source| Value::Object(source.config.options))
    }

    #[test]
    fn values_are_those_of_the_configuration_file_and_texts_need_no_quotes() {
        let given =
            ["workers=2", "missing_roles=ignore", "whole_dump=true", "exclude=[\"*.tmp\", \"a=b\"]", "pg_bin=/opt/a b"];
        assert_eq!(
            options(&given),
            Ok(
                json!({"workers": 2, "missing_roles": "ignore", "whole_dump": true, "exclude": ["*.tmp", "a=b"], "pg_bin": "/opt/a b"})
            )
        );
        assert_eq!(options(&["text=1\nother = 2"]), Ok(json!({"text": "1\nother = 2"})), "one value, not two");
        assert_eq!(options(&["quoted=\"7\""]), Ok(json!({"quoted": "7"})));
        assert_eq!(options(&["empty="]), Ok(json!({"empty": ""})));
    }

    #[test]
    fn what_is_no_option_is_refused() {
        assert!(options(&["workers"]).unwrap_err().contains("KEY=VALUE"));
        assert!(options(&["=2"]).unwrap_err().contains("KEY=VALUE"));
        assert!(options(&["workers=2", "workers=3"]).unwrap_err().contains("twice"));
    }
}
