//! Sender and receiver reports (RFC 3550 §6.4).

use super::reader::Reader;
use crate::Ssrc;
use crate::units::{NtpShort, NtpTime};

/// A sender report (RFC 3550 §6.4.1). What profiles append to it is not read.
#[derive(Clone, Copy, Debug)]
pub struct SenderReport<'a> {
    /// Who reports.
    pub ssrc: Ssrc,
    /// What it has sent.
    pub info: SenderInfo,
    /// What it has received from others.
    pub blocks: ReportBlocks<'a>,
}

/// The sender's part of a sender report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// When the report was sent, by the sender's wall clock.
    pub ntp: NtpTime,
    /// The same moment in units of the stream's timestamps.
    pub rtp_timestamp: u32,
    /// RTP packets sent so far; wraps.
    pub packets: u32,
    /// Payload bytes sent so far, without headers and padding; wraps.
    pub octets: u32,
}

/// A receiver report (RFC 3550 §6.4.2). What profiles append to it is not read.
#[derive(Clone, Copy, Debug)]
pub struct ReceiverReport<'a> {
    /// Who reports.
    pub ssrc: Ssrc,
    /// What it has received.
    pub blocks: ReportBlocks<'a>,
}

/// How one stream is received (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportBlock {
    /// The stream.
    pub ssrc: Ssrc,
    /// Packets lost since the previous report, in 1/256 of those expected; 0 if more came than that.
    pub fraction_lost: u8,
    /// Packets lost since the beginning; negative where duplicates outnumber losses. 24 bits on the
    /// wire: what does not fit is cut to the nearest value that does.
    pub cumulative_lost: i32,
    /// Highest sequence number received, with the number of wraps in the upper half.
    pub highest_seq: u32,
    /// Mean deviation of the spacing at arrival from the spacing at departure, in timestamp units.
    pub jitter: u32,
    /// The middle of [`SenderInfo::ntp`] of the last sender report; 0 if there was none.
    pub last_sender_report: NtpShort,
    /// How long ago that arrived when this was sent; 0 if there was none.
    pub delay_since_last_sender_report: NtpShort,
}

/// The blocks of a report.
#[derive(Clone, Debug, Copy)]
pub struct ReportBlocks<'a> {
    records: &'a [[u8; ReportBlock::LEN]],
}

impl<'a> SenderReport<'a> {
    pub(super) fn parse(mut reader: Reader<'a>, blocks: usize) -> Option<Self> {
        let ssrc = reader.ssrc()?;
        let info = SenderInfo {
            ntp: NtpTime(reader.u64()?),
            rtp_timestamp: reader.u32()?,
            packets: reader.u32()?,
            octets: reader.u32()?,
        };
        Some(Self { ssrc, info, blocks: ReportBlocks { records: reader.records(blocks)? } })
    }
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(mut reader: Reader<'a>, blocks: usize) -> Option<Self> {
        let ssrc = reader.ssrc()?;
        Some(Self { ssrc, blocks: ReportBlocks { records: reader.records(blocks)? } })
    }
}

impl SenderInfo {
    pub(super) fn to_bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        let (ntp, rest) = bytes.split_at_mut(8);
        ntp.copy_from_slice(&self.ntp.0.to_be_bytes());
        let words = [self.rtp_timestamp, self.packets, self.octets];
        for (field, word) in rest.chunks_exact_mut(4).zip(words) {
            field.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

impl ReportBlock {
    pub(super) const LEN: usize = 24;

    /// The bounds of a signed 24-bit number (RFC 3550 §A.3).
    const MOST_LOST: i32 = 0x7f_ffff;
    const LEAST_LOST: i32 = -0x80_0000;

    fn parse(record: &[u8; Self::LEN]) -> Option<Self> {
        let mut reader = Reader::new(record);
        let ssrc = reader.ssrc()?;
        let [fraction_lost, high, middle, low] = reader.array()?;
        Some(Self {
            ssrc,
            fraction_lost,
            // Shifting back from the top keeps the sign.
            cumulative_lost: i32::from_be_bytes([high, middle, low, 0]) >> 8,
            highest_seq: reader.u32()?,
            jitter: reader.u32()?,
            last_sender_report: NtpShort(reader.u32()?),
            delay_since_last_sender_report: NtpShort(reader.u32()?),
        })
    }

    pub(super) fn to_bytes(self) -> [u8; Self::LEN] {
        let lost = self.cumulative_lost.clamp(Self::LEAST_LOST, Self::MOST_LOST);
        let loss = u32::from(self.fraction_lost) << 24 | (lost as u32 & 0xff_ffff);
        let words = [
            self.ssrc.0,
            loss,
            self.highest_seq,
            self.jitter,
            self.last_sender_report.0,
            self.delay_since_last_sender_report.0,
        ];
        let mut bytes = [0; Self::LEN];
        for (field, word) in bytes.chunks_exact_mut(4).zip(words) {
            field.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (first, rest) = self.records.split_first()?;
        self.records = rest;
        ReportBlock::parse(first)
    }
}
