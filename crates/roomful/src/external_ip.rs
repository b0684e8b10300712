//! Finds the address under which the Internet sees this machine, by asking STUN servers (RFC 8489).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{UdpSocket, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::MediaConfig;

/// Time for all servers together. Longer delays every start where UDP is blocked; shorter gives up on a slow name
/// server.
const PATIENCE: Duration = Duration::from_secs(2);

/// A request is repeated after this: the first value of RFC 8489 §6.2.1. Shorter repeats what is only slow, longer
/// leaves too few tries.
const REPEAT_AFTER: Duration = Duration::from_millis(500);

/// No server told the address.
#[derive(Debug, thiserror::Error)]
#[error(
    "rtc.use_external_ip (--use-external-ip): the public address is unknown, since no STUN server answered \
     ({tried}): set rtc.node_ip (--node-ip) to the address under which clients reach this machine, or let UDP out to \
     one of rtc.stun_servers (--stun-server)"
)]
pub struct NoExternalIp {
    /// Each server asked and what went wrong.
    tried: String,
}

/// Where `media` asks for it, finds the public address and uses it as if it were configured as the node address.
///
/// # Errors
/// No server told it.
pub async fn settle(media: &mut MediaConfig) -> Result<(), NoExternalIp> {
    if media.node_ip.is_some() || media.stun_servers.is_empty() {
        return Ok(());
    }
    let ip = find(&media.stun_servers).await?;
    tracing::info!("a STUN server told the public address of this machine");
    tracing::debug!(%ip, "public address");
    media.node_ip = Some(ip);
    Ok(())
}

/// Asks `servers` (each `host:port`) in turn, for 2 s in all, and returns the first address told.
///
/// # Errors
/// None of them told one: the text names them.
pub async fn find(servers: &[String]) -> Result<IpAddr, NoExternalIp> {
    let end = Instant::now() + PATIENCE;
    let mut tried = Vec::new();
    for (index, server) in servers.iter().enumerate() {
        // What one server leaves is for those after it.
        let left = end.saturating_duration_since(Instant::now());
        let share = u32::try_from(servers.len() - index).unwrap_or(u32::MAX);
        match timeout(left / share, ask(server)).await {
            Ok(Ok(ip)) => return Ok(ip),
            Ok(Err(error)) => tried.push(format!("{server}: {error}")),
            Err(_) => tried.push(format!("{server}: no answer")),
        }
    }
    Err(NoExternalIp { tried: tried.join(", ") })
}

/// Repeats the question until `server` answers, without an end of its own.
async fn ask(server: &str) -> io::Result<IpAddr> {
    let mut id = [0; 12];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    let request = binding_request(&id);
    let socket = connect(server).await?;
    // Longer than any answer to a bare request; what is cut off is not read.
    let mut reply = [0; 1024];
    loop {
        socket.send(&request).await?;
        let repeat = Instant::now() + REPEAT_AFTER;
        while let Ok(received) = timeout_at(repeat, socket.recv(&mut reply)).await {
            let reply = reply.get(..received?).unwrap_or_default();
            if let Some(ip) = mapped_address(reply, &id).filter(is_usable) {
                return Ok(ip);
            }
        }
    }
}

/// A socket that receives from `server` only. IPv4 first: it is what NATs translate.
async fn connect(server: &str) -> io::Result<UdpSocket> {
    let address = lookup_host(server)
        .await?
        .min_by_key(SocketAddr::is_ipv6)
        .ok_or_else(|| io::Error::other("has no address"))?;
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(address).await?;
    Ok(socket)
}

/// Nothing that would quietly keep everybody else out.
fn is_usable(ip: &IpAddr) -> bool {
    !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast()
}

const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const HEADER: usize = 20;

/// RFC 8489 §5: type, length of the attributes (none), cookie, transaction id.
fn binding_request(id: &[u8; 12]) -> [u8; HEADER] {
    let mut request = [0; HEADER];
    request[1] = 1;
    request[4..8].copy_from_slice(&MAGIC_COOKIE);
    request[8..].copy_from_slice(id);
    request
}

/// The address in a success response to the request `id`; `None` if `reply` is anything else.
fn mapped_address(reply: &[u8], id: &[u8; 12]) -> Option<IpAddr> {
    const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
    const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    if reply.get(..2)? != BINDING_SUCCESS
        || reply.get(4..8)? != MAGIC_COOKIE
        || reply.get(8..HEADER)? != id
    {
        return None;
    }
    let length = usize::from(u16::from_be_bytes(reply.get(2..4)?.try_into().ok()?));
    let mut attributes = reply.get(HEADER..HEADER + length)?;
    loop {
        let kind = u16::from_be_bytes(attributes.get(..2)?.try_into().ok()?);
        let length = usize::from(u16::from_be_bytes(attributes.get(2..4)?.try_into().ok()?));
        let value = attributes.get(4..4 + length)?;
        if kind == XOR_MAPPED_ADDRESS {
            return unmask(value, id);
        }
        attributes = attributes.get(4 + length.next_multiple_of(4)..)?;
    }
}

