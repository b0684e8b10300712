//! What a sender learns from feedback, summed up for an estimate of the path.

use std::time::{Duration, Instant};

use super::{Fate, SentPacket};
use crate::rtcp::FeedbackTime;
use crate::units::Bitrate;

/// How fast packets arrive, how many do not, and how long they queue: what an estimate goes by.
///
/// Feed it every [`SentPacket`] that feedback yields. Everything is measured over about half a second
/// of the receiver's clock, except the base of the delay. No heap.
#[derive(Debug, Default)]
pub struct PathMeter {
    buckets: [Bucket; PathMeter::BUCKETS],
    /// The newest arrival, which falls into the last bucket.
    newest: Option<Arrival>,
    /// Where the last bucket ends.
    end: FeedbackTime,
    /// Buckets before the last that are past the first arrival.
    filled: usize,
    delay: QueueingDelay,
}

/// What arrived within [`PathMeter::BUCKET_TICKS`], and what was found lost at that time.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    bytes: u64,
    arrived: u32,
    lost: u32,
}

#[derive(Clone, Copy, Debug)]
struct Arrival {
    sent: Instant,
    at: FeedbackTime,
}

impl PathMeter {
    /// Buckets of the window. More would be smoother and larger.
    const BUCKETS: usize = 10;
    /// 50 ms each: with [`PathMeter::BUCKETS`] of them half a second, which holds several frames of video
    /// and a few feedbacks. Shorter: one keyframe looks like a rate. Longer: a path that lost half its
    /// capacity seems well for that long.
    const BUCKET_TICKS: u32 = FeedbackTime::PER_SECOND / 20;

    /// Takes in what feedback says of one packet. A receiver whose clock is set anew begins anew.
    pub fn handle(&mut self, packet: &SentPacket) {
        match packet.fate {
            Fate::Lost => {
                if let Some(last) = self.buckets.last_mut() {
                    last.lost += 1;
                }
            }
            Fate::Arrived(at) => self.handle_arrival(packet, at),
            Fate::ArrivedLate(at) => {
                // The loss it was taken for has most likely not left the window yet.
                if let Some(bucket) = self.buckets.iter_mut().rev().find(|bucket| bucket.lost > 0) {
                    bucket.lost -= 1;
                }
                self.handle_arrival(packet, at);
            }
        }
    }

    /// The rate at which packets arrived within the window, without its last bucket, which is not over;
    /// `None` for the first 50 ms. Time passes here by arrivals alone: while nothing arrives, it stands.
    pub fn acknowledged(&self) -> Option<Bitrate> {
        let over = self.buckets.iter().rev().skip(1).take(self.filled);
        let bytes = over.map(|bucket| bucket.bytes).sum();
        let ticks = u64::from(Self::BUCKET_TICKS) * self.filled as u64;
        Bitrate::of(bytes, Duration::from_micros(FeedbackTime::MICROS * ticks))
    }

    /// The share of packets that did not arrive within the window, from 0 to 1; `None` without any.
    pub fn loss_fraction(&self) -> Option<f32> {
        let lost: u32 = self.buckets.iter().map(|bucket| bucket.lost).sum();
        let arrived: u32 = self.buckets.iter().map(|bucket| bucket.arrived).sum();
        let all = lost + arrived;
        if all == 0 { None } else { Some(lost as f32 / all as f32) }
    }

    /// How much longer the newest packet was on its way than the fastest of the last ten to twenty
    /// seconds; `None` before any arrived. Its rise is the trend of the delay.
    pub fn queueing_delay(&self) -> Option<Duration> {
        self.newest.map(|_| self.delay.above_base())
    }

    fn handle_arrival(&mut self, packet: &SentPacket, at: FeedbackTime) {
        let arrival = Arrival { sent: packet.sent, at };
        let step = self.newest.map(|newest| Step::between(newest, arrival));
        match step.filter(Step::is_plausible) {
            Some(step) => {
                self.delay.handle(step);
                if step.arrived >= 0 {
                    self.newest = Some(arrival);
                }
            }
            None => {
                let end = FeedbackTime(at.0.wrapping_add(Self::BUCKET_TICKS));
                *self = Self { newest: Some(arrival), end, ..Self::default() };
            }
        }
        self.roll_to(at);
        // Before the last bucket only where packets overtook each other.
        let back = self.end.since(at).saturating_sub(1).max(0) as u32 / Self::BUCKET_TICKS;
        let index = Self::BUCKETS.checked_sub(1 + back as usize);
        if let Some(bucket) = index.and_then(|index| self.buckets.get_mut(index)) {
            bucket.bytes += packet.size as u64;
            bucket.arrived += 1;
        }
    }

    /// Moves the window on so that its last bucket holds `at`.
    fn roll_to(&mut self, at: FeedbackTime) {
        let ahead = at.since(self.end);
        if ahead < 0 {
            return;
        }
        let steps = ahead as u32 / Self::BUCKET_TICKS + 1;
        self.end = FeedbackTime(self.end.0.wrapping_add(steps.wrapping_mul(Self::BUCKET_TICKS)));
        self.filled = (self.filled + steps as usize).min(Self::BUCKETS - 1);
        let kept = Self::BUCKETS.saturating_sub(steps as usize);
        self.buckets.rotate_left(Self::BUCKETS - kept);
        for bucket in self.buckets.iter_mut().skip(kept) {
            *bucket = Bucket::default();
        }
    }
}

/// From the newest packet to another one, in microseconds.
#[derive(Clone, Copy)]
struct Step {
    arrived: i64,
    sent: i64,
}

impl Step {
    fn between(from: Arrival, to: Arrival) -> Self {
        let arrived = i64::from(to.at.since(from.at)) * FeedbackTime::MICROS as i64;
        let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX / 4);
        let sent = match to.sent.checked_duration_since(from.sent) {
            Some(later) => micros(later),
            None => -micros(from.sent.saturating_duration_since(to.sent)),
        };
        Self { arrived, sent }
    }

    /// Whether both arrivals are by the same clock: a path delays by seconds, a clock set anew is off
    /// by anything, and would never be caught up with.
    fn is_plausible(&self) -> bool {
        const MOST: u64 = 60_000_000;
        self.arrived.abs_diff(self.sent) < MOST
    }
}

/// One-way delay against the smallest seen lately, in microseconds from an arbitrary origin.
///
/// Both clocks only ever count differences, so it does not matter how far apart they are; what they
/// drift apart (a millisecond in ten seconds) does not accumulate, as the base is renewed.
#[derive(Debug, Default)]
struct QueueingDelay {
    current: i64,
    /// The smallest of this period and of the one before.
    base: i64,
    base_before: i64,
    /// How long this period has lasted, by departures.
    elapsed: i64,
}

impl QueueingDelay {
    /// A base older than two of these (ten seconds each) is forgotten. Shorter: a queue that stands for
    /// so long counts as the path itself. Longer: after a change to a longer path, delay is seen for
    /// that long where there is none.
    const PERIOD: i64 = 10_000_000;

    fn handle(&mut self, step: Step) {
        let delay = self.current + step.arrived - step.sent;
        // Only the newest packet moves the present on: the base takes in every one.
        if step.arrived >= 0 {
            self.current = delay;
            self.elapsed += step.sent;
        }
        if self.elapsed >= Self::PERIOD {
            self.elapsed = 0;
            self.base_before = self.base;
            self.base = delay;
        }
        self.base = self.base.min(delay);
    }

    fn above_base(&self) -> Duration {
        let base = self.base.min(self.base_before);
        Duration::from_micros(u64::try_from(self.current - base).unwrap_or(0))
    }
}
