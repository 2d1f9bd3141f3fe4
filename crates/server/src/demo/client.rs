//! Calls as a person would make them with curl: each is printed as a line to copy, with its answer.

use reqwest::{Method, header};
use serde_json::Value;

use super::Story;

/// How a call says who it is.
#[derive(Clone)]
pub enum Credentials {
    None,
    Basic { user: String, password: String },
    Bearer(String),
}

pub enum Body {
    None,
    Json(String),
    Form(Vec<(&'static str, String)>),
}

pub struct Call<'a> {
    pub method: Method,
    pub url: String,
    pub credentials: &'a Credentials,
    pub body: Body,
}

pub struct Answer {
    pub status: u16,
    pub text: String,
    pub json: Value,
}

pub struct Client {
    http: reqwest::Client,
}

impl Client {
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new() -> Result<Self, String> {
        let http = reqwest::Client::builder().no_proxy().build();
        Ok(Self { http: http.map_err(|error| format!("No HTTP client can be made: {error}."))? })
    }

    /// Makes the call and tells it.
    ///
    /// # Errors
    /// When there is no answer, or its status is not `expected`.
    pub async fn tell(&self, story: &Story, call: Call<'_>, expected: u16) -> Result<Answer, String> {
        story.say(&format!("\n$ {}", curl_line(&call)));
        let answer = self.quietly(call, expected).await?;
        story.say(&format!("HTTP {}  {}", answer.status, shortened(&answer.text)));
        Ok(answer)
    }

    /// Makes the call without telling it: for polling.
    ///
    /// # Errors
    /// When there is no answer, or its status is not `expected`.
    pub async fn quietly(&self, call: Call<'_>, expected: u16) -> Result<Answer, String> {
        let Call { method, url, credentials, body } = call;
        let mut request = self.http.request(method, &url);
        request = match credentials {
            Credentials::None => request,
            Credentials::Basic { user, password } => request.basic_auth(user, Some(password)),
            Credentials::Bearer(token) => request.bearer_auth(token),
        };
        request = match body {
            Body::None => request,
            Body::Json(text) => request.header(header::CONTENT_TYPE, "application/json").body(text),
            Body::Form(fields) => request.form(&fields),
        };
        let response = request.send().await.map_err(|error| format!("{url} does not answer: {error}."))?;
        let status = response.status().as_u16();
        let text = response.text().await.map_err(|error| format!("{url} broke off: {error}."))?;
        if status != expected {
            return Err(format!("{url} answered {status} instead of {expected}: {}", shortened(&text)));
        }
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, text, json })
    }
}

fn curl_line(call: &Call<'_>) -> String {
    let mut line = String::from("curl");
    if call.method != Method::GET {
        line.push_str(&format!(" -X {}", call.method));
    }
    line.push_str(&format!(" {}", quoted(&call.url)));
    match call.credentials {
        Credentials::None => {}
        Credentials::Basic { user, password } => {
            line.push_str(&format!(" -u {}", quoted(&format!("{user}:{password}"))))
        }
        Credentials::Bearer(token) => {
            line.push_str(&format!(" -H {}", quoted(&format!("Authorization: Bearer {token}"))))
        }
    }
    match &call.body {
        Body::None => {}
        Body::Json(text) => line.push_str(&format!(" -H 'Content-Type: application/json' -d {}", quoted(text))),
        Body::Form(fields) => {
            for (name, value) in fields {
                line.push_str(&format!(" --data-urlencode {}", quoted(&format!("{name}={value}"))));
            }
        }
    }
    line
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    let plain = text.chars().all(|character| character.is_ascii_alphanumeric() || "-._:/=@%".contains(character));
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn shortened(text: &str) -> String {
    const LIMIT: usize = 900;
    match text.char_indices().nth(LIMIT) {
        Some((at, _)) => format!("{} … ({} bytes)", &text[..at], text.len()),
        None if text.is_empty() => "(empty)".to_owned(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_printed_as_a_line_that_a_shell_takes() {
        let call = Call {
            method: Method::POST,
            url: "http://127.0.0.1:8097/plan?a=1&b=2".into(),
            credentials: &Credentials::Basic { user: "u".into(), password: "it's".into() },
            body: Body::Json("{}".into()),
        };
        assert_eq!(
            curl_line(&call),
            r"curl -X POST 'http://127.0.0.1:8097/plan?a=1&b=2' -u 'u:it'\''s' -H 'Content-Type: application/json' -d '{}'"
        );
    }
}