/// RFC 8489 §14.2: a zero, the family, the port, and the address xor-ed with the cookie and, for IPv6, the id.
fn unmask(value: &[u8], id: &[u8; 12]) -> Option<IpAddr> {
    const IPV4: u8 = 1;
    const IPV6: u8 = 2;
    let mask = || MAGIC_COOKIE.iter().chain(id);
    let masked = value.get(4..)?;
    let octets: Vec<u8> = masked.iter().zip(mask()).map(|(byte, mask)| byte ^ mask).collect();
    match (value.get(1)?, masked.len()) {
        (&IPV4, 4) => Some(IpAddr::from(<[u8; 4]>::try_from(octets).ok()?)),
        (&IPV6, 16) => Some(IpAddr::from(<[u8; 16]>::try_from(octets).ok()?).to_canonical()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5769 §2.2 and §2.3, the parts read here: the address is 192.0.2.1.
    const ID: [u8; 12] = *b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";
    const XOR_V4: &[u8] = b"\x00\x01\xa1\x47\xe1\x12\xa6\x43";
    const XOR_V6: &[u8] =
        b"\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9";

    #[test]
    fn the_samples_of_rfc_5769_are_understood() {
        assert_eq!(mapped_address(&reply(&ID, XOR_V4), &ID), "192.0.2.1".parse().ok());
        let v6 = "2001:db8:1234:5678:11:2233:4455:6677".parse().ok();
        assert_eq!(mapped_address(&reply(&ID, XOR_V6), &ID), v6);
    }

    #[test]
    fn whatever_arrives_nothing_panics_and_only_a_whole_answer_counts() {
        let whole = reply(&ID, XOR_V6);
        for cut in 0..whole.len() {
            assert_eq!(mapped_address(&whole[..cut], &ID), None, "{cut}");
        }
        for (at, bit) in (0..whole.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut bent = whole.clone();
            bent[at] ^= 1 << bit;
            mapped_address(&bent, &ID);
        }
        assert_eq!(mapped_address(&reply(&ID, b"\x00\x01\xa1\x47\xe1\x12\xa6"), &ID), None);
        assert_eq!(mapped_address(&reply(&[0; 12], XOR_V4), &ID), None, "another's answer");
        assert_eq!(mapped_address(&[0xff; 600], &ID), None);
    }

    #[tokio::test]
    async fn only_the_answer_of_the_server_to_this_question_counts() {
        let (server, stranger) = (loopback().await, loopback().await);
        let name = server.local_addr().unwrap().to_string();
        let answering = tokio::spawn(async move {
            let mut request = [0; 64];
            let (length, client) = server.recv_from(&mut request).await.unwrap();
            assert_eq!((length, &request[..8]), (20, &b"\x00\x01\x00\x00\x21\x12\xa4\x42"[..]));
            let id: [u8; 12] = request[8..20].try_into().unwrap();
            let answer = |id: &[u8; 12], last: u8| {
                // 203.0.113.x, xor-ed.
                reply(id, &[0, 1, 0, 0, 203 ^ 0x21, 0x12, 113 ^ 0xa4, last ^ 0x42])
            };
            stranger.send_to(&answer(&id, 1), client).await.unwrap();
            server.send_to(&answer(&[9; 12], 2), client).await.unwrap();
            server.send_to(b"noise", client).await.unwrap();
            server.send_to(&answer(&id, 7), client).await.unwrap();
        });
        assert_eq!(find(&[name]).await.unwrap().to_string(), "203.0.113.7");
        answering.await.unwrap();
    }

    #[tokio::test]
    async fn after_a_silent_server_the_next_is_asked_and_at_last_all_are_named() {
        let (silent, telling) = (loopback().await, loopback().await);
        let silent_name = silent.local_addr().unwrap().to_string();
        let telling_name = telling.local_addr().unwrap().to_string();
        let answering = tokio::spawn(async move {
            let mut request = [0; 64];
            let (_, client) = telling.recv_from(&mut request).await.unwrap();
            let id: [u8; 12] = request[8..20].try_into().unwrap();
            let masked = [0, 1, 0, 0, 203 ^ 0x21, 0x12, 113 ^ 0xa4, 7 ^ 0x42];
            telling.send_to(&reply(&id, &masked), client).await.unwrap();
        });
        let found = find(&[silent_name.clone(), telling_name]).await.unwrap();
        assert_eq!(found.to_string(), "203.0.113.7");
        answering.await.unwrap();

        let start = Instant::now();
        let error = find(std::slice::from_ref(&silent_name)).await.unwrap_err().to_string();
        assert!(start.elapsed() < 2 * PATIENCE, "{:?}", start.elapsed());
        assert!(error.contains(&silent_name) && error.contains("rtc.node_ip"), "{error}");
    }

    async fn loopback() -> UdpSocket {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
    }

    /// A success response: an attribute to skip (padded), then the address.
    fn reply(id: &[u8; 12], xor_mapped: &[u8]) -> Vec<u8> {
        let mut attributes = b"\x80\x22\x00\x05tests\x00\x00\x00".to_vec();
        attributes.extend([0, 0x20, 0, u8::try_from(xor_mapped.len()).unwrap()]);
        attributes.extend(xor_mapped);
        let mut reply = vec![1, 1, 0, u8::try_from(attributes.len()).unwrap()];
        reply.extend(MAGIC_COOKIE);
        reply.extend(id);
        reply.extend(attributes);
        reply
    }
}
