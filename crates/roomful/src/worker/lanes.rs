//! The lanes of a worker: TCP connections that carry media where UDP does not pass (RFC 6544, RFC 4571).
//!
//! [`crate::lanes`] accepts them and hands each to the worker whose transport its first check names. Here a datagram is
//! taken off a lane or written to it; to the core it is one like any other, with another protocol in its route.
//!
//! A lane is worth nothing until the core answers on it, which it does only to checks that carry the right password.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use roomful_rtp::framing::{FrameReader, frame_length};
use roomful_sfu::transmit::TransmitBuffer;
use roomful_sfu::{Protocol, Route};
use socket2::SockRef;

use crate::lanes::NewLane;
use backlog::Backlog;

mod backlog;
#[cfg(test)]
mod tests;

/// Lanes of one worker. A person behind a firewall needs one; more lets a flood of valid checks take more descriptors,
/// fewer turns people away from a company's network.
const MAX_LANES: usize = 2_048;

/// Lanes of one transport. A browser opens one to each address it was told and keeps the best: with fewer, the best
/// could be closed for the sake of another; with more, one participant takes more of the worker's.
const MAX_LANES_EACH: usize = 8;

/// After this the core must have answered. Longer holds lanes of those who know a user name but no password,
/// shorter ends those of people on bad networks before their second check.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// A lane on which nothing comes for so long has been left. Browsers check the lane in use every few seconds (RFC 7675
/// §5.1) and others rarely: shorter ends what may be needed when the one in use breaks, longer keeps dead ones.
const IDLE_TIME: Duration = Duration::from_secs(30);

/// How often lanes are looked through for what should end. Oftener costs wakes, more seldom makes the times above
/// imprecise.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Bytes read at a time. More delays the other lanes, fewer costs system calls where someone publishes.
const READ_BYTES: usize = 16 * 1024;

/// Bytes the kernel holds that were not sent yet; the rest waits here, where old media can still be dropped. More delays
/// sound behind pictures, less needs more wakes to keep a fast connection busy.
const UNSENT_BYTES: u32 = 32 * 1024;

/// Sent bytes that are not acknowledged for so long end the lane: its client has gone, and would be sent to for a
/// quarter of an hour otherwise.
const UNACKNOWLEDGED_TIME: Duration = Duration::from_secs(10);

/// See the module text.
pub(super) struct Lanes {
    lanes: BTreeMap<Token, Lane>,
    by_remote: HashMap<SocketAddr, Token>,
    /// Lanes that may hold more than was read.
    readable: VecDeque<Token>,
    last_token: Token,
    received: Vec<u8>,
    burst: Vec<u8>,
    next_sweep: Option<Instant>,
    dropped: u64,
}

struct Lane {
    stream: TcpStream,
    route: Route,
    ufrag: String,
    reader: FrameReader,
    backlog: Backlog,
    opened: Instant,
    heard: Instant,
    /// The core sent something here.
    is_answered: bool,
    /// The other end sends no more than what waits to be read.
    is_ending: bool,
}

impl Lanes {
    /// No lanes; their tokens come after `last_token`.
    pub(super) fn new(last_token: Token) -> Self {
        Self {
            lanes: BTreeMap::new(),
            by_remote: HashMap::new(),
            readable: VecDeque::new(),
            last_token,
            received: Vec::new(),
            burst: Vec::new(),
            next_sweep: None,
            dropped: 0,
        }
    }

    /// Takes a lane over; `each` gets the datagrams that were read from it already.
    ///
    /// # Errors
    /// There are too many, or the system refuses: the lane is closed.
    pub(super) fn open(
        &mut self,
        new: NewLane,
        registry: &Registry,
        now: Instant,
        each: impl FnMut(Route, &mut [u8]),
    ) -> io::Result<()> {
        let NewLane { stream, local, remote, ufrag, mut beginning } = new;
        if self.lanes.len() >= MAX_LANES {
            return Err(io::Error::other("there are too many TCP connections for media"));
        }
        configure(&stream);
        let mut stream = TcpStream::from_std(stream);
        self.last_token.0 += 1;
        let token = self.last_token;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.make_room_beside(&ufrag);
        let lane = Lane {
            stream,
            route: Route::tcp(local, remote),
            ufrag,
            reader: FrameReader::default(),
            backlog: Backlog::default(),
            opened: now,
            heard: now,
            is_answered: false,
            is_ending: false,
        };
        // A port used again before the connection that had it was missed.
        if let Some(former) = self.by_remote.insert(remote, token) {
            self.close(former);
        }
        self.lanes.insert(token, lane);
        self.next_sweep.get_or_insert(now + SWEEP_EVERY);
        if !self.take_in(token, &mut beginning, now, each) {
            self.close(token);
        }
        Ok(())
    }

