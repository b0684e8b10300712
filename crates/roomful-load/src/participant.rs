//! One virtual participant as the server sees it: a UDP socket with ICE, DTLS and SRTP, the streams it
//! sends and those it receives. It behaves as a browser does: answers checks, keeps consent, reports,
//! asks for repairs and keyframes, repairs what it is asked for.

mod receiving;
mod reports;
mod sending;
mod stream;

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use roomful_rtp::Ssrc;
use roomful_rtp::nack::NackCounts;
use roomful_rtp::srtp::{DtlsRole, MasterKeys, Opener, Sealer, SrtpProfile};
use roomful_rtp::twcc::ArrivalLog;

use crate::clock::Stamp;
use crate::dtls::{Association, Event, Identity, Keys, Role};
use crate::garbage::Bait;
use crate::ice::{Agent, Credentials, Heard};
use crate::ledger::{Group, Ledger};
use crate::media::source::Source;
use crate::sdp::Remote;
use crate::udp::{self, Message};
use reports::Reports;
use stream::Stream;

/// A virtual participant of this process, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ParticipantId(pub(crate) u32);

/// What is known of a participant before the server answers.
pub(crate) struct Newcomer {
    pub(crate) id: ParticipantId,
    pub(crate) group: Group,
    pub(crate) credentials: Credentials,
    pub(crate) socket: UdpSocket,
    pub(crate) sources: Vec<Source>,
}

/// When a participant got how far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timeline {
    /// The server's answer was known: the first check left.
    pub(crate) described: Option<Instant>,
    /// A check was answered.
    pub(crate) reached: Option<Instant>,
    /// DTLS was done.
    pub(crate) keyed: Option<Instant>,
    /// The first RTP packet was here.
    pub(crate) first_packet: Option<Instant>,
    /// The first one of a picture was.
    pub(crate) first_picture: Option<Instant>,
}

impl Timeline {
    fn note_packet(&mut self, of_picture: bool, now: Instant) {
        self.first_packet.get_or_insert(now);
        if of_picture {
            self.first_picture.get_or_insert(now);
        }
    }
}

/// See the module text.
pub(crate) struct Participant {
    id: ParticipantId,
    group: Group,
    identity: Arc<Identity>,
    socket: Arc<UdpSocket>,
    agent: Agent,
    dtls: Option<Association>,
    /// What DTLS needs once the server is reached.
    announced: Option<(Role, String)>,
    srtp: Option<Srtp>,
    sources: Vec<Source>,
    streams: HashMap<Ssrc, Stream>,
    /// Whether any of them misses something.
    misses_packets: bool,
    across: AcrossStreams,
    reports: Reports,
    timeline: Timeline,
}

/// Transport-wide congestion control: packets are numbered across the streams of a transport.
struct AcrossStreams {
    /// The next packet to be sent.
    next: u16,
    /// The header extension in which the server numbers what it sends, if it does.
    id: Option<u8>,
    /// What of it arrived, for feedback.
    arrivals: ArrivalLog,
}

impl AcrossStreams {
    fn new() -> Self {
        Self { next: fastrand::u16(..), id: None, arrivals: ArrivalLog::default() }
    }
}

struct Srtp {
    profile: SrtpProfile,
    opener: Opener,
    sealer: Sealer,
}

/// When something arrived, on both clocks.
#[derive(Debug, Clone, Copy)]
struct At {
    stamp: Stamp,
    instant: Instant,
}

impl At {
    fn of(message: &Message<'_>, now: Instant) -> Self {
        let read = Stamp::now();
        let stamp = message.arrived.unwrap_or(read);
        let waited =
            u64::try_from(read.nanos_since(stamp)).map_or(Duration::ZERO, Duration::from_nanos);
        Self { stamp, instant: now.checked_sub(waited).unwrap_or(now) }
    }
}

