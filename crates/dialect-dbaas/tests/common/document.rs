//! Answers against the OpenAPI document.

use std::sync::LazyLock;

use serde_json::{Value, json};
use trivault_dialect_dbaas::openapi;

use super::Answer;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(openapi()).unwrap());

/// Refusals of the shared layer, which the document does not repeat at every operation.
const SHARED: [u16; 4] = [403, 404, 405, 413];

/// Panics when the answer is none that the document promises for this call.
pub fn validate(method: &str, path: &str, answer: &Answer) {
    let path = path.split('?').next().unwrap().trim_end_matches('/').replacen("/dapi/", "/api/", 1);
    let method = if method == "HEAD" && operation("head", &path).is_none() { "GET" } else { method };
    let Some(operation) = operation(&method.to_lowercase(), &path) else {
        assert!(SHARED.contains(&answer.status), "{method} {path}: {} of an unknown operation", answer.status);
        return;
    };
    let Some(response) = operation["responses"].get(answer.status.to_string()) else {
        assert!(SHARED.contains(&answer.status), "{method} {path}: {} is not in the document", answer.status);
        return;
    };
    let schema = &response["content"]["application/json"]["schema"];
    if schema.is_null() || answer.bytes.is_empty() {
        return;
    }
    let mut schema = schema.clone();
    schema["components"] = DOCUMENT["components"].clone();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> = validator.iter_errors(&answer.json()).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{method} {path}: {errors:?} in {}", json!(answer.json()));
}

fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let mut candidates: Vec<_> = paths.iter().filter(|(template, _)| fits(template, path)).collect();
    // `/v1/tokens/exchange` before `/v1/tokens/{id}`.
    candidates.sort_by_key(|(template, _)| template.matches('{').count());
    candidates.iter().find_map(|(_, item)| item.get(method))
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len() && template.iter().zip(path).all(|(word, is)| word.starts_with('{') || *word == is)
}
