//! The addresses of this machine on which media can arrive.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use if_addrs::{IfOperStatus, Interface};
use roomful_sfu::MediaAddress;

use crate::config::MediaConfig;

/// What a worker whose socket listens on `port` tells its core: every usable address of the
/// interfaces `config` allows, and the loopback addresses, which the core offers only to
/// participants of this machine.
///
/// # Errors
/// The interfaces cannot be listed, none has an address, or the configuration leaves none.
pub fn media_addresses(config: &MediaConfig, port: u16) -> Result<Vec<MediaAddress>, AddressError> {
    let interfaces = if_addrs::get_if_addrs()?;
    Ok(select(&interfaces, config)?
        .into_iter()
        .map(|(advertised, local)| MediaAddress {
            advertised: SocketAddr::new(advertised, port),
            local: SocketAddr::new(local, port),
        })
        .collect())
}

/// Whether media can arrive from nowhere else.
pub fn are_of_this_machine_only(addresses: &[MediaAddress]) -> bool {
    addresses.iter().all(|address| address.advertised.ip().is_loopback())
}

/// Why there is no address on which media can arrive.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The system does not tell.
    #[error("cannot list the network interfaces: {0}")]
    List(#[from] io::Error),
    /// Not even the loopback interface has an address.
    #[error("no network interface can receive media: is any up?")]
    None,
    /// The configured interfaces have no address that another machine could reach.
    #[error(
        "none of the interfaces {names} is up with an address that others can reach: \
         rtc.interfaces.includes (--interface) must name one of this machine's: {known}"
    )]
    Includes {
        /// The configured names.
        names: String,
        /// The names there are.
        known: String,
    },
    /// Nothing is there to which a router could pass what arrives at the configured address.
    #[error(
        "rtc.node_ip (--node-ip) {0} cannot be used: no interface that is up (and that \
         rtc.interfaces allows) has an address of its kind to receive on"
    )]
    NodeIp(IpAddr),
}

/// Pairs of (advertised, local). What the configuration asks for must be among them: a server that
/// silently serves this machine alone looks healthy to whoever tries it there.
fn select(
    interfaces: &[Interface],
    config: &MediaConfig,
) -> Result<Vec<(IpAddr, IpAddr)>, AddressError> {
    let mut reachable: Vec<IpAddr> = interfaces
        .iter()
        .filter(|interface| is_up(interface) && allowed(&interface.name, config))
        .map(Interface::ip)
        .filter(|ip| is_reachable(*ip))
        .collect();
    reachable.sort_unstable();
    reachable.dedup();
    // Naming the loopback interface, or its address, is asking for this machine alone.
    let mut named = interfaces.iter().filter(|interface| allowed(&interface.name, config));
    if !config.interface_includes.is_empty()
        && reachable.is_empty()
        && !named.any(Interface::is_loopback)
    {
        return Err(AddressError::Includes {
            names: config.interface_includes.join(", "),
            known: names(interfaces),
        });
    }
    let mut addresses: Vec<(IpAddr, IpAddr)> = match config.node_ip {
        Some(node_ip) if node_ip.is_loopback() => Vec::new(),
        Some(node_ip) => {
            let behind = behind_nat(node_ip, &reachable);
            if behind.is_empty() {
                return Err(AddressError::NodeIp(node_ip));
            }
            behind
        }
        None => reachable.into_iter().map(|ip| (ip, ip)).collect(),
    };
    for loopback in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        if interfaces.iter().any(|interface| interface.ip() == loopback) {
            addresses.push((loopback, loopback));
        }
    }
    if addresses.is_empty() { Err(AddressError::None) } else { Ok(addresses) }
}

