//! The migrations are part of the binary: a new file builds it anew.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
