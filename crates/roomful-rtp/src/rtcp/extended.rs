//! Extended reports (RFC 3611): enough to measure a round trip to somebody who sends nothing, and to
//! step over everything else.

use super::reader::Reader;
use crate::Ssrc;
use crate::units::{NtpShort, NtpTime};

/// Receiver reference time (RFC 3611 §4.4).
const RRTR: u8 = 4;
/// Delay since the last receiver report (RFC 3611 §4.5).
const DLRR: u8 = 5;

/// An extended report.
#[derive(Clone, Copy, Debug)]
pub struct ExtendedReport<'a> {
    /// Who reports.
    pub ssrc: Ssrc,
    /// What it reports.
    pub blocks: XrBlocks<'a>,
}

/// The blocks of an extended report.
#[derive(Clone, Copy, Debug)]
pub struct XrBlocks<'a> {
    reader: Reader<'a>,
}

/// One block of an extended report.
#[derive(Clone, Copy, Debug)]
pub enum XrBlock<'a> {
    /// When it was sent, by the reporter's wall clock.
    ReferenceTime(NtpTime),
    /// Answers to reference times.
    Dlrr(Dlrr<'a>),
    /// A block of another type.
    Other(u8),
}

/// Answers to reference times, one for each source that asked.
#[derive(Clone, Copy, Debug)]
pub struct Dlrr<'a> {
    records: &'a [[u8; 12]],
}

/// The answer to one source's reference time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DlrrBlock {
    /// Who sent the reference time.
    pub ssrc: Ssrc,
    /// Its middle; 0 if none arrived.
    pub last_reference: NtpShort,
    /// How long ago it arrived when this was sent.
    pub delay_since: NtpShort,
}

impl<'a> ExtendedReport<'a> {
    pub(super) fn parse(mut reader: Reader<'a>) -> Option<Self> {
        let ssrc = reader.ssrc()?;
        let mut check = XrBlocks { reader };
        while !check.reader.is_empty() {
            check.read()?;
        }
        Some(Self { ssrc, blocks: XrBlocks { reader } })
    }
}

impl<'a> XrBlocks<'a> {
    fn read(&mut self) -> Option<XrBlock<'a>> {
        let [block_type, _, high, low] = self.reader.array()?;
        let words = usize::from(u16::from_be_bytes([high, low]));
        let mut body = Reader::new(self.reader.bytes(words * 4)?);
        Some(match block_type {
            RRTR => XrBlock::ReferenceTime(NtpTime(body.u64()?)),
            DLRR => XrBlock::Dlrr(Dlrr { records: body.all_records()? }),
            other => XrBlock::Other(other),
        })
    }
}

impl<'a> Iterator for XrBlocks<'a> {
    type Item = XrBlock<'a>;

    fn next(&mut self) -> Option<XrBlock<'a>> {
        self.read()
    }
}

impl Iterator for Dlrr<'_> {
    type Item = DlrrBlock;

    fn next(&mut self) -> Option<DlrrBlock> {
        let (first, rest) = self.records.split_first()?;
        self.records = rest;
        let mut reader = Reader::new(first);
        Some(DlrrBlock {
            ssrc: reader.ssrc()?,
            last_reference: NtpShort(reader.u32()?),
            delay_since: NtpShort(reader.u32()?),
        })
    }
}
