//! The whole path over real sockets on the loopback interface.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use mio::{Events, Poll};
use roomful_sfu::Route;
use roomful_sfu::transmit::TransmitBuffer;

use super::queue::FlushOutcome;
use super::*;

const V4: &str = "127.0.0.1:0";
const V6: &str = "[::1]:0";
const ANY: &str = "[::]:0";

/// An address of documentation (RFC 5737): never one of this machine.
const FOREIGN: &str = "192.0.2.250";

#[test]
fn a_datagram_arrives_with_its_source_and_true_destination() {
    for (sender, reached) in [(V4, "127.0.0.1"), (V4, "127.0.0.7"), (V6, "::1")] {
        let mut receiver = bind(ANY);
        let sender = bind(sender);
        let destination = SocketAddr::new(ip(reached), receiver.local_addr().port());
        let mut queue = Sending::new();
        queue.push(sender.local_addr(), destination, b"hello");
        assert_eq!(queue.flush(&sender), FlushOutcome { sent: 1, dropped: 0, syscalls: 1 });
        let arrived = receive(&mut receiver, 1);
        assert_eq!(arrived, [(sender.local_addr(), destination, b"hello".to_vec())]);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_read_says_whether_it_took_all_there_was() {
    let (sender, mut receiver) = (bind(V4), bind(V4));
    receiver.receiver = syscall::Receiver::with_slots(2, 100);
    for byte in 0..3 {
        send(&sender, &[(sender.local_addr(), receiver.local_addr(), vec![byte])]);
    }
    await_readable(&mut receiver);
    let reads = [(2, false), (1, true), (0, true)];
    for read in reads {
        let received = receiver.recv_batch(|_, _, _| {}).unwrap();
        assert_eq!((received.datagrams, received.drained), read);
    }
}

#[test]
fn a_wildcard_socket_answers_from_the_address_it_was_asked_at() {
    for any in [ANY, "0.0.0.0:0"] {
        let mut server = bind(any);
        let mut asker = bind(V4);
        let asked = SocketAddr::new(ip("127.0.0.9"), server.local_addr().port());
        send(&asker, &[(asker.local_addr(), asked, b"?".to_vec())]);
        let question = receive(&mut server, 1).remove(0);
        send(&server, &[(question.1, question.0, b"!".to_vec())]);
        assert_eq!(receive(&mut asker, 1), [(asked, asker.local_addr(), b"!".to_vec())]);
    }
}

#[test]
fn mixed_sizes_and_destinations_arrive_once_in_order_and_unharmed() {
    let sender = bind(ANY);
    let mut receivers = [bind(V4), bind(V6), bind(V4), bind(ANY)];
    let mut queue = Sending::new();
    let mut expected = vec![Vec::new(); receivers.len()];
    for number in 0..300_usize {
        let to = number * 7 % receivers.len();
        // Runs of equal lengths, with shorter and longer ones between: all shapes of batches.
        let length = [1200, 1200, 1200, 700, 1200, 40, 1, 1300][number / 5 % 8];
        let payload: Vec<u8> = (0..length).map(|byte| (byte * 31 + number) as u8).collect();
        queue.push(unspecified(), reachable(&receivers[to]), &payload);
        expected[to].push(payload);
    }
    let outcome = queue.flush(&sender);
    assert_eq!(outcome, FlushOutcome { sent: 300, dropped: 0, syscalls: 1 });
    for (receiver, expected) in receivers.iter_mut().zip(expected) {
        let arrived = receive(receiver, expected.len());
        let arrived: Vec<_> = arrived.into_iter().map(|(_, _, payload)| payload).collect();
        assert!(arrived == expected, "order or content differs");
        assert_eq!(receiver.recv_batch(|_, _, _| panic!("arrived twice")).unwrap().datagrams, 0);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn equal_datagrams_to_one_destination_cross_the_kernel_as_one_message() {
    let (sender, mut receiver) = (bind(V4), bind(V4));
    let mut queue = Sending::new();
    for number in 0..40_u8 {
        queue.push(sender.local_addr(), receiver.local_addr(), &[number; 1000]);
    }
    queue.push(sender.local_addr(), receiver.local_addr(), &[40; 10]);
    assert_eq!(queue.flush(&sender).sent, 41);
    await_readable(&mut receiver);
    // One slot, so one message: had they not been coalesced, this would see one datagram.
    receiver.receiver = syscall::Receiver::with_slots(1, 1 << 16);
    let mut lengths = Vec::new();
    receiver.recv_batch(|_, _, payload| lengths.push((payload[0], payload.len()))).unwrap();
    let mut expected: Vec<_> = (0..40).map(|number| (number, 1000)).collect();
    expected.push((40, 10));
    assert_eq!(lengths, expected);
}

#[test]
fn empty_and_longest_datagrams_arrive() {
    let (sender, mut receiver) = (bind(V4), bind(V4));
    let payloads = [vec![], vec![7; 65_507], vec![], vec![8; 65_507], vec![9]];
    let datagrams = payloads.clone().map(|p| (sender.local_addr(), receiver.local_addr(), p));
    send(&sender, &datagrams);
    let arrived = receive(&mut receiver, payloads.len());
    let arrived: Vec<_> = arrived.into_iter().map(|(_, _, payload)| payload).collect();
    assert!(arrived == payloads, "content differs");
}

#[test]
fn a_datagram_too_long_for_udp_is_counted_and_the_rest_arrives() {
    let (sender, mut receiver) = (bind(V4), bind(V4));
    let (from, to) = (sender.local_addr(), receiver.local_addr());
    let mut queue = Sending::new();
    queue.push(from, to, b"before");
    queue.push(from, to, &vec![0; 65_510]);
    assert!(
        !queue.buffer.push(Route::udp(from, to), &vec![0; 70_000]),
        "no length field can hold this"
    );
    queue.push(from, to, b"behind");
    let outcome = queue.flush(&sender);
    assert_eq!((outcome.sent, outcome.dropped), (2, 1));
    let arrived = receive(&mut receiver, 2);
    assert_eq!([&arrived[0].2[..], &arrived[1].2[..]], [b"before", b"behind"]);
}

#[test]
fn a_full_buffer_leaves_in_one_call_and_holds_as_much_again() {
    let (sender, receiver) = (bind(V4), bind(V4));
    let (from, to) = (sender.local_addr(), receiver.local_addr());
    let mut queue = Sending::new();
    for _ in 0..2 {
        let mut held = 0;
        while queue.buffer.push(Route::udp(from, to), &[0; 1200]) {
            held += 1;
        }
        assert!(held > 100);
        let outcome = queue.flush(&sender);
        assert_eq!(outcome, FlushOutcome { sent: held, dropped: 0, syscalls: 1 });
    }
    assert_eq!(queue.flush(&sender), FlushOutcome::default());
}

#[test]
fn a_closed_destination_does_not_disturb_others() {
    let (mut sender, mut receiver) = (bind(ANY), bind(V4));
    let closed = [bind(V4), bind(V6)].map(|socket| socket.local_addr());
    let mut queue = Sending::new();
    for round in 0..20_u8 {
        for destination in [closed[0], receiver.local_addr(), closed[1]] {
            queue.push(unspecified(), destination, &[round]);
        }
        assert_eq!(queue.flush(&sender).sent, 3);
        assert_eq!(sender.recv_batch(|_, _, _| panic!("nobody answers")).unwrap().datagrams, 0);
    }
    let arrived = receive(&mut receiver, 20);
    assert!(arrived.iter().map(|(_, _, payload)| payload[0]).eq(0..20));
}

#[test]
fn a_destination_of_the_wrong_family_is_dropped_alone() {
    let (sender, mut receiver) = (bind(V4), bind(V4));
    let mut queue = Sending::new();
    for destination in [receiver.local_addr(), "[::1]:9".parse().unwrap(), receiver.local_addr()] {
        queue.push(unspecified(), destination, b"x");
    }
    let outcome = queue.flush(&sender);
    assert_eq!((outcome.sent, outcome.dropped), (2, 1));
    assert_eq!(receive(&mut receiver, 2).len(), 2);
}

#[test]
fn a_source_that_is_not_ours_is_left_to_the_kernel_and_remembered() {
    for any in [ANY, "0.0.0.0:0"] {
        let (sender, mut receiver) = (bind(any), bind(V4));
        let foreign = SocketAddr::new(ip(FOREIGN), sender.local_addr().port());
        let mut queue = Sending::new();
        let mut flush = || {
            for byte in [1, 2, 3] {
                queue.push(foreign, receiver.local_addr(), &[byte]);
            }
            queue.flush(&sender)
        };
        let first = flush();
        assert_eq!((first.sent, first.dropped), (3, 0));
        assert_eq!(flush(), FlushOutcome { sent: 3, dropped: 0, syscalls: 1 });
        let arrived = receive(&mut receiver, 6);
        assert!(arrived.iter().map(|(_, _, payload)| payload[0]).eq([1, 2, 3, 1, 2, 3]));
    }
}

#[test]
fn an_ipv6_source_that_is_not_ours_is_left_to_the_kernel() {
    let (sender, mut receiver) = (bind(ANY), bind(V6));
    let mut queue = Sending::new();
    queue.push("[2001:db8::5]:1".parse().unwrap(), receiver.local_addr(), b"x");
    assert_eq!(queue.flush(&sender).sent, 1);
    assert_eq!(receive(&mut receiver, 1).len(), 1);
}

#[test]
fn without_segmentation_everything_still_arrives_in_order() {
    let (mut sender, mut receiver) = (bind(V4), bind(V4));
    sender.segmentation = false;
    let datagrams: Vec<_> = (0..100_u8)
        .map(|number| (sender.local_addr(), receiver.local_addr(), vec![number; 500]))
        .collect();
    assert_eq!(send(&sender, &datagrams).syscalls, 1);
    let arrived = receive(&mut receiver, 100);
    assert!(arrived.iter().map(|(_, _, payload)| payload[0]).eq(0..100));
}

#[test]
#[cfg(target_os = "linux")]
fn a_kernel_that_refuses_to_segment_gets_single_datagrams_from_then_on() {
    for any in [ANY, "0.0.0.0:0"] {
        let (sender, mut receiver) = (bind(any), bind(V4));
        // Linux refuses to segment for a socket that sends no checksums: the answer is EINVAL.
        syscall::set_option(&sender, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
        let foreign = SocketAddr::new(ip(FOREIGN), 1);
        let local = SocketAddr::new(ip("127.0.0.1"), 1);
        let mut queue = Sending::new();
        let mut flush = |source| {
            for byte in [1, 2, 3] {
                queue.push(source, receiver.local_addr(), &[byte; 900]);
            }
            queue.flush(&sender)
        };
        let first = flush(foreign);
        assert_eq!((first.sent, first.dropped), (3, 0));
        for source in [foreign, local] {
            assert_eq!(flush(source), FlushOutcome { sent: 3, dropped: 0, syscalls: 1 });
        }
        let arrived = receive(&mut receiver, 9);
        let arrived = arrived.iter().map(|(_, _, payload)| payload[0]);
        assert!(arrived.eq([1, 2, 3, 1, 2, 3, 1, 2, 3]));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_datagram_longer_than_the_receive_slot_is_counted_and_the_rest_arrives() {
    let (sender, mut receiver) = (bind(V4), bind(V4));
    receiver.receiver = syscall::Receiver::with_slots(2, 100);
    let (from, to) = (sender.local_addr(), receiver.local_addr());
    let payloads = [vec![1; 101], vec![2; 102], vec![3; 100]];
    // One flush each: coalesced, they would be truncated together.
    for payload in payloads {
        send(&sender, &[(from, to, payload)]);
    }
    let first = receiver.recv_batch(|_, _, _| panic!("only truncated ones")).unwrap();
    assert!(!first.drained, "the third has not been read");
    let mut arrived = Vec::new();
    let second = receiver.recv_batch(|_, _, payload| arrived.push(payload.to_vec())).unwrap();
    assert_eq!((second.drained, arrived), (true, vec![vec![3; 100]]));
    assert_eq!(receiver.truncated(), 2);
}

#[test]
fn a_full_receiver_loses_datagrams_but_not_their_order() {
    let (sender, mut receiver) = (bind(V4), bind(V4));
    let (from, to) = (sender.local_addr(), receiver.local_addr());
    let mut queue = Sending::new();
    for number in 0..40_000_u32 {
        if !queue.buffer.has_room(1200) {
            let outcome = queue.flush(&sender);
            assert_eq!(outcome.dropped, 0, "loopback takes all and drops at the receiver");
        }
        let mut payload = [0; 1200];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        queue.push(from, to, &payload);
    }
    let mut numbers = Vec::new();
    while receiver
        .recv_batch(|_, _, payload| numbers.push(payload[..4].to_vec()))
        .unwrap()
        .datagrams
        > 0
    {}
    assert!(!numbers.is_empty());
    assert!(numbers.is_sorted(), "big-endian numbers sort as bytes");
}

#[test]
fn steady_state_allocates_nothing() {
    let sender = bind(ANY);
    let mut receivers = [bind(V4), bind(V4), bind(V6)];
    let to = receivers.each_ref().map(UdpSocket::local_addr);
    let mut queue = Sending::new();
    let mut round = |expected: usize| {
        for number in 0..200_usize {
            queue.push(unspecified(), to[number % 3], &[0; 1200][..1000 + number % 3 * 100]);
        }
        assert_eq!(queue.flush(&sender).sent, 200);
        let mut arrived = 0;
        for receiver in &mut receivers {
            loop {
                let each = |_, _, payload: &mut [u8]| assert!(!payload.is_empty());
                let received = receiver.recv_batch(each).unwrap();
                arrived += received.datagrams;
                if received.drained {
                    break;
                }
            }
        }
        assert_eq!(arrived, expected);
    };
    round(200);
    let counted = allocation_counter::measure(|| (0..10).for_each(|_| round(200)));
    assert_eq!(counted.count_total, 0);
}

#[test]
fn the_port_being_taken_is_an_error_that_names_it() {
    let taken = bind(V4).socket.try_clone().unwrap();
    let address = taken.local_addr().unwrap();
    let error = UdpSocket::bind(address).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[test]
fn the_plain_path_carries_datagrams_both_ways() {
    let mut queue = TransmitBuffer::new();
    let mut sender = plain::Sender::with_capacity(1);
    let mut receiver = plain::Receiver::new();
    for (from, to) in [(ANY, V4), (ANY, V6), (V4, V4)] {
        let (from, to) = (bind(from), bind(to));
        assert!(!plain::configure(&from.socket.try_clone().unwrap().into(), from.family).unwrap());
        for byte in 0..40 {
            assert!(queue.push(Route::udp(unspecified(), to.local_addr()), &[byte]));
        }
        let mut batches = Vec::new();
        queue.batch_into(&mut batches, false);
        let messages = batches.iter().map(|batch| plain::Message {
            source: None,
            destination: batch.route.remote,
            segment: 0,
            pieces: queue.pieces(batch),
        });
        let sent = sender.send(&from.socket, from.family, queue.bytes(), messages).unwrap();
        assert_eq!(sent, 40);
        queue.clear();
        let mut arrived = Vec::new();
        let mut each = |source: SocketAddr, destination, payload: &mut [u8]| {
            assert_eq!(source.port(), from.local_addr().port());
            assert_eq!(destination, to.local_addr());
            arrived.push(payload[0]);
        };
        while receiver.receive(&to.socket, to.local_addr(), &mut each).is_ok() {}
        assert!(arrived.into_iter().eq(0..40));
    }
}

/// A buffer and the queue that empties it.
struct Sending {
    buffer: TransmitBuffer,
    queue: SendQueue,
}

impl Sending {
    fn new() -> Self {
        Self { buffer: TransmitBuffer::new(), queue: SendQueue::new() }
    }

    fn push(&mut self, source: SocketAddr, destination: SocketAddr, payload: &[u8]) {
        let route = Route::udp(source, destination);
        assert!(self.buffer.push(route, payload), "the buffer has no room");
    }

    fn flush(&mut self, socket: &UdpSocket) -> FlushOutcome {
        self.queue.flush(socket, &mut self.buffer)
    }
}

fn bind(address: &str) -> UdpSocket {
    UdpSocket::bind(address.parse().unwrap()).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn unspecified() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)
}

/// An address at which the socket can be reached from this machine.
fn reachable(socket: &UdpSocket) -> SocketAddr {
    let local = socket.local_addr();
    if local.ip() == IpAddr::from(Ipv6Addr::UNSPECIFIED) {
        SocketAddr::new(Ipv6Addr::LOCALHOST.into(), local.port())
    } else {
        local
    }
}

type Arrived = (SocketAddr, SocketAddr, Vec<u8>);

fn send(socket: &UdpSocket, datagrams: &[Arrived]) -> FlushOutcome {
    let mut queue = Sending::new();
    for (source, destination, payload) in datagrams {
        queue.push(*source, *destination, payload);
    }
    let outcome = queue.flush(socket);
    assert_eq!((outcome.sent, outcome.dropped), (datagrams.len(), 0));
    outcome
}

/// Receives until `count` datagrams have come.
fn receive(socket: &mut UdpSocket, count: usize) -> Vec<Arrived> {
    let mut arrived = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(5);
    while arrived.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} datagrams came", arrived.len());
        let each = |source, destination, payload: &mut [u8]| {
            arrived.push((source, destination, payload.to_vec()));
        };
        if socket.recv_batch(each).unwrap().datagrams == 0 {
            await_readable(socket);
        }
    }
    arrived
}

fn await_readable(socket: &mut UdpSocket) {
    let mut poll = Poll::new().unwrap();
    poll.registry().register(socket, Token(0), Interest::READABLE).unwrap();
    poll.poll(&mut Events::with_capacity(1), Some(Duration::from_secs(1))).unwrap();
    poll.registry().deregister(socket).unwrap();
}

#[test]
fn want_of_memory_passes_and_a_closed_descriptor_does_not() {
    let is_fatal = |code| is_fatal(&io::Error::from_raw_os_error(code));
    for passing in [libc::ENOMEM, libc::ENOBUFS, libc::EINTR, libc::ENETDOWN, libc::EIO] {
        assert!(!is_fatal(passing), "{passing}");
    }
    assert!(is_fatal(libc::EBADF) && is_fatal(libc::ENOTSOCK));
}
