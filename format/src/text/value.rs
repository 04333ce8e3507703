//! Field values as text, both ways. What cannot be said in its own notation (a
//! number with needless bytes) is left to the caller, who compares.

use super::scan::{Scanned, Scanner, hex, quote};
use crate::codec::{Cursor, zigzag};
use crate::record::{Field, FieldType, types};
use crate::term::{HiddenType, MAX_DEPTH, RawTerm, Term, tag};
use crate::{DecodeError, term};

/// Appends a varint.
pub(super) fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Reads a field from a record's bytes and answers its text.
pub(super) fn read_field(kind: FieldType, cursor: &mut Cursor<'_>) -> Result<String, DecodeError> {
    Ok(match kind {
        FieldType::Uint | FieldType::Atom | FieldType::Function => cursor.varint()?.to_string(),
        FieldType::Text => quote(<types::Text as Field>::decode(cursor)?),
        FieldType::Words => numbers(<types::Words as Field>::decode(cursor)?.iter()),
        FieldType::Term => term_text(<types::Term as Field>::decode(cursor)?),
    })
}

/// Reads a field's text and appends its bytes.
pub(super) fn parse_field(kind: FieldType, scanner: &mut Scanner<'_>, bytes: &mut Vec<u8>) -> Scanned<()> {
    match kind {
        FieldType::Uint | FieldType::Atom | FieldType::Function => push_varint(bytes, scanner.number()?),
        FieldType::Text => push_counted(bytes, scanner.quoted()?.as_bytes()),
        FieldType::Words => push_words(bytes, &scanner.words()?),
        FieldType::Term => parse_term(scanner, bytes, 0)?,
    }
    Ok(())
}

/// `[1,2,3]`.
pub(super) fn numbers(numbers: impl Iterator<Item = u64>) -> String {
    let numbers: Vec<String> = numbers.map(|n| n.to_string()).collect();
    format!("[{}]", numbers.join(","))
}

fn push_counted(bytes: &mut Vec<u8>, counted: &[u8]) {
    push_varint(bytes, counted.len() as u64);
    bytes.extend_from_slice(counted);
}

fn push_words(bytes: &mut Vec<u8>, words: &[u64]) {
    push_varint(bytes, words.len() as u64);
    words.iter().for_each(|word| push_varint(bytes, *word));
}

/// A well-formed term as text; as hexadecimal bytes when the notation would not
/// lead back to the same bytes.
fn term_text(raw: RawTerm<'_>) -> String {
    let text = raw.decode().map(|term| notation(&term)).unwrap_or_default();
    let mut again = Vec::new();
    let parsed = parse_term(&mut Scanner::new(&text), &mut again, 0);
    if parsed.is_ok() && again == raw.bytes() { text } else { format!("term({})", hex(raw.bytes())) }
}

