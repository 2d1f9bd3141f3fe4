//! Reading a whole pack piece by piece, and judging every part of it.

use super::{DamagedPack, PackDamage};
use crate::{
    backend::FileKind,
    core::Core,
    error::{Result, VaultError, VaultErrorKind},
    id::Id,
    index::IndexedPack,
    pack::{self, PackedBlob},
};
use sha2::{Digest, Sha256};

/// Stored bytes read at once, unless one blob is larger.
const PIECE: u64 = 4 << 20;

/// What became of reading one pack.
#[derive(Debug)]
pub(crate) struct Reading {
    /// What is wrong with the pack as a whole.
    pub damage: Option<DamagedPack>,
    /// Blobs that the index lists in it and that cannot be read from it.
    pub unreadable: Vec<PackedBlob>,
    pub bytes: u64,
}

/// Reads a pack whole, past the machine's cache. `length` is that of the stored file, `None` when the list of packs does not have it.
/// `good` is called with every blob that can be read, in its sealed form.
pub(crate) fn read_pack(
    core: &Core,
    listed: &IndexedPack,
    length: Option<u64>,
    good: &mut dyn FnMut(&PackedBlob, &[u8]) -> Result<()>,
) -> Result<Reading> {
    let name = listed.id.to_hex();
    let length = match length {
        Some(length) => length,
        // The list may have been taken before the pack came.
        None => match core.backend.length(FileKind::Pack, &name) {
            Ok(length) => length,
            Err(error) if error.kind() == &VaultErrorKind::Missing => {
                let sentence = format!("pack {} is listed and not in the store", listed.id);
                return Ok(all_unreadable(listed, PackDamage::Missing, sentence));
            }
            Err(error) => return Err(error),
        },
    };
    core.backend.discard_cache(FileKind::Pack, &name);
    let mut reader = PackReader { core, listed, length, digest: Sha256::new(), unreadable: Vec::new(), why: None };
    match reader.read(good) {
        Ok(header) => Ok(reader.judge(header)),
        Err(Stopped::ByStore(error)) => still_works(core, error).map(|why| {
            let sentence = format!("pack {} cannot be read from the store ({why})", listed.id);
            all_unreadable(listed, PackDamage::Unreadable, sentence)
        }),
        Err(Stopped::ByCaller(error)) => Err(error),
    }
}

/// Why a pack was not read to its end.
enum Stopped {
    ByStore(VaultError),
    ByCaller(VaultError),
}

struct PackReader<'a> {
    core: &'a Core,
    listed: &'a IndexedPack,
    length: u64,
    digest: Sha256,
    unreadable: Vec<PackedBlob>,
    /// Why the first unreadable blob is.
    why: Option<VaultError>,
}

