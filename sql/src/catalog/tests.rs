use cairn_engine::envelope::kind;
use cairn_engine::key::Direction;
use cairn_engine::{Engine, EngineError, Family, Options, SpanFamily, SpanId, Sync};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::names::{ADMIN_ROLE, DEFAULT_DATABASE, PUBLIC_SCHEMA, ROOT_USER};
use super::*;
use crate::error::code;
use crate::value::ColumnType;

const NOW_MS: u64 = 1_700_000_000_000;

struct Store {
    folder: tempfile::TempDir,
    engine: Engine,
    catalog: Catalog,
}

fn setup() -> Store {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(Options::small(folder.path())).unwrap();
    let catalog = Catalog::open(&engine).unwrap();
    Store { folder, engine, catalog }
}

impl Store {
    fn reopen(self) -> Self {
        let Self { folder, engine, catalog } = self;
        engine.shutdown();
        drop((catalog, engine));
        let engine = Engine::open(Options::small(folder.path())).unwrap();
        let catalog = Catalog::open(&engine).unwrap();
        Self { folder, engine, catalog }
    }

    /// Runs a statement in `defaultdb` with search path `public`. Answers notices.
    fn run(&self, sql: &str) -> Result<Vec<String>> {
        let ddl = self.translate(sql)?;
        self.catalog.change_synced(|change| ddl.apply(change, NOW_MS))
    }

    fn translate(&self, sql: &str) -> Result<Ddl> {
        let statement = Parser::new(&PostgreSqlDialect {})
            .try_with_sql(sql)
            .unwrap()
            .parse_statement()
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        let search_path = [PUBLIC_SCHEMA.to_owned()];
        let around = Surroundings { database: DEFAULT_DATABASE, search_path: &search_path };
        let ddl = Ddl::translate(&statement, &around, &self.catalog.current())?;
        Ok(ddl.unwrap_or_else(|| panic!("{sql} is not translated")))
    }

    fn table(&self, name: &str) -> Option<Arc<TableDescriptor>> {
        self.catalog.current().table_named(DEFAULT_DATABASE, PUBLIC_SCHEMA, name)
    }

    fn refused(&self, sql: &str, code: &str, message: &str) {
        let before = self.catalog.current().generation();
        let error = self.run(sql).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (code, message), "{sql}");
        assert_eq!(self.catalog.current().generation(), before, "{sql} changed something");
    }

    fn condemned(&self) -> Vec<SpanId> {
        let all = self.engine.reclaimer().status();
        all.into_iter().map(|status| status.tombstone.id).collect()
    }
}

#[test]
fn a_new_store_has_a_database_a_schema_and_root_in_admin() {
    for reopened in [false, true] {
        let store = if reopened { setup().reopen() } else { setup() };
        let now = store.catalog.current();
        let names = |all: Vec<Arc<DatabaseDescriptor>>| -> Vec<String> {
            all.iter().map(|database| database.name.clone()).collect()
        };
        assert_eq!(names(now.databases()), [DEFAULT_DATABASE]);
        assert_eq!(now.schemas(DEFAULT_DATABASE).len(), 1);
        assert!(now.is_admin(ROOT_USER) && now.user(ROOT_USER).unwrap().can_login);
        assert!(!now.user(ADMIN_ROLE).unwrap().can_login);
        assert_eq!(now.roles_of(ROOT_USER), [ADMIN_ROLE]);
        assert!(now.damage().is_empty());
    }
}

