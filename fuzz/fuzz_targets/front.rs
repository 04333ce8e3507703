//! A file whose header has the right checksum, whatever else is in it: tables and
//! chunk headers are read without a panic, and the text form leads back to it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spoor_format::chunk::ChunkHeader;
use spoor_format::clock::ClockPair;
use spoor_format::header::{ENDIAN, Header, MAGIC, META_OFFSET, Meta};
use spoor_format::lane::Lane;
use spoor_format::status::Status;
use spoor_format::text;

const HEADER: usize = 108;

fuzz_target!(|data: &[u8]| {
    let _ = (Header::decode(data), Meta::decode(data), Lane::decode(data), ClockPair::decode(data));
    let _ = (ChunkHeader::decode(data, 1 << 20), Status::decode(data));
    let mut file = data.to_vec();
    file.resize(file.len().max(HEADER), 0);
    file[..8].copy_from_slice(&MAGIC);
    file[8..12].copy_from_slice(&ENDIAN.to_le_bytes());
    let crc = crc32fast::hash(&file[..HEADER - 4]);
    file[HEADER - 4..HEADER].copy_from_slice(&crc.to_le_bytes());
    if Header::decode(&file).is_err() {
        return;
    }
    let _ = Meta::decode(file.get(META_OFFSET as usize..).unwrap_or_default());
    let text = text::to_text(&file).expect("the header is good");
    let image = text::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert!(image.len() == file.len() as u64 && image.to_bytes() == file, "{text}");
});
