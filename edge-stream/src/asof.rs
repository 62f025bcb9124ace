//! `ASOF JOIN` on its way from text to a plan: a join whose condition is one call of a function,
//! as DataFusion has no such join. The planner of jobs finds it by the name.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Join, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::SqlError;
use crate::sql::asof::USAGE;

/// Around all conditions of the join.
pub(crate) const MATCH: &str = "asof_match";

const MISPLACED: &str = "`asof_match` is what ASOF JOIN is made of";

/// The function, for DataFusion.
pub(crate) fn function() -> ScalarUDF {
    ScalarUDF::from(Match { signature: Signature::any(1, Volatility::Immutable) })
}

/// What must hold for a pair, if this is an ASOF join.
pub(crate) fn conditions(join: &Join) -> Option<Vec<Expr>> {
    match join.filter.as_ref()? {
        Expr::ScalarFunction(call) if call.func.name() == MATCH => {
            Some(split_conjunction(call.args.first()?).into_iter().cloned().collect())
        }
        _ => None,
    }
}

/// Refuses the function where somebody has written it as one.
pub(crate) fn check(expr: &Expr) -> std::result::Result<(), SqlError> {
    let is_call =
        |expr: &Expr| matches!(expr, Expr::ScalarFunction(call) if call.func.name() == MATCH);
    match expr.exists(|expr| Ok(is_call(expr))) {
        Ok(false) => Ok(()),
        Ok(true) => Err(SqlError::statement(None, MISPLACED).or(USAGE)),
        Err(error) => Err(SqlError::planning(&error)),
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Match {
    signature: Signature,
}

impl ScalarUDFImpl for Match {
    fn name(&self) -> &str {
        MATCH
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("{MISPLACED}")
    }
}
