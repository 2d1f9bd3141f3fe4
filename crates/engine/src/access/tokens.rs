//! Bearer tokens (signed, HS256 alone) and API tokens (random, stored as a hash).

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::{Error, ErrorCode, Result, SecretText};

/// Bytes of randomness in an API token: 48 characters in URL-safe base64.
const API_TOKEN_BYTES: usize = 36;
const ISSUER: &str = "trivault";

/// Registered claims, and further ones that clients read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub iss: String,
    pub aud: String,
    pub sub: String,
    pub jti: Uuid,
    /// Seconds since 1970.
    pub iat: i64,
    pub exp: i64,
    #[serde(flatten)]
    pub further: BTreeMap<String, String>,
}

impl Claims {
    pub(crate) fn new(audience: &str, subject: &str, id: Uuid, now: DateTime<Utc>, until: DateTime<Utc>) -> Self {
        Self {
            iss: ISSUER.to_owned(),
            aud: audience.to_owned(),
            sub: subject.to_owned(),
            jti: id,
            iat: now.timestamp(),
            exp: until.timestamp(),
            further: BTreeMap::new(),
        }
    }
}

/// # Errors
/// `Internal` when the claims cannot be written.
pub(crate) fn sign(key: &[u8; 32], claims: &Claims) -> Result<SecretText> {
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(key));
    token.map(SecretText::new).map_err(|error| Error::internal("A token could not be signed.").because(error))
}

/// The claims of a token of that audience that has not expired at `now`.
///
/// # Errors
/// `Unauthenticated` for everything that is not such a token.
pub(crate) fn verify(key: &[u8; 32], audience: &str, token: &str, now: DateTime<Utc>) -> Result<Claims> {
    let refused = || Error::new(ErrorCode::Unauthenticated, "The token is not valid.");
    let mut rules = Validation::new(Algorithm::HS256);
    rules.set_audience(&[audience]);
    rules.set_issuer(&[ISSUER]);
    rules.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
    // Against the engine's clock, below.
    rules.validate_exp = false;
    let decoded = jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_secret(key), &rules);
    let claims = decoded.map_err(|error| refused().because(error))?.claims;
    if claims.exp <= now.timestamp() {
        return Err(Error::new(ErrorCode::Unauthenticated, "The token has expired."));
    }
    Ok(claims)
}

/// A new API token: the prefix and 48 characters of `[A-Za-z0-9_-]`.
///
/// # Errors
/// `Internal` when the machine has no randomness.
pub(crate) fn api_token(prefix: &str) -> Result<SecretText> {
    let mut bytes = [0; API_TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| Error::internal("The machine gives no randomness.").because(error))?;
    Ok(SecretText::new(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes))))
}

/// What is stored of an API token. Its own randomness makes a slow hash needless.
pub(crate) fn secret_hash(token: &SecretText) -> Vec<u8> {
    Sha256::digest(token.expose().as_bytes()).to_vec()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn claims(audience: &str) -> (Claims, DateTime<Utc>) {
        let now = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(20_000);
        (Claims::new(audience, "mira", Uuid::nil(), now, now + TimeDelta::hours(1)), now)
    }

    #[test]
    fn a_token_is_good_for_its_audience_its_key_and_its_time_only() {
        let (mut claims, now) = claims("arcgis");
        claims.further.insert("referer".into(), "https://x".into());
        let token = sign(&KEY, &claims).unwrap();
        assert_eq!(verify(&KEY, "arcgis", token.expose(), now).unwrap(), claims);
        assert!(verify(&KEY, "dbaas", token.expose(), now).is_err());
        assert!(verify(&[8; 32], "arcgis", token.expose(), now).is_err());
        assert!(verify(&KEY, "arcgis", token.expose(), now + TimeDelta::hours(1)).is_err());
        assert!(verify(&KEY, "arcgis", "nonsense", now).is_err());
        assert!(token.expose().chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter)));
    }

    #[test]
    fn a_token_of_another_algorithm_is_refused() {
        let (claims, now) = claims("arcgis");
        let other =
            jsonwebtoken::encode(&Header::new(Algorithm::HS512), &claims, &EncodingKey::from_secret(&KEY)).unwrap();
        assert!(verify(&KEY, "arcgis", &other, now).is_err());
        let none = format!(
            "{}.{}.",
            URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
            URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims).unwrap())
        );
        assert!(verify(&KEY, "arcgis", &none, now).is_err());
    }

    #[test]
    fn an_api_token_has_its_prefix_and_48_characters() {
        let token = api_token("tk-us-").unwrap();
        assert_eq!(token.expose().len(), 6 + 48);
        assert_ne!(secret_hash(&token), secret_hash(&api_token("tk-us-").unwrap()));
    }
}
