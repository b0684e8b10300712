//! The media thread: every virtual participant's socket behind one `epoll`, and a clock for what is due.
//!
//! Signalling runs elsewhere and talks to this thread by [`Command`]s.

mod handle;
mod schedule;
mod snapshot;

use std::collections::HashMap;
use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Commands, TryRecvError};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::dtls::Identity;
use crate::ledger::{Ledger, Window};
use crate::participant::{Newcomer, Participant, ParticipantId};
use crate::sdp::Remote;
use crate::udp::Receiver;
pub(crate) use handle::{Handle, Progress, start};
use schedule::Schedule;
use snapshot::Past;
pub(crate) use snapshot::Snapshot;

/// What the signalling side wants.
pub(crate) enum Command {
    Add(Box<Newcomer>),
    /// The server's description.
    Describe(ParticipantId, Box<Remote>),
    Candidate(ParticipantId, std::net::SocketAddr),
    Remove(ParticipantId),
    OpenWindow(Window),
    Report(tokio::sync::oneshot::Sender<Snapshot>),
    Stop,
}

/// Wakes the thread when commands wait.
const WAKER: Token = Token(usize::MAX);

/// Pause between looks at participants that connect or miss packets: a repair is asked for when it is 10 ms
/// late, so as much again is lost at most.
const FAST_TICK: Duration = Duration::from_millis(10);

/// Every participant is looked after once in so many fast ticks.
const SLOW_TICKS: usize = 10;

pub(crate) struct Engine {
    poll: Poll,
    commands: Commands<Command>,
    receiver: Receiver,
    ledger: Ledger,
    identity: Arc<Identity>,
    /// By slot, which is also the token of the socket; a slot is used once.
    participants: Vec<Option<Participant>>,
    slots: HashMap<ParticipantId, usize>,
    schedule: Schedule,
    next_tick: Instant,
    tick: usize,
    progress: Arc<Progress>,
    /// Those who left or were lost.
    past: Past,
}

