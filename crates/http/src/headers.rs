//! Headers that answers carry.

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue},
};

const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");

/// Marks an answer that shows a secret, or whose URL carries one: kept by no cache, passed on in no `Referer`.
pub fn keep_private(response: &mut HttpResponse) {
    mark_private(response.headers_mut());
}

/// As [`keep_private`], on bare headers.
pub fn mark_private(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}
