//! The generator against the real server, over the wire.

#![cfg(target_os = "linux")]
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking; helpers outside of test functions count, too"
)]

mod faults;
mod scenes;
mod stage;
