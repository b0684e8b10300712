//! Puts a compound packet together in a buffer of the caller's.

use super::description::CNAME;
use super::feedback::{FirEntry, Remb};
use super::report::{ReportBlock, SenderInfo};
use super::transport_feedback::DeltaStatus;
use super::{HEADER_LEN, format, packet_type};
use crate::Ssrc;
use crate::units::Bitrate;

mod chunks;

/// Writes RTCP packets one after the other. Each call writes one packet whole or, if it does not
/// fit, nothing; it says which.
///
/// RFC 3550 §6.1 wants a compound to begin with a report and to hold a CNAME; where reduced-size
/// RTCP was negotiated, feedback may travel alone (RFC 5506). What to put in which order is up to the
/// caller. Leave room behind the buffer for the SRTCP trailer.
#[derive(Debug)]
pub struct RtcpWriter<'a> {
    out: &'a mut [u8],
    len: usize,
}

/// Where a transport-wide feedback begins. See [`RtcpWriter::transport_feedback`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedbackStart {
    /// Sequence number of the first packet reported.
    pub first_seq: u16,
    /// What the first delta counts from, in units of 64 ms; the low 24 bits count.
    pub reference: u32,
    /// Counts the feedback packets of a transport.
    pub number: u8,
}

impl<'a> RtcpWriter<'a> {
    /// Source descriptions, extended reports and the like count up to this (five bits).
    pub const MAX_COUNT: usize = 31;

    /// Begins at the front of `out`.
    pub fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    /// Bytes written so far, a multiple of four.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that may still be written.
    pub fn room(&self) -> usize {
        self.out.len().saturating_sub(self.len)
    }

    /// A sender report (RFC 3550 §6.4.1). `false` also for more than 31 blocks.
    pub fn sender_report(
        &mut self,
        ssrc: Ssrc,
        info: SenderInfo,
        blocks: impl IntoIterator<Item = ReportBlock>,
    ) -> bool {
        self.packet(packet_type::SENDER_REPORT, |body| {
            body.put(&ssrc.0.to_be_bytes())?;
            body.put(&info.to_bytes())?;
            body.put_counted(blocks.into_iter().map(ReportBlock::to_bytes))
        })
    }

    /// A receiver report (RFC 3550 §6.4.2). `false` also for more than 31 blocks.
    pub fn receiver_report(
        &mut self,
        ssrc: Ssrc,
        blocks: impl IntoIterator<Item = ReportBlock>,
    ) -> bool {
        self.packet(packet_type::RECEIVER_REPORT, |body| {
            body.put(&ssrc.0.to_be_bytes())?;
            body.put_counted(blocks.into_iter().map(ReportBlock::to_bytes))
        })
    }

    /// A source description with nothing but the name of one source (RFC 3550 §6.5.1). `false` also
    /// for a name of more than 255 bytes.
    pub fn sdes(&mut self, ssrc: Ssrc, cname: &[u8]) -> bool {
        self.packet(packet_type::SDES, |body| {
            body.put(&ssrc.0.to_be_bytes())?;
            body.put(&[CNAME, u8::try_from(cname.len()).ok()?])?;
            body.put(cname)?;
            // At least one zero ends the chunk, and more fill it up to a 32-bit boundary.
            let end = 4 - (2 + cname.len()) % 4;
            body.put([0; 4].get(..end)?)?;
            Some(1)
        })
    }

    /// Sources that end (RFC 3550 §6.6). `false` also for more than 31.
    pub fn bye(&mut self, ssrcs: impl IntoIterator<Item = Ssrc>) -> bool {
        self.packet(packet_type::BYE, |body| {
            body.put_counted(ssrcs.into_iter().map(|ssrc| ssrc.0.to_be_bytes()))
        })
    }

    /// A generic NACK (RFC 4585 §6.2.1) for `seqs`, packed seventeen to a word where they lie close
    /// together; best in ascending order. `false` also for none, and past the buffer: 128 numbers
    /// take 524 bytes at most.
    pub fn nack(&mut self, sender: Ssrc, media: Ssrc, seqs: impl IntoIterator<Item = u16>) -> bool {
        self.packet(packet_type::TRANSPORT_FEEDBACK, |body| {
            body.put_feedback_header(sender, media)?;
            let mut word: Option<(u16, u16)> = None;
            for seq in seqs {
                if let Some((pid, blp)) = &mut word {
                    let ahead = seq.wrapping_sub(*pid);
                    if ahead <= 16 {
                        // Itself again (0), or bit 0 for the next (1) to bit 15 for the sixteenth.
                        *blp |= 1_u16.checked_shl(u32::from(ahead).wrapping_sub(1)).unwrap_or(0);
                        continue;
                    }
                    body.put_nack_word(*pid, *blp)?;
                }
                word = Some((seq, 0));
            }
            let (pid, blp) = word?;
            body.put_nack_word(pid, blp)?;
            Some(format::NACK)
        })
    }

    /// A picture loss indication (RFC 4585 §6.3.1).
    pub fn pli(&mut self, sender: Ssrc, media: Ssrc) -> bool {
        self.packet(packet_type::PAYLOAD_FEEDBACK, |body| {
            body.put_feedback_header(sender, media)?;
            Some(format::PLI)
        })
    }

