//! Strictly typed reading of a JSON object's members. `null` is as good as absent, unknown members are ignored, and a
//! number with a fraction (`1.0`) is no integer.

use std::fmt;

use serde_json::{Map, Value};

/// A member has the wrong type. The text never shows the value: it may be a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    path: String,
    found: &'static str,
    wanted: &'static str,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, found, wanted } = self;
        if path.is_empty() {
            write!(out, "json: cannot unmarshal {found} into a value of type {wanted}")
        } else {
            write!(out, "json: cannot unmarshal {found} into field {path} of type {wanted}")
        }
    }
}

/// The members of one object.
pub struct Fields<'a> {
    members: &'a Map<String, Value>,
    path: String,
}

type Read<T> = Result<Option<T>, Mismatch>;

impl<'a> Fields<'a> {
    /// # Errors
    /// The value is no object.
    pub fn of(value: &'a Value) -> Result<Self, Mismatch> {
        Self::at(value, String::new())
    }

    fn at(value: &'a Value, path: String) -> Result<Self, Mismatch> {
        match value {
            Value::Object(members) => Ok(Self { members, path }),
            other => Err(Mismatch { path, found: kind(other), wanted: "object" }),
        }
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn mismatch(&self, name: &str, value: &Value, wanted: &'static str) -> Mismatch {
        Mismatch { path: self.path_of(name), found: kind(value), wanted }
    }

    pub fn text(&self, name: &str) -> Read<String> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.mismatch(name, other, "string")),
        }
    }

    pub fn flag(&self, name: &str) -> Read<bool> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(self.mismatch(name, other, "bool")),
        }
    }

    /// A flag that one generated client sends as text.
    pub fn flag_or_text(&self, name: &str) -> Read<bool> {
        match self.get(name) {
            Some(Value::String(text)) if text == "true" => Ok(Some(true)),
            Some(Value::String(text)) if text == "false" || text.is_empty() => Ok(Some(false)),
            _ => self.flag(name),
        }
    }

    pub fn integer(&self, name: &str) -> Read<i64> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                Some(number) => Ok(Some(number)),
                None => Err(self.mismatch(name, value, "int")),
            },
        }
    }

    pub fn texts(&self, name: &str) -> Read<Vec<String>> {
        let Some(elements) = self.elements(name)? else { return Ok(None) };
        let text = |(index, element): (usize, &Value)| match element {
            Value::String(text) => Ok(text.clone()),
            other => Err(self.mismatch(&format!("{name}[{index}]"), other, "string")),
        };
        elements.iter().enumerate().map(text).collect::<Result<_, _>>().map(Some)
    }

    pub fn object(&self, name: &str) -> Read<Fields<'a>> {
        self.get(name).map(|value| Fields::at(value, self.path_of(name))).transpose()
    }

    pub fn objects(&self, name: &str) -> Read<Vec<Fields<'a>>> {
        let Some(elements) = self.elements(name)? else { return Ok(None) };
        let object = |(index, element)| Fields::at(element, self.path_of(&format!("{name}[{index}]")));
        elements.iter().enumerate().map(object).collect::<Result<_, _>>().map(Some)
    }

    fn elements(&self, name: &str) -> Read<&'a Vec<Value>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Array(elements)) => Ok(Some(elements)),
            Some(other) => Err(self.mismatch(name, other, "array")),
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_is_absent_and_every_other_wrong_type_is_named_without_its_value() {
        let value = json!({ "a": null, "b": 1, "c": 1.0, "d": "1", "e": true, "f": ["x", 2], "g": { "h": "secret" },
                            "i": 9_223_372_036_854_775_808_u64 });
        let fields = Fields::of(&value).unwrap();
        assert_eq!(fields.text("a"), Ok(None));
        assert_eq!(fields.text("absent"), Ok(None));
        assert_eq!(fields.integer("b"), Ok(Some(1)));
        assert_eq!(fields.flag("e"), Ok(Some(true)));
        for name in ["c", "d", "e", "f", "g", "i"] {
            assert!(fields.integer(name).is_err(), "{name}");
        }
        let text = fields.texts("f").unwrap_err().to_string();
        assert_eq!(text, "json: cannot unmarshal number into field f[1] of type string");
        let nested = fields.object("g").unwrap().unwrap();
        let text = nested.integer("h").unwrap_err().to_string();
        assert_eq!(text, "json: cannot unmarshal string into field g.h of type int");
        let top = json!([]);
        let text = Fields::of(&top).err().unwrap().to_string();
        assert_eq!(text, "json: cannot unmarshal array into a value of type object");
    }

    #[test]
    fn one_flag_may_be_text() {
        let value = json!({ "a": "true", "b": "false", "c": "yes", "d": true });
        let fields = Fields::of(&value).unwrap();
        assert_eq!(fields.flag_or_text("a"), Ok(Some(true)));
        assert_eq!(fields.flag_or_text("b"), Ok(Some(false)));
        assert!(fields.flag_or_text("c").is_err());
        assert_eq!(fields.flag_or_text("d"), Ok(Some(true)));
    }
}
