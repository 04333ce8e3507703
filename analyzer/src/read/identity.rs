//! Pid and port words to the text that the VM shows for them.
//!
//! A word is the VM's immediate, shifted right by 4. How the three numbers of a
//! pid lie in it depends on the release and on the size of the process table.

use spoor_format::chunk::Identity;
use spoor_format::header::Meta;

use super::terms::push_number;

/// How this recording's VM wrote pids and ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PidFormat {
    /// From OTP 26 on, pids are of 60 bits.
    wide: bool,
    process_bits: u32,
    port_bits: u32,
    /// The VM has told the size of its table of processes, and it is a power of two.
    table_is_known: bool,
}

const NUMBER_BITS_25: u64 = 0x7fff;
const NUMBER_BITS: u64 = (1 << 28) - 1;

impl PidFormat {
    /// As the meta section tells; `None` when it does not tell enough.
    pub fn from_meta(meta: &Meta) -> Option<PidFormat> {
        let number = |key: &str| meta.get(key).and_then(|text| text.trim().parse::<u64>().ok());
        let bits = |key: &str| number(key).and_then(u64::checked_ilog2);
        let table_is_known = number("process_limit").is_some_and(u64::is_power_of_two);
        Some(PidFormat {
            wide: number("otp_release")? >= 26,
            process_bits: bits("process_limit").filter(|bits| (3..40).contains(bits))?,
            port_bits: bits("port_limit").filter(|bits| (3..40).contains(bits))?,
            table_is_known,
        })
    }

    /// Without knowing the VM: the defaults of OTP 27 and later.
    pub fn assumed() -> PidFormat {
        PidFormat { wide: true, process_bits: 20, port_bits: 16, table_is_known: false }
    }

    /// Those bits of a pid's word that are its place in the VM's table of processes: of two
    /// processes with the same, one has exited before the other was spawned.
    pub(crate) fn place_mask(&self) -> Option<u64> {
        let size = 1_u64.checked_shl(self.process_bits).filter(|_| self.table_is_known)?;
        Some(size.wrapping_sub(1))
    }

    /// A number for a pid's word such that processes that are spawned one after the other have
    /// near ones. Up to OTP 25 the place in the table stands in front of the number that says it.
    pub(crate) fn dense(&self, word: u64) -> u64 {
        let (place, data) = (word >> 28, word & 0x0fff_ffff);
        let low = self.process_bits.saturating_sub(3);
        let line = data & 1_u64.checked_shl(low).map_or(0, |bit| bit.wrapping_sub(1));
        let in_line = data.checked_shr(low).unwrap_or(0) & 7;
        if !self.wide && place == line << 3 | in_line { data | 1 << 63 } else { word }
    }

    /// `<0.N.S>`.
    pub fn pid(&self, word: u64) -> String {
        let mut text = String::new();
        self.push_pid(word, &mut text);
        text
    }

    /// Adds it to a text.
    pub(crate) fn push_pid(&self, word: u64, text: &mut String) {
        let (number, serial) = if self.wide {
            let data = spread(word, self.process_bits);
            (data & NUMBER_BITS, data >> 28)
        } else {
            let data = word & 0x0fff_ffff;
            (data & NUMBER_BITS_25, data >> 15)
        };
        text.push_str("<0.");
        push_number(number, text);
        text.push('.');
        push_number(serial, text);
        text.push('>');
    }

    /// `#Port<0.N>`.
    pub fn port(&self, word: u64) -> String {
        let number = if self.wide { spread(word, self.port_bits) } else { word & 0x0fff_ffff };
        format!("#Port<0.{number}>")
    }

    /// Pid, port, or `-`.
    pub fn text(&self, identity: Identity) -> String {
        match identity {
            Identity::Process(word) => self.pid(word),
            Identity::Port(word) => self.port(word),
            Identity::Nobody => "-".to_owned(),
        }
    }
}

/// The table index of a word is laid out so that neighbours do not share cache
/// lines; this undoes it.
fn spread(word: u64, bits: u32) -> u64 {
    let mask = 1_u64.checked_shl(bits).map_or(u64::MAX, |bit| bit.wrapping_sub(1));
    let index = word & mask;
    let low = (index & 7).checked_shl(bits.saturating_sub(3)).unwrap_or(0);
    (word & !mask) | (index >> 3) | low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(release: &str, processes: &str) -> PidFormat {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let entries = vec![pair("otp_release", release), pair("process_limit", processes), pair("port_limit", "65536")];
        PidFormat::from_meta(&Meta { entries }).expect("complete")
    }

    #[test]
    fn pids_of_25_hold_number_and_serial_side_by_side() {
        assert_eq!(format("25", "262144").pid(0x8123), "<0.291.1>");
    }

    #[test]
    fn pids_of_25_that_follow_each_other_are_near_each_other() {
        let otp25 = format("25", "262144");
        let dense = [6_640_019_442_708, 6_642_166_926_357, 11_186_511_058_009].map(|word| otp25.dense(word));
        assert_eq!(dense.map(|word| word & 0xffff_ffff), [3092, 3093, 300_121]);
        assert_eq!(otp25.dense(0x8123), 0x8123);
    }

    #[test]
    fn pids_of_26_and_later_are_spread_over_the_table() {
        let otp27 = format("27", "1048576");
        assert_eq!(otp27.pid(0), "<0.0.0>");
        assert_eq!(otp27.pid(8), "<0.1.0>");
        assert_eq!(otp27.pid(1), "<0.131072.0>");
        assert_eq!(otp27.pid(1 << 28 | 16), "<0.2.1>");
    }

    #[test]
    fn a_meta_section_without_the_limits_is_not_enough() {
        assert_eq!(PidFormat::from_meta(&Meta::default()), None);
    }
}