#[test]
fn a_table_survives_a_restart_with_all_it_is() {
    let store = setup();
    store
        .run(
            "CREATE TABLE T (a INT, \"B c\" VARCHAR(5) NOT NULL DEFAULT 'x', d DECIMAL(10,2) DEFAULT 1.5, \
             at TIMESTAMPTZ, PRIMARY KEY (a, d DESC))",
        )
        .unwrap();
    let before = store.table("t").unwrap();
    let store = store.reopen();
    let table = store.table("t").unwrap();
    assert_eq!(table, before);
    assert_eq!((table.version, table.schema_version, table.next_column_id), (1, 1, 5));
    let columns: Vec<(u32, &str, ColumnType, bool, Option<&str>)> = table
        .columns
        .iter()
        .map(|c| (c.id, c.name.as_str(), c.ty, c.nullable, c.default.as_deref()))
        .collect();
    assert_eq!(
        columns,
        [
            (1, "a", ColumnType::Int8, false, None),
            (2, "B c", ColumnType::Varchar(5), false, Some("'x'")),
            (3, "d", ColumnType::Decimal { precision: 10, scale: 2 }, false, Some("1.50")),
            (4, "at", ColumnType::TimestampTz, true, None),
        ]
    );
    assert_eq!(table.columns[2].default_datum().unwrap().to_string(), "1.50");
    let key: Vec<(&str, Direction)> =
        table.key_columns().map(|(column, way)| (column.name.as_str(), way)).collect();
    assert_eq!(key, [("a", Direction::Asc), ("d", Direction::Desc)]);
    assert_eq!(
        show_create_table(&store.catalog.current(), &table),
        "CREATE TABLE public.t (\n\ta INT8 NOT NULL,\n\t\"B c\" VARCHAR(5) NOT NULL DEFAULT 'x',\n\t\
         d DECIMAL(10,2) NOT NULL DEFAULT 1.50,\n\tat TIMESTAMPTZ NULL,\n\t\
         CONSTRAINT t_pkey PRIMARY KEY (a ASC, d DESC)\n)"
    );
    assert_eq!(store.catalog.current().full_name(&table), "defaultdb.public.t");
    assert_eq!(
        store.catalog.current().published_spans(),
        [(table.primary.home, SpanFamily::Rows)].into()
    );
}

#[test]
fn what_show_create_table_writes_makes_the_same_table() {
    let store = setup();
    store
        .run(
            "CREATE TABLE \"Order\" (\"select\" INT2 NOT NULL DEFAULT -1, b BOOL DEFAULT true, \
             f FLOAT DEFAULT 1e20, n NUMERIC(5), s STRING DEFAULT 'it''s', c CHAR(3), \
             d DATE DEFAULT '2024-01-31', at TIMESTAMP WITH TIME ZONE DEFAULT '2024-01-31 12:00+02')",
        )
        .unwrap();
    let table = store.table("Order").unwrap();
    let text = show_create_table(&store.catalog.current(), &table);
    store.run("DROP TABLE \"Order\"").unwrap();
    store.run(&text).unwrap();
    let again = store.table("Order").unwrap();
    assert_eq!(
        (&again.columns, &again.primary.key),
        (&table.columns, &table.primary.key),
        "{text}"
    );
    assert_eq!(show_create_table(&store.catalog.current(), &again), text);
}

