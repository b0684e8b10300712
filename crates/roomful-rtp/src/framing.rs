//! Datagrams on a byte stream: each with its length before it, as 16 bits (RFC 4571 §2).

/// The longest datagram taken from a stream, in bytes. What WebRTC sends fits into packets of 1,500; one who announces
/// more makes the reader hold that much for as long as the rest does not come. Smaller ends connections of honest
/// clients on paths with longer packets.
pub const MAX_FRAME: usize = 8 * 1024;

/// Bytes of the length before each datagram.
pub const LENGTH_BYTES: usize = 2;

/// A datagram is announced that is longer than [`MAX_FRAME`]: from here on nobody knows where the next begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a datagram of {0} bytes is announced and {MAX_FRAME} are allowed")]
pub struct FrameTooLong(pub usize);

/// What stands before a datagram of this length; `None` if no length field can say it.
pub fn frame_length(datagram: usize) -> Option<[u8; LENGTH_BYTES]> {
    Some(u16::try_from(datagram).ok()?.to_be_bytes())
}

/// Takes the bytes of one stream apart into datagrams, however they were cut on their way.
///
/// Whole datagrams stay where they were read; only one that is cut by the end of a read is kept, in at most
/// [`MAX_FRAME`] bytes and its length.
#[derive(Debug, Default)]
pub struct FrameReader {
    partial: Vec<u8>,
}

impl FrameReader {
    /// Takes in what follows in the stream, and calls `each` with every datagram that is complete with it. An empty one
    /// says nothing and is left out.
    ///
    /// # Errors
    /// [`FrameTooLong`]: the stream is to be given up.
    pub fn read(
        &mut self,
        bytes: &mut [u8],
        mut each: impl FnMut(&mut [u8]),
    ) -> Result<(), FrameTooLong> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = if self.partial.is_empty() {
                self.read_whole(rest, &mut each)?
            } else {
                self.complete(rest, &mut each)?
            };
        }
        Ok(())
    }

    /// Takes one datagram off the front, or keeps what there is of it; returns what follows.
    fn read_whole<'a>(
        &mut self,
        bytes: &'a mut [u8],
        each: &mut impl FnMut(&mut [u8]),
    ) -> Result<&'a mut [u8], FrameTooLong> {
        let whole = match announced(bytes)? {
            Some(length) => LENGTH_BYTES + length,
            None => usize::MAX,
        };
        if whole > bytes.len() {
            self.partial.extend_from_slice(bytes);
            return Ok(&mut []);
        }
        let (datagram, rest) = bytes.split_at_mut(whole);
        if let Some(datagram) = datagram.get_mut(LENGTH_BYTES..).filter(|one| !one.is_empty()) {
            each(datagram);
        }
        Ok(rest)
    }

    /// Adds to the datagram that was cut; returns what follows.
    fn complete<'a>(
        &mut self,
        bytes: &'a mut [u8],
        each: &mut impl FnMut(&mut [u8]),
    ) -> Result<&'a mut [u8], FrameTooLong> {
        let whole = announced(&self.partial)?.map_or(LENGTH_BYTES, |length| LENGTH_BYTES + length);
        let missing = whole.saturating_sub(self.partial.len()).min(bytes.len());
        let (taken, rest) = bytes.split_at_mut(missing);
        self.partial.extend_from_slice(taken);
        if let Some(length) = announced(&self.partial)?
            && self.partial.len() == LENGTH_BYTES + length
        {
            if let Some(datagram) =
                self.partial.get_mut(LENGTH_BYTES..).filter(|one| !one.is_empty())
            {
                each(datagram);
            }
            self.partial.clear();
        }
        Ok(rest)
    }
}

/// The length at the front, if it has come.
fn announced(bytes: &[u8]) -> Result<Option<usize>, FrameTooLong> {
    let Some(length) = bytes.first_chunk() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*length));
    if length > MAX_FRAME { Err(FrameTooLong(length)) } else { Ok(Some(length)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(datagrams: &[&[u8]]) -> Vec<u8> {
        let frame = |one: &&[u8]| [&frame_length(one.len()).unwrap()[..], one].concat();
        datagrams.iter().flat_map(frame).collect()
    }

    fn read(reader: &mut FrameReader, bytes: &[u8]) -> Result<Vec<Vec<u8>>, FrameTooLong> {
        let mut found = Vec::new();
        reader.read(&mut bytes.to_vec(), |datagram| found.push(datagram.to_vec()))?;
        Ok(found)
    }

    #[test]
    fn datagrams_come_out_whole_wherever_the_stream_is_cut() {
        let datagrams: [&[u8]; 4] = [b"one", b"a second one", &[7; 300], b"4"];
        let stream = framed(&datagrams);
        for first in 0..stream.len() {
            for second in first..stream.len() {
                let mut reader = FrameReader::default();
                let parts = [&stream[..first], &stream[first..second], &stream[second..]];
                let found: Vec<_> =
                    parts.iter().flat_map(|part| read(&mut reader, part).unwrap()).collect();
                assert_eq!(found, datagrams, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn a_stream_that_trickles_is_read_as_well() {
        let mut reader = FrameReader::default();
        let found: Vec<_> = framed(&[b"abc", b"", b"de"])
            .chunks(1)
            .flat_map(|byte| read(&mut reader, byte).unwrap())
            .collect();
        assert_eq!(found, [&b"abc"[..], b"de"]);
    }

    #[test]
    fn a_datagram_too_long_ends_the_stream_as_soon_as_it_is_announced() {
        let longest = vec![1; MAX_FRAME];
        assert_eq!(read(&mut FrameReader::default(), &framed(&[&longest])).unwrap(), [longest]);
        let length = (MAX_FRAME as u16 + 1).to_be_bytes();
        let refused = Err(FrameTooLong(MAX_FRAME + 1));
        assert_eq!(read(&mut FrameReader::default(), &length), refused);
        let mut reader = FrameReader::default();
        assert_eq!(read(&mut reader, &length[..1]), Ok(Vec::new()));
        assert_eq!(read(&mut reader, &length[1..]), refused);
    }

    #[test]
    fn what_is_kept_of_a_cut_datagram_is_bounded() {
        let mut reader = FrameReader::default();
        let mut stream = framed(&[&[1; MAX_FRAME]]);
        stream.pop();
        assert_eq!(read(&mut reader, &stream).unwrap(), Vec::<Vec<u8>>::new());
        assert_eq!(reader.partial.len(), LENGTH_BYTES + MAX_FRAME - 1);
        assert_eq!(read(&mut reader, &[1, 0]).unwrap().len(), 1);
        assert_eq!(reader.partial, [0], "the beginning of the next length");
    }

    #[test]
    fn no_length_field_can_say_more_than_sixteen_bits() {
        assert_eq!(frame_length(65_535), Some([0xff, 0xff]));
        assert_eq!(frame_length(65_536), None);
    }
}
