//! Redundant audio data (RFC 2198): a packet that carries its own sound and that of packets before it.
//!
//! On bad Wi-Fi single packets are lost: each frame travels twice, and the copy comes without asking for it.
//!
//! ```text
//! block header:  F=1 | payload type (7) | timestamp offset (14) | length (10)
//! last header:   F=0 | payload type (7)
//! then the data of each block, the packet's own sound (the primary) last
//! ```

/// Frames of others that one packet may carry: as many as libwebrtc can be told to send (its default is one). More
/// would only let a packet make work; fewer would refuse what a client was set up to send.
pub const MOST_REDUNDANT: usize = 9;

const HEADER_LEN: usize = 4;
const FOLLOWS: u8 = 0x80;
const PAYLOAD_TYPE: u8 = 0x7f;

/// Why bytes are not redundant audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RedError {
    /// No last header, or a block header that is cut off.
    #[error("the headers of redundant audio end beyond the packet")]
    HeadersCutShort,
    /// More than [`MOST_REDUNDANT`].
    #[error("more redundant blocks than any client sends")]
    TooManyBlocks,
    /// The headers promise more than there is.
    #[error("a block of redundant audio ends beyond the packet")]
    BlockCutShort,
    /// The packet's own sound is missing.
    #[error("redundant audio without sound of its own")]
    NoPrimary,
}

/// A payload of redundant audio, read in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Red<'a> {
    /// Headers of the redundant blocks.
    headers: &'a [u8],
    /// Their data.
    redundant: &'a [u8],
    primary_type: u8,
    primary: &'a [u8],
}

/// A frame of an earlier packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// What it is coded with, as negotiated.
    pub payload_type: u8,
    /// How much earlier it was sampled than the packet's own sound, in ticks of the codec's clock.
    pub timestamp_offset: u16,
    /// The payload of the earlier packet; may be empty.
    pub data: &'a [u8],
}

impl<'a> Red<'a> {
    /// Reads the payload of an RTP packet.
    ///
    /// # Errors
    /// What is wrong with it; nothing of it should be used then.
    pub fn parse(payload: &'a [u8]) -> Result<Self, RedError> {
        let (mut at, mut promised) = (0, 0);
        let primary_type = loop {
            let header = payload.get(at..).ok_or(RedError::HeadersCutShort)?;
            match *header {
                [last, ..] if last & FOLLOWS == 0 => break last,
                [_, _, high, low, ..] if at / HEADER_LEN < MOST_REDUNDANT => {
                    promised += length(high, low);
                    at += HEADER_LEN;
                }
                [_, _, _, _, ..] => return Err(RedError::TooManyBlocks),
                _ => return Err(RedError::HeadersCutShort),
            }
        };
        let (headers, rest) = payload.split_at(at);
        let data = rest.get(1..).unwrap_or_default();
        let (redundant, primary) =
            data.split_at_checked(promised).ok_or(RedError::BlockCutShort)?;
        if primary.is_empty() {
            return Err(RedError::NoPrimary);
        }
        Ok(Self { headers, redundant, primary_type, primary })
    }

    /// What the packet's own sound is coded with.
    pub fn primary_type(&self) -> u8 {
        self.primary_type
    }

    /// The packet's own sound, as it would stand in a packet without redundancy.
    pub fn primary(&self) -> &'a [u8] {
        self.primary
    }

    /// Frames of earlier packets, as they stand: the earliest first.
    pub fn blocks(&self) -> impl DoubleEndedIterator<Item = Block<'a>> + ExactSizeIterator {
        let mut data = self.redundant;
        let mut blocks =
            [Block { payload_type: 0, timestamp_offset: 0, data: &[] }; MOST_REDUNDANT];
        let headers = self.headers.chunks_exact(HEADER_LEN);
        let count = headers.len();
        for (block, header) in blocks.iter_mut().zip(headers) {
            let &[first, high, middle, low] = header else { break };
            let (own, rest) = data.split_at_checked(length(middle, low)).unwrap_or_default();
            data = rest;
            let timestamp_offset = u16::from(high) << 6 | u16::from(middle >> 2);
            *block = Block { payload_type: first & PAYLOAD_TYPE, timestamp_offset, data: own };
        }
        blocks.into_iter().take(count)
    }
}

