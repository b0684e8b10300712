//! One task that owns the core's [`Agencies`]: rooms and agencies tell it what they want, and it passes on what the core
//! decides.
//!
//! A worker never waits for it (what does not fit is dropped and logged), and it never waits for an agency: one that
//! reads too slowly is sent away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use livekit_protocol as proto;
use roomful_sfu::agents::{Agencies, AgencyOutput, AgentRequest};
use roomful_sfu::ids::{AgencyId, RoomName};
use roomful_sfu::token::ApiKeys;
use roomful_sfu::{Seed, WallClock};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

use crate::placement::{Directory, SeatKind};
use crate::worker::{Mail, WorkerHandle};

/// Mails that may wait for the task. More hides a program that is stuck, fewer leaves some rooms without agents where
/// hundreds of people join at once.
const CHANNEL_CAPACITY: usize = 4_096;

/// Messages that may wait for one agency. More take more memory for one that does not read, fewer send agencies away that
/// are offered the jobs of a large room at once.
const LINE_CAPACITY: usize = 1_024;

/// What the task is told.
pub(crate) enum AgentMail {
    /// An agency connected.
    Connected {
        /// The new connection.
        agency: AgencyId,
        /// Where the answers go.
        line: Line,
    },
    /// An agency said something.
    Message {
        /// Which.
        from: AgencyId,
        /// And what.
        message: Box<proto::WorkerMessage>,
    },
    /// An agency is gone.
    Gone {
        /// Which.
        agency: AgencyId,
    },
    /// A room asks something.
    Room(AgentRequest),
    /// Send every agency away.
    Shutdown,
}

/// One thing for an agency's connection to do.
pub(crate) enum LineItem {
    /// Write this message.
    Message(Box<proto::ServerMessage>),
    /// Close, and say this about it; nothing follows.
    Close(String),
}

/// The task's end of what waits for one agency. Bounded and lossless: full, it ends the connection.
pub(crate) struct Line {
    items: mpsc::Sender<LineItem>,
    /// Room for the last word.
    last: mpsc::OwnedPermit<LineItem>,
}

/// A new line and the end its connection reads. `None` cannot happen with a capacity above zero.
pub(crate) fn line() -> Option<(Line, mpsc::Receiver<LineItem>)> {
    let (items, receiver) = mpsc::channel(LINE_CAPACITY + 1);
    let last = items.clone().try_reserve_owned().ok()?;
    Some((Line { items, last }, receiver))
}

impl Line {
    fn close(self, why: &str) {
        self.last.send(LineItem::Close(why.to_owned()));
    }
}

/// How the rest of the program reaches the task.
#[derive(Clone)]
pub(crate) struct AgentsHandle(mpsc::Sender<AgentMail>);

/// The task has ended.
#[derive(Debug, thiserror::Error)]
#[error("the server is shutting down")]
pub(crate) struct AgentsGone;

impl AgentsHandle {
    /// Leaves what a room asks. Lossy: a worker never waits.
    pub(crate) fn ask(&self, request: AgentRequest) {
        if self.0.try_send(AgentMail::Room(request)).is_err() {
            tracing::warn!("too much waits for the agencies: what a room asks of them is dropped");
        }
    }

    /// Delivers `mail`, after waiting for room if need be.
    pub(crate) async fn send(&self, mail: AgentMail) -> Result<(), AgentsGone> {
        self.0.send(mail).await.map_err(|_| AgentsGone)
    }
}

/// The handle, and what [`AgentsTask::start`] needs: workers want the one before they can be told to the other.
pub(crate) fn channel() -> (AgentsHandle, AgentsTask) {
    let (sender, mails) = mpsc::channel(CHANNEL_CAPACITY);
    (AgentsHandle(sender), AgentsTask(mails))
}

/// A task that has not started.
pub(crate) struct AgentsTask(mpsc::Receiver<AgentMail>);

