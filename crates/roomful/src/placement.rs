//! Which worker owns a room.

use std::num::NonZeroUsize;

use roomful_sfu::ids::RoomName;

/// The index of the worker, below `workers`, that owns `room`: always the same one, on every
/// machine and in every version.
///
/// Highest random weight (Thaler and Ravishankar, 1998): each worker's weight is a hash of room and
/// worker, the greatest weight wins. With one worker more, only the rooms that move to it move.
pub fn worker_of(room: &RoomName, workers: NonZeroUsize) -> usize {
    let name = fnv1a(room.as_str().as_bytes());
    (0..workers.get()).max_by_key(|worker| mix(name ^ mix(*worker as u64))).unwrap_or_default()
}

/// FNV-1a with the 64-bit parameters of draft-eastlake-fnv: stable across versions of Rust, as
/// the standard library's hashers are not.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): spreads similar names apart.
fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_names_spread_evenly() {
        let mut rooms = [0; 4];
        for n in 0..4000 {
            rooms[place(&format!("room-{n}"), 4)] += 1;
        }
        assert!(rooms.iter().all(|rooms| (900..1100).contains(rooms)), "{rooms:?}");
    }

    #[test]
    fn one_worker_more_moves_only_the_rooms_it_gets() {
        for n in 0..1000 {
            let name = format!("room-{n}");
            let (before, after) = (place(&name, 4), place(&name, 5));
            assert!(after == before || after == 4, "{name} moved from {before} to {after}");
        }
    }

    #[test]
    fn placement_never_changes_between_versions() {
        assert_eq!(["garden", "cellar", "attic", ""].map(|name| place(name, 8)), [6, 1, 4, 4]);
    }

    fn place(name: &str, workers: usize) -> usize {
        worker_of(&RoomName::new(name), NonZeroUsize::new(workers).unwrap())
    }
}
