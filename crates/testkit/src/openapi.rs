//! Validates answers against the committed OpenAPI documents, so that the documents cannot lie.

use std::{fs, path::Path};

use serde_json::{Value, json};

/// One dialect's document.
pub struct Document {
    name: String,
    document: Value,
}

impl Document {
    /// Reads `openapi/<name>.json`.
    ///
    /// # Panics
    /// When it is not there.
    pub fn load(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi").join(format!("{name}.json"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let document = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { name: name.to_owned(), document }
    }

    /// Checks an answer to a call that the document knows; calls that it does not know are none of its business.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check(&self, method: &str, path: &str, status: u16, body: Option<&Value>) -> Result<bool, String> {
        let path = path.split('?').next().unwrap_or_default();
        let Some((template, operation)) = self.operation(method, path) else { return Ok(false) };
        let call = format!("{}: {method} {template} {status}", self.name);
        let responses = &operation["responses"];
        let response = responses.get(status.to_string()).or_else(|| responses.get("default"));
        let response = response.ok_or_else(|| format!("{call}: this status is not documented"))?;
        let schema = response["content"].as_object().and_then(|content| {
            content.iter().find(|(kind, _)| kind.contains("json")).map(|(_, media)| media["schema"].clone())
        });
        match (schema, body) {
            (None, None) => Ok(true),
            (None, Some(_)) if response["content"].is_null() => Err(format!("{call}: a body that is not documented")),
            // Pages and downloads have other media types.
            (None, Some(_)) | (Some(_), None) => Ok(true),
            (Some(schema), Some(body)) => self.validate(&call, &schema, body).map(|()| true),
        }
    }

    fn validate(&self, call: &str, schema: &Value, body: &Value) -> Result<(), String> {
        let whole = json!({"components": self.document["components"], "allOf": [schema]});
        let validator = jsonschema::validator_for(&whole).map_err(|error| format!("{call}: bad schema: {error}"))?;
        let faults: Vec<String> =
            validator.iter_errors(body).map(|fault| format!("{} at {}", fault, fault.instance_path())).collect();
        if faults.is_empty() { Ok(()) } else { Err(format!("{call}: {}\n{body:#}", faults.join("; "))) }
    }

    /// The operation whose template fits; one with fewer placeholders goes first.
    fn operation(&self, method: &str, path: &str) -> Option<(&str, &Value)> {
        let paths = self.document["paths"].as_object()?;
        paths
            .iter()
            .filter(|(template, _)| fits(template, path))
            .filter_map(|(template, item)| Some((template.as_str(), item.get(method.to_lowercase())?)))
            .min_by_key(|(template, _)| template.matches('{').count())
    }
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(&path).all(
            |(wanted, found)| {
                if wanted.starts_with('{') { !found.is_empty() } else { wanted == found }
            },
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        let document = json!({"paths": {
            "/a/{id}": {"get": {"responses": {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/A"}}}}}}},
            "/a/b": {"get": {"responses": {"204": {}}}}},
            "components": {"schemas": {"A": {"type": "object", "required": ["x"], "properties": {"x": {"type": "integer"}}, "additionalProperties": false}}}});
        Document { name: "test".to_owned(), document }
    }

    #[test]
    fn an_answer_that_does_not_fit_its_schema_is_found() {
        let document = document();
        assert_eq!(document.check("GET", "/a/1?f=json", 200, Some(&json!({"x": 1}))), Ok(true));
        assert!(document.check("GET", "/a/1", 200, Some(&json!({"x": "1"}))).is_err());
        assert!(document.check("GET", "/a/1", 200, Some(&json!({"x": 1, "y": 2}))).is_err());
        assert!(document.check("GET", "/a/1", 404, None).is_err());
    }

    #[test]
    fn a_literal_path_goes_before_a_placeholder_and_unknown_ones_are_left_alone() {
        let document = document();
        assert_eq!(document.check("GET", "/a/b", 204, None), Ok(true));
        assert!(document.check("GET", "/a/b", 204, Some(&json!({}))).is_err());
        assert_eq!(document.check("GET", "/c", 500, None), Ok(false));
    }
}
