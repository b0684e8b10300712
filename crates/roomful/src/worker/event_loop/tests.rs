//! The loop, turn by turn, with virtual clients on real sockets.

use std::net::{SocketAddr, UdpSocket as PlainSocket};

use roomful_sfu::ids::{Identity, Origin, RoomName};
use roomful_sfu::join::JoinAttempt;
use roomful_sfu::token::{ApiKeys, Grant};
use roomful_sfu::{MediaAddress, RoomPolicy, Seed, SfuConfig, WallClock};
use roomful_sim::client::{Client, ClientOutput, JoinOptions, PeerConnection, TrackPlan};

use super::*;
use crate::config::Spreading;
use crate::worker::{Outgoing, outbox};

/// Longest wait for anything: a failure, never a pause.
const PATIENCE: Duration = Duration::from_secs(30);

/// Subscribers of the room with the burst. With a hundred packets they make some ten slices.
const CROWD: usize = 60;

/// A worker's loop that turns when told to, and the clients it serves.
struct Stage {
    event_loop: EventLoop,
    events: Events,
    mailbox: mpsc::Sender<Envelope>,
    address: SocketAddr,
    seats: Vec<Seat>,
}

/// A client and what it reaches the worker by.
struct Seat {
    client: Client,
    room: &'static str,
    socket: PlainSocket,
    messages: Option<mpsc::Receiver<Outgoing>>,
    /// What it sends stays here instead of setting out, if this is some.
    held: Option<Vec<Vec<u8>>>,
}

impl Stage {
    fn new() -> Self {
        let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = socket.local_addr();
        let sfu = SfuConfig {
            media_addresses: vec![MediaAddress { advertised: address, local: address }],
            tcp: None,
            rooms: RoomPolicy::default(),
            clock: WallClock::new(Instant::now(), 1_700_000_000_000),
            keys: ApiKeys::default(),
            ice_servers: Vec::new(),
            origin: Origin::default(),
        };
        let (mailbox, mails) = mpsc::channel(1024);
        let directory = Directory::new(1, Spreading::Never, Instant::now());
        let index = WorkerIndex(0);
        let (agents, _) = crate::agents::channel();
        let seed = WorkerSeed {
            index,
            directory,
            neighbours: Arc::default(),
            ufrags: Arc::default(),
            socket,
            sfu,
            seed: Seed(1),
            notices: None,
            agents,
        };
        let (event_loop, _waker) = EventLoop::new(seed, mails).unwrap();
        let events = Events::with_capacity(8);
        Self { event_loop, events, mailbox, address, seats: Vec::new() }
    }

    fn seat(&mut self, room: &'static str, track: Option<TrackPlan>) -> usize {
        let socket = PlainSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let (number, now) = (self.seats.len(), Instant::now());
        let options = JoinOptions::default();
        let mut client = Client::new(options, socket.local_addr().unwrap(), number as u64, now);
        client.join(now);
        if let Some(plan) = track {
            client.publish(plan, now);
        }
        self.seats.push(Seat { client, room, socket, messages: None, held: None });
        number
    }

    /// One turn of the loop; a mail is noticed without waking it.
    fn turn(&mut self) {
        self.event_loop.mail_ready = true;
        assert!(self.event_loop.turn().unwrap().is_continue());
        self.event_loop.poll.poll(&mut self.events, Some(Duration::ZERO)).unwrap();
        if self.events.iter().any(|event| event.token() == SOCKET) {
            self.event_loop.readiness.handle_arrival();
        }
    }

