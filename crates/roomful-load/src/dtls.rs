//! DTLS 1.2 (RFC 6347) and the SRTP keys it yields (RFC 5764), by `dimpl`.
//!
//! DTLS 1.2 for every server: it is what all of them speak, so nobody's handshake is dearer.

mod narrowed;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use aws_lc_rs::digest;
use dimpl::{Config, Dtls, DtlsCertificate, Output};
use narrowed::{Change, ProfileNumber};
use roomful_rtp::srtp::SrtpProfile;

/// The largest DTLS record flight datagram `dimpl` writes, with room to spare.
const DATAGRAM_BYTES: usize = 2048;

/// Pause before the first message is repeated, doubled each time: browsers' own (libwebrtc sets it). Some
/// servers drop what comes before they are done with ICE; RFC 6347 §4.2.4.1 recommends a second, and that
/// would be most of a join there.
const FIRST_REPEAT: Duration = Duration::from_millis(50);

/// Repetitions of a message: with the pause doubling each time, thirteen seconds in all. Fewer, and a
/// server that is merely slow to handle a crowd looks dead.
const REPEATS: usize = 7;

/// The certificate of this process, shared by all participants: making one for each would be most of the
/// generator's work in a join.
#[derive(Clone)]
pub(crate) struct Identity {
    certificate: DtlsCertificate,
    as_client: Settings,
    as_server: Settings,
    fingerprint: String,
}

/// How associations in one role are to be.
#[derive(Clone)]
struct Settings {
    config: Arc<Config>,
    /// Where only one profile is to be agreed on.
    change: Option<Change>,
}

impl Identity {
    /// One that agrees on any SRTP profile, or `only` this one.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub(crate) fn generate(only: Option<SrtpProfile>) -> anyhow::Result<Self> {
        let certificate = dimpl::certificate::generate_self_signed_certificate()
            .map_err(|error| anyhow!("cannot make a certificate: {error}"))?;
        let fingerprint = fingerprint(&certificate.certificate);
        let settings = |role| {
            let only = only.map(|profile| ProfileNumber(profile.id()));
            Settings::new(only.map(|wanted| Change::new(wanted, role)))
        };
        let (as_client, as_server) = (settings(Role::Client)?, settings(Role::Server)?);
        Ok(Self { certificate, as_client, as_server, fingerprint })
    }

    /// SHA-256 of the certificate as SDP has it (RFC 8122 §5).
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl Settings {
    fn new(change: Option<Change>) -> anyhow::Result<Self> {
        let mut config = Config::builder().flight_start_rto(FIRST_REPEAT).flight_retries(REPEATS);
        if let Some(change) = &change {
            config = config.with_crypto_provider(narrowed::provider(change));
        }
        Ok(Self { config: Arc::new(config.build().context("the DTLS settings")?), change })
    }
}

/// One participant's association, from its seat.
pub(crate) struct Association {
    dtls: Dtls,
    /// Fingerprint the server announced; nothing else is believed.
    expected: String,
    change: Option<Change>,
    timeout: Option<Instant>,
    buffer: Vec<u8>,
}

/// What an association wants done or known.
pub(crate) enum Event {
    /// Send this.
    Transmit(Vec<u8>),
    /// The handshake is over.
    Keys(Keys),
    /// The server said goodbye.
    Closed,
}

/// What SRTP is keyed with (RFC 5764 §4.2).
pub(crate) struct Keys {
    pub(crate) profile: dimpl::SrtpProfile,
    pub(crate) material: Vec<u8>,
    /// Whether this side was the DTLS client, whose keys come first.
    pub(crate) is_client: bool,
}

/// Who sends the first message (RFC 8842 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Server,
}

impl Association {
    pub(crate) fn new(identity: &Identity, role: Role, expected: String, now: Instant) -> Self {
        let Settings { config, change } = match role {
            Role::Client => identity.as_client.clone(),
            Role::Server => identity.as_server.clone(),
        };
        let mut dtls = Dtls::new_12(config, identity.certificate.clone(), now);
        dtls.set_active(role == Role::Client);
        let buffer = vec![0; DATAGRAM_BYTES];
        Self { dtls, expected, change, timeout: Some(now), buffer }
    }

    /// A datagram that looks like DTLS.
    ///
    /// # Errors
    /// If the association is at its end: a lie, or a timeout.
    pub(crate) fn handle_datagram(
        &mut self,
        bytes: &[u8],
        now: Instant,
    ) -> anyhow::Result<Vec<Event>> {
        self.dtls.handle_timeout(now).context("DTLS")?;
        let mut bytes = bytes.to_vec();
        if let Some(change) = &self.change {
            change.incoming(&mut bytes);
        }
        self.dtls.handle_packet(&bytes).context("DTLS")?;
        self.drain()
    }

