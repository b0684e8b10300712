//! When which source sends its next frame.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// A source that is further behind than this skips what it missed instead of sending it in one burst.
const MOST_BEHIND: Duration = Duration::from_millis(100);

/// Sources by the time of their next frame.
#[derive(Default)]
pub(super) struct Schedule {
    due: BinaryHeap<Reverse<Due>>,
}

/// A source, found by the slot of its participant and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) at: Instant,
    pub(super) slot: usize,
    pub(super) source: usize,
}

impl Schedule {
    /// Its first frame comes at a random moment of the interval: cameras are not synchronised.
    pub(super) fn begin(&mut self, slot: usize, source: usize, interval: Duration, now: Instant) {
        let at = now + interval.mul_f64(fastrand::f64());
        self.due.push(Reverse(Due { at, slot, source }));
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse(due)| due.at)
    }

    /// A source whose time has come. It is forgotten until [`Schedule::repeat`].
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Due> {
        let Reverse(first) = self.due.peek().filter(|Reverse(due)| due.at <= now).copied()?;
        self.due.pop();
        Some(first)
    }

    /// The same again an interval after its time, so that the rate is exact however late this comes.
    pub(super) fn repeat(&mut self, due: Due, interval: Duration, now: Instant) {
        let at = due.at + interval;
        let at = if at + MOST_BEHIND < now { now } else { at };
        self.due.push(Reverse(Due { at, ..due }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_call_does_not_lower_the_rate() {
        let start = Instant::now();
        let interval = Duration::from_millis(20);
        let mut schedule = Schedule::default();
        schedule.begin(0, 0, Duration::ZERO, start);
        let mut frames = 0;
        for late in 0..100u32 {
            let now = start + Duration::from_millis(7) * late;
            while let Some(due) = schedule.pop_due(now) {
                frames += 1;
                schedule.repeat(due, interval, now);
            }
        }
        // 693 ms at 50 frames a second.
        assert_eq!(frames, 35);
    }

    #[test]
    fn a_long_pause_is_not_made_up_for_in_one_burst() {
        let start = Instant::now();
        let interval = Duration::from_millis(20);
        let mut schedule = Schedule::default();
        schedule.begin(0, 0, Duration::ZERO, start);
        let now = start + Duration::from_secs(10);
        let mut frames = 0;
        while let Some(due) = schedule.pop_due(now) {
            frames += 1;
            schedule.repeat(due, interval, now);
        }
        assert!(frames <= 7, "{frames} at once");
    }
}