    /// Everyone handles what came, and sends what is due.
    fn serve_clients(&mut self) {
        for number in 0..self.seats.len() {
            let (now, connection) = (Instant::now(), ConnectionId(number as u64));
            let seat = &mut self.seats[number];
            seat.receive(self.address, now);
            if seat.client.poll_timeout(now) <= now + Duration::from_micros(500) {
                seat.client.handle_timeout(now);
            }
            while let Some(output) = seat.client.poll_output() {
                let mail = match output {
                    ClientOutput::Connect(request) => {
                        let (outbox, messages) = outbox().unwrap();
                        seat.messages = Some(messages);
                        let room = RoomName::new(seat.room);
                        let grant = Grant::new(Identity::new(number.to_string()), "one", room);
                        let attempt = Box::new(JoinAttempt::new(grant, *request, true).unwrap());
                        let home = WorkerIndex(0);
                        Mail::Join { connection, attempt, outbox, home }
                    }
                    ClientOutput::Request(message) => Mail::Message { from: connection, message },
                    ClientOutput::Close => Mail::Disconnect { connection },
                    ClientOutput::Transmit { payload, .. } => {
                        match &mut seat.held {
                            Some(held) => held.push(payload),
                            None => {
                                seat.socket.send_to(&payload, self.address).unwrap();
                            }
                        }
                        continue;
                    }
                };
                let envelope = Envelope { mail, seat: None };
                assert!(self.mailbox.try_send(envelope).is_ok(), "the mailbox has room");
            }
        }
    }

    fn run_until(&mut self, what: &str, mut done: impl FnMut(&[Seat]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(&self.seats) {
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
            self.turn();
            self.serve_clients();
        }
    }
}

impl Seat {
    fn receive(&mut self, server: SocketAddr, now: Instant) {
        while let Some(Ok(Outgoing::Message(message))) =
            self.messages.as_mut().map(mpsc::Receiver::try_recv)
        {
            self.client.handle_response(*message, now);
        }
        let mut bytes = [0; 2048];
        while let Ok(length) = self.socket.recv(&mut bytes) {
            let at = PeerConnection::Publishing;
            self.client.handle_datagram(at, server, &bytes[..length], now);
        }
    }

    /// Frames that arrived whole, of anybody.
    fn frames(&self) -> usize {
        let tracks = self.client.received_tracks();
        tracks.iter().map(|track| self.client.received(track).whole_frames().count()).sum()
    }

    /// Media packets (RFC 7983 §7: from 128 to 191; RFC 5761 §4: no RTCP) waiting in the socket, taken out of it.
    fn take_media(&self) -> usize {
        let mut bytes = [0; 2048];
        let mut media = 0;
        while let Ok(length) = self.socket.recv(&mut bytes) {
            let is_media = (128..192).contains(&bytes[0]) && !(192..=223).contains(&bytes[1]);
            media += usize::from(is_media && length > 12);
        }
        media
    }
}

#[test]
fn sound_that_arrives_during_a_burst_of_another_room_leaves_with_the_next_slice() {
    let mut stage = Stage::new();
    let publisher = stage.seat("crowd", Some(TrackPlan::Camera { simulcast: false, fps: 30 }));
    let talker = stage.seat("quiet", Some(TrackPlan::VOICE));
    let listener = stage.seat("quiet", None);
    for _ in 0..CROWD {
        stage.seat("crowd", None);
    }
    stage.run_until("everyone receives", |seats| {
        seats
            .iter()
            .enumerate()
            .all(|(number, seat)| number == publisher || number == talker || seat.frames() > 2)
    });

    for sender in [publisher, talker] {
        stage.seats[sender].held = Some(Vec::new());
    }
    let held = |seats: &[Seat], number: usize| seats[number].held.as_ref().map_or(0, Vec::len);
    stage.run_until("a burst comes together", |seats| held(seats, publisher) > 100);
    let [burst, sound] =
        [publisher, talker].map(|sender| stage.seats[sender].held.take().unwrap_or_default());
    for datagram in &burst {
        stage.seats[publisher].socket.send_to(datagram, stage.address).unwrap();
    }
    // The first turn ends with the poll that tells of the burst; until all of it is read, each reads some.
    stage.turn();
    while stage.event_loop.readiness.is_ready(Instant::now()) {
        stage.turn();
    }
    assert!(stage.event_loop.send_ready, "the burst is longer than a few slices");

    stage.seats[listener].take_media();
    for datagram in &sound {
        stage.seats[talker].socket.send_to(datagram, stage.address).unwrap();
    }
    // One turn ends with the poll that says so, on a busy machine a later one; the next reads and sends.
    while !stage.event_loop.readiness.is_ready(Instant::now()) {
        assert!(stage.event_loop.send_ready, "the burst is over: nothing was shown");
        stage.turn();
    }
    stage.turn();
    assert!(stage.seats[listener].take_media() > 0, "sound waits for the burst");
    assert!(stage.event_loop.send_ready, "the burst is over: nothing was shown");
}
