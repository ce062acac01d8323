//! Parts of the guide that are made from the code: a test fails while they are stale.

use std::path::Path;

/// Holds what stands between `<!-- begin NAME -->` and `<!-- end NAME -->` in a file of the guide against what it should be. With
/// `WRITE_DOCS` set it is written instead.
pub(crate) fn assert_current(file: &str, name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide").join(file);
    let text = std::fs::read_to_string(&path).expect("the guide is there");
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
    let (before, rest) = text.split_once(&begin).expect("the part begins");
    let (stands, after) = rest.split_once(&end).expect("the part ends");
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{begin}{made}{end}{after}")).expect("the guide can be written");
        return;
    }
    assert_eq!(
        stands, made,
        "docs/guide/{file} is stale; `WRITE_DOCS=1 cargo test --all-features --lib generated` writes it anew"
    );
}
