//! The raw body of a request, whatever its content type says.

use actix_web::{FromRequest, HttpRequest, HttpResponse, dev::Payload, error::InternalError};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, future::LocalBoxFuture};
use serde::de::DeserializeOwned;

use crate::{Refusal, Shared, front::refuse};

/// All bytes of the body, up to the limit. Larger ones, and ones that end early, are refused in the dialect's shape.
#[derive(Clone, Debug, Default)]
pub struct RawBody(pub Bytes);

impl RawBody {
    /// Nothing but white space.
    pub fn is_blank(&self) -> bool {
        self.0.iter().all(u8::is_ascii_whitespace)
    }

    /// Reads the body as JSON; a blank body is `{}`.
    ///
    /// # Errors
    /// That of the parser; dialects word it.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        if self.is_blank() { serde_json::from_slice(b"{}") } else { serde_json::from_slice(&self.0) }
    }

    /// Reads the body; for extractors of dialects that need the payload in another form.
    ///
    /// # Errors
    /// The refusal to render.
    pub async fn read(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Refusal> {
        let limits = Shared::of(request).map(|shared| shared.limits).unwrap_or_default();
        let limit = limits.body_bytes;
        let declared =
            request.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > limit)) {
            return Err(Refusal::BodyTooLarge { limit });
        }
        let collect = async {
            let mut bytes = BytesMut::new();
            while let Some(piece) = payload.next().await {
                let piece = piece.map_err(|_| Refusal::BodyUnreadable)?;
                if bytes.len() + piece.len() > limit {
                    return Err(Refusal::BodyTooLarge { limit });
                }
                bytes.extend_from_slice(&piece);
            }
            Ok(Self(bytes.freeze()))
        };
        tokio::time::timeout(limits.body_time, collect).await.unwrap_or(Err(Refusal::TimedOut))
    }
}

impl FromRequest for RawBody {
    type Error = actix_web::Error;
    type Future = LocalBoxFuture<'static, Result<Self, actix_web::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let mut payload = payload.take();
        Box::pin(async move {
            Self::read(&request, &mut payload).await.map_err(|refusal| {
                let mut response = refuse(&request, &refusal);
                // The rest of the body is not read: the connection cannot be used again.
                response.head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
                into_error(response)
            })
        })
    }
}

fn into_error(response: HttpResponse) -> actix_web::Error {
    InternalError::from_response("refused", response).into()
}
