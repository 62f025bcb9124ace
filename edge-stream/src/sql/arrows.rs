//! `payload->>'a' = 'x'` as people mean it. The parser gives the arrows of JSON less weight than `=`, and
//! reads `payload->>('a' = 'x')`.

use std::mem::replace;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value};

/// Has an arrow bind closer than what stands around it without parentheses. What it consists of has
/// been through this.
pub(super) fn bind(expr: &mut Expr) {
    if !is_arrow(expr) {
        return;
    }
    let Expr::BinaryOp { mut left, op, mut right } = replace(expr, hole()) else { return };
    let (of, key) = (take_last(&mut left), take_first(&mut right));
    let arrow = Expr::BinaryOp { left: Box::new(of), op, right: Box::new(key) };
    *expr = joined(*left, arrow, *right);
}

/// `left arrow right`, where the one lacks its last operand and the other its first, or all of it. Of two
/// operators that bind as close the right one has the left one for its operand.
fn joined(mut left: Expr, arrow: Expr, mut right: Expr) -> Expr {
    let is_of_left = match (weight(&left), weight(&right)) {
        (None, None) => return arrow,
        (of_left, None) => of_left.is_some(),
        (of_left, of_right) => of_left.is_some_and(|weight| Some(weight) < of_right),
    };
    match is_of_left {
        true => {
            if let Some(inner) = last_operand(&mut left) {
                *inner = joined(replace(inner, hole()), arrow, right);
            }
            left
        }
        false => {
            if let Some(inner) = first_operand(&mut right) {
                *inner = joined(left, arrow, replace(inner, hole()));
            }
            right
        }
    }
}

fn is_arrow(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::Arrow | BinaryOperator::LongArrow, .. })
}

fn hole() -> Expr {
    Expr::value(Value::Null)
}

/// How close operators without parentheses bind, as the parser has it; `None` for what is one operand.
fn weight(expr: &Expr) -> Option<u8> {
    Some(match expr {
        _ if is_arrow(expr) => return None,
        Expr::BinaryOp { op, .. } => match op {
            BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo
            | BinaryOperator::StringConcat => 40,
            BinaryOperator::Plus | BinaryOperator::Minus => 30,
            BinaryOperator::BitwiseXor => 24,
            BinaryOperator::BitwiseAnd => 23,
            BinaryOperator::BitwiseOr => 21,
            BinaryOperator::And => 10,
            BinaryOperator::Or => 5,
            _ => 20,
        },
        Expr::Between { .. } | Expr::InList { .. } | Expr::InSubquery { .. } => 20,
        Expr::Like { .. } | Expr::ILike { .. } | Expr::SimilarTo { .. } => 19,
        Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotUnknown(_)
        | Expr::IsDistinctFrom(..)
        | Expr::IsNotDistinctFrom(..) => 17,
        _ => return None,
    })
}

/// Takes out the operand that an expression begins with.
fn take_first(expr: &mut Expr) -> Expr {
    match first_operand(expr) {
        Some(inner) => take_first(inner),
        None => replace(expr, hole()),
    }
}

fn first_operand(expr: &mut Expr) -> Option<&mut Expr> {
    if is_arrow(expr) {
        return None;
    }
    match expr {
        Expr::BinaryOp { left, .. } => Some(left),
        Expr::IsNull(of)
        | Expr::IsNotNull(of)
        | Expr::IsTrue(of)
        | Expr::IsNotTrue(of)
        | Expr::IsFalse(of)
        | Expr::IsNotFalse(of)
        | Expr::IsUnknown(of)
        | Expr::IsNotUnknown(of)
        | Expr::IsDistinctFrom(of, _)
        | Expr::IsNotDistinctFrom(of, _) => Some(of),
        Expr::Like { expr, .. }
        | Expr::ILike { expr, .. }
        | Expr::SimilarTo { expr, .. }
        | Expr::Between { expr, .. }
        | Expr::InList { expr, .. }
        | Expr::InSubquery { expr, .. } => Some(expr),
        _ => None,
    }
}

/// Takes out the operand that an expression ends with.
fn take_last(expr: &mut Expr) -> Expr {
    match last_operand(expr) {
        Some(inner) => take_last(inner),
        None => replace(expr, hole()),
    }
}

fn last_operand(expr: &mut Expr) -> Option<&mut Expr> {
    if is_arrow(expr) {
        return None;
    }
    match expr {
        Expr::BinaryOp { right, .. } => Some(right),
        Expr::IsDistinctFrom(_, with) | Expr::IsNotDistinctFrom(_, with) => Some(with),
        Expr::Like { pattern, escape_char: None, .. }
        | Expr::ILike { pattern, escape_char: None, .. } => Some(pattern),
        Expr::Between { high, .. } => Some(high),
        _ => None,
    }
}