#[test]
fn types_mean_what_cockroachdb_means() {
    use ColumnType::{Bool, Date, Decimal, Float8, Int2, Int4, Int8, Text, TimestampTz, Varchar};
    let store = setup();
    for (number, (name, expect)) in [
        ("INT", Int8),
        ("INTEGER", Int8),
        ("BIGINT", Int8),
        ("INT8", Int8),
        ("INT64", Int8),
        ("INT4", Int4),
        ("INT2", Int2),
        ("SMALLINT", Int2),
        ("FLOAT", Float8),
        ("FLOAT8", Float8),
        ("DOUBLE PRECISION", Float8),
        ("DECIMAL(10,2)", Decimal { precision: 10, scale: 2 }),
        ("NUMERIC(38)", Decimal { precision: 38, scale: 0 }),
        ("DEC(1,1)", Decimal { precision: 1, scale: 1 }),
        ("BOOL", Bool),
        ("BOOLEAN", Bool),
        ("STRING", Text),
        ("TEXT", Text),
        ("VARCHAR", Text),
        ("VARCHAR(10)", Varchar(10)),
        ("CHARACTER VARYING(10)", Varchar(10)),
        ("STRING(7)", Varchar(7)),
        ("CHAR(2)", Varchar(2)),
        ("CHAR", Varchar(1)),
        ("DATE", Date),
        ("TIMESTAMPTZ", TimestampTz),
        ("TIMESTAMP WITH TIME ZONE", TimestampTz),
    ]
    .into_iter()
    .enumerate()
    {
        store
            .run(&format!("CREATE TABLE t{number} (a {name})"))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(store.table(&format!("t{number}")).unwrap().columns[0].ty, expect, "{name}");
    }
    for (name, code) in [
        ("FOO", code::UNDEFINED_OBJECT),
        ("FLOAT4", code::FEATURE_NOT_SUPPORTED),
        ("REAL", code::FEATURE_NOT_SUPPORTED),
        ("TIMESTAMP", code::FEATURE_NOT_SUPPORTED),
        ("DECIMAL", code::FEATURE_NOT_SUPPORTED),
        ("JSONB", code::FEATURE_NOT_SUPPORTED),
        ("UUID", code::FEATURE_NOT_SUPPORTED),
        ("INTERVAL", code::FEATURE_NOT_SUPPORTED),
        ("INT[]", code::FEATURE_NOT_SUPPORTED),
        ("SERIAL", code::FEATURE_NOT_SUPPORTED),
        ("BYTEA", code::FEATURE_NOT_SUPPORTED),
        ("DECIMAL(39)", code::INVALID_PARAMETER_VALUE),
        ("DECIMAL(3,4)", code::INVALID_PARAMETER_VALUE),
        ("VARCHAR(0)", code::INVALID_PARAMETER_VALUE),
    ] {
        let error = store.run(&format!("CREATE TABLE x (a {name})")).unwrap_err();
        assert_eq!(error.code, code, "{name}: {error}");
        assert!(error.hint.is_some() || error.code == code::INVALID_PARAMETER_VALUE, "{name}");
    }
}

