//! How players of a room are to play: how long they hold pictures back, and whether sound and pictures go in step.

use std::time::Duration;

/// What a room asks of those who receive in it. As LiveKit's, it asks nothing unless somebody says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Playout {
    /// Players hold pictures back for so long.
    pub delay: Option<PlayoutDelay>,
    /// Tracks that belong together are one stream to browsers, which then play them in step: camera and microphone of
    /// somebody, and the two halves of a shared screen.
    pub in_step: bool,
}

/// The time from a picture's arrival until it is shown: players choose one between these, and the longest that the
/// network needs. Whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlayoutDelay {
    min: Duration,
    max: Duration,
}

/// The longest delay that can be said: 12 bits of 10 ms each (the extension's own description at webrtc.org).
const LONGEST: Duration = Duration::from_millis(10 * 0xfff);

/// Where nothing says how long the delay may become: LiveKit's value, and Chromium's own limit. Longer changes nothing
/// there, shorter makes pictures stutter where the network needs more.
const LONGEST_UNLESS_SAID: Duration = Duration::from_secs(10);

impl PlayoutDelay {
    /// Between so many milliseconds. Where only the shortest is said, the longest is 10 s; neither can be more than 40.95 s.
    pub fn from_millis(min: u32, max: u32) -> Self {
        let max = match Duration::from_millis(max.into()) {
            Duration::ZERO if min > 0 => LONGEST_UNLESS_SAID,
            max => max.min(LONGEST),
        };
        Self { min: Duration::from_millis(min.into()).min(max), max }
    }

    /// What is asked for at least.
    pub(crate) fn min(self) -> Duration {
        self.min
    }

    /// As near to `delay` as is allowed.
    pub(crate) fn clamp(self, delay: Duration) -> Duration {
        delay.clamp(self.min, self.max)
    }

    /// The extension that asks for `delay` at least: two numbers of 12 bits, in units of 10 ms.
    pub(crate) fn to_bytes(self, delay: Duration) -> [u8; 3] {
        let units = |delay: Duration| (delay.min(LONGEST).as_millis() / 10) as u32;
        let [_, high, middle, low] = (units(delay) << 12 | units(self.max)).to_be_bytes();
        [high, middle, low]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(min: u32, max: u32) -> [u8; 3] {
        let delay = PlayoutDelay::from_millis(min, max);
        delay.to_bytes(delay.min())
    }

    #[test]
    fn delays_are_written_in_twelve_bits_of_ten_milliseconds() {
        assert_eq!(bytes(100, 2_000), [0x00, 0xa0, 0xc8]);
        assert_eq!(bytes(40_950, 40_950), [0xff, 0xff, 0xff]);
        assert_eq!(bytes(0, 0), [0, 0, 0], "at once");
    }

    #[test]
    fn what_cannot_be_said_is_the_nearest_that_can() {
        assert_eq!(bytes(200, 0), [0x01, 0x43, 0xe8], "ten seconds unless said");
        assert_eq!(bytes(300, 200), [0x01, 0x40, 0x14]);
        assert_eq!(bytes(u32::MAX, u32::MAX), [0xff, 0xff, 0xff]);
    }
}