fn notation(term: &Term<'_>) -> String {
    let many = |terms: &[Term<'_>]| terms.iter().map(notation).collect::<Vec<_>>().join(",");
    match term {
        Term::None => "-".to_owned(),
        Term::Atom(reference) => format!("@{reference}"),
        Term::Integer(value) => value.to_string(),
        Term::Float(value) => format!("{value:?}"),
        Term::Pid(word) => format!("pid({word})"),
        Term::Port(word) => format!("port({word})"),
        Term::Reference(words) => {
            let words: Vec<String> = words.iter().map(u64::to_string).collect();
            format!("ref({})", words.join(","))
        }
        Term::Nil => "[]".to_owned(),
        Term::Tuple(terms) => format!("{{{}}}", many(terms)),
        Term::List(terms) if terms.is_empty() => "list()".to_owned(),
        Term::List(terms) => format!("[{}]", many(terms)),
        Term::Improper(terms, tail) => format!("[{}|{}]", many(terms), notation(tail)),
        Term::Binary { bits, bytes } => format!("<<{bits}:{}>>", hex(bytes)),
        Term::Map(pairs) => {
            let pair = |(key, value): &(Term<'_>, Term<'_>)| format!("{}=>{}", notation(key), notation(value));
            format!("#{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(","))
        }
        Term::Printed(text) => format!("printed({})", quote(text)),
        Term::Elided => "...".to_owned(),
        Term::Hidden { what, size } => format!("hidden({},{size})", what.name()),
    }
}

/// Reads a term's text and appends its bytes.
fn parse_term(s: &mut Scanner<'_>, bytes: &mut Vec<u8>, depth: usize) -> Scanned<()> {
    if depth > MAX_DEPTH {
        return Err("a term nested too deeply".to_owned());
    }
    if s.eat("...") {
        bytes.push(tag::ELIDED);
    } else if s.eat("@") {
        push_tagged(bytes, tag::ATOM, s.number()?);
    } else if s.eat("{") {
        parse_many(s, bytes, tag::TUPLE, depth, "}", parse_term)?;
    } else if s.eat("#{") {
        parse_many(s, bytes, tag::MAP, depth, "}", parse_pair)?;
    } else if s.eat("<<") {
        let bits = s.number()?;
        s.expect(":")?;
        let kept = s.hex()?;
        s.expect(">>")?;
        push_tagged(bytes, tag::BINARY, bits);
        push_counted(bytes, &kept);
    } else if s.eat("[") {
        parse_list(s, bytes, depth)?;
    } else {
        parse_atomic(s, bytes)?;
    }
    Ok(())
}

fn push_tagged(bytes: &mut Vec<u8>, tag: u8, number: u64) {
    bytes.push(tag);
    push_varint(bytes, number);
}

type ParseTerm = fn(&mut Scanner<'_>, &mut Vec<u8>, usize) -> Scanned<()>;

/// Elements up to `end`, behind the tag and their number.
fn parse_many(
    s: &mut Scanner<'_>,
    bytes: &mut Vec<u8>,
    tag: u8,
    depth: usize,
    end: &str,
    element: ParseTerm,
) -> Scanned<()> {
    let (mut elements, mut count) = (Vec::new(), 0_u64);
    if !s.eat(end) {
        loop {
            element(s, &mut elements, depth.saturating_add(1))?;
            count = count.saturating_add(1);
            if s.eat(end) {
                break;
            }
            s.expect(",")?;
        }
    }
    push_tagged(bytes, tag, count);
    bytes.extend_from_slice(&elements);
    Ok(())
}

fn parse_pair(s: &mut Scanner<'_>, bytes: &mut Vec<u8>, depth: usize) -> Scanned<()> {
    parse_term(s, bytes, depth)?;
    s.expect("=>")?;
    parse_term(s, bytes, depth)
}

/// Behind the `[` of `[]`, `[a,b]`, `[a|b]` or `[|b]`.
fn parse_list(s: &mut Scanner<'_>, bytes: &mut Vec<u8>, depth: usize) -> Scanned<()> {
    let depth = depth.saturating_add(1);
    let (mut elements, mut count) = (Vec::new(), 0_u64);
    if s.eat("]") {
        bytes.push(tag::NIL);
        return Ok(());
    }
    let tag = loop {
        if s.eat("|") {
            parse_term(s, &mut elements, depth)?;
            s.expect("]")?;
            break tag::IMPROPER;
        }
        if count > 0 {
            s.expect(",")?;
        }
        parse_term(s, &mut elements, depth)?;
        count = count.saturating_add(1);
        if s.eat("]") {
            break tag::LIST;
        }
    };
    push_tagged(bytes, tag, count);
    bytes.extend_from_slice(&elements);
    Ok(())
}

/// Numbers, `-`, and what is written as `name(..)`.
fn parse_atomic(s: &mut Scanner<'_>, bytes: &mut Vec<u8>) -> Scanned<()> {
    let numeral = s.numeral();
    if numeral == "-" {
        bytes.push(tag::NONE);
        return Ok(());
    }
    if !numeral.is_empty() {
        return parse_number(numeral, bytes);
    }
    let name = s.word();
    s.expect("(")?;
    match name {
        "pid" => push_tagged(bytes, tag::PID, s.number()?),
        "port" => push_tagged(bytes, tag::PORT, s.number()?),
        "ref" => return parse_reference(s, bytes),
        "list" => push_tagged(bytes, tag::LIST, 0),
        "printed" => {
            bytes.push(tag::PRINTED);
            push_counted(bytes, s.quoted()?.as_bytes());
        }
        "hidden" => {
            let what = s.word();
            let what = HiddenType::ALL.iter().find(|(_, name)| *name == what);
            let (what, _) = what.ok_or("an unknown type of hidden term")?;
            s.expect(",")?;
            push_tagged(bytes, tag::HIDDEN, *what as u64);
            push_varint(bytes, s.number()?);
        }
        "term" => {
            let encoded = s.hex()?;
            let mut cursor = Cursor::new(&encoded);
            if term::skip(&mut cursor).is_err() || !cursor.is_empty() {
                return Err("these bytes are not one term".to_owned());
            }
            bytes.extend_from_slice(&encoded);
        }
        _ => return Err(format!("`{name}` is not a term")),
    }
    s.expect(")")
}

fn parse_number(numeral: &str, bytes: &mut Vec<u8>) -> Scanned<()> {
    let wrong = || format!("`{numeral}` is not a number of 64 bits");
    if numeral.contains(['.', 'e']) {
        let value: f64 = numeral.parse().map_err(|_| wrong())?;
        bytes.push(tag::FLOAT);
        bytes.extend_from_slice(&value.to_bits().to_le_bytes());
    } else {
        push_tagged(bytes, tag::INTEGER, zigzag(numeral.parse().map_err(|_| wrong())?));
    }
    Ok(())
}

/// Behind `ref(`.
fn parse_reference(s: &mut Scanner<'_>, bytes: &mut Vec<u8>) -> Scanned<()> {
    let mut words = Vec::new();
    if !s.eat(")") {
        loop {
            words.push(s.number()?);
            if s.eat(")") {
                break;
            }
            s.expect(",")?;
        }
    }
    bytes.push(tag::REFERENCE);
    push_words(bytes, &words);
    Ok(())
}