    /// The poll says that something happened on a lane.
    pub(super) fn handle_event(&mut self, event: &Event, now: Instant) {
        let token = event.token();
        let Some(lane) = self.lanes.get_mut(&token) else { return };
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            lane.is_ending |= event.is_read_closed() || event.is_error();
            if !self.readable.contains(&token) {
                self.readable.push_back(token);
            }
        }
        if event.is_writable()
            && !lane.backlog.is_empty()
            && lane.backlog.write_to(&mut lane.stream, now).is_err()
        {
            self.close(token);
        }
    }

    /// Whether [`Lanes::read`] may find something.
    pub(super) fn is_readable(&self) -> bool {
        !self.readable.is_empty()
    }

    /// Reads once from the lane whose turn it is; `each` gets the datagrams.
    pub(super) fn read(&mut self, now: Instant, each: impl FnMut(Route, &mut [u8])) {
        let Some(token) = self.readable.pop_front() else { return };
        let Some(lane) = self.lanes.get_mut(&token) else { return };
        let mut bytes = std::mem::take(&mut self.received);
        bytes.resize(READ_BYTES, 0);
        match lane.stream.read(&mut bytes) {
            Ok(0) => self.close(token),
            Ok(length) => {
                // Less than there was room for is all there was, unless it was the last.
                if length == bytes.len() || lane.is_ending {
                    self.readable.push_back(token);
                }
                let read = bytes.get_mut(..length).unwrap_or_default();
                if !self.take_in(token, read, now, each) {
                    self.close(token);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.readable.push_back(token);
            }
            Err(_) => self.close(token),
        }
        self.received = bytes;
    }

    /// Writes every datagram of `buffer` that goes by TCP, as far as its lane takes it now.
    pub(super) fn send(&mut self, buffer: &TransmitBuffer, now: Instant) {
        let mut datagrams =
            buffer.iter().filter(|(route, _)| route.protocol == Protocol::Tcp).peekable();
        while let Some((route, datagram)) = datagrams.next() {
            let token = self.by_remote.get(&route.remote).copied();
            let lane = token.and_then(|token| Some((token, self.lanes.get_mut(&token)?)));
            let Some((token, lane)) = lane else {
                self.dropped += 1;
                continue;
            };
            lane.is_answered = true;
            if !lane.backlog.is_empty() {
                lane.backlog.push(datagram, now);
                continue;
            }
            if let Some(length) = frame_length(datagram.len()) {
                self.burst.extend_from_slice(&length);
                self.burst.extend_from_slice(datagram);
            }
            if datagrams.peek().is_none_or(|(next, _)| next.remote != route.remote) {
                let outcome = lane.write(&self.burst, now);
                self.burst.clear();
                if outcome.is_err() {
                    self.close(token);
                }
            }
        }
    }

    /// When [`Lanes::handle_timeout`] is next due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next_sweep
    }

    /// Ends lanes that are of no use.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.next_sweep.is_none_or(|at| now < at) {
            return;
        }
        let is_over = |lane: &Lane| {
            now.saturating_duration_since(lane.heard) >= IDLE_TIME
                || (!lane.is_answered && now.saturating_duration_since(lane.opened) >= ANSWER_TIME)
        };
        let over: Vec<Token> =
            self.lanes.iter().filter(|(_, lane)| is_over(lane)).map(|(token, _)| *token).collect();
        for token in over {
            self.close(token);
        }
        self.next_sweep = (!self.lanes.is_empty()).then_some(now + SWEEP_EVERY);
    }

    /// Datagrams that were dropped on their way out.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped + self.lanes.values().map(|lane| lane.backlog.dropped()).sum::<u64>()
    }

    /// `false` if the lane speaks nonsense.
    fn take_in(
        &mut self,
        token: Token,
        bytes: &mut [u8],
        now: Instant,
        mut each: impl FnMut(Route, &mut [u8]),
    ) -> bool {
        let Some(lane) = self.lanes.get_mut(&token) else { return true };
        lane.heard = now;
        let route = lane.route;
        let outcome = lane.reader.read(bytes, |datagram| each(route, datagram));
        outcome.inspect_err(|error| tracing::debug!(%error, "a TCP connection is given up")).is_ok()
    }

    /// Ends a lane of a transport that has as many as it may: the oldest, but one that was not answered before any
    /// other, or whoever knows a user name could push its owner out.
    fn make_room_beside(&mut self, ufrag: &str) {
        let own = self.lanes.iter().filter(|(_, lane)| lane.ufrag == ufrag);
        if own.clone().count() < MAX_LANES_EACH {
            return;
        }
        let least = own.min_by_key(|(token, lane)| (lane.is_answered, **token));
        if let Some(token) = least.map(|(token, _)| *token) {
            self.close(token);
        }
    }

    fn close(&mut self, token: Token) {
        let Some(lane) = self.lanes.remove(&token) else { return };
        self.dropped += lane.backlog.dropped() + lane.backlog.len() as u64;
        if self.by_remote.get(&lane.route.remote) == Some(&token) {
            self.by_remote.remove(&lane.route.remote);
        }
        // Dropping the stream takes it out of the poll.
    }
}

impl Lane {
    /// Writes whole frames, or keeps what is not taken now; nothing waits already.
    fn write(&mut self, frames: &[u8], now: Instant) -> io::Result<()> {
        let written = match self.stream.write(frames) {
            Err(error) if is_for_later(&error) => 0,
            outcome => outcome?,
        };
        if written == frames.len() {
            return Ok(());
        }
        self.backlog.push_rest(frames, written, now);
        // Until the system says that it is full it need not say when there is room again.
        self.backlog.write_to(&mut self.stream, now)
    }
}

/// Best effort: without these a lane works, with more delay.
fn configure(stream: &std::net::TcpStream) {
    let socket = SockRef::from(stream);
    let outcome = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let outcome = outcome
        .and_then(|()| socket.set_tcp_notsent_lowat(UNSENT_BYTES))
        .and_then(|()| socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIME)));
    if let Err(error) = outcome {
        tracing::debug!(%error, "a TCP connection keeps its defaults");
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
