//! Functions that PostgreSQL has and the query engine has not.
//!
//! Most answer questions about the session or the catalog, so they are made per session, over its
//! [`Facts`]. Each is evaluated row by row: they run on catalog listings, never on user data of any
//! size. Unknown ids answer NULL, as PostgreSQL's do.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use crate::catalog::names::quoted;
use crate::session::Facts;

/// What a function does with one row of arguments.
type Body = dyn Fn(&[ScalarValue]) -> Result<ScalarValue> + Send + Sync;

struct RowFunction {
    name: &'static str,
    signature: Signature,
    returns: DataType,
    body: Arc<Body>,
}

impl fmt::Debug for RowFunction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RowFunction").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PartialEq for RowFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.body, &other.body)
    }
}

impl Eq for RowFunction {}

impl Hash for RowFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for RowFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        if scalar {
            let row: Vec<ScalarValue> = args
                .args
                .iter()
                .map(|arg| match arg {
                    ColumnarValue::Scalar(value) => Ok(value.clone()),
                    ColumnarValue::Array(array) => ScalarValue::try_from_array(array, 0),
                })
                .collect::<Result<_>>()?;
            return Ok(ColumnarValue::Scalar((self.body)(&row)?));
        }
        let arrays: Vec<ArrayRef> =
            args.args.iter().map(|arg| arg.to_array(args.number_rows)).collect::<Result<_>>()?;
        let mut values = Vec::with_capacity(args.number_rows);
        for index in 0..args.number_rows {
            let row: Vec<ScalarValue> = arrays
                .iter()
                .map(|array| ScalarValue::try_from_array(array, index))
                .collect::<Result<_>>()?;
            values.push((self.body)(&row)?);
        }
        if values.is_empty() {
            let empty = datafusion::arrow::array::new_empty_array(&self.returns);
            return Ok(ColumnarValue::Array(empty));
        }
        Ok(ColumnarValue::Array(ScalarValue::iter_to_array(values)?))
    }
}

fn function(
    name: &'static str,
    returns: DataType,
    body: impl Fn(&[ScalarValue]) -> Result<ScalarValue> + Send + Sync + 'static,
) -> ScalarUDF {
    let any = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
    let signature = Signature::one_of(any, Volatility::Stable);
    ScalarUDF::from(RowFunction { name, signature, returns, body: Arc::new(body) })
}

fn text(
    name: &'static str,
    body: impl Fn(&[ScalarValue]) -> Option<String> + Send + Sync + 'static,
) -> ScalarUDF {
    function(name, DataType::Utf8, move |row| Ok(ScalarValue::Utf8(body(row))))
}

fn number(
    name: &'static str,
    body: impl Fn(&[ScalarValue]) -> Option<i64> + Send + Sync + 'static,
) -> ScalarUDF {
    function(name, DataType::Int64, move |row| Ok(ScalarValue::Int64(body(row))))
}

fn flag(
    name: &'static str,
    body: impl Fn(&[ScalarValue]) -> Option<bool> + Send + Sync + 'static,
) -> ScalarUDF {
    function(name, DataType::Boolean, move |row| Ok(ScalarValue::Boolean(body(row))))
}

/// An argument as an object id, whatever integer or text it came as.
fn oid(row: &[ScalarValue], index: usize) -> Option<i64> {
    match row.get(index)? {
        ScalarValue::Int64(value) => *value,
        ScalarValue::UInt64(value) => value.and_then(|value| i64::try_from(value).ok()),
        ScalarValue::Int32(value) => value.map(i64::from),
        ScalarValue::Int16(value) => value.map(i64::from),
        ScalarValue::UInt32(value) => value.map(i64::from),
        other => words(other)?.parse().ok(),
    }
}

fn words(value: &ScalarValue) -> Option<&str> {
    match value {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => {
            text.as_deref()
        }
        _ => None,
    }
}

fn argument(row: &[ScalarValue], index: usize) -> Option<String> {
    words(row.get(index)?).map(str::to_owned)
}

