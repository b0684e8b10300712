//! Datagrams from anywhere into the whole core, where somebody has joined who was not connected yet.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::signal_response::Message;

use super::offers::DATA_OFFER;
use super::stun::{attribute, binding_request};
use super::{Script, script};
use crate::ids::{ConnectionId, Identity, RoomName};
use crate::join::JoinAttempt;
use crate::testing::start_of_time;
use crate::token::{ApiKeys, Grant};
use crate::transmit::TransmitBuffer;
use crate::transport::stun_integrity;
use crate::{
    Datagram, MediaAddress, Output, Protocol, RoomPolicy, Route, Seed, Sfu, SfuConfig, WallClock,
};

/// The kinds of records: what is done with their bytes. The bits above say from where, see [`route`].
const RAW: u8 = 0;
/// The bytes are the attributes of a check that is sealed with the right password.
const CHECK: u8 = 1;
/// Nothing arrives for as many tenths of a second as there are bytes.
const WAIT: u8 = 2;

/// Records read of one script: more finds nothing that fewer do not.
const MAX_RECORDS: usize = 24;

/// Scripts of datagrams, for [`core_datagrams`].
pub fn datagram_seeds() -> Vec<Vec<u8>> {
    let check = check_attributes();
    let hello = client_hello();
    let elsewhere = 1 << 2;
    let by_tcp = 1 << 4;
    vec![
        script([(CHECK, &check)]),
        script([(CHECK, &check), (RAW, &hello)]),
        script([(CHECK | by_tcp, &check), (RAW | by_tcp, &hello), (WAIT, &vec![0; 9])]),
        script([(CHECK, &check), (RAW, &hello), (RAW, &hello), (CHECK | elsewhere, &check)]),
        script([(RAW, &binding_request(&check)), (RAW, &hello), (RAW, &vec![0x80; 40])]),
        script([(CHECK, &check), (RAW, &vec![0x90; 60]), (WAIT, &vec![0; 100]), (CHECK, &check)]),
        script([(CHECK, &check), (RAW, &vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 2])]),
    ]
}

/// Plays a script. Nothing is sent to an address that no check with the right password came from.
pub fn core_datagrams(bytes: &[u8]) {
    answers(bytes);
}

/// The same; returns what was sent.
fn answers(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut stage = Stage::new();
    for (kind, payload) in Script(bytes).take(MAX_RECORDS) {
        let route = route(kind);
        match kind & 3 {
            CHECK => {
                let mut check = stage.sealed_check(payload);
                stage.proven.insert(route.far_end());
                stage.handle(route, &mut check);
            }
            WAIT => stage.pass(Duration::from_millis(100) * payload.len() as u32),
            _ => stage.handle(route, &mut payload.to_vec()),
        }
    }
    stage.sent
}

struct Stage {
    sfu: Sfu,
    now: Instant,
    timeout: Instant,
    buffer: TransmitBuffer,
    ufrag: String,
    password: String,
    proven: BTreeSet<(Protocol, SocketAddr)>,
    sent: Vec<Vec<u8>>,
}

impl Stage {
    fn new() -> Self {
        let now = start_of_time();
        let address = local();
        let config = SfuConfig {
            media_addresses: vec![MediaAddress { advertised: address, local: address }],
            tcp: Some(crate::TcpOffer { port: address.port(), only: false }),
            rooms: RoomPolicy::default(),
            clock: WallClock::new(now, 0),
            keys: ApiKeys::default(),
            ice_servers: Vec::new(),
            origin: crate::ids::Origin::default(),
        };
        let Ok(mut sfu) = Sfu::new(config, Seed(1), now) else { unreachable!("no certificate") };
        let grant = Grant::new(Identity::new("ann"), "Ann", RoomName::new("garden"));
        let offer = proto::SessionDescription {
            r#type: "offer".into(),
            sdp: DATA_OFFER.into(),
            ..proto::SessionDescription::default()
        };
        let request =
            proto::JoinRequest { publisher_offer: Some(offer), ..proto::JoinRequest::default() };
        if let Ok(attempt) = JoinAttempt::new(grant, request, true) {
            sfu.handle_join(ConnectionId(1), attempt, now);
        }
        let mut stage = Self {
            sfu,
            now,
            timeout: now,
            buffer: TransmitBuffer::new(),
            ufrag: String::new(),
            password: String::new(),
            proven: BTreeSet::new(),
            sent: Vec::new(),
        };
        stage.drain();
        assert!(!stage.password.is_empty(), "the offer is answered");
        stage
    }

