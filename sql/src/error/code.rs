//! SQLSTATEs: PostgreSQL's five-character error codes, as many as are used here.
//!
//! Clients decide by them, so a code once given to a situation stays with it.

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $code;)*

        /// Every code of this module.
        const ALL: &[&str] = &[$($name),*];
    };
}

/// The code of this module with these characters: for codes that come from elsewhere as text.
#[must_use]
pub fn find(code: &str) -> Option<&'static str> {
    ALL.iter().find(|known| **known == code).copied()
}

codes! {
    /// Not an error: what plain notices carry.
    SUCCESSFUL_COMPLETION = "00000";
    /// A warning.
    WARNING = "01000";
    /// The client broke the wire protocol.
    PROTOCOL_VIOLATION = "08P01";
    /// A role cannot be granted so.
    INVALID_GRANT_OPERATION = "0LP01";
    /// Known, not built.
    FEATURE_NOT_SUPPORTED = "0A000";
    /// A subquery that must answer one row answered several.
    CARDINALITY_VIOLATION = "21000";
    /// A value is not possible where it stands.
    DATA_EXCEPTION = "22000";
    /// A text is too long for its type.
    STRING_DATA_RIGHT_TRUNCATION = "22001";
    /// A number does not fit its type.
    NUMERIC_VALUE_OUT_OF_RANGE = "22003";
    /// A text is not a date or time.
    INVALID_DATETIME_FORMAT = "22007";
    /// A date or time does not exist or does not fit.
    DATETIME_FIELD_OVERFLOW = "22008";
    /// A division by zero.
    DIVISION_BY_ZERO = "22012";
    /// A LIKE or regular expression pattern is malformed.
    INVALID_REGULAR_EXPRESSION = "2201B";
    /// A negative LIMIT.
    INVALID_ROW_COUNT_IN_LIMIT_CLAUSE = "2201W";
    /// Bytes are not UTF-8.
    CHARACTER_NOT_IN_REPERTOIRE = "22021";
    /// A parameter, option or setting does not take this value.
    INVALID_PARAMETER_VALUE = "22023";
    /// A text does not spell a value of its type.
    INVALID_TEXT_REPRESENTATION = "22P02";
    /// Bytes do not encode a value of their type.
    INVALID_BINARY_REPRESENTATION = "22P03";
    /// A data file is malformed.
    BAD_COPY_FILE_FORMAT = "22P04";
    /// NULL in a NOT NULL column.
    NOT_NULL_VIOLATION = "23502";
    /// A key exists twice.
    UNIQUE_VIOLATION = "23505";
    /// BEGIN inside a transaction, or a statement that cannot run inside one.
    ACTIVE_SQL_TRANSACTION = "25001";
    /// A write where only reading is allowed.
    READ_ONLY_SQL_TRANSACTION = "25006";
    /// COMMIT or ROLLBACK without a transaction.
    NO_ACTIVE_SQL_TRANSACTION = "25P01";
    /// The transaction failed already and only waits for its end.
    IN_FAILED_SQL_TRANSACTION = "25P02";
    /// No prepared statement of this name.
    INVALID_SQL_STATEMENT_NAME = "26000";
    /// The user does not exist or may not log in.
    INVALID_AUTHORIZATION_SPECIFICATION = "28000";
    /// The password is wrong.
    INVALID_PASSWORD = "28P01";
    /// Other things depend on what should be dropped.
    DEPENDENT_OBJECTS_STILL_EXIST = "2BP01";
    /// No portal of this name.
    INVALID_CURSOR_NAME = "34000";
    /// No database of this name.
    INVALID_CATALOG_NAME = "3D000";
    /// No schema of this name.
    INVALID_SCHEMA_NAME = "3F000";
    /// Somebody else changed the same thing: run the statement again.
    SERIALIZATION_FAILURE = "40001";
    /// The statement cannot be right, for a reason without a code of its own.
    SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION = "42000";
    /// The user may not do this.
    INSUFFICIENT_PRIVILEGE = "42501";
    /// The text is not a statement.
    SYNTAX_ERROR = "42601";
    /// A name that is not allowed.
    INVALID_NAME = "42602";
    /// A column definition that is not possible.
    INVALID_COLUMN_DEFINITION = "42611";
    /// A name that is too long.
    NAME_TOO_LONG = "42622";
    /// A column twice.
    DUPLICATE_COLUMN = "42701";
    /// A column name that could mean several columns.
    AMBIGUOUS_COLUMN = "42702";
    /// No such column.
    UNDEFINED_COLUMN = "42703";
    /// No such job, role, setting, type, option.
    UNDEFINED_OBJECT = "42704";
    /// It exists already.
    DUPLICATE_OBJECT = "42710";
    /// A table name or alias twice in one FROM.
    DUPLICATE_ALIAS = "42712";
    /// A column outside GROUP BY, or an aggregate where none may be.
    GROUPING_ERROR = "42803";
    /// An expression of the wrong type.
    DATATYPE_MISMATCH = "42804";
    /// A thing of the wrong kind: a view where a table is needed.
    WRONG_OBJECT_TYPE = "42809";
    /// No cast between these types.
    CANNOT_COERCE = "42846";
    /// No such function, or not with these arguments.
    UNDEFINED_FUNCTION = "42883";
    /// A name that is kept for the system.
    RESERVED_NAME = "42939";
    /// No such table.
    UNDEFINED_TABLE = "42P01";
    /// No such parameter `$n`.
    UNDEFINED_PARAMETER = "42P02";
    /// The database exists already.
    DUPLICATE_DATABASE = "42P04";
    /// The prepared statement exists already.
    DUPLICATE_PREPARED_STATEMENT = "42P05";
    /// The schema exists already.
    DUPLICATE_SCHEMA = "42P06";
    /// The table exists already.
    DUPLICATE_TABLE = "42P07";
    /// A table definition that is not possible.
    INVALID_TABLE_DEFINITION = "42P16";
    /// The type of a parameter cannot be found out.
    INDETERMINATE_DATATYPE = "42P18";
    /// No space left on the disk.
    DISK_FULL = "53100";
    /// The statement's share of memory is used up.
    OUT_OF_MEMORY = "53200";
    /// No more connections.
    TOO_MANY_CONNECTIONS = "53300";
    /// A configured limit is reached.
    CONFIGURATION_LIMIT_EXCEEDED = "53400";
    /// Larger than the program can do.
    PROGRAM_LIMIT_EXCEEDED = "54000";
    /// The statement is nested too deep.
    STATEMENT_TOO_COMPLEX = "54001";
    /// Too many columns.
    TOO_MANY_COLUMNS = "54011";
    /// The thing is not in a state in which this can be done to it.
    OBJECT_NOT_IN_PREREQUISITE_STATE = "55000";
    /// The thing is in use.
    OBJECT_IN_USE = "55006";
    /// The variable cannot be changed.
    CANT_CHANGE_RUNTIME_PARAM = "55P02";
    /// Somebody holds what is needed.
    LOCK_NOT_AVAILABLE = "55P03";
    /// The client, a time limit or CANCEL ended it.
    QUERY_CANCELED = "57014";
    /// The database is shutting down.
    ADMIN_SHUTDOWN = "57P01";
    /// The database does not accept connections yet.
    CANNOT_CONNECT_NOW = "57P03";
    /// The operating system refused a read or a write.
    IO_ERROR = "58030";
    /// No such file.
    UNDEFINED_FILE = "58P01";
    /// A mistake of ours.
    INTERNAL_ERROR = "XX000";
    /// What is stored is not what was written.
    DATA_CORRUPTED = "XX001";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_five_characters_and_no_code_has_two_names() {
        let mut sorted = ALL.to_vec();
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(ALL.iter().all(|code| code.len() == 5
            && code.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())));
        assert_eq!((find("55000"), find("99999")), (Some(OBJECT_NOT_IN_PREREQUISITE_STATE), None));
    }
}
