//! The receiver's half: when packets arrived, and the feedback that says so.

use std::time::{Duration, Instant};

use super::{FIRST, nearest};
use crate::Ssrc;
use crate::rtcp::{FeedbackStart, FeedbackTime, RtcpWriter};

/// When the packets of one transport arrived, until that was reported.
///
/// Numbers may come late, twice or not at all. A packet that arrives after it was reported as lost is
/// reported again, with all that follow it. Takes 8 KiB from the first packet on, and nothing before.
#[derive(Debug, Default)]
pub struct ArrivalLog {
    /// Ticks of the last [`ArrivalLog::WINDOW`] numbers before `next`; 0 where nothing arrived.
    arrivals: Box<[u64]>,
    /// When tick [`ArrivalLog::FIRST_TICK`] was.
    epoch: Option<Instant>,
    /// The first number not yet reported.
    begin: u64,
    /// One more than the highest number that arrived.
    next: u64,
    cadence: Cadence,
    number: u8,
}

/// When feedback is due.
#[derive(Debug, Default)]
struct Cadence {
    /// The first arrival since the last feedback.
    waiting_since: Option<Instant>,
    waiting: usize,
    last: Option<Instant>,
    interval: Duration,
    /// Bytes that arrived since the last feedback.
    bytes: u64,
}

impl ArrivalLog {
    /// How many numbers back from the highest are remembered, a power of two. Fewer: a fast uplink
    /// outruns its feedback (at 50 ms, this is 160 Mb/s), and a packet this late is not reported. More:
    /// memory.
    pub const WINDOW: usize = 1024;

    /// The usual time between feedbacks. Shorter: more packets spent on it. Longer: the sender learns
    /// of a full queue later by that much.
    pub const INTERVAL: Duration = Duration::from_millis(100);

    /// The least time between feedbacks, for a backlog and after silence; what senders are prepared
    /// for (libwebrtc sends none faster).
    pub const MIN_INTERVAL: Duration = Duration::from_millis(50);

    /// The most time between feedbacks, where five percent of a low rate would allow less; beyond, a
    /// sender's estimate would see a slow link too late.
    pub const MAX_INTERVAL: Duration = Duration::from_millis(250);

    /// Arrivals that make feedback due after [`ArrivalLog::MIN_INTERVAL`]: a quarter of the window, and
    /// about 300 bytes of feedback.
    const BACKLOG: usize = Self::WINDOW / 4;

    /// Tick of the first arrival: above 0, which means "not arrived".
    const FIRST_TICK: u64 = 1 << 14;

    /// A packet of `size` bytes with the transport-wide number `seq` arrived.
    pub fn record(&mut self, seq: u16, size: usize, arrival: Instant) {
        let epoch = *self.epoch.get_or_insert(arrival);
        if self.arrivals.is_empty() {
            self.arrivals = vec![0; Self::WINDOW].into_boxed_slice();
            self.begin = FIRST + u64::from(seq);
            // As if the number before it had been reported.
            self.next = self.begin;
        }
        let Some(seq) = nearest(self.next - 1, seq) else { return };
        if seq + (Self::WINDOW as u64) < self.next {
            return;
        }
        self.advance_past(seq);
        let elapsed = arrival.saturating_duration_since(epoch).as_micros() as u64;
        let tick = Self::FIRST_TICK + elapsed / FeedbackTime::MICROS;
        let Some(slot) = self.arrivals.get_mut(slot_of(seq)) else { return };
        if *slot != 0 {
            return;
        }
        *slot = tick;
        self.begin = self.begin.min(seq);
        self.cadence.handle_arrival(size, arrival);
    }

