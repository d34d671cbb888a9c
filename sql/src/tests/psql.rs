//! The catalog queries of psql 15: `\d`, `\dt`, `\l`, `\du`, `\dn` and friends, as it sends them.

use super::Fresh;

const TABLES: &str = r#"SELECT n.nspname as "Schema",
  c.relname as "Name",
  CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'i' THEN 'index' WHEN 'S' THEN 'sequence' WHEN 't' THEN 'TOAST table' WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partitioned table' WHEN 'I' THEN 'partitioned index' END as "Type",
  pg_catalog.pg_get_userbyid(c.relowner) as "Owner"
FROM pg_catalog.pg_class c
     LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
WHERE c.relkind IN ('r','p','v','m','S','f','')
      AND n.nspname <> 'pg_catalog'
      AND n.nspname !~ '^pg_toast'
      AND n.nspname <> 'information_schema'
  AND pg_catalog.pg_table_is_visible(c.oid)
ORDER BY 1,2;"#;

const FIND: &str = r"SELECT c.oid,
  n.nspname,
  c.relname
FROM pg_catalog.pg_class c
     LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname OPERATOR(pg_catalog.~) '^(t)$' COLLATE pg_catalog.default
  AND pg_catalog.pg_table_is_visible(c.oid)
ORDER BY 2, 3;";

const ABOUT: &str = r"SELECT c.relchecks, c.relkind, c.relhasindex, c.relhasrules, c.relhastriggers, c.relrowsecurity, c.relforcerowsecurity, false AS relhasoids, c.relispartition, '', c.reltablespace, CASE WHEN c.reloftype = 0 THEN '' ELSE c.reloftype::pg_catalog.regtype::pg_catalog.text END, c.relpersistence, c.relreplident, am.amname
FROM pg_catalog.pg_class c
 LEFT JOIN pg_catalog.pg_class tc ON (c.reltoastrelid = tc.oid)
LEFT JOIN pg_catalog.pg_am am ON (c.relam = am.oid)
WHERE c.oid = 'OID';";

const COLUMNS: &str = r"SELECT a.attname,
  pg_catalog.format_type(a.atttypid, a.atttypmod),
  (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true)
   FROM pg_catalog.pg_attrdef d
   WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef),
  a.attnotnull,
  (SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t
   WHERE c.oid = a.attcollation AND t.oid = a.atttypid AND a.attcollation <> t.typcollation) AS attcollation,
  a.attidentity,
  a.attgenerated
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = 'OID' AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum;";

const INDEXES: &str = r"SELECT c2.relname, i.indisprimary, i.indisunique, i.indisclustered, i.indisvalid, pg_catalog.pg_get_indexdef(i.indexrelid, 0, true),
  pg_catalog.pg_get_constraintdef(con.oid, true), contype, condeferrable, condeferred, i.indisreplident, c2.reltablespace
FROM pg_catalog.pg_class c, pg_catalog.pg_class c2, pg_catalog.pg_index i
  LEFT JOIN pg_catalog.pg_constraint con ON (conrelid = i.indrelid AND conindid = i.indexrelid AND contype IN ('p','u','x'))
WHERE c.oid = 'OID' AND c.oid = i.indrelid AND i.indexrelid = c2.oid
ORDER BY i.indisprimary DESC, c2.relname;";

