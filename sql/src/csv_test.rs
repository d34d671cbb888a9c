//! The CSV reader against written cases and against a naive model.

use proptest::prelude::*;

use super::*;

/// Hands out at most `step` bytes a call.
struct Drip<'a> {
    rest: &'a [u8],
    step: usize,
}

impl Read for Drip<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.step.min(out.len()).min(self.rest.len());
        out[..count].copy_from_slice(&self.rest[..count]);
        self.rest = &self.rest[count..];
        Ok(count)
    }
}

type Rows = Vec<(u64, Vec<(String, bool)>)>;

fn read_from(text: &[u8], delimiter: u8, start: Place, buffer: usize) -> Result<Rows, Malformed> {
    let input = Drip { rest: &text[usize::try_from(start.offset).unwrap()..], step: 3 };
    let mut reader = Reader::with_buffer(input, delimiter, start, buffer);
    let mut rows = Rows::new();
    loop {
        match reader.next() {
            Ok(None) => return Ok(rows),
            Ok(Some(record)) => {
                let text = record.text().unwrap();
                let values = (0..record.len())
                    .map(|i| (text.value(i).to_owned(), record.is_quoted(i)))
                    .collect();
                rows.push((record.line(), values));
            }
            Err(CsvError::Malformed(malformed)) => return Err(malformed),
            Err(CsvError::Io(error)) => panic!("{error}"),
        }
    }
}

/// Rows as `line:value|"quoted"`, joined by spaces.
fn check(text: &str, expect: &str) {
    for buffer in [1, 2, 7, 64, BUFFER_BYTES] {
        let shown = match read_from(text.as_bytes(), b',', Place::START, buffer.max(1)) {
            Ok(rows) => rows
                .iter()
                .map(|(line, values)| {
                    let values: Vec<String> = values
                        .iter()
                        .map(
                            |(value, quoted)| {
                                if *quoted { format!("<{value}>") } else { value.clone() }
                            },
                        )
                        .collect();
                    format!("{line}:{}", values.join("|"))
                })
                .collect::<Vec<_>>()
                .join(" "),
            Err(malformed) => format!("{} {}", malformed.line, malformed.field),
        };
        assert_eq!(shown, expect, "{text:?} with a buffer of {buffer}");
    }
}

#[test]
fn records_end_with_a_line_or_with_the_file() {
    check("", "");
    check("a,b\nc,d\n", "1:a|b 2:c|d");
    check("a,b\r\nc,d\r\n", "1:a|b 2:c|d");
    check("a,b\nc,d", "1:a|b 2:c|d");
    check("a,b\nc,d\r", "1:a|b 2:c|d");
    check("a,\n,b\n,", "1:a| 2:|b 3:|");
    check("\n\nx\n", "1: 2: 3:x");
    check("\r\nx", "1: 2:x");
}

#[test]
fn quotes_hold_delimiters_newlines_and_doubled_quotes() {
    check("\"a,b\",c\n", "1:<a,b>|c");
    check("\"a\nb\r\nc\",d\ne\n", "1:<a\nb\r\nc>|d 4:e");
    check("\"say \"\"hi\"\"\"\n", "1:<say \"hi\">");
    check("\"\"\"\"", "1:<\">");
    check("\"\",\"\"\"\"\"\"\r\n\"x\"\r\n", "1:<>|<\"\"> 2:<x>");
    check("a,\"\"", "1:a|<>");
    check("\"x\"\r", "1:<x>");
}

#[test]
fn a_carriage_return_inside_a_line_is_a_character() {
    check("a\rb,c\r\r\nd\n", "1:a\rb|c\r 2:d");
}

#[test]
fn a_byte_order_mark_is_passed_over_at_the_beginning_only() {
    check("\u{feff}a,b\n\u{feff}c,d\n", "1:a|b 2:\u{feff}c|d");
}

#[test]
fn what_is_not_csv_is_named_with_its_line_and_value() {
    check("a,b\nc,d\"e\n", "2 1");
    check("a,\"b\"c\n", "1 1");
    check("a,\"b\n\n\"x,c\n", "3 1");
    check("a,b\nc,\"d\n\n", "2 1");
    check("\"a\n\nb\",\"c\"\"\n", "3 1");
}

#[test]
fn the_line_of_a_value_counts_the_lines_of_values_before_it() {
    let mut reader = Reader::new(&b"\"a\n\nb\",c,\"d\n\",e\n"[..], b',', Place::START);
    let record = reader.next().unwrap().unwrap();
    let lines: Vec<u64> = (0..record.len()).map(|i| record.line_of(i)).collect();
    assert_eq!(lines, [1, 3, 3, 4]);
    assert_eq!(reader.place(), Place { offset: 16, line: 5 });
}

