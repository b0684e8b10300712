//! Chance, decided by a seed (SplitMix64).

pub(in crate::egress) struct Random(pub(in crate::egress) u64);

impl Random {
    pub(in crate::egress) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(in crate::egress) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(in crate::egress) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}
