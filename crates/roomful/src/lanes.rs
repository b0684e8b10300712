//! Lanes before they are a worker's: accepting TCP connections for media, and finding out whose they are.
//!
//! All workers share one TCP port. The first datagram on a connection is a check that names a transport by its ICE user
//! name (RFC 8445 §7.2.2), and [`Ufrags`] knows the worker of each. Nothing is authenticated by that, so everything here
//! is bounded: how many connections have not said whose they are, how many of them one address has, how long and how
//! much they may say.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roomful_rtp::framing::LENGTH_BYTES;
use roomful_sfu::binding_request_ufrag;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::placement::WorkerIndex;
use crate::worker::{Mail, WorkerHandle};

#[cfg(test)]
mod tests;

/// Connections that have not said whose they are. More lets a flood take more descriptors and memory (some 3 kB each);
/// fewer turns people away when a whole company joins at once behind its firewall.
const MAX_WAITING: usize = 512;

/// The same from one address, or one IPv6 network of 64 bits. More lets a single machine take all of [`MAX_WAITING`];
/// fewer turns people away who share an address, though each waits only for one round trip.
const MAX_WAITING_EACH: usize = 64;

/// How long a connection may take to say whose it is. Longer lets whoever trickles bytes hold more of them; shorter cuts
/// off phones on bad networks.
const FIRST_CHECK_TIME: Duration = Duration::from_secs(5);

/// The longest first check, in bytes. Browsers send about 100; a longer one than fits into a packet (RFC 8489 §6.1: less
/// than 576 bytes where the path is not known) is none.
const MAX_FIRST_CHECK: usize = 1_500;

/// Pause after the system could not accept, mostly for want of file descriptors. Shorter spins;
/// longer keeps people waiting when some are free again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Which worker answers at which ICE user name.
///
/// One lock guards it. Joins, departures and new connections take it, packets never do.
#[derive(Debug, Default)]
pub(crate) struct Ufrags(Mutex<HashMap<String, WorkerIndex>>);

/// A connection that has said whose it is.
#[derive(Debug)]
pub(crate) struct NewLane {
    /// The connection, non-blocking.
    pub(crate) stream: std::net::TcpStream,
    /// The address it arrived at.
    pub(crate) local: SocketAddr,
    /// The address it comes from.
    pub(crate) remote: SocketAddr,
    /// The user name in its first check.
    pub(crate) ufrag: String,
    /// What was read from it: the first check with its length, perhaps more.
    pub(crate) beginning: Vec<u8>,
}

/// Hands connections to workers; one for all listeners, so that they share the limits.
#[derive(Clone)]
pub(crate) struct Lanes {
    workers: Arc<[WorkerHandle]>,
    ufrags: Arc<Ufrags>,
    waiting: Arc<Waiting>,
    stopping: watch::Receiver<bool>,
}

impl Ufrags {
    /// The transport at `ufrag` is that worker's.
    pub(crate) fn insert(&self, ufrag: String, worker: WorkerIndex) {
        self.lock().insert(ufrag, worker);
    }

    /// Nobody answers there any more.
    pub(crate) fn remove(&self, ufrag: &str) {
        self.lock().remove(ufrag);
    }

    fn worker(&self, ufrag: &str) -> Option<WorkerIndex> {
        self.lock().get(ufrag).copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, WorkerIndex>> {
        // Every change is one call: a panic in between leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    /// For these workers, by their positions, until `stopping` says `true`.
    pub(crate) fn new(
        workers: &[WorkerHandle],
        ufrags: Arc<Ufrags>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self { workers: workers.into(), ufrags, waiting: Arc::default(), stopping }
    }

    /// Accepts until it is to stop.
    ///
    /// # Errors
    /// The listener is unusable.
    pub(crate) async fn accept(self, listener: TcpListener) -> io::Result<()> {
        let mut stopping = self.stopping.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stopping.wait_for(|stop| *stop) => return Ok(()),
            };
            match accepted {
                Ok((stream, remote)) => {
                    // Without a word: whoever is refused here has other ways or is up to no good.
                    if let Some(place) = Place::take(&self.waiting, remote.ip()) {
                        tokio::spawn(self.clone().introduce(stream, remote, place));
                    }
                }
                Err(error) if error.raw_os_error() == Some(libc::EBADF) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a TCP connection for media, trying again");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn introduce(self, stream: TcpStream, remote: SocketAddr, place: Place) {
        let introduced = timeout(FIRST_CHECK_TIME, self.hear(stream, remote)).await;
        let Ok(Some((worker, lane))) = introduced else { return };
        // A worker that is gone has taken its calls along.
        let _ = worker.send(Mail::Lane(Box::new(lane))).await;
        // Not before its worker counts it.
        drop(place);
    }

    /// Waits for the first check; `None` if it is none, or for nobody here.
    async fn hear(
        &self,
        mut stream: TcpStream,
        remote: SocketAddr,
    ) -> Option<(&WorkerHandle, NewLane)> {
        let mut beginning = Vec::new();
        while first_check(&beginning).is_incomplete() {
            let room = LENGTH_BYTES + MAX_FIRST_CHECK - beginning.len();
            if (&mut stream).take(room as u64).read_buf(&mut beginning).await.ok()? == 0 {
                return None;
            }
        }
        let FirstCheck::Of(ufrag) = first_check(&beginning) else { return None };
        let ufrag = ufrag.to_owned();
        let worker = self.workers.get(self.ufrags.worker(&ufrag)?.0)?;
        let local = canonical(stream.local_addr().ok()?);
        let stream = stream.into_std().ok()?;
        let remote = canonical(remote);
        Some((worker, NewLane { stream, local, remote, ufrag, beginning }))
    }
}

/// What the beginning of a stream says.
#[derive(Debug, PartialEq, Eq)]
enum FirstCheck<'a> {
    /// Not enough yet.
    Incomplete,
    /// A check for the transport at this user name.
    Of(&'a str),
    /// Something else.
    None,
}

impl FirstCheck<'_> {
    fn is_incomplete(&self) -> bool {
        *self == Self::Incomplete
    }
}

fn first_check(beginning: &[u8]) -> FirstCheck<'_> {
    let Some(length) = beginning.first_chunk() else { return FirstCheck::Incomplete };
    let length = usize::from(u16::from_be_bytes(*length));
    if length > MAX_FIRST_CHECK {
        return FirstCheck::None;
    }
    match beginning.get(LENGTH_BYTES..LENGTH_BYTES + length) {
        Some(datagram) => binding_request_ufrag(datagram).map_or(FirstCheck::None, FirstCheck::Of),
        None => FirstCheck::Incomplete,
    }
}

/// How many connections have not said whose they are, by where they come from.
#[derive(Debug, Default)]
struct Waiting(Mutex<HashMap<IpAddr, usize>>);

/// One of them, counted until it is dropped.
#[derive(Debug)]
struct Place {
    waiting: Arc<Waiting>,
    network: IpAddr,
}

impl Place {
    /// `None` if there are too many.
    fn take(waiting: &Arc<Waiting>, from: IpAddr) -> Option<Self> {
        let network = network(from);
        let mut counts = waiting.lock();
        let own = counts.get(&network).copied().unwrap_or(0);
        if own >= MAX_WAITING_EACH || counts.values().sum::<usize>() >= MAX_WAITING {
            return None;
        }
        counts.insert(network, own + 1);
        drop(counts);
        Some(Self { waiting: Arc::clone(waiting), network })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.waiting.lock();
        if let Some(count) = counts.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one customer of a provider has: an IPv4 address, or an IPv6 network of 64 bits.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

/// IPv4 written as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
