//! Whether a text is JSON, said in the words of Go's `encoding/json`.

use std::iter::Peekable;
use std::str::Chars;

/// Deeper nesting is refused; serde_json's own limit is the same.
const MOST_DEPTH: usize = 100;

/// # Errors
/// The text that Go prints for the first fault.
pub fn check(text: &str) -> Result<(), String> {
    let mut scanner = Scanner { rest: text.chars().peekable() };
    scanner.value(0, "looking for beginning of value")?;
    match scanner.next_visible() {
        None => Ok(()),
        Some(character) => Err(invalid(character, "after top-level value")),
    }
}

struct Scanner<'a> {
    rest: Peekable<Chars<'a>>,
}

type Checked = Result<(), String>;

impl Scanner<'_> {
    /// The next character that is no white space.
    fn next_visible(&mut self) -> Option<char> {
        self.rest.find(|character| !matches!(character, ' ' | '\t' | '\r' | '\n'))
    }

    fn value(&mut self, depth: usize, context: &str) -> Checked {
        let first = self.next_visible().ok_or_else(ended)?;
        self.value_from(first, depth, context)
    }

    fn value_from(&mut self, first: char, depth: usize, context: &str) -> Checked {
        if depth > MOST_DEPTH {
            return Err("exceeded max depth".to_owned());
        }
        match first {
            '{' => self.object(depth),
            '[' => self.array(depth),
            '"' => self.string(),
            '-' => match self.rest.next() {
                Some(digit @ '0'..='9') => self.number(digit),
                other => Err(fault(other, "in numeric literal")),
            },
            digit @ '0'..='9' => self.number(digit),
            't' => self.literal("true"),
            'f' => self.literal("false"),
            'n' => self.literal("null"),
            other => Err(invalid(other, context)),
        }
    }

    fn object(&mut self, depth: usize) -> Checked {
        let mut is_first = true;
        loop {
            match self.next_visible() {
                Some('"') => self.string()?,
                Some('}') if is_first => return Ok(()),
                other => return Err(fault(other, "looking for beginning of object key string")),
            }
            is_first = false;
            match self.next_visible() {
                Some(':') => {}
                other => return Err(fault(other, "after object key")),
            }
            self.value(depth + 1, "looking for beginning of value")?;
            match self.next_visible() {
                Some(',') => {}
                Some('}') => return Ok(()),
                other => return Err(fault(other, "after object key:value pair")),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Checked {
        let mut is_first = true;
        loop {
            match self.next_visible() {
                None => return Err(ended()),
                Some(']') if is_first => return Ok(()),
                Some(first) => self.value_from(first, depth + 1, "looking for beginning of value")?,
            }
            is_first = false;
            match self.next_visible() {
                Some(',') => {}
                Some(']') => return Ok(()),
                other => return Err(fault(other, "after array element")),
            }
        }
    }

    /// After the opening quote.
    fn string(&mut self) -> Checked {
        loop {
            match self.rest.next() {
                None => return Err(ended()),
                Some('"') => return Ok(()),
                Some('\\') => self.escape()?,
                Some(control @ '\u{0}'..='\u{1f}') => return Err(invalid(control, "in string literal")),
                Some(_) => {}
            }
        }
    }

    fn escape(&mut self) -> Checked {
        match self.rest.next() {
            Some('b' | 'f' | 'n' | 'r' | 't' | '\\' | '/' | '"') => Ok(()),
            Some('u') => {
                for _ in 0..4 {
                    match self.rest.next() {
                        Some(digit) if digit.is_ascii_hexdigit() => {}
                        other => return Err(fault(other, "in \\u hexadecimal character escape")),
                    }
                }
                Ok(())
            }
            other => Err(fault(other, "in string escape code")),
        }
    }

    fn number(&mut self, first: char) -> Checked {
        if first != '0' {
            self.skip_digits();
        }
        if self.rest.next_if_eq(&'.').is_some() {
            self.digits("after decimal point in numeric literal")?;
        }
        if self.rest.next_if(|character| matches!(character, 'e' | 'E')).is_some() {
            self.rest.next_if(|character| matches!(character, '+' | '-'));
            self.digits("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn digits(&mut self, context: &str) -> Checked {
        match self.rest.next() {
            Some('0'..='9') => {}
            other => return Err(fault(other, context)),
        }
        self.skip_digits();
        Ok(())
    }

    fn skip_digits(&mut self) {
        while self.rest.next_if(char::is_ascii_digit).is_some() {}
    }

    /// After the first letter.
    fn literal(&mut self, word: &str) -> Checked {
        for expected in word.chars().skip(1) {
            match self.rest.next() {
                Some(found) if found == expected => {}
                other => return Err(fault(other, &format!("in literal {word} (expecting '{expected}')"))),
            }
        }
        Ok(())
    }
}

fn ended() -> String {
    "unexpected end of JSON input".to_owned()
}

fn fault(found: Option<char>, context: &str) -> String {
    found.map_or_else(ended, |character| invalid(character, context))
}

/// Go quotes the character as its `strconv.Quote` does.
fn invalid(character: char, context: &str) -> String {
    let quoted = match character {
        '\'' => "\\'".to_owned(),
        '"' => "\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        control if control.is_control() => format!("\\x{:02x}", u32::from(control)),
        other => other.to_string(),
    };
    format!("invalid character '{quoted}' {context}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_in_the_words_that_the_manual_prints() {
        for (text, expected) in [
            ("{{}", "invalid character '{' looking for beginning of object key string"),
            (r#"{"tasks":[{} {}]}"#, "invalid character '{' after array element"),
            ("", "unexpected end of JSON input"),
            ("{", "unexpected end of JSON input"),
            (r#"{"a":1"#, "unexpected end of JSON input"),
            (r#"{"a""#, "unexpected end of JSON input"),
            ("full_backup=true", "invalid character 'u' in literal false (expecting 'a')"),
            ("hello", "invalid character 'h' looking for beginning of value"),
            (r#"{"a":1,}"#, "invalid character '}' looking for beginning of object key string"),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            (r#"{"a":1 "b":2}"#, "invalid character '\"' after object key:value pair"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("'a'", "invalid character '\\'' looking for beginning of value"),
            (r#""\x""#, "invalid character 'x' in string escape code"),
            (r#""\u12g4""#, "invalid character 'g' in \\u hexadecimal character escape"),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            ("\"\u{0}\"", "invalid character '\\x00' in string literal"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
            ("1ex", "invalid character 'x' in exponent of numeric literal"),
            ("-x", "invalid character 'x' in numeric literal"),
            ("01", "invalid character '1' after top-level value"),
            ("nul", "unexpected end of JSON input"),
        ] {
            assert_eq!(check(text), Err(expected.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn what_is_json_passes_here_exactly_when_it_passes_the_parser() {
        for text in ["{}", " [ ] ", "null", "true", "-0.5e+10", r#"{"a":[1,{"b":"\u00e4\n"}],"c":false}"#, "\"ä\"", "0"]
        {
            assert_eq!(check(text), Ok(()), "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_before_it_hurts() {
        let deep = "[".repeat(100_000);
        assert_eq!(check(&deep), Err("exceeded max depth".to_owned()));
        let fine = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert_eq!(check(&fine), Ok(()));
        assert!(serde_json::from_str::<serde_json::Value>(&fine).is_ok());
    }
}
