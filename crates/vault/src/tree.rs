//! The wire form of a directory: canonical JSON whose digest is the tree's id.
//!
//! Equal directories must give equal bytes, in us and in restic, or they would not be stored once only; see store.md 2.8.

use crate::{
    error::{Result, VaultError},
    go_json::{ZERO_TIME, parse_time, quote, unquote, write_string, write_time},
    id::Id,
    node::{Node, NodeKind, NodeMeta, Timestamp},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use std::{borrow::Cow, sync::Arc};

const DIRECTORY: u64 = 1 << 31;
const SYMLINK: u64 = 1 << 27;
const DEVICE: u64 = 1 << 26;
const FIFO: u64 = 1 << 25;
const SOCKET: u64 = 1 << 24;
const SET_UID: u64 = 1 << 23;
const SET_GID: u64 = 1 << 22;
const CHARACTER_DEVICE: u64 = 1 << 21;
const STICKY: u64 = 1 << 20;
const IRREGULAR: u64 = 1 << 19;

/// Writes the nodes of one directory, in strictly ascending order of their names.
#[derive(Debug)]
pub(crate) struct TreeBuilder {
    json: Vec<u8>,
    last: Option<Vec<u8>>,
}

impl TreeBuilder {
    pub fn new() -> Self {
        Self { json: b"{\"nodes\":[".to_vec(), last: None }
    }

    /// Adds a node; refuses names that a directory cannot hold or that do not ascend.
    pub fn add(&mut self, name: &[u8], meta: &NodeMeta, content: &[Id], subtree: Option<Id>) -> Result<()> {
        let shown = || String::from_utf8_lossy(name).into_owned();
        if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0) {
            return Err(VaultError::unsupported(format!("{:?} cannot be the name of a node", shown())));
        }
        if self.last.as_deref().is_some_and(|last| last >= name) {
            return Err(VaultError::internal(format!("the name {:?} does not follow the one before it", shown())));
        }
        if self.last.is_some() {
            self.json.push(b',');
        }
        self.last = Some(name.to_vec());
        write_node(&mut self.json, name, meta, content, subtree);
        Ok(())
    }

    /// The finished tree.
    pub fn finish(mut self) -> Vec<u8> {
        self.json.extend_from_slice(b"]}\n");
        self.json
    }
}

/// Writes fields of one JSON object.
struct Fields<'a> {
    out: &'a mut Vec<u8>,
}

impl Fields<'_> {
    fn name(&mut self, name: &str) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn number(&mut self, name: &str, number: u64) {
        self.name(name);
        self.out.extend_from_slice(number.to_string().as_bytes());
    }

    fn number_unless_zero(&mut self, name: &str, number: u64) {
        if number != 0 {
            self.number(name, number);
        }
    }

    fn string(&mut self, name: &str, text: &[u8]) {
        self.name(name);
        write_string(self.out, text);
    }

    fn string_unless_empty(&mut self, name: &str, text: &[u8]) {
        if !text.is_empty() {
            self.string(name, text);
        }
    }

    fn time(&mut self, name: &str, time: Timestamp) {
        self.name(name);
        write_time(self.out, time);
    }
}

fn write_node(out: &mut Vec<u8>, name: &[u8], meta: &NodeMeta, content: &[Id], subtree: Option<Id>) {
    let NodeMeta { kind, mode, modified, accessed, changed, uid, gid, user, group, inode, device, links, size, .. } =
        meta;
    out.push(b'{');
    let mut fields = Fields { out };
    fields.string("name", &quote(name));
    fields.string("type", kind_name(kind).as_bytes());
    fields.number_unless_zero("mode", go_mode(kind, *mode));
    fields.time("mtime", *modified);
    fields.time("atime", *accessed);
    fields.time("ctime", *changed);
    fields.number("uid", (*uid).into());
    fields.number("gid", (*gid).into());
    fields.string_unless_empty("user", user.as_bytes());
    fields.string_unless_empty("group", group.as_bytes());
    fields.number_unless_zero("inode", *inode);
    // As newer versions of restic: only where it tells siblings of a hard link apart.
    fields.number_unless_zero("device_id", if *links > 1 && *kind != NodeKind::Directory { *device } else { 0 });
    fields.number_unless_zero("size", if *kind == NodeKind::File { *size } else { 0 });
    fields.number_unless_zero("links", *links);
    if let NodeKind::Symlink(target) = kind {
        fields.string_unless_empty("linktarget", target);
        if std::str::from_utf8(target).is_err() {
            fields.string("linktarget_raw", BASE64_STANDARD.encode(target).as_bytes());
        }
    }
    write_attributes(&mut fields, &meta.extended_attributes);
    if let NodeKind::BlockDevice(number) | NodeKind::CharacterDevice(number) = kind {
        fields.number_unless_zero("device", *number);
    }
    write_content(&mut fields, *kind == NodeKind::File, content);
    if let Some(subtree) = subtree {
        fields.string("subtree", subtree.to_hex().as_bytes());
    }
    fields.out.push(b'}');
}

