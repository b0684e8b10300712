//! A relay that delays and loses datagrams, for proving that this program would notice.
//!
//! Clients send to it instead of to the server (`--via`), and the server sees one address for each of them.
//! Only what the server sends is delayed and lost: every forwarded packet passes there once, so 5 ms show
//! as 5 ms and 1 % as 1 %.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// The largest datagram relayed.
const DATAGRAM_BYTES: usize = 2048;

/// Clients at once. Each costs a thread and a socket.
const MAX_CLIENTS: usize = 512;

/// Datagrams on their way to clients. Lossy: what comes on top is dropped, as by a full link. At 24,000
/// packets/s (a hundred viewers), 100 ms of delay take 2,400.
const MAX_WAITING: usize = 65_536;

/// What happens to datagrams from the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Impairment {
    pub(crate) delay: Duration,
    /// Share of datagrams that is lost, 0 to 1.
    pub(crate) loss: f64,
}

/// Relays between clients at `listen` and the server at `to`, until the process ends. `ready` is told where
/// it listens.
///
/// # Errors
/// If it cannot listen, or the socket breaks.
pub(crate) fn run(
    listen: SocketAddr,
    to: SocketAddr,
    impairment: Impairment,
    ready: impl FnOnce(SocketAddr),
) -> anyhow::Result<()> {
    let near = UdpSocket::bind(listen).with_context(|| format!("cannot listen at {listen}"))?;
    ready(near.local_addr()?);
    let near = Arc::new(near);
    let waiting = Arc::new(Waiting::default());
    let sender = (Arc::clone(&near), Arc::clone(&waiting));
    thread::spawn(move || sender.1.deliver(&sender.0));
    let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut buffer = [0; DATAGRAM_BYTES];
    loop {
        // A client that is gone makes the next receive fail: that is no reason to end.
        let Ok((length, client)) = near.recv_from(&mut buffer) else { continue };
        let far = match clients.get(&client) {
            Some(far) => far,
            None if clients.len() >= MAX_CLIENTS => bail!("more than {MAX_CLIENTS} clients"),
            None => {
                let far = Arc::new(far_side(to)?);
                let task = (Arc::clone(&far), Arc::clone(&waiting));
                thread::spawn(move || collect(&task.0, &task.1, client, impairment));
                clients.entry(client).or_insert(far)
            }
        };
        let _lossy = far.send(buffer.get(..length).unwrap_or_default());
    }
}

fn far_side(to: SocketAddr) -> anyhow::Result<UdpSocket> {
    let any = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to).with_context(|| format!("cannot reach {to}"))?;
    Ok(socket)
}

/// Takes what the server sends to one client.
fn collect(far: &UdpSocket, waiting: &Waiting, client: SocketAddr, impairment: Impairment) {
    let mut buffer = [0; DATAGRAM_BYTES];
    loop {
        let Ok(length) = far.recv(&mut buffer) else { continue };
        if fastrand::f64() < impairment.loss {
            continue;
        }
        let bytes = buffer.get(..length).unwrap_or_default().to_vec();
        waiting.push(Datagram { due: Instant::now() + impairment.delay, client, bytes });
    }
}

struct Datagram {
    due: Instant,
    client: SocketAddr,
    bytes: Vec<u8>,
}

/// Datagrams in the order of their delivery: the delay is the same for all.
#[derive(Default)]
struct Waiting {
    datagrams: Mutex<VecDeque<Datagram>>,
    arrived: Condvar,
}

impl Waiting {
    fn push(&self, datagram: Datagram) {
        let mut datagrams = self.lock();
        if datagrams.len() < MAX_WAITING {
            datagrams.push_back(datagram);
            self.arrived.notify_one();
        }
    }

    fn deliver(&self, near: &UdpSocket) {
        let mut datagrams = self.lock();
        loop {
            let now = Instant::now();
            match datagrams.front().map(|first| first.due) {
                None => {
                    let woken = self.arrived.wait(datagrams);
                    datagrams = woken.unwrap_or_else(PoisonError::into_inner);
                }
                Some(due) if due > now => {
                    drop(datagrams);
                    // Exact to some tens of microseconds, unlike a wait with a time limit.
                    thread::sleep(due - now);
                    datagrams = self.lock();
                }
                Some(_) => {
                    if let Some(first) = datagrams.pop_front() {
                        let _lossy = near.send_to(&first.bytes, first.client);
                    }
                }
            }
        }
    }

    /// Nothing that holds the lock can panic halfway through a change.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Datagram>> {
        self.datagrams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn what_the_server_sends_comes_late_and_what_clients_send_does_not() {
        let delay = Duration::from_millis(30);
        let (client, server) = through(Impairment { delay, loss: 0.0 });
        let begin = Instant::now();
        client.send(b"up").unwrap();
        let mut buffer = [0; 16];
        let (length, from) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"up");
        let turned = Instant::now();
        server.send_to(b"down", from).unwrap();
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"down");
        assert!(turned.elapsed() >= delay);
        assert!(turned - begin < Duration::from_secs(5));
    }

    #[test]
    fn as_much_is_lost_as_was_asked_for() {
        let (client, server) = through(Impairment { delay: Duration::ZERO, loss: 0.2 });
        client.send(b"up").unwrap();
        let mut buffer = [0; 16];
        let (_, from) = server.recv_from(&mut buffer).unwrap();
        let mut received = 0;
        for _ in 0..100 {
            // In portions, so that no buffer overflows.
            (0..20).for_each(|_| assert!(server.send_to(b"down", from).is_ok()));
            client.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
            while client.recv(&mut buffer).is_ok() {
                received += 1;
            }
        }
        // 1600 expected; six standard deviations are 107.
        assert!((1493..1707).contains(&received), "{received} of 2000");
    }

    /// A client behind the relay, and the server before it.
    fn through(impairment: Impairment) -> (UdpSocket, UdpSocket) {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = UdpSocket::bind(local).unwrap();
        let to = server.local_addr().unwrap();
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || run(local, to, impairment, |at| sender.send(at).unwrap()));
        let client = UdpSocket::bind(local).unwrap();
        client.connect(receiver.recv().unwrap()).unwrap();
        (client, server)
    }
}
