//! The shell around the core: configuration, the page, WebSockets, sockets and threads.
//!
//! [`Server`] owns it all. A datagram goes `udp → worker → Sfu → worker → udp`, a message goes
//! `http → signal → worker → Sfu → worker → signal`; [`placement`] says which worker owns a room. What rooms want of
//! agents goes `worker → agents → http`.

pub mod addresses;
mod agents;
pub mod cli;
mod client;
pub mod config;
pub mod external_ip;
mod http;
mod lanes;
pub mod logging;
mod placement;
pub mod server;
mod signal;
pub mod signals;
mod udp;
mod webhook;
mod websocket;
mod worker;

pub use config::Config;
pub use server::Server;
