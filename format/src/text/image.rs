//! A file being put together: blocks where something was written, zeros else.

use std::collections::BTreeMap;
use std::io::{self, Write};

const BLOCK: u64 = 4096;
static ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];

/// The bytes of a file, most of which may never have been written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Image {
    len: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Image {
    /// How many bytes the file has.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Is there nothing at all?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn set_len(&mut self, len: u64) {
        self.len = len;
    }

    /// Writes `bytes` at `offset`; false when they do not lie within the file.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> bool {
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > self.len) {
            return false;
        }
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let block = self.blocks.entry(at / BLOCK).or_insert_with(|| vec![0; BLOCK as usize]);
            let space = block.get_mut((at % BLOCK) as usize..).unwrap_or_default();
            let (now, later) = rest.split_at(rest.len().min(space.len()));
            space.iter_mut().zip(now).for_each(|(place, byte)| *place = *byte);
            at = at.saturating_add(now.len() as u64);
            rest = later;
        }
        true
    }

    /// The `len` bytes at `offset`.
    pub(super) fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let at = offset.saturating_add(bytes.len() as u64);
            let start = (at % BLOCK) as usize;
            let wanted = (BLOCK as usize).saturating_sub(start).min(len.saturating_sub(bytes.len()));
            match self.blocks.get(&(at / BLOCK)).and_then(|block| block.get(start..start.saturating_add(wanted))) {
                Some(block) => bytes.extend_from_slice(block),
                None => bytes.resize(bytes.len().saturating_add(wanted), 0),
            }
        }
        bytes
    }

    /// Writes the whole file.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let mut at = 0;
        while at < self.len {
            let bytes = usize::try_from(self.len.saturating_sub(at).min(BLOCK)).unwrap_or(0);
            match self.blocks.get(&(at / BLOCK)).and_then(|block| block.get(..bytes)) {
                Some(block) => out.write_all(block)?,
                None => out.write_all(ZEROS.get(..bytes).unwrap_or_default())?,
            }
            at = at.saturating_add(BLOCK);
        }
        Ok(())
    }

    /// The whole file in memory.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A Vec takes everything.
        let _ = self.write_to(&mut bytes);
        bytes
    }
}
