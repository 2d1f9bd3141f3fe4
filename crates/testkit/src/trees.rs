//! Folders and streams to back up, the same in each run.

use std::path::Path;
use std::{fs, io};

/// Random-looking bytes that depend on the seed alone (xorshift64*).
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Every file of a folder with its bytes, and every symbolic link with its target, as sorted pairs of a relative path and content.
pub fn contents(folder: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    collect(folder, folder, &mut found)?;
    found.sort();
    Ok(found)
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            found.push((format!("{name}/"), Vec::new()));
            collect(root, &path, found)?;
        } else if kind.is_symlink() {
            found.push((format!("{name} ->"), fs::read_link(&path)?.into_os_string().into_encoded_bytes()));
        } else if kind.is_file() {
            found.push((name, fs::read(&path)?));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_depends_on_its_seed_alone() {
        assert_eq!(noise(1, 1000), noise(1, 1000));
        assert_ne!(noise(1, 1000), noise(2, 1000));
        assert_eq!(noise(3, 13).len(), 13);
    }
}
