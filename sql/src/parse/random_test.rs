//! Random texts and random statements of ours: nothing panics, errors point into the text, and what was parsed prints as
//! text that is the same statement.

use proptest::prelude::*;

use super::*;

/// Strategy: texts that look like statements to their beginning, and arbitrary ones.
fn soup() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "SHOW",
        "JOB",
        "JOBS",
        "CANCEL",
        "PAUSE",
        "RESUME",
        "WITH",
        "WAIT",
        "REASON",
        "=",
        "'x'",
        "'30s'",
        "(",
        ")",
        "[",
        "]",
        ",",
        ";",
        "SELECT",
        "FROM",
        "WHERE",
        "job_id",
        "*",
        "1",
        "$1",
        "IMPORT",
        "INTO",
        "t",
        "CSV",
        "DATA",
        "skip",
        "SET",
        "RESET",
        "CLUSTER",
        "SETTING",
        "TO",
        "ALL",
        "AS",
        "x",
        "WHEN",
        "COMPLETE",
        "AUTOMATIC",
        "CREATE",
        "USER",
        "TABLE",
        "DROP",
        "GRANT",
        "admin",
        "REVOKE",
        "BEGIN",
        "EXPLAIN",
        "JOIN",
        "ON",
        "USING",
        "INSERT",
        "VALUES",
        "UPDATE",
        "DELETE",
        "UNION",
        "CASE",
        "END",
        "NOT",
        "-",
        "+",
        "::",
        ".",
        "\"q\"",
        "é",
        "--",
        "/*",
        "*/",
        "E'\\t'",
        "$$",
        "ARRAY",
        "INT8",
        "PRIMARY",
        "KEY",
        "INTERVAL",
        "NULL",
        "IN",
        "LATERAL",
        "OVER",
        "FILTER",
        "ORDER",
        "BY",
        "LIMIT",
        "SHOW JOBS",
        "FROM [SHOW JOBS]",
        "<",
        ">",
    ]);
    prop::collection::vec(words, 0..24).prop_map(|words| words.join(" "))
}

/// A query, printed as `sqlparser` prints it.
fn queries() -> impl Strategy<Value = String> {
    let source = prop::sample::select(vec![
        "t",
        "[SHOW JOBS]",
        "[SHOW AUTOMATIC JOBS] AS j",
        "[IMPORT INTO t CSV DATA ('x')]",
        "[SELECT k FROM t]",
        "[SHOW JOB 5]",
    ]);
    let filter = prop::sample::select(vec![
        "",
        " WHERE status = 'paused'",
        " WHERE a[1] = 2",
        " WHERE job_id IN (1, $3)",
        " WHERE EXISTS (SELECT 1 FROM [SHOW USERS])",
    ]);
    prop_oneof![
        (source, filter)
            .prop_map(|(source, filter)| format!("SELECT job_id FROM {source}{filter}")),
        Just("VALUES (1), (2)".to_owned()),
        Just("TABLE t".to_owned()),
    ]
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_][a-z0-9_]{0,8}",
        "[A-Za-z \"'.é$]{1,6}".prop_map(|name| format!("\"{}\"", name.replace('"', "\"\"")))
    ]
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~é\n]{0,12}".prop_map(|text| format!("'{}'", text.replace('\'', "''"))),
        (1..99_u16).prop_map(|number| format!("${number}"))
    ]
}

/// Statements of ours, written in one of the ways in which they may be written.
fn statements() -> impl Strategy<Value = String> {
    let control_options = prop::sample::select(vec![
        "",
        " WITH WAIT",
        " WITH REASON = 'a ''b'''",
        " with wait = '30s', reason = $2",
        " WITH REASON = 'x', WAIT",
    ]);
    let verbs = prop::sample::select(vec!["CANCEL", "PAUSE", "resume"]);
    let expr = prop::sample::select(vec![
        "1",
        "$1",
        "1 + 2",
        "(SELECT max(job_id) FROM [SHOW JOBS])",
        "f(a)[1]",
        "NULL",
    ]);
    prop_oneof![
        (verbs.clone(), expr.clone(), control_options.clone())
            .prop_map(|(verb, expr, options)| format!("{verb} JOB {expr}{options}")),
        (verbs, queries(), any::<bool>(), control_options).prop_map(
            |(verb, query, bare, options)| {
                if bare {
                    format!("{verb} JOBS {query}{options}")
                } else {
                    format!("{verb} JOBS ({query}){options}")
                }
            }
        ),
        (expr, any::<bool>()).prop_map(|(expr, wait)| {
            format!("SHOW JOB {}{expr}", if wait { "WHEN COMPLETE " } else { "" })
        }),
        (queries(), any::<bool>()).prop_map(|(query, wait)| {
            format!("SHOW JOBS {}({query})", if wait { "WHEN COMPLETE " } else { "" })
        }),
        (
            prop::collection::vec(names(), 1..4),
            prop::collection::vec(names(), 0..3),
            prop::collection::vec(texts(), 1..3),
            prop::collection::vec((names(), prop::option::of(texts())), 0..4),
        )
            .prop_map(|(table, columns, places, options)| {
                let columns = if columns.is_empty() {
                    String::new()
                } else {
                    format!("({})", columns.join(","))
                };
                let options: Vec<String> = options
                    .into_iter()
                    .map(|(name, value)| {
                        value.map_or(name.clone(), |value| format!("{name}={value}"))
                    })
                    .collect();
                let with = if options.is_empty() {
                    String::new()
                } else {
                    format!(" WITH {}", options.join(", "))
                };
                format!(
                    "IMPORT INTO {} {columns} CSV DATA ({}){with}",
                    table.join("."),
                    places.join(", ")
                )
            }),
        (names(), texts())
            .prop_map(|(name, value)| format!("SET CLUSTER SETTING {name} = {value}")),
        (names(), texts())
            .prop_map(|(name, value)| format!("SET \"x{}\" = {value}", name.replace('"', ""))),
        (names(), names()).prop_map(|(role, user)| format!("GRANT {role} TO {user}, {user}")),
        names().prop_map(|name| format!("DROP USER IF EXISTS {name}")),
        names().prop_map(|name| format!("SHOW COLUMNS FROM {name}")),
        queries().prop_map(|query| format!("WITH x AS (SHOW JOBS) {query}")),
        queries(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_soup_of_words_makes_the_parser_panic_and_its_errors_have_places(text in soup()) {
        if let Err(error) = parse(&text) {
            let position = error.position.unwrap();
            prop_assert!((1..=text.chars().count() + 1).contains(&position), "{text}: {error:?}");
        }
    }

    #[test]
    fn statements_of_ours_print_as_text_that_is_the_same_statement(sql in statements()) {
        let statement = match parse(&sql) {
            Ok(mut parsed) => parsed.remove(0).statement,
            Err(error) => return Err(TestCaseError::fail(format!("{sql}: {error:?}"))),
        };
        let printed = statement.to_string();
        let again = parse(&printed).map_err(|error| TestCaseError::fail(format!("{printed}: {error:?}")))?;
        prop_assert_eq!(again.len(), 1);
        prop_assert_eq!(&again[0].statement, &statement, "{}", printed);
        prop_assert_eq!(again[0].statement.to_string(), printed);
    }

    #[test]
    fn the_text_of_each_statement_parses_to_the_same_statement(text in soup()) {
        if let Ok(parsed) = parse(&text) {
            for one in parsed {
                let again = parse(&one.text).unwrap();
                prop_assert_eq!(&again[0].statement, &one.statement);
            }
        }
    }
}