    /// When feedback is due; `None` while there is nothing to report.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.cadence.due()
    }

    /// Writes feedback on everything that arrived since the last one: one packet, or several where
    /// arrivals lie more than eight seconds apart. Returns how many. What does not fit stays due;
    /// a packet takes 24 bytes and up to two and a half for each arrival.
    ///
    /// `media` is any stream of the transport (senders look at the transport's numbers only).
    pub fn write_feedback(
        &mut self,
        sender: Ssrc,
        media: Ssrc,
        writer: &mut RtcpWriter<'_>,
        now: Instant,
    ) -> usize {
        let before = writer.len();
        let mut packets = 0;
        while self.begin < self.next {
            let Some(first) = self.first_arrived() else { break };
            let reference = first / u64::from(FeedbackTime::PER_REFERENCE);
            let start = FeedbackStart {
                first_seq: self.begin as u16,
                reference: reference as u32,
                number: self.number,
            };
            let previous = reference * u64::from(FeedbackTime::PER_REFERENCE);
            let Self { arrivals, begin, next, .. } = &*self;
            let deltas = Deltas { arrivals, seq: *begin, end: *next, previous };
            let Some(reported) = writer.transport_feedback(sender, media, start, deltas) else {
                break;
            };
            self.begin += u64::from(reported);
            self.number = self.number.wrapping_add(1);
            packets += 1;
        }
        if self.begin >= self.next {
            self.cadence.handle_feedback(writer.len() - before, now);
        }
        packets
    }

    /// Makes room for the number `seq` if it is the highest so far.
    fn advance_past(&mut self, seq: u64) {
        if seq < self.next {
            return;
        }
        let oldest = (seq + 1).saturating_sub(Self::WINDOW as u64);
        for skipped in self.next.max(oldest)..=seq {
            if let Some(slot) = self.arrivals.get_mut(slot_of(skipped)) {
                *slot = 0;
            }
        }
        self.next = seq + 1;
        self.begin = self.begin.max(oldest);
    }

    /// The tick of the first arrival not yet reported.
    fn first_arrived(&self) -> Option<u64> {
        (self.begin..self.next)
            .filter_map(|seq| self.arrivals.get(slot_of(seq)).copied())
            .find(|tick| *tick != 0)
    }
}

fn slot_of(seq: u64) -> usize {
    seq as usize & (ArrivalLog::WINDOW - 1)
}

impl Cadence {
    /// What feedback may take of the rate it is about: one part in twenty (RFC 3550 §6.2).
    const SHARE: u64 = 20;
    /// Bytes around a feedback packet: IPv4, UDP, the SRTCP index and tag.
    const OVERHEAD: u64 = 20 + 8 + 4 + 16;

    fn handle_arrival(&mut self, size: usize, now: Instant) {
        self.waiting_since.get_or_insert(now);
        self.waiting += 1;
        self.bytes += size as u64;
    }

    /// Everything that arrived was reported, in `len` bytes.
    fn handle_feedback(&mut self, len: usize, now: Instant) {
        let since = self.last.map(|last| now.saturating_duration_since(last));
        let cost = (len as u64 + Self::OVERHEAD) * Self::SHARE;
        // The time in which that many bytes arrive, at the rate since the last feedback.
        let fair = since.and_then(|since| {
            let nanos = (since.as_nanos() * u128::from(cost)).checked_div(self.bytes.into())?;
            u64::try_from(nanos).ok().map(Duration::from_nanos)
        });
        let fair = fair.unwrap_or(ArrivalLog::INTERVAL);
        let interval = fair.clamp(ArrivalLog::INTERVAL, ArrivalLog::MAX_INTERVAL);
        *self = Self { last: Some(now), interval, ..Self::default() };
    }

    fn due(&self) -> Option<Instant> {
        let since = self.waiting_since?;
        // After silence, a few more packets join the first.
        let batched = since + ArrivalLog::MIN_INTERVAL;
        let interval = if self.waiting >= ArrivalLog::BACKLOG {
            ArrivalLog::MIN_INTERVAL
        } else {
            self.interval
        };
        Some(self.last.map_or(batched, |last| batched.max(last + interval)))
    }
}

/// The arrivals from one number on as feedback counts them, until one is too far from the one before.
#[derive(Clone, Debug)]
struct Deltas<'a> {
    arrivals: &'a [u64],
    seq: u64,
    end: u64,
    previous: u64,
}

impl Iterator for Deltas<'_> {
    type Item = Option<i16>;

    fn next(&mut self) -> Option<Option<i16>> {
        if self.seq >= self.end {
            return None;
        }
        let tick = *self.arrivals.get(slot_of(self.seq))?;
        if tick == 0 {
            self.seq += 1;
            return Some(None);
        }
        let delta = i16::try_from(tick as i64 - self.previous as i64).ok()?;
        self.previous = tick;
        self.seq += 1;
        Some(Some(delta))
    }
}
