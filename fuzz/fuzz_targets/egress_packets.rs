//! Payloads of every codec, through the forwarding machine of one subscription.

#![no_main]

use roomful_sfu::fuzzing::{egress_packets, egress_seeds};

libfuzzer_sys::fuzz_target!(
    init: roomful_fuzz::begin_with(&egress_seeds()),
    |bytes: &[u8]| egress_packets(bytes)
);
