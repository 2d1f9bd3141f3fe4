//! One request and its answer: fields, format, session, and the rendering of what a handler found.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header},
    web,
};
use serde::Serialize;
use serde_json::Value;
use trivault_engine::{Caller, Engine};
use trivault_http::{BaseUrl, RawBody, caller, headers};

use crate::{
    auth::{self, Session},
    errors::{Refused, Result},
    form::Fields,
    html::{self, Form, Page},
    types::Submitted,
};

const JSON: &str = "application/json;charset=UTF-8";

/// Output format, the parameter `f`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Html,
    Json,
    /// The same JSON, indented.
    Pjson,
}

/// What a handler found.
pub enum Reply {
    /// A resource: its JSON and its page.
    Resource { json: Value, page: Page },
    /// An operation is done; a browser goes to `parent` (a path) and reads `notice` there.
    Done { json: Value, parent: String, notice: String },
    /// An operation runs on as a job.
    Submitted { json: Value, jobid: String, parent: String },
    /// The form of an operation, for a browser that asked with GET.
    Form(Form),
}

pub struct Exchange {
    pub request: HttpRequest,
    pub engine: Engine,
    pub fields: Fields,
    pub format: Format,
    pub session: Session,
}

impl Exchange {
    /// Reads a request of a signed-in caller.
    ///
    /// # Errors
    /// The answer to send: 400 for bad fields, 498 and 499, a redirect to the sign-in page for browsers.
    pub async fn open(request: HttpRequest, body: RawBody) -> Result<Self, HttpResponse> {
        let fields = match Fields::read(&request, &body.0).await {
            Ok(fields) => fields,
            Err(refused) => return Err(error(Format::Json, &request, None, &refused)),
        };
        let format = match format_of(&fields) {
            Ok(format) => format,
            Err(refused) => return Err(error(Format::Json, &request, None, &refused)),
        };
        let Some(engine) = request.app_data::<web::Data<Engine>>().map(|engine| engine.get_ref().clone()) else {
            return Err(error(format, &request, None, &Refused::new(500, "The server is not set up.")));
        };
        match auth::session(&engine, &request, &fields).await {
            Ok(session) => Ok(Self { request, engine, fields, format, session }),
            Err(refused) if format == Format::Html && is_reading(&request) => {
                tracing::info!(code = refused.code, "a browser is sent to the sign-in page");
                Err(to_sign_in(&request))
            }
            Err(refused) => Err(error(format, &request, None, &refused)),
        }
    }

    pub fn caller(&self) -> Caller {
        caller(&self.request, self.session.principal.clone(), crate::NAME)
    }

    /// First segment of the path: answers use the one that the request used.
    pub fn context(&self) -> &str {
        context_of(&self.request)
    }

    /// The absolute path of something below this context's `/admin`.
    pub fn admin_path(&self, rest: &str) -> String {
        format!("/{}/admin{rest}", self.context())
    }

    pub fn absolute(&self, path: &str) -> String {
        BaseUrl::of(&self.request).join(path)
    }

    /// A part of the path, decoded.
    pub fn path(&self, name: &str) -> String {
        self.request.match_info().query(name).to_owned()
    }

    pub fn is_post(&self) -> bool {
        self.request.method() == Method::POST
    }

    /// For operations: a GET shows the form to a browser, and is an error to a program.
    ///
    /// # Errors
    /// 405 in the body.
    pub fn require_post_or_form(&self, form: impl FnOnce() -> Form) -> Result<Option<Reply>> {
        if self.is_post() {
            return Ok(None);
        }
        match self.format {
            Format::Html => Ok(Some(Reply::Form(form()))),
            Format::Json | Format::Pjson => {
                Err(Refused::new(405, "HTTP method GET is not supported on this operation. Use POST."))
            }
        }
    }

