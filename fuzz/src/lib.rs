//! Makes recordings out of a fuzzer's bytes that get past the checksums, so that
//! what stands behind them is read too.

pub mod commands;
pub mod files;
pub mod parts;
#[cfg(feature = "planted")]
pub mod planted;
pub mod reader;
pub mod repair;
pub mod seeds;
pub mod watch;

use spoor_format::text;

/// A table with a record of every class and field type that only the file knows.
pub const LATER: &str = "200 event a x:uint y:atom z:function\n201 define b t:text\n202 context c e:term\n\
                         203 annotate d w:words\n204 info e e:term t:text\n";
/// What a text form begins with that does not bring its own beginning.
pub const FRONT: &str = "spoor-text 1\nheader lanes=3 clock_slots=4 info=2048x2 events=4096x4\n";

/// What the lower bits of the first byte say that the rest, but for the second byte,
/// is to be taken for.
pub mod kind {
    #![allow(missing_docs)]
    /// A file.
    pub const RAW: u8 = 0;
    /// A text form.
    pub const TEXT: u8 = 1;
    /// What the builder is to make a file of, with damage: see [`crate::parts`].
    pub const PARTS: u8 = 2;
    /// A file without its zeroes, and what to put right: see [`crate::repair`].
    pub const SPARSE: u8 = 3;
    /// As PARTS, the files of a stream.
    pub const STREAM: u8 = 4;
    pub const COUNT: u8 = 5;
}

/// What an input stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recording {
    /// One file.
    File(Vec<u8>),
    /// The files of a directory, by name.
    Stream(Vec<(String, Vec<u8>)>),
}

/// The recording that some bytes describe; `None` for those that describe none.
/// The second byte is not looked at: it says what is to be done with it.
pub fn recording(data: &[u8]) -> Option<Recording> {
    let [kind, _, rest @ ..] = data else { return None };
    Some(Recording::File(match kind % kind::COUNT {
        kind::RAW => rest.to_vec(),
        kind::TEXT => from_text(rest)?,
        kind::PARTS => parts::file(&mut Input(rest)),
        kind::SPARSE => {
            let (parts, rest) = rest.split_first()?;
            let mut file = repair::unsqueeze(&mut Input(rest));
            repair::repair(&mut file, *parts);
            file
        }
        _ => return Some(Recording::Stream(parts::stream(&mut Input(rest)))),
    }))
}

/// The text, with a beginning when it has none.
pub fn with_front(data: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(data).ok()?;
    Some(if text.starts_with("spoor-text") { text.to_owned() } else { format!("{FRONT}{text}") })
}

fn from_text(data: &[u8]) -> Option<Vec<u8>> {
    let image = text::parse(&with_front(data)?).ok()?;
    (image.len() <= 1 << 18).then(|| image.to_bytes())
}

/// Numbers off the front of the input; 0 when it is used up.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(crate) fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    pub(crate) fn long(&mut self) -> u64 {
        (0..8).fold(0, |long, shift| long | u64::from(self.byte()) << (8 * shift))
    }

    pub(crate) fn take(&mut self, wanted: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(wanted.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
