//! Request bodies: JSON whatever the content type says, with the error texts that Go's `encoding/json` prints, because the
//! manual shows them and people search for them.

mod fields;
mod syntax;

pub use fields::{Fields, Mismatch};

use serde_json::Value;

use crate::errors::ApiError;

/// A body read into a wire type.
pub trait FromJson: Sized {
    /// # Errors
    /// A field has the wrong type; the text names the field and never the value.
    fn from_json(value: &Value) -> Result<Self, Mismatch>;
}

/// Reads a body that must be there.
///
/// # Errors
/// 400 `invalid request body`, `extras` saying what is wrong.
pub fn read<T: FromJson>(bytes: &[u8]) -> Result<T, ApiError> {
    let text = String::from_utf8_lossy(bytes);
    syntax::check(&text).map_err(ApiError::invalid_body)?;
    // Repeated keys: the last one wins, as in the original.
    let value: Value = serde_json::from_str(&text).map_err(|error| ApiError::invalid_body(error.to_string()))?;
    T::from_json(&value).map_err(|mismatch| ApiError::invalid_body(mismatch.to_string()))
}

/// Reads a body all of whose fields are optional: none at all is `{}`.
///
/// # Errors
/// As [`read`].
pub fn read_or_empty<T: FromJson>(bytes: &[u8]) -> Result<T, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) { read(b"{}") } else { read(bytes) }
}
