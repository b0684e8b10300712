//! Where rooms live: the directory of rooms and their workers.
//!
//! A room is placed when somebody first asks for it, on the worker that has least to do, and stays there until it
//! ends. Whoever asks gets a [`Seat`], and no entry is forgotten while somebody holds one: a join that is on its way
//! to a worker while the room ends there finds the same worker, which begins the room anew.
//!
//! One lock guards it. Joins and the beginnings and ends of rooms take it, packets never do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use roomful_sfu::SfuEvent;
use roomful_sfu::ids::RoomName;

pub(crate) use load::{BusyMeter, Load};

mod load;
#[cfg(test)]
mod tests;

/// One worker, by its position among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WorkerIndex(pub(crate) usize);

/// See the module text.
#[derive(Debug)]
pub(crate) struct Directory {
    /// How busy each worker says it is.
    loads: Vec<Load>,
    state: Mutex<State>,
}

/// A claim on a place in a room: while it is held the directory knows where the room is.
#[derive(Debug)]
pub(crate) struct Seat {
    directory: Arc<Directory>,
    room: RoomName,
    worker: WorkerIndex,
    kind: SeatKind,
}

/// Whose a seat is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeatKind {
    /// A participant's: it counts when rooms are spread over workers.
    Participant,
    /// Somebody's who only asks or orders something.
    Visitor,
}

#[derive(Debug)]
struct State {
    rooms: HashMap<RoomName, Entry>,
    workers: Vec<Standing>,
}

/// What is known of one room.
#[derive(Debug)]
struct Entry {
    home: WorkerIndex,
    /// Seats held of any kind.
    seats: usize,
    /// Its worker said that it began, and not yet that it ended.
    has_begun: bool,
}

/// What is known of one worker besides what it says itself.
#[derive(Debug, Clone, Copy)]
struct Standing {
    participants: usize,
    /// Load to be expected from what was placed lately, fading as the worker's own word takes it in.
    expected: f32,
    at: Instant,
}

/// Load that one participant is expected to bring, until it shows: the handshakes and the first seconds of a small
/// call (a join costs some 5 ms, a camera for three others as much in each second). Larger spreads bursts more evenly
/// and trusts measured load less, smaller lets a burst of joins land on one worker.
const EXPECTED_LOAD: f32 = 0.01;

/// Over this time expected load fades: the one over which load is measured. Longer counts newcomers twice, shorter
/// forgets them before they are measured.
const EXPECTED_FOR: Duration = load::SMOOTHED_OVER;

impl Directory {
    /// A directory without rooms, for so many workers.
    pub(crate) fn new(workers: usize, now: Instant) -> Arc<Self> {
        let idle = Standing { participants: 0, expected: 0.0, at: now };
        Arc::new(Self {
            loads: (0..workers).map(|_| Load::new(now)).collect(),
            state: Mutex::new(State { rooms: HashMap::new(), workers: vec![idle; workers] }),
        })
    }

    /// A seat in `room`: where it lives if it does, on the least loaded worker if not. `None` only without workers.
    pub(crate) fn seat(
        self: &Arc<Self>,
        room: &RoomName,
        kind: SeatKind,
        now: Instant,
    ) -> Option<Arc<Seat>> {
        let mut state = self.lock();
        let worker = match state.rooms.get_mut(room) {
            Some(entry) => {
                entry.seats += 1;
                entry.home
            }
            None => {
                let home = self.least_loaded(&state, now)?;
                state.rooms.insert(room.clone(), Entry { home, seats: 1, has_begun: false });
                home
            }
        };
        if kind == SeatKind::Participant {
            state.workers.get_mut(worker.0)?.take(now);
        }
        let directory = Arc::clone(self);
        Some(Arc::new(Seat { directory, room: room.clone(), worker, kind }))
    }

    /// Takes in what a worker says of its rooms.
    pub(crate) fn handle_event(&self, from: WorkerIndex, event: &SfuEvent) {
        let mut state = self.lock();
        match event {
            SfuEvent::RoomStarted(room) => {
                let entry = state.rooms.entry(room.clone());
                let entry =
                    entry.or_insert_with(|| Entry { home: from, seats: 0, has_begun: true });
                entry.has_begun |= entry.home == from;
            }
            SfuEvent::RoomEnded(room) => {
                if let Some(entry) = state.rooms.get_mut(room).filter(|one| one.home == from) {
                    entry.has_begun = false;
                    state.forget_unused(room);
                }
            }
        }
    }

    /// What a worker says about its load.
    pub(crate) fn load(&self, worker: WorkerIndex) -> Option<&Load> {
        self.loads.get(worker.0)
    }

    /// By load in whole per cent, then by participants.
    fn least_loaded(&self, state: &State, now: Instant) -> Option<WorkerIndex> {
        let workers = self.loads.iter().zip(&state.workers).enumerate();
        let (index, _) = workers.min_by_key(|(_, (load, standing))| {
            let load = load.at(now) + standing.expected_at(now);
            ((load * 100.0).round() as u32, standing.participants)
        })?;
        Some(WorkerIndex(index))
    }

    fn release(&self, seat: &Seat) {
        let mut state = self.lock();
        if seat.kind == SeatKind::Participant
            && let Some(standing) = state.workers.get_mut(seat.worker.0)
        {
            standing.participants = standing.participants.saturating_sub(1);
        }
        if let Some(entry) = state.rooms.get_mut(&seat.room) {
            entry.seats = entry.seats.saturating_sub(1);
        }
        state.forget_unused(&seat.room);
    }

    /// A thread that panicked while it held the lock ends the process; until then the numbers are good enough.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Where it is.
    pub(crate) fn worker(&self) -> WorkerIndex {
        self.worker
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.directory.release(self);
    }
}

impl State {
    fn forget_unused(&mut self, room: &RoomName) {
        if self.rooms.get(room).is_some_and(|entry| entry.seats == 0 && !entry.has_begun) {
            self.rooms.remove(room);
        }
    }
}

impl Standing {
    fn take(&mut self, now: Instant) {
        self.participants += 1;
        self.expected = self.expected_at(now) + EXPECTED_LOAD;
        self.at = now;
    }

    fn expected_at(&self, now: Instant) -> f32 {
        self.expected * load::fading(now.saturating_duration_since(self.at), EXPECTED_FOR)
    }
}
