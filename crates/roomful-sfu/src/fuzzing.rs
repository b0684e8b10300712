//! What the fuzz targets over the core do with bytes. Only with the feature `fuzzing`, which opens the insides to them, and in
//! tests, which run the same over seeded mutations, so that every run of the tests covers some of it.
//!
//! Each target comes with seeds: inputs that get deep, made by the code that writes such bytes. A panic is what a target has to say.

mod datagrams;
mod egress;
mod media;
mod offers;
mod stun;

pub use datagrams::{core_datagrams, datagram_seeds};
pub use egress::{egress_packets, egress_seeds};
pub use media::{media_packets, media_seeds};
#[cfg(test)]
pub(crate) use offers::DATA_OFFER;
pub use offers::{offer_answer, offer_seeds};
pub use stun::{stun_parse, stun_seeds};

/// What many a target reads: one record after the other, each with a kind and some bytes. What is cut off at the end is
/// taken as far as it goes.
#[derive(Clone)]
struct Script<'a>(&'a [u8]);

/// Writes what [`Script`] reads.
fn script<B: AsRef<[u8]>>(records: impl IntoIterator<Item = (u8, B)>) -> Vec<u8> {
    let mut script = Vec::new();
    for (kind, bytes) in records {
        let bytes = bytes.as_ref();
        script.push(kind);
        script.extend((bytes.len() as u16).to_be_bytes());
        script.extend(bytes);
    }
    script
}

impl<'a> Iterator for Script<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[kind, high, low], rest) = self.0.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (bytes, rest) = rest.split_at(length);
        self.0 = rest;
        Some((kind, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `target` with every seed, then with `rounds` of them battered.
    fn batter(seeds: &[Vec<u8>], rounds: u32, target: impl Fn(&[u8])) {
        seeds.iter().for_each(|seed| target(seed));
        let mut random = fastrand::Rng::with_seed(7983);
        for _ in 0..rounds {
            let mut bytes = random.choice(seeds).cloned().unwrap_or_default();
            for _ in 0..random.usize(1..6) {
                if bytes.is_empty() {
                    break;
                }
                let at = random.usize(..bytes.len());
                match random.u8(..7) {
                    0 | 1 => bytes[at] = random.u8(..),
                    2 | 3 => bytes[at] ^= 1 << random.u8(..8),
                    4 => bytes.truncate(at),
                    5 => bytes.insert(at, random.u8(..)),
                    _ => {
                        // A piece of one in another.
                        let other = random.choice(seeds).cloned().unwrap_or_default();
                        let from = random.usize(..=other.len());
                        let length = random.usize(..=(other.len() - from).min(100));
                        bytes.splice(at..at, other[from..from + length].iter().copied());
                    }
                }
            }
            target(&bytes);
        }
    }

    #[test]
    fn a_script_is_read_as_it_was_written_and_cut_short_where_it_is_cut() {
        let records = [(1, &b"one"[..]), (2, b""), (7, b"three")];
        let mut written = script(records);
        assert!(Script(&written).eq(records));
        written.truncate(written.len() - 2);
        assert_eq!(Script(&written).last(), Some((7, &b"thr"[..])));
    }

    #[test]
    fn battered_checks_name_nobody_they_do_not_name() {
        batter(&stun_seeds(), 100_000, stun_parse);
    }

    #[test]
    fn battered_payloads_go_on_under_numbers_without_a_seam() {
        batter(&egress_seeds(), 5_000, egress_packets);
    }

    #[test]
    fn battered_offers_are_answered_section_by_section_or_refused() {
        batter(&offer_seeds(), 1_000, offer_answer);
    }

    #[test]
    fn battered_packets_sealed_rightly_do_no_harm_to_subscribers() {
        batter(&media_seeds(), 2_000, media_packets);
    }

    #[test]
    fn battered_datagrams_are_answered_only_where_a_password_was_known() {
        batter(&datagram_seeds(), 300, core_datagrams);
    }
}
