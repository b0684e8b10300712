//! House rules that no other tool holds: the length of files, names we do not use, documents that must exist.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Lines past which a file is listed: it is worth asking whether it is still one thing.
const LONG: usize = 400;
/// Lines past which a file fails: nobody reads it whole any more.
const TOO_LONG: usize = 800;

/// Documents every reader may rely on.
const DOCUMENTS: [&str; 7] = [
    "README.md",
    "ARCHITECTURE.md",
    "GLOSSARY.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "LICENSE-APACHE",
];

/// Words that say nothing about what a file holds.
const EMPTY_NAMES: [&str; 6] = ["manager", "helper", "helpers", "utils", "util", "common"];

/// Checks every file that git knows, and prints each fault.
pub(crate) fn check(root: &Path) -> Result<()> {
    let faults = faults(root)?;
    for fault in &faults {
        println!("{fault}");
    }
    ensure!(faults.is_empty(), "{} house rules are broken", faults.len());
    Ok(())
}

fn faults(root: &Path) -> Result<Vec<String>> {
    let mut faults = missing(root);
    for path in tracked(root)? {
        if let Some(word) = empty_name(&path) {
            faults
                .push(format!("{path}: `{word}` says nothing; name the file after what it holds"));
        }
        if !is_source(&path) {
            continue;
        }
        // Git still knows a file that was just deleted.
        let Ok(text) = std::fs::read_to_string(root.join(&path)) else { continue };
        match text.lines().count() {
            lines if lines > TOO_LONG => {
                faults.push(format!("{path}: {lines} lines; split it, {TOO_LONG} is the most"));
            }
            lines if lines > LONG => println!("note: {path} has {lines} lines"),
            _ => {}
        }
    }
    Ok(faults)
}

fn missing(root: &Path) -> Vec<String> {
    let gone = DOCUMENTS.iter().filter(|document| !root.join(document).is_file());
    gone.map(|document| format!("{document} is missing")).collect()
}

fn tracked(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root)
        .output()
        .context("cannot run git ls-files")?;
    if !output.status.success() {
        bail!("git ls-files failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let list = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(list.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
}

fn is_source(path: &str) -> bool {
    [".rs", ".ts", ".svelte", ".css"].iter().any(|ending| path.ends_with(ending))
}

fn empty_name(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let mut words = name.split(['.', '_', '-']);
    words.find_map(|word| EMPTY_NAMES.into_iter().find(|empty| *empty == word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_named_after_nothing_is_found() {
        assert_eq!(empty_name("crates/a/src/room_manager.rs"), Some("manager"));
        assert_eq!(empty_name("web/src/utils.ts"), Some("utils"));
        assert_eq!(empty_name("web/src/room.ts"), None);
    }
}
