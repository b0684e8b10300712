//! How busy a worker is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time constant of the average. Longer sends newcomers to a worker that filled up seconds ago, shorter takes one
/// burst of keyframes for load.
pub(super) const SMOOTHED_OVER: Duration = Duration::from_secs(1);

/// Busy and idle time are gathered for so long before they move the average. Longer lets the published figure lag,
/// shorter spends an exponential on every turn of the loop.
const GATHERED_FOR: Duration = Duration::from_millis(20);

/// The share of a worker's time in which it works, as it last said: written by the worker, read by anyone.
#[derive(Debug)]
pub(crate) struct Load {
    epoch: Instant,
    /// Milliseconds since the epoch in the upper half, the bits of the share in the lower.
    said: AtomicU64,
}

/// What remains of something after `elapsed` if it fades with this time constant.
pub(super) fn fading(elapsed: Duration, constant: Duration) -> f32 {
    (-elapsed.as_secs_f32() / constant.as_secs_f32()).exp()
}

impl Load {
    pub(super) fn new(epoch: Instant) -> Self {
        Self { epoch, said: AtomicU64::new(0) }
    }

    /// The share at `now`, from 0 to 1. A worker that says nothing sleeps, so what it said last fades.
    pub(crate) fn at(&self, now: Instant) -> f32 {
        let said = self.said.load(Ordering::Relaxed);
        let share = f32::from_bits(said as u32);
        let age = self.millis(now).saturating_sub(said >> 32);
        share * fading(Duration::from_millis(age), SMOOTHED_OVER)
    }

    fn say(&self, share: f32, now: Instant) {
        let said = (self.millis(now) << 32) | u64::from(share.to_bits());
        self.said.store(said, Ordering::Relaxed);
    }

    /// 32 bits of milliseconds are 49 days: they are kept from wrapping by the mask, and after that long a worker
    /// counts as idle once, for one reading.
    fn millis(&self, now: Instant) -> u64 {
        let millis = now.saturating_duration_since(self.epoch).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX) & u64::from(u32::MAX)
    }
}

/// Measures the load of the thread that owns it.
#[derive(Debug)]
pub(crate) struct BusyMeter {
    share: f32,
    busy: Duration,
    idle: Duration,
    woke: Instant,
}

impl BusyMeter {
    /// The thread begins to work.
    pub(crate) fn new(now: Instant) -> Self {
        Self { share: 0.0, busy: Duration::ZERO, idle: Duration::ZERO, woke: now }
    }

    /// The thread worked until `slept` and slept until `woke`; what that comes to is told to `load`.
    pub(crate) fn handle_sleep(&mut self, slept: Instant, woke: Instant, load: &Load) {
        self.busy += slept.saturating_duration_since(self.woke);
        self.idle += woke.saturating_duration_since(slept);
        self.woke = woke;
        let gathered = self.busy + self.idle;
        if gathered < GATHERED_FOR {
            return;
        }
        let share = self.busy.as_secs_f32() / gathered.as_secs_f32();
        self.share = share + (self.share - share) * fading(gathered, SMOOTHED_OVER);
        (self.busy, self.idle) = (Duration::ZERO, Duration::ZERO);
        load.say(self.share, woke);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Duration = Duration::from_millis(5);

    /// Runs a meter over turns that are busy for so many milliseconds each.
    fn after_turns(busy: u64, turns: u32) -> (Load, Instant) {
        let mut now = Instant::now();
        let load = Load::new(now);
        let mut meter = BusyMeter::new(now);
        for _ in 0..turns {
            let slept = now + Duration::from_millis(busy);
            now += TURN;
            meter.handle_sleep(slept, now, &load);
        }
        (load, now)
    }

    #[test]
    fn load_is_the_share_of_time_at_work() {
        for (busy, share) in [(0, 0.0), (1, 0.2), (3, 0.6), (5, 1.0)] {
            let (load, now) = after_turns(busy, 2_000);
            assert!((load.at(now) - share).abs() < 0.01, "{busy} ms: {}", load.at(now));
        }
    }

    #[test]
    fn a_short_burst_is_no_load() {
        let (load, now) = after_turns(5, 10);
        assert!(load.at(now) < 0.1, "50 ms at full speed: {}", load.at(now));
    }

    #[test]
    fn a_worker_that_fell_asleep_is_not_taken_for_busy() {
        let (load, now) = after_turns(5, 2_000);
        assert!(load.at(now + Duration::from_secs(60)) < 0.01);
    }
}
