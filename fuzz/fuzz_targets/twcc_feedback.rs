//! Transport-wide feedback: believed, and written about arrivals.

#![no_main]

#[path = "../../crates/roomful-rtp/tests/fuzz_bodies/rtcp.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(
    init: roomful_fuzz::begin_with(&bodies::seeds()),
    |bytes: &[u8]| bodies::twcc_feedback(bytes)
);