#[test]
fn bytes_that_are_no_text_are_found_in_their_value() {
    let mut reader = Reader::new(&b"a,\"b\xff\",c\nd\n"[..], b',', Place::START);
    assert_eq!(reader.next().unwrap().unwrap().text().unwrap_err(), 1);
    assert_eq!(reader.next().unwrap().unwrap().text().unwrap().value(0), "d");
}

#[test]
fn a_record_without_end_does_not_take_all_memory() {
    let endless = io::repeat(b'x');
    let mut reader = Reader::new(endless, b',', Place::START);
    let Err(CsvError::Malformed(malformed)) = reader.next() else { panic!("no error") };
    assert_eq!((malformed.line, malformed.what), (1, TOO_LONG));
}

#[test]
fn find_is_right_at_every_offset() {
    for length in 0..40 {
        for at in 0..length {
            let mut bytes = vec![b'"' ^ 0x80; length];
            bytes[at] = b'"';
            assert_eq!(find(&bytes, [b',', b'\n', b'"']), Some(at));
            assert_eq!(find(&bytes, [b',', b'\n', b'|']), None);
        }
    }
}

/// One character at a time, the way the rules are written.
fn model(text: &str, delimiter: char) -> Result<Rows, (u64, usize)> {
    let mut rows = Rows::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    while !rest.is_empty() {
        let record_line = line;
        let mut values = Vec::new();
        loop {
            let mut value = String::new();
            let quoted = rest.starts_with('"');
            if quoted {
                let opened = line;
                rest = &rest[1..];
                loop {
                    if let Some(after) = rest.strip_prefix("\"\"") {
                        value.push('"');
                        rest = after;
                    } else if let Some(after) = rest.strip_prefix('"') {
                        rest = after;
                        break;
                    } else if let Some(c) = rest.chars().next() {
                        line += u64::from(c == '\n');
                        value.push(c);
                        rest = &rest[c.len_utf8()..];
                    } else {
                        return Err((opened, values.len()));
                    }
                }
            } else {
                while let Some(c) = rest.chars().next() {
                    let ends = rest.starts_with("\r\n") || rest == "\r";
                    if c == delimiter || c == '\n' || ends {
                        break;
                    }
                    if c == '"' {
                        return Err((line, values.len()));
                    }
                    value.push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
            let field = values.len();
            values.push((value, quoted));
            if let Some(after) = rest.strip_prefix(delimiter) {
                rest = after;
                continue;
            }
            let after = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n'));
            if let Some(after) = after {
                rest = after;
                line += 1;
            } else if rest == "\r" {
                rest = "";
            } else if !rest.is_empty() {
                return Err((line, field));
            }
            break;
        }
        rows.push((record_line, values));
    }
    Ok(rows)
}

fn csv_like() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            4 => Just(","), 3 => Just("\n"), 2 => Just("\r\n"), 1 => Just("\r"),
            3 => Just("\""), 2 => Just("\"\""), 3 => Just("\"q,\nz\""),
            4 => Just("a"), 2 => Just("longer text"), 1 => Just("é"), 1 => Just("\u{feff}"),
        ],
        0..60,
    )
    .prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn reads_what_the_model_reads(text in csv_like(), buffer in 1_usize..40) {
        let found = read_from(text.as_bytes(), b',', Place::START, buffer)
            .map_err(|malformed| (malformed.line, malformed.field));
        prop_assert_eq!(found, model(&text, ','));
    }

    #[test]
    fn reading_can_stop_and_go_on_before_any_record(text in csv_like()) {
        if let Ok(rows) = model(&text, ',') {
            let mut reader = Reader::new(text.as_bytes(), b',', Place::START);
            for row in 0..rows.len() {
                let _ = reader.next();
                let rest = read_from(text.as_bytes(), b',', reader.place(), 16);
                prop_assert_eq!(rest.as_ref().map(Vec::as_slice), Ok(&rows[row + 1..]));
            }
        }
    }

    #[test]
    fn what_is_quoted_comes_back(values in proptest::collection::vec(".*", 1..6)) {
        let quoted: Vec<String> =
            values.iter().map(|v| format!("\"{}\"", v.replace('"', "\"\""))).collect();
        let rows = read_from(quoted.join("|").as_bytes(), b'|', Place::START, 8).unwrap();
        let found: Vec<&String> = rows[0].1.iter().map(|(value, _)| value).collect();
        prop_assert_eq!(found, values.iter().collect::<Vec<_>>());
    }
}
