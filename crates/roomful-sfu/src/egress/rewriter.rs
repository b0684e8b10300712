//! Gives packets of changing sources the numbers of one stream that never breaks.
//!
//! Losses of the source stay visible as gaps, so that the subscriber asks for exactly what is
//! missing; packets that were left out on purpose, and changes of the source, leave none. A source
//! is entered by [`Rewriter::start`] with a packet that decoding can begin with. A frame cut off by
//! that never gets its marker: receivers assemble frames from the sequence numbers between a first
//! and a last packet of one timestamp, so it stays incomplete, and nothing refers to it any more
//! (docs/decisions/0040).

mod sent;

use std::collections::VecDeque;
use std::time::Instant;

use super::codec::{Codec, vp8};
use super::{IncomingPacket, OutgoingHeader, Rewrite, ticks};
use sent::SentWindow;

/// Largest jump of a source's sequence numbers that stays a gap of the outgoing stream, in packets:
/// what libwebrtc is willing to ask for again (`kMaxNackPackets`). Larger: the subscriber cannot fill
/// it anyway, and from 2^15 on its SRTP rollover counter goes astray for good (RFC 3711 §3.3.1).
/// Smaller: an outage of a second that retransmission could still repair costs a keyframe.
const MAX_GAP: u64 = 1_000;
const _: () = assert!(MAX_GAP < SentWindow::LEN, "every kept gap can still be filled");

/// How far a source's timestamps may run ahead of the clock on the wall, in seconds. Larger: a
/// publisher's broken clock freezes the picture at the subscriber for that long (libwebrtc resets its
/// timing at 10 s). Smaller: an outage followed by a burst is taken for a broken clock.
const MAX_LEAD: u64 = 5;

/// The least distance of two frames with a seam between them, in parts of a second: one millisecond,
/// the finest step of WebM and of many players. Smaller: both get the same time downstream. Larger:
/// each switch between layers of the same capture pushes the picture ahead of the sound by that much.
const SEAM_STEPS_PER_SECOND: u64 = 1_000;

/// Spans of one source that are remembered for late packets. Larger costs memory only; smaller loses
/// late packets where a source interleaves media and padding.
const MAX_PAST_SPANS: usize = 32;

/// What becomes of a packet of the current source.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rewritten {
    Send(OutgoingHeader),
    /// A duplicate, or older than anything that still has a place.
    Drop,
    /// Its numbers do not continue the source: enter it anew.
    OutOfReach,
}

#[derive(Debug)]
pub(super) struct Rewriter {
    sent: SentWindow,
    source: Option<Source>,
    newest_frame: Option<Frame>,
    vp8: vp8::Continuity,
    frame_numbers: FrameNumbers,
}

/// Keeps the frame numbers of dependency descriptors running on, whatever the stream behind them.
#[derive(Debug, Default)]
struct FrameNumbers {
    shift: u16,
    /// The newest that was sent.
    last: Option<u16>,
}

/// The stream that is being forwarded, from the packet it was entered with.
#[derive(Debug)]
struct Source {
    newest_seq: u64,
    /// Timestamp of the source's newest packet.
    timestamp: u64,
    span: Span,
    past: VecDeque<Span>,
}

/// A run of the source's packets with the same distance to the outgoing stream. All sums wrap.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: u64,
    end: u64,
    seq_shift: u64,
    timestamp_shift: u64,
}

/// The newest frame sent: outgoing timestamp, and when its first packet came.
#[derive(Clone, Copy, Debug)]
struct Frame {
    timestamp: u64,
    arrival: Instant,
}

impl Rewriter {
    pub(super) fn new(first_seq: u64) -> Self {
        Self {
            sent: SentWindow::new(first_seq),
            source: None,
            newest_frame: None,
            vp8: vp8::Continuity::default(),
            frame_numbers: FrameNumbers::default(),
        }
    }

    /// Enters a source with this packet: it follows whatever was sent last.
    pub(super) fn start(&mut self, packet: &IncomingPacket<'_>) -> OutgoingHeader {
        let timestamp = match self.newest_frame {
            Some(last) => after_seam(last, packet),
            None => packet.timestamp,
        };
        let seq = self.sent.give_up_open();
        let span = Span {
            first: packet.seq,
            end: u64::MAX,
            seq_shift: seq.wrapping_sub(packet.seq),
            timestamp_shift: timestamp.wrapping_sub(packet.timestamp),
        };
        self.source = Some(Source {
            newest_seq: packet.seq,
            timestamp: packet.timestamp,
            span,
            past: VecDeque::new(),
        });
        self.newest_frame = Some(Frame { timestamp, arrival: packet.arrival });
        if packet.codec == Codec::Vp8 {
            self.vp8.start(packet.payload);
        }
        if let Some(number) = packet.frame_number() {
            self.frame_numbers.start(number);
        }
        self.header(packet, seq, timestamp)
    }

    /// Numbers a packet of the source that was entered last.
    pub(super) fn forward(&mut self, packet: &IncomingPacket<'_>) -> Rewritten {
        let Some(source) = &mut self.source else { return Rewritten::OutOfReach };
        let ahead = packet.seq.wrapping_sub(source.newest_seq).cast_signed();
        if ahead <= 0 {
            return self.forward_late(packet);
        }
        if ahead.unsigned_abs() > MAX_GAP {
            return Rewritten::OutOfReach;
        }
        let timestamp = source.advance(packet, self.newest_frame);
        let seq = packet.seq.wrapping_add(source.span.seq_shift);
        if self.newest_frame.is_none_or(|newest| newest.timestamp != timestamp) {
            self.newest_frame = Some(Frame { timestamp, arrival: packet.arrival });
        }
        Rewritten::Send(self.header(packet, seq, timestamp))
    }