/// All functions of a session.
pub(crate) fn all(facts: &Arc<Facts>) -> Vec<ScalarUDF> {
    let mut all = about_session(facts);
    all.extend(about_catalog(facts));
    all.extend(plain());
    all
}

fn about_session(facts: &Arc<Facts>) -> Vec<ScalarUDF> {
    let of = |name, read: fn(&Facts) -> String| {
        let facts = Arc::clone(facts);
        text(name, move |_| Some(read(&facts)))
    };
    let mut all: Vec<ScalarUDF> = ["current_user", "session_user", "user", "current_role"]
        .into_iter()
        .map(|name| of(name, |facts| facts.user.clone()))
        .collect();
    for name in ["current_database", "current_catalog"] {
        all.push(of(name, |facts| facts.database.clone()));
    }
    let here = Arc::clone(facts);
    all.push(text("current_schema", move |_| here.search_path().into_iter().next()));
    let here = Arc::clone(facts);
    let list = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    all.push(function("current_schemas", list, move |row| {
        let mut schemas = here.search_path();
        if matches!(row.first(), Some(ScalarValue::Boolean(Some(true)))) {
            schemas.insert(0, "pg_catalog".to_owned());
        }
        let items: Vec<ScalarValue> =
            schemas.into_iter().map(|schema| ScalarValue::Utf8(Some(schema))).collect();
        Ok(ScalarValue::List(ScalarValue::new_list_nullable(&items, &DataType::Utf8)))
    }));
    let here = Arc::clone(facts);
    all.push(text("current_setting", move |row| here.setting(&argument(row, 0)?)));
    let pid = facts.pid;
    all.push(function("pg_backend_pid", DataType::Int32, move |_| {
        Ok(ScalarValue::Int32(Some(pid)))
    }));
    all
}

fn about_catalog(facts: &Arc<Facts>) -> Vec<ScalarUDF> {
    let named = |name, read: fn(&Facts, i64) -> Option<String>| {
        let facts = Arc::clone(facts);
        text(name, move |row| read(&facts, oid(row, 0)?))
    };
    let mut all = vec![
        named("pg_get_userbyid", |facts, oid| {
            Some(facts.user_name(oid).unwrap_or_else(|| format!("unknown (OID={oid})")))
        }),
        named("regclass_name", |facts, oid| {
            Some(facts.relation_name(oid).unwrap_or_else(|| oid.to_string()))
        }),
        named("regnamespace_name", |facts, oid| {
            Some(facts.schema_name(oid).unwrap_or_else(|| oid.to_string()))
        }),
        named("pg_get_indexdef", Facts::index_definition),
        named("pg_get_constraintdef", Facts::constraint_definition),
    ];
    for name in ["regclass_oid", "to_regclass"] {
        let here = Arc::clone(facts);
        let strict = name == "regclass_oid";
        all.push(function(name, DataType::Int64, move |row| {
            let Some(text) = argument(row, 0) else { return Ok(ScalarValue::Int64(None)) };
            match text.parse().ok().or_else(|| here.relation_oid(&text)) {
                None if strict => Err(crate::error::SqlError::new(
                    crate::error::code::UNDEFINED_TABLE,
                    format!("relation \"{text}\" does not exist"),
                )
                .into()),
                oid => Ok(ScalarValue::Int64(oid)),
            }
        }));
    }
    let here = Arc::clone(facts);
    all.push(flag("pg_table_is_visible", move |row| Some(here.is_visible(oid(row, 0)?))));
    for name in ["pg_table_size", "pg_relation_size", "pg_total_relation_size"] {
        let here = Arc::clone(facts);
        all.push(number(name, move |row| here.relation_bytes(oid(row, 0)?)));
    }
    all
}

