//! The address by which a participant's page was reached, as one more way for its media.
//!
//! Behind a 1:1 NAT (most cloud machines) no interface has the public address, but whoever loaded the page used
//! it. Such a NAT passes every port on, so media arrives by the same address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::sfu::MediaAddress;

/// Whether anybody on the Internet could use `ip`: it is no loopback, unspecified, link-local, multicast, broadcast,
/// private (RFC 1918, RFC 4193) or carrier-shared (RFC 6598) address. IPv4 within IPv6 counts as IPv4.
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            !(ip.is_loopback()
                || ip.octets()[0] == 0
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip.is_private()
                || is_shared(ip))
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unicast_link_local()
                || ip.is_multicast()
                || is_unique_local(ip))
        }
    }
}

/// What a participant who reached the page at `reached` is offered beside `known`: nothing if it is among them,
/// not public, or if nothing of its kind is there that could receive from outside.
///
/// A NAT in between rewrites the destination to one of `known`, which is a candidate of its own: which one stands
/// in the result does not matter.
pub(crate) fn media_address(reached: IpAddr, known: &[MediaAddress]) -> Option<MediaAddress> {
    let reached = reached.to_canonical();
    let is_known = known
        .iter()
        .any(|address| address.advertised.ip() == reached || address.local.ip() == reached);
    if is_known || !is_public(reached) {
        return None;
    }
    let local = known.iter().map(|address| address.local).find(|local| {
        local.is_ipv4() == reached.is_ipv4() && !local.ip().to_canonical().is_loopback()
    })?;
    Some(MediaAddress { advertised: (reached, local.port()).into(), local })
}

/// 100.64.0.0/10.
fn is_shared(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && second & 0b1100_0000 == 64
}

/// fc00::/7.
fn is_unique_local(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xfe00 == 0xfc00
}

#[cfg(test)]
mod tests {
    use super::*;

    use livekit_protocol as proto;
    use proto::signal_response::Message;

    use crate::ids::{ConnectionId, Identity, RoomName};
    use crate::join::JoinAttempt;
    use crate::testing::start_of_time;
    use crate::token::Grant;
    use crate::{Output, RoomPolicy, Seed, Sfu, SfuConfig, TcpOffer, WallClock};

