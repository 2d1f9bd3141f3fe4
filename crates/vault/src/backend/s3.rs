//! How an S3 prefix is named and reached.

use crate::error::{Result, VaultError, VaultErrorKind};
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const LONGEST_BACKOFF: Duration = Duration::from_secs(8);
/// Taken when no region is given; servers other than Amazon's accept it.
const DEFAULT_REGION: &str = "us-east-1";

/// How long a store may keep its callers waiting. The longest that one call can take is about `retries + request`, and `retries + silence` where a
/// server accepts connections and says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S3Patience {
    /// Time for the TCP and TLS handshakes.
    pub handshake: Duration,
    /// A server that sends nothing for so long is given up, except during uploads.
    pub silence: Duration,
    /// Time for one whole request. The default lets a 32 MiB pack pass at 1.2 Mbit/s.
    pub request: Duration,
    /// No attempt starts later than this after the first. With `request` it must stay below the 15 minutes that a signature is good for.
    pub retries: Duration,
    /// Further attempts of one request that the server refuses with 5xx or 429 or whose connection breaks; with the back-off some 15 seconds by
    /// default. 0 sends each request once.
    pub attempts: usize,
}

impl Default for S3Patience {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            silence: Duration::from_secs(60),
            request: Duration::from_secs(240),
            retries: Duration::from_secs(120),
            attempts: 6,
        }
    }
}

/// The right to use a bucket. Its `Debug` shows the key's id only.
#[derive(Clone)]
pub struct S3Credentials {
    access_key_id: String,
    secret_access_key: Zeroizing<String>,
    session_token: Option<Zeroizing<String>>,
}

impl S3Credentials {
    /// A lasting key pair.
    pub fn new(access_key_id: impl Into<String>, secret_access_key: impl Into<String>) -> Self {
        let secret_access_key = Zeroizing::new(secret_access_key.into());
        Self { access_key_id: access_key_id.into(), secret_access_key, session_token: None }
    }

