//! Where rooms live: the directory of rooms and their workers.
//!
//! A room is placed when somebody first asks for it, on the worker that has least to do, and this worker stays its home
//! until it ends. Where rooms may spread, newcomers of one that its home has enough of go to parts of it on other workers.
//! Whoever asks gets a [`Seat`], and no entry is forgotten while somebody holds one: a join that is on its way
//! to a worker while the room ends there finds the same worker, which begins the room anew.
//!
//! One lock guards it. Joins and the beginnings and ends of rooms take it, packets never do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use roomful_sfu::SfuEvent;
use roomful_sfu::ids::{Origin, RoomName};

pub(crate) use load::{BusyMeter, Load};

use crate::config::Spreading;

mod load;
#[cfg(test)]
mod tests;

/// One worker, by its position among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WorkerIndex(pub(crate) usize);

impl WorkerIndex {
    /// What ends the sids of this worker's participants. Beyond 62 workers some share one.
    pub(crate) fn origin(self) -> Origin {
        Origin::of(u8::try_from(self.0 % usize::from(Origin::COUNT)).unwrap_or_default())
    }
}

/// See the module text.
#[derive(Debug)]
pub(crate) struct Directory {
    /// How busy each worker says it is.
    loads: Vec<Load>,
    spreading: Spreading,
    state: Mutex<State>,
}

/// A claim on a place in a room: while it is held the directory knows where the room is.
#[derive(Debug)]
pub(crate) struct Seat {
    directory: Arc<Directory>,
    room: RoomName,
    worker: WorkerIndex,
    home: WorkerIndex,
    kind: SeatKind,
}

/// Whose a seat is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeatKind {
    /// Somebody's who joins.
    Newcomer,
    /// A participant's who resumes, and where its sid was made.
    Returning(Option<Origin>),
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
    /// The workers it has parts on and the participants of each: its home is the first.
    parts: Vec<(WorkerIndex, usize)>,
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

/// A worker with more load than this takes no newcomers of a room that another could take. More delays everyone's media
/// when the room goes on growing, less spreads rooms that one worker could carry, and each link costs a copy.
const BUSY: f32 = 0.7;

/// How much less load another worker must have for a part to begin there: what a part costs by itself, and the error of
/// measuring. Less spreads a room over a machine that is busy everywhere.
const RELIEF: f32 = 0.2;

/// Over this time expected load fades: the one over which load is measured. Longer counts newcomers twice, shorter
/// forgets them before they are measured.
const EXPECTED_FOR: Duration = load::SMOOTHED_OVER;