impl AgentsTask {
    /// Starts it. It ends after [`AgentMail::Shutdown`].
    pub(crate) fn start(
        self,
        keys: ApiKeys,
        clock: WallClock,
        seed: Seed,
        rooms: Rooms,
        target_load: Option<f32>,
    ) -> JoinHandle<()> {
        let mut agencies = Agencies::new(keys, clock, seed, Instant::now());
        if let Some(load) = target_load {
            agencies.set_target_load(load);
        }
        let office = Office { agencies, lines: BTreeMap::new(), rooms };
        tokio::spawn(office.run(self.0))
    }
}

/// How rooms are reached.
pub(crate) struct Rooms {
    /// Where each is.
    pub(crate) directory: Arc<Directory>,
    /// Every worker, in its order.
    pub(crate) workers: Vec<WorkerHandle>,
}

struct Office {
    agencies: Agencies,
    lines: BTreeMap<AgencyId, Line>,
    rooms: Rooms,
}

impl Office {
    async fn run(mut self, mut mails: mpsc::Receiver<AgentMail>) {
        loop {
            let due = self.drain().await;
            let mail = tokio::select! {
                mail = mails.recv() => mail,
                () = sleep_until(due.into()) => {
                    self.agencies.handle_timeout(Instant::now());
                    continue;
                }
            };
            match mail {
                Some(AgentMail::Shutdown) | None => break,
                Some(mail) => self.handle_mail(mail, Instant::now()),
            }
        }
        for line in std::mem::take(&mut self.lines).into_values() {
            line.close("the server is shutting down");
        }
    }

    fn handle_mail(&mut self, mail: AgentMail, now: Instant) {
        match mail {
            AgentMail::Connected { agency, line } => {
                self.lines.insert(agency, line);
                self.agencies.handle_connected(agency, now);
            }
            // One that was sent away may still have mails on their way.
            AgentMail::Message { from, message } if self.lines.contains_key(&from) => {
                self.agencies.handle_message(from, *message, now);
            }
            AgentMail::Gone { agency } => {
                self.lines.remove(&agency);
                self.agencies.handle_gone(agency, now);
            }
            AgentMail::Room(request) => self.agencies.handle_request(request, now),
            AgentMail::Message { .. } | AgentMail::Shutdown => {}
        }
    }

    /// Passes on what the core decides; when it next wants to be woken.
    async fn drain(&mut self) -> Instant {
        loop {
            match self.agencies.poll_output() {
                AgencyOutput::Tell { agency, message } => self.tell(agency, message),
                AgencyOutput::Close { agency, why } => {
                    if let Some(line) = self.lines.remove(&agency) {
                        line.close(&why.to_string());
                    }
                }
                AgencyOutput::Job(job) => self.rooms.tell(job).await,
                AgencyOutput::Timeout(at) => return at,
            }
        }
    }

    fn tell(&mut self, agency: AgencyId, message: Box<proto::ServerMessage>) {
        let Some(line) = self.lines.get(&agency) else { return };
        if line.items.try_send(LineItem::Message(message)).is_err()
            && let Some(line) = self.lines.remove(&agency)
        {
            line.close("too many messages wait: read faster");
            self.agencies.handle_gone(agency, Instant::now());
        }
    }
}

impl Rooms {
    /// The worker reads its mailbox whatever happens here, so that waiting for room in it ends.
    async fn tell(&self, job: Box<proto::Job>) {
        let Some(name) = job.room.as_ref().map(|room| RoomName::new(room.name.clone())) else {
            return;
        };
        let seat = self.directory.seat(&name, SeatKind::Visitor, Instant::now());
        let Some(seat) = seat else { return };
        let Some(worker) = self.workers.get(seat.worker().0) else { return };
        if let Err(error) = worker.for_seat(seat).send(Mail::Job(job)).await {
            tracing::debug!(%error, "a room does not hear of a job");
        }
    }
}