    /// A full intra request (RFC 5104 §4.3.1). `false` also for no entry.
    pub fn fir(&mut self, sender: Ssrc, entries: impl IntoIterator<Item = FirEntry>) -> bool {
        self.packet(packet_type::PAYLOAD_FEEDBACK, |body| {
            body.put_feedback_header(sender, Ssrc(0))?;
            let empty = body.len;
            for entry in entries {
                body.put(&entry.media.0.to_be_bytes())?;
                body.put(&[entry.request, 0, 0, 0])?;
            }
            if body.len == empty { None } else { Some(format::FIR) }
        })
    }

    /// A receiver's estimate (draft-alvestrand-rmcat-remb-03 §2.2), rounded down to 18 significant
    /// bits. `false` also for more than 255 streams.
    pub fn remb(
        &mut self,
        sender: Ssrc,
        bitrate: Bitrate,
        ssrcs: impl IntoIterator<Item = Ssrc>,
    ) -> bool {
        self.packet(packet_type::PAYLOAD_FEEDBACK, |body| {
            body.put_feedback_header(sender, Ssrc(0))?;
            body.put(&Remb::NAME)?;
            let count_at = body.len;
            let exponent = (u64::BITS - bitrate.0.leading_zeros()).saturating_sub(18);
            let mantissa = (bitrate.0 >> exponent) as u32;
            body.put(&(exponent << 18 | mantissa).to_be_bytes())?;
            let mut count: u8 = 0;
            for ssrc in ssrcs {
                body.put(&ssrc.0.to_be_bytes())?;
                count = count.checked_add(1)?;
            }
            *body.out.get_mut(count_at)? = count;
            Some(format::APPLICATION)
        })
    }

    /// Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1) on as many
    /// of `deltas` as fit, and how many that is; `None` (and nothing written) if not even one fits.
    ///
    /// Each delta is one packet from `start.first_seq` on: `None` if it is lost, otherwise when it
    /// arrived in steps of 250 µs, the first since `start.reference`, the others since the arrived one
    /// before. It is gone through twice, so its clone must give the same again.
    pub fn transport_feedback<I>(
        &mut self,
        sender: Ssrc,
        media: Ssrc,
        start: FeedbackStart,
        deltas: I,
    ) -> Option<u16>
    where
        I: Iterator<Item = Option<i16>> + Clone,
    {
        let mut written = 0;
        let is_whole = self.packet(packet_type::TRANSPORT_FEEDBACK, |body| {
            body.put_feedback_header(sender, media)?;
            body.put(&start.first_seq.to_be_bytes())?;
            let count_at = body.len;
            let [_, high, middle, low] = start.reference.to_be_bytes();
            body.put(&[0, 0, high, middle, low, start.number])?;
            written = chunks::put(body, deltas)?;
            let count = body.out.get_mut(count_at..count_at + 2)?;
            count.copy_from_slice(&written.to_be_bytes());
            Some(format::TRANSPORT_WIDE)
        });
        is_whole.then_some(written)
    }

    /// Writes a header, lets `fill` write the rest and say the count or format, and pads.
    fn packet(&mut self, packet_type: u8, fill: impl FnOnce(&mut Body<'_>) -> Option<u8>) -> bool {
        let Some(out) = self.out.get_mut(self.len..) else { return false };
        let Some(written) = write_packet(out, packet_type, fill) else { return false };
        self.len += written;
        true
    }
}

fn write_packet(
    out: &mut [u8],
    packet_type: u8,
    fill: impl FnOnce(&mut Body<'_>) -> Option<u8>,
) -> Option<usize> {
    let mut body = Body { out, len: HEADER_LEN };
    let count = fill(&mut body)?;
    let padding = body.len.next_multiple_of(4) - body.len;
    let mut flags = 2 << 6 | count;
    if padding > 0 {
        // Only transport-wide feedback comes to this.
        flags |= 0x20;
        body.put([0, 0].get(..padding - 1)?)?;
        body.put(&[padding as u8])?;
    }
    let words = u16::try_from(body.len / 4 - 1).ok()?;
    let [high, low] = words.to_be_bytes();
    body.out.get_mut(..HEADER_LEN)?.copy_from_slice(&[flags, packet_type, high, low]);
    Some(body.len)
}

/// One packet being written; what does not fit is `None`.
struct Body<'b> {
    out: &'b mut [u8],
    len: usize,
}

impl Body<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len.checked_add(bytes.len())?;
        self.out.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    fn put_feedback_header(&mut self, sender: Ssrc, media: Ssrc) -> Option<()> {
        self.put(&sender.0.to_be_bytes())?;
        self.put(&media.0.to_be_bytes())
    }

    fn put_nack_word(&mut self, pid: u16, blp: u16) -> Option<()> {
        self.put(&pid.to_be_bytes())?;
        self.put(&blp.to_be_bytes())
    }

    /// Writes records and counts them, for packets whose five bits say how many there are.
    fn put_counted<const N: usize>(
        &mut self,
        records: impl Iterator<Item = [u8; N]>,
    ) -> Option<u8> {
        let mut count = 0;
        for record in records {
            self.put(&record)?;
            count += 1;
            if usize::from(count) > RtcpWriter::MAX_COUNT {
                return None;
            }
        }
        Some(count)
    }

    /// Bytes that may still be written, of which a packet uses whole words only.
    fn room(&self) -> usize {
        (self.out.len() - self.out.len() % 4).saturating_sub(self.len)
    }
}

impl DeltaStatus {
    /// What becomes of a delta in steps of 250 µs: up to 255 of them fit into a byte.
    fn of(delta: Option<i16>) -> Self {
        match delta {
            None => Self::Lost,
            Some(0..=255) => Self::Small,
            Some(_) => Self::Large,
        }
    }
}
