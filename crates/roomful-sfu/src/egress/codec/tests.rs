//! Payloads as senders make them, and as nobody should.
