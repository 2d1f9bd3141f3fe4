//! Answers against the OpenAPI document.

use std::sync::LazyLock;

use serde_json::{Value, json};
use trivault_dialect_couchbase::Couchbase;
use trivault_http::Dialect;

use super::Answer;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(Couchbase::new(chrono_tz::Tz::UTC).openapi()).unwrap());

/// What the document says of a call is what was answered. Calls that it does not know must be refused.
pub fn validate(dialect: &Couchbase, method: &str, path: &str, answer: &Answer) {
    let raw = path.split('?').next().unwrap();
    let canonical = dialect.canonical_path(raw).unwrap();
    let Some(operation) = operation(&canonical, &method.to_lowercase()) else {
        assert!(answer.status >= 400, "{method} {path} is in no document and was answered {}", answer.status);
        return;
    };
    let described = &operation["responses"][answer.status.to_string()];
    assert!(described.is_object(), "{method} {path}: {} is not in the document: {}", answer.status, answer.text);
    let schema = &described["content"]["application/json"]["schema"];
    if schema.is_null() {
        assert_eq!(answer.text, "", "{method} {path} has no body in the document");
        return;
    }
    let mut root = schema.clone();
    root["components"] = DOCUMENT["components"].clone();
    let validator = jsonschema::options().should_validate_formats(true).build(&root).unwrap();
    let body = answer.json();
    let faults: Vec<String> =
        validator.iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(faults.is_empty(), "{method} {path}: {}\n{faults:#?}", json!(body));
}

/// The operation of the template that fits best: most fixed segments.
fn operation(path: &str, method: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let fitting = paths.iter().filter(|(template, methods)| fits(template, path) && methods.get(method).is_some());
    fitting.min_by_key(|(template, _)| template.matches('{').count()).map(|(_, methods)| &methods[method])
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(&path).all(|(wanted, found)| wanted.starts_with('{') || wanted == found)
}
