//! Answers whose bytes come from a stream of known length: HEAD, one Range, If-Range, If-None-Match, 206, 304, 416.
//!
//! The length is exact, nothing is compressed on the way, and a stream that fails in the middle cuts the connection, so
//! that no client takes a short file for a whole one.

use std::ops::Range;

use actix_web::{
    HttpRequest, HttpResponse,
    body::SizedStream,
    http::{
        Method, StatusCode,
        header::{
            ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
            IF_NONE_MATCH, IF_RANGE, RANGE,
        },
    },
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use trivault_engine::Download;

/// What is downloaded.
#[derive(Clone, Debug)]
pub struct Content {
    /// Bytes.
    pub length: u64,
    /// Strong entity tag, without quotes: changes when the bytes do.
    pub etag: String,
    pub content_type: &'static str,
    /// `[A-Za-z0-9._-]` only; what a browser saves it as.
    pub file_name: String,
}

/// What a request wants of the content.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    Part(Range<u64>),
    Unsatisfiable,
    /// The client has these bytes.
    Unchanged,
}

/// Answers with a download of the engine.
pub fn respond_with_download(
    request: &HttpRequest,
    download: Download,
    content_type: &'static str,
    file_name: String,
) -> HttpResponse {
    let content = Content { length: download.length, etag: download.etag.clone(), content_type, file_name };
    respond(request, &content, |range| download.stream(range))
}

/// Answers with `content`; `open` gives the bytes of a range and is called only when they are sent.
pub fn respond<S, E>(request: &HttpRequest, content: &Content, open: impl FnOnce(Range<u64>) -> S) -> HttpResponse
where
    S: Stream<Item = Result<Bytes, E>> + 'static,
    E: std::error::Error + 'static,
{
    let Content { length, etag, content_type, file_name } = content;
    let (status, range) = match wanted(request.method(), request.headers(), *length, etag) {
        Wanted::Whole => (StatusCode::OK, 0..*length),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Wanted::Unsatisfiable => {
            return HttpResponse::RangeNotSatisfiable()
                .insert_header((CONTENT_RANGE, format!("bytes */{length}")))
                .insert_header((ACCEPT_RANGES, "bytes"))
                .finish();
        }
        Wanted::Unchanged => return HttpResponse::NotModified().insert_header((ETAG, format!("\"{etag}\""))).finish(),
    };
    let mut answer = HttpResponse::build(status);
    answer
        .insert_header((ACCEPT_RANGES, "bytes"))
        .insert_header((ETAG, format!("\"{etag}\"")))
        .insert_header((CONTENT_TYPE, *content_type))
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{file_name}\"")));
    if status == StatusCode::PARTIAL_CONTENT {
        let last = range.end.saturating_sub(1);
        answer.insert_header((CONTENT_RANGE, format!("bytes {}-{last}/{length}", range.start)));
    }
    let sent = range.end - range.start;
    if request.method() == Method::HEAD {
        // The length is told, the bytes are not sent: the encoder writes no body for HEAD.
        return answer.body(SizedStream::new(sent, stream::empty::<Result<Bytes, std::io::Error>>()));
    }
    let logged = open(range)
        .map(|piece| piece.inspect_err(|error| tracing::warn!(%error, "a download broke off; its connection is cut")));
    answer.body(SizedStream::new(sent, logged))
}

fn wanted(method: &Method, headers: &HeaderMap, length: u64, etag: &str) -> Wanted {
    let quoted = format!("\"{etag}\"");
    if let Some(known) = text(headers, &IF_NONE_MATCH) {
        let is_known = |tag: &str| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == quoted;
        if known.split(',').any(|tag| is_known(tag.trim())) {
            return Wanted::Unchanged;
        }
    }
    // Ranges have a meaning for GET only, and If-Range must name exactly these bytes; we send no date to compare.
    if method != Method::GET || text(headers, &IF_RANGE).is_some_and(|tag| tag.trim() != quoted) {
        return Wanted::Whole;
    }
    match text(headers, &RANGE) {
        Some(range) => one_range(range, length),
        None => Wanted::Whole,
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A single range in bytes; what is malformed, of another unit or more than one range is the whole (RFC 9110 allows both).
fn one_range(header: &str, length: u64) -> Wanted {
    let Some((unit, set)) = header.split_once('=') else { return Wanted::Whole };
    let Some((first, last)) = set.trim().split_once('-') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Wanted::Whole;
    }
    let (first, last) = (first.trim(), last.trim());
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // A number beyond u64 lies beyond every end.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    if first.is_empty() {
        if !digits(last) {
            return Wanted::Whole;
        }
        let suffix = number(last).min(length);
        return if suffix == 0 { Wanted::Unsatisfiable } else { Wanted::Part(length - suffix..length) };
    }
    if !digits(first) || !(last.is_empty() || digits(last)) {
        return Wanted::Whole;
    }
    let start = number(first);
    let end = if last.is_empty() { length } else { number(last).saturating_add(1).min(length) };
    if !last.is_empty() && number(last) < start {
        return Wanted::Whole;
    }
    if start >= length { Wanted::Unsatisfiable } else { Wanted::Part(start..end) }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn asked(method: &Method, pairs: &[(HeaderName, &'static str)]) -> Wanted {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(name.clone(), HeaderValue::from_static(value));
        }
        wanted(method, &headers, 1000, "tag")
    }

    #[test]
    fn a_single_range_is_cut_to_the_length_and_everything_else_is_the_whole() {
        for (header, expected) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=0-", Wanted::Part(0..1000)),
            ("bytes=10-19", Wanted::Part(10..20)),
            ("Bytes = 10-19", Wanted::Part(10..20)),
            ("bytes=990-5000", Wanted::Part(990..1000)),
            ("bytes=-10", Wanted::Part(990..1000)),
            ("bytes=-5000", Wanted::Part(0..1000)),
            ("bytes=999-", Wanted::Part(999..1000)),
            ("bytes=1000-", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999999-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=0-1,5-6", Wanted::Whole),
            ("bytes=5-4", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("items=0-1", Wanted::Whole),
            ("bytes", Wanted::Whole),
        ] {
            assert_eq!(one_range(header, 1000), expected, "{header}");
        }
        assert_eq!(one_range("bytes=0-", 0), Wanted::Unsatisfiable);
    }

    #[test]
    fn a_range_counts_only_for_get_and_only_while_the_bytes_are_the_same() {
        let range = (RANGE, "bytes=1-2");
        assert_eq!(asked(&Method::GET, std::slice::from_ref(&range)), Wanted::Part(1..3));
        assert_eq!(asked(&Method::HEAD, std::slice::from_ref(&range)), Wanted::Whole);
        assert_eq!(asked(&Method::GET, &[range.clone(), (IF_RANGE, "\"tag\"")]), Wanted::Part(1..3));
        assert_eq!(asked(&Method::GET, &[range.clone(), (IF_RANGE, "\"other\"")]), Wanted::Whole);
        assert_eq!(asked(&Method::GET, &[range, (IF_RANGE, "Wed, 21 Oct 2015 07:28:00 GMT")]), Wanted::Whole);
    }

    #[test]
    fn bytes_that_the_client_has_are_not_sent_again() {
        for tags in ["\"tag\"", "W/\"tag\"", "\"x\", \"tag\"", "*"] {
            assert_eq!(asked(&Method::GET, &[(IF_NONE_MATCH, tags)]), Wanted::Unchanged, "{tags}");
        }
        assert_eq!(asked(&Method::GET, &[(IF_NONE_MATCH, "\"x\"")]), Wanted::Whole);
    }
}
