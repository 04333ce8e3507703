//! Prints, in the text form, the recording that an input of the targets `commands` and `reader`
//! stands for: `crasher FILE > testdata/crashers/NAME.txt`.

use std::io::Write;

fn main() -> std::io::Result<()> {
    let path = std::env::args().nth(1).expect("usage: crasher FILE");
    let recording = spoor_fuzz::recording(&std::fs::read(path)?).expect("an input that stands for a recording");
    let spoor_fuzz::Recording::File(file) = recording else { panic!("a stream: put its files into a test by hand") };
    let text = spoor_format::text::to_text(&file).expect("a recording whose header can be read");
    std::io::stdout().write_all(text.as_bytes())
}
