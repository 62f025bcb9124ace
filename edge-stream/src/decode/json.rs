//! JSON payloads: one object each.

use arrow_json::reader::Decoder as JsonDecoder;
use serde_json::Value;

use super::objects::reason_of;

/// Levels of lists and objects in a payload.
pub(crate) const MAX_DEPTH: usize = 64;

/// Reads a payload that must be one JSON object, with `before` of them in the decoder.
pub(crate) fn read(decoder: &mut JsonDecoder, payload: &[u8], before: usize) -> Result<(), String> {
    if depth(payload) > MAX_DEPTH {
        return Err(format!("payload is nested more than {MAX_DEPTH} levels deep"));
    }
    let read = decoder.decode(payload).map_err(|error| reason_of(&error))?;
    if decoder.has_partial_record() {
        return Err("payload ends inside a JSON object".to_owned());
    }
    let rest = payload.get(read..).unwrap_or_default();
    if decoder.len() != before + 1 || !rest.iter().all(u8::is_ascii_whitespace) {
        return Err("payload is not one JSON object".to_owned());
    }
    Ok(())
}

/// The value of a payload that [`read`] has taken.
pub(crate) fn value(payload: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(payload).map_err(|error| error.to_string())
}

/// How deep lists and objects lie in each other, at most. The decoder recurses, so a payload of nothing but
/// brackets would otherwise end the process. What is no JSON may be taken for deeper than it is.
pub(crate) fn depth(payload: &[u8]) -> usize {
    // Most payloads have not so many brackets at all, and counting them is far cheaper.
    let brackets = payload.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if brackets <= MAX_DEPTH {
        return brackets;
    }
    let (mut depth, mut deepest) = (0usize, 0);
    let (mut in_text, mut is_escaped) = (false, false);
    for byte in payload {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
