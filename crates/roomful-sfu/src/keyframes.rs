//! One voice for many subscribers: how often a publisher is asked for a keyframe.

use std::time::{Duration, Instant};

/// Keyframe requests of all subscribers of one layer of one publication, thinned out.
///
/// The first wish is passed on at once; wishes within [`KeyframeThrottle::WINDOW`] after it become
/// one, due at the window's end, unless a keyframe answers it before.
#[derive(Debug, Default)]
pub struct KeyframeThrottle {
    asked: Option<Instant>,
    due: Option<Instant>,
}

impl KeyframeThrottle {
    /// The least time between two requests to a publisher. A keyframe costs as much as ten to twenty
    /// other frames. Shorter: in a busy room with loss the publisher sends little else, and its
    /// picture turns coarse for everyone. Longer: whoever joins just after somebody else, or lost the
    /// last keyframe, looks at nothing for that long.
    pub const WINDOW: Duration = Duration::from_millis(500);

    /// A subscriber needs a keyframe. Follow with [`KeyframeThrottle::poll`].
    pub fn request(&mut self, now: Instant) {
        let earliest = self.asked.map_or(now, |asked| now.max(asked + Self::WINDOW));
        self.due.get_or_insert(earliest);
    }

    /// A keyframe begins to arrive: every subscriber that wished for one gets it.
    pub fn handle_keyframe(&mut self) {
        self.due = None;
    }

    /// Whether the publisher is to be asked now; if so, it counts as asked.
    pub fn poll(&mut self, now: Instant) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due {
            *self = Self { asked: Some(now), due: None };
        }
        is_due
    }

    /// When [`KeyframeThrottle::poll`] will say yes; `None` while nobody wishes for anything.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start_of_time;

    const WINDOW: Duration = KeyframeThrottle::WINDOW;
    const MOMENT: Duration = Duration::from_millis(1);

    #[test]
    fn the_first_wish_is_passed_on_at_once() {
        let now = start_of_time();
        let mut throttle = KeyframeThrottle::default();
        assert!(!throttle.poll(now), "nobody wished");
        throttle.request(now);
        assert_eq!(throttle.poll_timeout(), Some(now));
        assert!(throttle.poll(now));
        assert!(!throttle.poll(now), "one wish, one request");
        assert_eq!(throttle.poll_timeout(), None);
    }

    #[test]
    fn wishes_within_the_window_become_one_at_its_end() {
        let start = start_of_time();
        let mut throttle = KeyframeThrottle::default();
        throttle.request(start);
        assert!(throttle.poll(start));
        for wait in [1, 100, 499] {
            let now = start + Duration::from_millis(wait);
            throttle.request(now);
            assert!(!throttle.poll(now));
        }
        assert_eq!(throttle.poll_timeout(), Some(start + WINDOW));
        assert!(!throttle.poll(start + WINDOW - MOMENT));
        assert!(throttle.poll(start + WINDOW));
        assert!(!throttle.poll(start + WINDOW * 2), "the wishes are spent");
    }

    #[test]
    fn a_keyframe_answers_the_wishes_before_it_and_none_after_it() {
        let start = start_of_time();
        let mut throttle = KeyframeThrottle::default();
        throttle.request(start);
        assert!(throttle.poll(start));
        throttle.request(start + MOMENT);
        throttle.handle_keyframe();
        assert!(!throttle.poll(start + WINDOW));
        throttle.request(start + WINDOW + MOMENT);
        assert!(throttle.poll(start + WINDOW + MOMENT));
    }

    #[test]
    fn a_publisher_is_never_asked_twice_within_the_window() {
        let start = start_of_time();
        let mut throttle = KeyframeThrottle::default();
        let mut asked = Vec::new();
        for wait in 0..10_000 {
            let now = start + MOMENT * wait;
            throttle.request(now);
            if throttle.poll(now) {
                asked.push(now);
            }
        }
        assert_eq!(asked.len(), 20);
        assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= WINDOW));
    }
}
