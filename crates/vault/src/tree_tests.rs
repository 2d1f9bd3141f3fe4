use super::*;
use proptest::prelude::*;

fn built(nodes: &[Node]) -> Vec<u8> {
    let mut builder = TreeBuilder::new();
    for node in nodes {
        builder.add(&node.name, &node.meta, &node.content, node.subtree).unwrap();
    }
    builder.finish()
}

#[test]
fn a_stream_is_written_as_restic_writes_it() {
    let mut meta = NodeMeta::synthetic(NodeKind::File, parse_time("2026-01-02T03:04:05Z").unwrap());
    meta.size = 3;
    let node = Node { name: b"dump.sql".to_vec(), meta, content: Arc::new(vec![Id::of(b"abc")]), subtree: None };
    let expected = concat!(
        r#"{"nodes":[{"name":"dump.sql","type":"file","mode":420,"mtime":"2026-01-02T03:04:05Z","#,
        r#""atime":"2026-01-02T03:04:05Z","ctime":"2026-01-02T03:04:05Z","uid":0,"gid":0,"size":3,"links":1,"#,
        r#""content":["ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"]}]}"#,
        "\n"
    );
    assert_eq!(String::from_utf8(built(&[node])).unwrap(), expected);
}

#[test]
fn kinds_and_special_bits_become_go_modes() {
    assert_eq!(go_mode(&NodeKind::Directory, 0o1777), 2_147_483_648 + (1 << 20) + 0o777);
    assert_eq!(go_mode(&NodeKind::File, 0o104_755), (1 << 23) + 0o755);
    assert_eq!(go_mode(&NodeKind::CharacterDevice(5), 0o2600), (1 << 26) + (1 << 21) + (1 << 22) + 0o600);
    assert_eq!(unix_mode(2_147_483_648 + (1 << 20) + 0o755), 0o1755);
    assert_eq!(unix_mode(0o100_644), 0o644, "file type bits of other writers are ignored");
}

#[test]
fn an_empty_directory_has_an_empty_list() {
    assert_eq!(built(&[]), b"{\"nodes\":[]}\n");
    assert_eq!(parse(&Id::of(b""), b"{\"nodes\":null}").unwrap(), []);
}

#[test]
fn names_that_do_not_ascend_or_that_no_directory_can_hold_are_refused() {
    let meta = NodeMeta::synthetic(NodeKind::Fifo, Timestamp::default());
    let mut builder = TreeBuilder::new();
    builder.add(b"b", &meta, &[], None).unwrap();
    for name in [&b"a"[..], b"b", b"", b"c/d", b"..", b"c\0"] {
        assert!(builder.add(name, &meta, &[], None).is_err());
    }
    builder.add(b"b0", &meta, &[], None).unwrap();
}

#[test]
fn damaged_trees_are_reported() {
    let node = |fields: &str| format!(r#"{{"nodes":[{{"name":"a","type":"file","content":[]{fields}}}]}}"#);
    assert!(parse(&Id::of(b""), node("").as_bytes()).is_ok());
    for wrong in [
        "{".to_owned(),
        "[]".to_owned(),
        "\u{0}".to_owned(),
        node(r#","mtime":"yesterday""#),
        node(r#","size":-1"#),
        node("").replace("[]", "null"),
        node("").replace("[]", r#"["00"]"#),
        node("").replace("\"a\"", "\"a/b\""),
        node("").replace("\"a\"", "\"\""),
        node("").replace("\"a\"", r#""\\q""#),
        node("").replace("\"file\"", "\"dir\""),
        node(r#"},{"name":"a","type":"fifo""#),
    ] {
        let error = parse(&Id::of(b""), wrong.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), &crate::VaultErrorKind::Damaged, "{wrong}");
    }
}

#[test]
fn nodes_of_others_come_out_sorted() {
    let json = br#"{"nodes":[{"name":"b","type":"fifo","content":null},{"name":"a","type":"weird","content":null}]}"#;
    let nodes = parse(&Id::of(b""), json).unwrap();
    assert_eq!(nodes[0].name, b"a");
    assert_eq!(nodes[0].meta.kind, NodeKind::Irregular);
    assert_eq!(nodes[0].meta.modified.seconds, ZERO_TIME);
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    (ZERO_TIME..253_402_300_799_i64, 0_u32..1_000_000_000)
        .prop_map(|(seconds, nanoseconds)| Timestamp { seconds, nanoseconds })
}

fn any_kind() -> impl Strategy<Value = NodeKind> {
    prop_oneof![
        Just(NodeKind::File),
        Just(NodeKind::Directory),
        proptest::collection::vec(1_u8.., 1..20).prop_map(NodeKind::Symlink),
        (1_u64..).prop_map(NodeKind::BlockDevice),
        (1_u64..).prop_map(NodeKind::CharacterDevice),
        Just(NodeKind::Fifo),
        Just(NodeKind::Socket),
    ]
}

prop_compose! {
    fn any_node()(
        name in proptest::collection::vec((1_u8..).prop_filter("slash", |byte| *byte != b'/'), 1..40),
        kind in any_kind(),
        mode in 0_u32..0o10000,
        (modified, accessed, changed) in (any_time(), any_time(), any_time()),
        (uid, gid, inode, device, size) in any::<(u32, u32, u64, u64, u64)>(),
        links in 2_u64..,
        (user, group) in any::<(String, String)>(),
        attributes in proptest::collection::vec(("[a-z.]{1,9}", any::<Vec<u8>>()), 0..3),
        content in proptest::collection::vec(any::<[u8; 32]>().prop_map(Id::from_bytes), 0..4),
    ) -> Node {
        let is_file = kind == NodeKind::File;
        let is_directory = kind == NodeKind::Directory;
        let meta = NodeMeta {
            kind, mode, modified, accessed, changed, uid, gid, user, group, inode, links,
            device: if is_directory { 0 } else { device },
            size: if is_file { size } else { 0 },
            extended_attributes: attributes.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect(),
        };
        let name = if name == b"." || name == b".." { b"dots".to_vec() } else { name };
        let subtree = is_directory.then(|| Id::of(&name));
        Node { name, meta, content: Arc::new(if is_file { content } else { Vec::new() }), subtree }
    }
}

proptest! {
    #[test]
    fn every_tree_survives(nodes in proptest::collection::btree_map(any::<u16>(), any_node(), 0..6)) {
        let mut nodes: Vec<Node> = nodes.into_values().collect();
        nodes.sort_by(|left, right| left.name.cmp(&right.name));
        nodes.dedup_by(|left, right| left.name == right.name);
        let json = built(&nodes);
        prop_assert_eq!(parse(&Id::of(&json), &json).unwrap(), nodes);
    }

    #[test]
    fn arbitrary_bytes_never_make_the_reader_panic(json: Vec<u8>) {
        let _ = parse(&Id::of(b""), &json);
    }
}
