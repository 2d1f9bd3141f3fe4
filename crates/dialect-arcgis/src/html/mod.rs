//! The HTML directory (section 12): pages that a person can use without script, with everything escaped by construction.

mod form;
mod layout;

use maud::{Markup, html};
use serde_json::Value;

pub use form::{Form, Input, Parameter};
pub use layout::sign_in;

use self::layout::{Frame, crumbs, frame};
use crate::{auth::Session, errors::Refused, exchange::Exchange};

/// A resource's page.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub title: String,
    /// Label and value; objects and arrays are shown as indented JSON.
    pub properties: Vec<(String, Value)>,
    /// Children: text and path.
    pub resources: Vec<(String, String)>,
    /// Operations: text and path.
    pub operations: Vec<(String, String)>,
    /// Rows of stages, for jobs and status.
    pub stages: Vec<[String; 4]>,
    /// Seconds after which the page loads itself again.
    pub reload: Option<u32>,
}

pub fn resource(exchange: &Exchange, page: &Page) -> String {
    let notice = exchange.fields.in_query("notice").map(|text| text.chars().take(300).collect::<String>());
    let content = html! {
        @if let Some(notice) = notice { p.notice role="status" { (notice) } }
        h2 { (page.title) }
        @if !page.properties.is_empty() {
            table.properties {
                @for (label, value) in &page.properties { tr { th scope="row" { (label) } td { (shown(value)) } } }
            }
        }
        @if !page.stages.is_empty() {
            table.stages {
                tr { th { "Stage" } th { "State" } th { "Duration" } th { "Last updated" } }
                @for row in &page.stages { tr { @for cell in row { td { (cell) } } } }
            }
        }
        (links("Resources", &page.resources))
        (links("Supported Operations", &page.operations))
        p { b { "Supported Interfaces: " } a href=(format!("{}?f=pjson", exchange.request.path())) { "REST" } }
    };
    let path = exchange.request.path();
    render(exchange, &page.title, path, page.reload, &content)
}

pub fn form(exchange: &Exchange, form: &Form, refused: Option<&Refused>) -> String {
    let token = exchange.session.token.as_deref().unwrap_or_default();
    let content = form::render(form, exchange.request.path(), token, &exchange.fields, refused);
    render(exchange, &form.title, exchange.request.path(), None, &content)
}

pub fn submitted(exchange: &Exchange, jobid: &str, parent: &str) -> String {
    let job = exchange.admin_path(&format!("/jobs/{jobid}"));
    let content = html! {
        h2 { "Submitted" }
        p.notice role="status" { "The operation runs as a job." }
        table.properties { tr { th scope="row" { "Job" } td { a #job href=(job) { (jobid) } } } }
        p { a href=(parent) { "Back" } }
    };
    render(exchange, "Submitted", exchange.request.path(), None, &content)
}

pub fn failure(exchange: &Exchange, refused: &Refused) -> String {
    render(exchange, "Error", exchange.request.path(), None, &failure_box(refused))
}

/// An error page where no exchange could be opened.
pub fn bare_failure(context: &str, session: Option<&Session>, refused: &Refused) -> String {
    let user = session.map(|session| session.principal.name.as_str());
    let crumbs = crumbs(context, &format!("/{context}/admin"));
    frame(&Frame { context, title: "Error", user, crumbs: &crumbs, reload: None }, &failure_box(refused))
}

fn failure_box(refused: &Refused) -> Markup {
    html! {
        h2 { "Error" }
        div.failure role="alert" {
            p { "Code " (refused.code) ": " (refused.message) }
            @for detail in &refused.details { p { (detail) } }
        }
    }
}

fn render(exchange: &Exchange, title: &str, path: &str, reload: Option<u32>, content: &Markup) -> String {
    let context = exchange.context();
    let crumbs = crumbs(context, path);
    let user = Some(exchange.session.principal.name.as_str());
    frame(&Frame { context, title, user, crumbs: &crumbs, reload }, content)
}

fn links(title: &str, links: &[(String, String)]) -> Markup {
    html! {
        @if !links.is_empty() {
            p { b { (title) ": " } @for (text, path) in links { a href=(path) { (text) } " " } }
        }
    }
}

fn shown(value: &Value) -> Markup {
    match value {
        Value::String(text) => html! { (text) },
        Value::Null | Value::Bool(_) | Value::Number(_) => html! { (value.to_string()) },
        Value::Array(_) | Value::Object(_) => {
            html! { pre { (serde_json::to_string_pretty(value).unwrap_or_default()) } }
        }
    }
}
