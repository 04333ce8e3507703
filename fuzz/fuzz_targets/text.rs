//! A text form: reading it never panics, and what was read has a text form that
//! leads back to the same file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spoor_format::text;

fuzz_target!(|data: &[u8]| {
    let Some(lines) = spoor_fuzz::with_front(data) else { return };
    let Ok(image) = text::parse(&lines) else { return };
    if image.len() > 1 << 20 {
        return;
    }
    let file = image.to_bytes();
    // A cut may have taken the header, an `at` line may have damaged both.
    let Ok(text) = text::to_text(&file) else { return };
    let again = text::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert!(again.to_bytes() == file, "{text}");
    assert_eq!(text::to_text(&again.to_bytes()).as_ref(), Ok(&text));
});
