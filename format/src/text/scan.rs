//! Reads words, numbers and quoted text off a line.

/// What went wrong, for a person; the line is added by the caller.
pub(super) type Scanned<T> = Result<T, String>;

/// The part of a line that is not read yet.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Scanner { rest: line }
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Reads `text` if it comes next.
    pub(super) fn eat(&mut self, text: &str) -> bool {
        self.skip_spaces();
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// `text` must come next.
    pub(super) fn expect(&mut self, text: &str) -> Scanned<()> {
        if self.eat(text) { Ok(()) } else { Err(format!("`{text}` expected, found `{}`", self.shown())) }
    }

    /// Reads `name=` if it comes next.
    pub(super) fn field(&mut self, name: &str) -> bool {
        self.skip_spaces();
        let rest = self.rest.strip_prefix(name).and_then(|rest| rest.strip_prefix('='));
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// `name=` must come next.
    pub(super) fn expect_field(&mut self, name: &str) -> Scanned<()> {
        if self.field(name) { Ok(()) } else { Err(format!("`{name}=` expected, found `{}`", self.shown())) }
    }

    /// Letters, digits and underscores; may be empty.
    pub(super) fn word(&mut self) -> &'a str {
        self.skip_spaces();
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        word
    }

    /// An unsigned number.
    pub(super) fn number(&mut self) -> Scanned<u64> {
        let shown = self.shown();
        self.word().parse().map_err(|_| format!("a number expected, found `{shown}`"))
    }

    /// A number that must fit into 32 bits.
    pub(super) fn number32(&mut self) -> Scanned<u32> {
        let number = self.number()?;
        u32::try_from(number).map_err(|_| format!("{number} does not fit into 32 bits"))
    }

    /// A signed number, or one with a fraction or an exponent, as written.
    pub(super) fn numeral(&mut self) -> &'a str {
        self.skip_spaces();
        let part = |c: char| c.is_ascii_digit() || matches!(c, '-' | '.' | 'e');
        let end = self.rest.find(|c: char| !part(c)).unwrap_or(self.rest.len());
        let (numeral, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        numeral
    }

    /// `[1,2,3]`.
    pub(super) fn words(&mut self) -> Scanned<Vec<u64>> {
        let mut words = Vec::new();
        self.expect("[")?;
        if self.eat("]") {
            return Ok(words);
        }
        loop {
            words.push(self.number()?);
            if self.eat("]") {
                return Ok(words);
            }
            self.expect(",")?;
        }
    }

    /// `0x` and an even number of hexadecimal digits.
    pub(super) fn hex(&mut self) -> Scanned<Vec<u8>> {
        self.expect("0x")?;
        let digits = self.word();
        let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        let byte = |pair: &[u8]| match *pair {
            [high, low] => Some(value(high)?.wrapping_shl(4) | value(low)?),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
        bytes.ok_or_else(|| format!("`{digits}` is not an even number of hexadecimal digits"))
    }

    /// Text in double quotes, as [`quote`] writes it.
    pub(super) fn quoted(&mut self) -> Scanned<String> {
        self.expect("\"")?;
        let mut text = String::new();
        let mut chars = self.rest.chars();
        loop {
            match chars.next() {
                None => return Err("text without its closing quote".to_owned()),
                Some('"') => break,
                Some('\\') => text.push(escaped(&mut chars)?),
                Some(c) => text.push(c),
            }
        }
        self.rest = chars.as_str();
        Ok(text)
    }

    /// Nothing but spaces may be left.
    pub(super) fn end(&mut self) -> Scanned<()> {
        self.skip_spaces();
        if self.rest.is_empty() { Ok(()) } else { Err(format!("`{}` was not expected", self.shown())) }
    }

    /// Is nothing but spaces left?
    pub(super) fn is_at_end(&mut self) -> bool {
        self.skip_spaces();
        self.rest.is_empty()
    }

    /// The start of what is left, for messages.
    pub(super) fn shown(&self) -> String {
        self.rest.trim_start().chars().take(24).collect()
    }
}

fn escaped(chars: &mut std::str::Chars<'_>) -> Scanned<char> {
    match chars.next() {
        Some('n') => Ok('\n'),
        Some('r') => Ok('\r'),
        Some('t') => Ok('\t'),
        Some(c @ ('"' | '\\')) => Ok(c),
        Some('u') => {
            let digits: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
            let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
            code.ok_or_else(|| format!("`{digits}` is not a character's number"))
        }
        _ => Err("unknown escape in text".to_owned()),
    }
}

/// Text in double quotes, on one line.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// `0x` and two digits for each byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}")
}
