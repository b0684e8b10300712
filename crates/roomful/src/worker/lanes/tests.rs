//! Lanes over real connections, with time made up.

use std::net::{TcpListener, TcpStream as PlainStream};

use mio::{Events, Poll};

use super::*;

const CHECK: &[u8] = &[0, 1, 0, 0];
const MEDIA: u8 = 0x80;

/// Longest wait for anything: a failure, never a pause.
const PATIENCE: Duration = Duration::from_secs(10);

struct Stage {
    poll: Poll,
    lanes: Lanes,
    received: Vec<(Route, Vec<u8>)>,
    buffer: TransmitBuffer,
}

impl Stage {
    fn new() -> Self {
        let (poll, lanes) = (Poll::new().unwrap(), Lanes::new(Token(1)));
        Self { poll, lanes, received: Vec::new(), buffer: TransmitBuffer::new() }
    }

    /// The other end of a lane whose first check names `ufrag`.
    fn connect(&mut self, ufrag: &str, now: Instant) -> PlainStream {
        self.connect_with(ufrag, framed(CHECK), now)
    }

    fn connect_with(&mut self, ufrag: &str, beginning: Vec<u8>, now: Instant) -> PlainStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = PlainStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let (stream, remote) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let local = stream.local_addr().unwrap();
        let new = NewLane { stream, local, remote, ufrag: ufrag.into(), beginning };
        let Self { poll, lanes, received, .. } = self;
        lanes.open(new, poll.registry(), now, keep(received)).unwrap();
        client
    }

    /// Turns until `done`.
    fn run_until(&mut self, what: &str, now: Instant, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut events = Events::with_capacity(64);
        while !done(self) {
            assert!(Instant::now() < deadline, "{what}");
            self.poll.poll(&mut events, Some(Duration::from_millis(10))).unwrap();
            for event in &events {
                self.lanes.handle_event(event, now);
            }
            let Self { lanes, received, .. } = self;
            while lanes.is_readable() {
                lanes.read(now, keep(received));
            }
        }
    }

    fn send(&mut self, client: &PlainStream, datagram: &[u8], now: Instant) {
        let route = Route::tcp(client.peer_addr().unwrap(), client.local_addr().unwrap());
        assert!(self.buffer.push(route, datagram));
        self.flush(now);
    }

    fn flush(&mut self, now: Instant) {
        self.lanes.send(&self.buffer, now);
        self.buffer.clear();
    }
}

fn keep(received: &mut Vec<(Route, Vec<u8>)>) -> impl FnMut(Route, &mut [u8]) {
    |route, datagram| received.push((route, datagram.to_vec()))
}

fn framed(datagram: &[u8]) -> Vec<u8> {
    [&frame_length(datagram.len()).unwrap()[..], datagram].concat()
}

/// The next datagram a client gets; `None` at the end.
fn next_datagram(client: &mut PlainStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    client.read_exact(&mut length).ok()?;
    let mut datagram = vec![0; usize::from(u16::from_be_bytes(length))];
    client.read_exact(&mut datagram).expect("a frame that was begun is whole");
    Some(datagram)
}

#[test]
fn datagrams_pass_both_ways_and_what_was_read_before_comes_first() {
    let (mut stage, now) = (Stage::new(), Instant::now());
    let mut client = stage.connect("ann", now);
    let mut others = stage.connect("bob", now);
    client.write_all(&[framed(b"two"), framed(&[MEDIA; 1000])].concat()).unwrap();
    stage.run_until("all comes", now, |stage| stage.received.len() == 4);
    let route = Route::tcp(client.peer_addr().unwrap(), client.local_addr().unwrap());
    let own = stage.received.iter().filter(|(from, _)| *from == route);
    assert!(own.map(|(_, datagram)| &datagram[..]).eq([CHECK, b"two", &[MEDIA; 1000]]));
    for client in [&client, &others] {
        let route = Route::tcp(client.peer_addr().unwrap(), client.local_addr().unwrap());
        assert!(stage.buffer.push(route, b"yes") && stage.buffer.push(route, b"no"));
    }
    stage.flush(now);
    for client in [&mut client, &mut others] {
        assert_eq!(next_datagram(client).unwrap(), b"yes");
        assert_eq!(next_datagram(client).unwrap(), b"no");
    }
}