/// Functions whose answer depends on their arguments only.
fn plain() -> Vec<ScalarUDF> {
    let mut all = vec![
        text("version", |_| Some(crate::session::version())),
        text("format_type", |row| Some(type_name(oid(row, 0)?, oid(row, 1).unwrap_or(-1)))),
        text("pg_get_expr", |row| argument(row, 0)),
        text("pg_encoding_to_char", |row| {
            Some(if oid(row, 0)? == 6 { "UTF8" } else { "" }.to_owned())
        }),
        text("pg_size_pretty", |row| Some(pretty_size(oid(row, 0)?))),
        text("quote_ident", |row| Some(quoted(&argument(row, 0)?).into_owned())),
        number("regtype_oid", |row| type_oid(&argument(row, 0)?)),
        flag("pg_is_in_recovery", |_| Some(false)),
        flag("pg_relation_is_publishable", |_| Some(false)),
    ];
    for name in ["pg_type_is_visible", "pg_function_is_visible", "pg_opclass_is_visible"] {
        all.push(flag(name, |_| Some(true)));
    }
    for name in
        ["has_table_privilege", "has_schema_privilege", "has_database_privilege", "pg_has_role"]
    {
        all.push(flag(name, |_| Some(true)));
    }
    for name in [
        "obj_description",
        "col_description",
        "shobj_description",
        "pg_get_viewdef",
        "pg_tablespace_location",
        "pg_get_function_result",
        "pg_get_function_arguments",
        "pg_get_partkeydef",
        "pg_get_statisticsobjdef_columns",
    ] {
        all.push(text(name, |_| None));
    }
    all
}

/// Built-in types by PostgreSQL's object id: (oid, name in `pg_type`, name people read, length).
pub(crate) const TYPES: [(i64, &str, &str, i16); 21] = [
    (16, "bool", "boolean", 1),
    (17, "bytea", "bytea", -1),
    (18, "char", "\"char\"", 1),
    (19, "name", "name", 64),
    (20, "int8", "bigint", 8),
    (21, "int2", "smallint", 2),
    (23, "int4", "integer", 4),
    (25, "text", "text", -1),
    (26, "oid", "oid", 4),
    (700, "float4", "real", 4),
    (701, "float8", "double precision", 8),
    (1005, "_int2", "smallint[]", -1),
    (1007, "_int4", "integer[]", -1),
    (1009, "_text", "text[]", -1),
    (1016, "_int8", "bigint[]", -1),
    (1043, "varchar", "character varying", -1),
    (1082, "date", "date", 4),
    (1114, "timestamp", "timestamp without time zone", 8),
    (1184, "timestamptz", "timestamp with time zone", 8),
    (1186, "interval", "interval", 16),
    (1700, "numeric", "numeric", -1),
];

/// What `format_type` answers.
fn type_name(oid: i64, modifier: i64) -> String {
    let Some((_, _, name, _)) = TYPES.iter().find(|known| known.0 == oid) else {
        return if oid == 0 { "-".to_owned() } else { "???".to_owned() };
    };
    if oid == 1043 && modifier >= 4 {
        return format!("{name}({})", modifier - 4);
    }
    if oid == 1700 && modifier >= 4 {
        let packed = modifier - 4;
        return format!("numeric({},{})", packed >> 16, packed & 0xffff);
    }
    (*name).to_owned()
}

/// The name of a type in `pg_type`.
pub(crate) fn type_short(oid: u32) -> &'static str {
    TYPES.iter().find(|known| known.0 == i64::from(oid)).map_or("text", |known| known.1)
}

fn type_oid(name: &str) -> Option<i64> {
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
    TYPES.iter().find(|known| known.1 == name || known.2 == name).map(|known| known.0)
}

fn pretty_size(bytes: i64) -> String {
    let mut size = bytes;
    for unit in ["bytes", "kB", "MB", "GB"] {
        if size.abs() < 10 * 1024 {
            return format!("{size} {unit}");
        }
        size = (size + 512) / 1024;
    }
    format!("{size} TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_read_as_postgresql_writes_them() {
        assert_eq!(type_name(20, -1), "bigint");
        assert_eq!(type_name(1700, ((10 << 16) | 2) + 4), "numeric(10,2)");
        assert_eq!(type_name(0, -1), "-");
        assert_eq!(type_oid("pg_catalog.int8"), Some(20));
    }

    #[test]
    fn sizes_round_as_postgresql_rounds_them() {
        assert_eq!(pretty_size(10_239), "10239 bytes");
        assert_eq!(pretty_size(10_240), "10 kB");
    }
}
