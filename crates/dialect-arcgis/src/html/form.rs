//! Forms of operations: one row per parameter, the token as a hidden field, one button named after the operation.

use maud::{Markup, html};

use crate::{errors::Refused, form::Fields};

#[derive(Clone, Debug)]
pub struct Form {
    pub title: String,
    /// Text of the button.
    pub button: &'static str,
    /// A sentence above the fields.
    pub explanation: &'static str,
    pub parameters: Vec<Parameter>,
}

#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    pub name: &'static str,
    pub required: bool,
    pub input: Input,
    pub hint: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    Text,
    /// Never filled in again.
    Password,
    Boolean {
        default: bool,
    },
}

impl Parameter {
    pub const fn new(name: &'static str, required: bool, input: Input, hint: &'static str) -> Self {
        Self { name, required, input, hint }
    }
}

pub fn render(form: &Form, action: &str, token: &str, fields: &Fields, refused: Option<&Refused>) -> Markup {
    html! {
        h2 { (form.title) }
        @if let Some(refused) = refused {
            div.failure role="alert" {
                p { (refused.message) }
                @for detail in &refused.details { p { (detail) } }
            }
        }
        p { (form.explanation) }
        form method="post" action=(action) {
            input type="hidden" name="token" value=(token);
            table {
                @for parameter in &form.parameters {
                    tr {
                        th { label for=(parameter.name) { (parameter.name) @if parameter.required { "*" } } }
                        td { (input(parameter, fields)) @if !parameter.hint.is_empty() { div.hint { (parameter.hint) } } }
                    }
                }
                tr {
                    th { label for="f" { "Format" } }
                    td { select #f name="f" { option value="html" selected { "HTML" } option value="json" { "JSON" } option value="pjson" { "PJSON" } } }
                }
            }
            button #submit type="submit" { (form.button) }
        }
    }
}

fn input(parameter: &Parameter, fields: &Fields) -> Markup {
    let typed = fields.in_body(parameter.name);
    let name = parameter.name;
    match parameter.input {
        Input::Text => {
            html! { input id=(name) type="text" name=(name) value=(typed.unwrap_or_default()) required[parameter.required]; }
        }
        Input::Password => {
            html! { input id=(name) type="password" name=(name) required[parameter.required] autocomplete="off"; }
        }
        Input::Boolean { default } => {
            let chosen = typed.map_or(default, |text| text.eq_ignore_ascii_case("true"));
            html! {
                label { input type="radio" name=(name) value="true" checked[chosen]; " true" }
                label { input type="radio" name=(name) value="false" checked[!chosen]; " false" }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[actix_web::test]
    async fn a_passcode_is_never_filled_in_again() {
        let request = TestRequest::default().to_http_request();
        let fields = Fields::read(&request, b"name=n%22x&passcode=very-secret").await.unwrap();
        let form = Form {
            title: "Create".into(),
            button: "Create Backup",
            explanation: "",
            parameters: vec![
                Parameter::new("name", true, Input::Text, ""),
                Parameter::new("passcode", true, Input::Password, ""),
            ],
        };
        let text = render(&form, "/x", "t", &fields, Some(&Refused::invalid("bad"))).into_string();
        assert!(text.contains("n&quot;x"));
        assert!(!text.contains("very-secret"));
    }
}