impl Participant {
    pub(crate) fn new(newcomer: Newcomer, identity: Arc<Identity>, now: Instant) -> Self {
        Self {
            id: newcomer.id,
            group: newcomer.group,
            identity,
            socket: Arc::new(newcomer.socket),
            agent: Agent::new(newcomer.credentials),
            dtls: None,
            announced: None,
            srtp: None,
            sources: newcomer.sources,
            streams: HashMap::new(),
            misses_packets: false,
            across: AcrossStreams::new(),
            reports: Reports::new(now),
            timeline: Timeline::default(),
        }
    }

    pub(crate) fn id(&self) -> ParticipantId {
        self.id
    }

    pub(crate) fn timeline(&self) -> Timeline {
        self.timeline
    }

    /// Whether media may flow.
    pub(crate) fn is_connected(&self) -> bool {
        self.srtp.is_some()
    }

    pub(crate) fn is_receiving(&self) -> bool {
        self.timeline.first_packet.is_some()
    }

    /// Whether it has to be looked after every few milliseconds.
    pub(crate) fn needs_attention(&self) -> bool {
        self.srtp.is_none() || self.misses_packets
    }

    pub(crate) fn sources(&self) -> &[Source] {
        &self.sources
    }

    pub(crate) fn socket(&self) -> Arc<UdpSocket> {
        Arc::clone(&self.socket)
    }

    pub(crate) fn group(&self) -> Group {
        self.group
    }

    /// Where its media goes, and the last datagram it sent of it.
    pub(crate) fn bait(&self) -> Option<Bait> {
        let last = self.sources.iter().map(Source::last_sent).find(|sent| !sent.is_empty());
        let sent = last.map(|bytes| (self.socket(), bytes.to_vec()));
        Some(Bait { server: self.agent.selected()?, sent })
    }

    /// The negotiated SRTP profile.
    pub(crate) fn profile(&self) -> Option<SrtpProfile> {
        self.srtp.as_ref().map(|srtp| srtp.profile)
    }

    /// Counts repairs from here on.
    pub(crate) fn open_window(&mut self) {
        self.streams.values_mut().for_each(Stream::open_window);
    }

    /// What its media streams missed since the window opened.
    pub(crate) fn missed(&self) -> impl Iterator<Item = NackCounts> {
        self.streams.values().map(Stream::window)
    }

    /// The server's description is known: checks start.
    ///
    /// # Errors
    /// If the participant is lost.
    pub(crate) fn handle_remote(&mut self, remote: Remote, now: Instant) -> anyhow::Result<()> {
        self.timeline.described.get_or_insert(now);
        self.agent.set_remote(&remote.credentials, remote.ice_role(), now);
        if self.announced.is_none() {
            self.announced = Some((remote.role, remote.fingerprint));
        }
        self.across.id = remote.transport_sequence;
        for source in &mut self.sources {
            source.set_transport_sequence(remote.transport_sequence.is_some());
        }
        for candidate in remote.candidates {
            self.agent.add_candidate(candidate, now);
        }
        self.handle_timeout(now)
    }

    /// One more address of the server.
    ///
    /// # Errors
    /// If the participant is lost.
    pub(crate) fn handle_candidate(
        &mut self,
        candidate: SocketAddr,
        now: Instant,
    ) -> anyhow::Result<()> {
        self.agent.add_candidate(candidate, now);
        self.handle_timeout(now)
    }