    #[test]
    fn only_what_everybody_could_use_is_public() {
        for public in ["203.0.113.7", "8.8.8.8", "100.63.1.1", "100.128.0.1", "2001:db8::7"] {
            assert!(is_public(ip(public)), "{public}");
        }
        for other in [
            "127.0.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "100.127.255.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is_public(ip(other)), "{other}");
        }
    }

    #[test]
    fn the_public_address_of_the_page_is_a_candidate() {
        let plain = candidates(None);
        assert_eq!(plain, ["10.0.0.5:7882", "2001:db8::5:7882"]);
        let reached = candidates(Some("203.0.113.7"));
        assert_eq!(reached, ["10.0.0.5:7882", "2001:db8::5:7882", "203.0.113.7:7882"]);
        assert_eq!(candidates(Some("::ffff:203.0.113.7")), reached);
    }

    #[test]
    fn a_known_or_private_address_is_offered_no_second_time() {
        for reached in ["10.0.0.5", "2001:db8::5", "192.168.7.7", "127.0.0.1", "::1", "fe80::1"] {
            assert_eq!(candidates(Some(reached)), candidates(None), "{reached}");
        }
        let known = [MediaAddress { advertised: at("198.51.100.7"), local: at("10.0.0.5") }];
        assert_eq!(media_address(ip("198.51.100.7"), &known), None, "configured");
        assert!(media_address(ip("203.0.113.7"), &known).is_some());
    }

    #[test]
    fn without_an_address_of_its_kind_nothing_could_arrive() {
        let only = |ip: &str| vec![MediaAddress { advertised: at(ip), local: at(ip) }];
        assert_eq!(media_address(ip("203.0.113.7"), &only("2001:db8::5")), None);
        assert_eq!(media_address(ip("203.0.113.7"), &only("127.0.0.1")), None);
        assert_eq!(media_address(ip("2001:db8::7"), &only("10.0.0.5")), None);
        assert!(media_address(ip("2001:db8::7"), &only("2001:db8::5")).is_some());
    }

    #[test]
    fn every_address_is_offered_by_tcp_too_for_the_participant_to_connect_to() {
        let sdp = answered(Some("203.0.113.7"), Some(TcpOffer { port: 443, only: false }));
        let lines: Vec<&str> =
            sdp.lines().filter(|line| line.starts_with("a=candidate:")).collect();
        let priority = |line: &str| line.split(' ').nth(3).unwrap().parse::<u32>().unwrap();
        let (tcp, udp): (Vec<&str>, Vec<&str>) =
            lines.into_iter().partition(|line| line.contains(" 1 tcp "));
        assert_eq!((tcp.len(), udp.len()), (3, 3));
        for ip in ["10.0.0.5", "2001:db8::5", "203.0.113.7"] {
            let wanted = format!(" {ip} 443 typ host tcptype passive");
            assert!(tcp.iter().any(|line| line.contains(&wanted)), "{tcp:?}");
        }
        let best_tcp = tcp.iter().map(|line| priority(line)).max();
        assert!(best_tcp < udp.iter().map(|line| priority(line)).min(), "UDP is preferred");
        let forced = answered(None, Some(TcpOffer { port: 443, only: true }));
        assert!(forced.contains(" 1 tcp ") && !forced.contains(" 1 udp "));
    }

    /// Sorted addresses of the candidates in the answer to somebody who reached the page at `reached`.
    fn candidates(reached: Option<&str>) -> Vec<String> {
        let sdp = answered(reached, None);
        let mut found: Vec<String> = sdp
            .lines()
            .filter_map(|line| line.strip_prefix("a=candidate:"))
            .filter_map(|candidate| {
                let mut words = candidate.split(' ').skip(4);
                Some(format!("{}:{}", words.next()?, words.next()?))
            })
            .collect();
        found.sort();
        found.dedup();
        found
    }

    /// The answer to somebody who reached the page at `reached`.
    fn answered(reached: Option<&str>, tcp: Option<TcpOffer>) -> String {
        let now = start_of_time();
        let media_addresses = ["10.0.0.5", "2001:db8::5", "127.0.0.1"]
            .map(|ip| MediaAddress { advertised: at(ip), local: at(ip) })
            .to_vec();
        let clock = WallClock::new(now, 0);
        let config = SfuConfig {
            media_addresses,
            tcp,
            rooms: RoomPolicy::default(),
            clock,
            keys: crate::token::ApiKeys::default(),
            ice_servers: Vec::new(),
            origin: crate::ids::Origin::default(),
        };
        let mut sfu = Sfu::new(config, Seed(1), now).unwrap();
        let grant = Grant::new(Identity::new("ann"), "Ann", RoomName::new("garden"));
        let offer = proto::SessionDescription {
            r#type: "offer".into(),
            sdp: OFFER.into(),
            ..proto::SessionDescription::default()
        };
        let request =
            proto::JoinRequest { publisher_offer: Some(offer), ..proto::JoinRequest::default() };
        let mut attempt = JoinAttempt::new(grant, request, false).unwrap();
        attempt.reached_at = reached.map(ip);
        sfu.handle_join(ConnectionId(1), attempt, now);
        answer(&mut sfu).expect("the offer is answered")
    }

    fn answer(sfu: &mut Sfu) -> Option<String> {
        loop {
            match sfu.poll_output() {
                Output::Message { message, .. } => {
                    if let Some(Message::Answer(answer)) = message.message {
                        return Some(answer.sdp);
                    }
                }
                Output::Timeout(_) => return None,
                _ => {}
            }
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn at(ip: &str) -> std::net::SocketAddr {
        (self::ip(ip), 7882).into()
    }

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n\
        a=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 \
        00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n\
        a=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:65536\r\n";
}
