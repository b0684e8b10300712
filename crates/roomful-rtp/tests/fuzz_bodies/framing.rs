//! What the fuzz target `frame_read` does with bytes; the tests of this crate run the same over seeded mutations.

#![allow(clippy::unwrap_used, reason = "a panic is what a fuzz target has to say")]

use roomful_rtp::framing::{FrameReader, FrameTooLong, LENGTH_BYTES, MAX_FRAME, frame_length};

/// Streams to begin with, for [`frame_read`]: how they are cut, then what they say.
pub(crate) fn frame_seeds() -> Vec<Vec<u8>> {
    let framed = |datagrams: &[&[u8]]| -> Vec<u8> {
        let frame = |one: &&[u8]| [&frame_length(one.len()).unwrap()[..], one].concat();
        datagrams.iter().flat_map(frame).collect()
    };
    let check = [&[0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42][..], &[7; 20]].concat();
    let streams = [
        framed(&[&check, &[0x80; 40], b"", &[22; 100]]),
        framed(&[&[1; MAX_FRAME]]),
        [framed(&[b"whole"]), vec![0xff, 0xff, 1, 2, 3]].concat(),
        framed(&[b"a", b"b", b"c", b"d", b"e"]),
    ];
    let cuts: [&[u8]; 3] = [&[0], &[1, 1, 1, 2], &[3, 200, 1, 5]];
    let cut = |cuts: &[u8], stream: &Vec<u8>| [&[cuts.len() as u8], cuts, stream].concat();
    streams.iter().flat_map(|stream| cuts.map(|cuts| cut(cuts, stream))).collect()
}

/// Reads a stream in pieces, which must find what one look at the whole finds.
pub(crate) fn frame_read(bytes: &[u8]) {
    let Some((count, rest)) = bytes.split_first() else { return };
    let (cuts, stream) = rest.split_at(usize::from(*count).min(rest.len()));
    let (datagrams, refused) = look(stream);
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut reader = FrameReader::default();
    let mut left = &mut stream.to_vec()[..];
    let mut cuts = cuts.iter().map(|cut| usize::from(*cut).max(1)).chain(std::iter::repeat(700));
    let outcome = loop {
        let piece;
        (piece, left) = left.split_at_mut(cuts.next().unwrap_or(1).min(left.len()));
        if let Err(error) = reader.read(piece, |datagram| found.push(datagram.to_vec())) {
            break Some(error);
        }
        if left.is_empty() {
            break None;
        }
    };
    assert_eq!(found, datagrams);
    assert_eq!(outcome, refused);
}

/// The datagrams of a whole stream, and why no more follow.
fn look(stream: &[u8]) -> (Vec<&[u8]>, Option<FrameTooLong>) {
    let mut datagrams = Vec::new();
    let mut at = 0;
    while let Some([high, low]) = stream.get(at..at + LENGTH_BYTES) {
        let length = usize::from(*high) * 256 + usize::from(*low);
        if length > MAX_FRAME {
            return (datagrams, Some(FrameTooLong(length)));
        }
        let begin = at + LENGTH_BYTES;
        let Some(datagram) = stream.get(begin..begin + length) else { break };
        if length > 0 {
            datagrams.push(datagram);
        }
        at = begin + length;
    }
    (datagrams, None)
}