    /// Leaves a packet of the current source out, without a gap. `false` if its place was kept
    /// already, because later packets have been sent: then it has to be forwarded, or its place
    /// stays empty.
    pub(super) fn skip(&mut self, packet: &IncomingPacket<'_>) -> bool {
        let Some(source) = &mut self.source else { return true };
        let ahead = packet.seq.wrapping_sub(source.newest_seq).cast_signed();
        if ahead <= 0 || ahead.unsigned_abs() > MAX_GAP {
            return false;
        }
        source.newest_seq = packet.seq;
        source.close_span(packet.seq);
        source.span.first = packet.seq.wrapping_add(1);
        source.span.seq_shift = source.span.seq_shift.wrapping_sub(1);
        // The packets missing before this one keep their places: the next number lies behind them.
        self.sent.open(source.span.first.wrapping_add(source.span.seq_shift));
        true
    }

    fn forward_late(&mut self, packet: &IncomingPacket<'_>) -> Rewritten {
        let Some(span) = self.source.as_ref().and_then(|source| source.span_of(packet.seq)) else {
            return Rewritten::Drop;
        };
        let seq = packet.seq.wrapping_add(span.seq_shift);
        let timestamp = packet.timestamp.wrapping_add(span.timestamp_shift);
        let Some(newest) = self.newest_frame else { return Rewritten::Drop };
        let step = timestamp.wrapping_sub(newest.timestamp).cast_signed();
        // Behind skipped packets, a late one can still be the newest of the outgoing stream.
        let leads = seq >= self.sent.after_newest_sent();
        let plausible = if leads { step >= 0 } else { step <= 0 };
        if !plausible || !self.sent.has_place_for(seq) {
            return Rewritten::Drop;
        }
        if step > 0 {
            self.newest_frame = Some(Frame { timestamp, arrival: packet.arrival });
        }
        Rewritten::Send(self.header(packet, seq, timestamp))
    }

    fn header(&mut self, packet: &IncomingPacket<'_>, seq: u64, timestamp: u64) -> OutgoingHeader {
        let newest = seq >= self.sent.after_newest_sent();
        self.sent.insert(seq);
        let rewrite = match packet.codec {
            Codec::Vp8 => self.vp8.rewrite(packet.payload, newest).map(Rewrite::Vp8),
            Codec::Av1 => packet
                .frame_number()
                .and_then(|number| self.frame_numbers.rewrite(number, newest))
                .map(Rewrite::FrameNumber),
            _ => None,
        };
        // The wire carries the low 32 bits.
        OutgoingHeader {
            seq,
            timestamp: timestamp as u32,
            marker: packet.marker,
            rewrite,
            is_filler: false,
        }
    }
}

impl FrameNumbers {
    /// The outgoing stream goes on with another source, whose first frame has this number: it becomes the one after the
    /// last that was sent. The very first source keeps its own.
    fn start(&mut self, number: u16) {
        let next = self.last.map(|last| last.wrapping_add(1));
        self.shift = next.map_or(0, |next| next.wrapping_sub(number));
    }

    /// What to add to a number of the current source; `None` for nothing.
    fn rewrite(&mut self, number: u16, newest: bool) -> Option<u16> {
        if newest {
            self.last = Some(number.wrapping_add(self.shift));
        }
        (self.shift != 0).then_some(self.shift)
    }
}

impl Source {
    /// Takes a newer packet in; returns its outgoing timestamp. Spacing is the source's own, unless
    /// it runs backwards or far ahead of the wall clock: then a new span begins at arrival time.
    fn advance(&mut self, packet: &IncomingPacket<'_>, newest: Option<Frame>) -> u64 {
        let claimed = packet.timestamp.wrapping_sub(self.timestamp).cast_signed();
        self.newest_seq = packet.seq;
        self.timestamp = packet.timestamp;
        let Some(newest) = newest else {
            return packet.timestamp.wrapping_add(self.span.timestamp_shift);
        };
        let clock_rate = packet.codec.clock_rate();
        let elapsed = ticks(packet.arrival.saturating_duration_since(newest.arrival), clock_rate);
        let most = elapsed.saturating_add(MAX_LEAD * u64::from(clock_rate));
        if claimed < 0 || claimed.unsigned_abs() > most {
            self.close_span(packet.seq);
            self.span.first = packet.seq;
            self.span.timestamp_shift = after_seam(newest, packet).wrapping_sub(packet.timestamp);
        }
        packet.timestamp.wrapping_add(self.span.timestamp_shift)
    }

    /// Ends the current span before `end`, so that another can begin there.
    fn close_span(&mut self, end: u64) {
        if self.span.first == end {
            return;
        }
        if self.past.len() == MAX_PAST_SPANS {
            self.past.pop_front();
        }
        self.past.push_back(Span { end, ..self.span });
    }

    fn span_of(&self, seq: u64) -> Option<&Span> {
        std::iter::once(&self.span)
            .chain(self.past.iter().rev())
            .find(|span| (span.first..span.end).contains(&seq))
    }
}

/// The timestamp of the first packet behind a seam: as much later than the last frame as it came
/// later, and always later.
fn after_seam(last: Frame, packet: &IncomingPacket<'_>) -> u64 {
    let clock_rate = packet.codec.clock_rate();
    let elapsed = ticks(packet.arrival.saturating_duration_since(last.arrival), clock_rate);
    let least = u64::from(clock_rate) / SEAM_STEPS_PER_SECOND;
    last.timestamp.wrapping_add(elapsed.max(least))
}
