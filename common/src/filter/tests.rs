#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::samples::NOW;

/// An event with `value` under `key`, or with no metadata for `absent`.
fn event_json(value: &str) -> String {
    let metadata = if value == "absent" {
        "{}".to_owned()
    } else {
        format!("{{\"key\": {value}}}")
    };
    format!(
        "{{\"event_id\": \"e\", \"customer_id\": \"c\", \"event_name\": \"n\", \"metadata\": {metadata}}}"
    )
}

fn condition(operator: &str, operand: &str) -> Filter {
    let json = format!(
        "{{\"conjunction\": \"and\", \"clauses\": [{{\"key\": \"key\", \"operator\": \"{operator}\", \"value\": {operand}}}]}}"
    );
    Filter::parse(&json, "filter").unwrap()
}

fn check(value: &str, operator: &str, operand: &str, expected: bool) {
    let json = event_json(value);
    let event = Event::parse(&json, NOW).unwrap();
    assert_eq!(
        condition(operator, operand).matches(&event),
        expected,
        "{value} {operator} {operand}"
    );
}

const OPERATORS: [&str; 8] = [
    "equals",
    "not_equals",
    "greater_than",
    "greater_than_or_equals",
    "less_than",
    "less_than_or_equals",
    "contains",
    "does_not_contain",
];

/// What each operator says, in the order of `OPERATORS`, of a value below, at, and above the operand
/// where the two have an order.
const BELOW: [bool; 6] = [false, true, false, false, true, true];
const SAME: [bool; 6] = [true, false, false, true, false, true];
const ABOVE: [bool; 6] = [false, true, true, true, false, false];

#[test]
fn numbers_compare_numerically_with_numbers_and_decimal_strings() {
    for (value, operand, expected) in [
        ("9", "10", BELOW),
        ("-1", "0", BELOW),
        ("\"9\"", "10", BELOW),
        ("0.1", "0.10000000000000000000000000000000001", BELOW),
        ("10", "10.0", SAME),
        ("1e1", "10", SAME),
        ("\"10\"", "10", SAME),
        ("\"+010.00\"", "10", SAME),
        ("-0", "0", SAME),
        ("9007199254740993", "9007199254740992", ABOVE),
        ("\"10.5\"", "10", ABOVE),
        ("100000000000000000000", "10", ABOVE),
    ] {
        for (operator, expected) in OPERATORS.into_iter().zip(expected) {
            check(value, operator, operand, expected);
        }
    }
}

#[test]
fn strings_compare_with_strings_case_sensitively() {
    for (value, operand, expected) in [
        ("\"a\"", "\"b\"", BELOW),
        ("\"B\"", "\"b\"", BELOW),
        ("\"10\"", "\"9\"", BELOW),
        ("\"\"", "\"a\"", BELOW),
        ("\"gpt\"", "\"gpt\"", SAME),
        ("\"g\\u0070t\"", "\"gpt\"", SAME),
        ("\"gpt-4\"", "\"gpt\"", ABOVE),
    ] {
        for (operator, expected) in OPERATORS.into_iter().zip(expected) {
            check(value, operator, operand, expected);
        }
    }
}

#[test]
fn contains_looks_into_strings_only() {
    for (value, operand, contained) in [
        ("\"gpt-4-turbo\"", "\"gpt\"", true),
        ("\"gpt-4-turbo\"", "\"\"", true),
        ("\"gpt-4-turbo\"", "\"GPT\"", false),
        ("\"gpt\"", "\"gpt-4\"", false),
        ("1234", "\"23\"", false),
        ("1234", "23", false),
        ("\"1234\"", "23", false),
        ("true", "\"true\"", false),
        ("true", "true", false),
    ] {
        check(value, "contains", operand, contained);
        check(value, "does_not_contain", operand, !contained);
    }
}

#[test]
fn bools_are_the_same_or_not_and_have_no_order() {
    for (value, operand) in [
        ("true", "true"),
        ("false", "false"),
        ("true", "false"),
        ("false", "true"),
    ] {
        check(value, "equals", operand, value == operand);
        check(value, "not_equals", operand, value != operand);
        for operator in &OPERATORS[2..6] {
            check(value, operator, operand, false);
        }
    }
}

