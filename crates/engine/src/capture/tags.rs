//! Tags of a snapshot: what `recover` needs of a part, in one tag `tv1:key=value;key=value`.
//!
//! restic splits tags given on its command line at commas, so keys and values are percent-encoded but for
//! `[A-Za-z0-9._~:/-]`: no comma, semicolon, equals sign or control character can stand in them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Version of the grammar.
const PREFIX: &str = "tv1:";
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'-').remove(b'~').remove(b':').remove(b'/');

/// Keys and values in their order; a key may come more than once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tags(Vec<(String, String)>);

impl Tags {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub(crate) fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.0.push((key.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn push(&mut self, key: &str, value: impl ToString) {
        self.0.push((key.to_owned(), value.to_string()));
    }

    /// The first value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    /// All values of a key.
    pub(crate) fn all<'t>(&'t self, key: &'t str) -> impl Iterator<Item = &'t str> {
        self.0.iter().filter(move |(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    pub(crate) fn to_tag(&self) -> String {
        let encode = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
        let pairs: Vec<String> =
            self.0.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
        format!("{PREFIX}{}", pairs.join(";"))
    }

    /// The tags of a snapshot that we wrote; `None` for those of others.
    pub(crate) fn of(tags: &[String]) -> Option<Self> {
        let body = tags.iter().find_map(|tag| tag.strip_prefix(PREFIX))?;
        let decode = |text: &str| percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned());
        let mut pairs = Vec::new();
        for pair in body.split(';').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=')?;
            pairs.push((decode(key)?, decode(value)?));
        }
        Some(Self(pairs))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_survives_and_no_separator_stands_in_it(key in ".{1,20}", value in ".{0,40}") {
            let tags = Tags::new().with("part", "x").with(&key, &value);
            let tag = tags.to_tag();
            prop_assert!(!tag.contains(',') && !tag.contains(char::is_control));
            prop_assert_eq!(Tags::of(&["other".to_owned(), tag]), Some(tags));
        }
    }

    #[test]
    fn tags_of_others_are_not_ours() {
        assert_eq!(Tags::of(&[]), None);
        assert_eq!(Tags::of(&["tv2:a=b".to_owned(), "daily".to_owned()]), None);
        assert_eq!(Tags::of(&["tv1:a".to_owned()]), None);
        let tags = Tags::new().with("backup", "1").with("alias", "x/y").with("alias", "z");
        assert_eq!(tags.to_tag(), "tv1:backup=1;alias=x/y;alias=z");
        assert_eq!(tags.get("alias"), Some("x/y"));
    }
}
