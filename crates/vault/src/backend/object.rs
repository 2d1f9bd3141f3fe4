//! A vault below a prefix of an S3 bucket.
//!
//! One PUT is atomic and durable when it is answered, and reads and listings see it at once (Amazon's rule, which the compatible servers
//! keep). Packs fit into a single PUT, so there are no multipart uploads to clean up. Names are digests of the content, so a PUT that is
//! repeated after a time-out does no harm.

use super::local::too_short;
use super::object_failure::{broke_off, from_object_store};
use super::runtime::block_on;
use super::s3::{S3Location, S3Patience};
use super::{Backend, Entry, FileKind, is_content_name};
use crate::crypto::fill_random;
use crate::error::{Result, VaultError, VaultErrorKind};
use crate::id::Id;
use futures_util::TryStreamExt;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutPayload,
};
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often an exclusive create is sent when the server answers "conflict" though nothing is there (two requests in flight).
const CREATE_ATTEMPTS: usize = 3;
/// How often a request is sent at most whose connection breaks. The client repeats what fails before an answer begins; this is for the rest:
/// torn listings, and requests that it does not know to be harmless twice. Here all are.
const ATTEMPTS: usize = 4;
/// No such attempt begins later than this after the first: what takes longer the client has repeated itself, and a server that is away shall be
/// reported, not waited for.
const ATTEMPTS_WITHIN: Duration = Duration::from_secs(10);
/// Names who created an object that may be created only once, in the object's metadata.
const CREATOR: Attribute = Attribute::Metadata(Cow::Borrowed("trivault-creator"));
/// Between two of these attempts, times the attempt's number.
const PAUSE: Duration = Duration::from_millis(200);

/// Objects below a prefix, over blocking calls. Shared by a store and its vaults.
#[derive(Clone)]
pub(super) struct Objects {
    /// For everything but uploads: gives up a server that is silent.
    client: Arc<AmazonS3>,
    /// For uploads, during which a server is silent as long as the line takes.
    uploads: Arc<AmazonS3>,
    prefix: String,
    location: String,
    /// Of a request whose connection breaks.
    attempts: usize,
    /// No such attempt begins later than this after the first.
    attempts_within: Duration,
}

impl fmt::Debug for Objects {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's own Debug would show its credentials.
        formatter.debug_struct("Objects").field("location", &self.location).finish_non_exhaustive()
    }
}

impl Objects {
    pub(super) fn connect(at: &S3Location, patience: S3Patience) -> Result<Self> {
        let client = Arc::new(at.connect(&patience, Some(patience.silence))?);
        let uploads = Arc::new(at.connect(&patience, None)?);
        Ok(Self {
            client,
            uploads,
            prefix: at.prefix.clone(),
            location: at.display(""),
            attempts: patience.attempts.saturating_add(1).min(ATTEMPTS),
            attempts_within: patience.retries.min(ATTEMPTS_WITHIN),
        })
    }

    /// The objects below a directory of these.
    pub(super) fn below(&self, directory: &str) -> Self {
        let prefix = join(&self.prefix, directory);
        Self { prefix, location: format!("{}/{directory}", self.location), ..self.clone() }
    }

    pub(super) fn location(&self) -> &str {
        &self.location
    }

    fn key(&self, name: &str) -> Path {
        Path::from(join(&self.prefix, name))
    }

    fn failed(&self, doing: &str, error: Error) -> VaultError {
        from_object_store(&self.location, doing, error)
    }

