//! Evaluation, without allocation.

use std::cmp::Ordering;

use super::{Clause, Condition, Conjunction, Filter, Operand, Operator};
use crate::event::{Event, Value};

pub(super) fn matches(filter: &Filter, event: &Event<'_>) -> bool {
    let holds = |clause: &Clause| match clause {
        Clause::Condition(condition) => condition_holds(condition, event),
        Clause::Group(group) => matches(group, event),
    };
    match filter.conjunction {
        Conjunction::And => filter.clauses.iter().all(holds),
        Conjunction::Or => filter.clauses.iter().any(holds),
    }
}

fn condition_holds(condition: &Condition, event: &Event<'_>) -> bool {
    let Some(value) = event.get(&condition.key) else {
        return false;
    };
    let operand = &condition.value;
    match condition.operator {
        Operator::Equals => is_equal(value, operand),
        Operator::NotEquals => !is_equal(value, operand),
        Operator::GreaterThan => order(value, operand).is_some_and(Ordering::is_gt),
        Operator::GreaterThanOrEquals => order(value, operand).is_some_and(Ordering::is_ge),
        Operator::LessThan => order(value, operand).is_some_and(Ordering::is_lt),
        Operator::LessThanOrEquals => order(value, operand).is_some_and(Ordering::is_le),
        Operator::Contains => contains(value, operand),
        Operator::DoesNotContain => !contains(value, operand),
    }
}

fn is_equal(value: &Value<'_>, operand: &Operand) -> bool {
    match (value, operand) {
        (Value::Bool(value), Operand::Bool(operand)) => value == operand,
        _ => order(value, operand).is_some_and(Ordering::is_eq),
    }
}

/// How the two compare, if they are of kinds that have an order between them.
fn order(value: &Value<'_>, operand: &Operand) -> Option<Ordering> {
    match operand {
        Operand::Number(operand) => value.as_number().map(|number| number.cmp(operand)),
        Operand::String(operand) => match value {
            Value::String(text) => Some(text.as_ref().cmp(operand.as_str())),
            Value::Number(_) | Value::Bool(_) => None,
        },
        Operand::Bool(_) => None,
    }
}

fn contains(value: &Value<'_>, operand: &Operand) -> bool {
    match (value, operand) {
        (Value::String(text), Operand::String(part)) => text.contains(part.as_str()),
        _ => false,
    }
}