    /// The same with the token of a temporary key pair.
    #[must_use]
    pub fn with_session_token(self, token: impl Into<String>) -> Self {
        Self { session_token: Some(Zeroizing::new(token.into())), ..self }
    }
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("S3Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// A prefix in a bucket of an S3 server.
#[derive(Debug, Clone)]
pub struct S3Location {
    /// URL of the server; `None` is Amazon's own in [`S3Location::region`].
    pub endpoint: Option<String>,
    /// Region of the bucket; `None` is `us-east-1`.
    pub region: Option<String>,
    /// Name of the bucket, which must exist.
    pub bucket: String,
    /// Directory inside the bucket, without slashes at its ends; may be empty.
    pub prefix: String,
    /// `None` takes the environment's (`AWS_ACCESS_KEY_ID` ...) or the machine's role.
    pub credentials: Option<S3Credentials>,
    /// Whether an endpoint without TLS is accepted. Off unless an operator says so: packs are encrypted, requests are not.
    pub allow_http: bool,
    /// Whether the bucket stands in the host name instead of the path.
    pub virtual_hosted_style: bool,
}

impl S3Location {
    /// A prefix in a bucket of Amazon's, with the environment's credentials.
    pub fn new(bucket: impl Into<String>, prefix: &str) -> Self {
        Self {
            endpoint: None,
            region: None,
            bucket: bucket.into(),
            prefix: prefix.trim_matches('/').to_owned(),
            credentials: None,
            allow_http: false,
            virtual_hosted_style: false,
        }
    }

    /// Reads `s3://bucket/prefix`, or `s3:https://host/bucket/prefix` as the stock restic writes it.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            VaultError::new(VaultErrorKind::Unsupported, format!("{text:?} does not name an S3 store"))
                .with_hint("write s3://bucket/prefix, or s3:https://host/bucket/prefix")
        };
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            return if bucket.is_empty() { Err(wrong()) } else { Ok(Self::new(bucket, prefix)) };
        }
        let url = text.strip_prefix("s3:").and_then(|rest| url::Url::parse(rest).ok()).ok_or_else(wrong)?;
        if !matches!(url.scheme(), "http" | "https")
            || !url.has_host()
            || !url.username().is_empty()
            || url.password().is_some()
        {
            return Err(wrong());
        }
        let path = url.path().trim_matches('/');
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        if bucket.is_empty() {
            return Err(wrong());
        }
        let endpoint = Some(url.origin().ascii_serialization());
        Ok(Self { endpoint, ..Self::new(bucket, prefix) })
    }

    /// The region that requests are signed for.
    pub fn effective_region(&self) -> &str {
        self.region.as_deref().filter(|region| !region.is_empty()).unwrap_or(DEFAULT_REGION)
    }

    /// The place as the stock restic takes it.
    pub fn display(&self, below: &str) -> String {
        let endpoint = match &self.endpoint {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None => format!("https://s3.{}.amazonaws.com", self.effective_region()),
        };
        let parts = [self.bucket.as_str(), self.prefix.as_str(), below];
        let path: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        format!("s3:{endpoint}/{}", path.join("/"))
    }

    /// The client for this place. Nothing is sent yet.
    pub(super) fn connect(&self, patience: &S3Patience, silence: Option<Duration>) -> Result<AmazonS3> {
        if self.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://")) && !self.allow_http {
            let sentence = format!("the S3 store at {} is reached without TLS, which is not allowed", self.display(""));
            return Err(VaultError::new(VaultErrorKind::StoreUnavailable, sentence)
                .with_hint("use an https endpoint, or set allow_http for this store"));
        }
        let retry = RetryConfig {
            backoff: BackoffConfig { init_backoff: FIRST_BACKOFF, max_backoff: LONGEST_BACKOFF, base: 2.0 },
            max_retries: patience.attempts,
            retry_timeout: patience.retries,
        };
        let mut client = ClientOptions::new()
            .with_connect_timeout(patience.handshake)
            .with_timeout(patience.request)
            .with_allow_http(self.allow_http);
        client = match silence {
            Some(silence) => client.with_read_timeout(silence),
            None => client.with_read_timeout_disabled(),
        };
        let mut builder = match &self.credentials {
            None => AmazonS3Builder::from_env(),
            Some(_) => AmazonS3Builder::new(),
        };
        builder = builder
            .with_client_options(client)
            .with_retry(retry)
            .with_bucket_name(&self.bucket)
            .with_region(self.effective_region())
            .with_virtual_hosted_style_request(self.virtual_hosted_style)
            // The server refuses an upload that was damaged on its way.
            .with_checksum_algorithm(Checksum::SHA256)
            // Some servers lack the bulk request, and we delete one file at a time anyway.
            .with_disable_bulk_delete(true);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        if let Some(S3Credentials { access_key_id, secret_access_key, session_token }) = &self.credentials {
            builder = builder.with_access_key_id(access_key_id).with_secret_access_key(secret_access_key.as_str());
            if let Some(token) = session_token {
                builder = builder.with_token(token.as_str());
            }
        }
        builder.build().map_err(|error| {
            let sentence = format!("the S3 store at {} cannot be set up: {error}", self.display(""));
            VaultError::new(VaultErrorKind::StoreUnavailable, sentence)
                .with_hint("check the store's endpoint, bucket and region in the configuration")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_write_a_place_are_read() {
        let amazon = S3Location::parse("s3://bucket/a/b/").unwrap();
        assert_eq!((amazon.endpoint, amazon.bucket.as_str(), amazon.prefix.as_str()), (None, "bucket", "a/b"));
        let own = S3Location::parse("s3:http://127.0.0.1:9000/bucket").unwrap();
        assert_eq!(own.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        assert_eq!((own.bucket.as_str(), own.prefix.as_str()), ("bucket", ""));
        assert_eq!(own.display("vault"), "s3:http://127.0.0.1:9000/bucket/vault");
        for wrong in ["", "s3:", "s3://", "s3:https://host", "s3:ftp://host/b", "s3:https://u:p@host/b", "/srv/store"] {
            assert!(S3Location::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let credentials = S3Credentials::new("id-1", "hidden-2").with_session_token("hidden-3");
        let location = S3Location { credentials: Some(credentials), ..S3Location::new("bucket", "") };
        let shown = format!("{location:?}");
        assert!(shown.contains("id-1") && !shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn an_endpoint_without_tls_needs_a_setting() {
        let location = S3Location::parse("s3:http://127.0.0.1:9/bucket").unwrap();
        let error = location.connect(&S3Patience::default(), None).unwrap_err();
        assert_eq!(error.kind(), &VaultErrorKind::StoreUnavailable);
        assert!(error.hint().unwrap().contains("allow_http"));
    }
}
