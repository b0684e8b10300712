//! Datagrams that nobody authenticated, sent to the server's media port: what it has to bear without
//! anybody noticing.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::engine::Handle;
use crate::udp;

/// Addresses the garbage comes from.
const SOCKETS: usize = 32;

/// Pause between portions.
const PORTION: Duration = Duration::from_millis(2);

/// The longest datagram made up.
const MOST_BYTES: usize = 1300;

/// Something real to repeat and to mutilate.
#[derive(Clone)]
pub(crate) struct Bait {
    /// Where the server receives media.
    pub(crate) server: SocketAddr,
    /// A datagram a participant sent, and the socket it came from.
    pub(crate) sent: Option<(Arc<UdpSocket>, Vec<u8>)>,
}

/// A thread that sends garbage. It ends when dropped.
pub(crate) struct Garbage {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Garbage {
    /// Sends `rate` datagrams a second to wherever the participants' media goes.
    ///
    /// # Errors
    /// If there are no sockets or threads for it.
    pub(crate) fn start(engine: Handle, rate: u32) -> anyhow::Result<Self> {
        let sockets = (0..SOCKETS).map(|_| udp::open()).collect::<Result<Vec<_>, _>>()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let work = move || {
            let begin = Instant::now();
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                thread::sleep(PORTION);
                let due = (begin.elapsed().as_secs_f64() * f64::from(rate)) as u64;
                let Some(bait) = engine.progress().bait() else {
                    // What nobody could be sent yet is not made up for.
                    sent = due;
                    continue;
                };
                while sent < due {
                    sent += 1;
                    throw(&sockets, &bait);
                }
            }
        };
        let thread = thread::Builder::new().name("garbage".into()).spawn(work)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Garbage {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that panicked has reported that already.
            let _reported = thread.join();
        }
    }
}

fn throw(sockets: &[UdpSocket], bait: &Bait) {
    let Some(socket) = fastrand::choice(sockets) else { return };
    let kind = fastrand::u8(..8);
    match (&bait.sent, kind) {
        // Again, from where it came: SRTP has to know it (RFC 3711 §3.3.2).
        (Some((own, real)), 0) => {
            let _lossy = own.send(real);
        }
        (real, _) => {
            let real = real.as_ref().map_or(&[][..], |(_, real)| real.as_slice());
            let _lossy = udp::send_to(socket, &make_up(kind, real), bait.server);
        }
    }
}

/// A datagram of some kind: random, or the beginning of something that a server takes seriously.
fn make_up(kind: u8, real: &[u8]) -> Vec<u8> {
    let random = |length: usize| (0..length).map(|_| fastrand::u8(..)).collect::<Vec<u8>>();
    let length = fastrand::usize(..MOST_BYTES);
    let (head, tail): (&[u8], usize) = match kind {
        // A STUN binding request with nonsense for attributes (RFC 8489 §5).
        1 => (&[0x00, 0x01, 0x00, 0x40, 0x21, 0x12, 0xA4, 0x42], 76),
        // A DTLS record that says it is a ClientHello (RFC 6347 §4.1), cut short.
        2 => (&[22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 200, 1], fastrand::usize(..100)),
        // RTP of streams nobody has (RFC 3550 §5.1).
        3 => (&[0x80, 96], length),
        // RTCP: a receiver report (RFC 3550 §6.4.2).
        4 => (&[0x81, 201, 0, 7], 60),
        // Something real, cut short.
        5 => return real.get(..fastrand::usize(..=real.len())).unwrap_or_default().to_vec(),
        // Something real, from elsewhere.
        6 => return real.to_vec(),
        _ => (&[], length),
    };
    let mut bytes = head.to_vec();
    bytes.extend(random(tail));
    bytes
}
