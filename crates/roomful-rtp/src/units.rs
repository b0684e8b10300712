//! Units that RTCP counts in, each with a type of its own.

use std::time::Duration;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Seconds between the NTP era (1900) and the Unix era (1970): 70 years with 17 leap days.
const UNIX_EPOCH_IN_NTP: u64 = 2_208_988_800;

/// A moment on some wall clock, in seconds since 1900 as 32.32 bit fixed point (RFC 3550 §4).
///
/// Which clock it is depends on who wrote it: two of them compare only if one participant did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// The moment `since_epoch` after 1970-01-01T00:00:00Z. Wraps in 2036, as NTP does.
    pub fn from_unix(since_epoch: Duration) -> Self {
        Self(UNIX_EPOCH_IN_NTP << 32).plus(since_epoch)
    }

    /// The moment `later` after this one. Wraps with the era.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        Self(self.0.wrapping_add(fixed_point(later, 32) as u64))
    }

    /// The middle 32 bits, which report blocks quote (RFC 3550 §6.4.1, "LSR").
    pub const fn short(self) -> NtpShort {
        NtpShort((self.0 >> 16) as u32)
    }
}

/// The middle 32 bits of an [`NtpTime`], or a span in the same unit of 1/65536 s (RFC 3550 §4).
/// 0 stands for "unknown" where a moment is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NtpShort(pub u32);

impl NtpShort {
    /// The span in units of 1/65536 s, rounded down; the longest there is (18 hours) if it is longer.
    pub fn from_duration(span: Duration) -> Self {
        Self(u32::try_from(fixed_point(span, 16)).unwrap_or(u32::MAX))
    }

    /// The span it stands for.
    pub fn as_duration(self) -> Duration {
        let nanos = (u128::from(self.0) * NANOS_PER_SECOND) >> 16;
        // At most 65,536 s, so well within 64 bits.
        Duration::from_nanos(nanos as u64)
    }
}

/// Bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bitrate(pub u64);

impl Bitrate {
    /// `bytes` in `span`; `None` if the span is empty. The largest there is if it is larger.
    pub fn of(bytes: u64, span: Duration) -> Option<Self> {
        let bits = u128::from(bytes) * 8 * NANOS_PER_SECOND;
        let rate = bits.checked_div(span.as_nanos())?;
        Some(Self(u64::try_from(rate).unwrap_or(u64::MAX)))
    }
}

/// `span` in ticks of a clock of `rate` Hz, rounded down and cut to 32 bits, as RTP timestamps are.
pub(crate) fn rtp_ticks(span: Duration, rate: u32) -> u32 {
    (span.as_nanos() * u128::from(rate) / NANOS_PER_SECOND) as u32
}

/// `span` in seconds with `bits` of fraction, rounded down.
fn fixed_point(span: Duration, bits: u32) -> u128 {
    (span.as_nanos() << bits) / NANOS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unix_epoch_is_seventy_years_into_the_ntp_era() {
        assert_eq!(NtpTime::from_unix(Duration::ZERO), NtpTime(0x83aa_7e80_0000_0000));
        let half = NtpTime::from_unix(Duration::from_millis(1500));
        assert_eq!(half, NtpTime(0x83aa_7e81_8000_0000));
    }

    #[test]
    fn the_example_of_rfc_3550_figure_2_comes_out() {
        // n = 0xb44db705:20000000, 3024992005.125 s; LSR 0xb705:2000; DLSR 5.250 s = 0x0005:4000.
        let sent = NtpTime(0xb44d_b705_2000_0000);
        assert_eq!(sent.short(), NtpShort(0xb705_2000));
        assert_eq!(NtpShort::from_duration(Duration::from_millis(5250)), NtpShort(0x0005_4000));
        assert_eq!(NtpShort(0x0005_4000).as_duration(), Duration::from_millis(5250));
    }

    #[test]
    fn ntp_time_runs_through_the_end_of_its_era() {
        let last = NtpTime(u64::MAX).plus(Duration::from_secs(1));
        assert_eq!(last, NtpTime(0x0000_0000_ffff_ffff));
    }

    #[test]
    fn spans_too_long_for_their_field_are_the_longest_it_holds() {
        assert_eq!(NtpShort::from_duration(Duration::MAX), NtpShort(u32::MAX));
    }

    #[test]
    fn a_rate_is_bits_by_time_and_unknown_for_no_time() {
        assert_eq!(Bitrate::of(125_000, Duration::from_millis(500)), Some(Bitrate(2_000_000)));
        assert_eq!(Bitrate::of(1, Duration::ZERO), None);
        assert_eq!(Bitrate::of(u64::MAX, Duration::from_nanos(1)), Some(Bitrate(u64::MAX)));
    }

    #[test]
    fn rtp_ticks_wrap_like_timestamps() {
        assert_eq!(rtp_ticks(Duration::from_millis(20), 48_000), 960);
        let day = Duration::from_secs(86_400);
        assert_eq!(rtp_ticks(day, 90_000), (86_400_u64 * 90_000) as u32);
    }
}
