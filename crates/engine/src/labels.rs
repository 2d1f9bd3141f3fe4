//! Names and wire fields of objects that come into being: the namers are asked, and the caller's own are added.

use std::sync::Arc;

use crate::{
    db::Labels,
    domain::{Alias, Attribute, Namer, NewObject, ObjectRef, Proposal},
};

/// What all namers call an object.
pub(crate) fn propose(namers: &[Arc<dyn Namer>], object: NewObject<'_>) -> Vec<Proposal> {
    // Without randomness of the machine a name stays guessable or fails as taken; both are better than a panic here, and the
    // next request for a key or a nonce reports it.
    let mut random = |bytes: &mut [u8]| {
        let _ = getrandom::fill(bytes);
    };
    namers.iter().flat_map(|namer| namer.names(object, &mut random)).collect()
}

impl Labels {
    /// Adds what the namers call the object.
    pub(crate) fn propose(&mut self, namers: &[Arc<dyn Namer>], at: ObjectRef, object: NewObject<'_>) {
        self.names.extend(propose(namers, object).into_iter().map(|proposal| (at, proposal)));
    }

    /// Adds names that the caller chose; a taken one fails the creation.
    pub(crate) fn claim(&mut self, at: ObjectRef, aliases: Vec<Alias>) {
        self.names.extend(
            aliases
                .into_iter()
                .map(|Alias { namespace, name }| (at, Proposal { namespace, name, number_if_taken: false })),
        );
    }

    pub(crate) fn attach(&mut self, at: ObjectRef, attributes: Vec<Attribute>) {
        self.attributes.extend(attributes.into_iter().map(|attribute| (at, attribute)));
    }
}
