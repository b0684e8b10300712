//! The one clock reading of this crate's tests and fuzz targets: every other instant is counted from it.

use std::time::Instant;

/// Where a test's time begins.
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made from nothing")]
pub(crate) fn start_of_time() -> Instant {
    Instant::now()
}
