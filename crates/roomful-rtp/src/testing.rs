//! What this crate's tests share.

use std::sync::OnceLock;
use std::time::Instant;

/// Where time begins, the same for every call within a run. Every other instant is counted from it.
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made from nothing")]
pub(crate) fn start_of_time() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// The bytes that hexadecimal digits stand for; white space is left out.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u32> = digits.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}
