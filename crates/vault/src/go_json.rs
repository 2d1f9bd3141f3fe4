//! JSON exactly as Go's `encoding/json` and `strconv.Quote` write it. Tree ids are digests of such text, so every byte counts.

use crate::node::Timestamp;
use chrono::{DateTime, Datelike, Utc};

/// Seconds of Go's zero time, `0001-01-01T00:00:00Z`.
pub(crate) const ZERO_TIME: i64 = -62_135_596_800;

/// Appends a JSON string with Go's escapes. Bytes that are not UTF-8 become `\ufffd`, each for itself, as in Go.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            write_character(out, character);
        }
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.push(b'"');
}

fn write_character(out: &mut Vec<u8>, character: char) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        // Since Go 1.22, with which all restic versions that compare trees are built.
        '\u{8}' => out.extend_from_slice(b"\\b"),
        '\u{c}' => out.extend_from_slice(b"\\f"),
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
            out.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
        }
        _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// `strconv.Quote` without the quotes around it: how a node's name is written before JSON escapes it again.
pub(crate) fn quote(name: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            quote_character(&mut quoted, character);
        }
        for byte in chunk.invalid() {
            quoted.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
    }
    quoted
}

fn quote_character(quoted: &mut Vec<u8>, character: char) {
    let escaped = match character {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\u{c}' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\u{b}' => "\\v",
        ' '..='~' => return quoted.push(character as u8),
        _ if is_printable(character) => {
            return quoted.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        _ => {
            let code = u32::from(character);
            let text = match code {
                0..0x20 | 0x7f => format!("\\x{code:02x}"),
                0..0x1_0000 => format!("\\u{code:04x}"),
                _ => format!("\\U{code:08x}"),
            };
            return quoted.extend_from_slice(text.as_bytes());
        }
    };
    quoted.extend_from_slice(escaped.as_bytes());
}

/// Go's `IsPrint` for characters beyond ASCII: letters, marks, numbers, punctuation and symbols. Rust's escaping of a string decides alike
/// for every character but the first, which is why one is put in front.
fn is_printable(character: char) -> bool {
    let mut text = String::from("a");
    text.push(character);
    let mut escaped = text.escape_debug().skip(1);
    escaped.next() == Some(character) && escaped.next().is_none()
}

/// Undoes [`quote`]; `None` for text that `strconv.Unquote` refuses too.
pub(crate) fn unquote(quoted: &str) -> Option<Vec<u8>> {
    let mut name = Vec::with_capacity(quoted.len());
    let mut rest = quoted;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        match character {
            '"' | '\n' => return None,
            '\\' => rest = unescape(rest, &mut name)?,
            _ => name.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Some(name)
}

fn unescape<'a>(rest: &'a str, name: &mut Vec<u8>) -> Option<&'a str> {
    let kind = rest.chars().next()?;
    let rest = &rest[kind.len_utf8()..];
    let simple = match kind {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' | '"' => kind as u8,
        'x' | 'u' | 'U' => {
            let digits = rest.get(
                ..if kind == 'x' {
                    2
                } else if kind == 'u' {
                    4
                } else {
                    8
                },
            )?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            let code = u32::from_str_radix(digits, 16).ok()?;
            match u8::try_from(code) {
                Ok(byte) if kind == 'x' => name.push(byte),
                _ => name.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes()),
            }
            return Some(&rest[digits.len()..]);
        }
        '0'..='7' => {
            let digits = rest.get(..2).filter(|digits| digits.bytes().all(|digit| matches!(digit, b'0'..=b'7')))?;
            let code = u32::from(kind as u8 - b'0') * 64 + u32::from_str_radix(digits, 8).ok()?;
            name.push(u8::try_from(code).ok()?);
            return Some(&rest[2..]);
        }
        _ => return None,
    };
    name.push(simple);
    Some(rest)
}

/// Appends a time as a JSON string. Years beyond 0 to 9999, which Go refuses to write, are moved to the nearest that it writes.
pub(crate) fn write_time(out: &mut Vec<u8>, time: Timestamp) {
    const LAST: i64 = 253_402_300_799;
    let seconds = time.seconds.clamp(ZERO_TIME, LAST);
    let nanoseconds = if seconds == time.seconds { time.nanoseconds.min(999_999_999) } else { 0 };
    let instant = DateTime::<Utc>::from_timestamp(seconds, nanoseconds).unwrap_or(DateTime::UNIX_EPOCH);
    debug_assert!((0..=9999).contains(&instant.year()));
    out.push(b'"');
    out.extend_from_slice(instant.format("%Y-%m-%dT%H:%M:%S").to_string().as_bytes());
    if nanoseconds > 0 {
        let fraction = format!(".{nanoseconds:09}");
        out.extend_from_slice(fraction.trim_end_matches('0').as_bytes());
    }
    out.extend_from_slice(b"Z\"");
}

