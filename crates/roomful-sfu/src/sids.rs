//! Server-made ids, in LiveKit's form: a prefix that says what they name, then letters and digits.

/// Random characters after the prefix: 62^12 ≈ 3·10^21 of them, so that two of one node never meet. Shorter
/// could collide, longer only lengthens every message.
const LENGTH: usize = 12;

/// A new id, e.g. `TR_x7Kd0aPq2LmZ` for `TR_`.
pub(crate) fn make(prefix: &str, rng: &mut fastrand::Rng) -> String {
    let mut sid = String::with_capacity(prefix.len() + LENGTH);
    sid.push_str(prefix);
    sid.extend(std::iter::repeat_with(|| rng.alphanumeric()).take(LENGTH));
    sid
}
