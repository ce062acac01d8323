//! JSON texts compared without reading their numbers into anything that could lose a digit.

/// The text without whitespace outside strings.
pub(crate) fn compact(text: &str) -> String {
    let (mut out, mut in_string, mut escaped) = (String::with_capacity(text.len()), false, false);
    for c in text.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            in_string = c == '"';
        }
        out.push(c);
    }
    out
}

/// Whether two values are the same: equal text, or strings that read the same.
pub(crate) fn same(one: &str, other: &str) -> bool {
    let text = |raw: &str| serde_json::from_str::<String>(raw).ok();
    one == other || text(one).is_some_and(|one| text(other) == Some(one))
}

#[test]
fn keeps_what_is_inside_strings() {
    assert_eq!(compact("{ \"a b\" : [ 1,\n \"c \\\" d\" ] }"), "{\"a b\":[1,\"c \\\" d\"]}");
    assert!(same("\"\\u00e9\"", "\"é\"") && !same("1", "1.0"));
}
