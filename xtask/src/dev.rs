//! `cargo xtask dev`: the server, and Vite's development server in front of it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::install;

/// Runs both until one ends, then ends the other. Open the address Vite prints: it passes calls on to the server.
pub(crate) fn run(root: &Path) -> Result<bool> {
    install::node()?;
    let web = root.join("web");
    install::npm_packages(&web)?;
    let mut page = Command::new("npm")
        .args(["run", "dev"])
        .current_dir(&web)
        .spawn()
        .context("cannot start Vite with npm run dev")?;
    let server = Command::new("cargo")
        .args(["run", "--package", "roomful"])
        .current_dir(root)
        .status()
        .context("cannot run cargo")?;
    // Vite may have ended first, with the same Ctrl-C.
    let _ = page.kill();
    page.wait().context("Vite did not end")?;
    Ok(server.success())
}
