//! `Client`: the program behind a participant, as far as the rules differ by program and protocol version.

use livekit_protocol as proto;
use proto::client_info::{Capability, Sdk};

use crate::codecs::DisabledCodecs;
use crate::egress::codec::Codec;
use crate::playout::Playout;
use crate::signalling::Change;

/// See the module text. What it knows was said by the program itself and is believed: a lie harms the liar alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Client {
    info: proto::ClientInfo,
    settings: proto::ConnectionSettings,
}

/// The first protocol version whose clients know that a participant can be out of reach.
const KNOWS_LOST: i32 = 11;

/// The first whose clients find a track by its own name.
const KNOWS_SHARED_STREAMS: i32 = 10;

/// The first whose Rust clients survive messages of a kind they do not know.
const RUST_SKIPS_UNKNOWN: i32 = 10;

/// The first whose clients expect to hear that a request was carried out, not only that it was not.
const HEARS_OF_SUCCESS: i32 = 15;

impl Client {
    /// What the join request says of its sender. Without settings everything is subscribed to, as older clients
    /// expect.
    pub(crate) fn new(request: &proto::JoinRequest) -> Self {
        let settings = request
            .connection_settings
            .unwrap_or(proto::ConnectionSettings { auto_subscribe: true, ..Default::default() });
        Self { info: request.client_info.clone().unwrap_or_default(), settings }
    }

    /// It wants to receive whatever is published.
    pub(crate) fn auto_subscribes(&self) -> bool {
        self.settings.auto_subscribe
    }

    /// It wants to receive every data track that is published.
    pub(crate) fn auto_subscribes_to_data(&self) -> bool {
        self.settings.auto_subscribe_data_track()
    }

    /// The protocol version of what is said through data channels.
    pub(crate) fn data_protocol(&self) -> i32 {
        self.info.client_protocol
    }

    /// What it says it can do.
    pub(crate) fn capabilities(&self) -> Vec<i32> {
        self.info.capabilities.clone()
    }

    /// It knows what the trailers behind pictures are.
    pub(crate) fn knows_trailers(&self) -> bool {
        self.info.capabilities.contains(&Capability::CapPacketTrailer.into())
    }

    /// Pictures that its link has no room for may be paused, as far as it says so itself; else as the room does, which
    /// `is_usual`.
    pub(crate) fn may_pause(&self, is_usual: bool) -> bool {
        self.settings.subscriber_allow_pause.unwrap_or(is_usual)
    }

    /// It expects to hear of requests that were carried out.
    pub(crate) fn hears_of_success(&self) -> bool {
        self.info.protocol >= HEARS_OF_SUCCESS && self.survives_unknown_messages()
    }

    /// `change` as this client can take it; `None` where it would stumble over it.
    pub(crate) fn understood(&self, change: Change) -> Option<Change> {
        match change {
            change if self.takes(&change) => Some(change),
            Change::Quality(mut qualities) => {
                for quality in &mut qualities {
                    if quality.quality() == proto::ConnectionQuality::Lost {
                        quality.set_quality(proto::ConnectionQuality::Poor);
                    }
                }
                Some(Change::Quality(qualities))
            }
            _ => None,
        }
    }

    /// Whether this client can take `change` just as it is.
    pub(crate) fn takes(&self, change: &Change) -> bool {
        match change {
            Change::TrackSubscribed(_) | Change::Refused(_) | Change::Done { .. } => {
                self.survives_unknown_messages()
            }
            Change::Quality(_) => self.info.protocol >= KNOWS_LOST,
            _ => true,
        }
    }

    /// It finds tracks whose streams are not named after them. Firefox tells its page of no other name of a track.
    pub(crate) fn knows_shared_streams(&self) -> bool {
        self.info.protocol >= KNOWS_SHARED_STREAMS && !self.is_firefox()
    }

    /// It can be told how long to hold pictures back where `playout` has it. Not Firefox where tracks are to be played
    /// in step: it would hold pictures alone back.
    pub(crate) fn takes_delay(&self, playout: &Playout) -> bool {
        playout.delay.is_some() && !(playout.in_step && self.is_firefox())
    }

    /// Codecs that do not work well in this client, whatever it says. The rules are LiveKit's.
    pub(crate) fn disabled_codecs(&self) -> DisabledCodecs {
        let safari = self.browser_is("safari");
        let mut disabled = DisabledCodecs::default();
        if safari {
            disabled.everywhere.push(Codec::Av1);
            if self.browser_is_newer_than(18, 3) {
                disabled.publishing.push(Codec::Vp9);
            }
        }
        if self.is_firefox() && self.is_on_linux() {
            disabled.publishing.push(Codec::H264);
        }
        disabled
    }