/// Reads a time of any zone.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(Timestamp { seconds: time.timestamp(), nanoseconds: time.timestamp_subsec_nanos().min(999_999_999) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn string(text: &[u8]) -> String {
        let mut out = Vec::new();
        write_string(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    fn quoted(name: &[u8]) -> String {
        String::from_utf8(quote(name)).unwrap()
    }

    #[test]
    fn strings_carry_the_escapes_of_go() {
        assert_eq!(string("a<b>&\u{2028}é\n\u{1}\"\\".as_bytes()), r#""a\u003cb\u003e\u0026\u2028é\n\u0001\"\\""#);
        assert_eq!(string(b"x\xff\xc3"), "\"x\\ufffd\\ufffd\"");
        assert_eq!(string(b"\x08\x0c\x7f"), "\"\\b\\f\x7f\"");
    }

    #[test]
    fn names_are_quoted_as_strconv_does() {
        assert_eq!(quoted(b"plain name.txt"), "plain name.txt");
        assert_eq!(quoted(b"a\\b\"c"), r#"a\\b\"c"#);
        assert_eq!(quoted(b"\xff\x80end"), r"\xff\x80end");
        assert_eq!(quoted("ä€😀".as_bytes()), "ä€😀");
        assert_eq!(quoted("\u{a0}\u{200b}\u{e000}\u{ad}".as_bytes()), r"\u00a0\u200b\ue000\u00ad");
        assert_eq!(quoted("\u{10ffff}".as_bytes()), r"\U0010ffff");
        assert_eq!(quoted(b"\x07\x08\x0b\x01\x7f"), r"\a\b\v\x01\x7f");
        assert_eq!(quoted("e\u{301}\u{fffd}".as_bytes()), "e\u{301}\u{fffd}", "combining marks are printable");
    }

    #[test]
    fn text_that_go_refuses_is_refused() {
        for wrong in ["\\", "\\q", "\\x1", "\\ud800", "\\U00110000", "a\"b", "\\8", "\\400", "\\x+1"] {
            assert_eq!(unquote(wrong), None, "{wrong}");
        }
        assert_eq!(unquote("\\101"), Some(b"A".to_vec()));
    }

    #[test]
    fn times_are_written_without_trailing_zeros_and_never_out_of_range() {
        let text = |seconds, nanoseconds| {
            let mut out = Vec::new();
            write_time(&mut out, Timestamp { seconds, nanoseconds });
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(ZERO_TIME, 0), "\"0001-01-01T00:00:00Z\"");
        assert_eq!(text(0, 120_000_000), "\"1970-01-01T00:00:00.12Z\"");
        assert_eq!(text(-1, 1), "\"1969-12-31T23:59:59.000000001Z\"");
        assert_eq!(text(i64::MAX, 5), "\"9999-12-31T23:59:59Z\"");
        assert_eq!(text(i64::MIN, 5), "\"0001-01-01T00:00:00Z\"");
        assert_eq!(
            parse_time("2026-01-02T03:04:05.5+02:00"),
            Some(Timestamp { seconds: 1_767_315_845, nanoseconds: 500_000_000 })
        );
    }

    proptest! {
        #[test]
        fn every_name_survives_quoting(name: Vec<u8>) {
            prop_assert_eq!(unquote(&quoted(&name)), Some(name));
        }

        #[test]
        fn every_string_is_read_back_by_another_parser(text: String) {
            prop_assert_eq!(serde_json::from_str::<String>(&string(text.as_bytes())).unwrap(), text);
        }

        #[test]
        fn every_instant_survives(seconds in ZERO_TIME..253_402_300_799_i64, nanoseconds in 0_u32..1_000_000_000) {
            let mut out = Vec::new();
            let time = Timestamp { seconds, nanoseconds };
            write_time(&mut out, time);
            let text: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(parse_time(&text), Some(time));
        }
    }
}
