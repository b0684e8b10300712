//! Walking over the elements of a header extension (RFC 8285).

/// What the first two bytes of a one-byte form extension are (RFC 8285 §4.2).
pub(super) const ONE_BYTE_PROFILE: u16 = 0xbede;

/// The same for the two-byte form, of which the last four bits are for applications (RFC 8285 §4.3).
pub(super) const TWO_BYTE_PROFILE: u16 = 0x1000;

/// How the elements of a header extension are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExtensionForm {
    /// There is no header extension.
    None,
    /// Identifier and length share a byte (RFC 8285 §4.2).
    OneByte,
    /// A byte for each (RFC 8285 §4.3).
    TwoByte,
    /// Something else, which is skipped.
    Unknown,
}

impl ExtensionForm {
    pub(super) const fn of_profile(profile: u16) -> Self {
        match profile {
            ONE_BYTE_PROFILE => Self::OneByte,
            _ if profile & 0xfff0 == TWO_BYTE_PROFILE => Self::TwoByte,
            _ => Self::Unknown,
        }
    }
}

/// The elements of one header extension: identifier and value. Ends at the first malformed one.
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    form: ExtensionForm,
    rest: &'a [u8],
}

impl<'a> Extensions<'a> {
    pub(super) const fn new(form: ExtensionForm, rest: &'a [u8]) -> Self {
        Self { form, rest }
    }

    /// Identifier and length of the element ahead, and the bytes after both.
    fn header(&self) -> Option<(u8, usize, &'a [u8])> {
        match self.form {
            ExtensionForm::None | ExtensionForm::Unknown => None,
            ExtensionForm::OneByte => match self.rest.split_first()? {
                // 15 is reserved, and so is a length with padding: both end the walk (RFC 8285 §4.2).
                (0xf0.. | 1..=0x0f, _) => None,
                (byte, value) => Some((byte >> 4, usize::from(byte & 0x0f) + 1, value)),
            },
            ExtensionForm::TwoByte => match self.rest {
                [id, len, value @ ..] => Some((*id, usize::from(*len), value)),
                _ => None,
            },
        }
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // Padding: zero bytes between elements, and up to the end of the last word.
        while let [0, rest @ ..] = self.rest {
            self.rest = rest;
        }
        let element = self.header().and_then(|(id, len, rest)| {
            let (value, rest) = rest.split_at_checked(len)?;
            Some((id, value, rest))
        });
        let (id, value, rest) = element.unwrap_or_default();
        self.rest = rest;
        element.map(|_| (id, value))
    }
}