/// The interfaces there are, each once.
fn names(interfaces: &[Interface]) -> String {
    let names: BTreeSet<&str> =
        interfaces.iter().map(|interface| interface.name.as_str()).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// The router rewrites the destination to one address of this machine, of the same family: which one
/// is not known here, where containers or a VPN have some, too. If an interface has the node address,
/// nothing is rewritten.
fn behind_nat(node_ip: IpAddr, reachable: &[IpAddr]) -> Vec<(IpAddr, IpAddr)> {
    if reachable.contains(&node_ip) {
        return vec![(node_ip, node_ip)];
    }
    let same_family = reachable.iter().filter(|ip| ip.is_ipv4() == node_ip.is_ipv4());
    same_family.map(|local| (node_ip, *local)).collect()
}

fn allowed(interface: &str, config: &MediaConfig) -> bool {
    if !config.interface_includes.is_empty() {
        return config.interface_includes.iter().any(|name| name == interface);
    }
    !config.interface_excludes.iter().any(|name| name == interface)
}

/// Tunnels and bridges often do not say what state they are in: only a clear "down" counts.
fn is_up(interface: &Interface) -> bool {
    !matches!(
        interface.oper_status,
        IfOperStatus::Down | IfOperStatus::NotPresent | IfOperStatus::LowerLayerDown
    )
}

/// Link-local addresses need a zone that no candidate can carry (RFC 8839 §5.1); loopback
/// addresses are added on their own.
fn is_reachable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local() && !ip.is_unspecified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use if_addrs::{IfAddr, Ifv4Addr, Ifv6Addr};

    #[test]
    fn every_reachable_address_is_offered_and_loopback_last() {
        let found = select(&machine(), &config()).unwrap();
        assert_eq!(
            advertised(&found),
            ["10.0.0.5", "192.168.1.5", "2001:db8::5", "127.0.0.1", "::1"]
        );
    }

    #[test]
    fn a_laptop_in_a_train_has_only_loopback() {
        let found = select(&machine()[..2], &config()).unwrap();
        assert_eq!(advertised(&found), ["127.0.0.1", "::1"]);
    }

    #[test]
    fn interfaces_are_chosen_by_name_and_includes_win() {
        let excludes = MediaConfig { interface_excludes: vec!["docker0".into()], ..config() };
        assert!(
            !advertised(&select(&machine(), &excludes).unwrap()).contains(&"10.0.0.5".to_owned())
        );
        let includes = MediaConfig { interface_includes: vec!["docker0".into()], ..excludes };
        assert_eq!(
            advertised(&select(&machine(), &includes).unwrap()),
            ["10.0.0.5", "127.0.0.1", "::1"]
        );
    }

    #[test]
    fn the_node_address_replaces_those_found() {
        let node = MediaConfig { node_ip: Some("203.0.113.7".parse().unwrap()), ..config() };
        let found = select(&machine(), &node).unwrap();
        let node = node.node_ip.unwrap();
        let behind = ["10.0.0.5", "192.168.1.5"].map(|local| (node, local.parse().unwrap()));
        assert_eq!(found[..2], behind, "wherever the router passes it on to");
        assert_eq!(advertised(&found[2..]), ["127.0.0.1", "::1"]);
        let own = MediaConfig { node_ip: Some("192.168.1.5".parse().unwrap()), ..config() };
        assert_eq!(select(&machine(), &own).unwrap()[0].1.to_string(), "192.168.1.5");
    }

    #[test]
    fn a_configured_address_that_cannot_be_used_is_an_error() {
        let lost = MediaConfig { interface_includes: vec!["warp0".into()], ..config() };
        let error = select(&machine(), &lost).unwrap_err().to_string();
        assert!(error.contains("warp0") && error.contains("docker0, eth0, eth1, lo"), "{error}");
        let node = MediaConfig { node_ip: Some("203.0.113.7".parse().unwrap()), ..config() };
        let error = select(&machine()[..2], &node).unwrap_err().to_string();
        assert!(error.contains("203.0.113.7"), "{error}");
        assert!(matches!(select(&[], &config()), Err(AddressError::None)));
    }

    #[test]
    fn this_machine_alone_can_be_asked_for() {
        let includes = MediaConfig { interface_includes: vec!["lo".into()], ..config() };
        let node = MediaConfig { node_ip: Some(Ipv4Addr::LOCALHOST.into()), ..config() };
        for asked in [includes, node] {
            assert_eq!(advertised(&select(&machine(), &asked).unwrap()), ["127.0.0.1", "::1"]);
        }
    }

    fn config() -> MediaConfig {
        MediaConfig {
            udp_port: 7882,
            tcp_port: None,
            force_tcp: false,
            node_ip: None,
            stun_servers: Vec::new(),
            ice_servers: Vec::new(),
            interface_includes: Vec::new(),
            interface_excludes: Vec::new(),
            enable_loopback_candidate: false,
        }
    }

    fn advertised(found: &[(IpAddr, IpAddr)]) -> Vec<String> {
        found.iter().map(|(advertised, _)| advertised.to_string()).collect()
    }

    fn machine() -> Vec<Interface> {
        vec![
            interface("lo", "127.0.0.1", IfOperStatus::Up),
            interface("lo", "::1", IfOperStatus::Up),
            interface("eth0", "192.168.1.5", IfOperStatus::Up),
            interface("eth0", "2001:db8::5", IfOperStatus::Up),
            interface("eth0", "fe80::5", IfOperStatus::Up),
            interface("eth1", "169.254.3.4", IfOperStatus::Up),
            interface("docker0", "10.0.0.5", IfOperStatus::Up),
            interface("wlan0", "192.168.9.9", IfOperStatus::Down),
        ]
    }

    fn interface(name: &str, ip: &str, oper_status: IfOperStatus) -> Interface {
        let addr = match ip.parse().unwrap() {
            IpAddr::V4(ip) => IfAddr::V4(Ifv4Addr {
                ip,
                netmask: Ipv4Addr::BROADCAST,
                prefixlen: 32,
                broadcast: None,
            }),
            IpAddr::V6(ip) => IfAddr::V6(Ifv6Addr {
                ip,
                netmask: Ipv6Addr::UNSPECIFIED,
                prefixlen: 128,
                broadcast: None,
            }),
        };
        Interface { name: name.into(), addr, index: None, oper_status, is_p2p: false }
    }
}
