//! The picture in the design, compared with `cargo metadata`: who may depend on whom, and that nothing is carried unused.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_json::Value;

/// Every dependency between our crates that the design draws, and no other.
const ALLOWED: &[(&str, &[&str])] = &[
    ("trivault-vault", &[]),
    ("trivault-sources", &[]),
    ("trivault-engine", &["trivault-vault", "trivault-sources"]),
    ("trivault-http", &["trivault-engine"]),
    ("trivault-dialect-couchbase", &["trivault-http", "trivault-engine"]),
    ("trivault-dialect-arcgis", &["trivault-http", "trivault-engine"]),
    ("trivault-dialect-dbaas", &["trivault-http", "trivault-engine"]),
    (
        "trivault-server",
        &[
            "trivault-http",
            "trivault-engine",
            "trivault-sources",
            "trivault-dialect-couchbase",
            "trivault-dialect-arcgis",
            "trivault-dialect-dbaas",
        ],
    ),
    ("trivault-testkit", &[]),
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Normal dependencies by package.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let normal = dependencies.filter(|dependency| dependency["kind"].is_null());
            let names = normal.map(|dependency| dependency["name"].as_str().unwrap().to_owned()).collect();
            (package["name"].as_str().unwrap().to_owned(), names)
        })
        .collect()
}

#[test]
fn crates_depend_on_each_other_as_the_design_draws_it() {
    let dependencies = dependencies();
    for (package, allowed) in ALLOWED {
        for dependency in &dependencies[*package] {
            let is_ours = dependency.starts_with("trivault-");
            assert!(!is_ours || allowed.contains(&dependency.as_str()), "{package} must not depend on {dependency}");
        }
    }
}

#[test]
fn the_engine_knows_no_http_and_the_dialects_no_sql() {
    let dependencies = dependencies();
    for (package, forbidden) in [
        ("trivault-engine", vec!["actix-web", "utoipa", "maud"]),
        ("trivault-vault", vec!["sqlx", "actix-web", "rusqlite"]),
        ("trivault-sources", vec!["actix-web"]),
        ("trivault-http", vec!["sqlx", "rusqlite"]),
        ("trivault-dialect-couchbase", vec!["sqlx", "rusqlite", "tokio"]),
        ("trivault-dialect-arcgis", vec!["sqlx", "rusqlite", "tokio"]),
        ("trivault-dialect-dbaas", vec!["sqlx", "rusqlite", "tokio"]),
    ] {
        for name in forbidden {
            assert!(!dependencies[package].iter().any(|dependency| dependency == name), "{package} depends on {name}");
        }
    }
}

#[test]
fn no_crate_names_a_dialect_in_the_shared_layers() {
    for layer in ["engine", "vault", "sources", "http"] {
        for file in rust_files(&root().join("crates").join(layer).join("src")) {
            let text = fs::read_to_string(&file).unwrap();
            for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
                // Test code may use any namespace as an example.
                let code = line.split("//").next().unwrap_or_default().to_lowercase();
                for word in ["scalingo", "esri", "cbbackupmgr"] {
                    assert!(!code.contains(word), "{}: {line}", file.display());
                }
            }
        }
    }
}

#[test]
fn no_dependency_is_carried_unused() {
    for (package, names) in dependencies() {
        let short = package.trim_start_matches("trivault-");
        let directory =
            if root().join("crates").join(short).exists() { format!("crates/{short}") } else { short.to_owned() };
        let text: String =
            rust_files(&root().join(directory)).iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        for name in names {
            let identifier = name.replace('-', "_");
            let is_used = text.contains(&format!("{identifier}::"))
                || text.contains(&format!("use {identifier}"))
                || text.contains(&format!("{identifier} as "))
                || text.contains(&format!("#[{identifier}"));
            assert!(is_used, "{package} does not use {name}");
        }
    }
}

#[test]
fn every_shared_dependency_stands_once_in_the_workspace_table() {
    for (package, _) in dependencies() {
        let short = package.trim_start_matches("trivault-");
        let directory =
            if root().join("crates").join(short).exists() { format!("crates/{short}") } else { short.to_owned() };
        let manifest = fs::read_to_string(root().join(directory).join("Cargo.toml")).unwrap();
        let own: Vec<&str> =
            manifest.lines().filter(|line| line.contains("version = \"") || line.contains("path = \"../")).collect();
        assert!(own.is_empty(), "{package} names versions of its own: {own:?}");
    }
}

fn rust_files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}