    /// Sends a request, and again while its connection breaks and there is time.
    fn send<T, F>(&self, doing: &str, request: impl Fn(Arc<AmazonS3>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = object_store::Result<T>> + Send + 'static,
    {
        self.send_by(&self.client, request)?.map_err(|error| self.failed(doing, error))
    }

    fn send_by<T, F>(
        &self,
        client: &Arc<AmazonS3>,
        request: impl Fn(Arc<AmazonS3>) -> F,
    ) -> Result<object_store::Result<T>>
    where
        T: Send + 'static,
        F: Future<Output = object_store::Result<T>> + Send + 'static,
    {
        let begin = Instant::now();
        for attempt in 1.. {
            match block_on(request(Arc::clone(client)))? {
                Err(error)
                    if attempt < self.attempts && broke_off(&error) && begin.elapsed() < self.attempts_within =>
                {
                    tracing::debug!(store.location = %self.location, attempt, error = %error, "a request broke off");
                    std::thread::sleep(PAUSE * u32::try_from(attempt).unwrap_or(1));
                }
                outcome => return Ok(outcome),
            }
        }
        Err(VaultError::internal("a request to S3 was never sent"))
    }

    pub(super) fn get(&self, name: &str, range: Option<std::ops::Range<u64>>) -> Result<Vec<u8>> {
        self.get_with_attributes(name, range).map(|(bytes, _)| bytes)
    }

    fn get_with_attributes(&self, name: &str, range: Option<std::ops::Range<u64>>) -> Result<(Vec<u8>, Attributes)> {
        let key = self.key(name);
        self.send(&format!("reading {name}"), |client| {
            let key = key.clone();
            let options = GetOptions { range: range.clone().map(GetRange::Bounded), ..GetOptions::default() };
            async move {
                let found = client.get_opts(&key, options).await?;
                let promised = found.range.end.saturating_sub(found.range.start);
                let attributes = found.attributes.clone();
                let bytes = Vec::from(found.bytes().await?);
                match bytes.len() as u64 == promised {
                    true => Ok((bytes, attributes)),
                    false => Err(cut_short(bytes.len(), promised)),
                }
            }
        })
    }

    pub(super) fn length(&self, name: &str) -> Result<u64> {
        let key = self.key(name);
        let found = self.send(&format!("looking at {name}"), |client| {
            let key = key.clone();
            async move { client.head(&key).await }
        });
        found.map(|meta| meta.size)
    }

    /// Stores an object, over another one.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.upload(name, bytes, &PutOptions::default())?
            .map_err(|error| self.failed(&format!("writing {name}"), error))
    }

    /// Stores an object where there is none; `false` when there is one, even of the same bytes.
    ///
    /// "There is one" may also be the answer to a request that was repeated after its own success got lost. So each call signs what it
    /// creates, and looks at the signature of what it finds.
    pub(super) fn create(&self, name: &str, bytes: &[u8]) -> Result<bool> {
        let mut random = [0; 32];
        fill_random(&mut random)?;
        let signature = Id::from_bytes(random).to_hex();
        let mut options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        options.attributes.insert(CREATOR, signature.clone().into());
        for _ in 0..CREATE_ATTEMPTS {
            match self.upload(name, bytes, &options)? {
                Ok(()) => return Ok(true),
                // "Conflict" may also mean another request in flight that fails in the end: look.
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                    match self.get_with_attributes(name, None) {
                        Ok((found, attributes)) => {
                            // Without any signature a server does not keep them, or somebody else's program made it.
                            let signed = attributes.get(&CREATOR).map(|found| **found == *signature);
                            return Ok(signed.unwrap_or(found == bytes));
                        }
                        Err(error) if *error.kind() == VaultErrorKind::Missing => {}
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => return Err(self.failed(&format!("writing {name}"), error)),
            }
        }
        let sentence = format!("the store at {} keeps answering \"conflict\" (writing {name})", self.location);
        Err(VaultError::new(VaultErrorKind::StoreUnavailable, sentence)
            .with_hint("see whether another server uses this store, then run the job again"))
    }

    fn upload(&self, name: &str, bytes: &[u8], options: &PutOptions) -> Result<object_store::Result<()>> {
        let (key, payload) = (self.key(name), PutPayload::from(bytes.to_vec()));
        self.send_by(&self.uploads, |client| {
            let (key, payload, options) = (key.clone(), payload.clone(), options.clone());
            async move { client.put_opts(&key, payload, options).await.map(drop) }
        })
    }

    pub(super) fn delete(&self, name: &str) -> Result<()> {
        let key = self.key(name);
        let deleted = self.send(&format!("removing {name}"), |client| {
            let key = key.clone();
            async move { client.delete(&key).await }
        });
        match deleted {
            Err(error) if *error.kind() == VaultErrorKind::Missing => Ok(()),
            deleted => deleted,
        }
    }

    /// All objects below a directory of these.
    pub(super) fn list(&self, directory: &str) -> Result<Vec<ObjectMeta>> {
        let key = self.key(directory);
        self.send(&format!("listing {directory}"), |client| {
            let key = key.clone();
            async move { client.list(Some(&key)).try_collect().await }
        })
    }

    /// Names of the directories right below a directory of these, sorted.
    pub(super) fn list_directories(&self, directory: &str) -> Result<Vec<String>> {
        let key = self.key(directory);
        let listed = self.send(&format!("listing {directory}"), |client| {
            let key = key.clone();
            async move { client.list_with_delimiter(Some(&key)).await }
        })?;
        let mut names: Vec<String> =
            listed.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)).collect();
        names.sort();
        Ok(names)
    }

