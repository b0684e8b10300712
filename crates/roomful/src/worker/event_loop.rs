//! The loop of one worker thread.
//!
//! One turn looks at everything once, each with a budget: timeouts, mails, what arrived, and one slice of what is to be
//! sent. So a burst in one room, however long, is a sequence of slices, and between any two of them the sound of another
//! is read and, since the core writes sound first, leaves with the next. While nothing is to be done the loop sleeps, and a
//! datagram that wakes it costs three system calls: the poll, one `recvmmsg`, one `sendmmsg`.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};
use roomful_sfu::administration::RequestId;
use roomful_sfu::ids::ConnectionId;
use roomful_sfu::transmit::TransmitBuffer;
use roomful_sfu::{Datagram, Route, Sfu};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use super::lanes::Lanes;
use super::links::{Links, Neighbours};
use super::readiness::Readiness;
use super::{Answer, Envelope, Mail, Outbox, WorkerSeed};
use crate::agents::AgentsHandle;
use crate::lanes::{NewLane, Ufrags};
use crate::placement::{BusyMeter, Directory, WorkerIndex};
use crate::udp::{SendQueue, UdpSocket, is_fatal};
use crate::webhook::Notices;

mod links;
mod outputs;
#[cfg(test)]
mod tests;

const SOCKET: Token = Token(0);
const MAILBOX: Token = Token(1);

/// Mails handled in one turn, and the time after which no further one is begun. More, and a burst of joins, half a
/// millisecond each, delays media; fewer, and small messages wait for turns that send one slice each.
const MAIL_BUDGET: usize = 16;
const MAIL_TIME: Duration = Duration::from_micros(500);

/// Time from the start of a turn after which no further batch is received in it. Longer, and a flood, or the
/// handshakes of many who join at once, delays what waits to be sent; shorter, and under load packets of one track
/// are forwarded one by one instead of together.
const RECEIVE_TIME: Duration = Duration::from_millis(1);

/// What one look at the poll may find: the socket, the mailbox and lanes. More gains little; with fewer, many lanes need
/// many looks.
const MAX_EVENTS: usize = 64;

/// Longest sleep: bounds what a clock that jumps could cost.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Everything one worker thread owns.
pub(super) struct EventLoop {
    poll: Poll,
    socket: UdpSocket,
    mails: mpsc::Receiver<Envelope>,
    state: State,
    readiness: Readiness,
    lanes: Lanes,
    /// The mailbox may hold mails.
    mail_ready: bool,
    /// Other workers may have said something.
    links_ready: bool,
    /// More waits to be sent than went with the last slice.
    send_ready: bool,
    meter: BusyMeter,
}

/// The core and where its outputs go.
struct State {
    index: WorkerIndex,
    directory: Arc<Directory>,
    ufrags: Arc<Ufrags>,
    sfu: Sfu,
    outboxes: BTreeMap<ConnectionId, Outbox>,
    neighbours: Arc<Neighbours>,
    links: Links,
    transmits: TransmitBuffer,
    /// What the server API asked and was not answered yet: as many as its connections.
    asked: BTreeMap<RequestId, Answer>,
    last_request: RequestId,
    notices: Option<Notices>,
    agents: AgentsHandle,
    sends: SendQueue,
    /// Datagrams the kernel did not take.
    unsent: u64,
    next_timeout: Instant,
}

