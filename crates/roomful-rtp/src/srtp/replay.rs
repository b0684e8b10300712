//! Which packets of a stream have been opened (RFC 3711 §3.3.2).

/// Why a packet is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stale {
    /// It was opened before.
    Replayed,
    /// It is so old that it is not known whether it was opened before.
    TooOld,
}

/// A ring of bits, one for each of the newest packets, in the way of RFC 6479: moving on clears whole words.
#[derive(Clone, Debug)]
pub(super) struct Replay<const WORDS: usize> {
    highest: u64,
    seen: [u64; WORDS],
}

impl<const WORDS: usize> Replay<WORDS> {
    /// How far behind the highest a packet may be. The word being filled counts for nothing.
    pub(super) const WINDOW: u64 = (WORDS as u64 - 1) * u64::BITS as u64;

    /// Nothing was opened but `index`.
    pub(super) fn new(index: u64) -> Self {
        let mut replay = Self { highest: index, seen: [0; WORDS] };
        replay.mark(index);
        replay
    }

    /// The highest index that was opened.
    pub(super) const fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether `index` may still be opened.
    pub(super) fn check(&self, index: u64) -> Result<(), Stale> {
        let Some(behind) = self.highest.checked_sub(index) else { return Ok(()) };
        if behind >= Self::WINDOW {
            return Err(Stale::TooOld);
        }
        let (word, bit) = place::<WORDS>(index);
        if self.seen[word] & bit == 0 { Ok(()) } else { Err(Stale::Replayed) }
    }

    /// `index` was opened: authentic, and [`Replay::check`] let it pass.
    pub(super) fn accept(&mut self, index: u64) {
        let bits = u64::from(u64::BITS);
        let entered = (index / bits).saturating_sub(self.highest / bits);
        for step in 0..entered.min(WORDS as u64) {
            let (word, _) = place::<WORDS>(index - step * bits);
            self.seen[word] = 0;
        }
        self.highest = self.highest.max(index);
        self.mark(index);
    }

    fn mark(&mut self, index: u64) {
        let (word, bit) = place::<WORDS>(index);
        self.seen[word] |= bit;
    }
}

/// The word, always within the ring, and the bit that stand for `index`.
const fn place<const WORDS: usize>(index: u64) -> (usize, u64) {
    let bits = u64::BITS as u64;
    ((index / bits % WORDS as u64) as usize, 1 << (index % bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 128 packets.
    type Small = Replay<3>;

    #[test]
    fn each_packet_passes_once_in_any_order() {
        let mut replay = Small::new(1000);
        for index in [1003, 1001, 1100, 999, 973, 1002] {
            assert_eq!(replay.check(index), Ok(()), "{index}");
            replay.accept(index);
            assert_eq!(replay.check(index), Err(Stale::Replayed), "{index}");
        }
        assert_eq!(replay.check(1000), Err(Stale::Replayed));
        assert_eq!(replay.highest(), 1100);
    }

    #[test]
    fn what_is_behind_the_window_is_too_old() {
        let replay = Small::new(1000);
        assert_eq!(Small::WINDOW, 128);
        assert_eq!(replay.check(1000 - 127), Ok(()));
        assert_eq!(replay.check(1000 - 128), Err(Stale::TooOld));
        assert_eq!(replay.check(0), Err(Stale::TooOld));
    }

    #[test]
    fn a_window_reaches_back_to_zero_and_no_further() {
        let mut replay = Small::new(5);
        assert_eq!(replay.check(0), Ok(()));
        replay.accept(0);
        assert_eq!(replay.check(0), Err(Stale::Replayed));
    }

    #[test]
    fn a_jump_forgets_nothing_that_is_still_within_the_window() {
        for jump in 1..400 {
            let mut replay = Small::new(500);
            for index in 501..=600 {
                replay.accept(index);
            }
            replay.accept(600 + jump);
            for index in 473..=600 + jump {
                let expected = match index {
                    _ if 600 + jump - index >= Small::WINDOW => Err(Stale::TooOld),
                    500..=600 => Err(Stale::Replayed),
                    _ if index == 600 + jump => Err(Stale::Replayed),
                    _ => Ok(()),
                };
                assert_eq!(replay.check(index), expected, "{index} after a jump of {jump}");
            }
        }
    }

    #[test]
    fn it_agrees_with_a_set_of_everything_seen() {
        let mut random = fastrand::Rng::with_seed(6479);
        for _ in 0..200 {
            let first = random.u64(0..1_000);
            let mut replay = Small::new(first);
            let mut seen = std::collections::BTreeSet::from([first]);
            for _ in 0..2_000 {
                let highest = *seen.last().unwrap();
                let reach = if random.u8(..50) == 0 { 1_000 } else { 150 };
                let index = (highest + random.u64(..reach)).saturating_sub(140);
                let expected = match index {
                    _ if index + Small::WINDOW <= highest => Err(Stale::TooOld),
                    _ if seen.contains(&index) => Err(Stale::Replayed),
                    _ => Ok(()),
                };
                assert_eq!(replay.check(index), expected);
                if expected.is_ok() {
                    replay.accept(index);
                    seen.insert(index);
                }
            }
        }
    }
}
