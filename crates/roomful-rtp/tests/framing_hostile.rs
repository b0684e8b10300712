//! However a stream is cut and whatever it says, the same datagrams are found in it.

#[path = "fuzz_bodies/framing.rs"]
mod fuzz_bodies;

use fuzz_bodies::{frame_read, frame_seeds};

#[test]
fn battered_streams_are_read_in_pieces_as_in_one() {
    let seeds = frame_seeds();
    seeds.iter().for_each(|seed| frame_read(seed));
    let mut random = fastrand::Rng::with_seed(4571);
    for _ in 0..50_000 {
        let mut bytes = random.choice(&seeds).cloned().unwrap_or_default();
        for _ in 0..random.usize(1..6) {
            // The lengths of the first datagrams stand here.
            let reach = if random.bool() { bytes.len().min(48) } else { bytes.len() };
            let at = random.usize(..reach.max(1));
            match random.u8(..5) {
                _ if bytes.is_empty() => break,
                0 | 1 => bytes[at] = random.u8(..),
                2 => bytes[at] ^= 1 << random.u8(..8),
                3 => bytes.truncate(at),
                _ => bytes.insert(at, random.u8(..)),
            }
        }
        frame_read(&bytes);
    }
}
