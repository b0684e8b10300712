//! What a participant does with received RTP.

use roomful_rtp::rtp::extension::TransportSequence;
use roomful_rtp::rtp::{RtpHeader, rtx};
use roomful_rtp::srtp::OpenError;

use super::stream::{Arrival, Stream};
use super::{At, Participant};
use crate::clock::Stamp;
use crate::ledger::{Group, Ledger};
use crate::media::mark::ContentError;
use crate::media::payload::{self, Content};
use crate::sdp::Format;

/// Received media streams a participant keeps track of. A server that numbered streams anew all the time
/// would otherwise grow this without end.
const MAX_STREAMS: usize = 4096;

impl Participant {
    pub(super) fn handle_rtp(&mut self, packet: &mut [u8], at: At, ledger: &mut Ledger) {
        let Ok(header) = RtpHeader::parse(packet) else {
            ledger.totals.asides.unknown_datagrams += 1;
            return;
        };
        let number = self.across.id.and_then(|id| header.extension(packet, id));
        if let Some(TransportSequence(number)) = number.and_then(TransportSequence::parse) {
            self.across.arrivals.record(number, packet.len(), at.instant);
        }
        let Some(format) = Format::of(header.payload_type) else {
            ledger.totals.faults.foreign_payload_types += 1;
            return;
        };
        if let Format::Repair(_) = format {
            self.handle_repair(packet, at, ledger);
            return;
        }
        let Some(srtp) = &mut self.srtp else {
            ledger.totals.asides.early_packets += 1;
            return;
        };
        if self.streams.len() >= MAX_STREAMS && !self.streams.contains_key(&header.ssrc) {
            return;
        }
        let stream = self
            .streams
            .entry(header.ssrc)
            .or_insert_with(|| Stream::new(header.ssrc, format, at.instant));
        let opens = stream.awaits_keyframe() || header.padding || ledger.opens_next();
        let mut content = None;
        if opens {
            match srtp.opener.open_rtp(packet) {
                Ok(opened) => {
                    let plain = packet.get(..opened.plain_len).unwrap_or_default();
                    let payload = opened.header.payload(plain).unwrap_or_default();
                    if payload.is_empty() {
                        // Padding alone: a probe for bandwidth.
                        ledger.totals.asides.padding_packets += 1;
                        stream.handle_packet(header.sequence, header.timestamp, at.instant);
                        return;
                    }
                    content = Some(payload::read(format, payload, ledger.run));
                }
                Err(error) => {
                    ledger.count_unopened(error);
                    return;
                }
            }
        }
        let arrival = stream.handle_packet(header.sequence, header.timestamp, at.instant);
        self.misses_packets |= stream.nack.missing() > 0;
        if arrival == Arrival::Duplicate {
            ledger.totals.asides.duplicates += 1;
            return;
        }
        self.timeline.note_packet(format != Format::Opus, at.instant);
        count(stream, packet.len(), at.stamp, content, self.group, ledger);
    }

    /// A retransmission (RFC 4588): of whichever stream misses that packet.
    fn handle_repair(&mut self, packet: &mut [u8], at: At, ledger: &mut Ledger) {
        let Some(srtp) = &mut self.srtp else { return };
        let opened = match srtp.opener.open_rtp(packet) {
            Ok(opened) => opened,
            Err(error) => return ledger.count_unopened(error),
        };
        ledger.totals.asides.repair_packets += 1;
        let plain = packet.get(..opened.plain_len).unwrap_or_default();
        let payload = opened.header.payload(plain).unwrap_or_default();
        // Without a payload it probes for bandwidth.
        let Some((seq, original)) = rtx::read(payload) else { return };
        let mut pictures =
            self.streams.values_mut().filter(|stream| matches!(stream.format, Format::Video(_)));
        let fills = |stream: &mut &mut Stream| stream.handle_repair(seq) == Arrival::New;
        let Some(stream) = pictures.find_map(|mut stream| fills(&mut stream).then_some(stream))
        else {
            ledger.totals.asides.needless_repairs += 1;
            return;
        };
        let content = Some(payload::read(stream.format, original, ledger.run));
        self.timeline.note_packet(true, at.instant);
        count(stream, packet.len(), at.stamp, content, self.group, ledger);
    }
}

/// Enters a packet that is neither duplicate nor padding into the books.
fn count(
    stream: &mut Stream,
    bytes: usize,
    arrived: Stamp,
    content: Option<Result<Content, ContentError>>,
    group: Group,
    ledger: &mut Ledger,
) {
    ledger.totals.packets += 1;
    let in_window = ledger.window.contains(arrived);
    if in_window {
        ledger.totals.window.forwarded_packets += 1;
        ledger.totals.window.forwarded_bytes += bytes as u64;
        ledger.totals.window.forwarded_video += u64::from(stream.format != Format::Opus);
    }
    match content {
        Some(Ok(content)) => {
            if content.starts_keyframe {
                stream.handle_keyframe();
            }
            ledger.count_delivered(&content.mark, arrived, group);
        }
        Some(Err(error)) => ledger.count_content_error(error),
        None => {}
    }
    if let Some(gap) = stream.gap(arrived).filter(|_| in_window) {
        ledger.count_gap(gap);
    }
}

impl Ledger {
    fn count_unopened(&mut self, error: OpenError) {
        match error {
            OpenError::Replayed | OpenError::TooOld => self.totals.asides.duplicates += 1,
            OpenError::TooShort | OpenError::BadHeader | OpenError::Unauthentic => {
                self.totals.faults.unauthentic += 1;
            }
        }
    }
}