#[test]
fn statements_that_cannot_be_are_refused_and_change_nothing() {
    let store = setup();
    store.run("CREATE TABLE t (a INT PRIMARY KEY)").unwrap();
    store.run("CREATE SCHEMA s").unwrap();
    store.run("CREATE TABLE s.inside (a INT)").unwrap();
    store.run("CREATE DATABASE other").unwrap();
    store.run("CREATE TABLE other.public.far (a INT)").unwrap();
    let cases = [
        ("CREATE TABLE t (a INT)", "42P07", "relation \"t\" already exists"),
        ("CREATE TABLE x (a INT, A INT)", "42701", "column \"a\" specified more than once"),
        ("CREATE TABLE x ()", "42P16", "table \"x\" must have at least one column"),
        (
            "CREATE TABLE x (a INT PRIMARY KEY, b INT PRIMARY KEY)",
            "42P16",
            "multiple primary keys for table \"x\" are not allowed",
        ),
        (
            "CREATE TABLE x (a INT PRIMARY KEY, PRIMARY KEY (a))",
            "42P16",
            "multiple primary keys for table \"x\" are not allowed",
        ),
        (
            "CREATE TABLE x (a INT, PRIMARY KEY (b))",
            "42703",
            "column \"b\" named in key does not exist",
        ),
        (
            "CREATE TABLE x (a INT, PRIMARY KEY (a, a))",
            "42701",
            "column \"a\" appears twice in primary key constraint",
        ),
        (
            "CREATE TABLE x (a INT NULL NOT NULL)",
            "42601",
            "conflicting NULL/NOT NULL declarations for column \"a\" of table \"x\"",
        ),
        ("CREATE TABLE x (a INT UNIQUE)", "0A000", "UNIQUE is not supported yet"),
        ("CREATE TABLE x (a INT CHECK (a > 0))", "0A000", "CHECK is not supported yet"),
        ("CREATE TABLE x (a INT REFERENCES t (a))", "0A000", "REFERENCES is not supported yet"),
        ("CREATE TABLE x (a INT, UNIQUE (a))", "0A000", "UNIQUE is not supported yet"),
        ("CREATE TABLE x AS SELECT 1", "0A000", "CREATE TABLE ... AS is not supported yet"),
        ("CREATE TEMP TABLE x (a INT)", "0A000", "a temporary table is not supported yet"),
        (
            "CREATE TABLE x (a INT DEFAULT 'y')",
            "22P02",
            "invalid input syntax for type bigint: \"y\"",
        ),
        ("CREATE TABLE nowhere.x (a INT)", "3F000", "schema \"nowhere\" does not exist"),
        ("CREATE TABLE nowhere.public.x (a INT)", "3D000", "database \"nowhere\" does not exist"),
        ("CREATE TABLE pg_catalog.x (a INT)", "42501", "schema \"pg_catalog\" cannot be modified"),
        ("CREATE SCHEMA s", "42P06", "schema \"s\" already exists"),
        ("CREATE SCHEMA pg_mine", "42939", "unacceptable schema name \"pg_mine\""),
        ("CREATE DATABASE other", "42P04", "database \"other\" already exists"),
        ("DROP TABLE x", "42P01", "relation \"x\" does not exist"),
        ("DROP TABLE t, x", "42P01", "relation \"x\" does not exist"),
        (
            "DROP TABLE pg_catalog.pg_class",
            "42809",
            "\"pg_catalog.pg_class\" is a listing and cannot be changed",
        ),
        ("DROP SCHEMA x", "3F000", "schema \"x\" does not exist"),
        ("DROP SCHEMA public CASCADE", "3F000", "cannot drop schema \"public\""),
        ("DROP SCHEMA s", "2BP01", "cannot drop schema s because other objects depend on it"),
        ("DROP DATABASE x", "3D000", "database \"x\" does not exist"),
        ("DROP DATABASE defaultdb", "55006", "cannot drop the currently open database"),
        (
            "DROP DATABASE other RESTRICT",
            "2BP01",
            "cannot drop database other because other objects depend on it",
        ),
        ("TRUNCATE x", "42P01", "relation \"x\" does not exist"),
        ("DROP VIEW x", "0A000", "DROP VIEW is not supported yet"),
        ("ALTER TABLE t ADD COLUMN b INT", "0A000", "ALTER TABLE is not supported yet"),
        ("CREATE INDEX ON t (a)", "0A000", "CREATE INDEX is not supported yet"),
    ];
    for (sql, code, message) in cases {
        store.refused(sql, code, message);
    }
    let long = format!("CREATE TABLE {} (a INT)", "x".repeat(64));
    assert_eq!(store.run(&long).unwrap_err().code, code::NAME_TOO_LONG);
    assert!(store.condemned().is_empty());
}

#[test]
fn if_exists_and_if_not_exists_pass_over_with_a_notice() {
    let store = setup();
    store.run("CREATE TABLE t (a INT)").unwrap();
    for (sql, notice) in [
        ("CREATE TABLE IF NOT EXISTS t (b INT)", "relation \"t\" already exists, skipping"),
        ("CREATE SCHEMA IF NOT EXISTS public_", ""),
        ("CREATE SCHEMA IF NOT EXISTS public_", "schema \"public_\" already exists, skipping"),
        (
            "CREATE DATABASE IF NOT EXISTS defaultdb",
            "database \"defaultdb\" already exists, skipping",
        ),
        ("DROP TABLE IF EXISTS x", "table \"x\" does not exist, skipping"),
        ("DROP SCHEMA IF EXISTS x", "schema \"x\" does not exist, skipping"),
        ("DROP DATABASE IF EXISTS x", "database \"x\" does not exist, skipping"),
        ("TRUNCATE TABLE t", ""),
    ] {
        let notices = store.run(sql).unwrap();
        assert_eq!(notices.join("|"), notice, "{sql}");
    }
}

