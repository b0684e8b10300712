//! Where SRTP keys come from: they are copied as DTLS hands them to `str0m`, which never sees RTP.
//!
//! `str0m` lets a program bring its own DTLS. This one is the usual one (`dimpl`) with an ear on it: when the handshake
//! exports its keying material (RFC 5764 §4.2), a copy waits for whoever drives the transport on this thread.
//! One transport is driven at a time on a thread, so what waits after a call is that transport's.
//!
//! All handshakes share one configuration: making one proves the whole cryptographic library first, which took a fifth of
//! the processor time of a join.

use std::cell::RefCell;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls};
use roomful_rtp::srtp::{DtlsRole, MasterKeys, SrtpProfile};
use str0m::config::DtlsCert;
use str0m::crypto::dtls::{
    DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
    SrtpProfile as DtlsProfile,
};
use str0m::crypto::{CryptoError, CryptoProvider};

thread_local! {
    static EXPORTED: RefCell<Option<MasterKeys>> = const { RefCell::new(None) };
}

/// How long the first flight that gets no answer waits for being repeated; doubles each time. RFC 6347 §4.2.4.1 says a
/// second, for networks of which nothing is known; here ICE has just shown a round trip. Shorter repeats flights that
/// are on their way on very slow paths, longer makes one lost datagram a second of waiting.
const FIRST_REPEAT: Duration = Duration::from_millis(250);

/// `provider` with DTLS that is listened to.
pub(super) fn tapped(provider: CryptoProvider) -> CryptoProvider {
    static TAP: OnceLock<KeyTap> = OnceLock::new();
    let tap = TAP.get_or_init(|| KeyTap { dtls: provider.dtls_provider, config: OnceLock::new() });
    CryptoProvider { dtls_provider: tap, ..provider }
}

/// The keys that were exported since this was last called.
pub(super) fn take_exported() -> Option<MasterKeys> {
    EXPORTED.take()
}

#[derive(Debug)]
struct KeyTap {
    dtls: &'static dyn DtlsProvider,
    config: OnceLock<Result<Arc<Config>, String>>,
}

impl KeyTap {
    fn config(&self, mtu: Option<usize>) -> Result<Arc<Config>, CryptoError> {
        // ICE has verified that whoever asks is reachable where it says: a cookie would only be a round trip.
        let builder = || Config::builder().use_server_cookie(false).flight_start_rto(FIRST_REPEAT);
        let build = || {
            let builder = mtu.map_or_else(builder, |mtu| builder().mtu(mtu));
            builder.build().map(Arc::new).map_err(|error| error.to_string())
        };
        self.config.get_or_init(build).clone().map_err(CryptoError::Other)
    }
}

impl DtlsProvider for KeyTap {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        self.dtls.generate_certificate()
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let (config, certificate) = (self.config(mtu)?, certificate.clone());
        let dtls = match version {
            DtlsVersion::Dtls12 => Dtls::new_12(config, certificate, now),
            DtlsVersion::Dtls13 => Dtls::new_13(config, certificate, now),
            _ => Dtls::new_auto(config, certificate, now),
        };
        Ok(Box::new(TappedDtls { dtls, aside: Some(Vec::new()) }))
    }
}

struct TappedDtls {
    dtls: Dtls,
    /// Where outputs are looked at before they are passed on, until the keys have come: `str0m` would make four
    /// ciphers of them that nobody uses, 6 kB for each participant.
    aside: Option<Vec<u8>>,
}

impl std::fmt::Debug for TappedDtls {
    /// Never the keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TappedDtls").finish_non_exhaustive()
    }
}

impl DtlsInstance for TappedDtls {
    fn set_active(&mut self, active: bool) {
        self.dtls.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.dtls.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        let role = if self.dtls.is_active() { DtlsRole::Client } else { DtlsRole::Server };
        let Some(mut aside) = self.aside.take() else { return self.dtls.poll_output(buffer) };
        aside.resize(buffer.len(), 0);
        let output = match self.dtls.poll_output(&mut aside) {
            DtlsOutput::KeyingMaterial(material, profile) => {
                EXPORTED.set(keys(&material, profile, role));
                return self.dtls.poll_output(buffer);
            }
            DtlsOutput::Packet(packet) => DtlsOutput::Packet(copied(packet, buffer)),
            DtlsOutput::PeerCert(der) => DtlsOutput::PeerCert(copied(der, buffer)),
            DtlsOutput::ApplicationData(data) => DtlsOutput::ApplicationData(copied(data, buffer)),
            DtlsOutput::BufferTooSmall { needed } => DtlsOutput::BufferTooSmall { needed },
            DtlsOutput::Connected => DtlsOutput::Connected,
            DtlsOutput::Timeout(at) => DtlsOutput::Timeout(at),
            DtlsOutput::CloseNotify => DtlsOutput::CloseNotify,
            _ => {
                tracing::warn!("DTLS asks for something that is not known here");
                DtlsOutput::CloseNotify
            }
        };
        self.aside = Some(aside);
        output
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.dtls.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.dtls.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.dtls.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.dtls.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.dtls.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.dtls.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.dtls.close()
    }
}

/// `bytes` in `buffer`, which is as long as what they come from.
fn copied<'a>(bytes: &[u8], buffer: &'a mut [u8]) -> &'a [u8] {
    let length = bytes.len().min(buffer.len());
    buffer[..length].copy_from_slice(&bytes[..length]);
    &buffer[..length]
}

fn keys(material: &[u8], profile: DtlsProfile, role: DtlsRole) -> Option<MasterKeys> {
    let profile = match profile {
        DtlsProfile::AES128_CM_SHA1_80 => SrtpProfile::Aes128CmHmacSha1_80,
        DtlsProfile::AEAD_AES_128_GCM => SrtpProfile::AeadAes128Gcm,
        DtlsProfile::AEAD_AES_256_GCM => SrtpProfile::AeadAes256Gcm,
        _ => {
            tracing::warn!(?profile, "an unknown SRTP profile was negotiated: no media will flow");
            return None;
        }
    };
    MasterKeys::from_exported(profile, material, role)
        .inspect_err(|error| tracing::warn!(%error, "the handshake exported no SRTP keys: no media will flow"))
        .ok()
}
