//! The real server, spoken to over its real sockets.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking; helpers outside of test functions count, too"
)]

mod agents;
mod api;
mod command_line;
mod http;
mod lanes;
mod livekit_api;
mod presets;
mod program;
mod signalling;
mod spread;
mod stage;
mod tokens;
mod webhooks;
