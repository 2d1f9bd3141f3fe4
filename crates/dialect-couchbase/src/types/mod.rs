//! What goes over the wire. Nothing here knows the engine.

mod error;
mod info;
mod merge;
mod plan;
mod repository;
mod restore;
mod task;

pub use error::*;
pub use info::*;
pub use merge::*;
pub use plan::*;
pub use repository::*;
pub use restore::*;
pub use task::*;

/// An identifier of a plan, plan task or repository: `^[0-9A-Za-z][0-9A-Za-z_-]{0,49}$`.
pub fn is_identifier(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=50).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_one_to_fifty_characters_that_begin_with_a_letter_or_digit() {
        for fine in ["a", "0", "a-b_c", &"x".repeat(50)] {
            assert!(is_identifier(fine), "{fine}");
        }
        for bad in ["", "_x", "-x", "*x*", "with space", "a.b", "my_plan!", "ä", "a/b", "a\u{0}", &"x".repeat(51)] {
            assert!(!is_identifier(bad), "{bad}");
        }
    }
}
