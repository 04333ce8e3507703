//! Numbers as people read them.

use crate::read::push_number;
pub use crate::read::thousands as count;

/// Nanoseconds with a unit and three digits that count.
pub fn duration(ns: u64) -> String {
    // With where each begins: what would be rounded to 1000 of one is 1 of the next.
    const UNITS: [(u64, u64, &str); 3] =
        [(999_500_000, 1_000_000_000, "s"), (999_500, 1_000_000, "ms"), (1_000, 1_000, "µs")];
    let unit = UNITS.iter().find(|(from, ..)| ns >= *from).map(|(_, size, unit)| (*size, *unit));
    match unit {
        None => format!("{ns} ns"),
        Some((1_000_000_000, _)) if ns >= 120_000_000_000 => {
            let seconds = ns / 1_000_000_000;
            format!("{} min {} s", seconds / 60, seconds % 60)
        }
        Some((size, unit)) => {
            let value = ns as f64 / size as f64;
            let digits = if value >= 99.95 {
                0
            } else if value >= 9.995 {
                1
            } else {
                2
            };
            format!("{value:.digits$} {unit}")
        }
    }
}

/// Bytes with a unit.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(size, _)| bytes >= *size) {
        None => format!("{bytes} bytes"),
        Some((size, unit)) => format!("{:.1} {unit}", bytes as f64 / *size as f64),
    }
}

/// A share of 1 in percent.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Seconds with nine decimals: a place on a recording's time axis.
pub fn seconds(ns: u64) -> String {
    let mut text = String::new();
    push_seconds(ns, &mut text);
    text
}

/// Adds seconds with nine decimals: a place on a recording's time axis.
pub fn push_seconds(ns: u64, text: &mut String) {
    push_number(ns / 1_000_000_000, text);
    // The digit in front keeps the zeros; it becomes the point.
    let point = text.len();
    push_number(1_000_000_000 + ns % 1_000_000_000, text);
    text.replace_range(point..=point, ".");
}

/// A place on a recording's time axis as people read it, to the microsecond:
/// `1.25 s`, `0.00101 s`.
pub fn moment(ns: u64) -> String {
    let text = format!("{}.{:06}", ns / 1_000_000_000, ns / 1_000 % 1_000_000);
    format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
}

/// UTC date and time of nanoseconds since 1970, with microseconds.
pub fn wall(ns: u64) -> String {
    let (seconds, micros) = (ns / 1_000_000_000, ns / 1_000 % 1_000_000);
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Year, month, day of a day number: Howard Hinnant's `civil_from_days`, for days
/// from 1970 on.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        let texts =
            [0, 999, 1_000, 12_340, 99_960, 999_499, 999_500, 1_234_567, 999_999_999, 61_000_000_000, 125_000_000_000]
                .map(duration);
        assert_eq!(
            texts,
            [
                "0 ns",
                "999 ns",
                "1.00 µs",
                "12.3 µs",
                "100 µs",
                "999 µs",
                "1.00 ms",
                "1.23 ms",
                "1.00 s",
                "61.0 s",
                "2 min 5 s"
            ]
        );
    }

    #[test]
    fn counts_and_bytes_and_moments() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([5, 2048, 64 << 20, 3 << 39].map(bytes), ["5 bytes", "2.0 KiB", "64.0 MiB", "1.5 TiB"]);
        assert_eq!(wall(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(wall(951_782_400_000_001_000), "2000-02-29T00:00:00.000001Z");
        assert_eq!(wall(1_793_931_262_000_000_000), "2026-11-06T02:14:22.000000Z");
        let texts = ["0.000000000", "1.000000001", "12.345678901"];
        assert_eq!([0, 1_000_000_001, 12_345_678_901].map(seconds), texts);
        assert_eq!([0, 1_250_000_000, 1_010_999].map(moment), ["0 s", "1.25 s", "0.00101 s"]);
    }
}