impl Engine {
    /// Runs until told to stop.
    ///
    /// # Errors
    /// If the system refuses to wait for sockets.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            let now = Instant::now();
            let next = self.schedule.next_due().map_or(self.next_tick, |at| at.min(self.next_tick));
            let wait = next.saturating_duration_since(now);
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Err(_) | Ok(()) => {}
            }
            if !self.take_commands()? {
                return Ok(());
            }
            self.send_due();
            for event in events.iter().filter(|event| event.token() != WAKER) {
                if !self.receive(event.token().0)? {
                    return Ok(());
                }
                self.send_due();
            }
            self.run_tick();
        }
    }

    /// Sends the frames that are due. Called between sockets: a frame must not wait for all of them.
    fn send_due(&mut self) {
        let now = Instant::now();
        while let Some(due) = self.schedule.pop_due(now) {
            let Some(Some(participant)) = self.participants.get_mut(due.slot) else { continue };
            let Some(source) = participant.sources().get(due.source) else { continue };
            let interval = source.shape.interval;
            let mut batch = std::mem::take(&mut self.ledger.batch);
            participant.send_frame(due.source, &mut batch, &mut self.ledger);
            self.ledger.batch = batch;
            self.schedule.repeat(due, interval, now);
        }
    }

    /// Takes what came to a participant. Returns whether to go on.
    fn receive(&mut self, slot: usize) -> io::Result<bool> {
        let Some(Some(participant)) = self.participants.get_mut(slot) else { return Ok(true) };
        let socket = participant.socket();
        let now = Instant::now();
        let mut failure = None;
        let was_receiving = participant.is_receiving();
        loop {
            let ledger = &mut self.ledger;
            let more = self.receiver.receive(&*socket, |message| {
                let handled = participant.handle_message(message, now, ledger);
                failure = failure.take().or(handled.err());
            });
            // Edge-triggered: whatever is left would not be announced again.
            if failure.is_some() || !more.unwrap_or(false) {
                break;
            }
        }
        if !was_receiving && participant.is_receiving() {
            self.progress.count_receiving();
        }
        let Some(error) = failure else { return Ok(true) };
        // Whoever left meanwhile was hung up on for that.
        let goes_on = self.take_commands()?;
        self.lose(slot, &error);
        Ok(goes_on)
    }

    fn take_commands(&mut self) -> io::Result<bool> {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => {
                    self.close_all();
                    return Ok(false);
                }
                Ok(command) => self.obey(command)?,
                Err(TryRecvError::Empty) => return Ok(true),
            }
        }
    }

    fn obey(&mut self, command: Command) -> io::Result<()> {
        let now = Instant::now();
        match command {
            Command::Add(newcomer) => self.add(*newcomer, now)?,
            Command::Describe(id, remote) => {
                self.with(id, |participant| participant.handle_remote(*remote, now));
            }
            Command::Candidate(id, candidate) => {
                self.with(id, |participant| participant.handle_candidate(candidate, now));
            }
            Command::Remove(id) => self.remove(id),
            Command::OpenWindow(window) => self.open_window(window),
            Command::Report(reply) => {
                // Whoever asked may have given up waiting.
                let _gone = reply.send(self.snapshot());
            }
            Command::Stop => {}
        }
        Ok(())
    }

    fn add(&mut self, newcomer: Newcomer, now: Instant) -> io::Result<()> {
        let slot = self.participants.len();
        let descriptor = newcomer.socket.as_raw_fd();
        let registry = self.poll.registry();
        registry.register(&mut SourceFd(&descriptor), Token(slot), Interest::READABLE)?;
        self.slots.insert(newcomer.id, slot);
        for (index, source) in newcomer.sources.iter().enumerate() {
            self.schedule.begin(slot, index, source.shape.interval, now);
        }
        self.participants.push(Some(Participant::new(newcomer, Arc::clone(&self.identity), now)));
        Ok(())
    }

    fn with(
        &mut self,
        id: ParticipantId,
        change: impl FnOnce(&mut Participant) -> anyhow::Result<()>,
    ) {
        let Some(&slot) = self.slots.get(&id) else { return };
        let Some(Some(participant)) = self.participants.get_mut(slot) else { return };
        if let Err(error) = change(participant) {
            self.lose(slot, &error);
        }
    }

    fn remove(&mut self, id: ParticipantId) {
        let Some(slot) = self.slots.remove(&id) else { return };
        if let Some(mut participant) = self.participants.get_mut(slot).and_then(Option::take) {
            participant.close();
            self.past.take_in(&participant, None);
        }
    }

    fn lose(&mut self, slot: usize, error: &anyhow::Error) {
        let Some(participant) = self.participants.get_mut(slot).and_then(Option::take) else {
            return;
        };
        self.slots.remove(&participant.id());
        self.past.take_in(&participant, Some(format!("{error:#}")));
        self.progress.count_lost();
    }

    fn run_tick(&mut self) {
        let now = Instant::now();
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + FAST_TICK;
        self.tick = (self.tick + 1) % SLOW_TICKS;
        let (mut connected, mut connecting): (u64, u64) = (0, 0);
        for slot in 0..self.participants.len() {
            let Some(Some(participant)) = self.participants.get_mut(slot) else { continue };
            let is_connected = participant.is_connected();
            connected += u64::from(is_connected);
            connecting += u64::from(!is_connected);
            let is_turn = slot % SLOW_TICKS == self.tick;
            if !is_turn && !participant.needs_attention() {
                continue;
            }
            participant.send_requests(now, &mut self.ledger);
            if is_turn {
                participant.send_reports(now);
            }
            if let Err(error) = participant.handle_timeout(now) {
                self.lose(slot, &error);
            }
        }
        self.progress.publish(connected, connecting, &self.ledger.totals);
        if self.tick == 0 {
            self.put_out_bait();
        }
    }

    /// For garbage: something real of whoever sends, or at least where media goes.
    fn put_out_bait(&self) {
        let connected = || self.participants.iter().flatten().filter(|one| one.is_connected());
        let sending = connected().find(|participant| !participant.sources().is_empty());
        if let Some(bait) = sending.or_else(|| connected().next()).and_then(Participant::bait) {
            self.progress.set_bait(bait);
        }
    }

    fn open_window(&mut self, window: Window) {
        self.ledger.open_window(window);
        self.participants.iter_mut().flatten().for_each(Participant::open_window);
        self.past.open_window();
    }

    fn snapshot(&self) -> Snapshot {
        let present = self.participants.iter().flatten();
        self.past.snapshot(present, &self.ledger)
    }

    fn close_all(&mut self) {
        self.participants.iter_mut().flatten().for_each(Participant::close);
    }
}
