//! The table that a file carries, for records that came after this version: enough to step over them.

use super::{Body, Class, FieldType, Record, SPECS, spec};
use crate::DecodeError;
use crate::codec::Cursor;

/// The table of a file, as far as it goes beyond [`SPECS`].
#[derive(Debug, Clone, Default)]
pub struct Schema {
    foreign: Vec<ForeignSpec>,
}

/// A row that only the file knows.
#[derive(Debug, Clone)]
pub struct ForeignSpec {
    /// First byte of the record.
    pub id: u8,
    /// What it is to the stream.
    pub class: Class,
    /// Its name.
    pub name: String,
    /// Its fields.
    pub fields: Vec<(String, FieldType)>,
}

impl Schema {
    /// The table as text, one record a line: `ID CLASS NAME FIELD:TYPE ...`.
    pub fn own_text() -> String {
        let mut text = String::new();
        for spec in SPECS {
            let fields: String = spec.fields.iter().map(|(n, t)| format!(" {n}:{}", t.name())).collect();
            let class = format!("{:?}", spec.class).to_lowercase();
            text.push_str(&format!("{} {class} {}{fields}\n", spec.id, spec.name));
        }
        text
    }

    /// Reads the table of a file; lines that cannot be understood are left out,
    /// their records will then be [`DecodeError::UnknownRecord`].
    pub fn parse(text: &str) -> Schema {
        let foreign = text.lines().filter_map(parse_line).filter(|row| spec(row.id).is_none()).collect();
        Schema { foreign }
    }

    /// The rows that only the file knows.
    pub(crate) fn rows(&self) -> &[ForeignSpec] {
        &self.foreign
    }

    /// The row of an id that only the file knows.
    pub fn foreign(&self, id: u8) -> Option<&ForeignSpec> {
        self.foreign.iter().find(|spec| spec.id == id)
    }

    #[cold]
    pub(super) fn step_over<'a>(
        &self,
        id: u8,
        offset: usize,
        cursor: &mut Cursor<'a>,
    ) -> Result<Record<'a>, DecodeError> {
        let spec = self.foreign(id).ok_or(DecodeError::UnknownRecord { offset, id })?;
        let delta = if spec.class.timed() { cursor.varint()? } else { 0 };
        let start = cursor.offset();
        for (_, field) in &spec.fields {
            field.skip(cursor)?;
        }
        Ok(Record { delta, body: Body::Foreign { id, class: spec.class, bytes: cursor.since(start) } })
    }
}

fn parse_line(line: &str) -> Option<ForeignSpec> {
    let mut words = line.split_ascii_whitespace();
    let id = words.next()?.parse().ok()?;
    let class = match words.next()? {
        "define" => Class::Define,
        "context" => Class::Context,
        "annotate" => Class::Annotate,
        "event" => Class::Event,
        "info" => Class::Info,
        _ => return None,
    };
    let name = words.next()?.to_owned();
    let fields = words
        .map(|word| word.split_once(':').and_then(|(n, t)| Some((n.to_owned(), FieldType::parse(t)?))))
        .collect::<Option<Vec<_>>>()?;
    Some(ForeignSpec { id, class, name, fields })
}

#[cfg(test)]
mod tests {
    use super::super::write;
    use super::*;

    #[test]
    fn a_later_record_is_stepped_over_with_the_files_table() {
        let schema = Schema::parse("200 event later who:term n:uint\n201 nonsense x\n");
        let mut bytes = vec![200, 7, 7, 9];
        write::receive(&mut bytes, 1).expect("a Vec is never full");
        let mut cursor = Cursor::new(&bytes);
        let later = Record::decode(&mut cursor, &schema).expect("known from the file");
        assert_eq!(later, Record { delta: 7, body: Body::Foreign { id: 200, class: Class::Event, bytes: &[7, 9] } });
        let receive = Record::decode(&mut cursor, &schema).expect("a record of this version");
        assert_eq!(receive, Record { delta: 1, body: Body::Receive {} });
        assert_eq!(
            Record::decode(&mut Cursor::new(&[201]), &schema),
            Err(DecodeError::UnknownRecord { offset: 0, id: 201 })
        );
    }

    #[test]
    fn the_own_table_parses_as_nothing_foreign() {
        assert!(Schema::parse(&Schema::own_text()).foreign.is_empty());
        assert_eq!(Schema::own_text().lines().filter_map(parse_line).count(), SPECS.len());
    }
}
