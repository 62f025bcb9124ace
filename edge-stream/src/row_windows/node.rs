//! A `GROUP BY` over windows that rows open and close, as a node of DataFusion's logical plans.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion::common::{DFSchema, DFSchemaRef, Result, plan_err};
use datafusion::logical_expr::logical_plan::Aggregate as AggregateNode;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::PhysicalExpr;

use super::RowWindows;
use crate::operator::session::Grouped;
use crate::operator::window::{Aggregate, GroupColumn};
use crate::windows::function::Side;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RowWindowNode {
    /// The groups and aggregates as they are written. The bounds of windows among the groups are the
    /// times of rows.
    pub(crate) aggregate: AggregateNode,
    pub(crate) windows: RowWindows,
    /// What the groups are.
    pub(crate) roles: Vec<Role>,
    /// What rows open and close windows by.
    pub(crate) deciding: Vec<Expr>,
    /// What the windows are called in `FROM`.
    pub(crate) name: &'static str,
}

/// What is grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Bound(Side),
    /// The value that stays in each window.
    Value,
    Key,
}

/// The node of ours that this is.
pub(crate) fn row_windows(plan: &LogicalPlan) -> Option<&RowWindowNode> {
    match plan {
        LogicalPlan::Extension(Extension { node }) => node.as_any().downcast_ref(),
        _ => None,
    }
}

impl RowWindowNode {
    /// What an operator needs to know. `physical` and `lowered` plan expressions over the input.
    pub(crate) fn grouped<E>(
        &self,
        hold_micros: i64,
        physical: impl Fn(&Expr, &DFSchema) -> Result<Arc<dyn PhysicalExpr>, E>,
        lowered: impl Fn(&Expr, &DFSchema) -> Result<Aggregate, E>,
    ) -> Result<Grouped, E> {
        let input = self.aggregate.input.schema();
        let (mut columns, mut keys) = (Vec::new(), Vec::new());
        let all = self.groups().filter(|(_, role)| *role == Role::Key).count();
        for (expr, role) in self.groups() {
            columns.push(match role {
                Role::Bound(Side::Start) => GroupColumn::WindowStart,
                Role::Bound(Side::End) => GroupColumn::WindowEnd,
                Role::Key => {
                    keys.push(physical(expr, input)?);
                    GroupColumn::Key(keys.len() - 1)
                }
                // It stands behind the keys.
                Role::Value => GroupColumn::Key(all),
            });
        }
        let deciding = self.deciding.iter().map(|expr| physical(expr, input));
        let aggregates = self.aggregate.aggr_expr.iter().map(|expr| lowered(expr, input));
        Ok(Grouped {
            time: physical(self.time(), input)?,
            deciding: deciding.collect::<Result<_, _>>()?,
            hold_micros,
            columns,
            keys,
            aggregates: aggregates.collect::<Result<_, _>>()?,
            output: Arc::clone(self.aggregate.schema.inner()),
        })
    }

    /// What is grouped by. Named twice it is one column, as for DataFusion.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&Expr, Role)> {
        let all = &self.aggregate.group_expr;
        let groups = all.iter().zip(&self.roles).enumerate();
        let first = groups.filter(|(place, (expr, _))| !all[..*place].contains(expr));
        first.map(|(_, (expr, role))| (expr, *role))
    }

    /// The column with the times of rows.
    pub(crate) fn time(&self) -> &Expr {
        let bound = self.groups().find(|(_, role)| matches!(role, Role::Bound(_)));
        bound.expect("the node was made for a bound").0
    }
}

impl PartialOrd for RowWindowNode {
    fn partial_cmp(&self, other: &RowWindowNode) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for RowWindowNode {
    fn name(&self) -> &str {
        self.name
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.aggregate.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.aggregate.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let groups = self.aggregate.group_expr.iter().chain(&self.aggregate.aggr_expr);
        groups.chain(&self.deciding).cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts =
            |exprs: &[Expr]| exprs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let (groups, aggregates) =
            (texts(&self.aggregate.group_expr), texts(&self.aggregate.aggr_expr));
        write!(f, "{}: {}, by {groups}: {aggregates}", self.name, self.windows)
    }

    fn with_exprs_and_inputs(
        &self,
        mut exprs: Vec<Expr>,
        inputs: Vec<LogicalPlan>,
    ) -> Result<RowWindowNode> {
        let (groups, aggregates) = (self.roles.len(), self.aggregate.aggr_expr.len());
        let Ok([input]) = <[LogicalPlan; 1]>::try_from(inputs) else {
            return plan_err!("{} has one input", self.name);
        };
        if exprs.len() != groups + aggregates + self.deciding.len() {
            return plan_err!("{} has other expressions", self.name);
        }
        let deciding = exprs.split_off(groups + aggregates);
        let aggregates = exprs.split_off(groups);
        let aggregate = AggregateNode::try_new(Arc::new(input), exprs, aggregates)?;
        Ok(RowWindowNode { aggregate, deciding, ..self.clone() })
    }

    /// What it looks at itself is added by its expressions.
    fn necessary_children_exprs(&self, _: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![Vec::new()])
    }
}