/// The packet's own sound in a payload that [`Red::parse`] took before.
pub fn primary(payload: &[u8]) -> Option<&[u8]> {
    Red::parse(payload).ok().map(|red| red.primary)
}

/// Writes into a payload that [`Red::parse`] took before that all its blocks are coded with `payload_type`: what they are
/// called was negotiated with each receiver for itself.
pub fn set_payload_types(payload: &mut [u8], payload_type: u8) {
    let mut rest = payload;
    while let Some(first) = rest.first_mut() {
        let follows = *first & FOLLOWS;
        *first = follows | payload_type & PAYLOAD_TYPE;
        if follows == 0 {
            return;
        }
        rest = rest.get_mut(HEADER_LEN..).unwrap_or_default();
    }
}

/// The last ten bits of a block header.
fn length(high: u8, low: u8) -> usize {
    usize::from(u16::from_be_bytes([high & 0x03, low]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opus under payload type 111, 20 ms apart, as Chromium sends it.
    fn chromium() -> Vec<u8> {
        let offset: u16 = 960;
        let middle = (offset << 2) as u8;
        [&[0x80 | 111, (offset >> 6) as u8, middle, 3, 111][..], b"old", b"new!"].concat()
    }

    #[test]
    fn blocks_are_read_with_what_they_say_of_themselves() {
        let payload = chromium();
        let red = Red::parse(&payload).unwrap();
        assert_eq!((red.primary_type(), red.primary()), (111, &b"new!"[..]));
        let expected = Block { payload_type: 111, timestamp_offset: 960, data: b"old" };
        assert_eq!(red.blocks().collect::<Vec<_>>(), [expected]);
        assert_eq!(primary(&payload), Some(&b"new!"[..]));
    }

    #[test]
    fn offsets_and_lengths_use_all_their_bits() {
        let mut payload = vec![0xff, 0xff, 0xff, 0xff, 0x7f];
        payload.extend([7; 1_023]);
        payload.push(9);
        let red = Red::parse(&payload).unwrap();
        let block = red.blocks().next().unwrap();
        assert_eq!((block.timestamp_offset, block.data.len()), ((1 << 14) - 1, 1_023));
        assert_eq!(red.primary(), [9]);
    }

    #[test]
    fn a_packet_may_carry_nothing_but_its_own_sound() {
        let red = Red::parse(&[111, 1, 2]).unwrap();
        assert_eq!((red.blocks().len(), red.primary()), (0, &[1, 2][..]));
    }

    #[test]
    fn all_blocks_are_called_what_the_receiver_calls_them() {
        let mut payload = [&[0xef, 0, 4, 1][..], &[0xef, 0, 8, 1, 0x6f], b"ab", b"c"].concat();
        set_payload_types(&mut payload, 96);
        let red = Red::parse(&payload).unwrap();
        assert_eq!(red.primary_type(), 96);
        assert!(red.blocks().all(|block| block.payload_type == 96));
        let data: Vec<&[u8]> = red.blocks().map(|block| block.data).collect();
        assert_eq!((data, red.primary()), (vec![&b"a"[..], b"b"], &b"c"[..]));
    }

    #[test]
    fn what_is_cut_off_or_promises_too_much_is_no_redundant_audio() {
        let whole = chromium();
        for (cut, error) in [
            (0, RedError::HeadersCutShort),
            (3, RedError::HeadersCutShort),
            (4, RedError::HeadersCutShort),
            (5, RedError::BlockCutShort),
            (7, RedError::BlockCutShort),
            (8, RedError::NoPrimary),
        ] {
            assert_eq!(Red::parse(&whole[..cut]), Err(error), "{cut} bytes");
        }
        let chain = [0x80; 400];
        assert_eq!(Red::parse(&chain), Err(RedError::TooManyBlocks));
        set_payload_types(&mut [0x80; 7], 96);
        set_payload_types(&mut [], 96);
    }
}