/// What psql asks about a table after its columns; all of it answers no rows here.
const NOTHING: [&str; 5] = [
    r"SELECT pol.polname, pol.polpermissive,
  CASE WHEN pol.polroles = '{0}' THEN NULL ELSE pg_catalog.array_to_string(array(select rolname from pg_catalog.pg_roles where oid = any (pol.polroles) order by 1),',') END,
  pg_catalog.pg_get_expr(pol.polqual, pol.polrelid),
  pg_catalog.pg_get_expr(pol.polwithcheck, pol.polrelid),
  CASE pol.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' END AS cmd
FROM pg_catalog.pg_policy pol
WHERE pol.polrelid = 'OID' ORDER BY 1;",
    r"SELECT oid, stxrelid::pg_catalog.regclass, stxnamespace::pg_catalog.regnamespace::pg_catalog.text AS nsp, stxname,
pg_catalog.pg_get_statisticsobjdef_columns(oid) AS columns,
  'd' = any(stxkind) AS ndist_enabled,
  'f' = any(stxkind) AS deps_enabled,
  'm' = any(stxkind) AS mcv_enabled,
stxstattarget
FROM pg_catalog.pg_statistic_ext
WHERE stxrelid = 'OID'
ORDER BY nsp, stxname;",
    r"SELECT pubname
     , NULL
     , NULL
FROM pg_catalog.pg_publication p
     JOIN pg_catalog.pg_publication_namespace pn ON p.oid = pn.pnpubid
     JOIN pg_catalog.pg_class pc ON pc.relnamespace = pn.pnnspid
WHERE pc.oid ='OID' and pg_catalog.pg_relation_is_publishable('OID')
UNION
SELECT pubname
     , pg_get_expr(pr.prqual, c.oid)
     , (CASE WHEN pr.prattrs IS NOT NULL THEN
         (SELECT string_agg(attname, ', ')
           FROM pg_catalog.generate_series(0, pg_catalog.array_upper(pr.prattrs::pg_catalog.int2[], 1)) s,
                pg_catalog.pg_attribute
          WHERE attrelid = pr.prrelid AND attnum = prattrs[s])
        ELSE NULL END) FROM pg_catalog.pg_publication p
     JOIN pg_catalog.pg_publication_rel pr ON p.oid = pr.prpubid
     JOIN pg_catalog.pg_class c ON c.oid = pr.prrelid
WHERE pr.prrelid = 'OID'
UNION
SELECT pubname
     , NULL
     , NULL
FROM pg_catalog.pg_publication p
WHERE p.puballtables AND pg_catalog.pg_relation_is_publishable('OID')
ORDER BY 1;",
    r"SELECT c.oid::pg_catalog.regclass
FROM pg_catalog.pg_class c, pg_catalog.pg_inherits i
WHERE c.oid = i.inhparent AND i.inhrelid = 'OID'
  AND c.relkind != 'p' AND c.relkind != 'I'
ORDER BY inhseqno;",
    r"SELECT c.oid::pg_catalog.regclass, c.relkind, inhdetachpending, pg_catalog.pg_get_expr(c.relpartbound, c.oid)
FROM pg_catalog.pg_class c, pg_catalog.pg_inherits i
WHERE c.oid = i.inhrelid AND i.inhparent = 'OID'
ORDER BY pg_catalog.pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT', c.oid::pg_catalog.regclass::pg_catalog.text;",
];

#[tokio::test]
async fn backslash_d_lists_and_describes_tables() {
    let fresh = Fresh::new();
    let root = fresh.root();
    root.run("CREATE TABLE t (a INT8, b TEXT NOT NULL DEFAULT 'x', c DECIMAL(10,2), PRIMARY KEY (a, b DESC))").await;
    root.run("CREATE TABLE plain (v VARCHAR(7))").await;
    assert_eq!(
        root.rows(TABLES).await,
        [["public", "plain", "table", "root"], ["public", "t", "table", "root"]]
    );
    let found = root.rows(FIND).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0][1..], ["public", "t"]);
    let about = |sql: &str| sql.replace("OID", &found[0][0]);
    let row = root.rows(&about(ABOUT)).await;
    assert_eq!(row.len(), 1);
    assert_eq!(row[0][1..3], ["r", "true"]);
    assert_eq!(row[0][14], "heap");
    assert_eq!(
        root.rows(&about(COLUMNS)).await,
        [
            ["a", "bigint", "NULL", "true", "NULL", "", ""],
            ["b", "text", "'x'", "true", "NULL", "", ""],
            ["c", "numeric(10,2)", "NULL", "false", "NULL", "", ""],
        ]
    );
    let index = root.rows(&about(INDEXES)).await;
    assert_eq!(index.len(), 1);
    assert_eq!(
        index[0][..7],
        [
            "t_pkey",
            "true",
            "true",
            "false",
            "true",
            "CREATE UNIQUE INDEX t_pkey ON public.t USING btree (a, b DESC)",
            "PRIMARY KEY (a, b DESC)",
        ]
    );
    let plus = about(ABOUT).replace(
        "'', c.reltablespace",
        "pg_catalog.array_to_string(c.reloptions || array(select 'toast.' || x \
         from pg_catalog.unnest(tc.reloptions) x), ', '), c.reltablespace",
    );
    assert_eq!(root.rows(&plus).await.len(), 1);
    for sql in NOTHING {
        assert!(root.rows(&about(sql)).await.is_empty(), "{sql}");
    }
}