    /// Renders what a handler found; on an error of a posted form, the form again.
    pub fn answer(&self, outcome: Result<Reply>, form: Option<Form>) -> HttpResponse {
        match (outcome, self.format) {
            (Ok(Reply::Resource { json, page }), Format::Html) => {
                let _ = json;
                self.page(&html::resource(self, &page))
            }
            (Ok(Reply::Form(form)), _) => self.page(&html::form(self, &form, None)),
            (Ok(Reply::Done { parent, notice, .. }), Format::Html) => see_other(&parent, &notice),
            (Ok(Reply::Submitted { jobid, parent, .. }), Format::Html) => {
                self.page(&html::submitted(self, &jobid, &parent))
            }
            (
                Ok(Reply::Resource { json, .. } | Reply::Done { json, .. } | Reply::Submitted { json, .. }),
                format @ (Format::Json | Format::Pjson),
            ) => json_answer(format, &json),
            (Err(refused), Format::Html) => match form {
                Some(form) if self.is_post() => self.page(&html::form(self, &form, Some(&refused))),
                Some(_) | None => self.page(&html::failure(self, &refused)),
            },
            (Err(refused), format) => error(format, &self.request, None, &refused),
        }
    }

    fn page(&self, text: &str) -> HttpResponse {
        html_answer(text)
    }

    /// The answer of an operation that runs on.
    pub fn submitted(&self, jobid: &str, parent: String) -> Reply {
        let submitted = Submitted {
            jobs_url: self.absolute(&self.admin_path(&format!("/jobs/{jobid}"))),
            jobid: jobid.to_owned(),
            status: "SUBMITTED".to_owned(),
        };
        Reply::Submitted { json: json_of(&submitted), jobid: jobid.to_owned(), parent }
    }
}

/// A wire type as JSON.
pub fn json_of(value: &impl Serialize) -> Value {
    // Wire types are plain structures: this cannot fail, and `null` would show at once.
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// # Errors
/// 400 for a format that is not known.
pub fn format_of(fields: &Fields) -> Result<Format> {
    match fields.text("f").map(str::to_ascii_lowercase).as_deref() {
        None | Some("html") => Ok(Format::Html),
        Some("json") => Ok(Format::Json),
        Some("pjson") => Ok(Format::Pjson),
        Some(_) => Err(Refused::invalid("The parameter 'f' can be html, json or pjson.")),
    }
}

pub fn context_of(request: &HttpRequest) -> &str {
    request.path().split('/').nth(1).unwrap_or_default()
}

fn is_reading(request: &HttpRequest) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

fn to_sign_in(request: &HttpRequest) -> HttpResponse {
    let target: String = url::form_urlencoded::byte_serialize(request.path().as_bytes()).collect();
    let location = format!("/{}/admin/login?redirect={target}", context_of(request));
    let mut response = HttpResponse::Found().insert_header((header::LOCATION, location)).finish();
    headers::keep_private(&mut response);
    response
}

fn see_other(parent: &str, notice: &str) -> HttpResponse {
    let notice: String = url::form_urlencoded::byte_serialize(notice.as_bytes()).collect();
    HttpResponse::SeeOther().insert_header((header::LOCATION, format!("{parent}?notice={notice}"))).finish()
}

pub fn html_answer(text: &str) -> HttpResponse {
    let mut response = HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"))
        .insert_header((header::X_FRAME_OPTIONS, "DENY"))
        .body(text.to_owned());
    // Pages carry the token in their forms.
    headers::keep_private(&mut response);
    // Not `no-referrer`: under it a browser posts the page's own forms with `Origin: null`, which is refused as foreign.
    response.headers_mut().insert(header::REFERRER_POLICY, header::HeaderValue::from_static("same-origin"));
    response
}

pub fn json_answer(format: Format, json: &Value) -> HttpResponse {
    let text = if format == Format::Pjson { serde_json::to_string_pretty(json) } else { serde_json::to_string(json) };
    let mut response = HttpResponse::Ok().content_type(JSON).body(text.unwrap_or_default());
    headers::keep_private(&mut response);
    response
}

/// An error, always with HTTP status 200.
pub fn error(format: Format, request: &HttpRequest, session: Option<&Session>, refused: &Refused) -> HttpResponse {
    match format {
        Format::Json | Format::Pjson => json_answer(format, &json_of(&refused.envelope())),
        Format::Html => html_answer(&html::bare_failure(context_of(request), session, refused)),
    }
}