#[test]
fn any_other_pairing_is_false_but_for_the_negative_operators() {
    for (value, operand) in [
        ("5", "\"5\""),
        ("true", "1"),
        ("1", "true"),
        ("\"true\"", "true"),
        ("true", "\"true\""),
        ("\"five\"", "5"),
        ("\"5 \"", "5"),
        ("\"5e0\"", "5"),
        ("\"\"", "0"),
    ] {
        for operator in OPERATORS {
            check(
                value,
                operator,
                operand,
                matches!(operator, "not_equals" | "does_not_contain"),
            );
        }
    }
}

#[test]
fn a_missing_key_makes_any_condition_false() {
    for operator in OPERATORS {
        for operand in ["\"x\"", "0", "false"] {
            check("absent", operator, operand, false);
            check("null", operator, operand, false);
        }
    }
}

#[test]
fn clauses_are_joined_and_nested() {
    let is = |value: i64| json!({"key": "key", "operator": "equals", "value": value});
    let group = |conjunction: &str, clauses: Vec<serde_json::Value>| json!({"conjunction": conjunction, "clauses": clauses});
    let above = |value: i64| json!({"key": "key", "operator": "greater_than", "value": value});
    for (filter, matching) in [
        (group("or", vec![is(1), is(3)]), vec![1, 3]),
        (group("and", vec![is(1), is(3)]), vec![]),
        (group("and", vec![above(1), above(2)]), vec![3, 4]),
        (
            group("or", vec![is(1), group("and", vec![above(2), above(3)])]),
            vec![1, 4],
        ),
        (
            group(
                "and",
                vec![
                    group("or", vec![is(1), group("or", vec![is(2), is(3)])]),
                    group("and", vec![above(1)]),
                ],
            ),
            vec![2, 3],
        ),
    ] {
        let compiled = Filter::parse(&filter.to_string(), "filter").unwrap();
        let found: Vec<i64> = (0..5)
            .filter(|value| {
                compiled.matches(&Event::parse(&event_json(&value.to_string()), NOW).unwrap())
            })
            .collect();
        assert_eq!(found, matching, "{filter}");
    }
}

#[test]
fn a_bare_condition_beside_groups_is_wrapped() {
    let read = r#"{"conjunction":"or","clauses":[
        {"key":"a","operator":"equals","value":1},
        {"conjunction":"and","clauses":[{"key":"b","operator":"contains","value":"x"}]}]}"#;
    let normalised = r#"{"conjunction":"or","clauses":[{"conjunction":"and","clauses":[{"key":"a","operator":"equals","value":1}]},{"conjunction":"and","clauses":[{"key":"b","operator":"contains","value":"x"}]}]}"#;
    let filter: Filter = serde_json::from_str(read).unwrap();
    assert_eq!(serde_json::to_string(&filter).unwrap(), normalised);
    assert_eq!(serde_json::from_str::<Filter>(normalised).unwrap(), filter);
}

#[test]
fn numbers_keep_their_digits_through_json() {
    for (digits, written) in [
        (
            "0.10000000000000000000000000000000001",
            "0.10000000000000000000000000000000001",
        ),
        ("-5", "-5"),
        ("9007199254740993", "9007199254740993"),
        ("1e2", "100"),
    ] {
        let filter = condition("equals", digits);
        let json = serde_json::to_string(&filter).unwrap();
        assert!(json.contains(&format!("\"value\":{written}}}")), "{json}");
        assert_eq!(serde_json::from_str::<Filter>(&json).unwrap(), filter);
    }
}

fn refused(json: &str, path: &str, message: &str) {
    let error = Filter::parse(json, "filter").unwrap_err();
    assert_eq!(
        (error.path.as_str(), error.message.as_str()),
        (path, message),
        "{json}"
    );
}