    /// Time has passed: repeats what was not answered. Cheap when nothing is due.
    ///
    /// # Errors
    /// As [`Association::handle_datagram`].
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> anyhow::Result<Vec<Event>> {
        if self.timeout.is_none_or(|at| at > now) {
            return Ok(Vec::new());
        }
        self.dtls.handle_timeout(now).context("DTLS")?;
        self.drain()
    }

    /// Says goodbye.
    pub(crate) fn close(&mut self) -> Vec<Event> {
        // One that cannot say goodbye any more just ends.
        self.dtls.close().map_or_else(|_| Vec::new(), |()| self.drain().unwrap_or_default())
    }

    fn drain(&mut self) -> anyhow::Result<Vec<Event>> {
        let mut events = Vec::new();
        loop {
            match self.dtls.poll_output(&mut self.buffer) {
                Output::Packet(bytes) => {
                    let mut bytes = bytes.to_vec();
                    if let Some(change) = &self.change {
                        change.outgoing(&mut bytes);
                    }
                    events.push(Event::Transmit(bytes));
                }
                Output::BufferTooSmall { needed } => self.buffer.resize(needed, 0),
                Output::Timeout(at) => {
                    self.timeout = Some(at);
                    return Ok(events);
                }
                Output::PeerCert(certificate) => {
                    let shown = fingerprint(certificate);
                    if !shown.eq_ignore_ascii_case(&self.expected) {
                        return Err(anyhow!("the server shows another certificate than announced"));
                    }
                }
                Output::KeyingMaterial(material, profile) => events.push(Event::Keys(Keys {
                    profile,
                    material: material.to_vec(),
                    is_client: self.dtls.is_active(),
                })),
                Output::CloseNotify => {
                    events.push(Event::Closed);
                    return Ok(events);
                }
                // Data channels are not offered.
                _ => {}
            }
        }
    }
}

fn fingerprint(certificate: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, certificate);
    let bytes: Vec<String> = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn both_sides_of_a_handshake_get_the_same_keys() {
        let (client, server) = handshake(None, None, None);
        let (client, server) = (client.expect("keys"), server.expect("keys"));
        assert_eq!(client.material, server.material);
        assert_eq!(client.profile, server.profile);
        assert!(client.is_client && !server.is_client);
    }

    #[test]
    fn a_single_profile_is_agreed_on_whatever_the_other_side_prefers() {
        for (only, agreed) in [
            (SrtpProfile::AeadAes128Gcm, dimpl::SrtpProfile::AEAD_AES_128_GCM),
            (SrtpProfile::AeadAes256Gcm, dimpl::SrtpProfile::AEAD_AES_256_GCM),
            (SrtpProfile::Aes128CmHmacSha1_80, dimpl::SrtpProfile::AES128_CM_SHA1_80),
        ] {
            for (client, server) in [(Some(only), None), (None, Some(only))] {
                let (client, server) = handshake(None, client, server);
                let (client, server) = (client.expect("keys"), server.expect("keys"));
                assert_eq!((client.profile, server.profile), (agreed, agreed));
                assert_eq!(client.material, server.material);
            }
        }
    }

    #[test]
    fn another_certificate_than_announced_is_refused() {
        let (client, _) = handshake(Some("AA:BB".into()), None, None);
        assert!(client.is_none());
    }

    /// The client may be told a `lie` about the server's certificate.
    fn handshake(
        lie: Option<String>,
        client: Option<SrtpProfile>,
        server: Option<SrtpProfile>,
    ) -> (Option<Keys>, Option<Keys>) {
        let now = Instant::now();
        let ours = Identity::generate(client).unwrap();
        let theirs = Identity::generate(server).unwrap();
        let announced = lie.unwrap_or_else(|| theirs.fingerprint().to_owned());
        let mut client = Association::new(&ours, Role::Client, announced, now);
        let mut server =
            Association::new(&theirs, Role::Server, ours.fingerprint().to_owned(), now);
        let mut keys = (None, None);
        let mut to_server = VecDeque::new();
        let mut to_client = VecDeque::new();
        take(client.handle_timeout(now).unwrap(), &mut to_server, &mut keys.0);
        take(server.handle_timeout(now).unwrap(), &mut to_client, &mut keys.1);
        for _ in 0..40 {
            if let Some(bytes) = to_server.pop_front() {
                take(server.handle_datagram(&bytes, now).unwrap(), &mut to_client, &mut keys.1);
            }
            if let Some(bytes) = to_client.pop_front() {
                let Ok(events) = client.handle_datagram(&bytes, now) else { return keys };
                take(events, &mut to_server, &mut keys.0);
            }
        }
        keys
    }

    fn take(events: Vec<Event>, wire: &mut VecDeque<Vec<u8>>, keys: &mut Option<Keys>) {
        for event in events {
            match event {
                Event::Transmit(bytes) => wire.push_back(bytes),
                Event::Keys(found) => *keys = Some(found),
                Event::Closed => {}
            }
        }
    }
}