    fn handle(&mut self, route: Route, payload: &mut [u8]) {
        self.sfu.handle_datagram(Datagram { route, payload }, self.now);
        self.drain();
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.timeout <= end {
            self.now = self.now.max(self.timeout);
            self.sfu.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// Takes what comes out: credentials from the answer, and what is sent, which may go only where a check came from.
    fn drain(&mut self) {
        loop {
            match self.sfu.poll_output() {
                Output::Message { message, .. } => {
                    if let Some(Message::Answer(answer)) = message.message {
                        let value =
                            |name| answer.sdp.lines().find_map(|one| one.strip_prefix(name));
                        self.ufrag = value("a=ice-ufrag:").unwrap_or_default().into();
                        self.password = value("a=ice-pwd:").unwrap_or_default().into();
                    }
                }
                Output::Timeout(at) => {
                    // Whatever says "at once" again and again never ends.
                    self.timeout = at.max(self.now + Duration::from_micros(1));
                    break;
                }
                _ => {}
            }
        }
        loop {
            let more = self.sfu.poll_transmits(self.now, &mut self.buffer);
            for (route, datagram) in self.buffer.iter() {
                assert!(self.proven.contains(&route.far_end()), "{route:?} has proven nothing");
                self.sent.push(datagram.to_vec());
            }
            self.buffer.clear();
            if !more {
                return;
            }
        }
    }

    /// A check for the participant with these attributes between its name and its seal (RFC 8489 §14.5).
    fn sealed_check(&self, attributes: &[u8]) -> Vec<u8> {
        let name = attribute(0x0006, format!("{}:abcd", self.ufrag).as_bytes());
        let mut check = binding_request(&[&name, attributes].concat());
        let length = (check.len() - 20 + 24) as u16;
        check[2..4].copy_from_slice(&length.to_be_bytes());
        let seal = stun_integrity(&self.password, &check);
        check.extend(attribute(0x0008, &seal));
        check
    }
}

fn local() -> SocketAddr {
    ([127, 0, 0, 1], 7882).into()
}

/// From one of four addresses, by UDP or TCP.
fn route(kind: u8) -> Route {
    let remote = SocketAddr::from(([127, 0, 0, 1], 1_000 + u16::from(kind >> 2 & 3)));
    let protocol = if kind & 1 << 4 == 0 { Protocol::Udp } else { Protocol::Tcp };
    Route { protocol, local: local(), remote }
}

/// PRIORITY, ICE-CONTROLLING and USE-CANDIDATE (RFC 8445 §16.1).
fn check_attributes() -> Vec<u8> {
    let controlling = attribute(0x802a, &[1, 2, 3, 4, 5, 6, 7, 8]);
    [attribute(0x0024, &[0x6e, 0, 0x1e, 0xff]), controlling, attribute(0x0025, b"")].concat()
}

/// A DTLS 1.2 ClientHello (RFC 6347 §4.2, RFC 5246 §7.4.1.2) as WebRTC sends it (RFC 8827 §6.5).
fn client_hello() -> Vec<u8> {
    let extension = |kind: u16, value: &[u8]| {
        [&kind.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), value].concat()
    };
    let extensions = [
        extension(0x000a, &[0, 4, 0, 0x1d, 0, 0x17]),
        extension(0x000b, &[1, 0]),
        extension(0x000d, &[0, 4, 4, 3, 8, 4]),
        extension(0x000e, &[0, 4, 0, 7, 0, 1, 0]),
        extension(0x0017, &[]),
        extension(0xff01, &[0]),
    ]
    .concat();
    let mut hello = vec![0xfe, 0xfd];
    hello.extend([7; 32]);
    // No session, no cookie, ECDHE-ECDSA with AES-128-GCM, no compression.
    hello.extend([0, 0, 0, 2, 0xc0, 0x2b, 1, 0]);
    hello.extend((extensions.len() as u16).to_be_bytes());
    hello.extend(extensions);
    let length = (hello.len() as u32).to_be_bytes();
    let message = [&[1], &length[1..], &[0, 0, 0, 0, 0], &length[1..], &hello].concat();
    let record = (message.len() as u16).to_be_bytes();
    [&[22, 0xfe, 0xfd], &[0; 8][..], &record, &message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_get_as_far_as_the_handshake() {
        let seeds = datagram_seeds();
        assert_eq!(answers(&seeds[0]).len(), 1, "a check is answered");
        let sent = answers(&seeds[1]);
        assert!(sent.len() >= 2, "{sent:?}");
        assert_eq!(sent[1][0], 22, "a ClientHello is answered");
        assert!(answers(&seeds[4]).is_empty(), "nothing was proven");
    }
}
