//! DataFusion with the tables of one engine, and what is planned over them.

use std::sync::Arc;

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
};
use datafusion::execution::context::SessionContext;
use datafusion::execution::{SessionState, SessionStateBuilder};
use edge_db::Db;
use parking_lot::Mutex;

use super::Objects;
use super::system::{SYSTEM, System};
use crate::db::tables::Tables;
use crate::decode::Decoder;
use crate::error::SqlError;
use crate::pipeline::Pipeline;
use crate::sql::emit::JobQuery;
use crate::{plan, session};

/// Where DataFusion looks for a name without a catalog and schema in front of it.
const CATALOG: &str = "datafusion";
const SCHEMA: &str = "public";

/// DataFusion with the tables of one engine.
pub(super) fn context(
    db: &Db,
    objects: &Arc<Mutex<Objects>>,
    memory_bytes: usize,
) -> (SessionContext, Arc<Tables>) {
    let context = session::context(memory_bytes);
    let tables = Arc::new(Tables::new(db.clone()));
    let catalog = MemoryCatalogProvider::new();
    let schema = Arc::clone(&tables);
    drop(catalog.register_schema(SCHEMA, schema).expect("a catalog in memory takes a schema"));
    let system = Arc::new(System::new(objects));
    drop(catalog.register_schema(SYSTEM, system).expect("a catalog in memory takes a schema"));
    drop(context.register_catalog(CATALOG, Arc::new(catalog)));
    (context, tables)
}

/// The same with other tables.
pub(super) fn state_over(state: &SessionState, tables: &Arc<Tables>) -> SessionState {
    let catalog = MemoryCatalogProvider::new();
    let schema = Arc::clone(tables);
    drop(catalog.register_schema(SCHEMA, schema).expect("a catalog in memory takes a schema"));
    let list = MemoryCatalogProviderList::new();
    list.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
    let state = SessionStateBuilder::new_from_existing(state.clone());
    state.with_catalog_list(Arc::new(list)).build()
}

/// Plans a query over these tables.
pub(super) async fn planned(
    state: &SessionState,
    tables: &Tables,
    query: JobQuery,
) -> Result<Pipeline, SqlError> {
    let plan = plan::plan(state, query).await?;
    Ok(Pipeline::new(plan, |stream| tables.event_time(stream)))
}

/// Reads what a query looks at, and what the watermark is computed from.
pub(super) fn decoder_for(
    of: &Decoder,
    pipeline: &Pipeline,
    stream: &str,
    tables: &Tables,
) -> Decoder {
    let columns = tables.event_time(stream).into_iter().flat_map(|event_time| event_time.columns);
    let columns: Vec<_> = pipeline.columns(stream).into_iter().chain(columns).collect();
    of.clone().with_columns(&columns)
}