#[test]
fn dropping_condemns_the_spans_in_the_same_batch() {
    let store = setup();
    store.engine.reclaimer().pause(true);
    store.run("CREATE TABLE t (a INT)").unwrap();
    store.run("CREATE DATABASE other").unwrap();
    store.run("CREATE SCHEMA other.s").unwrap();
    store.run("CREATE TABLE other.s.u (a INT)").unwrap();
    let t = store.table("t").unwrap();
    let bulk = BulkSpan {
        id: store.engine.new_span_id().unwrap(),
        first_key: vec![1].into(),
        last_key: vec![9].into(),
        rows: 5,
        bytes: 100,
    };
    assert!(bulk.may_hold(&[1]) && bulk.may_hold(&[9]) && !bulk.may_hold(&[9, 0]));
    let published =
        store.catalog.change_synced(|change| change.add_span(t.id, bulk.clone())).unwrap();
    assert_eq!((published.version, published.all_spans().len()), (2, 2));
    let u = store.catalog.current().table_named("other", "s", "u").unwrap();

    store.run("DROP TABLE t").unwrap();
    assert!(store.table("t").is_none());
    assert_eq!(store.condemned(), [t.primary.home, bulk.id]);
    store.run("DROP DATABASE other").unwrap();
    let now = store.catalog.current();
    assert!(now.database("other").is_none() && now.table(u.id).is_none());
    assert!(now.published_spans().is_empty());
    assert_eq!(store.condemned().len(), 3);

    let store = store.reopen();
    assert!(store.table("t").is_none() && store.catalog.current().damage().is_empty());
    let left: Vec<_> = store.engine.records(Family::Catalog, b"n").unwrap();
    assert_eq!(left.len(), 2, "the names of defaultdb and public");
}

#[test]
fn truncating_gives_a_new_home_and_a_new_version() {
    let store = setup();
    store.engine.reclaimer().pause(true);
    store.run("CREATE TABLE t (a INT)").unwrap();
    let before = store.table("t").unwrap();
    store.run("TRUNCATE t, t").unwrap();
    let after = store.table("t").unwrap();
    assert_eq!((after.id, after.version), (before.id, before.version + 1));
    assert_ne!(after.primary.home, before.primary.home);
    assert_eq!(store.condemned(), [before.primary.home]);
}

#[test]
fn a_table_has_at_most_eight_bulk_spans() {
    let store = setup();
    store.run("CREATE TABLE t (a INT)").unwrap();
    let id = store.table("t").unwrap().id;
    let add = |number: u64| {
        let span = BulkSpan {
            id: SpanId::from_raw(1_000_000 + number),
            first_key: vec![1].into(),
            last_key: vec![1].into(),
            rows: 1,
            bytes: 1,
        };
        store.catalog.change_synced(|change| change.add_span(id, span))
    };
    for number in 0..8 {
        add(number).unwrap();
    }
    assert_eq!(add(8).unwrap_err().code, code::PROGRAM_LIMIT_EXCEEDED);
    assert_eq!(store.table("t").unwrap().primary.spans.len(), 8);
}

#[test]
fn what_was_made_meanwhile_is_not_dropped_without_its_latch() {
    let store = setup();
    store.run("CREATE SCHEMA s").unwrap();
    store.run("CREATE TABLE s.a (a INT)").unwrap();
    let drop = store.translate("DROP SCHEMA s CASCADE").unwrap();
    assert_eq!(drop.tables().len(), 1);
    store.run("CREATE TABLE s.b (a INT)").unwrap();
    let result = store.catalog.change_synced(|change| drop.apply(change, NOW_MS));
    assert_eq!(result.unwrap_err().code, code::SERIALIZATION_FAILURE);
    let again = store.translate("DROP SCHEMA s CASCADE").unwrap();
    assert_eq!(again.tables().len(), 2);
    store.catalog.change_synced(|change| again.apply(change, NOW_MS)).unwrap();
    let late = store.catalog.change_synced(|change| again.apply(change, NOW_MS));
    assert_eq!(late.unwrap_err().code, code::SERIALIZATION_FAILURE);
}

