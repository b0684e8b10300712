//! Values of the header extension elements that calls use, and their names in SDP.
//!
//! Each type has `parse` for the bytes of an element and `to_bytes` for writing it. Bytes of another length than the
//! format's are no value.

use std::time::Duration;

/// The names by which SDP negotiates the elements (`a=extmap`).
pub mod uri {
    /// [`AbsSendTime`](super::AbsSendTime).
    pub const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
    /// [`TransportSequence`](super::TransportSequence).
    pub const TRANSPORT_SEQUENCE: &str =
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
    /// [`AudioLevel`](super::AudioLevel).
    pub const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
    /// The section of the SDP that a stream belongs to, as [`name`](super::name).
    pub const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
    /// The encoding that a stream is, as [`name`](super::name).
    pub const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
    /// The encoding that a stream repairs, as [`name`](super::name).
    pub const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
    /// [`VideoOrientation`](super::VideoOrientation).
    pub const VIDEO_ORIENTATION: &str = "urn:3gpp:video-orientation";
    /// [`PlayoutDelay`](super::PlayoutDelay).
    pub const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
}

/// When a packet left its sender: seconds as 6.18 bit fixed point, so it wraps every 64 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AbsSendTime(u32);

impl AbsSendTime {
    /// One more than the largest value.
    const WRAP: u32 = 1 << 24;

    /// The moment `since_epoch` after an epoch of the sender's choice, rounded down to about 4 µs.
    pub fn new(since_epoch: Duration) -> Self {
        let fraction = (u64::from(since_epoch.subsec_nanos()) << 18) / 1_000_000_000;
        let value = (since_epoch.as_secs() << 18) + fraction;
        // The low 24 bits are all that is sent.
        Self(value as u32 % Self::WRAP)
    }

    /// Reads the value of an element.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let &[a, b, c] = <&[u8; 3]>::try_from(value).ok()?;
        Some(Self(u32::from_be_bytes([0, a, b, c])))
    }

    /// The value of an element.
    pub const fn to_bytes(self) -> [u8; 3] {
        let [_, a, b, c] = self.0.to_be_bytes();
        [a, b, c]
    }

    /// How much later than `earlier` this is, if by less than the 64 s after which it wraps.
    pub fn since(self, earlier: Self) -> Duration {
        let ticks = u64::from(self.0.wrapping_sub(earlier.0) % Self::WRAP);
        Duration::from_nanos((ticks * 1_000_000_000) >> 18)
    }
}

/// The number of a packet among all packets of its transport, for feedback about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransportSequence(pub u16);

impl TransportSequence {
    /// Reads the value of an element. What a second version of the format appends is left out.
    pub fn parse(value: &[u8]) -> Option<Self> {
        match *value {
            [a, b] | [a, b, _, _] => Some(Self(u16::from_be_bytes([a, b]))),
            _ => None,
        }
    }

    /// The value of an element.
    pub const fn to_bytes(self) -> [u8; 2] {
        self.0.to_be_bytes()
    }
}

/// How loud the audio of a packet is (RFC 6464).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AudioLevel {
    /// Whether the sender takes it for speech.
    pub voice: bool,
    /// How far below the loudest possible, in dB: 0 is loudest, 127 is silence.
    pub below_full: u8,
}

impl AudioLevel {
    /// The largest distance there is: silence.
    pub const SILENCE: u8 = 127;

    /// Reads the value of an element. In the two-byte form a second byte, of no meaning, may follow (RFC 6464 §3).
    pub fn parse(value: &[u8]) -> Option<Self> {
        match *value {
            [byte] | [byte, _] => {
                Some(Self { voice: byte & 0x80 != 0, below_full: byte & Self::SILENCE })
            }
            _ => None,
        }
    }

    /// The value of an element. What is quieter than silence is silence.
    pub fn to_bytes(self) -> [u8; 1] {
        [u8::from(self.voice) << 7 | self.below_full.min(Self::SILENCE)]
    }
}

/// The text of a `mid`, `rid` or repaired `rid` element (RFC 9143 §15, RFC 8852 §3.1): visible ASCII. SDP allows a
/// little less; what matters is that a name matches one that was negotiated.
pub fn name(value: &[u8]) -> Option<&str> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    std::str::from_utf8(value).ok()
}

/// How to turn a picture before showing it, as it was sent (3GPP TS 26.114 §7.4.5). Passed on, never looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VideoOrientation(pub u8);

impl VideoOrientation {
    /// Reads the value of an element.
    pub fn parse(value: &[u8]) -> Option<Self> {
        match *value {
            [byte] => Some(Self(byte)),
            _ => None,
        }
    }