#[test]
fn who_reads_slowly_gets_whole_datagrams_the_newest_among_them_and_holds_nobody_up() {
    const SENT: u32 = 40_000;
    let (mut stage, now) = (Stage::new(), Instant::now());
    let mut slow = stage.connect("ann", now);
    let mut quick = stage.connect("bob", now);
    for number in 0..SENT {
        let mut datagram = [MEDIA; 1000];
        datagram[4..8].copy_from_slice(&number.to_be_bytes());
        stage.send(&slow, &datagram, now);
        if number % 1_000 == 0 {
            stage.send(&quick, b"on time", now);
            assert_eq!(next_datagram(&mut quick).unwrap(), b"on time");
        }
    }
    assert!(stage.lanes.dropped() > 1_000, "the connection takes some, the rest is too much");
    slow.set_nonblocking(true).unwrap();
    let (mut bytes, mut reader) = (vec![0; 1 << 16], FrameReader::default());
    let mut numbers = Vec::new();
    stage.run_until("the newest comes", now, |_| {
        while let Ok(length) = slow.read(&mut bytes) {
            assert!(length > 0, "the lane goes on");
            let each = |one: &mut [u8]| {
                assert_eq!(one.len(), 1000);
                numbers.push(u32::from_be_bytes([one[4], one[5], one[6], one[7]]));
            };
            reader.read(&mut bytes[..length], each).unwrap();
        }
        numbers.last() == Some(&(SENT - 1))
    });
    assert!(numbers.is_sorted(), "in order");
    assert_eq!(numbers.len() as u64 + stage.lanes.dropped(), u64::from(SENT));
}

#[test]
fn a_lane_that_is_not_answered_ends_and_an_answered_one_lives_while_it_speaks() {
    let (mut stage, start) = (Stage::new(), Instant::now());
    let mut unanswered = stage.connect("ann", start);
    let mut answered = stage.connect("bob", start);
    stage.send(&answered, b"the password is right", start);
    next_datagram(&mut answered).unwrap();
    stage.lanes.handle_timeout(start + ANSWER_TIME);
    assert_eq!(next_datagram(&mut unanswered), None);
    let later = start + IDLE_TIME - SWEEP_EVERY;
    answered.write_all(&framed(CHECK)).unwrap();
    stage.run_until("a sign of life", later, |stage| stage.received.len() == 3);
    stage.lanes.handle_timeout(start + IDLE_TIME + SWEEP_EVERY);
    assert_eq!(stage.lanes.lanes.len(), 1);
    stage.lanes.handle_timeout(later + IDLE_TIME + SWEEP_EVERY);
    assert_eq!(next_datagram(&mut answered), None);
    assert_eq!((stage.lanes.by_remote.len(), stage.lanes.poll_timeout()), (0, None));
}

#[test]
fn a_lane_that_announces_too_much_ends_at_once() {
    let (mut stage, now) = (Stage::new(), Instant::now());
    let mut rude = stage.connect_with("ann", vec![0xff, 0xff, 1], now);
    assert_eq!(next_datagram(&mut rude), None);
    let mut later = stage.connect("ann", now);
    later.write_all(&[framed(b"whole"), vec![0xff, 0xff]].concat()).unwrap();
    stage.run_until("it ends", now, |stage| stage.lanes.lanes.is_empty());
    assert_eq!(stage.received.last().unwrap().1, b"whole");
    assert_eq!(next_datagram(&mut later), None);
}

#[test]
fn what_is_sent_before_the_end_is_read_and_the_end_is_noticed() {
    let (mut stage, now) = (Stage::new(), Instant::now());
    for _ in 0..20 {
        stage.received.clear();
        let mut client = stage.connect("ann", now);
        // Several reads long, then the end: one report of readiness for all.
        for _ in 0..40 {
            client.write_all(&framed(&[MEDIA; 1000])).unwrap();
        }
        drop(client);
        stage.run_until("the end is noticed", now, |stage| stage.lanes.lanes.is_empty());
        assert_eq!(stage.received.len(), 41);
    }
}

#[test]
fn one_transport_has_only_so_many_lanes_and_the_oldest_goes() {
    let (mut stage, now) = (Stage::new(), Instant::now());
    let mut other = stage.connect("bob", now);
    let mut clients: Vec<_> = (0..MAX_LANES_EACH).map(|_| stage.connect("ann", now)).collect();
    assert_eq!(stage.lanes.lanes.len(), MAX_LANES_EACH + 1);
    clients.push(stage.connect("ann", now));
    assert_eq!(next_datagram(&mut clients[0]), None);
    for client in clients.iter_mut().skip(1).chain([&mut other]) {
        stage.send(client, b"still here", now);
        assert_eq!(next_datagram(client).unwrap(), b"still here");
    }
}

#[test]
fn lanes_that_are_not_answered_do_not_push_out_the_one_that_is() {
    let (mut stage, now) = (Stage::new(), Instant::now());
    let mut ann = stage.connect("ann", now);
    stage.send(&ann, b"the password is right", now);
    let _flood: Vec<_> = (0..3 * MAX_LANES_EACH).map(|_| stage.connect("ann", now)).collect();
    stage.send(&ann, b"still here", now);
    assert_eq!(next_datagram(&mut ann).unwrap(), b"the password is right");
    assert_eq!(next_datagram(&mut ann).unwrap(), b"still here");
    assert_eq!(stage.lanes.lanes.len(), MAX_LANES_EACH);
}

#[test]
fn what_is_for_nobody_here_is_counted() {
    let (mut stage, now) = (Stage::new(), Instant::now());
    let client = stage.connect("ann", now);
    stage.lanes.close(Token(2));
    stage.send(&client, b"too late", now);
    assert_eq!(stage.lanes.dropped(), 1);
}
