//! Terms as the shell prints them.

use spoor_format::term::Term;

use super::identity::PidFormat;

/// Adds the text of a term; `atom` knows the chunk's atoms by their references.
pub(crate) fn push<'a>(term: &Term<'_>, pids: &PidFormat, atom: &impl Fn(u64) -> Option<&'a str>, out: &mut String) {
    // What did not fit at the end is one mark, however much it was.
    let many = |terms: &[Term<'_>], out: &mut String| {
        let shown = terms.iter().rposition(|term| *term != Term::Elided).map_or(0, |last| last.saturating_add(1));
        for (n, term) in terms.iter().take(shown.saturating_add(1)).enumerate() {
            if n > 0 {
                out.push(',');
            }
            push(term, pids, atom, out);
        }
    };
    match term {
        Term::None => out.push('-'),
        Term::Atom(reference) => match atom(*reference) {
            Some(text) => out.push_str(&quoted(text)),
            None => out.push_str("?atom"),
        },
        Term::Integer(value) => out.push_str(&value.to_string()),
        Term::Float(value) => out.push_str(&format!("{value:?}")),
        Term::Pid(word) => pids.push_pid(*word, out),
        Term::Port(word) => out.push_str(&pids.port(*word)),
        Term::Reference(words) => {
            out.push_str("#Ref<0");
            for word in words {
                out.push('.');
                push_number(*word, out);
            }
            out.push('>');
        }
        Term::Nil => out.push_str("[]"),
        Term::Tuple(terms) => {
            out.push('{');
            many(terms, out);
            out.push('}');
        }
        Term::List(terms) => {
            out.push('[');
            many(terms, out);
            out.push(']');
        }
        Term::Improper(terms, tail) => {
            out.push('[');
            many(terms, out);
            out.push('|');
            push(tail, pids, atom, out);
            out.push(']');
        }
        Term::Binary { bits, bytes } => out.push_str(&binary(*bits, bytes)),
        Term::Map(pairs) => {
            out.push_str("#{");
            for (n, (key, value)) in pairs.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                if (key, value) == (&Term::Elided, &Term::Elided) {
                    out.push('…');
                    continue;
                }
                push(key, pids, atom, out);
                out.push_str(" => ");
                push(value, pids, atom, out);
            }
            out.push('}');
        }
        Term::Printed(text) => out.push_str(text),
        Term::Elided => out.push('…'),
        Term::Hidden { what, size: 0 } => out.push_str(&format!("({})", what.name())),
        Term::Hidden { what, size } => out.push_str(&format!("({} of {size})", what.name())),
    }
}

/// The text that a list of characters is: what users write as a string. Only for what is known to be
/// a name: a list of numbers looks the same.
pub(crate) fn characters(terms: &[Term<'_>]) -> Option<String> {
    let character = |term: &Term<'_>| match term {
        Term::Integer(code @ (9 | 10 | 13 | 32..=126 | 160..=255)) => char::from_u32(u32::try_from(*code).ok()?),
        _ => None,
    };
    if terms.is_empty() { None } else { terms.iter().map(character).collect() }
}

/// Adds a number's digits.
pub(crate) fn push_number(number: u64, out: &mut String) {
    let (mut digits, mut rest, mut first) = ([0; 20], number, 20);
    for (place, digit) in digits.iter_mut().enumerate().rev() {
        (*digit, rest, first) = (b'0'.wrapping_add((rest % 10) as u8), rest / 10, place);
        if rest == 0 {
            break;
        }
    }
    out.push_str(std::str::from_utf8(digits.get(first..).unwrap_or_default()).unwrap_or_default());
}

/// A count with its thousands apart.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len().saturating_mul(4) / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && digits.len().saturating_sub(place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn binary(bits: u64, bytes: &[u8]) -> String {
    let more = if (bytes.len() as u64).saturating_mul(8) < bits {
        format!("… of {} bytes", bits / 8)
    } else {
        String::new()
    };
    match std::str::from_utf8(bytes) {
        Ok(text) if bits.is_multiple_of(8) && text.chars().all(|c| !c.is_control()) => {
            format!("<<\"{}\"{more}>>", text.replace('\\', "\\\\").replace('"', "\\\""))
        }
        _ => {
            let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
            let tail = if bits.is_multiple_of(8) { String::new() } else { format!(":{}", bits % 8) };
            format!("<<{}{tail}{more}>>", numbers.join(","))
        }
    }
}

/// An atom as Erlang writes it; Elixir's module names lose their prefix.
pub fn quoted(text: &str) -> String {
    if let Some(module) = text.strip_prefix("Elixir.") {
        return module.to_owned();
    }
    let plain = text.chars().next().is_some_and(|c| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '@')
        && !RESERVED.contains(&text);
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")) }
}

const RESERVED: [&str; 28] = [
    "after", "and", "andalso", "band", "begin", "bnot", "bor", "bsl", "bsr", "bxor", "case", "catch", "cond", "div",
    "else", "end", "fun", "if", "let", "maybe", "not", "of", "or", "orelse", "receive", "rem", "try", "when",
];

#[cfg(test)]
mod tests {
    use super::*;
    use spoor_format::term::HiddenType;

    fn printed(term: &Term<'_>) -> String {
        let mut out = String::new();
        push(term, &PidFormat::assumed(), &|reference| (reference == 1).then_some("ok"), &mut out);
        out
    }

    #[test]
    fn terms_read_as_in_the_shell() {
        let tuple = Term::Tuple(vec![Term::Atom(1), Term::Integer(-3), Term::Nil, Term::Pid(8)]);
        assert_eq!(printed(&tuple), "{ok,-3,[],<0.1.0>}");
        let list = |bytes: &[u8]| bytes.iter().map(|byte| Term::Integer((*byte).into())).collect::<Vec<_>>();
        assert_eq!(characters(&list(b"a b")).as_deref(), Some("a b"));
        assert_eq!((characters(&list(&[97, 1])), characters(&[])), (None, None));
        assert_eq!(printed(&Term::List(list(&[41]))), "[41]");
        assert_eq!(printed(&Term::List(vec![Term::Integer(97), Term::Integer(1)])), "[97,1]");
        assert_eq!(printed(&Term::Improper(vec![Term::Atom(9)], Box::new(Term::Elided))), "[?atom|…]");
        assert_eq!(printed(&Term::Binary { bits: 16, bytes: b"a\"" }), "<<\"a\\\"\">>");
        assert_eq!(printed(&Term::Binary { bits: 800, bytes: &[1, 2] }), "<<1,2… of 100 bytes>>");
        assert_eq!(
            printed(&Term::Map(vec![(Term::Atom(1), Term::Float(1.0)), (Term::Elided, Term::Elided)])),
            "#{ok => 1.0,…}"
        );
        assert_eq!(printed(&Term::Reference(vec![7, 8, 9])), "#Ref<0.7.8.9>");
        assert_eq!(printed(&Term::Hidden { what: HiddenType::Binary, size: 7 }), "(binary of 7)");
    }

    #[test]
    fn numbers_have_their_digits() {
        let text = |number| {
            let mut out = String::new();
            push_number(number, &mut out);
            out
        };
        assert_eq!([0, 7, 10, 909, u64::MAX].map(text), [0, 7, 10, 909, u64::MAX].map(|n| n.to_string()));
    }

    #[test]
    fn atoms_are_quoted_only_when_needed() {
        let all = ["ok", "a@b", "Elixir.My.App", "Upper", "fun", "it's", "undefined"].map(quoted);
        assert_eq!(all, ["ok", "a@b", "My.App", "'Upper'", "'fun'", "'it\\'s'", "undefined"]);
    }
}