impl EventLoop {
    /// Also returns what wakes the loop up after a mail was sent.
    pub(super) fn new(
        seed: WorkerSeed,
        mails: mpsc::Receiver<Envelope>,
    ) -> io::Result<(Self, Waker)> {
        let WorkerSeed {
            index,
            directory,
            neighbours,
            ufrags,
            mut socket,
            sfu,
            seed,
            notices,
            agents,
        } = seed;
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), MAILBOX)?;
        poll.registry().register(&mut socket, SOCKET, Interest::READABLE)?;
        let now = Instant::now();
        let mut state = State {
            index,
            directory,
            ufrags,
            sfu: Sfu::new(sfu, seed, now).map_err(io::Error::other)?,
            outboxes: BTreeMap::new(),
            neighbours,
            links: Links::default(),
            transmits: TransmitBuffer::new(),
            asked: BTreeMap::new(),
            last_request: RequestId(0),
            notices,
            agents,
            sends: SendQueue::new(),
            unsent: 0,
            next_timeout: now,
        };
        state.drain(now);
        let readiness = Readiness::unknown();
        let meter = BusyMeter::new(now);
        let event_loop = Self {
            poll,
            socket,
            mails,
            state,
            readiness,
            lanes: Lanes::new(MAILBOX),
            mail_ready: true,
            links_ready: false,
            send_ready: false,
            meter,
        };
        Ok((event_loop, waker))
    }

    /// Runs until [`Mail::Shutdown`], or until the socket is unusable.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(MAX_EVENTS);
        while self.turn()?.is_continue() {
            self.wait(&mut events)?;
        }
        Ok(())
    }

    /// Everything once. Breaks when the worker is to end.
    fn turn(&mut self) -> io::Result<ControlFlow<()>> {
        let start = Instant::now();
        // Priority 1: timeouts. They are few, and late ones make every estimate wrong.
        self.state.handle_timeout(start);
        self.lanes.handle_timeout(start);
        // Priority 2: mails. They change who receives what follows.
        if self.read_mails(start).is_break() {
            self.state.handle_shutdown(Instant::now());
            while self.state.send(&self.socket, &mut self.lanes, Instant::now()) {}
            self.state.send_links();
            let unsent = self.state.unsent + self.lanes.dropped();
            tracing::debug!(unsent, core = ?self.state.sfu.drop_counts(), "datagrams dropped");
            return Ok(ControlFlow::Break(()));
        }
        if std::mem::take(&mut self.links_ready) {
            self.links_ready = self.state.receive_links(Instant::now());
        }
        // Priority 3: media.
        self.read_socket(start)?;
        self.read_lanes(start);
        self.send_ready = self.state.send(&self.socket, &mut self.lanes, Instant::now());
        self.state.send_links();
        Ok(ControlFlow::Continue(()))
    }

    /// Breaks when the worker is to end.
    fn read_mails(&mut self, start: Instant) -> ControlFlow<()> {
        if !self.mail_ready {
            return ControlFlow::Continue(());
        }
        let mut now = start;
        for _ in 0..MAIL_BUDGET {
            match self.mails.try_recv() {
                Ok(Envelope { mail: Mail::Shutdown, .. }) | Err(TryRecvError::Disconnected) => {
                    return ControlFlow::Break(());
                }
                Ok(Envelope { mail: Mail::Lane(lane), .. }) => self.open_lane(*lane, now),
                Ok(Envelope { mail, seat }) => {
                    self.state.handle_mail(mail, now);
                    // Not before the directory knows what became of the room.
                    drop(seat);
                }
                Err(TryRecvError::Empty) => {
                    self.mail_ready = false;
                    break;
                }
            }
            now = Instant::now();
            if now - start >= MAIL_TIME {
                break;
            }
        }
        ControlFlow::Continue(())
    }

    fn read_socket(&mut self, start: Instant) -> io::Result<()> {
        let mut now = start;
        while self.readiness.is_ready(now) {
            let state = &mut self.state;
            let received = self.socket.recv_batch(|source, destination, payload| {
                state.receive(Route::udp(destination, source), payload, now);
            });
            match received {
                Ok(received) => self.readiness.handle_read(received.drained),
                Err(error) if is_fatal(&error) => return Err(error),
                Err(error) => self.readiness.handle_error(&error, now),
            }
            now = Instant::now();
            if now - start >= RECEIVE_TIME {
                break;
            }
        }
        Ok(())
    }

    /// From one after the other: a share of the time that reading may take, and at least one of them.
    fn read_lanes(&mut self, start: Instant) {
        let mut now = start;
        while self.lanes.is_readable() {
            let state = &mut self.state;
            self.lanes.read(now, |route, payload| state.receive(route, payload, now));
            now = Instant::now();
            if now - start >= 2 * RECEIVE_TIME {
                break;
            }
        }
    }

    fn open_lane(&mut self, lane: NewLane, now: Instant) {
        let state = &mut self.state;
        let each = |route, payload: &mut [u8]| state.receive(route, payload, now);
        if let Err(error) = self.lanes.open(lane, self.poll.registry(), now, each) {
            tracing::debug!(%error, "a TCP connection for media is refused");
        }
    }

    /// Sleeps until there is something to do, or only looks if there already is.
    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let now = Instant::now();
        let is_busy =
            self.mail_ready || self.links_ready || self.send_ready || self.lanes.is_readable();
        let sleep = if is_busy || self.readiness.is_ready(now) {
            Duration::ZERO
        } else {
            let others = [self.readiness.retry_at(), self.lanes.poll_timeout()];
            let next = others.into_iter().flatten().fold(self.state.next_timeout, Instant::min);
            next.saturating_duration_since(now).min(LONGEST_SLEEP)
        };
        let polled = self.poll.poll(events, Some(sleep));
        self.state.measure(&mut self.meter, now);
        match polled {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in events.iter() {
            match event.token() {
                SOCKET => self.readiness.handle_arrival(),
                MAILBOX => (self.mail_ready, self.links_ready) = (true, true),
                _ => self.lanes.handle_event(event, Instant::now()),
            }
        }
        Ok(())
    }
}

