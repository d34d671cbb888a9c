//! What names in a query stand for: tables as of one catalog, virtual tables, and row sources.
//!
//! A [`Relations`] is made for one statement. It holds one state of the catalog and one view of the
//! store, so that everything the statement reads fits together, and it notes which spans its tables
//! have, so that reclaim waits for these only ([`Relations::pin`]).
//!
//! A name without a schema is looked up in this order: the statement's own row sources (a
//! `[SHOW JOBS]` under its generated name), the schemas of `search_path`, `pg_catalog`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use cairn_engine::{ReadView, SpanId};
use datafusion::arrow::datatypes::{DataType, FieldRef, TimeUnit};
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::datatype::DataTypeExt;
use datafusion::logical_expr::planner::TypePlanner;
use sqlparser::ast;

use crate::catalog::names::PUBLIC_SCHEMA;
use crate::catalog::{CatalogSnapshot, TableDescriptor};
use crate::error::Result;
use crate::rewrite::name_parts;
use crate::session::Scope;
use crate::table::{Hidden, Table};

/// The schema that stands for "no schema given"; no schema can be called so.
pub(crate) const DEFAULT_SCHEMA: &str = "(search path)";

/// The name under which a statement that changes rows reads its target.
pub(crate) const TARGET: &str = "(target)";

/// Row sources of a statement by their generated names.
pub(crate) type Sources = HashMap<String, Arc<dyn TableProvider>>;

struct Shared {
    scope: Scope,
    snapshot: Arc<CatalogSnapshot>,
    view: ReadView,
    search_path: Vec<String>,
    sources: Sources,
    /// The spans of the tables that were looked up. Guards the list only.
    spans: Mutex<Vec<SpanId>>,
}

/// What the names of one statement stand for. Clones are the same.
#[derive(Clone)]
pub(crate) struct Relations(Arc<Shared>);

impl std::fmt::Debug for Relations {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Relations").field("view", &self.0.view).finish_non_exhaustive()
    }
}

impl Relations {
    /// The names of a statement with these row sources, as of now.
    pub(crate) fn new(scope: &Scope, sources: Sources) -> Self {
        let (snapshot, view) = scope.db.catalog().read_view(scope.db.engine());
        Self::over(scope, snapshot, view, sources, Vec::new())
    }

    /// The same with a table as the target of a change, and with the places of its rows if asked.
    ///
    /// # Errors
    /// What `find` says.
    pub(crate) fn with_target(
        scope: &Scope,
        mut sources: Sources,
        find: impl FnOnce(&CatalogSnapshot) -> Result<Arc<TableDescriptor>>,
        hidden: Hidden,
    ) -> Result<(Self, Arc<TableDescriptor>)> {
        let (snapshot, view) = scope.db.catalog().read_view(scope.db.engine());
        let descriptor = find(&snapshot)?;
        let spans = descriptor.all_spans().iter().map(|span| span.id).collect();
        let table = Table::new(scope.db.engine(), Arc::clone(&descriptor), view.clone(), hidden)
            .with_defaults(&scope.state)?;
        sources.insert(TARGET.to_owned(), Arc::new(table));
        Ok((Self::over(scope, snapshot, view, sources, spans), descriptor))
    }

    fn over(
        scope: &Scope,
        snapshot: Arc<CatalogSnapshot>,
        view: ReadView,
        sources: Sources,
        spans: Vec<SpanId>,
    ) -> Self {
        Self(Arc::new(Shared {
            search_path: scope.facts.search_path(),
            scope: scope.clone(),
            snapshot,
            view,
            sources,
            spans: Mutex::new(spans),
        }))
    }

    /// Tells the store that only the tables looked up so far will be read.
    pub(crate) fn pin(&self) {
        let spans = self.0.spans.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.view.pin_only(&spans);
    }

