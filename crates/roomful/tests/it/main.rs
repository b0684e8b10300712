//! The real server, spoken to over its real sockets.

mod http;
mod program;
mod signalling;
mod stage;