    /// Time has passed.
    ///
    /// # Errors
    /// If the participant is lost.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> anyhow::Result<()> {
        self.send_checks(now);
        if self.agent.has_expired(now) {
            bail!("the server stopped answering checks");
        }
        if let Some(dtls) = &mut self.dtls {
            let events = dtls.handle_timeout(now)?;
            self.handle_dtls_events(events, now)?;
        }
        Ok(())
    }

    /// Datagrams arrived.
    ///
    /// # Errors
    /// If the participant is lost.
    pub(crate) fn handle_message(
        &mut self,
        mut message: Message<'_>,
        now: Instant,
        ledger: &mut Ledger,
    ) -> anyhow::Result<()> {
        let arrived = At::of(&message, now);
        for datagram in message.datagrams() {
            // RFC 7983 §7.
            match datagram.first() {
                Some(0..=3) => self.handle_stun(datagram, now)?,
                Some(20..=63) => self.handle_dtls(datagram, now)?,
                Some(128..=191) if roomful_rtp::rtp::is_rtcp(datagram) => {
                    self.handle_rtcp(datagram, now, ledger);
                }
                Some(128..=191) => self.handle_rtp(datagram, arrived, ledger),
                Some(_) | None => ledger.totals.asides.unknown_datagrams += 1,
            }
        }
        Ok(())
    }

    fn handle_stun(&mut self, datagram: &[u8], now: Instant) -> anyhow::Result<()> {
        match self.agent.handle_datagram(datagram, now) {
            Heard::Reply(reply) if self.agent.is_connected() => self.send(&reply),
            Heard::Reply(reply) => {
                for candidate in self.agent.candidates() {
                    self.send_to(&reply, *candidate);
                }
            }
            Heard::Connected(address) => {
                self.timeline.reached.get_or_insert(now);
                udp::select(&self.socket, address)
                    .with_context(|| format!("cannot reach {address}"))?;
                // The nomination, before anything that relies on it.
                self.send_checks(now);
            }
            Heard::Nothing => {}
        }
        if self.agent.is_connected() && self.dtls.is_none() {
            self.begin_dtls(now)?;
        }
        Ok(())
    }

    fn begin_dtls(&mut self, now: Instant) -> anyhow::Result<()> {
        let Some((role, fingerprint)) = self.announced.clone() else { return Ok(()) };
        let mut association = Association::new(&self.identity, role, fingerprint, now);
        let events = association.handle_timeout(now)?;
        self.dtls = Some(association);
        self.handle_dtls_events(events, now)
    }

    fn handle_dtls(&mut self, datagram: &[u8], now: Instant) -> anyhow::Result<()> {
        let Some(dtls) = &mut self.dtls else { return Ok(()) };
        let events = dtls.handle_datagram(datagram, now)?;
        self.handle_dtls_events(events, now)
    }

    fn handle_dtls_events(&mut self, events: Vec<Event>, now: Instant) -> anyhow::Result<()> {
        for event in events {
            match event {
                Event::Transmit(bytes) => self.send(&bytes),
                Event::Keys(keys) => {
                    self.srtp = Some(Srtp::new(&keys)?);
                    self.timeline.keyed.get_or_insert(now);
                }
                Event::Closed => bail!("the server ended the DTLS association"),
            }
        }
        Ok(())
    }

    /// Says goodbye.
    pub(crate) fn close(&mut self) {
        let events = self.dtls.as_mut().map(Association::close).unwrap_or_default();
        for event in events {
            if let Event::Transmit(bytes) = event {
                self.send(&bytes);
            }
        }
    }

    fn send_checks(&mut self, now: Instant) {
        for (destination, check) in self.agent.poll_checks(now) {
            self.send_to(&check, destination);
        }
    }

    fn send_to(&self, bytes: &[u8], destination: SocketAddr) {
        let _lossy = udp::send_to(&self.socket, bytes, destination);
    }

    /// Lossy, as the network is: what the system does not take is gone.
    fn send(&self, bytes: &[u8]) {
        let _lossy = self.socket.send(bytes);
    }
}

impl Srtp {
    fn new(keys: &Keys) -> anyhow::Result<Self> {
        let profile = match keys.profile {
            dimpl::SrtpProfile::AEAD_AES_128_GCM => SrtpProfile::AeadAes128Gcm,
            dimpl::SrtpProfile::AEAD_AES_256_GCM => SrtpProfile::AeadAes256Gcm,
            dimpl::SrtpProfile::AES128_CM_SHA1_80 => SrtpProfile::Aes128CmHmacSha1_80,
            other => bail!("SRTP profile {other} is not known here"),
        };
        let role = if keys.is_client { DtlsRole::Client } else { DtlsRole::Server };
        let keys = MasterKeys::from_exported(profile, &keys.material, role)?;
        let (opener, sealer) = (Opener::new(&keys.open)?, Sealer::new(&keys.seal)?);
        Ok(Self { profile, opener, sealer })
    }
}
