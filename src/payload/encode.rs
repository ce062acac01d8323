//! Values as JSON that Ruby reads. serde writes NaN and the infinities as `null` and copies raw JSON as it is; Ruby refuses both.

use std::cell::Cell;
use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::{finite, scan};
use crate::error::{Error, Result};

/// What the text may hide; compact otherwise.
#[derive(Default)]
struct Seen {
    null: Cell<bool>,
    raw: Cell<bool>,
}

impl Formatter for &Seen {
    /// Also called for NaN and the infinities.
    fn write_null<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.null.set(true);
        writer.write_all(b"null")
    }

    fn write_raw_fragment<W: io::Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        self.raw.set(true);
        writer.write_all(fragment.as_bytes())
    }
}

/// Writes a value as JSON.
///
/// # Errors
///
/// [`ErrorKind::Args`](crate::ErrorKind::Args) for a value JSON cannot hold, NaN and the infinities among them, and for raw JSON with
/// half of a surrogate pair.
pub(crate) fn to_json(value: &(impl Serialize + ?Sized)) -> Result<String> {
    let seen = Seen::default();
    let mut json = Vec::with_capacity(128);
    let written = value.serialize(&mut Serializer::with_formatter(&mut json, &seen));
    written.map_err(|error| Error::args("a value cannot be written as JSON").because(error))?;
    if seen.null.get() {
        finite::check(value)?;
    }
    let json = String::from_utf8(json).map_err(|error| Error::args("a value is not UTF-8").because(error))?;
    if seen.raw.get() && scan::has_lone_surrogate(&json, scan::Glance::at(&json)) {
        return Err(Error::args(scan::LONE_SURROGATE));
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::value::RawValue;

    use super::*;

    #[derive(Serialize)]
    enum Shape {
        Unit,
        New(Option<f32>),
        Pair(f64, ()),
        Fields { at: f64 },
    }

    fn refusal(value: &impl Serialize) -> String {
        to_json(value).unwrap_err().to_string()
    }

    #[test]
    fn writes_what_serde_writes() {
        let raw = RawValue::from_string("[1.0e+20, null]".into()).unwrap();
        let value = (1, "é\n", None::<f64>, [1.5, -0.0], (), Shape::Unit, Shape::Fields { at: 1e-7 }, raw);
        assert_eq!(to_json(&value).unwrap(), serde_json::to_string(&value).unwrap());
    }

    #[test]
    fn refuses_floats_that_are_not_finite_wherever_they_are() {
        assert_eq!(refusal(&f64::NAN), "NaN not allowed in JSON");
        assert_eq!(refusal(&[1.0, f64::INFINITY]), "Infinity not allowed in JSON");
        assert_eq!(refusal(&(Some(f64::NEG_INFINITY),)), "-Infinity not allowed in JSON");
        assert_eq!(refusal(&BTreeMap::from([("a", (1, f32::NAN))])), "NaN not allowed in JSON");
        for shape in [Shape::New(Some(f32::NAN)), Shape::Pair(f64::NAN, ()), Shape::Fields { at: f64::NAN }] {
            assert_eq!(refusal(&vec![shape]), "NaN not allowed in JSON");
        }
    }

    #[test]
    fn refuses_raw_json_with_half_a_surrogate_pair() {
        let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        assert_eq!(refusal(&[raw(r#""\ud83d""#)]), "holds half of a surrogate pair");
        assert!(to_json(&[raw(r#""\ud83d\ude00""#)]).is_ok());
    }
}
