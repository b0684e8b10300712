//! The one clock reading of this crate's tests: every other instant is counted from it.

use std::sync::OnceLock;
use std::time::Instant;

/// Where time begins, the same for every call within a run.
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made from nothing")]
pub(crate) fn start_of_time() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}