    /// The value of an element.
    pub const fn to_bytes(self) -> [u8; 1] {
        [self.0]
    }
}

/// Within which delay a receiver should show a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlayoutDelay {
    min: u16,
    max: u16,
}

impl PlayoutDelay {
    /// What one step stands for.
    const STEP: Duration = Duration::from_millis(10);

    /// The largest number of steps that 12 bits hold: 40.95 s.
    const MOST: u16 = 0xfff;

    /// Between `min` and `max`, rounded down to 10 ms; what is over 40.95 s is that.
    pub fn new(min: Duration, max: Duration) -> Self {
        let steps = |span: Duration| {
            let steps = span.as_millis() / Self::STEP.as_millis();
            u16::try_from(steps).unwrap_or(Self::MOST).min(Self::MOST)
        };
        Self { min: steps(min), max: steps(max) }
    }

    /// The shortest delay.
    pub fn min(self) -> Duration {
        Self::STEP * u32::from(self.min)
    }

    /// The longest delay.
    pub fn max(self) -> Duration {
        Self::STEP * u32::from(self.max)
    }

    /// Reads the value of an element.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let &[a, b, c] = <&[u8; 3]>::try_from(value).ok()?;
        let both = u32::from_be_bytes([0, a, b, c]);
        // 12 bits each.
        Some(Self { min: (both >> 12) as u16, max: both as u16 & Self::MOST })
    }

    /// The value of an element.
    pub fn to_bytes(self) -> [u8; 3] {
        let [_, a, b, c] = (u32::from(self.min) << 12 | u32::from(self.max)).to_be_bytes();
        [a, b, c]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn send_times_wrap_every_64_seconds_and_keep_their_distance() {
        let at = |millis| AbsSendTime::new(Duration::from_millis(millis));
        assert_eq!(at(1000).to_bytes(), [0x04, 0, 0]);
        assert_eq!(at(63_500).to_bytes(), [0xfe, 0, 0]);
        assert_eq!(at(64_000), at(0));
        assert_eq!(at(64_250).since(at(63_750)), Duration::from_millis(500));
        assert_eq!(AbsSendTime::parse(&[0xfe, 0, 0]), Some(at(63_500)));
        assert_eq!(AbsSendTime::parse(&[0xfe, 0]), None);
    }

    #[test]
    fn send_times_of_the_whole_unix_era_are_whole() {
        let late = Duration::new(u64::MAX >> 20, 999_999_999);
        assert_eq!(AbsSendTime::new(late).to_bytes(), [0xff, 0xff, 0xff]);
    }

    #[test]
    fn levels_keep_voice_and_loudness_apart() {
        let level = AudioLevel { voice: true, below_full: 30 };
        assert_eq!(level.to_bytes(), [0x9e]);
        assert_eq!(AudioLevel::parse(&[0x9e]), Some(level));
        assert_eq!(AudioLevel::parse(&[0x9e, 0]), Some(level));
        assert_eq!(AudioLevel::parse(&[]), None);
        assert_eq!(AudioLevel { voice: false, below_full: 200 }.to_bytes(), [127]);
    }

    #[test]
    fn transport_numbers_are_read_in_both_versions_of_the_format() {
        assert_eq!(TransportSequence::parse(&[1, 2]), Some(TransportSequence(0x0102)));
        assert_eq!(TransportSequence::parse(&[1, 2, 3, 4]), Some(TransportSequence(0x0102)));
        assert_eq!(TransportSequence::parse(&[1]), None);
        assert_eq!(TransportSequence(0x0102).to_bytes(), [1, 2]);
    }

    #[test]
    fn names_are_visible_ascii_and_never_empty() {
        assert_eq!(name(b"0"), Some("0"));
        assert_eq!(name(b"q-1"), Some("q-1"));
        for bad in [&b""[..], b"a b", b"a\0", "ä".as_bytes(), &[0xff]] {
            assert_eq!(name(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn playout_delays_are_two_times_twelve_bits_of_ten_milliseconds() {
        let delay = PlayoutDelay::new(Duration::from_millis(125), Duration::from_secs(400));
        assert_eq!(delay.to_bytes(), [0x00, 0xcf, 0xff]);
        assert_eq!(PlayoutDelay::parse(&[0x00, 0xcf, 0xff]), Some(delay));
        assert_eq!(delay.min(), Duration::from_millis(120));
        assert_eq!(delay.max(), Duration::from_millis(40_950));
        assert_eq!(PlayoutDelay::parse(&[0; 4]), None);
    }

    #[test]
    fn orientations_pass_through() {
        assert_eq!(VideoOrientation::parse(&[9]).map(VideoOrientation::to_bytes), Some([9]));
        assert_eq!(VideoOrientation::parse(&[]), None);
    }
}
