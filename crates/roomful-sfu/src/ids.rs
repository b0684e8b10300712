//! A type for every identifier and role, so that no two of them can be swapped by accident.

use std::fmt;

/// Declares a string newtype that prints as the string itself.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Wraps the text as it stands.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// What people type to meet: the same name is the same room.
    RoomName
}
text_id! {
    /// Server-made name of one life of a room, `RM_…`: a room that ends and begins again gets another.
    RoomSid
}
text_id! {
    /// Stable, application-given name for who a participant is; survives reconnects.
    Identity
}
text_id! {
    /// Server-made name of one presence in one room, `PA_…`: a rejoin gets another.
    ParticipantSid
}
text_id! {
    /// Server-made name of one publication, `TR_…`.
    TrackSid
}
text_id! {
    /// Server-made name of a wish for agents in one room, `AD_…`.
    DispatchId
}
text_id! {
    /// Server-made name of one job of an agent, `AJ_…`.
    JobId
}

/// By which core a participant's sid was made: its last letter says so. Whoever resumes shows its sid, and can so be led
/// to the part of its room that it is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin(u8);

/// The letters of sids.
const LETTERS: &[u8; Origin::COUNT as usize] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

impl Origin {
    /// How many can be told apart.
    pub const COUNT: u8 = 62;

    /// The core of that number; numbers beyond [`Origin::COUNT`] begin anew.
    pub fn of(number: u8) -> Self {
        Self(number % Self::COUNT)
    }

    /// Where the participant of that sid is; `None` if that is no sid.
    pub fn in_sid(sid: &str) -> Option<Self> {
        let last = *sid.as_bytes().last()?;
        let number = LETTERS.iter().position(|letter| *letter == last)?;
        Some(Self::of(u8::try_from(number).ok()?))
    }

    /// The letter itself.
    pub(crate) fn letter(self) -> char {
        LETTERS.get(usize::from(self.0)).map_or('0', |letter| char::from(*letter))
    }
}

/// One WebSocket of one client, numbered by the shell that owns the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// One participant on one worker; never reused while the worker lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParticipantId(pub u64);

/// One WebSocket of one agency, numbered by the shell that owns the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgencyId(pub u64);

/// Seconds since 1970-01-01T00:00:00Z, as tokens count them (RFC 7519 §2, NumericDate).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sid_tells_by_whom_it_was_made() {
        for number in 0..Origin::COUNT {
            let sid = format!("PA_abc{}", Origin::of(number).letter());
            assert_eq!(Origin::in_sid(&sid), Some(Origin(number)));
        }
        assert_eq!(Origin::in_sid("PA_"), None);
        assert_eq!(Origin::in_sid(""), None);
    }
}