fn write_attributes(fields: &mut Fields<'_>, attributes: &[(Vec<u8>, Vec<u8>)]) {
    if attributes.is_empty() {
        return;
    }
    fields.name("extended_attributes");
    fields.out.push(b'[');
    for (position, (name, value)) in attributes.iter().enumerate() {
        fields.out.extend_from_slice(if position == 0 { b"{" } else { b",{" });
        fields.string("name", name);
        fields.string("value", BASE64_STANDARD.encode(value).as_bytes());
        fields.out.push(b'}');
    }
    fields.out.push(b']');
}

fn write_content(fields: &mut Fields<'_>, is_file: bool, content: &[Id]) {
    fields.name("content");
    if !is_file {
        fields.out.extend_from_slice(b"null");
        return;
    }
    fields.out.reserve(content.len() * 67 + 2);
    fields.out.push(b'[');
    for (position, id) in content.iter().enumerate() {
        let mut text = *b",\"0000000000000000000000000000000000000000000000000000000000000000\"";
        // The length is right by construction, so that this cannot fail.
        let _ = hex::encode_to_slice(id.as_bytes(), &mut text[2..66]);
        fields.out.extend_from_slice(&text[usize::from(position == 0)..]);
    }
    fields.out.push(b']');
}

fn kind_name(kind: &NodeKind) -> &'static str {
    match kind {
        NodeKind::File => "file",
        NodeKind::Directory => "dir",
        NodeKind::Symlink(_) => "symlink",
        NodeKind::BlockDevice(_) => "dev",
        NodeKind::CharacterDevice(_) => "chardev",
        NodeKind::Fifo => "fifo",
        NodeKind::Socket => "socket",
        NodeKind::Irregular => "irregular",
    }
}

/// Go's `os.FileMode`.
fn go_mode(kind: &NodeKind, mode: u32) -> u64 {
    let kind_bits = match kind {
        NodeKind::File => 0,
        NodeKind::Directory => DIRECTORY,
        NodeKind::Symlink(_) => SYMLINK,
        NodeKind::BlockDevice(_) => DEVICE,
        NodeKind::CharacterDevice(_) => DEVICE | CHARACTER_DEVICE,
        NodeKind::Fifo => FIFO,
        NodeKind::Socket => SOCKET,
        NodeKind::Irregular => IRREGULAR,
    };
    let bit = |unix: u32, go: u64| if mode & unix != 0 { go } else { 0 };
    u64::from(mode & 0o777) | kind_bits | bit(0o4000, SET_UID) | bit(0o2000, SET_GID) | bit(0o1000, STICKY)
}

fn unix_mode(go: u64) -> u32 {
    let bit = |go_bit: u64, unix: u32| if go & go_bit != 0 { unix } else { 0 };
    (go & 0o777) as u32 | bit(SET_UID, 0o4000) | bit(SET_GID, 0o2000) | bit(STICKY, 0o1000)
}

#[derive(Deserialize)]
struct WireTree<'a> {
    #[serde(borrow)]
    nodes: Option<Vec<WireNode<'a>>>,
}

