//! Repair, keyframe and bandwidth requests (RFC 4585 §6, RFC 5104 §4.3.1, REMB).

use super::reader::Reader;
use crate::Ssrc;
use crate::units::Bitrate;

/// A generic NACK (RFC 4585 §6.2.1): packets that did not arrive.
#[derive(Clone, Copy, Debug)]
pub struct Nack<'a> {
    /// Who asks.
    pub sender: Ssrc,
    /// The stream they belong to.
    pub media: Ssrc,
    /// Their sequence numbers.
    pub seqs: NackSeqs<'a>,
}

/// The sequence numbers of a NACK, as its sender ordered them; possibly with repetitions.
#[derive(Clone, Copy, Debug)]
pub struct NackSeqs<'a> {
    records: &'a [[u8; 4]],
    pid: u16,
    blp: u16,
}

/// A picture loss indication (RFC 4585 §6.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pli {
    /// Who asks.
    pub sender: Ssrc,
    /// The stream that should send a keyframe.
    pub media: Ssrc,
}

/// A full intra request (RFC 5104 §4.3.1).
#[derive(Clone, Copy, Debug)]
pub struct Fir<'a> {
    /// Who asks.
    pub sender: Ssrc,
    records: &'a [[u8; 8]],
}

/// One stream that should send a keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirEntry {
    /// The stream.
    pub media: Ssrc,
    /// Counts the requests; the same number again is a repetition of the same request.
    pub request: u8,
}

/// A receiver's estimate of its downlink (draft-alvestrand-rmcat-remb-03 §2.2).
#[derive(Clone, Copy, Debug)]
pub struct Remb<'a> {
    /// Who estimates.
    pub sender: Ssrc,
    /// What the streams named here may take together.
    pub bitrate: Bitrate,
    /// The streams.
    pub ssrcs: Ssrcs<'a>,
}

/// A list of SSRCs.
#[derive(Clone, Copy, Debug)]
pub struct Ssrcs<'a> {
    records: &'a [[u8; 4]],
}

impl<'a> Nack<'a> {
    pub(super) fn parse(mut reader: Reader<'a>) -> Option<Self> {
        let (sender, media) = (reader.ssrc()?, reader.ssrc()?);
        let seqs = NackSeqs { records: reader.all_records()?, pid: 0, blp: 0 };
        Some(Self { sender, media, seqs })
    }
}

impl Iterator for NackSeqs<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        if self.blp != 0 {
            // Bit 0 stands for the packet after the first one.
            let bit = self.blp.trailing_zeros() as u16;
            self.blp &= self.blp - 1;
            return Some(self.pid.wrapping_add(bit + 1));
        }
        let (&[pid_high, pid_low, blp_high, blp_low], rest) = self.records.split_first()?;
        self.records = rest;
        self.pid = u16::from_be_bytes([pid_high, pid_low]);
        self.blp = u16::from_be_bytes([blp_high, blp_low]);
        Some(self.pid)
    }
}

impl Pli {
    pub(super) fn parse(mut reader: Reader<'_>) -> Option<Self> {
        Some(Self { sender: reader.ssrc()?, media: reader.ssrc()? })
    }
}

impl<'a> Fir<'a> {
    pub(super) fn parse(mut reader: Reader<'a>) -> Option<Self> {
        let sender = reader.ssrc()?;
        // The media SSRC of the common feedback header is not used (RFC 5104 §4.3.1.2).
        reader.ssrc()?;
        Some(Self { sender, records: reader.all_records()? })
    }

    /// The streams that should send a keyframe.
    pub fn entries(&self) -> impl Iterator<Item = FirEntry> + use<'a> {
        self.records.iter().map(|&[a, b, c, d, request, ..]| FirEntry {
            media: Ssrc(u32::from_be_bytes([a, b, c, d])),
            request,
        })
    }
}

impl<'a> Remb<'a> {
    pub(super) const NAME: [u8; 4] = *b"REMB";

    /// Whether the body of an application-layer feedback packet is a REMB at all.
    pub(super) fn is_one(body: &[u8]) -> bool {
        body.get(8..12) == Some(&Self::NAME)
    }

    pub(super) fn parse(mut reader: Reader<'a>) -> Option<Self> {
        let sender = reader.ssrc()?;
        let (_media, _name) = (reader.ssrc()?, reader.u32()?);
        let [count, high, middle, low] = reader.array()?;
        let exponent = u32::from(high >> 2);
        let mantissa = u64::from(u32::from_be_bytes([0, high & 0x03, middle, low]));
        // 18 bits shifted by up to 63: what does not fit is as good as unlimited.
        let bitrate =
            if mantissa.leading_zeros() < exponent { u64::MAX } else { mantissa << exponent };
        let ssrcs = Ssrcs::new(reader.records(usize::from(count))?);
        Some(Self { sender, bitrate: Bitrate(bitrate), ssrcs })
    }
}

impl<'a> Ssrcs<'a> {
    pub(super) const fn new(records: &'a [[u8; 4]]) -> Self {
        Self { records }
    }
}

impl Iterator for Ssrcs<'_> {
    type Item = Ssrc;

    fn next(&mut self) -> Option<Ssrc> {
        let (first, rest) = self.records.split_first()?;
        self.records = rest;
        Some(Ssrc(u32::from_be_bytes(*first)))
    }
}
