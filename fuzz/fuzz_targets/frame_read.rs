//! Datagrams on a byte stream, wherever it is cut.

#![no_main]

#[path = "../../crates/roomful-rtp/tests/fuzz_bodies/framing.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(
    init: roomful_fuzz::begin_with(&bodies::frame_seeds()),
    |bytes: &[u8]| bodies::frame_read(bytes)
);
