//! Which values of a key's type we can put in order as the server does, so that blocks are left out of a search.

use std::cmp::Ordering;

/// How two values of the first key column compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::postgresql) enum Comparison {
    /// We cannot: only the server knows the order.
    Unknown = 0,
    Integer = 1,
    /// Byte by byte: text in C collation, uuid, bytea in hex.
    Bytes = 2,
    /// ISO dates and timestamps in UTC.
    Time = 3,
}

impl Comparison {
    /// `type_name` as `format_type` prints it. `plain_text`: the collation is C and the server's encoding UTF-8.
    pub(in super::super) fn of(type_name: &str, plain_text: bool) -> Self {
        match type_name {
            "smallint" | "integer" | "bigint" => Self::Integer,
            "uuid" | "bytea" => Self::Bytes,
            "text" | "character varying" if plain_text => Self::Bytes,
            "date" | "timestamp without time zone" | "timestamp with time zone" => Self::Time,
            _ => Self::Unknown,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Unknown, Self::Integer, Self::Bytes, Self::Time].into_iter().find(|known| *known as u8 == byte)
    }

    /// `None` where one of them is not a value that we understand.
    pub(in crate::postgresql) fn compare(self, one: &[u8], other: &[u8]) -> Option<Ordering> {
        match self {
            Self::Unknown => None,
            Self::Integer => Some(integer(one)?.cmp(&integer(other)?)),
            Self::Bytes => Some(one.cmp(other)),
            Self::Time => Some(time(one)?.cmp(&time(other)?)),
        }
    }

    /// Whether a person's text is a value in the form that the server prints, which alone we can compare.
    pub(super) fn understands(self, text: &[u8]) -> bool {
        self.compare(text, text).is_some()
    }
}

pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    let mut value: i64 = 0;
    for digit in digits {
        let digit = i64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
        // Downwards, because the smallest number has no positive counterpart.
        value = value.checked_mul(10)?.checked_sub(digit)?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// Year (negative before Christ) and what follows it. The server prints the rest with fixed widths but for a fraction of a
/// second, whose digits continue and where `+` of the zone and the end come before `.`.
fn time(text: &[u8]) -> Option<(i64, &[u8])> {
    if text == b"infinity" {
        return Some((i64::MAX, b""));
    }
    if text == b"-infinity" {
        return Some((i64::MIN, b""));
    }
    let (text, before_christ) = match text.strip_suffix(b" BC") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let end = text.iter().position(|byte| *byte == b'-').filter(|end| *end >= 4)?;
    let (year, rest) = text.split_at_checked(end)?;
    let year = integer(year)?;
    let digit = |index: usize| rest.get(index).is_some_and(u8::is_ascii_digit);
    let is_date = rest.len() >= 6 && rest.get(3) == Some(&b'-') && [1, 2, 4, 5].into_iter().all(digit);
    let is_clock = rest.len() == 6
        || (rest.len() >= 15
            && rest.get(6) == Some(&b' ')
            && rest.get(9) == Some(&b':')
            && rest.get(12) == Some(&b':')
            && [7, 8, 10, 11, 13, 14].into_iter().all(digit));
    let zone = rest.get(15..).unwrap_or_default();
    let zone = match zone.split_first() {
        Some((b'.', fraction)) => fraction.get(leading_digits(fraction)..)?,
        _ => zone,
    };
    let in_utc = zone.is_empty() || zone == b"+00";
    (is_date && is_clock && in_utc).then_some((if before_christ { -year } else { year }, rest))
}

fn leading_digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ascends(comparison: Comparison, values: &[&str]) {
        for pair in values.windows(2) {
            let answer = comparison.compare(pair[0].as_bytes(), pair[1].as_bytes());
            assert_eq!(answer, Some(Ordering::Less), "{pair:?}");
        }
    }

    #[test]
    fn values_compare_as_the_server_compares_them() {
        ascends(Comparison::Integer, &["-9223372036854775808", "-10", "-9", "0", "9", "10", "9223372036854775807"]);
        ascends(Comparison::Bytes, &["", "A", "a", "aa", "b", "ä"]);
        ascends(
            Comparison::Time,
            &[
                "-infinity",
                "0044-03-15 00:00:00+00 BC",
                "0044-04-15 00:00:00+00 BC",
                "0043-03-15 00:00:00+00 BC",
                "0001-01-01 00:00:00+00",
                "2024-01-01 00:00:00+00",
                "2024-01-01 00:00:00.5+00",
                "2024-01-01 00:00:00.51+00",
                "2024-01-01 00:00:01+00",
                "9999-12-31 00:00:00+00",
                "10000-01-01 00:00:00+00",
                "infinity",
            ],
        );
        ascends(Comparison::Time, &["2024-01-31", "2024-02-01"]);
    }

    #[test]
    fn what_is_not_in_the_servers_form_is_not_compared() {
        for text in ["", "x", "+1", "1.0", "99999999999999999999", " 1"] {
            assert!(!Comparison::Integer.understands(text.as_bytes()), "{text}");
        }
        for text in ["now", "2024-1-1", "2024-01-01 00:00:00+02", "2024-01-01T00:00:00", "24-01-01", "2024-01-01 1:00"]
        {
            assert!(!Comparison::Time.understands(text.as_bytes()), "{text}");
        }
        assert_eq!(Comparison::of("text", false), Comparison::Unknown);
        assert_eq!(Comparison::of("numeric", true), Comparison::Unknown);
    }
}