impl Directory {
    /// A directory without rooms, for so many workers.
    pub(crate) fn new(workers: usize, spreading: Spreading, now: Instant) -> Arc<Self> {
        let idle = Standing { participants: 0, expected: 0.0, at: now };
        Arc::new(Self {
            loads: (0..workers).map(|_| Load::new(now)).collect(),
            spreading,
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
        if !state.rooms.contains_key(room) {
            let home = self.least_loaded(&state, now, |_| true)?;
            state.rooms.insert(room.clone(), Entry::new(home));
        }
        let entry = state.rooms.get(room)?;
        let home = entry.home()?;
        let worker = match kind {
            SeatKind::Visitor => home,
            SeatKind::Returning(origin) => {
                let workers = entry.parts.iter().map(|(worker, _)| *worker);
                workers.into_iter().find(|one| Some(one.origin()) == origin).unwrap_or(home)
            }
            SeatKind::Newcomer => self.worker_for_newcomer(&state, entry, now).unwrap_or(home),
        };
        let entry = state.rooms.get_mut(room)?;
        entry.seats += 1;
        if kind != SeatKind::Visitor {
            *entry.participants_on(worker) += 1;
            state.workers.get_mut(worker.0)?.take(now);
        }
        let directory = Arc::clone(self);
        Some(Arc::new(Seat { directory, room: room.clone(), worker, home, kind }))
    }

    /// Whether `room` has begun and not ended, as far as its worker has said.
    pub(crate) fn has_begun(&self, room: &RoomName) -> bool {
        self.lock().rooms.get(room).is_some_and(|entry| entry.has_begun)
    }

    /// Takes in what a worker says of its rooms.
    pub(crate) fn handle_event(&self, from: WorkerIndex, event: &SfuEvent) {
        let mut state = self.lock();
        match event {
            SfuEvent::RoomStarted(room) => {
                let entry = state.rooms.entry(room.clone());
                let entry = entry.or_insert_with(|| Entry::new(from));
                entry.has_begun |= entry.home() == Some(from);
            }
            SfuEvent::RoomEnded(room) => {
                let entry = state.rooms.get_mut(room);
                if let Some(entry) = entry.filter(|one| one.home() == Some(from)) {
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

    /// The home as long as it can; then the part that can and has least to do, then a new part where there is least to
    /// do. Where no worker can, the part with the fewest.
    fn worker_for_newcomer(
        &self,
        state: &State,
        entry: &Entry,
        now: Instant,
    ) -> Option<WorkerIndex> {
        let home = entry.home()?;
        let limit = match self.spreading {
            Spreading::Never => return None,
            Spreading::WhenBusy => usize::MAX,
            Spreading::Above(limit) => limit.get() as usize,
        };
        let load = |worker: WorkerIndex| self.load_of(state, worker, now);
        let has_room = |worker: WorkerIndex| {
            let there = entry.parts.iter().find(|(one, _)| *one == worker);
            there.is_none_or(|(_, participants)| *participants < limit)
        };
        let has_part = |worker| entry.parts.iter().any(|(one, _)| *one == worker);
        let can = |worker| has_room(worker) && load(worker) < BUSY;
        if can(home) {
            return Some(home);
        }
        let part = self.least_loaded(state, now, |worker| has_part(worker) && can(worker));
        let relief = |worker| !has_part(worker) && load(worker) + RELIEF < load(home).max(BUSY);
        let fewest = || entry.parts.iter().min_by_key(|(_, there)| *there).map(|(one, _)| *one);
        part.or_else(|| self.least_loaded(state, now, relief)).or_else(fewest)
    }

    /// By load in whole per cent, then by participants.
    fn least_loaded(
        &self,
        state: &State,
        now: Instant,
        is_eligible: impl Fn(WorkerIndex) -> bool,
    ) -> Option<WorkerIndex> {
        let workers = (0..self.loads.len()).map(WorkerIndex).filter(|one| is_eligible(*one));
        workers.min_by_key(|worker| {
            let participants = state.workers.get(worker.0).map_or(0, |one| one.participants);
            ((self.load_of(state, *worker, now) * 100.0).round() as u32, participants)
        })
    }

    /// What a worker says of its load, and what is to be expected besides.
    fn load_of(&self, state: &State, worker: WorkerIndex, now: Instant) -> f32 {
        let said = self.loads.get(worker.0).map_or(0.0, |load| load.at(now));
        said + state.workers.get(worker.0).map_or(0.0, |standing| standing.expected_at(now))
    }

    fn release(&self, seat: &Seat) {
        let mut state = self.lock();
        if seat.kind != SeatKind::Visitor
            && let Some(standing) = state.workers.get_mut(seat.worker.0)
        {
            standing.participants = standing.participants.saturating_sub(1);
        }
        if let Some(entry) = state.rooms.get_mut(&seat.room) {
            entry.seats = entry.seats.saturating_sub(1);
            if seat.kind != SeatKind::Visitor {
                let there = entry.participants_on(seat.worker);
                *there = there.saturating_sub(1);
            }
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

    /// The worker on which its room began.
    pub(crate) fn home(&self) -> WorkerIndex {
        self.home
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.directory.release(self);
    }
}

impl Entry {
    fn new(home: WorkerIndex) -> Self {
        Self { parts: vec![(home, 0)], seats: 0, has_begun: false }
    }

    fn home(&self) -> Option<WorkerIndex> {
        self.parts.first().map(|(home, _)| *home)
    }

    /// Participants on that worker, where a part begins if there was none.
    fn participants_on(&mut self, worker: WorkerIndex) -> &mut usize {
        let index = self.parts.iter().position(|(one, _)| *one == worker).unwrap_or_else(|| {
            self.parts.push((worker, 0));
            self.parts.len() - 1
        });
        &mut self.parts[index].1
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
