use std::fmt;
use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

/// Frames and bytes a backtrace is cut to before it is packed: Ruby's Web UI inflates it without a limit.
const MAX_FRAMES: usize = 200;
const MAX_PACKED_TEXT: usize = 64 * 1024;
/// What [`unpack_backtrace`] inflates at most.
const MAX_INFLATED: u64 = 1024 * 1024;

/// Why an `error_backtrace` cannot be read.
#[derive(Debug)]
pub struct BacktraceError(&'static str);

impl fmt::Display for BacktraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "backtrace is {}", self.0)
    }
}

impl std::error::Error for BacktraceError {}

/// Packs frames as `error_backtrace` holds them: a JSON array, zlib, base64 on one line. At most 200 frames and 64 KiB
/// of them are kept.
///
/// ```
/// let packed = ferrokiq::payload::pack_backtrace(["app.rs:4 in perform"]);
/// assert_eq!(ferrokiq::payload::unpack_backtrace(&packed)?, ["app.rs:4 in perform"]);
/// # Ok::<(), ferrokiq::payload::BacktraceError>(())
/// ```
pub fn pack_backtrace<'a>(frames: impl IntoIterator<Item = &'a str>) -> String {
    let mut room = MAX_PACKED_TEXT;
    let kept: Vec<&str> = frames
        .into_iter()
        .take(MAX_FRAMES)
        .take_while(|frame| {
            let fits = frame.len() <= room;
            room = room.saturating_sub(frame.len());
            fits
        })
        .collect();
    let json = serde_json::to_vec(&kept).expect("strings can be written as JSON");
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    let packed = zlib.write_all(&json).and_then(|()| zlib.finish()).expect("a Vec takes every byte");
    STANDARD.encode(packed)
}

/// Reads an `error_backtrace` of any Sidekiq version (older ones broke the base64 into lines). Inflates at most 1 MiB.
///
/// # Errors
///
/// If it is not base64, not zlib, too large or not an array of strings.
pub fn unpack_backtrace(packed: &str) -> Result<Vec<String>, BacktraceError> {
    let joined: String = packed.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bytes = STANDARD.decode(joined).map_err(|_| BacktraceError("not base64"))?;
    let mut json = Vec::new();
    ZlibDecoder::new(bytes.as_slice())
        .take(MAX_INFLATED + 1)
        .read_to_end(&mut json)
        .map_err(|_| BacktraceError("not zlib"))?;
    if json.len() as u64 > MAX_INFLATED {
        return Err(BacktraceError("larger than 1 MiB"));
    }
    serde_json::from_slice(&json).map_err(|_| BacktraceError("not an array of strings"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_sidekiq_6_broke_into_lines() {
        let packed = pack_backtrace(["a.rb:1:in `x'", "b.rb:2:in `y'"]);
        let (head, tail) = packed.split_at(20);
        assert_eq!(unpack_backtrace(&format!("{head}\n{tail}\n")).unwrap(), ["a.rb:1:in `x'", "b.rb:2:in `y'"]);
    }

    #[test]
    fn bounds_both_directions() {
        let many: Vec<String> = (0..1000).map(|n| format!("frame {n}")).collect();
        assert_eq!(unpack_backtrace(&pack_backtrace(many.iter().map(String::as_str))).unwrap().len(), 200);

        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        zlib.write_all(&vec![b' '; 2 * 1024 * 1024]).unwrap();
        let bomb = STANDARD.encode(zlib.finish().unwrap());
        assert_eq!(unpack_backtrace(&bomb).unwrap_err().to_string(), "backtrace is larger than 1 MiB");
    }

    #[test]
    fn says_what_is_wrong() {
        for (packed, complaint) in [("!!", "not base64"), ("aGVsbG8=", "not zlib")] {
            assert_eq!(unpack_backtrace(packed).unwrap_err().to_string(), format!("backtrace is {complaint}"));
        }
    }
}
