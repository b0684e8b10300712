//! Trailers behind coded pictures, by which LiveKit's clients tell each other when and in what order pictures were taken
//! (packet trailers).
//!
//! A decoder that does not expect one may take it for part of the picture, so it is left out for whoever does not say
//! that it knows them.

/// The last bytes of a trailer; LiveKit's.
const MAGIC: [u8; 4] = *b"LKTS";

/// The length, which covers all of the trailer, stands before the magic with its bits turned round: so it is never zero, which
/// some payload formats would have to escape.
const LENGTH_MASK: u8 = 0xff;

/// A length and the magic: the shortest trailer there is.
const SHORTEST: usize = MAGIC.len() + 1;

/// The last payload of a picture without its trailer, if it ends in one. What only looks like one is left as it is.
pub(super) fn without_trailer(payload: &[u8]) -> &[u8] {
    let Some(rest) = payload.strip_suffix(&MAGIC) else { return payload };
    let Some(&length) = rest.last() else { return payload };
    let length = usize::from(length ^ LENGTH_MASK);
    let kept = payload.len().checked_sub(length).filter(|_| length >= SHORTEST);
    kept.and_then(|kept| payload.get(..kept)).unwrap_or(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_is_taken_off_and_nothing_else() {
        let with = |length: usize| {
            let mut payload = b"picture and trailer?".to_vec();
            payload.push(length as u8 ^ LENGTH_MASK);
            payload.extend(MAGIC);
            payload
        };
        assert_eq!(without_trailer(&with(SHORTEST + 13)), b"picture");
        assert_eq!(without_trailer(&with(SHORTEST)), b"picture and trailer?");
        assert_eq!(without_trailer(&with(25)), b"");
        for too_short_or_long in [0, SHORTEST - 1, 26, 255] {
            let payload = with(too_short_or_long);
            assert_eq!(without_trailer(&payload), payload);
        }
        for other in [&b""[..], b"LKTS", b"no trailer at all", b"\xfaLKTX"] {
            assert_eq!(without_trailer(other), other);
        }
    }
}
