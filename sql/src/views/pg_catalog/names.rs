//! Names for object ids and object ids for names: what `regclass` and its relatives answer.

use std::sync::Arc;

use cairn_engine::key::Direction;

use super::{CONSTRAINT_OID, INDEX_OID, Relation, relations, schemas, users};
use crate::catalog::TableDescriptor;
use crate::catalog::names::quoted;
use crate::session::Facts;

impl Facts {
    /// The user of an object id.
    pub(crate) fn user_name(&self, oid: i64) -> Option<String> {
        users(&self.snapshot()).into_iter().find(|user| user.0 == oid).map(|user| user.1)
    }

    /// The schema of an object id.
    pub(crate) fn schema_name(&self, oid: i64) -> Option<String> {
        let all = schemas(&self.snapshot(), &self.database);
        all.into_iter().find(|schema| schema.0 == oid).map(|schema| schema.1)
    }

    fn relation(&self, oid: i64) -> Option<Relation> {
        let oid = if oid >= INDEX_OID { oid - INDEX_OID } else { oid };
        relations(&self.snapshot(), &self.database).into_iter().find(|relation| relation.oid == oid)
    }

    fn table(&self, oid: i64) -> Option<Arc<TableDescriptor>> {
        self.relation(oid)?.table
    }

    /// The name of a relation, with its schema unless that is on the search path.
    pub(crate) fn relation_name(&self, oid: i64) -> Option<String> {
        let relation = self.relation(oid)?;
        let name = if oid >= INDEX_OID { format!("{}_pkey", relation.name) } else { relation.name };
        let found = self.search_path().contains(&relation.schema);
        Some(if found || relation.schema == "pg_catalog" {
            quoted(&name).into_owned()
        } else {
            format!("{}.{}", quoted(&relation.schema), quoted(&name))
        })
    }

    /// The object id of a relation by its name as written, with or without a schema.
    pub(crate) fn relation_oid(&self, name: &str) -> Option<i64> {
        let mut parts: Vec<String> = Vec::new();
        for part in name.split('.') {
            parts.push(match part.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
                Some(inner) => inner.replace("\"\"", "\""),
                None => part.to_ascii_lowercase(),
            });
        }
        let all = relations(&self.snapshot(), &self.database);
        let find = |schema: &str, name: &str| {
            all.iter()
                .find(|relation| relation.schema == schema && relation.name == name)
                .map(|relation| relation.oid)
        };
        match parts.as_slice() {
            [name] => self
                .search_path()
                .iter()
                .map(String::as_str)
                .chain(["pg_catalog"])
                .find_map(|schema| find(schema, name)),
            [schema, name] => find(schema, name),
            [database, schema, name] if *database == self.database => find(schema, name),
            _ => None,
        }
    }

    /// Whether a relation is found without naming its schema.
    pub(crate) fn is_visible(&self, oid: i64) -> bool {
        self.relation(oid).is_some_and(|relation| {
            relation.schema == "pg_catalog" || self.search_path().contains(&relation.schema)
        })
    }

    /// Bytes of a table on disk, as an estimate.
    pub(crate) fn relation_bytes(&self, oid: i64) -> Option<i64> {
        let table = self.table(oid)?;
        let bytes: u64 =
            table.all_spans().into_iter().map(|span| self.engine.span_bytes(span)).sum();
        i64::try_from(bytes).ok()
    }

    /// `CREATE UNIQUE INDEX ...` of a primary key.
    pub(crate) fn index_definition(&self, oid: i64) -> Option<String> {
        let relation = self.relation(oid)?;
        let table = relation.table?;
        Some(format!(
            "CREATE UNIQUE INDEX {} ON {}.{} USING btree ({})",
            quoted(&format!("{}_pkey", table.name)),
            quoted(&relation.schema),
            quoted(&table.name),
            key_list(&table)
        ))
    }

    /// `PRIMARY KEY (...)`.
    pub(crate) fn constraint_definition(&self, oid: i64) -> Option<String> {
        let table = self.table(oid.checked_sub(CONSTRAINT_OID)?)?;
        Some(format!("PRIMARY KEY ({})", key_list(&table)))
    }
}

/// The columns of the primary key, as they are written in its definition.
fn key_list(table: &TableDescriptor) -> String {
    let parts: Vec<String> = crate::table::key_columns(table)
        .into_iter()
        .map(|part| match part.direction {
            Direction::Asc => quoted(&part.name).into_owned(),
            Direction::Desc => format!("{} DESC", quoted(&part.name)),
        })
        .collect();
    parts.join(", ")
}