impl State {
    fn receive(&mut self, route: Route, payload: &mut [u8], now: Instant) {
        self.sfu.handle_datagram(Datagram { route, payload }, now);
        self.drain(now);
    }

    fn handle_mail(&mut self, mail: Mail, now: Instant) {
        match mail {
            Mail::Join { connection, attempt, outbox, home } => {
                self.outboxes.insert(connection, outbox);
                self.prepare_part(home, &attempt, now);
                self.sfu.handle_join(connection, *attempt, now);
            }
            // A connection that this side has ended may still have mails on their way.
            Mail::Message { from, message } if self.outboxes.contains_key(&from) => {
                self.sfu.handle_message(from, *message, now);
            }
            Mail::Alive { connection } if self.outboxes.contains_key(&connection) => {
                self.sfu.handle_alive(connection, now);
            }
            Mail::Disconnect { connection } => {
                if self.outboxes.remove(&connection).is_some() {
                    self.sfu.handle_disconnect(connection, now);
                }
            }
            // What it brings comes in the same turn.
            Mail::Link { link, end } => self.links.insert(link, *end),
            Mail::Administer { what, reply } => {
                let request = self.remember(reply);
                self.sfu.administer(request, *what, now);
            }
            Mail::Forward { what, home, reply } => {
                let request = self.remember(reply);
                self.forward(request, *what, home, now);
            }
            Mail::Job(job) => self.sfu.handle_job(*job, now),
            Mail::Message { .. } | Mail::Alive { .. } | Mail::Lane(_) | Mail::Shutdown => return,
        }
        self.drain(now);
    }

    /// Somebody waits for an answer.
    fn remember(&mut self, reply: Answer) -> RequestId {
        self.last_request.0 += 1;
        self.asked.insert(self.last_request, reply);
        self.last_request
    }

    fn handle_timeout(&mut self, now: Instant) {
        if now >= self.next_timeout {
            self.sfu.handle_timeout(now);
            self.drain(now);
        }
    }

    /// Everyone is told; the connections close when their outboxes are dropped with this.
    fn handle_shutdown(&mut self, now: Instant) {
        self.sfu.handle_shutdown(now);
        self.drain(now);
    }

    /// Takes note that the thread slept until now, and tells how busy it is.
    fn measure(&self, meter: &mut BusyMeter, slept: Instant) {
        if let Some(load) = self.directory.load(self.index) {
            meter.handle_sleep(slept, Instant::now(), load);
        }
    }

    /// Sends one slice of what the core has for sending; `true` if more waits.
    fn send(&mut self, socket: &UdpSocket, lanes: &mut Lanes, now: Instant) -> bool {
        let more = self.sfu.poll_transmits(now, &mut self.transmits);
        if self.transmits.has_tcp() {
            lanes.send(&self.transmits, now);
        }
        self.unsent += self.sends.flush(socket, &mut self.transmits).dropped as u64;
        // Sending sets timers: of keyframes to ask for, of packets to pace.
        self.drain(now);
        more
    }
}