#[tokio::test]
async fn databases_users_and_schemas_are_listed() {
    let fresh = Fresh::new();
    let root = fresh.root();
    root.run("CREATE USER max").await;
    let databases = root
        .rows(
            r#"SELECT d.datname as "Name",
       pg_catalog.pg_get_userbyid(d.datdba) as "Owner",
       pg_catalog.pg_encoding_to_char(d.encoding) as "Encoding",
       d.datcollate as "Collate",
       d.datctype as "Ctype",
       d.daticulocale as "ICU Locale",
       CASE d.datlocprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' END AS "Locale Provider",
       pg_catalog.array_to_string(d.datacl, E'\n') AS "Access privileges"
FROM pg_catalog.pg_database d
ORDER BY 1;"#,
        )
        .await;
    assert_eq!(databases[0][..3], ["defaultdb", "root", "UTF8"]);
    let users = root
        .rows(
            r"SELECT r.rolname, r.rolsuper, r.rolinherit,
  r.rolcreaterole, r.rolcreatedb, r.rolcanlogin,
  r.rolconnlimit, r.rolvaliduntil,
  ARRAY(SELECT b.rolname
        FROM pg_catalog.pg_auth_members m
        JOIN pg_catalog.pg_roles b ON (m.roleid = b.oid)
        WHERE m.member = r.oid) as memberof
, r.rolreplication
, r.rolbypassrls
FROM pg_catalog.pg_roles r
WHERE r.rolname !~ '^pg_'
ORDER BY 1;",
        )
        .await;
    let of = |name: &str| users.iter().find(|user| user[0] == name).cloned().unwrap_or_default();
    assert_eq!(of("max")[1], "false");
    assert_eq!((of("root")[1].as_str(), of("root")[8].as_str()), ("true", "[admin]"));
    let schemas = root
        .rows(
            r#"SELECT n.nspname AS "Name",
  pg_catalog.pg_get_userbyid(n.nspowner) AS "Owner"
FROM pg_catalog.pg_namespace n
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY 1;"#,
        )
        .await;
    assert_eq!(schemas, [["cairn", "root"], ["crdb_internal", "root"], ["public", "root"]]);
}

#[tokio::test]
async fn catalog_casts_and_functions_answer() {
    let fresh = Fresh::new();
    let root = fresh.root();
    root.run("CREATE TABLE t (a INT8 PRIMARY KEY)").await;
    assert_eq!(root.value("SELECT 't'::regclass::oid::regclass").await, "t");
    assert_eq!(root.code("SELECT 'nope'::regclass").await, "42P01");
    assert_eq!(root.value("SELECT current_schema()").await, "public");
    assert_eq!(
        root.value("SELECT array_to_string(current_schemas(true), ',')").await,
        "pg_catalog,public"
    );
    assert_eq!(root.value("SELECT current_database()").await, "defaultdb");
    assert_eq!(root.value("SELECT current_setting('TimeZone')").await, "UTC");
    assert_eq!(root.value("SELECT typname FROM pg_type WHERE oid = 20").await, "int8");
    let columns = root
        .rows("SELECT column_name, data_type, is_nullable FROM information_schema.columns WHERE table_name = 't'")
        .await;
    assert_eq!(columns, [["a", "bigint", "NO"]]);
}