#[test]
fn a_fault_is_told_with_its_path() {
    let good = r#"{"key":"k","operator":"equals","value":1}"#;
    let of = |clauses: &str| format!(r#"{{"conjunction":"and","clauses":[{clauses}]}}"#);
    let operators = "must be one of equals, not_equals, greater_than, greater_than_or_equals, less_than, \
                     less_than_or_equals, contains, does_not_contain";

    refused("[]", "filter", "must be an object");
    refused("{}", "filter.conjunction", "is required");
    refused(
        r#"{"conjunction":"xor","clauses":[]}"#,
        "filter.conjunction",
        "must be one of and, or",
    );
    refused(
        r#"{"conjunction":1,"clauses":[]}"#,
        "filter.conjunction",
        "must be one of and, or",
    );
    refused(r#"{"conjunction":"and"}"#, "filter.clauses", "is required");
    refused(
        r#"{"conjunction":"and","clauses":{}}"#,
        "filter.clauses",
        "must be a list",
    );
    refused(
        &of(""),
        "filter.clauses",
        "must hold 1 to 10 clauses, but holds 0",
    );
    refused(
        &of(&[good; 11].join(",")),
        "filter.clauses",
        "must hold 1 to 10 clauses, but holds 11",
    );
    refused(&of("5"), "filter.clauses[0]", "must be an object");
    refused(
        &of(&format!(
            r#"{good},{{"key":"k","operator":"like","value":1}}"#
        )),
        "filter.clauses[1].operator",
        operators,
    );
    refused(
        &of(r#"{"operator":"equals","value":1}"#),
        "filter.clauses[0].key",
        "is required",
    );
    refused(
        &of(r#"{"key":"","operator":"equals","value":1}"#),
        "filter.clauses[0].key",
        "must have 1 to 100 characters, none of them control characters",
    );
    refused(
        &of(r#"{"key":"k","value":1}"#),
        "filter.clauses[0].operator",
        "is required",
    );
    refused(
        &of(r#"{"key":"k","operator":"equals"}"#),
        "filter.clauses[0].value",
        "is required",
    );
    refused(
        &of(r#"{"key":"k","operator":"equals","value":[1]}"#),
        "filter.clauses[0].value",
        "must be a string, a number or a boolean",
    );
    refused(
        &of(r#"{"key":"k","operator":"equals","value":1e400}"#),
        "filter.clauses[0].value",
        "must have at most 30 digits before the decimal point",
    );
    refused(
        &of(r#"{"key":"k","operator":"equals","value":1,"values":2}"#),
        "filter.clauses[0].values",
        "is unknown; expected key, operator, value",
    );
    refused(
        &of(r#"{"key":"k","key":"l","operator":"equals","value":1}"#),
        "filter.clauses[0].key",
        "must be given once",
    );
    let four = of(&of(&of(&of(good))));
    refused(
        &four,
        "filter.clauses[0].clauses[0].clauses[0]",
        "must be nested at most 3 levels deep",
    );
    let wrong_inside = of(&of(&of(r#"{"key":"k","operator":"=","value":1}"#)));
    refused(
        &wrong_inside,
        "filter.clauses[0].clauses[0].clauses[0].operator",
        operators,
    );

    assert!(Filter::parse(&of(&of(&of(&[good; 10].join(",")))), "filter").is_ok());
    assert!(Filter::parse("{", "filter").is_err());
    let through_serde =
        serde_json::from_str::<Filter>(r#"{"conjunction":"and","clauses":[]}"#).unwrap_err();
    assert!(
        through_serde
            .to_string()
            .contains("filter.clauses must hold"),
        "{through_serde}"
    );
}

proptest! {
    #[test]
    fn no_text_panics(text in "[\\[\\]{}\",:a-z0-9 ]{0,80}") {
        let _ = Filter::parse(&text, "filter");
    }

    #[test]
    fn a_condition_and_its_negation_differ_wherever_the_key_is_there(
        value in crate::samples::any_value(), operand in crate::samples::any_value(),
    ) {
        let json = |value: &crate::Value<'_>| match value {
            crate::Value::String(text) => serde_json::to_string(text).unwrap(),
            crate::Value::Number(number) => number.to_string(),
            crate::Value::Bool(flag) => flag.to_string(),
        };
        let text = event_json(&json(&value));
        let event = Event::parse(&text, NOW).unwrap();
        for (positive, negative) in [("equals", "not_equals"), ("contains", "does_not_contain")] {
            let holds = condition(positive, &json(&operand)).matches(&event);
            prop_assert_ne!(holds, condition(negative, &json(&operand)).matches(&event));
        }
    }
}