#[derive(Deserialize)]
struct WireNode<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default)]
    mode: u64,
    #[serde(borrow, default)]
    mtime: Cow<'a, str>,
    #[serde(borrow, default)]
    atime: Cow<'a, str>,
    #[serde(borrow, default)]
    ctime: Cow<'a, str>,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    #[serde(default)]
    user: String,
    #[serde(default)]
    group: String,
    #[serde(default)]
    inode: u64,
    #[serde(default)]
    device_id: u64,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    links: u64,
    #[serde(default)]
    linktarget: String,
    linktarget_raw: Option<String>,
    extended_attributes: Option<Vec<WireAttribute>>,
    #[serde(default)]
    device: u64,
    content: Option<Vec<Id>>,
    subtree: Option<Id>,
}

#[derive(Deserialize)]
struct WireAttribute {
    name: String,
    value: Option<String>,
}

/// Reads a tree blob. `id` names it in errors. Nodes come out in ascending order of their names, whatever order they were written in.
pub(crate) fn parse(id: &Id, json: &[u8]) -> Result<Vec<Node>> {
    let tree: WireTree<'_> = serde_json::from_slice(json)
        .map_err(|error| VaultError::damaged(format!("tree {id} cannot be understood")).with_source(error))?;
    let mut nodes = Vec::new();
    for wire in tree.nodes.unwrap_or_default() {
        let name = wire.name.clone().into_owned();
        let node = read_node(wire).map_err(|why| VaultError::damaged(format!("tree {id}: the node {name:?} {why}")))?;
        nodes.push(node);
    }
    nodes.sort_by(|left, right| left.name.cmp(&right.name));
    if nodes.windows(2).any(|pair| pair[0].name == pair[1].name) {
        return Err(VaultError::damaged(format!("tree {id} holds a name twice")));
    }
    Ok(nodes)
}

fn read_node(wire: WireNode<'_>) -> std::result::Result<Node, &'static str> {
    let name = unquote(&wire.name).ok_or("has a name with a wrong escape")?;
    if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0) {
        return Err("has a name that no directory can hold");
    }
    let kind = match &*wire.kind {
        "file" => NodeKind::File,
        "dir" => NodeKind::Directory,
        "symlink" => NodeKind::Symlink(match wire.linktarget_raw {
            Some(raw) => BASE64_STANDARD.decode(raw).map_err(|_| "has a link target that is not base64")?,
            None => wire.linktarget.into_bytes(),
        }),
        "dev" => NodeKind::BlockDevice(wire.device),
        "chardev" => NodeKind::CharacterDevice(wire.device),
        "fifo" => NodeKind::Fifo,
        "socket" => NodeKind::Socket,
        _ => NodeKind::Irregular,
    };
    if kind == NodeKind::File && wire.content.is_none() {
        return Err("is a file without a list of blobs");
    }
    if kind == NodeKind::Directory && wire.subtree.is_none() {
        return Err("is a directory without a tree");
    }
    let time = |text: &str| match text {
        "" => Some(Timestamp { seconds: ZERO_TIME, nanoseconds: 0 }),
        text => parse_time(text),
    };
    let attribute = |wire: WireAttribute| {
        let value = BASE64_STANDARD.decode(wire.value.unwrap_or_default()).ok()?;
        Some((wire.name.into_bytes(), value))
    };
    let attributes =
        wire.extended_attributes.unwrap_or_default().into_iter().map(attribute).collect::<Option<Vec<_>>>();
    let meta = NodeMeta {
        mode: unix_mode(wire.mode),
        modified: time(&wire.mtime).ok_or("has a time that is none")?,
        accessed: time(&wire.atime).ok_or("has a time that is none")?,
        changed: time(&wire.ctime).ok_or("has a time that is none")?,
        uid: wire.uid,
        gid: wire.gid,
        user: wire.user,
        group: wire.group,
        inode: wire.inode,
        device: wire.device_id,
        links: wire.links,
        size: wire.size,
        extended_attributes: attributes.ok_or("has an extended attribute that is not base64")?,
        kind,
    };
    let content = if meta.kind == NodeKind::File { wire.content.unwrap_or_default() } else { Vec::new() };
    let subtree = if meta.kind == NodeKind::Directory { wire.subtree } else { None };
    Ok(Node { name, meta, content: Arc::new(content), subtree })
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
