//! Status chunks of transport-wide feedback: which of the three forms says most in two bytes.

use super::{Body, DeltaStatus};

/// Statuses of one bit that fit into a vector chunk.
const NARROW: usize = 14;
/// Statuses of two bits that fit into a vector chunk.
const WIDE: usize = 7;
/// Statuses that a run length chunk can count.
const LONGEST_RUN: usize = 0x1fff;

/// One chunk, and how many statuses it takes from the front.
struct Chunk {
    bits: u16,
    statuses: usize,
    delta_len: usize,
}

/// Writes chunks, then deltas, for as many packets as fit, and says how many; `None` for none.
pub(super) fn put<I>(body: &mut Body<'_>, deltas: I) -> Option<u16>
where
    I: Iterator<Item = Option<i16>> + Clone,
{
    let mut rest = deltas.clone();
    let mut delta_len = 0;
    let mut written = 0_u16;
    loop {
        let room = body.room().saturating_sub(delta_len);
        let Some(chunk) = next_chunk(rest.clone(), room) else { break };
        let Some(total) = u16::try_from(chunk.statuses).ok().and_then(|n| written.checked_add(n))
        else {
            break;
        };
        body.put(&chunk.bits.to_be_bytes())?;
        written = total;
        delta_len += chunk.delta_len;
        rest.by_ref().take(chunk.statuses).for_each(drop);
    }
    for delta in deltas.take(usize::from(written)).flatten() {
        match u8::try_from(delta) {
            Ok(small) => body.put(&[small])?,
            Err(_) => body.put(&delta.to_be_bytes())?,
        }
    }
    if written == 0 { None } else { Some(written) }
}

/// The chunk that covers most of the packets at the front; `None` if there is none, or if it and its
/// deltas take more than `room` bytes.
///
/// Greedy: a run beats the vector that it would outlast, a narrow vector beats a wide one. What that
/// loses against trying every split is a chunk here and there.
fn next_chunk(deltas: impl Iterator<Item = Option<i16>> + Clone, room: usize) -> Option<Chunk> {
    let statuses = deltas.map(DeltaStatus::of);
    let first = statuses.clone().next()?;
    let run = statuses.clone().take(LONGEST_RUN).take_while(|status| *status == first).count();
    let room = room.checked_sub(2)?;
    let mut narrow = Vector::default();
    if run < NARROW {
        narrow.fill(statuses.clone().take(NARROW), 1);
    }
    let ends_with_run = statuses.clone().nth(run).is_none();
    if run >= NARROW || ends_with_run {
        // Part of a long run is as good a chunk as the whole.
        let fitting = room.checked_div(first.delta_len()).unwrap_or(run).min(run);
        let bits = first.symbol() << 13 | fitting as u16;
        let chunk = Chunk { bits, statuses: fitting, delta_len: fitting * first.delta_len() };
        return if fitting == 0 { None } else { Some(chunk) };
    }
    let (vector, form) = if narrow.has_large {
        let mut wide = Vector::default();
        wide.fill(statuses.take(WIDE), 2);
        (wide.left_aligned(WIDE, 2), 0xc000)
    } else {
        (narrow.left_aligned(NARROW, 1), 0x8000)
    };
    if vector.delta_len > room {
        return None;
    }
    Some(Chunk { bits: form | vector.bits, statuses: vector.len, delta_len: vector.delta_len })
}

/// Symbols being packed into fourteen bits.
#[derive(Default)]
struct Vector {
    bits: u16,
    len: usize,
    delta_len: usize,
    has_large: bool,
}

impl Vector {
    fn fill(&mut self, statuses: impl Iterator<Item = DeltaStatus>, width: u32) {
        for status in statuses {
            self.bits = self.bits << width | status.symbol();
            self.len += 1;
            self.delta_len += status.delta_len();
            self.has_large |= status == DeltaStatus::Large;
        }
    }

    /// The first symbol belongs into the highest of the fourteen bits, also where there are few.
    fn left_aligned(mut self, capacity: usize, width: usize) -> Self {
        self.bits <<= capacity.saturating_sub(self.len) * width;
        self
    }
}