#[test]
fn a_refused_commit_leaves_the_catalog_as_it_was() {
    let store = setup();
    let refused: Result<u64> = store.catalog.change(
        |change| change.create_database("ghost"),
        |_batch| Err(SqlError::wrong_state("cancelled")),
    );
    assert_eq!(refused.unwrap_err().message, "cancelled");
    assert!(store.catalog.current().database("ghost").is_none());
    // An error after the batch was applied: the catalog shows what the store has.
    let engine = store.engine.clone();
    let late: Result<u64> = store.catalog.change(
        |change| change.create_database("late"),
        |batch| {
            engine.commit(batch, Sync::Yes)?;
            Err(EngineError::Storage("lost the answer".to_owned()).into())
        },
    );
    assert!(late.is_err());
    assert!(store.catalog.current().database("late").is_some());
    assert!(store.catalog.change_synced(|change| change.create_database("late")).is_err());
}

#[test]
fn a_view_and_its_catalog_are_of_one_moment() {
    let store = setup();
    let writer = {
        let (catalog, engine) = (store.catalog.clone(), store.engine.clone());
        std::thread::spawn(move || {
            for number in 0..50_u8 {
                let made: Result<u64> = catalog.change(
                    |change| {
                        change.batch_mut().put_record(
                            Family::Catalog,
                            b"test",
                            kind::STATISTICS,
                            &[number],
                        );
                        change.create_database(&format!("d{number:02}"))
                    },
                    |batch| Ok(engine.commit(batch, Sync::No)?),
                );
                made.unwrap();
            }
        })
    };
    let mut seen = 0;
    while seen < 50 {
        let (now, view) = store.catalog.read_view(&store.engine);
        let databases = now.databases().len() - 1;
        let record = view.get_record(Family::Catalog, b"test", kind::STATISTICS).unwrap();
        let written = record.map_or(0, |body| usize::from(body[0]) + 1);
        assert_eq!(databases, written);
        seen = databases;
    }
    writer.join().unwrap();
}

#[test]
fn a_damaged_record_is_left_out_and_its_name_stays_taken() {
    let store = setup();
    store.run("CREATE TABLE t (a INT)").unwrap();
    store.run("CREATE TABLE u (a INT)").unwrap();
    let t = store.table("t").unwrap();
    let mut batch = cairn_engine::Batch::new();
    let key = crate::descriptor::record::descriptor_key(t.id);
    batch.put_record(Family::Catalog, &key, kind::TABLE, b"\xff\xff");
    store.engine.commit(batch, Sync::Yes).unwrap();
    let store = store.reopen();
    assert_eq!(store.catalog.current().damage().len(), 1);
    assert!(store.table("t").is_none() && store.table("u").is_some());
    assert_eq!(store.run("CREATE TABLE t (a INT)").unwrap_err().code, code::DUPLICATE_TABLE);
    let parts = ["t".to_owned()];
    let path = [PUBLIC_SCHEMA.to_owned()];
    let found = store.catalog.current().expect_table(&parts, DEFAULT_DATABASE, &path);
    assert_eq!(found.unwrap_err().code, code::DATA_CORRUPTED);
    assert_eq!(store.run("DROP TABLE t").unwrap_err().code, code::DATA_CORRUPTED);
}

#[test]
fn names_are_found_through_the_search_path() {
    let store = setup();
    store.run("CREATE SCHEMA s").unwrap();
    store.run("CREATE TABLE s.t (a INT)").unwrap();
    store.run("CREATE TABLE t (a INT)").unwrap();
    store.run("CREATE DATABASE other").unwrap();
    store.run("CREATE TABLE other.t (a INT)").unwrap();
    let now = store.catalog.current();
    let find = |name: &str, path: &[&str]| {
        let parts: Vec<String> = name.split('.').map(str::to_owned).collect();
        let path: Vec<String> = path.iter().map(|schema| (*schema).to_owned()).collect();
        now.expect_table(&parts, DEFAULT_DATABASE, &path).map(|table| now.full_name(&table))
    };
    assert_eq!(find("t", &["public"]).unwrap(), "defaultdb.public.t");
    assert_eq!(find("t", &["nowhere", "s", "public"]).unwrap(), "defaultdb.s.t");
    assert_eq!(find("s.t", &["public"]).unwrap(), "defaultdb.s.t");
    assert_eq!(find("other.t", &["public"]).unwrap(), "other.public.t");
    assert_eq!(find("other.public.t", &[]).unwrap(), "other.public.t");
    assert_eq!(find("t", &[]).unwrap_err().code, code::UNDEFINED_TABLE);
    assert_eq!(find("x.public.t", &[]).unwrap_err().code, code::INVALID_CATALOG_NAME);
    assert_eq!(find("a.b.c.d", &[]).unwrap_err().code, code::SYNTAX_ERROR);
}

