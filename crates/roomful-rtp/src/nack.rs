//! Which packets of a received stream to ask for again, and when.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Watches the sequence numbers of one received stream and says which missing packets its sender
/// should be asked for (RFC 4585 §6.2.1).
///
/// Numbers are extended past 16 bits by the caller. After every call, drain [`NackGenerator::poll`] and
/// [`NackGenerator::poll_keyframe_request`], or do so at [`NackGenerator::poll_timeout`]. Its memory follows the largest number of packets
/// that were ever missing at once, up to [`NackGenerator::MAX_MISSING`]; a stream without loss has none.
#[derive(Debug)]
pub struct NackGenerator {
    rtt: Duration,
    highest: Option<u64>,
    /// In ascending order.
    missing: VecDeque<Missing>,
    /// Not later than the first of `missing` is due.
    next_due: Option<Instant>,
    /// Since when.
    wants_keyframe: Option<Instant>,
    counts: NackCounts,
}

/// What a stream's repair came to so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NackCounts {
    /// Packets found missing.
    pub missing: u64,
    /// Times a packet was asked for, repetitions included.
    pub asked: u64,
    /// Missing packets that arrived after they had been asked for.
    pub repaired: u64,
    /// Missing packets that arrived before they were asked for: late, not lost.
    pub reordered: u64,
    /// Missing packets given up: asked for too often, too old, or too many at once.
    pub given_up: u64,
}

/// What one packet was to the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Newer than all before it.
    Newest,
    /// It had been missing.
    Filled,
    /// A duplicate, or so late that nobody waits for it any more.
    NotMissed,
    /// The numbers jumped: the stream was taken up afresh from this packet.
    Restart,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    seq: u64,
    found: Instant,
    due: Instant,
    asks: u8,
}

impl NackGenerator {
    /// How long a missing packet may be merely late. Shorter: packets that overtook each other on the
    /// way (by a few milliseconds on radio links) are sent twice. Longer: every repair comes that much
    /// later, and a repair has to be there before the picture is.
    pub const REORDER_TIME: Duration = Duration::from_millis(10);

    /// A packet is asked for at once when one this much newer arrived. Three is what TCP (RFC 5681
    /// §3.2) and QUIC (RFC 9002 §6.1.1) take for a loss. Fewer: as for a shorter
    /// [`NackGenerator::REORDER_TIME`]. More: video, which comes in bursts, waits for nothing.
    pub const REORDER_PACKETS: u64 = 3;

    /// Assumed until [`NackGenerator::set_rtt`]. Too short costs a second copy of what was on its way,
    /// too long delays the second request.
    pub const DEFAULT_RTT: Duration = Duration::from_millis(100);

    /// A round trip longer than this is taken for a fault of measurement: nobody holds a conversation
    /// over it, and a stream that believed in it would not ask twice.
    pub const MAX_RTT: Duration = Duration::from_secs(2);

    /// Requests for one packet. With a tenth of everything lost, both ways, all ten fail once in ten
    /// million; more would only load a path that carries nothing.
    pub const MAX_ASKS: u8 = 10;

    /// Packets missing at once. Beyond, the oldest are given up and a keyframe is wanted instead: at
    /// 2.5 Mb/s this is more than a second of video, which a keyframe replaces in fewer bytes. Fewer:
    /// a loss of half a second at 10 Mb/s is answered with a keyframe, which is coarser than the
    /// repair. More: memory and requests for what comes too late anyway.
    pub const MAX_MISSING: usize = 512;

    /// A step of more than this, either way, is not loss but a new beginning (the `MAX_DROPOUT` of RFC
    /// 3550 §A.1). Less: a long outage of a fast stream ends in a restart instead of a keyframe, which
    /// costs nothing. More: after a restart, packets are asked for that never were.
    pub const MAX_JUMP: u64 = 3000;

    /// Numbers given out by one [`NackGenerator::poll`]: as many as fit into 524 bytes at worst, well
    /// within a datagram. The rest is due at once.
    pub const MAX_PER_POLL: usize = 128;