impl PackReader<'_> {
    /// Reads all bytes; the answer is what the header says, if it can be read.
    fn read(
        &mut self,
        good: &mut dyn FnMut(&PackedBlob, &[u8]) -> Result<()>,
    ) -> std::result::Result<Result<Vec<PackedBlob>>, Stopped> {
        let mut blobs: Vec<PackedBlob> = Vec::with_capacity(self.listed.blobs.len());
        for blob in &self.listed.blobs {
            if end(blob) > self.length {
                self.unreadable.push(*blob);
                self.why.get_or_insert_with(|| VaultError::damaged("a blob lies behind the end of the file"));
            } else {
                blobs.push(*blob);
            }
        }
        blobs.sort_unstable_by_key(|blob| blob.offset);
        let (mut at, mut rest) = (0, &blobs[..]);
        while let Some(first) = rest.first() {
            // A piece ends where a blob does. Blobs may overlap when the index is wrong; bytes are hashed once all the same.
            let start = at.min(u64::from(first.offset));
            let mut stop = at.max(end(first));
            let mut count = 1;
            while let Some(next) = rest.get(count).filter(|next| end(next).max(stop) - start <= PIECE) {
                stop = stop.max(end(next));
                count += 1;
            }
            let bytes = self.range(start, stop - start)?;
            self.digest.update(bytes.get((at - start) as usize..).unwrap_or_default());
            let (piece, after) = rest.split_at(count);
            for blob in piece {
                let from = (u64::from(blob.offset) - start) as usize;
                let sealed = bytes.get(from..from + blob.length as usize).unwrap_or_default();
                match self.core.decode(&self.listed.id, blob, sealed) {
                    Ok(_) => good(blob, sealed).map_err(Stopped::ByCaller)?,
                    Err(error) => {
                        self.unreadable.push(*blob);
                        self.why.get_or_insert(error);
                    }
                }
            }
            (at, rest) = (stop, after);
        }
        let tail = self.tail(at)?;
        Ok(pack::parse_tail(&self.core.key, &self.listed.id, &tail))
    }

    /// What lies behind the last blob. More than a header can have is hashed and not kept.
    fn tail(&mut self, mut at: u64) -> std::result::Result<Vec<u8>, Stopped> {
        let mut tail = Vec::new();
        while at < self.length {
            let count = (self.length - at).min(PIECE);
            let bytes = self.range(at, count)?;
            self.digest.update(&bytes);
            if tail.len() as u64 <= u64::from(pack::MAX_HEADER) {
                tail.extend_from_slice(&bytes);
            }
            at += count;
        }
        Ok(tail)
    }

    fn range(&self, offset: u64, length: u64) -> std::result::Result<Vec<u8>, Stopped> {
        if length == 0 {
            return Ok(Vec::new());
        }
        self.core.backend.read_range(FileKind::Pack, &self.listed.id.to_hex(), offset, length).map_err(Stopped::ByStore)
    }

    fn judge(self, header: Result<Vec<PackedBlob>>) -> Reading {
        let id = self.listed.id;
        let expected = pack::file_length(&self.listed.blobs);
        let mut in_order = self.listed.blobs.clone();
        in_order.sort_unstable_by_key(|blob| blob.offset);
        let whole = Id::from_bytes(self.digest.finalize().into()) == id;
        let found = if self.length != expected {
            let sentence = format!("pack {id} has {} bytes instead of {expected}", self.length);
            Some((PackDamage::WrongLength, sentence))
        } else if !whole {
            Some((PackDamage::WrongContent, format!("the bytes of pack {id} are not those it was stored with")))
        } else if let Some(why) = &self.why {
            // Its bytes are those that were stored: the index is wrong, or whoever wrote it was.
            Some((PackDamage::WrongHeader, format!("pack {id} does not hold what the index lists: {why}")))
        } else if header.as_ref().ok() != Some(&in_order) {
            Some((PackDamage::WrongHeader, format!("the header of pack {id} lists other blobs than the index")))
        } else {
            None
        };
        let damage = found.map(|(what, sentence)| {
            let (bad, all) = (self.unreadable.len(), in_order.len());
            DamagedPack { id, what, sentence: format!("{sentence}; {bad} of its {all} blobs cannot be read") }
        });
        Reading { damage, unreadable: self.unreadable, bytes: self.length }
    }
}

fn end(blob: &PackedBlob) -> u64 {
    u64::from(blob.offset) + u64::from(blob.length)
}

fn all_unreadable(listed: &IndexedPack, what: PackDamage, sentence: String) -> Reading {
    let damage = DamagedPack { id: listed.id, what, sentence };
    Reading { damage: Some(damage), unreadable: listed.blobs.clone(), bytes: 0 }
}

/// Tells a pack that cannot be read from a store that does not work: the latter is no finding.
fn still_works(core: &Core, error: VaultError) -> Result<String> {
    match error.kind() {
        VaultErrorKind::Damaged | VaultErrorKind::Missing => Ok(error.sentence().to_owned()),
        VaultErrorKind::StoreUnavailable | VaultErrorKind::StoreRefused
            if core.backend.read(FileKind::Config, "config").is_ok() =>
        {
            Ok(error.sentence().to_owned())
        }
        _ => Err(error),
    }
}