#[test]
fn a_table_that_is_offline_keeps_its_name_and_is_not_read() {
    let store = setup();
    store.run("CREATE TABLE t (a INT)").unwrap();
    let id = store.table("t").unwrap().id;
    store
        .catalog
        .change_synced(|change| change.set_table_state(id, DescriptorState::Offline))
        .unwrap();
    let store = store.reopen();
    assert!(store.table("t").is_none());
    let now = store.catalog.current();
    let (parts, path) = (["t".to_owned()], [PUBLIC_SCHEMA.to_owned()]);
    let error = now.expect_table(&parts, DEFAULT_DATABASE, &path).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), ("55000", "relation \"t\" is offline"));
    assert_eq!(store.run("CREATE TABLE t (a INT)").unwrap_err().code, code::DUPLICATE_TABLE);
    store.run("DROP TABLE t").unwrap();
}

#[test]
fn users_and_roles_survive_a_restart() {
    let store = setup();
    let change =
        |f: &dyn Fn(&mut CatalogChange<'_>) -> Result<bool>| store.catalog.change_synced(f);
    change(&|c| c.create_user("maxroach", true).map(|()| true)).unwrap();
    change(&|c| c.create_user("ops", false).map(|()| true)).unwrap();
    assert!(change(&|c| c.grant_role("ops", "maxroach")).unwrap());
    assert!(!change(&|c| c.grant_role("ops", "maxroach")).unwrap());
    assert!(change(&|c| c.grant_role("admin", "ops")).unwrap());
    let refused = |f: &dyn Fn(&mut CatalogChange<'_>) -> Result<bool>| change(f).unwrap_err().code;
    assert_eq!(refused(&|c| c.create_user("ops", true).map(|()| true)), code::DUPLICATE_OBJECT);
    assert_eq!(refused(&|c| c.create_user("Max", true).map(|()| true)), code::INVALID_NAME);
    assert_eq!(refused(&|c| c.grant_role("nobody", "ops")), code::UNDEFINED_OBJECT);
    assert_eq!(refused(&|c| c.grant_role("maxroach", "admin")), code::INVALID_GRANT_OPERATION);
    assert_eq!(refused(&|c| c.grant_role("ops", "ops")), code::INVALID_GRANT_OPERATION);
    assert_eq!(refused(&|c| c.revoke_role("admin", "root")), code::INSUFFICIENT_PRIVILEGE);
    assert_eq!(refused(&|c| c.drop_user("root").map(|()| true)), code::INSUFFICIENT_PRIVILEGE);
    let store = store.reopen();
    assert!(store.catalog.current().is_admin("maxroach"));
    store.catalog.change_synced(|c| c.drop_user("ops")).unwrap();
    let store = store.reopen();
    let now = store.catalog.current();
    assert!(
        now.user("ops").is_none()
            && !now.is_admin("maxroach")
            && now.roles_of("maxroach").is_empty()
    );
}

#[test]
fn a_table_latch_is_one_for_all_who_hold_it() {
    let store = setup();
    let held = store.catalog.table_latch(7);
    assert!(Arc::ptr_eq(&held, &store.catalog.table_latch(7)));
    assert!(!Arc::ptr_eq(&held, &store.catalog.table_latch(8)));
    for id in 100..1000 {
        drop(store.catalog.table_latch(id));
    }
    assert!(Arc::ptr_eq(&held, &store.catalog.table_latch(7)));
    assert!(store.catalog.0.latches.lock().unwrap().len() <= LATCHES_KEPT + 1);
}