    /// The least time until a packet is asked for again: below this, a sender that paces its
    /// retransmissions has not had its chance.
    const MIN_REPEAT: Duration = Duration::from_millis(20);

    /// The most time until a packet is asked for again; a second request later than this seldom
    /// arrives in time.
    const MAX_REPEAT: Duration = Duration::from_millis(400);

    /// Browsers keep what they sent for the longer of one second and three round trips (libwebrtc's
    /// packet history); asking later is in vain.
    const MIN_KEPT: Duration = Duration::from_secs(1);
    const KEPT_ROUND_TRIPS: u32 = 3;

    /// Nothing received yet.
    pub const fn new() -> Self {
        Self {
            rtt: Self::DEFAULT_RTT,
            highest: None,
            missing: VecDeque::new(),
            next_due: None,
            wants_keyframe: None,
            counts: NackCounts { missing: 0, asked: 0, repaired: 0, reordered: 0, given_up: 0 },
        }
    }

    /// The round trip to the sender, as measured last; more than [`NackGenerator::MAX_RTT`] counts as
    /// that. Requests already made keep their times.
    pub fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = rtt.min(Self::MAX_RTT);
    }

    /// A packet of the stream itself arrived, padding included. `seq` is its extended number.
    pub fn handle_packet(&mut self, seq: u64, now: Instant) -> Place {
        let Some(highest) = self.highest else {
            self.highest = Some(seq);
            return Place::Newest;
        };
        if seq.abs_diff(highest) > Self::MAX_JUMP {
            self.restart(seq, now);
            return Place::Restart;
        }
        if seq <= highest {
            return self.fill(seq);
        }
        self.highest = Some(seq);
        self.miss(highest + 1..seq, now);
        self.hasten(seq, now);
        Place::Newest
    }

    /// A retransmission brought the packet `seq` of the stream. It never moves the stream on: senders
    /// also retransmit old packets as padding.
    pub fn handle_repair(&mut self, seq: u64) -> Place {
        self.fill(seq)
    }

    /// A keyframe begins at `seq`: nothing before it is needed to show what follows.
    pub fn handle_keyframe(&mut self, seq: u64) {
        let older = self.missing.partition_point(|missing| missing.seq < seq);
        self.give_up(older);
        self.wants_keyframe = None;
    }

    /// The numbers to ask for now, oldest first, at most [`NackGenerator::MAX_PER_POLL`]; as on the
    /// wire, of 16 bits. Each counts as asked for when it is taken out; what is not taken stays due.
    pub fn poll(&mut self, now: Instant) -> Asks<'_> {
        let is_due = self.next_due.is_some_and(|due| due <= now);
        if is_due {
            self.give_up_old(now);
        }
        let next = if is_due { 0 } else { self.missing.len() };
        Asks { generator: self, now, next, left: Self::MAX_PER_POLL, is_due }
    }

    /// When to poll again; `None` while nothing is missing and no keyframe is wanted. Now and then there
    /// is nothing to ask for by that time.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_due.into_iter().chain(self.wants_keyframe).min()
    }

    /// Whether more was lost than is worth repairing, so that a keyframe should be asked for; says so
    /// once. Sound needs none.
    pub fn poll_keyframe_request(&mut self) -> bool {
        self.wants_keyframe.take().is_some()
    }

    /// How many packets are missing and still hoped for.
    pub fn missing(&self) -> usize {
        self.missing.len()
    }

    /// What came of it so far.
    pub fn counts(&self) -> NackCounts {
        self.counts
    }

    fn restart(&mut self, seq: u64, now: Instant) {
        self.give_up(self.missing.len());
        self.highest = Some(seq);
        self.wants_keyframe.get_or_insert(now);
    }

    fn fill(&mut self, seq: u64) -> Place {
        let Ok(index) = self.missing.binary_search_by_key(&seq, |missing| missing.seq) else {
            return Place::NotMissed;
        };
        match self.missing.remove(index) {
            Some(missing) if missing.asks > 0 => self.counts.repaired += 1,
            _ => self.counts.reordered += 1,
        }
        if self.missing.is_empty() {
            self.next_due = None;
        }
        Place::Filled
    }

    fn miss(&mut self, seqs: std::ops::Range<u64>, now: Instant) {
        if seqs.is_empty() {
            return;
        }
        let count = seqs.end - seqs.start;
        self.counts.missing += count;
        let too_many = (self.missing.len() as u64 + count).saturating_sub(Self::MAX_MISSING as u64);
        if too_many > 0 {
            self.wants_keyframe.get_or_insert(now);
        }
        let old = too_many.min(self.missing.len() as u64);
        self.give_up(old as usize);
        self.counts.given_up += too_many - old;
        let due = now + Self::REORDER_TIME;
        self.missing.extend((seqs.start + (too_many - old)..seqs.end).map(|seq| Missing {
            seq,
            found: now,
            due,
            asks: 0,
        }));
        self.wake_at(due);
    }

    /// Makes due what is `REORDER_PACKETS` older than the newest. It lies at the end, behind what was
    /// asked for before and before what is still within tolerance.
    fn hasten(&mut self, newest: u64, now: Instant) {
        let mut wakes = false;
        for missing in self.missing.iter_mut().rev() {
            if newest.saturating_sub(missing.seq) < Self::REORDER_PACKETS {
                continue;
            }
            if missing.asks > 0 || missing.due <= now {
                break;
            }
            missing.due = now;
            wakes = true;
        }
        if wakes {
            self.wake_at(now);
        }
    }

    fn wake_at(&mut self, due: Instant) {
        self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
    }

    fn give_up(&mut self, oldest: usize) {
        self.missing.drain(..oldest.min(self.missing.len()));
        self.counts.given_up += oldest as u64;
        if self.missing.is_empty() {
            self.next_due = None;
        }
    }

    fn give_up_old(&mut self, now: Instant) {
        let kept = Self::MIN_KEPT.max(self.rtt.saturating_mul(Self::KEPT_ROUND_TRIPS));
        let before = self.missing.len();
        self.missing.retain(|missing| {
            let is_asked_out = missing.asks >= Self::MAX_ASKS && missing.due <= now;
            !is_asked_out && now.saturating_duration_since(missing.found) < kept
        });
        self.counts.given_up += (before - self.missing.len()) as u64;
    }

    /// One round trip and the tolerance, a quarter longer each time.
    fn repeat_after(&self, asks: u8) -> Duration {
        let mut wait = (self.rtt + Self::REORDER_TIME).max(Self::MIN_REPEAT);
        for _ in 1..asks {
            wait += wait / 4;
        }
        wait.min(Self::MAX_REPEAT.max(self.rtt))
    }
}

impl Default for NackGenerator {
    fn default() -> Self {
        Self::new()
    }
}

/// The numbers to ask for now. See [`NackGenerator::poll`].
#[derive(Debug)]
pub struct Asks<'a> {
    generator: &'a mut NackGenerator,
    now: Instant,
    next: usize,
    left: usize,
    is_due: bool,
}

impl Iterator for Asks<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        self.left = self.left.checked_sub(1)?;
        loop {
            let missing = *self.generator.missing.get(self.next)?;
            self.next += 1;
            if missing.due > self.now {
                continue;
            }
            let asks = missing.asks + 1;
            let due = self.now + self.generator.repeat_after(asks);
            if let Some(asked) = self.generator.missing.get_mut(self.next - 1) {
                *asked = Missing { asks, due, ..missing };
            }
            self.generator.counts.asked += 1;
            return Some(missing.seq as u16);
        }
    }
}

impl Drop for Asks<'_> {
    fn drop(&mut self) {
        if self.is_due {
            let missing = &self.generator.missing;
            self.generator.next_due = missing.iter().map(|missing| missing.due).min();
        }
    }
}
