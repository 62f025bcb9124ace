//! DataFusion as this crate uses it: its functions, ours, and the places of mistakes kept.

pub(crate) mod report;

use std::sync::Arc;

use datafusion::execution::context::SessionContext;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{FunctionRegistry, SessionStateBuilder};
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};
use datafusion::prelude::SessionConfig;
use datafusion_functions_nested::planner::FieldAccessPlanner;
use datafusion_functions_nested::{array_has, cardinality, extract, length};

use crate::matches::MatchPlanner;
use crate::{asof, gaps, row_windows, sessions, sum, windows};

/// Functions of the application.
#[derive(Debug, Clone, Default)]
pub(crate) struct Functions {
    pub(crate) scalars: Vec<Arc<ScalarUDF>>,
    pub(crate) aggregates: Vec<Arc<AggregateUDF>>,
}

impl Functions {
    #[cfg(feature = "db")]
    pub(crate) fn is_empty(&self) -> bool {
        self.scalars.is_empty() && self.aggregates.is_empty()
    }

    pub(crate) fn register(&self, context: &SessionContext) {
        self.scalars.iter().for_each(|one| context.register_udf(one.as_ref().clone()));
        self.aggregates.iter().for_each(|one| context.register_udaf(one.as_ref().clone()));
    }
}

/// `memory_bytes` is for all queries that run at a time; what can spill to disk beyond it does.
pub(crate) fn context(memory_bytes: usize) -> SessionContext {
    let runtime = RuntimeEnvBuilder::new().with_memory_limit(memory_bytes, 1.0).build_arc();
    let runtime = runtime.expect("a limit and default settings make a runtime");
    let config = SessionConfig::new()
        .with_information_schema(true)
        .set_bool("datafusion.sql_parser.collect_spans", true)
        // Text is Utf8 everywhere: in streams, in states, in what is stored.
        .set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false);
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features();
    #[cfg(feature = "db")]
    let state = state.with_query_planner(Arc::new(crate::bounded::Planner));
    let mut state = state.build();
    // `list[1]` and `object['field']`.
    let planned = state.register_expr_planner(Arc::new(FieldAccessPlanner));
    planned.expect("a session takes planners of expressions");
    let planned = state.register_relation_planner(Arc::new(MatchPlanner));
    planned.expect("a session takes planners of relations");
    // `payload->>'a'`, and the functions behind it.
    let planned = datafusion_functions_json::register_all(&mut state);
    planned.expect("a session takes functions, rewrites and planners of expressions");
    let context = SessionContext::new_with_state(state);
    windows::function::functions().for_each(|function| context.register_udf(function));
    sessions::functions().into_iter().for_each(|function| context.register_udf(function));
    row_windows::functions().for_each(|function| context.register_udf(function));
    gaps::functions().into_iter().for_each(|function| context.register_udf(function));
    context.register_udf(asof::function());
    context.register_udaf(sum::function());
    for function in [
        extract::array_element_udf(),
        extract::array_slice_udf(),
        length::array_length_udf(),
        cardinality::cardinality_udf(),
        array_has::array_has_udf(),
    ] {
        context.register_udf(function.as_ref().clone());
    }
    report::functions().into_iter().for_each(|function| context.register_udwf(function));
    context
}
