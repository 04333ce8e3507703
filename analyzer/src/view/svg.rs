//! What all pictures share: the one place that escapes, colours, and numbers.

use std::fmt::Write as _;

/// Text as XML has it, in content and in attributes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // As a reference it is one in attributes too; titles have several lines.
            '\n' => escaped.push_str("&#10;"),
            // XML has no way at all to say these.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A coordinate: as many digits as a screen can show.
pub fn coordinate(value: f64) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(text, "{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A colour for a name, always the same: hue by `name`, a little lighter or
/// darker by `variation`.
pub fn colour(name: &str, variation: &str) -> String {
    let (name, variation) = (hash(name), hash(variation));
    let hue = name % 360;
    let saturation = 45 + (name >> 32) % 25;
    let lightness = 62 + variation % 14;
    format!("hsl({hue},{saturation}%,{lightness}%)")
}

/// FNV-1a, and a stir so that names that end alike differ.
fn hash(text: &str) -> u64 {
    let fnv = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (fnv ^ (fnv >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 7
}

/// Text cut to a width in characters of one size; empty when too little fits.
pub fn fit(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    if characters < 4 {
        return String::new();
    }
    text.chars().take(characters - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_text() {
        assert_eq!(escape("<a b='\"'>&\u{1}"), "&lt;a b=&#39;&quot;&#39;&gt;&amp;\u{fffd}");
        assert_eq!(escape("name\n5 ms"), "name&#10;5 ms", "the script of a flamegraph splits titles there");
    }

    #[test]
    fn numbers_are_short_and_text_fits() {
        assert_eq!([1.0, 0.5, 12.346, 0.001].map(coordinate), ["1", "0.5", "12.35", "0"]);
        assert_eq!(fit("lists:map/2", 11), "lists:map/2");
        assert_eq!(fit("lists:map/2", 6), "lists…");
        assert_eq!(fit("lists:map/2", 3), "");
    }

    #[test]
    fn colours_are_stable() {
        assert_eq!(colour("shop", "a"), colour("shop", "a"));
        assert_ne!(colour("shop_a", ""), colour("shop_b", ""));
    }
}