    /// It plays sound that comes with redundancy. The rule is LiveKit's; what others do not offer is not sent to them
    /// either.
    pub(crate) fn plays_redundancy(&self) -> bool {
        !self.is_firefox() && !self.browser_is("safari")
    }

    /// It sends in the first codec of an answer (RFC 3264 §6.1). Others send in any of them. The rule is LiveKit's.
    pub(crate) fn heeds_order(&self) -> bool {
        !(self.is_firefox() && self.is_on_linux())
    }

    /// What is told to the client about itself; nothing where nothing is special.
    pub(crate) fn configuration(&self) -> Option<proto::ClientConfiguration> {
        let disabled = self.disabled_codecs();
        (!disabled.is_empty()).then(|| proto::ClientConfiguration {
            disabled_codecs: Some(disabled.into()),
            ..Default::default()
        })
    }

    /// Rust clients before protocol 10 fail on messages added since.
    pub(crate) fn survives_unknown_messages(&self) -> bool {
        self.info.sdk() != Sdk::Rust || self.info.protocol >= RUST_SKIPS_UNKNOWN
    }

    fn is_firefox(&self) -> bool {
        self.browser_is("firefox") || self.browser_is("firefox mobile")
    }

    fn is_on_linux(&self) -> bool {
        ["linux", "android"].iter().any(|os| self.info.os.eq_ignore_ascii_case(os))
    }

    fn browser_is(&self, name: &str) -> bool {
        self.info.browser.eq_ignore_ascii_case(name)
    }

    fn browser_is_newer_than(&self, major: u32, minor: u32) -> bool {
        let mut parts = self.info.browser_version.split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) > (major, minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(info: proto::ClientInfo) -> Client {
        Client { info, ..Default::default() }
    }

    fn browser(name: &str, version: &str, os: &str) -> Client {
        client(proto::ClientInfo {
            browser: name.into(),
            browser_version: version.into(),
            os: os.into(),
            ..Default::default()
        })
    }

    #[test]
    fn codecs_that_fail_in_a_browser_are_disabled_there_and_nowhere_else() {
        let safari = browser("Safari", "18.4", "macOS").disabled_codecs();
        assert_eq!(safari.everywhere, [Codec::Av1]);
        assert_eq!(safari.publishing, [Codec::Vp9]);
        assert!(browser("safari", "9.12", "macOS").disabled_codecs().publishing.is_empty());
        let firefox = browser("Firefox", "128.0", "Linux").disabled_codecs();
        assert_eq!(firefox.publishing, [Codec::H264]);
        assert_eq!(browser("firefox", "128.0", "macOS").configuration(), None);
        assert_eq!(browser("chrome", "140", "Linux").configuration(), None);
    }

    #[test]
    fn redundancy_goes_to_those_who_play_it() {
        for name in ["Firefox", "firefox mobile", "Safari"] {
            assert!(!browser(name, "18.4", "macOS").plays_redundancy());
        }
        assert!(browser("chrome", "140", "Linux").plays_redundancy());
        assert!(client(proto::ClientInfo::default()).plays_redundancy());
    }

    #[test]
    fn old_rust_clients_are_spared_messages_they_fail_on() {
        let rust = |protocol| {
            client(proto::ClientInfo { sdk: Sdk::Rust.into(), protocol, ..Default::default() })
        };
        let change = || Change::TrackSubscribed(crate::ids::TrackSid::new("TR_a"));
        assert!(rust(9).understood(change()).is_none());
        assert!(rust(10).understood(change()).is_some());
        assert!(client(proto::ClientInfo::default()).understood(change()).is_some());
    }

    #[test]
    fn clients_that_know_no_lost_participants_hear_of_a_poor_connection() {
        let lost = || {
            Change::Quality(vec![proto::ConnectionQualityInfo {
                quality: proto::ConnectionQuality::Lost.into(),
                ..Default::default()
            }])
        };
        let told = |protocol| {
            let client = client(proto::ClientInfo { protocol, ..Default::default() });
            match client.understood(lost()) {
                Some(Change::Quality(told)) => told[0].quality(),
                other => panic!("not a quality: {other:?}"),
            }
        };
        assert_eq!(told(10), proto::ConnectionQuality::Poor);
        assert_eq!(told(11), proto::ConnectionQuality::Lost);
    }
}
