//! What a datagram costs to send, by how its size relates to its neighbours'. Decision 0078 has the figures.
//!
//! ```sh
//! cargo test --release -p roomful --features measure udp::measure -- --nocapture
//! ```
//!
//! Every case sends to `DESTINATION` (an address and the ports from there up; default: 127.0.0.1:20000), for the time this
//! thread was on a processor. Where the packets end decides what else is paid: on loopback and veth
//! the whole way up into the receiving socket, on an interface that drops them only the way down.

use std::net::SocketAddr;
use std::time::Duration;

use roomful_sfu::Route;
use roomful_sfu::transmit::TransmitBuffer;

use super::{SendQueue, UdpSocket};

/// Subscribers, each a flow of its own, as in workload W1.
const SUBSCRIBERS: u16 = 100;

/// Flushes per case and round: half a second or so.
const FLUSHES: usize = 400;

/// Rounds, interleaved; the median counts.
const ROUNDS: usize = 7;

#[test]
#[expect(clippy::print_stdout, reason = "the table is what it is run for")]
fn cost_of_a_datagram_by_its_neighbours_sizes() {
    let destination = std::env::var("DESTINATION").unwrap_or_else(|_| "127.0.0.1:20000".into());
    let destination: SocketAddr = destination.parse().expect("an address and a port");
    let mut socket = UdpSocket::bind("0.0.0.0:0".parse().expect("valid")).expect("a socket");
    let mut results: Vec<Vec<Result>> = CASES.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (case, results) in CASES.iter().zip(&mut results) {
            results.push(measure(case, &mut socket, destination));
        }
    }
    println!("{:<44} {:>8} {:>9} {:>9}", "case", "messages", "ns/packet", "min-max");
    for (case, mut results) in CASES.iter().zip(results) {
        results.sort_by(|a, b| a.nanoseconds.total_cmp(&b.nanoseconds));
        let [low, median, high] = [0, results.len() / 2, results.len() - 1].map(|at| &results[at]);
        println!(
            "{:<44} {:>8} {:>9.0} {:>4.0}-{:<4.0}",
            case.name, median.messages, median.nanoseconds, low.nanoseconds, high.nanoseconds
        );
    }
}

/// What one subscriber is sent in one flush.
struct Case {
    name: &'static str,
    lengths: &'static [usize],
    segmentation: bool,
    /// Each message in a system call of its own.
    one_by_one: bool,
    /// Each message says which address it is to leave from.
    sourced: bool,
}

const fn case(name: &'static str, lengths: &'static [usize]) -> Case {
    Case { name, lengths, segmentation: true, one_by_one: false, sourced: false }
}

const CASES: &[Case] = &[
    Case {
        name: "frame of 8, equal, without segmentation",
        lengths: &[1160; 8],
        segmentation: false,
        one_by_one: false,
        sourced: false,
    },
    case("frame of 8, equal", &[1160; 8]),
    Case {
        name: "frame of 8, equal, one system call each",
        lengths: &[1160; 8],
        segmentation: true,
        one_by_one: true,
        sourced: false,
    },
    Case {
        name: "frame of 8, equal, saying the source",
        lengths: &[1160; 8],
        segmentation: true,
        one_by_one: false,
        sourced: true,
    },
    case("frame of 8, last half", &[1160, 1160, 1160, 1160, 1160, 1160, 1160, 580]),
    case("frame of 8, as an encoder splits it", &[1160, 1160, 1160, 1160, 1161, 1161, 1161, 1161]),
    case("frame of 8, alternating by one", &[1160, 1161, 1160, 1161, 1160, 1161, 1160, 1161]),
    case("frame of 8, padded by up to one", &[1161; 8]),
    case("frame of 8, padded by up to 40", &[1200; 8]),
    case("packets of 3 tracks, as they come", MIXED),
    case("packets of 3 tracks, longest first", MIXED_SORTED),
    case("packets of 3 tracks, padded by up to 16", MIXED_PADDED),
    case("packets of 3 tracks, padded by up to 128", MIXED_PADDED_FAR),
    case("one packet", &[1160]),
    case("one small packet", &[120]),
    case("2 equal", &[1160; 2]),
    case("2, the second shorter", &[1160, 700]),
    case("2, the second longer", &[700, 1160]),
    case("2, padded by 460", &[1160, 1160]),
    case("4 equal", &[1160; 4]),
    case("3 small, unequal", &[80, 95, 102]),
    case("3 small, padded by up to 22", &[102, 102, 102]),
];

const MIXED: &[usize] = &[1102, 1103, 1103, 840, 841, 840, 1007, 1008];
const MIXED_SORTED: &[usize] = &[1103, 1103, 1102, 1008, 1007, 841, 840, 840];
const MIXED_PADDED: &[usize] = &[1103, 1103, 1103, 841, 841, 841, 1008, 1008];
const MIXED_PADDED_FAR: &[usize] = &[1103, 1103, 1103, 1103, 1103, 841, 841, 841];

struct Result {
    /// Messages the kernel was handed, per subscriber and flush.
    messages: usize,
    /// Per datagram, from the copy into the buffer on.
    nanoseconds: f64,
}

fn measure(case: &Case, socket: &mut UdpSocket, destination: SocketAddr) -> Result {
    let mut buffer = TransmitBuffer::new();
    let mut queue = SendQueue::new();
    let payload = vec![7; 1500];
    let source = if case.sourced { leaving_from(destination) } else { socket.local_addr() };
    let push = |buffer: &mut TransmitBuffer, subscriber: u16| {
        let to = SocketAddr::new(destination.ip(), destination.port() + subscriber);
        for length in case.lengths {
            assert!(buffer.push(Route::udp(source, to), &payload[..*length]));
        }
    };
    let mut batches = Vec::new();
    push(&mut buffer, 0);
    buffer.batch_into(&mut batches, case.segmentation);
    buffer.clear();
    socket.segmentation = case.segmentation;
    let mut sent = 0;
    let before = on_processor();
    for _ in 0..FLUSHES {
        for subscriber in 0..SUBSCRIBERS {
            push(&mut buffer, subscriber);
            if case.one_by_one {
                sent += queue.flush(socket, &mut buffer).sent;
            }
        }
        sent += queue.flush(socket, &mut buffer).sent;
    }
    let spent = on_processor() - before;
    assert_eq!(sent, FLUSHES * usize::from(SUBSCRIBERS) * case.lengths.len());
    Result { messages: batches.len(), nanoseconds: spent.as_nanos() as f64 / sent as f64 }
}

/// The address of this machine that the system would choose.
fn leaving_from(destination: SocketAddr) -> SocketAddr {
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
    probe.connect(destination).and_then(|()| probe.local_addr()).expect("a route")
}

/// What this thread has used of a processor so far.
fn on_processor() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
