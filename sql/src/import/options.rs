//! The options of IMPORT: `WITH delimiter = '|', nullif = '', skip = '1', detached`.

use crate::ast::{ImportOption, Text};
use crate::error::{Result, SqlError, code};

/// What can be said, for hints.
const KNOWN: &str = "The options are delimiter, nullif, skip and detached.";

/// Options of the reference system that are not built.
const NOT_BUILT: [&str; 14] = [
    "allow_quoted_null",
    "comment",
    "data_as_binary_records",
    "data_as_json_records",
    "decompress",
    "fields_enclosed_by",
    "fields_escaped_by",
    "fields_terminated_by",
    "records_terminated_by",
    "row_limit",
    "rows_terminated_by",
    "schema",
    "schema_uri",
    "strict_validation",
];

/// What the options say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// What separates values: one ASCII character.
    pub(crate) delimiter: u8,
    /// The unquoted text that means NULL.
    pub(crate) nullif: Option<String>,
    /// Records to pass over at the beginning of each file.
    pub(crate) skip: u64,
    /// The statement answers as soon as the job exists.
    pub(crate) detached: bool,
}

impl Options {
    /// Reads the options of a statement whose texts have all been said.
    ///
    /// # Errors
    /// 22023 for an option or a value there is not, 0A000 for one that is not built.
    pub(crate) fn new(list: &[ImportOption]) -> Result<Self> {
        let mut options = Self { delimiter: b',', nullif: None, skip: 0, detached: false };
        for (number, option) in list.iter().enumerate() {
            let name = option.name.as_str();
            let again = list.iter().take(number).any(|before| before.name == name);
            let refuse = |message: String| {
                SqlError::invalid_value(message).with_hint(KNOWN).with_position(option.at)
            };
            if again {
                return Err(refuse(format!("option \"{name}\" is given twice")));
            }
            let value = option.value.as_ref().and_then(Text::literal);
            let required =
                || value.ok_or_else(|| refuse(format!("option \"{name}\" needs a value")));
            match name {
                "delimiter" => {
                    options.delimiter = delimiter(required()?).ok_or_else(|| {
                        refuse("the delimiter must be one ASCII character, and no quote, line break or zero byte".to_owned())
                    })?;
                }
                "nullif" => options.nullif = Some(required()?.to_owned()),
                "skip" => {
                    options.skip = required()?.trim().parse().map_err(|_| {
                        refuse(format!(
                            "option \"skip\" must be a number of lines, not \"{}\"",
                            value.unwrap_or_default()
                        ))
                    })?;
                }
                "detached" => match value {
                    None => options.detached = true,
                    Some(_) => return Err(refuse("option \"detached\" takes no value".to_owned())),
                },
                _ if NOT_BUILT.contains(&name) => {
                    return Err(SqlError::not_built(format!("option \"{name}\""), KNOWN)
                        .with_position(option.at));
                }
                _ => return Err(refuse(format!("there is no option \"{name}\""))),
            }
        }
        if let Some(nullif) = &options.nullif
            && nullif.contains(['\n', '"', char::from(options.delimiter)])
        {
            return Err(SqlError::new(
                code::INVALID_PARAMETER_VALUE,
                "the text of \"nullif\" cannot be a value without quotes",
            )
            .with_hint("Only values without quotes can mean NULL: they have no delimiter, quote or line break."));
        }
        Ok(options)
    }
}

fn delimiter(text: &str) -> Option<u8> {
    match text.as_bytes() {
        // As people write it who do not know of e'\t'.
        b"\\t" => Some(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r' | 0) => Some(*byte),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ast::Position;

    fn options(list: &[(&str, Option<&str>)]) -> Result<Options> {
        let option = |(name, value): &(&str, Option<&str>)| ImportOption {
            name: (*name).to_owned(),
            value: value.map(|value| Text::Literal(value.to_owned())),
            at: Position(7),
        };
        Options::new(&list.iter().map(option).collect::<Vec<_>>())
    }

    #[test]
    fn options_have_defaults_and_values() {
        let none = options(&[]).unwrap();
        assert_eq!(none, Options { delimiter: b',', nullif: None, skip: 0, detached: false });
        let all = options(&[
            ("skip", Some("1")),
            ("delimiter", Some("\\t")),
            ("nullif", Some("")),
            ("detached", None),
        ]);
        let expected =
            Options { delimiter: b'\t', nullif: Some(String::new()), skip: 1, detached: true };
        assert_eq!(all.unwrap(), expected);
    }

    #[test]
    fn what_is_no_option_is_refused_with_a_list_of_those_there_are() {
        for (list, code) in [
            (vec![("skipp", Some("1"))], "22023"),
            (vec![("skip", None)], "22023"),
            (vec![("skip", Some("-1"))], "22023"),
            (vec![("skip", Some("1")), ("skip", Some("1"))], "22023"),
            (vec![("delimiter", Some(""))], "22023"),
            (vec![("delimiter", Some("\""))], "22023"),
            (vec![("delimiter", Some("é"))], "22023"),
            (vec![("detached", Some("maybe"))], "22023"),
            (vec![("nullif", Some("a,b"))], "22023"),
            (vec![("decompress", Some("gzip"))], "0A000"),
        ] {
            let error = options(&list).unwrap_err();
            assert_eq!(error.code, code, "{list:?}");
            assert!(error.hint.is_some(), "{list:?}");
        }
        assert_eq!(options(&[("x", None)]).unwrap_err().position, Some(7));
    }
}