    fn find(
        &self,
        database: &str,
        schema: &str,
        name: &str,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        let shared = &self.0;
        if schema == DEFAULT_SCHEMA {
            if let Some(source) = shared.sources.get(name) {
                return Ok(Some(Arc::clone(source)));
            }
            for schema in shared.search_path.iter().map(String::as_str).chain(["pg_catalog"]) {
                if let Some(table) = self.find(database, schema, name)? {
                    return Ok(Some(table));
                }
            }
            return Ok(None);
        }
        if let Some(table) = crate::views::find(&shared.scope, schema, name) {
            return Ok(Some(table));
        }
        // `a.b` may also be table b of database a.
        let descriptor = shared.snapshot.table_named(database, schema, name).or_else(|| {
            let elsewhere = shared.snapshot.schema(database, schema).is_none();
            elsewhere.then(|| shared.snapshot.table_named(schema, PUBLIC_SCHEMA, name)).flatten()
        });
        let Some(descriptor) = descriptor else { return Ok(None) };
        let spans = descriptor.all_spans();
        shared
            .spans
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(spans.iter().map(|span| span.id));
        let engine = shared.scope.db.engine();
        let table = Table::new(engine, descriptor, shared.view.clone(), Hidden::No);
        Ok(Some(Arc::new(table)))
    }
}

impl CatalogProviderList for Relations {
    fn register_catalog(
        &self,
        _name: String,
        _catalog: Arc<dyn CatalogProvider>,
    ) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![self.0.scope.facts.database.clone()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        self.0.snapshot.database(name)?;
        Some(Arc::new(InDatabase { relations: self.clone(), database: name.to_owned() }))
    }
}

#[derive(Debug)]
struct InDatabase {
    relations: Relations,
    database: String,
}

impl CatalogProvider for InDatabase {
    fn schema_names(&self) -> Vec<String> {
        vec![DEFAULT_SCHEMA.to_owned()]
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        Some(Arc::new(InSchema {
            relations: self.relations.clone(),
            database: self.database.clone(),
            schema: name.to_owned(),
        }))
    }
}

#[derive(Debug)]
struct InSchema {
    relations: Relations,
    database: String,
    schema: String,
}

#[async_trait]
impl SchemaProvider for InSchema {
    fn table_names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn table(
        &self,
        name: &str,
    ) -> datafusion::common::Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.relations.find(&self.database, &self.schema, name)?)
    }

    fn table_exist(&self, name: &str) -> bool {
        self.relations.find(&self.database, &self.schema, name).is_ok_and(|table| table.is_some())
    }
}

/// Type names as they are meant here: INT is INT8, TIMESTAMPTZ counts microseconds, and
/// PostgreSQL's catalog types are what they are shown as.
#[derive(Debug)]
pub(crate) struct TypeNames;

impl TypePlanner for TypeNames {
    fn plan_type_field(
        &self,
        sql_type: &ast::DataType,
    ) -> datafusion::common::Result<Option<FieldRef>> {
        Ok(type_named(sql_type).map(DataTypeExt::into_nullable_field_ref))
    }
}

/// The Arrow type of a SQL type, where it is not the query engine's own choice.
pub(crate) fn type_named(sql_type: &ast::DataType) -> Option<DataType> {
    Some(match sql_type {
        ast::DataType::Int(_) | ast::DataType::Integer(_) | ast::DataType::Int64 => DataType::Int64,
        ast::DataType::CharacterVarying(_)
        | ast::DataType::CharVarying(_)
        | ast::DataType::Character(_)
        | ast::DataType::Varchar(_)
        | ast::DataType::Nvarchar(_)
        | ast::DataType::String(_) => DataType::Utf8,
        ast::DataType::Bytes(_) => DataType::Binary,
        ast::DataType::Timestamp(_, zone) => {
            let zoned = matches!(zone, ast::TimezoneInfo::Tz | ast::TimezoneInfo::WithTimeZone);
            DataType::Timestamp(TimeUnit::Microsecond, zoned.then(|| "UTC".into()))
        }
        ast::DataType::Float(ast::ExactNumberInfo::None) => DataType::Float64,
        ast::DataType::Custom(name, _) => match name_parts(name).pop()?.as_str() {
            "text" | "name" | "char" | "bpchar" | "varchar" | "string" => DataType::Utf8,
            "oid" | "int8" | "int" | "xid" => DataType::Int64,
            "int4" => DataType::Int32,
            "int2" => DataType::Int16,
            "bool" => DataType::Boolean,
            "float8" => DataType::Float64,
            "float4" => DataType::Float32,
            "bytea" => DataType::Binary,
            "timestamptz" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            "date" => DataType::Date32,
            _ => return None,
        },
        _ => return None,
    })
}