    /// Deletes every object below a directory of these.
    pub(super) fn delete_below(&self, directory: &str) -> Result<()> {
        let keys: Vec<Path> = self.list(directory)?.into_iter().map(|meta| meta.location).collect();
        self.send(&format!("removing {directory}"), |client| {
            let keys = Box::pin(futures_util::stream::iter(keys.clone().into_iter().map(Ok)));
            async move { client.delete_stream(keys).try_for_each(|_| async { Ok(()) }).await }
        })
    }
}

/// An answer with fewer bytes than it promised.
fn cut_short(found: usize, promised: u64) -> Error {
    let source = std::io::Error::new(
        std::io::ErrorKind::UnexpectedEof,
        format!("the answer has {found} bytes instead of {promised}"),
    );
    Error::Generic { store: "S3", source: source.into() }
}

/// A vault below an S3 prefix, laid out as restic's S3 backend does.
#[derive(Debug, Clone)]
pub struct ObjectBackend {
    objects: Objects,
}

impl ObjectBackend {
    /// The vault at this place. Nothing is sent yet.
    pub fn connect(at: &S3Location) -> Result<Self> {
        Self::connect_with(at, S3Patience::default())
    }

    /// The same with other limits of time.
    pub fn connect_with(at: &S3Location, patience: S3Patience) -> Result<Self> {
        Ok(Self { objects: Objects::connect(at, patience)? })
    }

    pub(super) fn from_objects(objects: Objects) -> Self {
        Self { objects }
    }
}

impl Backend for ObjectBackend {
    fn location(&self) -> String {
        self.objects.location().to_owned()
    }

    fn list(&self, kind: FileKind) -> Result<Vec<Entry>> {
        if kind == FileKind::Config {
            return match self.objects.length("config") {
                Ok(length) => Ok(vec![Entry { name: "config".to_owned(), length }]),
                Err(error) if *error.kind() == VaultErrorKind::Missing => Ok(Vec::new()),
                Err(error) => Err(error),
            };
        }
        let listed = self.objects.list(kind.directory())?;
        let named = listed.into_iter().filter_map(|meta| {
            let name = meta.location.filename().filter(|name| is_content_name(name))?.to_owned();
            // Only files at their right place count: not a pack in a folder that somebody copied into `data`.
            let expected = self.objects.key(&kind.path(&name).ok()?);
            (meta.location == expected).then_some(Entry { name, length: meta.size })
        });
        Ok(named.collect())
    }

    fn length(&self, kind: FileKind, name: &str) -> Result<u64> {
        self.objects.length(&kind.path(name)?)
    }

    fn read(&self, kind: FileKind, name: &str) -> Result<Vec<u8>> {
        self.objects.get(&kind.path(name)?, None)
    }

    fn read_range(&self, kind: FileKind, name: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
        let end = offset.checked_add(length).ok_or_else(|| too_short(kind, name, self.objects.location()))?;
        if length == 0 {
            // An empty range cannot be asked for; the promise is still that a file which is too short is noticed.
            let enough = self.length(kind, name)? >= end;
            return if enough { Ok(Vec::new()) } else { Err(too_short(kind, name, self.objects.location())) };
        }
        let bytes = self.objects.get(&kind.path(name)?, Some(offset..end))?;
        // Servers cut a range at the object's end.
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(too_short(kind, name, self.objects.location())) }
    }

    fn write(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<()> {
        self.objects.put(&kind.path(name)?, bytes)
    }

    fn create(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<bool> {
        self.objects.create(&kind.path(name)?, bytes)
    }

    fn remove(&self, kind: FileKind, name: &str) -> Result<()> {
        self.objects.delete(&kind.path(name)?)
    }

    /// Prefixes need not be made.
    fn prepare(&self) -> Result<()> {
        Ok(())
    }

    /// An unfinished PUT leaves nothing.
    fn sweep(&self) -> Result<()> {
        Ok(())
    }

    /// Every read goes to the server.
    fn discard_cache(&self, _kind: FileKind, _name: &str) {}
}

fn join(prefix: &str, name: &str) -> String {
    match (prefix, name) {
        ("", name) => name.to_owned(),
        (prefix, "") => prefix.to_owned(),
        (prefix, name) => format!("{prefix}/{name}"),
    }
}
