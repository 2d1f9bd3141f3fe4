//! How long a store on S3 may keep its callers waiting, and how often a request is sent.

use std::time::Duration;

use trivault_engine::S3Patience;

use super::resolve::within;

/// A request is signed once for all its tries, and S3 takes a signature for 15 minutes.
const SIGNATURE_SECONDS: u64 = 15 * 60;
const MOST_TRIES: u64 = 20;

/// The keys as written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    pub connect_seconds: Option<u64>,
    pub silence_seconds: Option<u64>,
    pub request_seconds: Option<u64>,
    pub retry_seconds: Option<u64>,
    pub tries: Option<u64>,
}

impl Limits {
    /// # Errors
    /// A sentence when one is given: a folder has none of them.
    pub fn refuse_for_a_folder(&self, store: &str) -> Result<(), String> {
        let Self { connect_seconds, silence_seconds, request_seconds, retry_seconds, tries } = self;
        let given = [
            ("connect_seconds", connect_seconds),
            ("silence_seconds", silence_seconds),
            ("request_seconds", request_seconds),
            ("retry_seconds", retry_seconds),
            ("tries", tries),
        ];
        match given.into_iter().find(|(_, limit)| limit.is_some()) {
            Some((key, _)) => Err(format!("The store {store} is a folder; {key} is for stores on S3.")),
            None => Ok(()),
        }
    }
}

/// # Errors
/// A sentence that names the store, the key and its range.
pub fn patience(store: &str, limits: &Limits) -> Result<S3Patience, String> {
    let Limits { connect_seconds, silence_seconds, request_seconds, retry_seconds, tries } = *limits;
    let defaults = S3Patience::default();
    let in_range = |key: &str, given: Option<u64>, default: u64, least: u64, most: u64| {
        within(&format!("{key} of the store {store}"), given.unwrap_or(default), least, most)
    };
    let handshake = in_range("connect_seconds", connect_seconds, defaults.handshake.as_secs(), 1, 120)?;
    let request = in_range("request_seconds", request_seconds, defaults.request.as_secs(), 1, 840)?;
    let retries = in_range("retry_seconds", retry_seconds, defaults.retries.as_secs(), 0, 600)?;
    // Whoever shortens requests alone means silence too.
    let silence = in_range("silence_seconds", silence_seconds, defaults.silence.as_secs().min(request), 1, request)?;
    let default_tries = u64::try_from(defaults.attempts).unwrap_or(u64::MAX).saturating_add(1);
    let tries = in_range("tries", tries, default_tries, 1, MOST_TRIES)?;
    if request + retries >= SIGNATURE_SECONDS {
        return Err(format!(
            "request_seconds and retry_seconds of the store {store} make {} seconds together; they must stay below \
             {SIGNATURE_SECONDS}, for which a request's signature is good.",
            request + retries
        ));
    }
    Ok(S3Patience {
        handshake: Duration::from_secs(handshake),
        silence: Duration::from_secs(silence),
        request: Duration::from_secs(request),
        retries: Duration::from_secs(retries),
        attempts: usize::try_from(tries - 1).unwrap_or(usize::MAX),
    })
}

/// For a person.
pub fn described(patience: &S3Patience) -> String {
    let S3Patience { handshake, silence, request, retries, attempts } = patience;
    let tries = match attempts {
        0 => "sent once".to_owned(),
        further => format!("up to {} tries within {} s", further + 1, retries.as_secs()),
    };
    format!(
        "connect {} s, silence {} s, request {} s; {tries}",
        handshake.as_secs(),
        silence.as_secs(),
        request.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(limits: Limits) -> String {
        patience("cloud", &limits).unwrap_err()
    }

    #[test]
    fn nothing_leaves_the_default_and_each_limit_can_be_set() {
        assert_eq!(patience("cloud", &Limits::default()).unwrap(), S3Patience::default());
        let short = Limits {
            connect_seconds: Some(2),
            silence_seconds: Some(3),
            request_seconds: Some(4),
            retry_seconds: Some(0),
            tries: Some(1),
        };
        let patience = patience("cloud", &short).unwrap();
        let seconds =
            [patience.handshake, patience.silence, patience.request, patience.retries].map(|time| time.as_secs());
        assert_eq!((seconds, patience.attempts), ([2, 3, 4, 0], 0));
        assert_eq!(described(&patience), "connect 2 s, silence 3 s, request 4 s; sent once");
        assert!(described(&S3Patience::default()).ends_with("up to 7 tries within 120 s"));
    }

    #[test]
    fn a_short_request_shortens_the_silence_too() {
        let limits = Limits { request_seconds: Some(20), ..Limits::default() };
        assert_eq!(patience("cloud", &limits).unwrap().silence, Duration::from_secs(20));
    }

    #[test]
    fn what_is_out_of_range_is_refused_with_the_store_the_key_and_the_range() {
        let none = Limits::default();
        for (limits, words) in [
            (
                Limits { connect_seconds: Some(0), ..none },
                "connect_seconds of the store cloud is 0; it can be 1 to 120",
            ),
            (
                Limits { silence_seconds: Some(241), ..none },
                "silence_seconds of the store cloud is 241; it can be 1 to 240",
            ),
            (Limits { request_seconds: Some(0), ..none }, "request_seconds of the store cloud is 0"),
            (Limits { retry_seconds: Some(601), ..none }, "retry_seconds of the store cloud is 601"),
            (Limits { tries: Some(0), ..none }, "tries of the store cloud is 0; it can be 1 to 20"),
            (Limits { request_seconds: Some(800), ..none }, "920 seconds together"),
        ] {
            let sentence = refused(limits);
            assert!(sentence.contains(words), "{limits:?}: {sentence}");
        }
    }

    #[test]
    fn a_folder_has_no_limits_of_time() {
        Limits::default().refuse_for_a_folder("disk").unwrap();
        let sentence = Limits { tries: Some(3), ..Limits::default() }.refuse_for_a_folder("disk").unwrap_err();
        assert_eq!(sentence, "The store disk is a folder; tries is for stores on S3.");
    }
}
