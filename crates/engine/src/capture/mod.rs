//! Parts on their way into a vault and out of it: the engine joins the sources' contract to the vault's API.
//!
//! A part is one snapshot: hostname = the source's name, root tree `/<source>/{manifest.json, data, side streams}`.

mod convert;
mod layout;
mod manifest;
mod proof;
mod reader;
mod sink;
mod tags;
mod tree;

pub(crate) use self::{
    convert::instant,
    manifest::{PartManifest, program},
    proof::prove_download,
    reader::{JobPart, NoEvents, StoredPart},
    sink::{PartEvents, PartSink, VaultEvents},
    tags::Tags,
};
