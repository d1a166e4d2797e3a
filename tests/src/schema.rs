//! As much of JSON Schema (draft 2020-12) as airgap's own schemas use. A keyword that is not
//! known is a failure, so that none is silently left out.

use serde_json::Value;

/// Everything in `value` that `schema` does not allow.
#[must_use]
pub fn violations(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, schema, value, "$", &mut found);
    found
}

fn check(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let keywords = schema.as_object().expect("a schema is an object");
    for (keyword, wanted) in keywords {
        let good = match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" | "additionalProperties" => true,
            "$ref" => {
                let path = wanted.as_str().and_then(|r| r.strip_prefix('#'));
                let target = path.and_then(|p| root.pointer(p)).expect("a $ref inside");
                check(root, target, value, at, found);
                true
            }
            "type" => match wanted.as_array() {
                Some(several) => several
                    .iter()
                    .any(|one| is_type(one.as_str().expect("a type"), value)),
                None => is_type(wanted.as_str().expect("one type"), value),
            },
            "const" => value == wanted,
            "enum" => wanted.as_array().expect("an array").contains(value),
            "minimum" => !value.is_number() || value.as_i64() >= wanted.as_i64(),
            "maximum" => !value.is_number() || value.as_i64() <= wanted.as_i64(),
            "pattern" => value
                .as_str()
                .is_none_or(|text| matches(wanted.as_str().expect("text"), text)),
            "prefixItems" => {
                let schemas = wanted.as_array().expect("an array").iter();
                let items = value.as_array().into_iter().flatten();
                for (i, (inner, item)) in schemas.zip(items).enumerate() {
                    check(root, inner, item, &format!("{at}[{i}]"), found);
                }
                true
            }
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, wanted, item, &format!("{at}[{i}]"), found);
                }
                true
            }
            "required" => {
                let names = wanted.as_array().expect("an array").iter();
                let is_missing = |name: &&Value| {
                    value.is_object() && value.get(name.as_str().unwrap_or("")).is_none()
                };
                let missing = names.filter(is_missing);
                found.extend(missing.map(|name| format!("{at} has no {name}")));
                true
            }
            "properties" => {
                for (name, field) in value.as_object().into_iter().flatten() {
                    match wanted.get(name) {
                        Some(inner) => check(root, inner, field, &format!("{at}.{name}"), found),
                        None if schema["additionalProperties"] == false => {
                            found.push(format!("{at} has {name}, which is in no schema"));
                        }
                        None => {}
                    }
                }
                true
            }
            other => panic!("the schema uses {other}, which this validator does not know"),
        };
        if !good {
            found.push(format!("{at} is {value}, not {keyword} {wanted}"));
        }
    }
}

fn is_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the schema uses the type {other}, which this validator does not know"),
    }
}

/// Anchored patterns of literals, classes in brackets and `+`, `*`, `{N}`.
fn matches(pattern: &str, text: &str) -> bool {
    let inner = pattern.strip_prefix('^').and_then(|p| p.strip_suffix('$'));
    let mut pattern: &[u8] = inner.expect("an anchored pattern").as_bytes();
    let mut text = text.as_bytes();
    while let Some(&first) = pattern.first() {
        let class: Vec<u8>;
        match first {
            b'[' => {
                let end = pattern.iter().position(|&b| b == b']').expect("a class");
                class = pattern[1..end].to_vec();
                pattern = &pattern[end + 1..];
            }
            b'\\' => {
                class = vec![pattern[1]];
                pattern = &pattern[2..];
            }
            literal => {
                class = vec![literal];
                pattern = &pattern[1..];
            }
        }
        let (least, most, used) = match pattern.first() {
            Some(b'+') => (1, usize::MAX, 1),
            Some(b'*') => (0, usize::MAX, 1),
            Some(b'{') => {
                let end = pattern.iter().position(|&b| b == b'}').expect("a count");
                let count = std::str::from_utf8(&pattern[1..end]).expect("ASCII");
                let count = count.parse().expect("one number");
                (count, count, end + 1)
            }
            _ => (1, 1, 0),
        };
        pattern = &pattern[used..];
        let run = text.iter().take_while(|&&b| is_in(&class, b)).count();
        let taken = run.min(most);
        if taken < least {
            return false;
        }
        text = &text[taken..];
    }
    text.is_empty()
}

fn is_in(class: &[u8], byte: u8) -> bool {
    match class {
        [from, b'-', to, rest @ ..] => (*from..=*to).contains(&byte) || is_in(rest, byte),
        [one, rest @ ..] => *one == byte || is_in(rest, byte),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn finds_what_does_not_fit() {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["a"],
            "properties": {
                "a": { "$ref": "#/$defs/n" }, "b": { "enum": ["x"] },
                "c": { "type": "array", "items": { "pattern": "^[A-Z]+[0-9]{2}\\.$" } },
                "e": { "type": ["object", "null"], "required": ["f"] },
                "g": { "prefixItems": [{ "type": "string" }, { "type": "integer" }] },
            },
            "$defs": { "n": { "type": "integer", "minimum": 1, "maximum": 3 } },
        });
        let good = [
            json!({ "a": 1 }),
            json!({ "a": 3, "b": "x", "c": ["AB12."] }),
            json!({ "a": 1, "e": null, "g": ["x", 1] }),
            json!({ "a": 1, "e": { "f": 1 }, "g": ["x"] }),
        ];
        for value in good {
            assert_eq!(violations(&schema, &value), Vec::<String>::new());
        }
        for value in [
            json!(7),
            json!({}),
            json!({ "a": 0 }),
            json!({ "a": 4 }),
            json!({ "a": "1" }),
            json!({ "a": 1, "b": "y" }),
            json!({ "a": 1, "d": 1 }),
            json!({ "a": 1, "c": ["A1."] }),
            json!({ "a": 1, "e": {} }),
            json!({ "a": 1, "e": 7 }),
            json!({ "a": 1, "g": ["x", "y"] }),
            json!({ "a": 1, "c": ["A12.x"] }),
        ] {
            assert!(!violations(&schema, &value).is_empty(), "{value}");
        }
    }
}
