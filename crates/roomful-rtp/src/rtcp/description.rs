//! Who is behind an SSRC, and who leaves (RFC 3550 §6.5, §6.6).

use super::feedback::Ssrcs;
use super::reader::Reader;
use crate::Ssrc;

/// A source description: an iterator over its chunks.
#[derive(Clone, Copy, Debug)]
pub struct Sdes<'a> {
    reader: Reader<'a>,
    left: usize,
}

/// What is said of one source. Of the items only the name is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SdesChunk<'a> {
    /// The source.
    pub ssrc: Ssrc,
    /// Its CNAME, which all sources of one participant share. Not necessarily text.
    pub cname: Option<&'a [u8]>,
}

/// Sources that end. The reason, which is free text, is not read.
#[derive(Clone, Copy, Debug)]
pub struct Bye<'a> {
    /// Which ones.
    pub ssrcs: Ssrcs<'a>,
}

/// The item that ends a chunk (RFC 3550 §6.5).
const END: u8 = 0;
/// The item that carries the CNAME (RFC 3550 §6.5.1).
pub(super) const CNAME: u8 = 1;

impl<'a> Sdes<'a> {
    pub(super) fn parse(reader: Reader<'a>, chunks: usize) -> Option<Self> {
        let description = Self { reader, left: chunks };
        if description.count() == chunks { Some(description) } else { None }
    }
}

impl<'a> Iterator for Sdes<'a> {
    type Item = SdesChunk<'a>;

    fn next(&mut self) -> Option<SdesChunk<'a>> {
        self.left = self.left.checked_sub(1)?;
        read_chunk(&mut self.reader)
    }
}

fn read_chunk<'a>(reader: &mut Reader<'a>) -> Option<SdesChunk<'a>> {
    let before = reader.rest().len();
    let mut chunk = SdesChunk { ssrc: reader.ssrc()?, cname: None };
    loop {
        match reader.u8()? {
            END => break,
            item => {
                let len = reader.u8()?;
                let text = reader.bytes(usize::from(len))?;
                if item == CNAME {
                    chunk.cname.get_or_insert(text);
                }
            }
        }
    }
    // A chunk ends at a 32-bit boundary.
    let odd = (before - reader.rest().len()) % 4;
    if odd > 0 {
        reader.bytes(4 - odd)?;
    }
    Some(chunk)
}

impl<'a> Bye<'a> {
    pub(super) fn parse(mut reader: Reader<'a>, count: usize) -> Option<Self> {
        Some(Self { ssrcs: Ssrcs::new(reader.records(count)?) })
    }
}
