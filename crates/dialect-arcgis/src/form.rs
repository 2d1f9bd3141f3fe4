//! The fields of a request, from query and body, leniently decoded (section 1): urlencoded with raw JSON in it,
//! `multipart/form-data`, bodies of GETs. The body wins over the query.

use std::collections::BTreeMap;

use actix_web::HttpRequest;
use futures_util::stream;

use crate::errors::{Refused, Result};

/// Characters of any one field.
pub const LONGEST_FIELD: usize = 64 * 1024;
/// Fields of one request.
pub const MOST_FIELDS: usize = 100;

/// Decoded fields by name.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    query: BTreeMap<String, String>,
    body: BTreeMap<String, String>,
}

impl Fields {
    /// # Errors
    /// 400 for a field that is repeated, too long or not UTF-8, and for a broken multipart body.
    pub async fn read(request: &HttpRequest, body: &[u8]) -> Result<Self> {
        let query = urlencoded(request.query_string().as_bytes())?;
        let content_type =
            request.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let body = if content_type.to_ascii_lowercase().starts_with("multipart/form-data") {
            multipart(content_type, body).await?
        } else {
            urlencoded(body)?
        };
        Ok(Self { query, body })
    }

    /// A field; the body wins. Absent and empty are the same to most callers: see [`Fields::text`].
    pub fn get(&self, name: &str) -> Option<&str> {
        self.body.get(name).or_else(|| self.query.get(name)).map(String::as_str)
    }

    pub fn in_body(&self, name: &str) -> Option<&str> {
        self.body.get(name).map(String::as_str)
    }

    pub fn in_query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// A field that is not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|text| !text.is_empty())
    }

    /// # Errors
    /// 400 when the field is absent or empty.
    pub fn required(&self, name: &str) -> Result<&str> {
        self.text(name).ok_or_else(|| Refused::invalid(format!("The parameter '{name}' is required.")))
    }

    /// `true|false|1|0` in any case; absent and empty are `default`.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn boolean(&self, name: &str, default: bool) -> Result<bool> {
        match self.text(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(_) => Err(Refused::invalid(format!("The parameter '{name}' must be true or false."))),
        }
    }
}

fn urlencoded(bytes: &[u8]) -> Result<BTreeMap<String, String>> {
    let mut fields = BTreeMap::new();
    for pair in bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = (&pair[..at], pair.get(at + 1..).unwrap_or_default());
        let name = decoded(name).map_err(|()| Refused::invalid("The name of a parameter is not UTF-8 text."))?;
        let value = decoded(value)
            .map_err(|()| Refused::invalid(format!("The parameter '{}' is not UTF-8 text.", printable(&name))))?;
        insert(&mut fields, name.trim().to_owned(), value)?;
    }
    Ok(fields)
}

async fn multipart(content_type: &str, body: &[u8]) -> Result<BTreeMap<String, String>> {
    let broken = || Refused::invalid("The multipart body cannot be understood.");
    let boundary = multer::parse_boundary(content_type).map_err(|_| broken())?;
    let bytes = bytes::Bytes::copy_from_slice(body);
    let mut parts = multer::Multipart::new(stream::iter([Ok::<_, std::convert::Infallible>(bytes)]), boundary);
    let mut fields = BTreeMap::new();
    while let Some(part) = parts.next_field().await.map_err(|_| broken())? {
        let name = part.name().unwrap_or_default().to_owned();
        let bytes = part.bytes().await.map_err(|_| broken())?;
        let value = String::from_utf8(bytes.to_vec())
            .map_err(|_| Refused::invalid(format!("The parameter '{}' is not UTF-8 text.", printable(&name))))?;
        insert(&mut fields, name, value)?;
    }
    Ok(fields)
}

fn insert(fields: &mut BTreeMap<String, String>, name: String, value: String) -> Result<()> {
    if value.chars().count() > LONGEST_FIELD {
        return Err(Refused::invalid(format!(
            "The parameter '{}' is longer than {LONGEST_FIELD} characters.",
            printable(&name)
        )));
    }
    if fields.len() >= MOST_FIELDS {
        return Err(Refused::invalid(format!("The request has more than {MOST_FIELDS} parameters.")));
    }
    match fields.get(&name) {
        Some(existing) if *existing != value => {
            Err(Refused::invalid(format!("The parameter '{}' is given twice with different values.", printable(&name))))
        }
        _ => {
            fields.insert(name, value);
            Ok(())
        }
    }
}

/// `+` is a blank, `%xx` a byte; a `%` that begins no such pair stands for itself.
fn decoded(bytes: &[u8]) -> Result<String, ()> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut position = 0;
    while position < bytes.len() {
        let pair = bytes.get(position + 1..position + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match (bytes[position], pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(byte)) => {
                plain.push(byte);
                position += 2;
            }
            (b'+', _) => plain.push(b' '),
            (byte, _) => plain.push(byte),
        }
        position += 1;
    }
    String::from_utf8(plain).map_err(|_| ())
}

/// A parameter's name as it may stand in an answer: short, and of harmless characters.
fn printable(name: &str) -> String {
    name.chars().filter(|character| character.is_ascii_alphanumeric() || "_-.".contains(*character)).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> BTreeMap<String, String> {
        urlencoded(text.as_bytes()).unwrap()
    }

    #[test]
    fn raw_json_with_line_breaks_in_a_field_is_taken_as_it_stands() {
        let fields = fields("settings={\"type\": \"HOSTED\",\n \"x\": 1}&f=pjson");
        assert_eq!(fields["settings"], "{\"type\": \"HOSTED\",\n \"x\": 1}");
        assert_eq!(fields["f"], "pjson");
    }

    #[test]
    fn escapes_blanks_and_lonely_percent_signs_are_decoded() {
        assert_eq!(fields("a=x+y%20z%C3%A9")["a"], "x y zé");
        assert_eq!(fields("a=100%")["a"], "100%");
        assert_eq!(fields("a")["a"], "");
    }

    #[test]
    fn repeated_and_non_utf8_fields_are_refused() {
        assert!(urlencoded(b"a=1&a=2").unwrap_err().message.contains("twice"));
        assert!(urlencoded(b"a=1&a=1").is_ok());
        assert!(urlencoded(b"a=%ff").unwrap_err().message.contains("'a' is not UTF-8"));
    }

    #[test]
    fn a_field_may_be_as_long_as_the_limit_and_no_longer() {
        assert!(urlencoded(format!("a={}", "x".repeat(LONGEST_FIELD)).as_bytes()).is_ok());
        assert!(urlencoded(format!("a={}", "x".repeat(LONGEST_FIELD + 1)).as_bytes()).is_err());
    }

    #[test]
    fn booleans_are_read_in_any_case() {
        let fields = Fields { query: fields("a=True&b=0&c=yes"), body: BTreeMap::new() };
        assert_eq!(fields.boolean("a", false), Ok(true));
        assert_eq!(fields.boolean("b", true), Ok(false));
        assert_eq!(fields.boolean("d", true), Ok(true));
        assert_eq!(fields.boolean("c", true).unwrap_err().code, 400);
    }
}
