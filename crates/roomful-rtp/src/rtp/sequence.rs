//! Numbers that wrap, extended so that they never do.

/// Extends the sequence numbers of one stream past 16 bits.
#[derive(Clone, Copy, Debug, Default)]
pub struct SequenceUnwrapper {
    highest: Option<u64>,
}

impl SequenceUnwrapper {
    /// `sequence` as the number nearest to the highest so far (RFC 1982 §3.2, RFC 3711 §3.3.1).
    ///
    /// The low 16 bits are always `sequence`. Numbering begins one wrap up, so that what was sent before the packet
    /// that came first still has a number.
    pub fn unwrap(&mut self, sequence: u16) -> u64 {
        unwrap::<16>(&mut self.highest, u64::from(sequence))
    }
}

/// Extends the timestamps of one stream past 32 bits.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimestampUnwrapper {
    highest: Option<u64>,
}

impl TimestampUnwrapper {
    /// `timestamp` as the number nearest to the highest so far; otherwise as [`SequenceUnwrapper::unwrap`].
    pub fn unwrap(&mut self, timestamp: u32) -> u64 {
        unwrap::<32>(&mut self.highest, u64::from(timestamp))
    }
}

fn unwrap<const BITS: u32>(highest: &mut Option<u64>, value: u64) -> u64 {
    let extended = match *highest {
        Some(highest) => nearest::<BITS>(highest, value),
        None => (1 << BITS) | value,
    };
    *highest = Some(highest.map_or(extended, |highest| highest.max(extended)));
    extended
}

/// The number nearest to `reference` whose low `BITS` are `value`, never below 0. Of two equally near, the earlier one
/// from the upper half of a cycle and the later one from the lower half, as in RFC 3711 appendix A.
pub(crate) const fn nearest<const BITS: u32>(reference: u64, value: u64) -> u64 {
    let half = 1_u64 << (BITS - 1);
    let cycle = 1_u64 << BITS;
    let low = reference & (cycle - 1);
    let same_cycle = (reference - low) | value;
    if low < half {
        // Without a cycle before this one there is no nearer number.
        if value > low + half && same_cycle >= cycle { same_cycle - cycle } else { same_cycle }
    } else if value < low - half {
        same_cycle.wrapping_add(cycle)
    } else {
        same_cycle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_through_the_wrap_in_and_out_of_order() {
        let mut unwrapper = SequenceUnwrapper::default();
        let extended = [65_533, 65_535, 65_534, 1, 0, 65_535, 2].map(|n| unwrapper.unwrap(n));
        let relative = extended.map(|n| n - extended[0]);
        assert_eq!(relative, [0, 2, 1, 4, 3, 2, 5]);
        assert_eq!(extended[3] as u16, 1);
    }

    #[test]
    fn what_was_sent_before_the_first_arrival_has_a_number() {
        let mut unwrapper = SequenceUnwrapper::default();
        let first = unwrapper.unwrap(1);
        assert_eq!(unwrapper.unwrap(65_534), first - 3);
    }

    #[test]
    fn a_loss_of_almost_half_the_numbers_is_bridged() {
        for start in [0, 1, 32_767, 32_768, 40_000, 65_535] {
            let mut unwrapper = SequenceUnwrapper::default();
            let first = unwrapper.unwrap(start);
            let next = unwrapper.unwrap(start.wrapping_add(32_767));
            assert_eq!(next - first, 32_767, "{start}");
            assert_eq!(unwrapper.unwrap(start), first, "{start}");
        }
    }

    #[test]
    fn timestamps_wrap_at_32_bits() {
        let mut unwrapper = TimestampUnwrapper::default();
        let first = unwrapper.unwrap(u32::MAX - 100);
        assert_eq!(unwrapper.unwrap(3000) - first, 3101);
        assert_eq!(unwrapper.unwrap(u32::MAX - 100), first);
    }

    #[test]
    fn a_number_before_the_first_cycle_is_in_it() {
        assert_eq!(nearest::<16>(5, 65_000), 65_000);
        assert_eq!(nearest::<16>(65_536 + 5, 65_000), 65_000);
    }
}
