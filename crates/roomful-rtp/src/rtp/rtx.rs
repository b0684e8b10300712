//! Retransmission over a stream of its own (RFC 4588 §4): the payload begins with the original sequence number.

/// Bytes that a retransmission has more than the packet it repeats.
pub const OVERHEAD: usize = 2;

/// The original sequence number and the original payload. `None` if there is no number, as in a padding packet
/// sent to probe.
pub fn read(payload: &[u8]) -> Option<(u16, &[u8])> {
    let (number, original) = payload.split_first_chunk()?;
    Some((u16::from_be_bytes(*number), original))
}

/// Writes the payload of a retransmission and returns its length; `None` if it does not fit into `out`.
pub fn write(out: &mut [u8], original_sequence: u16, original: &[u8]) -> Option<usize> {
    let (number, rest) = out.split_first_chunk_mut()?;
    *number = original_sequence.to_be_bytes();
    rest.get_mut(..original.len())?.copy_from_slice(original);
    Some(OVERHEAD + original.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut out = [0; 16];
        let len = write(&mut out, 0x1234, b"abc").unwrap();
        assert_eq!(&out[..len], b"\x12\x34abc");
        assert_eq!(read(&out[..len]), Some((0x1234, &b"abc"[..])));
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        assert_eq!(write(&mut [0; 1], 1, b""), None);
        assert_eq!(write(&mut [0; 4], 1, b"abc"), None);
    }

    #[test]
    fn a_probe_repeats_nothing() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[1]), None);
    }
}
